"""X's webhooks: the challenge (CRC), the signature, and both envelopes: X Activity API, and the older Account Activity API.

Facts: docs.x.com/x-api/webhooks (CRC and signature with the app's consumer secret, base64), …/activity and …/account-activity.
Pure.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from syncd.connector import Batch, Reply, Request, Verifier
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.social.fields import Fields, fields_of, id_of, inner, text_of
from syncd.connectors.social.x_events import MENTIONS, MESSAGE, Users, XReader, as_dm_event, as_post, users_of
from syncd.errors import Malformed
from syncd.items import each_item, json_body
from syncd.signals import Route, Signal
from syncd.signatures.verifier import verifier

DMS, POSTS = "direct_message_events", "tweet_create_events"
_CRC_TOKEN = re.compile(r"[A-Za-z0-9+/=_.-]{1,200}")
"""The answer to a challenge is a signature of its token. One that could be the body of an event is refused: whoever asks would
get the signature of a forged event."""


@dataclass(frozen=True)
class XEvent:
    """One event of a body. `account`: the id of the user it is for, "" if there is none; `name`: its type, or the name of its
    list in the older envelope; `users`: its users, as X wrote them."""

    account: str
    name: str
    value: Any
    users: Any = None


class XWebhooks:
    """A WebhookSource and SharedEndpointSource for the reader's account."""

    def __init__(self, secrets: Sequence[str], reader: XReader) -> None:
        self._secrets = secrets
        self._reader = reader

    def handshake(self, request: Request) -> Reply | None:
        token = dict(request.query).get("crc_token")
        if request.method != "GET" or token is None:
            return None
        if not _CRC_TOKEN.fullmatch(token):
            return Reply(400, b"not a crc_token\n", {"content-type": "text/plain; charset=utf-8"})
        digest = hmac.digest(self._secrets[0].encode(), token.encode(), "sha256")
        said = {"response_token": "sha256=" + base64.b64encode(digest).decode()}
        return Reply(200, json.dumps(said).encode(), {"content-type": "application/json"})

    def verifier(self) -> Verifier:
        return verifier(STYLES["x"], self._secrets)

    @property
    def accounts(self) -> frozenset[str]:
        return frozenset({self._reader.user})

    @property
    def shares(self) -> object:
        return "x", tuple(self._secrets)

    def accounts_in(self, request: Request) -> Mapping[str, int]:
        return Counter(event.account for event in _events(request))

    def parse(self, request: Request) -> Batch:
        def make(event: XEvent, where: str) -> Batch:
            made = self._made(event, request, where)
            return Batch([made]) if isinstance(made, Signal) else Batch(dropped={made: 1})

        def alone(request: Request, events: Sequence[XEvent]) -> list[Request]:
            return [replace(request, body=json.dumps(_body_of(event)).encode()) for event in events]

        ours = [event for event in _events(request) if event.account == self._reader.user]
        return each_item(request, ours, make, alone=alone)

    def _made(self, event: XEvent, request: Request, where: str) -> Signal | str:
        at, route = request.received_at, Route.WEBHOOK
        if event.name not in (*MENTIONS, POSTS, DMS):
            if not event.name:
                raise Malformed(f"{where}, event_type: missing")
            return f"event {event.name[:40]}"
        value = fields_of(event.value, where)
        users: Users = users_of(event.users)
        if event.name == DMS:
            return self._reader.message(as_dm_event(value), users, at, route, where)
        if event.name == POSTS:
            value, users = as_post(value)
        return self._reader.mention(value, users, at, route, where)


def _events(request: Request) -> Iterator[XEvent]:
    """Raises Malformed."""
    body = json_body(request)
    if not isinstance(body, dict):
        raise Malformed(f"the body: {type(body).__name__} instead of an object")
    if "data" in body:
        data = body["data"]
        return (event for item in (data if isinstance(data, list) else [data]) for event in _of_activity(item))
    account, users = id_of(body.get("for_user_id")), body.get("users")
    lists = {name: held for name, held in body.items() if isinstance(held, list)}
    if not account and not lists and "user_event" not in body:
        raise Malformed("the body has neither `data` nor `for_user_id`; webhooks of X have one of them")
    return (XEvent(account, name, value, users) for name, held in lists.items() for value in held)


def _of_activity(item: Any) -> Iterator[XEvent]:
    """The events of one envelope of the X Activity API: the messages in it one by one."""
    if not isinstance(item, dict):
        yield XEvent("", "", item)
        return
    account, name = id_of(inner(item, "filter").get("user_id")), text_of(item.get("event_type"))
    payload: Fields = inner(item, "payload")
    messages = payload.get(DMS)
    if name == MESSAGE and isinstance(messages, list):
        yield from (XEvent(account, DMS, message, payload.get("users")) for message in messages)
    elif name == MESSAGE:
        yield XEvent(account, DMS, messages)
    else:
        yield XEvent(account, name, item.get("payload"), inner(item, "includes").get("users"))


def _body_of(event: XEvent) -> dict[str, Any]:
    """A body with this event alone."""
    if event.name in (DMS, POSTS):
        return {"for_user_id": event.account, event.name: [event.value], "users": event.users}
    envelope = {"filter": {"user_id": event.account}, "event_type": event.name, "payload": event.value}
    return {"data": {**envelope, "includes": {"users": event.users}}}
