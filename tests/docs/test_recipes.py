"""Every recipe of docs/recipes.md is compiled without a warning, and run: its signals become the records shown there."""

from __future__ import annotations

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from syncd.config.loading import parse_settings
from syncd.config.yaml_positions import read_yaml
from syncd.mapping import load_mapping
from syncd.mapping.lint import warnings_of
from syncd.mapping.testing import run_tests

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
SECTIONS = re.findall(r"^## (\d+\. [^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
PEOPLE = 'people: {match: [{object: Contact, by: {Email: "{{ person.email }}"}}]}\n'
RULE = "rules: [{id: a, name: A, signals: ['*'], upsert: Task, key: K, link: {WhoId: person}, fields: {A: 1}}]\n"


def whole(block: str) -> str:
    """The mapping that a recipe is a part of."""
    return f"{PEOPLE}rules:\n{block}" if isinstance(read_yaml(block, "recipe").data, list) else block + RULE


@pytest.mark.parametrize(("title", "body"), SECTIONS, ids=[title for title, _ in SECTIONS])
def test_the_recipe_makes_what_it_shows(title: str, body: str) -> None:
    recipe, *cases = BLOCK.findall(body)
    if "destinations:" in recipe:
        loaded = parse_settings(recipe, PAGE.with_name("config.yaml"), {}, need_secrets=False)
        assert loaded.settings is not None
        return
    mapping = load_mapping(whole(recipe), timezone=ZoneInfo("Asia/Ho_Chi_Minh"), region="VN")
    assert warnings_of(mapping) == ()
    assert cases, "a recipe shows what it makes"
    for case in cases:
        results = run_tests(mapping, case)
        assert [str(fault) for result in results for fault in result.differences] == []


def test_there_are_twenty() -> None:
    assert [int(title.partition(".")[0]) for title, _ in SECTIONS] == list(range(1, 21))
