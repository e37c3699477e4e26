"""The source of an account on X: challenge, signatures, both envelopes, mentions and messages by the API, recorded traffic."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from syncd.capabilities import Level
from syncd.connector import Ability, Batch, Context, Request
from syncd.connectors.social.x import CONNECTOR, X, XHooks, XPolls, XSettings
from syncd.connectors.social.x_events import snowflake_time
from syncd.errors import Misconfigured, NotAuthentic, QuotaExhausted, RateLimited, SyncdError, UsageError
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import (
    BackfillConformance,
    PollingConformance,
    SubscriptionConformance,
    TwinVendor,
    WebhookConformance,
)
from syncd.twins.wire import TwinResponse
from tests.integration.twins.test_recordings import differences
from tests.x_vendor import USER, XVendor, problem

URL = "https://syncd.example.com/webhooks/x"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
SECRET = "a-consumer-secret-0815"
ANN = {"id": "2222222222222222222", "name": "Ann Tran", "username": "ann_tran"}
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
recorded = pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")


@pytest.fixture(scope="module")
def server() -> Iterator[XVendor]:
    with XVendor() as twin:
        yield twin


@pytest.fixture
def twin(server: XVendor) -> XVendor:
    server.reset()
    return server


def source(twin: XVendor | None = None, *, user: str = USER, tokens: Any = None, **keys: Any) -> Any:
    given = {"user_id": user, "consumer_secret": SECRET, "base_url": twin.url if twin else "https://api.x.com", **keys}
    settings = XSettings.model_validate(given)
    return CONNECTOR.build(settings, Context(name="x", tokens=tokens or MemoryTokens(), region="VN", webhook_url=URL))


def signed(body: bytes, secret: str = SECRET) -> Request:
    digest = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    headers = {"x-twitter-webhooks-signature": f"sha256={digest}", "content-type": "application/json"}
    return Request("POST", URL, headers, body, NOW)


def parsed(body: Any, made: Any = None) -> Batch:
    made = made or source()
    request = signed(json.dumps(body).encode())
    made.verifier()(request, NOW)
    batch: Batch = made.parse(request)
    return batch


def activity(kind: str, payload: Any, users: Sequence[Any] = (ANN,), user: str = USER) -> dict[str, Any]:
    event = {"event_uuid": "-685", "filter": {"user_id": user}, "event_type": kind, "tag": "t", "payload": payload}
    return {"data": {**event, "includes": {"users": list(users)}}}


POST = {
    "id": "2080765813578191303",
    "text": "hey &lt;b&gt; @testuser",
    "author_id": ANN["id"],
    "created_at": "2026-07-24T21:23:23.000Z",
    "conversation_id": "2080765813578191000",
}
DM = {
    "type": "message_create",
    "id": "2080765901528535096",
    "created_timestamp": "1784928224372",
    "message_create": {
        "target": {"recipient_id": USER},
        "sender_id": ANN["id"],
        "message_data": {"text": "hello!", "entities": {}},
    },
}


# ---- the conformance kit


class XAccount(TwinVendor):
    twin: XVendor
    many = 8
    auth_headers = ("x-twitter-webhooks-signature",)
    throttling = {"on": "mentions", "do": "too_many"}
    breaking = {"on": "mentions", "do": "cut"}

    def happen(self, number: int) -> None:
        self.put(number, created_at=self.stamp(number))

    def spoil(self, number: int) -> bool:
        self.put(number, created_at="some time ago")
        return True

    def put(self, number: int, **fields: Any) -> None:
        self.twin.add("users", **ANN)
        row = {"id": self.id(number), "text": f"hi {number}", "author_id": ANN["id"], "edit_history_tweet_ids": []}
        self.twin.add("posts", **row, made=self.stamp(number), **fields)

    def stamp(self, number: int) -> str:
        return f"{self.moment(number):%Y-%m-%dT%H:%M:%S.000Z}"

    def id(self, number: int) -> str:
        return str(2080765813578191303 + number)

    def item(self, number: int) -> dict[str, Any]:
        user = {"id_str": ANN["id"], "name": ANN["name"], "screen_name": ANN["username"]}
        return {"id_str": self.id(number), "text": f"hi {number}", "user": user}

    def request(self, number: int) -> Request:
        post = {**POST, "id": self.id(number), "text": f"hi {number}", "created_at": self.stamp(number)}
        return self.sign(json.dumps(activity("post.mention.create", post)).encode())

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> Request:
        items = [self.item(number) for number in numbers]
        body = {"for_user_id": USER, "tweet_create_events": [*items[:1], *wrong, *items[1:]]}
        return self.sign(json.dumps(body).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body)

    def forget_subscriptions(self) -> bool:
        for table in ("hooks", "activity"):
            for row in self.twin.records(table):
                self.twin.delete(row["id"])
        return True

    @property
    def secrets(self) -> Sequence[str]:
        return SECRET, self.twin.token


class TestX(WebhookConformance, PollingConformance, BackfillConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, twin: XVendor) -> XAccount:
        return XAccount(twin)

    @pytest.fixture
    def connect(self, twin: XVendor) -> Any:
        return lambda: source(twin, bearer_token=twin.token)


# ---- webhooks


def probe(token: str) -> Request:
    return Request("GET", URL, {}, b"", NOW, [("crc_token", token)])


def test_the_challenge_is_signed_with_the_newest_secret() -> None:
    made = source(consumer_secret=["a-new-secret-0815", SECRET])
    reply = made.handshake(probe("MTc4NDkyODIyNDM3Mg"))
    digest = hmac.new(b"a-new-secret-0815", b"MTc4NDkyODIyNDM3Mg", hashlib.sha256).digest()
    assert (reply.status, json.loads(reply.body)) == (
        200,
        {"response_token": "sha256=" + base64.b64encode(digest).decode()},
    )
    for secret in (SECRET, "a-new-secret-0815"):
        made.verifier()(signed(b"{}", secret), NOW)
    with pytest.raises(NotAuthentic):
        made.verifier()(signed(b"{}", "another-secret-0815"), NOW)


def test_no_event_can_be_signed_by_a_challenge() -> None:
    for forged in (json.dumps(activity("post.mention.create", POST)), "{}", "[1]", "", "a b", "x" * 500):
        assert source().handshake(probe(forged)).status == 400
    assert source().handshake(Request("GET", URL, {}, b"", NOW)) is None


def test_a_mention_is_one_however_often_it_is_told() -> None:
    batches = [parsed(activity(f"post.{kind}.create", POST)) for kind in ("mention", "reply", "quote")]
    (signal,) = {one.id: one for batch in batches for one in batch.signals}.values()
    assert (signal.type, signal.title, signal.text) == (
        "x.mentioned",
        "Ann Tran mentioned us on X",
        "hey <b> @testuser",
    )
    assert signal.person.identities == (f"handle:x:{ANN['id']}",)
    assert signal.url == "https://x.com/ann_tran/status/2080765813578191303"
    assert signal.reply == "https://x.com/intent/post?in_reply_to=2080765813578191303"
    assert (signal.thread, signal.data["username"]) == ("x:2080765813578191000", "ann_tran")
    status = {"id_str": POST["id"], "text": "cut …", "extended_tweet": {"full_text": "the whole"}}
    user = {"id_str": ANN["id"], "name": ANN["name"], "screen_name": ANN["username"]}
    (legacy,) = parsed({"for_user_id": USER, "tweet_create_events": [{**status, "user": user}]}).signals
    assert (legacy.id, legacy.text, legacy.url) == (signal.id, "the whole", signal.url)
    assert abs(legacy.occurred_at - signal.occurred_at) < timedelta(seconds=1), "the id contains the time"


def test_a_message_is_one_in_both_envelopes() -> None:
    payload = {"direct_message_events": [DM], "users": {ANN["id"]: {"data": ANN}}}
    event = {"filter": {"user_id": USER}, "event_type": "dm.received", "payload": payload}
    (signal,) = parsed({"data": event}).signals
    v1 = {ANN["id"]: {"id": ANN["id"], "name": "Ann Tran", "screen_name": "ann_tran"}}
    (legacy,) = parsed({"for_user_id": USER, "direct_message_events": [DM], "users": v1}).signals
    assert legacy == signal
    assert (signal.title, signal.text) == ("Direct message on X from Ann Tran", "hello!")
    assert signal.occurred_at == datetime.fromtimestamp(1784928224.372, UTC)
    assert signal.url == f"https://x.com/messages/{USER}-{ANN['id']}"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (activity("post.mention.create", {**POST, "author_id": USER}), "own"),
        (activity("post.mention.create", {**POST, "referenced_tweets": [{"type": "retweeted", "id": "1"}]}), "repost"),
        (activity("like.create", {"id": "1"}), "event like.create"),
        (activity("chat.received", {"encoded_event": "x"}), "event chat.received"),
        ({"for_user_id": USER, "favorite_events": [{"id": "1"}]}, "event favorite_events"),
        ({"for_user_id": USER, "direct_message_events": [{**DM, "type": "edit"}]}, "DM event edit"),
        (
            {"for_user_id": USER, "tweet_create_events": [{"id_str": "1", "user": {}, "retweeted_status": {"id": 1}}]},
            "repost",
        ),
    ],
)
def test_what_is_not_a_persons_doing_is_counted(body: Any, why: str) -> None:
    assert parsed(body) == Batch(dropped={why: 1}, signals=[], hints=[], misfits=[])


def test_each_account_takes_its_own() -> None:
    body = {"data": [activity("post.mention.create", POST, user=user)["data"] for user in (USER, "5", "5")]}
    assert source().accounts_in(signed(json.dumps(body).encode())) == {USER: 1, "5": 2}
    assert len(parsed(body).signals) == 1
    assert source().shares == source(user="5").shares


def test_one_wrong_message_harms_no_other() -> None:
    payload = {"direct_message_events": [{**DM, "id": "no id"}, DM, 5], "users": {}}
    batch = parsed({"data": {"filter": {"user_id": USER}, "event_type": "dm.received", "payload": payload}})
    assert (len(batch.signals), len(batch.misfits)) == (1, 2)


# ---- the API


def signed_in(twin: XVendor, tokens: Any = None) -> X:
    auth = {"client_id": "client", "refresh_token": "refresh-0"}
    made = source(twin, auth=auth, tokens=tokens)
    assert isinstance(made, X)
    return made


def message(twin: XVendor, number: int, sender: str = ANN["id"]) -> None:
    at = f"{NOW + timedelta(minutes=number):%Y-%m-%dT%H:%M:%S.000Z}"
    row = {"event_type": "MessageCreate", "text": f"dm {number}", "sender_id": sender, "created_at": at}
    twin.add("messages", id=str(2080765901528535096 + number), dm_conversation_id=f"{USER}-{ANN['id']}", **row)


def test_messages_are_read_as_the_account_and_refresh_tokens_rotate(twin: XVendor) -> None:
    twin.add("users", **ANN)
    for number in range(5):
        message(twin, number)
    message(twin, 5, sender=USER)
    tokens = MemoryTokens()
    batches = [*signed_in(twin, tokens).backfill(NOW + timedelta(minutes=1), NOW + timedelta(days=1), None)]
    signals = [one for batch in batches for one in batch.signals]
    assert [one.text for one in signals] == ["dm 1", "dm 2", "dm 3", "dm 4"]
    assert signals[0].person.name == "Ann Tran"
    assert sum(batch.dropped.get("own", 0) for batch in batches) == 1
    twin.expire_tokens()
    assert signed_in(twin, tokens).start(NOW), "the rotated refresh token is good"
    assert twin.tokens_made == 2


def test_a_limit_of_one_list_does_not_hold_up_the_other(twin: XVendor) -> None:
    made, state = signed_in(twin), source(twin, bearer_token=twin.token).start(NOW)
    message(twin, 60 * 24 * 365)
    twin.plan.add([{"on": "mentions", "do": "too_many", "times": 1}])
    batches = made.poll(state, NOW)
    assert [one.text for one in next(batches).signals] == ["dm 525600"]
    with pytest.raises(RateLimited) as caught:
        next(batches)
    assert caught.value.retry_after is not None
    assert caught.value.scope == "GET /*/users/*/mentions"


def test_the_older_and_the_newer_name_of_the_fields_are_tried(twin: XVendor) -> None:
    vendor = XAccount(twin)
    vendor.happen(1)
    twin.known_fields = {"post.fields", "user.fields"}
    made = source(twin, bearer_token=twin.token)
    (batch,) = made.backfill(vendor.moment(0), vendor.moment(2), None)
    assert [one.person.name for one in batch.signals] == ["Ann Tran"]


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (problem(429, "usage-capped", "UsageCapExceeded", "Monthly product cap"), QuotaExhausted, "month"),
        (problem(403, "client-forbidden", "Client Forbidden", "no project"), Misconfigured, "developer portal"),
        (TwinResponse(401, {"title": "Unauthorized", "type": "about:blank"}), Misconfigured, "token is refused"),
    ],
)
def test_what_an_answer_means(twin: XVendor, answer: TwinResponse, expected: Any, said: str) -> None:
    made = source(twin, bearer_token=twin.token)
    state = made.start(NOW)
    twin.planned = [answer]
    with pytest.raises(expected, match=said):
        list(made.poll(state, NOW))


def test_a_row_from_quarantine_is_read_again(twin: XVendor) -> None:
    XAccount(twin).spoil(1)
    made = source(twin, bearer_token=twin.token)
    (batch,) = made.poll(made.start(NOW), NOW)
    (misfit,) = batch.misfits
    body = misfit.request.body.replace(b"some time ago", b"2026-07-24T21:23:23.000Z")
    (signal,) = made.reparse(Request("GET", misfit.request.url, {}, body, NOW)).signals
    assert (signal.type, signal.person.name) == ("x.mentioned", "Ann Tran")


def test_what_the_settings_allow(twin: XVendor) -> None:
    assert isinstance(source(), XHooks)
    polls = source(twin, consumer_secret=None, bearer_token=twin.token)
    assert type(polls) is XPolls
    assert not hasattr(polls, "verifier"), "without the secret there is no webhook to forge"
    assert CONNECTOR.unable is not None
    unable = CONNECTOR.unable(XSettings.model_validate({"user_id": USER, "bearer_token": "a-bearer-0815"}))
    assert unable.keys() == {Ability.WEBHOOK, Ability.SUBSCRIBE}
    with pytest.raises(ValueError, match="give consumer_secret for webhooks, or bearer_token or auth to poll"):
        XSettings.model_validate({"user_id": USER})
    assert type(source(twin, auth={"client_id": "c"})) is X, "only the app itself may register webhooks"
    assert source(twin, auth={"client_id": "c"}).sign_in().client_id == "c"
    with pytest.raises(UsageError):
        polls.sign_in()
    assert {one.what: one.level for one in polls.check_online()} == {"sign-in": Level.OK, "mentions": Level.OK}
    (found,) = source(twin, user="7", bearer_token=twin.token).check_online()
    assert found.level is Level.FAULT


# ---- registration


def registering(twin: XVendor, **keys: Any) -> Any:
    auth = {"client_id": "client", "refresh_token": "refresh-0"}
    return source(twin, bearer_token=twin.token, auth=auth, **keys)


def test_messages_are_subscribed_as_the_account(twin: XVendor) -> None:
    twin.passes_challenge = False
    (there,) = registering(twin).subscribe().there
    assert there.events == ("dm.received", "post.mention.create", "post.quote.create", "post.reply.create")
    assert (there.active, there.note, there.state) == (True, "", "valid"), "an invalid webhook is tested again"
    twin.reset()
    (there,) = source(twin, bearer_token=twin.token).subscribe().there
    assert "dm.received" not in there.events
    assert registering(twin).subscriptions()[0].note == "not subscribed: dm.received"


def test_a_webhook_that_another_account_uses_stays(twin: XVendor) -> None:
    made, other = source(twin, bearer_token=twin.token), source(twin, user="5", bearer_token=twin.token)
    (there,) = made.subscribe().there
    assert [one.id for one in other.subscribe().there] == [there.id]
    made.unsubscribe(there.id)
    assert [one.active for one in made.subscriptions()] == [False]
    assert [one.active for one in other.subscriptions()] == [True]
    other.unsubscribe(there.id)
    assert other.subscriptions() == []


def test_another_address_is_replaced_only_with_force(twin: XVendor) -> None:
    twin.most_hooks = 1
    twin.add("hooks", id="7", url="https://elsewhere.example", valid=True)
    made = source(twin, bearer_token=twin.token)
    with pytest.raises(SyncdError, match=r"goes to https://elsewhere\.example, and the plan allows no other; --force"):
        made.subscribe()
    assert made.subscribe(force=True).there[0].url == URL
    assert len(twin.records("hooks")) == 1


# ---- recorded traffic


@recorded
def test_every_published_webhook_and_recorded_mention(twin: XVendor) -> None:
    recordings = json.loads((Path(RECORDINGS) / "x.json").read_bytes())
    for name, kind in (("event-post.mention.create", "x.mentioned"), ("event-dm.received", "x.messaged")):
        batch = parsed(recordings[name]["inbound"]["body"], source(user="1111111111111111111"))
        assert [(one.type, one.person.name) for one in batch.signals] == [(kind, "OtherUser")]
    made = source(bearer_token="a-bearer-0815")
    seen = 0
    for name in ("mentions", "list-mentions-bare"):
        for exchange in recordings[name]["exchanges"]:
            for row in exchange["response"].get("data", []) if exchange["path"].endswith("mentions") else ():
                signal = made._reader.mention(row, {}, NOW, "poll", "row")
                assert isinstance(signal, Signal)
                assert signal.occurred_at in {snowflake_time(row["id"]), datetime(2020, 1, 1, tzinfo=UTC)}
                seen += 1
    assert seen == 12


@recorded
def test_the_stand_in_answers_as_recorded(twin: XVendor) -> None:
    recordings = json.loads((Path(RECORDINGS) / "x.json").read_bytes())
    for name in ("mentions", "list-mentions-bare"):
        for exchange in recordings[name]["exchanges"]:
            if exchange["path"] == "/2/users/me":
                continue
            twin.reset()
            for row in exchange["response"].get("data", []):
                twin.add("posts", **row, made="2020-01-01T00:00:00Z")
            query = {k: v for k, v in (exchange["request"] or {}).get("params", {}).items() if k != "pagination_token"}
            headers = {"Authorization": f"Bearer {twin.token}"}
            answer = requests.get(f"{twin.url}{exchange['path']}", params=query, headers=headers, timeout=20)
            assert answer.status_code == exchange["status"]
            wrong = differences(exchange["response"], answer.json(), fewer=True)
            assert [line for line in wrong if "_token" not in line] == [], name
