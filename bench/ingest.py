"""Durable webhook ingest beside a no-op of the same server, in interleaved rounds; prints ratios.

`python -m bench.ingest [--rounds N] [--requests N] [--postgres URL]`. What is measured: POST of about 1 KiB by 64 keep-alive
connections; verified (HMAC), parsed, deduplicated, committed and fsynced before the 200, by the daemon's own receiver, server and
store in one process. Held against it: a no-op route of the same app that reads the body; a no-op without framework; and the
same ingest with one commit a request. The load comes from a process of its own (`bench.load`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
AIMS = {"sqlite": 0.5, "postgresql": 0.35}
AIM_GROUPING = 2.5


@contextmanager
def server(database: str, *options: str) -> Iterator[int]:
    """A server process; its port."""
    command = [sys.executable, "-m", "bench.ingest_server", database, *options]
    process = subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(30)


def load(port: int, path: str, requests: int, run: str, connections: int = 64) -> dict[str, Any]:
    """One run of the load generator; fails when an answer was not 200."""
    command = [sys.executable, "-m", "bench.load", str(port), path, "--requests", str(requests), "--run", run]
    done = subprocess.run([*command, "--connections", str(connections)], cwd=HERE, check=True, capture_output=True)
    result: dict[str, Any] = json.loads(done.stdout)
    if set(result["statuses"]) != {"200"}:
        raise SystemExit(f"{path}: not all answers were 200: {result['statuses']}")
    return result


def compare(kind: str, url: str, other_url: str, rounds: int, requests: int) -> dict[str, float]:
    """Medians of requests per second over interleaved rounds, on one database."""
    rates: dict[str, list[float]] = {"route": [], "raw": [], "group": [], "single": []}
    with ExitStack() as stack:
        grouped = stack.enter_context(server(url))
        single = stack.enter_context(server(other_url, "--one-by-one"))
        load(grouped, "/webhooks/shop", 500, f"warm-{time.time_ns()}")
        load(single, "/webhooks/shop", 200, f"warm-{time.time_ns()}")
        for _ in range(rounds):
            for name, port, path, count in (
                ("route", grouped, "/noop", requests),
                ("group", grouped, "/webhooks/shop", requests),
                ("raw", grouped, "/raw", requests),
                ("single", single, "/webhooks/shop", requests // 4),
            ):
                rates[name].append(load(port, path, count, f"r{time.time_ns()}")["per_second"])
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ratios = [ours / noop for ours, noop in zip(rates["group"], rates["route"], strict=True)]
    middle["ratio"] = statistics.median(ratios)
    print(
        f"{kind:10}  no-op route {middle['route']:8.0f}/s  raw no-op {middle['raw']:8.0f}/s  "
        f"ingest {middle['group']:7.0f}/s  one commit a request {middle['single']:6.0f}/s\n"
        f"{'':10}  ingest : no-op route {middle['ratio']:.2f} (aim {AIMS[kind]})   : raw no-op "
        f"{middle['group'] / middle['raw']:.2f}   : one commit a request "
        f"{middle['group'] / middle['single']:.1f} (aim {AIM_GROUPING})",
        flush=True,
    )
    return middle


@contextmanager
def databases(kind: str) -> Iterator[tuple[str, str]]:
    """Two empty databases of a kind."""
    if kind == "sqlite":
        folder = Path(tempfile.mkdtemp(prefix="syncd-bench-", dir=Path.cwd()))
        try:
            yield f"sqlite:///{folder / 'group.db'}", f"sqlite:///{folder / 'single.db'}"
        finally:
            shutil.rmtree(folder)
    else:
        from tests.servers import execute, postgres_server

        with postgres_server() as cluster:
            execute(cluster.url, "CREATE DATABASE bench_group")
            execute(cluster.url, "CREATE DATABASE bench_single")
            yield cluster.database("bench_group"), cluster.database("bench_single")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--only", choices=sorted(AIMS))
    asked = parser.parse_args()
    for kind in AIMS:
        if asked.only in (None, kind):
            with databases(kind) as (one, other):
                compare(kind, one, other, asked.rounds, asked.requests)


if __name__ == "__main__":
    main()
