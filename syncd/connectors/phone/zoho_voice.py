"""`type: zoho_voice`: calls of Zoho Voice, missed, answered and placed, from its call log by poll and backfill.

Facts: zoho.com/voice/api, "GET - Get call logs and recording/voicemail" and "GET - Get a call log": 30 calls a minute, then the
account is locked for ten minutes; the log is filtered by days, of a zone that is not documented; times are milliseconds in
texts. Not documented: the order of the log, and when a call appears in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Batch, Connector, Context, Request, SignalSpec
from syncd.connectors.accounts.zoho import DATA_CENTRES, DataCentreName, ZohoAuth, bearer, sign_in_of
from syncd.connectors.keys import BaseUrl
from syncd.connectors.online import clock_findings
from syncd.connectors.phone.calls import SIGNALLED, CallOutcome, PhoneAccount, PhoneCall, PhoneSettings, seconds_of
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed, Misconfigured, RateLimited
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.limits import Rate
from syncd.http.vendor_api import VendorApi
from syncd.items import each_row, json_body, kept_row
from syncd.signals import Route
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, unix_ms

KIND = "zoho_voice"
UNIT = "calls"
LOGS = "/rest/json/zv/logs"
PAGE = 100
SAVED_EVERY = 10
"""Pages without a new call after which the place in the log is kept all the same."""
LAG = timedelta(minutes=30)
"""A call may appear in the log so long after it ended. (One that goes on may be missing until then.)"""
LONGEST_CALL = timedelta(hours=4)
_NEVER = timedelta(days=3_650)
PACE = Rate(20, timedelta(minutes=1), burst=8)
"""28 calls in any minute at most; the 31st would lock the account."""
LOCKED = timedelta(minutes=10).total_seconds()
SCOPES = {"ZohoVoice.call.READ": "to read the call log"}
_ODD = re.compile(r"[^a-z ]")
_SCOPE = Means(Misconfigured, f"the token may not read the call log; it needs {', '.join(SCOPES)}")
ERRORS = ErrorTable(
    "Zoho Voice",
    {"ZVT010": Means(Misconfigured, "syncd sent a parameter that Zoho Voice does not know, please report it")},
    error_at("code"),
    statuses={
        401: Means(Misconfigured, "the token is refused; check auth and data_center"),
        403: _SCOPE,
        404: Means(Misconfigured, "there is nothing at this address; check data_center"),
        429: Means(RateLimited, "too many calls in a minute; the account is locked for ten", pause=LOCKED),
    },
)


class ZohoVoiceSettings(PhoneSettings):
    """Keys of a Zoho Voice source."""

    auth: ZohoAuth = Field(description="a client of api-console.zoho.com")
    data_center: DataCentreName = Field(
        "us", description="where the organisation's data is: the end of its Zoho address"
    )
    voicemail: bool = Field(True, description="a call that went to voicemail counts as missed")
    base_url: BaseUrl | None = Field(None, description="Zoho Voice's address instead of the data centre's")
    accounts_url: BaseUrl | None = Field(None, description="the sign-in address instead of the data centre's")


class LogCursor(TimeCursor, frozen=True):
    """`position`: how many rows of the log the reading that is under way has passed. Rows that appear meanwhile at its head move
    the others on, so that some come again and none is missed."""

    position: int = 0


_read_cursor = msgspec.json.Decoder(LogCursor).decode


class ZohoVoice:
    """A PollingSource, Reparsing and Backfillable."""

    def __init__(self, settings: ZohoVoiceSettings, context: Context) -> None:
        # The id of a call is a UUID, and the account is whatever account the token belongs to.
        self._calls = PhoneAccount(KIND, "~", settings, context, id_name="log_id")
        self._settings, self._context = settings, context
        centre = DATA_CENTRES[settings.data_center]
        self._accounts = settings.accounts_url or centre.accounts
        signs_in = bearer(context, self._accounts, settings.auth, kind=KIND)
        rate = context.limits.paced(f"{KIND}:{self._accounts}:{settings.auth.client_id}", UNIT, PACE)
        client = HttpClient(settings.base_url or centre.app("voice"), bearer=signs_in, clock=context.clock, rate=rate)
        self._api = VendorApi(client, ERRORS, context.clock)

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        centre = DATA_CENTRES[self._settings.data_center]
        return sign_in_of(self._accounts, centre, self._settings.auth, SCOPES, kind=KIND, name=self._context.name)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return encode(LogCursor(now))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return self._read(_read_cursor(state), Route.POLL, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        return self._read(_read_cursor(state) if state is not None else LogCursor(since), Route.BACKFILL, until)

    def reparse(self, request: Request) -> Batch:
        return self._made(json_body(request), "the call", request.received_at, Route.POLL)

    def _read(self, cursor: LogCursor, route: Route, until: datetime | None) -> Iterator[Batch]:
        """One batch a page, whose cursor says how far the log was read: a reading that the pace interrupts goes on there."""
        now, last, said = self._context.clock(), False, cursor
        end = until or max(now, cursor.since)
        bounds = (cursor.since, until) if until is not None else None

        def make(row: Mapping[str, Any], where: str) -> Batch:
            return self._made(row, where, now, route, bounds)

        while not last:
            rows = self._page(cursor, end)
            last = len(rows) < PAGE or _passed(rows, cursor.since)
            fresh = sorted(cursor.fresh(rows, _mark), key=_started)
            cursor = _after(cursor, fresh, len(rows), complete=last and until is None)
            far = cursor.position - said.position >= SAVED_EVERY * PAGE
            if fresh or far or (last and cursor != said):
                said = cursor
                yield each_row(fresh, make, lambda row: kept_row(LOGS, row, now), state=encode(cursor), name="call")

    def _page(self, cursor: LogCursor, end: datetime) -> Sequence[dict[str, Any]]:
        """One day more at each end: the zone of the days is not documented."""
        first, until = (f"{at:%Y-%m-%d}" for at in (cursor.since - timedelta(days=1), end + timedelta(days=1)))
        query = {"from": str(cursor.position), "size": str(PAGE), "fromDate": first, "toDate": until}
        return self._api.rows(LOGS, query, items="logs")

    def _made(
        self, row: Any, where: str, now: datetime, route: Route, bounds: tuple[datetime, datetime] | None = None
    ) -> Batch:
        """`bounds`: of a backfill, by when calls began. Raises Malformed."""
        call = read_call(row, where)
        if reason := left_out(row):
            return Batch(dropped={reason: 1})
        if not self._calls.concerns(call) or (
            bounds and call.started_at and not bounds[0] <= call.started_at < bounds[1]
        ):
            return Batch()
        outcome = outcome_of(call, voicemail=self._settings.voicemail)
        return Batch(self._calls.signals(outcome, call, now, route))

    def check_online(self) -> Iterator[Finding]:
        """The sign-in, that the log may be read, and the clock: one call."""
        now = self._context.clock()
        day = f"{now:%Y-%m-%d}"
        answer = self._api.call("GET", LOGS, {"from": "0", "size": "1", "fromDate": day, "toDate": day})
        yield Finding(Level.OK, "calls", "signed in; the call log may be read")
        yield from clock_findings(now, self._api.vendor_now(answer), "Zoho Voice")


# ---- rows of the log


def read_call(row: Any, where: str = "the call") -> PhoneCall:
    """A row as a call. Its status is no-answer, completed, voicemail, or open for a call that goes on. Raises Malformed."""
    if not isinstance(row, Mapping) or not row.get("logid"):
        raise Malformed(f"{where}: a call without a logid")
    began, ended = time_or_none(row.get("start_time")), time_or_none(row.get("end_time"))
    if began is None:
        raise Malformed(f"{where}: start_time is not a time")
    inbound, theirs, ours = _sides(row)
    told = {"department": row.get("department"), "agent": row.get("agent_number"), "cause": row.get("hangup_cause")}
    return PhoneCall(
        id=str(row["logid"]),
        direction="inbound" if inbound else "outbound",
        status=_status(row, ended=ended is not None),
        from_=theirs if inbound else ours,
        to=ours if inbound else theirs,
        started_at=began,
        ended_at=ended,
        caller_name=_name(row, theirs) if inbound else "",
        talked=seconds_of(row.get("duration")),
        said={key: value for key, value in told.items() if isinstance(value, str) and value},
    )


def left_out(row: Mapping[str, Any]) -> str:
    """Why a row is not a call of a customer, to be counted; "" for one that is."""
    if row.get("is_test_call") is True:
        return "test call"
    if row.get("isBlocked") is True:
        return "blocked call"
    kind = _type(row)
    return "" if kind in ("missed", "incoming", "outgoing", "bridged", "forward") else f"call type {kind or 'missing'}"


def outcome_of(call: PhoneCall, *, voicemail: bool = True) -> CallOutcome:
    """Zoho Voice judges a queue itself: one row a call. `voicemail`: whether a call that went to voicemail counts as missed."""
    if call.status == "open":
        return CallOutcome.OPEN
    if call.status == "completed":
        return CallOutcome.ANSWERED if call.inbound else CallOutcome.PLACED
    missed = call.inbound and (voicemail or call.status != "voicemail")
    return CallOutcome.MISSED if missed else CallOutcome.NOTHING


def _type(row: Mapping[str, Any]) -> str:
    return _ODD.sub("", str(row.get("call_type") or "").lower())[:40]


def _status(row: Mapping[str, Any], *, ended: bool) -> str:
    if _type(row) != "missed" and not ended:
        return "open"
    if row.get("voicemail"):  # seen by others on missed calls, not documented
        return "voicemail"
    return "no-answer" if _type(row) == "missed" or not row.get("answer_time") else "completed"


def _sides(row: Mapping[str, Any]) -> tuple[bool, str, str]:
    """Whether it came in, the customer's number, and ours. `user_number` is the customer's; which way a bridged or forwarded
    call went is told by whose number called."""
    caller, called, theirs = (_number(row, name) for name in ("caller_id_number", "destination_number", "user_number"))
    kind = _type(row)
    inbound = kind in ("missed", "incoming") or (kind != "outgoing" and (not theirs or theirs == caller))
    return (
        inbound,
        theirs or (caller if inbound else called),
        _number(row, "did_number") or (called if inbound else caller),
    )


def _number(row: Mapping[str, Any], name: str) -> str:
    """Zoho writes a blank after the country code."""
    value = row.get(name)
    return value.replace(" ", "") if isinstance(value, str) else ""


def _name(row: Mapping[str, Any], number: str) -> str:
    name = str(row.get("caller_id_name") or "").strip()
    return "" if not re.search(r"[^\W\d]", name) or name.replace(" ", "") == number else name


def _mark(row: Mapping[str, Any]) -> ItemMark | None:
    """A call by when it ended; None for one that goes on: it is looked at again."""
    began, ended = time_or_none(row.get("start_time")), time_or_none(row.get("end_time"))
    return None if _status(row, ended=ended is not None) == "open" else mark_of(row.get("logid"), ended or began)


def _started(row: Mapping[str, Any]) -> int:
    at = time_or_none(row.get("start_time"))
    return unix_ms(at) if at is not None else 0


def _passed(rows: Sequence[Mapping[str, Any]], since: datetime) -> bool:
    """Whether a page shows that the log is newest first and that all that follows ended before `since`."""
    times = [_started(row) for row in rows]
    return times == sorted(times, reverse=True) and 0 < times[-1] < unix_ms(since - LONGEST_CALL)


def _after(cursor: LogCursor, fresh: Sequence[Mapping[str, Any]], count: int, *, complete: bool) -> LogCursor:
    """Only a reading that is complete moves the time on: the rest of one that is not may hold older calls."""
    known = cursor.after(map(_mark, fresh), LAG if complete else _NEVER)
    return msgspec.structs.replace(known, position=0 if complete else cursor.position + count)


_KEY = "poll and backfill: logid"
CONNECTOR = Connector(
    name=KIND,
    unit=UNIT,
    summary="calls of Zoho Voice: missed, answered and placed",
    settings=ZohoVoiceSettings,
    build=ZohoVoice,
    signals=tuple(SignalSpec(outcome.signal_type, _KEY, backfill=True) for outcome in SIGNALLED),
    secrets_note=f"the refresh token's scopes: {', '.join(SCOPES)}",
    contract=2,
    role="source",
)
