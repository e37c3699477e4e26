"""A clock that is set is told from one that runs; rests and doubts are spans, and move along."""

from __future__ import annotations

import pytest

from syncd.dispatch.pacing import Pace, moved
from syncd.runtime.clock_jumps import ClockStepDetector


@pytest.mark.parametrize(("step", "found"), [(0, 0), (1.5, 0), (-1.5, 0), (3600, 3600), (-3600, -3600)])
def test_only_a_step_counts_and_only_once(step: float, found: float) -> None:
    wall, steady = [1_000_000.0], [50.0]
    jumps = ClockStepDetector(lambda: wall[0], lambda: steady[0])
    for passes in (0.0, 5.0, 86_400.0):
        wall[0] += passes
        steady[0] += passes
        assert jumps.step_seconds() == 0
    wall[0] += step
    assert jumps.step_seconds() == found
    assert jumps.step_seconds() == 0


def test_a_rest_is_as_long_after_the_clock_was_set_back() -> None:
    now, back = 10_000_000, -3_600_000
    rests = Pace(paused_until=now - back + 30_000, held={"rule": (now - back + 60_000, "no such field")})
    assert moved(rests, back, now) == Pace(paused_until=now + 30_000, held={"rule": (now + 60_000, "no such field")})


def test_what_is_over_stays_over_and_ahead_changes_nothing() -> None:
    now = 10_000_000
    assert moved(Pace(paused_until=now - 5), -3_600_000, now) == Pace(paused_until=now - 5)
    assert moved(Pace(paused_until=now + 5), 3_600_000, now) == Pace(paused_until=now + 5)
