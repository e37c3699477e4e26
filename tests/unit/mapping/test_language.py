"""Loading a mapping: every fault at once with its place, policies, drafts and what they leave out."""

from __future__ import annotations

import textwrap
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from syncd.connector import Lookup, MatchField
from syncd.errors import ConfigError, UsageError
from syncd.mapping import Mapping, load_mapping
from syncd.mapping.model import (
    About,
    CompiledMapping,
    Draft,
    FieldFault,
    OnConflict,
    OwnerChoice,
    Skipped,
    Stranger,
    StrangerPolicy,
)
from syncd.mapping.verbs import UPSERT
from syncd.signals import Signal, make_person

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
MINIMAL = 'rules:\n  - {id: a, name: A, signals: ["*"], upsert: Task, key: K, fields: {S: "{{ signal.title }}"}}\n'
PEOPLE = """
people:
  match:
    - {object: Contact, by: {Email: "{{ person.email }}", Phone: "{{ person.phone }}"}}
    - {object: Lead, by: {Phone: "{{ person.raw.tel | phone }}"}}
  strangers: %s
  create:
    object: Lead
    key: K
    fields: {LastName: "{{ person.name or '?' }}", Source: "{{ signal.channel }}"}
    on_create: {Status: New}
"""


def load(text: str) -> Mapping:
    return load_mapping(textwrap.dedent(text), timezone=ZONE, region="VN", name="m.yaml")


def rule(more: str) -> str:
    head = "rules:\n  - id: a\n    name: A\n    signals: ['*']\n    upsert: Task\n    key: K\n"
    return head + textwrap.indent(textwrap.dedent(more), "    ")


def signal(kind: str = "call.missed", **parts: Any) -> Signal:
    when = datetime(2026, 1, 15, 9, tzinfo=UTC)
    person = parts.pop("person", make_person(name="An Nguyen", email="an@example.com", phone="+84912345678"))
    parts = {"title": "A title", **parts}
    return Signal(
        id=uuid.UUID(int=1), type=kind, source="s", occurred_at=when, received_at=when, person=person, **parts
    )


def only_draft(mapping: Mapping, of: Signal | None = None) -> Draft:
    (made,) = mapping.drafts(of or signal(), live=True)
    assert isinstance(made, Draft)
    return made


