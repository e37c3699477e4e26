"""What a conversion leaves: its keying by outcome, who the person is afterwards, what is kept. Pure."""

from __future__ import annotations

import msgspec
import pytest

from syncd.connector import Conversion, Idempotency, Link, Outcome, Write, WriteKind, Written
from syncd.dispatch import conversions, plan
from syncd.dispatch.decided import decided, shown
from syncd.errors import Ambiguous, Rejected, StaleReference, Transient
from syncd.mapping import verbs
from syncd.mapping.model import Targets
from syncd.store.lanes import PersonRow
from syncd.store.queue import WriteRow
from tests.unit.dispatch.test_decisions import work

FINDABLE = Idempotency(WriteKind.FINDABLE, enforced=False)
LEAD = Write(key="k", object="Lead", id="00Q", conversion=Conversion())
ALSO = {"contact": Link("Contact", "003"), "account": Link("Account", "001"), "deal": Link("Opportunity", "006")}
DONE = Written("00Q", created=True, also=ALSO)


@pytest.mark.parametrize(
    ("write", "outcome", "kind"),
    [
        (LEAD, Ambiguous("lost"), WriteKind.FINDABLE),
        (LEAD, Transient("busy"), WriteKind.UPSERT),
        (LEAD, StaleReference("gone"), WriteKind.UPSERT),
        (LEAD, DONE, WriteKind.UPSERT),
        (Write(key="k", object="Lead", id="00Q"), Ambiguous("lost"), WriteKind.UPSERT),
        (Write(key="k", object="Lead"), Ambiguous("lost"), WriteKind.FINDABLE),
    ],
)
def test_a_conversion_waits_only_while_the_first_may_still_run(write: Write, outcome: Outcome, kind: WriteKind) -> None:
    assert conversions.keying_of_answer(work(keying=FINDABLE), write, outcome).kind is kind


def test_the_person_is_the_contact_from_then_on() -> None:
    became = conversions.followed(LEAD, DONE, lambda object_: "contact")
    assert became is not None
    lead, found = became
    assert (lead, found.object, found.id, found.role) == (Link("Lead", "00Q"), "Contact", "003", "contact")
    assert (found.account, found.deal, found.open_deal) == (ALSO["account"], ALSO["deal"], True)
    row = conversions.known_as(PersonRow("email:a@x.com", "Lead", "00Q", "lead", name="A"), [became])
    assert row == PersonRow("email:a@x.com", "Contact", "003", "contact", ALSO["account"], True, ALSO["deal"], name="A")
    other = PersonRow("email:b@x.com", "Lead", "00R", "lead")
    assert conversions.known_as(other, [became]) == other


@pytest.mark.parametrize(
    ("write", "outcome", "again"),
    [
        (LEAD, DONE, False),
        (LEAD, Written("00Q", created=False), True),
        (LEAD, Rejected("the deal's values were refused"), True),
        (LEAD, Ambiguous("lost"), False),
        (LEAD, StaleReference("gone"), False),  # looked up again as any other
        (msgspec.structs.replace(LEAD, conversion=None), Rejected("no"), False),
    ],
)
def test_whoever_may_have_become_another_record_is_looked_up_again(write: Write, outcome: Outcome, again: bool) -> None:
    assert conversions.asks_again(write, outcome) is again
    assert (conversions.followed(write, outcome, str) is not None) is (outcome is DONE)


def test_what_came_with_it_is_kept_and_shown() -> None:
    row = conversions.with_also(WriteRow("sale", "k", "Lead", "findable", "written", crm_id="00Q"), DONE)
    assert decided(row).links() == ALSO
    assert shown(row.chosen) == "contact: Contact 003; account: Account 001; deal: Opportunity 006"


def test_a_conversion_that_was_sent_asks_for_its_lead_whoever_the_person_is_now() -> None:
    sent = work(verb=verbs.CONVERT, crm_id="00Q")
    sent.draft = msgspec.structs.replace(sent.draft, conversion=Conversion())
    made = plan.link_up(sent, Targets())
    assert isinstance(made, Write)
    assert (made.object, made.id, made.group, made.conversion) == ("Case", "00Q", plan.CONVERSIONS, Conversion())


def test_a_link_waits_for_what_a_lead_becomes() -> None:
    one = work(links={"Who": "sale.contact"})
    row = WriteRow("sale", "k", "Lead", "findable", "sending", crm_id="00Q")
    one.taken.writes["sale"] = row
    assert plan.link_up(one, Targets()) is None
    one.taken.writes["sale"] = conversions.with_also(msgspec.structs.replace(row, state="written"), DONE)
    made = plan.link_up(one, Targets())
    assert isinstance(made, Write)
    assert made.links == {"Who": ALSO["contact"]}
    one.taken.writes["sale"] = msgspec.structs.replace(row, state="written")  # the CRM does not tell
    assert plan.link_up(one, Targets()) == "there is no record of rule sale.contact to link to"
