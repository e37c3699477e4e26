"""`update:` in mappings: what it may say, what it makes, what preview shows of it."""

from __future__ import annotations

import pytest

from syncd.connector import PersonMatch
from syncd.errors import ConfigError
from syncd.mapping.loading import Mapping, load_mapping
from syncd.mapping.model import About, Draft
from syncd.mapping.preview import preview
from syncd.mapping.testing import run_tests
from syncd.signals import Signal
from tests.lane_rig import signal

PEOPLE = """
people:
  match: [{object: Contact, by: {Email: "{{ person.email }}"}}, {object: Lead, by: {Email: "{{ person.email }}"}}]
  strangers: {"*": create}
  create: {object: Lead, key: Key, fields: {LastName: "{{ person.email }}"}}
rules:
"""
RULE = 'id: a, name: A, signals: [contact.changed], update: Contact, fill: {Title: "{{ signal.title }}"}'


def mapping(rule: str, people: str = PEOPLE) -> Mapping:
    return load_mapping(f"{people}  - {{{rule}}}\n", name="m.yaml")


def changed() -> Signal:
    return signal(1, type="contact.changed")


def known(object_: str) -> PersonMatch:
    return PersonMatch(object=object_, id="1", role="contact")


def test_a_draft_of_the_persons_own_record() -> None:
    (draft,) = mapping(f"{RULE}, fields: {{A: 1}}, clear: [B]").drafts(changed(), live=True)
    assert isinstance(draft, Draft)
    assert (draft.own_record, draft.about, draft.key_field) == (True, About.PERSON, "")
    assert (draft.fields, draft.fill, draft.on_create, draft.clear) == ({"A": 1}, {"Title": "signal 1"}, {}, ("B",))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (f"{RULE}, key: K", "key cannot stand here: a rule that updates writes the person's own record"),
        (f"{RULE}, about: thread", "about cannot stand here"),
        (f"{RULE}, kind: upsert", "kind cannot stand here"),
        (f"{RULE}, link: {{WhoId: person}}", "link cannot stand here"),
        (f"{RULE}, on_create: {{A: 1}}", "on_create cannot stand here"),
        (f"{RULE}, fields: {{Title: x}}", "Title cannot be filled here: fields fills it too"),
        (f"{RULE}, clear: [Title]", "Title is filled by this rule too"),
        ("id: a, signals: ['*'], update: Contact", "writes nothing: it has no fields"),
        ("id: a, signals: ['*'], update: Account, fields: {A: 1}", "people.match and people.create have no Account"),
        (
            "id: a, signals: ['*'], upsert: Task, key: K, fill: {A: 1}",
            "fill cannot stand here: only a rule that updates",
        ),
        ("id: a, signals: ['*'], upsert: Task, key: K, fields: {A: 1}, only_if: {A: 1}", "only_if cannot stand here"),
        ("id: a, signals: ['*'], update: Contact, upsert: Task, key: K, fields: {A: 1}", "needs one of"),
    ],
)
def test_what_it_cannot_say(rule: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mapping(rule)
    assert any(says in fault.message for fault in caught.value.faults), caught.value


def test_without_people_there_is_nobody_to_update() -> None:
    with pytest.raises(ConfigError, match="updates people, but the mapping has no people part"):
        mapping(RULE, people="rules:\n")


def test_preview_shows_what_is_filled_and_whom_it_leaves_alone() -> None:
    made = mapping(RULE)
    (record,) = preview(made, changed(), known("Contact"))
    assert [(one.name, one.value, one.note) for one in record.fields] == [("Title", "signal 1", "if empty")]
    (record,) = preview(made, changed(), known("Lead"))
    assert record.skipped == "their record is a Lead, not a Contact"
    new, record = preview(made, changed(), None)
    assert (new.object, record.skipped) == ("Lead", "their record is a Lead, not a Contact")


def test_preview_shows_what_must_stand_there() -> None:
    (record,) = preview(mapping(f"{RULE}, only_if: {{Email: '{{{{ person.email }}}}'}}"), changed(), known("Contact"))
    assert [(one.name, one.note) for one in record.fields] == [("Title", "if empty"), ("Email", "must be")]


def test_tests_of_a_mapping_compare_what_is_filled() -> None:
    case = """
- name: fills
  signal: {type: contact.changed, title: T, person: {email: a@example.com}}
  known: {object: Contact}
  expect: {a: {fill: {Title: %s}, only_if: {B: %s}}}
"""
    made = mapping(f"{RULE}, only_if: {{B: b}}")
    wanted = [("T", "b"), ("U", "b"), ("T", "c")]
    assert [result.passed for pair in wanted for result in run_tests(made, case % pair)] == [True, False, False]
