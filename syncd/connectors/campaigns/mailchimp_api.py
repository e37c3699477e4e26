"""Mailchimp's Marketing API: campaigns that were sent, their email activity, members. Every method raises a Failure.

Facts: mailchimp.com/developer, "Marketing API" (campaigns, reports: email-activity, errors, fundamentals: throttling); a list of
campaigns, a report and a member were recorded. At most 10 calls of an account may be under way at the same time; a source here
makes one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from syncd.connector import Context
from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.http.client import Deadlines, HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import OffsetPaging, VendorApi

DATA_CENTRE = re.compile(r"-([a-z]{2}\d{1,3})$")
"""The end of an API key: where the account is."""
PAGE = 1000
"""Most rows on a page."""
OVERLAP = timedelta(seconds=1)  # whether `since` includes the moment itself is not documented
PEOPLE = 10_000
"""Members whose names are kept between two polls."""
_ANSWER = 120.0
"""Seconds: Mailchimp ends a call after this time."""
_CAMPAIGN = ",".join(
    f"campaigns.{field}"
    for field in (
        "id",
        "web_id",
        "send_time",
        "recipients.list_id",
        "recipients.list_name",
        "settings.subject_line",
        "settings.title",
    )
)
_KEY = Means(Misconfigured, "the API key is refused; make a new one in Mailchimp's Extras > API keys")
ERRORS = ErrorTable(
    "Mailchimp",
    {
        "API Key Invalid": _KEY,
        "API Key Missing": _KEY,
        "WrongDatacenter": Means(Misconfigured, "the account is in another data centre; copy the whole API key"),
        "User Disabled": Means(Misconfigured, "Mailchimp has disabled the user of the API key"),
        "Too Many Requests": Means(RateLimited, "more than 10 calls of the account at the same time", pause=30),
    },
    error_at("title", "detail"),
    statuses={
        401: _KEY,
        403: Means(Misconfigured, "the user of the API key may not read campaigns and reports"),
        429: Means(RateLimited, "too many calls at the same time", pause=30),
        500: Means(Transient, "Mailchimp had an error"),
    },
    absent=frozenset({"404"}),
)


def host_of(api_key: str) -> str:
    """The API's address by the end of the key; "" if the key does not name a data centre."""
    found = DATA_CENTRE.search(api_key.strip())
    return f"https://{found[1]}.api.mailchimp.com" if found else ""


def page_of_campaign(api_key: str, web_id: Any) -> str:
    """Where our staff see the campaign ("web_id" in the reference); "" if either is unknown."""
    found = DATA_CENTRE.search(api_key.strip())
    return f"https://{found[1]}.admin.mailchimp.com/campaigns/show/?id={web_id}" if found and web_id else ""


class MailchimpApi:
    """One account."""

    def __init__(self, base_url: str, api_key: str, context: Context) -> None:
        client = HttpClient(base_url, basic=("syncd", api_key), clock=context.clock, deadlines=Deadlines(read=_ANSWER))
        self._api = VendorApi(client, ERRORS, context.clock)
        self.name = lru_cache(PEOPLE)(self._name)

    def campaigns(self, since: datetime, until: datetime | None = None) -> list[dict[str, Any]]:
        """The campaigns that were sent in [since, until), the latest first."""
        query = {"status": "sent", "since_send_time": _stamp(since - OVERLAP), "count": str(PAGE), "offset": "0"}
        query |= {"before_send_time": _stamp(until + OVERLAP)} if until is not None else {}
        query |= {"sort_field": "send_time", "sort_dir": "DESC", "fields": _CAMPAIGN}
        pages = self._api.pages(
            "/3.0/campaigns", query, items="campaigns", paging=OffsetPaging("offset", PAGE), sparse=True
        )
        return [row for page in pages for row in page.items if row.get("id")]

    def activity(self, campaign: str, since: datetime) -> Iterator[list[dict[str, Any]]]:
        """The pages of a campaign's recipients with what each did since then; none if the campaign was deleted. `since` filters
        what they did: recipients who did nothing may be listed too."""
        query = {"count": str(PAGE), "offset": "0", "since": _stamp(since - OVERLAP)}
        query |= {"exclude_fields": "_links,emails._links"}
        path, paging = f"/3.0/reports/{campaign}/email-activity", OffsetPaging("offset", PAGE)
        for page in self._api.pages(path, query, items="emails", paging=paging, absent=True):
            yield page.items

    def _name(self, list_id: str, member: str) -> str:
        """The full name of a member of an audience; "" if it is unknown."""
        found = self._api.one(f"/3.0/lists/{list_id}/members/{member}", {"fields": "full_name,merge_fields"}) or {}
        fields = found.get("merge_fields")
        parts = [fields.get(name) for name in ("FNAME", "LNAME")] if isinstance(fields, Mapping) else []
        return str(found.get("full_name") or "") or " ".join(str(part) for part in parts if part)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
