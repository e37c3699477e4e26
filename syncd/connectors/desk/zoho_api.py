"""Zoho Desk's REST API: tickets, threads, comments, contacts (read-only), webhooks, and what its errors mean.

The Zoho Desk source calls it; every method raises a Failure. Facts: desk.zoho.com/DeskAPIDocument and recordings: search counts
from 0 and refuses `from` over 4999, an empty answer is 204, a list of threads has no contents; a list costs 3 credits, a single
record 1; zohodesk-oas v1.0/Webhook.json: Desk asks a new address by GET, then by POST, for a 200 before it keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from syncd.capabilities import Subscription
from syncd.connector import Context
from syncd.connectors.desk.ticket_list import AHEAD, LAG, TicketCursor, ticket_mark
from syncd.connectors.desk.tickets import Record, Said, SaidKind, Ticket
from syncd.connectors.desk.zoho_tickets import person, read_said, read_ticket, writer_of
from syncd.connectors.registration import WebhookList, same_address
from syncd.errors import Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.client import Bearer, HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import OffsetPaging, VendorApi
from syncd.signals import Person
from syncd.time_cursor import Step, forward

UNIT = "credits"
PAGE = 100
FARTHEST = 4_999
ID = re.compile(r"\d{1,25}")
_LISTS: Mapping[SaidKind, str] = {"replied": "threads", "commented": "comments"}
# Whether these lists count from 0 or 1 is not documented for each.
_ROWS = OffsetPaging("from", PAGE, farthest=FARTHEST, slack=1)
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
        "UNPROCESSABLE_ENTITY INVALID_DATA": Means(
            Misconfigured,
            "Desk did not take the webhook; it asks its address for a 200 first: is syncd running, and is server.public_url what "
            "the internet reaches?",
        ),
    },
)


class DeskApi(VendorApi):
    """A TicketApi of one organisation; all sources of it share the credits that `quota:` gives."""

    def __init__(
        self,
        base_url: str,
        bearer: Bearer,
        org: str,
        context: Context,
        keep: int = 0,
        departments: Collection[str] = (),
    ) -> None:
        rate = context.limits.bucket(f"zoho_desk:{org}", UNIT)
        reserve = context.limits.reserve(context.name, "X-Rate-Limit-Remaining-v3", UNIT, keep)
        clock = context.clock
        client = HttpClient(f"{base_url}/api/v1", bearer=bearer, headers={"orgId": org}, clock=clock, rate=rate)
        super().__init__(client, ERRORS, clock, cost=_cost, reserve=reserve)
        self.hooks = VendorApi(client, WEBHOOK_ERRORS, clock, cost=_cost)
        self._departments, self._region = departments, context.region

    def now(self) -> datetime:
        """Desk's clock."""
        return self.vendor_now(self.call("GET", "/tickets", {"limit": "1"}))

    def search(self, since: datetime, until: datetime, start: int) -> list[dict[str, Any]]:
        """One page of the tickets modified in [since, until], the longest untouched first."""
        window = f"{_stamp(since)},{_stamp(until)}"
        params = {"modifiedTimeRange": window, "sortBy": "modifiedTime", "from": str(start), "limit": str(PAGE)}
        return self.rows("/tickets/search", params, items="data")

    def changed(self, cursor: TicketCursor, until: datetime) -> Iterator[Step]:
        def page(since: datetime, offset: int) -> list[Ticket]:
            tickets = [read_ticket(row, self._departments) for row in self.search(since, until, offset)]
            if any((one.modified_at or since) < since - AHEAD for one in tickets):
                raise Transient("Zoho Desk's search does not keep to modifiedTimeRange", code="shape", known=False)
            return tickets

        for step in forward(page, cursor, ticket_mark, lag=LAG, size=PAGE, farthest=FARTHEST):
            yield step._replace(items=[one for one in step.items if ID.fullmatch(one.id)])

    def ticket(self, id: str) -> Ticket | None:
        record = self.one(f"/tickets/{id}", {"include": "contacts"})
        return read_ticket(record, self._departments) if record is not None else None

    def contact(self, id_: str) -> dict[str, Any] | None:
        """None also when our user may not see it: the ticket itself tells something of who it is from."""
        try:
            return self.one(f"/contacts/{id_}")
        except Transient as failed:
            if failed.code in CLOSED:
                return None
            raise

    def person(self, ticket: Ticket, said: Said | None) -> Person:
        """By the ticket's contact, which is read when the answer did not bring it along."""
        contact, id_ = ticket.record.get("contact"), str(ticket.record.get("contactId") or "")
        contact = contact if isinstance(contact, dict) else None
        if not any((contact or {}).get(name) for name in ("email", "phone", "mobile")) and ID.fullmatch(id_):
            contact = self.contact(id_) or contact
        return person(writer_of(contact, said), ticket.record, self._region)

    def said(self, ticket: Ticket, kind: SaidKind, id: str) -> Said | None:
        record = self.one(f"/tickets/{ticket.id}/{_LISTS[kind]}/{id}")
        return read_said(kind, record) if record is not None else None

    def all_said(self, ticket: Ticket, since: datetime, until: datetime | None) -> Iterator[Said]:
        """The lists of which the ticket's counts say that there is something."""
        for kind in _LISTS:
            yield from self._all_said(ticket, kind, since, until) if ticket.said.get(kind) else ()

    def _all_said(self, ticket: Ticket, kind: SaidKind, since: datetime, until: datetime | None) -> Iterator[Said]:
        """A list of threads has no contents: each is read again."""
        known: set[str] = set()
        path, first = f"/tickets/{ticket.id}/{_LISTS[kind]}", {"from": "0", "limit": str(PAGE)}
        for page in self.pages(path, first, items="data", paging=_ROWS, absent=True):
            for row in page.items:
                said = read_said(kind, row)
                if said is None or said.id in known or not ID.fullmatch(said.id) or not said.within(since, until):
                    continue
                known.add(said.id)
                whole = self.one(f"{path}/{said.id}") if kind == "replied" else None
                yield (read_said(kind, {**row, **whole}) or said) if whole else said


