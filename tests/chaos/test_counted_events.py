"""kill -9 between the commit of an event and the settling of its record: each event is counted once, and no record is doubled."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from syncd.store.queries import Filter, newest
from tests.chaos.harness import Cluster
from tests.chaos.processes import until

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-counted")]

SOURCE = {
    "type": "webhook",
    "verify": {"scheme": "bearer", "secret": "a secret"},
    "format": "json",
    "signal": {
        "type": "email.opened",
        "repeats": {"same": "{{ body.mail }}", "event": "{{ body.event }}"},
        "title": "Offer {{ body.mail }}",
        "person": {"email": "{{ body.to }}"},
    },
}
SETTINGS: dict[str, Any] = {"sources": {"opens": SOURCE}, "channels": {"email_insights": {"opened": True}}}
MAILS = 3


def post(port: int, mail: int, event: int) -> bool:
    """Whether the daemon took it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"mail": f"m{mail}", "event": f"e{event}", "to": "person1@customer.example"})
    try:
        connection.request("POST", "/webhooks/opens", body, {"Authorization": "Bearer a secret"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def subjects(cluster: Cluster) -> list[str]:
    return sorted(record["Subject"] for record in cluster.twin.records(cluster.crm.tasks[0][0]))


def counted(cluster: Cluster) -> list[Any]:
    with cluster.store() as store:
        return sorted(one.signal.data["count"] for one in newest(store, Filter()))


@pytest.mark.parametrize("crm", ["salesforce", "zoho"])
def test_killed_between_commit_and_settling(tmp_path: Path, store_url: str, crm: str) -> None:
    with Cluster(tmp_path, store_url, crm, env={"SYNCD_LEASE_SECONDS": "2"}, **SETTINGS) as cluster:
        for event, place in enumerate(("after_commit:2", "after_send:2", "in_settling:3", "")):
            daemon = cluster.start(crash_at=place).ready()
            for mail in range(MAILS):
                for _ in range(2):  # as a sender does that did not get its answer
                    post(cluster.ports[0], mail, event)
            if place:
                until(lambda: not daemon.alive, f"it dies {place}", 20.0)  # noqa: B023
        for event in range(4):  # all that were not acknowledged come again
            for mail in range(MAILS):
                assert post(cluster.ports[0], mail, event)
        until(lambda: subjects(cluster) == [f"Offer m{mail} (4 times)" for mail in range(MAILS)], "all is written")
        assert counted(cluster) == [4] * MAILS
        assert cluster.twin.stats()["doubled"] == {}
        cluster.check_logs()
        assert daemon.ends() == 0


def test_two_daemons_count_the_same_signal(tmp_path: Path, postgres_url: str) -> None:
    """Both take events, one has the lane: what the other counts while it sends is written too."""
    slow = {"on": "*", "do": "slow", "seconds": 0.2}
    with Cluster(tmp_path, postgres_url, daemons=2, faults=[slow], **SETTINGS) as cluster:
        daemons = [cluster.start(number).ready() for number in range(2)]
        for event in range(20):
            for mail in range(MAILS):
                assert post(cluster.ports[event % 2], mail, event)
                assert post(cluster.ports[mail % 2], mail, event)
        until(
            lambda: subjects(cluster) == [f"Offer m{mail} (20 times)" for mail in range(MAILS)], "all is written", 60.0
        )
        assert counted(cluster) == [20] * MAILS
        assert cluster.twin.stats()["doubled"] == {}
        cluster.check_logs()
        assert [daemon.ends() for daemon in daemons] == [0, 0]
