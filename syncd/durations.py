"""Durations as people write them in YAML: `30s 5m 2h 7d`, alone or in sequence (`1h30m`). Seconds inside."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
LONGEST = timedelta(days=36_525)
"""A century: what is longer is a slip, and no date could be reckoned with it."""


def parse_duration(text: str) -> timedelta:
    """`"1h30m"` -> timedelta. Raises ValueError saying how one is written."""
    compact = text.replace(" ", "").lower()
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is not a duration; write it like 30s, 5m, 2h, 7d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r} is more than a hundred years")
    return timedelta(seconds=seconds)


def format_duration(span: timedelta) -> str:
    """The shortest exact spelling: 90 s -> `1m30s`."""
    rest = span.total_seconds()
    if rest == 0:
        return "0s"
    text = ""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, _UNITS[unit])
        text += f"{count:g}{unit}" if count else ""
    return text + (f"{round(rest * 1000):g}ms" if round(rest * 1000) else "")


def _coerce(value: Any) -> Any:
    if isinstance(value, str):
        return parse_duration(value)
    if value == 0 and not isinstance(value, bool):
        return timedelta(0)
    if isinstance(value, (int, float)):
        raise ValueError(f"{value} has no unit; write it like 30s, 5m, 2h, 7d")
    return value


Duration = Annotated[timedelta, BeforeValidator(_coerce), PlainSerializer(format_duration, return_type=str)]
"""A timedelta in a settings model, written as text in YAML."""
