"""Filters of Bitrix24's lists: a prefix on the field's name says how to compare; `logic: OR` and numbered maps nest.

Used by the lists of the Bitrix24 twin. An empty text and a missing value are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from syncd.twins.bitrix24 import phpdata
from syncd.twins.bitrix24.rest import truth

_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]|$)")
_PREFIX = re.compile(r"(!=%|!%=|>=|<=|!@|=%|%=|!%|!=|>|<|@|%|!|=)?(.*)", re.DOTALL)
Row = Mapping[str, Any]
Test = Callable[[Row], bool]


def compiled(filter_: Any, check: Callable[[str], str] = str) -> Test:
    """The test that a filter stands for. `check`: the name under which a field is kept; raises for one that no filter takes."""
    tests: list[Test] = []
    either = False
    for key, wanted in phpdata.entries(filter_):
        if key.lower() == "logic":
            either = str(wanted).upper() == "OR"
        elif key.isdigit() and isinstance(wanted, dict | list):
            tests.append(compiled(wanted, check))
        else:
            tests.append(_condition(key, wanted, check))
    if either:
        return lambda row: any(test(row) for test in tests)
    return lambda row: all(test(row) for test in tests)


def split(key: str) -> tuple[str, str]:
    """(prefix, field) of a filter's key."""
    match = _PREFIX.fullmatch(key)
    return (match[1] or "", match[2]) if match else ("", key)


def _condition(key: str, wanted: Any, check: Callable[[str], str]) -> Test:
    prefix, given = split(key)
    name = check(given)
    negative = prefix.startswith("!")
    sign = prefix.lstrip("!")
    accepted = phpdata.values(wanted) if isinstance(wanted, list | dict) else [wanted]

    def one(held: Any) -> bool:
        if sign in (">", ">=", "<", "<="):
            return _compared(sign, held, accepted[0] if accepted else None)
        if sign in ("%", "=%", "%="):
            return any(_like(sign, held, text) for text in accepted)
        return any(_same(held, value) for value in accepted)

    def test(row: Row) -> bool:
        held = row.get(name)
        found = (
            any(one(each) for each in held) if isinstance(held, list) and held else one(None if held == [] else held)
        )
        return found != negative

    return test


def _like(sign: str, held: Any, text: Any) -> bool:
    value, pattern = str("" if held is None else held).casefold(), str(text).casefold()
    if sign == "%":
        return pattern in value
    return fnmatchcase(value, re.sub(r"([*?\[])", r"[\1]", pattern).replace("%", "*"))


def comparable(value: Any) -> tuple[int, Any]:
    """Orders what lists hold: nothing first, then numbers, moments, and text without case (a number in text is text)."""
    if value is None or value == "":
        return (0, 0)
    if isinstance(value, bool | int | float):
        return (1, float(value))
    text = str(value)
    if _DATE.match(text):
        with suppress(ValueError):
            return (2, datetime.fromisoformat(text).timestamp())
    return (3, text.casefold())


def _pair(held: Any, wanted: Any) -> tuple[tuple[int, Any], tuple[int, Any]]:
    """Both sides as the held one wants to be compared."""
    one, other = comparable(held), comparable(wanted)
    if one[0] == 1 and other[0] == 3:
        with suppress(ValueError):
            other = (1, float(str(wanted)))
    if one[0] == 3 and other[0] == 1:
        other = (3, str(wanted).casefold())
    return one, other


def _same(held: Any, wanted: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(held, bool):
        return truth(held) == truth(wanted)
    one, other = _pair(held, wanted)
    return one == other


def _compared(sign: str, held: Any, wanted: Any) -> bool:
    one, other = _pair(held, wanted)
    if one[0] == 0 or one[0] != other[0]:
        return False
    if sign == ">":
        return bool(one > other)
    if sign == ">=":
        return bool(one >= other)
    return bool(one < other) if sign == "<" else bool(one <= other)
