"""Change notifications of Microsoft Graph: their registration and renewal, their handshake, and what one says. It never says more
than that something changed, so a poll follows.

Sources: learn.microsoft.com, "Receive change notifications through webhooks", "Reduce missing subscriptions and change
notifications" (lifecycle), "subscription resource type" (Outlook message: at most 10,080 minutes).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Batch, Context, Reply, Request, Verifier
from syncd.connectors.times import time_or_none
from syncd.errors import Failure, Malformed, NotAuthentic, SyncdError
from syncd.http.json_text import parse as parse_json
from syncd.http.vendor_api import VendorApi
from syncd.items import each_item
from syncd.signatures.shared_secret import path

LIFETIME = timedelta(days=6)
STATE = "client state"
"""The key of the secret of the registration: the last part of the address, and `clientState` of every notification."""
REAUTHORIZE = "reauthorize"
"""The key of a subscription whose renewal Graph asked for."""
LONGEST_TOKEN = 4096
Recall = Callable[[Sequence[str]], Mapping[str, str]]
_USER = re.compile(r"/?(?:me|users(?:/[^/]+|\('[^']*'\)))/", re.IGNORECASE)


class GraphSubscriptions:
    """One subscription for each of the folders (`resources`), all with one secret. `changes`: the changes that are notified."""

    def __init__(self, api: VendorApi, resources: Sequence[str], context: Context, *, changes: str = "created") -> None:
        self._api, self._resources, self._changes = api, resources, changes
        self._url, self._recall, self._clock = context.webhook_url, context.recall, context.clock

    def subscriptions(self) -> list[Subscription]:
        return [self._read(row) for row in self._rows()]

    def subscribe(self) -> Subscribed:
        """One for each folder with the secret that is kept; those with a secret that is not known any more, and those of folders
        that are not read any more, are removed."""
        if not self._url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise SyncdError("Microsoft Graph takes only https addresses; set server.public_url to one")
        secret = self._recall([STATE]).get(STATE) or secrets.token_urlsafe(32)
        address, wanted = f"{self._url}/{secret}", {_folder(resource): resource for resource in self._resources}
        there: dict[str, Subscription] = {}
        for row in self._rows():
            one, folder = self._read(row), _folder(row.get("resource"))
            if one.ours and row.get("notificationUrl") == address and folder in wanted and folder not in there:
                there[folder] = one
            elif one.ours:
                self.unsubscribe(one.id)
        for folder, resource in wanted.items():
            if folder not in there:
                made = self._api.written("POST", "/subscriptions", json=self._body(resource, address, secret))
                there[folder] = self._read(made or {})
        return Subscribed(there=list(there.values()), remember={STATE: secret})

    def renew(self, id: str) -> Subscription | None:
        renewed = self._api.written(
            "PATCH", f"/subscriptions/{id}", absent=True, json={"expirationDateTime": self._end()}
        )
        return self._read({"id": id, **renewed}) if renewed is not None else None

    def unsubscribe(self, id: str) -> None:
        self._api.call("DELETE", f"/subscriptions/{id}", absent=True)

    def _rows(self) -> list[dict[str, Any]]:
        return self._api.rows("/subscriptions", items="value")

    def _body(self, resource: str, address: str, secret: str) -> dict[str, Any]:
        return {
            "changeType": self._changes,
            "notificationUrl": address,
            "lifecycleNotificationUrl": address,
            "resource": f"/{resource}",
            "expirationDateTime": self._end(),
            "clientState": secret,
        }

    def _end(self) -> str:
        return (self._clock() + LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        """Without the secret part of our address."""
        url, ends = str(row.get("notificationUrl") or ""), time_or_none(row.get("expirationDateTime"))
        ours = bool(self._url) and (url == self._url or url.startswith(f"{self._url}/"))
        return Subscription(
            id=str(row.get("id") or ""),
            url=self._url if ours else url,
            events=(str(row.get("resource") or ""),),
            state="active",
            ours=ours,
            expires_at=ends.astimezone(UTC) if ends else None,
        )


def _folder(resource: object) -> str:
    """The folder of a resource, however Graph names its user."""
    return _USER.sub("", str(resource or "").lower(), count=1).strip("/")


class GraphNotified:
    """The webhook of a source that is notified by Graph: a WebhookSource, Subscribable and Renewable through `_hooks`."""

    _hooks: GraphSubscriptions
    _context: Context

    def handshake(self, request: Request) -> Reply | None:
        return handshake(request)

    def verifier(self) -> Verifier:
        return verifier(self._context.recall)

    def parse(self, request: Request) -> Batch:
        return parse(request)

    def subscriptions(self) -> Sequence[Subscription]:
        return self._hooks.subscriptions()

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """Nothing of others is in the way: Graph takes several subscriptions."""
        return self._hooks.subscribe()

    def renew(self, id: str) -> Subscription | None:
        return self._hooks.renew(id)

    def unsubscribe(self, id: str) -> None:
        self._hooks.unsubscribe(id)

    def _renewed(self) -> Iterator[Batch]:
        """The renewal that Graph asked for by a lifecycle notification. What fails is renewed in time or made anew."""
        asked = self._context.recall([REAUTHORIZE]).get(REAUTHORIZE)
        if asked:
            try:
                self.renew(asked)
            except Failure:
                return
            yield Batch(remember={REAUTHORIZE: None})


def handshake(request: Request) -> Reply | None:
    """Graph tries an address by a POST with validationToken, and wants the token back as plain text."""
    token = next((value for name, value in request.query if name == "validationToken"), "")
    if request.method != "POST" or not token:
        return None
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return Reply(200, token[:LONGEST_TOKEN].encode("utf-8", "replace"), headers)


def verifier(recall: Recall) -> Verifier:
    """Graph does not sign: the address ends with the secret, and every notification carries it as clientState."""
    secret = recall([STATE]).get(STATE, "")

    def refuse(request: Request, now: datetime) -> None:
        raise NotAuthentic("no subscription is registered; run: syncd webhooks register")

    if not secret:
        return refuse
    ends_with_secret = path([secret])

    def verify(request: Request, now: datetime) -> None:
        ends_with_secret(request, now)
        for state in _states(request.body):
            if not hmac.compare_digest(state.encode("utf-8", "surrogatepass"), secret.encode()):
                raise NotAuthentic("clientState is not ours")

    return verify


def _states(body: bytes) -> list[str]:
    try:
        said = parse_json(body).value
    except (ValueError, RecursionError):  # what cannot be read carries none; `parse` names the reason
        return []
    value = said.get("value") if isinstance(said, dict) else None
    return [str(one["clientState"]) for one in value or () if isinstance(one, dict) and "clientState" in one]


def parse(request: Request) -> Batch:
    """A poll for anything that a notification says; a subscription that Graph wants renewed is remembered for it."""
    try:
        said = parse_json(request.body).value
    except (ValueError, RecursionError) as error:
        raise Malformed(f"a notification that is not JSON: {error}") from None
    items = said.get("value") if isinstance(said, dict) else said
    if not isinstance(items, list):
        raise Malformed("value: missing or not a list")
    return each_item(request, items, _read_item, name="notification")


def _read_item(item: object, where: str) -> Batch:
    if not isinstance(item, dict) or not isinstance(item.get("subscriptionId"), str):
        raise Malformed(f"{where}, subscriptionId: missing or not a text")
    renew = item.get("lifecycleEvent") == "reauthorizationRequired"
    return Batch(poll_now=True, remember={REAUTHORIZE: item["subscriptionId"]} if renew else {})
