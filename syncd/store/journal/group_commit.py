"""Writing a group of entries in one transaction, and finding the poison in one that the database refuses.

The journal calls `commit_group`. Promise: every entry ends as committed whole, or refused with its own reason; a bad row goes to
the quarantine and harms no other entry; no path repeats for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Connection

from syncd.store.engine import is_row_fault
from syncd.store.journal.bulk_writers import BulkWriter, bulk_writer_for
from syncd.store.journal.encoding import EntryPart, NewSignalRows, Prepared, only, parts, without
from syncd.store.journal.entries import Committed, FenceLost, Outcome, StoreUnavailable
from syncd.store.journal.repeats import CountedRepeats, count_repeats
from syncd.store.journal.sqlite_fast_path import insert_new
from syncd.store.leases import still_held
from syncd.texts.reasons import code_of

if TYPE_CHECKING:
    from syncd.store.database import Database

REPEAT = "known"
"""The reason by which `status` counts arrivals that the store had already."""
MERGED = "merged"
"""The reason by which it counts events that were counted in a stored signal."""


@dataclass(frozen=True, slots=True)
class WakeUp:
    """What a commit gave others to do: destinations with new deliveries, whether hints came, and sources to poll now. The last
    is for this process alone: it polls, or waits for whoever polls at the moment."""

    destinations: frozenset[str] = frozenset()
    hints: bool = False
    polls: frozenset[str] = frozenset()

    def __or__(self, other: WakeUp) -> WakeUp:
        return WakeUp(self.destinations | other.destinations, self.hints or other.hints, self.polls | other.polls)

    def __bool__(self) -> bool:
        return bool(self.destinations or self.hints or self.polls)


@dataclass(slots=True)
class GroupResult:
    """Outcomes parallel to the group."""

    outcomes: list[Outcome]
    wake_up: WakeUp = field(default_factory=WakeUp)


def commit_group(store: Database, group: Sequence[Prepared]) -> GroupResult:
    """Commits the entries, in one transaction if none of them is poison. Raises nothing of the database: each outcome is
    Committed, FenceLost, StoreUnavailable, or the fault of an entry that cannot be stored at all."""
    try:
        if not store.postgresql and not store.repeats_about and insert_new(store, group):
            return _all_new(group)
        result = store.apply(lambda connection: _write(store, connection, group))
        store.repeats_about = any(isinstance(outcome, Committed) and outcome.repeats for outcome in result.outcomes)
        return result
    except StoreUnavailable as error:
        return GroupResult([error] * len(group))
    except Exception as error:
        if not is_row_fault(error):
            raise
        if len(group) == 1:
            return _commit_alone(store, group[0])
    middle = len(group) // 2
    left, right = commit_group(store, group[:middle]), commit_group(store, group[middle:])
    return GroupResult(left.outcomes + right.outcomes, left.wake_up | right.wake_up)


def _all_new(group: Sequence[Prepared]) -> GroupResult:
    """What `insert_new` has committed."""
    outcomes: list[Outcome] = [Committed(tuple([rows.id for rows in prepared.arrivals])) for prepared in group]
    # Few: the arrivals of one policy share their seeds.
    starts = {id(rows.seeds): rows.seeds for prepared in group for rows in prepared.arrivals}
    waiting = (seed.destination for seeds in starts.values() for seed in seeds if not seed.skipped)
    return GroupResult(outcomes, WakeUp(frozenset(waiting)))


def _commit_alone(store: Database, prepared: Prepared) -> GroupResult:
    """An entry that is refused: its poison rows go to the quarantine, the rest is committed with them."""
    try:
        poison = list(_poison(store, prepared, parts(prepared)))
        cured = without(prepared, poison)
        return store.apply(lambda connection: _write(store, connection, [cured]))
    except StoreUnavailable as error:
        return GroupResult([error])
    except Exception as error:
        if not is_row_fault(error):
            raise
        return GroupResult([error])  # not one row but the entry itself: whoever submitted it hears of it


def _poison(store: Database, prepared: Prepared, suspects: list[EntryPart]) -> Iterable[tuple[EntryPart, Exception]]:
    error = _trial(store, only(prepared, suspects))
    if error is None or not suspects:
        return
    if len(suspects) == 1:
        yield suspects[0], error
        return
    middle = len(suspects) // 2
    yield from _poison(store, prepared, suspects[:middle])
    yield from _poison(store, prepared, suspects[middle:])


class _RolledBack(Exception):
    pass


def _trial(store: Database, prepared: Prepared) -> Exception | None:
    """The fault this entry would meet, in a transaction that is rolled back."""

    def attempt(connection: Connection) -> None:
        _write(store, connection, [prepared])
        raise _RolledBack

    try:
        store.apply(attempt)
    except _RolledBack:
        return None
    except Exception as error:
        if not is_row_fault(error):
            raise
        return error
    return None


def _write(store: Database, connection: Connection, group: Sequence[Prepared]) -> GroupResult:
    writer = bulk_writer_for(connection)
    if any(prepared.arrivals for prepared in group):
        writer.guard()
    lost = _lost_fences(store, connection, group)
    accepted = [prepared for prepared in group if id(prepared) not in lost]
    fresh, events, wake_up = _write_arrivals(writer, connection, accepted)
    _write_receipts(writer, accepted)
    off: Counter[tuple[str, str, str]] = Counter()
    committed = {id(prepared): _committed(prepared, fresh, events, off) for prepared in accepted}
    _write_states(writer, accepted, off)
    outcomes: list[Outcome] = [lost.get(id(prepared)) or committed[id(prepared)] for prepared in group]
    polls = frozenset(prepared.entry.source for prepared in accepted if prepared.entry.poll_now)
    hints = any(prepared.hints for prepared in accepted)
    return GroupResult(outcomes, wake_up | WakeUp(hints=hints, polls=polls))


def _lost_fences(store: Database, connection: Connection, group: Sequence[Prepared]) -> dict[int, FenceLost]:
    held: dict[tuple[str, str], bool] = {}
    lost: dict[int, FenceLost] = {}
    for prepared in group:
        fence = prepared.entry.fence
        if fence is None:
            continue
        key = (fence.lease, fence.claim)
        if key not in held:
            held[key] = still_held(store, connection, *key)
        if not held[key]:
            lost[id(prepared)] = FenceLost(f"the lease {fence.lease!r} is no longer held by this claim")
    return lost


def _committed(
    prepared: Prepared, fresh: dict[str, int], events: set[tuple[str, str]], off: Counter[tuple[str, str, str]]
) -> Committed:
    """`fresh`: new id -> the entry (by identity) that brought it first; `events`: what was counted, each for the arrival that
    comes first. Both lose what is asked for. `off`: (source, type, reason) -> how many arrivals are not signals of their own."""
    mine, merged = id(prepared), 0
    new: list[UUID] = []
    for rows in prepared.arrivals:
        event = rows.repeat[:2] if rows.repeat is not None else None
        counts = event in events
        if event is not None:
            events.discard(event)
        if fresh.pop(rows.signal.id, None) == mine:
            new.append(rows.id)
            continue
        merged += counts
        off[rows.signal.source, rows.signal.type, MERGED if counts else REPEAT] += 1
    return Committed(tuple(new), len(prepared.arrivals) - len(new) - merged, prepared.poisoned, merged)


def _write_arrivals(
    writer: BulkWriter, connection: Connection, accepted: Sequence[Prepared]
) -> tuple[dict[str, int], set[tuple[str, str]], WakeUp]:
    """(new id -> the entry that brought it, the events that were counted, what there is to do)."""
    first: dict[str, tuple[NewSignalRows, int]] = {}
    for prepared in accepted:
        for rows in prepared.arrivals:
            first.setdefault(rows.signal.id, (rows, id(prepared)))
    if not first:
        return {}, set(), WakeUp()
    new = writer.new_signals([first[key][0].signal for key in sorted(first)])
    deliveries, settled = [], []
    tally: Counter[tuple[str, str]] = Counter()
    heard: dict[str, int] = {}
    for key in sorted(new):
        rows = first[key][0]
        row = rows.signal
        heard[row.source] = max(heard.get(row.source, 0), row.received_at)
        for seed in rows.seeds:
            tally[seed.destination, row.channel] += 1
            head = (seed.destination, row.id, row.channel)
            if seed.skipped:
                settled.append((*head, "skipped", str(seed.skipped), code_of(seed.skipped), row.received_at))
            else:
                at = row.received_at
                deliveries.append((*head, "pending", "", seed.live, seed.old, rows.priority, at, at, 0))
    if deliveries:
        writer.insert("deliveries", deliveries)
    if settled:
        writer.insert("settled", settled)
    repeated = [rows for prepared in accepted for rows in prepared.arrivals if rows.repeat is not None]
    counted = count_repeats(connection, repeated, new) if repeated else CountedRepeats()
    if tally:
        writer.run("tally", [(*key, tally[key]) for key in sorted(tally)])
    if heard:
        writer.run("heard", sorted(heard.items()))
    wake_up = WakeUp(frozenset([*(row[0] for row in deliveries), *counted.destinations]))
    return {key: first[key][1] for key in new}, counted.events, wake_up


def _write_receipts(writer: BulkWriter, accepted: Sequence[Prepared]) -> None:
    fetched = [done for prepared in accepted if (done := prepared.entry.fetched)]
    if fetched:
        writer.run("fetched", [(done.receipt, done.version, done.claim) for done in fetched])
        writer.run("fetch_again", [(done.receipt, done.claim) for done in fetched])
    hints = sorted((row for prepared in accepted for row in prepared.hints), key=lambda row: row.key)
    if hints:
        writer.run("hints", hints)
    quarantined = sorted(row for prepared in accepted for row in prepared.quarantined)
    if quarantined:
        writer.run("quarantine", quarantined)


def _write_states(writer: BulkWriter, accepted: Sequence[Prepared], known: Counter[tuple[str, str, str]]) -> None:
    states: dict[str, tuple[bytes, int]] = {}
    memory: dict[tuple[str, str], str | None] = {}
    off = Counter(known)
    jobs: dict[str, tuple[bytes | None, str, int]] = {}
    for prepared in accepted:
        entry = prepared.entry
        if entry.state is not None:
            states[entry.source] = (entry.state, prepared.at)
        for name, value in prepared.memory.items():
            memory[entry.source, name] = value
        for kind, count in entry.off.items():
            off[entry.source, *kind] += count
        if entry.job is not None:
            before = jobs.get(entry.job.job, (None, "", 0))
            cursor = entry.job.cursor if entry.job.cursor is not None else before[0]
            jobs[entry.job.job] = (cursor, entry.job.progress, prepared.at)
    remember = [(*key, value) for key, value in sorted(memory.items()) if value is not None]
    forget = [key for key, value in sorted(memory.items()) if value is None]
    for statement, rows in (
        ("cursors", [(source, *value) for source, value in sorted(states.items())]),
        ("remember", remember),
        ("forget", forget),
        ("switched_off", [(*key, off[key]) for key in sorted(off)]),
        ("job", [(*value, job) for job, value in sorted(jobs.items())]),
    ):
        if rows:
            writer.run(statement, rows)
