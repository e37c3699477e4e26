"""The real thing for benchmarks: `syncd run` and a twin as processes of their own on loopback, and a load before them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.figures import workplace
from tests.chaos.processes import SYNCD, Process, answers, fetch, until

ROOT = Path(__file__).resolve().parent.parent
SECRET = "bench"
DOOR = "/webhooks/shop"
SHOP = {
    "type": "webhook",
    "verify": {"scheme": "hmac", "secret": SECRET, "header": "x-signature"},
    "account": "shop",
    "format": "json",
    "signal": {
        "type": "custom.order",
        "id": "{{ body.id }}",
        "occurred_at": "{{ body.at }}",
        "title": "{{ body.what }}",
        "text": "{{ body.note }}",
        "person": {"email": "{{ body.mail }}", "name": "{{ body.name }}"},
    },
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configuration(
    folder: Path, port: int, *, sources: Mapping[str, Any] | None = None, destinations: Mapping[str, Any] | None = None
) -> Path:
    """A configuration file for a daemon on `port`, with SQLite beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "database": "sqlite:///./syncd.db",
        "server": {"listen": f"127.0.0.1:{port}"},
        "region": "VN",
        "timezone": "Asia/Ho_Chi_Minh",
        "channels": {"custom": {"*": True}, "email": {"received": True}},
        "sources": {"shop": SHOP, **(sources or {})},
        "destinations": destinations or {},
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")  # JSON is YAML
    return path


def compiled() -> dict[str, str]:
    """The environment in which bytecode is kept, apart from the checkout's."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(workplace() / "bytecode")}


class Daemon(Process):
    """`syncd run` on a configuration; its log lies beside it."""

    def __init__(self, config: Path, port: int) -> None:
        self.port = port
        command = [SYNCD, "--config", str(config), "run"]
        super().__init__(command, config.parent / "daemon.log", cwd=config.parent, env=compiled())
        self.seen = psutil.Process(self.pid)

    def ready(self) -> None:
        until(lambda: not self.alive or answers(f"http://127.0.0.1:{self.port}/healthz"), "the daemon answers")
        assert self.alive, self.text[-3000:]

    @property
    def cpu(self) -> float:
        """Seconds of processor time it has used."""
        times = self.seen.cpu_times()
        return float(times.user + times.system)


@contextmanager
def daemon(config: Path, port: int, *, ready: bool = True) -> Iterator[Daemon]:
    process = Daemon(config, port)
    try:
        if ready:
            process.ready()
        yield process
        assert process.ends(signal.SIGTERM) == 0, process.text[-3000:]
    finally:
        process.finish()


class TwinProcess(Process):
    """`syncd twin` in a process of its own."""

    def __init__(self, name: str, folder: Path, port: int, latency: float) -> None:
        self.url = f"http://127.0.0.1:{port}"
        command = [SYNCD, "twin", name, "--port", str(port), "--latency", str(latency)]
        super().__init__(command, folder / "twin.log", cwd=folder)
        until(lambda: not self.alive or answers(f"{self.url}/_twin/stats"), "the twin answers")
        assert self.alive, self.text

    def add(self, object_: str, rows: list[dict[str, Any]]) -> None:
        for start in range(0, len(rows), 500):
            fetch(f"{self.url}/_twin/records/{object_}", rows[start : start + 500])

    def calls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = fetch(f"{self.url}/_twin/calls")["calls"]
        return found

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = fetch(f"{self.url}/_twin/stats")
        return found


@contextmanager
def twin(name: str, folder: Path, latency: float) -> Iterator[TwinProcess]:
    process = TwinProcess(name, folder, free_port(), latency)
    try:
        yield process
    finally:
        process.finish()


def post(port: int, requests: int, run: str, connections: int = 64) -> dict[str, Any]:
    """Posts signed events from a process of its own, and waits for all their answers; what the load process says.
    Raises AssertionError when an answer was not 200."""
    command = [sys.executable, "-m", "bench.load", str(port), DOOR, "--requests", str(requests), "--run", run]
    command += ["--connections", str(connections), "--sign", SECRET]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    said: dict[str, Any] = json.loads(done.stdout)
    assert set(said["statuses"]) == {"200"}, said["statuses"]
    return said
