"""The filters of the mapping language: what may stand after `|` in a template.

`make_filters` binds them to the settings' time zone and country. Each checks its arguments before it looks at its value,
so that calling it with None at load finds a wrong argument; an empty value comes out empty. A value it cannot work with
raises ValueFault.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from syncd.identity.phones import normal_phone
from syncd.mapping import text as texts
from syncd.mapping.values import ValueFault, is_empty, to_json, to_text

Filter = Callable[..., Any]
MOST_DAYS = 3_660
PHONE_FORMATS = ("e164", "international", "national", "rfc3966")


def shorten(value: Any, limit: int, unit: str = "characters", end: str = texts.ELLIPSIS) -> str:
    """At most `limit` characters (or `utf16` units, or `bytes`), ended by … if anything was cut."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueFault("shorten needs a whole number of 1 or more")
    _one_of("unit of shorten", unit, tuple(texts.UNITS))
    return texts.shorten(to_text(value), limit, unit, end)


def plain(value: Any) -> str:
    """Plain text of HTML; other text as it is."""
    return texts.plain(to_text(value))


def lower(value: Any) -> str:
    """In small letters."""
    return to_text(value).lower()


def upper(value: Any) -> str:
    """In capital letters."""
    return to_text(value).upper()


def title(value: Any) -> str:
    """Each word with a capital letter; the rest of it small."""
    return " ".join(word[:1].upper() + word[1:].lower() for word in to_text(value).split(" "))


def capitalize(value: Any) -> str:
    """The first letter a capital; the rest as it is."""
    words = to_text(value)
    return words[:1].upper() + words[1:]


def trim(value: Any, chars: str | None = None) -> str:
    """Without blanks (or the given characters) at both ends."""
    return to_text(value).strip(chars)


def one_line(value: Any) -> str:
    """On one line, runs of blanks as one."""
    return " ".join(to_text(value).split())


def default(value: Any, other: Any = "") -> Any:
    """`other` when the value is empty."""
    return other if is_empty(value) else value


def replace(value: Any, old: str, new: str = "") -> str:
    """Every `old` as `new`."""
    if not isinstance(old, str) or not old or not isinstance(new, str):
        raise ValueFault("replace needs the text to replace and its replacement")
    return to_text(value).replace(old, new)


def join(value: Any, separator: str = ", ") -> str:
    """A list as text; empty entries are left out."""
    if isinstance(value, (list, tuple)):
        return to_text(separator).join(to_text(each) for each in value if not is_empty(each))
    return to_text(value)


def split(value: Any, separator: str | None = None) -> list[str]:
    """Text as a list, by a separator (blanks, if none is given)."""
    if separator is not None and (not isinstance(separator, str) or not separator):
        raise ValueFault("split needs a text to split at")
    return [part.strip() for part in to_text(value).split(separator) if part.strip()]


def first(value: Any) -> Any:
    """The first entry of a list, the first character of a text."""
    return value[0] if isinstance(value, (list, tuple, str)) and value else None


def last(value: Any) -> Any:
    """The last entry of a list, the last character of a text."""
    return value[-1] if isinstance(value, (list, tuple, str)) and value else None


def length(value: Any) -> int:
    """How many entries, keys or characters; 0 of an empty value."""
    return len(value) if isinstance(value, (list, tuple, dict, str)) else 0


def pluck(value: Any, key: str) -> list[Any]:
    """That key of every object of a list; missing ones are left out."""
    if not isinstance(key, str):
        raise ValueFault("pluck needs the name of a key")
    entries = value if isinstance(value, (list, tuple)) else ()
    return [each[key] for each in entries if isinstance(each, dict) and not is_empty(each.get(key))]


def to_int(value: Any, otherwise: Any = None) -> Any:
    """A whole number, halves cut off; `otherwise` (if given) for any other text."""
    number = _number(value, otherwise)
    if isinstance(number, float):
        return int(number) if abs(number) < 2**63 else _not_a_number(value, otherwise)
    return number


def to_float(value: Any, otherwise: Any = None) -> Any:
    """A number with decimals; `otherwise` (if given) for any other text."""
    number = _number(value, otherwise)
    return float(number) if isinstance(number, int) and not isinstance(number, bool) else number


