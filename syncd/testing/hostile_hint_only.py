"""Sources of the change feed with one mistake each, made by many connectors: the kit must find every one of them."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from syncd.connector import Batch, Reply, Request, Verifier
from syncd.errors import Misconfigured, NotAuthentic
from syncd.signals import Person, make_person
from syncd.testing.hint_only import HOOK_SECRET, HOOK_SIGNATURE, HintOnlySource, TokenForgotten, signature


class ForgetsSecret(HintOnlySource):
    """Keeps the vendor's secret in the process: the last one counts, and a restart loses it."""

    held: dict[str, str] = {}

    def handshake(self, request: Request) -> Reply | None:
        secret = request.headers.get(HOOK_SECRET, "")
        if secret:
            self.held["secret"] = secret
        return Reply() if secret else None


class TakesAnySecret(HintOnlySource):
    """Keeps each secret under a key of its own, and verifies by the newest."""

    offered: list[str] = []

    def handshake(self, request: Request) -> Reply | None:
        secret = request.headers.get(HOOK_SECRET, "")
        if not secret:
            return None
        self.offered.append(f"secret {secret[:3]}")
        return Reply(remember={self.offered[-1]: secret})

    def verifier(self) -> Verifier:
        known = self.recall(self.offered)
        secret = next((known[key] for key in reversed(self.offered) if key in known), "")

        def verify(request: Request, now: datetime) -> None:
            given = request.headers.get(HOOK_SIGNATURE, "")
            if not secret or given != signature(secret, request.body):
                raise NotAuthentic("not signed by the newest secret")

        return verify


class ShowsSignature(HintOnlySource):
    """Says which signature would have been right: whoever reads the answer or the log can sign."""

    def verifier(self) -> Verifier:
        secret, verify = self.feed.secret, super().verifier()

        def telling(request: Request, now: datetime) -> None:
            try:
                verify(request, now)
            except NotAuthentic:
                right = base64.b64encode(hmac.digest(secret.encode(), self.feed.request(0).body, "sha256")).decode()
                raise NotAuthentic(f"expected {right}") from None

        return telling


class AsksInVain:
    """Asks for a poll, but cannot be polled."""

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return lambda request, now: None

    def parse(self, request: Request) -> Batch:
        return Batch(poll_now=True)


class TakesAnyAddress(HintOnlySource):
    """Does not look at the secret in its address."""

    def verifier(self) -> Verifier:
        return lambda request, now: None


class TripsOverForgottenToken(HintOnlySource):
    """Knows no way back when the vendor forgot the token."""

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = json.loads(state)
        token, began, more = str(cursor["token"]), datetime.fromisoformat(cursor["began"]), True
        while more:
            try:
                events, token, more = self.feed.delta(token)
            except TokenForgotten:
                raise Misconfigured("the token is not known", code="410") from None
            yield self.batch(events, began, now, self.state(token, began))


class SkipsTheRest(HintOnlySource):
    """Takes the newest there is when the vendor forgot the token of the next page."""

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = json.loads(state)
        token, began, more = str(cursor["token"]), datetime.fromisoformat(cursor["began"]), True
        while more:
            try:
                events, token, more = self.feed.delta(token)
            except TokenForgotten:
                events, token, more = [], self.feed.token(len(self.feed.events)), False
            yield self.batch(events, began, now, self.state(token, began))


class SkipsToNow(HintOnlySource):
    """Starts at now when the vendor forgot the token."""

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        try:
            self.feed.delta(str(json.loads(state)["token"]))
        except TokenForgotten:
            state = self.start(now)
        yield from super().poll(state, now)


class FollowsTheNewest(HintOnlySource):
    """Takes a new token at the end of a sweep, and what came meanwhile is behind it."""

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        yield from super().poll(state, now)
        yield Batch(
            state=self.state(self.feed.token(len(self.feed.events)), datetime.fromisoformat(json.loads(state)["began"]))
        )


class ReadsNewestFirst(HintOnlySource):
    """Reads a list that is newest first, and notes the newest with the first page: what is on later pages is lost with a kill."""

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = json.loads(state)
        began, seen = datetime.fromisoformat(cursor["began"]), int(str(cursor["token"]).partition(".")[2])
        fresh = self.feed.events[seen:][::-1]
        reached = self.state(self.feed.token(len(self.feed.events)), began)
        for first in range(0, len(fresh), 3):
            yield self.batch(fresh[first : first + 3], began, now, reached)


class KeepsEveryId(HintOnlySource):
    """Its cursor holds all ids that it ever saw."""

    def batch(self, events: Sequence[dict[str, Any]], began: datetime, now: datetime, state: bytes) -> Batch:
        batch = super().batch(events, began, now, state)
        self.seen += [event["id"] for event in events]
        return Batch(batch.signals, state=json.dumps({**json.loads(state), "seen": self.seen}).encode())

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        self.seen: list[str] = json.loads(state).get("seen", [])
        yield from super().poll(state, now)


class StopsAtWrongItem(HintOnlySource):
    """One item that it cannot read ends the poll, each time."""

    def batch(self, events: Sequence[dict[str, Any]], began: datetime, now: datetime, state: bytes) -> Batch:
        return Batch([self.signal(event, now) for event in events], state=state)


class SilentlySkips(HintOnlySource):
    """What it cannot read is gone without a trace."""

    def batch(self, events: Sequence[dict[str, Any]], began: datetime, now: datetime, state: bytes) -> Batch:
        return Batch(super().batch(events, began, now, state).signals, state=state)


class KnowsEmailsAlone(HintOnlySource):
    """Nobody without an address has an identity."""

    def person(self, event: dict[str, Any]) -> Person:
        return make_person(email=event.get("email", ""))


class KeepsEmailsAsWritten(HintOnlySource):
    """The same address in other letters is another person."""

    def person(self, event: dict[str, Any]) -> Person:
        return Person(email=event.get("email", ""))
