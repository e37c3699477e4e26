"""Opens, clicks and bounces of Zoho Campaigns: reports of newsletters, webhooks and reports of the Email API, and the lockout."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from syncd.cli.abilities import capabilities_of
from syncd.connector import Ability, Batch, Context, Request
from syncd.connectors.campaigns import zoho_campaigns_api
from syncd.connectors.campaigns.zoho_campaigns import (
    CONNECTOR,
    ReportCursors,
    ZohoCampaigns,
    ZohoCampaignsSettings,
    due,
    read_cursors,
)
from syncd.connectors.campaigns.zoho_campaigns_rows import local_time, rows_of
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited, Transient
from syncd.http.limits import MemoryRates, Rate, SourceLimits
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import BackfillConformance, PollingConformance, TwinVendor, WebhookConformance
from syncd.twins.fake_events import FakeEvents, unix_ms
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, recorded, token_endpoint
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

URL = "https://syncd.example.com/webhooks/news"
NOW = datetime.now(UTC).replace(second=0, microsecond=0)  # tokens are of the real time
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
PASSWORD, KEY = "hook-password-0815", "email-api-key-0815"
SIZE = 3
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)


def english(at: datetime) -> str:
    """As a report writes the time of an open or click: in the account's zone, without saying so."""
    local = at.astimezone(HANOI)
    return f"{local:%b} {local.day}, {local.year} {local:%I:%M %p}"


def bounced(at: datetime) -> str:
    local = at.astimezone(HANOI)
    return f"{local.day} {local:%b} {local.year}, {local:%I:%M %p}"


def refusal(code: str, message: str) -> TwinResponse:
    """As Zoho Campaigns refuses: with HTTP 200."""
    return TwinResponse(200, {"status": "error", "code": code, "message": message, "version": "1.1"})


def cut(call: TwinCall, rows: Sequence[Any]) -> list[Any]:
    start = int(call.query.get("fromindex", 1)) - 1
    return list(rows[start : start + min(SIZE, int(call.query.get("range", 20)))])


