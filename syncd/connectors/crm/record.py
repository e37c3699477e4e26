"""A write as the record that a CRM reads: how it is addressed, how values are written, and what cannot be sent. Pure.

A CRM's packing module adds its date format, its form of a link and its ways of writing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

import orjson

from syncd.connector import Link, Write


class Unsendable(ValueError):
    """A value that JSON or the CRM has no form for; `field` is where it stands."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Method(Enum):
    """How a record is written."""

    UPSERT = "upsert"
    UPDATE = "update"
    CREATE = "create"
    NOTIFY = "notify"  # the CRM's own notification, of the kind `Target.object`
    CONVERT = "convert"  # a lead, known by its id
    OBSERVE = "observe"  # the observers of a record, known by its id

    @property
    def creates(self) -> bool | None:
        """Whether it makes a new record; None for an upsert, of which only the CRM can tell."""
        return None if self is Method.UPSERT else self is not Method.UPDATE


@dataclass(frozen=True)
class Target:
    """What the records of one request have in common. `key_field`: the field of our key, "" for an update by id."""

    object: str
    method: Method
    key_field: str = ""

    @classmethod
    def of(cls, write: Write, *, no_upsert: Collection[str] = ()) -> Target:
        """A conversion, a change of observers, a notification, an update by id, an upsert by our key, or an insert (under the
        key too, where the write has one).
        `no_upsert`: objects that the CRM does not upsert."""
        if write.conversion is not None:
            return cls(write.object, Method.CONVERT)
        if write.observation is not None:
            return cls(write.object, Method.OBSERVE)
        if write.notification:
            return cls(write.object, Method.NOTIFY)
        if write.id:
            return cls(write.object, Method.UPDATE)
        upsert = write.key_field and write.object not in no_upsert
        return cls(write.object, Method.UPSERT if upsert else Method.CREATE, write.key_field)


@dataclass(frozen=True)
class Formatter:
    """Values as `vendor` reads them: dates YYYY-MM-DD, times by `moment` (a naive one is UTC), a list by `several`. `nested`:
    dates inside objects are written the same way."""

    vendor: str
    moment: Callable[[datetime], str]
    several: Callable[[list[Any]], Any]
    nested: bool = False

    def __call__(self, field: str, value: Any) -> Any:
        """The value of a field as sent. Raises Unsendable."""
        if isinstance(value, datetime):
            return self.moment(value if value.tzinfo else value.replace(tzinfo=UTC))
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, Enum):
            return self(field, value.value)
        if isinstance(value, list | tuple):
            return self.several([self(field, part) for part in value])
        if isinstance(value, dict) and self.nested:
            return {name: self(field, part) for name, part in value.items()}
        if isinstance(value, float) and not math.isfinite(value):
            raise Unsendable(field, f"{value} is not a number that {self.vendor} can store")
        try:
            orjson.dumps(value)
        except TypeError as error:
            raise Unsendable(field, f"a value of {type(value).__name__} cannot be sent: {error}") from None
        return value

    def record(
        self,
        write: Write,
        method: Method,
        link: Callable[[dict[str, Any], str, Link], None],
        head: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The record as sent: `head`, the key or id, cleared fields as null, fields, on_create while no id is known; `link`
        puts in each link whose record is known. Raises Unsendable."""
        record: dict[str, Any] = dict(head or {})
        if method is Method.UPDATE:
            record["id"] = write.id
        elif write.key_field:
            record[write.key_field] = write.key
        record |= dict.fromkeys(write.clear)
        for name, value in (*write.fields.items(), *(() if write.id else write.on_create.items())):
            record[name] = self(name, value)
        for name, one in write.links.items():
            if one.id:
                link(record, name, one)
        return record
