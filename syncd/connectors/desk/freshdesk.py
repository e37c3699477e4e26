"""`type: freshdesk`: tickets created, answered, commented, overdue, escalated and rated in Freshdesk, by poll.

Freshdesk signs no webhook and its body is what the administrator writes, so the poll over changed tickets brings everything.
Overdue and escalated are differences between two looks. Facts: developers.freshdesk.com/api: `updated_since` is needed for
tickets older than 30 days, a list ends after 300 pages, archived and deleted tickets are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import Connector, ConnectorSettings, Context, SignalSpec
from syncd.connectors.desk.freshdesk_tickets import person, read_rating, read_said, read_ticket
from syncd.connectors.desk.ticket_list import LAG, ListedTickets, TicketCursor, TicketRating, ticket_mark
from syncd.connectors.desk.tickets import Said, SaidKind, Ticket, TicketSignals
from syncd.connectors.keys import BaseUrl
from syncd.connectors.online import clock_findings
from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import LinkHeaderPaging, VendorApi
from syncd.signals import Person
from syncd.time_cursor import Step, forward

UNIT = "calls"
PAGE = 100
PAGES = 300
"""A list does not continue beyond that page."""
OVERLAP = timedelta(seconds=1)  # whether "since" includes the second itself is not documented
MOST_COMPANIES = 10_000
_INCLUDED = "requester,stats,description"
_NEXT = LinkHeaderPaging()
_DENIED = Means(
    Misconfigured,
    "the agent whose API key this is may not read this; it needs to see all tickets and contacts",
    of_record=Transient,
)
ERRORS = ErrorTable(
    "Freshdesk",
    {
        "invalid_credentials": Means(Misconfigured, "the API key is refused; copy it again from the agent's profile"),
        "access_denied": _DENIED,
        "require_feature": Means(Misconfigured, "the plan of this Freshdesk account does not include this"),
        "account_suspended": Means(Misconfigured, "the Freshdesk account is suspended"),
    },
    error_at("code"),
    statuses={
        401: Means(Misconfigured, "the API key is refused; copy it again from the agent's profile"),
        403: _DENIED,
        404: Means(Misconfigured, "there is nothing at this address; is domain right?"),
        429: Means(RateLimited, "too many requests"),
    },
    absent=frozenset({"404"}),
)
_HIDDEN = frozenset({"access_denied", "403"})
"""Said of a single record: our agent may not see it."""


class FreshdeskSettings(ConnectorSettings):
    """Keys of a Freshdesk source."""

    domain: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]*$", description="the name before .freshdesk.com in the desk's address"
    )
    api_key: SecretStr = Field(description="API key of an agent who sees all tickets (profile settings)")
    ratings: bool = Field(
        False, description="read satisfaction ratings too; the plan needs surveys and the agent the right to read them"
    )
    base_url: BaseUrl | None = Field(None, description="Freshdesk's address; default: https://DOMAIN.freshdesk.com")


class FreshdeskApi(VendorApi):
    """A TicketApi of one desk; all sources of it share the calls that `quota:` gives."""

    def __init__(self, base_url: str, key: str, domain: str, context: Context) -> None:
        rate = context.limits.bucket(f"freshdesk:{domain}", UNIT)
        client = HttpClient(f"{base_url}/api/v2", basic=(key, "X"), clock=context.clock, rate=rate)
        super().__init__(client, ERRORS, context.clock)
        self._url, self._region = f"https://{domain}.freshdesk.com", context.region
        self._companies: dict[str, str] = {}

    def now(self) -> datetime:
        """Freshdesk's clock."""
        return self.vendor_now(self.call("GET", "/tickets", {"per_page": "1"}))

    def changed(self, cursor: TicketCursor, until: datetime) -> Iterator[Step]:
        def page(since: datetime, offset: int) -> list[Ticket]:
            query = {"updated_since": _stamp(since - OVERLAP), "order_by": "updated_at", "order_type": "asc"}
            query |= {"include": _INCLUDED, "per_page": str(PAGE)}
            number, beyond = divmod(offset, PAGE)
            rows = self.rows("/tickets", {**query, "page": str(number + 1)})[beyond:]
            rows += self.rows("/tickets", {**query, "page": str(number + 2)})[:beyond] if beyond else []
            return [read_ticket(row, self._url) for row in rows]

        return forward(page, cursor, ticket_mark, lag=LAG, size=PAGE, farthest=PAGE * (PAGES - 1))

    def ticket(self, id: str) -> Ticket | None:
        record = self.one(f"/tickets/{id}", {"include": "requester,stats"})
        return read_ticket(record, self._url) if record is not None else None

    def person(self, ticket: Ticket, said: Said | None) -> Person:
        """The requester, whom the ticket's answer brings along, or another contact who wrote."""
        writer = (said.writer if said else None) or {}
        requester = str(ticket.record.get("requester_id") or "")
        contact: Any = ticket.record.get("requester")
        id_ = str(writer.get("id") or "") or requester
        if id_ != requester or not isinstance(contact, dict):
            known = {"id": id_, "email": writer.get("email")}
            contact = (self._visible(f"/contacts/{id_}") if id_ else None) or known
        return person(
            contact, self._company(contact.get("company_id") or ticket.record.get("company_id")), self._region
        )

    def _company(self, id: Any) -> str:
        """Its name, which is kept: few companies have many tickets."""
        if not id:
            return ""
        if str(id) not in self._companies:
            if len(self._companies) >= MOST_COMPANIES:
                self._companies.clear()
            self._companies[str(id)] = str((self._visible(f"/companies/{id}") or {}).get("name") or "")
        return self._companies[str(id)]

    def _visible(self, path: str) -> dict[str, Any] | None:
        """A record; None also if our agent may not see it: what the ticket says is enough."""
        try:
            return self.one(path)
        except Transient as failed:
            if failed.code in _HIDDEN:
                return None
            raise

    def said(self, ticket: Ticket, kind: SaidKind, id: str) -> Said | None:
        """Freshdesk shows no conversation alone."""
        since = ticket.created_at or datetime.min.replace(tzinfo=UTC)
        return next((one for one in self.all_said(ticket, since, None) if one.id == id and one.kind == kind), None)

    def all_said(self, ticket: Ticket, since: datetime, until: datetime | None) -> Iterator[Said]:
        known: set[str] = set()
        path = f"/tickets/{ticket.id}/conversations"
        for page in self.pages(path, {"per_page": str(PAGE)}, paging=_NEXT, absent=True):
            for said in map(read_said, page.items):
                if said is not None and said.id not in known and said.within(since, until):
                    known.add(said.id)
                    yield said

    def ratings(self, since: datetime) -> Iterator[list[TicketRating]]:
        query = {"created_since": _stamp(since - OVERLAP), "per_page": str(PAGE)}
        for page in self.pages("/surveys/satisfaction_ratings", query, paging=_NEXT):
            read = [(str(row.get("ticket_id")), read_rating(row)) for row in page.items]
            yield [TicketRating(id_, said) for id_, said in read if said is not None and said.within(since, None)]


