"""Mailchimp's email activity by poll and backfill, how it is counted, and what was recorded of Mailchimp."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from syncd.connector import Batch, Context
from syncd.connectors.campaigns import mailchimp_api
from syncd.connectors.campaigns.mailchimp import CONNECTOR, MailchimpSettings
from syncd.connectors.campaigns.mailchimp_activity import mark, rows_of
from syncd.connectors.campaigns.mailchimp_api import host_of
from syncd.errors import Misconfigured, RateLimited
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import BackfillConformance, PollingConformance, TwinVendor
from syncd.twins.fake_events import FakeEvents, comparable
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, listed
from syncd.twins.wire import TwinCall, TwinResponse

KEY = "0123456789abcdef0815-us3"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
CAMPAIGN: dict[str, Any] = {
    "id": "c1",
    "web_id": 4746122,
    "status": "sent",
    "recipients": {"list_id": "l1", "list_name": "Customers"},
    "settings": {"subject_line": "Save 20 %", "title": "June offer"},
}


def cut(call: TwinCall, rows: Sequence[Any]) -> list[Any]:
    start, size = int(call.query.get("offset", "0")), min(int(call.query.get("count", "10")), 1000)
    return list(rows[start : start + size])


def campaigns(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    least, below, equal = {"since_send_time": "send_time"}, {"before_send_time": "send_time"}, {"status": "status"}
    act = listed("campaigns", items="rows", sort="send_time", newest_first=True, least=least, below=below, equal=equal)
    rows = act(vendor, call, parts).body["rows"]
    return TwinResponse(200, {"campaigns": cut(call, rows), "total_items": len(rows)})


def activity(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """One row for each recipient, with what that one did since then: recipients who did nothing are there too."""
    if vendor.store.get("campaigns", parts["id"]) is None:
        return vendor.missing()
    recipients: dict[str, dict[str, Any]] = {}
    for held in vendor.records("activity"):
        row = vendor.shown("activity", held)
        if row["campaign_id"] == parts["id"]:
            who = {name: row.get(name) for name in ("campaign_id", "email_id", "email_address")}
            recipient = recipients.setdefault(str(row.get("email_id")), {**who, "activity": []})
            if comparable(row["timestamp"]) >= comparable(call.query["since"]):
                did = {name: row[name] for name in ("action", "type", "url", "timestamp") if name in row}
                recipient["activity"].append(did)
    rows = list(recipients.values())
    return TwinResponse(200, {"emails": cut(call, rows), "campaign_id": parts["id"], "total_items": len(rows)})


def member(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    found = vendor.store.get("members", f"{parts['list']}/{parts['member']}")
    return TwinResponse(200, {k: v for k, v in found.items() if k != "id"}) if found is not None else vendor.missing()


class FakeMailchimp(FakeVendor):
    """Mailchimp's Marketing API of one account: a campaign, who received it, and what they did."""

    name = "mailchimp"
    token: ClassVar[str] = KEY
    absent = (404, "Resource Not Found")
    throttled = (429, "Too Many Requests")
    events = FakeEvents(
        object="activity",
        at="timestamp",
        time=lambda at: at.isoformat(),
        fields={"campaign_id": "c1", "email_id": "m{n}", "action": "open"},
        people={"email": "email_address"},
        spoilt={"email_address": None},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("GET /3.0/campaigns", campaigns),
        FakeRoute("GET /3.0/reports/{id}/email-activity", activity),
        FakeRoute("GET /3.0/lists/{list}/members/{member}", member),
    )

    def admits(self, call: TwinCall) -> bool:
        return call.bearer == base64.b64encode(f"syncd:{self.token}".encode()).decode()

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"type": "about:blank", "title": code, "status": status, "detail": message})

    def sent(self, id_: str = "c1", at: datetime = NOW - timedelta(days=2), **more: Any) -> None:
        self.add("campaigns", **{**CAMPAIGN, **more, "id": id_, "send_time": at.isoformat()})

    def did(self, action: str, minutes: float, member: str = "m1", **more: Any) -> None:
        row = {"campaign_id": "c1", "email_id": member, "email_address": f"{member}@example.org", "action": action}
        at = (NOW + timedelta(minutes=minutes)).isoformat()
        self.add("activity", **{**row, "timestamp": at, **more, "id": f"a{len(self.records('activity'))}"})


def source(url: str = "http://127.0.0.1:9", **keys: Any) -> Any:
    context = Context(name="news", tokens=MemoryTokens(), region="VN", clock=lambda: NOW + timedelta(hours=1))
    return CONNECTOR.build(MailchimpSettings.model_validate({"api_key": KEY, "base_url": url, **keys}), context)


def polled(fake: FakeMailchimp, **keys: Any) -> list[Batch]:
    made = source(fake.url, **keys)
    return list(made.poll(made.start(NOW), NOW + timedelta(hours=1)))


