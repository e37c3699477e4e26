"""A source against the store: what is missing, what only the store has, and what is no fault at all."""

from __future__ import annotations

import threading
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select

from syncd.connector import SignalSpec
from syncd.errors import Misconfigured, RateLimited
from syncd.intake.admit import DeliveryTarget, Policy
from syncd.intake.backfill import Range
from syncd.intake.verification import Compared, compare_source, open_comparison
from syncd.store import Store
from syncd.store.jobs import Job
from syncd.store.journal.entries import JournalEntry, NewSignal
from syncd.store.schema import signals, tombstones
from syncd.store.verifications import SOURCE_KIND, last_results
from syncd.testing.hostile import HostileSource, make_signal

POLICY = Policy({"custom": {"*": True}}, (DeliveryTarget("crm"),))
OFF = Policy({"custom": {"*": False}}, (DeliveryTarget("crm"),))
WANTED = Range(datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
SPECS = (SignalSpec("custom.*", "number", backfill=True),)


def take_in(store: Store, *numbers: int) -> None:
    made = [NewSignal(make_signal(number, source="inbox"), ()) for number in numbers]
    store.journal.commit(JournalEntry("inbox", made, received_at=WANTED.until))


def compare(store: Store, source: Any, policy: Policy = POLICY, **options: Any) -> tuple[Compared, Job]:
    job = open_comparison(store, "inbox", WANTED)
    claimed = store.jobs.claim(timedelta(seconds=60), kinds=[SOURCE_KIND], id=job.id)
    assert claimed is not None
    done = compare_source(*claimed, source, options.pop("specs", SPECS), store, lambda: policy, **options)
    settled = store.jobs.get(job.id)
    assert settled is not None
    return done, settled


def listed(done: Compared) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in done.findings:
        found.setdefault(one["verdict"], set()).add(one["signal_id"])
    return found


def ids(*numbers: int) -> set[str]:
    return {str(make_signal(number).id) for number in numbers}


def test_missing_and_extra(store: Store) -> None:
    take_in(store, 1, 2, 9)
    done, job = compare(store, HostileSource([[1, 2], [3], [4, 1]]))
    assert (done.read, done.amiss, done.extra, job.state) == (5, 2, 1, "done")
    assert listed(done) == {"missing": ids(3, 4), "extra": ids(9)}
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(signals)).scalar_one() == 3
    (result,) = last_results(store)
    assert (result.role, result.subject, result.amiss) == ("source", "inbox", 2)


def test_what_was_purged_is_remembered(store: Store) -> None:
    take_in(store, 1)
    with store.write() as connection:
        connection.execute(delete(signals))
        connection.execute(insert(tombstones).values(id=str(make_signal(1).id), at=0))
    assert compare(store, HostileSource([[1]]))[0].amiss == 0


def test_what_is_switched_off_is_not_missing(store: Store) -> None:
    done, _ = compare(store, HostileSource([[1, 2]]), OFF)
    assert (done.read, done.off, done.amiss) == (2, 2, 0)


def test_transitions_that_no_backfill_shows_are_not_extra(store: Store) -> None:
    take_in(store, 1)
    assert compare(store, HostileSource([[]]), specs=(SignalSpec("custom.*", "n", backfill=False),))[0].extra == 0


def test_what_comes_in_meanwhile_is_not_missing(store: Store) -> None:
    done, _ = compare(store, HostileSource([[1], [2]]), told=lambda _: take_in(store, 1, 2))
    assert done.amiss == 0


def test_a_short_pause_is_sat_out_and_read_on(store: Store) -> None:
    pauses: list[float] = []
    source = HostileSource([[1], [2], [3]], failures={2: RateLimited("slow", retry_after=7)})
    done, _ = compare(store, source, pause=lambda stop, seconds: pauses.append(seconds))
    assert (done.read, done.amiss, pauses, source.read) == (3, 3, [7.0], [0, 1, 2])


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (Misconfigured("scope"), "Misconfigured: scope"),
        (RateLimited("slow", retry_after=4000), "continue after"),
        (ZeroDivisionError("bug"), "bug in the connector"),
    ],
)
def test_a_failure_is_told(store: Store, failure: Exception, said: str) -> None:
    done, job = compare(store, HostileSource([[1], [2]], failures={1: failure}))
    assert (job.state, said in done.error) == ("failed", True)
    assert said in last_results(store)[0].error


def test_stopped_by_a_daemon_that_ends_it_begins_again(store: Store) -> None:
    stop = threading.Event()
    stop.set()
    _, job = compare(store, HostileSource([[1], [2]]), stop=stop, leave_open=True)
    assert job.state == "waiting"
    done, again = compare(store, HostileSource([[1], [2]]))
    assert (again.id, again.state, done.read) == (job.id, "done", 2)


def test_memory_is_flat_over_20000_signals(store: Store) -> None:
    count, size = 20_000, 500
    pages = [list(range(start, start + size)) for start in range(0, count, size)]
    for page in pages:
        take_in(store, *(number for number in page if number % 5000))
    tracemalloc.start()
    try:
        done, _ = compare(store, HostileSource(pages))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (done.read, done.amiss, done.extra) == (count, 4, 0)
    assert peak < 12_000_000