def round_to(value: Any, digits: int = 0) -> Any:
    """Rounded to so many decimals (half up, as people do); a whole number for none."""
    from decimal import ROUND_HALF_UP, Decimal

    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= 12:
        raise ValueFault("round needs the number of decimals, 0 to 12")
    number = _number(value, None)
    if number is None or isinstance(number, int):
        return number
    if abs(number) >= 1e15:
        return number
    rounded = Decimal(repr(number)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return float(rounded) if digits else int(rounded)


def _number(value: Any, otherwise: Any) -> Any:
    if is_empty(value):
        return otherwise
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    words = to_text(value).strip()
    try:
        if words.isascii() and len(words) <= 40 and "_" not in words:
            number = int(words) if words.lstrip("+-").isdigit() else float(words)
            if abs(number) < float("inf"):
                return number
    except ValueError:
        pass
    return _not_a_number(value, otherwise)


def _not_a_number(value: Any, otherwise: Any) -> Any:
    if otherwise is None:
        raise ValueFault(f"{texts.shorten(to_text(value), 40)!r} is not a number")
    return otherwise


def _one_of(what: str, word: Any, known: Sequence[str]) -> None:
    if word not in known:
        near = difflib.get_close_matches(str(word), known, n=1)
        raise ValueFault(
            f"the {what} is {word!r}; " + (f"did you mean {near[0]}?" if near else f"use {', '.join(known)}")
        )


def _zone(name: str | None, zone: tzinfo) -> tzinfo:
    if name is None:
        return zone
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueFault(f"no time zone {name!r}; write it like Asia/Ho_Chi_Minh") from None


def moment(value: Any, zone: tzinfo) -> datetime | date | None:
    """The time or date a value means: a datetime in `zone`, a date as it is; text in ISO 8601 (without a zone: in
    `zone`). None of an empty value; ValueFault of anything else."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(zone)
    if isinstance(value, date) or is_empty(value):
        return value or None
    words = to_text(value).strip()
    try:
        if not isinstance(value, str) or len(words) > 40:
            raise ValueError
        if len(words) == 10:
            return date.fromisoformat(words)
        return moment(datetime.fromisoformat(words), zone)
    except (ValueError, OverflowError):
        raise ValueFault(f"{texts.shorten(words, 40)!r} is not a date or time (ISO 8601)") from None


def make_filters(zone: tzinfo, region: str | None) -> dict[str, Filter]:
    """Name -> function, bound to the settings' time zone and default country of phone numbers."""
    return {**PLAIN_FILTERS, **_time_filters(zone), "phone": _phone_filter(region)}


def _time_filters(here: tzinfo) -> dict[str, Filter]:
    def to_date(value: Any, zone: str | None = None) -> date | None:
        """The day, in the settings' time zone or the one given."""
        found = moment(value, _zone(zone, here))
        return found.date() if isinstance(found, datetime) else found

    def to_datetime(value: Any, zone: str | None = None) -> datetime | None:
        """The moment, in the settings' time zone or the one given; a day becomes its midnight."""
        there = _zone(zone, here)
        found = moment(value, there)
        if found is None or isinstance(found, datetime):
            return found
        return datetime(found.year, found.month, found.day, tzinfo=there)

    def to_time(value: Any, zone: str | None = None) -> str | None:
        """The time of day as text, `14:05`."""
        found = to_datetime(value, zone)
        return found.strftime("%H:%M") if found else None

    def strftime(value: Any, pattern: str, zone: str | None = None) -> str | None:
        """The moment in a form of your own, as in `%d/%m/%Y %H:%M`."""
        if not isinstance(pattern, str) or not pattern or "\0" in pattern:
            raise ValueFault("strftime needs a pattern such as %d/%m/%Y")
        found = to_datetime(value, zone)
        return found.strftime(pattern) if found else None

    def business_days(value: Any, days: int, holidays: Any = (), zone: str | None = None) -> date | None:
        """The day so many working days (Monday to Friday, no holiday) later; 0: the same day or the next working day."""
        if isinstance(days, bool) or not isinstance(days, int) or abs(days) > MOST_DAYS:
            raise ValueFault(f"business_days needs a whole number of days, at most {MOST_DAYS:,}")
        if not isinstance(holidays, (list, tuple)):
            raise ValueFault("the holidays of business_days are a list of dates such as ['2026-04-30']")
        free = {to_date(day) for day in holidays}
        found = to_date(value, zone)
        return _working_day(found, days, free) if found else None

    return {
        "date": to_date,
        "datetime": to_datetime,
        "time": to_time,
        "strftime": strftime,
        "business_days": business_days,
        "timestamp": lambda value: _epoch(to_datetime(value)),
    }


def _epoch(when: datetime | None) -> int | None:
    return int(when.astimezone(UTC).timestamp()) if when else None


def _working_day(day: date, days: int, free: set[date | None]) -> date:
    step = timedelta(days=-1 if days < 0 else 1)
    left = abs(days)
    try:
        while left or day.weekday() >= 5 or day in free:
            day += step
            left -= left > 0 and day.weekday() < 5 and day not in free
    except OverflowError:
        raise ValueFault("business_days leaves the calendar") from None
    return day


def _phone_filter(here: str | None) -> Filter:
    def phone(value: Any, form: str = "e164", region: str | None = None) -> str | None:
        """A phone number as e164, international, national or rfc3966; empty for a text that is not a phone number."""
        _one_of("form of phone", form, PHONE_FORMATS)
        words = to_text(value).strip()
        number = normal_phone(words[:250], region or here) if words else ""
        if not number:
            return None
        import phonenumbers  # 25 MB of metadata: only mappings that format phones pay for it

        style = getattr(phonenumbers.PhoneNumberFormat, form.upper())
        return str(phonenumbers.format_number(phonenumbers.parse(number), style))

    return phone


PLAIN_FILTERS: dict[str, Filter] = {
    "shorten": shorten,
    "plain": plain,
    "lower": lower,
    "upper": upper,
    "title": title,
    "capitalize": capitalize,
    "trim": trim,
    "one_line": one_line,
    "default": default,
    "replace": replace,
    "join": join,
    "split": split,
    "first": first,
    "last": last,
    "length": length,
    "pluck": pluck,
    "int": to_int,
    "float": to_float,
    "round": round_to,
    "string": to_text,
    "json": to_json,
}
"""The filters that need no settings."""
