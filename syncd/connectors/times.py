"""Reads the times vendors write: ISO 8601 and RFC 3339, RFC 2822, unix seconds or milliseconds. For the connectors; pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

_LEAST_DIGITS = 9  # fewer digits are a date such as 20261122
_LONGEST = 100
_UNITS = (
    (1e14, 1e6),
    (1e11, 1e3),
    (0.0, 1.0),
)  # 1e11 s is the year 5138: a larger number counts milli- or microseconds
_ISO = re.compile(
    r"""(?P<date>\d{4}-\d\d-\d\d | \d{8})
    (?: [Tt\ _]+ (?P<hour>\d\d) (?: :? (?P<minute>\d\d) (?: :? (?P<second>\d\d) (?: [.,] (?P<fraction>\d+) )? )? )? )
    \s* (?P<zone> [Zz] | UTC | GMT | (?P<sign>[+\-\N{MINUS SIGN}]) (?P<hours>\d\d) (?: :? (?P<minutes>\d\d) )? )?
    (?: \s* \[ (?P<place>[A-Za-z0-9_+\-/]+) \] )?""",
    re.VERBOSE | re.ASCII,
)
"""RFC 3339 with what it allows (small letters, a space, a leap second, any fraction) and what programs write beyond it: a
space before the offset, UTC by name, a place in brackets (RFC 9557)."""


def read_time(value: Any, zone: tzinfo) -> datetime | None:
    """The moment in UTC, None for an empty value. A time without a zone is in `zone`. Raises ValueError."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return _in_utc(value, zone)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _unix(value)
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} is not a time")
    text = value.strip()
    if not text:
        return None
    if len(text) > _LONGEST:
        raise ValueError(f"{text[:60]!r}… is not a time: {len(text)} characters")
    number = text.replace(".", "", 1)
    if number.isascii() and number.isdigit() and len(text.partition(".")[0]) >= _LEAST_DIGITS:
        return _unix(float(text))
    try:
        return _in_utc(datetime.fromisoformat(text), zone)
    except ValueError:
        return _iso(text, zone) or _rfc2822(text, zone)


def time_or_none(value: Any) -> datetime | None:
    """`read_time` in UTC for a field of a vendor's record; None also for what is not a time."""
    try:
        return read_time(value, UTC)
    except ValueError:
        return None


def _iso(text: str, zone: tzinfo) -> datetime | None:
    """What `fromisoformat` does not read of ISO 8601; None if it is something else."""
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) for part in re.findall(r"^\d{4}|\d\d", found["date"].replace("-", "")[:8]))
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    beyond = timedelta(0)
    if second == 60:  # a leap second, which our clocks do not have: the moment it ends
        second, beyond = 59, timedelta(seconds=1)
    if (hour, minute, second) == (24, 0, 0):
        hour, beyond = 0, timedelta(days=1)
    micro = int((found["fraction"] or "")[:6].ljust(6, "0")) if not beyond else 0
    try:
        moment = datetime(year, month, day, hour, minute, second, micro, tzinfo=_zone(found, zone))
        return _in_utc(moment + beyond, zone)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: {error}") from None


def _zone(found: re.Match[str], zone: tzinfo) -> tzinfo:
    if found["hours"]:
        ahead = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
        return timezone(ahead if found["sign"] == "+" else -ahead)
    if found["zone"]:
        return UTC
    if found["place"]:
        try:
            return ZoneInfo(found["place"])
        except (KeyError, OSError, ValueError):
            raise ValueError(f"there is not a time zone {found['place']!r}") from None
    return zone


def _rfc2822(text: str, zone: tzinfo) -> datetime:
    try:
        return _in_utc(parsedate_to_datetime(text), zone)
    except (ValueError, OverflowError, IndexError, TypeError):
        raise ValueError(f"{text[:60]!r} is not a time (ISO 8601, RFC 2822, unix seconds or milliseconds)") from None


def _unix(number: int | float) -> datetime:
    try:
        per_second = next((unit for least, unit in _UNITS if number >= least), 0.0)
        return datetime.fromtimestamp(number / per_second, UTC)
    except (ValueError, OverflowError, OSError, ZeroDivisionError):
        raise ValueError(f"{_shown(number)} is not a Unix time") from None


def _shown(number: int | float) -> str:
    text = str(number)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _in_utc(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment} is out of range") from None
