"""Typeform's responses by webhook, poll and backfill, its webhooks, and what was recorded of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Context, Request
from syncd.connectors.survey import typeform
from syncd.connectors.survey.typeform import CONNECTOR, TypeformSettings
from syncd.connectors.survey.typeform_responses import read_response
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited, SyncdError
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import (
    BackfillConformance,
    PollingConformance,
    SubscriptionConformance,
    TwinVendor,
    WebhookConformance,
)
from syncd.twins.fake_events import FakeEvents
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, OffsetPages, Parts, listed, recorded, removed, replay, single
from syncd.twins.wire import TwinCall, TwinResponse

URL, FORM, SECRET = "https://syncd.example.com/webhooks/forms", "SdMKQYkv", "a-secret-of-ours-0815"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
FIELDS = [
    {"id": "f1", "ref": "mail", "type": "email", "title": "And what's your *email*?"},
    {"id": "f2", "ref": "why", "type": "long_text", "title": "Why, {{field:mail}}?"},
]
DEFINITION = {"id": FORM, "title": "How was it?", "fields": FIELDS}


def put_hook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    given = call.json()
    id_ = f"{parts['form']}.{parts['id']}"
    if not given.get("url"):
        return vendor.error(400, "VALIDATION_ERROR", "url is required")
    kept = {"verify_ssl": False, **given, "form_id": parts["form"], "tag": parts["id"]}
    kept |= {"created_at": "2026-07-21T15:46:49.475359Z", "updated_at": "2026-07-21T15:46:58.973589Z"}
    vendor.put_record("hooks", {**kept, "id": id_})
    return TwinResponse(200, {name: value for name, value in {**kept, "id": id_}.items() if name != "secret"})


def hooks(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    rows = [row for row in vendor.records("hooks") if row["form_id"] == parts["form"]]
    return TwinResponse(200, {"items": [{name: one for name, one in row.items() if name != "secret"} for row in rows]})


def drop_hook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    return removed("hooks")(vendor, call, {"id": f"{parts['form']}.{parts['id']}"})


def responses(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    if vendor.store.get("forms", parts["form"]) is None:
        return vendor.missing()
    least, pages = {"since": "submitted_at"}, OffsetPages("-", "page_size", size=1000)
    return listed("responses", items="items", sort="submitted_at", least=least, pages=pages)(vendor, call, parts)


class FakeTypeform(FakeVendor):
    """Typeform's Responses, Create and Webhooks API, from its manual."""

    name = "typeform"
    token: ClassVar[str] = "tfp_a-token-0815"
    absent = (404, "FORM_NOT_FOUND")
    subscriptions = "hooks"
    throttled = (429, "TOO_MANY_REQUESTS")
    events = FakeEvents(
        object="responses",
        at="submitted_at",
        id="token",
        fields={
            "answers": [{"type": "text", "text": "Fine", "field": {"id": "f2", "ref": "why", "type": "long_text"}}]
        },
        people={"email": "hidden.email", "phone": "hidden.phone"},
        spoilt={"answers": "none"},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("GET /forms/{form}/responses", responses),
        FakeRoute("GET /forms/{id}", single("forms")),
        FakeRoute("GET /forms/{form}/webhooks", hooks),
        FakeRoute("PUT /forms/{form}/webhooks/{id}", put_hook),
        FakeRoute("DELETE /forms/{form}/webhooks/{id}", drop_hook),
    )

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"code": code, "description": message})


def source(url: str = "http://127.0.0.1:9", **keys: Any) -> Any:
    given = {"forms": [FORM], "secret": SECRET, "token": FakeTypeform.token, "base_url": url, **keys}
    context = Context(name="forms", tokens=MemoryTokens(), region="VN", webhook_url=URL)
    return CONNECTOR.build(TypeformSettings.model_validate(given), context)


def signed(body: bytes, secret: str = SECRET) -> Request:
    signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    return Request("POST", URL, {"typeform-signature": f"sha256={signature}"}, body, NOW)