def faults(text: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return [(f.line, f.column, f.key, f"{f.message} ({f.hint})") for f in caught.value.faults]


def test_it_is_the_contract() -> None:
    mapping: CompiledMapping = load(MINIMAL)
    assert mapping.name == "m.yaml"
    assert not mapping.knows_people
    assert mapping.lookups(signal().person) == ()


def test_ten_faults_at_once_each_with_its_place() -> None:
    found = faults(
        """\
        peopel: {}
        people:
          match: [{object: Contact, by: {Email: "{{ signal.title }}"}}]
          strangers: creat
        rules:
          - id: a b
            signals: [call.missed]
            upsert: Task
            fields:
              Subject: "{{ signal.titel }}"
              Text: "{{ signal.text | shorten }}"
              Due: "{{ signal.occurred_at | busines_days(1) }}"
            on_create: {Subject: x}
            link: {WhoId: somebody}
            live_only: perhaps
            about: everything
        """
    )
    assert [place[:3] for place in found] == [
        (1, 1, "peopel"),
        (3, 34, "people.match[0].by.Email"),
        (4, 3, "people.strangers"),
        (6, 5, "rules[0].id"),
        (6, 5, "rules[0]"),
        (10, 7, "rules[0].fields.Subject"),
        (11, 7, "rules[0].fields.Text"),
        (12, 7, "rules[0].fields.Due"),
        (13, 17, "rules[0].on_create.Subject"),
        (14, 12, "rules[0].link.WhoId"),
        (15, 5, "rules[0].live_only"),
        (16, 5, "rules[0].about"),
    ]
    assert "did you mean people?" in found[0][3]
    assert "did you mean business_days?" in found[7][3]


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("", "", "must be keys and values"),
        ("rules: []", "rules", "must be a list of rules"),
        ("rules: {a: b}", "rules", "must be a list of rules"),
        ("people: {match: []}", "", "rules is required"),
        (MINIMAL + MINIMAL[7:], "rules[1].id", "another rule has the id a"),
        (MINIMAL.replace("key: K, ", ""), "rules[0]", "needs a key"),
        (MINIMAL.replace("upsert: Task", "convert: sales"), "rules[0].convert", "must be keys and values"),
        (MINIMAL.replace("upsert: Task", "upsert: Task, create: Task"), "rules[0]", "needs one of upsert or create"),
        (MINIMAL.replace("upsert: Task", "upsert: '{{ signal.type }}'"), "rules[0].upsert", "plain text"),
        (MINIMAL.replace("upsert: Task", "upsert: 17"), "rules[0].upsert", "must be text"),
        (MINIMAL.replace('["*"]', "[call missed]"), "rules[0].signals[0]", "signal type or a pattern"),
        (MINIMAL.replace("fields: {S", "kind: upsret, fields: {S"), "rules[0].kind", "did you mean upsert?"),
        (MINIMAL.replace("{S: ", "{K: "), "rules[0].fields.K", "it holds syncd's key"),
        (MINIMAL.replace("fields: {S", "link: {W: person}, fields: {S"), "rules[0].link.W", "no people part"),
        (MINIMAL.replace("fields: {S", "about: person, fields: {S"), "rules[0].about", "no people part"),
        (rule("fields: [a]"), "rules[0].fields", "fields and their values"),
        (rule("about: thread"), "rules[0]", "writes nothing"),
        (rule("fields: {A: 1}\nclear: A"), "rules[0].clear", "list of field names"),
        (rule("on_create: {A: 1}\nclear: [A]"), "rules[0].clear", "not both"),
        (rule("fields: {A: 1}\nwhen: signal.data.x >"), "rules[0].when", "bad template"),
        (rule("fields: {A: 1}\nwhen: 'is {{ 1 }} so'"), "rules[0].when", "one expression"),
        (rule("fields: {A: 1}\nwhen: [1]"), "rules[0].when", "must be an expression"),
        (rule("fields: {A: [1, {B: '{{ x }}'}]}"), "rules[0].fields.A[1].B", "unknown name x"),
        ("people: {match: [{object: C, by: {E: x}}]}\n" + MINIMAL, "people.match[0].by.E", "a part of the person"),
        ("people: {match: [{object: C, by: {}}]}\n" + MINIMAL, "people.match[0].by", "fields and values"),
        (PEOPLE % "{hold: 7 fortnights}" + MINIMAL, "people.strangers", "not a duration"),
        (PEOPLE % "{'call.*': {wait: 7d}}" + MINIMAL, "people.strangers.call.*", "must be create, skip"),
        ((PEOPLE % "create").partition("  create:")[0] + MINIMAL, "people.strangers", "no people.create"),
        (PEOPLE % "create" + "    owner: {round_robin: []}\n" + MINIMAL, "people.create.owner.round_robin", "ids"),
    ],
)
def test_faults(text: str, key: str, words: str) -> None:
    found = faults(text)
    assert any(fault[2] == key and words in fault[3] for fault in found), found


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_mapping(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes("rules: é".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        load_mapping(tmp_path / "latin.yaml")


def test_people_are_looked_up_by_what_is_known() -> None:
    mapping = load(PEOPLE % "create" + MINIMAL)
    assert mapping.knows_people
    by_mail, by_phone = MatchField("Email", "an@example.com"), MatchField("Phone", "+84912345678", phone=True)
    assert mapping.lookups(signal().person) == (Lookup("Contact", (by_mail, by_phone)),)
    raw = make_person(email="an@example.com", raw={"tel": "0912 345 678"})
    assert mapping.lookups(raw)[1] == Lookup("Lead", (MatchField("Phone", "+84912345678", phone=True),))
    assert mapping.lookups(make_person(name="Nobody")) == ()


@pytest.mark.parametrize(
    ("written", "kind", "policy"),
    [
        ("create", "call.missed", StrangerPolicy(Stranger.CREATE)),
        ("skip", "call.missed", StrangerPolicy(Stranger.SKIP)),
        ("{hold: 7d}", "call.missed", StrangerPolicy(Stranger.HOLD, timedelta(days=7))),
        ("'hold: 12h'", "call.missed", StrangerPolicy(Stranger.HOLD, timedelta(hours=12))),
        ("{'ticket.*': skip, '*': create}", "ticket.rated", StrangerPolicy(Stranger.SKIP)),
        ("{'ticket.*': skip, '*': create}", "call.missed", StrangerPolicy(Stranger.CREATE)),
        ("{'ticket.*': {hold: 1d}}", "ticket.rated", StrangerPolicy(Stranger.HOLD, timedelta(days=1))),
        ("{'ticket.*': {hold: 1d}}", "call.missed", StrangerPolicy(Stranger.SKIP)),
    ],
)
def test_strangers(written: str, kind: str, policy: StrangerPolicy) -> None:
    assert load(PEOPLE % written + MINIMAL).strangers(kind) == policy


def test_a_new_person() -> None:
    owner = "    owner: {round_robin: [o1, o2, o3]}\n"
    mapping = load(PEOPLE % "create" + owner + MINIMAL)
    made = mapping.stranger(signal())
    assert (made.rule, made.object, made.key_field, made.about) == ("people.create", "Lead", "K", About.PERSON)
    assert made.fields == {"LastName": "An Nguyen", "Source": "calls"}
    assert made.on_create["Status"] == "New"
    assert made == mapping.stranger(signal())
    assert made.owner == OwnerChoice(("o1", "o2", "o3"))
    alone = load(PEOPLE % "create" + owner.replace("round_robin: [o1, o2, o3]", "user: o1, fallback: o2") + MINIMAL)
    assert alone.stranger(signal()).owner == OwnerChoice(("o1",), "o2")


def test_what_to_do_with_a_number_of_several_records() -> None:
    text = PEOPLE % "create" + MINIMAL
    assert load(text).conflict is OnConflict.HOLD
    assert load(text.replace("people:", "people:\n  conflict: first", 1)).conflict is OnConflict.FIRST
    with pytest.raises(ConfigError, match="is not one of hold, first"):
        load(text.replace("people:", "people:\n  conflict: frist", 1))


@pytest.mark.parametrize(
    ("value", "phone"),
    [("{{ person.phone }}", True), ("{{ person.raw.mobile | phone }}", True), ("{{ person.email }}", False)],
)
def test_which_terms_are_phones(value: str, phone: bool) -> None:
    text = f"people: {{match: [{{object: A, by: {{F: '{value}'}}}}]}}\n" + MINIMAL
    person = make_person(email="a@x.example", phone="+84912345678", raw={"mobile": "+84912345678"})
    assert [term.phone for lookup in load(text).lookups(person) for term in lookup.terms] == [phone]


def test_a_draft() -> None:
    text = PEOPLE % "skip" + rule(
        """\
        about: thread
        kind: findable
        link: {WhoId: person, WhatId: account}
        fields:
          Subject: "{{ signal.title }}"
          Empty: "{{ signal.url }}"
          Emptied: "{{ signal.reply }}"
          Number: 5
          Flag: false
          Day: "{{ signal.occurred_at | date }}"
          Tags: [syncd, "{{ signal.channel }}", "{{ signal.url }}"]
          Layout: {id: "17", none: "{{ signal.url }}"}
        on_create: {Status: Open}
        clear: [Old, Emptied, Subject]
        """
    )
    assert only_draft(load(text)) == Draft(
        rule="a",
        object="Task",
        key_field="K",
        about=About.THREAD,
        fields={
            "Subject": "A title",
            "Number": 5,
            "Flag": False,
            "Day": date(2026, 1, 15),
            "Tags": ["syncd", "calls"],
            "Layout": {"id": "17"},
        },
        on_create={"Status": "Open"},
        verb=UPSERT,
        clear=("Old", "Emptied"),
        links={"WhoId": "person", "WhatId": "account"},
        kind="findable",
    )


def test_create_writes_once() -> None:
    made = only_draft(load(MINIMAL.replace("upsert: Task", "create: Task")))
    assert (made.fields, made.on_create) == ({}, {"S": "A title"})


def test_rules_fit_by_pattern_in_their_order() -> None:
    more = [MINIMAL[7:].replace("id: a", f"id: {name}").replace('"*"', pattern) for name, pattern in
            [("b", "call.missed"), ("c", '"ticket.*", "call.*"'), ("d", "calls.missed"), ("e", '"*.missed"')]]  # fmt: skip
    mapping = load(MINIMAL + "".join(more))
    assert [made.rule for made in mapping.drafts(signal(), live=True)] == ["a", "b", "c", "e"]
    assert [made.rule for made in mapping.drafts(signal("custom.x"), live=True)] == ["a"]


def test_the_past_stays_quiet() -> None:
    mapping = load(rule("live_only: true\nfields: {A: 1}"))
    assert mapping.drafts(signal(), live=False) == [Skipped("a", "live_only")]
    assert isinstance(mapping.drafts(signal(), live=True)[0], Draft)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("signal.data.score <= 2", True),
        ("'{{ signal.data.score > 2 }}'", False),
        ("signal.data.absent", False),
        ("signal.data.zero", False),
        ("signal.data.blank", False),
        ("person.email", True),
        ("false", False),
        ("true", True),
    ],
)
def test_when(when: str, holds: bool) -> None:
    made = load(rule(f"when: {when}\nfields: {{A: 1}}")).drafts(
        signal(data={"score": 1, "zero": 0, "blank": " "}), live=True
    )
    assert isinstance(made[0], Draft) is holds
    assert holds or made == [Skipped("a", "when")]


