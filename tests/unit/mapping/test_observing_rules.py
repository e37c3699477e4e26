"""Rules that change observers: what their YAML may say, each fault with its place, and what becomes of them."""

from __future__ import annotations

import msgspec
import pytest

from syncd.connector import Idempotency, Link, Observation, PersonMatch, Write, WriteKind
from syncd.dispatch.outcomes import merged
from syncd.errors import ConfigError
from syncd.mapping.lint import lint_mapping
from syncd.mapping.loading import Mapping, load_mapping
from syncd.mapping.model import Draft, Targets
from syncd.mapping.preview import preview
from syncd.mapping.uses import observers_of, refused_observers, users_observing
from tests.lane_rig import signal

PEOPLE = 'people: {match: [{object: Lead, by: {Email: "{{ person.email }}"}}]}\n'


def rule(observe: str = "{add: ['005A']}", more: str = "", people: str = PEOPLE) -> str:
    return f"{people}rules:\n  - id: watch\n    name: A\n    signals: ['*']\n    observe: {observe}\n    {more}\n"


def loaded(text: str) -> Mapping:
    return load_mapping(text, name="m.yaml")


def draft(observe: str, **data: object) -> Draft:
    one = msgspec.structs.replace(signal(1), data=data)
    (made,) = loaded(rule(observe)).drafts(one, live=True)
    assert isinstance(made, Draft)
    return made


def test_a_rule_names_users_by_ids_and_expressions() -> None:
    named = "{add: ['005A', '{{ signal.data.some }}', '{{ signal.data.none }}'], remove: [77], field: W, chat: true}"
    made = draft(named, some=["005B", "005A", 9])
    assert made.observation == Observation(add=("005A", "005B", "9"), remove=("77",), field="W", chat=True)
    assert (made.needs_person, made.overwrites, made.own_record) == (True, False, True)
    assert made.verb.idempotency() == Idempotency(WriteKind.UPSERT)


def test_who_is_in_both_lists_is_added() -> None:
    made = draft("{add: ['{{ signal.data.a }}'], remove: ['{{ signal.data.b }}']}", a="1", b=["1", "2"])
    assert made.observation == Observation(add=("1",), remove=("2",))


def test_a_rule_that_names_nobody_of_a_signal_writes_nothing() -> None:
    made = draft("{add: ['{{ signal.data.none }}']}")
    assert made.verb.unwanted(made, "Lead") == "there is nothing to write into their record"


