"""Meta's webhooks as every product of an app receives them: one callback URL, with events of many pages or accounts in one body.

Facts: developers.facebook.com/docs/graph-api/webhooks/getting-started (verification request, X-Hub-Signature-256) and
…/docs/messenger-platform/webhooks. The signature covers the raw bytes; `entry.time` is in seconds for changes, in milliseconds
for messages. Pure.
"""

from __future__ import annotations

import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field, SecretStr

from syncd.connector import Batch, ConnectorSettings, Reply, Request, Verifier
from syncd.connectors.keys import Secrets, secret_texts
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.social.fields import id_of, text_of
from syncd.errors import Malformed
from syncd.items import each_item, json_body
from syncd.signatures.verifier import verifier

LISTS = ("changes", "messaging", "standby")
"""Where an entry has its events. `standby`: messages of a conversation that another app answers."""
LONGEST_CHALLENGE = 1000
NOT_OURS = Reply(403, b"wrong verify token\n", {"content-type": "text/plain; charset=utf-8"})


class MetaSettings(ConnectorSettings):
    """Keys that all sources of one Meta app have in common."""

    app_secret: Secrets = Field(
        description="the app's secret, which signs its webhooks; a list while it is being changed, the new one first"
    )
    verify_token: SecretStr = Field(
        min_length=1,
        description="the verify token that you enter beside the callback URL in the app's dashboard",
    )

    @property
    def secrets(self) -> list[str]:
        return secret_texts(self.app_secret)


@dataclass(frozen=True)
class MetaEvent:
    """One event of a body. `account`: the id of its page or account, "" if there is none. `kind`: one of LISTS, "" for an entry
    without events. `time`: the entry's, as Meta wrote it."""

    account: str
    kind: str
    value: Any
    time: Any = None


class MetaWebhooks:
    """Handshake, verification and unpacking of an app's webhooks: a WebhookSource but for `parse`, and a SharedEndpointSource.
    `object_`: the kind of account as a body names it; `account`: the id of ours."""

    def __init__(self, settings: MetaSettings, object_: str, account: str) -> None:
        self._secrets = settings.secrets
        self._verify_token = settings.verify_token.get_secret_value()
        self._object = object_
        self._account = account

    def handshake(self, request: Request) -> Reply | None:
        """The verification request: its challenge is echoed if the verify token is ours."""
        query = dict(request.query)
        if request.method != "GET" or query.get("hub.mode") != "subscribe":
            return None
        token, challenge = query.get("hub.verify_token", ""), query.get("hub.challenge", "")
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self._verify_token.encode())
        if not known or not challenge.isprintable() or len(challenge) > LONGEST_CHALLENGE:
            return NOT_OURS
        headers = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
        return Reply(200, challenge.encode("utf-8", "replace"), headers)

    def verifier(self) -> Verifier:
        return verifier(STYLES["facebook"], self._secrets)

    @property
    def accounts(self) -> frozenset[str]:
        return frozenset({self._account})

    @property
    def shares(self) -> object:
        return "meta", tuple(self._secrets), self._verify_token

    def accounts_in(self, request: Request) -> Mapping[str, int]:
        return Counter(event.account for event in _events(_body(request)))

    def each_event(
        self,
        request: Request,
        make: Callable[[MetaEvent, str], Batch],
        split: Callable[[MetaEvent], Iterable[MetaEvent]] = lambda event: (event,),
    ) -> Batch:
        """What `make(event, where)` gives for each event of our account, or for each part that `split` makes of it. Raises
        Malformed."""
        body = _body(request)
        ours = [part for event in _events(body) if event.account == self._account for part in split(event)]
        if ours and (named := text_of(body.get("object"))) != self._object:
            return Batch(dropped={f"object {named[:40]}": len(ours)})

        def alone(request: Request, events: Sequence[MetaEvent]) -> list[Request]:
            return [replace(request, body=self._body_of(event)) for event in events]

        return each_item(request, ours, make, alone=alone)

    def _body_of(self, event: MetaEvent) -> bytes:
        entry = {"id": event.account, "time": event.time, event.kind: [event.value]} if event.kind else event.value
        return json.dumps({"object": self._object, "entry": [entry]}).encode()


def _body(request: Request) -> dict[str, Any]:
    body = json_body(request)
    if not isinstance(body, dict) or not isinstance(body.get("entry"), list):
        raise Malformed("the body has no list `entry`; webhooks of Meta's products have one")
    return body


def _events(body: dict[str, Any]) -> Iterator[MetaEvent]:
    for entry in body["entry"]:
        account = id_of(entry.get("id")) if isinstance(entry, dict) else ""
        held = {name: entry.get(name) for name in LISTS if name in entry} if isinstance(entry, dict) else {}
        if not held:
            yield MetaEvent(account, "", entry)
        for name, values in held.items():
            for value in values if isinstance(values, list) else [values]:
                yield MetaEvent(account, name, value, entry.get("time"))
