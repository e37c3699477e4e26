"""Twilio: what a missed call is, on every route, against a small account behind `responses`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
import responses
from pydantic import ValidationError
from requests import PreparedRequest
from twilio.request_validator import RequestValidator

from syncd.connector import (
    Backfillable,
    Batch,
    Context,
    Hint,
    HintSource,
    NotYet,
    PollingSource,
    Request,
    WebhookSource,
)
from syncd.connectors.phone.twilio import CONNECTOR, Twilio, TwilioSettings
from syncd.errors import Failure, Malformed, Misconfigured, NotAuthentic, RateLimited, Transient
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal, derive_id
from syncd.signatures.verifier import FORM
from syncd.time_cursor import TimeCursor

ACCOUNT = "AC" + "0" * 32
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
URL = "https://syncd.example.com/webhooks/phones"
BASE = "https://api.twilio.com"
ROOT = f"/2010-04-01/Accounts/{ACCOUNT}"


def source(memory: dict[str, str] | None = None, **keys: Any) -> Twilio:
    settings = TwilioSettings.model_validate({"account_sid": ACCOUNT, "auth_token": "t0ken", **keys})
    context = Context(
        name="phones",
        tokens=MemoryTokens(),
        region="VN",
        webhook_url=URL,
        clock=lambda: NOW,
        recall=lambda names: {name: value for name, value in (memory or {}).items() if name in names},
    )
    built = CONNECTOR.build(settings, context)
    assert isinstance(built, Twilio)
    return built


def callback(**fields: str) -> Request:
    form = {
        "CallSid": "CA1",
        "AccountSid": ACCOUNT,
        "From": "+84912345678",
        "To": "+842412345678",
        "Direction": "inbound",
        "Timestamp": "Sun, 22 Nov 2026 02:18:51 +0000",
        **fields,
    }
    signature = RequestValidator("t0ken").compute_signature(URL, form)
    headers = {"content-type": FORM, "x-twilio-signature": signature}
    return Request(method="POST", url=URL, headers=headers, body=urlencode(form).encode(), received_at=NOW)


class Account:
    """Calls behind Calls.json: filters, newest first, pages of two."""

    def __init__(self) -> None:
        self.calls: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.now = NOW

    def add(
        self, sid: str, status: str, *, parent: str = "", minutes_ago: float = 60, lasted: float = 1, **more: Any
    ) -> None:
        started = NOW - timedelta(minutes=minutes_ago)
        ended = (
            format_datetime(started + timedelta(minutes=lasted)) if status not in ("ringing", "in-progress") else None
        )
        self.calls[sid] = {
            "sid": sid,
            "parent_call_sid": parent or None,
            "direction": "outbound-dial" if parent else "inbound",
            "status": status,
            "from": "+84912345678",
            "to": "+842412345678",
            "start_time": format_datetime(started),
            "end_time": ended,
            "date_created": format_datetime(started),
            "caller_name": None,
            **more,
        }

    def list(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        parts = urlsplit(str(request.url))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(parts.query)
        rows = sorted(self.calls.values(), key=lambda row: _time(row["start_time"]), reverse=True)
        rows = [row for row in rows if "ParentCallSid" not in query or row["parent_call_sid"] == query["ParentCallSid"]]
        if "StartTime>" in query:
            rows = [row for row in rows if _time(row["start_time"]) >= datetime.fromisoformat(query["StartTime>"])]
        if "StartTime<" in query:
            rows = [row for row in rows if _time(row["start_time"]) <= datetime.fromisoformat(query["StartTime<"])]
        page = int(query.get("Page", "0"))
        following = f"{ROOT}/Calls.json?{urlencode({**query, 'Page': page + 1})}" if len(rows) > 2 * page + 2 else None
        body = {"calls": rows[2 * page : 2 * page + 2], "next_page_uri": following}
        return 200, {"Date": format_datetime(self.now, usegmt=True)}, json.dumps(body)

    def one(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        sid = urlsplit(str(request.url)).path.rpartition("/")[2].removesuffix(".json")
        row = self.calls.get(sid)
        return (200, {}, json.dumps(row)) if row else (404, {}, '{"code": 20404, "message": "not found"}')


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S %z")


@pytest.fixture
def account() -> Iterator[Account]:
    made = Account()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add_callback("GET", re.compile(f"{BASE}{ROOT}/Calls\\.json.*"), made.list)
        mock.add_callback("GET", re.compile(f"{BASE}{ROOT}/Calls/.*"), made.one)
        yield made


def ids(*sids: str) -> set[Any]:
    return {derive_id("twilio", ACCOUNT, "call.missed", sid) for sid in sids}


def fetched(made: Twilio, key: str) -> Batch:
    found = made.fetch(Hint(key=key), NOW)
    assert isinstance(found, Batch)
    return found


def all_of(batches: Iterator[Batch]) -> tuple[list[Signal], list[Hint], bytes]:
    signals: list[Signal] = []
    hints: list[Hint] = []
    state = b""
    for batch in batches:
        signals += batch.signals
        hints += batch.hints
        state = batch.state or state
    return signals, hints, state


def test_it_is_all_kinds_of_source() -> None:
    for kind in (WebhookSource, HintSource, PollingSource, Backfillable):
        assert isinstance(source(), kind)


# ---- callbacks


@pytest.mark.parametrize("status", ["no-answer", "busy", "canceled", "failed"])
def test_an_inbound_call_nobody_took_is_a_signal_at_once(status: str) -> None:
    made = source()
    request = callback(CallStatus=status, FromCity="HANOI", CallerName="TRAN BINH")
    made.verifier()(request, NOW)
    (signal,) = made.parse(request).signals
    assert signal.id in ids("CA1")
    assert signal.occurred_at == datetime(2026, 11, 22, 2, 18, 51, tzinfo=UTC)
    assert (signal.person.phone, signal.person.name) == ("+84912345678", "TRAN BINH")
    assert signal.person.raw["city"] == "HANOI"
    assert signal.reply == "tel:+84912345678"
    assert signal.title == "Missed call from TRAN BINH to +842412345678"
    assert (signal.data["status"], signal.route) == (status, Route.WEBHOOK)


def test_a_forged_callback_is_refused() -> None:
    request = callback(CallStatus="no-answer")
    forged = Request(method="POST", url=URL, headers=request.headers, body=request.body + b"&a=1", received_at=NOW)
    with pytest.raises(NotAuthentic):
        source().verifier()(forged, NOW)


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        ({"CallSid": "CA2", "ParentCallSid": "CA1", "Direction": "outbound-dial", "CallStatus": "no-answer"}, "CA1"),
        ({"CallStatus": "in-progress", "DialCallStatus": "busy"}, "CA1"),
        ({"CallStatus": "completed"}, "CA1"),
    ],
)
def test_what_is_not_final_by_itself_is_a_hint_on_the_parent(fields: dict[str, str], about: str) -> None:
    batch = source().parse(callback(**fields))
    assert [hint.key for hint in batch.hints] == [about]
    assert not batch.signals


@pytest.mark.parametrize(
    "fields",
    [
        {"CallStatus": "ringing"},
        {"CallStatus": "in-progress"},
        {"CallStatus": "no-answer", "Direction": "outbound-api"},
        {"CallStatus": "in-progress", "DialCallStatus": "completed", "RecordingUrl": "https://api.twilio.com/r"},
        {"CallSid": "CA2", "ParentCallSid": "CA1", "Direction": "outbound-dial", "CallStatus": "ringing"},
        {"CallSid": "CA2", "ParentCallSid": "CA1", "Direction": "outbound-dial", "CallStatus": "completed"},
    ],
)
def test_what_says_nothing_of_a_missed_call(fields: dict[str, str]) -> None:
    batch = source().parse(callback(**fields))
    assert [*batch.signals, *batch.hints, *batch.remember] == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"AccountSid": "AC" + "1" * 32, "CallStatus": "busy"}, "AccountSid"),
        ({"CallSid": "../x", "CallStatus": "busy"}, "CallSid"),
        ({"Timestamp": "soon", "CallStatus": "busy"}, "Timestamp"),
    ],
)
def test_a_callback_that_cannot_be_understood(fields: dict[str, str], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        source().parse(callback(**fields))


@pytest.mark.parametrize(
    "number", ["+266696687", "anonymous", "Restricted", "", "sip:1001@pbx.example", "sip:ann@pbx.example", "client:ann"]
)
def test_a_caller_who_hides_is_nobody_and_stays_in_raw(number: str) -> None:
    (signal,) = source().parse(callback(From=number, CallStatus="busy")).signals
    assert signal.person.identity == ""
    assert signal.person.raw["from"] == number
    assert signal.reply == ""


@pytest.mark.parametrize(
    "number", ["sip:+84912345678@pbx.example;user=phone", "whatsapp:+84912345678", "tel:+84912345678"]
)
def test_a_number_is_taken_out_of_its_scheme(number: str) -> None:
    (signal,) = source().parse(callback(From=number, CallStatus="busy")).signals
    assert signal.person.identity == "phone:+84912345678"
    assert signal.person.raw["from"] == number


def test_only_our_numbers() -> None:
    made = source(numbers=["024 1234 5678"])
    assert made.parse(callback(CallStatus="busy")).signals
    assert not made.parse(callback(CallStatus="busy", To="+15005550006")).signals


def test_keys_are_checked() -> None:
    with pytest.raises(ValidationError, match="account_sid"):
        source(account_sid="AC1")
    with pytest.raises(ValidationError, match="plain http"):
        source(base_url="http://twilio.example")


# ---- hints


def test_a_ring_group_nobody_took_is_one_signal(account: Account) -> None:
    account.add("CA1", "completed")
    for leg, status in (("CA2", "no-answer"), ("CA3", "busy"), ("CA4", "canceled")):
        account.add(leg, status, parent="CA1")
    (signal,) = fetched(source(), "CA1").signals
    assert signal.id in ids("CA1")
    assert signal.person.phone == "+84912345678", "the person is the parent's caller"
    assert {leg["status"] for leg in signal.data["legs"]} == {"no-answer", "busy", "canceled"}


def test_any_leg_that_completed_wins(account: Account) -> None:
    account.add("CA1", "completed")
    account.add("CA2", "no-answer", parent="CA1")
    account.add("CA3", "completed", parent="CA1")
    assert not fetched(source(), "CA1").signals


@pytest.mark.parametrize(("parent", "leg"), [("in-progress", "no-answer"), ("completed", "ringing")])
def test_a_call_still_going_on_is_judged_later(account: Account, parent: str, leg: str) -> None:
    account.add("CA1", parent, minutes_ago=4)
    account.add("CA2", leg, parent="CA1", minutes_ago=4)
    assert source().fetch(Hint(key="CA1"), NOW) == NotYet(NOW + timedelta(minutes=1))


def test_a_call_that_just_ended_may_have_legs_not_listed_yet(account: Account) -> None:
    account.add("CA1", "completed", minutes_ago=1.5, lasted=1)
    assert isinstance(source().fetch(Hint(key="CA1"), NOW), NotYet)
    account.add("CA1", "completed", minutes_ago=10, lasted=1)
    assert not fetched(source(), "CA1").signals, "a call our own application took"


def test_a_voicemail_is_where_to_look(account: Account) -> None:
    account.add("CA1", "completed")
    account.add("CA2", "no-answer", parent="CA1")
    batch = source().parse(callback(RecordingUrl="https://api.twilio.com/rec/RE1", CallStatus="in-progress"))
    assert [hint.key for hint in batch.hints] == ["CA1"]
    memory = {name: value for name, value in batch.remember.items() if value}
    found = fetched(source(memory), "CA1")
    assert found.signals[0].url == "https://api.twilio.com/rec/RE1"
    assert found.remember == {"recording:CA1": None}


def test_a_hint_on_a_call_that_is_gone_or_a_leg_or_outbound(account: Account) -> None:
    assert not fetched(source(), "CA9").signals
    account.add("CA2", "no-answer", parent="CA1")
    assert [hint.key for hint in fetched(source(), "CA2").hints] == ["CA1"]
    account.add("CA3", "no-answer", direction="outbound-api")
    assert not fetched(source(), "CA3").signals


# ---- poll and backfill


def test_the_same_call_is_one_signal_by_webhook_poll_and_backfill(account: Account) -> None:
    account.add("CA1", "no-answer", minutes_ago=30)
    made = source()
    by_poll, _, _ = all_of(made.poll(_state(minutes_ago=60), NOW))
    by_backfill, _, _ = all_of(made.backfill(NOW - timedelta(hours=1), NOW, None))
    by_webhook = made.parse(callback(CallStatus="no-answer")).signals
    assert {one.id for one in (*by_poll, *by_backfill, *by_webhook)} == ids("CA1")
    assert [one.route for one in (*by_poll, *by_backfill)] == [Route.POLL, Route.BACKFILL]


def _state(minutes_ago: float) -> bytes:
    return msgspec.json.encode(TimeCursor(NOW - timedelta(minutes=minutes_ago)))


def test_a_poll_joins_legs_to_parents_over_pages(account: Account) -> None:
    account.add("CA1", "completed", minutes_ago=50)
    account.add("CA1a", "no-answer", parent="CA1", minutes_ago=49.9)
    account.add("CA1b", "busy", parent="CA1", minutes_ago=49.9)
    account.add("CA2", "completed", minutes_ago=40)
    account.add("CA2a", "completed", parent="CA2", minutes_ago=39.9)
    account.add("CA3", "canceled", minutes_ago=30)
    account.add("CA4", "in-progress", minutes_ago=2)
    account.add("CA5", "completed", minutes_ago=1.2, lasted=1)
    signals, hints, state = all_of(source().poll(_state(minutes_ago=60), NOW))
    assert {one.id for one in signals} == ids("CA1", "CA3")
    assert {hint.key for hint in hints} == {"CA4", "CA5"}
    again, hinted, _ = all_of(source().poll(state, NOW))
    assert (again, hinted) == ([], []), "what was seen at the boundary is not seen twice"


def test_a_call_that_shows_late_is_found(account: Account) -> None:
    account.add("CA1", "no-answer", minutes_ago=20)
    _, _, state = all_of(source().poll(_state(minutes_ago=60), NOW))
    account.add("CA2", "no-answer", minutes_ago=25)
    signals, _, _ = all_of(source().poll(state, NOW))
    assert {one.id for one in signals} == ids("CA2")


def test_after_a_long_stop_the_poll_walks_day_by_day(account: Account) -> None:
    for days in range(5):
        account.add(f"CA{days}", "no-answer", minutes_ago=days * 1440 + 90)
    signals, _, state = all_of(source().poll(_state(minutes_ago=4.5 * 1440), NOW))
    assert {one.id for one in signals} == ids("CA0", "CA1", "CA2", "CA3", "CA4")
    assert len([query for query in account.asked if "Page=" not in query]) == 5
    assert all_of(source().poll(state, NOW))[0] == []


def test_after_a_long_stop_a_call_whose_legs_began_after_the_window_is_not_lost(account: Account) -> None:
    days = 1440.0
    account.add(
        "CA1", "completed", minutes_ago=days + 0.2, lasted=40
    )  # the first of two windows ends at 1440 minutes ago
    account.add("CA1a", "no-answer", parent="CA1", minutes_ago=days - 0.1)
    signals, hints, _ = all_of(source().poll(_state(minutes_ago=2 * days), NOW))
    assert {one.id for one in signals} | {hint.key for hint in hints} == {"CA1"}, (
        "judged through REST, with all its legs"
    )
    assert {one.id for one in fetched(source(), "CA1").signals} == ids("CA1")


@pytest.mark.parametrize("ours", [timedelta(days=300), timedelta(days=-300)])
def test_a_clock_of_ours_that_is_wrong_moves_no_cursor(account: Account, ours: timedelta) -> None:
    made = source()
    assert made.start(NOW + ours) == _state(0)
    account.add("CA1", "no-answer", minutes_ago=5)
    account.now = NOW
    signals, _, _ = all_of(made.poll(_state(30), NOW + ours))
    assert {one.id for one in signals} == ids("CA1")


def test_a_backfill_takes_its_range_and_goes_on_where_it_stopped(account: Account) -> None:
    for hours in (1, 20, 30, 55, 80):
        account.add(f"CA{hours}", "no-answer", minutes_ago=hours * 60)
    since, until = NOW - timedelta(hours=60), NOW - timedelta(hours=20)
    first, *_ = made = list(source().backfill(since, until, None))
    assert {one.id for batch in made for one in batch.signals} == ids("CA30", "CA55")
    rest, _, _ = all_of(source().backfill(since, until, first.state))
    assert {one.id for one in rest} == ids("CA30")


def test_a_call_that_crosses_the_end_of_a_window_is_joined_with_its_legs(account: Account) -> None:
    account.add("CA1", "completed", minutes_ago=120, lasted=30)
    account.add("CA2", "no-answer", parent="CA1", minutes_ago=95)
    signals, hints, _ = all_of(source().backfill(NOW - timedelta(hours=3), NOW - timedelta(minutes=110), None))
    assert {one.id for one in signals} == ids("CA1")
    assert hints == []


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (401, '{"code": 20003, "message": "Authenticate"}', {}, Misconfigured),
        (403, "{}", {}, Misconfigured),
        (429, '{"code": 20429}', {"Retry-After": "7"}, RateLimited),
        (400, '{"code": 20429}', {}, RateLimited),
        (500, "<html>", {}, Transient),
        (200, "<html>", {}, Transient),
        (200, '{"calls": 1}', {}, Transient),
        (418, '{"code": []}', {}, Transient),
    ],
)
@responses.activate
def test_what_twilio_says_when_it_does_not_answer(
    status: int, body: str, headers: dict[str, str], expected: type[Failure]
) -> None:
    responses.get(f"{BASE}{ROOT}/Calls.json", status=status, body=body, headers=headers)
    with pytest.raises(expected) as caught:
        list(source().poll(_state(5), NOW))
    assert "t0ken" not in str(caught.value)


# ---- answered and placed calls

EVERY_CALL: dict[str, Any] = {"calls": ["missed", "answered", "placed"]}


def typed(kind: str, *sids: str) -> set[Any]:
    return {derive_id("twilio", ACCOUNT, kind, sid) for sid in sids}


def test_an_answered_call_is_one_signal_on_all_routes(account: Account) -> None:
    account.add("CA1", "completed", minutes_ago=30)
    account.add("CA2", "no-answer", parent="CA1", minutes_ago=29.9)
    account.add("CA3", "completed", parent="CA1", minutes_ago=29.9, duration="47", to="+84987654321")
    made = source(**EVERY_CALL)
    leg = {"CallSid": "CA3", "ParentCallSid": "CA1", "Direction": "outbound-dial", "CallStatus": "completed"}
    (hint,) = made.parse(callback(**leg)).hints
    (by_webhook,) = fetched(made, hint.key).signals
    by_poll, _, _ = all_of(made.poll(_state(minutes_ago=60), NOW))
    by_backfill, _, _ = all_of(made.backfill(NOW - timedelta(hours=1), NOW, None))
    assert {one.id for one in (by_webhook, *by_poll, *by_backfill)} == typed("call.answered", "CA1")
    assert (by_webhook.person.phone, by_webhook.data["duration"]) == ("+84912345678", 47)
    assert by_webhook.title == "Answered call from +84912345678"
    assert by_webhook.direction == "out"


@pytest.mark.parametrize(
    ("parent", "leg"),
    [
        ({"direction": "outbound-api", "to": "+84912345678", "from": "+842412345678"}, None),
        ({"direction": "outbound-api", "to": "+84987654321", "from": "+842412345678"}, {"to": "+84912345678"}),
        ({"from": "client:an", "to": ""}, {"to": "+84912345678"}),
    ],
    ids=["straight to the customer", "to the agent first", "from a browser phone"],
)
def test_a_call_we_placed_is_about_whom_we_called(
    account: Account, parent: dict[str, Any], leg: dict[str, Any] | None
) -> None:
    account.add("CA1", "completed", minutes_ago=30, **parent)
    if leg is not None:
        account.add("CA2", "completed", parent="CA1", minutes_ago=29.9, **leg)
    (signal,) = fetched(source(**EVERY_CALL), "CA1").signals
    assert signal.id in typed("call.placed", "CA1")
    assert signal.person.identity == "phone:+84912345678"
    assert signal.title == "Call to +84912345678"


def test_answered_and_placed_calls_are_off_unless_asked_for(account: Account) -> None:
    account.add("CA1", "completed", minutes_ago=30)
    account.add("CA2", "completed", parent="CA1", minutes_ago=29.9)
    account.add("CA3", "completed", minutes_ago=20, direction="outbound-api")
    assert all_of(source().poll(_state(minutes_ago=60), NOW))[:2] == ([], [])
    assert len(all_of(source(**EVERY_CALL).poll(_state(minutes_ago=60), NOW))[0]) == 2


def test_a_call_of_ours_that_nobody_answered_reached_no_one(account: Account) -> None:
    account.add("CA1", "no-answer", minutes_ago=30, direction="outbound-api")
    account.add("CA2", "completed", minutes_ago=30, direction="outbound-api")
    account.add("CA3", "busy", parent="CA2", minutes_ago=29.9)
    assert all_of(source(**EVERY_CALL).poll(_state(minutes_ago=60), NOW))[0] == []


def test_without_the_api_a_dial_that_was_answered_is_an_answered_call() -> None:
    made = CONNECTOR.build(
        TwilioSettings.model_validate({"account_sid": ACCOUNT, "auth_token": "t0ken", "api": False, **EVERY_CALL}),
        Context(name="phones", tokens=MemoryTokens(), region="VN", webhook_url=URL),
    )
    (signal,) = made.parse(callback(CallStatus="in-progress", DialCallStatus="completed")).signals
    assert signal.id in typed("call.answered", "CA1")


# ---- many hints at once


def hints(*sids: str) -> list[Hint]:
    return [Hint(key=sid, data={"at": (NOW - timedelta(minutes=30)).isoformat()}) for sid in sids]


def test_many_hints_are_judged_by_one_list(account: Account) -> None:
    for number in range(3):
        account.add(f"CA{number}", "completed", minutes_ago=40 - number)
        account.add(f"CA{number}L", "no-answer", parent=f"CA{number}", minutes_ago=39.5 - number)
    answers = source().fetch_many(hints("CA0", "CA1", "CA2"), NOW)
    assert {one.id for answer in answers if isinstance(answer, Batch) for one in answer.signals} == ids(
        "CA0", "CA1", "CA2"
    )
    assert len(account.asked) == 3, "three pages of two calls, and no call of a single one"


def test_what_the_list_does_not_have_is_fetched_alone(account: Account) -> None:
    account.add("CA1", "no-answer", minutes_ago=40)
    account.add("CA2", "no-answer", minutes_ago=40 * 60)
    found = source().fetch_many(hints("CA1", "CA2", "CA9"), NOW)
    assert [len(answer.signals) for answer in found if isinstance(answer, Batch)] == [1, 1, 0]


def test_a_leg_among_many_hints_leads_to_its_parent(account: Account) -> None:
    account.add("CA1", "completed", minutes_ago=40)
    account.add("CA2", "no-answer", parent="CA1", minutes_ago=39.9)
    first, second = source().fetch_many(hints("CA2", "CA1"), NOW)
    assert isinstance(first, Batch)
    assert isinstance(second, Batch)
    assert [hint.key for hint in first.hints] == ["CA1"]
    assert {one.id for one in second.signals} == ids("CA1")
