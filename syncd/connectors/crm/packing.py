"""Packs writes into a CRM's calls, pure: bundles of one object and one way of writing, one or several to a call.

A CRM's `plan` calls `Packer.pack`, its `send` reads the `Packed` that comes out. Order is kept per key and group, nothing that
may be in a call only once (a key, an id) is twice in one, and every write is in exactly one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from syncd.connector import Call, Write
from syncd.connectors.crm.record import Target, Unsendable
from syncd.errors import Failure, Rejected


@dataclass
class Bundle:
    """Records with one target. `rows`: their places in Call.writes; `records`: parallel to them."""

    target: Target
    rows: list[int] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def only(self, places: Iterable[int]) -> Bundle:
        """The same with some of its records (`places` into `rows`)."""
        some = list(places)
        return Bundle(self.target, [self.rows[p] for p in some], [self.records[p] for p in some])


@dataclass
class Packed:
    """The payload of a call: its bundles in their order, and writes that cannot be sent (place -> why)."""

    bundles: tuple[Bundle, ...]
    refused: dict[int, Failure]


def one_call(rows: int) -> float:
    """`Packer.cost` where a call is one unit whatever it holds; one that would hold nothing is not made."""
    return 1.0 if rows else 0.0


@dataclass(frozen=True)
class Packer:
    """What one CRM takes in a call. `target`, `record`: of a write; `record` raises Unsendable. `rows`: records in a bundle;
    `bundles`: of them in a call; `most`: records in a call over all its bundles (0: as many as they hold); `size`: bytes of
    record JSON in a call. `cost`: of a call with so many records, in the vendor's unit. `once`: what may be in a call only once,
    beside the key. `siblings`: records of one group stand together."""

    target: Callable[[Write], Target]
    record: Callable[[Write, Target], dict[str, Any]]
    rows: int
    size: int
    cost: Callable[[int], float]
    bundles: int = 1
    most: int = 0
    once: Callable[[Write, Target], Iterable[str]] = lambda write, _: [f"id:{write.id}"] if write.id else []
    siblings: bool = False

    def pack(self, writes: Sequence[Write]) -> list[Call]:
        """The calls, in the order in which they must be sent."""
        drafts: list[_CallDraft] = []
        after: dict[str, tuple[int, int]] = {}  # name of a key, id or group -> (call, bundle) of its last write
        filled: dict[Target, int] = {}  # target -> the first call that may have room for it
        for write in writes:
            item = self._item(write)
            start = max(
                after.get(item.group, (0, 0)), *((after[name][0] + 1, 0) for name in item.once if name in after), (0, 0)
            )
            place = self._place(drafts, item, start, filled)
            after.update(dict.fromkeys(item.names, place))
        return [self._call(draft) for draft in drafts]

    def _item(self, write: Write) -> _PackItem:
        target = self.target(write)
        once = frozenset((f"key:{write.key}", *self.once(write, target)))
        try:
            record = self.record(write, target)
            size = len(orjson.dumps(record))
        except Unsendable as error:
            return _PackItem(write, target, once, failure=Rejected(str(error), code="UNSENDABLE", field=error.field))
        except TypeError as error:  # a key or id with half a surrogate pair
            text, name = f"the record cannot be sent: {error}", write.key_field or "id"
            return _PackItem(write, target, once, failure=Rejected(text, code="UNSENDABLE", field=name))
        return _PackItem(write, target, once, record, size)

    def _place(
        self, drafts: list[_CallDraft], item: _PackItem, start: tuple[int, int], filled: dict[Target, int]
    ) -> tuple[int, int]:
        """Puts the item into the first call that takes it, no earlier than `start`; where that is."""
        first, floor = start
        open_from = filled.get(item.target, 0)
        while open_from < len(drafts) and not drafts[open_from].may_take(item.target):
            open_from += 1
        filled[item.target] = open_from
        for number in range(max(first, open_from), len(drafts)):
            at = drafts[number].place(item, floor if number == first else 0)
            if at is not None:
                return number, at
        drafts.append(_CallDraft(self))
        drafts[-1].place(item, 0)
        return len(drafts) - 1, 0

    def _call(self, draft: _CallDraft) -> Call:
        writes: list[Write] = []
        bundles: list[Bundle] = []
        refused: dict[int, Failure] = {}
        for target, items in draft.parts:
            bundle = Bundle(target)
            for item in sorted(items, key=lambda one: one.write.group) if self.siblings else items:
                if item.failure is not None:
                    refused[len(writes)] = item.failure
                else:
                    bundle.rows.append(len(writes))
                    bundle.records.append(item.record)
                writes.append(item.write)
            if bundle.rows:
                bundles.append(bundle)
        operation = "+".join(f"{b.target.method.value} {len(b.rows)} {b.target.object}" for b in bundles) or "nothing"
        cost = self.cost(sum(len(bundle.rows) for bundle in bundles))
        return Call(tuple(writes), operation, Packed(tuple(bundles), refused), cost=cost)


@dataclass
class _PackItem:
    """A write to be packed, with its record or why it cannot be sent. `once`: what may be in its call only once."""

    write: Write
    target: Target
    once: frozenset[str]
    record: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    failure: Failure | None = None

    @property
    def group(self) -> str:
        return f"group:{self.write.group}" if self.write.group else ""

    @property
    def names(self) -> Iterable[str]:
        return (*self.once, self.group) if self.group else self.once


@dataclass
class _CallDraft:
    """A call in the making: its bundles, each with its target and items."""

    limits: Packer
    parts: list[tuple[Target, list[_PackItem]]] = field(default_factory=list)
    once: set[str] = field(default_factory=set)
    size: int = 0
    count: int = 0

    @property
    def full(self) -> bool:
        return 0 < self.limits.most <= self.count

    def may_take(self, target: Target) -> bool:
        """Whether there is a place for one more record with this target, if nothing else is against it."""
        if self.full:
            return False
        open_bundle = any(one == target and len(items) < self.limits.rows for one, items in self.parts)
        return open_bundle or len(self.parts) < self.limits.bundles

    def place(self, item: _PackItem, floor: int) -> int | None:
        """Puts the item into a bundle no earlier than `floor`; its place, or None when the call has no room."""
        if self.full or not self.once.isdisjoint(item.once) or (self.size and self.size + item.size > self.limits.size):
            return None
        open_bundles = (
            at
            for at in range(floor, len(self.parts))
            if self.parts[at][0] == item.target and len(self.parts[at][1]) < self.limits.rows
        )
        at = next(open_bundles, len(self.parts))
        if at == len(self.parts):
            if at >= self.limits.bundles:
                return None
            self.parts.append((item.target, []))
        self.parts[at][1].append(item)
        self.once.update(item.once)
        self.size += item.size
        self.count += 1
        return at