def event(response: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    sent = {"form_id": FORM, "definition": DEFINITION, **response}
    return {"event_id": "01", "event_type": "form_response", "form_response": sent, **more}


def parsed(*events: Any) -> Batch:
    body = json.dumps(events[0] if len(events) == 1 else events).encode()
    batch: Batch = source().parse(signed(body))
    return batch


class TypeformVendor(TwinVendor):
    auth_headers = ("typeform-signature",)

    def request(self, number: int) -> Request:
        return self.sign(json.dumps(event(self.event(number))).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body)

    @property
    def secrets(self) -> Sequence[str]:
        return (SECRET, FakeTypeform.token)


@pytest.fixture
def fake() -> Iterator[FakeTypeform]:
    with FakeTypeform() as twin:
        twin.add("forms", **DEFINITION)
        yield twin


class TestTypeform(WebhookConformance, PollingConformance, BackfillConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeTypeform, monkeypatch: pytest.MonkeyPatch) -> TypeformVendor:
        monkeypatch.setattr(typeform, "PAGE", 3)
        return TypeformVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeTypeform) -> Any:
        return lambda: source(fake.url)


class TestWebhooksOnly(WebhookConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeTypeform) -> TypeformVendor:
        return TypeformVendor(fake)

    @pytest.fixture
    def connect(self) -> Any:
        return lambda: source(token=None)


def field(id_: str, kind: str) -> dict[str, str]:
    return {"id": id_, "ref": id_, "type": kind}


ANSWERS = [
    ({"type": "text", "text": "water"}, "water"),
    ({"type": "number", "number": 5}, "5"),
    ({"type": "number", "number": 2.5}, "2.5"),
    ({"type": "boolean", "boolean": True}, "Yes"),
    ({"type": "boolean", "boolean": False}, "No"),
    ({"type": "choice", "choice": {"id": "a", "label": "London"}}, "London"),
    ({"type": "choice", "choice": {"other": "Hà Nội"}}, "Hà Nội"),
    ({"type": "choices", "choices": {"labels": ["London", "Sydney"], "other": "Huế"}}, "London, Sydney, Huế"),
    ({"type": "date", "date": "2026-11-22"}, "2026-11-22"),
    ({"type": "url", "url": "https://example.org"}, "https://example.org"),
    ({"type": "payment", "payment": {"amount": "$10", "last4": "1234", "name": "An", "success": True}}, "$10"),
    ({"type": "multi_format", "multi_format": {"video_url": "https://example.org/v"}}, '{"video_url": "https://example.org/v"}'),
    ({"type": "of next year", "stars": [1]}, '{"stars": [1]}'),
]  # fmt: skip


def response(*answers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"token": "t1", "submitted_at": "2026-11-22T07:59:00Z", "answers": list(answers), **more}


def only(batch: Batch) -> Signal:
    (signal,) = batch.signals
    return signal


@pytest.mark.parametrize(("answer", "text"), ANSWERS)
def test_answers_by_type(answer: Mapping[str, Any], text: str) -> None:
    signal = only(parsed(event(response({**answer, "field": field("f9", "x")}))))
    assert signal.text == text
    assert signal.data["by_ref"] == {"f9": text}
    assert "1234" not in json.dumps(signal.data)


def test_a_response_is_what_a_salesperson_wants_to_read() -> None:
    mail = {"type": "email", "email": "An@Example.org", "field": FIELDS[0]}
    why = {"type": "text", "text": "Good food", "field": field("f2", "long_text")}
    sent = response(
        mail, why, hidden={"utm_source": "mail", "First-Name": "An"}, calculated={"score": 9}, ending={"ref": "thanks"},
        variables=[{"key": "points", "type": "number", "number": 4}],
    )  # fmt: skip
    signal = only(parsed(event({k: v for k, v in sent.items() if k != "definition"})))
    assert (signal.type, signal.title) == ("survey.responded", "Answered How was it?")
    assert signal.text == "And what's your email?\nAn@Example.org\n\nWhy, An@Example.org?\nGood food"
    assert (signal.person.email, signal.person.first_name) == ("an@example.org", "An")
    assert signal.reply == "mailto:an@example.org"
    assert signal.data["hidden"]["utm_source"] == "mail"
    assert (signal.data["score"], signal.data["ending"], signal.data["variables"]) == (9, "thanks", {"points": 4})
    assert signal.occurred_at == datetime(2026, 11, 22, 7, 59, tzinfo=UTC)


