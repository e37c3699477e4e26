"""A lane whose destination is an outgoing webhook, against a receiver over HTTP that refuses, redirects and drops connections."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from syncd.capabilities import Level
from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Context
from syncd.connectors.crm.webhook import CONNECTOR, OutgoingWebhookSettings, WebhookDestination
from syncd.dispatch.lane import Lane
from syncd.errors import Misconfigured
from syncd.http.oauth import MemoryTokens
from tests.lane_rig import T0, Rig, signal

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATH = "/hooks/pAth-th4t-is-a-secret/"
MAPPING = """
rules:
  - id: event
    name: Send every signal
    signals: ["*"]
    upsert: event
    key: id
    fields: {source: urn:x, type: "{{ signal.type }}", subject: "{{ signal.title }}", who: "{{ person.email }}"}
"""


class Receiver:
    """Answers `plan` in its order, and 200 afterwards: a status, "drop" (takes it, then closes the connection), "redirect".
    `taken`: (webhook-id, body) of what it took; a request whose signature is wrong is counted in `forged`."""

    def __init__(self) -> None:
        self.plan: list[int | str] = []
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.paths: list[str] = []
        self.forged = 0
        self.flying: Counter[str] = Counter()
        self.crossed: list[str] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self, body)

            def do_OPTIONS(self) -> None:
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{PATH}"

    def take(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        id, sent = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        right = base64.b64encode(hmac.new(KEY, f"{id}.{sent}.".encode() + body, hashlib.sha256).digest()).decode()
        event = json.loads(body)
        who = event["data"]["who"]
        with self._lock:
            self.paths.append(request.path)
            self.forged += f"v1,{right}" not in request.headers["webhook-signature"].split()
            self.flying[who] += 1
            if self.flying[who] > 1:
                self.crossed.append(who)
            answer = self.plan.pop(0) if self.plan else 200
            if answer in (200, "drop"):
                self.taken.append((id, event))
        with self._lock:
            self.flying[who] -= 1
        if answer == "drop":
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        request.send_response(307 if answer == "redirect" else int(answer))
        if answer == "redirect":
            request.send_header("Location", self.url)
        request.send_header("Content-Length", "0")
        request.end_headers()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.server.shutdown()
    running.server.server_close()


def destination(receiver: Receiver, **keys: Any) -> WebhookDestination:
    settings = OutgoingWebhookSettings(url=receiver.url, **{"secret": SECRET, "allow_private": True, **keys})
    return CONNECTOR.build(settings, Context(name="hook", tokens=MemoryTokens()))


def rig(tmp_path: Path, to: WebhookDestination) -> Rig:
    made = Rig(f"sqlite:///{tmp_path / 'syncd.db'}", mapping=MAPPING)
    settings = Settings(destinations={"crm": DestinationSettings(name="crm", type="webhook")})
    made.lane = Lane("crm", to, made.compiled, made.store, settings, random=lambda: 0.0, clock=lambda: made.now)
    return made


def test_every_signal_arrives_though_answers_are_lost(tmp_path: Path, receiver: Receiver) -> None:
    receiver.plan = ["drop", 503, 500, 200, "drop", 404]
    here = rig(tmp_path, destination(receiver))
    here.arrive([signal(n, email=f"p{n % 3}@example.com") for n in range(12)])
    for _ in range(60):
        here.drain()
        here.later(30)
    assert len({id for id, _ in receiver.taken}) == 12
    repeated = [id for id, times in Counter(id for id, _ in receiver.taken).items() if times > 1]
    assert len(repeated) <= 2, "only what was taken and not answered comes again, under the id it had"
    assert {len({json.dumps(event) for id, event in receiver.taken if id == one}) for one in repeated} <= {1}
    assert (receiver.forged, receiver.crossed) == (0, [])
    assert set(receiver.paths) == {PATH}, "with the slash at its end"
    assert here.states() == {"delivered": 12}
    here.check_books()


def test_the_events_of_a_person_follow_each_other(tmp_path: Path, receiver: Receiver) -> None:
    here = rig(tmp_path, destination(receiver, concurrency=8))
    here.arrive([signal(n, email=f"p{n % 4}@example.com", at=T0 + timedelta(seconds=n)) for n in range(80)])
    here.drain()
    for person in range(4):
        numbers = [
            int(event["subject"].split()[1]) for _, event in receiver.taken if event["data"]["who"][1] == str(person)
        ]
        assert numbers == sorted(numbers)
        assert len(numbers) == 20
    assert receiver.crossed == []


def test_gone_stops_the_destination_and_keeps_the_events(tmp_path: Path, receiver: Receiver) -> None:
    receiver.plan = [410]
    here = rig(tmp_path, destination(receiver, concurrency=1))
    here.arrive([signal(n) for n in range(3)])
    here.step()
    assert receiver.taken == []
    here.later(timedelta(hours=2).total_seconds())
    here.drain()
    assert len(receiver.taken) == 3


def test_a_refused_event_is_dead_after_a_few_tries_and_harms_no_other(tmp_path: Path, receiver: Receiver) -> None:
    here = rig(tmp_path, destination(receiver, concurrency=1))
    here.arrive([signal(1, email="a@example.com")])
    receiver.plan = [422, 422, 422]
    for _ in range(8):
        here.drain()
        here.later(600)
    here.arrive([signal(2, email="b@example.com")])
    here.drain()
    assert [row["state"] for row in here.writes if row["state"] == "dead"] == ["dead"]
    assert len(receiver.taken) == 1


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.plan = ["redirect"]
    to = destination(receiver)
    (call,) = to.plan([_write()])
    with pytest.raises(Misconfigured, match="the receiver redirects") as caught:
        to.send(call)
    assert len(receiver.paths) == 1
    assert "pAth" not in str(caught.value)
    assert to.spend().calls == 1
    assert to.spend().calls == 0
    to.close()


def test_a_private_address_gets_nothing(receiver: Receiver) -> None:
    to = destination(receiver, allow_private=False)
    (call,) = to.plan([_write()])
    with pytest.raises(
        Misconfigured, match=r"127\.0\.0\.1 is not an address of the public internet; set allow_private"
    ):
        to.send(call)
    assert receiver.paths == []
    to.close()


def test_check_online_sends_no_event(receiver: Receiver) -> None:
    to = destination(receiver, secret=None)
    findings = {finding.level for finding in to.check_online()}
    assert findings == {Level.WARNING, Level.OK}
    assert receiver.taken == []
    to.close()


def _write() -> Any:
    from syncd.connector import Write

    fields = {"source": "urn:x", "type": "call.missed", "who": "a@example.com"}
    return Write(key="k-1", object="event", key_field="id", fields=fields)
