"""The journal against a model: duplicates, poison, hints that merge, fences, settling and purging in any order, and the books
balance after every step."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import delete, insert, select

from syncd.connector import Hint
from syncd.signals import Person, Signal
from syncd.store import Store, balance
from syncd.store.journal.entries import Fence, FenceLost, InitialDelivery, JournalEntry, NewSignal
from syncd.store.purge import KEPT_STATES, purge
from syncd.store.schema import deliveries, receipts, settled
from tests.entries import MOMENT, a_signal

NATIVES = st.integers(0, 15)
POISON = Person(email="x\ud800@example.com")
SEEDS = st.sampled_from(
    [
        (InitialDelivery("crm", live=True),),
        (InitialDelivery("crm", live=True), InitialDelivery("archive", live=True, skipped="not wanted")),
        (InitialDelivery("archive", live=False, old=True),),
        (),
    ]
)
ARRIVALS = st.lists(st.tuples(NATIVES, SEEDS, st.booleans()), max_size=5)
ENTRIES = st.lists(
    st.tuples(ARRIVALS, st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=2)), max_size=4
)


def signal(native: int, poisoned: bool) -> Signal:
    person = POISON if poisoned else Person(email=f"p{native}@example.com")
    return a_signal(f"bad{native}" if poisoned else native, person=person)


class JournalModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store.open(f"sqlite:///{Path(self.folder.name) / 'syncd.db'}", clock=lambda: MOMENT)
        self.known: set[int] = set()
        self.poisoned: set[int] = set()
        self.due: dict[tuple[str, int], str] = {}
        self.ended: dict[tuple[str, int], str] = {}
        self.hints: dict[str, tuple[int, int]] = {}
        self.cursor = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @initialize()
    def take_lease(self) -> None:
        claim = self.store.leases.acquire("poll:phones", timedelta(hours=1))
        assert claim is not None
        self.fence = Fence(claim.lease, claim.claim)

    @rule(entries=ENTRIES, inline=st.booleans())
    def commit(
        self, entries: list[tuple[list[tuple[int, tuple[InitialDelivery, ...], bool]], dict[str, int]]], inline: bool
    ) -> None:
        made = []
        for arrivals, hints in entries:
            self.cursor += 1
            made.append(
                JournalEntry(
                    "phones",
                    [NewSignal(signal(native, bad), seeds) for native, seeds, bad in arrivals],
                    hints=[Hint(key=key, data={"n": value}) for key, value in hints.items()],
                    state=str(self.cursor).encode(),
                    fence=self.fence,
                )
            )
        if inline:
            answers = [self.store.journal.commit(entry) for entry in made]
        else:
            answers = [future.result(20) for future in [self.store.journal.submit(entry) for entry in made]]
        for (arrivals, hints), answer in zip(entries, answers, strict=True):
            new = self._learn(arrivals)
            assert len(answer.new) == new
            assert answer.poisoned == sum(bad for *_, bad in arrivals)
            assert answer.repeats == len(arrivals) - new - answer.poisoned
            for key, value in hints.items():
                self.hints[key] = (value, self.hints[key][1] + 1 if key in self.hints else 0)

    def _learn(self, arrivals: list[tuple[int, tuple[InitialDelivery, ...], bool]]) -> int:
        new = 0
        for native, seeds, bad in arrivals:
            if bad:
                self.poisoned.add(native)
            elif native not in self.known:
                new += 1
                self.known.add(native)
                for seed in seeds:
                    target = self.ended if seed.skipped else self.due
                    target[seed.destination, native] = "skipped" if seed.skipped else "pending"
        return new

    @rule(native=NATIVES)
    def commit_stale(self, native: int) -> None:
        entry = JournalEntry(
            "phones", [NewSignal(signal(native, False), ())], state=b"stale", fence=Fence("poll:phones", "other")
        )
        try:
            self.store.journal.commit(entry)
        except FenceLost:
            return
        raise AssertionError("a stale fence was accepted")

    @rule(native=NATIVES, state=st.sampled_from(["delivered", "dead", "unconfirmed", "discarded"]))
    def settle(self, native: int, state: str) -> None:
        id = str(signal(native, False).id)
        with self.store.write() as connection:
            for row in connection.execute(select(deliveries).where(deliveries.c.signal_id == id)).all():
                keys = {"destination": row.destination, "signal_id": id, "channel": row.channel}
                connection.execute(insert(settled).values(**keys, state=state, reason="", settled_at=0))
                self.ended[row.destination, native] = state
                del self.due[row.destination, native]
            connection.execute(delete(deliveries).where(deliveries.c.signal_id == id))

    @rule()
    def purge(self) -> None:
        waiting = {native for _, native in self.due} | {n for (_, n), s in self.ended.items() if s in KEPT_STATES}
        assert purge(self.store, MOMENT + timedelta(days=1), bite=3) is not None
        self.ended = {place: state for place, state in self.ended.items() if place[1] in waiting}
        self.poisoned.clear()  # what lies in quarantine ages like anything else

    @invariant()
    def the_books_balance(self) -> None:
        lines = balance.balance(self.store)
        assert balance.unbalanced(lines) == []
        counted = {
            (line.destination, state): getattr(line, state)
            for line in lines
            for state in ("pending", "skipped", "delivered", "dead", "unconfirmed", "discarded")
            if getattr(line, state)
        }
        expected: dict[tuple[str, str], int] = {}
        for (destination, _), state in [*self.due.items(), *self.ended.items()]:
            expected[destination, state] = expected.get((destination, state), 0) + 1
        assert counted == expected

    @invariant()
    def hints_are_merged_and_poison_is_kept_for_its_time(self) -> None:
        with self.store.read() as connection:
            rows = connection.execute(select(receipts)).all()
        found = {row.key: (int(bytes(row.payload)[5:-1]), row.version) for row in rows if row.kind == "hint"}
        assert found == self.hints
        assert sum(row.kind == "body" for row in rows) == len(self.poisoned)

    @invariant()
    def the_cursor_is_with_its_data(self) -> None:
        state = self.store.cursors.read("phones")
        assert state == (str(self.cursor).encode() if self.cursor else None)


JournalModel.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestJournalModel = JournalModel.TestCase
