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

from syncd.capabilities import Finding, Level, SignIn, Subscribed, Subscription
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
from syncd.connectors.desk.zoho_api import FARTHEST, PAGE, UNIT, DeskApi, DeskWebhooks
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
from syncd.errors import Misconfigured, Transient
from syncd.signals import Route, Signal
from syncd.time_cursor import ItemMark, Step, TimeCursor, encode, forward, mark_of

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
LAG = timedelta(minutes=5)  # a ticket may be found by search this long after it changed
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
    keep_credits: int = Field(
        100, ge=0, description="API credits a day that are left to others; `quota: {keep: N}` wins"
    )


class TicketCursor(TimeCursor, frozen=True, kw_only=True):
    """`floor`: tickets made since then are new to this pass. `began`: when the source did."""

    floor: datetime
    began: datetime


read_cursor = msgspec.json.Decoder(TicketCursor).decode
_read_standing = msgspec.json.Decoder(Standing).decode
_SAID = {
    "thread": ("threads", "replied", is_customers_reply),
    "comment": ("comments", "commented", is_customers_comment),
}
"""Kind of hint -> the API's list, the signal, and whether a row of it is a customer's."""


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
        self._api = DeskApi(base, held, settings.org_id, context, settings.keep_credits)
        url, accepted = context.webhook_url, settings.webhook_ids
        self._webhooks = DeskWebhooks(self._api.hooks, context.name, url, settings.departments, accepted)

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        centre, auth = DATA_CENTRES[self._settings.data_center], self._auth
        scopes = SCOPES | (DEPARTMENT_SCOPES if self._settings.departments else {})
        scopes |= WEBHOOK_SCOPES if self._context.webhook_url else {}
        return sign_in_of(self._accounts, centre, auth, scopes, kind="zoho_desk", name=self._context.name)

    # ---- check --online

    def check_online(self) -> Iterator[Finding]:
        """The token, the organisation, each scope by trying it, the departments: three calls at most, seven credits. Raises the
        Failure of whatever is refused: it names what is missing."""
        now = self._context.clock()
        self._api.search(now - timedelta(minutes=1), now, 0)
        yield Finding(Level.OK, "sign-in", f"organisation {self._settings.org_id}: its tickets may be searched")
        self._api.listed("/contacts", 1)
        yield Finding(Level.OK, "contacts", "contacts may be read")
        if not self._settings.departments:
            return
        try:
            rows = self._api.listed("/departments", 200)
        except Misconfigured as refused:
            text = f"cannot check whether the departments exist: {refused}"
            advice = "for this alone the token would need Desk.settings.READ"
            yield Finding(Level.WARNING, "departments", text, advice)
            return
        known = {str(row.get("id")): str(row.get("name") or "") for row in rows}
        there = ", ".join(f"{name} {one}" for one, name in list(known.items())[:10])
        for id_ in self._settings.departments:
            if id_ in known:
                yield Finding(Level.OK, f"department {id_}", known[id_])
            else:
                yield Finding(Level.FAULT, f"department {id_}", "there is no such department", f"there are: {there}")

    # ---- webhook

    def subscriptions(self) -> list[Subscription]:
        return self._webhooks.subscriptions()

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """Nothing of others is in the way: Desk takes several webhooks."""
        return Subscribed(there=self._webhooks.subscribe())

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
        what, made, wanted = _SAID[kind]
        said = self._api.said(str(ticket["id"]), what, id_)
        if said is None or not wanted(said):
            return []
        return [self._desk.made(made, ticket, self._contact(ticket), now, route, said=said)]

    def _talk(
        self, ticket: Record, since: datetime, until: datetime | None, now: datetime, route: Route
    ) -> Iterator[Signal]:
        """What customers said on a ticket in [since, until), as far as its counts tell that there is something."""
        id_, counts = str(ticket["id"]), standing(ticket, None, now)
        for what, made, wanted in _SAID.values():
            for row in self._api.all_said(id_, what) if getattr(counts, what) else ():
                at = moment(row.get("createdTime" if what == "threads" else "commentedTime"))
                within = at is not None and since <= at and (until is None or at < until)
                if not (wanted(row) and within and _ID.fullmatch(str(row.get("id")))):
                    continue
                whole = (self._api.said(id_, what, str(row["id"])) or {}) if what == "threads" else {}
                yield self._desk.made(made, ticket, self._contact(ticket), now, route, said={**row, **whole})

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
        at = self._api.now()
        return encode(TicketCursor(at, floor=at, began=at))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = read_cursor(state)
        fresh_from = cursor.floor
        for rows, after, last in self._walk(cursor, max(now, cursor.since) + AHEAD):
            reached = encode(msgspec.structs.replace(after, floor=after.since) if last else after)
            new = {str(row["id"]) for row in rows if (moment(row.get("createdTime")) or fresh_from) >= fresh_from}
            batch = self._look(rows, now, Route.POLL, new, cursor.began)
            if not self._context.recall(["began"]):
                batch = replace(batch, remember={**batch.remember, "began": cursor.began.isoformat()})
            if batch != Batch() or reached != state:
                state = reached
                yield replace(batch, state=state)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Created, replied and commented; whatever was said in the range, its ticket was modified since."""
        cursor = read_cursor(state) if state is not None else TicketCursor(since, floor=since, began=since)
        for rows, after, _ in self._walk(cursor, self._context.clock() + AHEAD):
            now = self._context.clock()
            signals: list[Signal] = []
            for ticket in rows:
                made = moment(ticket.get("createdTime"))
                if self._unwanted(ticket) or (made is not None and made >= until):
                    continue
                if made is not None and since <= made:
                    signals.append(self._desk.made("created", ticket, self._contact(ticket), now, Route.BACKFILL))
                signals += self._talk(ticket, since, until, now, Route.BACKFILL)
            if signals or after != cursor:
                cursor = after
                yield Batch(signals=signals, state=encode(cursor))

    def _walk(self, cursor: TicketCursor, until: datetime) -> Iterator[Step]:
        """The tickets that changed, page by page."""

        def page(since: datetime, offset: int) -> list[dict[str, Any]]:
            rows = self._api.search(since, until, offset)
            if any((moment(row.get("modifiedTime")) or since) < since - AHEAD for row in rows):
                raise Transient("Zoho Desk's search does not keep to modifiedTimeRange", code="shape", known=False)
            return rows

        for step in forward(page, cursor, _mark, lag=LAG, size=PAGE, farthest=FARTHEST):
            yield step._replace(items=[row for row in step.items if _ID.fullmatch(str(row.get("id")))])

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
            new_one = str(ticket["id"]) in new
            overdue, escalated = became_overdue(ticket, before, began, now), became_escalated(ticket, before, began)
            kinds = {"created": new_one, "overdue": overdue, "escalated": escalated}
            contact = self._contact(ticket) if any(kinds.values()) else None
            for kind in (kind for kind, is_so in kinds.items() if is_so):
                signals.append(self._desk.made(kind, ticket, contact, now, route, times=after.escalations))
            heard = (before.threads, before.comments) if before else (0, 0)
            if route is not Route.POLL:  # the poll alone has what was said read: only it may note the counts
                after = msgspec.structs.replace(after, threads=heard[0], comments=heard[1])
            elif (after.threads, after.comments) != heard:
                hints.append(Hint(key=f"talk:{ticket['id']}", data={"route": str(route)}))
            noted = encode(after).decode() if is_open(ticket) or after.escalations else None
            if noted != held:
                remember[_memory(ticket)] = noted
            due = moment(ticket.get("dueDate"))
            to_come = due is not None and due > (now if after.overdue else now - DUE_GRACE)
            if is_open(ticket) and due is not None and to_come:
                hints.append(Hint(key=f"due:{ticket['id']}", data={"route": str(route)}, not_before=max(due, now)))
        return Batch(tuple(signals), tuple(hints), None, remember, dropped)


def _may_still_turn(ticket: Mapping[str, Any], now: datetime) -> bool:
    """Open, just past its due date, and Desk has not called it overdue yet."""
    due = moment(ticket.get("dueDate"))
    return is_open(ticket) and ticket.get("isOverDue") is not True and due is not None and due <= now < due + DUE_GRACE


def _mark(row: Record) -> ItemMark | None:
    return mark_of(row.get("id"), moment(row.get("modifiedTime")))


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
    unit=UNIT,
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
