"""The process itself: how soon `syncd run` answers its first webhook, what it costs to be idle, how soon `syncd --help` is there.

`python -m bench.process`. The configuration is an everyday one: a webhook, a maildir polled every minute, Salesforce, SQLite.
As installed: Python's bytecode is compiled beforehand (a start that is not counted does it).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.calls import CRMS
from bench.figures import Aim, Figure, Table, workplace
from bench.processes import DOOR, SECRET, Daemon, compiled, configuration, free_port, twin
from tests.chaos.processes import SYNCD, pause

FIRST, MEMORY, CPU, HELP = 1.5, 110.0, 1.0, 0.4
SETTLES = 5.0  # seconds after the start until it counts as idle
GIVE_UP = 30.0


def event(number: int) -> tuple[bytes, dict[str, str]]:
    """A signed webhook."""
    now = datetime.now(UTC).isoformat()
    content = {
        "id": f"first-{number}",
        "at": now,
        "what": "Order",
        "mail": "first@example.com",
        "name": "First Customer",
    }
    body = json.dumps(content).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return body, {"x-signature": signature, "content-type": "application/json"}


def first_200(config: Path, port: int) -> tuple[float, Daemon]:
    """Seconds from exec to the first 200 of a webhook that is tried over and over; the daemon runs on."""
    body, headers = event(time.time_ns())
    began = time.perf_counter()
    process = Daemon(config, port)
    while time.perf_counter() - began < GIVE_UP:
        if not process.alive:
            raise AssertionError(process.text[-2000:])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", DOOR, body, headers)
            if connection.getresponse().status == 200:
                return time.perf_counter() - began, process
        except OSError:
            pause(0.005)
        finally:
            connection.close()
    process.finish()
    raise AssertionError(f"no 200 within {GIVE_UP:.0f} s\n{process.text[-2000:]}")


def starts(config: Path, port: int, rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        seconds, process = first_200(config, port)
        process.kill()
        taken.append(seconds)
    return taken


def idle(config: Path, port: int, seconds: float) -> tuple[float, float]:
    """(resident MB, % of a core) of a daemon that has nothing to do, over so many seconds."""
    _, process = first_200(config, port)
    try:
        pause(SETTLES)
        cpu, began = process.cpu, time.perf_counter()
        pause(seconds)
        used, lasted = process.cpu - cpu, time.perf_counter() - began
        return psutil.Process(process.pid).memory_info().rss / 2**20, 100 * used / lasted
    finally:
        process.kill()


def helps(rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([SYNCD, "--help"], check=True, capture_output=True, env={**os.environ, **compiled()})
        taken.append(time.perf_counter() - began)
    return taken


def run(*, quick: bool = False) -> list[Table]:
    rounds = 3 if quick else 7
    tables = []
    with (
        tempfile.TemporaryDirectory(prefix="syncd-bench-", dir=workplace()) as name,
        twin("salesforce", Path(name), 0) as crm,
    ):
        folder, found = Path(name), CRMS["salesforce"]
        for part in ("tmp", "new", "cur"):
            (folder / "Maildir" / part).mkdir(parents=True)
        inbox = {"inbox": {"type": "maildir", "poll": "60s", "path": str(folder / "Maildir")}}
        outlet = {"crm": {"type": "salesforce", **found.settings, **dict.fromkeys(found.urls, crm.url)}}
        fresh = []
        for number in range(rounds + 1):
            port = free_port()
            config = configuration(folder / f"fresh{number}", port, sources=inbox, destinations=outlet)
            fresh += starts(config, port, 1)
        fresh, again = fresh[1:], starts(config, port, rounds)
        memory, cpu = idle(config, port, 10 if quick else 20)
        help_ = helps(rounds + 1)[1:]
        tables.append(
            Table(
                f"process: webhook, maildir every minute, Salesforce, SQLite; {rounds} starts",
                [
                    _seconds("first 200, new database", fresh, FIRST),
                    _seconds("first 200, database there", again, FIRST),
                    Figure("idle memory (resident)", memory, "MB", Aim.most(MEMORY)),
                    Figure("idle processor time", cpu, "% core", Aim.most(CPU)),
                    _seconds("syncd --help", help_, HELP),
                ],
            )
        )
    return tables


def _seconds(name: str, taken: list[float], aim: float) -> Figure:
    return Figure(name, statistics.median(taken), "s", Aim.most(aim), (min(taken), max(taken)))


if __name__ == "__main__":
    for table in run():
        print(table)
