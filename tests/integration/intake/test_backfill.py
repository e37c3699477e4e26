"""Backfills as jobs on a real store: resumed where they stopped, nothing doubled, dry runs that touch nothing."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.intake import backfill
from syncd.intake.admit import Outlet, Policy
from syncd.intake.backfill import KIND, Progress, Range, dry_run, open_job, run_backfill
from syncd.store import Store
from syncd.store.jobs import Job
from syncd.store.schema import deliveries, signals
from syncd.testing.hostile import HostileSource

POLICY = Policy({"custom": {"*": True}}, (Outlet("crm"),))
WANTED = Range(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
PAGES = [[1, 2], [2, 3], [4], [5, 1]]
TTL = timedelta(seconds=60)


def stored(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(signals)).scalar_one()


def run(store: Store, source: HostileSource, *, restart: bool = False, **options: object) -> tuple[Progress, Job]:
    job = open_job(store, "inbox", WANTED, restart=restart)
    claimed = store.jobs.claim(TTL, kinds=[KIND], id=job.id)
    assert claimed is not None
    progress = run_backfill(*claimed, source, store, lambda: POLICY, **options)  # type: ignore[arg-type]
    settled = store.jobs.get(job.id)
    assert settled is not None
    return progress, settled


def test_a_whole_backfill(store: Store) -> None:
    told: list[Progress] = []
    progress, job = run(store, HostileSource(PAGES), told=told.append)
    assert (progress.batches, progress.read, progress.new, progress.repeats) == (4, 7, 5, 2)
    assert (job.state, job.progress["new"], stored(store)) == ("done", 5, 5)
    assert [step.batches for step in told[:4]] == [1, 2, 3, 4]
    assert store.cursors.read("inbox") is None  # the poll's cursor is not touched
    with store.read() as connection:
        starts = set(connection.execute(select(deliveries.c.live, deliveries.c.old, deliveries.c.priority)))
    assert starts == {(False, True, 1)}


def test_stopped_and_resumed_where_it_stood(store: Store) -> None:
    stop = threading.Event()
    stop.set()
    _, job = run(store, HostileSource(PAGES), stop=stop)
    assert (job.state, job.cursor) == ("stopped", b"1")
    source = HostileSource(PAGES)
    progress, again = run(store, source)
    assert (again.id, again.state, source.read) == (job.id, "done", [1, 2, 3])
    assert (progress.read, progress.new, progress.repeats) == (7, 5, 2)


def test_restart_begins_again_and_doubles_nothing(store: Store) -> None:
    stop = threading.Event()
    stop.set()
    run(store, HostileSource(PAGES), stop=stop)
    source = HostileSource(PAGES)
    progress, _ = run(store, source, restart=True)
    assert (source.read, progress.new, progress.repeats, stored(store)) == ([0, 1, 2, 3], 3, 4, 5)


def test_a_daemon_that_ends_leaves_the_job_to_the_next(store: Store) -> None:
    stop = threading.Event()
    stop.set()
    _, job = run(store, HostileSource(PAGES), stop=stop, leave_open=True)
    assert job.state == "waiting"
    assert store.jobs.claim(TTL, kinds=[KIND]) is not None


@pytest.mark.parametrize("kill_at", range(1, 9))
def test_killed_anywhere_it_reads_at_most_one_batch_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    class Killed(BaseException):
        pass

    steps = iter(range(1, 100))

    def step(*_: object) -> None:
        if next(steps) == kill_at:
            raise Killed

    first = HostileSource(PAGES)
    with monkeypatch.context() as patch:
        patch.setattr(backfill, "point", step)
        with pytest.raises(Killed):
            run(store, first, told=step)
    second = HostileSource(PAGES)
    _, job = run(store, second)
    assert (job.state, stored(store)) == ("done", 5)
    assert len(set(first.read) & set(second.read)) <= 1


def test_short_pauses_are_sat_out_and_long_ones_end_the_run(store: Store) -> None:
    pauses: list[float] = []
    source = HostileSource(PAGES, failures={2: RateLimited("slow", retry_after=7)})
    _, job = run(store, source, pause=lambda stop, seconds: pauses.append(seconds))
    assert (job.state, pauses, source.read) == ("done", [7.0], [0, 1, 2, 3])
    source = HostileSource([[9]], failures={0: RateLimited("slow", retry_after=4000)})
    failed, job = run(store, source)
    assert (job.state, "go on after" in failed.error) == ("failed", True)


@pytest.mark.parametrize("failure", [Transient("reset"), Misconfigured("scope"), ZeroDivisionError("bug")])
def test_a_failure_ends_the_job_with_its_reason_and_it_goes_on_later(store: Store, failure: Exception) -> None:
    source = HostileSource(PAGES, failures={2: failure})
    progress, job = run(store, source)
    assert (job.state, job.cursor, job.progress["error"]) == ("failed", b"2", progress.error)
    assert str(failure) in progress.error
    _, job = run(store, source)
    assert (job.state, source.read, stored(store)) == ("done", [0, 1, 2, 3], 5)


def test_a_job_stopped_by_somebody_ends(store: Store) -> None:
    _, job = run(
        store, HostileSource(PAGES), told=lambda progress: store.jobs.stop(store.jobs.list(kinds=[KIND])[0].id)
    )
    assert (job.state, job.cursor) == ("stopped", b"1")


def test_a_dry_run_counts_and_touches_nothing(store: Store) -> None:
    run(store, HostileSource([[1, 2]]))
    before = stored(store)
    progress = dry_run("inbox", HostileSource(PAGES), store, POLICY, WANTED)
    assert (progress.read, progress.new, progress.repeats) == (7, 3, 4)
    assert stored(store) == before
    assert len(store.jobs.list()) == 1
