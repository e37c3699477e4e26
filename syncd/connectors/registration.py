"""Registering a source's address at the vendor, for the two ways in which vendors keep webhooks: in a list, or one at each place.

`WebhookList`: the account has a list of webhooks, each with its address (Zoho Desk, Zendesk, Intercom, SurveyMonkey …).
`claim`: each phone number, form or page has room for one address (Twilio, Typeform …). A source inherits `Registered` and sets
`_webhooks`. Promise: asked twice, nothing more is changed; what points elsewhere is replaced only with `force`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from syncd.capabilities import Renewable, Subscribable, Subscribed, Subscription
from syncd.errors import SyncdError
from syncd.http.vendor_api import VendorApi

MOST_NAMED = 5

WebhookRow = Mapping[str, Any]


class Registered:
    """Subscribable through `_webhooks`."""

    _webhooks: Subscribable

    def subscriptions(self) -> Sequence[Subscription]:
        return self._webhooks.subscriptions()

    def subscribe(self, *, force: bool = False) -> Subscribed:
        return self._webhooks.subscribe(force=force)

    def unsubscribe(self, id: str) -> None:
        self._webhooks.unsubscribe(id)


class ExpiringWebhooks(Subscribable, Renewable, Protocol):
    """What registers webhooks that expire, such as a `WebhookList`."""


class RegisteredForTime(Registered):
    """Renewable too."""

    _webhooks: ExpiringWebhooks

    def renew(self, id: str) -> Subscription | None:
        return self._webhooks.renew(id)


class WebhookList:
    """The list of webhooks at `path`, of which several may point at this source: others are never in the way.

    `read`: a row as a Subscription. `new()`: the body of a POST that makes one; `change()`: the body of a PATCH (or of the
    method `update`) that brings one up to date, when `covers(row)` says that it lacks something, or prolongs it. Both are asked
    for each time, since a webhook that expires holds a time."""

    def __init__(
        self,
        api: VendorApi,
        path: str,
        read: Callable[[WebhookRow], Subscription],
        *,
        items: str = "data",
        new: Callable[[], Mapping[str, Any]],
        change: Callable[[], Mapping[str, Any]],
        covers: Callable[[WebhookRow], bool] = lambda row: True,
        update: str = "PATCH",
    ) -> None:
        self._api, self._path, self._items = api, path, items
        self._update = update
        self._read, self._covers = read, covers
        self._new, self._change = new, change

    def subscriptions(self) -> list[Subscription]:
        return [self._read(row) for row in self._api.rows(self._path, items=self._items)]

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """One webhook that points here; changed if it is there already. Those beside it that point here too are left."""
        rows = self._api.rows(self._path, items=self._items)
        ours = [(row, one) for row in rows if (one := self._read(row)).ours]
        if not ours:
            return Subscribed(there=[self._read(self._api.written("POST", self._path, json=self._new()) or {})])
        first, *others = [one for _, one in ours]
        if not self._covers(ours[0][0]):
            changed = self._api.written(self._update, f"{self._path}/{first.id}", json=self._change())
            first = self._read(changed) if changed else first
        return Subscribed(there=[first, *others])

    def renew(self, id: str) -> Subscription | None:
        """The webhook after it was prolonged; None if it is gone. The vendor returns it."""
        changed = self._api.written(self._update, f"{self._path}/{id}", json=self._change(), absent=True)
        return self._read(changed) if changed is not None else None

    def unsubscribe(self, id: str) -> None:
        self._api.call("DELETE", f"{self._path}/{id}", absent=True)


def claim(
    places: Sequence[Subscription], point: Callable[[Subscription], Subscription], url: str, *, force: bool
) -> Subscribed:
    """Points every place at `url` that does not point there yet; `state` of a place is its name, `url` "" while it has none.
    Raises SyncdError, before anything is changed, if one points elsewhere and `force` is not set."""
    taken = [place for place in places if place.url not in ("", url)]
    if taken and not force:
        told = "; ".join(f"{place.state} reports to {place.url}" for place in taken[:MOST_NAMED])
        more = f" and {len(taken) - MOST_NAMED} more" if len(taken) > MOST_NAMED else ""
        raise SyncdError(f"{told}{more}: another address is already set there; --force replaces it with this one")
    return Subscribed(there=[place if place.ours else point(place) for place in places])


def same_address(one: Any, other: str) -> bool:
    """Whether two addresses are the same but for a slash at the end; `one` may be anything that a vendor answers."""
    return isinstance(one, str) and one.rstrip("/") == other.rstrip("/")
