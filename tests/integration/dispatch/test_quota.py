"""A pause of the budget: it is logged, and it ends as soon as the configured quota allows more."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd.connector import Allowance
from syncd.dispatch.lane import read_pace
from syncd.errors import RateLimited
from syncd.store.lanes import pace_of
from syncd.testing import hostile_destination as hostile
from tests.lane_rig import T0, Rig, signal, sqlite


def spent(tmp_path: Path, quota: int = 4, **options: int) -> Rig:
    """A rig whose quota is used up after three of six signals."""
    rig = Rig(sqlite(tmp_path), here={"quota": {"calls": quota}}, options={"per_call": 1, **options})
    rig.crm.add("Contact", Email="ann@example.com")
    rig.arrive([signal(n) for n in range(6)])
    rig.step()
    assert rig.states() == {"delivered": 3, "pending": 3}
    assert "our share of the daily allowance is used: 4 of 4" in rig.lane.trouble
    return rig


@pytest.mark.parametrize("here", [{"quota": {"calls": 100}}, {}, {"quota": {"share": 0.5}}], ids=str)
def test_a_quota_that_is_raised_or_removed_takes_effect_at_once(tmp_path: Path, here: dict[str, object]) -> None:
    rig = spent(tmp_path)
    rig.later(60)
    rig.here = here
    rig.restart()
    with capture_logs() as logged:
        rig.step()
    assert rig.states() == {"delivered": 6}
    assert rig.lane.trouble == ""
    assert [line["log_level"] for line in logged if line["event"].startswith("destination resumed")] == ["info"]
    with rig.store.read() as connection:
        assert not read_pace(pace_of(connection, "crm")).paused_until


def test_a_quota_that_is_raised_a_little_is_kept(tmp_path: Path) -> None:
    rig = spent(tmp_path)
    rig.here = {"quota": {"calls": 6}}
    rig.restart()
    rig.step()
    assert rig.states() == {"delivered": 5, "pending": 1}
    assert "6 of 6" in rig.lane.trouble


@pytest.mark.parametrize("here", [{"quota": {"calls": 4}}, {"quota": {"calls": 2}}], ids=str)
def test_a_restart_with_the_same_or_a_lower_quota_changes_nothing(tmp_path: Path, here: dict[str, object]) -> None:
    rig = spent(tmp_path)
    rig.here = here
    rig.restart()
    calls = len(rig.crm.calls)
    assert rig.step().claimed == 0
    assert len(rig.crm.calls) == calls


def test_the_pause_is_logged_once_with_its_end(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), here={"quota": {"calls": 2}}, options={"per_call": 1})
    rig.crm.add("Contact", Email="ann@example.com")
    rig.arrive([signal(n) for n in range(6)])
    with capture_logs() as logged:
        for _ in range(5):
            rig.step()
    (line,) = [line for line in logged if line["event"] == "destination paused"]
    assert line["log_level"] == "warning"
    assert line["reason"] == "our share of the daily allowance is used: 2 of 2"
    assert line["until"] == f"{T0 + timedelta(hours=25):%Y-%m-%dT%H:%M:%SZ}"


def test_another_pause_is_not_ended_by_a_quota(tmp_path: Path) -> None:
    rig = spent(tmp_path, quota=4)
    rig.here = {}
    rig.restart()
    rig.crm.faults = [hostile.before(RateLimited("slow", retry_after=100_000))]
    rig.step()
    rig.here = {"quota": {"calls": 1000}}
    rig.restart()
    assert rig.step().claimed == 0
    assert "throttled: " in rig.lane.trouble


def test_the_pause_for_what_others_use_ends_when_the_account_has_more(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.crm.add("Contact", Email="ann@example.com")
    rig.crm.allowance = Allowance("calls", used=9600, maximum=10_000, as_of=T0)
    rig.arrive([signal(1)])
    rig.step()
    assert rig.step().claimed == 0
    rig.crm.allowance = Allowance("calls", used=100, maximum=10_000, as_of=T0)
    rig.step()
    assert rig.states() == {"delivered": 1}
