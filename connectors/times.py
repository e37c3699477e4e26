"""Reads the times vendors write: ISO 8601, RFC 2822, unix seconds or milliseconds. For the connectors; pure."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any

_LEAST_DIGITS = 9  # fewer digits are a date such as 20261122
_UNITS = (
    (1e14, 1e6),
    (1e11, 1e3),
    (0.0, 1.0),
)  # 1e11 s is the year 5138: a larger number counts milli- or microseconds


def read_time(value: Any, zone: tzinfo) -> datetime | None:
    """The moment in UTC, None for an empty value. A time without a zone is in `zone`. Raises ValueError."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return _in_utc(value, zone)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _unix(float(value))
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} is no time")
    text = value.strip()
    if not text:
        return None
    number = text.replace(".", "", 1)
    if number.isascii() and number.isdigit() and len(text.partition(".")[0]) >= _LEAST_DIGITS:
        return _unix(float(text))
    try:
        return _in_utc(datetime.fromisoformat(text), zone)
    except ValueError:
        return _rfc2822(text, zone)


def _rfc2822(text: str, zone: tzinfo) -> datetime:
    try:
        return _in_utc(parsedate_to_datetime(text), zone)
    except (ValueError, OverflowError, IndexError, TypeError):
        raise ValueError(f"{text[:60]!r} is no time (ISO 8601, RFC 2822, unix seconds or milliseconds)") from None


def _unix(number: float) -> datetime:
    per_second = next((unit for least, unit in _UNITS if number >= least), 0.0)
    try:
        return datetime.fromtimestamp(number / per_second, UTC)
    except (ValueError, OverflowError, OSError, ZeroDivisionError):
        raise ValueError(f"{number:g} is no unix time") from None


def _in_utc(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment} is out of range") from None
