"""The source of a Facebook page against a stand-in of the Graph API, and the stand-in against recorded exchanges."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from syncd.capabilities import Level
from syncd.connector import Ability, Batch, Context, Hint, Request
from syncd.connectors.social.facebook_page import CONNECTOR, FacebookPage, FacebookPageSettings
from syncd.connectors.social.meta_api import ERRORS, usage
from syncd.errors import Failure, Misconfigured, RateLimited, SyncdError, Transient
from syncd.http.client import Response
from syncd.http.oauth import MemoryTokens
from syncd.testing import (
    BackfillConformance,
    HintConformance,
    PollingConformance,
    SubscriptionConformance,
    TwinVendor,
    WebhookConformance,
)
from syncd.twins.wire import TwinResponse
from tests.integration.test_facebook_page import COMMENT, NOW, TOKEN, entry, signed
from tests.integration.twins.test_recordings import differences
from tests.meta_graph import APP, APP_SECRET, PAGE, MetaGraph, proof

URL = "http://127.0.0.1:9/webhooks/meta"
POST = f"{PAGE}_77"
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")


@pytest.fixture(scope="module")
def server() -> Iterator[MetaGraph]:
    with MetaGraph() as twin:
        yield twin


@pytest.fixture
def graph(server: MetaGraph) -> MetaGraph:
    server.reset()
    return server


def source(graph: MetaGraph, **keys: Any) -> FacebookPage:
    given = {"page_id": PAGE, "app_id": APP, "page_token": graph.token, "base_url": graph.url, **keys}
    settings = FacebookPageSettings.model_validate({"app_secret": APP_SECRET, "verify_token": TOKEN, **given})
    made = CONNECTOR.build(settings, Context(name="page", tokens=MemoryTokens(), region="VN", webhook_url=URL))
    assert isinstance(made, FacebookPage)
    return made


def graph_time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}+0000"


def by(number: int) -> dict[str, str]:
    return {"id": f"9{number:03}", "name": f"Ann Tran {number}"}


class GraphVendor(TwinVendor):
    """Even events are posts of people, odd ones comments on one post of the page; every third webhook lacks the name."""

    twin: MetaGraph
    many = 9
    auth_headers = ("x-hub-signature-256",)
    throttling = {"on": "feed", "do": "too_many"}
    breaking = {"on": "feed", "do": "cut"}

    def happen(self, number: int) -> None:
        self.put(number, created_time=graph_time(self.moment(number)))

    def spoil(self, number: int) -> bool:
        self.put(number, created_time="some time ago")
        return True

    def put(self, number: int, **fields: Any) -> None:
        if self.twin.store.get("posts", POST) is None:
            made = graph_time(self.first_moment - timedelta(days=2))
            self.twin.add("posts", id=POST, created_time=made, message="ours", **{"from": {"id": PAGE, "name": "us"}})
        row = {"message": f"text {number}", "from": by(number), **fields}
        if number % 2:
            self.twin.add("comments", id=f"77_{number}", **row)
        else:
            self.twin.add("posts", id=f"{PAGE}_{number}", **row)

    def request(self, number: int) -> Request:
        value: dict[str, Any] = {"verb": "add", "created_time": int(self.moment(number).timestamp())}
        what = {"item": "comment", "comment_id": f"77_{number}", "post_id": POST} if number % 2 else {"item": "post"}
        value |= {"post_id": f"{PAGE}_{number}", **what}
        said = {"from": by(number), "message": f"text {number}"} if number % 3 else {}
        return self.sign(json.dumps({"object": "page", "entry": [entry({**value, **said}, page=PAGE)]}).encode())

    def several(self, numbers: Any, wrong: Any = ()) -> Request:
        entries = [json.loads(self.request(number).body)["entry"][0] for number in numbers]
        odd = [{"id": PAGE, "time": 1, "changes": [one]} for one in wrong]
        return self.sign(json.dumps({"object": "page", "entry": [*entries[:1], *odd, *entries[1:]]}).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body, APP_SECRET)

    def forget_subscriptions(self) -> bool:
        for table in ("apps", "callbacks"):
            for row in self.twin.records(table):
                self.twin.delete(row["id"])
        return True

    @property
    def secrets(self) -> tuple[str, ...]:
        return APP_SECRET, self.twin.token


class TestFacebookPageWithGraph(
    WebhookConformance, HintConformance, PollingConformance, BackfillConformance, SubscriptionConformance
):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, graph: MetaGraph) -> GraphVendor:
        return GraphVendor(graph)

    @pytest.fixture
    def connect(self, graph: MetaGraph) -> Any:
        return lambda: source(graph)


def hinted(made: FacebookPage, *values: Any, kind: str = "changes") -> Batch:
    request = signed(json.dumps({"object": "page", "entry": [entry(*values, page=PAGE, kind=kind)]}).encode())
    batch = made.parse(request)
    assert not batch.signals
    answer = made.fetch(Hint(key=batch.hints[0].key, data=json.loads(json.dumps(batch.hints[0].data))), NOW)
    assert isinstance(answer, Batch)
    return answer


def test_a_message_gets_its_name_and_a_comment_its_author_and_link(graph: MetaGraph) -> None:
    graph.add("profiles", id="66", first_name="Lan", last_name="Nguyen")
    said = {"sender": {"id": "66"}, "recipient": {"id": PAGE}, "timestamp": 1457764197627, "message": {"mid": "m_1"}}
    (signal,) = hinted(source(graph), said, kind="messaging").signals
    assert signal.title == "Message on Facebook from Lan Nguyen"
    link = "https://www.facebook.com/acme/posts/77?comment_id=1"
    row = {"created_time": "2026-05-19T10:29:08+0000", "message": "hi", "from": by(1), "permalink_url": link}
    graph.add("comments", id="9_1", **row)
    (signal,) = hinted(source(graph), COMMENT).signals
    assert (signal.person.name, signal.text, signal.url, signal.reply) == ("Ann Tran 1", "hi", link, link)
    graph.modify("comments", "9_1", **{"from": {"id": PAGE, "name": "us"}})
    assert hinted(source(graph), COMMENT).dropped == {"own": 1}


@pytest.mark.parametrize("code", ["190", "10", "200"])
def test_an_event_does_not_wait_for_a_permission(graph: MetaGraph, code: str) -> None:
    error = {"error": {"message": "no", "type": "OAuthException", "code": int(code)}}
    graph.planned = [TwinResponse(400, error)]
    (signal,) = hinted(source(graph), COMMENT).signals
    assert signal.title == "Comment on Facebook"


def test_messages_are_read_by_backfill_if_they_are_wanted(graph: MetaGraph) -> None:
    for number in range(8):
        at = graph_time(NOW + timedelta(minutes=number))
        graph.add("messages", id=f"m_{number}", created_time=at, message="hi", **{"from": by(number % 2)})
    assert [*source(graph).backfill(NOW, NOW + timedelta(days=1), None)] == []
    made = source(graph, past_messages=True)
    batches = [*made.backfill(NOW + timedelta(minutes=2), NOW + timedelta(minutes=6), None)]
    signals = [signal for batch in batches for signal in batch.signals]
    assert [signal.data["mid"] for signal in signals] == ["m_2", "m_3", "m_4", "m_5"]
    assert {signal.thread for signal in signals} == {f"facebook:{PAGE}:9000", f"facebook:{PAGE}:9001"}


def test_a_row_from_quarantine_is_read_again(graph: MetaGraph) -> None:
    vendor, made = GraphVendor(graph), source(graph)
    vendor.put(1, created_time="some time ago")
    (batch,) = made.poll(made.start(NOW), NOW)
    (misfit,) = batch.misfits
    row = json.loads(misfit.request.body) | {"created_time": "2026-05-19T10:29:08+0000"}
    body = json.dumps(row).encode()
    (signal,) = made.reparse(Request("GET", misfit.request.url, {}, body, NOW)).signals
    assert (signal.type, signal.person.name) == ("facebook.commented", "Ann Tran 1")


def test_the_page_is_subscribed_and_the_app_points_here(graph: MetaGraph) -> None:
    made = source(graph)
    findings = {one.what: one for one in made.check_online()}
    assert findings["sign-in"].level is Level.OK
    assert findings["webhooks"].level is Level.WARNING
    (there,) = made.subscribe().there
    assert (there.id, there.url, there.events) == (APP, URL, ("feed", "mention", "messages"))
    assert [one.id for one in made.subscribe().there] == [APP]
    assert all(one.level is Level.OK for one in made.check_online())
    made.unsubscribe("another-app")
    assert len(made.subscriptions()) == 1
    made.unsubscribe(APP)
    assert made.subscriptions() == []


def test_another_callback_is_replaced_only_with_force(graph: MetaGraph) -> None:
    made = source(graph)
    graph.add("callbacks", id="page", object="page", callback_url="https://elsewhere.example", active=True)
    with pytest.raises(SyncdError, match=r"go to https://elsewhere\.example; --force replaces it"):
        made.subscribe()
    assert made.subscriptions() == []
    assert made.subscribe(force=True).there[0].ours
    graph.calls_back = True
    graph.modify("callbacks", "page", active=False)
    try:
        with pytest.raises(Misconfigured, match="could not verify the callback URL"):
            made.subscribe()
    finally:
        graph.calls_back = False


def test_the_token_of_another_page_is_named(graph: MetaGraph) -> None:
    (found,) = source(graph, page_id="5").check_online()
    assert (found.level, found.message) == (Level.FAULT, "page_token is of Acme API, not of page 5")
    with pytest.raises(Misconfigured, match="the token has expired or was withdrawn"):
        list(source(graph, page_token="another-token-0815").check_online())


def test_without_a_token_only_webhooks_are_read(graph: MetaGraph) -> None:
    keys = {"page_id": PAGE, "app_secret": APP_SECRET, "verify_token": TOKEN}
    settings = FacebookPageSettings.model_validate(keys)
    assert CONNECTOR.unable is not None
    assert Ability.POLL in CONNECTOR.unable(settings)
    with pytest.raises(ValueError, match="page_token needs app_id"):
        FacebookPageSettings.model_validate({**keys, "page_token": "a-page-token-0815"})


# ---- limits and errors


def answered(code: int, headers: dict[str, str] | None = None) -> Failure:
    error = {"message": "said", "type": "OAuthException", "code": code}
    body = json.dumps({"error": error}).encode()
    return ERRORS.of_answer(Response(400, headers or {}, body, write=False), NOW)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, RateLimited) for code in (4, 17, 32, 368, 613, 80001)),
        *((code, Misconfigured) for code in (3, 10, 190, 200, 299)),
        *((code, Transient) for code in (1, 2, 12345)),
    ],
)
def test_what_a_code_means(code: int, expected: type[Failure]) -> None:
    failure = answered(code)
    assert type(failure) is expected
    assert failure.code == str(code)


def test_the_headers_say_how_long_to_wait() -> None:
    busy = json.dumps({"1": [{"type": "pages", "call_count": 100, "estimated_time_to_regain_access": 7}]})
    failure = answered(32, {"x-business-use-case-usage": busy})
    assert isinstance(failure, RateLimited)
    assert failure.retry_after == 420
    assert usage({"x-app-usage": '{"call_count": 28, "total_time": 97}'}) == (97.0, None)
    assert usage({"x-app-usage": "[[", "x-page-usage": '{"a": [5]}'}) == (0.0, None)


def test_a_call_that_has_nearly_used_its_limit_rests(graph: MetaGraph) -> None:
    made = source(graph)
    assert [*made.poll(made.start(NOW), NOW)] == []
    used = {"x-app-usage": '{"call_count": 96}'}
    state = made.start(NOW)
    graph.planned = [TwinResponse(200, {"data": []}, used)]
    assert [*made.poll(state, NOW)] == []
    before = len(graph.calls)
    with pytest.raises(RateLimited):
        list(made.poll(state, NOW))
    assert len(graph.calls) == before


@pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")
def test_the_stand_in_answers_as_recorded(graph: MetaGraph) -> None:
    recordings = json.loads((Path(RECORDINGS) / "facebook.json").read_bytes())
    vendor, tried = GraphVendor(graph), 0
    for name, one in recordings.items():
        for exchange in one.get("exchanges", ()):
            path = exchange["path"]
            if path == "/me/accounts":  # the operator's token, which the source never has
                continue
            if exchange["response"].get("id"):
                graph.add("comments", **exchange["response"])
            for number in range(10) if name == "list-page-posts" else ():
                vendor.put(2 * number, created_time="2026-05-19T10:27:28+0000")
            if path.endswith("/comments"):
                graph.add("posts", id=path.split("/")[1], created_time="2026-05-19T10:27:28+0000")
            query = {**exchange["request"].get("params", {})} if exchange["request"] else {}
            query |= {"access_token": graph.token, "appsecret_proof": proof(graph.token)}
            query |= {"fields": "id,message,created_time,from"}
            answer = requests.request(exchange["method"], f"{graph.url}/v25.0{path}?{urlencode(query)}", timeout=20)
            assert answer.status_code == exchange["status"], name
            wrong = differences(exchange["response"], answer.json())
            assert [line for line in wrong if ".from" not in line] == [], name  # asked for here, not in the recording
            tried += 1
            graph.reset()
    assert tried == 5