def _cost(method: str, path: str) -> float:
    """Credits of a call: 3 for a list, 1 for a single record."""
    return 1.0 if method != "GET" or path[-1:].isdigit() else 3.0


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


EVENTS: Mapping[str, tuple[str, Record]] = {
    "Ticket_Add": ("created", {}),
    "Ticket_Update": ("state", {}),
    "Ticket_Thread_Add": ("thread", {"direction": "in"}),
    "Ticket_Comment_Add": ("comment", {}),
}
"""Webhook events that the source reads: what they are about, and what narrows them at Desk."""
_AUTOMATION = ["AUTOMATION"]  # changes by Desk's own rules (an escalation, say) are sent only on request


def desk_webhooks(
    api: VendorApi, name: str, url: str, departments: Sequence[str], accepted: Sequence[str]
) -> WebhookList:
    """The webhooks of one organisation as seen from `url`, the address of the source `name`."""
    narrowed = {"departmentIds": list(departments)} if departments else {}
    wanted = {event: {**more, **narrowed} or None for event, (_, more) in EVENTS.items()}
    settings = {"subscriptions": wanted, "includeEventsFrom": _AUTOMATION}

    def read(row: Record) -> Subscription:
        active, id_ = row.get("isEnabled") is not False, str(row.get("id") or "")
        events, ours = row.get("subscriptions"), same_address(row.get("url"), url)
        missed = ours and bool(accepted) and id_ not in accepted
        return Subscription(
            id=id_,
            url=str(row.get("url") or ""),
            events=tuple(sorted(events)) if isinstance(events, dict) else (),
            state="enabled" if active else "disabled",
            ours=ours,
            active=active,
            note=f"add {id_} to webhook_ids of this source: it takes no other" if missed else "",
        )

    def covers(row: Record) -> bool:
        """An entry that narrows nothing may be written in several ways."""
        held = row.get("subscriptions")
        if not isinstance(held, dict) or row.get("isEnabled") is False or not wanted.keys() <= held.keys():
            return False
        return all(_departments(held[event]) == _departments(asked) for event, asked in wanted.items())

    return WebhookList(
        api,
        "/webhooks",
        read,
        new=lambda: {"name": f"syncd: {name}"[:100], "url": url, **settings},
        change=lambda: {**settings, "isEnabled": True},
        covers=covers,
    )


def _departments(narrowed: Any) -> list[str]:
    ids = (narrowed or {}).get("departmentIds")
    return sorted(map(str, ids)) if isinstance(ids, list) else []
