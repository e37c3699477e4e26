"""How long deliveries wait to be sent together."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.dispatch.gathering import LONGEST, automatic, goes_at, noted, per_day
from syncd.dispatch.pacing import DAY, HOUR, SECOND, Pace
from syncd.store.queue import DueDelivery

NOW = 20_000 * DAY + 5 * HOUR


@pytest.mark.parametrize(
    ("left", "a_day", "seconds"),
    [
        (math.inf, 1000.0, 0),
        (1000.0, 0.0, 0),
        (100_000.0, 1000.0, 0),
        (10_000.0, 1000.0, 0),
        (5_500.0, 1000.0, 30),
        (1_000.0, 1000.0, 60),
        (0.0, 1000.0, 60),
        (-5.0, 1000.0, 60),
    ],
)
def test_the_scarcer_the_allowance_the_longer_the_wait(left: float, a_day: float, seconds: int) -> None:
    assert automatic(left, a_day) == seconds * SECOND


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e5))
def test_less_left_never_waits_shorter(one: float, other: float, a_day: float) -> None:
    less, more = sorted((one, other))
    assert 0 <= automatic(more, a_day) <= automatic(less, a_day) <= LONGEST


def test_a_burst_is_not_extrapolated_to_a_day() -> None:
    assert per_day([], NOW) == 0
    assert per_day([(NOW - HOUR, 10.0)], NOW) == 10
    assert per_day([(NOW - 30 * HOUR, 1e6), (NOW - 2 * HOUR, 10.0), (NOW, 2.0)], NOW) == 12


def at(age: float, type: str = "email.received", *, live: bool = True) -> DueDelivery:
    return DueDelivery(NOW - round(age * SECOND), live, type)


def going(*due: DueDelivery, full: int = 5, most: float = 30, urgent: float = 2) -> float:
    """Seconds until they go."""
    when = goes_at(due, full, round(most * SECOND), round(urgent * SECOND), lambda type: type == "call.missed")
    return (when - NOW) / SECOND if when else 0.0


def test_the_oldest_decides() -> None:
    assert going(at(10), at(1)) == 20


def test_a_call_to_action_waits_two_seconds_at_most() -> None:
    assert going(at(10), at(0.5, "call.missed")) == 1.5
    assert going(at(0), at(0, "call.missed"), most=1) == 1
    assert going(at(0.5, "call.missed", live=False)) == 29.5, "a past one calls nobody"


def test_a_whole_batch_goes_at_once() -> None:
    assert going(*[at(0)] * 5) == 0
    assert going(*[at(0)] * 4) == 30


def test_what_waiting_brought_is_counted_by_the_day() -> None:
    pace = noted(noted(Pace(), 30_000, 12, NOW), 30_000, 8, NOW)
    assert (pace.gathers, pace.gathered) == (30_000, (20_000, 20, 2))
    later = noted(pace, 10_000, 3, NOW + DAY)
    assert (later.gathers, later.gathered) == (10_000, (20_001, 3, 1))
    assert noted(later, 0, 3, NOW + DAY).gathers == 0
    assert noted(Pace(), 0, 5, NOW) is not None
    assert noted(Pace(), 0, 5, NOW) == Pace()
