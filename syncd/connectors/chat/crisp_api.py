"""Crisp's API: conversations and messages of one website. Every method raises a Failure.

Facts: docs.crisp.chat, "REST API Reference (V1)"; the reasons of errors are not all verified. A list has 20 to 50 conversations a
page and no total; the tokens of a plugin have a quota a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from syncd.connector import Context
from syncd.connectors.social.fields import inner
from syncd.connectors.times import time_or_none
from syncd.errors import Misconfigured, QuotaExhausted, RateLimited
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import VendorApi

PAGE = 50
MOST_PAGES = 10
"""Pages of a conversation's messages that are read at most: what began before is not the unanswered stretch of today."""
_TOKEN = Means(Misconfigured, "the token is refused; check identifier, key and tier")
_SCOPE = Means(
    Misconfigured,
    "the token may not read this; it needs website:conversation:sessions and :messages, and the website's consent",
)
ERRORS = ErrorTable(
    "Crisp",
    {
        "invalid_session": _TOKEN,
        "not_allowed": _SCOPE,
        "quota_limit_exceeded": Means(QuotaExhausted, "the token's quota of calls is used up"),
        "rate_limited": Means(RateLimited, "too many requests", pause=60),
    },
    error_at("reason"),
    statuses={
        401: _TOKEN,
        403: _SCOPE,
        404: Means(Misconfigured, "there is no such website; check website"),
        429: Means(RateLimited, "too many requests", pause=60),
    },
    absent=frozenset({"404", "conversation_not_found"}),
)


class CrispApi(VendorApi):
    """One website, by one token."""

    def __init__(self, base_url: str, website: str, login: tuple[str, str], tier: str, context: Context) -> None:
        rate = context.limits.bucket(f"crisp:{login[0]}", "calls")
        client = HttpClient(
            f"{base_url}/v1/website/{website}",
            basic=login,
            headers={"X-Crisp-Tier": tier, "Accept": "application/json"},
            clock=context.clock,
            rate=rate,
        )
        super().__init__(client, ERRORS, context.clock)

    def website(self) -> tuple[Mapping[str, Any], datetime]:
        """What the website is called, and Crisp's clock."""
        answer = self.call("GET", "")
        body = answer.json() if answer else None
        return inner(body if isinstance(body, dict) else {}, "data"), self.vendor_now(answer)

    def conversation(self, session: str) -> Mapping[str, Any] | None:
        """None if it is gone."""
        found = self.one(f"/conversation/{session}")
        return inner(found, "data") if found is not None else None

    def messages(self, session: str) -> Iterator[list[dict[str, Any]]]:
        """Pages of a conversation's messages, the latest page first."""
        query: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            rows = self.rows(f"/conversation/{session}/messages", query, items="data", absent=True)
            times = [at for row in rows if (at := time_or_none(row.get("timestamp"))) is not None]
            yield rows
            before = str(round(min(times).timestamp() * 1000)) if times else ""
            if not before or query.get("timestamp_before") == before:
                return
            query = {"timestamp_before": before}

    def updated(self, since: datetime, *, waiting: bool = False) -> Iterator[list[dict[str, Any]]]:
        """Pages of the conversations that were updated since, the latest first. `waiting`: only those whose visitor waits."""
        query = {
            "per_page": str(PAGE),
            "filter_date_start": since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "order_date_waiting" if waiting else "order_date_updated": "1",
        }
        number = 1
        while rows := self.rows(f"/conversations/{number}", query, items="data"):
            yield rows
            number += 1
