"""What every desk source inherits: tickets of an invented vendor, seen now and then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from syncd.connector import Batch, Context, Hint, NotYet
from syncd.connectors.desk.ticket_list import ListedTickets, TicketCursor, ticket_hint
from syncd.connectors.desk.tickets import (
    DUE_GRACE,
    Said,
    SaidKind,
    Standing,
    Ticket,
    TicketSignals,
    became_escalated,
    became_overdue,
    may_still_turn,
    next_look,
    standing,
)
from syncd.http.oauth import MemoryTokens
from syncd.signals import Person, Route, Signal, derive_id, make_person
from syncd.time_cursor import Step, encode, mark_of, oldest_first

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Desk:
    """A TicketApi in memory."""

    def __init__(self) -> None:
        self.tickets: dict[str, Ticket] = {}
        self.talk: list[tuple[str, Said]] = []
        self.listed = 0

    def add(self, id: str, **more: Any) -> Ticket:
        self.tickets[id] = Ticket(id=id, **{"created_at": NOW, "modified_at": NOW, "subject": "Broken", **more})
        return self.tickets[id]

    def says(self, ticket: str, kind: SaidKind, id: str, at: datetime = NOW) -> None:
        self.talk.append((ticket, Said(kind=kind, id=id, at=at, text="Any news?", writer={"email": "jo@x.example"})))
        held = self.tickets[ticket]
        self.tickets[ticket] = replace(held, said={**held.said, kind: held.said.get(kind, 0) + 1})

    def now(self) -> datetime:
        return NOW

    def ticket(self, id: str) -> Ticket | None:
        return self.tickets.get(id)

    def person(self, ticket: Ticket, said: Said | None) -> Person:
        writer = (said.writer if said else None) or {}
        return make_person(email=str(writer.get("email") or "ann@x.example"))

    def said(self, ticket: Ticket, kind: SaidKind, id: str) -> Said | None:
        return next((said for _, said in self.talk if said.id == id), None)

    def all_said(self, ticket: Ticket, since: datetime, until: datetime | None) -> Iterator[Said]:
        self.listed += 1
        yield from (said for of, said in self.talk if of == ticket.id and said.within(since, until))

    def changed(self, cursor: TicketCursor, until: datetime) -> Iterator[Step]:
        found = [one for one in self.tickets.values() if one.modified_at and cursor.since <= one.modified_at < until]
        pages = [found] if found else []
        *steps, last = [
            *oldest_first(pages, cursor, lambda one: mark_of(one.id, one.modified_at), lag=timedelta(minutes=5)),
            Step([], cursor, True),
        ]
        yield from (step._replace(last=True) for step in steps or [last])


class House:
    """What the daemon does around the source, in memory."""

    def __init__(self) -> None:
        self.desk, self.memory = Desk(), dict[str, str]()
        context = Context(
            name="desk",
            tokens=MemoryTokens(),
            clock=lambda: NOW,
            recall=lambda names: {name: self.memory[name] for name in names if name in self.memory},
        )
        self.source = ListedTickets(self.desk, TicketSignals("acme_desk", "4711", context), context)
        self.state = encode(TicketCursor(NOW - HOUR, floor=NOW - HOUR, began=NOW - HOUR))
        self.hints: dict[str, Hint] = {}
        self.ids: set[Any] = set()

    def commit(self, batch: Batch) -> list[Signal]:
        self.memory |= {name: value for name, value in batch.remember.items() if value is not None}
        for name in [name for name, value in batch.remember.items() if value is None]:
            self.memory.pop(name, None)
        self.hints |= {hint.key: hint for hint in batch.hints}
        self.state = batch.state or self.state
        fresh = [one for one in batch.signals if one.id not in self.ids]
        self.ids |= {one.id for one in fresh}
        return fresh

    def poll(self, now: datetime = NOW) -> list[str]:
        return [one.type for batch in self.source.poll(self.state, now) for one in self.commit(batch)]

    def fetch(self, key: str, now: datetime = NOW, route: Route = Route.WEBHOOK) -> list[Signal]:
        found = self.source.fetch(ticket_hint(key, route), now)
        assert not isinstance(found, NotYet)
        return self.commit(found)


@pytest.fixture
def house() -> House:
    return House()


def test_a_new_ticket_has_one_id_by_poll_backfill_and_hint(house: House) -> None:
    house.desk.add("7", number="101", url="https://desk.acme.example/7", data={"status": "Open", "cf": None})
    (by_poll,) = [one for batch in house.source.poll(house.state, NOW) for one in batch.signals]
    (by_backfill,) = [one for b in house.source.backfill(NOW - HOUR, NOW + HOUR, None) for one in b.signals]
    (by_hint,) = house.fetch("created:7")
    assert {one.id for one in (by_poll, by_backfill, by_hint)} == {
        derive_id("acme_desk", "4711", "ticket.created", "7")
    }
    assert (by_poll.url, by_poll.data, by_poll.thread) == (
        "https://desk.acme.example/7",
        {"status": "Open"},
        "acme_desk:4711:7",
    )
    assert ("101" in by_poll.title, "Broken" in by_poll.title) == (True, True)


def test_what_was_said_is_read_when_the_counts_grow_and_only_then(house: House) -> None:
    house.desk.add("7")
    assert house.poll() == ["ticket.created"]
    house.desk.says("7", "replied", "r1")
    house.desk.says("7", "commented", "c1")
    house.desk.tickets["7"] = replace(house.desk.tickets["7"], modified_at=NOW + timedelta(seconds=1))
    assert house.poll() == []
    heard = house.fetch("talk:7", route=Route.POLL)
    assert [one.type for one in heard] == ["ticket.replied", "ticket.commented"]
    assert heard[0].person.email == "jo@x.example"
    by_webhook = house.source.fetch(ticket_hint("thread:7:r1", Route.WEBHOOK), NOW)
    assert not isinstance(by_webhook, NotYet)
    assert [one.id for one in by_webhook.signals] == [heard[0].id]
    assert house.desk.listed == 1
    house.hints.clear()
    assert house.poll() == []
    assert house.hints == {}


def test_unwanted_and_vanished_tickets_are_counted(house: House) -> None:
    house.desk.add("7", unwanted="spam or trash")
    (batch,) = house.source.poll(house.state, NOW)
    assert (batch.signals, dict(batch.dropped)) == ((), {"spam or trash": 1})
    for key, reason in (("state:7", "spam or trash"), ("state:8", "a ticket that is gone")):
        found = house.source.fetch(ticket_hint(key, Route.WEBHOOK), NOW)
        assert not isinstance(found, NotYet)
        assert dict(found.dropped) == {reason: 1}


def test_a_ticket_is_looked_at_when_it_falls_due(house: House) -> None:
    due = NOW + HOUR
    house.desk.add("7", due_at=due)
    house.poll()
    hint = house.hints["due:7"]
    assert hint.not_before == due
    waits = house.source.fetch(hint, due + timedelta(minutes=1))
    assert isinstance(waits, NotYet), "the vendor may raise its flag a little later"
    house.desk.tickets["7"] = replace(house.desk.tickets["7"], overdue=True)
    (late,) = house.fetch("due:7", due + timedelta(minutes=10))
    assert (late.type, late.occurred_at) == ("ticket.overdue", due)
    assert house.fetch("due:7", due + timedelta(minutes=20)) == []


def test_each_escalation_is_one_signal(house: House) -> None:
    house.desk.add("7")
    house.poll()
    seen = []
    for escalated in (True, True, False, True):
        house.desk.tickets["7"] = replace(house.desk.tickets["7"], escalated=escalated)
        seen += [one.id for one in house.fetch("state:7")]
    assert seen == [derive_id("acme_desk", "4711", "ticket.escalated", f"7:{times}") for times in (1, 2)]


def test_a_standing_is_kept_as_before() -> None:
    kept = encode(standing(Ticket(id="7", escalated=True, said={"replied": 2, "commented": 1}), None, NOW))
    assert kept == b"[false,true,1,2,1,0]"
    assert msgspec.json.decode(b"[true,false,1]", type=Standing) == Standing(overdue=True, escalations=1)


@pytest.mark.parametrize(
    ("ticket", "before", "overdue"),
    [
        ({"due_at": NOW - HOUR}, None, False),
        ({"due_at": NOW - HOUR, "overdue": True}, None, True),
        ({"due_at": NOW - 3 * HOUR, "overdue": True}, None, False),
        ({"due_at": NOW - HOUR, "overdue": True}, Standing(), True),
        ({"due_at": NOW - HOUR, "overdue": True}, Standing(overdue=True), False),
        ({"due_at": NOW - HOUR, "overdue": True}, Standing(overdue=True, due=1), True),
        ({"due_at": NOW + HOUR, "overdue": True}, Standing(overdue=True, due=1), False),
    ],
)
def test_becoming_overdue_is_a_difference(ticket: dict[str, Any], before: Standing | None, overdue: bool) -> None:
    assert became_overdue(Ticket(id="7", **ticket), before, NOW - 2 * HOUR, NOW) is overdue


def test_a_ticket_escalated_before_the_source_began_is_no_news() -> None:
    old = Ticket(id="7", escalated=True, created_at=NOW - 3 * HOUR)
    assert not became_escalated(old, None, NOW - 2 * HOUR)
    assert became_escalated(replace(old, created_at=NOW), None, NOW - 2 * HOUR)


@pytest.mark.parametrize(
    ("ticket", "turns", "again"),
    [
        ({}, False, None),
        ({"due_at": NOW + HOUR}, False, NOW + HOUR),
        ({"due_at": NOW - DUE_GRACE / 2}, True, NOW),
        ({"due_at": NOW - DUE_GRACE / 2, "overdue": True}, False, None),
        ({"due_at": NOW - DUE_GRACE}, False, None),
        ({"due_at": NOW + HOUR, "open": False}, False, None),
    ],
)
def test_when_to_look_again(ticket: dict[str, Any], turns: bool, again: datetime | None) -> None:
    made = Ticket(id="7", **ticket)
    assert (may_still_turn(made, NOW), next_look(made, NOW)) == (turns, again)