def signals(batches: Iterable[Batch]) -> list[Signal]:
    return [signal for batch in batches for signal in batch.signals]


class MailchimpVendor(TwinVendor):
    @property
    def secrets(self) -> Sequence[str]:
        return (KEY,)


@pytest.fixture
def fake() -> Iterator[FakeMailchimp]:
    with FakeMailchimp() as twin:
        yield twin


class TestMailchimp(PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeMailchimp, monkeypatch: pytest.MonkeyPatch) -> MailchimpVendor:
        monkeypatch.setattr(mailchimp_api, "PAGE", 3)
        fake.sent(at=datetime.now(UTC) - timedelta(days=2))
        return MailchimpVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeMailchimp) -> Any:
        return lambda: source(fake.url)


def test_opens_and_clicks_are_counted(fake: FakeMailchimp) -> None:
    fake.sent()
    for minutes in (1, 2, 30):
        fake.did("open", minutes)
    for minutes, url in ((3, "https://a.example/x"), (4, "https://b.example/"), (5, "https://a.example/x")):
        fake.did("click", minutes, url=url)
    made = signals(polled(fake))
    opens = [one for one in made if one.type == "campaign.opened"]
    assert len({one.id for one in opens}) == 1
    assert len({one.repeat for one in opens}) == 3
    assert opens[0].title == "Opened: Save 20 % (June offer)"
    assert opens[0].person.email == "m1@example.org"
    assert opens[0].url == "https://us3.admin.mailchimp.com/campaigns/show/?id=4746122"
    clicks = [one for one in made if one.type == "campaign.clicked"]
    assert [one.text for one in clicks] == ["https://a.example/x", "https://b.example/", "https://a.example/x"]
    assert (clicks[0].id, clicks[0].repeat) != (clicks[2].id, clicks[2].repeat)
    assert clicks[0].id == clicks[2].id != clicks[1].id
    assert clicks[0].title == "Clicked in Save 20 % (June offer): https://a.example/x"
    assert len({one.thread for one in made}) == 1


def test_recipients_are_apart(fake: FakeMailchimp) -> None:
    fake.sent()
    for name in ("m1", "m2"):
        fake.did("open", 1, name)
    one, other = signals(polled(fake))
    assert one.id != other.id
    assert one.thread != other.thread


@pytest.mark.parametrize(
    ("kind", "soft", "found"), [("hard", True, "hard"), ("soft", True, "soft"), ("soft", False, "")]
)
def test_bounces(fake: FakeMailchimp, kind: str, soft: bool, found: str) -> None:
    fake.sent()
    fake.did("bounce", 1, type=kind)
    (batch,) = polled(fake, soft_bounces=soft)
    if not found:
        assert (batch.signals, batch.dropped) == ([], {"soft bounce": 1})
        return
    (signal,) = batch.signals
    assert (signal.type, signal.data["kind"], signal.repeat) == ("campaign.bounced", found, "")
    assert signal.title == "Not delivered: Save 20 % (June offer)"


def test_an_unknown_activity_is_counted(fake: FakeMailchimp) -> None:
    fake.sent()
    fake.did("forward", 1)
    fake.did("open", 2)
    (batch,) = polled(fake)
    assert (len(batch.signals), batch.dropped) == (1, {"activity forward": 1})


def test_a_title_is_not_said_twice(fake: FakeMailchimp) -> None:
    fake.sent(settings={"subject_line": "Save 20 %", "title": ""})
    fake.sent("c2", settings={"subject_line": "Hello", "title": "Hello"})
    fake.did("open", 1)
    fake.did("open", 2, campaign_id="c2")
    assert {one.title for one in signals(polled(fake))} == {"Opened: Save 20 %", "Opened: Hello"}


def test_campaigns_are_watched_for_a_time(fake: FakeMailchimp) -> None:
    fake.sent()
    fake.sent("c2", NOW - timedelta(days=40))
    for campaign in ("c1", "c2"):
        fake.did("open", 1, campaign_id=campaign)
    assert {one.data["campaign_id"] for one in signals(polled(fake))} == {"c1"}
    assert {one.data["campaign_id"] for one in signals(polled(fake, watch="60d"))} == {"c1", "c2"}


def test_what_shows_late_is_read_and_each_campaign_has_its_cursor(fake: FakeMailchimp) -> None:
    fake.sent()
    fake.sent("c2", NOW - timedelta(days=1))
    fake.did("open", 300, campaign_id="c2")
    made = source(fake.url)
    state = list(made.poll(made.start(NOW), NOW))[-1].state
    fake.did("open", 1, "m5")  # long before what was read of the other campaign
    fake.did("open", 290, "m6", campaign_id="c2")
    late = list(made.poll(state, NOW))
    assert {one.person.email for one in signals(late)} == {"m5@example.org", "m6@example.org"}
    assert list(made.poll(late[-1].state, NOW)) == []


