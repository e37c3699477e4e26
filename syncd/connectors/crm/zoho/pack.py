"""Packs writes into Zoho calls, pure: up to a hundred records of one module, written one way.

The destination's `plan` calls `pack`, its `send` reads what came out. Order is kept per key and group, no key, id or e-mail is
twice in one call, and every write is in exactly one call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

import orjson

from syncd.connector import Call, Link, Write
from syncd.connectors.crm.unsendable import Unsendable
from syncd.errors import Failure, Rejected

ROWS = 100
"""Records in one write (zoho.md, Writing records)."""
CALL_BYTES = 5_000_000
"""Of record JSON in one call. Cautious: Zoho documents no largest request."""
ROWS_A_CREDIT = 10

ACTIVITIES = frozenset({"Tasks", "Calls", "Events"})
NO_UPSERT = ACTIVITIES | {"Notes"}
"""Modules whose records can only be inserted and updated by id (zoho.md: v7 and v8 headers agree)."""
PEOPLE = frozenset({"Leads", "Contacts"})
"""Their system duplicate field is Email. It is checked after our key, so that a person entered manually, or known under
another key, is met instead of doubled (and an account that keeps e-mails unique does not refuse the record)."""
EMAIL = "Email"
CONTACT_LINK, OTHER_LINK, OTHER_MODULE = "Who_Id", "What_Id", "$se_module"


class ZohoMethod(Enum):
    """How a record is written."""

    UPSERT = "upsert"
    UPDATE = "update"
    CREATE = "create"


@dataclass(frozen=True)
class CallTarget:
    """What the records of one call have in common."""

    module: str
    way: ZohoMethod
    key_field: str = ""

    @property
    def method(self) -> str:
        return "PUT" if self.way is ZohoMethod.UPDATE else "POST"

    @property
    def path(self) -> str:
        return f"/{self.module}/upsert" if self.way is ZohoMethod.UPSERT else f"/{self.module}"


@dataclass
class ZohoPayload:
    """The payload of a call. `rows`: places in Call.writes, parallel to `records`; `refused`: writes that cannot be sent."""

    lane: CallTarget
    rows: list[int] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[int, Failure] = field(default_factory=dict)

    @property
    def check_fields(self) -> list[str]:
        """Of an upsert: the fields by which Zoho looks for the record, in their order."""
        if self.lane.way is not ZohoMethod.UPSERT:
            return []
        by_email = self.lane.module in PEOPLE and any(record.get(EMAIL) for record in self.records)
        return [self.lane.key_field, *([EMAIL] if by_email else [])]


@dataclass
class _CallDraft:
    """A call in the making."""

    lane: CallTarget
    writes: list[Write] = field(default_factory=list)
    packed: ZohoPayload = field(init=False)
    names: set[str] = field(default_factory=set)
    size: int = 0

    def __post_init__(self) -> None:
        self.packed = ZohoPayload(self.lane)

    def fits(self, item: _CallItem) -> bool:
        return (
            self.lane == item.lane
            and len(self.writes) < ROWS
            and self.names.isdisjoint(item.names)
            and (not self.size or self.size + item.size <= CALL_BYTES)
        )

    def take(self, item: _CallItem) -> None:
        place = len(self.writes)
        self.writes.append(item.write)
        self.names.update(item.names)
        self.size += item.size
        if item.failure is not None:
            self.packed.refused[place] = item.failure
        else:
            self.packed.rows.append(place)
            self.packed.records.append(item.record)

    def call(self) -> Call:
        count = len(self.packed.records)
        operation = f"{self.lane.way.value} {count} {self.lane.module}"
        return Call(tuple(self.writes), operation, self.packed, cost=cost(count))


@dataclass
class _CallItem:
    write: Write
    lane: CallTarget
    names: frozenset[str]
    record: dict[str, Any]
    size: int
    failure: Failure | None


def cost(rows: int) -> float:
    """Credits of a write: one for each ten records begun (zoho.md, Limits)."""
    return float(-(-rows // ROWS_A_CREDIT))


def pack(writes: Sequence[Write]) -> list[Call]:
    """The calls, in the order in which they must be sent."""
    drafts: list[_CallDraft] = []
    after: dict[str, int] = {}
    filling: dict[CallTarget, int] = {}
    for write in writes:
        item = _item(write)
        start = max([0, *(after[name] + 1 for name in item.names if name in after)])
        group = f"group:{write.group}"
        if write.group:
            start = max(start, after.get(group, 0))
        place = _placed(drafts, item, max(start, filling.get(item.lane, 0)))
        while filling.get(item.lane, 0) < len(drafts) and not _open(drafts[filling.get(item.lane, 0)], item.lane):
            filling[item.lane] = filling.get(item.lane, 0) + 1
        after.update(dict.fromkeys(item.names, place))
        if write.group:
            after[group] = place
    return [draft.call() for draft in drafts]


def _open(draft: _CallDraft, lane: CallTarget) -> bool:
    return draft.lane == lane and len(draft.writes) < ROWS


def _placed(drafts: list[_CallDraft], item: _CallItem, start: int) -> int:
    place = next((number for number in range(start, len(drafts)) if drafts[number].fits(item)), len(drafts))
    if place == len(drafts):
        drafts.append(_CallDraft(item.lane))
    drafts[place].take(item)
    return place


def _item(write: Write) -> _CallItem:
    lane = lane_of(write)
    try:
        record = record_of(write, lane.way)
        return _CallItem(write, lane, _names(write, lane), record, len(orjson.dumps(record)), None)
    except Unsendable as error:
        failed = Rejected(str(error), code="UNSENDABLE", field=error.field)
        return _CallItem(write, lane, _names(write, lane), {}, 0, failed)


def lane_of(write: Write) -> CallTarget:
    if write.id:
        return CallTarget(write.object, ZohoMethod.UPDATE)
    if write.key_field and write.object not in NO_UPSERT:
        return CallTarget(write.object, ZohoMethod.UPSERT, write.key_field)
    return CallTarget(write.object, ZohoMethod.CREATE, write.key_field)


def _names(write: Write, lane: CallTarget) -> frozenset[str]:
    """What may be in a call only once: the key, the record's id, and the e-mail by which an upsert may find the record."""
    names = {f"key:{write.key}"}
    if write.id:
        names.add(f"id:{write.id}")
    email = write.fields.get(EMAIL, write.on_create.get(EMAIL))
    if lane.way is ZohoMethod.UPSERT and lane.module in PEOPLE and email:
        names.add(f"email:{str(email).strip().lower()}")
    return frozenset(names)


