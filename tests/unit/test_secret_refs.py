"""Secrets by reference: filled from the environment, files and credentials; what is missing is named, never shown."""

from pathlib import Path

import pytest

from syncd.config.secret_refs import resolve


def test_a_variable_a_file_and_a_credential(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    env = {"USER_NAME": "u", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert resolve("${USER_NAME}:${file:key}@${credential:key}", env, tmp_path).text == "u:s3cret@s3cret"
    assert resolve(f"${{file:{tmp_path}/key}}", {}, Path("/")).text == "s3cret"


def test_text_without_references_is_left_alone(tmp_path: Path) -> None:
    for text in ("plain", "{{ person.email }}", "$HOME", "100 $", "${"):
        found = resolve(text, {}, tmp_path)
        assert (found.text, found.used) == (text, False)
    assert resolve("$${KEPT}", {}, tmp_path).text == "${KEPT}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${GONE}", "environment variable GONE is not set"),
        ("${file:gone}", "file gone cannot be read: No such file or directory"),
        ("${credential:imap}", "needs systemd"),
        ("${EMPTY}", "environment variable EMPTY is empty"),
        ("${file:empty}", "file empty is empty"),
    ],
)
def test_what_is_missing_is_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    found = resolve(text, {"EMPTY": " "}, tmp_path)
    assert said in found.missing[0]
    assert not found.wrong


@pytest.mark.parametrize(
    ("text", "said"),
    [("${vault:x}", "not a source of secrets"), ("${a b}", "is not a reference"), ("${}", "is not a reference")],
)
def test_what_nobody_can_fill_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    assert said in resolve(text, {}, tmp_path).wrong[0]


def test_a_binary_or_endless_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "big").write_bytes(b"x" * 1_000_002)
    assert "not UTF-8" in resolve("${file:binary}", {}, tmp_path).wrong[0]
    assert "larger than" in resolve("${file:big}", {}, tmp_path).wrong[0]
