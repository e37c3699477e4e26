"""An Entry as the rows it becomes: encoded once, in the thread that submits it, before it waits for its commit.

The journal uses it. Pure. Promise: an arrival that cannot even be encoded becomes a row of the quarantine, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID, uuid4, uuid5

import msgspec
from msgspec import structs, to_builtins

from syncd.connector import Hint
from syncd.signals import NAMESPACE, Route, Signal, counted, encode, frame
from syncd.store.engine import millis, moment
from syncd.store.journal.entries import POLL_REQUEST, InitialDelivery, JournalEntry, NewSignal

LONGEST_ERROR = 2000


class SignalRow(NamedTuple):
    """A row of `signals`, in the order of its columns."""

    id: str
    type: str
    channel: str
    source: str
    route: str
    occurred_at: int
    received_at: int
    identity: str
    body: bytes


class ReceiptRow(NamedTuple):
    """A row of `receipts`, as far as an entry decides it."""

    id: str
    source: str
    kind: str
    key: str
    payload: bytes
    state: str
    received_at: int
    not_before: int
    error: str


class RepeatRow(NamedTuple):
    """A row of `repeats`."""

    signal_id: str
    event: str
    at: int


class NewSignalRows(msgspec.Struct, frozen=True):
    """A signal and the deliveries it starts with, once it proves new. `repeat`: the event that it is one of several of."""

    id: UUID
    signal: SignalRow
    seeds: tuple[InitialDelivery, ...]
    priority: int
    repeat: RepeatRow | None = None


class Prepared(msgspec.Struct, frozen=True):
    """An entry ready to be written. `entry` has lost what has become rows: thousands may wait, and whatever a body was parsed
    into dies in the thread that parsed it. `size`: bytes, roughly, which bounds a group. `poisoned` counts the arrivals and
    rows that are in `quarantined` instead. `bare`: arrivals of one event each, and nothing
    else that must stand or fall with them."""

    entry: JournalEntry
    at: int
    size: int
    arrivals: tuple[NewSignalRows, ...]
    hints: tuple[ReceiptRow, ...]
    quarantined: tuple[ReceiptRow, ...]
    memory: dict[str, str | None] = {}
    poisoned: int = 0
    bare: bool = False


def prepare(entry: JournalEntry, now: datetime) -> Prepared:
    """Encodes an entry; `now` stands in for a missing `received_at`."""
    at = millis(entry.received_at or now)
    size = 500 + len(entry.state or b"")
    good: list[NewSignalRows] = []
    bad: list[ReceiptRow] = []
    for arrival in entry.arrivals:
        try:
            rows = _arrival_rows(arrival, entry.received_at, at)
            good.append(rows)
            size += len(rows.signal.body)
        except (ValueError, TypeError, OverflowError) as error:
            bad.append(poison_row(entry.source, arrival.signal, at, error))
    hints: list[ReceiptRow] = []
    for hint in entry.hints:
        try:
            hints.append(_hint_row(entry.source, hint, at))
        except (ValueError, TypeError, OverflowError) as error:
            bad.append(poison_row(entry.source, hint, at, error))
    receipts = [
        ReceiptRow(
            str(q.id), q.source, "body", str(q.id), q.payload, "quarantined", millis(q.received_at), 0, plain(q.error)
        )
        for q in entry.quarantined
    ] + bad
    if hints or receipts:
        size += sum(len(row.payload) for row in (*hints, *receipts))
    rest = structs.replace(entry, arrivals=(), hints=(), quarantined=(), remember={})
    memory = dict(entry.remember)
    if entry.poll_now:
        memory[POLL_REQUEST] = uuid4().hex
    bare = bool(good) and not (hints or receipts or memory or _more(entry) or any(rows.repeat for rows in good))
    return Prepared(rest, at, size, tuple(good), tuple(hints), tuple(receipts), memory, len(bad), bare)


def _more(entry: JournalEntry) -> bool:
    """Whether an entry has something to be committed besides a row of its own."""
    return bool(entry.off or entry.state is not None or entry.fence or entry.fetched or entry.job)


def _arrival_rows(arrival: NewSignal, received: datetime | None, at: int) -> NewSignalRows:
    """`at` is `received` in milliseconds: mostly the signal's own time."""
    signal = arrival.signal
    repeat: RepeatRow | None = None
    if signal.repeat:
        repeat = _repeat_row(signal)
        signal = counted(signal, 1, moment(repeat.at))
    row = SignalRow(
        to_builtins(signal.id),  # its text, at a third of what str() takes
        signal.type,
        signal.channel,
        signal.source,
        signal.route._value_,  # `value` is a descriptor that costs as much as the rest of the row
        millis(signal.occurred_at),
        at if signal.received_at is received else millis(signal.received_at),
        signal.person.identity,
        encode(signal),
    )
    history = signal.route is Route.BACKFILL or signal.route is Route.IMPORT
    return NewSignalRows(signal.id, row, arrival.seeds, 1 if history else 0, repeat)


