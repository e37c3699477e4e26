"""Webhooks over real HTTP: every answer of the contract, and that a 200 comes after the commit."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from syncd.errors import KeyUnavailable, UsageError
from syncd.intake.admit import Policy
from syncd.intake.webhooks import Endpoint
from syncd.store.journal.entries import JournalEntry, StoreUnavailable
from syncd.testing.hostile import SECRET, HostileWebhook, body
from syncd.web.app import Readiness
from syncd.web.server import Server

if TYPE_CHECKING:
    from tests.integration.intake.conftest import House, MakeHouse


def test_an_event_is_committed_before_its_200(house: House) -> None:
    order: list[str] = []
    house.journal.before_commit = lambda entry: order.append("commit")
    answer = house.post(body(1))
    order.append("answer")
    assert (answer.status_code, order) == (200, ["commit", "answer"])
    (entry,) = house.journal.entries
    assert [arrival.signal.title for arrival in entry.arrivals] == ["event 1"]
    assert entry.arrivals[0].signal.source == "shop"


def test_no_answer_while_the_commit_is_held(house: House) -> None:
    house.journal.hold()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(house.post, body(1))
        wait_until(lambda: house.journal.depth == 1)
        assert not answer.done()
        house.journal.release()
        assert answer.result().status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/webhooks/nobody", 404),
        ("GET", "/webhooks/nobody", 404),
        ("POST", "/webhooks/", 404),
        ("PUT", "/webhooks/shop", 405),
        ("DELETE", "/webhooks/shop", 405),
        ("GET", "/webhooks/shop", 405),
        ("GET", "/webhooks/shop?challenge=abc", 200),
        ("HEAD", "/webhooks/shop", 204),
        ("OPTIONS", "/webhooks/shop", 204),
        ("GET", "/healthz", 200),
        ("GET", "/elsewhere", 404),
    ],
)
def test_methods_and_places(house: House, method: str, path: str, status: int) -> None:
    answer = requests.request(method, house.server.url + path, timeout=30)
    assert answer.status_code == status
    if status == 405:
        assert "POST" in answer.headers["allow"]
    assert house.journal.entries == []


def test_a_challenge_is_echoed_and_a_post_probe_stores_nothing(house: House) -> None:
    assert requests.get(f"{house.server.url}/webhooks/shop?challenge=abc", timeout=30).text == "abc"
    assert house.post(b"probe", secret="").text == "hello"
    assert house.journal.entries == []


def test_a_wrong_secret_is_401_and_leaves_no_trace(house: House) -> None:
    assert house.post(body(1), secret="guess").status_code == 401
    assert (house.journal.entries, house.source.parsed) == ([], 0)


@pytest.mark.parametrize(
    "bug", [ZeroDivisionError("x"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), RecursionError()]
)
def test_a_verifier_that_trips_is_401(make_house: MakeHouse, bug: Exception) -> None:
    house = make_house(source=HostileWebhook(trip=bug))
    assert house.post(body(1)).status_code == 401
    assert house.journal.entries == []


def test_a_missing_key_is_503_and_is_asked_for(make_house: MakeHouse) -> None:
    wanted: list[str] = []
    house = make_house(source=HostileWebhook(trip=KeyUnavailable("kid 7")), key_wanted=wanted.append)
    answer = house.post(body(1))
    assert (answer.status_code, "retry-after" in answer.headers, wanted) == (503, True, ["shop"])
    house.source.trip = None
    assert house.post(body(1)).status_code == 200


@pytest.mark.parametrize("bad", [b"{", b"bug", b"", b"\xff\x00", b"[]", b'{"numbers": ["x"]}'])
def test_what_cannot_be_understood_is_quarantined_and_200(house: House, bad: bytes) -> None:
    assert house.post(bad, headers={"authorization": "Bearer hush"}).status_code == 200
    (kept,) = house.journal.entries[0].quarantined
    assert kept.error
    assert b"hush" not in kept.payload
    assert SECRET.encode() not in kept.payload


def test_an_unknown_signal_type_is_quarantined_and_200(house: House) -> None:
    assert house.post(body(1, type="nonsense")).status_code == 200
    (kept,) = house.journal.entries[0].quarantined
    assert "nonsense" in kept.error


def test_hints_are_stored_before_the_200(house: House) -> None:
    assert house.post(body(hints=["ticket-7"])).status_code == 200
    assert [hint.key for hint in house.journal.entries[0].hints] == ["ticket-7"]


def test_a_switched_off_source_still_answers_200(house: House) -> None:
    off = Policy(switches={})
    house.receiver.open(off, {"shop": Endpoint.of("shop", house.source)})
    assert house.post(body(1, 2)).status_code == 200
    (entry,) = house.journal.entries
    assert (entry.arrivals, entry.off) == ([], {("custom.event", "switch"): 2})


def test_a_store_that_cannot_commit_is_503_then_recovers(house: House) -> None:
    house.journal.refuse = StoreUnavailable("disk full")
    answer = house.post(body(1))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    house.journal.refuse = RuntimeError("a bug in the store")
    assert house.post(body(1)).status_code == 503
    house.journal.refuse = None
    assert house.post(body(1)).status_code == 200


def test_too_large_is_413_by_its_length_and_by_its_bytes(make_house: MakeHouse) -> None:
    house = make_house(max_body=10_000)
    assert house.post(b"x" * 10_001).status_code == 413
    assert house.post(b" " * 9_000 + body(1)).status_code == 200

    def chunks() -> Iterator[bytes]:
        for _ in range(15):
            yield b"x" * 1000

    endless = requests.post(
        f"{house.server.url}/webhooks/shop", data=chunks(), headers={"x-secret": SECRET}, timeout=30
    )
    assert endless.status_code == 413
    assert len(house.journal.entries) == 1


def test_a_chunked_body_within_the_limit_passes(house: House) -> None:
    whole = body(*range(500))
    pieces = (whole[at : at + 100] for at in range(0, len(whole), 100))
    answer = requests.post(f"{house.server.url}/webhooks/shop", data=pieces, headers={"x-secret": SECRET}, timeout=30)
    assert answer.status_code == 200
    assert len(house.journal.entries[0].arrivals) == 500


def test_a_big_body_is_judged_in_a_thread_and_stored(house: House) -> None:
    seen: list[str] = []
    parse = house.source.parse
    house.source.parse = lambda request: seen.append(threading.current_thread().name) or parse(request)  # type: ignore[func-returns-value,method-assign]
    assert house.post(body(1) + b" " * 300_000).status_code == 200
    assert seen
    assert "syncd-web" not in seen[0]


def test_a_slow_body_holds_nobody_up(house: House) -> None:
    whole = body(1)
    with socket.create_connection(("127.0.0.1", house.server.port)) as slow:
        head = f"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\nx-secret: {SECRET}\r\ncontent-length: {len(whole)}\r\n\r\n"
        slow.sendall(head.encode() + whole[:5])
        assert house.post(body(2)).status_code == 200
        slow.sendall(whole[5:])
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
    assert len(house.journal.entries) == 2


def test_a_client_that_hangs_up_in_mid_body_leaves_nothing(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.server.port)) as gone:
        gone.sendall(b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf")
    assert house.post(body(2)).status_code == 200
    assert (len(house.journal.entries), house.receiver.bytes_held, house.receiver.waiting) == (1, 0, 0)


def test_back_pressure_answers_503_and_recovers(make_house: MakeHouse) -> None:
    house = make_house(max_waiting=4)
    house.journal.hold()
    with ThreadPoolExecutor(12) as pool:
        first = [pool.submit(house.post, body(number)) for number in range(4)]
        wait_until(lambda: house.journal.depth == 4)
        more = [pool.submit(house.post, body(number)) for number in range(4, 12)]
        refused = [answer.result() for answer in more]
        assert {answer.status_code for answer in refused} == {503}
        assert all(answer.headers["retry-after"] for answer in refused)
        house.journal.release()
        assert {answer.result().status_code for answer in first} == {200}
    assert house.post(body(99)).status_code == 200
    assert len(house.journal.entries) == 5


def test_concurrent_repeats_are_one_signal(house: House) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: house.post(body(7)).status_code, range(40)))
    assert set(answers) == {200}
    assert (house.receiver.counts.fresh, house.receiver.counts.repeats) == ({"shop": 1}, {"shop": 39})


def test_the_signed_url_is_the_public_one(make_house: MakeHouse) -> None:
    house = make_house()
    urls: list[str] = []
    handshake = house.source.handshake
    house.source.handshake = lambda request: urls.append(request.url) or handshake(request)  # type: ignore[func-returns-value,method-assign]
    house.post(body(1), name="shop/tail%20x?a=1&a=2")
    assert urls == [f"http://127.0.0.1:{house.server.port}/webhooks/shop/tail%20x?a=1&a=2"]


def test_requests_under_way_are_answered_at_a_stop(house: House) -> None:
    house.journal.hold()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(house.post, body(1))
        wait_until(lambda: house.journal.depth == 1)
        stopping = pool.submit(house.server.stop)
        house.journal.release()
        assert answer.result().status_code == 200
        stopping.result()
    with pytest.raises(requests.ConnectionError):
        house.post(body(2))


def test_a_port_in_use_is_one_clear_line(house: House) -> None:
    with pytest.raises(UsageError, match=r"server.listen: cannot listen on 127.0.0.1:\d+: another program"):
        Server(None, "127.0.0.1", house.server.port)


def test_ready_tells_what_is_wrong(make_house: MakeHouse) -> None:
    well = make_house(ready=Readiness(degraded=["sales-inbox: login refused"]))
    answer = requests.get(f"{well.server.url}/readyz", timeout=30)
    assert (answer.status_code, answer.json()["degraded"]) == (200, ["sales-inbox: login refused"])
    ill = make_house(ready=Readiness(fault="disk full"))
    assert requests.get(f"{ill.server.url}/readyz", timeout=30).status_code == 503


def test_metrics_follow_what_happened(house: House) -> None:
    house.post(body(1))
    house.post(body(1))
    house.post(body(1), secret="no")
    text = requests.get(f"{house.server.url}/metrics", timeout=30).text
    for line in (
        'syncd_webhooks_total{source="shop",status="200"} 2.0',
        'syncd_webhooks_total{source="shop",status="401"} 1.0',
        'syncd_signals_total{source="shop"} 1.0',
        'syncd_signal_repeats_total{source="shop"} 1.0',
        "syncd_journal_depth 0.0",
    ):
        assert line in text


def test_keep_alive_carries_many_requests(house: House) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", house.server.port, timeout=30)
    for number in range(20):
        connection.request("POST", "/webhooks/shop", body(number), {"x-secret": SECRET})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"ok\n")
    connection.close()
    assert len(house.journal.entries) == 20


def wait_until(true: object, seconds: float = 10) -> None:
    """Polls a condition that another thread brings about."""
    assert callable(true)
    event = threading.Event()
    for _ in range(int(seconds / 0.005)):
        if true():
            return
        event.wait(0.005)
    raise AssertionError("it did not come about")


def test_entries_are_values(house: House) -> None:
    house.post(body(1))
    assert isinstance(house.journal.entries[0], JournalEntry)