def campaigns(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    rows = sorted(vendor.records("campaigns"), key=lambda row: -int(row["sent_time_gmt"]))
    page = cut(call, rows)
    if not page:
        return refusal("6101", "No campaign available in this view.")
    return TwinResponse(200, {"status": "success", "code": "0", "recent_campaigns": page})


def recipients(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """The contacts who did `action`, one row for each event of the kit."""
    if vendor.store.get("campaigns", call.query["campaignkey"]) is None:
        return refusal("6002", "Invalid campaign key (or) campaign is not yet sent.")
    wanted = (call.query["campaignkey"], call.query["action"])
    held = [row for row in vendor.records("contacts") if (row["campaign"], row["action"]) == wanted]
    page = [vendor.shown("contacts", row) for row in cut(call, held)]
    if not page:
        return refusal("6303", "There are no contacts in the selected mailing list.")
    return TwinResponse(200, {"status": "success", "code": "0", "list_of_details": page})


def split(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    told = {"a_child_campaignkey": "c1a", "b_child_campaignkey": "c1b"}
    return TwinResponse(200, {"status": "success", "code": "0", "campaign-reports": [], "AB-split-details": [told]})


def mail_events(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """GET /reports/event/{kind}: by the API key of the Email API, in pages by index."""
    if call.headers.get("authorization") != f"Zoho-zapikey {KEY}":
        return vendor.error(401, "401", "invalid key")
    rows = [row for row in vendor.records("mails") if row.get("kind", "open") == parts["kind"]]
    least, most = int(call.query["from"]), int(call.query["to"])
    shown = [vendor.shown("mails", row) for row in rows]
    shown = [row for row in shown if not str(row["action_time"]).isdigit() or least <= row["action_time"] <= most]
    start = int(call.query["start_index"]) - 1
    return TwinResponse(200, {"data": shown[start : start + SIZE], "response": {"code": 200, "message": "success"}})


class FakeCampaigns(FakeVendor):
    """Zoho Campaigns of one account, by its manual and what others saw of it. The kit's events are of a newsletter."""

    name = "zoho_campaigns"
    events = FakeEvents(
        object="contacts",
        id="contactid",
        at="time",
        time=english,
        fields={"campaign": "c1", "action": "openedcontacts", "contactfn": "Lan", "contactln": "null"},
        people={"email": "contactemailaddress"},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("POST /oauth/v2/token", token_endpoint(), "token", open=True),
        FakeRoute("GET /api/v1.1/recentcampaigns", campaigns),
        FakeRoute("GET /api/v1.1/getcampaignrecipientsdata", recipients, "recipients"),
        FakeRoute("GET /api/v1.1/getcampaigndetails", split),
        FakeRoute("GET /emailapi/v2/reports/event/{kind}", mail_events, open=True),
    )

    def admits(self, call: TwinCall) -> bool:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        return scheme == "Zoho-oauthtoken" and token in self.valid_tokens and call.query.get("resfmt") == "JSON"

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        """A contact's row, with the time of what was done as one of its reports."""
        shown = {name: value for name, value in record.items() if name not in ("campaign", "action", "time", "kind")}
        if object_ == "contacts" and "time" in record:
            shown["reports"] = [{"time": record["time"]}]
        return shown

    def shown(self, object_: str, record: Record) -> dict[str, Any]:
        if object_ == "contacts" and record in self.spoilt:
            return {**self.shape(object_, record), "reports": [{"time": "some day"}]}
        return super().shown(object_, record)

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"status": "error", "code": code, "message": message})

    def sent(self, key: str = "c1", at: datetime = NOW - timedelta(days=1), **more: Any) -> None:
        row = {"campaign_name": "June offer", "subject": "Save 20 %", "campaign_status": "Sent"}
        with self.lock, self.settled():
            told = {"sent_time_gmt": str(unix_ms(at)), "campaign_key": key, **more}
            self.store.put("campaigns", key, {**row, **told})

    def did(self, action: str, email: str = "an@example.org", key: str = "c1", **more: Any) -> None:
        id_ = str(len(self.records("contacts")) + 100)
        row = {"campaign": key, "action": action, "contactemailaddress": email, "contactid": id_}
        with self.lock, self.settled():
            self.store.put("contacts", id_, {**row, **more})


class FakeEmailApi(FakeCampaigns):
    """The kit's events are of the Email API."""

    events = FakeEvents(
        object="mails",
        id="transmission_id",
        at="action_time",
        time=unix_ms,
        key=lambda number: 1314909000000144000 + number,
        fields={"contact_id": 1314909000000144100, "transmission_name": "Receipt", "zuid": 100000000},
        people={"email": "contact_email"},
    )


def source(url: str = "http://127.0.0.1:9", limits: SourceLimits | None = None, clock: Any = None, **keys: Any) -> Any:
    auth = {"client_id": "client", "client_secret": "client-secret-0815", "refresh_token": uuid.uuid4().hex}
    given = {"auth": auth, "timezone": "Asia/Ho_Chi_Minh", "base_url": url, "accounts_url": url, **keys}
    more = ({"limits": limits} if limits else {}) | ({"clock": clock} if clock else {})
    context = Context(name="news", tokens=MemoryTokens(), region="VN", **more)
    return CONNECTOR.build(ZohoCampaignsSettings.model_validate(given), context)


def at_noon(url: str, **keys: Any) -> Any:
    return source(url, clock=lambda: NOW + timedelta(hours=4), **keys)


def polled(fake: FakeCampaigns, since: datetime = NOW, **keys: Any) -> list[Batch]:
    made = at_noon(fake.url, **keys)
    return list(made.poll(made.start(since), NOW + timedelta(hours=4)))


def signals(batches: Iterable[Batch]) -> list[Signal]:
    return [signal for batch in batches for signal in batch.signals]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoho_campaigns_api, "DEFAULT_PAGE", SIZE)
    monkeypatch.setattr(zoho_campaigns_api, "EVENTS", SIZE)


@pytest.fixture
def fake() -> Iterator[FakeCampaigns]:
    with FakeCampaigns() as twin:
        yield twin


class CampaignsVendor(TwinVendor):
    @property
    def secrets(self) -> Sequence[str]:
        return ("client-secret-0815", KEY, PASSWORD)


class TestNewsletters(PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeCampaigns) -> CampaignsVendor:
        fake.sent(at=datetime.now(UTC) - timedelta(days=1))
        return CampaignsVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeCampaigns) -> Any:
        return lambda: source(fake.url)


