"""RingCentral's calls by events, poll and backfill, the judgement of queues, its webhooks, and what was published of it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest

from syncd.connector import Batch, Context, NotYet, Request
from syncd.connectors.phone import ringcentral_api
from syncd.connectors.phone.ringcentral import CONNECTOR, RingCentralSettings
from syncd.connectors.phone.ringcentral_api import LIFETIME, read_session
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited, SyncdError
from syncd.http.limits import SourceLimits
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import (
    BackfillConformance,
    HintConformance,
    PollingConformance,
    SubscriptionConformance,
    TwinVendor,
    WebhookConformance,
)
from syncd.time_cursor import TimeCursor, encode
from syncd.twins.fake_events import FakeEvents, comparable
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, changed, listed, removed, token_endpoint
from syncd.twins.wire import TwinCall, TwinResponse

URL, SECRET, JWT, OURS = "https://syncd.example.com/webhooks/phones", "hush0815" * 4, "a-jwt-0815-0815", "+14155550100"
NOW = datetime.now(UTC).replace(microsecond=0)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)


def call_log(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """The newest first, from 24 hours ago unless dateFrom is said; pages are numbered from 1 and the next is named whole."""
    since = call.query.get("dateFrom") or (NOW - timedelta(days=1)).isoformat()
    call.query["dateFrom"] = since
    same = {"telephonySessionId": "telephonySessionId", "sessionId": "sessionId", "type": "type"}
    rows = listed("calls", items="", sort="startTime", newest_first=True, least={"dateFrom": "startTime"}, equal=same)(
        vendor, call, parts
    ).body
    if "dateTo" in call.query:
        until = comparable(call.query["dateTo"])
        rows = [row for row in rows if comparable(row["startTime"]) <= until or row["startTime"] == "some day"]
    page, size = int(call.query.get("page", "1")), int(call.query.get("perPage", "100"))
    address = f"{vendor.url}{call.path}?{urlencode({**call.query, 'page': page + 1})}"
    more = {"nextPage": {"uri": address}} if len(rows) > page * size else {}
    return TwinResponse(200, {"records": rows[(page - 1) * size : page * size], "navigation": more})


def subscribed(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    given = call.json()
    mode = given["deliveryMode"]
    vendor.put_record("hooks", {**given, "deliveryMode": mode, "status": "Active", **ends(given)})
    return TwinResponse(200, vendor.records("hooks")[-1])


def renewed(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    answer = changed("hooks")(vendor, call, parts)
    return TwinResponse(answer.status, {**answer.body, **ends(call.json())} if answer.status == 200 else answer.body)


def ends(given: dict[str, Any]) -> dict[str, Any]:
    at = datetime.now(UTC) + timedelta(seconds=given["expiresIn"])
    return {"expirationTime": at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def signed_in(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """Client and secret in the header, the JWT in the form."""
    basic = base64.b64encode(b"app:app-secret-0815").decode()
    if call.headers.get("authorization") != f"Basic {basic}":
        return TwinResponse(401, {"error": "invalid_client", "errors": [{"errorCode": "OAU-146"}]})
    if (call.form().get("grant_type"), call.form().get("assertion")) != (ringcentral_api.JWT_BEARER, JWT):
        return TwinResponse(400, {"error": "invalid_grant", "error_description": "Token is not valid"})
    return token_endpoint(owner_id="1", refresh_token="unused")(vendor, call, parts)


class FakeRingCentral(FakeVendor):
    """RingCentral's call log and subscriptions, from its published specification."""

    name = "ringcentral"
    absent = (404, "CMN-102")
    throttled = (429, "CMN-301")
    subscriptions = "hooks"
    events = FakeEvents(
        object="calls",
        at="startTime",
        fields={
            "telephonySessionId": "s-{n}",
            "sessionId": "900{n}",
            "type": "Voice",
            "direction": "Inbound",
            "result": "Missed",
            "duration": 20,
            "to": {"phoneNumber": OURS},
        },
        people={"phone": "from.phoneNumber"},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("POST /restapi/oauth/token", signed_in, open=True),
        FakeRoute("GET /restapi/v1.0/account/~/call-log", call_log),
        FakeRoute("GET /restapi/v1.0/subscription", listed("hooks", items="records")),
        FakeRoute("POST /restapi/v1.0/subscription", subscribed),
        FakeRoute("PUT /restapi/v1.0/subscription/{id}", renewed),
        FakeRoute("DELETE /restapi/v1.0/subscription/{id}", removed("hooks")),
    )

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        return TwinResponse(
            status, {"errorCode": code, "message": message, "errors": [{"errorCode": code, "message": message}]}
        )


