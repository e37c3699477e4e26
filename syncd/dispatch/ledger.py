"""What one round has learnt of its deliveries, and the only way in which it gets into the tables.

The round and its sender write here. Promise: nothing is committed of a delivery whose claim has passed to another worker; a
delivery leaves the queue with the very commit that finishes its last write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

from syncd.connector import Link, PersonMatch
from syncd.dispatch import plan
from syncd.dispatch.calls import Paused
from syncd.observability import signal_log
from syncd.runtime import crashpoints
from syncd.store import queue
from syncd.store.lanes import PersonRow, drop_nobodies, drop_people, follow_converted, put_people, take_turns
from syncd.store.queue import Attempt, ClaimedBatch, Ending, Release, Settlement, Taken, WriteRow
from syncd.store.store import Store


class Ledger:
    """The deliveries of a batch as they stand. `settled`: done so far; `refused`: settlements that came too late.

    `opened`: deliveries of which all rows are known. `undecided`: those of which it is not known yet whether they are
    wanted, so that nothing of them is kept. `waits`: until when a delivery of those waits.
    """

    def __init__(self, store: Store, batch: ClaimedBatch, clock: Callable[[], int]) -> None:
        self._store = store
        self._batch = batch
        self._clock = clock
        self._unkept: dict[str, dict[str, WriteRow]] = {}
        self._ended: set[str] = set()
        self._reasons: dict[str, str] = {}
        self.opened: set[str] = set()
        self.undecided: set[str] = set()
        self.waits: dict[str, int] = {}
        self.settled = 0
        self.refused = 0

    @property
    def taken(self) -> Iterable[Taken]:
        """The deliveries that are still open."""
        return (one for one in self._batch.taken if one.signal_id not in self._ended)

    def put(self, taken: Taken, row: WriteRow) -> None:
        """The row as it stands now, to be kept with the next commit that is about its delivery."""
        taken.writes[row.rule] = row
        self._unkept.setdefault(taken.signal_id, {})[row.rule] = row

    def unwanted(self, taken: Taken, reason: str) -> None:
        """The delivery ends as skipped, without any write."""
        self._unkept.pop(taken.signal_id, None)
        self.undecided.discard(taken.signal_id)
        self.opened.add(taken.signal_id)
        taken.writes.clear()
        self._reasons[taken.signal_id] = reason

    def leaving(
        self,
        rows: Sequence[tuple[Taken, WriteRow]],
        people: Sequence[PersonRow] = (),
        turns: tuple[str, int] = ("", 0),
    ) -> None:
        """Commits that these leave now. `turns`: (rule, how many of its owners' turns they take). Raises Paused, with nothing
        committed, when a claim is not ours any more."""
        what = Settlement([(taken.signal_id, row) for taken, row in rows])
        self._commit(what, people, (), strict=True, turns=turns)
        for taken, row in rows:
            taken.writes[row.rule] = row
            self._unkept.get(taken.signal_id, {}).pop(row.rule, None)

    def answered(
        self,
        rows: Sequence[tuple[Taken, WriteRow]],
        attempts: Iterable[Attempt],
        people: Sequence[PersonRow] = (),
        stale: Iterable[str] = (),
        converted: Sequence[tuple[Link, PersonMatch]] = (),
    ) -> None:
        """Commits their outcomes, and with them every delivery that is done. `stale`: people to be resolved afresh;
        whenever `people` have a record now, so are all who were nobody; `converted`: leads, and who they are now. Raises Paused
        when some came too late."""
        what = Settlement(attempts=list(attempts))
        for taken, row in rows:
            self.put(taken, row)
        for taken in {one.signal_id: one for one, _ in rows}.values():
            self._keep(taken, what)
            if self._done(taken):
                self._end(taken, what)
        self._commit(what, people, stale, strict=False, converted=converted)

    def close(self) -> None:
        """Everything that is left: what is done is settled, the rest goes back to the queue, due when its first write is."""
        now, what = self._clock(), Settlement()
        for taken in list(self.taken):
            if taken.signal_id in self.undecided or taken.signal_id not in self.opened:
                due = self.waits.get(taken.signal_id, taken.due_at)
                what.releases.append(Release(taken.signal_id, "pending", "", due))
                continue
            self._keep(taken, what)
            if self._done(taken):
                self._end(taken, what)
                continue
            waiting = [row for row in taken.writes.values() if not row.finished]
            state, reason = plan.delivery_state(waiting)
            due = min(row.due_at for row in waiting)
            # What could not be sent keeps its place in the queue.
            due = due if due > now else min(taken.due_at, now)
            what.releases.append(Release(taken.signal_id, state, reason, due, taken.repeated))
        with contextlib.suppress(Paused):  # refused and counted: the worker that has the claim now continues
            self._commit(what, (), (), strict=False)

    def poison(self, taken: Taken, reason: str) -> None:
        """The delivery trips syncd itself: a dead letter, so that it harms nobody else."""
        open_rows = [row for row in taken.writes.values() if not row.finished] or [WriteRow("syncd", "", "", "")]
        for row in open_rows:
            self.put(taken, msgspec.structs.replace(row, state="dead", reason=reason, due_at=0))
        self.undecided.discard(taken.signal_id)
        self.opened.add(taken.signal_id)

    def _done(self, taken: Taken) -> bool:
        return all(row.finished for row in taken.writes.values())

    def _keep(self, taken: Taken, what: Settlement) -> None:
        rows = self._unkept.pop(taken.signal_id, {})
        what.writes.extend((taken.signal_id, row) for row in rows.values())

    def _end(self, taken: Taken, what: Settlement) -> None:
        reason = self._reasons.get(taken.signal_id)
        state, why = ("skipped", reason) if reason else plan.delivery_state(taken.writes.values())
        what.endings.append(Ending(taken.signal_id, taken.channel, state, why, taken.repeated))
        self._ended.add(taken.signal_id)

    def _commit(
        self,
        what: Settlement,
        people: Sequence[PersonRow],
        stale: Iterable[str],
        *,
        strict: bool,
        turns: tuple[str, int] = ("", 0),
        converted: Sequence[tuple[Link, PersonMatch]] = (),
    ) -> None:
        now, gone = self._clock(), sorted(stale)
        if not (what or people or gone):
            return
        with self._store.write() as connection:
            ended, refused = queue.settle(connection, self._batch, what, now)
            if refused and strict:
                self.refused += refused
                raise Paused
            if people and not refused:
                if any(person.object for person in people):
                    drop_nobodies(connection, self._batch.destination)
                put_people(connection, self._batch.destination, people)
            if turns[1]:
                take_turns(connection, self._batch.destination, *turns)
            for lead, found in converted if not refused else ():
                follow_converted(connection, self._batch.destination, lead, found)
            if gone:
                drop_people(connection, self._batch.destination, gone)
            crashpoints.point("in_settling")
        self.refused += refused
        self.settled += ended
        if not refused:
            signal_log.attempted(self._batch.destination, what.attempts)
            signal_log.ended(self._batch.destination, what.endings)
        if refused:
            raise Paused
