"""Rules that convert leads, over both stand-in CRMs: once whatever is lost, whom the lead joins, who its person is then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.dispatch.test_own_records import ANN, TwinRig, salesforce, zoho
from tests.lane_rig import signal

NAMES: dict[str, dict[str, str]] = {
    "salesforce": {
        "account": "Account",
        "company": "Name",
        "deal": "Opportunity",
        "deal name": "Name",
        "stage": "StageName",
        "close": "CloseDate",
        "task": "Task",
        "who": "WhoId",
        "what": "WhatId",
        "owner": "OwnerId",
        "belongs": "AccountId",
        "convert": "convert_lead",
        "user": "User",
        "key": "Syncd_Key__c",
        "stages": "Proposal",
        "first": "Prospecting",
        "locked": "UNABLE_TO_LOCK_ROW",
        "invalid": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    },
    "zoho": {
        "account": "Accounts",
        "company": "Account_Name",
        "deal": "Deals",
        "deal name": "Deal_Name",
        "stage": "Stage",
        "close": "Closing_Date",
        "task": "Tasks",
        "who": "Who_Id",
        "what": "What_Id",
        "owner": "Owner",
        "belongs": "Account_Name",
        "convert": "convert",
        "user": "users",
        "key": "Syncd_Key",
        "stages": "Negotiation",
        "first": "Qualification",
        "locked": "RECORD_LOCKED",
        "invalid": "INVALID_DATA",
    },
}
DEAL = "deal: {{name: 'Order {{{{ signal.title }}}}', stage: {stages}, close_date: 2026-09-30, amount: 1200}}"
BO: dict[str, dict[str, Any]] = {"salesforce": {"LastName": "Bo", "IsActive": True}, "zoho": {"full_name": "Bo"}}
CONVERT = """  - id: sale
    name: An order makes a customer
    signals: [custom.order]
    convert: {{{more}}}
