"""Postmark's API of one server: opens, clicks, bounces and webhooks. Every method raises a Failure.

Facts: postmarkapp.com/developer, "API overview" (error codes), "Message opens API", "Message clicks API", "Bounce API" and
"Webhooks API". Lists are newest first; at most 10,000 rows of one can be reached. A webhook belongs to one message stream, and a
stream has at most ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Context
from syncd.connectors.registration import WebhookList, same_address
from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import OffsetPaging, VendorApi

PAGE = 500
FARTHEST = 9_500
_TOKEN = Means(Misconfigured, "the token is refused; use a token of this server (Servers > your server > API Tokens)")
ERRORS = ErrorTable(
    "Postmark",
    {"10": _TOKEN, "100": Means(Transient, "Postmark is under maintenance")},
    error_at("ErrorCode", "Message"),
    statuses={
        401: _TOKEN,
        429: Means(RateLimited, "too many requests"),
        500: Means(Transient, "Postmark had an error"),
    },
    absent=frozenset({"404"}),
)


class RecordList(NamedTuple):
    """A list of the API: its path, where the rows are, and the RecordType that webhooks give to such a row."""

    path: str
    items: str
    record_type: str


LISTS: Mapping[str, RecordList] = {
    "opens": RecordList("/messages/outbound/opens", "Opens", "Open"),
    "clicks": RecordList("/messages/outbound/clicks", "Clicks", "Click"),
    "bounces": RecordList("/bounces", "Bounces", "Bounce"),
}


class PostmarkApi:
    """One server. `login`: the user name and password that its webhooks send."""

    def __init__(
        self, base_url: str, token: str, streams: Sequence[str], login: tuple[str, str], context: Context
    ) -> None:
        client = HttpClient(base_url, headers={"X-Postmark-Server-Token": token}, clock=context.clock)
        self._api = VendorApi(client, ERRORS, context.clock)
        self._url, self._streams = context.webhook_url, streams
        self._auth = {"Username": login[0], "Password": login[1]}
        self._lists = [self._webhooks(stream) for stream in streams]

    def pages(self, name: str) -> Iterator[list[dict[str, Any]]]:
        """The pages of one of LISTS, newest first."""
        query, paging = {"count": str(PAGE), "offset": "0"}, OffsetPaging("offset", PAGE, farthest=FARTHEST)
        for page in self._api.pages(LISTS[name].path, query, items=LISTS[name].items, paging=paging):
            yield page.items

    def server(self) -> dict[str, Any]:
        return self._api.one("/server") or {}

    # ---- webhooks

    def subscriptions(self) -> list[Subscription]:
        return [self._read(row) for row in self._api.rows("/webhooks", items="Webhooks")]

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """One webhook for each stream."""
        return Subscribed(there=[one for made in self._lists for one in made.subscribe(force=force).there])

    def unsubscribe(self, id: str) -> None:
        """How Postmark answers for one that is gone is not documented, so it is looked up before."""
        if any(one.id == id for one in self.subscriptions()):
            self._lists[0].unsubscribe(id)

    def _webhooks(self, stream: str) -> WebhookList:
        def of_stream(row: Mapping[str, Any]) -> Subscription:
            return self._read(row, (stream,))

        return WebhookList(
            self._api,
            "/webhooks",
            of_stream,
            items="Webhooks",
            new=lambda: {"MessageStream": stream, **self._wanted()},
            change=self._wanted,
            covers=self._covers,
            update="PUT",
        )

    def _wanted(self) -> dict[str, Any]:
        triggers = {
            "Open": {"Enabled": True, "PostFirstOpenOnly": False},
            "Click": {"Enabled": True},
            "Bounce": {"Enabled": True, "IncludeContent": False},
        }
        return {"Url": self._url, "HttpAuth": self._auth, "Triggers": triggers}

    def _covers(self, row: Mapping[str, Any]) -> bool:
        return not _missing(row) and row.get("HttpAuth") == self._auth

    def _read(self, row: Mapping[str, Any], streams: Sequence[str] | None = None) -> Subscription:
        stream, url = str(row.get("MessageStream") or ""), str(row.get("Url") or "")
        missing = _missing(row)
        return Subscription(
            id=str(row.get("ID") or ""),
            url=url,
            events=tuple(name.lower() for name in ("Open", "Click", "Bounce") if name not in missing),
            state=f"stream {stream}",
            ours=same_address(url, self._url) and stream in (self._streams if streams is None else streams),
        )


def _missing(row: Mapping[str, Any]) -> list[str]:
    """The triggers that we need and the webhook lacks."""
    triggers = row.get("Triggers")
    held = (
        {name: one for name, one in triggers.items() if isinstance(one, Mapping)}
        if isinstance(triggers, Mapping)
        else {}
    )
    lacks = [name for name in ("Open", "Click", "Bounce") if held.get(name, {}).get("Enabled") is not True]
    first_only = held.get("Open", {}).get("PostFirstOpenOnly") is True
    return [*lacks, "Open"] if first_only and "Open" not in lacks else lacks
