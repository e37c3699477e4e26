"""Retry, breaker, pauses and budget as pure decisions: whatever the numbers, never sooner and never more than allowed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from syncd.config.models import Quota, Retry
from syncd.connector import Allowance
from syncd.dispatch import pacing
from syncd.dispatch.pacing import DAY, HOUR, Pace

NOW = 1_772_442_000_000
chances = st.floats(0, 1, exclude_max=True)
schedules = st.lists(st.integers(0, 200_000), min_size=1, max_size=10).map(
    lambda seconds: Retry(schedule=tuple(timedelta(seconds=s) for s in seconds))
)


@given(schedules, st.integers(0, 12), chances, st.integers(-HOUR, DAY), st.booleans())
def test_a_retry_is_never_early_and_ends(retry: Retry, attempts: int, chance: float, ahead: int, known: bool) -> None:
    due = pacing.next_try(retry, attempts, NOW, lambda: chance, floor=NOW + ahead, known=known)
    cap = len(retry.schedule) if known else min(pacing.UNKNOWN_TRIES, len(retry.schedule))
    assert (due is None) == (attempts >= cap)
    if due is not None:
        wait = round(retry.schedule[attempts].total_seconds() * 1000)
        least = max(NOW + wait, NOW + ahead)
        assert least <= due <= least + 0.2 * (least - NOW) + 1


@given(st.lists(st.sampled_from(["fail", "ok", "slow", "rest"]), max_size=60), chances)
def test_the_breaker_opens_after_five_and_closes_with_one(events: list[str], chance: float) -> None:
    pace, now, row = Pace(), NOW, 0
    for event in events:
        if pace.paused(now):
            now = pace.paused_until
        if event == "fail":
            before, row = pace, row + 1
            pace = pacing.failed(pace, now, "down")
            assert pace.paused(now) == (row >= pacing.BREAKER_OPENS_AT)
            assert pace.paused_until - now <= pacing.BREAKER_RESTS[-1]
            assert pace.opened >= before.opened
        elif event == "ok":
            pace, row = pacing.succeeded(pace), 0
            assert pace.breaker(now) == "closed"
        elif event == "slow":
            pace = pacing.throttled(pace, now, None, lambda: chance, "slow")
            assert pace.paused(now)
        assert pace.probing() == (row >= pacing.BREAKER_OPENS_AT)


@given(st.floats(0, 1e6), chances, st.integers(0, DAY))
def test_retry_after_is_a_floor_and_a_longer_pause_stands(seconds: float, chance: float, other: int) -> None:
    paused = pacing.pause(Pace(), NOW + other, "before")
    pace = pacing.throttled(paused, NOW, seconds, lambda: chance, "slow")
    assert pace.paused_until >= NOW + seconds * 1000 or pace.paused_until == paused.paused_until >= NOW + seconds * 1000
    assert pace.paused_until >= paused.paused_until


@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(0.5, 30)), max_size=60),
    st.integers(1, 200),
    st.integers(0, 59),
)
def test_no_24_hours_ever_cost_more_than_the_quota(wishes: list[tuple[int, float]], calls: int, minute: int) -> None:
    """Spends whatever the budget allows, at any times, and looks back over every 24 hours."""
    rows: dict[int, float] = {}
    spent: list[tuple[int, float]] = []
    now = NOW + minute * 60_000
    for hours, units in wishes:
        now += hours * HOUR // 7
        left = pacing.budget(Quota(calls=calls), None, rows.items(), now)
        if units <= left.left:
            rows[pacing.hour_of(now)] = rows.get(pacing.hour_of(now), 0.0) + units
            spent.append((now, units))
        else:
            assert left.until > now
            assert left.reason
    for end, _ in spent:
        assert sum(units for at, units in spent if end - DAY < at <= end) <= calls + 1e-6


@given(st.floats(0, 20_000), st.floats(0.01, 1), st.floats(0, 10_000))
def test_a_share_is_of_what_the_account_may_and_five_percent_stay(used: float, share: float, ours: float) -> None:
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    allowance = Allowance("calls", used=used, maximum=10_000, as_of=at)
    rows = [(pacing.hour_of(NOW), ours)]
    left = pacing.budget(Quota(share=share), allowance, rows, NOW).left
    assert left <= max(0.0, share * 10_000 - ours) + 1e-6
    assert left <= max(0.0, 9_500 - used) + 1e-6
    assert pacing.budget(None, None, rows, NOW).left == float("inf")
    assert pacing.budget(Quota(share=share), None, rows, NOW).left == float("inf")


def test_what_left_the_window_counts_no_more() -> None:
    rows = [(NOW - NOW % HOUR - 25 * HOUR, 100.0), (NOW - NOW % HOUR - 24 * HOUR, 10.0), (NOW - NOW % HOUR, 1.0)]
    assert pacing.spent(rows, NOW) == 11.0


def test_a_reload_ends_only_what_was_misconfigured() -> None:
    slow = pacing.throttled(Pace(), NOW, 60.0, lambda: 0.0, "slow")
    assert pacing.resumed(slow).paused(NOW)
    wrong = pacing.pause(Pace(held={"r": (NOW + HOUR, "no field")}), NOW + HOUR, "no scope", stopped=True)
    assert pacing.resumed(wrong) == Pace()
