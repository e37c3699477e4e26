"""A source that reads a vendor's tickets: hints of a webhook, poll over what changed, timed looks at due dates, backfill.

A desk source passes a `TicketApi`, its vendor's API, and inherits `fetch`, `start`, `poll` and `backfill`. Promise: a ticket's
signals have the same ids on each route; what was said is read when a ticket says that there may be something; a ticket that falls
due is looked at then, although nothing changes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

from syncd.connector import Batch, Context, Hint, NotYet
from syncd.connectors.desk.tickets import (
    DUE_GRACE,
    Said,
    SaidKind,
    Standing,
    Ticket,
    TicketEvent,
    TicketSignals,
    became_escalated,
    became_overdue,
    may_still_turn,
    next_look,
    standing,
)
from syncd.connectors.times import time_or_none
from syncd.signals import Person, Route, Signal
from syncd.time_cursor import ItemMark, Step, TimeCursor, encode, mark_of, newest_first, progress

LAG = timedelta(minutes=5)  # a ticket may be found by search this long after it changed
AHEAD = timedelta(days=1)  # the search's end lies so far ahead that our clock does not matter
SAID: dict[str, SaidKind] = {"thread": "replied", "comment": "commented"}
"""Kind of a hint about what was said -> the signal."""


class TicketCursor(TimeCursor, frozen=True, kw_only=True):
    """`floor`: tickets made since then are new to this pass. `began`: when the source did. `rated`: how far ratings are read."""

    floor: datetime
    began: datetime
    rated: TimeCursor | None = None


read_ticket_cursor = msgspec.json.Decoder(TicketCursor).decode
_read_standing = msgspec.json.Decoder(Standing).decode


class TicketApi(Protocol):
    """A vendor's API about the tickets of one account. Every method raises a Failure."""

    def now(self) -> datetime:
        """The vendor's clock."""
        ...

    def ticket(self, id: str) -> Ticket | None:
        """None if it is gone."""
        ...

    def person(self, ticket: Ticket, said: Said | None) -> Person:
        """Who the ticket is from, or who said this on it."""
        ...

    def said(self, ticket: Ticket, kind: SaidKind, id: str) -> Said | None:
        """None if it is gone, or not a customer's."""
        ...

    def all_said(self, ticket: Ticket, since: datetime, until: datetime | None) -> Iterator[Said]:
        """The replies and comments of customers in [since, until), each once. Asked only if the ticket's `said` is not empty or
        all 0."""
        ...

    def changed(self, cursor: TicketCursor, until: datetime) -> Iterator[Step]:
        """The tickets modified since the cursor and before `until`, page by page, as `syncd.time_cursor` reads them."""
        ...


class TicketRating(NamedTuple):
    """A rating, and the id of the ticket that it is about."""

    ticket_id: str
    rating: Said


Ratings = Callable[[datetime], Iterator[Sequence[TicketRating]]]
"""The pages of the ratings that were given since a time, in any order. Raises a Failure."""


def ticket_hint(key: str, route: Route, not_before: datetime | None = None) -> Hint:
    """`key`: `created`, `state`, `due` or `talk` and a ticket's id, `thread` or `comment` and two ids; with colons between."""
    return Hint(key=key, data={"route": str(route)}, not_before=not_before)


