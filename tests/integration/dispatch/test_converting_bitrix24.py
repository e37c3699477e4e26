"""Leads that become contacts in Bitrix24 by separate commands: whichever of them is lost or refused, nothing is made twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.connectors.crm.bitrix24.client import Bitrix24Client
from syncd.dispatch.dead_letters import retry
from syncd.store.queries import Filter
from syncd.twins.bitrix24.portal import SIMPLE
from tests.integration.dispatch.test_converting import (
    DEAL,
    asked,
    bitrix24,
    converted,
    converts,
    counts,
    id_of,
    only,
    order,
    running,
)
from tests.integration.dispatch.test_own_records import ANN, TwinRig
from tests.lane_rig import signal

ADD, UPDATE = "crm.item.add", "crm.item.update"
STEPS = [(ADD, 1), (ADD, 2), (ADD, 3), (UPDATE, 1)]
"""The commands that make the company, the contact and the deal, and the one that converts the lead."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[TwinRig]:
    yield from running(bitrix24, tmp_path)


def is_done(rig: TwinRig, *, looked_up: bool = False) -> None:
    """One of each, linked to each other, and the person is the contact. `looked_up`: they were found as it before the deal was
    made."""
    assert rig.of_rule("sale") == [("written", "")]
    assert (counts(rig), converted(rig)) == ((1, 1, 1), True)
    lead, contact, company, deal = (only(rig, one) for one in ("lead", "contact", "account", "deal"))
    assert (lead["contactId"], lead["companyId"]) == (contact["id"], company["id"])
    assert (contact["companyId"], contact["leadId"]) == (company["id"], lead["id"])
    assert (deal["contactIds"], deal["companyId"], deal["leadId"]) == ([contact["id"]], company["id"], lead["id"])
    known = rig.people[f"email:{ANN}"]
    assert (known["object"], known["crm_id"]) == ("Contact", id_of(contact))
    assert known["deal"] == ("" if looked_up else id_of(deal))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("method", "nth"), STEPS)