def source(url: str = "http://127.0.0.1:9", limits: SourceLimits | None = None, **keys: Any) -> Any:
    given = {"client_id": "app", "client_secret": "app-secret-0815", "jwt": JWT, "webhook_token": SECRET, **keys}
    limits = limits or SourceLimits(units=1e9)
    context = Context(name="phones", tokens=MemoryTokens(), region="US", webhook_url=URL, limits=limits)
    return CONNECTOR.build(RingCentralSettings.model_validate({**given, "base_url": url}), context)


def event(id_: str, at: datetime = NOW, *, code: str = "Disconnected", missed: bool = True) -> dict[str, Any]:
    party = {"id": f"p-{id_}", "direction": "Inbound", "status": {"code": code}, "missedCall": missed}
    body = {"telephonySessionId": id_, "sessionId": "1", "eventTime": at.isoformat(), "parties": [party]}
    return {"uuid": "1", "event": "/restapi/v1.0/account/1/telephony/sessions", "subscriptionId": "1", "body": body}


def arrived(body: bytes, headers: dict[str, str] | None = None, tail: str = "", at: datetime = NOW) -> Request:
    shown = {"validation-token": SECRET} if headers is None else headers
    return Request("POST", URL, shown, body, at, tail=tail)


class RingCentralVendor(TwinVendor):
    throttling: ClassVar[dict[str, Any]] = {"on": "GET /restapi/v1.0/account/~/call-log", "do": "too_many"}
    covers_body = False
    auth_headers = ("validation-token",)
    lifetime = LIFETIME

    def request(self, number: int) -> Request:
        at = self.moment(number)
        return arrived(json.dumps(event(f"s-{number}", at)).encode(), at=at)

    def sign(self, body: bytes) -> Request:
        return arrived(body)

    @property
    def secrets(self) -> Sequence[str]:
        return (SECRET, JWT, "app-secret-0815")


@pytest.fixture
def fake() -> Iterator[FakeRingCentral]:
    with FakeRingCentral() as twin:
        yield twin


class TestRingCentral(
    WebhookConformance, HintConformance, PollingConformance, BackfillConformance, SubscriptionConformance
):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeRingCentral, monkeypatch: pytest.MonkeyPatch) -> RingCentralVendor:
        monkeypatch.setattr(ringcentral_api, "PAGE", 3)
        return RingCentralVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeRingCentral) -> Any:
        return lambda: source(fake.url)


def call(fake: FakeRingCentral, id_: str = "s-1", result: str = "Missed", ago: float = 30, **more: Any) -> None:
    began = (NOW - timedelta(minutes=ago)).isoformat()
    party = {"from": {"phoneNumber": "+16505550101"}, "to": {"phoneNumber": OURS}}
    plain = {"type": "Voice", "direction": "Inbound", "duration": 20, "startTime": began, "telephonySessionId": id_}
    fake.add("calls", **{**plain, **party, "result": result, **more})


def polled(made: Any) -> tuple[list[Signal], list[str]]:
    batches: list[Batch] = list(made.poll(encode(TimeCursor(NOW - timedelta(hours=3))), NOW))
    hints = [hint.key for batch in batches for hint in batch.hints]
    return [signal for batch in batches for signal in batch.signals], hints


ALL = ["missed", "answered", "placed"]


