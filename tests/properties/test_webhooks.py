"""Hostile input at the webhook receiver: a verifier raises NotAuthentic or nothing, a parser Malformed or nothing."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Context, Request, Verifier, WebhookSource
from syncd.connectors.desk.zoho import ZohoDesk
from syncd.connectors.desk.zoho_receiver import ZohoDeskSettings
from syncd.connectors.generic.paths import compile_template
from syncd.connectors.generic.webhook import Webhook, WebhookSettings
from syncd.connectors.phone.call_log import LAG
from syncd.connectors.phone.calls import ENDED, MISSED, CallOutcome, PhoneCall, judge
from syncd.connectors.phone.twilio import Twilio, TwilioSettings
from syncd.connectors.times import read_time
from syncd.errors import KeyUnavailable, Malformed, NotAuthentic
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal, decode_signal, encode
from syncd.signatures.jwt import KeySet, jwt
from syncd.signatures.shared_secret import basic, bearer, path
from syncd.signatures.verifier import FORM
from syncd.time_cursor import TimeCursor, mark_of
from tests.named_styles import STYLES, verifier

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
CONTEXT = Context(name="door", tokens=MemoryTokens(), region="VN", clock=lambda: NOW)
KINDS = st.sampled_from(
    ["application/json", FORM, "application/cloudevents+json", "application/cloudevents-batch+json", "text/plain", ""]
) | st.sampled_from(["multipart/form-data; boundary=x", "multipart/form-data", "application/xml"])
SPICE = st.sampled_from(
    [
        "v1,",
        "sha256=",
        "v1,AAAA v1a,AAAA",
        "Bearer ",
        "Basic ",
        "1614265330",
        "AAAA" * 11,
        "a.b.c",
        "e30.e30.e30",
        "0" * 64,
    ]
)
TEXT = st.text() | SPICE | st.tuples(SPICE, st.text()).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@cache
def secret(name: str) -> tuple[str, ...]:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if name == "sendgrid":
        return (base64.b64encode(ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*form)).decode(),)
    if name == "salesiq":
        return (base64.b64encode(rsa.generate_private_key(65537, 2048).public_key().public_bytes(*form)).decode(),)
    if name == "standard_webhooks":
        raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return "whsec_" + base64.b64encode(b"k" * 24).decode(), "whpk_" + base64.b64encode(raw).decode()
    return ("k" * 24,)


VERIFIERS: dict[str, Verifier] = {name: verifier(name, secret(name)) for name in STYLES} | {
    "bearer": bearer(["k" * 24]),
    "basic": basic([("u", "k" * 24)]),
    "path": path(["k" * 24]),
    "jwt": jwt(KeySet(), issuer="i"),
}


@pytest.mark.parametrize("name", VERIFIERS)
@given(data=st.data())
def test_a_verifier_refuses_anything_and_raises_nothing_else(name: str, data: st.DataObject) -> None:
    style = STYLES.get(name)
    places = [style.signature, style.timestamp, style.id] if style else ["header:authorization"]
    headers = {place.removeprefix("header:"): data.draw(TEXT) for place in places if place.startswith("header:")}
    body = data.draw(st.binary() | JSON.map(msgspec.json.encode) | _mailgun())
    request = Request(
        method="POST",
        url=data.draw(
            st.sampled_from(
                ["https://h/webhooks/x", "https://[::1]:9/x?bodySHA256=a", "https://h:99999/", "x", "http://["]
            )
        ),
        headers={**headers, "content-type": data.draw(KINDS)},
        body=body,
        received_at=NOW,
        query=data.draw(st.lists(st.tuples(st.just("bodySHA256") | st.text(), st.text()), max_size=2)),
        tail=data.draw(st.text()),
    )
    with pytest.raises((NotAuthentic, KeyUnavailable)) as caught:
        VERIFIERS[name](request, NOW)
    assert not any(key in str(caught.value) for key in secret(name))


def _mailgun() -> st.SearchStrategy[bytes]:
    parts = st.fixed_dictionaries({"timestamp": TEXT | JSON, "token": TEXT | JSON, "signature": TEXT | JSON})
    return st.fixed_dictionaries({"signature": parts}).map(msgspec.json.encode)


# ---- parsers


def generic(**keys: Any) -> Webhook:
    return Webhook(WebhookSettings.model_validate({"verify": {"scheme": "bearer", "secret": "k"}, **keys}), CONTEXT)


MAP = {
    "type": "{{ item.type or body.type }}",
    "each": "{{ body.items or body.list | json }}",
    "id": "{{ item.id }}",
    "occurred_at": "{{ item.at }}",
    "title": "x {{ item.title }}",
    "url": "{{ item.url }}",
    "person": {
        "email": "{{ item.email }}",
        "phone": "{{ item.phone }}",
        "name": "{{ item[0] }}",
        "handles": {"h": "{{ item.h }}"},
    },
}
ITEM = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("type", "id", "at", "title", "url", "email", "phone", "h"), JSON)
)
BODY = JSON | st.fixed_dictionaries({"items": st.lists(ITEM, max_size=3) | JSON})
EVENT = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": st.text(min_size=1),
        "source": st.text(min_size=1),
        "type": st.text(min_size=1),
    },
    optional={"data": JSON, "time": JSON, "subject": JSON, "data_base64": JSON, "datacontenttype": JSON},
)
SOURCES: dict[str, WebhookSource] = {
    "cloudevents": generic(),
    "json": generic(format="json", signal=MAP),
    "form": generic(format="form", signal=MAP),
    "twilio": Twilio(TwilioSettings.model_validate({"account_sid": "AC" + "0" * 32, "auth_token": "t"}), CONTEXT),
    "desk": ZohoDesk(
        ZohoDeskSettings.model_validate(
            {"org_id": "1", "auth": {"client_id": "c", "client_secret": "s", "refresh_token": "r"}}
        ),
        CONTEXT,
    ),
}
DESK_EVENT = st.fixed_dictionaries(
    {
        "eventType": st.sampled_from(["Ticket_Add", "Ticket_Thread_Add", "Ticket_Comment_Add"]) | JSON,
        "payload": JSON | st.fixed_dictionaries({"id": JSON, "ticketId": JSON, "direction": JSON}),
    }
)
TWILIO_FORM = st.dictionaries(
    st.sampled_from(
        [
            "CallSid",
            "AccountSid",
            "From",
            "To",
            "CallStatus",
            "Direction",
            "Timestamp",
            "ParentCallSid",
            "DialCallStatus",
        ]
    ),
    st.sampled_from(["AC" + "0" * 32, "CA1", "inbound", "no-answer"]) | st.text(),
)


@pytest.mark.parametrize("name", SOURCES)
@given(
    body=st.binary()
    | BODY.map(msgspec.json.encode)
    | EVENT.map(msgspec.json.encode)
    | st.lists(EVENT | JSON, max_size=3).map(msgspec.json.encode)
    | st.lists(DESK_EVENT, max_size=3).map(msgspec.json.encode)
    | TWILIO_FORM.map(
        lambda form: "&".join(f"{name}={value}" for name, value in form.items()).encode("utf-8", "replace")
    ),
    kind=KINDS,
    headers=st.dictionaries(
        st.sampled_from(["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-subject"]),
        st.just("1.0") | st.text(),
    ),
)
def test_a_parser_raises_malformed_or_gives_what_the_store_can_keep(
    name: str, body: bytes, kind: str, headers: dict[str, str]
) -> None:
    request = Request(
        method="POST", url="https://h/x", headers={**headers, "content-type": kind}, body=body, received_at=NOW
    )
    made = SOURCES[name]
    made.handshake(request)
    with suppress(Malformed):
        batch = made.parse(request)
        again = made.parse(request)
        assert [one.id for one in batch.signals] == [one.id for one in again.signals]
        for signal in batch.signals:
            assert decode_signal(encode(signal)).id == signal.id
            assert signal.occurred_at.utcoffset() == timedelta(0)
            assert signal.title
            assert "\n" not in signal.title
            assert "\0" not in signal.title + signal.text
            assert signal.url == "" or signal.url.startswith(("http://", "https://"))
        for hint in batch.hints:
            assert encode(hint)


EACH = {"type": "custom.a", "each": "{{ body.items or body[0] }}", "data": {"item": "{{ item }}"}}
STRICT = generic(format="json", signal=EACH | {"occurred_at": "{{ item.at }}"})
LENIENT = generic(format="json", signal=EACH)


@given(
    items=st.lists(
        st.fixed_dictionaries({"x": JSON}, optional={"at": JSON | st.just("2026-11-22")}) | JSON, min_size=1
    ),
    rest=JSON,
    listed=st.booleans(),
)
def test_items_of_a_list_stand_or_fall_alone(items: list[Any], rest: Any, listed: bool) -> None:
    body = msgspec.json.encode([items, rest] if listed else {"rest": rest, "items": items})
    request = Request(
        method="POST", url="https://h/x", headers={"content-type": "application/json"}, body=body, received_at=NOW
    )
    whole = {one.id: one for one in LENIENT.parse(request).signals}
    try:
        batch = STRICT.parse(request)
    except Malformed:
        assert len(items) == 1
        return
    kept: list[Signal] = []
    for misfit in batch.misfits:
        with pytest.raises(Malformed):
            STRICT.parse(misfit.request)
        kept += LENIENT.parse(misfit.request).signals
    assert len(batch.signals) + len(kept) == len(items)
    assert {one.id for one in batch.signals} | {one.id for one in kept} == set(whole)
    assert all(one == whole[one.id] for one in kept)


@given(
    text=st.text(alphabet="{} bodyitem.[]0'\"|orjsn-", max_size=40),
    scope=st.fixed_dictionaries({"body": JSON, "item": JSON}),
)
def test_a_template_is_refused_at_load_or_never_fails(text: str, scope: dict[str, Any]) -> None:
    try:
        template = compile_template(text)
    except ValueError:
        return
    template(scope)


@given(JSON, st.lists(st.sampled_from([".a", "[0]", "['a']", "[-1]", ".0"]), max_size=5))
def test_a_path_gives_what_python_would(body: Any, steps: list[str]) -> None:
    value = compile_template("{{ body" + "".join(steps) + " }}")({"body": body})
    expected = body
    for step in steps:
        name = step.strip(".[]'")
        if isinstance(expected, dict):
            expected = expected.get(name)
        elif isinstance(expected, list) and name.lstrip("-").isdigit() and -len(expected) <= int(name) < len(expected):
            expected = expected[int(name)]
        else:
            expected = None
    assert value == expected


@given(JSON | st.floats() | st.text(alphabet="0123456789-:TZ+. ", max_size=32))
def test_a_time_is_utc_or_none_or_a_value_error(value: Any) -> None:
    with suppress(ValueError):
        moment = read_time(value, UTC)
        assert moment is None or moment.utcoffset() == timedelta(0)


@given(st.datetimes(datetime(2001, 9, 10), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_one_moment_in_all_spellings(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    seconds = int(moment.timestamp())
    spellings = [moment.isoformat(), moment.isoformat().replace("+00:00", "Z"), f"{moment:%a, %d %b %Y %H:%M:%S} +0000"]
    for spelling in [
        *spellings,
        moment.isoformat().replace("+00:00", ".0000000+00:00"),
        seconds,
        str(seconds),
        seconds * 1000,
        float(seconds),
    ]:
        assert read_time(spelling, UTC) == moment


# ---- cursors and judgement

MINUTES = st.integers(0, 300)
CALLS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", "e", "f"]), MINUTES), max_size=12, unique_by=lambda one: one[0]
)


@given(st.lists(CALLS, max_size=6))
def test_the_twilio_cursor_only_moves_on_and_knows_what_it_will_meet_again(polls: list[list[tuple[str, int]]]) -> None:
    cursor = TimeCursor(NOW)
    for poll in polls:
        calls = [PhoneCall(id, "", "inbound", "busy", "", "", NOW + timedelta(minutes=at), None) for id, at in poll]
        listed = [call for call in calls if call.started_at is not None and call.started_at >= cursor.since]
        after = cursor.after((mark_of(one.id, one.started_at) for one in listed), LAG)
        assert after.since >= cursor.since
        newest = max((call.started_at for call in listed if call.started_at), default=None)
        assert after.since == cursor.since or newest is None or after.since == newest - LAG
        met_again = {call.id for call in listed if call.started_at is not None and call.started_at >= after.since}
        assert met_again <= {one[0] for one in after.seen}
        cursor = after


LEG = st.sampled_from(sorted(ENDED | {"ringing", "in-progress", "queued"}))


@given(parent=LEG, legs=st.lists(LEG, max_size=5))
def test_a_call_is_missed_only_if_it_ended_and_nobody_took_it(parent: str, legs: list[str]) -> None:
    verdict = judge(_call("p", "", parent), [_call(f"l{n}", "p", status) for n, status in enumerate(legs)])
    if verdict is CallOutcome.MISSED:
        assert parent in MISSED or (parent == "completed" and legs and all(leg in MISSED for leg in legs))
    if "completed" in legs and parent == "completed":
        assert verdict is not CallOutcome.MISSED
    assert (verdict is CallOutcome.OPEN) == (
        parent not in MISSED and (parent not in ENDED or any(leg not in ENDED for leg in legs))
    )


def _call(id: str, parent: str, status: str) -> PhoneCall:
    return PhoneCall(id, parent, "outbound-dial" if parent else "inbound", status, "+1", "+2", NOW, NOW)
