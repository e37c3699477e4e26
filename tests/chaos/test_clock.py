"""The machine's clock jumps an hour, ahead or back, while everything runs: nothing is lost or doubled, and all goes on at once.

The daemon's time of day comes from shifted_clock.c; its monotonic clock stays true, as it does in reality.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.harness import Cluster
from tests.chaos.load import post, signed
from tests.chaos.processes import until

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-clock")]

HOUR = 3600
WITHIN = 40.0
SOURCE = Path(__file__).with_name("shifted_clock.c")


class Clock:
    """The daemon's clock."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("there is no C compiler to build the shifted clock: apt-get install gcc libc6-dev")
        library, file = folder / "shifted_clock.so", folder / "shift"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)], check=True)
        file.write_bytes(bytes(8))
        self._file = file
        self.env = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(file)}

    def jump(self, seconds: int) -> None:
        """To so many seconds ahead of the true time, at once."""
        with self._file.open("r+b") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


@contextmanager
def running(folder: Path, database: str, seed: int) -> Iterator[tuple[Cluster, Clock]]:
    clock = Clock(folder)
    with Cluster(folder, database, seed=seed, every=0.03) as cluster:
        cluster.start(env=clock.env).ready()
        cluster.polls()
        cluster.vendor.start()
        cluster.vendor.acked_at_least(30)
        yield cluster, clock


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
def test_the_clock_jumps(tmp_path: Path, store_url: str, jump: int) -> None:
    with running(tmp_path, store_url, 101) as (cluster, clock):
        # In doubt, in their retries, or on their way at the jump: their times are of the old clock.
        cluster.twin.hurt({"on": "*", "do": "reset", "when": "after", "chance": 0.3, "times": 6, "seed": 3})
        acked = len(cluster.vendor.acked)
        cluster.vendor.acked_at_least(acked + 20)
        clock.jump(jump)
        body = cluster.vendor.event().body()
        assert post(cluster.ports[0], body, signed(body, "msg_x"))[0] == 401  # a true time looks stale now; never a 500
        cluster.vendor.skew = jump
        until(lambda: '"the system clock was changed"' in cluster.last_log(), "the lane notices", WITHIN)
        cluster.postman.drop(5)
        cluster.vendor.acked_at_least(acked + 50)
        until(lambda: len(cluster.arrived()) >= 5, f"polls go on\n{cluster.last_log()}", WITHIN)
        clock.jump(0)
        cluster.vendor.skew = 0
        cluster.postman.drop(5)
        cluster.vendor.acked_at_least(acked + 80)
        until(
            lambda: len(cluster.arrived()) >= 10,
            f"polls go on after the clock was set right\n{cluster.last_log()}",
            WITHIN,
        )
        cluster.vendor.stop()
        cluster.settle(WITHIN)
        cluster.summary(f"the clock jumps {jump:+d} s and back", cluster.audit(unconfirmed=True))
