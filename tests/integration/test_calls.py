"""How many calls 1,000 signals cost each CRM, counted at their twins through the real lane."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.calls import CRMS, ONE_BY_ONE, PEOPLE, STRANGERS, bounces, count, one_by_one, scene, thousand


@pytest.mark.parametrize("kind", sorted(CRMS))
def test_a_thousand_signals_cost_no_more_calls_than_they_must(kind: str, tmp_path: Path) -> None:
    counted = count(kind, tmp_path)
    cold, new_leads, cached = CRMS[kind].aims
    assert counted.cold <= cold
    assert counted.new_leads <= new_leads
    assert counted.cached <= cached
    assert (counted.replay_made, counted.lost_database_made) == (0, 0)


def test_that_somebody_is_nobody_is_asked_again_before_they_are_created_much_later(tmp_path: Path) -> None:
    with scene("salesforce", tmp_path / "one") as here:
        here.calls(bounces())
        here.later(11 * 60)
        assert here.twin is not None
        here.twin.add("Contact", LastName="By hand", Email=f"person{PEOPLE - 1}@customer.example")
        assert here.calls(thousand()) == 3
        assert here.written()[0] == STRANGERS - 1


@pytest.mark.parametrize(("rate", "new", "most"), ONE_BY_ONE)
def test_signals_that_come_one_by_one_are_gathered(rate: int, new: bool, most: int, tmp_path: Path) -> None:
    assert one_by_one(rate, new, tmp_path / "db") <= most
