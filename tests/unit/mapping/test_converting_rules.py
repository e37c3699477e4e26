"""Rules that convert leads: what their YAML may say, each fault with its place, and what `preview` shows."""

from __future__ import annotations

import textwrap

import pytest

from syncd.capabilities import ConversionNames
from syncd.connector import Conversion, Idempotency, Link, PersonMatch, WriteKind
from syncd.errors import ConfigError
from syncd.mapping.lint import lint_mapping
from syncd.mapping.loading import Mapping, load_mapping
from syncd.mapping.model import Draft, Skipped, Targets
from syncd.mapping.preview import preview
from syncd.mapping.uses import refused_deals
from tests.lane_rig import signal

PEOPLE = 'people: {match: [{object: Lead, by: {Email: "{{ person.email }}"}}]}\n'
DEAL = '{name: "{{ signal.title }}", stage: New, close_date: 2026-09-30, amount: "{{ signal.data.total }}"}'
NAMES = ConversionNames(
    deals="Opportunity", deal_fields={"name": "Name", "stage": "StageName"}, needed=("name", "stage")
)


def rule(convert: str = f"{{deal: {DEAL}}}", more: str = "", people: str = PEOPLE) -> str:
    body = textwrap.indent(more, "    ")
    return f"{people}rules:\n  - id: sale\n    name: A\n    signals: [custom.order]\n    convert: {convert}\n{body}\n"


def loaded(text: str) -> Mapping:
    return load_mapping(text, name="m.yaml")


def draft(text: str, **more: str) -> Draft:
    (made,) = loaded(text).drafts(signal(1, type="custom.order", **more), live=True)  # type: ignore[arg-type]
    assert isinstance(made, Draft)
    return made


def test_a_rule_says_how_the_lead_is_converted() -> None:
    made = draft(rule(f"{{deal: {DEAL}, status: Done, contact: '003'}}"))
    deal = {"name": "signal 1", "stage": "New", "close_date": "2026-09-30"}  # nothing of what is empty
    assert made.conversion == Conversion(contact="003", deal=deal, status="Done")
    assert (made.verb.word, made.links, made.needs_person, made.overwrites) == (
        "convert",
        {"account": "account"},
        True,
        False,
    )
    kept = made.verb.idempotency()
    assert kept == Idempotency(WriteKind.FINDABLE, enforced=False)


def test_an_account_of_the_mapping_stands_before_the_company() -> None:
    made = draft(rule("{account: '001'}"))
    assert (made.links, made.conversion) == ({}, Conversion(account="001"))


@pytest.mark.parametrize("text", [rule("{when: person.phone}"), rule("{}", "when: person.phone")])
def test_a_condition_stands_in_either_place(text: str) -> None:
    (made,) = loaded(text).drafts(signal(1, type="custom.order"), live=True)
    assert made == Skipped("sale", "when")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (rule("Lead"), "6:5 rules[0].convert", "must be keys and values (when, account, contact, deal, status)"),
        (rule("{dael: {name: x}}"), "6:15 rules[0].convert.dael", "unknown key (did you mean deal?)"),
        (rule("{deal: {stage: x}}"), "6:15 rules[0].convert.deal", "the key name is required here"),
        (rule("{deal: {name: x, probability: 5}}"), "rules[0].convert.deal.probability", "unknown key"),
        (rule("{deal: sure}"), "rules[0].convert.deal", "must be keys and values"),
        (rule("{deal: {name: [a]}}"), "rules[0].convert.deal.name", "must be a value"),
        (rule("{deal: {name: x, fields: [a]}}"), "rules[0].convert.deal.fields", "must be fields and their values"),
        (rule("{account: [x]}"), "rules[0].convert.account", "must be match, or the id of a record"),
        (rule("{contact: {id: x}}"), "rules[0].convert.contact", "must be match, or the id of a record"),
        (rule("{status: true}"), "rules[0].convert.status", "must be a status of converted leads"),
        (rule("{when: a}", "when: b"), "rules[0].convert.when", "the rule has a condition already"),
        (rule("{deal: {name: '{{ signal.titel }}'}}"), "rules[0].convert.deal.name", "did you mean signal.title?"),
        (rule("{}", "key: K"), "7:5 rules[0].key", "key cannot stand here: a rule that converts writes the lead"),
        (rule("{}", "fields: {A: 1}"), "rules[0].fields", "fields cannot stand here"),
        (rule("{}", "link: {W: person}"), "rules[0].link", "link cannot stand here"),
        (rule("{}", people=""), "rules[0].convert", "converts people's leads, but the mapping has no people part"),
    ],
)
def test_what_is_wrong_has_its_place(text: str, place: str, said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        loaded(text)
    shown = [str(fault) for fault in wrong.value.faults]
    assert any(one.startswith("m.yaml:") and place in one and said in one for one in shown), shown


OTHER = "  - {id: todo, name: T, signals: ['*'], upsert: Task, key: K, link: {W: %s}, fields: {S: x}}\n"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("sale", "rule sale converts a lead: a link must name what it becomes (write sale.contact or sale.account)"),
        ("sale.deal", "rule sale converts a lead"),
        ("sale.lead", "rule sale converts a lead"),
        ("todo2.deal", "rule todo2 makes one record (write todo2)"),
        ("sold.contact", "there is no rule sold.contact to link to"),
    ],
)
def test_a_link_to_what_it_does_not_make_is_a_fault(target: str, said: str) -> None:
    text = rule("{}") + OTHER % target + OTHER.replace("todo", "todo2") % "person"
    with pytest.raises(ConfigError, match=r"rules\[1\]\.link\.W") as wrong:
        loaded(text)
    assert said in str(wrong.value)


def test_what_a_crm_cannot_make_of_a_deal_is_told_with_its_place() -> None:
    def told(convert: str) -> list[str]:
        mapping = loaded(rule(convert))
        return [str(mapping.document.fault(place, text)) for place, text, _ in refused_deals(mapping.parts, NAMES)]

    assert told("{deal: {name: x, stage: y}}") == []
    assert told("{}") == []
    assert told("{deal: {name: x, pipeline: y}}") == [
        "m.yaml:6:31 rules[0].convert.deal.pipeline: a deal has no pipeline here",
        "m.yaml:6:15 rules[0].convert.deal: the key stage is required here",
    ]


def test_lint_is_content() -> None:
    assert lint_mapping(rule()).warnings == ()


def test_preview_shows_what_it_becomes() -> None:
    mapping, one = loaded(rule()), signal(1, type="custom.order")
    lead = PersonMatch(object="Lead", id="1", role="lead")
    (made,) = preview(mapping, one, lead, company=Link("Account", "001"))
    assert (made.object, made.update, made.skipped) == ("", True, "")
    shown = {field.name: field.value for field in made.fields}
    assert (shown["account"], shown["deal.name"], shown["deal.stage"]) == ("Account 001", "signal 1", "New")
    contact = PersonMatch(object="Contact", id="2", role="contact")
    assert preview(mapping, one, contact)[0].skipped == "their record is a Contact, not a lead"


def test_a_person_of_no_record_has_no_lead() -> None:
    made = draft(rule())
    assert made.verb.written_to(made, Targets()) is None
