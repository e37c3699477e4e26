"""`graph_mail` passes the kit against its stand-in, gives the signals of IMAP, and reads what was recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.capabilities import Level
from syncd.connector import Context, Request
from syncd.connectors.accounts.graph_subscriptions import REAUTHORIZE, STATE
from syncd.connectors.mail.graph_mail import CONNECTOR, GraphMail, GraphMailSettings
from syncd.connectors.mail.reading import Envelope, Rules, read_mail
from syncd.errors import Malformed, Misconfigured, NotAuthentic, UsageError
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal
from syncd.testing import (
    BackfillConformance,
    HintConformance,
    PollingConformance,
    SourceLedger,
    SubscriptionConformance,
    WebhookConformance,
)
from syncd.twins.graph import GraphTwin
from tests.graph_rig import APP, MAILBOX, SECRET, NotifyingVendor, validating
from tests.mails import delivery_report, mail

RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
recorded = pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with validating() as address:
        yield address


@pytest.fixture(scope="module")
def running() -> Iterator[GraphTwin]:
    with GraphTwin() as twin:
        yield twin


@pytest.fixture
def twin(running: GraphTwin) -> GraphTwin:
    running.reset()
    running.between_calls = None
    return running


def source(twin: GraphTwin, url: str = "", **more: Any) -> GraphMail:
    keys = {"mailbox": MAILBOX, "auth": APP, "graph_url": twin.url, "login_url": twin.url, **more.pop("keys", {})}
    settings = GraphMailSettings.model_validate(keys)
    more.setdefault("switches", frozenset())
    return GraphMail(settings, Context(name="mail", tokens=MemoryTokens(), webhook_url=url, region="VN", **more))


class Mailbox(NotifyingVendor):
    """Every event is a mail in the inbox."""

    throttling: ClassVar[dict[str, Any]] = {"on": "delta", "do": "too_many"}


class TestGraphMail(
    WebhookConformance, PollingConformance, HintConformance, BackfillConformance, SubscriptionConformance
):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, twin: GraphTwin) -> Mailbox:
        return Mailbox(twin, {STATE: SECRET})

    @pytest.fixture
    def ledger(self, connect: Callable[..., Any], vendor: Mailbox) -> SourceLedger:
        """A registration came before."""
        return SourceLedger(connect=lambda: connect(vendor.memory), now=vendor.first_moment, memory=vendor.memory)

    @pytest.fixture
    def connect(self, twin: GraphTwin, url: str) -> Callable[[dict[str, str]], GraphMail]:
        return lambda memory: source(twin, url, recall=lambda keys: {key: memory[key] for key in keys if key in memory})


def polled(made: GraphMail, twin: GraphTwin, act: Callable[[], object]) -> list[Signal]:
    state = made.start(datetime.now(UTC))
    act()
    return [signal for batch in made.poll(state, datetime.now(UTC)) for signal in batch.signals]


def soon(number: int = 1) -> str:
    return (datetime.now(UTC) + timedelta(minutes=number)).isoformat()


RAWS = {
    "plain": mail(1),
    "a bounce": delivery_report("gone@customer.example"),
    "a list": mail(2, list_id="<news.customer.example>"),
    "an answer": mail(3, body="Yes.\r\n\r\nOn Monday you wrote:\r\n> do you?\r\n", in_reply_to="<a@b.example>"),
    "no message id": mail(4, message_id=None),
}


@pytest.mark.parametrize("raw", RAWS.values(), ids=RAWS.keys())
def test_a_mail_is_the_same_signal_as_by_imap(twin: GraphTwin, raw: bytes) -> None:
    at = soon()
    got = polled(source(twin), twin, lambda: twin.add("messages", id="m1", received=at, raw=raw.decode()))
    rules = Rules("mail", frozenset({MAILBOX}), region="VN")
    envelope = Envelope(datetime.fromisoformat(at), len(raw))
    expected = read_mail(raw, envelope, rules, datetime.now(UTC), Route.POLL).signals
    assert [(one.id, one.title, one.text, one.person, one.reply, one.data) for one in got] == [
        (one.id, one.title, one.text, one.person, one.reply, one.data) for one in expected
    ]
    assert all(one.url.startswith("https://outlook.office365.com/") for one in got)


def test_what_we_sent_is_read_where_channels_name_it(twin: GraphTwin) -> None:
    raw = mail(
        7, from_=None, to="An <an@customer.example>, sales@ourcompany.example", cc="Binh <binh@customer.example>"
    )

    def send() -> None:
        twin.add("messages", id="m7", folder="sentitems", received=soon(), raw=f"From: {MAILBOX}\r\n{raw.decode()}")

    assert polled(source(twin), twin, send) == []
    twin.reset()
    first, second = polled(source(twin, switches=frozenset({"email.sent"})), twin, send)
    assert (first.type, first.person.email, second.person.email) == (
        "email.sent",
        "an@customer.example",
        "binh@customer.example",
    )
    assert first.id != second.id
    assert first.person.name == "An"


def test_an_invitation_becomes_a_meeting_once_it_has_ended(twin: GraphTwin) -> None:
    memory: dict[str, str] = {}
    switches = frozenset({"meeting.held"})

    def connect() -> GraphMail:
        return source(twin, switches=switches, recall=lambda keys: {key: memory[key] for key in keys if key in memory})

    ledger = SourceLedger(connect=connect, now=datetime.now(UTC), memory=memory)
    ledger.start()
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    lines = (
        *("BEGIN:VCALENDAR", "METHOD:REQUEST", "BEGIN:VEVENT", "UID:u1", "SUMMARY:The offer"),
        *(f"DTSTART:{ends - timedelta(hours=1):%Y%m%dT%H%M%SZ}", f"DTEND:{ends:%Y%m%dT%H%M%SZ}"),
        *("ORGANIZER;CN=An:mailto:an@customer.example", f"ATTENDEE:mailto:{MAILBOX}", "END:VEVENT", "END:VCALENDAR"),
    )
    raw = mail(1, body="\r\n".join(lines), content_type="text/calendar; method=REQUEST; charset=utf-8")
    twin.add("messages", id="m1", received=soon(), raw=raw.decode())
    assert [one.type for one in ledger.poll()] == ["email.received"]
    assert ledger.fetch(patience=timedelta(days=1)) == []
    (met,) = ledger.fetch()
    assert (met.type, met.person.email, met.occurred_at) == (
        "meeting.held",
        "an@customer.example",
        ends - timedelta(hours=1),
    )
    assert memory == {}


def test_drafts_and_mails_that_are_gone_are_counted(twin: GraphTwin) -> None:
    made = source(twin)
    state = made.start(datetime.now(UTC))
    twin.add("messages", id="m1", received=soon(), draft=True, raw=mail(1).decode())
    twin.add("messages", id="m2", received=soon(), raw=mail(2).decode())
    twin.plan.add([{"on": "mime", "times": 1, "do": "error", "status": 404, "code": "ErrorItemNotFound"}])
    (batch,) = made.poll(state, datetime.now(UTC))
    assert (list(batch.signals), dict(batch.dropped)) == ([], {"draft": 1, "a mail that is gone": 1})


def test_a_quiet_poll_writes_nothing(twin: GraphTwin) -> None:
    made = source(twin)
    state = made.start(datetime.now(UTC))
    assert list(made.poll(state, datetime.now(UTC))) == []


def test_a_folder_that_is_not_there_does_not_keep_the_others_from_being_read(twin: GraphTwin) -> None:
    state = source(twin).start(datetime.now(UTC))
    twin.add("messages", id="m1", received=soon(), raw=mail(1).decode())
    both = source(twin, keys={"folders": ["nowhere", "inbox"]}).poll(state, datetime.now(UTC))
    assert len(next(both).signals) == 1
    with pytest.raises(Misconfigured, match="check folders"):
        next(both)


def test_graph_wants_its_token_back_as_plain_text(twin: GraphTwin) -> None:
    query = [("validationToken", "Validation: Testing <&> ünï")]
    probe = Request("POST", "https://syncd.example.com/webhooks/mail", {}, b"", datetime.now(UTC), query)
    reply = source(twin).handshake(probe)
    assert reply is not None
    assert (reply.status, reply.body.decode()) == (200, "Validation: Testing <&> ünï")
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert source(twin).handshake(replace(probe, query=())) is None


def test_only_what_has_the_secret_of_the_registration_is_taken(twin: GraphTwin) -> None:
    vendor, now = Mailbox(twin, {}), datetime.now(UTC)
    request = vendor.request(1)
    with pytest.raises(NotAuthentic, match="webhooks register"):
        source(twin).verifier()(request, now)
    known = source(twin, recall=lambda keys: {STATE: SECRET}).verifier()
    known(request, now)
    both = [vendor.notification(), vendor.notification(clientState="another")]
    forged = json.dumps({"value": both}).encode()
    for wrong in (replace(request, tail=""), replace(request, tail="another-secret-00"), replace(request, body=forged)):
        with pytest.raises(NotAuthentic):
            known(wrong, now)


def test_graph_asks_for_a_renewal_and_gets_it_with_the_poll(twin: GraphTwin, url: str) -> None:
    memory: dict[str, str] = {}
    made = source(twin, url, recall=lambda keys: {key: memory[key] for key in keys if key in memory})
    done = made.subscribe()
    memory.update(done.remember)
    (hook,) = done.there
    assert memory[STATE] not in repr(done)
    vendor = Mailbox(twin, memory)
    body = {"value": [vendor.notification(subscriptionId=hook.id, lifecycleEvent="reauthorizationRequired")]}
    request = vendor.sign(json.dumps(body).encode())
    made.verifier()(request, datetime.now(UTC))
    batch = made.parse(request)
    assert (batch.poll_now, batch.remember) == (True, {REAUTHORIZE: hook.id})
    memory.update({key: value for key, value in batch.remember.items() if value})
    (said,) = made.poll(made.start(datetime.now(UTC)), datetime.now(UTC))
    assert said.remember == {REAUTHORIZE: None}
    assert twin.counts["op:renew"] == 1


def test_a_registration_whose_secret_is_lost_is_made_anew(twin: GraphTwin, url: str) -> None:
    first = source(twin, url).subscribe()
    second = source(twin, url).subscribe()  # nothing is recalled
    assert [one.id for one in first.there] != [one.id for one in second.there]
    assert len(source(twin, url).subscriptions()) == 1


def test_a_registration_is_known_however_graph_names_its_user(twin: GraphTwin, url: str) -> None:
    memory: dict[str, str] = {}
    made = source(twin, url, recall=lambda keys: {key: memory[key] for key in keys if key in memory})
    done = made.subscribe()
    memory.update(done.remember)
    twin.modify("subscriptions", done.there[0].id, resource="Users/00aa-11bb/MailFolders('Inbox')/messages")
    assert [one.id for one in made.subscribe().there] == [one.id for one in done.there]


def test_check_online_and_sign_in(twin: GraphTwin) -> None:
    found = list(source(twin).check_online())
    assert [one.what for one in found] == ["sign-in", "folder inbox"]
    assert all(one.level is Level.OK for one in found)
    with pytest.raises(UsageError, match="signs in by itself"):
        source(twin).sign_in()
    auth = {"tenant": "t.example", "client_id": "app", "flow": "delegated"}
    user = source(twin, keys={"auth": auth})
    assert user.sign_in().scopes == (f"{twin.url}/Mail.Read", "offline_access")
    with pytest.raises(Misconfigured, match="syncd auth mail"):
        list(user.check_online())


@recorded
def test_the_published_notification_is_read(twin: GraphTwin) -> None:
    body = _recording("change-notification")["inbound"]["body"]
    request = Request("POST", "", {}, json.dumps(body).encode(), datetime.now(UTC))
    assert source(twin).parse(request).poll_now
    with pytest.raises(Malformed):
        source(twin).parse(replace(request, body=b'{"value": {}}'))


@recorded
def test_the_twin_shows_messages_and_folders_as_recorded(twin: GraphTwin) -> None:
    (exchange,) = _recording("list-messages")["exchanges"]
    (kept,) = [twin.store.get("messages", twin.add("messages", id="m1", received="2026-05-04T08:32:46Z"))]
    shown, real = twin.shape("messages", kept or {}), exchange["response"]["value"][0]
    assert {name: type(value) for name, value in shown.items()} == {name: type(real[name]) for name in shown}
    (folders,) = _recording("list-mail-folders")["exchanges"]
    assert {"id", "displayName", "totalItemCount"} <= folders["response"]["value"][0].keys()
    (asked,) = _recording("subscription-request")["exchanges"]
    sent = asked["request"]["data"].keys()
    assert sent == {
        *("changeType", "notificationUrl", "lifecycleNotificationUrl", "resource", "expirationDateTime", "clientState")
    }


def _recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "graph.json").read_text("utf-8"))[name]
    return found
