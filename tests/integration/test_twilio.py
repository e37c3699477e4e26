"""The Twilio source against its twin, over HTTP: callbacks as Twilio signs them, pages, judgement, faults."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from syncd.connector import Batch, Context, NotYet, Request
from syncd.connectors.phone.twilio import CONNECTOR, Twilio, TwilioSettings
from syncd.errors import Failure, Misconfigured, NotAuthentic, RateLimited, Transient
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal, derive_id
from syncd.time_cursor import TimeCursor
from syncd.twins.twilio import TwilioTwin

URL = "https://syncd.example.com:8443/webhooks/phones?x=1"
NOW = datetime.now(UTC).replace(microsecond=0)
TOKEN = "twin-token"
CALLER = {"from": "+84912345678", "to": "+842412345678"}


@pytest.fixture(scope="module")
def server() -> Iterator[TwilioTwin]:
    with TwilioTwin() as twin:
        yield twin


@pytest.fixture
def twin(server: TwilioTwin) -> TwilioTwin:
    server.reset()
    return server


def source(twin: TwilioTwin, token: str = TOKEN) -> Twilio:
    settings = TwilioSettings.model_validate(
        {"account_sid": twin.account_sid, "auth_token": token, "base_url": twin.url}
    )
    made = CONNECTOR.build(settings, Context(name="phones", tokens=MemoryTokens(), region="VN", clock=lambda: NOW))
    assert isinstance(made, Twilio)
    return made


def call(twin: TwilioTwin, status: str, minutes_ago: float, parent: str = "", **more: Any) -> str:
    leg = {"parent_call_sid": parent, "direction": "outbound-dial", "to": "+84987654321"} if parent else {}
    start = (NOW - timedelta(minutes=minutes_ago)).timestamp()
    return twin.add("calls", status=status, start=start, **{**CALLER, **leg, **more})


def receive(made: Twilio, delivery: tuple[dict[str, str], bytes]) -> Batch:
    headers, body = delivery
    lowered = {name.lower(): value for name, value in headers.items()}
    request = Request(method="POST", url=URL, headers=lowered, body=body, received_at=NOW, query=[("x", "1")])
    made.verifier()(request, NOW)
    return made.parse(request)


def polled(made: Twilio, **ago: float) -> tuple[list[Signal], list[str], bytes]:
    batches = list(made.poll(msgspec.json.encode(TimeCursor(NOW - timedelta(**ago))), NOW))
    signals = [one for batch in batches for one in batch.signals]
    return signals, [hint.key for batch in batches for hint in batch.hints], batches[-1].state or b""


def missed(twin: TwilioTwin, *sids: str) -> set[Any]:
    return {derive_id("twilio", twin.account_sid, "call.missed", sid) for sid in sids}


def test_a_ring_group_is_one_signal_by_callbacks_poll_and_backfill(twin: TwilioTwin) -> None:
    made = source(twin)
    parent = call(twin, "in-progress", 10)
    legs = [call(twin, status, 9.9, parent) for status in ("no-answer", "busy", "canceled")]
    batches = [receive(made, twin.callback(leg, URL)) for leg in legs]
    assert {hint.key for batch in batches for hint in batch.hints} == {parent}
    hint = batches[0].hints[0]
    assert isinstance(made.fetch(hint, NOW), NotYet)
    twin.modify(parent, status="completed", end=(NOW - timedelta(minutes=9)).timestamp())
    judged = made.fetch(hint, NOW)
    assert isinstance(judged, Batch)
    (signal,) = judged.signals
    assert (signal.person.phone, len(signal.data["legs"])) == ("+84912345678", 3)
    signals, hints, state = polled(made, hours=1)
    assert (signals[0].id, len(signals), hints) == (signal.id, 1, [])
    assert list(made.poll(state, NOW)) == [], "nothing new costs no commit"
    backfilled = [one for batch in made.backfill(NOW - timedelta(days=3), NOW, None) for one in batch.signals]
    assert [one.id for one in backfilled] == [signal.id]


def test_a_callback_final_by_itself_and_a_forged_one(twin: TwilioTwin) -> None:
    made = source(twin)
    sid = call(twin, "busy", 10)
    headers, body = twin.callback(sid, URL)
    assert {one.id for one in receive(made, (headers, body)).signals} == missed(twin, sid)
    with pytest.raises(NotAuthentic):
        receive(made, (headers, body + b"&From=%2B1"))
    with pytest.raises(NotAuthentic):
        receive(source(twin, "another-token"), (headers, body))


def test_many_pages(twin: TwilioTwin) -> None:
    sids = [call(twin, "no-answer", 60 + number / 100) for number in range(1200)]
    signals, _, _ = polled(source(twin), hours=2)
    assert {one.id for one in signals} == missed(twin, *sids)
    assert sum(one["operation"] == "list" for one in twin.calls) == 2


def test_an_answered_call_costs_no_call_of_its_own(twin: TwilioTwin) -> None:
    for number in range(5):
        parent = call(twin, "completed", 60 - number)
        call(twin, "completed", 59.9 - number, parent)
    assert polled(source(twin), hours=2)[:2] == ([], [])
    assert [one["operation"] for one in twin.calls] == ["list"]


def test_a_source_starts_at_twilios_now(twin: TwilioTwin) -> None:
    state = msgspec.json.decode(source(twin).start(NOW + timedelta(days=9)), type=TimeCursor)
    assert abs(state.since - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("do", "expected"),
    [("too_many", RateLimited), ("unavailable", Transient), ("html", Transient), ("truncate", Transient)],
)
def test_faults_become_classes(do: str, expected: type[Failure]) -> None:
    with TwilioTwin(faults=[{"on": "list", "do": do, "times": 9}]) as twin, pytest.raises(expected):
        polled(source(twin), hours=1)


def test_a_wrong_token_is_for_a_person(twin: TwilioTwin) -> None:
    with pytest.raises(Misconfigured, match="auth_token is wrong") as caught:
        polled(source(twin, "another-token"), hours=1)
    assert caught.value.code == "20003"
    assert "another-token" not in str(caught.value)
