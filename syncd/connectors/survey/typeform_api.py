"""Typeform's API: responses, forms and webhooks. Every method raises a Failure.

Facts: typeform.com/developers, "Responses API", "Create API" and "Webhooks API"; recorded traffic. A webhook belongs to one form
and has a tag there, which `PUT` sets as a whole; its secret is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Context
from syncd.connectors.survey.typeform_responses import fields_of
from syncd.errors import Misconfigured, RateLimited, SyncdError, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import VendorApi

EVENT = "form_response"
_TOKEN = Means(Misconfigured, "the token is refused; make a new one (Account > Your settings > Personal tokens)")
_SCOPES = Means(
    Misconfigured, "the token lacks a scope: forms:read, responses:read, webhooks:read and webhooks:write are needed"
)
ERRORS = ErrorTable(
    "Typeform",
    {"AUTHENTICATION_FAILED": _TOKEN, "FORBIDDEN": _SCOPES, "INSUFFICIENT_SCOPE": _SCOPES},
    error_at("code", "description"),
    statuses={
        401: _TOKEN,
        403: _SCOPES,
        429: Means(RateLimited, "too many requests"),
        500: Means(Transient, "Typeform had an error"),
    },
    absent=frozenset({"404", "FORM_NOT_FOUND", "NOT_FOUND"}),
)


class TypeformApi:
    """The forms of one account."""

    def __init__(
        self, base_url: str, token: SecretStr | None, secret: str, forms: Sequence[str], context: Context
    ) -> None:
        headers = {"Authorization": f"Bearer {token.get_secret_value() if token else ''}"}
        self._api = VendorApi(HttpClient(base_url, headers=headers, clock=context.clock), ERRORS, context.clock)
        self._secret, self._forms = secret, forms
        self._url, self._tag = context.webhook_url, f"syncd-{context.name}"
        self._definitions: dict[str, dict[str, Any]] = {}

    # ---- responses and forms

    def responses(self, form: str, since: datetime, until: datetime | None, size: int) -> list[dict[str, Any]]:
        """At most `size` responses at or after `since`, oldest first; none of a form that does not exist."""
        query = {
            "page_size": str(size),
            "sort": "submitted_at,asc",
            "response_type": "completed",
            "since": _stamp(since),
        }
        query |= {"until": _stamp(until)} if until is not None else {}
        return self._api.rows(f"/forms/{form}/responses", query, items="items", absent=True)

    def definition(self, form: str) -> dict[str, Any] | None:
        """The form with its fields; None if it does not exist."""
        return self._api.one(f"/forms/{form}")

    def form(self, form: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The form that these responses answer. It is read again when they have a field that it lacked."""
        held = self._definitions.get(form)
        known = {str(field.get("id")) for field in fields_of(held)}
        if held is None or not {id_ for row in rows for id_ in _field_ids(row)} <= known:
            held = self._definitions[form] = self.definition(form) or {}
        return held

    # ---- webhooks

    def subscriptions(self) -> list[Subscription]:
        return [self._read(row) for form in self._forms for row in self._hooks(form)]

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """One webhook for each form. Raises SyncdError, before anything is changed, if our tag calls another address."""
        there = {form: self._hooks(form) for form in self._forms}
        taken = [
            row for rows in there.values() for row in rows if row.get("tag") == self._tag and not self._is_ours(row)
        ]
        if taken and not force:
            told = "; ".join(f"form {row.get('form_id')} calls {row.get('url')}" for row in taken[:5])
            raise SyncdError(
                f"{told}: its webhook {self._tag} is set to another address; --force replaces it with this one"
            )
        made = []
        for form, rows in there.items():
            tags = [str(row.get("tag")) for row in rows if self._is_ours(row)] or [self._tag]
            made += [self._put(form, tag) for tag in tags]
        return Subscribed(there=made)

    def unsubscribe(self, id: str) -> None:
        form, _, tag = id.partition("/")
        if form not in self._forms or not tag:
            raise SyncdError(f"{id[:80]!r} is not FORM/TAG of a webhook of these forms")
        self._api.call("DELETE", _hook(form, tag), absent=True)

    def is_active(self, form: str) -> bool:
        return any(self._is_ours(row) and row.get("enabled") is not False for row in self._hooks(form))

    def _put(self, form: str, tag: str) -> Subscription:
        """Sets the webhook as a whole: also its secret, and that it is enabled."""
        body = {
            "url": self._url,
            "enabled": True,
            "verify_ssl": True,
            "secret": self._secret,
            "event_types": {EVENT: True},
        }
        made = self._api.written("PUT", _hook(form, tag), json=body) or {}
        return self._read({**body, "form_id": form, "tag": tag, **made})

    def _hooks(self, form: str) -> list[dict[str, Any]]:
        rows = self._api.rows(f"/forms/{form}/webhooks", items="items", absent=True)
        return [{"form_id": form, **row} for row in rows]

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        return bool(self._url) and row.get("url") == self._url

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        enabled = row.get("enabled") is not False
        note = "Typeform has disabled it (an answer 404 or 410 does that): register again" if not enabled else ""
        events = row.get("event_types")
        return Subscription(
            id=f"{row.get('form_id')}/{row.get('tag')}",
            url=str(row.get("url") or ""),
            events=tuple(name for name, on in events.items() if on) if isinstance(events, dict) else (EVENT,),
            state="enabled" if enabled else "disabled",
            ours=self._is_ours(row),
            active=enabled,
            note=note if self._is_ours(row) else "",
        )


def _hook(form: str, tag: str) -> str:
    return f"/forms/{form}/webhooks/{quote(tag, safe='')}"


def _field_ids(row: Mapping[str, Any]) -> Iterable[str]:
    for answer in row.get("answers") or () if isinstance(row.get("answers"), list) else ():
        field = answer.get("field") if isinstance(answer, dict) else None
        if isinstance(field, dict) and field.get("id"):
            yield str(field["id"])


def _stamp(moment: datetime) -> str:
    """Whole seconds, as responses have them. A fraction stands for the next second: after a page full of one second."""
    if moment.microsecond:
        moment = moment.replace(microsecond=0) + timedelta(seconds=1)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
