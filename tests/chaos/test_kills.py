"""kill -9 at random moments and at named points, under load, against a CRM that loses 5 % of its answers after the write.

Nothing acknowledged is lost, no record is doubled, no cursor is ahead of its data, the books balance.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from syncd.store.revisions import db_info
from tests.chaos.harness import LOST_ANSWERS, Cluster
from tests.chaos.processes import ENDS_WITHIN, pause, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

POINTS = ("after_fetch", "after_commit", "after_send", "in_settling")
LOSS = {"bitrix24": 0.25}
"""CRM -> the share of answers that is lost, where fifty records go in one call: calls are few then."""
A_LIFE = 1.5
"""Seconds after its birth within which a process is killed: before it listens, at its first breath, or at work."""


def kill_again_and_again(cluster: Cluster, kills: int, chance: random.Random) -> Counter[str]:
    """Kills so many daemons, each in its own way; where each died."""
    died: Counter[str] = Counter()
    for number in range(kills):
        cluster.postman.drop(chance.randint(1, 4))
        place = chance.choice(("random", *POINTS))
        if place == "random":
            daemon = cluster.start()
            pause(chance.uniform(0, A_LIFE))
        else:
            nth = 1 if place == "after_fetch" else chance.randint(1, 5)  # all mails that are there are one fetch
            daemon = cluster.start(crash_at=f"{place}:{nth}")
            try:
                until(lambda: not daemon.alive, f"it dies {place}", 4.0)  # noqa: B023
            except AssertionError:
                place = "random"  # never came there that often
        died[place if not daemon.alive else "random"] += 1
        daemon.kill()
        # SQLite would be recovered by whoever looks into it first: mostly that is to be the next daemon.
        if number % 8 == 7:
            cluster.audit_store()
    return died


def lost_answers(crm: str, seed: int) -> list[dict[str, Any]]:
    """The fault of a campaign."""
    return [{**LOST_ANSWERS, "chance": LOSS.get(crm, LOST_ANSWERS["chance"]), "seed": seed}]


def survive(cluster: Cluster, kills: int, seed: int, name: str) -> None:
    daemon = cluster.start().ready()
    cluster.polls()
    cluster.vendor.start()
    cluster.vendor.acked_at_least(20)
    daemon.kill()
    died = kill_again_and_again(cluster, kills - 1, random.Random(seed))
    last = cluster.start().ready()
    cluster.vendor.stop()
    cluster.settle()
    lost = sum(fault["fired"] for fault in cluster.twin.stats()["faults"])
    report = cluster.audit(unconfirmed=True)
    assert last.ends() == 0
    places = " ".join(f"{place}:{count}" for place, count in sorted(died.items()))
    cluster.summary(name, report, kills=kills, answers_lost=lost, died=places)
    assert sum(died.values()) == kills - 1
    assert lost


@pytest.mark.parametrize(("crm", "seed"), [("salesforce", 11), ("zoho", 12), ("bitrix24", 13)])
@pytest.mark.xdist_group("chaos-sqlite")
def test_kills_on_sqlite(tmp_path: Path, sqlite_url: str, crm: str, seed: int) -> None:
    with Cluster(tmp_path, sqlite_url, crm, faults=lost_answers(crm, seed), seed=seed) as cluster:
        survive(cluster, 50, seed, f"50 kills, SQLite, {crm}")


@pytest.mark.parametrize(("crm", "seed"), [("salesforce", 21), ("zoho", 22), ("bitrix24", 23)])
@pytest.mark.xdist_group("chaos-postgresql")
def test_kills_on_postgresql(tmp_path: Path, postgres_url: str, crm: str, seed: int) -> None:
    with Cluster(tmp_path, postgres_url, crm, faults=lost_answers(crm, seed), seed=seed) as cluster:
        survive(cluster, 10, seed, f"10 kills, PostgreSQL, {crm}")


@pytest.mark.xdist_group("chaos-sqlite")
def test_the_crm_dies_too(tmp_path: Path, sqlite_url: str) -> None:
    """The twin is killed while it answers and comes back with what it had flushed."""
    with Cluster(tmp_path, sqlite_url, seed=31) as cluster:
        cluster.start().ready()
        cluster.polls()
        cluster.vendor.start()
        for count in (40, 80, 120):
            cluster.vendor.acked_at_least(count)
            cluster.restart_twin()
        cluster.vendor.stop()
        cluster.settle(ENDS_WITHIN)
        cluster.summary("the CRM killed 3 times", cluster.audit(unconfirmed=True))


@pytest.mark.xdist_group("chaos-migration")
def test_a_kill_in_the_first_migration(tmp_path: Path, empty_url: str) -> None:
    """The next start finds the database as it was, and migrates it."""
    with Cluster(tmp_path, empty_url, seed=41) as cluster:
        for _ in range(3):
            daemon = cluster.start(crash_at="in_migration")
            assert daemon.ended() == -signal.SIGKILL, daemon.text
            assert db_info(empty_url).revision == ""
        cluster.start().ready()
        cluster.polls()
        cluster.postman.drop(3)
        cluster.vendor.post_some(10)
        cluster.settle()
        cluster.summary("3 kills in the first migration", cluster.audit())
