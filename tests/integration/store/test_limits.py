"""A vendor account's bucket and allowance in the database: machines share them, and the decision is that of the pure rule."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from syncd.http.limits import LastAllowance, MemoryRates, Rate, SourceLimits, daily
from syncd.store import Store

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
MINUTE = Rate(6, timedelta(minutes=1))


def test_two_machines_take_from_one_bucket(store: Store, store_url: str) -> None:
    with Store.open(store_url) as other:
        books = [store.rates, other.rates]
        assert [books[n % 2].take("a", 1, MINUTE, NOW) for n in range(6)] == [0.0] * 6
        assert books[0].take("a", 1, MINUTE, NOW) == pytest.approx(10)
        assert books[1].take("b", 6, MINUTE, NOW) == 0.0, "another account has its own"
        assert books[1].take("a", 1, MINUTE, NOW + timedelta(seconds=10)) == 0.0
        assert books[0].take("a", 1, MINUTE, NOW + timedelta(seconds=10)) == pytest.approx(10)


def test_at_once_nobody_takes_a_unit_twice(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: store.rates.take("a", 1, MINUTE, NOW), range(24)))
    assert got.count(0.0) == 6


def test_the_database_decides_as_the_memory_does(store: Store) -> None:
    memory = MemoryRates()
    steps = [(4, 0), (4, 1), (9, 30), (1, 30), (2, 20), (1, 61), (6, 3_600), (7, 3_600)]  # also a clock set back
    for units, seconds in steps:
        now = NOW + timedelta(seconds=seconds)
        expected = memory.take("a", units, MINUTE, now)
        assert store.rates.take("a", units, MINUTE, now) == pytest.approx(expected, abs=0.01)


def test_a_daily_quota_is_never_exceeded_within_24_hours() -> None:
    for units in (5, 100, 5_000):
        rate = daily(units)
        assert rate.burst + rate.units <= max(units, rate.burst + units / 24) + 1e-9
    assert daily(2_400).burst == 100


def test_what_an_account_has_left_is_shared(store: Store, store_url: str) -> None:
    limits = SourceLimits(store.rates, store.allowances, keep=50)
    limits.reserve("desk", "X-Left", "credits", keep=1).note("49", NOW)
    with Store.open(store_url) as other:
        assert other.allowances.all() == {"desk": LastAllowance(49, 50, "credits", NOW)}
        last = other.allowances.read("desk")
        assert last is not None
        assert last.short_until(NOW) == NOW + timedelta(hours=1)
        assert last.short_until(NOW + timedelta(hours=1)) is None
    assert store.allowances.read("other") is None