class EmailApiVendor(CampaignsVendor):
    auth_headers = ("authorization",)
    covers_body = False

    def request(self, number: int) -> Request:
        return self.sign(json.dumps(webhook(self.event(number))).encode())

    def sign(self, body: bytes) -> Request:
        return called(body)

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> Request:
        rows = [self.event(number) for number in numbers]
        return self.sign(json.dumps({**webhook(*rows[:1]), "data": [*rows[:1], *wrong, *rows[1:]]}).encode())

    def again(self, number: int, time: int) -> Request:
        row = self.event(number)
        return self.sign(json.dumps(webhook({**row, "action_time": row["action_time"] + time * 1000})).encode())


class TestEmailApi(WebhookConformance, PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self) -> Iterator[EmailApiVendor]:
        with FakeEmailApi() as twin:
            yield EmailApiVendor(twin)

    @pytest.fixture
    def connect(self, vendor: EmailApiVendor) -> Any:
        return lambda: source(vendor.twin.url, password=PASSWORD, email_api_key=KEY)


def webhook(*rows: Any, action: str = "email_open") -> dict[str, Any]:
    told = {"webhook_name": "Open webhook", "webhook_id": "1314909000000063004", "action_by": "contact"}
    return {**told, "action": action, "actionType": action, "data": list(rows)}


def called(body: bytes, password: str = PASSWORD) -> Request:
    login = base64.b64encode(f"syncd:{password}".encode()).decode()
    return Request("POST", URL, {"authorization": f"Basic {login}", "content-type": "application/json"}, body, NOW)


def mail(**more: Any) -> dict[str, Any]:
    told = {"action_time": unix_ms(NOW), "contact_id": 1314909000000144100, "contact_email": "an@example.org"}
    return {**told, "transmission_id": 1314909000000144000, "transmission_name": "Receipt", **more}


def hooked(*rows: Any, action: str = "email_open", **keys: Any) -> Batch:
    made = source(password=PASSWORD, **keys)
    batch: Batch = made.parse(called(json.dumps(webhook(*rows, action=action)).encode()))
    return batch


# ---- newsletters


def test_opens_and_clicks_are_counted(fake: FakeCampaigns) -> None:
    fake.sent()
    opens = [{"time": english(NOW + timedelta(minutes=one))} for one in (1, 2, 2, 30)]
    fake.did("openedcontacts", contactfn="Lan", contactln="Trần", companyname="null", reports=opens)
    links = [("https://a.example/x", 3), ("https://b.example/", 4), ("https://a.example/x", 5)]
    clicks = [{"time": english(NOW + timedelta(minutes=one)), "click_url": link} for link, one in links]
    fake.did("clickedcontacts", reports=clicks)
    made = signals(polled(fake))
    opened = [one for one in made if one.type == "campaign.opened"]
    assert len({one.id for one in opened}) == 1
    assert len({one.repeat for one in opened}) == 3  # two of them in the same minute
    assert (opened[0].title, opened[0].person.name) == ("Opened: Save 20 % (June offer)", "Lan Trần")
    clicked = [one for one in made if one.type == "campaign.clicked"]
    assert [one.text for one in clicked] == ["https://a.example/x", "https://b.example/", "https://a.example/x"]
    assert clicked[0].id == clicked[2].id != clicked[1].id
    assert clicked[0].repeat != clicked[2].repeat
    assert clicked[0].occurred_at == NOW + timedelta(minutes=3)


