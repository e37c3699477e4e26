"""The `graph_calendar` source: meetings in the calendars of a Microsoft 365 user, by Microsoft Graph.

Sources: learn.microsoft.com, "List calendarView", "event resource type", "dateTimeTimeZone resource type" (times are asked for in
UTC).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from pydantic import Field

from syncd.capabilities import SignIn
from syncd.connector import Connector, Context
from syncd.connectors.accounts.graph_api import GraphAccount, NextLinkPaging, graph_errors, stamp
from syncd.connectors.answers import trimmed
from syncd.connectors.calendar.calendar_list import CalendarList, CalendarSettings, EventTimes
from syncd.connectors.calendar.meetings import SIGNALS, Attendee, Meeting
from syncd.connectors.times import read_time, time_or_none
from syncd.errors import Malformed
from syncd.http.error_table import dig

KIND = "graph_calendar"
DEFAULT = "calendar"
"""The name of the user's default calendar, which has no id in the settings."""
SCOPES = {"Calendars.Read": "reads the calendars"}
PAGE = 100
_FIELDS = (
    "id,iCalUId,type,subject,bodyPreview,start,end,isAllDay,isCancelled,sensitivity,location,attendees,organizer,responseStatus,"
    "originalStart,webLink,lastModifiedDateTime"
)
_PRIVATE = frozenset({"private", "personal", "confidential"})
_SERIES = frozenset({"occurrence", "exception"})
ERRORS = graph_errors("user's calendars", "Calendars.Read", "there is no such calendar; check calendars")


class GraphCalendarSettings(GraphAccount, CalendarSettings):
    """Keys of a `graph_calendar` source."""

    calendars: tuple[str, ...] = Field(
        (DEFAULT,),
        min_length=1,
        description="calendars to read: `calendar` is the user's default calendar, any other is a calendar id",
    )


class GraphEvents:
    """The calendars of one user, as `CalendarList` reads them."""

    def __init__(self, settings: GraphCalendarSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self.api = settings.api(context, ERRORS, kind=KIND, page=PAGE)

    def now(self) -> datetime:
        return self.api.vendor_now(self.api.call("GET", self.path(DEFAULT), {"$select": "id"}))

    def path(self, calendar: str) -> str:
        inside = "calendar" if calendar == DEFAULT else f"calendars/{quote(calendar, safe='')}"
        return f"/{self._settings.whose}/{inside}"

    def look(self, calendar: str) -> tuple[str, datetime]:
        answer = self.api.call("GET", self.path(calendar), {"$select": "id,name"})
        said = answer.json() if answer is not None else {}
        return str(dig(said, "name") or calendar), self.api.vendor_now(answer)

    def listed(self, calendar: str, since: datetime, until: datetime) -> Iterator[Sequence[dict[str, Any]]]:
        query = {
            "startDateTime": stamp(since),
            "endDateTime": stamp(until + timedelta(seconds=1)),
            "$select": _FIELDS,
            "$orderby": "start/dateTime",
        }
        pages = self.api.pages(f"{self.path(calendar)}/calendarView", query, items="value", paging=NextLinkPaging())
        return (page.items for page in pages)

    def times(self, row: Mapping[str, Any]) -> EventTimes:
        changed = time_or_none(row.get("lastModifiedDateTime"))
        return EventTimes(str(row.get("id")), self._time(row, "end"), changed)

    def meeting(self, row: Mapping[str, Any]) -> Meeting:
        starts, ends = self._time(row, "start"), self._time(row, "end")
        if starts is None or ends is None:
            raise Malformed("an event without start or end")
        attendees = row.get("attendees")
        people = [one for one in attendees if isinstance(one, dict)] if isinstance(attendees, list) else []
        return Meeting(
            uid=str(row.get("iCalUId") or row.get("id")),
            starts=starts,
            ends=ends,
            subject=trimmed(row.get("subject")),
            text=trimmed(row.get("bodyPreview")),
            place=trimmed(dig(row, "location.displayName")),
            url=link if (link := trimmed(row.get("webLink"))).startswith("https://") else "",
            original=time_or_none(row.get("originalStart")) or starts if row.get("type") in _SERIES else None,
            attendees=tuple(
                Attendee(
                    trimmed(dig(one, "emailAddress.address")),
                    trimmed(dig(one, "emailAddress.name")),
                    dig(one, "status.response") == "declined",
                )
                for one in (*people, row.get("organizer"))
                if isinstance(one, dict) and one.get("type") != "resource"
            ),
            cancelled=row.get("isCancelled") is True,
            declined=dig(row, "responseStatus.response") == "declined",
            private=row.get("sensitivity") in _PRIVATE,
            all_day=row.get("isAllDay") is True,
        )

    def _time(self, row: Mapping[str, Any], which: str) -> datetime | None:
        """Of `{"dateTime": "2026-11-22T08:00:00.0000000", "timeZone": "UTC"}`; whole days are of the configuration's zone."""
        said = str(dig(row.get(which), "dateTime") or "")
        try:
            return read_time(said, self._context.timezone if row.get("isAllDay") is True else UTC)
        except ValueError:
            return None


class GraphCalendar(CalendarList):
    """A PollingSource, Backfillable and Reparsing."""

    vendor = "Microsoft"

    def __init__(self, settings: GraphCalendarSettings, context: Context) -> None:
        self._events = GraphEvents(settings, context)
        self._keys, self._named = settings, context
        super().__init__(self._events, settings.calendars, settings.mailbox, settings, context)

    def sign_in(self) -> SignIn:
        """For `syncd auth`. Raises UsageError when the app signs in by itself."""
        return self._keys.sign_in(SCOPES, kind=KIND, name=self._named.name)


CONNECTOR = Connector(
    name=KIND,
    contract=2,
    role="source",
    summary="Meetings with customers in a Microsoft 365 user's calendars, by Microsoft Graph",
    settings=GraphCalendarSettings,
    build=GraphCalendar,
    signals=SIGNALS,
)
