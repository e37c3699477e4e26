"""Webhooks of a Facebook page: the handshake, signatures over raw bytes, several pages at one address, and recorded bodies."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from syncd.connector import Batch, Context, Request
from syncd.connectors.social.facebook_page import CONNECTOR, FacebookPageSettings
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import Vendor, WebhookConformance

URL = "https://syncd.example.com/webhooks/meta"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
PAGE, PERSON, SECRET, TOKEN = "1234567890321", "8423678347823", "an-app-secret-0815", "a-verify-token-0815"
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
recorded = pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")


def source(page: str = PAGE, **keys: Any) -> Any:
    settings = FacebookPageSettings.model_validate(
        {"page_id": page, "app_secret": SECRET, "verify_token": TOKEN, **keys}
    )
    return CONNECTOR.build(settings, Context(name="page", tokens=MemoryTokens(), region="VN"))


def signed(body: bytes, secret: str = SECRET) -> Request:
    headers = {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
    return Request("POST", URL, {**headers, "content-type": "application/json"}, body, NOW)


def entry(*values: Any, page: str = PAGE, kind: str = "changes") -> dict[str, Any]:
    items = [{"field": "feed", "value": value} for value in values] if kind == "changes" else list(values)
    return {"id": page, "time": 1449135003 if kind == "changes" else 1457764198246, kind: items}


def parsed(*entries: Any, made: Any = None) -> Batch:
    made = made or source()
    request = signed(json.dumps({"object": "page", "entry": list(entries)}).encode())
    made.verifier()(request, NOW)
    batch: Batch = made.parse(request)
    return batch


def only(batch: Batch) -> Signal:
    (signal,) = batch.signals
    return signal


COMMENT = {"item": "comment", "verb": "add", "comment_id": "9_1", "post_id": f"{PAGE}_9", "created_time": 1449135003}
ANN = {"from": {"id": PERSON, "name": "Ann Tran"}}


class FacebookHooks(Vendor):
    auth_headers = ("x-hub-signature-256",)

    def request(self, number: int) -> Request:
        return self.enveloped([self.item(number)])

    def item(self, number: int) -> dict[str, Any]:
        at = int(self.moment(number).timestamp())
        return {"field": "feed", "value": {**COMMENT, **ANN, "comment_id": f"9_{number}", "created_time": at}}

    def enveloped(self, items: Sequence[Any]) -> Request:
        return self.sign(json.dumps({"object": "page", "entry": [{**entry(), "changes": items}]}).encode())

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> Request | None:
        items: list[Any] = [self.item(number) for number in numbers]
        return self.enveloped([*items[:1], *wrong, *items[1:]])

    def sign(self, body: bytes) -> Request:
        return signed(body)

    @property
    def secrets(self) -> Sequence[str]:
        return (SECRET, TOKEN)


class TestFacebookPage(WebhookConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self) -> FacebookHooks:
        return FacebookHooks()

    @pytest.fixture
    def connect(self) -> Any:
        return lambda: source()


def probe(**query: str) -> Request:
    return Request("GET", URL, {}, b"", NOW, [(f"hub.{name}", value) for name, value in query.items()])


def test_the_verification_request_is_echoed_only_with_our_token() -> None:
    reply = source().handshake(probe(mode="subscribe", challenge="1158201444", verify_token=TOKEN))
    assert (reply.status, reply.body) == (200, b"1158201444")
    assert reply.headers["content-type"].startswith("text/plain")
    for wrong in ({"verify_token": "meatyhamhock"}, {"challenge": "x" * 5000}, {"challenge": "a\nb"}):
        query = {"mode": "subscribe", "challenge": "1", "verify_token": TOKEN, **wrong}
        assert source().handshake(probe(**query)).status == 403
    assert source().handshake(probe(mode="subscribe")).status == 403
    assert source().handshake(probe()) is None
    with pytest.raises(ValidationError, match="verify_token"):  # anyone would know it
        source(verify_token="")


def test_both_secrets_are_good_while_the_secret_is_changed() -> None:
    made = source(app_secret=["a-new-secret-0815", SECRET])
    for secret in (SECRET, "a-new-secret-0815"):
        made.verifier()(signed(b"{}", secret), NOW)


def test_a_comment_is_a_signal_with_all_a_salesperson_needs() -> None:
    signal = only(parsed(entry({**COMMENT, **ANN, "message": "How much is it?"})))
    assert (signal.type, signal.title, signal.text) == (
        "facebook.commented",
        "Comment on Facebook by Ann Tran",
        "How much is it?",
    )
    assert signal.person.identities == (f"handle:facebook:{PERSON}",)
    assert (signal.url, signal.reply, signal.thread) == (
        "https://www.facebook.com/9_1",
        "https://www.facebook.com/9_1",
        f"facebook:{PAGE}_9",
    )
    assert signal.occurred_at == datetime.fromtimestamp(1449135003, UTC)
    edited = only(parsed(entry({**COMMENT, **ANN, "verb": "edited", "message": "How much?"})))
    assert edited.id == signal.id


def test_a_like_is_one_whatever_it_is_called_and_however_it_changes() -> None:
    like = {"item": "like", "verb": "add", "post_id": f"{PAGE}_9", "sender_id": int(PERSON), "sender_name": "Ann Tran"}
    reaction = {"item": "reaction", "verb": "add", "post_id": f"{PAGE}_9", "reaction_type": "like", **ANN}
    batch = parsed(entry(like, reaction, {**reaction, "reaction_type": "love", "verb": "edit"}))
    assert len({signal.id for signal in batch.signals}) == 1
    assert len(batch.signals) == 3
    on_comment = only(parsed(entry({**reaction, "comment_id": "9_1"})))
    other = only(parsed(entry({**reaction, "from": {"id": "77", "name": "Binh"}})))
    assert len({on_comment.id, other.id, batch.signals[0].id}) == 3


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({**COMMENT, "from": {"id": PAGE, "name": "Our page"}}, "own"),
        ({**COMMENT, "sender_id": int(PAGE)}, "own"),
        ({**COMMENT, **ANN, "verb": "remove"}, "verb remove"),
        ({**COMMENT, **ANN, "verb": "hide"}, "verb hide"),
        ({"item": "post", "verb": "add", "post_id": "1_2", "published": 0, **ANN}, "unpublished"),
        ({"item": "event", "verb": "add", "event_id": "1", **ANN}, "item event"),
        ({"item": "reaction", "verb": "add", "post_id": "1_2"}, "like by an unknown person"),
    ],
)
def test_what_is_not_a_persons_doing_is_counted(value: dict[str, Any], why: str) -> None:
    batch = parsed(entry(value), {"id": PAGE, "time": 1, "changes": [{"field": "name"}]})
    assert batch == Batch(dropped={why: 1, "field name": 1}, signals=[], hints=[], misfits=[])


def message(by: str = PERSON, **fields: Any) -> dict[str, Any]:
    sent = {"mid": "m_1", "text": "hello", **fields}
    return {"sender": {"id": by}, "recipient": {"id": PAGE}, "timestamp": 1457764197627, "message": sent}


def test_messages_echoes_and_receipts() -> None:
    read = {**message(), "read": {"watermark": 1}}
    del read["message"]
    batch = parsed(
        entry(message(), message(is_echo=True), message(by=PAGE), message(is_deleted=True), read, kind="messaging")
    )
    assert batch.dropped == {"echo": 2, "deleted message": 1, "messaging read": 1}
    signal = only(batch)
    assert (signal.type, signal.text, signal.title) == ("facebook.messaged", "hello", "Message on Facebook")
    assert signal.occurred_at == datetime.fromtimestamp(1457764197.627, UTC)
    assert PAGE in signal.reply
    elsewhere = only(parsed(entry(message(), kind="standby")))
    assert (elsewhere.id, elsewhere.reply) == (signal.id, ""), "another app answers this conversation"
    files = [{"type": "image", "payload": {"url": "https://cdn.example/1"}}, {"type": "audio"}]
    signal = only(parsed(entry(message(mid="m_2", text=None, attachments=files), kind="messaging")))
    assert (signal.text, signal.data["attachment"]) == ("[image]\n[audio]", "https://cdn.example/1")


def test_each_page_takes_its_own_and_a_wrong_event_harms_no_other() -> None:
    entries = [entry({**COMMENT, **ANN}, 5), entry({**COMMENT, **ANN}, page="99")]
    here, there = parsed(*entries), parsed(*entries, made=source("99"))
    assert (len(here.signals), len(here.misfits), len(there.signals), len(there.misfits)) == (1, 1, 1, 0)
    body = signed(json.dumps({"object": "page", "entry": [*entries, {"id": "7", "changes": []}, 3]}).encode())
    assert source().accounts_in(body) == {PAGE: 2, "99": 1, "": 1}
    assert source().shares == source("99").shares != source(verify_token="another-0815").shares


def test_a_thousand_events_in_one_body() -> None:
    values = [{**COMMENT, **ANN, "comment_id": f"9_{number}"} for number in range(1000)]
    assert len({signal.id for signal in parsed(entry(*values)).signals}) == 1000


EXPECTED = {
    "hook-feed-comment-add-25": {"own": 1},
    "hook-feed-post-add-25": "facebook.posted",
    "hook-feed-reaction-add": {"own": 1},
    "hook-feed-like-add-25": "facebook.liked",
    "hook-feed-two-entries-25": {"field parking": 1, "field payment_options": 1},
    "hook-mention-post-add-real": "facebook.posted",
    "hook-messaging-message-basic": "facebook.messaged",
    "hook-messaging-message-basic-echo": {"echo": 1},
    "hook-messaging-message-media-attachment": "facebook.messaged",
    "hook-feed-comment-remove-25": {"verb remove": 1},
}


@recorded
def test_every_recorded_webhook() -> None:
    recordings = json.loads((Path(RECORDINGS) / "facebook.json").read_bytes())
    hooks = {name: one["inbound"]["body"] for name, one in recordings.items() if "inbound" in one}
    assert hooks.keys() == EXPECTED.keys()
    for name, body in hooks.items():
        made = source(str(body["entry"][0]["id"]))
        batch = made.parse(signed(json.dumps(body).encode()))
        got = batch.signals[0].type if batch.signals else dict(batch.dropped)
        assert got == EXPECTED[name], name
        assert not batch.misfits