"""


@pytest.fixture(params=[salesforce, zoho])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwinRig]:
    made: TwinRig = request.param(tmp_path)
    made.names |= NAMES[made.twin.name]
    yield made
    made.client.close()
    made.twin.stop()


def order(number: int = 1, **more: Any) -> Any:
    return signal(number, type="custom.order", **more)


def converts(rig: TwinRig, more: str = DEAL, rules: str = "") -> None:
    rig.with_rules(CONVERT.replace("{more}", more) + rules)


def only(rig: TwinRig, object_: str) -> dict[str, Any]:
    (one,) = rig.twin.records(rig.names[object_])
    return dict(one)


def id_of(record: dict[str, Any]) -> str:
    return str(record.get("Id") or record["id"])


def converted(rig: TwinRig) -> bool:
    lead = only(rig, "lead")
    return lead.get("IsConverted") is True or lead.get("$converted") is True


def counts(rig: TwinRig) -> tuple[int, ...]:
    return tuple(len(rig.twin.records(rig.names[one])) for one in ("account", "contact", "deal"))


def test_a_lead_becomes_contact_account_and_deal(rig: TwinRig) -> None:
    lead = rig.person("lead")
    converts(rig)
    rig.arrive([order()])
    rig.drain()
    assert rig.of_rule("sale") == [("written", "")]
    assert converted(rig)
    contact, account, deal = only(rig, "contact"), only(rig, "account"), only(rig, "deal")
    names = rig.names
    assert (deal[names["deal name"]], deal[names["stage"]]) == ("Order signal 1", names["stages"])
    assert (deal[names["close"]], deal["Amount"]) == ("2026-09-30", 1200)
    assert contact[names["belongs"]] == id_of(account)
    known = rig.people[f"email:{ANN}"]
    assert (known["object"], known["crm_id"], known["role"]) == (names["contact"], id_of(contact), "contact")
    assert (known["account"], known["deal"]) == (id_of(account), id_of(deal))
    (row,) = [one for one in rig.writes if one["rule"] == "sale"]
    assert (row["object"], row["crm_id"], row["kind"]) == (names["lead"], lead, "findable")
    for record in (contact, account, deal):
        assert id_of(record) in row["chosen"]


def test_without_a_deal_none_is_made(rig: TwinRig) -> None:
    rig.person("lead")
    converts(rig, "when: person.email")
    rig.arrive([order()])
    rig.drain()
    assert (counts(rig), converted(rig)) == ((1, 1, 0), True)


def test_a_condition_that_does_not_hold_converts_nobody(rig: TwinRig) -> None:
    rig.person("lead")
    converts(rig, "when: 'signal.title == \"no\"'")
    rig.arrive([order()])
    rig.drain()
    assert (converted(rig), rig.of_rule("sale")) == (False, [("skipped", "when")])


def test_a_contact_is_left_alone(rig: TwinRig) -> None:
    rig.person("contact")
    converts(rig)
    rig.arrive([order()])
    rig.drain()
    ((state, reason),) = rig.of_rule("sale")
    assert (state, reason) == ("skipped", f"their record is a {rig.names['contact']}, not a lead")
    assert counts(rig) == (0, 1, 0)


def test_past_signals_convert_nobody(rig: TwinRig) -> None:
    rig.person("lead")
    converts(rig)
    rig.listed(order())
    assert (converted(rig), rig.of_rule("sale")) == (False, [("skipped", "live_only")])


def test_a_stranger_is_made_and_converted_at_once(rig: TwinRig) -> None:
    converts(rig)
    rig.arrive([order(name="Ann Lee")])
    rig.drain()
    assert (counts(rig), converted(rig)) == ((1, 1, 1), True)


@pytest.mark.parametrize("together", [True, False])
def test_of_two_signals_one_converts(rig: TwinRig, together: bool) -> None:
    rig.person("lead")
    converts(rig)
    for some in [[order(1), order(2)]] if together else [[order(1)], [order(2)]]:
        rig.arrive(some)
        rig.drain()
    assert counts(rig) == (1, 1, 1)
    assert rig.states() in ({"delivered": 2}, {"delivered": 1, "skipped": 1})


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_converts_once(rig: TwinRig, when: str) -> None:
    rig.person("lead")
    converts(rig)
    rig.twin.plan.add([{"on": rig.names["convert"], "do": "reset", "when": when, "times": 1}])
    rig.arrive([order()])
    rig.step()
    ((state, reason),) = rig.of_rule("sale")
    assert (state, reason.startswith("in doubt")) == ("doubt", True)
    rig.drain()
    assert rig.of_rule("sale") == [("written", "")]
    assert (counts(rig), converted(rig)) == ((1, 1, 1), True)
    assert only(rig, "deal")["Amount"] == 1200
    assert rig.people[f"email:{ANN}"]["crm_id"] == id_of(only(rig, "contact"))
    called = [one for one in rig.twin.calls if one["operation"] == rig.names["convert"]]
    assert len(called) == (2 if when == "before" else 1)  # it was read before it would have been sent again


def test_killed_before_the_answer_was_kept(rig: TwinRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.person("lead")
    converts(rig)
    rig.arrive([order()])

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("syncd.dispatch.ledger.Ledger.answered", dies)
        with pytest.raises(KeyboardInterrupt):
            rig.step()
    rig.connect()
    rig.lane.take_over()
    rig.drain()
    assert (rig.of_rule("sale"), counts(rig)) == ([("written", "")], (1, 1, 1))
    assert rig.people[f"email:{ANN}"]["crm_id"] == id_of(only(rig, "contact"))


def test_a_lead_that_a_user_converts_in_the_same_second_is_done(rig: TwinRig) -> None:
    rig.person("lead")
    converts(rig)
    match = {"Email": ANN}
    fault = {"on": rig.names["convert"], "do": "convert", "object": rig.names["lead"], "match": match, "times": 1}
    rig.twin.plan.add([fault])
    rig.arrive([order()])
    rig.drain()
    assert rig.of_rule("sale") == [("written", "")]
    assert counts(rig) == (1, 1, 0)  # the user's conversion, without a deal
    assert rig.people[f"email:{ANN}"]["crm_id"] == id_of(only(rig, "contact"))


def test_a_lead_that_was_converted_long_ago_is_done(rig: TwinRig) -> None:
    """The cache still says that the person is a lead."""
    lead = rig.person("lead")
    converts(
        rig,
        rules="  - {{id: log, name: L, signals: [call.missed], update: {contact}, fields: {{{contact title}: X}}}}\n",
    )
    rig.arrive([signal(9, type="call.missed")])
    rig.drain()
    rig.twin.convert(lead)
    rig.arrive([order()])
    rig.drain()
    assert (rig.of_rule("sale"), counts(rig)) == ([("written", "")], (1, 1, 0))
    assert rig.people[f"email:{ANN}"]["crm_id"] == id_of(only(rig, "contact"))


def test_what_comes_later_goes_to_the_contact_and_its_deal(rig: TwinRig) -> None:
    rig.person("lead")
    task = "  - {{id: todo, name: T, signals: [call.missed], upsert: {task}, key: {key}, link: {{{what}: deal}}, "
    if rig.twin.name == "zoho":
        task = task.replace("upsert", "create")
    converts(rig, rules=task + "fields: {{Subject: x}}}}\n")
    rig.arrive([order(1)])
    rig.drain()
    rig.arrive([signal(2, type="call.missed")])
    rig.drain()
    assert rig.of_rule("todo") == [("written", "")]
    assert only(rig, "task")[rig.names["what"]] == id_of(only(rig, "deal"))


def test_a_rule_links_to_what_the_lead_became(rig: TwinRig) -> None:
    rig.person("lead")
    verb = "create" if rig.twin.name == "zoho" else "upsert"
    rule = f"  - {{{{id: todo, name: T, signals: [custom.order], {verb}: {{task}}, key: {{key}}, "
    rule += "link: {{{who}: sale.contact, {what}: sale.deal}}, fields: {{Subject: x}}}}\n"
    converts(rig, rules=rule)
    rig.arrive([order()])
    rig.drain()
    task = only(rig, "task")
    assert (task[rig.names["who"]], task[rig.names["what"]]) == (id_of(only(rig, "contact")), id_of(only(rig, "deal")))


def test_what_is_linked_to_the_lead_in_the_same_round_moves_along(rig: TwinRig) -> None:
    rig.person("lead")
    verb = "create" if rig.twin.name == "zoho" else "upsert"
    rule = f"  - {{{{id: todo, name: T, signals: [custom.order], {verb}: {{task}}, key: {{key}}, "
    converts(rig, rules=rule + "link: {{{who}: person}}, fields: {{Subject: x}}}}\n")
    rig.arrive([order()])
    rig.drain()
    assert only(rig, "task")[rig.names["who"]] == id_of(only(rig, "contact"))
    assert [one["outcome"] for one in rig.attempts if one["rule"] == "todo"] == ["written"]


def test_the_contact_that_is_there_is_joined(rig: TwinRig) -> None:
    """People are looked up among leads first here: else the contact would be found, and nothing converted."""
    rig.person("lead")
    names = rig.names
    account = rig.twin.add(names["account"], **{names["company"]: "Old firm"})
    theirs = rig.twin.add(names["contact"], **{names["last"]: "Ann", "Email": ANN, names["belongs"]: account})
    contact, lead = f"object: {names['contact']}", f"object: {names['lead']}"
    head, _, rules = rig.mapping.partition("\nrules:")
    head = head.replace(contact, "object: X", 1).replace(lead, contact, 1).replace("object: X", lead, 1)
    rig.mapping = f"{head}\nrules:{rules}"
    converts(rig)
    rig.arrive([order()])
    rig.drain()
    assert counts(rig) == (1, 1, 1)
    assert rig.people[f"email:{ANN}"]["crm_id"] == theirs
    assert only(rig, "deal")[names["belongs"]] == account


def test_the_mapping_names_the_account(rig: TwinRig) -> None:
    rig.person("lead")
    account = rig.twin.add(rig.names["account"], **{rig.names["company"]: "Chosen"})
    converts(rig, f"account: '{account}'")
    rig.arrive([order()])
    rig.drain()
    assert (counts(rig), only(rig, "contact")[rig.names["belongs"]]) == ((1, 1, 0), account)


def test_the_owner_stays_or_is_who_the_rule_names(rig: TwinRig) -> None:
    names = rig.names
    bo = rig.twin.add(names["user"], **BO[rig.twin.name])
    rig.person("lead", **{names["owner"]: bo})
    converts(rig)
    rig.arrive([order()])
    rig.drain()
    assert {
        one[names["owner"]] for kind in ("contact", "account", "deal") for one in rig.twin.records(names[kind])
    } == {bo}


def test_a_rule_gives_the_records_to_another(rig: TwinRig) -> None:
    names = rig.names
    bo = rig.twin.add(names["user"], **BO[rig.twin.name])
    rig.person("lead")
    rig.with_rules(CONVERT.replace("{more}", DEAL) + f"    owner: '{bo}'\n")
    rig.arrive([order()])
    rig.drain()
    assert {
        one[names["owner"]] for kind in ("contact", "account", "deal") for one in rig.twin.records(names[kind])
    } == {bo}


def test_a_locked_lead_is_tried_again(rig: TwinRig) -> None:
    rig.person("lead")
    converts(rig)
    rig.twin.plan.add([{"on": rig.names["convert"], "do": "row", "code": rig.names["locked"], "times": 1}])
    rig.arrive([order()])
    rig.drain()
    assert (rig.of_rule("sale"), counts(rig)) == ([("written", "")], (1, 1, 1))


def test_a_refusal_is_one_clear_line(rig: TwinRig) -> None:
    rig.person("lead")
    converts(rig)
    fields = ["Last_Name"] if rig.twin.name == "zoho" else []
    said = "the customer number is missing"
    fault = {"on": rig.names["convert"], "do": "row", "code": rig.names["invalid"], "message": said, "fields": fields}
    rig.twin.plan.add([fault])
    rig.arrive([order()])
    rig.drain()
    ((state, reason),) = rig.of_rule("sale")
    assert (state, said in reason, rig.names["invalid"] in reason, "\n" in reason) == ("dead", True, True, False)
    assert (converted(rig), counts(rig)) == (False, (0, 0, 0))


def test_a_user_sets_a_conversion_off(rig: TwinRig) -> None:
    from datetime import timedelta

    from syncd.dispatch.acting import Demand, act
    from syncd.errors import UsageError

    rig.person("lead")
    converts(rig)
    rig.with_rules(CONVERT.replace("{more}", DEAL) + "    on: demand\n")
    one = order()
    rig.arrive([one])
    rig.drain()
    assert converted(rig) is False
    demand = Demand("crm", str(one.id), "sale", "", {}, once=True)
    assert act(rig.store, demand, live_within=timedelta(days=1)) is True
    rig.drain()
    assert counts(rig) == (1, 1, 1)
    assert act(rig.store, demand, live_within=timedelta(days=1)) is False
    with pytest.raises(UsageError, match="is carried out once"):
        act(rig.store, Demand("crm", str(one.id), "sale", "", {"x": 1}, once=True), live_within=timedelta(days=1))
