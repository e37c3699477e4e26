"""The `google_calendar` source: meetings in the calendars of a Google account, by the Calendar API.

Sources: developers.google.com, "Events: list", "Events" (resource), "Calendars: get".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import Field

from syncd.capabilities import SignIn
from syncd.connector import Connector, Context
from syncd.connectors.accounts.google import GoogleAccount, google_errors
from syncd.connectors.answers import trimmed
from syncd.connectors.calendar.calendar_list import CalendarList, CalendarSettings, EventTimes
from syncd.connectors.calendar.meetings import SIGNALS, Attendee, Meeting
from syncd.connectors.keys import BaseUrl
from syncd.connectors.text import html_to_text
from syncd.connectors.times import read_time, time_or_none
from syncd.errors import Malformed
from syncd.http.error_table import dig
from syncd.http.vendor_api import TokenPaging

KIND = "google_calendar"
SCOPE = "https://www.googleapis.com/auth/calendar.readonly"
SCOPES = {SCOPE: "reads the calendars"}
PAGE = 250
_EXPIRED = frozenset({"400", "410", "INVALID_ARGUMENT", "badRequest", "invalid"})
_PRIVATE = frozenset({"private", "confidential"})
_MEETINGS = frozenset({"", "default", "fromGmail"})
"""Types of events; others are birthdays, focus time, absence and where somebody works."""
ERRORS = google_errors(
    "the Google Calendar API", "calendar-json.googleapis.com", "there is no such calendar; check calendars"
)


class GoogleCalendarSettings(GoogleAccount, CalendarSettings):
    """Keys of a `google_calendar` source."""

    calendars: tuple[str, ...] = Field(
        ("primary",),
        min_length=1,
        description="calendars to read: `primary` is the account's own, any other is a calendar id",
    )
    base_url: BaseUrl = Field("https://www.googleapis.com", description="the Calendar API")


class GoogleEvents:
    """The calendars of one account, as `CalendarList` reads them."""

    def __init__(self, settings: GoogleCalendarSettings, context: Context) -> None:
        self._context = context
        self.api = settings.api(context, settings.base_url, SCOPE, ERRORS, kind=KIND)
        self._first = settings.calendars[0]

    def now(self) -> datetime:
        return self.api.vendor_now(self.api.call("GET", self.path(self._first)))

    def look(self, calendar: str) -> tuple[str, datetime]:
        answer = self.api.call("GET", self.path(calendar))
        said = answer.json() if answer is not None else {}
        return str(dig(said, "summary") or calendar), self.api.vendor_now(answer)

    def path(self, calendar: str) -> str:
        return f"/calendar/v3/calendars/{quote(calendar, safe='')}"

    def listed(self, calendar: str, since: datetime, until: datetime) -> Iterator[Sequence[dict[str, Any]]]:
        query = {
            "timeMin": _stamp(since),
            "timeMax": _stamp(until + timedelta(seconds=1)),
            "singleEvents": "true",
            "orderBy": "startTime",
            "maxResults": str(PAGE),
        }
        paging = TokenPaging("pageToken", "nextPageToken", _EXPIRED)
        pages = self.api.pages(f"{self.path(calendar)}/events", query, items="items", paging=paging, sparse=True)
        return ([self._zoned(row, page.body) for row in page.items] for page in pages)

    def times(self, row: Mapping[str, Any]) -> EventTimes:
        return EventTimes(str(row.get("id")), _time(row, "end"), time_or_none(row.get("updated")))

    def meeting(self, row: Mapping[str, Any]) -> Meeting:
        starts, ends = _time(row, "start"), _time(row, "end")
        if starts is None or ends is None:
            raise Malformed("an event without start or end")
        attendees = row.get("attendees")
        people = [one for one in attendees if isinstance(one, dict)] if isinstance(attendees, list) else []
        organizer = row.get("organizer") if people and isinstance(row.get("organizer"), dict) else {}
        ours = next((one for one in people if one.get("self") is True), {})
        kind = str(row.get("eventType") or "")
        return Meeting(
            uid=str(row.get("iCalUID") or row.get("id")),
            starts=starts,
            ends=ends,
            subject=trimmed(row.get("summary")),
            text=html_to_text(said) if "<" in (said := trimmed(row.get("description"))) else said,
            place=trimmed(row.get("location")) or trimmed(row.get("hangoutLink")),
            url=link if (link := trimmed(row.get("htmlLink"))).startswith("https://") else "",
            original=_time(row, "originalStartTime") or starts if row.get("recurringEventId") else None,
            attendees=tuple(
                Attendee(
                    trimmed(one.get("email")), trimmed(one.get("displayName")), one.get("responseStatus") == "declined"
                )
                for one in (*people, *([organizer] if organizer else []))
                if one.get("resource") is not True and not trimmed(one.get("email")).endswith(".calendar.google.com")
            ),
            cancelled=row.get("status") == "cancelled",
            declined=ours.get("responseStatus") == "declined",
            private=row.get("visibility") in _PRIVATE or kind not in _MEETINGS,
            all_day="date" in _mapping(row.get("start")),
        )

    def _zoned(self, row: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
        """With the calendar's time zone, in which whole days begin."""
        return {"timeZone": body.get("timeZone") or str(self._context.timezone), **row}


class GoogleCalendar(CalendarList):
    """A PollingSource, Backfillable and Reparsing."""

    vendor = "Google"

    def __init__(self, settings: GoogleCalendarSettings, context: Context) -> None:
        self._events = GoogleEvents(settings, context)
        self._keys, self._named = settings, context
        super().__init__(self._events, settings.calendars, settings.account, settings, context)

    def sign_in(self) -> SignIn:
        """For `syncd auth`. Raises UsageError for an account that needs none."""
        return self._keys.sign_in(SCOPES, kind=KIND, name=self._named.name)


def _time(row: Mapping[str, Any], which: str) -> datetime | None:
    """Of `{"dateTime": "2026-11-22T15:00:00+07:00", "timeZone": …}`, or of `{"date": "2026-11-22"}` in the calendar's zone."""
    said = _mapping(row.get(which))
    try:
        zone = ZoneInfo(str(said.get("timeZone") or row.get("timeZone") or "UTC"))
    except (KeyError, ValueError, OSError):
        return time_or_none(said.get("dateTime") or said.get("date"))
    try:
        return read_time(said.get("dateTime") or said.get("date"), zone)
    except ValueError:
        return None


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


CONNECTOR = Connector(
    name=KIND,
    contract=2,
    role="source",
    summary="Meetings with customers in a Google account's calendars, by the Calendar API",
    settings=GoogleCalendarSettings,
    build=GoogleCalendar,
    signals=SIGNALS,
)
