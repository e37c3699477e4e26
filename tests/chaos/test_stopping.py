"""How a daemon ends when it is asked to: it drains, says 0, and leaves nothing half done."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.chaos.harness import Cluster
from tests.chaos.processes import until

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-stopping")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "ctrl-c"])
def test_it_drains_under_load(tmp_path: Path, store_url: str, number: signal.Signals) -> None:
    """Again and again, with calls to the CRM under way and webhooks at the door."""
    slow = {"on": "*", "do": "slow", "seconds": 0.1}
    with Cluster(tmp_path, store_url, faults=[slow], seed=61) as cluster:
        daemon = cluster.start().ready()
        cluster.polls()
        cluster.vendor.start()
        for round_ in range(1, 4):
            cluster.postman.drop(3)
            cluster.vendor.acked_at_least(40 * round_)
            until(cluster.sending, "writes are on their way")
            assert daemon.ends(number) == 0, daemon.text[-2000:]
            cluster.audit_store()
            assert cluster.sending() == 0, "a call was left without its answer"
            assert cluster.owner() == 0, "the lane was not given back"
            daemon = cluster.start().ready()
        cluster.vendor.stop()
        cluster.settle()
        cluster.summary(f"3 times {number.name} under load", cluster.audit())


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path, sqlite_url: str) -> None:
    """Somebody in a hurry loses nothing either: what was under way is in doubt, and the next start sees to it."""
    with Cluster(tmp_path, sqlite_url, seed=62) as cluster:
        daemon = cluster.start().ready()
        cluster.vendor.post_some(5)
        cluster.settle()
        cluster.twin.hurt({"on": "*", "do": "slow", "seconds": 6, "times": 1})
        cluster.vendor.post_some(10)
        until(cluster.sending, "writes are on their way")
        daemon.send(signal.SIGTERM)
        until(lambda: "stopping" in daemon.text, "it begins to stop")
        assert daemon.ends() == 130, daemon.text[-2000:]
        cluster.start().ready()
        cluster.settle()
        cluster.summary("a second SIGTERM", cluster.audit())
