"""Calls of Zoho Voice: the kit, days of an unknown zone, the pace that never reaches the lockout, and the published row."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Context
from syncd.connectors.phone import zoho_voice
from syncd.connectors.phone.zoho_voice import CONNECTOR, PACE, ZohoVoice, ZohoVoiceSettings, outcome_of, read_call
from syncd.errors import Malformed, Misconfigured, RateLimited
from syncd.http.limits import MemoryRates, SourceLimits
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import BackfillConformance, PollingConformance, TwinVendor
from syncd.time_cursor import encode
from syncd.twins.fake_events import FakeEvents, unix_ms
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, token_endpoint
from syncd.twins.wire import TwinCall, TwinResponse

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
ALL = ["missed", "answered", "placed"]
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
KNOWN = {"from", "size", "fromDate", "toDate", "callType", "numberIds", "agent", "userNumber"}


def logs(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """The rows of these days in the account's zone, by the published page."""
    assert isinstance(vendor, FakeZohoVoice)
    if set(call.query) - KNOWN:
        return TwinResponse(400, {"status": "error", "code": "ZVT010", "message": "Extra parameter found"})
    first, until = call.query["fromDate"], call.query["toDate"]
    rows = [row for row in vendor.records("calls") if first <= vendor.day(row) <= until or row in vendor.spoilt]
    rows.sort(key=lambda row: str(row["start_time"]), reverse=vendor.newest_first)
    start, size = int(call.query["from"]), int(call.query["size"])
    page = [vendor.shown("calls", row) for row in rows[start : start + size]]
    return TwinResponse(200, {"meta": {"total": len(rows)}, "logs": page})


class FakeZohoVoice(FakeVendor):
    """Zoho Voice's call log, by its published pages."""

    name, id_field = "zoho_voice", "logid"
    newest_first, zone = True, timedelta(0)
    events = FakeEvents(
        object="calls",
        id="logid",
        at="start_time",
        key="c3d87e71-70bc-4ebd-a1d1-{:012d}".format,
        time=lambda at: str(unix_ms(at)),
        fields={"call_type": "missed", "did_number": "+1 5555550117", "is_test_call": False, "isBlocked": False},
        people={"phone": "user_number"},
        spoilt={"start_time": "some day"},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("POST /oauth/v2/token", token_endpoint(api_domain="https://www.zohoapis.com"), "token", open=True),
        FakeRoute("GET /rest/json/zv/logs", logs, "logs"),
    )

    def day(self, row: Any) -> str:
        return f"{datetime.fromtimestamp(int(row['start_time']) / 1000, UTC) + self.zone:%Y-%m-%d}"

    def admits(self, call: TwinCall) -> bool:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        return scheme == "Zoho-oauthtoken" and token in self.valid_tokens

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"status": "error", "code": code, "message": message})


class Unlimited(MemoryRates):
    def take(self, *_: Any) -> float:
        return 0.0


def source(
    url: str, *, tokens: MemoryTokens | None = None, refresh: str = "", limits: SourceLimits | None = None, **keys: Any
) -> ZohoVoice:
    auth = {
        "client_id": "client",
        "client_secret": "secret-of-the-client",
        "refresh_token": refresh or uuid.uuid4().hex,
    }
    given = {"auth": auth, "base_url": url, "accounts_url": url, **keys}
    context = Context(
        name="calls", tokens=tokens or MemoryTokens(), region="VN", limits=limits or SourceLimits(Unlimited())
    )
    return ZohoVoice(ZohoVoiceSettings.model_validate(given), context)


class VoiceVendor(TwinVendor):
    throttling: ClassVar[dict[str, Any]] = {"on": "logs", "do": "too_many"}
    breaking: ClassVar[dict[str, Any]] = {"on": "logs", "do": "cut"}

    @property
    def secrets(self) -> Sequence[str]:
        return ("secret-of-the-client",)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoho_voice, "PAGE", 3)


@pytest.fixture
def fake() -> Iterator[FakeZohoVoice]:
    with FakeZohoVoice() as twin:
        yield twin


@pytest.mark.parametrize("order", ["newest first", "oldest first"])
class TestZohoVoice(PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeZohoVoice, order: str) -> VoiceVendor:
        fake.newest_first = order == "newest first"
        return VoiceVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeZohoVoice) -> Callable[..., ZohoVoice]:
        tokens, refresh = MemoryTokens(), uuid.uuid4().hex
        return lambda recall: source(fake.url, tokens=tokens, refresh=refresh)


def call(number: int = 1, **more: Any) -> dict[str, Any]:
    at = unix_ms(NOW + timedelta(minutes=number))
    return {
        "logid": f"id-{number}",
        "call_type": "incoming",
        "start_time": str(at),
        "answer_time": str(at + 1_000),
        "end_time": str(at + 55_000),
        "duration": "00:54",
        "caller_id_number": "+84 912345678",
        "caller_id_name": "Lan Trần",
        "destination_number": "+1 5555550117",
        "did_number": "+1 5555550117",
        "user_number": "+84 912345678",
        "agent_number": "Sam",
        "department": "Sales",
        "hangup_cause": "NORMAL_CLEARING",
        "is_test_call": False,
        "isBlocked": False,
    } | more