def record_of(write: Write, way: ZohoMethod) -> dict[str, Any]:
    """The record as sent: the key or id, cleared fields as null, fields, on_create while no id is known, links the way Zoho
    takes them. Raises Unsendable."""
    record: dict[str, Any] = {}
    if way is ZohoMethod.UPDATE:
        record["id"] = write.id
    elif write.key_field:
        record[write.key_field] = write.key
    for name in write.clear:
        record[name] = None
    for name, value in (*write.fields.items(), *(() if write.id else write.on_create.items())):
        record[name] = formatted(name, value)
    for name, link in write.links.items():
        if link.id:
            _link(record, write.object, name, link)
    try:
        orjson.dumps(record)
    except TypeError as error:  # a key or id with half a surrogate pair
        raise Unsendable(write.key_field or "id", f"the record cannot be sent: {error}") from None
    return record


def _link(record: dict[str, Any], module: str, name: str, link: Link) -> None:
    """An activity points at a contact by Who_Id and at anything else, a lead included, by What_Id and $se_module, whichever
    of the two the mapping names; a note has a parent with its module."""
    if name == "Parent_Id":
        record[name] = {"module": {"api_name": link.object}, "id": link.id}
        return
    if module not in ACTIVITIES or name not in (CONTACT_LINK, OTHER_LINK):
        record[name] = {"id": link.id}
        return
    place = CONTACT_LINK if link.object == "Contacts" else OTHER_LINK
    if record.get(place) not in (None, {"id": link.id}):
        raise Unsendable(name, f"{place} cannot hold two records: {link.object} {link.id} as well as {record[place]}")
    record[place] = {"id": link.id}
    if place == OTHER_LINK:
        record[OTHER_MODULE] = link.object


def formatted(field: str, value: Any) -> Any:
    """A value as Zoho reads it: dates yyyy-MM-dd, times in UTC to the second with +00:00 (a naive one is UTC; with milliseconds
    and Z they are refused), lists as multi-select values. Raises Unsendable."""
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return formatted(field, value.value)
    if isinstance(value, list | tuple):
        return [formatted(field, part) for part in value]
    if isinstance(value, dict):
        return {name: formatted(field, part) for name, part in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise Unsendable(field, f"{value} is not a number that Zoho can store")
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise Unsendable(field, f"a value of {type(value).__name__} cannot be sent: {error}") from None
    return value
