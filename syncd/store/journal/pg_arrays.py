"""Columns as PostgreSQL's binary arrays, made in one go: psycopg's own lists take longer to write down than the server takes
to insert them.

The PostgreSQL writer uses it, and only where psycopg is loaded anyway. A value that the type cannot hold raises UnicodeError,
OverflowError or TypeError: a fault of its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from struct import Struct
from typing import Any

from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = Struct(">iiiii").pack  # dimensions, has nulls, element type, length, lower bound (PostgreSQL's array_send)
_length = Struct(">i").pack
_BIGINTS, _BOOLEANS = _length(8), _length(1)


class Array:
    """A one-dimensional array without nulls, in the server's binary form."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _Texts(Array):
    __slots__ = ()


class _Bytes(Array):
    __slots__ = ()


class _Bigints(Array):
    __slots__ = ()


class _Booleans(Array):
    __slots__ = ()


def _texts(values: Sequence[str]) -> Array:
    return _Texts(_array(25, len(values), _measured([value.encode() for value in values])))


def _bytes(values: Sequence[bytes]) -> Array:
    return _Bytes(_array(17, len(values), _measured(values)))


def _bigints(values: Sequence[int]) -> Array:
    numbers = [_BIGINTS + value.to_bytes(8, "big", signed=True) for value in values]
    return _Bigints(_array(20, len(values), numbers))


def _booleans(values: Sequence[bool]) -> Array:
    return _Booleans(_array(16, len(values), [_BOOLEANS + (b"\1" if value else b"\0") for value in values]))


def _measured(values: Sequence[bytes]) -> Iterable[bytes]:
    return chain.from_iterable([(_length(len(value)), value) for value in values])


def _array(element: int, count: int, parts: Iterable[bytes]) -> bytes:
    return _HEAD(1, 0, element, count, 1) + b"".join(parts)


MAKERS: dict[str, Callable[[Sequence[Any]], Array]] = {
    "text": _texts,
    "bytea": _bytes,
    "bigint": _bigints,
    "bool": _booleans,
}
"""Element type -> what makes an array of a column of such values."""


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj.data


_TYPES = {_Texts: 1009, _Bytes: 1001, _Bigints: 1016, _Booleans: 1000}  # text[], bytea[], int8[], bool[]
_DUMPERS = {kind: type(kind.__name__, (_AsItIs,), {"oid": oid}) for kind, oid in _TYPES.items()}


def learn_arrays(connection: Any) -> None:
    """Makes a psycopg connection take `Array`s as parameters."""
    for kind, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(kind, dumper)
