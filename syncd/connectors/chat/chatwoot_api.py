"""Chatwoot's API: conversations by their last activity, messages, contacts, inboxes, webhooks. Every method raises a Failure.

Facts: developers.chatwoot.com (swagger/ of the source) and the source's finders: a page has 25 conversations, which are filtered
neither by time nor by inbox here; of a conversation's messages 20 are shown, the latest or those before one. A webhook has a
`secret` since 4.13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Context
from syncd.connectors.registration import WebhookList, WebhookRow, same_address
from syncd.connectors.social.fields import id_of, inner, rows_of, text_of
from syncd.errors import Misconfigured, RateLimited
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, VendorError, dig
from syncd.http.vendor_api import VendorApi

EVENTS = ("message_created",)
SECRET = "signing_secret"  # noqa: S105  the name under which it is kept
PEOPLE = 10_000
"""Contacts whose ids in their network are kept between two polls."""
_TOKEN = Means(
    Misconfigured,
    "the access token is refused, or its user may not read this; use that of an administrator of the account",
)


def _said(body: Any) -> list[VendorError]:
    """{"error": text}, {"errors": [text …]} or {"message": text}."""
    errors = dig(body, "errors")
    first = errors[0] if isinstance(errors, list) and errors else dig(body, "error") or dig(body, "message")
    return [VendorError("", str(first)[:500])] if isinstance(first, str) else []


ERRORS = ErrorTable(
    "Chatwoot",
    {},
    _said,
    statuses={
        401: _TOKEN,
        403: _TOKEN,
        404: Means(Misconfigured, "there is nothing at this address; check account and base_url"),
        429: Means(RateLimited, "too many requests", pause=60),
    },
    absent=frozenset({"404"}),
)


class ChatwootApi(VendorApi):
    """One account."""

    def __init__(self, base_url: str, account: str, name: str, token: str, context: Context) -> None:
        rate = context.limits.bucket(f"chatwoot:{name}", "calls")
        headers = {"api_access_token": token, "Accept": "application/json"}
        client = HttpClient(f"{base_url}/api/v1/accounts/{account}", headers=headers, clock=context.clock, rate=rate)
        super().__init__(client, ERRORS, context.clock)
        self.source_id = lru_cache(PEOPLE)(self._source_id)

    def conversations(self) -> Iterator[list[dict[str, Any]]]:
        """Pages of all conversations, the latest active first. They shift while they are read."""
        number = 1
        query = {"status": "all", "assignee_type": "all", "sort_by": "last_activity_at_desc"}
        while rows := self.rows("/conversations", {**query, "page": str(number)}, items="data.payload"):
            yield rows
            number += 1

    def messages(self, conversation: str) -> Iterator[list[dict[str, Any]]]:
        """Pages of a conversation's messages, the latest page first; none of one that is gone."""
        query: dict[str, str] = {}
        path = f"/conversations/{conversation}/messages"
        while rows := self.rows(path, query, items="payload", absent=True):
            yield rows
            first = min((int(id_of(row.get("id")) or 0) for row in rows if id_of(row.get("id")).isdigit()), default=0)
            if not first or query.get("before") == str(first):
                return
            query = {"before": str(first)}

    def _source_id(self, contact: str, inbox: str) -> str:
        """The contact's id in the network of an inbox; "" if it is unknown."""
        found = inner(self.one(f"/contacts/{contact}") or {}, "payload")
        ids = [one for one in rows_of(found.get("contact_inboxes")) if id_of(inner(one, "inbox").get("id")) == inbox]
        return id_of(ids[0].get("source_id")) if ids else ""

    def inboxes(self) -> dict[str, str]:
        """Id -> name, of those that the token's user sees."""
        return {id_of(row.get("id")): text_of(row.get("name")) for row in self.rows("/inboxes", items="payload")}


class ChatwootWebhooks:
    """Subscribable: the account's webhooks. `url`: where messages are to be posted."""

    def __init__(self, api: ChatwootApi, url: str) -> None:
        self._api, self._url = api, url
        made = {"webhook": {"url": url, "subscriptions": list(EVENTS)}}
        self._list = WebhookList(
            api,
            "/webhooks",
            self._read,
            items="payload.webhooks",
            new=lambda: made,
            change=lambda: made,
            covers=_covers,
        )

    def subscriptions(self) -> list[Subscription]:
        return self._list.subscriptions()

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """With the secret of each webhook that points here; none from a Chatwoot that does not sign."""
        there = self._list.subscribe(force=force).there
        ours = {one.id for one in there}
        rows = self._api.rows("/webhooks", items="payload.webhooks")
        secrets = [text_of(row.get("secret")) for row in rows if id_of(row.get("id")) in ours]
        return Subscribed(there=there, remember={SECRET: " ".join(filter(None, secrets))})

    def unsubscribe(self, id: str) -> None:
        self._list.unsubscribe(id)

    def _read(self, row: WebhookRow) -> Subscription:
        made = dig(row, "payload.webhook")
        row = made if isinstance(made, Mapping) else row
        events = row.get("subscriptions")
        listed = tuple(str(one) for one in events) if isinstance(events, list) else ()
        url = text_of(row.get("url"))
        return Subscription(id=id_of(row.get("id")), url=url, events=listed, ours=same_address(url, self._url))


def _covers(row: WebhookRow) -> bool:
    events = row.get("subscriptions")
    return isinstance(events, list) and set(EVENTS) <= set(map(str, events))