def test_the_configuration_may_say_which_answer_is_whose() -> None:
    sent = response(
        {"type": "email", "email": "boss@example.org", "field": field("theirs", "email")},
        {"type": "text", "text": "Trần Văn An", "field": field("who", "short_text")},
        {"type": "text", "text": "+84912345678", "field": field("f2", "short_text")},
        hidden={"m": "an@example.org"},
    )
    made = source(fields={"email": "m", "name": "who", "phone": "Why, …?"})
    person = only(made.parse(signed(json.dumps(event(sent)).encode()))).person
    assert (person.email, person.name, person.phone) == ("an@example.org", "Trần Văn An", "+84912345678")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"event_type": "form_response_partial"}, "event form_response_partial"),
        ({"form_response": {**response(), "form_id": "other"}}, "another form"),
        ({"form_response": {**response(), "form_id": FORM, "submitted_at": "0001-01-01T00:00:00Z"}}, "not sent by its author"),
    ],
)  # fmt: skip
def test_what_is_not_a_response_is_counted(changed: dict[str, Any], reason: str) -> None:
    batch = parsed({**event(response()), **changed})
    assert (batch.signals, batch.dropped) == ([], {reason: 1})


def test_an_empty_response_and_a_thousand_in_one_body() -> None:
    assert only(parsed(event(response() | {"answers": None}))).text == ""
    many = parsed(*(event(response() | {"token": f"t{n}"}) for n in range(1000)))
    assert len({signal.id for signal in many.signals}) == 1000


@pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b"\xff\xfe", b'{"event_type":"form_response"}', b"{", b"5"])
def test_bodies_that_are_not_events(body: bytes) -> None:
    with pytest.raises(Malformed):
        source().parse(signed(body))


def test_signatures() -> None:
    made = source(secret=["a-new-secret-0815", SECRET])
    for secret in (SECRET, "a-new-secret-0815"):
        made.verifier()(signed(b"{}", secret), NOW)
    in_hex = "sha256=" + hmac.new(SECRET.encode(), b"{}", hashlib.sha256).hexdigest()
    unsigned, hexed = (Request("POST", URL, headers, b"{}", NOW) for headers in ({}, {"typeform-signature": in_hex}))
    for wrong in (unsigned, signed(b"{}", "another"), hexed):
        with pytest.raises(NotAuthentic):
            made.verifier()(wrong, NOW)


def test_webhooks_are_made_once_for_each_form_and_taken_over_only_with_force(fake: FakeTypeform) -> None:
    made = source(fake.url, forms=[FORM, "other1"])
    for _ in range(2):
        assert [one.id for one in made.subscribe().there] == [f"{FORM}/syncd-forms", "other1/syncd-forms"]
    assert [row["secret"] for row in fake.records("hooks")] == [SECRET, SECRET]
    assert all(one.ours and one.active for one in made.subscriptions())
    fake.modify("hooks", f"{FORM}.syncd-forms", enabled=False)
    assert "register again" in next(one.note for one in made.subscriptions() if not one.active)
    assert all(one.active for one in made.subscribe().there)
    fake.modify("hooks", f"{FORM}.syncd-forms", url="https://elsewhere.example.org/x")
    with pytest.raises(SyncdError, match="calls https://elsewhere"):
        made.subscribe()
    made.subscribe(force=True)
    made.unsubscribe(f"{FORM}/syncd-forms")
    made.unsubscribe(f"{FORM}/syncd-forms")
    assert [one.id for one in made.subscriptions()] == ["other1/syncd-forms"]


