"""The time zones that an invitation brings along (VTIMEZONE, RFC 5545 3.6.5), for zones that have no IANA name. Pure and total.

Read as programs write them: a standard and a daylight part, each from its DTSTART on or each year on the nth weekday of a month.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")
_START = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)")
_DAY = re.compile(r"([+-]?\d)?(MO|TU|WE|TH|FR|SA|SU)")
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
MOST_PARTS = 40


class ZonePart(NamedTuple):
    """From when on which offset holds: at `start`, or each year in `month` on weekday `day`, the `nth` (-1: the last)."""

    start: datetime
    offset: timedelta
    month: int = 0
    nth: int = 0
    day: int = 0

    def onset(self, year: int) -> datetime:
        """When it begins in a year."""
        if not self.month or year < self.start.year:
            return self.start
        first = self.start.replace(year=year, month=self.month, day=1)
        if self.nth < 0:
            after = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
            last = after - timedelta(days=1)
            return last - timedelta(days=(last.weekday() - self.day) % 7)
        return first + timedelta(days=(self.day - first.weekday()) % 7 + 7 * (self.nth - 1))


def zones_in(lines: Sequence[str]) -> dict[str, list[ZonePart]]:
    """TZID -> its parts."""
    zones: dict[str, list[ZonePart]] = {}
    name, part, inside = "", dict[str, str](), ""
    for line in lines:
        key, _, value = line.partition(":")
        key, value = key.partition(";")[0].strip().upper(), value.strip()
        if key == "BEGIN" and value.upper() in ("VTIMEZONE", "STANDARD", "DAYLIGHT"):
            inside, part = value.upper(), {}
        elif key == "END" and value.upper() in ("STANDARD", "DAYLIGHT"):
            if (made := _part(part)) is not None and len(zones.setdefault(name, [])) < MOST_PARTS:
                zones[name].append(made)
            inside = "VTIMEZONE"
        elif key == "END" and value.upper() == "VTIMEZONE":
            inside = ""
        elif inside == "VTIMEZONE" and key == "TZID":
            name = value.strip('"')
        elif inside:
            part.setdefault(key, value)
    return zones


def in_utc(local: datetime, name: str, zones: dict[str, list[ZonePart]], default: tzinfo) -> datetime:
    """A time of a calendar in UTC. `name`: its TZID; `default`: the zone of a time that names none, or one that is not known."""
    try:
        return local.replace(tzinfo=ZoneInfo(name)).astimezone(UTC)
    except (KeyError, ValueError, OSError, OverflowError):
        pass
    parts = zones.get(name, [])
    offset = _offset_at(local, parts)
    zone = timezone(offset) if offset is not None else default
    try:
        return local.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return local.replace(tzinfo=UTC)


def _offset_at(local: datetime, parts: Sequence[ZonePart]) -> timedelta | None:
    begun: list[tuple[datetime, timedelta]] = []
    for part in parts:
        for year in (local.year - 1, local.year):
            try:
                begun.append((part.onset(year), part.offset))
            except (ValueError, OverflowError):
                continue
    before = [one for one in begun if one[0] <= local]
    return max(before)[1] if before else (min(begun)[1] if begun else None)


def _part(said: dict[str, str]) -> ZonePart | None:
    offset, start = _OFFSET.match(said.get("TZOFFSETTO", "")), _START.match(said.get("DTSTART", ""))
    if not offset or not start:
        return None
    hours = timedelta(hours=int(offset[2]), minutes=int(offset[3])) * (-1 if offset[1] == "-" else 1)
    rule = dict(pair.partition("=")[::2] for pair in said.get("RRULE", "").upper().split(";"))
    day = _DAY.fullmatch(rule.get("BYDAY", ""))
    month = rule.get("BYMONTH", "")
    try:
        begins = datetime(*(int(one) for one in start.groups()))  # type: ignore[arg-type]  # noqa: DTZ001  a local time
        if abs(hours) >= timedelta(days=1):
            return None
        if rule.get("FREQ") == "YEARLY" and day and month.isdigit() and 1 <= int(month) <= 12:
            return ZonePart(begins, hours, int(month), int(day[1] or 1) or 1, _DAYS.index(day[2]))
    except ValueError:
        return None
    return ZonePart(begins, hours)
