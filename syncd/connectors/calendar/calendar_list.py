"""Reading calendars that list their events by time, occurrence by occurrence: what Graph's and Google's calendars share.

A meeting is seen once it has ended, or when it is entered or changed after that, up to `look_back` later. The cursor follows the
later of the two, so that a list which is ordered by start needs no memory of what it showed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, Level
from syncd.connector import Batch, ConnectorSettings, Context, Request
from syncd.connectors.calendar.meetings import Meeting, held_signals, own_of
from syncd.connectors.online import clock_findings
from syncd.durations import Duration
from syncd.items import each_row, kept_row
from syncd.signals import Route
from syncd.time_cursor import ItemMark, TimeCursors, encode, mark_of, newest_first, progress, read_cursors

LAG = timedelta(minutes=30)
"""An event may show in the list so long after its last change."""
WINDOW = timedelta(days=31)
"""A backfill reads so much of a calendar at once."""


class CalendarSettings(ConnectorSettings):
    """Keys of every source that reads calendars."""

    own_domains: tuple[str, ...] = Field(
        (),
        description="more domains and addresses of the company; the domain of the calendar's user is one, unless many share it "
        "(gmail.com)",
    )
    all_day: bool = Field(False, description="also take events that last whole days")
    look_back: Duration = Field(
        timedelta(days=7), description="polls find meetings that are entered or changed so long after they ended"
    )


class EventTimes(NamedTuple):
    """When an event ended, and when it was last changed; None for what cannot be read. What has no end never ends."""

    id: str
    ends: datetime | None
    changed: datetime | None


class CalendarApi(Protocol):
    """One vendor's calendars."""

    def now(self) -> datetime:
        """The vendor's clock."""
        ...

    def look(self, calendar: str) -> tuple[str, datetime]:
        """(a calendar's name as the vendor shows it, the vendor's clock). Raises a Failure."""
        ...

    def listed(self, calendar: str, since: datetime, until: datetime) -> Iterator[Sequence[dict[str, Any]]]:
        """Pages of the events that overlap [since, until), each occurrence for itself. Raises a Failure."""
        ...

    def times(self, row: Mapping[str, Any]) -> EventTimes: ...

    def meeting(self, row: Mapping[str, Any]) -> Meeting:
        """Raises Malformed."""
        ...


class CalendarBackfill(msgspec.Struct):
    """The calendars that are still to be read, the first of them from `since` on."""

    calendars: tuple[str, ...]
    since: datetime


class CalendarList:
    """The meetings of some calendars of one user: a PollingSource, Backfillable, Reparsing and OnlineCheck. `vendor`: whose
    clock is compared with ours."""

    vendor: ClassVar[str]

    def __init__(
        self, api: CalendarApi, calendars: Sequence[str], user: str, settings: CalendarSettings, context: Context
    ) -> None:
        self._api, self._calendars, self._settings, self._context = api, tuple(calendars), settings, context
        self._user, self._own = user, own_of(user, settings.own_domains)

    def check_online(self) -> Iterator[Finding]:
        """Signs in and looks at every calendar; what fails ends it."""
        for index, calendar in enumerate(self._calendars):
            name, theirs = self._api.look(calendar)
            if not index:
                yield Finding(Level.OK, "sign-in", f"signed in; the calendars of {self._user} can be read")
                yield from clock_findings(self._context.clock(), theirs, self.vendor)
            yield Finding(Level.OK, f"calendar {calendar}", name)

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursors(self._api.now()))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursors = read_cursors(state)
        for calendar in self._calendars:
            cursor = cursors.of(calendar)
            first = min(cursor.since, now - self._settings.look_back)
            rows = [row for page in self._api.listed(calendar, first, now) for row in page]
            ended = [row for row in rows if (at := self._api.times(row).ends) is not None and at <= now]
            for fresh, after, _ in progress(newest_first([ended], cursor, self._mark, lag=LAG), cursor):
                cursors = cursors.moved(calendar, after, self._calendars)
                yield self._batch(fresh, now, Route.POLL, encode(cursors))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Every meeting that began in the range and has ended."""
        at = msgspec.json.decode(state, type=CalendarBackfill) if state else CalendarBackfill(self._calendars, since)
        while at.calendars:
            first, last, now = at.since, min(at.since + WINDOW, until), self._context.clock()
            rows = [row for page in self._api.listed(at.calendars[0], first, last) for row in page]
            if last < until:
                at = CalendarBackfill(at.calendars, last)
            else:
                at = CalendarBackfill(at.calendars[1:], since)
            yield self._batch(rows, now, Route.BACKFILL, msgspec.json.encode(at), between=(first, last))

    def reparse(self, request: Request) -> Batch:
        """An event from quarantine."""
        made = self._made(msgspec.json.decode(request.body), request.received_at, Route.POLL)
        return Batch(dropped={made: 1}) if isinstance(made, str) else made

    def _mark(self, row: Mapping[str, Any]) -> ItemMark | None:
        """When an event that has ended can be seen: it ended then, or was changed after that."""
        id_, ends, changed = self._api.times(row)
        return mark_of(id_, max(ends, changed or ends) if ends is not None else None)

    def _batch(
        self,
        rows: Iterable[dict[str, Any]],
        now: datetime,
        route: Route,
        state: bytes,
        between: tuple[datetime, datetime] | None = None,
    ) -> Batch:
        def make(row: dict[str, Any], where: str) -> Batch | str:
            return self._made(row, now, route, between)

        return each_row(list(rows), make, lambda row: kept_row("/events", row, now), state=state, name="event")

    def _made(
        self, row: Mapping[str, Any], now: datetime, route: Route, between: tuple[datetime, datetime] | None = None
    ) -> Batch | str:
        meeting = self._api.meeting(row)
        if between and not (between[0] <= meeting.starts < between[1] and meeting.ends <= now):
            return Batch()
        found = held_signals(meeting, self._own, self._context, now, route, all_day=self._settings.all_day)
        return found if isinstance(found, str) else Batch(found)
