"""What a user gives for a field of a rule that waits for them: checked against the type of the field, before it is queued. Pure.

The type is the mapping's (`| date`, a number, true or false); where the mapping leaves it open, it is the CRM's own.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from syncd.capabilities import FieldDescription
from syncd.config.yaml_positions import read_yaml
from syncd.errors import ConfigError

TEXT = "text"
TYPES: Mapping[str, str] = {
    **dict.fromkeys(("date",), "date"),
    **dict.fromkeys(("datetime", "timestamp"), "datetime"),
    **dict.fromkeys(("int", "integer", "bigint", "smallint", "double", "float", "real"), "number"),
    **dict.fromkeys(("numeric", "decimal", "currency", "percent"), "number"),
    **dict.fromkeys(("boolean", "bool"), "checkbox"),
}
"""First word of a CRM's or database's type, in lower case -> ours; any other is text."""
MOST_VALUES = 10
"""So many values of a list are named."""


def given_value(text: str, type: str, described: FieldDescription | None = None) -> Any:
    """The value that a text stands for. `type`: as the mapping tells (`syncd.mapping.bounds.type_of`); `described`: the field in
    the CRM, where that was asked. Raises ValueError: what it must be, as the end of a sentence."""
    if type == TEXT and described is not None:
        type = TYPES.get(described.type.lower().partition("(")[0].split(" ")[0], TEXT)
    if type != TEXT:
        return _READERS[type](text.strip())
    if described is not None and described.values is not None and described.restricted:
        return _one_of(text, described.values)
    if described is not None and described.length is not None and len(text) > described.length:
        raise ValueError(f"must have at most {described.length} characters, and has {len(text)}")
    return _as_yaml_reads(text)


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("must be a date, such as 2026-12-01") from None


def _datetime(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or ":" not in text or moment.tzinfo is None:
        raise ValueError("must be a date and time with its zone, such as 2026-12-01T09:00:00+07:00")
    return text


def _number(text: str) -> int | float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("must be a number, such as 5 or 2.5")
    return int(text) if text.lstrip("+-").isdigit() else value


def _checkbox(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


_READERS: Mapping[str, Callable[[str], Any]] = {
    "date": _date,
    "datetime": _datetime,
    "number": _number,
    "checkbox": _checkbox,
}


def _one_of(text: str, values: tuple[str, ...]) -> str:
    if text in values:
        return text
    near = difflib.get_close_matches(text, values, n=1, cutoff=0.6)
    if near:
        raise ValueError(f"is not one of the field's values; did you mean {near[0]}?")
    more = ", …" if len(values) > MOST_VALUES else ""
    raise ValueError(f"must be one of: {', '.join(values[:MOST_VALUES])}{more}")


def _as_yaml_reads(text: str) -> Any:
    """5 and true as YAML reads them; anything else as text."""
    try:
        value = read_yaml(text, "").data
    except ConfigError:
        return text
    return value if isinstance(value, (bool, int, float)) else text
