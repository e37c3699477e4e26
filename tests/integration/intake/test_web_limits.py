"""What one peer may cost: limits on heads, hosts, trailers and connections, on the wire; and one reader for all scrapes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import threading
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pytest
import requests

from syncd.testing.hostile import SECRET, body
from syncd.web import server
from syncd.web.protocol import HEAD_BYTES, HEAD_FIELDS, HEAD_SECONDS, LINGER_BYTES, Protocol
from syncd.web.shared import Shared

if TYPE_CHECKING:
    from tests.integration.intake.conftest import House

SENT_AT_MOST = 64 * 1024 * 1024  # what a test would send to a server without limits
READ_AHEAD = 8 * 1024 * 1024  # what the kernel and one read may take beyond the limit


@pytest.fixture
def wire(house: House) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=20) as connection:
        yield connection


def pour(connection: socket.socket, start: bytes, pieces: Iterable[bytes]) -> int:
    """Sends until the server hangs up (or far too much was taken); how much was sent."""
    sent = 0
    with contextlib.suppress(OSError):
        connection.sendall(start)
        for piece in pieces:
            connection.sendall(piece)
            sent += len(piece)
            if sent > SENT_AT_MOST:
                break
    return sent


def answer(connection: socket.socket) -> bytes:
    """All that the server says until it closes."""
    said = b""
    with contextlib.suppress(OSError):
        while data := connection.recv(65536):
            said += data
    return said


ENDLESS = {
    "a header value": (b"GET / HTTP/1.1\r\nhost: x\r\nx: ", repeat(b"a" * 65536), b"431"),
    "a header name": (b"GET / HTTP/1.1\r\nhost: x\r\n", repeat(b"a" * 65536), b"431"),
    "many headers": (b"GET / HTTP/1.1\r\nhost: x\r\n", repeat(b"x-a: b\r\n" * 1000), b"431"),
    "headers without a value": (b"GET / HTTP/1.1\r\nhost: x\r\n", repeat(b"x-a:\r\n" * 1000), b"431"),
    "the path": (b"GET /", repeat(b"a" * 65536), b"414"),
    "the query": (b"GET /healthz?", repeat(b"a=b&" * 16384), b"414"),
    "a trailer": (
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: ",
        repeat(b"a" * 65536),
        b"431",
    ),
    "many trailers": (
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        repeat(b"x-a: b\r\n" * 1000),
        b"431",
    ),
    "a chunk extension": (
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;x=",
        repeat(b"a" * 65536),
        b"431",
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_request_without_end_is_refused(house: House, wire: socket.socket, what: str) -> None:
    start, pieces, status = ENDLESS[what]
    sent = pour(wire, start, pieces)
    assert answer(wire)[9:12] == status
    assert sent < HEAD_BYTES + LINGER_BYTES + READ_AHEAD
    assert requests.get(f"{house.server.url}/healthz", timeout=30).status_code == 200
    assert house.journal.entries == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-big": "a" * 60_000}, 200),
        ({"x-big": "a" * HEAD_BYTES}, 431),
        ({f"x-{number}": "a" for number in range(HEAD_FIELDS - 10)}, 200),
        ({f"x-{number}": "a" for number in range(HEAD_FIELDS + 1)}, 431),
        ({"x-secret-a": "a" * 40_000, "x-secret-b": "b" * 40_000}, 431),
    ],
)
def test_heads_below_the_limit_pass(house: House, headers: dict[str, str], status: int) -> None:
    assert house.post(body(1), headers=headers).status_code == status


def test_a_large_head_in_one_piece_is_refused_before_its_end(wire: socket.socket) -> None:
    wire.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * (2 * HEAD_BYTES))
    assert answer(wire).startswith(b"HTTP/1.1 431 ")


def test_the_request_before_a_refused_one_is_answered(house: House, wire: socket.socket) -> None:
    content = body(1)
    good = b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\nx-secret: %s\r\ncontent-length: %d\r\n\r\n%s"
    wire.sendall(good % (SECRET.encode(), len(content), content) + b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000)
    said = answer(wire)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1
    assert len(house.journal.entries) == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["host: x"], b"200"),
        (["host: [::1]:8080"], b"200"),
        (["host:"], b"200"),
        ([], b"400"),
        (["host: x", "host: x"], b"400"),
        (["host: x", "Host: y"], b"400"),
        (["host: a b"], b"400"),
        (["host: x/y"], b"400"),
        (["host: user@x"], b"400"),
    ],
)
def test_an_http_1_1_request_names_one_host(wire: socket.socket, lines: list[str], status: bytes) -> None:
    wire.sendall("\r\n".join(["GET /healthz HTTP/1.1", *lines, "connection: close", "", ""]).encode())
    assert answer(wire)[9:12] == status


def test_http_1_0_needs_no_host(wire: socket.socket) -> None:
    wire.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer(wire).startswith(b"HTTP/1.1 200 ")


def test_a_trailer_is_no_header(house: House, wire: socket.socket) -> None:
    content = body(1)
    wire.sendall(
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n0\r\nx-secret: %s\r\n\r\n" % (len(content), content, SECRET.encode())
    )
    assert answer(wire).startswith(b"HTTP/1.1 401 ")
    assert house.journal.entries == []


def test_blank_lines_between_requests_do_not_keep_a_connection(house: House) -> None:
    """uvicorn ends its keep-alive timer at any byte; from then on the head is awaited, and that is bounded."""
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        (held,) = connections(house)
        assert held.head_since is None
        connection.sendall(b"\r\n")
        wait_until(lambda: held.head_since is not None)


def test_a_body_that_goes_on_after_its_answer_is_bounded(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=20) as connection:
        connection.sendall(b"POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc")
        assert connection.recv(65536).startswith(b"HTTP/1.1 405 ")
        (held,) = connections(house)
        wait_until(lambda: held.head_since is not None)


def test_slow_heads_are_swept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", -1.0)  # as if it had been awaited for longer than allowed
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx: a")
        assert answer(connection) == b""
    assert HEAD_SECONDS <= 30


def test_connections_leave_files_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    assert server.connections_allowed() == 768
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, 4096))
    assert server.connections_allowed() == server.MOST_CONNECTIONS


def test_connections_beyond_the_limit_are_closed_at_once(house: House) -> None:
    config = house.server._uvicorn.config
    with contextlib.ExitStack() as stack:
        config.limit_concurrency = 3
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", house.server.port), timeout=20))
            for _ in range(3)
        ]
        wait_until(lambda: len(connections(house)) == 3)
        with socket.create_connection(("127.0.0.1", house.server.port), timeout=20) as one_more:
            assert answer(one_more) == b""
        assert len(held) == 3
    config.limit_concurrency = server.MOST_CONNECTIONS


def connections(house: House) -> list[Any]:
    return [one for one in list(house.server._uvicorn.server_state.connections) if isinstance(one, Protocol)]


def wait_until(true: Any) -> None:
    event = threading.Event()
    for _ in range(4000):
        if true():
            return
        event.wait(0.005)
    raise AssertionError("it did not come about")


def test_one_reader_serves_all_who_ask_at_once() -> None:
    reads, at_once, most = 0, 0, 0
    go_on = threading.Event()

    def read() -> int:
        nonlocal reads, at_once, most
        reads += 1
        at_once += 1
        most = max(most, at_once)
        go_on.wait(20)
        at_once -= 1
        return reads

    async def scrape() -> list[int]:
        page = Shared(read)
        asking = [asyncio.create_task(page()) for _ in range(200)]
        await asyncio.sleep(0)
        asking[0].cancel()  # one who leaves takes the answer from nobody
        go_on.set()
        return [await one for one in asking[1:]] + [await page()]

    answers = asyncio.run(scrape())
    assert answers == [1] * 199 + [2]
    assert most == 1


def test_a_reader_that_fails_tells_all_and_is_asked_again() -> None:
    results: list[Any] = [OSError("no disk"), "well"]

    def read() -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return str(result)

    async def scrape() -> tuple[list[BaseException | str], str]:
        page = Shared(read)
        failed = await asyncio.gather(page(), page(), return_exceptions=True)
        return list(failed), await page()

    failed, later = asyncio.run(scrape())
    assert [type(one) for one in failed] == [OSError, OSError]
    assert later == "well"


def test_strangers_cannot_fill_the_log() -> None:
    now = [0.0]
    passes = server.OnceInAWhile(clock=lambda: now[0]).filter

    def record(level: int, message: str) -> logging.LogRecord:
        return logging.LogRecord("uvicorn.error", level, "", 0, message, (), None)

    bad = record(logging.WARNING, "Invalid HTTP request received.")
    assert [passes(bad) for _ in range(100)] == [True] + [False] * 99
    assert passes(record(logging.WARNING, "Exceeded concurrency limit."))
    assert all(passes(record(logging.ERROR, "Exception in ASGI application")) for _ in range(2))
    now[0] += 10
    assert passes(bad)
