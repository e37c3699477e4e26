"""The documentation says what is so: generated parts are fresh, links lead somewhere, configurations load, nothing is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from syncd import registry
from syncd.config.loading import parse_settings
from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.config.schema import key_rows
from syncd.errors import ConfigError
from syncd.signals import CATALOGUE
from tests.docs.generate import (
    OURS,
    UNWRITTEN,
    command_tree,
    connectors,
    filled,
    new_page,
    page_of,
    pages,
    parameters,
    parts_of,
)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EVERY = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TRACKER = "issue "
FOLDER = re.compile(r"(?<![\w.:~/{}>…-])/([a-z_]+)/")
"""The first folder of an absolute path, or of a URL's path."""
FOLDERS = {"backup", "dev", "etc", "home", "opt", "run", "usr", "var", "webhooks", "_twin"}
"""An admin's machine has these, and syncd serves these; any other is a path of whoever wrote the page."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    text = FENCE.sub("", page.read_text("utf-8"))
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}: no such heading"


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_nothing_of_our_workshop(page: Path) -> None:
    text = page.read_text("utf-8")
    assert set(FOLDER.findall(text)) <= FOLDERS
    assert TRACKER not in text


@pytest.mark.parametrize("page", pages(), ids=name)
def test_generated_parts_are_fresh(page: Path) -> None:
    text = page.read_text("utf-8")
    assert filled(text) == text, f"{name(page)} is out of date: run `make docs`"


def configurations() -> list[tuple[str, str]]:
    """(page and number, block) of every configuration that is shown; those of mapping.md and recipes.md are mappings."""
    found = []
    for page in EVERY:
        if page.name in ("mapping.md", "recipes.md", "twins.md"):
            continue
        blocks = [
            body
            for language, body in FENCE.findall(page.read_text("utf-8"))
            if language == "yaml" and not body.startswith(" ")
        ]
        found += [(f"{name(page)}-{number}", body) for number, body in enumerate(blocks)]
    return found


@pytest.mark.parametrize(("where", "block"), configurations(), ids=[where for where, _ in configurations()])
def test_configurations_load(where: str, block: str) -> None:
    try:
        parse_settings(block, ROOT / "config.yaml", {}, need_secrets=False)
    except ConfigError as error:
        pytest.fail(f"{where}: {error}")


def test_every_command_and_option_is_documented() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")
    for path, command in command_tree():
        assert f"\n## {path}\n" in text
        section = text.partition(f"\n## {path}\n")[2].partition("\n## ")[0]
        for written, says in parameters(command):
            assert (
                f"| `{written}` |".replace("|salesforce", "\\|salesforce") in section
                or written.replace("|", "\\|") in section
            )
            assert says, f"{path} {written}: no word of help"
        assert command.help, f"{path}: no word of help"


@pytest.mark.parametrize(("role", "kind"), connectors(), ids=[f"{role}.{kind}" for role, kind in connectors()])
def test_every_connector_has_its_page(role: str, kind: str) -> None:
    page = page_of(role, kind)
    assert page.exists(), f"the connector {kind} has no page: run `make docs`, then write its part by hand"
    text = page.read_text("utf-8")
    for _, what in parts_of(role, kind):
        assert f"<!-- generated: {what} -->" in text, f"{name(page)} lacks this block; put it in, then run `make docs`"
    assert f"type: {kind}\n" in text, f"{name(page)}: an example"
    assert UNWRITTEN not in text, f"{name(page)}: the part by hand is not written yet"
    index = (DOCS / "connectors" / "README.md").read_text("utf-8")
    assert f"({page.name})" in index


def test_a_page_that_is_begun_is_whole_but_for_the_part_by_hand() -> None:
    for role, kind in connectors():
        text = new_page(role, kind)
        assert UNWRITTEN in text
        assert filled(text) == text
        assert f"type: {kind}\n" in text


def test_every_channel_and_switch_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text("utf-8")
    for channel, switches in CATALOGUE.items():
        for switch, kind in switches.items():
            assert f"| `{channel}` | `{switch}` | `{kind}` |" in text


def test_every_key_has_a_description_and_is_in_the_example() -> None:
    shown = (ROOT / "config.example.yaml").read_text("utf-8")
    models: list[tuple[str, type[BaseModel]]] = [
        ("", Settings),
        ("source", SourceSettings),
        ("destination", DestinationSettings),
    ]
    models += [(f"{role}.{kind}", registry.load(role, kind).settings) for role, kind in connectors()]
    for where, model in models:
        for row in key_rows(model):
            if where in ("source", "destination") and row["key"] in OURS:
                continue
            if not where and row["key"].startswith(("sources.", "destinations.")):
                continue  # the models of entries follow
            assert row["description"], f"{where} {row['key']}: no description"
            last = row["key"].rpartition(".")[2]
            assert re.search(rf"\b{last}:", shown), f"{where} {row['key']}: not in config.example.yaml"


def test_the_example_configuration_is_valid_as_it_stands() -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    loaded = parse_settings(text, ROOT / "config.example.yaml", {}, need_secrets=False)
    assert loaded.settings is not None
    assert loaded.warnings == ()
    wanted = {(role, kind) for role, kind in connectors()}
    used = {("source", one.type) for one in loaded.settings.sources.values()}
    used |= {("destination", one.type) for one in loaded.settings.destinations.values()}
    assert used == wanted, "every connector has its example"


def test_the_architecture_names_what_is_there() -> None:
    spans = re.findall(r"`([^`\s]+)`", (DOCS / "architecture.md").read_text("utf-8"))
    files = [path.relative_to(ROOT).as_posix() for top in ("syncd", "tests") for path in (ROOT / top).rglob("*.*")]
    tests = "".join(
        path.read_text("utf-8") for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "syncd/testing").glob("*.py")]
    )
    for span in spans:
        path, _, test = span.partition("::")
        test = test or (path if path.startswith("test_") and not path.endswith(".py") else "")
        if test:
            assert f"def {test}(" in tests, span
        if path.endswith("/"):
            assert (ROOT / path).is_dir() or (ROOT / "syncd" / path).is_dir(), span
        elif path.endswith((".py", ".yaml")) and "*" not in path:
            assert any(file == path or file.endswith(f"/{path}") for file in files), span


def test_what_is_commented_out_in_the_example_is_valid_too() -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    text = re.sub(r"(?m)^( +)# (\w+: )", r"\1\2", text)
    text = re.sub(r"(?m)^ +each: .*\n", "", text)  # with it, `body` is an `item`
    text = re.sub(r"(?m)^ +(timestamp_field|signature_field|separator): .*\n", "", text)  # instead of timestamp_header
    loaded = parse_settings(text, ROOT / "config.example.yaml", {}, need_secrets=False)
    assert loaded.settings is not None


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    pages_there = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("*.md")} - {"README.md"}
    assert {page for page in pages_there if f"({page})" not in index} == set()