@pytest.mark.parametrize(("action", "kind"), [("senthardbounce", "hard"), ("sentsoftbounce", "soft")])
def test_bounces_have_another_form_of_time(fake: FakeCampaigns, action: str, kind: str) -> None:
    fake.sent()
    fake.did(action, bouncedDate=bounced(NOW + timedelta(minutes=1)))
    (signal,) = signals(polled(fake))
    assert (signal.type, signal.data["kind"]) == ("campaign.bounced", kind)
    assert signal.occurred_at == NOW + timedelta(minutes=1)
    assert signals(polled(fake, soft_bounces=False)) == ([] if kind == "soft" else [signal])


@pytest.mark.parametrize("size", [20, 21, 40, 45])
def test_the_twenty_first_recipient_is_read(fake: FakeCampaigns, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Also if Zoho takes no notice of `range`, and of a full page that is the last."""
    monkeypatch.setattr(zoho_campaigns_api, "DEFAULT_PAGE", 20)
    monkeypatch.setattr(f"{__name__}.SIZE", 20)
    fake.sent()
    for number in range(size):
        fake.did(
            "openedcontacts", f"p{number}@example.org", reports=[{"time": english(NOW + timedelta(minutes=number))}]
        )
    assert len(signals(polled(fake))) == size


def test_a_list_that_cannot_be_paged_ends(fake: FakeCampaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.cut", lambda call, rows: list(rows[:SIZE]))
    fake.sent()
    for number in range(5):
        fake.did("openedcontacts", f"p{number}@example.org", reports=[{"time": english(NOW)}])
    assert len(signals(polled(fake))) == SIZE


def test_what_has_no_time_is_counted(fake: FakeCampaigns) -> None:
    fake.sent()
    fake.did("openedcontacts", sent_time="1700000000000")
    assert polled(fake)[0].dropped == {"a row without a time": 1}


def test_errors_come_with_http_200(fake: FakeCampaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signals(polled(fake)) == []  # 6101: no campaigns
    fake.sent()
    assert signals(polled(fake)) == []  # 6303: no contacts
    cases: tuple[tuple[str, Any, str], ...] = (
        ("6607", Misconfigured, "may not read"),
        ("6001", Transient, "cannot be read just now"),
        ("9999", Transient, "9999|something new"),
    )
    for code, failure, text in cases:
        answers = FakeRoute("GET /api/v1.1/recentcampaigns", recorded(refusal(code, "something new").body))
        monkeypatch.setattr(FakeCampaigns, "routes", (FakeCampaigns.routes[0], answers))
        with pytest.raises(failure, match=text):
            polled(fake)


def test_a_campaign_that_is_gone_does_not_end_the_poll(fake: FakeCampaigns) -> None:
    fake.sent("c1")
    fake.sent("c2", NOW - timedelta(days=1, hours=1))
    fake.did("openedcontacts", key="c2", reports=[{"time": english(NOW)}])
    fake.between_calls = lambda: fake.store.put("campaigns", "c1", None)
    (signal,) = signals(polled(fake))
    assert signal.data["campaign_key"] == "c2"


def test_both_versions_of_an_ab_test_are_read(fake: FakeCampaigns) -> None:
    fake.sent(campaigntype="abtesting")
    for key in ("c1a", "c1b"):
        fake.sent(key, NOW - timedelta(days=400))  # not listed as campaigns that are watched
        fake.did("openedcontacts", f"{key}@example.org", key, reports=[{"time": english(NOW)}])
    assert {one.person.email for one in signals(polled(fake))} == {"c1a@example.org", "c1b@example.org"}


def test_the_lockout_is_never_reached_and_no_campaign_is_left_behind(fake: FakeCampaigns) -> None:
    """However many campaigns: what does not fit into one poll is read by the next, in the order of its age."""
    for number in range(6):
        fake.sent(f"c{number}", NOW - timedelta(days=1, minutes=number))
        fake.did("openedcontacts", f"p{number}@example.org", f"c{number}", reports=[{"time": english(NOW)}])
    clock = [NOW]
    limits = SourceLimits(rates=MemoryRates())
    zoho_campaigns_api.PACE, pace = Rate(12, timedelta(minutes=5), burst=10), zoho_campaigns_api.PACE
    try:
        made = source(fake.url, limits, clock=lambda: clock[0])
    finally:
        zoho_campaigns_api.PACE = pace
    state, seen = made.start(NOW), set[str]()
    for _ in range(12):
        with contextlib.suppress(RateLimited):
            for batch in made.poll(state, clock[0]):
                state = batch.state or state
                seen |= {one.person.email for one in batch.signals}
        clock[0] += timedelta(minutes=5)
    assert len(seen) == 6
    assert pace.units + pace.size < 500


def test_older_campaigns_are_read_once_an_hour(fake: FakeCampaigns) -> None:
    rows = [{"campaign_key": key, "sent_time_gmt": str(unix_ms(NOW - age))} for key, age in AGES.items()]
    read = {
        "old": NOW - timedelta(minutes=30),
        "older": NOW - timedelta(minutes=61),
        "young": NOW - timedelta(minutes=5),
    }
    cursors = ReportCursors(NOW, read=read)
    assert [row["campaign_key"] for row in due(rows, cursors, NOW)] == ["new", "older", "young"]


AGES = {"young": timedelta(hours=3), "old": timedelta(days=5), "older": timedelta(days=9), "new": timedelta(days=3)}


def test_cursors_of_campaigns_that_are_not_watched_any_more_are_forgotten(fake: FakeCampaigns) -> None:
    fake.sent()
    fake.did("openedcontacts", reports=[{"time": english(NOW)}])
    made = at_noon(fake.url)
    state = list(made.poll(made.start(NOW), NOW + timedelta(hours=4)))[-1].state
    assert set(read_cursors(state).reports) == {"c1/openedcontacts"}
    later = list(made.poll(state, NOW + timedelta(days=60)))[-1].state
    assert (read_cursors(later).reports, read_cursors(later).read) == ({}, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Feb 12, 2026 12:08 PM", datetime(2026, 2, 12, 5, 8, tzinfo=UTC)),
        ("Feb 12, 2026 12:08 AM", datetime(2026, 2, 11, 17, 8, tzinfo=UTC)),
        ("12 Feb 2026, 1:01 PM", datetime(2026, 2, 12, 6, 1, tzinfo=UTC)),
        ("February 2, 2026, 01:01:09 pm", datetime(2026, 2, 2, 6, 1, 9, tzinfo=UTC)),
        ("1770873600000", datetime(2026, 2, 12, 5, 20, tzinfo=UTC)),
        (1770873600000, datetime(2026, 2, 12, 5, 20, tzinfo=UTC)),
        ("Feb 30, 2026 12:08 PM", None),
        ("Foo 12, 2026 12:08 PM", None),
        ("some day", None),
        (None, None),
        ([], None),
    ],
)
def test_times_without_a_zone(text: Any, expected: datetime | None) -> None:
    assert local_time(text, HANOI) == expected


def test_the_hour_that_comes_twice() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert local_time("Oct 25, 2026 2:30 AM", berlin) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert local_time("Mar 29, 2026 2:30 AM", berlin) is not None  # there was no such hour


@pytest.mark.parametrize("reports", [None, [], {}, "none", {"report": [{"time": "x"}]}, {"time": "x"}, [5]])
def test_odd_reports_are_one_row_each(reports: Any) -> None:
    rows = list(
        rows_of({"campaign_key": "c1"}, "openedcontacts", [{"contact_email": "a@example.org", "reports": reports}])
    )
    assert len(rows) == 1


def test_a_wrong_row_can_be_retried(fake: FakeCampaigns) -> None:
    fake.sent()
    fake.did("openedcontacts", "", reports=[{"time": english(NOW)}])
    (misfit,) = polled(fake)[0].misfits
    row = json.loads(misfit.request.body)
    row["recipient"]["contactemailaddress"] = "an@example.org"
    (signal,) = source(fake.url).reparse(replace(misfit.request, body=json.dumps(row).encode())).signals
    assert signal.person.email == "an@example.org"


# ---- the Email API


def test_a_click_on_a_link_of_a_mail() -> None:
    link = "https://shop.example/order"
    (signal,) = hooked(mail(click_url=link), action="email_click").signals
    assert (signal.type, signal.title, signal.text) == ("email.clicked", f"Clicked in Receipt: {link}", link)
    assert signal.data["message_id"] == "1314909000000144000"
    (other,) = hooked(mail(click_url=link), action="email_click", emails_as="campaign").signals
    assert other.type == "campaign.clicked"


def test_a_bounce_of_a_mail() -> None:
    told = {"bounce_type": "hard", "bounce_reason": "550 5.1.1 no such user"}
    (signal,) = hooked(mail(**told), action="bounce").signals
    assert (signal.type, signal.data["kind"], signal.text) == ("email.bounced", "hard", "550 5.1.1 no such user")
    assert hooked(mail(bounce_type="soft"), action="bounce", soft_bounces=False).dropped == {"soft bounce": 1}


@pytest.mark.parametrize("action", ["email_delivered", "spam", "unsubscribed", "of the future"])
def test_other_events_are_counted_by_name(action: str) -> None:
    assert hooked(mail(), mail(), action=action).dropped == {f"event {action}": 2}


@pytest.mark.parametrize(
    "body", [{}, [], {"action": "email_open"}, {"action": "email_open", "data": []}, {"data": [1]}]
)
def test_what_is_not_a_webhook_is_kept(body: Any) -> None:
    with pytest.raises(Malformed, match="not a webhook of Zoho Campaigns"):
        source(password=PASSWORD).parse(called(json.dumps(body).encode()))


def test_a_row_of_a_report_that_was_kept_can_be_retried() -> None:
    with FakeEmailApi() as fake:
        fake.happen(1, datetime.now(UTC), spoilt=True)
        made = source(fake.url, email_api_key=KEY)
        batches = list(made.poll(made.start(datetime.now(UTC) - timedelta(hours=1)), datetime.now(UTC)))
        (misfit,) = [one for batch in batches for one in batch.misfits]
        body = json.loads(misfit.request.body)
        body["data"][0]["action_time"] = unix_ms(NOW)
        (signal,) = made.reparse(replace(misfit.request, body=json.dumps(body).encode())).signals
        assert signal.occurred_at == NOW


def test_who_may_call() -> None:
    verify = source(password=["new-0815", PASSWORD]).verifier()
    verify(called(b"{}"), NOW)
    verify(called(b"{}", "new-0815"), NOW)
    with pytest.raises(NotAuthentic):
        verify(called(b"{}", "another"), NOW)


def test_without_a_password_there_are_no_webhooks() -> None:
    assert type(source()) is ZohoCampaigns
    auth = {"client_id": "client", "client_secret": "secret"}
    settings = ZohoCampaignsSettings.model_validate({"auth": auth, "timezone": "UTC"})
    assert CONNECTOR.unable is not None
    assert set(CONNECTOR.unable(settings)) == {Ability.WEBHOOK}
    with pytest.raises(ValidationError, match="not a time zone name"):
        source(timezone="Mars/Base")


def test_what_check_online_says(fake: FakeCampaigns) -> None:
    fake.sent()
    made = at_noon(fake.url, email_api_key=KEY)
    assert [(one.what, one.message) for one in made.check_online()] == [
        ("sign-in", "campaigns sent within 30d, which are watched: 1"),
        ("Email API", "event reports may be read"),
    ]
    with pytest.raises(Misconfigured, match="the token is refused"):
        list(at_noon(fake.url, email_api_key="wrong").check_online())


@with_recordings
def test_the_published_open() -> None:
    found = json.loads((Path(RECORDINGS) / "zoho-campaigns.json").read_text("utf-8"))["email-api-open"]["inbound"]
    made = source(password=PASSWORD)
    request = called(json.dumps(found["body"]).encode())
    made.verifier()(request, NOW)
    (signal,) = made.parse(request).signals
    assert (signal.type, signal.person.email) == ("email.opened", "recipient@example.com")
    assert signal.occurred_at == datetime(2024, 9, 4, 14, 46, 59, 774000, tzinfo=UTC)
    assert signal.data["contact_id"] == "1314909000000144100"


def test_its_page_says_that_it_takes_webhooks() -> None:
    assert {"webhook"} <= {row["ability"] for row in capabilities_of(CONNECTOR) if row["there"]}
