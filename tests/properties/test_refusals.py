"""However a refused secret is tried, by whomever and whenever: the account is not locked, and nobody waits who need not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import Misconfigured, Transient
from syncd.http.lockout import MOST, WINDOW, LoginBackoff, MemoryRefusals, retry_at
from tests.mails import MOMENT

WRONG = ("imap", "h", "993", "u", "wrong")
RIGHT = (*WRONG[:-1], "right")


class Clock:
    def __init__(self) -> None:
        self.now = MOMENT

    def __call__(self) -> datetime:
        return self.now


def refused(refusals: LoginBackoff, credentials: tuple[str, ...] = WRONG) -> None:
    with refusals.attempt(*credentials):
        raise Misconfigured("the server says: no", code="AUTHENTICATIONFAILED")


STEPS = st.lists(st.tuples(st.sampled_from(["try", "restart", "reload", "other"]), st.integers(0, 5000)), max_size=60)


@given(STEPS)
def test_a_secret_is_tried_once_an_hour_by_itself_and_three_times_at_most(steps: list[tuple[str, int]]) -> None:
    clock, book = Clock(), MemoryRefusals()
    refusals = LoginBackoff(book, clock)
    tries: list[tuple[datetime, bool]] = []
    asked = False
    for what, seconds in steps:
        clock.now += timedelta(seconds=seconds)
        if what in ("restart", "other"):  # another process on the same book
            refusals, asked = LoginBackoff(book, clock), False
        elif what == "reload":
            refusals.bypass()
            asked = True
        with pytest.raises(Misconfigured) as caught:
            refused(refusals)
        if caught.value.code != "refused_before":
            tries.append((clock.now, asked))
            asked = False
        else:
            assert caught.value.until is not None
            assert clock.now < caught.value.until <= clock.now + WINDOW
            assert f"before {caught.value.until:%H:%M} UTC" in caught.value.message
    for at, _ in tries:
        assert sum(at - WINDOW < other <= at for other, _ in tries) <= MOST
    for (before, _), (after, by_hand) in pairwise(tries):
        assert by_hand or after - before >= WINDOW - timedelta(milliseconds=1)


@given(st.lists(st.integers(-7200, 7200), max_size=8), st.none() | st.integers(-7200, 7200))
def test_when_it_is_free_it_is(seconds: list[int], asked: int | None) -> None:
    moments = {MOMENT + timedelta(seconds=each): "no" for each in seconds}
    wished = MOMENT + timedelta(seconds=asked) if asked is not None else None
    again = retry_at(moments, MOMENT, wished)
    if again is not None:
        past = {moment: said for moment, said in moments.items() if moment <= MOMENT}
        assert MOMENT < again <= MOMENT + WINDOW
        assert retry_at(past, again, wished) is None


def test_another_secret_is_tried_at_once_and_success_forgives() -> None:
    clock = Clock()
    refusals = LoginBackoff(clock=clock)
    with suppress(Misconfigured):
        refused(refusals)
    clock.now += timedelta(seconds=1)
    with pytest.raises(Misconfigured, match="not tried again before"):
        refusals.check(*WRONG)
    refusals.check(*RIGHT)
    with refusals.bypass().attempt(*WRONG):
        pass  # mended at the host
    refusals.check(*WRONG)


def test_a_host_that_is_away_refuses_nobody() -> None:
    refusals = LoginBackoff(clock=lambda: MOMENT)
    with pytest.raises(Transient), refusals.attempt(*WRONG):
        raise Transient("the connection was lost")
    refusals.check(*WRONG)


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    clock = Clock()
    refusals = LoginBackoff(clock=clock)
    with suppress(Misconfigured):
        refused(refusals)
    clock.now -= timedelta(days=1)
    refusals.check(*WRONG)


def test_of_many_at_once_one_tries() -> None:
    refusals, tried, together = LoginBackoff(), [], threading.Barrier(8)

    def one() -> None:
        together.wait(20)
        with suppress(Misconfigured), refusals.attempt(*WRONG):
            tried.append(1)
            raise Misconfigured("no")

    threads = [threading.Thread(target=one) for _ in range(8)]
    run: Callable[[threading.Thread], None]
    for run in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            run(thread)
    assert len(tried) == 1
