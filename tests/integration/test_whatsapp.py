"""Webhooks of a WhatsApp Business account, in the shapes that Meta's reference publishes, and its registration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.capabilities import Level
from syncd.connector import Batch, Context, Request
from syncd.connectors.social.whatsapp import CONNECTOR, WhatsApp, WhatsAppSettings
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import SubscriptionConformance, Vendor, WebhookConformance
from tests.integration.test_facebook_page import SECRET, TOKEN, signed
from tests.integration.test_facebook_page import source as page
from tests.meta_graph import ACCOUNT, APP, APP_SECRET, MetaGraph

URL = "http://127.0.0.1:9/webhooks/meta"
WAMID = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA="
SHEENA = {"profile": {"name": "Sheena Nelson"}, "wa_id": "16505551234"}
METADATA = {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"}


def source(**keys: Any) -> Any:
    given = {"account_id": ACCOUNT, "app_secret": SECRET, "verify_token": TOKEN, **keys}
    settings = WhatsAppSettings.model_validate(given)
    return CONNECTOR.build(settings, Context(name="wa", tokens=MemoryTokens(), region="VN", webhook_url=URL))


def change(*messages: Any, contacts: Sequence[Any] = (SHEENA,), **more: Any) -> dict[str, Any]:
    said = {"contacts": list(contacts), "messages": list(messages)} if messages else {}
    return {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": METADATA, **said, **more}}


def message(kind: str, held: Any, **more: Any) -> dict[str, Any]:
    return {"from": "16505551234", "id": WAMID, "timestamp": "1749416383", "type": kind, kind: held, **more}


def body(*changes: Any) -> bytes:
    entry = {"id": ACCOUNT, "changes": list(changes)}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def parsed(*changes: Any) -> Batch:
    batch: Batch = source().parse(signed(body(*changes)))
    return batch


def only(*messages: Any, **more: Any) -> Signal:
    (signal,) = parsed(change(*messages, **more)).signals
    return signal


class WhatsAppHooks(Vendor):
    auth_headers = ("x-hub-signature-256",)

    def item(self, number: int) -> dict[str, Any]:
        at = str(int(self.moment(number).timestamp()))
        return message("text", {"body": f"hi {number}"}, id=f"wamid.{number}", timestamp=at)

    def request(self, number: int) -> Request:
        return self.sign(body(change(self.item(number))))

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> Request:
        items = [self.item(number) for number in numbers]
        return self.sign(body(change(*items[:1], *wrong, *items[1:])))

    def sign(self, body: bytes) -> Request:
        return signed(body)

    @property
    def secrets(self) -> Sequence[str]:
        return (SECRET, TOKEN)


class TestWhatsApp(WebhookConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self) -> WhatsAppHooks:
        return WhatsAppHooks()

    @pytest.fixture
    def connect(self) -> Any:
        return lambda: source()


def test_a_text_message() -> None:
    signal = only(message("text", {"body": "Does it come in another color?"}))
    assert (signal.type, signal.title) == ("message.received", "WhatsApp message from Sheena Nelson")
    assert signal.text == "Does it come in another color?"
    assert signal.person.identities == ("phone:+16505551234", "handle:whatsapp:16505551234")
    assert (signal.reply, signal.occurred_at) == ("https://wa.me/16505551234", datetime.fromtimestamp(1749416383, UTC))
    assert signal.data["number"] == "15550783881"
    assert signal.thread == "whatsapp:106540352242922:16505551234"


@pytest.mark.parametrize(
    ("kind", "held", "text"),
    [
        ("image", {"caption": "Taj Mahal", "mime_type": "image/jpeg", "id": "1003"}, "[image]\nTaj Mahal"),
        ("document", {"filename": "offer.pdf", "id": "1003"}, "[document] offer.pdf"),
        ("audio", {"id": "1003", "voice": True}, "[voice message]"),
        ("sticker", {"id": "1003"}, "[sticker]"),
        ("location", {"name": "Meta", "address": "1 Hacker Way", "latitude": 37.4, "longitude": -122.1}, None),
        ("button", {"payload": "p", "text": "Yes, please"}, "Yes, please"),
        ("interactive", {"type": "button_reply", "button_reply": {"id": "b", "title": "Cancel"}}, "Cancel"),
        (
            "interactive",
            {"type": "list_reply", "list_reply": {"id": "r", "title": "Express", "description": "Next day"}},
            "Express\nNext day",
        ),
        ("interactive", {"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent"}}, "Sent"),
        ("reaction", {"message_id": "wamid.1", "emoji": "👍"}, "👍"),
        ("order", {"text": "asap", "product_items": [{"product_retailer_id": "di9o", "quantity": 2}]}, None),
        ("unsupported", {"type": "edit"}, "[unsupported]"),
        ("hologram", {"id": "1"}, "[hologram]"),
        ("text", "not an object", "[text]"),
    ],
)
def test_every_kind_has_a_text(kind: str, held: Any, text: str | None) -> None:
    expected = {
        "location": "[location] Meta, 1 Hacker Way\n37.4, -122.1",
        "order": "[order]\nasap\n2 x di9o",
    }
    signal = only(message(kind, held))
    assert signal.text == (text or expected[kind])
    assert signal.data["kind"] == kind


def test_contacts_replies_and_ads_are_kept() -> None:
    barbara = {
        "name": {"first_name": "Barbara", "formatted_name": "Barbara J. Johnson"},
        "phones": [{"phone": "+1 (415) 555-0829", "wa_id": "14125550829"}],
    }
    more = {"context": {"id": "wamid.0"}, "referral": {"source_id": "1202", "headline": "Chat with us"}}
    signal = only(message("contacts", [barbara], **more))
    assert signal.text == "[contact] Barbara J. Johnson, +1 (415) 555-0829"
    kept = {name: signal.data[name] for name in ("reply_to", "ad_id", "ad_headline")}
    assert kept == {"reply_to": "wamid.0", "ad_id": "1202", "ad_headline": "Chat with us"}


def test_a_customer_with_a_username_may_have_no_number() -> None:
    user, profile = "US.13491208655302741918", {"name": "Sheena", "username": "sheena.n"}
    both = only(
        message("text", {"body": "hi"}, from_user_id=user), contacts=[{**SHEENA, "user_id": user, "profile": profile}]
    )
    assert both.person.identities == (
        "phone:+16505551234",
        "handle:whatsapp:16505551234",
        f"handle:whatsapp_user:{user}",
    )
    alone = {name: held for name, held in message("text", {"body": "hi"}).items() if name != "from"}
    hidden = only({**alone, "from_user_id": user}, contacts=[{"profile": profile, "user_id": user}])
    assert hidden.person.identities == (f"handle:whatsapp_user:{user}",)
    assert (hidden.title, hidden.reply, hidden.data["username"]) == ("WhatsApp message from Sheena", "", "sheena.n")
    assert hidden.id == both.id


def test_the_writer_is_found_among_several_contacts() -> None:
    other = {"profile": {"name": "Binh"}, "wa_id": "84912345678"}
    batch = parsed(
        change(
            message("text", {"body": "1"}),
            message("text", {"body": "2"}, id="wamid.2", **{"from": "84912345678"}),
            message("text", {"body": "3"}, id="wamid.3", **{"from": "4915112345678"}),
            contacts=[SHEENA, other],
        )
    )
    assert [one.person.name for one in batch.signals] == ["Sheena Nelson", "Binh", ""]


def test_statuses_and_other_fields_are_counted() -> None:
    statuses = [{"id": WAMID, "status": status, "recipient_id": "1"} for status in ("sent", "delivered", "delivered")]
    own = message("text", {"body": "x"}, id="wamid.2", **{"from": "15550783881"})
    batch = parsed(
        change(statuses=statuses),
        {"field": "message_template_status_update", "value": {"event": "APPROVED"}},
        change(message("reaction", {"message_id": "wamid.1"})),
        change(message("system", {"body": "changed the number", "type": "user_changed_number"})),
        change(own),
        change(errors=[{"code": 130429}]),
    )
    assert batch.dropped == {
        "status sent": 1,
        "status delivered": 2,
        "field message_template_status_update": 1,
        "reaction removed": 1,
        "system message": 1,
        "own": 1,
        "no message": 1,
    }
    assert (batch.signals, batch.misfits) == ([], [])


def test_a_page_and_an_account_may_share_an_address() -> None:
    assert source().shares == page().shares
    mixed = json.loads(body(change(message("text", {"body": "hi"}))))
    assert page().accounts_in(signed(json.dumps(mixed).encode())) == {ACCOUNT: 1}
    mixed["object"] = "instagram"
    assert source().parse(signed(json.dumps(mixed).encode())).dropped == {"object instagram": 1}


@pytest.fixture
def graph() -> Iterator[MetaGraph]:
    with MetaGraph() as twin:
        yield twin


class RegisteredHooks(WhatsAppHooks):
    def __init__(self, graph: MetaGraph) -> None:
        self.graph = graph

    def forget_subscriptions(self) -> bool:
        for table in ("apps", "callbacks"):
            for row in self.graph.records(table):
                self.graph.delete(row["id"])
        return True

    @property
    def secrets(self) -> Sequence[str]:
        return (*super().secrets, self.graph.token)


class TestWhatsAppWithToken(WebhookConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, graph: MetaGraph) -> RegisteredHooks:
        return RegisteredHooks(graph)

    @pytest.fixture
    def connect(self, graph: MetaGraph) -> Any:
        return lambda: source(token=graph.token, app_id=APP, app_secret=APP_SECRET, base_url=graph.url)


def test_the_account_is_subscribed_and_the_app_points_here(graph: MetaGraph) -> None:
    made = source(token=graph.token, app_id=APP, app_secret=APP_SECRET, base_url=graph.url)
    assert isinstance(made, WhatsApp)
    findings = {one.what: one for one in made.check_online()}
    assert findings["sign-in"].message == f"account {ACCOUNT}: +1 555-078-3881"
    assert findings["webhooks"].level is Level.WARNING
    (there,) = made.subscribe().there
    assert (there.id, there.url, there.active) == (APP, URL, True)
    assert {one.what: one.level for one in made.check_online()}["webhooks"] is Level.OK
    assert graph.records("callbacks")[0]["object"] == "whatsapp_business_account"
    made.unsubscribe("another-app")
    made.unsubscribe(APP)
    assert made.subscriptions() == []
