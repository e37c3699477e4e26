"""The JSON Schema of the configuration takes what syncd takes, and refuses wrong keys."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from syncd.config.schema import config_schema
from syncd.config.yaml_positions import read_yaml
from tests.docs.json_schema import faults

ROOT = Path(__file__).parents[2]
EXAMPLE: dict[str, Any] = read_yaml((ROOT / "config.example.yaml").read_text("utf-8"), "example").data
SCHEMA = json.loads(json.dumps(config_schema()))


def test_it_says_which_schema_it_is() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_example_fits() -> None:
    assert list(faults(EXAMPLE, SCHEMA, SCHEMA)) == []


def test_what_is_commented_out_fits_too() -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    text = re.sub(r"(?m)^( +)# (\w+: )", r"\1\2", text)
    assert list(faults(read_yaml(text, "example").data, SCHEMA, SCHEMA)) == []


@pytest.mark.parametrize(
    "path",
    [("zone",), ("server", "port"), ("sources", "phones", "folders"), ("destinations", "crm", "orgid"), ("retry", "x")]
    + [("sources", name, "no_such_key") for name in EXAMPLE["sources"]]
    + [("destinations", name, "no_such_key") for name in EXAMPLE["destinations"]],
    ids=".".join,
)
def test_a_wrong_key_is_refused(path: tuple[str, ...]) -> None:
    wrong = copy.deepcopy(EXAMPLE)
    place = wrong
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = "x"
    assert list(faults(wrong, SCHEMA, SCHEMA))


def test_a_required_key_is_missed() -> None:
    wrong = copy.deepcopy(EXAMPLE)
    del wrong["sources"]["phones"]["account_sid"]
    assert list(faults(wrong, SCHEMA, SCHEMA))


def test_the_example_tells_editors_of_the_schema() -> None:
    first = (ROOT / "config.example.yaml").read_text("utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=syncd.schema.json"
