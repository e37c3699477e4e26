"""Backfills as jobs on a real store: resumed where they stopped, nothing doubled, dry runs that touch nothing."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import func, select

from syncd.connector import Batch
from syncd.errors import Ambiguous, Failure, Misconfigured, QuotaExhausted, RateLimited, Rejected, Transient
from syncd.intake import backfill
from syncd.intake.admit import DeliveryTarget, Policy
from syncd.intake.backfill import (
    KIND,
    LONGEST_WAIT,
    TRIES,
    BackfillProgress,
    Range,
    dry_run,
    open_job,
    rest_of,
    run_backfill,
    wait_for,
)
from syncd.store import Store
from syncd.store.jobs import Job
from syncd.store.schema import deliveries, signals
from syncd.testing.hostile import HostileSource

POLICY = Policy({"custom": {"*": True}}, (DeliveryTarget("crm"),))
WANTED = Range(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
PAGES = [[1, 2], [2, 3], [4], [5, 1]]
TTL = timedelta(seconds=60)


def stored(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(signals)).scalar_one()


def run(
    store: Store, source: HostileSource, *, restart: bool = False, **options: object
) -> tuple[BackfillProgress, Job]:
    job = open_job(store, "inbox", WANTED, restart=restart)
    claimed = store.jobs.claim(TTL, kinds=[KIND], id=job.id)
    assert claimed is not None
    progress = run_backfill(*claimed, source, store, lambda: POLICY, **options)  # type: ignore[arg-type]
    settled = store.jobs.get(job.id)
    assert settled is not None
    return progress, settled


def test_a_whole_backfill(store: Store) -> None:
    told: list[BackfillProgress] = []
    progress, job = run(store, HostileSource(PAGES), told=told.append)
    assert (progress.batches, progress.read, progress.new, progress.repeats) == (4, 7, 5, 2)
    assert (job.state, job.progress["new"], stored(store)) == ("done", 5, 5)
    assert [step.batches for step in told[:4]] == [1, 2, 3, 4]
    assert store.cursors.read("inbox") is None  # the poll's cursor is not touched
    with store.read() as connection:
        starts = set(connection.execute(select(deliveries.c.live, deliveries.c.old, deliveries.c.priority)))
    assert starts == {(False, True, 1)}


class Openings(HostileSource):
    """Each signal is one opening of the same email."""

    def backfill(self, since: datetime, until: datetime, cursor: bytes | None = None) -> Iterator[Batch]:
        for batch in super().backfill(since, until, cursor):
            one = [structs.replace(signal, id=UUID(int=1), repeat=f"opening {signal.id}") for signal in batch.signals]
            yield dataclasses.replace(batch, signals=one)


def test_events_that_are_counted_are_not_called_known(store: Store) -> None:
    progress, job = run(store, Openings(PAGES))
    assert (progress.new, progress.of_known(), job.progress["counted"], stored(store)) == (
        1,
        "2 known, 4 counted",
        4,
        1,
    )
    progress, _ = run(store, Openings([*PAGES, [6]]))
    assert (progress.new, progress.of_known()) == (0, "7 known, 1 counted")
    assert run(store, Openings(PAGES))[0].of_known() == "7 known"


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
    assert (job.state, "continue after" in failed.error) == ("failed", True)


def test_what_passes_is_sat_out_and_reading_goes_on_from_the_cursor(store: Store) -> None:
    pauses: list[float] = []
    told: list[BackfillProgress] = []
    failures: dict[int, Exception] = {1: Transient("reset", code="503"), 2: Ambiguous("no answer")}
    source = HostileSource(PAGES, failures=failures)
    progress, job = run(store, source, told=told.append, pause=lambda stop, seconds: pauses.append(seconds))
    assert (job.state, pauses, source.read, stored(store)) == ("done", [30.0, 30.0], [0, 1, 2, 3], 5)
    waits = [step.waits for step in told]
    assert [bool(one) for one in waits] == [False, True, False, True, False, False, False]
    assert waits[1].startswith("until 20")
    assert waits[1].endswith(": Transient: 503: reset")
    assert (progress.waits, progress.error) == ("", "")


def test_what_does_not_pass_ends_the_job_and_is_shown_while_it_waits(store: Store) -> None:
    class Down(HostileSource):
        def _from(self, first: int) -> Iterator[Batch]:
            self.failures = {1: Transient("down")}
            return super()._from(first)

    pauses: list[float] = []
    shown: list[str] = []

    def pause(stop: threading.Event, seconds: float) -> None:
        pauses.append(seconds)
        shown.append(store.jobs.list(kinds=[KIND])[0].progress["waits"])

    progress, job = run(store, Down(PAGES), pause=pause)
    assert (job.state, job.cursor, job.progress["waits"]) == ("failed", b"1", "")
    assert progress.error == f"Transient: down; {TRIES} tries in a row, and it did not get better"
    assert pauses == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]
    assert all("Transient: down" in one for one in shown)


def test_a_job_stopped_while_it_waits_ends(store: Store) -> None:
    source = HostileSource(PAGES, failures={1: Transient("reset")})
    _, job = run(store, source, pause=lambda stop, seconds: store.jobs.stop(store.jobs.list(kinds=[KIND])[0].id))
    assert (job.state, job.cursor, source.read) == ("stopped", b"1", [0])


@given(
    failures=st.integers(0, TRIES + 3),
    error=st.one_of(
        st.builds(Transient),
        st.builds(Ambiguous),
        st.builds(RateLimited, retry_after=st.none() | st.floats(-10, 10_000)),
        st.builds(QuotaExhausted, resets_at=st.none() | st.datetimes(timezones=st.just(UTC))),
    ),
)
def test_a_wait_is_bounded_and_no_shorter_than_what_was_asked_for(failures: int, error: Failure) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    try:
        wait = wait_for(error, failures, now)
    except Failure:
        if failures + 1 < TRIES:  # then the vendor asks for too long a wait
            assert isinstance(error, RateLimited | QuotaExhausted)
            with pytest.raises(Failure, match="continue after"):
                rest_of(error, now)
        return
    assert failures + 1 < TRIES
    assert timedelta(0) < wait <= LONGEST_WAIT
    if isinstance(error, RateLimited | QuotaExhausted):
        assert wait >= rest_of(error, now)


@pytest.mark.parametrize("failure", [Rejected("gone"), Misconfigured("scope"), ZeroDivisionError("bug")])
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
