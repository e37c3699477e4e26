"""`type: zoho_crm_calls`: the calls that PhoneBridge, Zoho Voice and users keep in Zoho CRM's module Calls, by poll and backfill.

Facts: Zoho CRM's API v8, "COQL" and "Calls": Call_Type is Inbound, Outbound or Missed, and may become Missed later; a lead is in
What_Id, a contact in Who_Id. Which fields a telephony fills is not documented: only those that the module has are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Batch, Connector, Context, Request, SignalSpec
from syncd.connectors.accounts.zoho import ZohoAccount, api_base, bearer
from syncd.connectors.answers import mappings, parsed
from syncd.connectors.crm.zoho.coql import IN_VALUES, isin, literal, select
from syncd.connectors.crm.zoho.errors import ANSWERS, CODES, refuses_token
from syncd.connectors.phone.calls import (
    SIGNALLED,
    CallOutcome,
    CallRecord,
    PhoneAccount,
    PhoneCall,
    WantedCalls,
    seconds_of,
)
from syncd.connectors.text import clean
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed, Misconfigured
from syncd.http.client import HttpClient
from syncd.http.error_table import Means
from syncd.http.vendor_api import VendorApi
from syncd.items import each_row, json_body, kept_row
from syncd.signals import Person, Route, make_person
from syncd.time_cursor import ItemMark, TimeCursor, encode, forward, mark_of, progress

KIND = "zoho_crm_calls"
UNIT = "credits"
API = "/crm/v8"
MODULE = "Calls"
PAGE = 200
"""Rows of a query that cost one credit."""
LAG = timedelta(minutes=2)
BEFORE = timedelta(days=1)
"""A call that began so long before the first start is history, also if somebody changes its record now."""
SCOPES = {
    "ZohoCRM.coql.READ": "to ask for calls",
    "ZohoCRM.modules.calls.READ": "to read calls",
    "ZohoCRM.modules.contacts.READ": "to read the contact of a call",
    "ZohoCRM.modules.leads.READ": "to read the lead of a call",
    "ZohoCRM.settings.fields.READ": "to see which fields calls have",
}
# fmt: off
_COLUMNS = (
    "Subject", "Call_Type", "Call_Start_Time", "Call_Duration", "Call_Duration_in_seconds", "Outbound_Call_Status",
    "Call_Status", "Who_Id", "What_Id", "Owner", "Description", "Call_Result", "Caller_ID", "Dialled_Number",
    "Voice_Recording__s", "CTI_Entry", "Modified_Time",
)
# fmt: on
_NEEDED = ("Call_Type", "Call_Start_Time", "Modified_Time")
_PERSON = ("Full_Name", "Email", "Phone", "Mobile")
_NUMBER = re.compile(r"\+\d(?:[ ()./-]{0,2}\d){6,14}")
"""A number that a subject names, in whatever language: only with its country code."""
_PLACED = frozenset({"", "completed", "current call", "completed call"})
ERRORS = replace(
    ANSWERS,
    vendor="Zoho CRM",
    codes={
        **{codes: means for codes, means in CODES.items() if "OAUTH_SCOPE_MISMATCH" not in codes},
        "OAUTH_SCOPE_MISMATCH NO_PERMISSION AUTHORIZATION_FAILED FORBIDDEN": Means(
            Misconfigured, f"the token needs the scopes {', '.join(SCOPES)}, and its user the right to read calls"
        ),
    },
)


class ZohoCrmCallsSettings(ZohoAccount, WantedCalls):
    """Keys of a source that reads the calls of a Zoho CRM account."""

    telephony_only: Annotated[
        bool, Field(description="only calls that a telephony entered (CTI_Entry), none that a user wrote down")
    ] = False
    key_field: Annotated[
        str,
        Field(pattern=r"^\w{1,100}$", description="field in which syncd's own calls have their key; they are left out"),
    ] = "Syncd_Key"


class CallsCursor(TimeCursor, frozen=True):
    """`began`: when the source was first started."""

    began: datetime | None = None


_read_cursor = msgspec.json.Decoder(CallsCursor).decode
Rows = list[dict[str, Any]]


class ZohoCrmCalls:
    """A PollingSource, Reparsing and Backfillable."""

    def __init__(self, settings: ZohoCrmCallsSettings, context: Context) -> None:
        # A record's id is unique over all accounts, and the account is whatever account the token belongs to.
        self._calls = PhoneAccount(KIND, "~", settings, context, id_name="call_id")
        self._settings, self._context = settings, context
        client = HttpClient(
            api_base(settings.base_url or "", settings.centre.crm),
            bearer=bearer(context, settings.accounts, settings.auth, kind=KIND),
            clock=context.clock,
            rate=context.limits.bucket(f"{KIND}:{settings.accounts}:{settings.auth.client_id}", UNIT),
            refuses_token=refuses_token,
        )
        self._api = VendorApi(client, ERRORS, context.clock)
        self._known: list[str] = []

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        return self._settings.sign_in(SCOPES, kind=KIND, name=self._context.name)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        """Zoho's own now: Modified_Time is by its clock."""
        theirs = self._api.vendor_now(self._describe()).replace(microsecond=0)
        return encode(CallsCursor(theirs, began=theirs))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = _read_cursor(state)

        def page(since: datetime, offset: int) -> Rows:
            return self._asked(f"Modified_Time >= {_stamp(since)}", "Modified_Time", offset)

        earliest = cursor.began - BEFORE if cursor.began else None
        steps = forward(page, cursor, _modified, lag=LAG, size=PAGE, farthest=100_000 - PAGE)
        for rows, after, _ in progress(steps, cursor):
            yield replace(self._batch(rows, Route.POLL, now, earliest), state=encode(after))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursor = _read_cursor(state) if state is not None else CallsCursor(since)

        def page(since: datetime, offset: int) -> Rows:
            both = f"(Call_Start_Time >= {_stamp(since)} and Call_Start_Time < {_stamp(_ceiling(until))})"
            return self._asked(both, "Call_Start_Time", offset)

        steps = forward(page, cursor, _started, lag=timedelta(0), size=PAGE, farthest=100_000 - PAGE)
        for rows, after, _ in progress(steps, cursor):
            wanted = [row for row in rows if (at := time_or_none(row.get("Call_Start_Time"))) is None or at < until]
            yield replace(self._batch(wanted, Route.BACKFILL, self._context.clock(), None), state=encode(after))

    def reparse(self, request: Request) -> Batch:
        row = json_body(request)
        return self._made(row, "the call", Route.POLL, request.received_at, None, {})

    def _batch(self, rows: Sequence[dict[str, Any]], route: Route, now: datetime, earliest: datetime | None) -> Batch:
        people = self._people(rows)
        return each_row(
            rows,
            lambda row, where: self._made(row, where, route, now, earliest, people),
            lambda row: kept_row(f"{API}/{MODULE}", row, now),
            name="call",
        )

    def _made(
        self,
        row: Any,
        where: str,
        route: Route,
        now: datetime,
        earliest: datetime | None,
        people: Mapping[str, Mapping[str, Any]],
    ) -> Batch:
        """Raises Malformed."""
        if not isinstance(row, Mapping) or not row.get("id"):
            raise Malformed(f"{where}: a call without an id")
        if row.get(self._settings.key_field):
            return Batch(dropped={"written by syncd": 1})
        call = read_call(row, where)
        if earliest is not None and call.started_at is not None and call.started_at < earliest:
            return Batch(dropped={"call from before the first start": 1})
        if call.direction == "unknown":
            return Batch(dropped={f"call type {re.sub(r'[^A-Za-z ]', '', str(row.get('Call_Type')))[:40]}": 1})
        if self._settings.telephony_only and row.get("CTI_Entry") is not True:
            return Batch(dropped={"call that no telephony entered": 1})
        outcome = outcome_of(call)
        if outcome not in self._calls.outcomes:
            return Batch()
        person = _person(row, people, self._context.region)
        recording = str(row.get("Voice_Recording__s") or "")
        return Batch(
            self._calls.signals(outcome, call, now, route, recording=recording, person=person, record=self._record(row))
        )

    def _record(self, row: Mapping[str, Any]) -> CallRecord:
        centre, settings = self._settings.centre, self._settings
        here = not (settings.base_url or settings.accounts_url)
        owner = row.get("Owner")
        said = {
            "subject": row.get("Subject"),
            "result": row.get("Call_Result"),
            "owner": owner.get("name") if isinstance(owner, Mapping) else None,
        }
        return CallRecord(
            text=clean(str(row.get("Description") or "")).strip(),
            url=f"{centre.app('crm')}/crm/tab/{MODULE}/{row['id']}" if here else "",
            data={name: value for name, value in said.items() if isinstance(value, str)},
        )

    # ---- Zoho's API

    def _describe(self) -> Any:
        """The answer that lists the module's fields; afterwards `_known` has those that are read."""
        answer = self._api.call("GET", f"{API}/settings/fields", {"module": MODULE})
        rows = mappings(parsed(answer) if answer is not None else None, "fields")
        there = {str(one.get("api_name")).lower(): str(one.get("api_name")) for one in rows}
        wanted = (*_COLUMNS, self._settings.key_field)
        missing = [name for name in _NEEDED if name.lower() not in there]
        if missing:
            text = f"Zoho CRM: the module {MODULE} shows this user no field {', '.join(missing)}"
            raise Misconfigured(text, code="fields")
        self._known = [there[name.lower()] for name in wanted if name.lower() in there]
        return answer

    def _asked(self, where: str, order: str, offset: int) -> Rows:
        if not self._known:
            self._describe()
        columns = ["id", *self._known]
        return self._queried(f"{select(columns, MODULE)} where {where} order by {order} asc limit {offset}, {PAGE}")

    def _queried(self, statement: str) -> Rows:
        """The rows of a query; an answer without content has none."""
        answer = self._api.call("POST", f"{API}/coql", json={"select_query": statement}, write=False)
        if answer is None or answer.status == 204 or not answer.body:
            return []
        rows = answer.json().get("data") if isinstance(answer.json(), dict) else None
        if not isinstance(rows, list):
            raise ERRORS.shape("coql")
        return [row for row in rows if isinstance(row, dict)]

    def _people(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """The contacts and leads of these calls by their ids: a query for each fifty."""
        contacts = dict.fromkeys(id_ for row in rows if (id_ := _id(row, "Who_Id")))
        leads = dict.fromkeys(id_ for row in rows if not _id(row, "Who_Id") and (id_ := _id(row, "What_Id")))
        found: dict[str, Mapping[str, Any]] = {}
        for module, ids in (("Contacts", list(contacts)), ("Leads", list(leads))):
            for at in range(0, len(ids), IN_VALUES):
                some = ids[at : at + IN_VALUES]
                asked = f"{select(('id', *_PERSON), module)} where {isin('id', some)} limit 0, {PAGE}"
                found.update((str(row.get("id")), {**row, "module": module}) for row in self._queried(asked))
        return found

    def check_online(self) -> Iterator[Finding]:
        """The sign-in and the fields, and a query of each module that is read: four calls."""
        self._describe()
        yield Finding(Level.OK, "sign-in", f"signed in; calls have {len(self._known)} of the fields that are read")
        for module in (MODULE, "Contacts", "Leads"):
            self._queried(f"{select(['id'], module)} where id is not null limit 0, 1")
            yield Finding(Level.OK, module, f"{module} may be read")
        if self._settings.telephony_only and "CTI_Entry" not in self._known:
            text = f"{MODULE} has no field CTI_Entry, so no call counts as one that a telephony entered"
            yield Finding(Level.FAULT, "telephony_only", text, "remove telephony_only:")
        if self._settings.key_field.lower() not in map(str.lower, self._known):
            text = f"{MODULE} has no field {self._settings.key_field}, so calls that syncd writes cannot be told from others"
            yield Finding(Level.WARNING, "key_field", text, "matters only if a mapping writes calls to this account")


# ---- records


def read_call(row: Mapping[str, Any], where: str = "the call") -> PhoneCall:
    """A record as a call; its direction is unknown for a type that is not documented. Raises Malformed."""
    began = time_or_none(row.get("Call_Start_Time"))
    if began is None:
        raise Malformed(f"{where}: Call_Start_Time is not a time")
    kind = str(row.get("Call_Type") or "").lower()
    seconds = _talked(row)
    state = str(row.get("Outbound_Call_Status") or row.get("Call_Status") or "").lower()
    status = "no-answer" if kind == "missed" else "completed" if int(seconds or 0) and state in _PLACED else "open"
    number = _number(row, kind)
    return PhoneCall(
        id=str(row["id"]),
        direction={"missed": "inbound", "inbound": "inbound", "outbound": "outbound"}.get(kind, "unknown"),
        status=status,
        from_="" if kind == "outbound" else number,
        to=number if kind == "outbound" else "",
        started_at=began,
        ended_at=began + timedelta(seconds=min(int(seconds or 0), 10**6)),
        talked=seconds,
    )


def outcome_of(call: PhoneCall) -> CallOutcome:
    """A call without a duration, or a scheduled one, is open: its record changes when it has been made."""
    if call.status == "open" or call.direction == "unknown":
        return CallOutcome.OPEN
    if call.status == "no-answer":
        return CallOutcome.MISSED
    return CallOutcome.ANSWERED if call.inbound else CallOutcome.PLACED


def _talked(row: Mapping[str, Any]) -> str:
    seconds = next((value for name, value in row.items() if name.lower() == "call_duration_in_seconds"), None)
    return str(seconds) if isinstance(seconds, int) and seconds > 0 else seconds_of(row.get("Call_Duration"))


def _number(row: Mapping[str, Any], kind: str) -> str:
    """The customer's number, as far as the record has it: which field a telephony fills is not documented."""
    fields = ("Dialled_Number", "Caller_ID") if kind == "outbound" else ("Caller_ID",)
    told = next((str(row[name]) for name in fields if row.get(name)), "")
    found = _NUMBER.search(str(row.get("Subject") or ""))
    return told.strip() or (re.sub(r"[^\d+]", "", found[0]) if found else "")


def _person(row: Mapping[str, Any], people: Mapping[str, Mapping[str, Any]], region: str | None) -> Person | None:
    """The contact or lead of a call, with its record's id as a handle; None where the call names none."""
    who, what = _id(row, "Who_Id"), _id(row, "What_Id")
    known: Mapping[str, Any] = people.get(who or what, {})
    if not who and not known:
        return None
    number = _number(row, str(row.get("Call_Type") or "").lower())
    return make_person(
        name=str(known.get("Full_Name") or (row["Who_Id"].get("name") if who else "") or ""),
        email=str(known.get("Email") or ""),
        phone=number or str(known.get("Mobile") or known.get("Phone") or ""),
        handles={"zoho_lead": what} if known.get("module") == "Leads" else {"zoho_contact": who},
        region=region,
    )


def _id(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    id_ = str(value.get("id") or "") if isinstance(value, Mapping) else ""
    return id_ if id_.isascii() and id_.isdigit() else ""


def _stamp(at: datetime) -> str:
    """As COQL takes a time: whole seconds, with an offset."""
    return literal(at.astimezone(UTC).isoformat(timespec="seconds"))


def _ceiling(at: datetime) -> datetime:
    return at.replace(microsecond=0) + timedelta(seconds=1) if at.microsecond else at


def _modified(row: Mapping[str, Any]) -> ItemMark | None:
    return mark_of(row.get("id"), time_or_none(row.get("Modified_Time")))


def _started(row: Mapping[str, Any]) -> ItemMark | None:
    return mark_of(row.get("id"), time_or_none(row.get("Call_Start_Time")))


_KEY = "poll and backfill: the record's id"
CONNECTOR = Connector(
    name=KIND,
    unit=UNIT,
    summary="calls in Zoho CRM (PhoneBridge, Zoho Voice, users): missed, answered and placed",
    settings=ZohoCrmCallsSettings,
    build=ZohoCrmCalls,
    signals=tuple(SignalSpec(outcome.signal_type, _KEY, backfill=True) for outcome in SIGNALLED),
    secrets_note=f"the refresh token's scopes: {', '.join(SCOPES)}",
    contract=2,
    role="source",
)
