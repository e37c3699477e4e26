"""Events of Brevo and of ZeptoMail, whose webhooks alone are read: what they become, and who may call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from syncd.connector import Batch, Context, Request
from syncd.connectors.email_insights import brevo, zeptomail
from syncd.errors import Malformed, NotAuthentic
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import Vendor, WebhookConformance

URL = "https://syncd.example.com/webhooks/mails"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
PASSWORD, PATH_SECRET, KEY = "hook-password-0815", "a-path-of-16-or-more", "authorization-key-0815"


def built(connector: Any, **keys: Any) -> Any:
    settings = connector.settings.model_validate(keys)
    return connector.build(settings, Context(name="mails", tokens=MemoryTokens(), region="VN"))


def by_path(body: bytes) -> Request:
    headers = {"content-type": "application/json"}
    return Request("POST", f"{URL}/{PATH_SECRET}", headers, body, NOW, tail=PATH_SECRET)


def by_login(body: bytes) -> Request:
    login = base64.b64encode(f"syncd:{PASSWORD}".encode()).decode()
    return Request("POST", URL, {"authorization": f"Basic {login}", "content-type": "application/json"}, body, NOW)


def only(batch: Batch) -> Signal:
    (signal,) = batch.signals
    return signal


# ---- Brevo


def sent(event: str = "opened", **more: Any) -> dict[str, Any]:
    """An event as the manual shows it: `id` is the webhook's, `date` and `ts` are in the account's zone."""
    told = {
        "event": event,
        "email": "an@example.org",
        "id": 26224,
        "date": "2026-11-22 09:00:00",
        "subject": "Your order",
    }
    times = {"ts": 1795340800, "ts_event": int(NOW.timestamp()), "ts_epoch": int(NOW.timestamp()) * 1000 + 123}
    return {**told, **times, "message-id": "<2026.1@smtp-relay.mailin.fr>", "tags": ["orders"], **more}


class BrevoVendor(Vendor):
    auth_headers = ("authorization",)
    covers_body = False

    def request(self, number: int) -> Request:
        at = int(self.moment(number).timestamp())
        event = sent(ts_event=at, ts_epoch=at * 1000, **{"message-id": f"<m{number}@mailin.fr>"})
        return self.sign(json.dumps(event).encode())

    def sign(self, body: bytes) -> Request:
        return by_login(body)

    def again(self, number: int, time: int) -> Request:
        at = int(self.moment(number).timestamp()) + time
        event = sent(ts_event=at, ts_epoch=at * 1000, **{"message-id": f"<m{number}@mailin.fr>"})
        return self.sign(json.dumps(event).encode())

    @property
    def secrets(self) -> Sequence[str]:
        return (PASSWORD,)


class TestBrevo(WebhookConformance):
    connector = brevo.CONNECTOR

    @pytest.fixture
    def vendor(self) -> BrevoVendor:
        return BrevoVendor()

    @pytest.fixture
    def connect(self) -> Callable[[], Any]:
        return lambda: built(brevo.CONNECTOR, password=PASSWORD)


def brevo_read(*events: Any, **keys: Any) -> Batch:
    batch: Batch = built(brevo.CONNECTOR, **{"password": PASSWORD, **keys}).parse(by_login(json.dumps(events).encode()))
    return batch


def test_the_first_open_of_brevo_comes_by_two_names() -> None:
    both = brevo_read(sent("unique_opened"), sent("opened"), sent("opened", ts_epoch=None, ts_event=sent()["ts_event"]))
    assert len({one.id for one in both.signals}) == len({one.repeat for one in both.signals}) == 1
    signal = both.signals[0]
    assert (signal.type, signal.title) == ("email.opened", "Opened: Your order")
    assert (signal.person.email, signal.data["tags"]) == ("an@example.org", ["orders"])
    assert signal.thread == "mail:2026.1@smtp-relay.mailin.fr"
    assert signal.occurred_at == NOW + timedelta(milliseconds=123)


def test_clicks_bounces_and_campaigns_of_brevo() -> None:
    click = only(brevo_read(sent("click", link="https://shop.example/")))
    assert (click.type, click.text) == ("email.clicked", "https://shop.example/")
    for name, kind in (("hard_bounce", "hard"), ("soft_bounce", "soft"), ("invalid_email", "hard")):
        bounce = only(brevo_read(sent(name, reason="550 unknown user")))
        assert (bounce.type, bounce.data["kind"], bounce.text) == ("email.bounced", kind, "550 unknown user")
    campaign = only(brevo_read(sent("opened", camp_id=7, **{"campaign name": "June", "message-id": None})))
    assert (campaign.type, campaign.title) == ("campaign.opened", "Opened: Your order (June)")


def test_what_brevo_tells_beside_that() -> None:
    assert brevo_read(sent("proxy_open")).dropped == {"open of a machine": 1}
    assert only(brevo_read(sent("proxy_open"), machine_opens=True)).data["machine"] is True
    others = ("request", "delivered", "deferred", "blocked", "unsubscribed", "spam", "of the future")
    assert brevo_read(*(sent(name) for name in others)).dropped == {f"event {name}": 1 for name in others}
    for wrong in ({"email": ""}, {"message-id": ""}, {"ts_epoch": None, "ts_event": "x"}, {"event": None}):
        with pytest.raises(Malformed):
            brevo_read(sent(**wrong))


def test_who_may_call_for_brevo() -> None:
    verify = built(brevo.CONNECTOR, password=["new-0815", PASSWORD]).verifier()
    verify(by_login(b"{}"), NOW)
    with pytest.raises(NotAuthentic):
        verify(by_path(b"{}"), NOW)


# ---- ZeptoMail


def to(*addresses: str) -> list[dict[str, Any]]:
    return [{"email_address": {"address": one, "name": "Lan"}} for one in addresses]


def zepto(name: str = "email_open", request: str = "r1", at: datetime = NOW, **detail: Any) -> dict[str, Any]:
    """A body as the manual shows it, in which everything is in lists."""
    info = {"subject": "Your order", "to": to("an@example.org"), "client_reference": "order-17"}
    details = [{"time": at.isoformat(), **detail}]
    message = {"request_id": request, "email_info": info, "event_data": [{"object": "email", "details": details}]}
    return {
        "event_name": [name],
        "event_message": [message],
        "mailagent_key": "k",
        "webhook_request_id": f"w-{request}",
    }


class ZeptoVendor(Vendor):
    covers_body = False

    def request(self, number: int) -> Request:
        return self.sign(json.dumps(zepto(request=f"r{number}", at=self.moment(number))).encode())

    def sign(self, body: bytes) -> Request:
        return by_path(body)

    def again(self, number: int, time: int) -> Request:
        at = self.moment(number) + timedelta(seconds=time)
        return self.sign(json.dumps(zepto(request=f"r{number}", at=at)).encode())

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> Request:
        first, *others = [zepto(request=f"r{one}", at=self.moment(one))["event_message"][0] for one in numbers]
        return self.sign(json.dumps({"event_name": ["email_open"], "event_message": [first, *wrong, *others]}).encode())

    @property
    def secrets(self) -> Sequence[str]:
        return (PATH_SECRET,)


class TestZeptoMail(WebhookConformance):
    connector = zeptomail.CONNECTOR

    @pytest.fixture
    def vendor(self) -> ZeptoVendor:
        return ZeptoVendor()

    @pytest.fixture
    def connect(self) -> Callable[[], Any]:
        return lambda: built(zeptomail.CONNECTOR, path_secret=PATH_SECRET)


def zepto_read(body: Any, **keys: Any) -> Batch:
    made = built(zeptomail.CONNECTOR, **{"path_secret": PATH_SECRET, **keys})
    batch: Batch = made.parse(by_path(json.dumps(body).encode()))
    return batch


def test_an_open_and_a_click_of_zeptomail() -> None:
    opened = only(zepto_read(zepto()))
    assert (opened.type, opened.title, opened.person.name) == ("email.opened", "Opened: Your order", "Lan")
    assert (opened.occurred_at, opened.data["client_reference"]) == (NOW, "order-17")
    for name in zeptomail.LINKS:
        detail: dict[str, Any] = {name: "https://shop.example/"}
        click = only(zepto_read(zepto("email_link_click", **detail)))
        assert (click.type, click.text) == ("email.clicked", "https://shop.example/")


def test_bounces_of_zeptomail_name_their_recipient() -> None:
    detail: dict[str, Any] = {
        "reason": "Mailbox full",
        "diagnostic_message": "452 4.2.2",
        "bounced_recipient": "binh@example.org",
    }
    body = zepto("softbounce", **detail)
    body["event_message"][0]["email_info"]["to"] = to("an@example.org", "binh@example.org")
    bounce = only(zepto_read(body))
    assert (bounce.person.email, bounce.data["kind"], bounce.data["code"]) == (
        "binh@example.org",
        "soft",
        "Mailbox full",
    )
    assert only(zepto_read(zepto("hardbounce"))).data["kind"] == "hard"
    assert zepto_read(body, soft_bounces=False).dropped == {"soft bounce": 1}


def test_whose_open_it_was_is_not_guessed() -> None:
    body = zepto()
    body["event_message"][0]["email_info"]["to"] = to("an@example.org", "binh@example.org")
    assert only(zepto_read(body)).person.identities == ()


def test_several_emails_and_details_in_one_body() -> None:
    one, other = zepto(request="r1")["event_message"][0], zepto("hardbounce", "r2")["event_message"][0]
    one["event_data"][0]["details"].append({"time": (NOW + timedelta(minutes=1)).isoformat()})
    batch = zepto_read({"event_name": ["email_open", "hardbounce"], "event_message": [one, other]})
    assert [signal.type for signal in batch.signals] == ["email.opened", "email.opened", "email.bounced"]
    assert len({signal.id for signal in batch.signals}) == 2


def test_what_zeptomail_tells_beside_that() -> None:
    assert zepto_read(zepto("of the future")).dropped == {"event of the future": 1}
    bodies: tuple[Any, ...] = ({}, [], {"event_name": []}, {"event_name": ["email_open"], "event_message": []})
    for wrong in bodies:
        with pytest.raises(Malformed, match="not a webhook of ZeptoMail"):
            zepto_read(wrong)
    with pytest.raises(Malformed, match="details without a time"):
        zepto_read({"event_name": "email_open", "event_message": [{"request_id": "r1"}]})


@pytest.mark.parametrize("covers_time", [True, False])
@pytest.mark.parametrize("encoded", [True, False])
def test_both_signatures_of_zeptomail_are_taken(covers_time: bool, encoded: bool) -> None:
    made, body = built(zeptomail.CONNECTOR, path_secret=PATH_SECRET, key=["new-0815", KEY]), b'{"a": 1}'
    stamp = str(int(NOW.timestamp() * 1000))
    signed = (stamp.encode() if covers_time else b"") + body
    signature = base64.b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).decode()
    value = quote(signature, safe="") if encoded else signature
    headers = {"producer-signature": f"ts={stamp};s={value};s-algorithm=HmacSHA256"}
    request = Request("POST", f"{URL}/{PATH_SECRET}", headers, body, NOW, tail=PATH_SECRET)
    made.verifier()(request, NOW)
    for wrong in (replace(request, body=b"{}"), replace(request, headers={}), replace(request, tail="")):
        with pytest.raises(NotAuthentic):
            made.verifier()(wrong, NOW)


def test_a_source_of_zeptomail_is_closed() -> None:
    with pytest.raises(ValidationError, match="path_secret"):
        built(zeptomail.CONNECTOR)
    with pytest.raises(ValidationError, match="16 characters"):
        built(zeptomail.CONNECTOR, path_secret="short")
    both = built(zeptomail.CONNECTOR, path_secret=PATH_SECRET, key=KEY).verifier()
    with pytest.raises(NotAuthentic):
        both(by_path(b"{}"), NOW)
