"""SurveyMonkey's responses by hints, poll and backfill, few calls for many of them, its webhooks, and what was recorded of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Context, Request
from syncd.connectors.survey import surveymonkey, surveymonkey_api
from syncd.connectors.survey.surveymonkey import CONNECTOR, SurveyMonkeySettings
from syncd.errors import Malformed, Misconfigured, NotAuthentic, QuotaExhausted, RateLimited
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
from syncd.twins.fake_events import FakeEvents
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, changed, created, listed, removed, single
from syncd.twins.wire import TwinCall, TwinResponse

URL, SURVEY, CLIENT, SECRET = (
    "https://syncd.example.com/webhooks/survey",
    "105724755",
    "a-client-0815",
    "hush-hush-0815",
)
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
DETAILS: dict[str, Any] = {
    "id": SURVEY,
    "title": "How was <b>it</b>?",
    "pages": [
        {
            "questions": [
                {
                    "id": "31",
                    "headings": [{"heading": "<p>Which dish?</p>"}],
                    "answers": {
                        "choices": [{"id": "1", "text": "Phở"}, {"id": "2", "text": "Bún chả"}],
                        "other": {"id": "9", "text": "Another"},
                    },
                },
                {
                    "id": "32",
                    "headings": [{"heading": "Rate us"}],
                    "answers": {"rows": [{"id": "5", "text": "Food"}], "choices": [{"id": "6", "text": "Good"}]},
                },
                {
                    "id": "33",
                    "headings": [{"heading": "Who are you?"}],
                    "answers": {
                        "rows": [
                            {"id": "10", "text": "Name", "type": "name"},
                            {"id": "11", "text": "Email", "type": "email"},
                            {"id": "12", "text": "Country", "type": "country"},
                        ]
                    },
                },
                {"id": "34", "headings": [{"heading": "Anything else?"}]},
            ]
        }
    ],
}


def pages(*questions: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"id": "1", "questions": list(questions)}]


COMMENT = {"id": "34", "answers": [{"text": "Fine"}]}


def bulk(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """`page` counts from 1; `links.next` after each but the last; "modified after" leaves out the moment itself."""
    if parts["survey"] != SURVEY:
        return vendor.missing()
    below = {"end_modified_at": "date_modified"}
    for name in ("start_modified_at", "end_modified_at"):
        if name in call.query:
            call.query[name] += "+00:00"
    whole = listed("responses", sort="date_modified", below=below)(vendor, call, parts).body
    after = datetime.fromisoformat(call.query["start_modified_at"])
    rows = [row for row in whole["data"] if datetime.fromisoformat(row["date_modified"]) > after]
    page, size = int(call.query.get("page", "1")), min(int(call.query["per_page"]), 100)
    shown = rows[(page - 1) * size : page * size]
    return TwinResponse(200, {"data": shown, "per_page": size, "page": page, "total": len(rows), "links": {}})


def hook_list(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    rows = [
        {"id": row["id"], "name": row["name"], "href": f"{vendor.url}/{row['id']}"} for row in vendor.records("hooks")
    ]
    return TwinResponse(200, {"data": rows, "links": {}})


def made_hook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    needs = ("name", "event_type", "object_type", "object_ids", "subscription_url")
    if any(row["subscription_url"] == call.json().get("subscription_url") for row in vendor.records("hooks")):
        return vendor.error(400, "1002", "each webhook needs an address of its own")
    answer = created("hooks", needs=needs)(vendor, call, parts)
    return TwinResponse(answer.status, {**answer.body, "href": f"{vendor.url}/v3/webhooks/{answer.body.get('id')}"})


class FakeSurveyMonkey(FakeVendor):
    """SurveyMonkey's API v3, from its published documentation."""

    name = "surveymonkey"
    token: ClassVar[str] = "a-token-0815-0815"
    absent = (404, "1020")
    throttled = (429, "1040")
    used_up = (429, "1040")
    credits_header = "X-Ratelimit-App-Global-Day-Remaining"
    subscriptions = "hooks"
    events = FakeEvents(
        object="responses",
        at="date_modified",
        key=lambda number: str(5000 + number),
        time=lambda at: at.isoformat(),
        fields={"response_status": "completed", "collection_mode": "default", "pages": pages(COMMENT)},
        people={"email": "metadata.contact.email.value", "phone": "custom_variables.phone"},
        spoilt={"pages": "none"},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("GET /v3/surveys/{survey}/responses/bulk", bulk),
        FakeRoute("GET /v3/surveys/{survey}/responses/{id}/details", single("responses")),
        FakeRoute("GET /v3/surveys/{id}/details", single("surveys")),
        FakeRoute("GET /v3/collectors/{collector}/recipients/{id}", single("recipients")),
        FakeRoute("GET /v3/webhooks", hook_list),
        FakeRoute("POST /v3/webhooks", made_hook),
        FakeRoute("GET /v3/webhooks/{id}", single("hooks")),
        FakeRoute("PATCH /v3/webhooks/{id}", changed("hooks")),
        FakeRoute("DELETE /v3/webhooks/{id}", removed("hooks")),
    )

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"error": {"id": code, "message": message, "http_status_code": status}})