def test_cursors_of_campaigns_that_are_not_watched_any_more_are_forgotten(fake: FakeMailchimp) -> None:
    fake.sent()
    fake.did("open", 1)
    made = source(fake.url)
    state = list(made.poll(made.start(NOW), NOW))[-1].state
    assert set(json.loads(state)["lists"]) == {"c1"}
    fake.sent("c2", NOW + timedelta(days=30))
    fake.did("open", 60 * 24 * 31, campaign_id="c2")
    state = list(made.poll(state, NOW + timedelta(days=31)))[-1].state
    assert set(json.loads(state)["lists"]) == {"c2"}


def test_names_are_read_once_for_each_person(fake: FakeMailchimp) -> None:
    fake.sent()
    fake.add("members", id="l1/m1", full_name="Trần An", merge_fields={})
    for minutes, member_id in ((1, "m1"), (2, "m1"), (3, "gone")):
        fake.did("open", minutes, member_id)
    assert [one.person.name for one in signals(polled(fake, names=True))] == ["Trần An", "Trần An", ""]
    assert [one.person.name for one in signals(polled(fake))] == ["", "", ""]


def test_a_wrong_activity_can_be_retried(fake: FakeMailchimp) -> None:
    fake.sent()
    fake.did("open", 1, timestamp=(NOW + timedelta(minutes=1)).isoformat(), email_address=None)
    (batch,) = polled(fake)
    (misfit,) = batch.misfits
    assert "without campaign, email_address or timestamp" in misfit.reason
    row = {**json.loads(misfit.request.body), "email_address": "an@example.org"}
    fixed = replace(misfit.request, body=json.dumps(row).encode())
    (signal,) = source(fake.url).reparse(fixed).signals
    assert signal.person.email == "an@example.org"


@pytest.mark.parametrize("activity", ["none", 5, [5], [None], [{}], {"action": "open"}])
def test_odd_activity_is_kept(activity: Any) -> None:
    rows = list(rows_of({"id": "c1"}, [{"email_id": "m1", "email_address": "a@example.org", "activity": activity}]))
    assert len(rows) == 1
    assert mark(rows[0]) is None


def test_a_campaign_that_is_deleted_meanwhile_does_not_end_the_poll(fake: FakeMailchimp) -> None:
    fake.sent()
    fake.sent("c2", NOW - timedelta(days=3))
    fake.did("open", 1, campaign_id="c2")
    fake.between_calls = lambda: fake.store.put("campaigns", "c1", None)
    (signal,) = signals(polled(fake))
    assert signal.data["campaign_id"] == "c2"


def test_where_the_account_is() -> None:
    assert host_of(KEY) == "https://us3.api.mailchimp.com"
    for wrong in ("0123456789abcdef", "key-", "key-us3.evil.example", "key-us3/"):
        with pytest.raises(ValidationError, match="data centre"):
            MailchimpSettings.model_validate({"api_key": wrong})
    assert MailchimpSettings.model_validate({"api_key": "x", "base_url": "https://us3.api.mailchimp.com"})
    with pytest.raises(ValidationError, match="watch"):
        MailchimpSettings.model_validate({"api_key": KEY, "watch": "0s"})


def test_faults_become_classes(fake: FakeMailchimp) -> None:
    fake.sent()
    fake.plan.add([{"do": "too_many", "times": 1}])
    with pytest.raises(RateLimited):
        polled(fake)
    with pytest.raises(Misconfigured, match="the API key is refused"):
        polled(fake, api_key="wrong-us3")


def test_what_check_online_says(fake: FakeMailchimp) -> None:
    fake.sent()
    (finding,) = source(fake.url).check_online()
    assert (finding.what, finding.message) == ("sign-in", "campaigns sent within 30d, which are watched: 1")


def recorded(name: str) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "mailchimp.json").read_text("utf-8"))
    body: Mapping[str, Any] = found[name]["exchanges"][0]["response"]
    return body


@with_recordings
def test_recorded_campaigns_and_members(fake: FakeMailchimp) -> None:
    """The campaigns, report and member are recorded; the activity is from the reference."""
    for campaign in recorded("list-campaigns")["campaigns"]:
        fake.add("campaigns", **campaign)
    person, report = recorded("get-member"), recorded("campaign-report")
    fake.add("members", **{**person, "id": f"{person['list_id']}/{person['id']}"})
    more = {"campaign_id": report["id"], "email_address": person["email_address"]}
    fake.did("open", 1, person["id"], **more)
    made = source(fake.url, names=True, watch="365d")
    (signal,) = signals(made.poll(made.start(NOW), NOW))
    assert signal.title == f"Opened: {report['subject_line']}"
    assert (signal.person.name, signal.person.email) == ("Acme Developer", "person1@example.com")
    assert signal.data["list"] == report["list_name"]
    assert signal.data["campaign_id"] == report["id"]
    assert signal.url.endswith("?id=4746122")
