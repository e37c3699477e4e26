"""Faults of the keys of a `file` source at load."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from syncd.connectors.files.file import FileSettings


def settings(**keys: Any) -> FileSettings:
    return FileSettings.model_validate({"path": "in/*.csv", "as": "contact", **keys})


@pytest.mark.parametrize("name", ["utf-99", "latin-99", "rot13", "windows"])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="not a known encoding"):
        settings(encoding=name)


@pytest.mark.parametrize("name", ["", "utf-8", "UTF8", "windows-1258", "gb18030", "Shift_JIS", "latin-1"])
def test_known_encodings(name: str) -> None:
    assert settings(encoding=name).encoding == name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("emial", "email"),
        ("Email", "email"),
        ("emal", "email"),
        ("emaill", "email"),
        ("pohne", "phone"),
        ("frist_name", "first_name"),
        ("lastname", "last_name"),
        ("compnay", "company"),
    ],
)
def test_a_misspelled_field_of_the_map_is_refused(name: str, meant: str) -> None:
    with pytest.raises(ValidationError, match=f"did you mean {meant}"):
        settings(map={name: "X"})


@pytest.mark.parametrize("name", ["email", "mobile", "customer_no", "phone2", "emails", "tier", "names", "stage"])
def test_known_fields_and_own_names_of_the_map(name: str) -> None:
    assert settings(map={name: "X"}).map == {name: "X"}
