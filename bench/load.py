"""A small load generator: raw sockets with keep-alive on one event loop, in a process of its own.

`python -m bench.load PORT PATH --requests N --connections C [--sign SECRET]` prints one JSON object: requests, seconds,
answers by status, latencies in ms. Bodies are about 1 KiB, all different, made and signed before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import sys
import time
from collections import Counter
from typing import cast

import uvloop

TEXT = "We would like to know when the order leaves the house, and whether the second parcel travels with it. " * 6


def body(number: int, run: str) -> bytes:
    """A form of a web shop, about 1 KiB."""
    return json.dumps(
        {
            "id": f"{run}-{number}",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "what": f"Order {number}",
            "mail": f"customer{number % 5000}@example.com",
            "name": f"Customer {number % 5000}",
            "note": TEXT,
            "lines": [{"sku": f"A-{number % 97}", "count": 1 + number % 3, "price": 19.5} for _ in range(4)],
        }
    ).encode()


def requests_of(path: str, count: int, run: str, secret: str) -> list[bytes]:
    """Whole HTTP requests, ready to be written."""
    made = []
    for number in range(count):
        content = body(number, run)
        signature = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: load\r\naccept: */*\r\n"
            f"content-type: application/json\r\nx-signature: {signature}\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        made.append(head.encode() + content)
    return made


class Run:
    """What is shared by the connections of one run."""

    def __init__(self, queue: list[bytes]) -> None:
        self.queue = queue[::-1]
        self.total = len(queue)
        self.ended = 0
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.done = asyncio.get_running_loop().create_future()


class Connection(asyncio.Protocol):
    """Writes a request, waits for its answer, writes the next."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own
        self._next()

    def _next(self) -> None:
        if self._run.queue and self._transport is not None:
            self._sent = time.perf_counter()
            self._transport.write(self._run.queue.pop())

    def data_received(self, data: bytes) -> None:
        data = self._pending + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._pending = data
            return
        at = data.find(b"content-length: ")
        length = int(data[at + 16 : data.find(b"\r\n", at)])
        if len(data) < head_end + 4 + length:
            self._pending = data
            return
        self._pending = b""
        run = self._run
        run.latencies.append(time.perf_counter() - self._sent)
        run.statuses[data[9:12].decode()] += 1
        run.ended += 1
        if run.ended == run.total:
            run.done.set_result(None)
        else:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._run.done.done():
            self._run.done.set_exception(exc or ConnectionError("the server closed a connection"))


async def drive(port: int, queue: list[bytes], connections: int) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    run = Run(queue)
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(run), "127.0.0.1", port)
    await run.done
    seconds = time.perf_counter() - began
    ordered = sorted(run.latencies)
    return {
        "requests": run.total,
        "seconds": round(seconds, 4),
        "per_second": round(run.total / seconds, 1),
        "statuses": dict(run.statuses),
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 3),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--run", default="run", help="part of every event's id: a new one makes new events")
    parser.add_argument("--sign", default="bench", help="the HMAC secret")
    asked = parser.parse_args()
    queue = requests_of(asked.path, asked.requests, asked.run, asked.sign)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(drive(asked.port, queue, asked.connections)), sys.stdout)
    print()


if __name__ == "__main__":
    main()
