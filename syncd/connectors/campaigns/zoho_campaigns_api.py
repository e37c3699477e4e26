"""The API of Zoho Campaigns: campaigns and what their recipients did, and the event reports of its Email API. Every method raises
a Failure.

Facts: zoho.com/campaigns/help/developers (v1.1): errors come with HTTP 200 and `status: error`; 500 calls of one kind in five
minutes lock it for half an hour; a page of recipients has 20 rows unless `fromindex` and `range` say otherwise, which the manual
does not mention. …/help/emailapi: the Email API takes an API key. Not documented: how its lists end, and in what order they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from syncd.connector import Context
from syncd.connectors.times import time_or_none
from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.http.client import Bearer, HttpClient, Response
from syncd.http.error_table import ErrorTable, Means, VendorError, dig, found_at
from syncd.http.limits import Bucket, Rate
from syncd.http.vendor_api import VendorApi
from syncd.time_cursor import unix_ms

PACE = Rate(300, timedelta(minutes=5), burst=100)
"""At most 400 calls in any five minutes, of all kinds together and on all machines: 500 of one kind would lock it."""
LOCKED = 1800.0
"""Seconds that Zoho locks an API for."""
DEFAULT_PAGE = 20
"""Rows of a page if Zoho takes no notice of `range`: fewer are the last ones, so many may not be."""
RANGE = 200
CAMPAIGNS = 100
EVENTS = 100
"""Rows of a page of the Email API."""
_EMPTY = frozenset({"6101", "6303", "6302"})
"""No campaigns in this view, no contacts, nothing in this campaign."""
_GONE = frozenset({"6002", "6301", "2206"})
"""The campaign is deleted, not sent yet, or has another key."""
_SCOPE = Means(
    Misconfigured, "the user may not read this; it needs the scope ZohoCampaigns.campaign.READ, and to be an admin"
)
_TOKEN = Means(Misconfigured, "the token is refused; check auth and data_center")


def _said(body: Any) -> list[VendorError]:
    """{"status": "error", "code", "message"}, or {"response": {"code", "message", "errors"}} of the Email API."""
    held = dig(body, "response") if isinstance(dig(body, "response"), Mapping) else body
    if not isinstance(held, Mapping) or held.get("code") in (None, 0, "0", 200, "200"):
        return []
    return [VendorError(str(held["code"]), str(held.get("message") or held.get("Message") or "")[:500])]


ERRORS = ErrorTable(
    "Zoho Campaigns",
    {
        "6607 6601": _SCOPE,
        "6001": Means(Transient, "the report cannot be read just now"),
        "INVALID_OAUTHTOKEN 1007 401": _TOKEN,
    },
    _said,
    statuses={
        401: _TOKEN,
        403: _SCOPE,
        429: Means(RateLimited, "too many calls; Zoho locks the API for half an hour", pause=LOCKED),
    },
)


class CampaignsApi(VendorApi):
    """Newsletters of one account. `account`: what names it among all that share its calls."""

    def __init__(self, base_url: str, bearer: Bearer, account: str, context: Context) -> None:
        rate = Bucket(context.limits.rates, f"zoho_campaigns:{account}", PACE)
        client = HttpClient(f"{base_url}/api/v1.1", bearer=bearer, clock=context.clock, rate=rate)
        super().__init__(client, ERRORS, context.clock)
        self.tests_of = lru_cache(1000)(self._tests_of)

    def campaigns(self, since: datetime) -> list[dict[str, Any]]:
        """The campaigns that were sent since, the latest first."""
        query, found, start = {"sort": "desc", "status": "sent", "range": str(CAMPAIGNS)}, list[dict[str, Any]](), 1
        while rows := self._listed("/recentcampaigns", {**query, "fromindex": str(start)}, "recent_campaigns"):
            fresh = [row for row in rows if row not in found and row.get("campaign_key")]
            found += [row for row in fresh if (at := sent_at(row)) is None or at >= since]
            last = sent_at(rows[-1])
            if not fresh or len(rows) < DEFAULT_PAGE or (last is not None and last < since):
                break
            start += len(rows)
        return found

    def recipients(self, campaign: str, action: str) -> Iterator[list[dict[str, Any]]]:
        """Pages of those who did `action`; none of a campaign that is gone."""
        query = {"campaignkey": campaign, "action": action, "range": str(RANGE)}
        start, before = 1, list[dict[str, Any]]()
        while rows := self._listed("/getcampaignrecipientsdata", {**query, "fromindex": str(start)}, "list_of_details"):
            if rows == before:
                return  # Zoho takes no notice of fromindex
            yield rows
            if len(rows) < DEFAULT_PAGE:
                return
            start, before = start + len(rows), rows

    def _tests_of(self, campaign: str) -> tuple[str, ...]:
        """The keys under which the two versions of an A/B test were sent, beside that of the rest."""
        query = {"campaignkey": campaign, "campaigntype": "abtesting", "resfmt": "JSON"}
        rows = dig(self._answer("/getcampaigndetails", query), "AB-split-details")
        first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], Mapping) else {}
        keys = (str(first.get(f"{one}_child_campaignkey") or "") for one in "ab")
        return tuple(key for key in keys if key)

    def _listed(self, path: str, query: Mapping[str, str], items: str) -> list[dict[str, Any]]:
        body = self._answer(path, {"resfmt": "JSON", **query})
        if body is None:
            return []
        rows = dig(body, items)
        if not isinstance(rows, list):
            raise ERRORS.shape(path, found_at(body, items))
        return [row for row in rows if isinstance(row, dict)]

    def _answer(self, path: str, query: Mapping[str, str]) -> Any:
        """The body; None if Zoho says that there is nothing."""
        return _checked(self.call("GET", path, query), self._clock)


class EmailApi(VendorApi):
    """The Email API of one account, by its key."""

    def __init__(self, base_url: str, key: str, account: str, context: Context) -> None:
        rate = Bucket(context.limits.rates, f"zoho_campaigns:{account}", PACE)
        headers = {"Authorization": f"Zoho-zapikey {key}"}
        client = HttpClient(f"{base_url}/emailapi/v2", headers=headers, clock=context.clock, rate=rate)
        super().__init__(client, ERRORS, context.clock)

    def events(self, kind: str, since: datetime, until: datetime) -> Iterator[list[dict[str, Any]]]:
        """Pages of the events of a kind (open, click, bounce) in [since, until], in no known order."""
        period = {"from": str(unix_ms(since)), "to": str(unix_ms(until))}
        start, path = 1, f"/reports/event/{kind}"
        while True:
            query = {**period, "start_index": str(start), "end_index": str(start + EVENTS - 1)}
            body = _checked(self.call("GET", path, query), self._clock)
            rows = dig(body, "data") or []
            if not isinstance(rows, list):
                raise ERRORS.shape(path, found_at(body, "data"))
            if not rows:
                return
            yield [row for row in rows if isinstance(row, dict)]
            start += EVENTS


def _checked(answer: Response | None, clock: Callable[[], datetime]) -> Any:
    """The body of a successful answer, which may still hold an error."""
    if answer is None or not answer.body:
        return None
    said = ERRORS.said(answer)
    if said and said[0].code in _EMPTY | _GONE:
        return None
    if said:
        raise ERRORS.of_answer(answer, clock())
    return answer.json()


def sent_at(campaign: Mapping[str, Any]) -> datetime | None:
    """When a campaign was sent; the times with a zone first."""
    times = (time_or_none(campaign.get(name)) for name in ("sent_time_gmt", "sent_time", "created_time_gmt"))
    return next((at for at in times if at is not None), None)
