"""What the store says of a record against what its CRM says: pure, a function of plain values.

`syncd.dispatch.verification` asks it, key by key. Promise: a record counts as a difference only where the two cannot both be
right; what the CRM cannot tell for sure (a person who was converted, an update of a record that others write too) is never
called lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from syncd.dispatch.plan import PEOPLE_CREATE
from syncd.store.queue import LONGEST_ID


class StoredWrite(msgspec.Struct, frozen=True):
    """One write as the store has it. `rank` orders the writes of one record."""

    key: str
    signal_id: str
    rule: str
    object: str
    state: str
    crm_id: str
    rank: tuple[int, int, str]
    updated_at: int = 0


class KeyedRecord(msgspec.Struct, frozen=True):
    """One record by all the writes of its key: of the latest one that is written, else of the latest. `crm_id`: as the
    store has it, "" for none. `states`: of all its writes."""

    key: str
    signal_id: str
    rule: str
    object: str
    crm_id: str
    states: frozenset[str]
    updated_at: int = 0

    @property
    def written(self) -> bool:
        return "written" in self.states


class RecordVerdict(StrEnum):
    """What is the matter with a record. Those of `AMISS` make `verify` fail, of `MENDED` can be fixed by it."""

    MISSING = "missing"
    """The store calls it written, the CRM has none of this key."""
    OTHER_ID = "another id"
    """It is there under another id than the store has."""
    DOUBLED = "doubled"
    """Several records have the key: the operator decides which one stays."""
    THERE = "there after all"
    """Unconfirmed, and the CRM has it."""
    DEAD_BUT_THERE = "dead, but there"
    """A dead letter whose record is there: the operator discards or retries it."""
    PERSON_GONE = "person gone"
    """A lead or contact that we made is not found by its key any more: converted, merged or deleted in the CRM."""


AMISS = frozenset(
    {
        RecordVerdict.MISSING,
        RecordVerdict.OTHER_ID,
        RecordVerdict.DOUBLED,
        RecordVerdict.THERE,
        RecordVerdict.DEAD_BUT_THERE,
    }
)
MENDED = frozenset({RecordVerdict.MISSING, RecordVerdict.OTHER_ID, RecordVerdict.THERE})


def records(rows: Iterable[StoredWrite]) -> list[KeyedRecord]:
    """One record a key, in the order of the keys."""
    by_key: dict[str, list[StoredWrite]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    return [_record(key, by_key[key]) for key in sorted(by_key)]


def _record(key: str, rows: Sequence[StoredWrite]) -> KeyedRecord:
    last = max(rows, key=lambda row: (row.state == "written", row.rank))
    states = frozenset(row.state for row in rows)
    fresh = max(row.updated_at for row in rows)
    return KeyedRecord(key, last.signal_id, last.rule, last.object, last.crm_id, states, fresh)


def judge(record: KeyedRecord, ids: Sequence[str]) -> RecordVerdict | None:
    """What is the matter with it, when the CRM has records of these ids under its key; None: nothing."""
    ids = list(dict.fromkeys(id[:LONGEST_ID] for id in ids))
    if len(ids) > 1:
        return RecordVerdict.DOUBLED
    if record.written:
        if not ids:
            return RecordVerdict.PERSON_GONE if record.rule == PEOPLE_CREATE else RecordVerdict.MISSING
        return RecordVerdict.OTHER_ID if record.crm_id and record.crm_id != ids[0] else None
    if not ids or "sending" in record.states or "doubt" in record.states:  # its lane finds out by itself
        return None
    if "unconfirmed" in record.states:
        return RecordVerdict.THERE
    return RecordVerdict.DEAD_BUT_THERE if "dead" in record.states else None


def compare(
    held: Iterable[KeyedRecord], found: Mapping[str, Sequence[str]]
) -> list[tuple[KeyedRecord, RecordVerdict, tuple[str, ...]]]:
    """Each record that something is the matter with, and the ids the CRM has for it."""
    judged = ((record, judge(record, found.get(record.key, ())), tuple(found.get(record.key, ()))) for record in held)
    return [(record, verdict, ids) for record, verdict, ids in judged if verdict is not None]
