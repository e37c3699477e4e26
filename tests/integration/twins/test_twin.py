"""What holds for every twin: its journal outlives a kill, it can be driven over HTTP, and it serves as a command of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from syncd.twins import TWINS, create
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.state import TwinTables
from syncd.twins.zoho.twin import ZohoTwin

LEAD = {"LastName": "L", "Company": "X"}
SERVE = (
    "import sys; from syncd.twins import serve; "
    "serve(sys.argv[1], log_path=sys.argv[2], faults=sys.argv[3] or None, ready=lambda t: print(t.url, flush=True))"
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Starts a twin in a process of its own; returns it and its URL."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, faults: str = "") -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-c", SERVE, name, str(tmp_path / "journal"), faults]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def upsert(url: str, keys: list[str], token: str) -> list[dict[str, Any]]:
    rows = [{"attributes": {"type": "Lead"}, **LEAD, "Syncd_Key__c": k} for k in keys]
    path = f"{url}/services/data/v62.0/composite/sobjects/Lead/Syncd_Key__c"
    answer = requests.patch(path, json={"records": rows}, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    results: list[dict[str, Any]] = answer.json()
    return results


def login(url: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    token: str = requests.post(f"{url}/services/oauth2/token", data=form, timeout=10).json()["access_token"]
    return token


def test_nothing_answered_is_lost_by_kill_9(run: Callable[..., Any]) -> None:
    process, url = run("salesforce")
    made = upsert(url, ["a", "b"], login(url))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, url = run("salesforce")
    found = requests.get(f"{url}/_twin/records/Lead", timeout=10).json()["records"]
    assert [(r["Id"], r["Syncd_Key__c"]) for r in found] == [(m["id"], k) for m, k in zip(made, "ab", strict=True)]
    again = upsert(url, ["b", "c"], login(url))
    assert [r["created"] for r in again] == [False, True]
    assert again[1]["id"] not in {m["id"] for m in made}


def test_sigterm_ends_the_command(run: Callable[..., Any]) -> None:
    process, url = run("zoho")
    assert requests.get(f"{url}/_twin/stats", timeout=10).json()["name"] == "zoho"
    process.terminate()
    assert process.wait(10) in (0, -signal.SIGTERM)


def test_a_plan_file_is_in_force(run: Callable[..., Any], tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    plan.write_text("- {on: token, do: login_rate, nth: 1}")
    _, url = run("salesforce", str(plan))
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    assert requests.post(f"{url}/services/oauth2/token", data=form, timeout=10).status_code == 400
    assert login(url)


def test_an_unknown_twin_is_named() -> None:
    with pytest.raises(
        ValueError,
        match="no twin called 'hubspot'; there are: bitrix24, google, graph, salesforce, twilio, zoho, zoho_desk, zoho_mail",
    ):
        create("hubspot")


def test_a_torn_last_line_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = SalesforceTwin(journal=path)
    kept = first.add("Lead", **LEAD)
    first.store.close()
    with path.open("ab") as file:
        file.write(b'{"object":"Lead","id":"00Q')
    second = SalesforceTwin(journal=path)
    assert [r["Id"] for r in second.records("Lead")] == [kept]
    second.add("Lead", **LEAD)
    second.store.close()
    third = SalesforceTwin(journal=path)
    assert len(third.records("Lead")) == 2
    third.store.close()


def test_the_journal_is_written_before_the_answer_even_if_that_is_lost(
    tmp_path: Path, connect: Callable[..., Any]
) -> None:
    path = tmp_path / "journal"
    faults = [{"on": "upsert_collection", "do": "reset", "when": "after"}]
    client = connect(SalesforceTwin(journal=path, faults=faults))
    with pytest.raises(requests.ConnectionError):
        client.upsert("Lead", "Syncd_Key__c", {**LEAD, "Syncd_Key__c": "k"})
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [(e["object"], e["record"]["Syncd_Key__c"]) for e in lines] == [("Lead", "k")]
    client.twin.reset()
    assert path.read_bytes() == b""


def test_undone_changes_leave_no_trace_in_the_indexes() -> None:
    store = TwinTables({"Lead": ("Email",)})
    store.put("Lead", "1", {"Email": "a@x.com"})
    store.commit()
    savepoint = store.savepoint()
    store.put("Lead", "1", {"Email": "b@x.com"})
    store.put("Lead", "2", {"Email": "a@x.com"})
    store.rollback(savepoint)
    assert store.find("Lead", "Email", "A@x.com") == [{"Email": "a@x.com"}]
    assert store.find("Lead", "Email", "b@x.com") == []
    store.put("Lead", "1", None)
    assert store.find("Lead", "Email", "a@x.com") == []


def test_driving_a_twin_over_http(connect: Callable[..., Any]) -> None:
    client = connect(ZohoTwin(), "/crm/v8")
    added = client.post("/_twin/records/Leads", [{"Last_Name": "A", "Company": "X"}, {"Last_Name": "B"}])
    assert added.status_code == 201
    first, second = added.json()["ids"]
    assert client.post(f"/_twin/convert/{first}", {}).json().keys() == {"Accounts", "Contacts"}
    assert client.post(f"/_twin/delete/{second}", {}).json() == {"deleted": True}
    assert client.post(f"/_twin/delete/{second}", {}).json() == {"deleted": False}
    assert [r["Last_Name"] for r in client.get("/_twin/records/Leads").json()["records"]] == ["A"]
    assert client.post("/_twin/faults", [{"on": "create", "do": "late", "nth": 1}]).json() == {"faults": 1}
    with pytest.raises(requests.ConnectionError):
        client.insert("Tasks", {"Subject": "s", "Syncd_Key": "k"})
    assert client.get("/_twin/records/Tasks").json() == {"records": []}
    assert client.post("/_twin/release", {}).json() == {"committed": 1}
    stats = client.get("/_twin/stats").json()
    assert (stats["records"]["Tasks"], stats["doubled"], stats["faults"][0]["fired"]) == (1, {}, 1)
    assert client.post("/_twin/expire", {}).json() == {"expired": True}
    assert client.get("users").status_code == 401
    log = client.get("/_twin/calls").json()["calls"]
    assert [(c["operation"], c["status"], c["rows"]) for c in log] == [
        ("token", 200, 0),
        ("create", 0, 1),
        ("users", 401, 0),
    ]
    assert client.call("DELETE", "/_twin/faults").json() == {"faults": 0}
    assert client.post("/_twin/reset", {}).json() == {"reset": True}
    assert client.get("/_twin/stats").json()["calls"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/_twin/nope", None, 404, "nothing at"),
        ("POST", "/_twin/nope", {}, 404, "nothing at"),
        ("POST", "/_twin/faults", [{"do": "nope"}], 400, "is not one of"),
        ("POST", "/_twin/records/Nope", {"a": 1}, 400, "no module 'Nope'"),
        ("POST", "/_twin/records/Leads", {"Nope": 1}, 400, "no field Nope"),
        ("POST", "/_twin/convert/1", {}, 400, "not a lead"),
    ],
)
def test_mistakes_in_driving_are_told(zoho: Any, method: str, path: str, body: Any, status: int, words: str) -> None:
    answer = zoho.call(method, path, json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_unknown_paths_are_the_vendors_404(salesforce: Any, zoho: Any) -> None:
    assert salesforce.get("/nope").json()[0]["errorCode"] == "NOT_FOUND"
    assert zoho.get("/crm/v8/a/b/c/d").status_code == 404


def test_many_clients_at_once_double_nothing_that_is_unique(connect: Callable[..., Any]) -> None:
    client = connect(SalesforceTwin())
    token = login(client.twin.url)

    def push(_: int) -> list[bool]:
        return [r["created"] for r in upsert(client.twin.url, [f"k{i}" for i in range(20)], token)]

    with ThreadPoolExecutor(8) as pool:
        created = [c for result in pool.map(push, range(16)) for c in result]
    assert sum(created) == 20
    assert client.twin.doubled() == {}
    assert client.twin.stats()["rows"] == 320


def test_a_bug_in_a_twin_is_loud_and_leaves_nothing(salesforce: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(salesforce.twin.rows, "insert", broken)
    answer = salesforce.post("sobjects/Lead", LEAD)
    assert answer.status_code == 500
    assert b"twin itself" in answer.content
    assert salesforce.twin.counts["bugs"] == 1


@pytest.mark.parametrize("name", sorted(TWINS))
def test_every_twin_starts_again_where_it_stopped(name: str, tmp_path: Path) -> None:
    with create(name, journal=tmp_path / "journal") as twin:
        first = twin.url
        assert requests.get(f"{first}/_twin/stats", timeout=10).json()["name"] == name
        twin.stop()
        twin.stop()
        port = int(first.rpartition(":")[2])
        assert twin.start(port) == first
        assert requests.get(f"{first}/_twin/stats", timeout=10).ok
