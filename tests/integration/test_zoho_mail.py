"""`zoho_mail` passes the kit against its stand-in, gives the signals of IMAP, and reads what was recorded."""

from __future__ import annotations

import base64
import hmac
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.capabilities import Level
from syncd.connector import Context, Request
from syncd.connectors.mail import zoho_mail
from syncd.connectors.mail.reading import Envelope, Rules, read_mail
from syncd.connectors.mail.zoho_mail import CONNECTOR, ZohoMail, ZohoMailSettings
from syncd.errors import Malformed, Misconfigured
from syncd.http.oauth import MemoryTokens
from syncd.http.vendor_api import OffsetPaging
from syncd.signals import Route, Signal
from syncd.testing import BackfillConformance, HintConformance, PollingConformance, TwinVendor, WebhookConformance
from syncd.twins.fake_vendor import replay
from syncd.twins.zoho_mail import ACCOUNT, MAILBOX, ZohoMailTwin
from tests.mails import delivery_report, mail

RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
recorded = pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")
SECRET = "zoho-gave-this-secret-once"
URL = "https://syncd.example.com/webhooks/mail"


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoho_mail, "SIZE", 3)
    monkeypatch.setattr(zoho_mail, "_PAGING", OffsetPaging("start", 3, first=1))


@pytest.fixture(scope="module")
def running() -> Iterator[ZohoMailTwin]:
    with ZohoMailTwin() as twin:
        yield twin


@pytest.fixture
def twin(running: ZohoMailTwin) -> ZohoMailTwin:
    running.reset()
    return running


def source(url: str, *, tokens: MemoryTokens | None = None, **more: Any) -> ZohoMail:
    refresh = more.pop("refresh", None) or uuid.uuid4().hex
    auth = {"client_id": "client", "client_secret": "secret-of-the-client", "refresh_token": refresh}
    keys = {"mailbox": MAILBOX, "auth": auth, "mail_url": url, "accounts_url": url, **more.pop("keys", {})}
    more.setdefault("switches", frozenset())
    context = Context(name="mail", tokens=tokens or MemoryTokens(), webhook_url=URL, region="VN", **more)
    return ZohoMail(ZohoMailSettings.model_validate(keys), context)


class Mailbox(TwinVendor):
    """Every event is a mail in the inbox."""

    throttling: ClassVar[dict[str, Any]] = {"on": "view", "do": "too_many"}
    breaking: ClassVar[dict[str, Any]] = {"on": "view", "do": "cut"}
    auth_headers = ("x-hook-signature",)

    @property
    def secrets(self) -> tuple[str, ...]:
        return SECRET, "secret-of-the-client"

    def introduction(self, secret: str = "") -> Request:
        return Request("POST", URL, {"x-hook-secret": secret or SECRET}, b"", self.first_moment)

    def request(self, number: int) -> Request:
        return self.sign(json.dumps({**self.event(number), "zuid": 924194079, "IntegIdList": "1,"}).encode())

    def sign(self, body: bytes) -> Request:
        signature = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256")).decode()
        return Request("POST", URL, {"x-hook-signature": signature}, body, self.first_moment)

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> None:
        return None  # one mail a call


class TestZohoMail(WebhookConformance, PollingConformance, HintConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, twin: ZohoMailTwin) -> Mailbox:
        return Mailbox(twin)

    @pytest.fixture
    def connect(self, twin: ZohoMailTwin) -> Callable[..., ZohoMail]:
        tokens, refresh = MemoryTokens(), uuid.uuid4().hex
        return lambda recall: source(twin.url, tokens=tokens, refresh=refresh, recall=recall)


def polled(made: ZohoMail, act: Callable[[], object]) -> list[Signal]:
    state = made.start(datetime.now(UTC))
    act()
    return [signal for batch in made.poll(state, datetime.now(UTC)) for signal in batch.signals]


def soon() -> tuple[str, datetime]:
    at = (datetime.now(UTC) + timedelta(minutes=1)).replace(microsecond=0)
    return str(int(at.timestamp() * 1000)), at