def source(url: str = "http://127.0.0.1:9", limits: SourceLimits | None = None, **keys: Any) -> Any:
    given = {"surveys": [SURVEY], "client_id": CLIENT, "client_secret": SECRET, "token": FakeSurveyMonkey.token}
    limits = limits or SourceLimits(units=1e9)
    context = Context(name="survey", tokens=MemoryTokens(), region="VN", webhook_url=URL, limits=limits)
    return CONNECTOR.build(SurveyMonkeySettings.model_validate({**given, "base_url": url, **keys}), context)


def signed(body: bytes, secret: str = SECRET) -> Request:
    """Written from the words of the documentation; its sample is broken."""
    signature = base64.b64encode(hmac.new(f"{CLIENT}&{secret}".encode(), body, hashlib.sha1).digest()).decode()
    return Request("POST", URL, {"sm-signature": signature, "sm-apikey": CLIENT}, body, NOW)


def event(id_: str, at: datetime = NOW, **more: Any) -> dict[str, Any]:
    resources = {"survey_id": SURVEY, "collector_id": "1"}
    said = {"event_type": "response_completed", "object_type": "response", "object_id": id_, "resources": resources}
    return {**said, "event_datetime": at.isoformat(), **more}


class SurveyMonkeyVendor(TwinVendor):
    auth_headers = ("sm-signature",)

    def request(self, number: int) -> Request:
        return self.sign(json.dumps(event(str(5000 + number), self.moment(number))).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body)

    @property
    def secrets(self) -> Sequence[str]:
        return (SECRET, FakeSurveyMonkey.token)


@pytest.fixture
def fake() -> Iterator[FakeSurveyMonkey]:
    with FakeSurveyMonkey() as twin:
        twin.add("surveys", **DETAILS)
        yield twin


class TestSurveyMonkey(
    WebhookConformance, HintConformance, PollingConformance, BackfillConformance, SubscriptionConformance
):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeSurveyMonkey, monkeypatch: pytest.MonkeyPatch) -> SurveyMonkeyVendor:
        monkeypatch.setattr(surveymonkey, "PAGE", 3)
        monkeypatch.setattr(surveymonkey_api, "PAGE", 3)
        return SurveyMonkeyVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeSurveyMonkey) -> Any:
        return lambda: source(fake.url)


def polled(fake: FakeSurveyMonkey, **keys: Any) -> list[Batch]:
    made = source(fake.url, **keys)
    return list(made.poll(made.start(NOW), NOW))


def only(batches: Sequence[Batch]) -> Signal:
    (signal,) = [signal for batch in batches for signal in batch.signals]
    return signal


def responded(fake: FakeSurveyMonkey, *questions: Mapping[str, Any], **more: Any) -> None:
    at = (NOW + timedelta(minutes=1)).isoformat()
    fake.add("responses", id="5001", date_modified=at, response_status="completed", pages=pages(*questions), **more)


CONTACT = {"10": "Trần An", "11": "an@example.org", "12": "VN"}