def _repeat_row(signal: Signal) -> RepeatRow:
    """The event's id as one of a fixed length: whatever a vendor writes there, it fits and tells nothing of the person."""
    event = uuid5(NAMESPACE, frame("repeat", signal.repeat))
    return RepeatRow(to_builtins(signal.id), str(event), millis(signal.occurred_at))


def _hint_row(source: str, hint: Hint, at: int) -> ReceiptRow:
    due = millis(hint.not_before) if hint.not_before else 0
    identity = str(uuid5(NAMESPACE, frame("hint", source, hint.key)))
    return ReceiptRow(identity, source, "hint", hint.key, encode(hint.data), "pending", at, due, "")


def poison_row(source: str, what: Any, at: int, error: BaseException) -> ReceiptRow:
    """The row of the quarantine for something the database (or its encoding) refuses; itself it is refused by none."""
    try:
        payload = encode(what)  # JSON in a column of bytes: a NUL is an escape there
    except (ValueError, TypeError, OverflowError):  # an unpaired surrogate, a value no JSON knows
        builtin = msgspec.to_builtins(what, str_keys=True, enc_hook=repr)
        payload = json.dumps(builtin, default=repr).encode("ascii")
    identity = str(uuid5(NAMESPACE, frame("quarantine", plain(source), sha256(payload).hexdigest())))
    reason = plain(f"cannot be stored: {type(error).__name__}: {error}")
    return ReceiptRow(identity, plain(source)[:200], "body", identity, payload, "quarantined", at, 0, reason)


def plain(text: str) -> str:
    """Text that any database takes: no NUL, no unpaired surrogate, not endless."""
    return text[:LONGEST_ERROR].replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode("utf-8")


# ------------------------------------------------------------------------------------------- taking an entry to pieces


class EntryPart(NamedTuple):
    """One row of an entry that can be left out of it."""

    kind: str  # arrivals | hints | quarantined | memory
    at: Any


def parts(prepared: Prepared) -> list[EntryPart]:
    """Every row that may be poison. What is not among them (cursor, job, fence) stands or falls with the entry."""
    return [
        *(EntryPart("arrivals", index) for index in range(len(prepared.arrivals))),
        *(EntryPart("hints", index) for index in range(len(prepared.hints))),
        *(EntryPart("quarantined", index) for index in range(len(prepared.quarantined))),
        *(EntryPart("memory", key) for key in prepared.memory),
    ]


def only(prepared: Prepared, wanted: Sequence[EntryPart]) -> Prepared:
    """The entry with these parts alone."""
    return structs.replace(
        prepared,
        arrivals=tuple(prepared.arrivals[part.at] for part in wanted if part.kind == "arrivals"),
        hints=tuple(prepared.hints[part.at] for part in wanted if part.kind == "hints"),
        quarantined=tuple(prepared.quarantined[part.at] for part in wanted if part.kind == "quarantined"),
        memory={part.at: prepared.memory[part.at] for part in wanted if part.kind == "memory"},
        bare=False,
    )


def without(prepared: Prepared, poison: Sequence[tuple[EntryPart, BaseException]]) -> Prepared:
    """The entry with its poison put into quarantine instead."""
    refused = {part for part, _ in poison}
    kept = only(prepared, [part for part in parts(prepared) if part not in refused])
    rows = tuple(poison_row(prepared.entry.source, _raw(prepared, part), prepared.at, error) for part, error in poison)
    return structs.replace(kept, quarantined=kept.quarantined + rows, poisoned=prepared.poisoned + len(rows))


def _raw(prepared: Prepared, part: EntryPart) -> Any:
    if part.kind == "arrivals":
        return msgspec.Raw(prepared.arrivals[part.at].signal.body)
    if part.kind == "memory":
        return {"remember": {part.at: prepared.memory[part.at]}}
    row = (prepared.hints if part.kind == "hints" else prepared.quarantined)[part.at]
    return {"key": row.key, "data": row.payload.decode("utf-8", "replace")}
