"""Mapping never raises on any signal; generated code and Jinja2 say the same; what comes out can leave."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import PersonMatch
from syncd.mapping import load_mapping
from syncd.mapping.bounds import longest
from syncd.mapping.compiler import compile_groups
from syncd.mapping.expressions import Expression, Sandbox, parse
from syncd.mapping.filters import make_filters
from syncd.mapping.lint import lint_mapping
from syncd.mapping.model import Draft
from syncd.mapping.preview import preview
from syncd.mapping.shipped import find_mapping, shipped_mappings
from syncd.mapping.values import OPERATORS, clean, to_text
from syncd.signals import Person, Route, Signal, known_types

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
SANDBOX = Sandbox(make_filters(ZONE, "VN"))
HOSTILE = [
    "{{ person.email }}",
    "{% for x in y %}",
    "\0",
    "\ud800",
    "<p>a<br>",
    "2026-01-01",
    "=1+1",
    "e\u0301" * 9,
    "  ",
]
texts = st.text(st.characters(), max_size=40) | st.sampled_from(HOSTILE)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts | st.sampled_from(["x", "items", "y"]), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(texts | st.sampled_from(["x", "y", "items", "tel"]), data, max_size=4)
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given
people = st.builds(
    Person,
    name=texts,
    first_name=texts,
    last_name=texts,
    email=texts,
    phone=texts | st.sampled_from(["+84912345678", "0912"]),
    company=texts,
    handles=st.dictionaries(texts, texts, max_size=2),
    raw=objects,
)
signals = st.builds(
    Signal,
    id=st.uuids(),
    type=st.sampled_from([*known_types(), "custom.order", "nonsense", ""]),
    source=texts,
    occurred_at=times,
    received_at=times,
    title=texts,
    text=texts | st.just("x" * 1_100_000),
    url=texts,
    reply=texts,
    person=people,
    data=objects,
    thread=texts,
    route=st.sampled_from(list(Route)),
)

WORST = """
people:
  match: [{object: A, by: {B: "{{ person.raw.tel | phone }}", C: "{{ person.raw.x.y | int }}"}}]
  strangers: {"call.*": create, "*": {hold: 1d}}
  create: {object: A, key: K, fields: {A: "{{ person.raw.x | date }}"}, owner: {round_robin: [a, b]}}
rules:
  - id: worst
    signals: ["*"]
    upsert: T
    key: K
    when: signal.data.x >= 3 or signal.data.y[0].z < person.raw.x or true
    link: {W: person}
    fields:
      A: "{{ signal.data.x }}"
      B: "{{ signal.data.x | date }}"
      C: "{{ signal.data.x | int }}"
      D: "{{ signal.data.x + signal.data.y * 3 / signal.data.x }}"
      E: "{{ signal.text | plain | shorten(5) }}"
      F: "{{ signal.data | json }}"
      G: "{% for i in signal.data.items %}{{ i.x }}{{ i | json }}{% endfor %}"
      H: "{{ signal.data.x | business_days(3) }}"
      I: "{{ signal.data.x | phone('national') }}"
      J: "{{ signal.data.x[0].y | replace('a', 'b') | title | split(',') | join }}"
      K2: "{{ person.raw.x in signal.data.y and signal.data.x[1:2] }}"
      L: "{{ signal.data.x | round(2) }} {{ signal.data.y | strftime('%d/%m/%Y') }}"
      M: "{{ signal.occurred_at | business_days(5) }}"
      N: "{{ signal.channel }}{{ signal.route }}{{ signal.id }}"
      O: ["{{ signal.data.x }}", {a: "{{ signal.data }}"}]
      P: "{{ signal.occurred_at | datetime('America/New_York') }}"
    clear: [A]
