"""Cron lines as crontab(5) writes them: five fields, names, ranges, steps, lists; day of week 0 and 7 are Sunday.

The configuration checks lines with `parse_cron`, the schedule makes triggers of what it returns. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
_PIECE = re.compile(r"(?P<all>\*)|(?P<first>[a-z0-9]+)(?:-(?P<last>[a-z0-9]+))?")
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}


@dataclass(frozen=True, slots=True)
class _CronField:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first_word: int = 0


_FIELDS = (
    _CronField("minute", 0, 59),
    _CronField("hour", 0, 23),
    _CronField("day of month", 1, 31),
    _CronField("month", 1, 12, _MONTHS, 1),
    _CronField("day of week", 0, 7, _DAYS, 0),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """The values that each field allows. `weekdays`: 0 is Sunday. `either_day`: both kinds of day are restricted, and a
    day that satisfies one of them will do, as in crontab."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool


def parse_cron(line: str) -> Cron:
    """Raises ValueError that names the field and what is wrong with it."""
    words = _SHORT.get(line.strip().lower(), line).lower().split()
    if len(words) != len(_FIELDS):
        raise ValueError(f"{line!r} has {len(words)} fields; a cron line has 5: minute hour day month weekday")
    minutes, hours, days, months, weekdays = (_values(word, field) for word, field in zip(words, _FIELDS, strict=True))
    either_day = not words[2].startswith("*") and not words[4].startswith("*")
    if not either_day and all(min(days) > _LONGEST[month] for month in months):
        raise ValueError(f"{line!r} never comes: no month of these has a day {min(days)}")
    return Cron(
        minutes,
        hours,
        days,
        months,
        tuple(sorted({day % 7 for day in weekdays})),
        either_day=either_day,
    )


def _values(text: str, field: _CronField) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        match = _PIECE.fullmatch(span)
        if match is None or (slash and not (step_text.isascii() and step_text.isdigit() and int(step_text) > 0)):
            raise ValueError(f"{field.name}: {part!r} is not *, a value, a range a-b, or one of these with /step")
        step = int(step_text) if slash else 1
        found.update(_span(match, field, open_ended=bool(slash))[::step])
    return tuple(sorted(found))


def _span(match: re.Match[str], field: _CronField, *, open_ended: bool) -> list[int]:
    if match["all"]:
        return list(range(field.low, (6 if field.high == 7 else field.high) + 1))
    first = _value(match["first"], field)
    if match["last"] is None:
        return list(range(first, field.high + 1)) if open_ended else [first]
    last = _value(match["last"], field)
    if first <= last:
        return list(range(first, last + 1))
    if field.words != _DAYS:
        raise ValueError(f"{field.name}: {match[0]!r} runs backwards")
    return [*range(first, 7), *range(last + 1)]  # fri-mon


def _value(word: str, field: _CronField) -> int:
    if word in field.words:
        return field.words.index(word) + field.first_word
    if not (word.isascii() and word.isdigit()) or not field.low <= int(word) <= field.high:
        names = f" or {field.words[0]} … {field.words[-1]}" if field.words else ""
        raise ValueError(f"{field.name}: {word!r} is not {field.low}-{field.high}{names}")
    return int(word)