@pytest.mark.parametrize("raw", [mail(1), delivery_report("gone@customer.example"), mail(3, message_id=None)])
def test_a_mail_is_the_same_signal_as_by_imap(twin: ZohoMailTwin, raw: bytes) -> None:
    ms, at = soon()
    text = raw.decode()
    got = polled(source(twin.url), lambda: twin.add("messages", messageId="71", id="71", receivedTime=ms, raw=text))
    rules = Rules("mail", frozenset({MAILBOX}), region="VN")
    expected = read_mail(raw, Envelope(at, len(raw)), rules, datetime.now(UTC), Route.POLL).signals
    assert [(one.id, one.title, one.text, one.person, one.reply, one.data) for one in got] == [
        (one.id, one.title, one.text, one.person, one.reply, one.data) for one in expected
    ]


def test_what_we_sent_is_read_where_channels_name_it(twin: ZohoMailTwin) -> None:
    raw = mail(7, to="An <an@customer.example>").decode().replace("Ann Buyer <ann7@customer.example>", MAILBOX)

    def send() -> None:
        twin.add("messages", messageId="72", id="72", folder="/Sent", receivedTime=soon()[0], raw=raw)

    (signal,) = polled(source(twin.url, switches=frozenset({"email.sent"})), send)
    assert (signal.type, signal.person.email) == ("email.sent", "an@customer.example")


def test_a_webhook_is_read_with_a_bare_number_too(twin: ZohoMailTwin) -> None:
    request = Mailbox(twin).sign(b'{"messageId": 1781131564746116300, "subject": "Hi"}')
    assert source(twin.url).parse(request).poll_now
    with pytest.raises(Malformed, match="messageId"):
        source(twin.url).parse(replace(request, body=b"{}"))


def test_a_folder_that_is_not_there(twin: ZohoMailTwin) -> None:
    with pytest.raises(Misconfigured, match="no folder /Nowhere; folders there: /Inbox, /Inbox/Sales, /Sent"):
        source(twin.url, keys={"folders": ["/Nowhere"]}).start(datetime.now(UTC))
    with pytest.raises(Misconfigured, match="no such mailbox"):
        source(twin.url, keys={"mailbox": "other@ourcompany.example"}).start(datetime.now(UTC))


def test_check_online(twin: ZohoMailTwin) -> None:
    found = {one.what: one.level for one in source(twin.url).check_online()}
    assert found == {"sign-in": Level.OK, "folder /Inbox": Level.OK, "webhook": Level.WARNING}


@recorded
def test_recorded_answers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoho_mail, "_PAGING", OffsetPaging("start", 200, first=1))

    class Recorded(ZohoMailTwin):
        routes = (
            ZohoMailTwin.routes[0],
            *replay(_exchanges("list-messages", "list-folders", "list-accounts")),
            *ZohoMailTwin.routes,
        )

    with Recorded() as twin:
        rows = _exchanges("list-messages")[0]["response"]["data"]
        for row in rows:
            twin.add("messages", id=row["messageId"], messageId=row["messageId"], receivedTime=row["receivedTime"])
        made = source(twin.url, keys={"mailbox": "nangoapi@zohomail.com"})
        when = datetime(2026, 6, 10, tzinfo=UTC)
        got = [one for batch in made.backfill(when, when + timedelta(days=9), None) for one in batch.signals]
        assert len(got) == len(rows)
        assert {one.occurred_at.date() for one in got} == {datetime(2026, 6, day, tzinfo=UTC).date() for day in (10,)}


@recorded
def test_a_recorded_refusal_names_the_scopes() -> None:
    (refused,) = [one for one in _exchanges("folders") if one["status"] == 401]

    class Recorded(ZohoMailTwin):
        routes = (ZohoMailTwin.routes[0], *replay([{**refused, "status": 403}]))

    with Recorded() as twin, pytest.raises(Misconfigured, match=r"ZohoMail\.messages\.READ"):
        source(twin.url).start(datetime.now(UTC))


@recorded
def test_the_twin_shows_mails_as_recorded(twin: ZohoMailTwin) -> None:
    assert ACCOUNT in _exchanges("list-messages")[0]["path"]
    shown, real = Mailbox(twin).event(1), _exchanges("list-messages")[0]["response"]["data"][0]
    assert {name: type(value) for name, value in shown.items()} == {name: type(real[name]) for name in shown}


def _exchanges(*names: str) -> list[dict[str, Any]]:
    found = json.loads((Path(RECORDINGS) / "zoho-mail.json").read_text("utf-8"))
    return [one for name in names for one in found[name]["exchanges"]]
