"""Zendesk's API: tickets by the incremental export, comments, users, ratings and webhooks. Every method raises a Failure.

Facts: developer.zendesk.com: the export gives 1,000 tickets a page, in the order in which they changed, may be asked 10 times a
minute and not for the last minute; it needs an administrator. A user's id is all that a ticket or comment has of a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.capabilities import Subscription
from syncd.connector import Context
from syncd.connectors.desk.ticket_list import LAG, TicketCursor, TicketRating
from syncd.connectors.desk.tickets import Record, Said, SaidKind, Ticket
from syncd.connectors.desk.zendesk_tickets import person, read_comment, read_rating, read_ticket
from syncd.connectors.registration import WebhookList, same_address
from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, VendorError, dig
from syncd.http.vendor_api import LinkPaging, Page, VendorApi, Where
from syncd.signals import Person
from syncd.time_cursor import ItemMark, Step, oldest_first

UNIT = "calls"
USERS = 100
"""Users that one call reads at most."""
RECENT = timedelta(seconds=90)
"""The export refuses a start within the last minute; clocks differ."""
MOST_COMPANIES = 10_000
PREFIX = "zen:event-type:"
EVENTS = ("created", "comment_added", "status_changed", "priority_changed", "tags_changed")
SUBSCRIBED = sorted(f"{PREFIX}ticket.{event}" for event in EVENTS)
_LIST = LinkPaging("next_page")
_TOKEN = Means(Misconfigured, "the email or API token is refused; token access must be switched on in the Admin Center")
_DENIED = Means(Misconfigured, "this user may not read this; it must be an administrator", of_record=Transient)


def _said(body: Any) -> list[VendorError]:
    """{"error": CODE, "description": …}, or {"error": {"title", "message"}}."""
    error = dig(body, "error")
    if isinstance(error, Mapping):
        return [VendorError(str(error.get("title") or ""), str(error.get("message") or ""))]
    return [VendorError(error, str(dig(body, "description") or ""))] if isinstance(error, str) else []


ERRORS = ErrorTable(
    "Zendesk",
    {},
    _said,
    statuses={
        401: _TOKEN,
        403: _DENIED,
        404: Means(Misconfigured, "there is nothing at this address; is subdomain right?"),
        429: Means(RateLimited, "too many requests", one_operation=True),
    },
    absent=frozenset({"404", "RecordNotFound"}),
)


class _ExportPaging:
    """The next page is at the body's `after_cursor`, until the end of the stream."""

    expired: frozenset[str] = frozenset()

    def following(self, page: Page, at: Where) -> Where | None:
        cursor = dig(page.body, "after_cursor")
        return None if dig(page.body, "end_of_stream") is not False or not cursor else (at[0], {"cursor": str(cursor)})


