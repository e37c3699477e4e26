"""Packs writes into Salesforce calls, pure: collections of one object and one way of writing, wrapped in composite calls.

The destination's `plan` calls `pack`, its `send` reads what came out. Order is kept per key and group, no key is twice in one
call, and every write is in exactly one call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

import orjson

from syncd.connector import Call, Write
from syncd.connectors.crm.salesforce.client import HEAVY, Subrequest
from syncd.connectors.crm.unsendable import Unsendable
from syncd.errors import Failure, Rejected

ROWS = 200
"""Records in one collection (salesforce.md, sObject Collections)."""
CALL_BYTES = 6_000_000
"""Of record JSON in one call. Cautious: the vendor page gives no figure for the largest request."""


class SalesforceMethod(Enum):
    """How a record is written."""

    UPSERT = "upsert"
    UPDATE = "update"
    CREATE = "create"


@dataclass
class Collection:
    """Records of one object written one way. `rows`: their places in Call.writes; `records`: parallel to them."""

    object: str
    way: SalesforceMethod
    key_field: str
    rows: list[int] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def part(self, headers: Mapping[str, str]) -> Subrequest:
        path = "/composite/sobjects"
        if self.way is SalesforceMethod.UPSERT:
            path += f"/{self.object}/{self.key_field}"
        method = "POST" if self.way is SalesforceMethod.CREATE else "PATCH"
        return Subrequest(method, path, {"allOrNone": False, "records": self.records}, headers)

    def only(self, places: Sequence[int]) -> Collection:
        """The same with some of its records (`places` into `rows`)."""
        rows, records = [self.rows[p] for p in places], [self.records[p] for p in places]
        return Collection(self.object, self.way, self.key_field, rows, records)


@dataclass
class SalesforcePayload:
    """The payload of a call: its collections in their order, and writes that no JSON can carry (place -> why)."""

    collections: tuple[Collection, ...]
    refused: dict[int, Failure]


@dataclass
class _CompositeItem:
    write: Write
    lane: tuple[str, SalesforceMethod, str]
    record: dict[str, Any]
    size: int
    failure: Failure | None


@dataclass
class _CompositeDraft:
    """A call in the making: per collection its items; a lane without a collection (None) holds what cannot be sent."""

    parts: list[tuple[tuple[str, SalesforceMethod, str], list[_CompositeItem]]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    size: int = 0

    def place(self, item: _CompositeItem, floor: int, heavy: int) -> int | None:
        """Puts the item into a collection no earlier than `floor`; its place, or None when the call has no room."""
        if not self.keys.isdisjoint(_names(item.write)) or (self.size and self.size + item.size > CALL_BYTES):
            return None
        for at in range(floor, len(self.parts)):
            lane, items = self.parts[at]
            if lane == item.lane and len(items) < ROWS:
                items.append(item)
                return self._counted(item, at)
        if len(self.parts) >= heavy:
            return None
        self.parts.append((item.lane, [item]))
        return self._counted(item, len(self.parts) - 1)

    def _counted(self, item: _CompositeItem, at: int) -> int:
        self.keys.update(_names(item.write))
        self.size += item.size
        return at


def pack(writes: Sequence[Write], *, composite: bool = True) -> list[Call]:
    """The calls, in the order in which they must be sent. Each is one API call of up to 1,000 records (200 without
    composite)."""
    drafts: list[_CompositeDraft] = []
    after: dict[str, tuple[int, int]] = {}
    for write in writes:
        item = _item(write)
        strict = [after[name] for name in _names(write) if name in after]
        loose = after.get(f"group:{write.group}", (0, 0)) if write.group else (0, 0)
        start = max([loose, *((call + 1, 0) for call, _ in strict)])
        place = _placed(drafts, item, start, HEAVY if composite else 1)
        for name in _names(write):
            after[name] = place
        if write.group:
            after[f"group:{write.group}"] = place
    return [_call(draft) for draft in drafts]


def _names(write: Write) -> tuple[str, ...]:
    """What may be in a call only once: the key, and the record's id when it is known."""
    return (f"key:{write.key}", f"id:{write.id[:15]}") if write.id else (f"key:{write.key}",)


def _placed(drafts: list[_CompositeDraft], item: _CompositeItem, start: tuple[int, int], heavy: int) -> tuple[int, int]:
    first, floor = start
    for number in range(first, len(drafts)):
        at = drafts[number].place(item, floor if number == first else 0, heavy)
        if at is not None:
            return number, at
    drafts.append(_CompositeDraft())
    drafts[-1].place(item, 0, heavy)
    return len(drafts) - 1, 0


def _call(draft: _CompositeDraft) -> Call:
    writes: list[Write] = []
    collections: list[Collection] = []
    refused: dict[int, Failure] = {}
    for (object_, way, key_field), items in draft.parts:
        made = Collection(object_, way, key_field)
        # Children of one parent side by side: Salesforce locks the parent, and within a call no key is there twice.
        for item in sorted(items, key=lambda i: i.write.group):
            if item.failure is not None:
                refused[len(writes)] = item.failure
            else:
                made.rows.append(len(writes))
                made.records.append(item.record)
            writes.append(item.write)
        if made.rows:
            collections.append(made)
    operation = "+".join(f"{c.way.value} {len(c.rows)} {c.object}" for c in collections) or "nothing"
    return Call(
        tuple(writes), operation, SalesforcePayload(tuple(collections), refused), cost=1.0 if collections else 0.0
    )


def _item(write: Write) -> _CompositeItem:
    way = (
        SalesforceMethod.UPDATE if write.id else SalesforceMethod.UPSERT if write.key_field else SalesforceMethod.CREATE
    )
    lane = (write.object, way, write.key_field if way is SalesforceMethod.UPSERT else "")
    try:
        record = record_of(write, way)
        return _CompositeItem(write, lane, record, len(orjson.dumps(record)), None)
    except Unsendable as error:
        return _CompositeItem(write, lane, {}, 0, Rejected(str(error), code="UNSENDABLE", field=error.field))


def record_of(write: Write, way: SalesforceMethod) -> dict[str, Any]:
    """The record as sent: attributes.type, the key or id, fields, on_create while no id is known, cleared fields as null,
    links by id. Raises Unsendable."""
    record: dict[str, Any] = {"attributes": {"type": write.object}}
    if way is SalesforceMethod.UPDATE:
        record["id"] = write.id
    elif way is SalesforceMethod.UPSERT:
        record[write.key_field] = write.key
    for name in write.clear:
        record[name] = None
    for name, value in _values(write):
        record[name] = formatted(name, value)
    for name, link in write.links.items():
        if link.id:
            record[name] = link.id
    return record


def _values(write: Write) -> Iterator[tuple[str, Any]]:
    yield from write.fields.items()
    if not write.id:
        yield from write.on_create.items()


def formatted(field: str, value: Any) -> Any:
    """A value as Salesforce reads it: dates YYYY-MM-DD, times ISO 8601 with an offset (a naive one is UTC), a list as a
    multi-select picklist. Raises Unsendable."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.isoformat(timespec="milliseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return formatted(field, value.value)
    if isinstance(value, list | tuple):
        return ";".join(str(formatted(field, part)) for part in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise Unsendable(field, f"{value} is not a number that Salesforce can store")
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise Unsendable(field, f"a value of {type(value).__name__} cannot be sent: {error}") from None
    return value
