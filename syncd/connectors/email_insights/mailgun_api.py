"""Mailgun's API of one domain: events and webhooks. Every method raises a Failure.

Facts: documentation.mailgun.com, "Events", "Domain Webhooks". A list of events always names a next page; an empty one is its end
for now. Webhooks are kept by type of event, up to three addresses each; this module claims a type that is free or ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Context
from syncd.connectors.registration import claim, same_address
from syncd.errors import Misconfigured, RateLimited, SyncdError, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, dig, error_at
from syncd.http.vendor_api import Page, VendorApi, Where

PAGE = 300
"""Most events on a page."""
WANTED = ("opened", "clicked", "permanent_fail")
_KEY = Means(Misconfigured, "the API key is refused, or the domain is in the other region: see base_url")
ERRORS = ErrorTable(
    "Mailgun",
    {},
    error_at("code", "message"),
    statuses={
        401: _KEY,
        403: Means(Misconfigured, "the API key may not do this"),
        404: Means(Misconfigured, "there is no such domain in this account and region"),
        429: Means(RateLimited, "too many requests", pause=60),
        500: Means(Transient, "Mailgun had an error"),
    },
    absent=frozenset({"404"}),
)


@dataclass(frozen=True)
class EventPaging:
    """The next page's address is always there; an empty page is the last."""

    expired: frozenset[str] = frozenset()

    def following(self, page: Page, at: Where) -> Where | None:
        link = dig(page.body, "paging.next")
        return (str(link), {}) if link and page.items else None


class MailgunApi:
    """One domain."""

    def __init__(self, base_url: str, api_key: str, domain: str, context: Context) -> None:
        client = HttpClient(base_url, basic=("api", api_key), clock=context.clock)
        self._api = VendorApi(client, ERRORS, context.clock)
        self._events, self._hooks = f"/v3/{domain}/events", f"/v3/domains/{domain}/webhooks"
        self._url = context.webhook_url

    def events(self, since: datetime, until: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """The pages of events at or after `since`, oldest first."""
        query = {"begin": f"{since.timestamp():.3f}", "ascending": "yes", "limit": str(PAGE)}
        query |= {"end": f"{until.timestamp():.3f}"} if until is not None else {}
        query["event"] = "opened OR clicked OR failed"
        for page in self._api.pages(self._events, query, items="items", paging=EventPaging()):
            yield page.items

    def subscriptions(self) -> list[Subscription]:
        found: list[Subscription] = []
        for type_, urls in self._addresses().items():
            for number, url in enumerate(urls):
                ours = same_address(url, self._url)
                found.append(
                    Subscription(
                        id=type_ if ours else f"{type_}:{number}", url=url, events=(type_,), state=type_, ours=ours
                    )
                )
        return found

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """This address for each type of event. Raises SyncdError if a type has another one and `force` is not set."""
        there = self._addresses()
        places = [self._place(type_, there.get(type_, [])) for type_ in WANTED]

        def point(place: Subscription) -> Subscription:
            if place.url:
                self._api.call("PUT", f"{self._hooks}/{place.id}", form={"url": self._url})
            else:
                self._api.call("POST", self._hooks, form={"id": place.id, "url": self._url})
            return self._place(place.id, [self._url])

        return claim(places, point, self._url, force=force)

    def unsubscribe(self, id: str) -> None:
        """Raises SyncdError where others have their address beside ours: Mailgun removes all of a type."""
        urls = self._addresses().get(id, [])
        if not any(same_address(url, self._url) for url in urls):
            return
        if len(urls) > 1:
            raise SyncdError(f"{id} has other addresses too, which would be removed with it; remove ours in Mailgun")
        self._api.call("DELETE", f"{self._hooks}/{id}", absent=True)

    def _addresses(self) -> dict[str, list[str]]:
        """Type of event -> addresses."""
        held = (self._api.one(self._hooks) or {}).get("webhooks")
        found: dict[str, list[str]] = {}
        for type_, one in held.items() if isinstance(held, Mapping) else ():
            urls = one.get("urls") or [one.get("url")] if isinstance(one, Mapping) else []
            if texts := [url for url in urls if isinstance(url, str) and url]:
                found[str(type_)] = texts
        return found

    def _place(self, type_: str, urls: list[str]) -> Subscription:
        ours = any(same_address(url, self._url) for url in urls)
        url = self._url if ours else next(iter(urls), "")
        return Subscription(id=type_, url=url, events=(type_,), state=type_, ours=ours)
