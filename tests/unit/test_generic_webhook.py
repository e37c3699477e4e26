"""The generic webhook: CloudEvents, JSON and forms into signals; the handshakes; faults of its keys at load."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from syncd.connector import Context, KeyFetchingSource, Request, WebhookSource
from syncd.connectors.generic.fields import SignalMap, types_made
from syncd.connectors.generic.webhook import CONNECTOR, Webhook, WebhookSettings
from syncd.errors import Malformed, NotAuthentic
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal, derive_id, encode, frame

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
BEARER = {"scheme": "bearer", "secret": "s3cret"}


def source(**keys: Any) -> Webhook:
    settings = WebhookSettings.model_validate({"verify": BEARER, "account": "shop", **keys})
    zone = ZoneInfo("Asia/Ho_Chi_Minh")
    built = CONNECTOR.build(settings, Context(name="forms", tokens=MemoryTokens(), region="VN", timezone=zone))
    assert isinstance(built, Webhook)
    return built


def post(body: Any, kind: str = "application/json", *, method: str = "POST", url: str = "", **headers: str) -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lowered = {name.replace("_", "-"): value for name, value in headers.items()}
    url = url or "https://syncd.example.com/webhooks/forms"
    query = parse_qsl(urlsplit(url).query)
    return Request(
        method=method, url=url, headers={"content-type": kind, **lowered}, body=raw, received_at=NOW, query=query
    )


def signals(made: Webhook, request: Request) -> list[Signal]:
    found = list(made.parse(request).signals)
    assert encode(found)
    return found


def test_it_is_a_webhook_source() -> None:
    assert isinstance(source(), WebhookSource)
    assert isinstance(source(), KeyFetchingSource)


# ---- CloudEvents

EVENT = {
    "specversion": "1.0",
    "type": "com.example.order",
    "source": "/shop/7",
    "id": "A-1",
    "time": "2026-11-22T10:00:00+07:00",
    "subject": "Order\n42",
    "datacontenttype": "application/json",
    "data": {
        "person": {"email": " Ann@Example.COM ", "phone": "0912 345 678"},
        "text": "hi",
        "url": "https://x.example/42",
        "sum": 3,
    },
}


def check_event(signal: Signal) -> None:
    assert signal.id == derive_id("webhook", "shop", "custom.com.example.order", frame("/shop/7", "A-1"))
    assert (signal.type, signal.channel) == ("custom.com.example.order", "custom")
    assert signal.occurred_at == datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
    assert (signal.title, signal.text, signal.url) == ("Order 42", "hi", "https://x.example/42")
    assert (signal.person.email, signal.person.phone) == ("ann@example.com", "+84912345678")
    assert signal.reply == "mailto:ann@example.com"
    assert signal.data["sum"] == 3
    assert signal.data["cloudevent"]["source"] == "/shop/7"
    assert "text" not in signal.data


def test_a_structured_cloudevent() -> None:
    (signal,) = signals(source(), post(EVENT, "application/cloudevents+json; charset=utf-8"))
    check_event(signal)


def test_a_binary_cloudevent() -> None:
    headers = {f"ce_{name}": str(value) for name, value in EVENT.items() if name not in ("data", "datacontenttype")}
    headers["ce_subject"] = "Order%20%0A42"
    (signal,) = signals(source(), post(EVENT["data"], "application/json", **headers))
    check_event(signal)


def test_a_malformed_event_of_a_batch_harms_only_itself() -> None:
    body = [EVENT, EVENT | {"type": ""}, 5, EVENT | {"id": "A-2"}]
    batch = source().parse(post(body, "application/cloudevents-batch+json"))
    alone = [
        one for event in (body[0], body[3]) for one in signals(source(), post(event, "application/cloudevents+json"))
    ]
    assert [one.id for one in batch.signals] == [one.id for one in alone]
    assert [misfit.reason.partition(":")[0] for misfit in batch.misfits] == ["event 1 of 4", "event 2 of 4"]
    with pytest.raises(Malformed, match="type"):  # as a retry from quarantine reads it
        source().parse(batch.misfits[0].request)


def test_a_batch_of_cloudevents() -> None:
    made = signals(source(), post([EVENT, EVENT | {"id": "A-2"}], "application/cloudevents-batch+json"))
    check_event(made[0])
    assert made[1].id != made[0].id
    assert signals(source(), post([], "application/cloudevents-batch+json")) == []


def test_a_catalogued_type_stays_as_it_is_and_the_type_is_part_of_the_id() -> None:
    (signal,) = signals(source(), post(EVENT | {"type": "survey.responded"}, "application/cloudevents+json"))
    assert signal.type == "survey.responded"
    assert signal.id == derive_id("webhook", "shop", "survey.responded", frame("/shop/7", "A-1"))


def test_data_in_base64_and_data_that_is_text_and_no_data() -> None:
    bare = {name: value for name, value in EVENT.items() if name != "data"}
    encoded = base64.b64encode(json.dumps(EVENT["data"]).encode()).decode()
    (signal,) = signals(source(), post(bare | {"data_base64": encoded}, "application/cloudevents+json"))
    check_event(signal)
    (signal,) = signals(source(), post(bare | {"data": "just text"}, "application/cloudevents+json"))
    assert signal.text == "just text"
    (signal,) = signals(source(), post({k: v for k, v in bare.items() if k not in ("time", "subject")}))
    assert (signal.occurred_at, signal.title) == (NOW, "com.example.order")


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"", "application/cloudevents+json", "not JSON"),
        (b"[]", "application/cloudevents+json", "not a JSON object"),
        (b"{}", "application/cloudevents-batch+json", "not a JSON array"),
        (b"{}", "application/cloudevents+json", "specversion"),
        (EVENT | {"id": 7}, "application/cloudevents+json", "the event, id: required"),
        (EVENT | {"time": "yesterday"}, "application/cloudevents+json", "occurred_at: 'yesterday'"),
        (EVENT | {"data_base64": "!", "data": None}, "application/cloudevents+json", "data_base64"),
        (b"<xml/>", "application/cloudevents+xml", "not understood"),
        (b"a=b", "application/x-www-form-urlencoded", "no CloudEvent"),
        (b"[" * 100 + b"]" * 100, "application/json", "nested deeper"),
        (b"[" * 100_000, "application/json", "nested too deep"),
    ],
)
def test_what_is_no_cloudevent_says_what_and_where(body: Any, kind: str, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        source().parse(post(body, kind))


def test_the_options_handshake_and_head() -> None:
    reply = source().handshake(post(b"", method="OPTIONS", webhook_request_origin="events.example"))
    assert reply is not None
    assert (reply.status, reply.headers["WebHook-Allowed-Origin"]) == (200, "events.example")
    assert reply.headers["WebHook-Allowed-Rate"] == "*"
    limited = source(allowed_rate=120).handshake(post(b"", method="OPTIONS", webhook_request_origin="e"))
    assert limited is not None
    assert limited.headers["WebHook-Allowed-Rate"] == "120"
    head = source().handshake(post(b"", method="HEAD"))
    assert head is not None
    assert head.status == 200
    assert source().handshake(post(b"")) is None


# ---- a field map

MAP = {
    "type": "custom.order",
    "id": "{{ body.id }}",
    "occurred_at": "{{ body.at }}",
    "title": "Order {{ body.id }} by {{ body.who.name or body.mail or 'nobody' }}",
    "thread": "{{ headers['X-Cart'] }}",
    "person": {"email": "{{ body.mail }}", "name": "{{ body.who.name }}", "handles": {"shop": "{{ body.who.id }}"}},
}
ORDER = {
    "id": 12345678901234567890123,
    "at": "2026-11-22 10:00:00",
    "mail": "a@b.example",
    "who": {"name": "Nguyen Van An", "id": 0},
}


def test_json_by_a_field_map() -> None:
    (signal,) = signals(source(format="json", signal=MAP), post(ORDER, x_cart="c9"))
    assert signal.id == derive_id("webhook", "shop", "custom.order", "12345678901234567890123")
    assert signal.occurred_at == datetime(2026, 11, 22, 3, 0, tzinfo=UTC), "a time without a zone is in ours"
    assert signal.title == "Order 12345678901234567890123 by Nguyen Van An"
    assert (signal.person.first_name, signal.person.last_name) == ("Van An", "Nguyen")
    assert signal.person.handles == {"shop": "0"}
    assert signal.thread == "webhook:shop:c9"
    assert signal.data["who"]["id"] == 0


def test_one_signal_per_item_of_a_list() -> None:
    mapped = {
        "type": "{{ item.kind }}",
        "each": "{{ body.events }}",
        "id": "{{ item.n }}",
        "data": {"n": "{{ item.n }}", "all": "{{ body.all }}"},
    }
    body = {"events": [{"kind": "email.opened", "n": 1}, {"kind": "odd", "n": 2}], "all": True}
    made = signals(source(format="json", signal=mapped), post(body))
    assert [signal.type for signal in made] == ["email.opened", "custom.odd"]
    assert made[0].data == {"n": 1, "all": True}


DATED = {
    "type": "custom.a",
    "each": "{{ body.events }}",
    "id": "{{ body.shop }}-{{ item.n }}",
    "occurred_at": "{{ item.at }}",
    "data": {"n": "{{ item.n }}"},
}


def test_a_malformed_item_of_a_list_harms_only_itself() -> None:
    made = source(format="json", signal=DATED)
    body = {"shop": 7, "events": [{"n": 1}, {"n": 2, "at": "soon"}, {"n": 3}, {"n": 4, "at": []}]}
    batch = made.parse(post(body))
    assert [one.id for one in batch.signals] == [derive_id("webhook", "shop", "custom.a", f"7-{n}") for n in (1, 3)]
    assert [misfit.reason.partition(":")[0] for misfit in batch.misfits] == [
        "item 1 of 4, occurred_at",
        "item 3 of 4, occurred_at",
    ]
    assert json.loads(batch.misfits[0].request.body) == {"shop": 7, "events": [{"n": 2, "at": "soon"}]}
    with pytest.raises(Malformed, match="the item, occurred_at: 'soon'"):  # as a retry from quarantine reads it
        made.parse(batch.misfits[0].request)
    mended = source(format="json", signal={name: text for name, text in DATED.items() if name != "occurred_at"})
    (signal,) = signals(mended, batch.misfits[0].request)
    assert signal == signals(mended, post(body))[1]


def test_a_malformed_item_of_a_list_inside_a_form_harms_only_itself() -> None:
    keys = {"type": "email.opened", "each": "{{ body.none or body.list | json }}", "id": "{{ item.n }}"}
    made = source(format="form", signal={**keys, "occurred_at": "{{ item.at }}", "data": {"tags": "{{ body.tag }}"}})
    form = [("tag", "a"), ("list", json.dumps([{"n": 1}, {"n": 2, "at": "soon"}])), ("tag", "b")]
    batch = made.parse(post(urlencode(form).encode(), "application/x-www-form-urlencoded"))
    assert [one.data for one in batch.signals] == [{"tags": ["a", "b"]}]
    assert [misfit.reason.partition(":")[0] for misfit in batch.misfits] == ["item 1 of 2, occurred_at"]
    (signal,) = signals(source(format="form", signal=keys), batch.misfits[0].request)
    assert signal.id == derive_id("webhook", "shop", "email.opened", "2")


def test_items_that_cannot_be_kept_alone_stay_with_their_body() -> None:
    repeated = source(format="form", signal={"type": "custom.a", "each": "{{ body.at }}", "occurred_at": "{{ item }}"})
    with pytest.raises(Malformed, match="item 1 of 2"):
        repeated.parse(post(b"at=2026-11-22&at=soon", "application/x-www-form-urlencoded"))
    large = {"rest": "x" * 400_000, "events": [{"at": "soon"}] * 50}
    with pytest.raises(Malformed, match="item 0 of 50"):
        source(format="json", signal=DATED).parse(post(large))


def test_a_list_inside_a_form_as_mandrill_sends_it() -> None:
    mapped = {"type": "email.opened", "each": "{{ body.mandrill_events | json }}", "id": "{{ item._id }}"}
    body = urlencode({"mandrill_events": json.dumps([{"_id": "e1"}, {"_id": "e2"}])}).encode()
    made = signals(source(format="form", signal=mapped), post(body, "application/x-www-form-urlencoded"))
    assert len({signal.id for signal in made}) == 2


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"null", b'"x"', b'""', b"0", b"1.5", b"true", b'"' + b"x" * 500 + b'"']
)
def test_a_body_that_tells_of_nothing_is_no_signal(body: bytes) -> None:
    made = source(format="json", signal={"type": "order", "id": "{{ headers['x-id'] }}", "title": "{{ body.title }}"})
    with pytest.raises(Malformed, match=r"^the body is .{1,41}: there is no event in it; an object") as caught:
        made.parse(post(body, x_id="1"))
    assert len(str(caught.value)) < 120
    (signal,) = made.parse(post(b'{"title": "Shoes"}', x_id="1")).signals
    assert signal.id == derive_id("webhook", "shop", "custom.order", "1")


@pytest.mark.parametrize("body", [b"", b"&"])
def test_a_form_without_fields_is_no_signal_but_where_the_query_tells(body: bytes) -> None:
    keys: dict[str, Any] = {"type": "order", "title": "{{ body.title }}"}
    kind = "application/x-www-form-urlencoded"
    with pytest.raises(Malformed, match="the body is a form without fields: there is no event in it"):
        source(format="form", signal=keys).parse(post(body, kind))
    asking = source(format="form", signal=keys | {"id": "{{ query.id }}"})
    assert len(asking.parse(post(body, kind, url="https://syncd.example.com/webhooks/forms?id=7")).signals) == 1
    with pytest.raises(Malformed, match="without fields"):
        asking.parse(post(body, kind))


def test_forms_urlencoded_and_multipart() -> None:
    mapped = {
        "type": "custom.form",
        "id": "{{ body.id }}",
        "text": "{{ body.note }}",
        "data": {"tags": "{{ body.tag }}"},
    }
    made = source(format="form", signal=mapped)
    (one,) = signals(made, post(b"id=7&note=Xin+ch%C3%A0o&tag=a&tag=b", "application/x-www-form-urlencoded"))
    parts = [("id", "7"), ("note", "Xin chào"), ("tag", "a"), ("tag", "b")]
    lines = (
        "".join(f'--xx\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in parts) + "--xx--\r\n"
    )
    (two,) = signals(made, post(lines.encode(), "multipart/form-data; boundary=xx"))
    assert one == two
    assert (one.text, one.data) == ("Xin chào", {"tags": ["a", "b"]})


def test_without_an_id_the_same_content_is_the_same_signal() -> None:
    made = source(format="json", signal={"type": "custom.ping"})
    (one,) = signals(made, post(b'{"a":1,"b":2}'))
    (two,) = signals(made, post(b'{"b":2, "a":1}'))
    (other,) = signals(made, post(b'{"a":1,"b":3}'))
    assert one.id == two.id != other.id


def test_a_link_that_is_no_web_address_is_kept_as_data_only() -> None:
    (signal,) = signals(
        source(format="json", signal={"type": "custom.a", "url": "{{ body.u }}", "data": {}}),
        post({"u": "javascript:x"}),
    )
    assert (signal.url, signal.data) == ("", {"url": "javascript:x"})


def test_the_account_is_the_sources_name_by_default() -> None:
    (signal,) = signals(source(account="", format="json", signal={"type": "custom.a", "id": "1"}), post({"a": 1}))
    assert signal.id == derive_id("webhook", "forms", "custom.a", "1")


@pytest.mark.parametrize(
    ("mapped", "body", "says"),
    [
        ({"type": "{{ body.kind }}"}, {"a": 1}, "the body, type: empty"),
        ({"type": "{{ body.kind }}"}, {"kind": "k" * 201}, "the body, type: 201 characters"),
        ({"type": "custom.a", "each": "{{ body.list }}"}, {}, "nothing at"),
        ({"type": "custom.a", "each": "{{ body.list }}"}, {"list": {}}, "not a list but dict"),
        (
            {"type": "custom.a", "each": "{{ body }}", "occurred_at": "{{ item.t }}"},
            [{"t": []}],
            "the item, occurred_at",
        ),
    ],
)
def test_a_body_the_map_does_not_fit(mapped: dict[str, Any], body: Any, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        source(format="json", signal=mapped).parse(post(body))


# ---- faults at load


@pytest.mark.parametrize(
    ("keys", "where", "says"),
    [
        ({"format": "json"}, (), "needs signal"),
        ({"signal": {"type": "custom.a"}}, (), "format json or form"),
        ({"format": "json", "signal": {"type": "custom."}}, ("signal", "type"), "unknown signal type"),
        ({"format": "json", "signal": {"type": "custom.a", "id": "{{ body..x }}"}}, ("signal", "id"), "cannot read"),
        (
            {"format": "json", "signal": {"type": "custom.a", "id": "{{ boddy.x }}"}},
            ("signal", "id"),
            "unknown name 'boddy'",
        ),
        ({"format": "json", "signal": {"type": "custom.a", "id": "{{ body.x"}}, ("signal", "id"), "without its"),
        (
            {"format": "json", "signal": {"type": "custom.a", "id": "{{ body.x | lower }}"}},
            ("signal", "id"),
            "unknown filter",
        ),
        ({"format": "json", "signal": {"type": "custom.a", "id": "{{ }}"}}, ("signal", "id"), "expected"),
        ({"format": "json", "signal": {"type": "custom.a", "id": "{{ item.x }}"}}, ("signal",), "only with each"),
        (
            {"format": "json", "signal": {"type": "custom.a", "person": {"mail": "x"}}},
            ("signal", "person", "mail"),
            "Extra",
        ),
        ({"format": "json", "signal": {"type": "custom.a", "data": "x {{ body }}"}}, ("signal", "data"), "one whole"),
        ({"verify": {"scheme": "hmak", "secret": "x"}}, ("verify", "scheme"), "unknown scheme 'hmak'"),
        ({"verify": {"scheme": "hmac"}}, ("verify",), "needs a secret"),
        ({"verify": {"scheme": "none"}}, ("verify",), "insecure"),
        ({"verify": {"scheme": "basic", "secret": "x"}}, ("verify",), "username"),
        ({"verify": {"scheme": "path", "secret": "short"}}, ("verify", "secret"), "guessed"),
        ({"verify": {"scheme": "standard_webhooks", "secret": "whsec_!"}}, ("verify", "secret"), "base64"),
        ({"verify": {"scheme": "zendesk", "secret": "x", "prefix": "a"}}, ("verify",), "only for scheme hmac"),
        (
            {"verify": {"scheme": "hmac", "secret": "x", "signed": "{timestamp}{body}"}},
            ("verify",),
            "header that carries",
        ),
        (
            {"verify": {"scheme": "jwt", "jwks_url": "http://keys.example", "issuer": "i"}},
            ("verify", "jwks_url"),
            "plain http",
        ),
    ],
)
def test_faults_of_the_keys_are_found_at_load(keys: dict[str, Any], where: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WebhookSettings.model_validate({"verify": BEARER, **keys})
    errors = caught.value.errors()
    assert any(error["loc"][: len(where)] == where and says in error["msg"] for error in errors), errors


def test_the_verifier_is_the_one_the_keys_describe(caplog: pytest.LogCaptureFixture) -> None:
    source().verifier()(post(b"", authorization="Bearer s3cret"), NOW)
    with pytest.raises(NotAuthentic):
        source().verifier()(post(b"", authorization="Bearer other"), NOW)
    source(verify={"scheme": "none", "insecure": True}).verifier()(post(b""), NOW)
    assert "accepts events from anyone" in caplog.text
    two = {"scheme": "bearer", "secret": ["old", "new"], "header": "x-key", "prefix": "none"}
    source(verify=two).verifier()(post(b"", x_key="new"), NOW)


def test_control_characters_that_crms_refuse_are_left_out() -> None:
    """A vertical tab is what office programs paste for a line break."""
    made = source(format="json", signal={"type": "custom.x", "text": "{{ body.x }}", "reply": "{{ body.r }}"})
    (signal,) = signals(made, post({"x": "one\x0btwo\x1b[0m\tthree\r\nfour\x00", "r": "tel:\x07+84"}))
    assert signal.text == "one\ntwo[0m\tthree\r\nfour"
    assert signal.reply == "tel:+84"


# ---- persons in lists, objects and other wrappings

PERSON = {
    "verify": BEARER,
    "format": "json",
    "signal": {
        "type": "custom.form",
        "id": "{{ body.id }}",
        "person": {
            "name": "{{ body.name }}",
            "email": "{{ body.email }}",
            "phone": "{{ body.phone }}",
            "company": "{{ body.company }}",
            "handles": {"zalo": "{{ body.zalo }}"},
        },
    },
}


@pytest.mark.parametrize(
    "value",
    [
        ["eva@k.example"],
        [["eva@k.example"]],
        [None, "", "eva@k.example"],
        {"address": "eva@k.example"},
        {"email": "eva@k.example", "type": "work"},
        {"Email-Address": "Eva@K.example"},
        {"value": "eva@k.example", "primary": True},
        [{"value": "old@k.example"}, {"value": "eva@k.example", "primary": True}],
        {"emailAddress": {"name": "Eva Kern", "address": "eva@k.example"}},
        {"work": "eva@k.example"},
        '["eva@k.example"]',
        '{"address": "eva@k.example"}',
        "Eva Kern (eva@k.example)",
        "eva@k.example，b@k.example",
        "eva@k.example、b@k.example",
        "eva@k.example；b@k.example",
    ],
)
def test_an_address_in_any_wrapping(value: Any) -> None:
    (signal,) = signals(source(**PERSON), post({"id": "1", "email": value}))
    assert signal.person.identity == "email:eva@k.example"


@pytest.mark.parametrize(
    "value",
    [
        ["+84912345678"],
        ["+84912345678", "+84987654321"],
        {"number": "0912345678", "type": "mobile"},
        [{"e164": "+84912345678"}],
        [84912345678],
    ],
)
def test_a_number_in_any_wrapping(value: Any) -> None:
    (signal,) = signals(source(**PERSON), post({"id": "1", "phone": value}))
    assert signal.person.phone == "+84912345678"


def test_a_name_a_company_and_a_handle_in_wrappings() -> None:
    said = {"id": "1", "name": {"first": "Eva", "last": "Kern"}, "company": [{"name": "K Ltd"}], "zalo": ["77"]}
    (signal,) = signals(source(**PERSON), post(said))
    assert (signal.person.first_name, signal.person.last_name) == ("Eva", "Kern")
    assert (signal.person.company, signal.person.handles) == ("K Ltd", {"zalo": "77"})


def test_a_form_field_sent_twice() -> None:
    made = source(**{**PERSON, "format": "form"})
    body = b"id=1&email=eva%40k.example&email=b%40k.example&phone=0912345678&phone=0912345678"
    (signal,) = signals(made, post(body, "application/x-www-form-urlencoded"))
    assert (signal.person.email, signal.person.phone) == ("eva@k.example", "+84912345678")


@pytest.mark.parametrize(
    "said",
    [
        {"email": {"verified": True, "kind": "work", "note": {}}},
        {"email": "Eva at @"},
        {"email": "eva@k.example is not my address"},
        {"phone": [{"kind": "work", "ok": True}]},
    ],
)
def test_a_person_who_cannot_be_read_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=r"person\."):
        list(source(**PERSON).parse(post({"id": "1", **said})).signals)


@pytest.mark.parametrize("value", [None, "", [], {}, [None], {"address": ""}, "not given", False])
def test_nothing_said_of_a_person_is_nobody(value: Any) -> None:
    (signal,) = signals(source(**PERSON), post({"id": "1", "email": value}))
    assert signal.person.identity == ""


# ---- events that are counted

OPENS = {
    "type": "email.opened",
    "each": "{{ body }}",
    "repeats": {"same": "{{ item.message }} {{ item.to }}", "event": "{{ item.id }}"},
    "occurred_at": "{{ item.at }}",
    "person": {"email": "{{ item.to }}"},
}


def an_open(event: Any = "e1", message: Any = "m1", **more: Any) -> dict[str, Any]:
    return {"id": event, "message": message, "to": "ann@example.com", "at": 1700000000, **more}


def test_events_of_one_thing_are_one_signal_that_names_each() -> None:
    opens = source(format="json", signal=OPENS)
    found = signals(opens, post([an_open("e1"), an_open("e2"), an_open("e1", "m2"), an_open("e1")]))
    assert [one.repeat for one in found] == ["e1", "e2", "e1", "e1"]
    first, second, other, again = (one.id for one in found)
    assert first == second == again != other
    assert first == derive_id("webhook", "shop", "email.opened", "m1 ann@example.com")


def test_an_item_without_its_event_is_quarantined_alone() -> None:
    opens = source(format="json", signal={**OPENS, "repeats": {"same": "{{ item.message }}", "event": "{{ item.id }}"}})
    batch = opens.parse(post([an_open("e1"), an_open(None), an_open("e2", ""), an_open("e3")]))
    assert [one.repeat for one in batch.signals] == ["e1", "e3"]
    assert [one.reason for one in batch.misfits] == [
        "item 1 of 4, repeats.event: there is nothing",
        "item 2 of 4, repeats.same: there is nothing",
    ]


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"id": "{{ item.id }}"}, "id: and repeats: exclude each other; repeats.same makes the id"),
        ({"repeats": {"same": "{{ item.message }}"}}, "event"),
        ({"repeats": {"event": "{{ item.id }}"}}, "same"),
        ({"repeats": {"same": "opened", "event": "{{ item.id }}"}}, "the same for every event"),
        ({"repeats": {"same": "{{ item.message }}", "event": ""}}, "the same for every event"),
        ({"each": None}, "there is an item only with each:"),
    ],
)
def test_faults_of_counted_events_are_named(keys: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        source(format="json", signal={**OPENS, **keys})


# ---- presets

RESPONSE = {
    "response_id": "r1",
    "survey": "How was it?",
    "submitted_at": "2026-11-22T10:00:00+07:00",
    "email": "an@example.org",
    "answers": "Which dish?\nPhở",
    "url": "https://survey.example.org/r1",
    "score": 9,
}


@pytest.mark.parametrize("preset", ["zoho_survey", "google_forms"])
def test_a_preset_needs_no_map(preset: str) -> None:
    made = source(preset=preset)
    (signal,) = signals(made, post(RESPONSE))
    assert (signal.type, signal.title, signal.text) == ("survey.responded", "Answered How was it?", "Which dish?\nPhở")
    assert (signal.person.email, signal.url) == ("an@example.org", "https://survey.example.org/r1")
    assert signal.occurred_at == datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
    assert signal.data["score"] == 9
    again = {**RESPONSE, "answers": "Which dish?\nBún chả"}
    assert signals(made, post(again))[0].id == signal.id
    (bare,) = signals(made, post({"answers": "Fine"}))
    assert (bare.title, bare.occurred_at) == ("Answered a survey", NOW)


def test_keys_beside_a_preset_win() -> None:
    made = source(
        preset="zoho_survey", format="form", signal={"type": "complaint", "person": {"email": "{{ body.mail }}"}}
    )
    body = urlencode({"response_id": "r1", "survey": "X", "mail": "an@example.org", "phone": "0912 345 678"}).encode()
    (signal,) = signals(made, post(body, "application/x-www-form-urlencoded"))
    assert (signal.type, signal.title) == ("custom.complaint", "Answered X")
    assert (signal.person.email, signal.person.phone) == ("an@example.org", "+84912345678")


def test_a_preset_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(ValidationError, match="zoho_survey"):
        source(preset="zoho_survy")


# ---- types by the sender's words


def test_types_by_the_senders_words() -> None:
    signal = {"type": "{{ item.what }}", "types": {"open": "email.opened", "sale": "order"}, "each": "{{ body }}"}
    made = source(format="json", signal=signal)
    batch = made.parse(post([{"what": "open"}, {"what": "sale"}, {"what": "delivered"}, {"what": 5}, {"n": 1}]))
    assert [one.type for one in batch.signals] == ["email.opened", "custom.order"]
    assert batch.dropped == {"event delivered": 1, "event 5": 1}
    assert [one.reason for one in batch.misfits] == ["item 4 of 5, type: there is nothing"]
    assert types_made(SignalMap.model_validate(signal), frozenset()) == ("custom.order", "email.opened")


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"type": "order", "types": {"a": "b"}}, "types: maps what is at a path"),
        ({"type": "{{ body.a }}", "types": {"a": "{{ body.b }}"}}, "write the signal type itself"),
        ({"type": "{{ body.a }}", "types": {"a": ""}}, "empty"),
    ],
)
def test_faults_of_types_are_named(keys: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        source(format="json", signal=keys)
