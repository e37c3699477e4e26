"""Zoho Desk's REST API: tickets, threads, comments, contacts (read-only), webhooks, and what its errors mean.

The Zoho Desk source calls it; every method raises a Failure. Facts: desk.zoho.com/DeskAPIDocument and recordings: search counts
from 0 and refuses `from` over 4999, an empty answer is 204, a list of threads has no contents; a list costs 3 credits, a single
record 1; zohodesk-oas v1.0/Webhook.json: Desk asks a new address by GET, then by POST, for a 200 before it keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from syncd.capabilities import Subscription
from syncd.connector import Context
from syncd.errors import Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.client import Bearer, HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import OffsetPaging, VendorApi

UNIT = "credits"
PAGE = 100
FARTHEST = 4_999
_ROWS = OffsetPaging(
    "from", PAGE, farthest=FARTHEST, slack=1
)  # whether these lists count from 0 or 1 is not documented for each
_UNSEEN = Means(Misconfigured, "this user may not read tickets", of_record=Transient)
_WRONG = Means(Misconfigured, "Desk does not accept a parameter", of_record=Transient)
CLOSED = frozenset({"FORBIDDEN", "UNAUTHORIZED", "UNPROCESSABLE_ENTITY", "INVALID_DATA", "403", "422"})
"""Codes that, said of a single record, concern it alone: a department our user may not see, an invalid id."""

ERRORS = ErrorTable(
    "Zoho Desk",
    {
        "INVALID_OAUTH": Means(Misconfigured, "the token is not accepted; is data_center right?"),
        "OAUTH_ORG_MISMATCH": Means(Misconfigured, "org_id is not an organisation of this account"),
        "SCOPE_MISMATCH": Means(
            Misconfigured, "the refresh token needs the scopes Desk.tickets.READ, Desk.search.READ, Desk.contacts.READ"
        ),
        "FORBIDDEN UNAUTHORIZED": _UNSEEN,
        "LICENSE_ACCESS_LIMITED": Means(Misconfigured, "the edition of Zoho Desk does not allow this"),
        "UNPROCESSABLE_ENTITY INVALID_DATA": _WRONG,
        "URL_NOT_FOUND": Means(Misconfigured, "there is nothing at this address; is data_center right?"),
        "TOO_MANY_REQUESTS": Means(RateLimited, "too many requests at once"),
        "THRESHOLD_EXCEEDED": Means(QuotaExhausted, "the day's API credits are spent"),
        "INTERNAL_SERVER_ERROR": Means(Transient, "Desk had an error"),
    },
    error_at("errorCode"),
    statuses={401: Means(Misconfigured, "the token is not accepted"), 403: _UNSEEN},
    absent=frozenset({"URL_NOT_FOUND", "RESOURCE_NOT_FOUND"}),
)
_UNTAKEN = Means(
    Misconfigured,
    "Desk did not take the webhook; it asks its address for a 200 first: is syncd running, and is server.public_url what the "
    "internet reaches?",
)
WEBHOOK_ERRORS = replace(
    ERRORS,
    codes={
        **ERRORS.codes,
        "SCOPE_MISMATCH": Means(
            Misconfigured,
            "webhooks need the scopes Desk.webhooks.READ, Desk.webhooks.CREATE, Desk.webhooks.UPDATE, Desk.webhooks.DELETE in "
            "the refresh token",
        ),
        "LICENSE_ACCESS_LIMITED": Means(
            Misconfigured,
            "webhooks need the edition Professional (5 of them) or Enterprise (10); without, the poll brings everything, later",
        ),
        "UNPROCESSABLE_ENTITY INVALID_DATA": _UNTAKEN,
    },
)


class DeskApi(VendorApi):
    """One organisation; all sources of it share the credits that `quota:` gives."""

    def __init__(self, base_url: str, bearer: Bearer, org: str, context: Context, keep: int = 0) -> None:
        rate = context.limits.bucket(f"zoho_desk:{org}", UNIT)
        reserve = context.limits.reserve(context.name, "X-Rate-Limit-Remaining-v3", UNIT, keep)
        clock = context.clock
        client = HttpClient(f"{base_url}/api/v1", bearer=bearer, headers={"orgId": org}, clock=clock, rate=rate)
        super().__init__(client, ERRORS, clock, cost=_cost, reserve=reserve)
        self.hooks = VendorApi(client, WEBHOOK_ERRORS, clock, cost=_cost)

    def now(self) -> datetime:
        """Desk's clock."""
        return self.vendor_now(self.call("GET", "/tickets", {"limit": "1"}))

    def search(self, since: datetime, until: datetime, start: int) -> list[dict[str, Any]]:
        """One page of the tickets modified in [since, until], the longest untouched first."""
        window = f"{_stamp(since)},{_stamp(until)}"
        params = {"modifiedTimeRange": window, "sortBy": "modifiedTime", "from": str(start), "limit": str(PAGE)}
        return self.rows("/tickets/search", params, items="data")

    def listed(self, path: str, limit: int) -> list[dict[str, Any]]:
        """The first rows of a list. Raises Misconfigured when the token's scopes do not let us ask."""
        return self.rows(path, {"limit": str(limit)}, items="data")

    def ticket(self, id_: str) -> dict[str, Any] | None:
        """With its `contact`. None when it is gone."""
        return self.one(f"/tickets/{id_}", {"include": "contacts"})

    def contact(self, id_: str) -> dict[str, Any] | None:
        """None also when our user may not see it: the ticket itself tells something of who it is from."""
        try:
            return self.one(f"/contacts/{id_}")
        except Transient as failed:
            if failed.code in CLOSED:
                return None
            raise

    def said(self, ticket: str, what: str, id_: str) -> dict[str, Any] | None:
        """One of the `threads` or `comments`, with its content. None when it is gone."""
        return self.one(f"/tickets/{ticket}/{what}/{id_}")

    def all_said(self, ticket: str, what: str) -> Iterator[dict[str, Any]]:
        """Every one of the `threads` or `comments`, once."""
        known: set[str] = set()
        path, first = f"/tickets/{ticket}/{what}", {"from": "0", "limit": str(PAGE)}
        for page in self.pages(path, first, items="data", paging=_ROWS, absent=True):
            yield from (row for row in page.items if row.get("id") not in known)
            known.update(str(row.get("id")) for row in page.items)


