"""The events of a vendor's stand-in as a table: how number n looks, when it happened, who did it, and what it is like when it is
spoilt. The conformance kit makes them happen by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

KNOWN_BY: Mapping[str, Any] = {"email": "an{n}@example.org", "phone": "+84912345678", "handle": "22334"}


def iso(at: datetime) -> str:
    """2026-11-22T08:00:00Z, as most vendors write a time."""
    return at.isoformat().replace("+00:00", "Z")


def unix(at: datetime) -> int:
    """Seconds since 1970."""
    return int(at.timestamp())


def unix_ms(at: datetime) -> int:
    """Milliseconds since 1970."""
    return int(at.timestamp() * 1000)


@dataclass(frozen=True, kw_only=True)
class FakeEvents:
    """`object`: the table of the stand-in that holds the events. Fields are named as the API shows them; "person.email" is the
    field `email` of the object `person`, and {n} in a text is the event's number.

    `id`, `at`: where an event's id and its time are. `key`: the id of number n; `time`: how a time is written. `fields`: what
    every event has. `people`: form of identity (`email`, `phone`, `handle`) -> where it is, or the fields that say it; a person
    has the first form, or the one that a check asks for. `spoilt`: what an event has instead if it cannot be understood; without
    it, a time that cannot be read.
    """

    object: str
    at: str
    id: str = "id"
    key: Callable[[int], Any] = "e{}".format
    time: Callable[[datetime], Any] = iso
    fields: Mapping[str, Any] = field(default_factory=dict)
    people: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    spoilt: Mapping[str, Any] = field(default_factory=dict)

    def made(self, number: int, moment: datetime, form: str = "") -> dict[str, Any]:
        """Event `number`, by someone who is known by `form` alone. Raises KeyError if this vendor has no such people."""
        form = form or next(iter(self.people), "")
        by = self.people[form] if form else {}
        told = {by: KNOWN_BY[form]} if isinstance(by, str) else by
        event: dict[str, Any] = {}
        for path, value in {**self.fields, **told, self.id: self.key(number), self.at: self.time(moment)}.items():
            put_at(event, path, _numbered(value, number))
        return event

    def spoil(self, shown: dict[str, Any]) -> None:
        """Makes an event, as the API shows it, one that cannot be understood."""
        for path, value in (self.spoilt or {self.at: "some day"}).items():
            put_at(shown, path, value)


def put_at(record: dict[str, Any], path: str, value: Any) -> None:
    """Sets a field of a record, or with dots in `path` of an object within it."""
    *outer, name = path.split(".")
    for step in outer:
        within = record.get(step)
        record[step] = record = dict(within) if isinstance(within, dict) else {}
    record[name] = value


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """The field's value, None where there is none."""
    value: Any = record
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def comparable(value: Any) -> tuple[int, float, str]:
    """A value as filters and orders compare it: times and numbers as numbers, anything else as text."""
    text = "" if value is None else str(value)
    try:
        return 1, float(text), ""
    except ValueError:
        pass
    try:
        return 1, datetime.fromisoformat(text).timestamp(), ""
    except ValueError:
        return 0, 0.0, text


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return value.replace("{n}", str(number))
    if isinstance(value, Mapping):
        return {name: _numbered(one, number) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_numbered(one, number) for one in value]
    return value
