"""What comes in wrong, or stands in the way: each gives one clear line and loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from syncd.store import Store
from tests.chaos.harness import Cluster
from tests.chaos.load import Event, post, signed
from tests.chaos.processes import SYNCD
from tests.servers import Server, execute

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-input")]

EVENT = Event("x1", "survey.responded", 1)


def syncd(config: Path, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, SYNCD, "--config", str(config), *words], capture_output=True, text=True, timeout=60, check=False
    )


def forgeries(body: bytes) -> dict[str, Mapping[str, str]]:
    """Headers that prove nothing, by what is wrong with them."""
    good = signed(body, "msg_1")
    now = time.time()
    return {
        "another key": signed(body, "msg_1", key=b"another secret of 32 bytes......"),
        "another body": signed(body + b" ", "msg_1"),
        "another id": {**good, "webhook-id": "msg_2"},
        "ten minutes old": signed(body, "msg_1", at=now - 600),
        "ten minutes ahead": signed(body, "msg_1", at=now + 600),
        "time before 1970": signed(body, "msg_1", at=-5),
        "no headers": {"content-type": "application/json"},
        "no signature": {k: v for k, v in good.items() if k != "webhook-signature"},
        "no time": {k: v for k, v in good.items() if k != "webhook-timestamp"},
        "time is no number": {**good, "webhook-timestamp": "yesterday"},
        "time beyond all calendars": {**good, "webhook-timestamp": "9" * 30},
        "digits of another script": {**good, "webhook-timestamp": "\u0661".encode().decode("latin-1")},
        "no base64": {**good, "webhook-signature": "v1,%%%"},
        "no version": {**good, "webhook-signature": good["webhook-signature"].partition(",")[2]},
        "bytes beyond ASCII": {**good, "webhook-signature": "v1,\xff\xfe\xe9"},
        "empty": {**good, "webhook-signature": ""},
        "very long": {**good, "webhook-signature": "v1," + "A" * 8000},
    }


def test_what_is_not_authentic_is_401_and_leaves_no_trace(tmp_path: Path, store_url: str) -> None:
    with Cluster(tmp_path, store_url, seed=81) as cluster:
        daemon = cluster.start().ready()
        body = EVENT.body()
        statuses = {name: post(daemon.port, body, dict(headers))[0] for name, headers in forgeries(body).items()}
        assert statuses == dict.fromkeys(statuses, 401)
        assert post(daemon.port, b"", signed(b"", "m"))[0] == 200  # authentic, not understood: in quarantine
        assert post(daemon.port, body, signed(body, "m"), path="/webhooks/nobody")[0] == 404
        cluster.vendor.post_some(5)
        cluster.settle()
        with cluster.store() as store, store.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM receipts").scalar() == 1
        cluster.summary(f"{len(statuses)} forgeries", cluster.audit())
        assert sum("not authentic" in line for line in daemon.text.splitlines()) <= 3, "strangers can fill the log"


TEN_FAULTS = """\
database: mysql://somewhere/else
server: {listen: nowhere, public_url: "http://shop.example"}
region: vietnam
timezone: Asia/Hanoi
live_within: 24
colour: blue
channels:
  email: {recieved: true}
sources:
  inbox: {type: maildir, poll: often, path: ./Maildir}
  forms: {type: webhook, verify: {scheme: standard_webhooks}}
  phones: {type: telegraph}
destinations:
  crm: {type: salesforce, auth: {flow: client_credentials, client_id: x, client_secret: "${NOT_SET_ANYWHERE}"}}
"""


def test_a_config_with_ten_faults_gives_ten_messages(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(TEN_FAULTS)
    for command in ("run", "check"):
        done = syncd(config, command)
        assert done.returncode == 2, done.stderr
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(str(config))]
        assert len(said) >= 10, done.stderr
        assert all(line.removeprefix(str(config) + ":").split(":")[0].isdigit() for line in said)
        assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_line_and_2(tmp_path: Path, sqlite_url: str) -> None:
    with Cluster(tmp_path, sqlite_url, seed=82) as cluster, socket.create_server(("127.0.0.1", cluster.ports[0])):
        done = syncd(cluster.configs[0], "run")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("syncd:")]
    assert str(cluster.ports[0]) in line
    assert "another program" in line
    assert "Traceback" not in done.stderr


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line a failed start may say; no JSON logs, no traceback."""
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("syncd: database")
    return said[0]


