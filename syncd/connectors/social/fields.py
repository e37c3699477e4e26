"""Values of vendors' JSON as these sources read them: whatever a value is, nothing raises but Malformed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syncd.connectors.text import clean
from syncd.connectors.times import read_time
from syncd.errors import Malformed

Fields = Mapping[str, Any]


def fields_of(value: Any, where: str) -> Fields:
    """An object. Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(f"{where}: {type(value).__name__} instead of an object")
    return value


def id_of(value: Any) -> str:
    """An id as text: older versions of the API write numbers. "" for anything else."""
    return clean(str(value)).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def text_of(value: Any) -> str:
    """A text, without control characters; "" for anything else."""
    return clean(value).strip() if isinstance(value, str) else ""


def inner(value: Fields, name: str) -> Fields:
    """The object under a name; an empty one if there is none."""
    held = value.get(name)
    return held if isinstance(held, dict) else {}


def time_of(value: Any, where: str) -> datetime | None:
    """Seconds, milliseconds or ISO 8601 (the Graph API writes +0000). Raises Malformed."""
    try:
        return read_time(value, UTC)
    except ValueError as error:
        raise Malformed(f"{where}: {error}") from None


def rows_of(value: Any) -> list[Fields]:
    """The objects of a list; none of anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
