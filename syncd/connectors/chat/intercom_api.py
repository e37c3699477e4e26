"""Intercom's API: conversations, contacts, the workspace of a token. Every method raises a Failure.

Facts: developers.intercom.com (OpenAPI 2.11): a search shows at most 150 conversations a page and lags some minutes behind. A
workspace has 10,000 calls a minute for each app, counted in slices of 10 seconds. Some versions compare dates by the day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from syncd.connector import Context
from syncd.errors import Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.client import HttpClient, Response
from syncd.http.error_table import ErrorTable, Means, dig, error_at, found_at
from syncd.http.limits import Bucket, Rate
from syncd.http.vendor_api import VendorApi

VERSION = "2.11"
"""Of the API; the shapes that are read here were recorded with it."""
PAGE = 150
OVERLAP = timedelta(days=1)
"""A search begins so much earlier than it has to: it may compare days."""
_SLICE = Rate(1_600, timedelta(seconds=10))
_TOKEN = Means(Misconfigured, "the access token is refused; copy it again from the app in Intercom's Developer Hub")
_SCOPE = Means(
    Misconfigured, "the app may not read this; it needs Read conversations, and Read and list users and companies"
)


def _wait(answer: Response, now: datetime) -> float | None:
    """Seconds until the next slice: X-RateLimit-Reset is a Unix time."""
    told = answer.headers.get("x-ratelimit-reset", "")
    asked = answer.retry_after(now)
    return asked if asked is not None or not told.isdigit() else max(1.0, float(told[:12]) - now.timestamp())


ERRORS = ErrorTable(
    "Intercom",
    {
        "unauthorized token_unauthorized token_not_found token_revoked token_expired token_blocked": _TOKEN,
        "token_suspended app_suspended": Means(QuotaExhausted, "Intercom has suspended the app or its workspace"),
        "forbidden api_plan_restricted": _SCOPE,
        "intercom_version_invalid": Means(
            Misconfigured, f"Intercom does not offer version {VERSION} of its API any more"
        ),
        "rate_limit_exceeded": Means(RateLimited, "too many requests", pause=10.0),
        "server_error service_unavailable server_timeout": Means(Transient, "Intercom is not available"),
    },
    error_at("code", within="errors"),
    statuses={401: _TOKEN, 403: _SCOPE},
    absent=frozenset({"404", "not_found", "conversation_not_found", "user_not_found"}),
    wait=_wait,
)


class IntercomApi(VendorApi):
    """One workspace, by the token of one app."""

    def __init__(self, base_url: str, token: str, workspace: str, context: Context) -> None:
        headers = {"Authorization": f"Bearer {token}", "Intercom-Version": VERSION, "Accept": "application/json"}
        rate = Bucket(context.limits.rates, f"intercom:{workspace}", _SLICE)
        super().__init__(HttpClient(base_url, headers=headers, rate=rate, clock=context.clock), ERRORS, context.clock)

    def conversation(self, id: str) -> dict[str, Any] | None:
        """With its newest 500 parts, as plain text; None if it is gone."""
        return self.one(f"/conversations/{id}", {"display_as": "plaintext"})

    def contact(self, id: str) -> dict[str, Any] | None:
        """None if it is gone, or was merged into another."""
        return self.one(f"/contacts/{id}")

    def me(self) -> tuple[Mapping[str, Any], datetime]:
        """The workspace of the token, and Intercom's clock."""
        answer = self.call("GET", "/me")
        found = dig(answer.json() if answer else None, "app")
        return found if isinstance(found, Mapping) else {}, self.vendor_now(answer)

    def updated(
        self, since: datetime, *, newest_first: bool = False, open_only: bool = False
    ) -> Iterator[list[dict[str, Any]]]:
        """Pages of the conversations that were updated since, and of some before."""
        filters: list[dict[str, Any]] = [
            {"field": "updated_at", "operator": ">", "value": int((since - OVERLAP).timestamp())}
        ]
        filters += [{"field": "open", "operator": "=", "value": True}] if open_only else []
        path, order = "/conversations/search", "descending" if newest_first else "ascending"
        pagination: dict[str, Any] = {"per_page": PAGE}
        while True:
            query = {"operator": "AND", "value": filters}
            asked = {"query": query, "pagination": pagination, "sort": {"field": "updated_at", "order": order}}
            answer = self.call("POST", path, json=asked, write=False)
            body = answer.json() if answer else None
            rows = dig(body, "conversations")
            if not isinstance(rows, list):
                raise ERRORS.shape(path, found_at(body, "conversations"))
            yield [row for row in rows if isinstance(row, dict)]
            following = dig(body, "pages.next.starting_after")
            if not following:
                return
            if following == pagination.get("starting_after"):
                raise ERRORS.shape(f"{path}: a page that continues at itself", code="page_repeats")
            pagination = {"per_page": PAGE, "starting_after": following}