def test_what_check_online_says(fake: FakeTypeform) -> None:
    made = source(fake.url, forms=[FORM, "nowhere"])
    said = {finding.what: (str(finding.level), finding.message) for finding in made.check_online()}
    assert said[f"form {FORM}"] == ("ok", "How was it?")
    assert said["form nowhere"][0] == "fault"
    assert said[f"webhook {FORM}"][0] == "warning"
    made.subscribe()
    assert f"webhook {FORM}" not in {finding.what for finding in made.check_online()}


def test_faults_become_classes(fake: FakeTypeform) -> None:
    made = source(fake.url)
    fake.plan.add([{"do": "too_many", "times": 1}])
    with pytest.raises(RateLimited):
        list(made.poll(made.start(NOW), NOW))
    with pytest.raises(Misconfigured, match="the token is refused"):
        list(source(fake.url, token="wrong").poll(made.start(NOW), NOW))


def test_a_form_that_is_gone_stops_no_other(fake: FakeTypeform) -> None:
    made = source(fake.url, forms=["nowhere", FORM])
    fake.happen(1, NOW)
    state = made.start(NOW)
    got = [signal for batch in made.poll(state, datetime.fromtimestamp(0, UTC)) for signal in batch.signals]
    assert len(got) == 1


def test_a_misfit_can_be_read_again_with_its_questions(fake: FakeTypeform) -> None:
    fake.happen(1, NOW, spoilt=True)
    made = source(fake.url)
    (batch,) = made.poll(made.start(NOW), NOW)
    (misfit,) = batch.misfits
    assert "answers: str instead of a list" in misfit.reason
    mended = json.loads(misfit.request.body)
    mended["form_response"]["answers"] = response({"type": "text", "text": "x", "field": field("f2", "t")})["answers"]
    request = Request("POST", URL, {}, json.dumps(mended).encode(), NOW)
    assert only(made.parse(request)).text.startswith("Why, ")


# ---- recorded traffic


def recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "typeform.json").read_text("utf-8"))[name]
    return found


@with_recordings
def test_a_recorded_response_becomes_a_signal() -> None:
    row, fields = recording("response-row")["row"], recording("form-fields")["fields"]
    signal = only(parsed(event({**row, "definition": {"title": "T", "fields": fields}})))
    assert signal.person.email == "mr@example.com"
    assert signal.text.startswith(
        "Great, can we get your full name?\nMr Example\n\nAnd what's your email address?\nmr@example.com"
    )
    assert "Are you planning on staying for the afterparty?\nYes" in signal.text
    read = read_response(FORM, row, {"fields": fields}, "x")
    assert not isinstance(read, str)
    assert read.id == row["token"]


@with_recordings
def test_recorded_answers_of_the_api_are_read() -> None:
    names = ("get-form", "responses-empty", "create-webhook", "list-forms")
    exchanges = [one for name in names for one in recording(name)["exchanges"]]
    form, hook = "WMpBq4vc", recording("create-webhook")["exchanges"][0]["response"]

    class Recorded(FakeTypeform):
        routes = (*replay(exchanges), FakeRoute("GET /forms/{form}/webhooks", recorded({"items": [hook]})))

    with Recorded() as twin:
        made = source(twin.url, forms=[form])
        assert list(made.poll(made.start(NOW), NOW)) == []
        assert {str(finding.level) for finding in made.check_online()} == {"ok", "warning"}
        (there,) = made.subscriptions()
        assert (there.id, there.ours, there.active) == (f"{form}/test-webhook-acme-2", False, True)


@with_recordings
def test_the_stand_in_answers_as_recorded(fake: FakeTypeform) -> None:
    (exchange,) = recording("create-webhook")["exchanges"]
    import requests

    answer = requests.put(
        fake.url + exchange["path"],
        json=exchange["request"]["data"],
        headers={"Authorization": f"Bearer {fake.token}"},
        timeout=10,
    )
    assert answer.status_code == exchange["status"]
    assert set(answer.json()) == set(exchange["response"])
