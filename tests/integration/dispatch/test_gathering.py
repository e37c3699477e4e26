"""A lane that lets deliveries wait for each other: by the configuration, and by what is left of the allowance."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.config.models import DestinationSettings, Quota
from syncd.dispatch.drain import drain
from syncd.store.engine import millis
from tests.lane_rig import MAPPING, Rig, signal

CALLS_BACK = f"""{MAPPING}
  - id: callback
    name: Call back
    signals: [call.missed]
    live_only: true
    upsert: Task
    key: Key
    link: {{WhoId: person}}
    fields: {{Subject: "Call back"}}
"""


def rig(url: str, **here: Any) -> Rig:
    return Rig(url, mapping=CALLS_BACK, here={"gather": "30s", **here})


def waits(here: Rig) -> float:
    """Seconds until the lane would go; 0 if it went."""
    while True:
        done = here.step()
        if done.claimed or done.wait_until is None:
            return 0.0
        if done.wait_until - millis(here.now) > 250:
            return (done.wait_until - millis(here.now)) / 1000
        here.now += timedelta(milliseconds=done.wait_until - millis(here.now))


def goes_after(here: Rig) -> float:
    """Seconds that what is there waits before it goes."""
    began = here.now
    assert waits(here) == 0
    return (here.now - began).total_seconds()


def test_signals_that_come_within_the_time_go_together(store_url: str) -> None:
    here = rig(store_url)
    here.arrive([signal(1)])
    here.step()
    assert here.states() == {"pending": 1}
    here.later(20)
    here.arrive([signal(2)])
    assert goes_after(here) == 10
    assert here.states() == {"delivered": 2}


def test_a_call_to_action_takes_the_others_with_it(tmp_path: Path) -> None:
    here = rig(f"sqlite:///{tmp_path / 'a.db'}")
    here.arrive([signal(1)])
    here.step()
    here.later(5)
    here.arrive([signal(2, type="call.missed", at=here.now)])
    assert goes_after(here) == pytest.approx(2, abs=0.25)
    assert here.states() == {"delivered": 2}


def test_a_whole_batch_does_not_wait(tmp_path: Path) -> None:
    here = rig(f"sqlite:///{tmp_path / 'a.db'}")
    here.arrive([signal(n) for n in range(here.destination.capacity)])
    assert goes_after(here) == 0


def test_a_command_does_not_wait(tmp_path: Path) -> None:
    here = rig(f"sqlite:///{tmp_path / 'a.db'}")
    here.arrive([signal(1)])
    done = drain(here.lane, here.store)
    assert done is not None
    assert done.settled == 1


def test_auto_waits_as_the_quota_gets_scarce(tmp_path: Path) -> None:
    here = rig(f"sqlite:///{tmp_path / 'a.db'}", gather="auto", quota=Quota(units=60))
    here.arrive([signal(1)])
    assert goes_after(here) == 0, "nothing is known of a day's use yet, or it is plenty"
    here.later(3600)
    for number in range(2, 12):
        here.arrive([signal(number, at=here.now)])
        while here.states().get("pending"):
            here.now += timedelta(seconds=1)
            here.step()
    here.arrive([signal(200, at=here.now)])
    assert 0 < goes_after(here) <= 60
    assert here.lane.pace().gathers > 0
    assert here.lane.pace().gathered[1] > 0


def test_auto_waits_for_nothing_where_no_limit_is_known(tmp_path: Path) -> None:
    here = rig(f"sqlite:///{tmp_path / 'a.db'}", gather="auto")
    for number in range(20):
        here.arrive([signal(number, at=here.now)])
        assert goes_after(here) == 0


@pytest.mark.parametrize("key", ["gather", "gather_urgent"])
@pytest.mark.parametrize("value", ["-1s", "61s", "soon"])
def test_a_wait_that_is_none(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=key):
        DestinationSettings(name="crm", type="hostile", **{key: value})