def _cost(method: str, path: str) -> float:
    """Credits of a call: 3 for a list, 1 for a single record."""
    return 1.0 if method != "GET" or path[-1:].isdigit() else 3.0


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


EVENTS: Mapping[str, Mapping[str, Any]] = {
    "Ticket_Add": {},
    "Ticket_Update": {},
    "Ticket_Thread_Add": {"direction": "in"},
    "Ticket_Comment_Add": {},
}
"""Webhook events that the source reads, with what narrows them at Desk."""
_AUTOMATION = ["AUTOMATION"]  # changes by Desk's own rules (an escalation, say) are sent only on request


class DeskWebhooks:
    """The webhooks of one organisation as seen from `url`, the address of this source."""

    def __init__(
        self, api: VendorApi, name: str, url: str, departments: Sequence[str], accepted: Sequence[str]
    ) -> None:
        self._api, self._name, self._url = api, name, url
        self._accepted = frozenset(accepted)
        narrowed = {"departmentIds": list(departments)} if departments else {}
        self._events = {event: {**more, **narrowed} or None for event, more in EVENTS.items()}

    def subscriptions(self) -> list[Subscription]:
        return [self._read(row) for row in self._api.rows("/webhooks", items="data")]

    def subscribe(self) -> list[Subscription]:
        """One that points here; brought up to date when it is there already. Those beside it that point here too are left."""
        ours = [row for row in self._api.rows("/webhooks", items="data") if _same(row.get("url"), self._url)]
        wanted = {"subscriptions": self._events, "includeEventsFrom": _AUTOMATION}
        if not ours:
            named = {"name": f"syncd: {self._name}"[:100], "url": self._url}
            return [self._read(self._put("POST", "/webhooks", {**named, **wanted}))]
        first = ours[0]
        if not _covers(first, self._events):
            first = self._put("PATCH", f"/webhooks/{first['id']}", {**wanted, "isEnabled": True}) or first
        return [self._read(row) for row in (first, *ours[1:])]

    def unsubscribe(self, id_: str) -> None:
        """Gone already is as good."""
        self._api.call("DELETE", f"/webhooks/{id_}", absent=True)

    def _put(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The webhook as it is then."""
        answer = self._api.call(method, path, json=body)
        said = answer.json() if answer is not None and answer.body else {}
        return said if isinstance(said, dict) else {}

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        active, id_ = row.get("isEnabled") is not False, str(row.get("id") or "")
        events, ours = row.get("subscriptions"), _same(row.get("url"), self._url)
        missed = ours and bool(self._accepted) and id_ not in self._accepted
        return Subscription(
            id=id_,
            url=str(row.get("url") or ""),
            events=tuple(sorted(events)) if isinstance(events, dict) else (),
            state="enabled" if active else "disabled",
            ours=ours,
            active=active,
            note=f"add {id_} to webhook_ids of this source: it takes no other" if missed else "",
        )


def _same(one: Any, other: str) -> bool:
    return isinstance(one, str) and one.rstrip("/") == other.rstrip("/")


def _covers(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a webhook brings what is wanted. An entry that narrows nothing may be written in several ways."""
    held = row.get("subscriptions")
    if not isinstance(held, dict) or row.get("isEnabled") is False or not wanted.keys() <= held.keys():
        return False
    return all(_departments(held[event]) == _departments(narrowed) for event, narrowed in wanted.items())


def _departments(narrowed: Any) -> list[str]:
    ids = (narrowed or {}).get("departmentIds")
    return sorted(map(str, ids)) if isinstance(ids, list) else []