class Freshdesk(ListedTickets):
    """HintSource, PollingSource and Backfillable."""

    def __init__(self, settings: FreshdeskSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        url = settings.base_url or f"https://{settings.domain}.freshdesk.com"
        self._api = FreshdeskApi(url, settings.api_key.get_secret_value(), settings.domain, context)
        signals = TicketSignals("freshdesk", settings.domain, context)
        ListedTickets.__init__(
            self, self._api, signals, context, ratings=self._api.ratings if settings.ratings else None
        )

    def check_online(self) -> Iterator[Finding]:
        """The key, tickets, contacts, ratings and the clock: three calls at most. Raises the Failure of whatever is refused."""
        now = self._context.clock()
        answer = self._api.call("GET", "/tickets", {"per_page": "1", "include": _INCLUDED})
        yield Finding(Level.OK, "tickets", f"tickets of {self._settings.domain}.freshdesk.com may be read")
        yield from clock_findings(now, self._api.vendor_now(answer), "Freshdesk")
        self._api.rows("/contacts", {"per_page": "1"})
        yield Finding(Level.OK, "contacts", "contacts may be read")
        if self._settings.ratings:
            next(self._api.ratings(now - timedelta(days=1)), [])
            yield Finding(Level.OK, "ratings", "satisfaction ratings may be read")


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


CONNECTOR = Connector(
    name="freshdesk",
    unit=UNIT,
    contract=2,
    role="source",
    summary="tickets of Freshdesk: created, answered, commented, overdue, escalated, rated",
    settings=FreshdeskSettings,
    build=Freshdesk,
    signals=(
        SignalSpec("ticket.created", "poll and backfill: ticket id", backfill=True),
        SignalSpec("ticket.replied", "poll and backfill: conversation id", backfill=True),
        SignalSpec("ticket.commented", "poll and backfill: conversation id", backfill=True),
        SignalSpec("ticket.overdue", "poll: ticket id and due date", backfill=False),
        SignalSpec("ticket.escalated", "poll: ticket id and how often we saw it escalated", backfill=False),
        SignalSpec("ticket.rated", "poll and backfill: rating id", backfill=True),
    ),
)