MISSED: dict[str, Any] = {"call_type": "missed", "answer_time": "", "duration": "00:00"}
OUT: dict[str, Any] = {
    "call_type": "outgoing",
    "caller_id_number": "+1 5555550117",
    "destination_number": "+84 912345678",
    "caller_id_name": "Acme",
}


def polled(fake: FakeZohoVoice, **keys: Any) -> list[Batch]:
    made = source(fake.url, **keys)
    return list(made.poll(made.start(NOW - timedelta(hours=1)), NOW))


def signals(fake: FakeZohoVoice, **keys: Any) -> list[Signal]:
    return [signal for batch in polled(fake, **keys) for signal in batch.signals]


def test_a_missed_call(fake: FakeZohoVoice) -> None:
    fake.add("calls", **call(1, **MISSED))
    fake.add("calls", **call(2))  # answered: nobody asked for it
    (signal,) = signals(fake)
    assert (signal.type, signal.title) == ("call.missed", "Missed call from Lan Trần to +15555550117")
    assert signal.occurred_at == NOW + timedelta(minutes=1)
    assert signal.person.identities == ("phone:+84912345678",)
    assert signal.reply == "tel:+84912345678"
    assert signal.data["log_id"] == "id-1"
    assert "duration" not in signal.data


def test_answered_and_placed_calls(fake: FakeZohoVoice) -> None:
    fake.add("calls", **call(1))
    fake.add("calls", **call(2, **OUT, duration="01:02:03"))
    answered, placed = signals(fake, calls=ALL)
    assert (answered.type, answered.data["duration"], answered.person.name) == ("call.answered", 54, "Lan Trần")
    assert (placed.type, placed.data["duration"], placed.person.name) == ("call.placed", 3723, "")
    assert placed.person.identities == ("phone:+84912345678",)


@pytest.mark.parametrize(
    ("told", "status", "outcome"),
    [
        (MISSED, "no-answer", "missed"),
        ({}, "completed", "answered"),
        ({"answer_time": ""}, "no-answer", "missed"),
        ({**MISSED, "voicemail": {"recording_duration": 9}}, "voicemail", "missed"),
        ({"voicemail": {"recording_duration": 9}}, "voicemail", "missed"),
        (OUT, "completed", "placed"),
        ({**OUT, "answer_time": ""}, "no-answer", "nothing"),
        ({**OUT, "call_type": "bridged"}, "completed", "placed"),
        ({"call_type": "forward"}, "completed", "answered"),
        ({"end_time": ""}, "open", "open"),
        ({**MISSED, "end_time": None}, "no-answer", "missed"),
    ],
)
def test_how_a_call_ended(told: dict[str, Any], status: str, outcome: str) -> None:
    read = read_call(call(1, **told))
    assert (read.status, outcome_of(read)) == (status, outcome)


def test_a_voicemail_may_count_as_no_missed_call() -> None:
    read = read_call(call(1, **MISSED, voicemail={"recording_duration": 9}))
    assert outcome_of(read, voicemail=False) == "nothing"


def test_what_is_not_a_customers_call_is_counted(fake: FakeZohoVoice) -> None:
    fake.add("calls", **call(1, is_test_call=True))
    fake.add("calls", **call(2, isBlocked=True))
    fake.add("calls", **call(3, call_type="Conference_2"))
    (batch,) = [one for one in polled(fake, calls=ALL) if one.dropped]
    assert batch.dropped == {"test call": 1, "blocked call": 1, "call type conference": 1}


def test_only_calls_of_these_numbers(fake: FakeZohoVoice) -> None:
    fake.add("calls", **call(1, **MISSED))
    fake.add("calls", **call(2, **MISSED, did_number="+1 5555550118"))
    assert [one.data["log_id"] for one in signals(fake, numbers=["+15555550118"])] == ["id-2"]


def test_a_call_that_goes_on_is_read_once_it_has_ended(fake: FakeZohoVoice) -> None:
    fake.add("calls", **call(1, end_time="", answer_time=""))
    fake.add("calls", **call(30, **MISSED))
    made = source(fake.url, calls=ALL)
    (batch,) = made.poll(made.start(NOW - timedelta(hours=1)), NOW)
    assert [one.data["log_id"] for one in batch.signals] == ["id-30"]
    fake.modify("calls", "id-1", **call(1))
    (batch,) = made.poll(batch.state or b"", NOW)
    assert [one.data["log_id"] for one in batch.signals] == ["id-1"]


@pytest.mark.parametrize("zone", [timedelta(hours=-12), timedelta(hours=14)])
def test_the_zone_of_the_days_does_not_matter(fake: FakeZohoVoice, zone: timedelta) -> None:
    fake.zone = zone
    for number in range(3):
        fake.add("calls", **call(number * 600, **MISSED))
    assert [one.data["log_id"] for one in signals(fake)] == ["id-0", "id-600", "id-1200"]