class ListedTickets:
    """HintSource, PollingSource and Backfillable over a `TicketApi`; `ratings`: where the vendor lists them."""

    def __init__(
        self, tickets: TicketApi, signals: TicketSignals, context: Context, *, ratings: Ratings | None = None
    ) -> None:
        self._tickets, self._signals, self._context = tickets, signals, context
        self._ratings = ratings

    # ---- hints

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        kind, ticket_id, *rest = hint.key.split(":")
        route = Route(hint.data.get("route", Route.WEBHOOK))
        ticket = self._tickets.ticket(ticket_id)
        if ticket is None or ticket.unwanted:
            return Batch(dropped={ticket.unwanted if ticket else "a ticket that is gone": 1})
        if kind in SAID:
            said = self._tickets.said(ticket, SAID[kind], rest[0])
            return Batch(signals=[self._made_of(ticket, said, now, route)] if said else [])
        if kind == "talk":
            return self._heard(ticket, now, route)
        if kind == "due" and may_still_turn(ticket, now):
            return NotYet(now + DUE_GRACE / 12)
        return self._look([ticket], now, route, {ticket_id} if kind == "created" else set(), self._began(now))

    def _heard(self, ticket: Ticket, now: datetime, route: Route) -> Batch:
        """What customers said on a ticket since it was last listened to."""
        key = f"talk:{ticket.id}"
        since = time_or_none(self._context.recall([key]).get(key)) or self._began(now)
        signals = list(self._talk(ticket, since, None, now, route))
        newest = max((one.occurred_at for one in signals), default=since)
        return Batch(signals=signals, remember={key: max(since, newest - LAG).isoformat() if ticket.open else None})

    def _talk(
        self, ticket: Ticket, since: datetime, until: datetime | None, now: datetime, route: Route
    ) -> Iterator[Signal]:
        """What customers said on a ticket in [since, until), if it may have something."""
        for said in self._tickets.all_said(ticket, since, until) if any(ticket.said.values()) else ():
            yield self._made_of(ticket, said, now, route)

    def _made_of(self, ticket: Ticket, said: Said, now: datetime, route: Route) -> Signal:
        return self._signals.made(said.kind, ticket, self._tickets.person(ticket, said), now, route, said=said)

    def _began(self, now: datetime) -> datetime:
        """Since when this source looks; a day ago while no poll has said."""
        return time_or_none(self._context.recall(["began"]).get("began")) or now - timedelta(days=1)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        at = self._tickets.now()
        return encode(TicketCursor(at, floor=at, began=at))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = read_ticket_cursor(state)
        fresh_from = cursor.floor
        for tickets, after, last in self._tickets.changed(cursor, max(now, cursor.since) + AHEAD):
            reached = encode(msgspec.structs.replace(after, floor=after.since) if last else after)
            new = {one.id for one in tickets if (one.created_at or fresh_from) >= fresh_from}
            batch = self._look(tickets, now, Route.POLL, new, cursor.began)
            if not self._context.recall(["began"]):
                batch = replace(batch, remember={**batch.remember, "began": cursor.began.isoformat()})
            if batch != Batch() or reached != state:
                state = reached
                yield replace(batch, state=state)
        yield from self._rated(read_ticket_cursor(state), Route.POLL, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Created, replied, commented and rated; whatever was said in the range, its ticket was modified since."""
        cursor = read_ticket_cursor(state) if state is not None else TicketCursor(since, floor=since, began=since)
        for tickets, after, _ in self._tickets.changed(cursor, self._context.clock() + AHEAD):
            now = self._context.clock()
            signals: list[Signal] = []
            for ticket in tickets:
                made = ticket.created_at
                if ticket.unwanted or (made is not None and made >= until):
                    continue
                if made is not None and since <= made and not ticket.ours:
                    person = self._tickets.person(ticket, None)
                    signals.append(self._signals.made("created", ticket, person, now, Route.BACKFILL))
                signals += self._talk(ticket, since, until, now, Route.BACKFILL)
            if signals or after != cursor:
                cursor = after
                yield Batch(signals=signals, state=encode(cursor))
        yield from self._rated(cursor, Route.BACKFILL, until)

    def _rated(self, cursor: TicketCursor, route: Route, until: datetime | None) -> Iterator[Batch]:
        """Ratings since the cursor's, each with its ticket; a rating of a ticket that is gone, or dropped, is counted."""
        if self._ratings is None:
            return
        read = cursor.rated or TimeCursor(cursor.began)
        lag = LAG if route is Route.POLL else timedelta(0)
        for rated, after, _ in progress(newest_first(self._ratings(read.since), read, _rating_mark, lag=lag), read):
            now, signals, dropped = self._context.clock(), list[Signal](), Counter[str]()
            for ticket_id, rating in rated:
                if until is not None and not rating.within(cursor.began, until):
                    continue
                ticket = self._tickets.ticket(ticket_id)
                if ticket is None or ticket.unwanted:
                    dropped[ticket.unwanted if ticket else "a ticket that is gone"] += 1
                else:
                    signals.append(self._made_of(ticket, rating, now, route))
            cursor = msgspec.structs.replace(cursor, rated=after)
            yield Batch(signals=signals, state=encode(cursor), dropped=dict(dropped))

    def _look(self, tickets: Sequence[Ticket], now: datetime, route: Route, new: set[str], began: datetime) -> Batch:
        """What is new about tickets: that they are there (`new`), that they became overdue or escalated, that something
        was said, and when to look again."""
        memory = self._context.recall([_memory(ticket) for ticket in tickets])
        signals: list[Signal] = []
        hints: list[Hint] = []
        remember: dict[str, str | None] = {}
        for ticket in tickets:
            if ticket.unwanted:
                continue
            held = memory.get(_memory(ticket))
            before = _read_standing(held) if held else None
            after = standing(ticket, before, now)
            signals += self._news(ticket, before, after, now, route, began, is_new=ticket.id in new)
            heard = (before.replies, before.comments) if before else (0, 0)
            if route is not Route.POLL:  # the poll alone has what was said read: only it may note the counts
                after = msgspec.structs.replace(after, replies=heard[0], comments=heard[1])
            elif (after.replies, after.comments) != heard:
                hints.append(ticket_hint(f"talk:{ticket.id}", route))
            noted = encode(after).decode() if ticket.open or after.escalations else None
            if noted != held:
                remember[_memory(ticket)] = noted
            if (again := next_look(ticket, now)) is not None:
                hints.append(ticket_hint(f"due:{ticket.id}", route, again))
        dropped = Counter(ticket.unwanted for ticket in tickets if ticket.unwanted)
        if opened := sum(ticket.ours and ticket.id in new for ticket in tickets if not ticket.unwanted):
            dropped["a ticket that we opened"] = opened
        return Batch(tuple(signals), tuple(hints), None, remember, dict(dropped))

    def _news(
        self,
        ticket: Ticket,
        before: Standing | None,
        after: Standing,
        now: datetime,
        route: Route,
        began: datetime,
        *,
        is_new: bool,
    ) -> list[Signal]:
        happened: dict[TicketEvent, bool] = {
            "created": is_new and not ticket.ours,
            "overdue": became_overdue(ticket, before, began, now),
            "escalated": became_escalated(ticket, before, began),
        }
        if not any(happened.values()):
            return []
        person = self._tickets.person(ticket, None)
        kinds = [kind for kind, has in happened.items() if has]
        return [self._signals.made(kind, ticket, person, now, route, times=after.escalations) for kind in kinds]


def _memory(ticket: Ticket) -> str:
    return f"ticket:{ticket.id}"


def ticket_mark(ticket: Ticket) -> ItemMark | None:
    """Where a cursor over tickets stands that are listed by when they changed."""
    return mark_of(ticket.id, ticket.modified_at)


def _rating_mark(rated: TicketRating) -> ItemMark | None:
    return mark_of(rated.rating.id, rated.rating.at)
