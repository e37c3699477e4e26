"""Events that signals count, in any order, bundled in any way and sent any number of times: the store and the kit's ledger agree
with what was really there to be counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count as counting
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Batch
from syncd.signals import Signal, counted, decode_signal, encode
from syncd.store import Store
from syncd.store.journal.entries import Committed, JournalEntry, NewSignal
from syncd.store.queries import get
from syncd.testing import SourceLedger
from tests.entries import CRM, MOMENT, a_signal

Event = tuple[int, int]
"""(thing, which of its events)."""
EVENTS = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=6), max_size=6)
TIMES = st.lists(st.integers(-1000, 1000), min_size=6, max_size=6)


RUNS = counting()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all examples, each with things of its own."""
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('repeats') / 'syncd.db'}") as store:
        yield store


def happened(run: int, event: Event, minutes: Sequence[int]) -> Signal:
    return a_signal(
        f"{run} {event[0]}", repeat=f"event {event[1]}", occurred_at=MOMENT + timedelta(minutes=minutes[event[1]])
    )


def expected(batches: Sequence[Sequence[Event]], minutes: Sequence[int]) -> dict[int, dict[str, Any]]:
    events: dict[int, set[int]] = {}
    for thing, event in (one for batch in batches for one in batch):
        events.setdefault(thing, set()).add(event)
    return {
        thing: {
            "count": len(those),
            "last_at": f"{MOMENT + timedelta(minutes=max(minutes[one] for one in those)):%Y-%m-%dT%H:%M:%SZ}",
        }
        for thing, those in events.items()
    }


@given(batches=EVENTS, minutes=TIMES)
def test_the_count_is_that_of_the_events(kept: Store, batches: list[list[Event]], minutes: list[int]) -> None:
    run, ledger = next(RUNS), SourceLedger(connect=lambda: None)
    outcomes: list[Committed] = []
    for batch in batches:
        signals = [happened(run, event, minutes) for event in batch]
        outcomes.append(kept.journal.commit(JournalEntry("phones", [NewSignal(one, CRM) for one in signals])))
        ledger.absorb(Batch(signals))
    wanted = expected(batches, minutes)
    ids = {thing: a_signal(f"{run} {thing}").id for thing in range(3)}
    stored = {thing: get(kept, str(id)) for thing, id in ids.items()}
    assert {thing: one.data for thing, one in stored.items() if one is not None} == wanted
    assert {thing: ledger.signals[ids[thing]].data for thing in wanted} == wanted
    assert sum(len(one.new) for one in outcomes) == len(wanted)
    assert sum(one.merged for one in outcomes) == sum(one["count"] for one in wanted.values()) - len(wanted)
    assert sum(one.repeats + one.merged + len(one.new) for one in outcomes) == sum(map(len, batches))


@given(
    count=st.integers(1, 10**9),
    last=st.datetimes(timezones=st.just(UTC)),
    data=st.dictionaries(st.text(), st.integers()),
)
def test_nothing_but_the_count_changes(count: int, last: datetime, data: dict[str, int]) -> None:
    first = a_signal(1, data=data, repeat="one")
    made = counted(first, count, last)
    assert msgspec.structs.replace(made, data=data, repeat="one") == first
    assert {name: value for name, value in made.data.items() if name not in ("count", "last_at")} == {
        name: value for name, value in data.items() if name not in ("count", "last_at")
    }
    assert (made.times, decode_signal(encode(made))) == (max(1, count), made)
