"""A mapping compared with a CRM's description of its fields: what is said, where, and what to do about it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.capabilities import FieldDescription, Level, MissingField
from syncd.connector import Idempotency, WriteKind
from syncd.mapping import load_mapping
from syncd.mapping.against import CrmDescription, Remark, compare, needs
from syncd.mapping.bounds import longest, type_of

MAPPING = """\
people:
  match:
    - {object: Contact, by: {Email: "{{ person.email }}"}}
    - {object: Lead, by: {Email: "{{ person.email }}"}}
  strangers: {"*": create}
  create:
    object: Lead
    key: K
    fields: {LastName: "{{ person.name | shorten(80) }}", Email: "{{ person.email }}"}
rules:
  - id: log
    signals: ["*"]
    upsert: Task
    key: K
    link: {WhoId: person}
    fields: {Subject: "Call {{ person.name | shorten(250) }}", Due: "{{ signal.occurred_at | date }}"}
    on_create: {Status: Completed}
    clear: [Old]
"""
KEY = FieldDescription(name="K", type="string", length=64, unique=True, key=True)
EMAIL = FieldDescription(name="Email", type="email", length=80)
LAST = FieldDescription(name="LastName", type="string", length=80, required=True)
SUBJECT = FieldDescription(name="Subject", type="string", length=255)
STATUS = FieldDescription(name="Status", type="picklist", length=40, values=("Completed", "Not Started"))
DUE = FieldDescription(name="Due", type="date")
WHO = FieldDescription(name="WhoId", type="reference", length=18, references=("Contact", "Lead"))
OLD = FieldDescription(name="Old", type="string", length=20)
GOOD = {"Contact": [EMAIL], "Lead": [KEY, LAST, EMAIL], "Task": [KEY, SUBJECT, STATUS, DUE, WHO, OLD]}


def crm(objects: dict[str, list[FieldDescription]] | None = None, **more: Any) -> CrmDescription:
    kind = more.pop("kind", Idempotency(WriteKind.UPSERT))
    options = {"folds_case": True, "prepare": "syncd prepare crm", **more}
    return CrmDescription(GOOD if objects is None else objects, keying=lambda object_, key: kind, **options)


def changed(object_: str, name: str, **more: Any) -> dict[str, list[FieldDescription]]:
    """The good CRM with one field described otherwise."""
    assert any(one.name == name for one in GOOD[object_])
    own = [described(one, **more) if one.name == name else one for one in GOOD[object_]]
    return {**GOOD, object_: own}


def described(one: FieldDescription, **more: Any) -> FieldDescription:
    return msgspec.structs.replace(one, **more)


def without(object_: str, *names: str) -> dict[str, list[FieldDescription]]:
    return {**GOOD, object_: [one for one in GOOD[object_] if one.name not in names]}


def said(objects: dict[str, list[FieldDescription]] | None = None, text: str = MAPPING, **more: Any) -> list[Remark]:
    """What is not well."""
    found = compare(load_mapping(text, name="m.yaml"), crm(objects, **more))
    return [remark for remark in found if remark.level is not Level.OK]


def lines(remarks: list[Remark]) -> list[str]:
    return [f"{remark.level}: {remark.fault}" for remark in remarks]


def test_a_mapping_that_fits_says_how_each_record_is_written() -> None:
    found = compare(load_mapping(MAPPING, name="m.yaml"), crm())
    assert [str(remark.fault) for remark in found] == [
        "m.yaml:8:5 people.create.key: Lead: upserted by K",
        "m.yaml:14:5 rules[0].key: Task: upserted by K",
    ]
    assert {remark.level for remark in found} == {Level.OK}


CASES: list[tuple[dict[str, list[FieldDescription]], str]] = [
    (
        {name: own for name, own in GOOD.items() if name != "Task"},
        "fault: m.yaml:13:5 rules[0].upsert: there is no Task, or our user may not see it "
        "(check the name, and give the user read and edit on it)",
    ),
    (
        {name: own for name, own in GOOD.items() if name != "Contact"},
        "fault: m.yaml:3:8 people.match[0].object: there is no Contact, or our user may not see it "
        "(check the name, and give the user read and edit on it)",
    ),
    (
        without("Task", "K"),
        "fault: m.yaml:14:5 rules[0].key: Task has no field K, or our user may not see it (`syncd prepare crm` makes it)",
    ),
    (
        {**without("Task", "Subject"), "Task": [*without("Task", "Subject")["Task"], FieldDescription(name="Subjekt")]},
        "fault: m.yaml:16:14 rules[0].fields.Subject: Task has no field Subject, or our user may not see it "
        "(did you mean Subjekt?)",
    ),
    (
        without("Task", "Due"),
        "fault: m.yaml:16:64 rules[0].fields.Due: Task has no field Due, or our user may not see it "
        "(correct the name; if it is to be a field of your own, `syncd prepare crm` makes it)",
    ),
    (
        without("Lead", "Email"),
        "fault: m.yaml:4:27 people.match[1].by.Email: Lead has no field Email, or our user may not see it "
        "(correct the name; if it is to be a field of your own, `syncd prepare crm` makes it)",
    ),
    (
        changed("Task", "Subject", creatable=False),
        "fault: m.yaml:16:14 rules[0].fields.Subject: Task.Subject cannot be written by our user "
        "(give the user edit on the field, or leave it out)",
    ),
    (
        changed("Task", "Subject", updatable=False),
        "fault: m.yaml:16:14 rules[0].fields.Subject: Task.Subject cannot be changed on a record that exists "
        "(move it to on_create)",
    ),
    (
        changed("Task", "Status", updatable=False),
        "warning: m.yaml:17:17 rules[0].on_create.Status: Task.Status cannot be changed: a new record whose answer was lost "
        "would be refused (leave it out, if the record can do without)",
    ),
    (
        changed("Task", "Old", required=True, creatable=False),
        "fault: m.yaml:18:13 rules[0].clear[0]: Task.Old is required: it cannot be emptied (take it out of clear)",
    ),
    (
        changed("Task", "Subject", length=200),
        "fault: m.yaml:16:14 rules[0].fields.Subject: Task.Subject takes 200 characters; this may have 255 (shorten to less)",
    ),
    (
        changed("Task", "Status", values=("Complete", "Open")),
        "fault: m.yaml:17:17 rules[0].on_create.Status: Task.Status does not take 'Completed' (did you mean Complete?)",
    ),
    (
        changed("Task", "Status", values=("Open",), restricted=False),
        "warning: m.yaml:17:17 rules[0].on_create.Status: 'Completed' is not one of the values of Task.Status (there are: Open)",
    ),
    (
        changed("Task", "Status", values=None, length=5),
        "fault: m.yaml:17:17 rules[0].on_create.Status: Task.Status takes 5 characters; this has 9 (shorten the text)",
    ),
    (
        changed("Task", "WhoId", references=("Contact",)),
        "warning: m.yaml:15:12 rules[0].link.WhoId: Task.WhoId cannot point at a Lead (it can at: Contact)",
    ),
    (
        changed("Task", "WhoId", references=("Account",)),
        "fault: m.yaml:15:12 rules[0].link.WhoId: Task.WhoId cannot point at a Contact or a Lead (it can at: Account)",
    ),
    (
        changed("Task", "K", length=20),
        "fault: m.yaml:14:5 rules[0].key: Task.K takes 20 characters; syncd's key has 36 (lengthen it to 64)",
    ),
    (
        changed("Task", "K", key=False, unique=False),
        "fault: m.yaml:14:5 rules[0].key: Task cannot be upserted by K: it is not marked as a key of records "
        "(make it an external id or unique, or state another kind: findable)",
    ),
    (
        changed("Task", "K", unique=False),
        "warning: m.yaml:14:5 rules[0].key: Task.K is not unique: two writers at once would both make a record "
        "(make it unique)",
    ),
    (
        {**GOOD, "Lead": [*GOOD["Lead"], FieldDescription(name="Company", required=True)]},
        "fault: m.yaml:7:5 people.create.object: nothing fills Company, without which no new Lead is taken "
        "(fill Company in fields or on_create)",
    ),
]


@pytest.mark.parametrize(("objects", "line"), CASES, ids=[line.split(": ", 2)[2][:50] for _, line in CASES])
def test_each_thing_has_its_place_and_its_remedy(objects: dict[str, list[FieldDescription]], line: str) -> None:
    assert line in lines(said(objects))


def test_clear_of_what_nobody_may_write() -> None:
    found = lines(said(changed("Task", "Old", updatable=False)))
    assert found == [
        "fault: m.yaml:18:13 rules[0].clear[0]: Task.Old cannot be changed on a record that exists "
        "(give the user edit on the field, or leave it out)"
    ]


def test_everything_is_said_at_once_in_the_order_of_the_file() -> None:
    objects = {"Lead": [EMAIL], "Task": [SUBJECT]}
    found = said(objects)
    assert len(found) == 8
    assert [remark.fault.line for remark in found] == sorted(remark.fault.line for remark in found)


def test_case_counts_where_the_crm_says_so() -> None:
    lower = {name: [described(one, name=one.name.lower()) for one in own] for name, own in GOOD.items()}
    assert said(lower) == []
    found = said(lower, folds_case=False)
    assert any("did you mean subject?" in str(remark.fault) for remark in found)


def test_a_long_text_without_shorten_is_warned_of_and_an_address_is_not() -> None:
    text = MAPPING.replace("Call {{ person.name | shorten(250) }}", "{{ signal.title }}")
    (one,) = said(text=text)
    assert str(one.fault).endswith(
        "Task.Subject takes 255 characters; a longer value is a dead letter (add | shorten(255))"
    )
    assert said(changed("Task", "Subject", length=32000), text=text) == []
    assert said(changed("Lead", "Email", length=10)) == []


# ------------------------------------------------------------------------------------------------------------- kinds

UNIQUE, LOOSE = changed("Task", "K", key=False), changed("Task", "K", key=False, unique=False)


@pytest.mark.parametrize(
    ("objects", "stated", "fault"),
    [
        (UNIQUE, "unique", ""),
        (LOOSE, "unique", "Task.K is not unique (stated: unique): a write in doubt would be there twice"),
        (LOOSE, "findable", ""),
        (UNIQUE, "upsert", "Task cannot be upserted by K (stated: upsert): it is not marked as a key of records"),
        (LOOSE, "at_most_once", ""),
    ],
)
def test_a_kind_that_is_stated_is_proved(objects: dict[str, list[FieldDescription]], stated: str, fault: str) -> None:
    by_config = said(objects, kinds={"Task": stated})
    by_rule = said(objects, text=MAPPING.replace("    upsert: Task\n", f"    upsert: Task\n    kind: {stated}\n"))
    for found in (by_config, by_rule):
        assert [remark.fault.message for remark in found] == ([fault] if fault else [])


def test_an_upsert_that_is_not_enforced_says_that_it_waits() -> None:
    loose = changed("Task", "K", unique=False)
    found = compare(load_mapping(MAPPING), crm(loose, kind=Idempotency(WriteKind.UPSERT, enforced=False)))
    assert [r.level for r in found] == [Level.OK, Level.OK]
    assert found[1].fault.message.endswith("what is in doubt waits before it is sent again")


# ------------------------------------------------------------------------------------------------------------- needs


def test_what_is_missing_and_of_what_sort() -> None:
    text = MAPPING.replace(
        "on_create: {Status: Completed}",
        'on_create: {A__c: true, B__c: 3, C__c: "{{ signal.occurred_at }}", D__c: "{{ signal.text | shorten(2000) }}", '
        'E__c: "{{ signal.title }}"}',
    )
    mapping = load_mapping(text)
    assert needs(mapping, crm(without("Lead", "K"))) == (
        MissingField(object="Lead", field="K", key=True, length=64),
        MissingField(object="Task", field="A__c", length=255, type="checkbox"),
        MissingField(object="Task", field="B__c", length=255, type="number"),
        MissingField(object="Task", field="C__c", length=255, type="datetime"),
        MissingField(object="Task", field="D__c", length=2000),
        MissingField(object="Task", field="E__c", length=255),
    )
    assert needs(load_mapping(MAPPING), crm()) == ()
    assert needs(load_mapping(MAPPING), crm({})) == (), "no field without its object"
    assert len(needs(load_mapping(MAPPING), crm({}, widens=True))) == 10


def test_what_is_made_by_the_first_write_is_no_fault() -> None:
    assert said({"Contact": [EMAIL], "Lead": [EMAIL]}, widens=True, prepare="") == []


# ------------------------------------------------------------------------------------------------------------ bounds


@pytest.mark.parametrize(
    ("template", "most", "type_"),
    [
        ("abc", 3, "text"),
        ("{{ signal.title }}", None, "text"),
        ("{{ signal.title | shorten(10) }}", 10, "text"),
        ("{{ 'abc' | shorten(10) }}", 3, "text"),
        ("{{ signal.title | shorten(limit=10) | trim }}", 10, "text"),
        ("{{ (person.name or person.phone) | shorten(80) }}", 80, "text"),
        ("{{ person.phone or 'nobody at all, really' }}", 21, "text"),
        ("{{ person.name or 'x' }}", None, "text"),
        ("To {{ person.phone }}!", 20, "text"),
        ("{{ 'a' if signal.text else 'bcd' }}", 3, "text"),
        ("{{ signal.occurred_at | date }}", 10, "date"),
        ("{{ signal.occurred_at }}", 32, "datetime"),
        ("{% if signal.text %}a{% endif %}", None, "text"),
        ("{{ signal.data.n | int }}", 20, "number"),
        ("{{ signal.person.email | default('none') }}", 254, "text"),
    ],
)
def test_bounds(template: str, most: int | None, type_: str) -> None:
    mapping = load_mapping(f'rules: [{{id: a, signals: ["*"], create: T, fields: {{F: "{template}"}}}}]')
    tree = mapping.parts.rules[0].fields["F"]
    assert (longest(tree), type_of(tree)) == (most, type_)


_NAMES = st.sampled_from(["Email", "LastName", "K", "Subject", "Status", "Due", "WhoId", "Old", "Other"])
_FIELDS = st.builds(
    FieldDescription,
    name=_NAMES,
    type=st.sampled_from(["string", "email", ""]),
    length=st.none() | st.integers(0, 300),
    values=st.none() | st.just(("Completed",)) | st.just(()),
    restricted=st.booleans(),
    required=st.booleans(),
    unique=st.booleans(),
    key=st.booleans(),
    creatable=st.booleans(),
    updatable=st.booleans(),
    references=st.sampled_from([(), ("Contact",), ("Lead", "Contact")]),
)
_OBJECTS = st.dictionaries(st.sampled_from(["Contact", "Lead", "Task"]), st.lists(_FIELDS, max_size=9))


@given(_OBJECTS, st.sampled_from(list(WriteKind)), st.booleans(), st.booleans(), st.booleans())
def test_any_description_is_borne_and_what_is_missing_is_said(
    objects: dict[str, list[FieldDescription]], kind: WriteKind, enforced: bool, folds: bool, widens: bool
) -> None:
    mapping = load_mapping(MAPPING, name="m.yaml")
    there = crm(objects, kind=Idempotency(kind, enforced), folds_case=folds, widens=widens)
    found = compare(mapping, there)
    assert found == tuple(sorted(found, key=lambda one: (one.fault.line, one.fault.column)))
    assert all(one.fault.line and one.fault.message for one in found)
    missing = needs(mapping, there)
    assert len({(need.object, need.field) for need in missing}) == len(missing)
    faults = [one for one in found if one.level is Level.FAULT]
    if missing and not widens:
        assert faults
    made = {name: list(own) for name, own in objects.items()}
    for need in missing:
        made.setdefault(need.object, []).append(FieldDescription(name=need.field, length=need.length))
    assert needs(mapping, dataclasses.replace(there, objects=made)) == (), "what was made is not missing any more"