def test_a_read_only_database_is_one_line(tmp_path: Path, sqlite_url: str) -> None:
    """The file and its directory belong to somebody else; as root we lay down the right to overrule that."""
    with Cluster(tmp_path, sqlite_url, seed=83) as cluster:
        cluster.start().ready()
        cluster.vendor.post_some(5)
        cluster.settle()
        cluster._processes[-1].finish()
        Store.open(sqlite_url).close()
        before: tuple[str, ...] = ()
        if os.geteuid() == 0:
            assert shutil.which("setpriv"), "setpriv (util-linux) is needed to run this as root"
            before = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
        paths = [tmp_path / "syncd.db", tmp_path]
        modes = [path.stat().st_mode for path in paths]
        paths[0].chmod(0o444)
        paths[1].chmod(0o555)
        try:
            done = syncd(cluster.configs[0], "run", before=before)
        finally:
            for path, mode in zip(paths, modes, strict=True):
                path.chmod(mode)
        assert done.returncode == 1, done.stderr
        assert "read-only" in one_line(done)
        cluster.start().ready()
        cluster.settle()
        cluster.audit()


def test_a_read_only_postgresql_is_one_line(tmp_path: Path, postgres: Server, postgres_url: str) -> None:
    with Cluster(tmp_path, postgres_url, seed=84) as cluster:
        name = postgres_url.rpartition("/")[2]
        execute(postgres.url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        done = syncd(cluster.configs[0], "run")
        assert done.returncode == 1, done.stderr
        assert "read-only" in one_line(done)
        execute(postgres.url, f"ALTER DATABASE {name} RESET default_transaction_read_only")
        cluster.start().ready()
        cluster.vendor.post_some(3)
        cluster.settle()
        cluster.audit()


def test_a_nul_byte_harms_nobody(tmp_path: Path, store_url: str) -> None:
    """In every place where text is kept: stored without it, or in quarantine; its neighbours in the same commit pass."""
    with Cluster(tmp_path, store_url, seed=85) as cluster:
        daemon = cluster.start().ready()
        cluster.vendor.start()
        cluster.vendor.acked_at_least(5)
        whole = json.loads(EVENT.body())
        places = {
            "subject": {**whole, "id": "n1", "subject": "a\0b"},
            "text": {**whole, "id": "n2", "data": {**whole["data"], "text": "a\0b"}},
            "email": {**whole, "id": "n3", "data": {"person": {"email": "a\0b@customer.example"}}},
            "name": {**whole, "id": "n4", "data": {"person": {"email": "n4@customer.example", "name": "\0"}}},
            "id": {**whole, "id": "n\0005"},
            "source": {**whole, "id": "n6", "source": "https://\0.example"},
            "type": {**whole, "id": "n7", "type": "survey\0.responded"},
            "data": {**whole, "id": "n8", "data": {"\0key": ["\0", {"x": "\0"}]}},
            "surrogate": {**whole, "id": "n9", "subject": "half \ud800 a pair"},
        }
        for place, event in places.items():
            event["subject"] = event["subject"].replace("event x1", f"odd {place}")
        bodies = {place: json.dumps(event).encode() for place, event in places.items()}
        bodies["raw"] = b'{"specversion": "1.0", "id": "n\0"}'
        bodies["nothing else"] = b"\0" * 100
        bodies["no utf-8"] = b'{"id": "\xff\xfe"}'
        statuses = {place: post(daemon.port, body, signed(body, f"m{place}"))[0] for place, body in bodies.items()}
        cluster.vendor.stop()
        assert statuses == dict.fromkeys(bodies, 200)
        cluster.settle()
        cluster.audit(others=True)
        with cluster.store() as store, store.read() as connection:
            kept = connection.exec_driver_sql("SELECT count(*) FROM receipts WHERE state = 'quarantined'").scalar()
            stored = connection.exec_driver_sql("SELECT count(*) FROM signals").scalar()
        off = sum(1 for line in daemon.text.splitlines() if '"level":"critical"' in line)
        assert off == 0
        print(f"\n{len(bodies)} bodies with what databases hate: {kept} in quarantine, {stored} signals")
        assert daemon.alive