def test_a_condition_that_fails_is_told() -> None:
    made = only_draft(load(rule("when: signal.title > 3\nfields: {A: 1}")))
    assert [fault.field for fault in made.faults] == ["when"]


def test_one_failing_field_harms_only_itself() -> None:
    text = rule(
        """\
        fields: {Good: "{{ signal.title }}", Bad: "{{ signal.title | int }}"}
        on_create:
          Also: "{% if true %}{{ signal.data.x }}{% endif %}"
          Worse: "{% if true %}{{ signal.title | date }}{% endif %}"
        """
    )
    made = only_draft(load(text), signal(data={"x": 1}))
    assert (made.fields, made.on_create) == ({"Good": "A title"}, {"Also": "1"})
    assert made.faults[0] == FieldFault("Bad", "'A title' is not a number")
    assert made.faults[1].field == "Worse"


def test_customers_text_is_only_data() -> None:
    hostile = "{{ person.email }}{% for x in y %}{{ 7*7 }}"
    made = only_draft(
        load(rule('fields: {A: "{{ signal.title }}", B: "Re: {{ signal.title }}"}')), signal(title=hostile)
    )
    assert made.fields == {"A": hostile, "B": f"Re: {hostile}"}


def test_what_no_crm_stores_is_dropped_and_what_is_too_long_is_told() -> None:
    mapping = load(rule('fields: {A: "{{ signal.title }}", B: "{{ signal.text }}"}'))
    made = only_draft(mapping, signal(title="a\0b\ud800c", text="x" * 1_000_001))
    assert made.fields == {"A": "abc"}
    assert "use the filter shorten" in made.faults[0].message


def test_the_fingerprint_is_of_the_meaning() -> None:
    one = load(MINIMAL)
    assert load("# a comment\n" + MINIMAL).fingerprint == one.fingerprint
    assert load(MINIMAL.replace("Task", "Event")).fingerprint != one.fingerprint
    assert load_mapping(MINIMAL, timezone=UTC, region="VN").fingerprint != one.fingerprint
