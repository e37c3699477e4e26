"""Tickets as values, whatever the vendor: what is news about a ticket since the last look, and the signal it becomes. Pure.

A desk source turns its vendor's records into `Ticket` and `Said`; `TicketSignals` makes the signals, and `became_overdue` and
`became_escalated` are differences between two looks, for vendors that report them as flags and not as events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from syncd.connector import Context
from syncd.connectors.text import clean
from syncd.signals import Person, Route, Signal, derive_id
from syncd.texts.titles import titled
from syncd.time_cursor import unix_ms

Record = Mapping[str, Any]
"""A vendor's own record."""
TicketEvent = Literal["created", "replied", "commented", "overdue", "escalated", "rated"]
SaidKind = Literal["replied", "commented", "rated"]
Score = Literal["good", "neutral", "bad"]
"""What a customer thinks of the support, in words that all desks share."""
DUE_GRACE = timedelta(hours=1)  # a vendor may raise its flag this long after the due date


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A ticket as it stands. `due_at`: the date by which it is overdue or falls due next; `due_later`: another date, after that,
    for which the vendor has a flag of its own; `overdue`, `escalated`: the vendor's flags. `said`: how many replies and comments
    it has, or where the vendor does not count them, a number that changes when something may have been said. `unwanted`: why the
    source drops it, "" if it does not. `ours`: we opened it, so that its creation is no signal. `url` is https or "". `record`:
    for the source's own reading."""

    id: str
    number: str = ""
    subject: str = ""
    text: str = ""
    url: str = ""
    open: bool = True
    created_at: datetime | None = None
    modified_at: datetime | None = None
    due_at: datetime | None = None
    due_later: datetime | None = None
    overdue: bool = False
    escalated: bool = False
    said: Mapping[SaidKind, int] = field(default_factory=dict)
    unwanted: str = ""
    ours: bool = False
    data: Record = field(default_factory=dict)
    record: Record = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Said:
    """A customer's reply, comment or rating. `writer`: whom the vendor names as its author; `score`: of a rating."""

    kind: SaidKind
    id: str
    at: datetime | None
    text: str = ""
    data: Record = field(default_factory=dict)
    writer: Record | None = None
    score: Score | None = None

    def within(self, since: datetime, until: datetime | None) -> bool:
        """Whether it was said in [since, until); False where the vendor gives no time."""
        return self.at is not None and since <= self.at and (until is None or self.at < until)


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What was last seen of a ticket: the flags, how often it was escalated, how much was said. `due`: the due date that it
    was overdue by (unix ms), 0 when it was not, or when that was noted by a syncd that kept no date."""

    overdue: bool = False
    escalated: bool = False
    escalations: int = 0
    replies: int = 0
    comments: int = 0
    due: int = 0


def standing(ticket: Ticket, before: Standing | None, now: datetime) -> Standing:
    """As the ticket stands now, counting an escalation when the flag was down (or never seen) before."""
    times = before.escalations if before else 0
    return Standing(
        overdue=ticket.overdue,
        escalated=ticket.escalated,
        escalations=times + (ticket.escalated and not (before and before.escalated)),
        replies=ticket.said.get("replied", 0),
        comments=ticket.said.get("commented", 0),
        due=_overdue_by(ticket, before, now),
    )


def _overdue_by(ticket: Ticket, before: Standing | None, now: datetime) -> int:
    """A date still to come is not what the ticket is overdue by: the flag is up for one before it."""
    if not ticket.overdue:
        return 0
    if ticket.due_at is not None and unix_ms(ticket.due_at) <= unix_ms(now):
        return unix_ms(ticket.due_at)
    return (before.due if before else 0) or unix_ms(now)


def became_overdue(ticket: Ticket, before: Standing | None, began: datetime, now: datetime) -> bool:
    """The flag went up, or stayed up while the due date moved on and passed again. A ticket seen for the first time became so
    in our time only if it fell due since the source began."""
    if not ticket.overdue:
        return False
    if before is not None:
        return not before.overdue or _fell_due_again(ticket, before, now)
    return ticket.due_at is not None and ticket.due_at >= began


def _fell_due_again(ticket: Ticket, before: Standing, now: datetime) -> bool:
    due = ticket.due_at
    return before.due > 0 and ticket.open and due is not None and before.due < unix_ms(due) <= unix_ms(now)


def became_escalated(ticket: Ticket, before: Standing | None, began: datetime) -> bool:
    """A ticket seen for the first time became so in our time for sure only if it was made since the source began."""
    if not ticket.escalated:
        return False
    if before is not None:
        return not before.escalated
    return ticket.created_at is not None and ticket.created_at >= began


def may_still_turn(ticket: Ticket, now: datetime) -> bool:
    """Open, just past one of its dates, and the vendor has not raised the flag of that date yet."""
    return ticket.open and any(due <= now < due + DUE_GRACE for due in _awaited(ticket))


def next_look(ticket: Ticket, now: datetime) -> datetime | None:
    """When to look whether the ticket became overdue; None: there is no date to wait for."""
    if not ticket.open:
        return None
    dates = [due for due in _awaited(ticket) if due > now - DUE_GRACE]
    if ticket.overdue and ticket.due_at is not None and ticket.due_at > now:
        dates.append(ticket.due_at)
    return max(min(dates), now) if dates else None


def _awaited(ticket: Ticket) -> list[datetime]:
    """The dates whose flag the vendor has not raised."""
    dates = (None if ticket.overdue else ticket.due_at, ticket.due_later)
    return [date for date in dates if date is not None]


class _Facts(NamedTuple):
    """What differs between the kinds: the vendor's id of the event, its time, its text, more data."""

    native: str
    when: datetime | None
    text: str = ""
    data: Record = {}


