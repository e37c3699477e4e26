"""How the store's daily work grows: with ten times the signals, the sources, the dead letters. `python -m bench growth`.

Four SQLite stores are filled through the journal and the queue: one to begin with, and one with ten times of each. Printed: what
each piece of work takes on the first, and how many times as long on the others. 1 means that it does not grow, 10 that it grows
with the number of rows.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.figures import Aim, Figure, Table, workplace
from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.dispatch.dead_letters import letters
from syncd.service.status import gather
from syncd.signals import Signal, derive_id, make_person
from syncd.store import Store, queue
from syncd.store.balance import balance
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.store.purge import purge
from syncd.store.queries import Filter, explain, newest
from syncd.store.queue import Attempt, Ending, Settlement, WriteRow

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
APART = timedelta(seconds=1)
PEOPLE = 5000
GROUP = 64
FRESH = 1280
OLD = 500
SEEDS = (InitialDelivery("crm", live=True),)
FLAT, LINEAR = Aim.most(3), Aim.most(13)  # by a factor of ten; the rest is the machine's own unrest


@dataclass(frozen=True)
class Size:
    """How much a store holds."""

    signals: int
    sources: int
    dead: int


@dataclass
class Filled:
    """A store of some size, and how many signals it ever had."""

    store: Store
    size: Size
    settings: Settings
    made: int = field(default=0)

    @property
    def known(self) -> str:
        """The id of a signal that is there."""
        return str(self._signal(self.made - 1).id)

    def arrivals(self, count: int) -> list[NewSignal]:
        """New signals, a second apart, of the sources in turn."""
        start, self.made = self.made, self.made + count
        return [NewSignal(self._signal(number), SEEDS) for number in range(start, start + count)]

    def _signal(self, number: int) -> Signal:
        at = NOW + number * APART
        return Signal(
            id=derive_id("bench", "", "email.received", str(number)),
            type="email.received",
            source=f"source{number % self.size.sources}",
            occurred_at=at,
            received_at=at,
            title=f"signal {number}",
            text="hello " * 40,
            person=make_person(email=f"p{number % PEOPLE}@example.com"),
        )

    def settle(self, state: str, limit: int) -> int:
        """Claims and settles everything that is due, in batches of 500; how many at most."""
        now, done = round((NOW + self.made * APART).timestamp() * 1000), 0
        while done < limit:
            some = min(500, limit - done)
            batch = self.store.apply(lambda c, n=some: queue.claim(c, "crm", limit=n, now=now, until=now + 60_000))  # type: ignore[misc]
            if not batch.taken:
                break
            what = _settlement(batch, state, now)
            self.store.apply(lambda c, b=batch, w=what: queue.settle(c, b, w, now))  # type: ignore[misc]
            done += len(batch.taken)
        return done


def _settlement(batch: queue.ClaimedBatch, state: str, now: int) -> Settlement:
    done = "written" if state == "delivered" else state
    return Settlement(
        [(one.signal_id, WriteRow("timeline", one.signal_id, "Task", "upsert", done)) for one in batch.taken],
        [Attempt(one.signal_id, "timeline", now, done) for one in batch.taken],
        [Ending(one.signal_id, one.channel, state, "") for one in batch.taken],
    )


def filled(folder: Path, size: Size) -> Filled:
    """Fills a new store: the first signals are delivered, the last ones dead."""
    sources = {f"source{n}": SourceSettings(name=f"source{n}", type="webhook") for n in range(size.sources)}
    settings = Settings(sources=sources, destinations={"crm": DestinationSettings(name="crm", type="database")})
    name = f"{size.signals}-{size.sources}-{size.dead}.db"
    made = Filled(Store.open(f"sqlite:///{folder / name}"), size, settings)
    for state, count in (("delivered", size.signals - size.dead), ("dead", size.dead)):
        for first in range(0, count, 1000):
            some = min(1000, count - first)
            made.store.journal.commit(JournalEntry("bench", made.arrivals(some), received_at=NOW))
            made.settle(state, some)
    return made


# ------------------------------------------------------------------------------------------------ the daily work


def ingest(on: Filled) -> float:
    """New signals in groups as webhooks come: seconds for each."""
    arrivals = on.arrivals(FRESH)
    began = time.perf_counter()
    for first in range(0, FRESH, GROUP):
        on.store.journal.commit(JournalEntry("bench", arrivals[first : first + GROUP], received_at=NOW))
    return (time.perf_counter() - began) / FRESH


def claim_and_settle(on: Filled) -> float:
    """What `ingest` left: seconds for each."""
    began = time.perf_counter()
    done = on.settle("delivered", FRESH)
    assert done == FRESH, f"{done} of {FRESH} were due"
    return (time.perf_counter() - began) / FRESH


def purge_the_oldest(on: Filled) -> float:
    """A few of many: seconds for each."""
    with on.store.read() as connection:
        (first,) = connection.exec_driver_sql("SELECT min(received_at) FROM signals").one()
    began = time.perf_counter()
    done = purge(on.store, datetime.fromtimestamp(first / 1000, UTC) + OLD * APART)
    assert done is not None
    assert done.signals == OLD, f"{done.signals} of {OLD} went"
    return (time.perf_counter() - began) / OLD


def timed(work: Callable[[Filled], object]) -> Callable[[Filled], float]:
    def way(on: Filled) -> float:
        began = time.perf_counter()
        work(on)
        return time.perf_counter() - began

    return way


WORK: dict[str, tuple[Callable[[Filled], float], Aim]] = {  # in this order: a round leaves as much as it found
    "ingest, each": (ingest, FLAT),
    "claim and settle, each": (claim_and_settle, FLAT),
    "purge of the oldest, each": (purge_the_oldest, FLAT),
    "signals list, the last 50": (timed(lambda on: newest(on.store, Filter(), 50)), FLAT),
    "signals list of one person": (timed(lambda on: newest(on.store, Filter(person="p7@example.com"), 50)), LINEAR),
    "signals list, dead ones": (timed(lambda on: newest(on.store, Filter(state="dead"), 50)), LINEAR),
    "explain": (timed(lambda on: explain(on.store, on.known)), FLAT),
    "dead list, 100 of them": (timed(lambda on: letters(on.store, Filter())), LINEAR),
    "balance": (timed(lambda on: balance(on.store)), LINEAR),
    "status": (timed(lambda on: gather(on.store, on.settings)), LINEAR),
}


def measure(base: Size, rounds: int) -> list[Table]:
    """All stores take turns in each round."""
    sizes = {
        f"{base.signals:,} signals, {base.sources} sources, {base.dead:,} dead": base,
        "10 x the signals": replace(base, signals=10 * base.signals),
        "10 x the sources": replace(base, sources=10 * base.sources),
        "10 x the dead": replace(base, dead=10 * base.dead),
    }
    took: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=workplace())))
        stores = {name: filled(folder, size) for name, size in sizes.items()}
        for one in stores.values():
            stack.enter_context(one.store)
        for _ in range(rounds):
            for work, (way, _) in WORK.items():
                for name, one in stores.items():
                    took.setdefault((work, name), []).append(way(one))
    middle = {key: statistics.median(times) for key, times in took.items()}
    first, *others = sizes
    tables = [Table(f"growth: on SQLite, {first}", [Figure(work, middle[work, first] * 1e3, "ms") for work in WORK])]
    tables += [Table(f"growth: {name}, times as long", list(_ratios(middle, first, name))) for name in others]
    return tables


def _ratios(middle: dict[tuple[str, str], float], first: str, name: str) -> Iterator[Figure]:
    for work, (_, aim) in WORK.items():
        yield Figure(work, middle[work, name] / middle[work, first], "x", aim)


def run(*, quick: bool = False) -> list[Table]:
    """Quick: a tenth of it."""
    return measure(Size(5_000, 10, 200), 3) if quick else measure(Size(20_000, 10, 1_000), 5)


if __name__ == "__main__":
    for table in run():
        print(table)