"""
WORST_MAPPING = load_mapping(WORST, timezone=ZONE, region="VN")
SHIPPED = [
    load_mapping(find_mapping(name, Path("/nonexistent")), timezone=ZONE, region="VN") for name in shipped_mappings()
]


def can_leave(value: Any) -> bool:
    """Can every destination serialise it?"""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(key, str) and can_leave(each) for key, each in value.items())
    if isinstance(value, list):
        return bool(value) and all(map(can_leave, value))
    if isinstance(value, (date, datetime)):
        return True
    return value is not None and value != "" and type(value) in (str, int, float, bool) and bool(orjson.dumps(value))


@pytest.mark.parametrize("mapping", [WORST_MAPPING, *SHIPPED], ids=lambda mapping: Path(mapping.name).stem)
@given(signal=signals, live=st.booleans())
def test_mapping_never_raises_on_any_signal(mapping: Any, signal: Signal, live: bool) -> None:
    made = list(mapping.drafts(signal, live=live))
    if mapping.knows_people:
        made.append(mapping.stranger(signal))
        assert all(term.value for lookup in mapping.lookups(signal.person) for term in lookup.terms)
        mapping.strangers(signal.type)
    for draft in made:
        if isinstance(draft, Draft):
            assert all(can_leave(value) for value in (*draft.fields.values(), *draft.on_create.values()))
            assert all(fault.field and fault.message for fault in draft.faults)
    assert mapping.drafts(signal, live=live) == made[: len(mapping.drafts(signal, live=live))]
    for found in (None, PersonMatch(object="Contact", id="1", role="contact")):
        preview(mapping, signal, found, live=live)


leaves = st.sampled_from(
    [
        *(
            "person.email",
            "person.name",
            "person.raw.x.y[0]",
            "signal.title",
            "signal.text",
            "signal.type",
            "signal.id",
        ),
        *("signal.route", "signal.occurred_at", "signal.data.x", "signal.data.items", "signal.data['y']"),
        *("signal.data.x[-1]", "'a'", "3"),
    ]
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from("or and == != < > <= >= ~ + - * / // % in".split()), inner)  # noqa: SIM905
    filters = [
        "upper",
        "shorten(4)",
        "plain",
        "title",
        "int(0)",
        "date",
        "json",
        "default('-')",
        "first",
        "length",
        "string",
    ]
    return (
        binary.map(lambda parts: f"({' '.join(parts)})")
        | st.tuples(
            inner, st.sampled_from([*filters, "join('+')", "phone", "business_days(2)", "round(1)", "pluck('x')"])
        ).map(lambda parts: f"({parts[0]} | {parts[1]})")
        | inner.map(lambda one: f"(not {one})")
        | st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})")
        | st.tuples(inner, st.sampled_from(["defined", "empty", "string", "number", "none"])).map(
            lambda parts: f"({parts[0]} is {parts[1]})"
        )
        | st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | inner.map(lambda one: f"{one}[1:3]")
    )


expressions = st.recursive(leaves, _grown, max_leaves=6)
templates = expressions.map(lambda one: f"{{{{ {one} }}}}") | st.tuples(expressions, expressions).map(
    lambda two: f"a {{{{ {two[0]} }}}} b{{{{ {two[1]} }}}}"
)


@given(template=templates, signal=signals)
def test_generated_code_and_jinja_say_the_same(template: str, signal: Signal) -> None:
    expression = parse(template, SANDBOX)
    if not isinstance(expression, Expression):
        return  # such as a filter that refuses a literal
    fast, jinja = (
        compile_groups([{"F": expression}], SANDBOX, only_jinja=only)(signal, signal.person) for only in (False, True)
    )
    assert fast == jinja
    assert [type(value) for value in fast[0][0].values()] == [type(value) for value in jinja[0][0].values()]


@given(
    value=st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts | st.floats(allow_nan=False, allow_infinity=False)
)
def test_a_whole_expression_keeps_the_type(value: Any) -> None:
    when = datetime(2026, 1, 15, tzinfo=UTC)
    signal = Signal(
        id=uuid.UUID(int=1),
        type="custom.x",
        source="s",
        occurred_at=when,
        received_at=when,
        title="t",
        data={"v": value},
    )
    mapping = load_mapping('rules: [{id: a, signals: ["*"], upsert: T, key: K, fields: {F: "{{ signal.data.v }}"}}]')
    (made,) = mapping.drafts(signal, live=True)
    assert isinstance(made, Draft)
    assert made.fields == ({} if clean(value) is None else {"F": clean(value)})
    assert all(type(kept) is type(value) for kept in made.fields.values())


@given(left=data, right=data, name=st.sampled_from(sorted(set(OPERATORS) - {"slice", "each", "neg", "concat"})))
def test_operators_give_a_value_or_a_told_fault(left: Any, right: Any, name: str) -> None:
    template = {"in": "in", "notin": "not in", "lt": "<", "lteq": "<=", "gt": ">", "gteq": ">="}.get(name)
    template = template or {"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%"}[name]
    expression = parse(f"{{{{ signal.data.l {template} signal.data.r }}}}", SANDBOX)
    when = datetime(2026, 1, 15, tzinfo=UTC)
    both = {"l": left, "r": right}
    signal = Signal(id=uuid.UUID(int=1), type="x", source="s", occurred_at=when, received_at=when, title="t", data=both)
    _, faults = compile_groups([{"F": expression}], SANDBOX)(signal, signal.person)
    assert all("Error)" not in fault.message for fault in faults), faults


@given(st.text(max_size=80) | st.text("{}%#|.'\"() \nabpersonignaldt[]0~", max_size=80))
def test_any_template_loads_or_is_a_fault(text: str) -> None:
    parse("{{" + text + "}}", SANDBOX)
    parse(text, SANDBOX)


@given(st.text(max_size=60) | st.text("-:{}[]'\" \nrulesidpoe*", max_size=120))
def test_any_text_lints(text: str) -> None:
    found = lint_mapping(text)
    assert (found.mapping is None) is bool(found.faults)


_SHORT = st.integers(1, 40).map(lambda n: f"signal.title | shorten({n})")
_PARTS = st.recursive(
    _SHORT | st.sampled_from(["'abc'", "signal.id", "signal.occurred_at | date"]),
    lambda inner: (
        st.tuples(inner, inner).map(lambda two: f"(({two[0]}) or ({two[1]}))")
        | st.tuples(inner, inner).map(lambda two: f"(({two[0]}) if signal.text else ({two[1]}))")
        | st.tuples(inner, inner).map(lambda two: f"(({two[0]}) ~ ({two[1]}))")
        | inner.map(lambda one: f"({one} | trim)")
        | st.tuples(inner, st.integers(1, 60)).map(lambda two: f"(({two[0]}) | shorten({two[1]}))")
    ),
    max_leaves=5,
)


@given(part=_PARTS, around=st.sampled_from(["{}", "To {}", "{} and {}"]), signal=signals)
def test_no_value_is_longer_than_its_bound(part: str, around: str, signal: Signal) -> None:
    sandbox = Sandbox(make_filters(UTC, None))
    tree = parse(around.replace("{}", "{{ " + part + " }}"), sandbox)
    assert isinstance(tree, Expression)
    most = longest(tree)
    (values,), faults = compile_groups([{"F": tree}], sandbox)(signal, signal.person)
    assert most is not None
    assert faults or len(to_text(values.get("F", ""))) <= most