@pytest.mark.parametrize(("of", "id"), [("person", "1"), ("account", "2"), ("deal", "3")])
def test_it_says_whose_record_is_observed(of: str, id: str) -> None:
    person = PersonMatch(object="Lead", id="1", role="lead", account=Link("Account", "2"), deal=Link("Deal", "3"))
    made = draft(f"{{of: {of}, add: ['x']}}")
    target = made.verb.written_to(made, Targets.of(person))
    assert isinstance(target, Link)
    assert target.id == id


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (rule("Lead"), "6:5 rules[0].observe", "must be keys and values (of, add, remove, field, chat)"),
        (rule("{}"), "rules[0].observe", "adds nobody and removes nobody"),
        (rule("{field: W}"), "rules[0].observe", "adds nobody and removes nobody (write add: [USER]"),
        (rule("{ad: [x]}"), "6:15 rules[0].observe.ad", "unknown key (did you mean add?)"),
        (rule("{of: persn, add: [x]}"), "rules[0].observe.of", "'persn' is not one of person, account, deal"),
        (rule("{add: x}"), "6:15 rules[0].observe.add", "must be a list of ids of users, or of expressions"),
        (rule("{add: []}"), "rules[0].observe.add", "must be a list of ids of users"),
        (rule("{add: [true]}"), "rules[0].observe.add[0]", "must be the id of a user, in quotes, or an expression"),
        (rule("{add: [{id: x}]}"), "rules[0].observe.add[0]", "must be the id of a user"),
        (rule("{add: ['{{ signal.titel }}']}"), "rules[0].observe.add[0]", "did you mean signal.title?"),
        (rule("{add: [x, y], remove: [z, y]}"), "rules[0].observe.remove[1]", "y is added by this rule too"),
        (rule("{add: [x], chat: maybe}"), "rules[0].observe.chat", "must be true or false"),
        (rule("{remove: [x], chat: true}"), "rules[0].observe.chat", "nobody is added who could join the chat"),
        (rule("{add: [x], field: 5}"), "rules[0].observe.field", "must be text"),
        (
            rule(more="key: K"),
            "rules[0].key",
            "key cannot stand here: a rule that observes changes the observers alone",
        ),
        (rule(more="fields: {A: 1}"), "rules[0].fields", "fields cannot stand here"),
        (rule(more="owner: '005A'"), "rules[0].owner", "owner cannot stand here"),
        (rule(more="add: {A: 1}"), "rules[0].add", "add cannot stand here: observers stand within observe:"),
        (rule(more="link: {W: person}"), "rules[0].link", "link cannot stand here"),
        (rule(people=""), "rules[0].observe", "observes people's records, but the mapping has no people part"),
    ],
)
def test_what_is_wrong_has_its_place(text: str, place: str, said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        loaded(text)
    shown = [str(fault) for fault in wrong.value.faults]
    assert any(one.startswith("m.yaml:") and place in one and said in one for one in shown), shown


def test_lint_finds_nothing_wrong_with_it() -> None:
    found = lint_mapping(rule(), name="m.yaml")
    assert (list(found.faults), list(found.warnings)) == ([], [])


class OfField:
    """A CRM whose observers are those of a field, without chats."""

    def observable(self, field: str, *, chat: bool) -> str:
        return "has no chat" if chat else "" if field else "name the field"

    def observed_by_users(self, field: str) -> bool:
        return True


@pytest.mark.parametrize(
    ("observe", "said"),
    [
        ("{add: [x]}", ["m.yaml:6:5 rules[0].observe: name the field"]),
        ("{add: [x], field: W}", []),
        ("{add: [x], field: W, chat: true}", ["m.yaml:6:35 rules[0].observe.chat: has no chat"]),
    ],
)
def test_what_a_crm_has_no_place_for_is_told_with_its_place(observe: str, said: list[str]) -> None:
    mapping = loaded(rule(observe))
    found = refused_observers(mapping.parts, OfField())  # type: ignore[arg-type]
    assert [str(mapping.document.fault(place, text)) for place, text, _ in found] == said


def test_the_users_that_a_mapping_names_have_their_places() -> None:
    mapping = loaded(rule("{add: [x, '{{ signal.title }}'], remove: [y]}"))
    ((_, part, place),) = observers_of(mapping.parts)
    found = [(user, mapping.document.fault(at, "").line) for user, at in users_observing(part, place)]
    assert found == [("x", 6), ("y", 6)]


def test_preview_shows_who_is_added_and_removed() -> None:
    found = PersonMatch(object="Lead", id="1", role="lead")
    (shown,) = preview(loaded(rule("{add: [x, y], remove: [z], chat: true}")), signal(1), found)
    assert [(one.name, one.value, one.note) for one in shown.fields] == [
        ("observers", ["x", "y"], "added"),
        ("observers", ["z"], "removed"),
        ("chat", True, ""),
    ]


def test_of_several_changes_of_a_record_the_last_that_names_a_user_counts() -> None:
    changes = [Observation(add=("a", "b")), Observation(add=("c",), remove=("a",)), Observation(remove=("c", "d"))]
    one = merged([Write(key="k", object="Lead", id="1", observation=change) for change in changes])
    assert one.observation is not None
    assert (set(one.observation.add), set(one.observation.remove)) == ({"b"}, {"a", "c", "d"})
