"""The conformance kit on connectors that never end: it stops them by the number of batches, and says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from syncd.connector import Batch, Hint
from syncd.testing import BackfillConformance, PollingConformance, Vendor
from syncd.testing.hostile import page
from syncd.testing.ledger import SourceLedger

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
Pages = Callable[[int], Iterator[Batch]]


class Endless:
    """Its pages are those of a function of the cursor."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def start(self, now: datetime) -> bytes:
        return b"0"

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return self._pages(int(state))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        return self._pages(int(state or b"0"))


def token_not_passed_on(at: int) -> Iterator[Batch]:
    while True:
        yield page([1, 2], b"1")


def no_state(at: int) -> Iterator[Batch]:
    while True:
        yield page([1, 2])


def last_page_not_noticed(at: int) -> Iterator[Batch]:
    for number in count(at + 1):
        yield page([1, 2], str(number).encode())


def ids_of_a_counter(at: int) -> Iterator[Batch]:
    for number in count(at + 1):
        yield page([number], str(number).encode())


def forgets_the_page_when_it_dies(at: int) -> Iterator[Batch]:
    yield page([1], b"0")
    yield page([2], b"2")


WAYS: tuple[Callable[[SourceLedger], Any], ...] = (
    lambda ledger: ledger.poll(),
    lambda ledger: ledger.poll(restart=True),
    lambda ledger: ledger.backfill(NOW, NOW),
    lambda ledger: ledger.backfill(NOW, NOW, restart=True),
)


@pytest.mark.parametrize("way", WAYS, ids=["poll", "poll restarted", "backfill", "backfill restarted"])
@pytest.mark.parametrize(
    ("pages", "says"),
    [
        (token_not_passed_on, "the cursor does not move on"),
        (no_state, "carry no state"),
        (last_page_not_noticed, "the same events are read again and again"),
        (ids_of_a_counter, "is the id made of the vendor's own id"),
    ],
)
def test_the_cause_is_named(way: Callable[[SourceLedger], Any], pages: Pages, says: str) -> None:
    ledger = SourceLedger(connect=lambda: Endless(pages))
    ledger.start()
    with pytest.raises(AssertionError, match=says):
        way(ledger)


def test_one_that_ends_only_when_nobody_stops_it() -> None:
    ledger = SourceLedger(connect=lambda: Endless(forgets_the_page_when_it_dies))
    ledger.start()
    assert len(ledger.poll()) == 2
    ledger.start()
    with pytest.raises(AssertionError, match=r"restarted after each batch .* the cursor does not move on"):
        ledger.poll(restart=True)


def test_empty_pages_and_pages_of_hints_are_no_loop() -> None:
    def long(at: int) -> Iterator[Batch]:
        for number in range(at + 1, 500):
            yield Batch(hints=[Hint(key=str(number))]) if number % 2 else Batch(state=str(number).encode())

    ledger = SourceLedger(connect=lambda: Endless(long))
    ledger.start()
    ledger.poll()
    assert len(ledger.hints) == 250


def test_the_suites_say_so() -> None:
    ledger = SourceLedger(connect=lambda: Endless(token_not_passed_on))
    with pytest.raises(AssertionError, match="the cursor does not move on"):
        PollingConformance().test_pages_are_all_read(ledger, Vendor())
    with pytest.raises(AssertionError, match="the cursor does not move on"):
        BackfillConformance().test_the_range_is_kept(ledger, Vendor())