@pytest.mark.parametrize(
    ("result", "more", "types"),
    [
        *((word, {}, ["call.missed"]) for word in ("Missed", "No Answer", "Busy", "Hang Up", "Abandoned", "Declined")),
        ("Voicemail", {"legs": [{"result": "Accepted"}]}, ["call.missed"]),
        ("Accepted", {}, ["call.answered"]),
        ("Blocked", {}, []),
        ("A new word", {}, []),
        ("Missed", {"from": {"extensionNumber": "102", "name": "Sam"}}, []),
        ("Missed", {"legs": [{"result": "Missed", "master": True}, {"result": "No Answer"}]}, ["call.missed"]),
        ("Missed", {"legs": [{"result": "Missed", "master": True}, {"result": "Accepted"}]}, ["call.answered"]),
        ("Call connected", {"direction": "Outbound"}, ["call.placed"]),
        ("No Answer", {"direction": "Outbound"}, []),
        ("Call connected", {"direction": "Outbound", "to": {"extensionNumber": "102"}}, []),
        ("Missed", {"type": "Fax"}, []),
        ("Missed", {"from": {}}, ["call.missed"]),
    ],
)
def test_how_a_call_ended(fake: FakeRingCentral, result: str, more: dict[str, Any], types: list[str]) -> None:
    call(fake, result=result, **more)
    signals, hints = polled(source(fake.url, calls=ALL))
    assert ([one.type for one in signals], hints) == (types, [])


def test_a_queue_is_one_call_though_each_agent_has_a_record(fake: FakeRingCentral) -> None:
    call(fake, "s-1")
    call(fake, "s-1", "Missed", 29.9)
    call(fake, "s-1", "Accepted", 29.8)
    call(fake, "s-2", "Missed", 20)
    call(fake, "s-2", "No Answer", 19.9)
    signals, _ = polled(source(fake.url))
    assert [one.data["session_id"] for one in signals] == ["s-2"]


def test_voicemail_may_be_enough(fake: FakeRingCentral) -> None:
    call(fake, result="Voicemail")
    assert polled(source(fake.url, voicemail=False)) == ([], [])


def test_a_signal_says_who_called_and_how_to_call_back(fake: FakeRingCentral) -> None:
    theirs: Any = {"from": {"phoneNumber": "(650) 555-0101", "name": "Kim Example", "location": "San Mateo, CA"}}
    call(fake, **theirs)
    ((signal,), _) = polled(source(fake.url))
    assert (signal.title, signal.reply) == (f"Missed call from Kim Example to {OURS}", "tel:+16505550101")
    assert (signal.person.name, signal.person.raw["location"]) == ("Kim Example", "San Mateo, CA")
    assert signal.occurred_at == NOW - timedelta(minutes=30)


@pytest.mark.parametrize(("name", "place"), [("SAN MATEO CA", ""), ("San Mateo CA", "San Mateo, CA")])
def test_a_place_is_not_a_name(fake: FakeRingCentral, name: str, place: str) -> None:
    theirs: Any = {"from": {"phoneNumber": "+16505550101", "name": name, "location": place}}
    call(fake, **theirs)
    assert polled(source(fake.url))[0][0].person.name == ""


def test_a_call_in_progress_is_judged_when_it_has_ended(fake: FakeRingCentral) -> None:
    call(fake, result="In Progress", id="9")
    made = source(fake.url)
    assert polled(made) == ([], ["s-1"])
    (hint,) = made.parse(arrived(json.dumps(event("s-1")).encode())).hints
    assert isinstance(made.fetch(hint, NOW), NotYet)
    fake.modify("calls", "9", result="Missed")
    assert [one.type for one in made.fetch(hint, NOW).signals] == ["call.missed"]


def test_an_old_call_is_found_by_its_session(fake: FakeRingCentral) -> None:
    call(fake, ago=3 * 24 * 60)
    made = source(fake.url)
    (hint,) = made.parse(arrived(json.dumps(event("s-1")).encode())).hints
    assert len(made.fetch(hint, NOW).signals) == 1


def test_an_event_of_a_call_that_still_rings_brings_nothing() -> None:
    made = source()
    for code in ("Setup", "Proceeding", "Answered"):
        batch = made.parse(arrived(json.dumps(event("s-1", code=code, missed=False)).encode()))
        assert (list(batch.hints), dict(batch.dropped)) == ([], {})


