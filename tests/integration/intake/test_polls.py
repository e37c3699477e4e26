"""Polls on a real store: every batch with its cursor, a restart between any two steps, failures by class, one poller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select

from syncd.errors import AuthExpired, Failure, Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.intake import polls
from syncd.intake.admit import DeliveryTarget, Policy
from syncd.intake.polls import Poll, PollResult, setback
from syncd.service.status import gather
from syncd.store import Store
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.schema import signals
from syncd.testing.hostile import GENESIS, HostileSource, backwards, duplicates, flood

POLICY = Policy({"custom": {"*": True}}, (DeliveryTarget("crm"),))
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PAGES = [[1, 2], [3], [], [4, 5]]


def poll_of(
    store: Store, source: HostileSource, policy: Policy = POLICY, clock: Callable[[], datetime] = lambda: NOW
) -> Poll:
    return Poll("inbox", source, store, lambda: policy, clock=clock)


def stored(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(signals)).scalar_one()


def test_every_batch_and_its_cursor_are_durable(store: Store) -> None:
    polled = poll_of(store, HostileSource(PAGES)).run()
    assert (polled.ended, polled.batches, polled.new, stored(store)) == (PollResult.OK, 4, 5, 5)
    assert store.cursors.read("inbox") == b"4"
    assert store.sources.health("inbox").last_ok_at == NOW
    again = poll_of(store, HostileSource([*PAGES, [6]])).run()
    assert (again.batches, again.new) == (1, 1)


def test_a_first_start_says_that_the_past_is_history(store: Store) -> None:
    settings = SimpleNamespace(sources={"inbox": SimpleNamespace(type="hostile")}, destinations={})
    assert gather(store, settings).notes == []
    poll_of(store, HostileSource(PAGES), clock=store.clock).run()
    (note,) = gather(store, settings).notes
    assert "syncd backfill inbox --since 30d" in note
    store.jobs.create("backfill", "inbox", {})
    assert gather(store, settings).notes == []


@pytest.mark.parametrize(("source", "count"), [(duplicates(), 5), (backwards(), 6), (flood(3000), 3000)])
def test_hostile_pages_give_each_event_once(store: Store, source: HostileSource, count: int) -> None:
    polled = poll_of(store, source).run()
    assert (polled.ended, polled.new, stored(store)) == (PollResult.OK, count, count)


class Killed(BaseException):
    """Ends the code like a kill would: no handler of ours catches it."""


def test_a_restart_between_any_two_steps_loses_and_doubles_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps: the start, each fetch, each commit (before and after it)."""
    for kill_at in range(1, 30):
        source = HostileSource([[kill_at * 100 + n for n in page] for page in PAGES])
        name = f"inbox-{kill_at}"
        steps = iter(range(1, 1000))

        def step(*_: object, kill_at: int = kill_at, steps: object = steps) -> None:
            if next(steps) == kill_at:  # type: ignore[call-overload]
                raise Killed

        commit = store.journal.commit
        with monkeypatch.context() as patch:
            patch.setattr(polls, "point", step)

            def chaotic(entry: object, commit: object = commit, step: Callable[[], None] = step) -> object:
                step()
                done = commit(entry)  # type: ignore[operator]
                step()
                return done

            patch.setattr(store.journal, "commit", chaotic)
            start = source.start
            patch.setattr(source, "start", lambda now, start=start, step=step: (step(), start(now))[1])
            try:
                Poll(name, source, store, lambda: POLICY, clock=lambda: NOW).run()
                finished = True
            except Killed:
                finished = False
        before = stored(store)
        polled = Poll(name, HostileSource(source.pages), store, lambda: POLICY, clock=lambda: NOW).run()
        assert polled.ended is PollResult.OK
        assert store.cursors.read(name) == b"4"
        assert stored(store) == kill_at * 5, (kill_at, before)
        if finished:
            return
    raise AssertionError("the poll never got to its end")


@pytest.mark.parametrize(
    ("failure", "counted", "pause"),
    [
        (Transient("busy"), 1, timedelta(seconds=30)),
        (RateLimited("slow", retry_after=90), 0, timedelta(seconds=90)),
        (QuotaExhausted("gone", resets_at=NOW + timedelta(hours=3)), 0, timedelta(hours=3)),
        (Misconfigured("no such folder"), 1, timedelta(hours=1)),
        (AuthExpired("refused"), 1, timedelta(hours=1)),
        (ZeroDivisionError("bug"), 1, timedelta(seconds=30)),
    ],
)
def test_a_failure_pauses_by_its_class(store: Store, failure: Exception, counted: int, pause: timedelta) -> None:
    source = HostileSource(PAGES, failures={1: failure})
    poll = poll_of(store, source)
    polled = poll.run()
    assert (polled.ended, polled.new, polled.not_before) == (PollResult.FAILED, 2, NOW + pause)
    assert store.cursors.read("inbox") == b"1"
    health = store.sources.health("inbox")
    assert (health.failures, health.next_at) == (counted, NOW + pause)
    assert str(failure) in health.error
    assert poll.run().ended is PollResult.TOO_EARLY
    later = poll_of(store, source, clock=lambda: NOW + pause).run()
    assert (later.ended, stored(store)) == (PollResult.OK, 5)
    assert store.sources.health("inbox").error == ""


