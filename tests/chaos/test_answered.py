"""kill -9 while a follow-up is closed because its call was answered: it is closed once, whatever instant the process dies at."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.harness import LOST_ANSWERS, Cluster
from tests.chaos.processes import until

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-answered")]

SOURCE = {
    "type": "webhook",
    "verify": {"scheme": "bearer", "secret": "a secret"},
    "format": "json",
    "signal": {
        "type": "{{ body.kind }}",
        "id": "{{ body.kind }} {{ body.number }}",
        "occurred_at": "{{ body.at }}",
        "title": "Call {{ body.number }}",
        "person": {"phone": "{{ body.phone }}"},
    },
}
CHANNELS = {"calls": {"missed": True}, "outgoing": {"call_placed": True}}
SETTINGS: dict[str, Any] = {"sources": {"calls": SOURCE}, "channels": CHANNELS}
RULE = """
  - id: callback-answered
    name: Close it
    on: answered
    signals: [call.missed]
    update: {record: callback}
    fields: {Status: Completed}
"""
MAPPINGS = Path(__file__).parents[2] / "mappings"
CALLERS = 4


def post(port: int, kind: str, number: int) -> bool:
    """Whether the daemon took it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    hour = 9 if kind == "call.missed" else 10
    at, phone = f"2026-03-02T{hour:02}:{number:02}:00Z", f"+8491234567{number}"
    body = json.dumps({"kind": kind, "number": number, "at": at, "phone": phone})
    try:
        connection.request("POST", "/webhooks/calls", body, {"Authorization": "Bearer a secret"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("crm", ["salesforce", "zoho"])
def test_killed_while_it_is_closed(tmp_path: Path, store_url: str, crm: str) -> None:
    (tmp_path / "mappings").mkdir()
    shipped = (MAPPINGS / f"{crm}.yaml").read_text("utf-8")
    (tmp_path / "mappings" / f"{crm}.yaml").write_text(shipped + RULE, "utf-8")
    settings = {**SETTINGS, "live_within": "36500d"}
    with Cluster(
        tmp_path, store_url, crm, faults=[LOST_ANSWERS], env={"SYNCD_LEASE_SECONDS": "2"}, **settings
    ) as cluster:

        def open_tasks() -> int:
            return sum(one.get("Status") == "Not Started" for one in cluster.twin.records(cluster.crm.tasks[0][0]))

        daemon = cluster.start().ready()
        for number in range(CALLERS + 1):  # the last one is never answered
            assert post(cluster.ports[0], "call.missed", number)
        until(lambda: open_tasks() == CALLERS + 1, "there is a follow-up for every call")
        daemon.kill()
        for place in ("after_commit:1", "after_send:1", "in_settling:1", ""):
            daemon = cluster.start(crash_at=place).ready()
            for number in range(CALLERS):
                post(cluster.ports[0], "call.placed", number)
            if place:
                until(lambda: not daemon.alive or open_tasks() == 1, f"it dies {place}", 20.0)  # noqa: B023
                daemon.kill()
        for number in range(CALLERS):
            assert post(cluster.ports[0], "call.placed", number)
        until(lambda: open_tasks() == 1, "the others are closed", 60.0)
        cluster.settle()
        assert open_tasks() == 1
        assert cluster.twin.stats()["doubled"] == {}
        cluster.check_logs()
        assert daemon.ends() == 0