def test_other_events_are_counted_without_their_ids() -> None:
    said = {"event": "/restapi/v1.0/account/37439510/extension/2253168021/presence?detailed=true", "body": {}}
    assert source().parse(arrived(json.dumps(said).encode())).dropped == {"event restapi/account/extension/presence": 1}


@pytest.mark.parametrize("body", [b"{}", b"null", b"{", b'{"event": "/x/telephony/sessions", "body": {}}'])
def test_bodies_that_are_not_events(body: bytes) -> None:
    with pytest.raises(Malformed):
        source().parse(arrived(body))


def test_the_handshake_returns_the_token_and_an_event_is_no_handshake() -> None:
    made = source()
    reply = made.handshake(arrived(b"", {"validation-token": "random-1"}))
    assert (reply.status, reply.headers["Validation-Token"]) == (200, "random-1")
    assert sum(len(name) + len(value) for name, value in reply.headers.items()) < 500
    for no in (arrived(b"{}", {}), arrived(b"", {"validation-token": "x" * 400}), arrived(b'{"event": ""}')):
        assert made.handshake(no) is None


def test_a_secret_in_either_header_or_in_the_address() -> None:
    made = source(webhook_token=["new0815" * 4, SECRET])
    for secret in ("new0815" * 4, SECRET):
        for headers, tail in (({"validation-token": secret}, ""), ({"verification-token": secret}, ""), ({}, secret)):
            made.verifier()(arrived(b"{}", headers, tail), NOW)
    for wrong in (arrived(b"{}", {}), arrived(b"{}", {"validation-token": "random-1"}), arrived(b"{}", {}, "other")):
        with pytest.raises(NotAuthentic):
            made.verifier()(wrong, NOW)
    with pytest.raises(NotAuthentic, match="no webhook_token to compare"):
        source(webhook_token=None).verifier()(arrived(b"{}"), NOW)


def test_a_blacklisted_webhook_is_made_anew_and_a_changed_one_brought_up_to_date(fake: FakeRingCentral) -> None:
    (first,) = source(fake.url).subscribe().there
    fake.modify("hooks", first.id, status="Blacklisted", blacklistedData={"reason": "Read timed out"})
    assert "Read timed out" in source(fake.url).subscriptions()[0].note
    (second,) = source(fake.url).subscribe().there
    assert (second.active, second.url, len(fake.records("hooks"))) == (True, URL, 1)
    source(fake.url, calls=ALL, webhook_token="another0815" * 3).subscribe()
    (row,) = fake.records("hooks")
    assert row["eventFilters"] == ["/restapi/v1.0/account/~/telephony/sessions"]
    assert row["deliveryMode"]["address"] == f"{URL}/{'another0815' * 3}"
    with pytest.raises(SyncdError, match="webhook_token"):
        source(fake.url, webhook_token=None).subscribe()


def test_a_webhook_whose_filter_names_the_account_is_left_as_it_is(fake: FakeRingCentral) -> None:
    (one,) = source(fake.url).subscribe().there
    filters = ["/restapi/v1.0/account/37439510/telephony/sessions?direction=Inbound&missedCall=true"]
    fake.modify("hooks", one.id, eventFilters=filters)
    source(fake.url).subscribe()
    assert fake.records("hooks")[0]["eventFilters"] == filters


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"client_secret": "another-secret"}, "client_secret is wrong"),
        ({"jwt": "another-jwt"}, "create a new one for this app"),
    ],
)
def test_a_refused_sign_in_is_explained(fake: FakeRingCentral, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match=said) as caught:
        polled(source(fake.url, **keys))
    assert not [secret for secret in keys.values() if secret in str(caught.value)]


