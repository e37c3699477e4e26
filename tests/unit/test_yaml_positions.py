"""The YAML reader: plain types, positions of everything, and every fault with its place."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config.yaml_positions import dotted, read_yaml
from syncd.errors import ConfigError, Fault


def read(text: str) -> Any:
    return read_yaml(textwrap.dedent(text), "f.yaml").data


def faults(text: str) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        read_yaml(textwrap.dedent(text), "f.yaml")
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("0912345678", "0912345678"),
        ("+84912345678", "+84912345678"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        (".5", ".5"),
        (".inf", ".inf"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("17", 17),
        ("-3", -3),
        ("0", 0),
        ("1.50", 1.5),
        ("2e3", 2000.0),
        ("'17'", "17"),
        ("!!str 17", "17"),
        ("=", "="),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: Any) -> None:
    found = read(f"key: {text}\n")["key"]
    assert found == value
    assert type(found) is type(value)


def test_places() -> None:
    document = read_yaml("a:\n  b: 1\n  list:\n    - x\n    - {y: 2}\n", "f.yaml")
    assert document.place(()) == (1, 1)
    assert document.place(("a", "b")) == (2, 3)
    assert document.place(("a", "list", 1)) == (5, 7)
    assert document.place(("a", "list", 1, "y")) == (5, 8)
    assert document.place(("a", "absent", "deeper")) == (1, 1)
    assert document.place(("a", "list", 9)) == (3, 3)
    assert document.place(("a", "b", "c")) == (2, 3)
    assert read_yaml("", "f.yaml").place(("a",)) == (1, 1)


def test_keys_are_text() -> None:
    assert read("1: a\ntrue: b\non: c\n") == {"1": "a", "true": "b", "on": "c"}


def test_all_duplicate_keys_at_once() -> None:
    found = faults("a: 1\nb: {c: 1, c: 2}\na: 2\n")
    assert [(f.line, f.column, f.key) for f in found] == [(2, 11, "b.c"), (3, 1, "a")]
    assert str(found[1]) == "f.yaml:3:1 a: this key is there twice (remove one)"


def test_anchors_and_merges() -> None:
    text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nsame: *b\n"
    assert read(text) == {"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 3}, "same": {"x": 1, "y": 2}}
    document = read_yaml(text, "f.yaml")
    assert document.place(("use", "x")) == (1, 11)
    assert document.place(("use", "y")) == (4, 3)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a:\n\tb: 1\n", 2, "spaces"),
        ("a: b: c\n", 1, "quotes"),
        ("a: [1, 2\nb: 3\n", 2, ""),
        ("a: 1\n  b: 2\n", 2, ""),
        ("a: 1\n---\nb: 2\n", 2, "---"),
        ("a: *nowhere\n", 1, "nowhere"),
        ("a: &x [*x]\n", 1, "itself"),
        ("a: !!python/object:os.system x\n", 1, "!!python"),
        ("a: !secret x\n", 1, "!secret"),
        ("? [1, 2]\n: x\n", 1, "plain text"),
        ("a: 1\nb: \x00\n", 2, "allow"),
        ("a: !!int many\n", 1, "!!int"),
    ],
)
def test_bad_syntax_says_where(text: str, line: int, words: str) -> None:
    found = faults(text)
    assert found[0].line == line
    assert words in str(found[0])


def test_laughing_aliases_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too large" in str(faults("\n".join(lines))[0])


def test_a_pit_of_brackets_is_refused() -> None:
    assert faults("[" * 20_000)[0].message == "nested too deeply"


def test_dotted() -> None:
    assert dotted(("rules", 0, "fields", "Subject")) == "rules[0].fields.Subject"
    assert dotted(()) == ""


@given(st.text(max_size=200))
def test_any_text_gives_data_or_faults(text: str) -> None:
    places = []
    try:
        places.append(read_yaml(text, "f.yaml").place(("a", 0)))
    except ConfigError as error:
        places += [(fault.line, fault.column) for fault in error.faults]
    assert places
    assert min(places) >= (1, 1)
