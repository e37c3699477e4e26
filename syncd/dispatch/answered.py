"""Signals that are answered: their rules with `on: answered` get their turn, also when everything else of them is long done.

A lane's round asks here before it plans. A signal whose rule waits for an answer leaves a row of that rule, skipped, under a key
made of who it came from; an answer finds the rows of its person by that key. Promise: every answer that reaches a destination is
taken into account by it, once; nothing else of an answered signal is written again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from syncd.dispatch.dead_letters import busy_among, place
from syncd.dispatch.decided import decided, with_decided
from syncd.dispatch.pacing import span
from syncd.dispatch.waiting_rules import answer_key, is_waiting
from syncd.mapping.model import CompiledMapping, Draft
from syncd.signal_types import OPEN_TYPES
from syncd.signals import Direction, Signal, answered_by, decode_signal
from syncd.store.answers import answers_to
from syncd.store.identity_ties import ties_around
from syncd.store.queue import WRITE_COLUMNS, Taken, WriteRow, among, put_writes, sql, write_row
from syncd.store.store import Store
from syncd.texts.reasons import Reason

NOT_THEN = Reason("not_set_off")


def answers_of(store: Store, batch: Sequence[Taken]) -> Mapping[UUID, str]:
    """signal -> the id of what answered it, for those signals of a batch that are answered."""
    asked = [one.signal for one in batch if one.signal is not None and one.signal.type in OPEN_TYPES]
    return {asked_id: str(answer.id) for asked_id, answer in answers_to(store, asked).items()}


def reopen_answered(
    store: Store, destination: str, batch: Sequence[Taken], mapping: CompiledMapping, now: int, live_within: timedelta
) -> int:
    """Puts the rules that wait for these answers into the queue, of all signals but those of the batch itself; how many signals
    that were. One commit; a second call changes nothing more. Raises StoreUnavailable."""
    ours = [one.signal for one in batch if one.signal is not None and one.signal.direction is Direction.OUT]
    ours = [one for one in ours if one.person.identities]
    if not ours:
        return 0
    here = {one.signal_id for one in batch}
    with store.read() as connection:
        found = _answered(connection, destination, ours, here)
    if not found:
        return 0

    def work(connection: Connection) -> int:
        busy, waiting = busy_among(connection, destination, sorted(found), now)
        rows = _rows(connection, destination, found.keys() - busy)
        put: list[tuple[str, WriteRow]] = []
        for signal_id, theirs in rows.items():
            signal, answer = found[signal_id]
            for row in [one for one in theirs.values() if is_waiting(one)]:
                kept = msgspec.structs.replace(decided(row), answer=answer)
                theirs[row.rule] = with_decided(_due(row, now), kept)
                put.append((signal_id, theirs[row.rule]))
            for made in () if signal_id in waiting else mapping.drafts(signal, live=False):
                if made.rule not in theirs:  # what the signal did not write by itself when it came is not written now
                    object_ = made.object if isinstance(made, Draft) else ""
                    theirs[made.rule] = WriteRow(made.rule, "", object_, "", "skipped", NOT_THEN)
                    put.append((signal_id, theirs[made.rule]))
        put_writes(connection, destination, put, now)
        place(connection, destination, rows, waiting, now, span(live_within), False)
        return len(rows)

    return store.apply(work)


def _due(row: WriteRow, now: int) -> WriteRow:
    return msgspec.structs.replace(row, state="pending", reason="", key="", attempts=0, due_at=now)


def _answered(
    connection: Connection, destination: str, ours: Sequence[Signal], here: Collection[str]
) -> dict[str, tuple[Signal, str]]:
    """signal id -> (the signal, the id of its answer), of those that have a row waiting for one of these answers."""
    graph = ties_around(connection, {identity for one in ours for identity in one.person.identities})
    known_as = {one.id: set(graph.group(one.person.identities)) for one in ours}
    keys = sorted({answer_key(identity) for group in known_as.values() for identity in group})
    where, wanted = among(connection, "w.key", keys)
    text = f"""SELECT DISTINCT w.signal_id, s.body FROM writes w JOIN signals s ON s.id = w.signal_id
        WHERE w.destination = ? AND {where} AND w.state = 'skipped' AND w.code = 'not_answered'"""  # noqa: S608
    found: dict[str, tuple[Signal, str]] = {}
    for signal_id, body in connection.exec_driver_sql(sql(connection, text), (destination, wanted)):
        signal = decode_signal(body)
        theirs = set(signal.person.identities)
        theirs = theirs.union(*(group for group in known_as.values() if not group.isdisjoint(theirs)))
        answer = answered_by(signal, ours, theirs)
        if answer is not None and signal_id not in here:
            found[signal_id] = signal, str(answer.id)
    return found


def _rows(connection: Connection, destination: str, ids: Iterable[str]) -> dict[str, dict[str, WriteRow]]:
    where, wanted = among(connection, "signal_id", sorted(ids))
    text = f"SELECT signal_id, {WRITE_COLUMNS} FROM writes WHERE destination = ? AND {where}"  # noqa: S608
    found: dict[str, dict[str, WriteRow]] = defaultdict(dict)
    for signal_id, *values in connection.exec_driver_sql(sql(connection, text), (destination, wanted)):
        row = write_row(values)
        found[signal_id][row.rule] = row
    return dict(found)