def test_an_answer_lost_at_any_command(rig: TwinRig, method: str, nth: int, when: str) -> None:
    rig.person("lead")
    converts(rig)
    rig.twin.plan.add([{"on": method, "do": "reset", "when": when, "nth": nth}])
    rig.arrive([order()])
    rig.drain()
    is_done(rig)
    assert [fault.fired for fault in rig.twin.plan.faults] == [1]


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("sent", [False, True])
def test_killed_at_any_command(rig: TwinRig, monkeypatch: pytest.MonkeyPatch, step: int, sent: bool) -> None:
    rig.person("lead")
    converts(rig)
    rig.arrive([order()])
    write, seen = Bitrix24Client.write, 0

    def dies(client: Bitrix24Client, texts: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen - 1 == step and not sent:
            raise KeyboardInterrupt
        replies = write(client, texts)
        if seen - 1 == step:
            raise KeyboardInterrupt
        return replies

    with monkeypatch.context() as patch:
        patch.setattr(Bitrix24Client, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            rig.step()
    rig.client = _fresh(rig)
    rig.connect()
    rig.lane.take_over()
    rig.drain()
    is_done(rig)


def _fresh(rig: TwinRig) -> Any:
    """A client that remembers nothing."""
    from syncd.connectors.crm.bitrix24 import CONNECTOR
    from tests.integration.dispatch.test_own_records import context

    rig.client.close()
    settings = CONNECTOR.settings.model_validate({**rig.twin.credentials(), "requests_per_second": 50})
    return CONNECTOR.build(settings, context())


@pytest.mark.parametrize(
    ("method", "nth", "said"), [(ADD, 2, "(Contact)"), (ADD, 3, "(Deal)"), (UPDATE, 1, "CONVERTED")]
)
def test_a_refused_command_is_told_and_the_rest_made_later(rig: TwinRig, method: str, nth: int, said: str) -> None:
    rig.person("lead")
    converts(rig)
    refused = {"do": "row", "code": "CRM_FIELD_ERROR_REQUIRED", "message": "The field is required"}
    rig.twin.plan.add([{"on": method, **refused, "nth": nth}])
    rig.arrive([order()])
    rig.drain()
    ((state, reason),) = rig.of_rule("sale")
    assert (state, said in reason, "The field is required" in reason, "\n" in reason) == ("dead", True, True, False)
    assert converted(rig) is False
    assert retry(rig.store, Filter(), live_within=timedelta(days=1)).writes == 1
    rig.drain()
    is_done(rig, looked_up=said != "(Contact)")


@pytest.mark.parametrize("method", ["crm.item.list", "crm.duplicate.findbycomm"])
def test_a_lead_that_a_user_converts_while_it_is_read_is_done(rig: TwinRig, method: str) -> None:
    lead = rig.person("lead")
    rule = "  - {{id: log, name: L, signals: [call.missed], update: {contact}, fields: {{{contact title}: X}}}}\n"
    converts(rig, rules=rule)
    rig.arrive([signal(9, type="call.missed")])
    rig.drain()
    assert rig.people[f"email:{ANN}"]["crm_id"] == lead

    def between(called: str) -> None:
        if called == method:
            rig.twin.between_commands = None
            rig.twin.convert(lead)

    rig.twin.between_commands = between
    rig.arrive([order()])
    rig.drain()
    assert rig.of_rule("sale") == [("written", "")]
    assert counts(rig) == (1, 1, 1)  # the user's
    assert rig.people[f"email:{ANN}"]["crm_id"] == id_of(only(rig, "contact"))


def test_the_contact_has_what_the_lead_has(rig: TwinRig) -> None:
    numbers = [{"typeId": "PHONE", "valueType": "MOBILE", "value": "+84912345678"}]
    rig.person("lead", name="Bea", post="Buyer", fm=numbers, opportunity=77, currencyId="EUR")
    converts(rig, "deal: {{name: x, fields: {{comments: Hello}}}}")
    rig.arrive([order()])
    rig.drain()
    contact, deal = only(rig, "contact"), only(rig, "deal")
    assert (contact["name"], contact["lastName"], contact["post"]) == ("Bea", "Ann", "Buyer")
    assert {(one["typeId"], one["valueType"], one["value"]) for one in contact["fm"]} == {
        ("PHONE", "MOBILE", "+84912345678"),
        ("EMAIL", "WORK", ANN),
    }
    assert (deal["opportunity"], deal["currencyId"], deal["comments"], deal["stageId"]) == (77, "EUR", "Hello", "NEW")


def test_leads_of_one_firm_join_one_company(rig: TwinRig) -> None:
    for n in range(3):
        rig.twin.add("lead", lastName=f"L{n}", companyTitle="One firm", email=f"l{n}@example.com")
    converts(rig)
    rig.arrive([order(n, email=f"l{n}@example.com") for n in range(2)])
    rig.drain()
    assert counts(rig) == (1, 2, 2)
    rig.arrive([order(2, email="l2@example.com")])
    rig.drain()
    assert (counts(rig), rig.states()) == ((1, 3, 3), {"delivered": 3})


def test_a_contact_without_a_company_gets_the_lead_s(rig: TwinRig) -> None:
    theirs = rig.twin.add("contact", lastName="Other", email="other@example.com")
    rig.person("lead")
    converts(rig, f"contact: '{theirs}'")
    rig.arrive([order()])
    rig.drain()
    contact = only(rig, "contact")
    assert (id_of(contact), contact["companyId"]) == (theirs, only(rig, "account")["id"])
    assert rig.people[f"email:{ANN}"]["crm_id"] == theirs


@pytest.mark.parametrize("what", ["contact", "account"])
def test_a_record_that_is_not_there_is_told(rig: TwinRig, what: str) -> None:
    rig.person("lead")
    converts(rig, f"{what}: '4711'")
    rig.arrive([order()])
    rig.drain()
    ((state, reason),) = rig.of_rule("sale")
    assert (state, " 4711, which it is to join" in reason, counts(rig)) == ("dead", True, (0, 0, 0))


def test_pipelines_and_stages_by_name(rig: TwinRig) -> None:
    category = rig.twin.add("category", name="Renewals")
    rig.person("lead")
    converts(rig, DEAL.replace("amount: 1200", "pipeline: Sales"))
    assert any("'Sales' is not one of the values of pipeline" in message for _, message in asked(rig))
    converts(rig, DEAL.replace("amount: 1200", "pipeline: renewals"))
    assert any("'Document preparation' is not one of the values of stage" in message for _, message in asked(rig))
    rig.arrive([order()])
    rig.step()
    ((state, reason),) = rig.of_rule("sale")
    assert (state, "have no stage 'Document preparation'" in reason, counts(rig)) == ("held", True, (0, 0, 0))
    converts(rig, DEAL.replace("amount: 1200", "pipeline: renewals").replace("{stages}", f"C{category}:EXECUTING"))
    assert {level for level, _ in asked(rig)} == {"ok"}
    rig.later(7200)
    rig.drain()
    deal = only(rig, "deal")
    assert (str(deal["categoryId"]), deal["stageId"]) == (category, f"C{category}:EXECUTING")


def test_a_portal_without_leads_is_told(rig: TwinRig) -> None:
    rig.person("lead")
    converts(rig)
    rig.twin.mode = SIMPLE
    assert ("fault", "this portal has no leads (simple CRM mode): there is nothing to convert") in asked(rig)
    rig.arrive([order()])
    rig.step()
    ((state, reason),) = rig.of_rule("sale")
    assert (state, "simple CRM mode" in reason, counts(rig)) == ("held", True, (0, 0, 0))


def test_a_right_that_is_lacking_holds_the_rule(rig: TwinRig) -> None:
    rig.person("lead")
    converts(rig)
    rig.twin.denied = frozenset({"company.add"})
    rig.arrive([order()])
    rig.step()
    ((state, reason),) = rig.of_rule("sale")
    assert (state, "the lead was not converted (Company)" in reason) == ("held", True)
    assert counts(rig) == (0, 0, 0)


def test_what_comes_later_goes_to_the_contact(rig: TwinRig) -> None:
    rig.person("lead")
    rule = "  - {{id: log, name: L, signals: [call.missed], upsert: Comment, key: ref, link: {{ENTITY_ID: person}}, "
    converts(rig, rules=rule + "fields: {{COMMENT: x}}}}\n")
    rig.arrive([order()])
    rig.drain()
    rig.arrive([signal(2, type="call.missed")])
    rig.drain()
    (comment,) = rig.twin.records("comment")
    assert comment["OWNER"] == f"C_{only(rig, 'contact')['id']}"