def test_answers_that_name_only_ids_are_joined_with_the_survey(fake: FakeSurveyMonkey) -> None:
    responded(
        fake,
        {"id": "31", "answers": [{"choice_id": "1"}, {"choice_id": "2"}, {"other_id": "9", "text": "Cơm"}]},
        {"id": "32", "answers": [{"row_id": "5", "choice_id": "6"}]},
        {"id": "33", "answers": [{"row_id": row, "text": text} for row, text in CONTACT.items()]},
        {"id": "35", "heading": "<b>New?</b>", "answers": [{"choice_id": "77", "simple_text": "Indeed"}]},
        analyze_url="https://www.surveymonkey.com/analyze/browse/x",
        custom_variables={"company": "Acme"},
        custom_value="c1",
    )  # fmt: skip
    signal = only(polled(fake))
    assert signal.title == "Answered How was it?"
    assert signal.text == (
        "Which dish?\nPhở; Bún chả; Cơm\n\nRate us\nFood: Good\n\nName\nTrần An\n\nEmail\nan@example.org\n\n"
        "Who are you?\nCountry: VN\n\nNew?\nIndeed"
    )
    person = signal.person
    assert (person.email, person.name, person.company) == ("an@example.org", "Trần An", "Acme")
    assert signal.url == "https://www.surveymonkey.com/analyze/browse/x"
    assert signal.data["hidden"] == {"company": "Acme", "custom_value": "c1"}
    assert signal.data["by_ref"]["31"] == "Phở; Bún chả; Cơm"


def test_the_recipient_of_an_invitation_is_looked_up(fake: FakeSurveyMonkey) -> None:
    fake.add("recipients", id="77", email="an@example.org", first_name="An")
    responded(fake, COMMENT, collector_id="1", recipient_id="77")
    assert only(polled(fake)).person.email == "an@example.org"


@pytest.mark.parametrize("recipient", ["0", "", "78"])
def test_a_recipient_who_is_not_there(fake: FakeSurveyMonkey, recipient: str) -> None:
    responded(fake, COMMENT, collector_id="1", recipient_id=recipient)
    assert only(polled(fake)).person.identity == ""


def test_an_answer_that_is_an_address_identifies_its_author(fake: FakeSurveyMonkey) -> None:
    responded(fake, {"id": "34", "answers": [{"text": "An@Example.org"}]})
    assert only(polled(fake)).person.email == "an@example.org"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"collection_mode": "survey_preview"}, "preview"), ({"response_status": "partial"}, "response partial")],
)
def test_what_is_not_a_response_is_counted(fake: FakeSurveyMonkey, changes: dict[str, Any], reason: str) -> None:
    responded(fake, COMMENT)
    fake.modify("responses", "5001", **changes)
    (batch,) = polled(fake)
    assert (batch.signals, batch.dropped) == ([], {reason: 1})


def test_a_response_that_is_changed_is_the_same_signal(fake: FakeSurveyMonkey) -> None:
    responded(fake, COMMENT)
    first = only(polled(fake))
    later = (NOW + timedelta(hours=2)).isoformat()
    fake.modify("responses", "5001", date_modified=later, pages=pages({"id": "34", "answers": [{"text": "Better"}]}))
    second = only(polled(fake))
    assert first.id == second.id
    assert second.text == "Anything else?\nBetter"


def test_twenty_hints_of_a_survey_are_two_calls(fake: FakeSurveyMonkey) -> None:
    for number in range(20):
        fake.happen(number, NOW + timedelta(seconds=number))
    made = source(fake.url)
    events = [event(str(5000 + number), NOW + timedelta(seconds=number)) for number in range(20)]
    hints = made.parse(signed(json.dumps(events).encode())).hints
    assert {hint.not_before for hint in hints} == {NOW + timedelta(minutes=1)}
    before = fake.spent
    answers = made.fetch_many(hints, NOW)
    assert [len(answer.signals) for answer in answers] == [1] * 20
    assert fake.spent - before == 2, "the list, and the survey for the titles"


def polls(made: Any, times: int) -> None:
    for _ in range(times):
        list(made.poll(made.start(NOW), NOW))


def test_a_day_has_450_calls_unless_quota_says_more(fake: FakeSurveyMonkey) -> None:
    made = source(fake.url, limits=SourceLimits())
    with pytest.raises(RateLimited, match="our share of the account's calls"):
        polls(made, 60)
    assert fake.spent < 30


def test_an_app_without_calls_waits(fake: FakeSurveyMonkey) -> None:
    fake.credits = 2
    made = source(fake.url)
    with pytest.raises(QuotaExhausted):
        polls(made, 4)
    assert fake.spent == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_type": "response_deleted"}, "event response_deleted"),
        ({"event_type": "response_updated"}, "event response_updated"),
        ({"event_type": "collector_created"}, "event collector_created"),
        ({"resources": {"survey_id": "1"}}, "another survey"),
    ],
)
def test_events_that_bring_nothing_are_counted(changes: dict[str, Any], reason: str) -> None:
    batch = source().parse(signed(json.dumps({**event("1"), **changes}).encode()))
    assert (list(batch.hints), batch.dropped) == ([], {reason: 1})


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"null", b"\xff", b"{", b'{"event_type": "response_completed"}', b'{"event_type": 5}']
)
def test_bodies_that_are_not_events(body: bytes) -> None:
    with pytest.raises(Malformed):
        source().parse(signed(body))


