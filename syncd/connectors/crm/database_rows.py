"""Values on their way into columns: which type a new column gets, and how a value fits the type a column has. Pure.

Used by the database destination. Nothing is changed silently: what does not fit is a BadValue naming the field.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

LARGEST = 2**63


class BadValue(ValueError):
    """A value that does not fit its column."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NEW_COLUMNS: tuple[tuple[type | tuple[type, ...], Callable[[], sa.types.TypeEngine[Any]]], ...] = (
    (bool, sa.Boolean),
    ((int, float, Decimal), sa.Numeric),
    (datetime, lambda: sa.DateTime(timezone=True)),
    (date, sa.Date),
    ((dict, list, tuple), lambda: JSON),
)
"""Type of a value -> type of the column made for it, first fit; all else is text."""


def column_type(value: Any) -> sa.types.TypeEngine[Any]:
    """The type of a column made for this value."""
    plain = value.value if isinstance(value, Enum) else value
    return next((make() for kind, make in NEW_COLUMNS if isinstance(plain, kind)), sa.Text())


def fitted(field: str, type_: sa.types.TypeEngine[Any], value: Any, backend: str) -> Any:
    """The value as the column's type takes it. Raises BadValue."""
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return None
    _storable(field, value, backend)
    fit = next((fit for kind, fit in _FITS if isinstance(type_, kind)), None)
    try:
        return value if fit is None else fit(value, backend)
    except (ValueError, TypeError, OverflowError):
        what = type(value).__name__
        raise BadValue(field, f"a {what} does not fit the column's type {type_.__visit_name__}") from None


def _storable(field: str, value: Any, backend: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValue(field, f"{value} is not a number that can be stored")
    if isinstance(value, int) and not -LARGEST <= value < LARGEST:
        raise BadValue(field, "a whole number of more than 64 bits")
    if isinstance(value, str):
        if "\x00" in value and backend == "postgresql":
            raise BadValue(field, "PostgreSQL stores no NUL characters")
        if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise BadValue(field, "text with half of a surrogate pair")


def _text(value: Any, backend: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    return orjson.dumps(value, default=str).decode()


def _json(value: Any, backend: str) -> Any:
    return orjson.loads(orjson.dumps(value, default=str))


def _datetime(value: Any, backend: str) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC) if isinstance(moment, date) else None
    if moment is None:
        raise TypeError
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.replace(tzinfo=None) if backend == "sqlite" else moment


def _date(value: Any, backend: str) -> date:
    if isinstance(value, datetime):
        return value.date()
    day = date.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(day, date):
        raise TypeError
    return day


def _boolean(value: Any, backend: str) -> bool:
    if value not in (True, False):
        raise ValueError
    return bool(value)


def _whole(value: Any, backend: str) -> int:
    if isinstance(value, str) or int(value) != value:
        raise ValueError
    return int(value)


def _number(value: Any, backend: str) -> Any:
    if not isinstance(value, int | float | Decimal):
        raise TypeError
    return float(value) if isinstance(value, Decimal) and backend == "sqlite" else value


def _uuid(value: Any, backend: str) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


_FITS: tuple[tuple[type[sa.types.TypeEngine[Any]], Callable[[Any, str], Any]], ...] = (
    (sa.Boolean, _boolean),
    (sa.Integer, _whole),
    (sa.Numeric, _number),
    (sa.Uuid, _uuid),
    (sa.DateTime, _datetime),
    (sa.Date, _date),
    (sa.JSON, _json),
    (sa.String, _text),
)
"""Type of the column -> how a value is made to fit, first fit; other types take the value as it is."""