def test_what_is_older_costs_no_call(fake: FakeZohoVoice) -> None:
    for number in range(30):
        fake.add("calls", **call(number * 60, **MISSED))
    state = encode(zoho_voice.LogCursor(NOW + timedelta(hours=27, minutes=30)))
    batches = list(source(fake.url).poll(state, NOW + timedelta(hours=30)))
    assert [one.data["log_id"] for batch in batches for one in batch.signals] == ["id-1680", "id-1740"]
    assert fake.stats()["counts"]["op:logs"] == 3  # nine of thirty


def test_a_long_call_is_found_when_it_has_ended(fake: FakeZohoVoice) -> None:
    fake.add("calls", **call(180, **MISSED))
    made = source(fake.url, calls=ALL)
    (batch,) = made.poll(made.start(NOW), NOW)
    ended = str(unix_ms(NOW + timedelta(minutes=181)))
    fake.add("calls", **call(1, end_time=ended, duration="03:00:00"))
    (batch,) = made.poll(batch.state or b"", NOW)
    assert [one.data["duration"] for one in batch.signals] == [10800]


def test_the_lockout_is_never_reached() -> None:
    """In no minute more than 30 calls, however long and hard it is tried, with any quota."""
    for units in (None, 2_400):
        bucket = SourceLimits(MemoryRates(), units=units).paced("account", "calls", PACE)
        now, made = NOW, list[datetime]()
        for _ in range(3_000):
            if not bucket.book.take(bucket.account, 1, bucket.rate, now):
                made.append(now)
            now += timedelta(seconds=0.1)
        counts = [sum(at <= one < at + timedelta(minutes=1) for one in made) for at in made]
        assert 8 <= max(counts) <= 30


def test_a_reading_that_the_pace_interrupts_goes_on_where_it_was(fake: FakeZohoVoice) -> None:
    for number in range(60):
        fake.add("calls", **call(number, **MISSED))
    made = source(fake.url, limits=SourceLimits())
    state, got = made.start(NOW - timedelta(hours=1)), set[str]()
    batches = made.poll(state, NOW)
    for _ in range(8):
        batch = next(batches)
        state = batch.state or state
        got |= {one.data["log_id"] for one in batch.signals}
    with pytest.raises(RateLimited, match="our share"):
        next(batches)
    assert len(got) == 24
    fake.add("calls", **call(60, **MISSED))  # shifts the pages meanwhile
    rest = source(fake.url)
    for _ in range(2):
        for batch in rest.poll(state, NOW):
            state = batch.state or state
            got |= {one.data["log_id"] for one in batch.signals}
    assert len(got) == 61


@pytest.mark.parametrize(("status", "text"), [(403, "ZohoVoice.call.READ"), (404, "check data_center")])
def test_errors_say_what_to_do(fake: FakeZohoVoice, status: int, text: str) -> None:
    fake.plan.add([{"on": "logs", "do": "error", "status": status, "code": "ZVT000", "message": "No"}])
    with pytest.raises(Misconfigured, match=text):
        signals(fake)


def test_a_locked_account_is_left_alone_for_ten_minutes(fake: FakeZohoVoice) -> None:
    fake.plan.add([{"on": "logs", "do": "error", "status": 429, "code": "ZVT001", "message": "locked"}])
    with pytest.raises(RateLimited) as caught:
        signals(fake)
    assert caught.value.retry_after == 600


def test_what_check_online_says(fake: FakeZohoVoice) -> None:
    assert [(one.what, str(one.level)) for one in source(fake.url).check_online()] == [("calls", "ok")]


def test_a_row_without_an_id_is_named() -> None:
    with pytest.raises(Malformed, match="the call: a call without a logid"):
        read_call({"start_time": "1764831298000"})


@with_recordings
def test_the_published_row_is_read() -> None:
    recorded = json.loads((Path(RECORDINGS) / "zoho-voice.json").read_text("utf-8"))
    (row,) = recorded["log"]["exchanges"][0]["response"]["logs"]
    read = read_call(row)
    assert (read.status, outcome_of(read), read.from_, read.to) == (
        "completed",
        "answered",
        "+15555550142",
        "+15555550117",
    )
    assert (read.started_at, read.talked) == (datetime(2025, 12, 4, 6, 54, 58, tzinfo=UTC), "54")
    assert zoho_voice.left_out(row) == ""


@with_recordings
def test_the_stand_in_has_the_published_shape(fake: FakeZohoVoice) -> None:
    recorded = json.loads((Path(RECORDINGS) / "zoho-voice.json").read_text("utf-8"))
    body = recorded["log"]["exchanges"][0]["response"]
    fake.add("calls", **body["logs"][0])
    made = source(fake.url, calls=ALL)
    (batch,) = made.backfill(datetime(2025, 12, 1, tzinfo=UTC), datetime(2025, 12, 5, tzinfo=UTC), None)
    assert [one.type for one in batch.signals] == ["call.answered"]
