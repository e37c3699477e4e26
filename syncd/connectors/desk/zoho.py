"""`type: zoho_desk`: tickets created, answered, commented, overdue and escalated in Zoho Desk.

The webhook's token does not cover its body, so a delivery is only a hint and everything is read again through the API; the
poll over modified tickets makes it complete. Overdue and escalated are differences between two looks (no event exists).
`ticket.rated` has no verified API: let a Desk workflow rule post to a generic `webhook` source with a field map.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, SignIn, Subscription
from syncd.connector import (
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Hint,
    NotYet,
    Prompt,
    Request,
    SignalSpec,
)
from syncd.connectors.accounts.zoho import DATA_CENTRES, BaseUrl, DataCentreName, ZohoAuth, bearer, sign_in_of
from syncd.connectors.desk.zoho_api import FARTHEST, PAGE, DeskApi
from syncd.connectors.desk.zoho_check import check
from syncd.connectors.desk.zoho_cursor import LAG, TicketCursor, advance, mark, read_cursor
from syncd.connectors.desk.zoho_receiver import LACKS, DeskReceiver, ZohoDeskWebhooksOnly
from syncd.connectors.desk.zoho_tickets import (
    Desk,
    Record,
    Standing,
    became_escalated,
    became_overdue,
    is_customers_comment,
    is_customers_reply,
    is_open,
    moment,
    standing,
)
from syncd.connectors.desk.zoho_webhooks import DeskWebhooks
from syncd.errors import Transient
from syncd.signals import Route, Signal

SCOPES = {
    "Desk.tickets.READ": "to read tickets, replies and comments",
    "Desk.search.READ": "to find the tickets that changed",
    "Desk.contacts.READ": "to read who wrote",
}
DEPARTMENT_SCOPES = {"Desk.settings.READ": "to look up the departments (check --online)"}
WEBHOOK_SCOPES = {
    f"Desk.webhooks.{operation}": "to manage the webhook (webhooks)"
    for operation in ("READ", "CREATE", "UPDATE", "DELETE")
}
DUE_GRACE = timedelta(hours=1)  # Desk may raise isOverDue this long after the due date
AHEAD = timedelta(days=1)  # the search's end lies so far ahead that our clock does not matter
_ID = re.compile(r"\d{1,25}")


class ZohoDeskSettings(ConnectorSettings):
    """Keys of a Zoho Desk source."""

    org_id: str = Field(pattern=r"^\d+$", description="organisation id (Setup, Developer Space, API)")
    data_center: Annotated[DataCentreName, Prompt()] = Field(
        "us", description="the account's data centre: us, eu, in, au, jp, ca, cn, sa, …"
    )
    base_url: BaseUrl | None = Field(None, description="Zoho Desk's API URL; default: the data centre's")
    accounts_url: BaseUrl | None = Field(None, description="Zoho's accounts server; default: the data centre's")
    auth: Annotated[ZohoAuth | None, Prompt()] = Field(
        None,
        description="OAuth client; scopes Desk.tickets.READ, Desk.search.READ, Desk.contacts.READ; without it, webhooks alone",
    )
    departments: list[str] = Field([], description="only tickets of these department ids; empty: of all")
    webhook_ids: list[str] = Field([], description="only webhooks with these ids; empty: any of this organisation")
    keep_credits: int = Field(100, ge=0, description="API credits a day that are reserved for other clients")


_encode = msgspec.json.Encoder().encode
_read_standing = msgspec.json.Decoder(Standing).decode


class ZohoDesk(DeskReceiver):
    """WebhookSource, KeyFetchingSource, HintSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: ZohoDeskSettings, context: Context) -> None:
        base, auth = _base_url(settings), settings.auth
        assert auth is not None, "without auth: it is a ZohoDeskWebhooksOnly"
        super().__init__(base, settings.org_id, settings.webhook_ids)
        self._accounts = settings.accounts_url or DATA_CENTRES[settings.data_center].accounts
        held = bearer(context, self._accounts, auth, kind="zoho_desk")
        self._auth = auth
        self._settings = settings
        self._context = context
        self._desk = Desk(context, settings.org_id)
        self._api = DeskApi(base, held, settings.org_id, context.clock, settings.keep_credits)
        url, accepted = context.webhook_url, settings.webhook_ids
        self._webhooks = DeskWebhooks(self._api, context.name, url, settings.departments, accepted)

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        centre, auth = DATA_CENTRES[self._settings.data_center], self._auth
        scopes = SCOPES | (DEPARTMENT_SCOPES if self._settings.departments else {})
        scopes |= WEBHOOK_SCOPES if self._context.webhook_url else {}
        return sign_in_of(self._accounts, centre, auth, scopes, kind="zoho_desk", name=self._context.name)

    # ---- check --online

    def check_online(self) -> Iterator[Finding]:
        return check(self._api, self._settings.org_id, self._settings.departments, self._context.clock())

    # ---- webhook

    def subscriptions(self) -> list[Subscription]:
        return self._webhooks.all()

    def subscribe(self, *, force: bool = False) -> list[Subscription]:
        """Nothing of others is in the way: Desk takes several webhooks."""
        return self._webhooks.subscribe()

    def unsubscribe(self, id: str) -> None:
        self._webhooks.unsubscribe(id)

    def parse(self, request: Request) -> Batch:
        def make(kind: str, payload: Record, ids: tuple[str, ...], where: str) -> Batch:
            return Batch(hints=[Hint(key=":".join((kind, *ids)), data={"route": str(Route.WEBHOOK)})])

        return self.events(request, make)

    # ---- hints

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        kind, ticket_id, *rest = hint.key.split(":")
        route = Route(hint.data.get("route", Route.WEBHOOK))
        ticket = self._api.ticket(ticket_id)
        if ticket is None or (reason := self._unwanted(ticket)):
            return Batch(dropped={reason if ticket else "a ticket that is gone": 1})
        if kind in ("created", "state", "due"):
            if kind == "due" and _may_still_turn(ticket, now):
                return NotYet(now + DUE_GRACE / 12)
            return self._look([ticket], now, route, {ticket_id} if kind == "created" else set(), self._began(now))
        if kind == "talk":
            return self._heard(ticket, now, route)
        return Batch(signals=self._said(kind, ticket, rest[0], now, route))

    def _heard(self, ticket: Record, now: datetime, route: Route) -> Batch:
        """What customers said on a ticket since it was last listened to."""
        key = f"talk:{ticket['id']}"
        since = moment(self._context.recall([key]).get(key)) or self._began(now)
        signals = list(self._talk(ticket, since, None, now, route))
        newest = max((one.occurred_at for one in signals), default=since)
        return Batch(signals=signals, remember={key: max(since, newest - LAG).isoformat() if is_open(ticket) else None})

    def _said(self, kind: str, ticket: Record, id_: str, now: datetime, route: Route) -> list[Signal]:
        """The reply or comment that a webhook announced, if it is a customer's."""
        if kind == "thread":
            thread = self._api.thread(str(ticket["id"]), id_)
            wanted = thread is not None and is_customers_reply(thread)
            return [self._desk.replied(ticket, self._contact(ticket), thread, now, route)] if thread and wanted else []
        comment = self._api.comment(str(ticket["id"]), id_)
        wanted = comment is not None and is_customers_comment(comment)
        return [self._desk.commented(ticket, self._contact(ticket), comment, now, route)] if comment and wanted else []

    def _talk(
        self, ticket: Record, since: datetime, until: datetime | None, now: datetime, route: Route
    ) -> Iterator[Signal]:
        """What customers said on a ticket in [since, until), as far as its counts tell that there is something."""

        def within(value: Any) -> bool:
            at = moment(value)
            return at is not None and since <= at and (until is None or at < until)

        id_, counts = str(ticket["id"]), standing(ticket, None, now)
        for row in self._api.threads(id_) if counts.threads else ():
            if is_customers_reply(row) and within(row.get("createdTime")) and _ID.fullmatch(str(row.get("id"))):
                whole = self._api.thread(id_, str(row["id"])) or {}
                yield self._desk.replied(ticket, self._contact(ticket), {**row, **whole}, now, route)
        for comment in self._api.comments(id_) if counts.comments else ():
            if is_customers_comment(comment) and within(comment.get("commentedTime")):
                yield self._desk.commented(ticket, self._contact(ticket), comment, now, route)

    def _began(self, now: datetime) -> datetime:
        """Since when this source looks; a day ago while no poll has said."""
        return moment(self._context.recall(["began"]).get("began")) or now - timedelta(days=1)

    def _unwanted(self, ticket: Record) -> str:
        if ticket.get("isSpam") is True or ticket.get("isTrashed") is True or ticket.get("isDeleted") is True:
            return "spam or trash"
        departments = self._settings.departments
        return "another department" if departments and str(ticket.get("departmentId")) not in departments else ""

    def _contact(self, ticket: Record) -> Record | None:
        """The ticket's contact, read when the answer did not bring it along."""
        contact = ticket.get("contact")
        if isinstance(contact, dict) and any(contact.get(name) for name in ("email", "phone", "mobile")):
            return contact
        id_ = str(ticket.get("contactId") or "")
        whole = self._api.contact(id_) if _ID.fullmatch(id_) else None
        return whole or (contact if isinstance(contact, dict) else None)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        at = self._api.vendor_now()
        return _encode(TicketCursor(at, at, at))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = read_cursor(state)
        fresh_from = cursor.floor
        for rows, after, last in self._walk(cursor, max(now, cursor.since) + AHEAD):
            reached = _encode(msgspec.structs.replace(after, floor=after.since) if last else after)
            new = {str(row["id"]) for row in rows if (moment(row.get("createdTime")) or fresh_from) >= fresh_from}
            batch = self._look(rows, now, Route.POLL, new, cursor.began)
            if not self._context.recall(["began"]):
                batch = replace(batch, remember={**batch.remember, "began": cursor.began.isoformat()})
            if batch != Batch() or reached != state:
                state = reached
                yield replace(batch, state=state)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Created, replied and commented; whatever was said in the range, its ticket was modified since."""
        cursor = read_cursor(state) if state is not None else TicketCursor(since, since, since)
        for rows, after, _ in self._walk(cursor, self._context.clock() + AHEAD):
            now = self._context.clock()
            signals: list[Signal] = []
            for ticket in rows:
                made = moment(ticket.get("createdTime"))
                if self._unwanted(ticket) or (made is not None and made >= until):
                    continue
                if made is not None and since <= made:
                    signals.append(self._desk.created(ticket, self._contact(ticket), now, Route.BACKFILL))
                signals += self._talk(ticket, since, until, now, Route.BACKFILL)
            if signals or after != cursor:
                cursor = after
                yield Batch(signals=signals, state=_encode(cursor))

    def _walk(self, cursor: TicketCursor, until: datetime) -> Iterator[tuple[list[dict[str, Any]], TicketCursor, bool]]:
        """Pages of tickets not seen yet, the cursor after each, and whether it is the last. A page begins where the last
        one ended, by time and not by count: a ticket that is modified meanwhile shifts nothing."""
        at, start, last = cursor.since, 0, False
        while not last:
            rows = self._api.search(at, until, start)
            if any((moment(row.get("modifiedTime")) or at) < at - AHEAD for row in rows):
                raise Transient("Zoho Desk's search does not keep to modifiedTimeRange", code="shape", known=False)
            last = len(rows) < PAGE
            known = frozenset(cursor.seen)
            fresh = [row for row in rows if _ID.fullmatch(str(row.get("id"))) and mark(row) not in known]
            cursor = advance(cursor, rows)
            yield fresh, cursor, last
            newest = max(filter(None, (moment(row.get("modifiedTime")) for row in rows)), default=at)
            if newest > at:
                at, start = newest, 0
            elif (start := start + PAGE) > FARTHEST:  # 5,000 changes in one millisecond: what is behind cannot be read
                at, start = at + timedelta(milliseconds=1), 0

    def _look(self, tickets: Sequence[Record], now: datetime, route: Route, new: set[str], began: datetime) -> Batch:
        """What is new about tickets: that they are there (`new`), that they became overdue or escalated, that something
        was said, and when to look again."""
        memory = self._context.recall([_memory(ticket) for ticket in tickets])
        signals: list[Signal] = []
        hints: list[Hint] = []
        remember: dict[str, str | None] = {}
        dropped: dict[str, int] = {}
        for ticket in tickets:
            if reason := self._unwanted(ticket):
                dropped[reason] = dropped.get(reason, 0) + 1
                continue
            held = memory.get(_memory(ticket))
            before = _read_standing(held) if held else None
            after = standing(ticket, before, now)
            signals += self._changes(ticket, before, after, now, route, str(ticket["id"]) in new, began)
            heard = (before.threads, before.comments) if before else (0, 0)
            if route is not Route.POLL:  # the poll alone has what was said read: only it may note the counts
                after = msgspec.structs.replace(after, threads=heard[0], comments=heard[1])
            elif (after.threads, after.comments) != heard:
                hints.append(Hint(key=f"talk:{ticket['id']}", data={"route": str(route)}))
            noted = _encode(after).decode() if is_open(ticket) or after.escalations else None
            if noted != held:
                remember[_memory(ticket)] = noted
            due = moment(ticket.get("dueDate"))
            to_come = due is not None and due > (now if after.overdue else now - DUE_GRACE)
            if is_open(ticket) and due is not None and to_come:
                hints.append(Hint(key=f"due:{ticket['id']}", data={"route": str(route)}, not_before=max(due, now)))
        return Batch(tuple(signals), tuple(hints), None, remember, dropped)

    def _changes(
        self,
        ticket: Record,
        before: Standing | None,
        after: Standing,
        now: datetime,
        route: Route,
        new: bool,
        began: datetime,
    ) -> Iterator[Signal]:
        overdue, escalated = became_overdue(ticket, before, began, now), became_escalated(ticket, before, began)
        contact = self._contact(ticket) if new or overdue or escalated else None
        if new:
            yield self._desk.created(ticket, contact, now, route)
        if overdue:
            yield self._desk.overdue(ticket, contact, now, route)
        if escalated:
            yield self._desk.escalated(ticket, contact, after.escalations, now, route)


def _may_still_turn(ticket: Mapping[str, Any], now: datetime) -> bool:
    """Open, just past its due date, and Desk has not called it overdue yet."""
    due = moment(ticket.get("dueDate"))
    return is_open(ticket) and ticket.get("isOverDue") is not True and due is not None and due <= now < due + DUE_GRACE


def _memory(ticket: Record) -> str:
    return f"ticket:{ticket['id']}"


def _base_url(settings: ZohoDeskSettings) -> str:
    return settings.base_url or DATA_CENTRES[settings.data_center].desk


def _build(settings: ZohoDeskSettings, context: Context) -> ZohoDesk | ZohoDeskWebhooksOnly:
    if settings.auth is not None:
        return ZohoDesk(settings, context)
    base, org_id = _base_url(settings), settings.org_id
    return ZohoDeskWebhooksOnly(base, org_id, settings.webhook_ids, settings.departments, context)


CONNECTOR = Connector(
    name="zoho_desk",
    contract=2,
    role="source",
    summary="tickets of Zoho Desk: created, answered, commented, overdue, escalated",
    settings=ZohoDeskSettings,
    build=_build,
    unable=lambda settings: {} if settings.auth is not None else LACKS,
    signals=(
        SignalSpec("ticket.created", "webhook, poll and backfill: ticket id", backfill=True),
        SignalSpec("ticket.replied", "webhook, poll and backfill: thread id", backfill=True),
        SignalSpec("ticket.commented", "webhook, poll and backfill: comment id", backfill=True),
        SignalSpec("ticket.overdue", "webhook and poll: ticket id and due date", backfill=False),
        SignalSpec("ticket.escalated", "webhook and poll: ticket id and how often we saw it escalated", backfill=False),
    ),
    secrets_note="the refresh token's scopes: Desk.tickets.READ, Desk.search.READ, Desk.contacts.READ",
)
