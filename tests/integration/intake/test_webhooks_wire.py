"""The hot route on the wire: whole requests are answered without a task and in one write, all others the ordinary way, and a
sender cannot tell which."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from syncd.testing.hostile import SECRET, body
from syncd.web.webhooks import read_query

if TYPE_CHECKING:
    from tests.integration.intake.conftest import House


def request(number: int, *headers: str, version: str = "1.1", secret: str = SECRET) -> bytes:
    content = body(number)
    start = f"POST /webhooks/shop HTTP/{version}"
    lines = [start, "host: x", f"x-secret: {secret}", f"content-length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def answers(connection: socket.socket, count: int) -> list[bytes]:
    """That many answers, whole, each with a content-length."""
    connection.settimeout(10)
    received, found = b"", list[bytes]()
    while len(found) < count:
        head, end, rest = received.partition(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or -1) if end else -1
        if end and length < 0:  # 100 Continue
            received = rest
            found.append(head)
        elif end and len(rest) >= length:
            found.append(head + end + rest[:length])
            received = rest[length:]
        else:
            data = connection.recv(65536)
            assert data, received
            received += data
    return found


def wait_until(true: Callable[[], bool]) -> None:
    """Polls what the server's thread brings about."""
    event = threading.Event()
    for _ in range(2000):
        if true():
            return
        event.wait(0.005)
    raise AssertionError("it did not come about")


@pytest.fixture
def wire(house: House) -> socket.socket:
    return socket.create_connection(("127.0.0.1", house.server.port))


def test_requests_sent_in_one_go_are_answered_in_their_order(house: House, wire: socket.socket) -> None:
    with wire:
        wire.sendall(request(1) + request(2, secret="wrong") + request(3) + request(4))
        statuses = [answer[9:12] for answer in answers(wire, 4)]
    assert statuses == [b"200", b"401", b"200", b"200"]
    assert len(house.journal.entries) == 3


def test_a_request_in_pieces_is_answered_like_a_whole_one(house: House, wire: socket.socket) -> None:
    whole = request(2)
    with wire:
        wire.sendall(request(1))
        (one,) = answers(wire, 1)
        for at in range(0, len(whole), 40):
            wire.sendall(whole[at : at + 40])
        (two,) = answers(wire, 1)
    without_date = [[line for line in answer.split(b"\r\n") if not line.startswith(b"date:")] for answer in (one, two)]
    assert without_date[0] == without_date[1]
    assert without_date[0][0] == b"HTTP/1.1 200 OK"
    assert len(house.journal.entries) == 2


@pytest.mark.parametrize(("version", "headers"), [("1.1", ("connection: close",)), ("1.0", ())])
def test_a_connection_that_is_to_close_closes(
    house: House, wire: socket.socket, version: str, headers: tuple[str, ...]
) -> None:
    with wire:
        wire.sendall(request(1, *headers, version=version))
        (answer,) = answers(wire, 1)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert wire.recv(10) == b""
    assert house.receiver.waiting == 0


def test_a_sender_that_waits_to_be_told_to_go_on_is_told(house: House, wire: socket.socket) -> None:
    whole = request(1, "expect: 100-continue")
    with wire:
        wire.sendall(whole[: -len(body(1))])
        (go_on,) = answers(wire, 1)
        assert go_on == b"HTTP/1.1 100 Continue"
        wire.sendall(body(1))
        assert answers(wire, 1)[0].startswith(b"HTTP/1.1 200")


def test_a_sender_that_left_before_its_answer_leaves_nothing_behind(house: House, wire: socket.socket) -> None:
    house.journal.hold()
    with wire:
        wire.sendall(request(1))
        wait_until(lambda: house.journal.depth == 1)
    house.journal.release()
    assert house.post(body(2)).status_code == 200
    assert (house.receiver.waiting, house.receiver.bytes_held) == (0, 0)
    assert len(house.journal.entries) == 2


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        (b"name=J%C3%B6rg&x=", [("name", "Jörg"), ("x", "")]),
        (b"name=J%F6rg&name=a+b", [("name", "Jörg"), ("name", "a b")]),
    ],
)
def test_a_query_in_either_charset(raw: bytes, pairs: list[tuple[str, str]]) -> None:
    assert read_query(raw) == pairs