class ZendeskApi(VendorApi):
    """A TicketApi of one account; all sources of it share the calls that `quota:` gives. `priorities`, `tags`: of an escalated
    ticket."""

    def __init__(
        self,
        base_url: str,
        login: tuple[str, str],
        subdomain: str,
        context: Context,
        priorities: Iterable[str],
        tags: Iterable[str],
    ) -> None:
        rate = context.limits.bucket(f"zendesk:{subdomain}", UNIT)
        user, token = login
        client = HttpClient(f"{base_url}/api/v2", basic=(f"{user}/token", token), clock=context.clock, rate=rate)
        super().__init__(client, ERRORS, context.clock)
        self._url, self._region = f"https://{subdomain}.zendesk.com", context.region
        self._escalated = {"priorities": frozenset(priorities), "tags": frozenset(tags)}
        self._users: dict[str, Record] = {}
        self._companies: dict[str, str] = {}

    def now(self) -> datetime:
        """Zendesk's clock."""
        return self.vendor_now(self.call("GET", "/users/me"))

    def changed(self, cursor: TicketCursor, until: datetime) -> Iterator[Step]:
        """Rows come again within the lag, and when Zendesk itself touches a ticket: the cursor knows what was handed over."""
        start = min(cursor.since, self._clock() - RECENT)
        query = {"start_time": str(max(0, int(start.timestamp())))}
        pages = self.pages("/incremental/tickets/cursor", query, items="tickets", paging=_ExportPaging())
        last = Step([], cursor, True)
        for step in oldest_first((page.items for page in pages), cursor, _mark, lag=LAG):
            if last.items or last.cursor != cursor:
                yield last._replace(last=False)
            last = step
            news = [row for row in step.items if str(row.get("created_at") or "") >= _stamp(cursor.floor)]
            self._users = self._read_users(str(row.get("requester_id")) for row in news)
            last = step._replace(items=[self._ticket(row) for row in step.items])
        yield last._replace(last=True)

    def ticket(self, id: str) -> Ticket | None:
        record = (self.one(f"/tickets/{id}") or {}).get("ticket")
        return self._ticket(record) if isinstance(record, dict) else None

    def _ticket(self, record: Record) -> Ticket:
        return read_ticket(record, self._url, self._clock(), **self._escalated)

    def person(self, ticket: Ticket, said: Said | None) -> Person:
        """The requester, or the user who wrote."""
        id_ = str(ticket.record.get("requester_id") or "")
        user = (
            (said.writer if said else None) or self._users.get(id_) or self._read_users([id_]).get(id_) or {"id": id_}
        )
        return person(
            user, self._company(user.get("organization_id") or ticket.record.get("organization_id")), self._region
        )

    def _read_users(self, ids: Iterable[str]) -> dict[str, Record]:
        wanted = [one for one in dict.fromkeys(ids) if one.isdigit() and one != "0"]
        found: dict[str, Record] = {}
        for start in range(0, len(wanted), USERS):
            query = {"ids": ",".join(wanted[start : start + USERS])}
            found |= {str(row.get("id")): row for row in self.rows("/users/show_many", query, items="users")}
        return found

    def _company(self, id: Any) -> str:
        """Its name, which is kept: few organisations have many tickets."""
        id_ = str(id or "0")
        if id_ == "0":
            return ""
        if id_ not in self._companies:
            if len(self._companies) >= MOST_COMPANIES:
                self._companies.clear()
            self._companies[id_] = str(dig(self.one(f"/organizations/{id_}"), "organization.name") or "")
        return self._companies[id_]

    def said(self, ticket: Ticket, kind: SaidKind, id: str) -> Said | None:
        """Zendesk shows no comment alone."""
        since = ticket.created_at or datetime.fromtimestamp(0, UTC)
        return next((one for one in self.all_said(ticket, since, None) if one.id == id), None)

    def all_said(self, ticket: Ticket, since: datetime, until: datetime | None) -> Iterator[Said]:
        """The first comment is the ticket's description, whoever wrote it."""
        requester, known, first = str(ticket.record.get("requester_id")), set[str](), True
        path, query = f"/tickets/{ticket.id}/comments", {"per_page": "100"}
        for page in self.pages(path, query, items="comments", paging=_LIST, absent=True):
            rows = page.items[1:] if first else page.items
            first = False
            public = [row for row in rows if row.get("public") is True]
            authors = self._read_users(str(row.get("author_id")) for row in public)
            for row in public:
                said = read_comment(row, requester, authors.get(str(row.get("author_id"))))
                if said is not None and said.id not in known and said.within(since, until):
                    known.add(said.id)
                    yield said

    def ratings(self, since: datetime) -> Iterator[list[TicketRating]]:
        query = {"start_time": str(int(since.timestamp())), "score": "received", "per_page": "100"}
        for page in self.pages("/satisfaction_ratings", query, items="satisfaction_ratings", paging=_LIST):
            read = [(str(row.get("ticket_id")), read_rating(row)) for row in page.items]
            yield [TicketRating(id_, said) for id_, said in read if said is not None and said.within(since, None)]

    def signing_secret(self, webhook: str) -> str:
        """What Zendesk signs the calls of a webhook with."""
        secret = dig(self.one(f"/webhooks/{webhook}/signing_secret"), "signing_secret.secret")
        if not isinstance(secret, str) or not secret:
            raise ERRORS.shape("/webhooks/…/signing_secret", "there is no secret")
        return secret


def zendesk_webhooks(api: VendorApi, name: str, url: str) -> WebhookList:
    """The webhooks of one account as seen from `url`, the address of the source `name`."""
    wanted = {"status": "active", "subscriptions": SUBSCRIBED}

    def read(row: Record) -> Subscription:
        held: Record = made if isinstance(made := row.get("webhook"), Mapping) else row
        events, state, at = held.get("subscriptions"), str(held.get("status") or ""), str(held.get("endpoint") or "")
        return Subscription(
            id=str(held.get("id") or ""),
            url=at,
            events=tuple(sorted(map(str, events))) if isinstance(events, list) else (),
            state=state,
            ours=same_address(at, url),
            active=state == "active",
        )

    def covers(row: Record) -> bool:
        there = read(row)
        return there.active and set(SUBSCRIBED) <= set(there.events)

    plain = {"name": f"syncd: {name}"[:100], "endpoint": url, "http_method": "POST", "request_format": "json"}
    return WebhookList(
        api,
        "/webhooks",
        read,
        items="webhooks",
        new=lambda: {"webhook": {**plain, **wanted}},
        change=lambda: {"webhook": wanted},
        covers=covers,
    )


def _mark(row: Record) -> ItemMark | None:
    """By its id and when Zendesk touched it last, in whole seconds."""
    at = row.get("generated_timestamp")
    return ItemMark(str(row.get("id")), at * 1000) if isinstance(at, int) else None


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
