"""The balance sheet for whoever asks often."""

from __future__ import annotations

import pytest

from syncd.store.balance import REST, BalanceRow, BalanceSheet
from syncd.store.journal.entries import StoreUnavailable


class Counting:
    """Counts in so many seconds of a clock that only it moves."""

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.now = 1000.0
        self.times = 0
        self.fault: Exception | None = None

    def __call__(self) -> list[BalanceRow]:
        if self.fault is not None:
            raise self.fault
        self.now += self.takes
        self.times += 1
        return [BalanceRow("crm", "email", signals=self.times)]

    def clock(self) -> float:
        return self.now


def test_what_is_counted_quickly_is_counted_each_time() -> None:
    counting = Counting(takes=0.01)
    books = BalanceSheet(counting, counting.clock)
    assert [books.lines()[0].signals for _ in range(3)] == [1, 2, 3]
    assert books.age == pytest.approx(0.01)


def test_what_takes_long_is_told_again_for_a_while() -> None:
    counting = Counting(takes=0.5)
    books = BalanceSheet(counting, counting.clock)
    assert books.age == 0
    assert [books.lines()[0].signals for _ in range(3)] == [1, 1, 1]
    counting.now += 0.5 * REST - 1
    assert books.lines()[0].signals == 1
    assert books.age == pytest.approx(0.5 * REST - 0.5)
    counting.now += 1
    assert books.lines()[0].signals == 2


def test_a_store_that_cannot_be_read_is_asked_again() -> None:
    counting = Counting(takes=0.5)
    books = BalanceSheet(counting, counting.clock)
    counting.fault = StoreUnavailable("down")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            books.lines()
    counting.fault = None
    assert books.lines()[0].signals == 1
