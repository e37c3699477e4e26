"""The clock is set back while something is between the door and its commit: it does not wait for the old time to come again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from syncd.runtime.clock_jumps import ClockStepDetector
from tests.lane_rig import T0, Rig, signal, sqlite

HOUR = timedelta(hours=1)


def test_what_is_committed_after_the_clock_was_set_back_is_due_at_once(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.now = T0 + HOUR
    rig.lane._jumps = ClockStepDetector(wall=lambda: rig.now.timestamp(), steady=lambda: 0.0)
    rig.arrive([signal(1, at=rig.now)])
    rig.now = T0
    rig.lane._mind_the_clock()
    rig.arrive([signal(2, at=T0 + HOUR)])
    rig.lane._mind_the_clock()
    rig.step()
    assert rig.states() == {"delivered": 2}