def test_a_pause_without_retry_after_lasts_as_the_group_says(
    fake: FakeRingCentral, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = TwinResponse(429, {"errorCode": "CMN-301", "message": "slow"}, {"X-Rate-Limit-Window": "47"})
    full = FakeRoute("GET /restapi/v1.0/account/~/call-log", lambda *_: busy)
    monkeypatch.setattr(FakeRingCentral, "routes", (FakeRingCentral.routes[0], full))
    with pytest.raises(RateLimited) as caught:
        polled(source(fake.url))
    assert caught.value.retry_after == 47


def test_ten_calls_a_minute(fake: FakeRingCentral) -> None:
    made = source(fake.url, SourceLimits())
    for _ in range(10):
        polled(made)
    with pytest.raises(RateLimited, match="our share"):
        polled(made)


def test_what_check_online_says(fake: FakeRingCentral) -> None:
    made = source(fake.url)
    assert {one.what: str(one.level) for one in made.check_online()} == {"calls": "ok", "webhook": "warning"}
    made.subscribe()
    assert [one.what for one in made.check_online()] == ["calls"]


def test_a_short_secret_is_not_used(fake: FakeRingCentral) -> None:
    made = source(fake.url, webhook_token="short")
    with pytest.raises(NotAuthentic):
        made.verifier()(arrived(b"{}", {"validation-token": "short"}), NOW)
    with pytest.raises(SyncdError, match="16 letters and digits"):
        made.subscribe()
    assert {one.what: str(one.level) for one in made.check_online()} == {"calls": "ok", "webhook_token": "fault"}


# ---- recorded traffic


def recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "ringcentral.json").read_text("utf-8"))[name]
    return found


@with_recordings
@pytest.mark.parametrize("name", ["telephony-session-event", "telephony-session-event-push-form"])
def test_published_events_are_read(name: str) -> None:
    sent = recording(name)["inbound"]
    made = source(webhook_token="hello" * 4)
    assert made.parse(arrived(json.dumps(sent["body"]).encode())).hints == ()  # the call still rings
    event_ = sent["body"].get("pn_apns", sent["body"])
    event_["body"]["parties"][0]["missedCall"] = True
    (hint,) = made.parse(arrived(json.dumps(sent["body"]).encode())).hints
    assert hint.key == event_["body"]["telephonySessionId"]
    assert hint.data["at"].startswith(event_["body"]["eventTime"][:19])


@with_recordings
@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("call-log-simple", ["completed", "completed"]),
        ("call-log-list", ["completed", "completed"]),
        ("call-log-sync", []),
    ],
)
def test_published_records_are_read(name: str, statuses: list[str]) -> None:
    records = recording(name)["exchanges"][0]["response"]["records"]
    calls = [read_session([one]) for one in records]
    assert [one.status for one in calls if one.id] == statuses
    assert all(one.id.startswith(("s-", "t-")) and one.started_at and one.ended_at for one in calls if one.id)
    assert "SAN FRANCSCO CA" not in {one.caller_name for one in calls}


@with_recordings
def test_a_published_page_names_the_next_as_the_stand_in_does(fake: FakeRingCentral) -> None:
    body = recording("call-log-simple")["exchanges"][0]["response"]
    assert set(body["navigation"]["nextPage"]) == {"uri"}
    for row in body["records"]:
        assert {"telephonySessionId", "sessionId", "startTime", "result", "direction"} <= set(row)


@with_recordings
def test_a_missing_permission_is_named(fake: FakeRingCentral, monkeypatch: pytest.MonkeyPatch) -> None:
    (exchange,) = recording("permission-error")["exchanges"]
    refuses = FakeRoute("GET /restapi/v1.0/account/~/call-log", lambda *_: TwinResponse(403, exchange["response"]))
    monkeypatch.setattr(FakeRingCentral, "routes", (FakeRingCentral.routes[0], refuses))
    with pytest.raises(Misconfigured, match=r"\[ReadCallLog\]") as caught:
        polled(source(fake.url))
    assert caught.value.code == "CMN-401"


@with_recordings
def test_a_published_blacklisted_webhook_of_another_is_listed(fake: FakeRingCentral) -> None:
    (row,) = recording("subscriptions-blacklisted")["exchanges"][0]["response"]["records"]
    fake.add("hooks", **row)
    (one,) = source(fake.url).subscriptions()
    assert (one.active, one.ours, one.state) == (False, False, "Blacklisted")
    assert one.expires_at == datetime(2037, 3, 14, 1, 45, 30, 573000, tzinfo=UTC)
    assert "Read timed out" in one.note
