"""Two daemons on one database, from the first day: one lane, no double poll, takeover; and one that stalls beyond its lease.

What a stalled process brings late is refused, and nothing is doubled.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.harness import Cluster, Daemon
from tests.chaos.processes import pause, until

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-several")]

SHORT = {"SYNCD_LEASE_SECONDS": "2"}
SLOW = {"on": "*", "do": "slow", "seconds": 0.6}


def overlaps(calls: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of calls that were at work at the same time."""
    spans = sorted((call["at"] - call["seconds"], call["at"], call["path"]) for call in calls)
    return [(one[2], two[2]) for one, two in itertools.pairwise(spans) if two[0] < one[1] - 0.002]


@pytest.mark.parametrize("crm", ["salesforce", "zoho"])
def test_a_stalled_process_is_refused(tmp_path: Path, store_url: str, crm: str) -> None:
    """SIGSTOP while its calls are under way, until somebody else has done its work; then SIGCONT."""
    with Cluster(tmp_path, store_url, crm, daemons=2, env=SHORT, faults=[SLOW], seed=51, poll="1h") as cluster:
        stalled = cluster.start(0).ready()
        until(lambda: cluster.owner() == stalled.pid, "the first daemon owns the lane")
        other = cluster.start(1).ready()
        cluster.vendor.post_some(30)
        until(cluster.sending, "writes are on their way")
        stalled.stop()
        until(lambda: cluster.owner() == other.pid, "the other takes over")
        cluster.settle()
        records = cluster.twin.stats()["records"]
        stalled.go_on()
        until(
            lambda: "late results ignored: the claim had passed to another worker" in stalled.text,
            "its late results are ignored",
        )
        cluster.vendor.post_some(10)  # it goes on as a door
        cluster.settle()
        assert cluster.metric(0, 'syncd_webhooks_total{source="forms",status="200"}') > 0
        assert cluster.owner() == other.pid
        report = cluster.audit(unconfirmed=True)
        assert stalled.ends() == 0
        assert other.ends() == 0
        cluster.summary(f"stalled beyond its lease, {crm}", report, records_before_it_woke=sum(records.values()))


def test_a_process_that_stalls_while_it_asks_for_a_token(tmp_path: Path, store_url: str) -> None:
    """Whoever takes its lane over gets a token of its own as soon as the lease of the stalled one has run out."""
    slow = {"on": "token", "do": "slow", "seconds": 2.0}
    with Cluster(tmp_path, store_url, daemons=2, env=SHORT, faults=[slow], seed=54, poll="1h") as cluster:
        stalled = cluster.start(0).ready()
        until(lambda: cluster.owner() == stalled.pid, "the first daemon owns the lane")
        other = cluster.start(1).ready()
        with cluster.store() as store:
            cluster.vendor.post_some(3)
            until(lambda: store.leases.holders("token:"), "it asks for a token")
            stalled.stop()
            until(lambda: cluster.owner() == other.pid, "the other takes over")
            cluster.settle(30.0)
        stalled.go_on()
        cluster.audit(unconfirmed=True)
        assert stalled.ends() == 0
        assert other.ends() == 0


def test_a_process_that_stalls_again_and_again(tmp_path: Path, postgres_url: str) -> None:
    """Whoever owns the lane is stalled, under load, until the other owns it."""
    with Cluster(tmp_path, postgres_url, daemons=2, env=SHORT, faults=[{**SLOW, "seconds": 0.05}], seed=52) as cluster:
        daemons: dict[int, Daemon] = {d.pid: d for d in (cluster.start(0), cluster.start(1))}
        for daemon in daemons.values():
            daemon.ready()
        cluster.polls()
        cluster.vendor.start()
        for _ in range(4):
            cluster.postman.drop(3)
            owner = until(cluster.owner, "somebody owns the lane")
            daemons[owner].stop()
            until(lambda: cluster.owner() not in (0, owner), "the other owns it")  # noqa: B023
            daemons[owner].go_on()
        cluster.vendor.stop()
        cluster.settle()
        cluster.summary("4 stalls under load, PostgreSQL", cluster.audit(unconfirmed=True))


def test_two_daemons_share_a_database_from_the_first_day(tmp_path: Path, empty_postgres_url: str) -> None:
    """They migrate once, both take webhooks, one writes to the CRM, each mail is read once; the survivor goes on alone."""
    with Cluster(tmp_path, empty_postgres_url, daemons=2, faults=[{**SLOW, "seconds": 0.02}], seed=53) as cluster:
        daemons = [cluster.start(0), cluster.start(1)]
        for daemon in daemons:
            daemon.ready()
        cluster.polls()
        cluster.vendor.post_everywhere(30)
        for _ in range(10):
            cluster.postman.drop(5)
            pause(0.2)
        cluster.settle()
        assert overlaps([call for call in cluster.twin.calls() if call["operation"] != "token"]) == []
        repeats = [cluster.metric(n, 'syncd_signal_repeats_total{source="inbox"}') for n in (0, 1)]
        assert repeats == [0, 0], "mails were read twice"
        assert sum(cluster.metric(n, 'syncd_signals_total{source="forms"}') for n in (0, 1)) == 30
        assert sum(cluster.metric(n, 'syncd_signal_repeats_total{source="forms"}') for n in (0, 1)) == 30
        dead = next(daemon for daemon in daemons if daemon.pid == cluster.owner())
        left = next(daemon for daemon in daemons if daemon is not dead)
        cluster.vendor.start()
        cluster.vendor.acked_at_least(60)
        dead.kill()
        cluster.postman.drop(5)
        until(lambda: cluster.owner() == left.pid, "the survivor owns the lane")
        cluster.vendor.stop()
        cluster.settle()
        cluster.summary("two daemons, one killed", cluster.audit(unconfirmed=True))
