"""Every YAML block of docs/mapping.md loads, its tests hold, and it names every filter and test of the language."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC
from pathlib import Path

import pytest

from syncd.config.yaml_positions import read_yaml
from syncd.mapping import load_mapping
from syncd.mapping.filters import make_filters
from syncd.mapping.lint import warnings_of
from syncd.mapping.people_reader import CREATE_KEYS
from syncd.mapping.rules_reader import RULE_KEYS
from syncd.mapping.testing import run_tests
from syncd.mapping.values import PERSON_PARTS, SIGNAL_PARTS, TESTS
from syncd.signals import Signal

GUIDE = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
PEOPLE = 'people: {match: [{object: Contact, by: {Email: "{{ person.email }}"}}]}\n'
RULE = "rules:\n- id: a\n  name: A\n  signals: ['*']\n  upsert: Task\n  key: K\n  fields:\n"


def whole(block: str) -> str:
    """The mapping a block is, or is a part of."""
    data = read_yaml(block, "guide").data
    if isinstance(data, list):
        return f"{PEOPLE}rules:\n{block}"
    if "rules" in data:
        return block
    return f"{block}{RULE}    A: 1\n" if "people" in data else RULE + textwrap.indent(block, "    ")


@pytest.mark.parametrize("block", BLOCKS, ids=[str(number) for number, _ in enumerate(BLOCKS)])
def test_every_block_means_something(block: str) -> None:
    if "expect:" in block:
        results = run_tests(load_mapping(BLOCKS[0]), block)
        assert [result.differences for result in results if not result.passed] == []
    else:
        assert warnings_of(load_mapping(whole(block))) == ()


def test_the_guide_names_everything() -> None:
    names = [
        *make_filters(UTC, None),
        *TESTS,
        *SIGNAL_PARTS,
        *PERSON_PARTS,
        *CREATE_KEYS,
        *RULE_KEYS,
    ]
    assert [name for name in names if not re.search(rf"\b{name}\b", GUIDE)] == []


def test_the_parts_are_all_of_a_signal() -> None:
    code_of_title = {"title_code", "title_parameters"}  # signal.title is rendered of them, in the mapping's language
    assert {*Signal.__struct_fields__, "channel"} - code_of_title - {"repeat"} == SIGNAL_PARTS  # it is not stored
