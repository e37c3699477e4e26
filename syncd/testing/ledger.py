"""A stand-in for the intake and the store: keeps what a source hands over as they would, in memory, without threads.

The conformance suites drive a source with it; it holds the rules (one id one signal, hints merged by key, state committed
with its batch) so that a suite can stop and rebuild the source between any two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from syncd.connector import Batch, Hint, NotYet, Request, UnparsedItem
from syncd.signals import Signal, counted
from syncd.testing.progress import STEPS, ProgressGuard


@dataclass
class SourceLedger:
    """`connect` builds the source afresh, as after a restart; `clock` is ours, set manually."""

    connect: Callable[[], Any]
    now: datetime = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
    signals: dict[UUID, Signal] = field(default_factory=dict)
    hints: dict[str, Hint] = field(default_factory=dict)
    memory: dict[str, str] = field(default_factory=dict)
    state: bytes | None = None
    repeats: int = 0
    misfits: list[UnparsedItem] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    poll_wanted: bool = False
    states: list[bytes | None] = field(default_factory=list)
    events: dict[UUID, dict[str, datetime]] = field(default_factory=dict)

    def recall(self, keys: Sequence[str]) -> dict[str, str]:
        """For `Context.recall`."""
        return {key: self.memory[key] for key in keys if key in self.memory}

    def absorb(self, batch: Batch) -> list[Signal]:
        """Commits a batch; returns the signals that were new."""
        new: list[Signal] = []
        for signal in batch.signals:
            if signal.repeat and self._counted(signal):
                continue
            if signal.id in self.signals:
                self.repeats += 1
            else:
                self.signals[signal.id] = counted(signal, 1, signal.occurred_at) if signal.repeat else signal
                new.append(signal)
        for hint in batch.hints:
            waiting = self.hints.get(hint.key)
            if waiting is not None:
                earliest = min(h.not_before or datetime.min.replace(tzinfo=UTC) for h in (waiting, hint))
                hint = Hint(key=hint.key, data=hint.data, not_before=earliest)
            self.hints[hint.key] = hint
        for key, value in batch.remember.items():
            if value is None:
                self.memory.pop(key, None)
            else:
                self.memory[key] = value
        if batch.state is not None:
            self.state = batch.state
        self.misfits += batch.misfits
        for reason, count in batch.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count
        self.poll_wanted = self.poll_wanted or batch.poll_now
        return new

    def _counted(self, signal: Signal) -> bool:
        """Whether the event was counted in a signal that is there; one that comes first makes it."""
        events, first = self.events.setdefault(signal.id, {}), self.signals.get(signal.id)
        known = signal.repeat in events
        events.setdefault(signal.repeat, signal.occurred_at)
        if first is not None:
            self.signals[signal.id] = counted(first, len(events), max(events.values()))
        return first is not None and not known

    def start(self) -> None:
        """A new source: its cursor of now."""
        self.state = self.connect().start(self.now)

    def poll(
        self,
        *,
        stop_after: int | None = None,
        restart: bool = False,
        between: Callable[[], None] = lambda: None,
    ) -> list[Signal]:
        """One poll; `stop_after` batches the process dies; `restart`: it dies after every batch and continues from the
        committed state, until a poll ends by itself. `between` is called after each batch."""
        self.poll_wanted = False
        new: list[Signal] = []
        progress = ProgressGuard("a poll that is restarted after each batch" if restart else "a poll")
        while True:
            ended = True
            for count, batch in enumerate(self._batches(), start=1):
                new += self._absorbed(batch, batch.state, progress)
                self.states.append(batch.state)
                between()
                if restart or count == stop_after:
                    ended = False
                    break
            if ended or not restart:
                return new

    def _absorbed(self, batch: Batch, state: bytes | None, progress: ProgressGuard) -> list[Signal]:
        waiting = set(self.hints)
        new = self.absorb(batch)
        progress.step(state, len(new) + len(set(self.hints) - waiting))
        return new

    def _batches(self) -> Iterator[Batch]:
        assert self.state is not None, "start() first"
        return iter(self.connect().poll(self.state, self.now))

    def receive(self, request: Request) -> list[Signal]:
        """A webhook: handshake, verification, parsing."""
        source = self.connect()
        reply = source.handshake(request)
        if reply is not None:
            if all(self.memory.get(key, value) == value for key, value in reply.remember.items()):
                self.memory.update(reply.remember)
            return []
        verifier = source.verifier()
        verifier(request, self.now)
        return self.absorb(source.parse(request))

    def fetch(self, *, patience: timedelta = timedelta(days=40)) -> list[Signal]:
        """Answers every waiting hint, moving the clock to when each is due, at most `patience` ahead."""
        new: list[Signal] = []
        limit = self.now + patience
        for _ in range(STEPS):
            due = sorted(self.hints.values(), key=lambda hint: hint.not_before or self.now)
            due = [hint for hint in due if (hint.not_before or self.now) <= limit]
            if not due:
                return new
            hint = due[0]
            self.now = max(self.now, hint.not_before or self.now)
            answer = self.connect().fetch(hint, self.now)
            if isinstance(answer, NotYet):
                assert answer.at > self.now, "NotYet must name a time that is still to come"
                self.hints[hint.key] = Hint(key=hint.key, data=hint.data, not_before=answer.at)
                continue
            self.hints.pop(hint.key, None)
            new += self.absorb(answer)
        raise AssertionError(f"hints lead to hints without end (over {STEPS} steps)")

    def backfill(self, since: datetime, until: datetime, *, restart: bool = False) -> list[Signal]:
        """A backfill over a range; `restart`: the process dies after every batch and resumes."""
        new: list[Signal] = []
        state: bytes | None = None
        progress = ProgressGuard("a backfill that is restarted after each batch" if restart else "a backfill")
        while True:
            ended = True
            for batch in self.connect().backfill(since, until, state):
                state = batch.state if batch.state is not None else state
                kept = Batch(signals=batch.signals, hints=batch.hints, remember=batch.remember)
                new += self._absorbed(kept, batch.state, progress)
                if restart:
                    ended = False
                    break
            if ended:
                return new
