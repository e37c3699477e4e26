"""Titles are codes with parameters, complete in every language, and rendered in the language of a mapping."""

from __future__ import annotations

import ast
import string
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from syncd.errors import ConfigError
from syncd.mapping.loading import Mapping, load_mapping
from syncd.mapping.model import Draft
from syncd.mapping.preview import preview
from syncd.mapping.testing import run_tests
from syncd.signal_types import is_declared
from syncd.signals import Signal, decode_signal, encode
from syncd.texts.titles import ENGLISH, LANGUAGES, render, templates, title_in, titled
from tests.entries import a_signal

SYNCD = Path(__file__).parents[2] / "syncd"
MAPPING = (
    "rules: [{id: log, name: Log, signals: ['*'], upsert: Task, key: k, fields: {Subject: '{{ signal.title }}'}}]\n"
)


def parameters(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def called(**changes: str) -> Signal:
    return a_signal(**{**titled("call.missed.to", who="Nguyễn Văn An", to="+842412345678"), **changes})


def subject(mapping: Mapping, signal: Signal) -> object:
    (draft,) = mapping.drafts(signal, live=True)
    assert isinstance(draft, Draft)
    return draft.fields["Subject"]


def test_every_language_has_every_code_with_the_same_parameters() -> None:
    english = templates(ENGLISH)
    for language in LANGUAGES:
        assert list(templates(language)) == list(english), language
        for code, template in templates(language).items():
            assert parameters(template) == parameters(english[code]), f"{language} {code}"
            assert template.strip() == template
            assert "\n" not in template


def test_every_file_is_a_language() -> None:
    there = {path.name for path in files("syncd.texts.titles").iterdir() if path.name.endswith(".json")}
    assert there == {f"{language}.json" for language in LANGUAGES}


def test_no_template_is_without_a_connector_that_uses_it() -> None:
    makers = [*sorted((SYNCD / "connectors").rglob("*.py")), SYNCD / "texts" / "titles" / "__init__.py"]
    used = "".join(path.read_text("utf-8") for path in makers)
    by_type = {
        code for code in templates(ENGLISH) if is_declared(".".join(code.split(".")[:2]))
    }  # made of the signal type
    assert [code for code in templates(ENGLISH) if code not in by_type and f'"{code}"' not in used] == []


def test_connectors_word_no_title_themselves() -> None:
    wrong = [
        f"{path.relative_to(SYNCD)}:{keyword.value.lineno}"
        for path in sorted((SYNCD / "connectors").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Signal"
        for keyword in node.keywords
        if keyword.arg == "title" and any(isinstance(one, ast.JoinedStr) for one in ast.walk(keyword.value))
    ]
    assert wrong == [], "make the title with syncd.texts.titles.titled"


def test_the_english_text_stays_beside_the_code() -> None:
    signal = called()
    assert signal.title == "Missed call from Nguyễn Văn An to +842412345678"
    assert decode_signal(encode(signal)) == signal
    assert b"title_code" not in encode(a_signal())


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("en", "Missed call from Nguyễn Văn An to +842412345678"),
        ("vi", "Cuộc gọi nhỡ từ Nguyễn Văn An đến số +842412345678"),
        ("zh", "Nguyễn Văn An 拨打 +842412345678 的未接来电"),
    ],
)
def test_a_mapping_writes_titles_in_its_language(language: str, title: str) -> None:
    mapping = load_mapping(f"language: {language}\n{MAPPING}")
    assert subject(mapping, called()) == title
    assert preview(mapping, called())[0].fields[0].value == title


def test_without_a_language_titles_are_english_and_records_stay() -> None:
    assert subject(load_mapping(MAPPING), called()) == called().title
    assert load_mapping(MAPPING).fingerprint != load_mapping(f"language: vi\n{MAPPING}").fingerprint


def test_an_unknown_language_is_a_fault_with_its_place() -> None:
    with pytest.raises(ConfigError) as raised:
        load_mapping(f"language: fr\n{MAPPING}", name="m.yaml")
    assert (
        str(raised.value.faults[0]) == "m.yaml:1:1 language: 'fr' is not a language of titles (there are: en, vi, zh)"
    )


def test_signals_of_before_and_titles_of_others_stay_as_they_are() -> None:
    mapping = load_mapping(f"language: vi\n{MAPPING}")
    assert subject(mapping, a_signal(title="A subject of the customer {x}")) == "A subject of the customer {x}"
    assert subject(mapping, called(title_code="of.another.version")) == called().title
    assert title_in("vi", "t", "call.missed", {}) == "t"


def test_braces_of_customers_are_text() -> None:
    assert render("call.missed", {"who": "{to} {0}"}, "vi") == "Cuộc gọi nhỡ từ {to} {0}"


def test_a_mapping_test_may_give_the_code() -> None:
    mapping = load_mapping(f"language: zh\n{MAPPING}")
    case = """\
- name: In Chinese
  signal: {type: call.missed, title: Missed call from An, title_code: call.missed, title_parameters: {who: An}}
  expect: {log: {fields: {Subject: 来自 An 的未接来电}}}
"""
    assert [str(difference) for result in run_tests(mapping, case) for difference in result.differences] == []


@pytest.mark.parametrize(
    ("language", "title"), [("en", "Offer (3 times)"), ("vi", "Offer (3 lần)"), ("zh", "Offer（3 次）")]
)
def test_a_title_says_how_many_events_there_were(language: str, title: str) -> None:
    mapping = load_mapping(f"language: {language}\n{MAPPING}")
    one = a_signal(title="Offer", data={"count": 1, "last_at": "2026-03-02T09:00:00Z"})
    assert subject(mapping, one) == "Offer"
    assert subject(mapping, msgspec.structs.replace(one, data={**one.data, "count": 3})) == title
    assert subject(mapping, a_signal(title="Offer", data={"count": 3})) == "Offer"  # the vendor's own number
