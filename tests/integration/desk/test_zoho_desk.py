"""The Zoho Desk source against its twin, over HTTP, with an intake as small as can be around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.connector import (
    Backfillable,
    HintSource,
    KeyFetchingSource,
    PollingSource,
    WebhookSource,
)
from syncd.connectors.desk.zoho_api import PAGE
from syncd.errors import (
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Transient,
)
from syncd.signals import Route, derive_id
from syncd.twins.zoho_desk.twin import ZohoDeskTwin
from tests.desk import NOW, ORG, House, at, comment, reply, ticket, types


def test_it_is_all_kinds_of_source(twin: ZohoDeskTwin) -> None:
    for kind in (WebhookSource, KeyFetchingSource, HintSource, PollingSource, Backfillable):
        assert isinstance(House(twin).source, kind)


# ---- poll


def test_a_new_ticket_is_a_signal_of_its_contact(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    old = ticket(twin, contact, minutes_ago=600, modifiedTime=at(minutes=20))
    id_ = ticket(twin, contact, description="<div>It does not <b>start</b></div>", priority="High")
    (signal,) = house.round()
    assert signal.id == derive_id("zoho_desk", ORG, "ticket.created", id_), "not the old one, which was only touched"
    assert old != id_
    assert (signal.title, signal.text) == (
        f"Ticket #{signal.data['ticket_number']}: It is broken",
        "It does not start",
    )
    person = signal.person
    assert (person.email, person.phone, person.name, person.company) == (
        "jane@x.example",
        "+84912345678",
        "Jane Doe",
        "Acme",
    )
    assert signal.url.startswith("https://desk.zoho.com/")
    assert (signal.thread, signal.data["priority"], signal.route) == (f"zoho_desk:{ORG}:{id_}", "High", Route.POLL)
    assert signal.occurred_at == NOW - timedelta(minutes=30)
    assert house.round() == []


def test_what_customers_say_and_not_what_we_say(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact, minutes_ago=6000)
    reply(twin, id_, minutes_ago=5900, content="old")
    answered, noted = reply(twin, id_), comment(twin, id_, minutes_ago=4)
    reply(twin, id_, direction="out")
    reply(twin, id_, isDescriptionThread=True)
    comment(twin, id_, kind="AGENT")
    made = house.round()
    assert {one.id for one in made} == {
        derive_id("zoho_desk", ORG, "ticket.replied", answered),
        derive_id("zoho_desk", ORG, "ticket.commented", noted),
    }
    by_type = {one.type: one for one in made}
    assert by_type["ticket.replied"].text == "Still broken"
    assert by_type["ticket.replied"].title.startswith("Reply to ticket #")
    assert by_type["ticket.commented"].text == "Any news?"
    assert {one.person.email for one in made} == {"jane@x.example"}
    assert {one.thread for one in made} == {f"zoho_desk:{ORG}:{id_}"}
    reads = len(twin.calls)
    assert house.round() == []
    assert len(twin.calls) == reads + 1, "a quiet poll is one search"
    reply(twin, id_, minutes_ago=1)
    assert types(house.round()) == ["ticket.replied"]


def test_a_colleague_in_copy_is_the_one_who_replied(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    author = {"type": "END_USER", "name": "Bob Roe", "email": "bob@x.example"}
    reply(twin, ticket(twin, contact, minutes_ago=600), author=author)
    (signal,) = house.round()
    assert (signal.person.email, signal.person.name, signal.person.company) == ("bob@x.example", "Bob Roe", "Acme")


def test_overdue_is_seen_at_the_due_date_though_nothing_touches_the_ticket(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    due = NOW + timedelta(hours=2)
    id_ = ticket(twin, contact, dueDate=due.isoformat().replace("+00:00", "Z"))
    house.round()
    assert house.hints[f"due:{id_}"].not_before == due
    house.now = due + timedelta(seconds=1)
    assert house.work() == [], "Desk has not noticed yet"
    twin.modify(id_, touch=False, isOverDue=True)
    house.now = due + timedelta(minutes=10)
    (signal,) = house.work()
    assert (signal.type, signal.occurred_at) == ("ticket.overdue", due)
    assert signal.id == derive_id("zoho_desk", ORG, "ticket.overdue", f"{id_}:{due.isoformat()}")
    twin.modify(id_, modifiedTime=at(minutes=-121), subject="Touched")
    assert house.round() == [], "still the same overdue"


def test_a_due_date_that_moves_is_another_overdue(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact, dueDate=at(minutes=20), isOverDue=True)
    assert types(house.round()) == ["ticket.created", "ticket.overdue"]
    twin.modify(id_, isOverDue=False, dueDate=at(hours=-2), modifiedTime=at(minutes=9))
    assert house.round() == []
    twin.modify(id_, isOverDue=True, modifiedTime=at(minutes=8))
    assert types(house.round()) == ["ticket.overdue"]
    assert len(house.signals) == 3


def test_a_due_date_that_moves_on_and_passes_while_the_flag_stays_up_is_another_overdue(
    twin: ZohoDeskTwin, contact: str
) -> None:
    house = House(twin)
    house.start(hours=1)
    first, second = NOW - timedelta(minutes=20), NOW + timedelta(hours=2)
    id_ = ticket(twin, contact, dueDate=at(minutes=20), isOverDue=True)
    assert types(house.round()) == ["ticket.created", "ticket.overdue"]
    twin.modify(id_, dueDate=at(hours=-2), modifiedTime=at(minutes=9))
    assert house.round() == [], "the new date is still to come"
    assert house.hints[f"due:{id_}"].not_before == second
    house.now = second + timedelta(seconds=1)
    (signal,) = house.work()
    assert (signal.type, signal.occurred_at) == ("ticket.overdue", second)
    known = {derive_id("zoho_desk", ORG, "ticket.overdue", f"{id_}:{due.isoformat()}") for due in (first, second)}
    assert known <= set(house.signals)
    twin.modify(id_, dueDate=at(hours=-1), modifiedTime=at(minutes=-121))
    assert house.round() == [], "moved back, it has not passed again"


def test_a_ticket_noted_as_overdue_without_a_date_is_told_only_of_the_next_one(
    twin: ZohoDeskTwin, contact: str
) -> None:
    """By an earlier release: which date it was told of is not known."""
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact, dueDate=at(minutes=20), isOverDue=True)
    house.round()
    key = f"ticket:{id_}"
    house.memory[key] = json.dumps(json.loads(house.memory[key])[:-1])
    twin.modify(id_, subject="Touched", modifiedTime=at(minutes=9))
    assert house.round() == []
    twin.modify(id_, dueDate=at(minutes=5), modifiedTime=at(minutes=4))
    assert types(house.round()) == ["ticket.overdue"]


def test_what_was_overdue_or_escalated_before_the_source_began_is_no_news(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact, 6000, dueDate=at(days=2), isOverDue=True, isEscalated=True, modifiedTime=at(minutes=9))
    assert house.round() == []
    twin.modify(id_, isEscalated=False, modifiedTime=at(minutes=8))
    assert house.round() == []
    twin.modify(id_, isEscalated=True, modifiedTime=at(minutes=7))
    (signal,) = house.round()
    assert signal.id == derive_id("zoho_desk", ORG, "ticket.escalated", f"{id_}:2")


def test_each_escalation_counts(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact)
    house.round()
    made = []
    for minute, escalated in enumerate((True, True, False, True)):
        twin.modify(id_, isEscalated=escalated, modifiedTime=at(minutes=20 - minute))
        made += house.round()
    assert [one.data["escalations"] for one in made] == [1, 2]
    assert types(made) == ["ticket.escalated"] * 2


def test_many_pages_that_shift_while_they_are_read(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(days=1)
    ids = [ticket(twin, contact, minutes_ago=600 - number) for number in range(2 * PAGE + 20)]
    polled = house.source.poll(house.state, house.now)
    made = house.commit(next(polled))
    assert len(made) == PAGE
    for id_ in ids[:30]:
        twin.modify(id_, modifiedTime=at(minutes=1))
    for batch in polled:
        made += house.commit(batch)
    assert {one.data["ticket_id"] for one in made} == set(ids), "rows that move to the end hide none"
    assert house.poll() == []


def test_a_page_of_equal_times_and_a_restart_between_pages(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(days=1)
    ids = {ticket(twin, contact, minutes_ago=60) for _ in range(2 * PAGE + 5)}
    house.commit(next(house.source.poll(house.state, house.now)))
    house.poll()
    assert {one.data["ticket_id"] for one in house.signals.values()} == ids


def test_a_ticket_that_shows_late_is_found(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(days=1)
    ticket(twin, contact, minutes_ago=30)
    house.poll()
    late = ticket(twin, contact, minutes_ago=34)
    assert [one.data["ticket_id"] for one in house.poll()] == [late]


def test_a_source_starts_at_desks_now(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    ticket(twin, contact, minutes_ago=1)
    house.state = house.source.start(NOW + timedelta(days=100))
    assert house.round() == []
    began = datetime.fromisoformat(json.loads(house.state)["began"])
    assert abs(began - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_contact_is_read_when_the_row_does_not_bring_it(twin: ZohoDeskTwin) -> None:
    house = House(twin)
    house.start(hours=1)
    contact = twin.add("contacts", lastName="Roe")
    ticket(twin, contact, email="roe@x.example")
    (signal,) = house.round()
    assert (signal.person.email, signal.person.last_name) == ("roe@x.example", "Roe")
    assert any(call["operation"] == "contact" for call in twin.calls)


def test_spam_and_other_departments_are_counted_and_dropped(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin, departments=["7"])
    house.start(hours=1)
    ticket(twin, contact, isSpam=True, departmentId="7")
    ticket(twin, contact, departmentId="8")
    ticket(twin, contact, departmentId="7")
    assert types(house.round()) == ["ticket.created"]
    assert house.dropped == {"spam or trash": 1, "another department": 1}


# ---- backfill


def test_a_backfill_takes_its_range_and_goes_on_where_it_stopped(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    before = ticket(twin, contact, minutes_ago=500)
    inside = [ticket(twin, contact, minutes_ago=300 - number) for number in range(PAGE + 10)]
    ticket(twin, contact, minutes_ago=50)
    reply(twin, before, minutes_ago=250)
    reply(twin, before, minutes_ago=10)
    comment(twin, inside[0], minutes_ago=150)
    since, until = NOW - timedelta(minutes=400), NOW - timedelta(minutes=100)
    first, *rest = list(house.source.backfill(since, until, None))
    whole = [one for batch in (first, *rest) for one in batch.signals]
    assert types(whole) == ["ticket.commented"] + ["ticket.created"] * len(inside) + ["ticket.replied"]
    assert {one.route for one in whole} == {Route.BACKFILL}
    resumed = [one for batch in house.source.backfill(since, until, first.state) for one in batch.signals]
    assert {one.id for one in (*first.signals, *resumed)} == {one.id for one in whole}
    assert len(resumed) < len(whole)


# ---- what Desk says when it does not answer


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ([{"on": "search_tickets", "do": "concurrency", "times": 9}], RateLimited),
        ([{"on": "search_tickets", "do": "threshold", "times": 9}], QuotaExhausted),
        ([{"on": "search_tickets", "do": "scope", "times": 9}], Misconfigured),
        ([{"on": "search_tickets", "do": "internal", "times": 9}], Transient),
        ([{"on": "search_tickets", "do": "html", "times": 9}], Transient),
        ([{"on": "token", "do": "token_throttle", "times": 9}], RateLimited),
        ([{"on": "token", "do": "invalid_code", "times": 9}], Misconfigured),
    ],
)
def test_faults_become_classes(plan: Sequence[dict[str, Any]], expected: type[Failure]) -> None:
    with ZohoDeskTwin(faults=plan) as twin:
        house = House(twin)
        house.start(hours=1)
        with pytest.raises(expected) as caught:
            house.poll()
        assert "s3cret" not in str(caught.value)


def test_an_expired_token_is_refreshed_once(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    ticket(twin, contact)
    house.poll()
    twin.expire_tokens()
    ticket(twin, contact, minutes_ago=1)
    assert types(house.poll()) == ["ticket.created"]
    assert sum(call["operation"] == "token" for call in twin.calls) == 2


def test_another_organisation_is_for_a_person(twin: ZohoDeskTwin) -> None:
    house = House(twin, org_id="1")
    house.start(hours=1)
    with pytest.raises(Misconfigured, match="org_id"):
        house.poll()


def test_credits_are_left_to_others() -> None:
    with ZohoDeskTwin(credits=103) as twin:
        house = House(twin, keep_credits=101)
        house.start(hours=1)
        house.poll()
        with pytest.raises(QuotaExhausted) as caught:
            house.poll()
        assert caught.value.resets_at == NOW + timedelta(hours=1)
        house.now += timedelta(hours=1)
        house.poll()