def _facts(kind: TicketEvent, ticket: Ticket, said: Said | None, times: int) -> _Facts:
    if said is not None:
        return _Facts(said.id, said.at, said.text, said.data)
    if kind == "overdue":
        return _Facts(f"{ticket.id}:{ticket.due_at.isoformat() if ticket.due_at else ''}", ticket.due_at)
    if kind == "escalated":
        return _Facts(f"{ticket.id}:{times}", ticket.modified_at, data={"escalations": times})
    return _Facts(ticket.id, ticket.created_at, ticket.text)


@dataclass(frozen=True)
class TicketSignals:
    """Makes the signals of one account of the vendor whose connector is `connector`."""

    connector: str
    account: str
    context: Context

    def made(
        self,
        kind: TicketEvent,
        ticket: Ticket,
        person: Person,
        at: datetime,
        route: Route,
        *,
        said: Said | None = None,
        times: int = 0,
    ) -> Signal:
        """The signal ticket.`kind`. `said`: what was replied, commented or rated; `times`: how often it was escalated."""
        facts, type_ = _facts(kind, ticket, said, times), f"ticket.{kind}"
        subject = " ".join(clean(ticket.subject).split())
        number = ticket.number or ticket.id
        code = f"{type_}.{said.score}" if said is not None and said.score is not None else type_
        title = titled(code, number=number, subject=subject) if subject else titled(f"{code}.bare", number=number)
        return Signal(
            id=derive_id(self.connector, self.account, type_, facts.native),
            type=type_,
            source=self.context.name,
            occurred_at=facts.when or at,
            received_at=at,
            **title,
            text=facts.text,
            url=ticket.url,
            reply=ticket.url,
            person=person,
            data={name: value for name, value in {**ticket.data, **facts.data}.items() if value not in (None, "")},
            thread=f"{self.connector}:{self.account}:{ticket.id}",
            route=route,
        )


def text_of(value: Any) -> str:
    """What a vendor's record has in a field, as text; "" for nothing."""
    return str(value or "")
