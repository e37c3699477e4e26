"""A vendor that only says "something changed", and the source that reads it: for the kit's own tests and those of the intake.

As some mail services do: the vendor gives its signing secret in a handshake, its webhook carries no event,
its list is read by an opaque token that it may forget, and its subscription expires.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Batch, Reply, Request, UnparsedItem, Verifier
from syncd.errors import Failure, Malformed, NotAuthentic
from syncd.signals import Person, Route, Signal, derive_id, make_person
from syncd.testing.vendor import Vendor

HOOK_SECRET = "x-hook-secret"  # noqa: S105  the header's name
HOOK_SIGNATURE = "x-hook-signature"
URL = "https://syncd.example.com/webhooks/feed"
LIFETIME = timedelta(days=6)
PAGE = 3
KNOWN_BY = {"email": "Ann@Example.com", "phone": "(0)912 345 678", "handle": "22334"}


class TokenForgotten(Exception):
    """The vendor does not know this token of its list any more (410 Gone)."""


@dataclass
class ChangeFeed(Vendor):
    """The vendor. `secret`: what it signs with; `now`: its clock; `refuses`: what a renewal fails with."""

    secret: str = "feed-secret-4f1c9a77"  # noqa: S105
    now: datetime = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
    events: list[dict[str, Any]] = field(default_factory=list)
    hooks: dict[str, datetime] = field(default_factory=dict)
    made: int = 0
    generation: int = 0
    refuses: Failure | None = None
    after_call: Callable[[], None] | None = None

    auth_headers: ClassVar[tuple[str, ...]] = (HOOK_SIGNATURE,)
    lifetime = LIFETIME

    # ---- events and the list

    def happen(self, number: int) -> None:
        self.happen_by(number, "email")

    def happen_by(self, number: int, form: str) -> bool:
        event = {"id": f"e{number}", "at": self.moment(number).isoformat(), "text": f"event {number}"}
        self.events.append({**event, form: KNOWN_BY[form]})
        return True

    def spoil(self, number: int) -> bool:
        self.events.append({"id": f"e{number}", "at": "not a time"})
        return True

    def forget_page_tokens(self) -> bool:
        self.generation += 1
        return True

    def forget_subscriptions(self) -> bool:
        self.hooks.clear()
        return True

    def between_calls(self, act: Callable[[], None] | None) -> bool:
        self.after_call = act
        return True

    def token(self, offset: int) -> str:
        return f"{self.generation}.{offset}"

    def delta(self, token: str) -> tuple[list[dict[str, Any]], str, bool]:
        """(a page of events, the token after it, whether there are more). Raises TokenForgotten."""
        generation, _, offset = token.partition(".")
        if generation != str(self.generation):
            raise TokenForgotten
        page = self.events[int(offset) : int(offset) + PAGE]
        after = int(offset) + len(page)
        answer = page, self.token(after), after < len(self.events)
        if self.after_call is not None:
            self.after_call()
        return answer

    # ---- webhooks

    def introduction(self, secret: str = "") -> Request:
        return self._arrived(b"", {HOOK_SECRET: secret or self.secret})

    def request(self, number: int) -> Request:
        return self.sign(json.dumps({"changed": True}).encode())

    def sign(self, body: bytes) -> Request:
        return self._arrived(body, {HOOK_SIGNATURE: signature(self.secret, body)})

    @property
    def secrets(self) -> Sequence[str]:
        return (self.secret,)

    def _arrived(self, body: bytes, headers: dict[str, str]) -> Request:
        return Request("POST", URL, {"content-type": "application/json", **headers}, body, self.first_moment)


def signature(secret: str, body: bytes) -> str:
    """How the vendor signs."""
    return base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()


class HintOnlySource:
    """A WebhookSource, PollingSource, Subscribable and Renewable; `recall` as the daemon lends it.

    Its cursor is the vendor's token and since when it reads; when the vendor forgot the token, the list is read again from
    there, and the ids make repeats of what was read before."""

    def __init__(self, feed: ChangeFeed, recall: Callable[[Sequence[str]], dict[str, str]]) -> None:
        self.feed = feed
        self.recall = recall
        self.polls = 0

    # ---- webhook

    def handshake(self, request: Request) -> Reply | None:
        secret = request.headers.get(HOOK_SECRET, "")
        return Reply(remember={"hook secret": secret}) if request.method == "POST" and secret else None

    def verifier(self) -> Verifier:
        secret = self.recall(["hook secret"]).get("hook secret", "")

        def verify(request: Request, now: datetime) -> None:
            given = request.headers.get(HOOK_SIGNATURE, "").encode("utf-8", "surrogatepass")
            if not secret:
                raise NotAuthentic("the vendor has not sent its secret yet")
            if not hmac.compare_digest(given, signature(secret, request.body).encode()):
                raise NotAuthentic(f"{HOOK_SIGNATURE} does not fit")

        return verify

    def parse(self, request: Request) -> Batch:
        try:
            said = json.loads(request.body)
        except (ValueError, RecursionError):
            raise Malformed("the body is not JSON") from None
        if not isinstance(said, dict) or said.get("changed") is not True:
            raise Malformed("changed: missing or not true")
        return Batch(poll_now=True)

    # ---- poll

    def start(self, now: datetime) -> bytes:
        token, began = self.feed.token(len(self.feed.events)), self.feed.first_moment
        newest = max(
            (datetime.fromisoformat(event["at"]) for event in self.feed.events if "T" in event["at"]), default=None
        )
        return self.state(token, began if newest is None else newest + timedelta(seconds=1))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        self.polls += 1
        cursor = json.loads(state)
        token, began, more = str(cursor["token"]), datetime.fromisoformat(cursor["began"]), True
        while more:
            try:
                events, token, more = self.feed.delta(token)
            except TokenForgotten:
                token = self.feed.token(0)
                continue
            if events or self.state(token, began) != state:
                yield self.batch(events, began, now, self.state(token, began))

    def state(self, token: str, began: datetime) -> bytes:
        return json.dumps({"token": token, "began": began.isoformat()}).encode()

    def batch(self, events: Sequence[dict[str, Any]], began: datetime, now: datetime, state: bytes) -> Batch:
        signals, misfits = [], []
        for event in events:
            try:
                signal = self.signal(event, now)
            except ValueError:
                kept = Request("POST", URL, {}, json.dumps(event).encode(), now)
                misfits.append(UnparsedItem(kept, f"event {event['id']}, at: not a time"))
                continue
            if signal.occurred_at >= began:
                signals.append(signal)
        return Batch(signals, state=state, misfits=misfits)

    def signal(self, event: dict[str, Any], now: datetime) -> Signal:
        return Signal(
            id=derive_id("feed", "1", "custom.event", event["id"]),
            type="custom.event",
            source="feed",
            occurred_at=datetime.fromisoformat(event["at"]),
            received_at=now,
            title=event["text"],
            person=self.person(event),
            route=Route.POLL,
        )

    def person(self, event: dict[str, Any]) -> Person:
        handles = {"feed": event["handle"]} if "handle" in event else {}
        return make_person(email=event.get("email", ""), phone=event.get("phone", ""), handles=handles, region="VN")

    # ---- subscription

    def subscriptions(self) -> list[Subscription]:
        return [self._hook(id_) for id_ in self.feed.hooks]

    def subscribe(self, *, force: bool = False) -> Subscribed:
        if not self.feed.hooks:
            self.feed.made += 1
            self.feed.hooks[f"h{self.feed.made}"] = self.feed.now + LIFETIME
        return Subscribed(there=self.subscriptions(), remember={"hook secret": self.feed.secret})

    def unsubscribe(self, id: str) -> None:
        self.feed.hooks.pop(id, None)

    def renew(self, id: str) -> Subscription | None:
        if self.feed.refuses is not None:
            raise self.feed.refuses
        if id not in self.feed.hooks:
            return None
        self.feed.hooks[id] = self.feed.now + LIFETIME
        return self._hook(id)

    def _hook(self, id_: str) -> Subscription:
        return Subscription(id=id_, url=URL, ours=True, expires_at=self.feed.hooks[id_])
