"""SendGrid's API of event webhooks. Every method raises a Failure.

Facts: docs.sendgrid.com, "Webhooks" of the API reference. An account has a list of event webhooks. Signing is switched on for
each by itself and gives a public key, which belongs to the webhook. Calls without an id change the oldest webhook: every call has
an id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Context
from syncd.connectors.registration import same_address
from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import VendorApi

PUBLIC_KEY = "public key"
"""Under which the key of a registration is remembered."""
WANTED = ("open", "click", "bounce")
_SETTINGS = "/v3/user/webhooks/event/settings"
_SCOPES = Means(
    Misconfigured, "the API key lacks a permission: Mail Settings > Event Notification with full access is needed"
)
ERRORS = ErrorTable(
    "SendGrid",
    {},
    error_at("error_id", "message", field="field", within="errors"),
    statuses={
        400: Means(Misconfigured, "SendGrid does not accept the webhook"),
        401: Means(Misconfigured, "the API key is refused; make a new one (Settings > API Keys)"),
        403: _SCOPES,
        429: Means(RateLimited, "too many requests"),
        500: Means(Transient, "SendGrid had an error"),
    },
    absent=frozenset({"404"}),
)


class EventWebhooks:
    """Subscribable: the event webhooks of one account."""

    def __init__(self, base_url: str, api_key: str, context: Context) -> None:
        client = HttpClient(base_url, headers={"Authorization": f"Bearer {api_key}"}, clock=context.clock)
        self._api = VendorApi(client, ERRORS, context.clock)
        self._url, self._name = context.webhook_url, context.name

    def subscriptions(self) -> list[Subscription]:
        return [self._read(row) for row in self._rows()]

    def keys(self) -> list[str]:
        """The public keys of the webhooks that point here, as SendGrid lists them."""
        return [key for row in self._rows() if self._read(row).ours and (key := str(row.get("public_key") or ""))]

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """One webhook that points here, signed. Others are never in the way."""
        ours = [row for row in self._rows() if self._read(row).ours]
        row = ours[0] if ours else self._api.written("POST", _SETTINGS, json=self._wanted()) or {}
        id_ = str(row.get("id") or "")
        if not id_:
            raise ERRORS.shape(_SETTINGS, "there is no id")
        if not _covers(row):
            row = self._api.written("PATCH", f"{_SETTINGS}/{id_}", json=self._wanted()) or row
        signed = self._api.written("PATCH", f"{_SETTINGS}/signed/{id_}", json={"enabled": True}) or {}
        key = str(signed.get("public_key") or "")
        if not key:
            key = str((self._api.one(f"{_SETTINGS}/signed/{id_}") or {}).get("public_key") or "")
        if not key:
            raise ERRORS.shape(f"{_SETTINGS}/signed/{id_}", "there is no public_key")
        return Subscribed(there=[self._read({**row, "public_key": key})], remember={PUBLIC_KEY: key})

    def unsubscribe(self, id: str) -> None:
        self._api.call("DELETE", f"{_SETTINGS}/{id}", absent=True)

    def _rows(self) -> list[dict[str, Any]]:
        return self._api.rows(f"{_SETTINGS}/all", items="webhooks")

    def _wanted(self) -> dict[str, Any]:
        return {
            "enabled": True,
            "url": self._url,
            "friendly_name": f"syncd {self._name}"[:100],
            **dict.fromkeys(WANTED, True),
        }

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        url = str(row.get("url") or "")
        return Subscription(
            id=str(row.get("id") or ""),
            url=url,
            events=tuple(name for name in WANTED if row.get(name) is True),
            state=str(row.get("friendly_name") or ""),
            ours=same_address(url, self._url),
            active=row.get("enabled") is True,
            note="" if row.get("public_key") else "it is not signed; register again",
        )


def _covers(row: Mapping[str, Any]) -> bool:
    return all(row.get(name) is True for name in ("enabled", *WANTED))
