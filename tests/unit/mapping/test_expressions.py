"""Templates: twenty and more recipes, by generated code and by Jinja2 alike; what is refused at load, and escapes."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from syncd.mapping.compiler import compile_groups
from syncd.mapping.expressions import Expression, Sandbox, parse
from syncd.mapping.filters import make_filters
from syncd.mapping.values import clean, to_json
from syncd.signals import Signal, make_person

SANDBOX = Sandbox(make_filters(ZoneInfo("Asia/Ho_Chi_Minh"), "VN"))
SIGNAL = Signal(
    id=uuid.UUID(int=7),
    type="survey.responded",
    source="survey",
    occurred_at=datetime(2026, 1, 15, 20, tzinfo=UTC),
    received_at=datetime(2026, 1, 15, 20, tzinfo=UTC),
    title="Answered the survey",
    text="Good\nwork",
    person=make_person(
        name="An Nguyen", email="an@example.com", phone="+84912345678", raw={"vip": True}, handles={"x": "@an"}
    ),
    data={
        "score": 9,
        "items": [{"name": "tea", "n": 2}, {"name": "rice", "n": 0}],
        "keys": "a key",
        "big": 10**30,
        "nothing": None,
        "nested": {"list": [[1, 2], [3]]},
        "price": "12.50",
    },
)


def values_of(template: str) -> list[tuple[dict[str, Any], list[str]]]:
    expression = parse(template, SANDBOX)
    assert isinstance(expression, Expression), expression
    made = []
    for only_jinja in (False, True):
        (values,), faults = compile_groups([{"F": expression}], SANDBOX, only_jinja=only_jinja)(SIGNAL, SIGNAL.person)
        made.append((values, [fault.message for fault in faults]))
    return made


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("{{ person.email }}", "an@example.com"),
        ("{{person['email']}}", "an@example.com"),
        ("{{ signal.person.email }}", "an@example.com"),
        ("{{ person.company or '[not provided]' }}", "[not provided]"),
        ("{{ person.company }}", None),
        ("{{ person.phone }}", "+84912345678"),
        ("{{ signal.data.items }}", [{"name": "tea", "n": 2}, {"name": "rice", "n": 0}]),
        ("{{ signal.data.items[0].name }}", "tea"),
        ("{{ signal.data.items[-1]['name'] }}", "rice"),
        ("{{ signal.data.items[9].name.more }}", None),
        ("{{ signal.data.keys }}", "a key"),
        ("{{ signal.data.nested.list[0][1] }}", 2),
        ("{{ signal.data.missing.deeper[3] }}", None),
        ("{{ signal.data.score }}", 9),
        ("{{ signal.data.score > 8 }}", True),
        ("{{ signal.data.missing > 8 }}", False),
        ("{{ 5 < signal.data.score <= 9 }}", True),
        ("{{ signal.data.score * 10 + 1 }}", 91),
        ("{{ -signal.data.score // 2 }}", -5),
        ("{{ signal.data.missing + 1 }}", None),
        ("{{ signal.data.price | float }}", 12.5),
        ("{{ 'good' if signal.data.score >= 8 else 'bad' }}", "good"),
        ("{{ 'bad' if signal.data.score < 8 }}", None),
        ("{{ signal.type in ['survey.responded', 'call.missed'] }}", True),
        ("{{ 'work' in signal.text and not person.company }}", True),
        ("{{ 'x' in signal.data.missing }}", False),
        ("{{ signal.data.nothing is none }}", True),
        ("{{ signal.data.score is defined and person.company is empty }}", True),
        ("{{ signal.occurred_at | date }}", date(2026, 1, 16)),
        ("{{ signal.occurred_at }}", datetime(2026, 1, 15, 20, tzinfo=UTC)),
        ("On {{ signal.occurred_at | date }}", "On 2026-01-16"),
        ("{{ signal.id }}", "00000000-0000-0000-0000-000000000007"),
        ("{{ signal.route }}/{{ signal.channel }}", "webhook/survey"),
        ("Call {{ person.company }}", "Call"),
        ("{{ person.company }} {{ person.company }}", None),
        ("  {{ signal.data.score }}  ", 9),
        ("{{ signal.data.score }}{{ signal.data.score }}", "99"),
        ("{{ person.first_name ~ ' ' ~ person.company ~ signal.data.nothing }}", "An "),
        ("{{ signal.text[:4] | upper }}", "GOOD"),
        ("{{ signal.data.items | pluck('name') | join(' + ') }}", "tea + rice"),
        ("{{ [person.email, person.company, signal.url] | join('\n') }}", "an@example.com"),
        ("{{ {'id': signal.data.score, 'none': person.company} }}", {"id": 9}),
        ("{{ person.handles.x }} {{ person.raw.vip }}", "@an true"),
        ("{% for i in signal.data.items %}{{ i.name }} x {{ i.n }}; {% endfor %}", "tea x 2; rice x 0;"),
        ("{% for i in signal.data.missing %}{{ i }}{% else %}none{% endfor %}", "none"),
        ("{% if signal.data.score > 8 %}Thanks!{% else %}Sorry{% endif %}", "Thanks!"),
        ("{% set n = signal.data.score %}{{ n }} of {{ 10 }}", "9 of 10"),
        ("{# nothing #}", None),
        ("{{ 0 }}", 0),
        ("{{ false }}", False),
        ("{{ '[1, 2]' }}", "[1, 2]"),
    ],
)
def test_recipes(template: str, wanted: Any) -> None:
    fast, jinja = values_of(template)
    assert fast == ({} if wanted is None else {"F": wanted}, [])
    assert jinja == fast
    assert type(fast[0].get("F")) is type(wanted)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ signal.data.big }}", "64 bits"),
        ("{{ signal.text > 3 }}", "cannot compare a number with text"),
        ("{{ signal.text + 'x' }}", "text is joined with ~"),
        ("{{ signal.data.score / 0 }}", "division by zero"),
        ("{{ signal.text | date }}", "not a date"),
        ("{{ signal.text | int }}", "not a number"),
        ("{% if true %}{{ signal.text | date }}{% endif %}", "not a date"),
    ],
)
def test_a_failing_field_says_why(template: str, words: str) -> None:
    for values, faults in values_of(template):
        assert values == {}
        assert len(faults) == 1
        assert words in faults[0]


@pytest.mark.parametrize(
    ("template", "message", "hint"),
    [
        ("{{ person.emial }}", "unknown part person.emial", "did you mean person.email?"),
        ("{{ signal.person.emial }}", "unknown part person.emial", "did you mean person.email?"),
        ("{{ email }}", "unknown name email", "did you mean person.email?"),
        ("{{ contact.email }}", "unknown name contact", ""),
        ("{{ signal.title | shorted(3) }}", "unknown filter shorted", "did you mean shorten?"),
        ("{{ signal.title | shorten }}", "missing a required argument: 'limit'", "shorten(limit"),
        ("{{ signal.title | shorten(3, units='x') }}", "unexpected keyword", "unit="),
        ("{{ signal.title | shorten('3') }}", "whole number", ""),
        ("{{ signal.title.upper() }}", "calls nothing", "| upper"),
        ("{{ range(10) }}", "calls nothing", "filter"),
        ("{{ signal.title.words }}", "signal.title has no parts", "signal.data"),
        ("{{ person }}", "person is not one value", "person.email"),
        ("{{ signal.person }}", "not one value", "person.email"),
        ("{{ 2 ** 9 }}", "pow is not part", ""),
        ("{{ signal.title is odd }}", "unknown test", ""),
        ("{{ signal.title", "bad template", "}}"),
        ("{{ signal.data.x | }}", "bad template", ""),
        ("{% include 'x' %}", "include is not part", ""),
        ("{% set person = 1 %}{{ 1 }}", "cannot be given another value", ""),
        ("{% for a in signal.data.x %}{% for b in a %}{{ b }}{% endfor %}{% endfor %}", "loop inside a loop", ""),
        ("{% filter upper %}x{% endfilter %}", "not part", ""),
    ],
)
def test_refused_at_load(template: str, message: str, hint: str) -> None:
    found = parse(template, SANDBOX)
    assert isinstance(found, list), found
    assert message in found[0].message
    assert hint in found[0].hint


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ signal.__class__.__init__.__globals__ }}",
    "{{ signal.data.x.__class__.__base__ }}",
    "{{ (signal.title | string).__class__ }}",
    "{{ ('%s' | replace('s', 'd')).format }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__ }}",
    "{{ signal.data.__class__ }}",
    "{{ signal.data['__class__'] }}",
    "{{ signal.data.x | attr('__class__') }}",
    "{{ signal.encode }}",
    "{{ signal['__struct_fields__'] }}",
    "{{ [].append }}",
    "{{ {}.items }}",
    "{{ namespace }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}",
    "{% import 'os' as os %}",
    "{{ signal.data.x.y() }}",
    "{% for x in signal.data.items %}{{ x.__class__ }}{{ loop.__class__ }}{% endfor %}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_nothing_of_python_can_be_reached(template: str) -> None:
    expression = parse(template, SANDBOX)
    if isinstance(expression, Expression):
        assert values_of(template) == [({}, []), ({}, [])]


def test_a_loop_that_prints_without_end_is_stopped() -> None:
    long = Signal(
        **{
            **{name: getattr(SIGNAL, name) for name in SIGNAL.__struct_fields__},
            "data": {"x": [0] * 5_000},
            "text": "y" * 9_999,
        }
    )
    expression = parse("{% for i in signal.data.x %}{{ signal.text }}{% endfor %}", SANDBOX)
    (values,), faults = compile_groups([{"F": expression}], SANDBOX)(long, long.person)
    assert values == {}
    assert "more than 1,000,000 characters" in faults[0].message


def test_a_long_number_inside_an_object_is_kept_as_its_digits() -> None:
    data = {"id": 10**22, "list": [-(2**63) - 1, 2**63, 7]}
    kept = {"id": "1" + "0" * 22, "list": ["-9223372036854775809", "9223372036854775808", 7]}
    assert clean(data) == kept
    assert to_json(data) == '{"id":"10000000000000000000000","list":["-9223372036854775809","9223372036854775808",7]}'
