"""Whatever a body holds, a source makes signals that can be stored of it, or says Malformed; nothing else is ever raised."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_from_bytes
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from syncd.connector import Context, Request
from syncd.connectors.desk.zoho import ZohoDesk
from syncd.connectors.desk.zoho_receiver import ZohoDeskSettings
from syncd.connectors.forms import read_form
from syncd.connectors.generic.cloudevents import header_value
from syncd.connectors.generic.webhook import CONNECTOR, WebhookSettings
from syncd.connectors.phone.twilio import Twilio, TwilioSettings
from syncd.connectors.times import read_time
from syncd.errors import KeyUnavailable, Malformed, NotAuthentic
from syncd.http.json_text import originals, parse
from syncd.http.oauth import MemoryTokens
from syncd.intake.unpacking import TooLargeUnpacked, unpacked
from syncd.signals import encode
from syncd.signatures.jwt import KeySet, jwt

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
SID = "AC" + "0" * 32
LIMITS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**30, 10**400, -(10**400), 2**63, 1e308, -1e308, float("nan"), float("inf"), -0.0]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "\ud83d",
            "half \ud83d",
            "\ude00\ud83d",
            "\0",
            "\ufeff",
            "2026-11-28t10:00:00z",
            "9" * 400,
            "9" * 5000,
            "1e999",
        ]
    ),
    st.sampled_from(["Ann <ann@kunde.example>", "tel:+84 912", "a@b@c", "0912345678", "mailto:", "..", "[]", '{"a":']),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = (
    *(
        "id",
        "type",
        "at",
        "name",
        "email",
        "phone",
        "items",
        "list",
        "text",
        "url",
        "specversion",
        "source",
        "time",
        "data",
    ),
    *("data_base64", "datacontenttype", "datacontentencoding", "subject", "person", "payload", "eventType", "orgId"),
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)


def request(body: bytes, kind: str = "application/json", **headers: str) -> Request:
    lowered = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", "https://syncd.example.com/webhooks/a", {"content-type": kind, **lowered}, body, NOW)


def context() -> Context:
    return Context(name="a", tokens=MemoryTokens(), region="VN", timezone=ZoneInfo("Asia/Ho_Chi_Minh"))


def webhook(**keys: Any) -> Any:
    made = WebhookSettings.model_validate({"verify": {"scheme": "none", "insecure": True}, "account": "a", **keys})
    return CONNECTOR.build(made, context())


PATHS = {
    "type": "{{ ROOT.type or 'custom.a' }}",
    "id": "{{ ROOT.id }}",
    "occurred_at": "{{ ROOT.at }}",
    "title": "{{ ROOT.name }} {{ ROOT.data }}",
    "text": "{{ ROOT.text | json }}",
    "url": "{{ ROOT.url }}",
    "thread": "{{ ROOT.items[0] }}",
    "person": {
        "name": "{{ ROOT.name }}",
        "email": "{{ ROOT.email }}",
        "phone": "{{ ROOT.phone }}",
        "handles": {"x": "{{ ROOT.person.id }}"},
    },
}


def paths(root: str) -> Any:
    return json.loads(json.dumps(PATHS).replace("ROOT", root))


OBJECT = webhook(format="json", signal=paths("body"))
ITEMS = webhook(format="json", signal={**paths("item"), "each": "{{ body.items or body.list | json or body }}"})
FORM = webhook(format="form", signal=paths("body"))
EVENTS = webhook()
DESK = ZohoDesk(
    ZohoDeskSettings.model_validate(
        {"org_id": "1", "auth": {"client_id": "i", "client_secret": "s", "refresh_token": "r"}}
    ),
    context(),
)
TWILIO = Twilio(TwilioSettings.model_validate({"account_sid": SID, "auth_token": "t"}), context())


def says_something(error: Exception, most: int) -> None:
    assert 0 < len(str(error)) < most, str(error)[:2000]


def survives(parse_body: Callable[[Request], Any], sent: Request) -> None:
    try:
        batch = parse_body(sent)
    except Malformed as error:
        says_something(error, 1000)
        return
    for signal in batch.signals:
        assert encode(signal)
        assert signal.title.strip()
        assert (
            "\ufffd" not in signal.title
            or "replaced" in {**signal.data, **signal.person.raw}  # what could not be read is kept as it was sent
            or b"\xef\xbf\xbd" in sent.body
            or b"ufff" in sent.body
        )
    for misfit in batch.misfits:
        assert misfit.reason.strip()
        json.dumps(misfit.reason).encode()
        survives(parse_body, misfit.request)


@LIMITS
@given(VALUES | OBJECTS | st.lists(OBJECTS, max_size=3))
@example([{"id": "1", "at": 1}, {"id": "2", "at": 10**400}])
@example({"items": [{"name": "half \ud83d"}, {"name": "whole"}]})
def test_json_of_any_shape(value: Any) -> None:
    body = json.dumps(value).encode()
    for made in (OBJECT, ITEMS, EVENTS, DESK):
        survives(made.parse, request(body))
    survives(EVENTS.parse, request(body, "application/cloudevents-batch+json"))
    survives(EVENTS.parse, request(body, "application/cloudevents+json"))


@LIMITS
@given(OBJECTS, st.text(max_size=20))
def test_one_good_event_beside_anything(wrong: dict[str, Any], name: str) -> None:
    good = {"specversion": "1.0", "id": "good", "source": "/s", "type": "custom.good", "subject": name}
    body = json.dumps([good, wrong, good | {"id": "other"}]).encode()
    assume("NaN" not in repr(wrong) and "nan" not in repr(wrong) and "inf" not in repr(wrong))  # that is not JSON
    batch = EVENTS.parse(request(body, "application/cloudevents-batch+json"))
    assert len([one for one in batch.signals if one.type == "custom.good"]) >= 2
    tickets = [{"eventType": "Ticket_Add", "payload": {"id": str(number)}} for number in (1, 2)]
    desk = DESK.parse(request(json.dumps([tickets[0], wrong, tickets[1]]).encode()))
    assert {"created:1", "created:2"} <= {hint.key for hint in desk.hints}


@LIMITS
@given(
    st.binary(max_size=200), st.sampled_from(["", "utf-8", "iso-8859-1", "utf-16", "shift_jis", "gb2312", "rot13", "x"])
)
@example(b"[" * 5000, "")
@example(b'{"a":' * 5000, "utf-16")
@example(b'{"a":1,"a":{"a":2}}', "")
def test_bytes_of_any_kind(body: bytes, charset: str) -> None:
    kind = f"; charset={charset}" if charset else ""
    for made in (OBJECT, ITEMS, EVENTS, DESK):
        survives(made.parse, request(body, f"application/json{kind}"))
    for form in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=xx"):
        survives(FORM.parse, request(body, form + kind))
        survives(TWILIO.parse, request(body, form + kind))
    binary = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "a"}
    for type_ in ("", "text/plain", "application/json", "image/png"):
        survives(EVENTS.parse, request(body, type_ + kind if type_ else "", **binary))


FIELDS = st.sampled_from(
    ["id", "name", "email", "phone", "_charset_", "charsets", "CallSid", "AccountSid", "CallStatus", "Direction", "From",
     "Timestamp", "ParentCallSid", "RecordingUrl"]
)  # fmt: skip


@LIMITS
@given(
    st.dictionaries(
        FIELDS, st.binary(max_size=12) | LEAVES.map(lambda leaf: str(leaf).encode("utf-8", "surrogatepass"))
    )
)
def test_forms_of_any_kind(fields: dict[str, bytes]) -> None:
    body = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in fields.items()).encode()
    survives(FORM.parse, request(body, "application/x-www-form-urlencoded"))
    twilio = f"AccountSid={SID}&CallSid=CA1&Direction=inbound&CallStatus=no-answer&".encode() + body
    survives(TWILIO.parse, request(twilio, "application/x-www-form-urlencoded"))
    parts = [
        b'--xx\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in fields.items()
    ]
    survives(FORM.parse, request(b"".join(parts) + b"--xx--", "multipart/form-data; boundary=xx"))


@LIMITS
@given(VALUES)
def test_any_value_as_a_time(value: Any) -> None:
    try:
        moment = read_time(value, ZoneInfo("Asia/Ho_Chi_Minh"))
    except ValueError as error:
        says_something(error, 300)
    else:
        assert moment is None or moment.utcoffset() is not None


@LIMITS
@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from("Tt "), st.sampled_from(["Z", "z", "+00:00", "-00:00"]))
def test_every_rfc_3339_time_is_read(moment: datetime, between: str, zone: str) -> None:
    text = moment.replace(tzinfo=None).isoformat(sep=between) + zone
    assert read_time(text, UTC) == moment


@LIMITS
@given(st.text())
def test_utf_8_forms_and_headers_come_back_as_they_were(text: str) -> None:
    text = text.replace("\ufeff", "")
    body = f"a={quote_from_bytes(text.encode())}".encode()
    assert read_form(request(body, "application/x-www-form-urlencoded")) == ([("a", text)], {})
    assert header_value(quote_from_bytes(text.encode())) == text
    parsed = parse(json.dumps({"a": text}).encode())
    assert (parsed.value, originals(parsed)) == ({"a": text}, {})


@LIMITS
@given(
    st.lists(OBJECTS | VALUES, max_size=4),
    st.dictionaries(st.sampled_from(["alg", "kid", "crit", "typ"]), VALUES),
    OBJECTS,
)
def test_keys_and_tokens_of_any_shape(rows: list[Any], head: dict[str, Any], claims: dict[str, Any]) -> None:
    held = KeySet()
    kinds = [
        {"kty": kty, "crv": "P-256", "x": "AQ", **row} for row in rows if isinstance(row, dict) for kty in ("RSA", "EC")
    ]
    try:
        held.load(json.dumps({"keys": [*rows, *kinds]}).encode(), NOW)
    except ValueError as error:
        says_something(error, 2000)
    said = ({"alg": "RS256", **head}, {"exp": NOW.timestamp() + 9, **claims})
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in said]
    token = request(b"{}", authorization=f"Bearer {'.'.join([*parts, 'AAAA'])}")
    try:
        jwt(held)(token, NOW)
    except (NotAuthentic, KeyUnavailable) as error:
        says_something(error, 300)
    else:
        raise AssertionError("a token that nobody signed was accepted")


@LIMITS
@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "gzip, deflate", "br", "", "identity", "x"]))
def test_packed_bytes_of_any_kind(body: bytes, coding: str) -> None:
    with contextlib.suppress(Malformed, TooLargeUnpacked):
        assert len(unpacked(request(body, content_encoding=coding), 1000).body) <= 1000
