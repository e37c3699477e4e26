"""A schedule whose clock was set back is planned anew; one whose clock only runs is left alone."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from syncd.intake.schedule import Schedule, Times


@pytest.mark.parametrize(
    "times", [Times(every=timedelta(seconds=60), at_once=False), Times(cron="*/10 * * * *")], ids=["interval", "cron"]
)
def test_only_a_step_back_plans_anew(times: Times) -> None:
    ran = threading.Event()
    schedule = Schedule(ZoneInfo("UTC"))
    schedule.add("poll:inbox", lambda stop: ran.set(), times)
    schedule.start()
    try:
        now = datetime.now(UTC)
        assert schedule.replan(now) == []
        assert schedule.replan(now + timedelta(seconds=30)) == []
        ran.clear()
        assert schedule.replan(now - timedelta(hours=1)) == ["poll:inbox"]
        assert ran.wait(10)
    finally:
        schedule.stop()
