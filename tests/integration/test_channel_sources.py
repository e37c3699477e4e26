"""A phone source and a desk source of invented vendors, made of what all sources of their channel inherit, in the kit.

Each has its vendor's facts alone: how a record is read, where the lists are, what a webhook says.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Connector, Context, Reply, Request, SignalSpec, Verifier
from syncd.connectors.desk.ticket_list import LAG, ListedTickets, TicketCursor, ticket_hint
from syncd.connectors.desk.tickets import Said, SaidKind, Ticket, TicketSignals
from syncd.connectors.phone.call_log import LoggedCalls, call_hint
from syncd.connectors.phone.calls import SIGNALLED, PhoneAccount, PhoneCall, PhoneSettings
from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.oauth import MemoryTokens
from syncd.http.vendor_api import TokenPaging, VendorApi
from syncd.items import each_event
from syncd.signals import Person, Route, make_person
from syncd.signatures.verifier import verifier
from syncd.testing import BackfillConformance, HintConformance, PollingConformance, TwinVendor, WebhookConformance
from syncd.time_cursor import Step, forward, mark_of
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, OffsetPages, TokenPages, listed, single
from syncd.twins.wire import TwinResponse

SECRET = "a secret"
PAGE = 3
ERRORS = ErrorTable(
    "Acme",
    {
        "bad_token": Means(Misconfigured, "the token is refused"),
        "TOO_MANY_REQUESTS": Means(RateLimited, "too many requests"),
        "busy": Means(Transient, "Acme is busy"),
    },
    error_at("code", within="error"),
    absent=frozenset({"404"}),
)


class AcmeKeys(PhoneSettings):
    """Keys of both sources."""

    token: str
    base_url: str


class SignedByAcme:
    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return verifier("hmac", [SECRET])


def api_of(settings: AcmeKeys, context: Context) -> VendorApi:
    headers = {"Authorization": f"Bearer {settings.token}"}
    return VendorApi(HttpClient(settings.base_url, headers=headers), ERRORS, context.clock)


def moment(value: Any) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int) else None


# ---- a phone vendor


class AcmeCallLog:
    def __init__(self, api: VendorApi) -> None:
        self._api = api

    def call(self, id: str) -> PhoneCall | None:
        row = self._api.one(f"/v1/calls/{id}")
        return self._read(row) if row is not None else None

    def legs(self, parent: str) -> list[PhoneCall]:
        return [self._read(row) for row in self._api.rows("/v1/calls", {"parent": parent}, items="data")]

    def window(self, since: datetime, until: datetime) -> Iterator[tuple[list[PhoneCall], datetime]]:
        query = {"since": str(int(since.timestamp())), "until": str(int(until.timestamp()) + 1)}
        paging = TokenPaging("page", "next", frozenset({"page_gone"}))
        for page in self._api.pages("/v1/calls", query, items="data", paging=paging):
            yield [self._read(row) for row in page.items], self._api.vendor_now(page.answer)

    def vendor_now(self) -> datetime:
        return self._api.vendor_now(self._api.call("GET", "/v1/calls"))

    def _read(self, row: dict[str, Any]) -> PhoneCall:
        texts = {name: str(row.get(name) or "") for name in ("id", "parent", "direction", "status", "to")}
        times = {"started_at": moment(row.get("at")), "ended_at": moment(row.get("ended"))}
        return PhoneCall(**texts, **times, from_=str(row.get("from") or ""))  # type: ignore[arg-type]


class AcmePhone(SignedByAcme, LoggedCalls):
    def __init__(self, settings: AcmeKeys, context: Context) -> None:
        account = PhoneAccount("acme_phone", "4711", settings, context, id_name="call_id")
        LoggedCalls.__init__(self, AcmeCallLog(api_of(settings, context)), account, context)

    def parse(self, request: Request) -> Batch:
        def make(event: Any, where: str) -> Batch:
            return Batch(hints=[call_hint(str(event["id"]), request.received_at)])

        return each_event(request, make)


PHONE = Connector(
    name="acme_phone",
    summary="calls",
    settings=AcmeKeys,
    build=AcmePhone,
    signals=tuple(SignalSpec(one.signal_type, "call id", backfill=True) for one in SIGNALLED),
    contract=2,
    role="source",
)


# ---- a desk vendor


class AcmeTickets:
    def __init__(self, api: VendorApi) -> None:
        self._api = api

    def now(self) -> datetime:
        return self._api.vendor_now(self._api.call("GET", "/v1/tickets"))

    def ticket(self, id: str) -> Ticket | None:
        row = self._api.one(f"/v1/tickets/{id}")
        return self._read(row) if row is not None else None

    def person(self, ticket: Ticket, said: Said | None) -> Person:
        return make_person(email=str(ticket.record.get("email") or ""))

    def said(self, ticket: Ticket, kind: SaidKind, id: str) -> Said | None:
        return None

    def all_said(self, ticket: Ticket, since: datetime, until: datetime | None) -> Iterator[Said]:
        yield from ()

    def changed(self, cursor: TicketCursor, until: datetime) -> Iterator[Step]:
        def page(since: datetime, offset: int) -> list[Ticket]:
            query = {"since": str(int(since.timestamp())), "offset": str(offset), "limit": str(PAGE)}
            return [self._read(row) for row in self._api.rows("/v1/tickets", query, items="data")]

        return forward(page, cursor, lambda one: mark_of(one.id, one.modified_at), lag=LAG, size=PAGE, farthest=10_000)

    def _read(self, row: dict[str, Any]) -> Ticket:
        at, subject = moment(row.get("at")), str(row.get("subject") or "")
        return Ticket(id=str(row.get("id")), subject=subject, created_at=at, modified_at=at, record=row)


class AcmeDesk(SignedByAcme, ListedTickets):
    def __init__(self, settings: AcmeKeys, context: Context) -> None:
        signals = TicketSignals("acme_desk", "4711", context)
        ListedTickets.__init__(self, AcmeTickets(api_of(settings, context)), signals, context)

    def parse(self, request: Request) -> Batch:
        def make(event: Any, where: str) -> Batch:
            return Batch(hints=[ticket_hint(f"created:{event['id']}", Route.WEBHOOK)])

        return each_event(request, make)


DESK = Connector(
    name="acme_desk",
    summary="tickets",
    settings=AcmeKeys,
    build=AcmeDesk,
    signals=(SignalSpec("ticket.created", "ticket id", backfill=True),),
    contract=2,
    role="source",
)


# ---- their stand-in, and the kit


class AcmeOffice(FakeVendor):
    name = "acme"
    page_expired = (400, "page_gone")
    routes = (
        FakeRoute(
            "GET /v1/calls",
            listed(
                "calls",
                sort="at",
                newest_first=True,
                least={"since": "at"},
                below={"until": "at"},
                equal={"parent": "parent"},
                pages=TokenPages("page", "next"),
            ),
        ),
        FakeRoute("GET /v1/calls/{id}", single("calls")),
        FakeRoute(
            "GET /v1/tickets",
            listed("tickets", sort="at", least={"since": "at"}, pages=OffsetPages("offset", "limit")),
        ),
        FakeRoute("GET /v1/tickets/{id}", single("tickets")),
    )

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        return TwinResponse(status, {"error": {"code": code, "message": message}})


class OfficeVendor(TwinVendor):
    auth_headers = ("x-signature",)
    many = 7

    def request(self, number: int) -> Request:
        return self.sign(json.dumps([{"id": f"a{number}"}]).encode())

    def sign(self, body: bytes) -> Request:
        headers = {"x-signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
        url = "https://syncd.example.com/webhooks/acme"
        return Request("POST", url, {**headers, "content-type": "application/json"}, body, self.first_moment)


class Switchboard(OfficeVendor):
    """Even events are calls that nobody took, odd ones ring groups."""

    many = 20

    def happen(self, number: int) -> None:
        at = int(self.moment(number).timestamp())
        caller = {"from": "+84912345678", "to": "+842412345678"}
        status = "completed" if number % 2 else "no-answer"
        self.twin.add("calls", id=f"a{number}", direction="inbound", status=status, at=at, ended=at + 20, **caller)
        for leg in range(2 if number % 2 else 0):
            more = {"parent": f"a{number}", "direction": "outbound", "status": "no-answer"}
            self.twin.add("calls", id=f"a{number}L{leg}", at=at + 1, ended=at + 15, **caller, **more)


class HelpDesk(OfficeVendor):
    def happen(self, number: int) -> None:
        at = int(self.moment(number).timestamp())
        self.twin.add("tickets", id=f"a{number}", at=at, subject="It is broken", email="an@example.com")


class Office(WebhookConformance, PollingConformance, HintConformance, BackfillConformance):
    vendor_class: ClassVar[type[OfficeVendor]]

    @pytest.fixture
    def vendor(self) -> Iterator[OfficeVendor]:
        with AcmeOffice() as twin:
            yield self.vendor_class(twin)

    @pytest.fixture
    def connect(self, vendor: OfficeVendor) -> Callable[..., Any]:
        settings = AcmeKeys.model_validate({"token": vendor.twin.token, "base_url": vendor.twin.url})  # type: ignore[attr-defined]

        def build(recall: Any) -> Any:
            context = Context(name="acme", tokens=MemoryTokens(), region="VN", recall=recall)
            return self.connector.build(settings, context)

        return build


class TestPhone(Office):
    connector = PHONE
    vendor_class = Switchboard


class TestDesk(Office):
    connector = DESK
    vendor_class = HelpDesk
