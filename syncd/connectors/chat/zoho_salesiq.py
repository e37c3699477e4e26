"""`type: zoho_salesiq`: chats that visitors began in Zoho SalesIQ and no operator took, by poll and backfill.

SalesIQ itself says which chats are missed. Facts: zoho.com/salesiq/help/developer-section, REST API v2, "Conversations": without
a department the list is that of the token owner's current department, so that each is asked for; at most 99 rows a page; times
are in milliseconds. Not documented: the order of the list, and whether pages count from 0 or 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Batch, Connector, ConnectorSettings, Context, Request, SignalSpec
from syncd.connectors.accounts.zoho import DATA_CENTRES, DataCentreName, ZohoAuth, bearer, sign_in_of
from syncd.connectors.chat.missed import TYPE, title_of
from syncd.connectors.generic.making import reply_to
from syncd.connectors.keys import BaseUrl
from syncd.connectors.online import existence_findings
from syncd.connectors.text import clean
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed, Misconfigured, RateLimited
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import VendorApi
from syncd.items import each_row, json_body, kept_row
from syncd.signals import Person, Route, Signal, derive_id, make_person
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, newest_first, progress, read_cursor, unix_ms

KIND = "zoho_salesiq"
LAG = timedelta(minutes=10)  # a chat may show in the list as missed so late
PAGE = 99
SCOPES = {
    "SalesIQ.conversations.READ": "to read missed chats",
    "SalesIQ.departments.READ": "to find the departments",
}
_PLACEHOLDER = re.compile(r"visitor\W*\d+", re.IGNORECASE)
"""What SalesIQ calls a visitor who gave no name."""
_SCOPE = Means(Misconfigured, f"the token may not read this; it needs {' and '.join(SCOPES)}")
ERRORS = ErrorTable(
    "Zoho SalesIQ",
    {},
    error_at("code", within="error"),
    statuses={
        401: Means(Misconfigured, "the token is refused; check auth and data_center"),
        403: _SCOPE,
        404: Means(Misconfigured, "there is nothing at this address; check portal and data_center"),
        429: Means(RateLimited, "too many requests", pause=60),
    },
)


class ZohoSalesIQSettings(ConnectorSettings):
    """Keys of a Zoho SalesIQ source."""

    portal: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,100}$", description="name of the portal: in its address, salesiq.zoho.com/PORTAL"
    )
    auth: ZohoAuth = Field(description="a client of api-console.zoho.com")
    data_center: DataCentreName = Field(
        "us", description="where the organisation's data is: the end of its Zoho address"
    )
    departments: list[Annotated[str, Field(pattern=r"^\d+$")]] = Field(
        [], description="only chats of these department ids; empty: of all"
    )
    base_url: BaseUrl | None = Field(None, description="SalesIQ's address instead of the data centre's")
    accounts_url: BaseUrl | None = Field(None, description="the sign-in address instead of the data centre's")


class ZohoSalesIQ:
    """A PollingSource, Reparsing and Backfillable."""

    def __init__(self, settings: ZohoSalesIQSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        centre = DATA_CENTRES[settings.data_center]
        self._accounts = settings.accounts_url or centre.accounts
        self._portal = f"{settings.base_url or centre.app('salesiq')}/{settings.portal}"
        base_url = f"{settings.base_url or centre.app('salesiq')}/api/v2/{settings.portal}"
        signs_in = bearer(context, self._accounts, settings.auth, kind=KIND)
        rate = context.limits.bucket(f"{KIND}:{settings.portal}", "calls")
        client = HttpClient(base_url, bearer=signs_in, clock=context.clock, rate=rate)
        self._api = VendorApi(client, ERRORS, context.clock)

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        centre = DATA_CENTRES[self._settings.data_center]
        return sign_in_of(self._accounts, centre, self._settings.auth, SCOPES, kind=KIND, name=self._context.name)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(now))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return self._read(read_cursor(state), Route.POLL, LAG, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursor = read_cursor(state) if state is not None else TimeCursor(since)
        return self._read(cursor, Route.BACKFILL, timedelta(0), until)

    def reparse(self, request: Request) -> Batch:
        return Batch([self._missed(json_body(request), "the chat", request.received_at, Route.POLL)])

    def _read(self, cursor: TimeCursor, route: Route, lag: timedelta, until: datetime | None) -> Iterator[Batch]:
        now = self._context.clock()

        def make(row: Mapping[str, Any], where: str) -> Batch:
            signal = self._missed(row, where, now, route)
            return Batch([signal] if until is None or signal.occurred_at < until else [])

        pages = self._since(cursor.since)
        for rows, after, _ in progress(newest_first(pages, cursor, _mark, lag=lag), cursor):
            yield each_row(
                rows, make, lambda row: kept_row("/conversations", row, now), state=encode(after), name="chat"
            )

    def _since(self, since: datetime) -> Iterator[list[dict[str, Any]]]:
        """Pages of the chats that were missed since, of one department after the other, in no known order."""
        query, least = (
            {"status": "missed", "sort_by": "updated_time", "updated_from_time": str(unix_ms(since))},
            unix_ms(since),
        )
        for department in self._settings.departments or [*self._departments()] or [""]:
            narrowed = {**query, "department_id": department} if department else query
            for rows in self._listed("/conversations", narrowed):
                yield [row for row in rows if (own := _mark(row)) is None or own.ms >= least]

    def _departments(self) -> dict[str, str]:
        """Id and name of each."""
        rows = [row for page in self._listed("/departments", {}) for row in page]
        return {str(row["id"]): str(row.get("name") or "") for row in rows if row.get("id")}

    def _listed(self, path: str, query: Mapping[str, str]) -> Iterator[list[dict[str, Any]]]:
        """Pages until one is not full. The first is asked for without a number; page 1 is the first once more, or the second."""
        known: set[str] = set()
        number = 0
        while True:
            asked = {**query, "limit": str(PAGE)} | ({"page": str(number)} if number else {})
            rows = self._api.rows(path, asked, items="data")
            fresh = [row for row in rows if str(row.get("id")) not in known]
            yield fresh
            if len(rows) < PAGE or (number > 1 and not fresh):
                return
            known.update(str(row.get("id")) for row in rows)
            number += 1

    def _missed(self, row: Any, where: str, now: datetime, route: Route) -> Signal:
        """Raises Malformed."""
        id_ = str(row.get("id") or "") if isinstance(row, Mapping) else ""
        if not id_:
            raise Malformed(f"{where}: a chat without an id")
        at = _missed_at(row)
        if at is None:
            raise Malformed(f"{where}: missed_time, end_time and start_time are not times")
        visitor, department = _object(row.get("visitor")), _object(row.get("department"))
        person, portal = _person(visitor, self._context.region), self._settings.portal
        known = {
            "department": department.get("name"),
            "channel": visitor.get("channel"),
            "visitor_id": visitor.get("id"),
        }
        return Signal(
            id=derive_id(KIND, portal, TYPE, id_),
            type=TYPE,
            source=self._context.name,
            route=route,
            occurred_at=at,
            received_at=now,
            text=clean(str(row.get("question") or "")).strip(),
            url=self._portal if self._portal.startswith("https:") else "",
            reply=reply_to(person),
            person=person,
            data={"conversation_id": id_} | {name: str(value) for name, value in known.items() if value},
            thread=f"{KIND}:{portal}:{id_}",
            **title_of(person),
        )

    def check_online(self) -> Iterator[Finding]:
        """The sign-in, the departments, and that chats may be read: two calls."""
        known = self._departments()
        yield Finding(Level.OK, "sign-in", f"portal {self._settings.portal}: {len(known)} departments")
        remedy = "there are: " + ", ".join(f"{name} {one}" for one, name in list(known.items())[:10])
        wanted, missing = self._settings.departments, "there is no such department"
        yield from existence_findings("department", wanted, known.get, missing, remedy)
        self._api.rows("/conversations", {"status": "missed", "limit": "1"}, items="data")
        yield Finding(Level.OK, "chats", "missed chats may be read")


def _person(visitor: Mapping[str, Any], region: str | None) -> Person:
    """A visitor who left no address has no identity: SalesIQ's own id of a visitor is one browser's."""
    name = str(visitor.get("name") or "")
    email, phone = str(visitor.get("email_id") or visitor.get("email") or ""), str(visitor.get("phone") or "")
    return make_person(
        name="" if _PLACEHOLDER.fullmatch(name.strip()) else name, email=email, phone=phone, region=region
    )


def _missed_at(row: Mapping[str, Any]) -> datetime | None:
    times = (time_or_none(row.get(name)) for name in ("missed_time", "end_time", "start_time"))
    return next((at for at in times if at is not None), None)


def _mark(row: Mapping[str, Any]) -> ItemMark | None:
    return mark_of(row.get("id"), _missed_at(row))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


CONNECTOR = Connector(
    name=KIND,
    unit="calls",
    contract=2,
    role="source",
    summary="missed chats of Zoho SalesIQ",
    settings=ZohoSalesIQSettings,
    build=ZohoSalesIQ,
    signals=(SignalSpec(TYPE, "poll and backfill: the conversation's id", backfill=True),),
    secrets_note=f"the refresh token's scopes: {', '.join(SCOPES)}",
)