def test_signatures_and_the_probe_of_a_new_address() -> None:
    made = source(client_secret=["a-new-secret-0815", SECRET])
    for secret in (SECRET, "a-new-secret-0815"):
        made.verifier()(signed(b"{}", secret), NOW)
    for wrong in (signed(b"{}", "another"), Request("POST", URL, {}, b"{}", NOW)):
        with pytest.raises(NotAuthentic):
            made.verifier()(wrong, NOW)
    assert made.handshake(Request("HEAD", URL, {}, b"", NOW)).status == 200
    assert made.handshake(Request("GET", URL, {}, b"", NOW)) is None


def test_one_webhook_watches_all_surveys(fake: FakeSurveyMonkey) -> None:
    source(fake.url).subscribe()
    (one,) = source(fake.url, surveys=[SURVEY, "7"]).subscribe().there
    assert (one.url, one.events) == (URL, ("response_completed",))
    (row,) = fake.records("hooks")
    assert row["object_ids"] == [SURVEY, "7"]
    fake.add("hooks", name="another", event_type="response_completed", subscription_url="https://elsewhere.example.org")
    assert sum(one.ours for one in source(fake.url).subscriptions()) == 1


def test_what_check_online_says(fake: FakeSurveyMonkey) -> None:
    made = source(fake.url, surveys=[SURVEY, "7"])
    said = {finding.what: str(finding.level) for finding in made.check_online()}
    assert said == {f"survey {SURVEY}": "ok", "survey 7": "fault", "webhook": "warning"}
    made.subscribe()
    assert "webhook" not in {finding.what for finding in made.check_online()}


def test_a_refused_token_is_named(fake: FakeSurveyMonkey) -> None:
    with pytest.raises(Misconfigured):
        polled(fake, token="wrong")


def test_a_survey_that_is_gone_stops_no_other(fake: FakeSurveyMonkey) -> None:
    responded(fake, COMMENT)
    assert only(polled(fake, surveys=["7", SURVEY])).data["survey_id"] == SURVEY


def test_more_responses_of_one_second_than_a_page(fake: FakeSurveyMonkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveymonkey, "PAGE", 3)
    monkeypatch.setattr(surveymonkey_api, "PAGE", 3)
    for number in range(8):
        fake.happen(number, NOW + timedelta(seconds=1))
    got = {signal.id for batch in polled(fake) for signal in batch.signals}
    assert len(got) == 8


def test_a_misfit_is_read_again_from_the_vendor(fake: FakeSurveyMonkey) -> None:
    fake.happen(1, NOW, spoilt=True)
    made = source(fake.url)
    (batch,) = made.poll(made.start(NOW), NOW)
    (misfit,) = batch.misfits
    assert "pages: str instead of a list" in misfit.reason
    (hint,) = made.parse(misfit.request).hints
    fake.spoilt.clear()
    assert len(made.fetch(hint, NOW).signals) == 1


# ---- recorded traffic


def recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "surveymonkey.json").read_text("utf-8"))[name]
    return found


@with_recordings
def test_a_published_event_is_a_hint() -> None:
    body = recording("response-event")["inbound"]["body"]
    made = source(surveys=["123456789"])
    (hint,) = made.parse(signed(json.dumps(body).encode())).hints
    assert hint.key == "123456789/123456"
    assert hint.data["at"].startswith("2016-01-01T21:56:31")


@with_recordings
def test_the_stand_in_and_the_source_agree_with_the_published_registration(fake: FakeSurveyMonkey) -> None:
    (exchange,) = recording("webhook-registered")["exchanges"]
    import requests

    headers = {"Authorization": f"Bearer {fake.token}"}
    answer = requests.post(fake.url + exchange["path"], json=exchange["request"]["data"], headers=headers, timeout=10)
    assert answer.status_code == exchange["status"]
    assert set(answer.json()) == set(exchange["response"])
    source(fake.url).subscribe()
    assert all(set(exchange["request"]["data"]) < set(row) for row in fake.records("hooks"))