def test_a_start_that_fails_starts_next_time(store: Store) -> None:
    source = HostileSource(PAGES, start_failure=Transient("not up yet"))
    assert poll_of(store, source).run().ended is PollResult.FAILED
    assert store.cursors.read("inbox") is None
    assert poll_of(store, source).run(forced=True).ended is PollResult.OK
    assert source.started == 2


@pytest.mark.parametrize(
    ("failure", "ended"),
    [
        (Misconfigured("wrong password"), PollResult.OK),
        (AuthExpired("refused"), PollResult.OK),
        (RateLimited("slow", retry_after=90), PollResult.TOO_EARLY),
        (Transient("busy"), PollResult.TOO_EARLY),
    ],
)
def test_a_restart_tries_at_once_what_a_person_may_have_mended(
    store: Store, failure: Exception, ended: PollResult
) -> None:
    source = HostileSource(PAGES, failures={0: failure})
    poll_of(store, source).run()
    assert poll_of(store, source).run().ended is ended


def test_forgiven_sources_do_not_wait(store: Store) -> None:
    poll = poll_of(store, HostileSource(PAGES, failures={0: Misconfigured("x")}))
    poll.run()
    assert poll.run().ended is PollResult.TOO_EARLY
    poll.clear_backoff()
    assert poll.run().ended is PollResult.OK


def test_stop_ends_between_two_batches(store: Store) -> None:
    stop = threading.Event()
    stop.set()
    polled = poll_of(store, HostileSource(PAGES)).run(stop)
    assert (polled.ended, polled.batches, store.cursors.read("inbox")) == (PollResult.STOPPED, 1, b"1")


def test_one_source_is_polled_once_at_a_time(store: Store) -> None:
    gate = threading.Event()
    slow = HostileSource(PAGES, gates={0: gate})
    thread = threading.Thread(target=lambda: poll_of(store, slow).run())
    thread.start()
    assert slow.reached.wait(10)
    assert poll_of(store, HostileSource(PAGES)).run().ended is PollResult.ELSEWHERE
    gate.set()
    thread.join(10)
    assert stored(store) == 5


def test_a_stalled_poller_commits_nothing_late(store: Store) -> None:
    """Its lease is given away while it hangs: its late batch is refused."""
    gate = threading.Event()
    slow = HostileSource(PAGES, gates={1: gate})
    results: list[PollResult] = []
    thread = threading.Thread(target=lambda: results.append(poll_of(store, slow).run().ended))
    thread.start()
    assert slow.reached.wait(10)
    while slow.read != [0]:
        threading.Event().wait(0.005)
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM leases")
    assert poll_of(store, HostileSource(PAGES)).run().ended is PollResult.OK
    gate.set()
    thread.join(10)
    assert results == [PollResult.ELSEWHERE]
    assert (stored(store), store.cursors.read("inbox")) == (5, b"4")


def test_a_switch_takes_effect_in_mid_poll(store: Store) -> None:
    policies = [POLICY, Policy({})]
    poll = Poll("inbox", HostileSource(PAGES), store, lambda: policies[min(stored(store), 1)], clock=lambda: NOW)
    assert (poll.run().new, store.cursors.read("inbox")) == (2, b"4")


def test_a_store_that_cannot_commit_fails_the_poll(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(entry: object) -> None:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(store.journal, "commit", full)
    polled = poll_of(store, HostileSource(PAGES)).run()
    assert (polled.ended, polled.error) == (PollResult.FAILED, "disk full")


@pytest.mark.parametrize("failures", range(12))
def test_pauses_grow_to_a_limit(failures: int) -> None:
    back = setback(Transient("x"), failures, GENESIS)
    assert timedelta(seconds=30) <= back.pause <= timedelta(minutes=30)
    assert back.pause >= setback(Transient("x"), max(failures - 1, 0), GENESIS).pause
    assert not setback(RateLimited(retry_after=1), failures, GENESIS).counts
    assert setback(Failure("unknown"), failures, GENESIS).counts
