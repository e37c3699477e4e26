"""Values as the mapping language knows them: what is empty, how a value reads as text, what may leave for a CRM.

Generated code and Jinja2 both work with these functions alone, so the two give the same answer. All of it is pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

from syncd.identity.companies import COMPANY_PARTS, Company
from syncd.signals import Person, Signal

LONGEST = 1_000_000
"""Characters one value may have: beyond it the field is a fault that asks for `shorten`."""
DEEPEST = 32

SIGNAL_PARTS = frozenset(
    "id type channel source occurred_at received_at title text url reply thread route direction person data".split()  # noqa: SIM905
)
PERSON_PARTS = frozenset("name first_name last_name email phone company identity handles raw".split())  # noqa: SIM905
PARTS_OF = {"signal": SIGNAL_PARTS, "person": PERSON_PARTS, "company": COMPANY_PARTS}
"""What an expression may name, and the parts of each."""
OPEN_PARTS = frozenset({"data", "handles", "raw"})
"""Parts that hold what a vendor said: below them any name may stand, and a missing one is empty."""


class ValueFault(Exception):
    """A value that cannot be made or sent; the text says which and why, for a dead letter."""


def item(value: Any, key: Any) -> Any:
    """`value.key` and `value[key]`: data only, never a method; None for what is not there."""
    if value.__class__ is dict:
        return value.get(key) if key.__class__ in (str, int, bool, float) else None
    if isinstance(value, (list, tuple, str)):
        if key.__class__ is int and -len(value) <= key < len(value):
            return value[key]
        return None
    if isinstance(value, Signal):
        return _plain_part(getattr(value, key)) if key in SIGNAL_PARTS else None
    if isinstance(value, Person):
        return getattr(value, key) if key in PERSON_PARTS else None
    if isinstance(value, Company):
        return getattr(value, key) if key in COMPANY_PARTS else None
    return value.get(key) if isinstance(value, dict) else None


def _plain_part(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.value if isinstance(value, Enum) else value


def path(value: Any, *keys: str | int) -> Any:
    """`item` along several keys."""
    for key in keys:
        if value.__class__ is dict:
            value = value.get(key)
        elif value is None:
            return None
        else:
            value = item(value, key)
    return value


def part_of(value: Any, start: int | None, stop: int | None, step: int | None) -> Any:
    """`value[start:stop:step]` of text or a list; None of anything else."""
    return value[start:stop:step] if isinstance(value, (str, list, tuple)) else None


def is_empty(value: Any) -> bool:
    """None, "", blank text, an empty list or object. Zero and false are values."""
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or (isinstance(value, (list, tuple, dict)) and not value)


def to_text(value: Any) -> str:
    """How a value reads inside text: nothing for empty, ISO 8601 for times, `a, b` for lists, JSON for objects."""
    if value.__class__ is str:
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return ", ".join(to_text(each) for each in value)
    return to_json(value) if isinstance(value, dict) else str(value)


def to_json(value: Any) -> str:
    """Compact JSON with sorted keys, "" of an empty value. Raises ValueFault for what JSON cannot hold."""
    cleaned = clean(value)
    try:
        return "" if cleaned is None else orjson.dumps(cleaned, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError as error:
        raise ValueFault(f"cannot be written as JSON: {error}") from error


def clean(value: Any, depth: int = 0) -> Any:
    """The value as it may leave, None when it is empty: NUL and half surrogates, which no CRM stores, are dropped.
    Raises ValueFault for what is too long or cannot be sent."""
    kind = value.__class__
    if kind is str:
        return _clean_text(value)
    if value is None or kind is bool or kind is date:
        return value
    if kind is int:
        if not -(2**63) <= value < 2**63:
            raise ValueFault("a number beyond 64 bits; map it as text with | string")
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is datetime:
        if value.tzinfo is None:
            raise ValueFault("a time without a zone; use the filter datetime")
        return value
    return _clean_other(value, depth)


def _clean_text(text: str) -> str | None:
    if not text or text.isspace():
        return None
    if len(text) > LONGEST:
        raise ValueFault(f"{len(text):,} characters, more than {LONGEST:,}; use the filter shorten")
    if "\0" in text:
        text = text.replace("\0", "")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-8", "ignore").decode()
    return text if text and not text.isspace() else None


def _clean_member(value: Any, depth: int) -> Any:
    """A member of a list or object, which is kept as a whole: a number that JSON parsers cannot hold is kept as its digits."""
    too_long = value.__class__ is int and not -(2**63) <= value < 2**63
    return str(value) if too_long else clean(value, depth)


def _clean_other(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueFault("nested too deeply to be sent")
    if isinstance(value, (list, tuple)):
        kept = [each for each in (_clean_member(each, depth + 1) for each in value) if each is not None]
        return kept or None
    if isinstance(value, dict):
        pairs = ((_clean_text(to_text(key)) or "", _clean_member(each, depth + 1)) for key, each in value.items())
        return {key: each for key, each in pairs if each is not None} or None
    if isinstance(value, (UUID, str)):
        return _clean_text(str(value.value if isinstance(value, Enum) else value))
    raise ValueFault(f"a {type(value).__name__} cannot be sent")


def _less(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    try:
        return bool(left < right)
    except TypeError:
        message = f"cannot compare {_named(left)} with {_named(right)}; use int or date on one of them"
        raise ValueFault(message) from None


def _at_most(left: Any, right: Any) -> bool:
    return left is not None and right is not None and (left == right or _less(left, right))


def _within(needle: Any, hay: Any) -> bool:
    if isinstance(hay, str):
        return to_text(needle) in hay
    if isinstance(hay, dict):
        return isinstance(needle, str) and needle in hay
    return needle in hay if isinstance(hay, (list, tuple)) else False


def _arithmetic(name: str, apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def operate(left: Any, right: Any) -> Any:
        if left is None or right is None:
            return None
        for side in (left, right):
            if isinstance(side, bool) or not isinstance(side, (int, float)) or abs(side) >= 2**63:
                raise ValueFault(f"cannot {name} {_named(side)}; numbers only (text is joined with ~)")
        try:
            return apply(left, right)
        except (ZeroDivisionError, OverflowError) as error:
            raise ValueFault(f"cannot {name}: {error}") from error

    return operate


def _named(value: Any) -> str:
    names = {str: "text", int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


OPERATORS: dict[str, Callable[..., Any]] = {
    "lt": _less,
    "lteq": _at_most,
    "gt": lambda left, right: _less(right, left),
    "gteq": lambda left, right: _at_most(right, left),
    "in": _within,
    "notin": lambda needle, hay: not _within(needle, hay),
    "add": _arithmetic("add", lambda a, b: a + b),
    "sub": _arithmetic("subtract", lambda a, b: a - b),
    "mul": _arithmetic("multiply", lambda a, b: a * b),
    "div": _arithmetic("divide", lambda a, b: a / b),
    "floordiv": _arithmetic("divide", lambda a, b: a // b),
    "mod": _arithmetic("divide", lambda a, b: a % b),
    "neg": lambda value: _arithmetic("negate", lambda a, b: a - b)(0, value),
    "slice": part_of,
    "each": lambda value: list(value) if isinstance(value, (list, tuple, dict)) else [],
    "concat": lambda *parts: "".join(map(to_text, parts)),
}
"""The operators of the language whose Python or Jinja2 meaning would raise on customers' data: empty is less than
nothing, contains nothing, and adds up to nothing."""

TESTS: dict[str, Callable[[Any], bool]] = {
    "defined": lambda value: value is not None,
    "undefined": lambda value: value is None,
    "none": lambda value: value is None,
    "empty": is_empty,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "mapping": lambda value: isinstance(value, dict),
    "sequence": lambda value: isinstance(value, (list, tuple)),
}
"""What may stand after `is`."""
