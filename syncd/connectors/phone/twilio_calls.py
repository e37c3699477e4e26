"""Twilio's calls as values: what a call record says, whether it was missed, the signal it becomes; and the REST reads.

`judge` is pure and the only place that knows what a missed call is. `TwilioCalls` reads Calls.json (twilio-oai,
twilio_api_v2010.json) and speaks in failure classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from syncd.connector import Context
from syncd.connectors.times import read_time
from syncd.errors import Failure, Misconfigured, RateLimited, Transient
from syncd.http.client import HttpClient, Response, throttled
from syncd.signals import Person, Route, Signal, derive_id, make_person
from syncd.texts.titles import titled

TYPE = "call.missed"
MISSED = frozenset({"no-answer", "busy", "canceled", "failed"})
ENDED = MISSED | {"completed"}
SID = re.compile(r"[A-Za-z0-9]{2,64}")
PAGE_SIZE = 1000

_KEYPAD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")
_WITHHELD_WORDS = ("ANONYMOUS", "RESTRICTED", "BLOCKED", "UNKNOWN", "UNAVAILABLE", "PRIVATE", "WITHHELD")
WITHHELD = frozenset({*_WITHHELD_WORDS, *(word.translate(_KEYPAD) for word in _WITHHELD_WORDS)})
"""Twilio writes a caller who hides as a word, or as the digits that spell it (+266696687 is ANONYMOUS)."""


@dataclass(frozen=True)
class PhoneCall:
    """One call record, from REST or a callback. `status` is Twilio's. Times are UTC, None while unknown."""

    sid: str
    parent: str
    direction: str
    status: str
    from_: str
    to: str
    started_at: datetime | None
    ended_at: datetime | None
    caller_name: str = ""
    forwarded_from: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inbound(self) -> bool:
        return self.direction == "inbound" and not self.parent


class CallVerdict(Enum):
    """What a call is, as far as is known now."""

    MISSED = "missed"
    NOT_MISSED = "not missed"
    OPEN = "open"


def judge(call: PhoneCall, legs: Sequence[PhoneCall]) -> CallVerdict:
    """A customer's call nobody took: it ended unanswered, or we answered it, dialled on, and none of the legs was taken
    (any leg that completed wins). A ring group is one call with many legs."""
    if not call.inbound:
        return CallVerdict.NOT_MISSED
    if call.status in MISSED:
        return CallVerdict.MISSED
    if call.status not in ENDED or any(leg.status not in ENDED for leg in legs):
        return CallVerdict.OPEN
    if not legs or any(leg.status == "completed" for leg in legs):
        return CallVerdict.NOT_MISSED
    return CallVerdict.MISSED


def read_call(record: Mapping[str, Any]) -> PhoneCall:
    """A record of Calls.json; its dates are RFC 2822."""

    def text(name: str) -> str:
        value = record.get(name)
        return value if isinstance(value, str) else ""

    return PhoneCall(
        sid=text("sid"),
        parent=text("parent_call_sid"),
        direction=text("direction"),
        status=text("status"),
        from_=text("from"),
        to=text("to"),
        started_at=_moment(record.get("start_time")) or _moment(record.get("date_created")),
        ended_at=_moment(record.get("end_time")),
        caller_name=text("caller_name"),
        forwarded_from=text("forwarded_from"),
    )


def _moment(value: Any) -> datetime | None:
    try:
        return read_time(value, UTC)
    except ValueError:
        return None


def missed_call(
    call: PhoneCall,
    context: Context,
    account: str,
    received_at: datetime,
    *,
    route: Route,
    legs: Sequence[PhoneCall] = (),
    recording: str = "",
) -> Signal:
    """The one signal of a missed call, keyed by the parent's CallSid on every route."""
    person = caller(call, context.region)
    who = person.name or person.phone or ("" if withheld(call.from_) else call.from_)
    data: dict[str, Any] = {
        "call_sid": call.sid,
        "from": call.from_,
        "to": call.to,
        "status": call.status,
        "forwarded_from": call.forwarded_from,
        "started_at": call.started_at.isoformat() if call.started_at else "",
        "ended_at": call.ended_at.isoformat() if call.ended_at else "",
        "legs": [{"call_sid": leg.sid, "to": leg.to, "status": leg.status} for leg in legs],
        "recording_url": recording,
    }
    return Signal(
        id=derive_id("twilio", account, TYPE, call.sid),
        type=TYPE,
        source=context.name,
        occurred_at=call.started_at or call.ended_at or received_at,
        received_at=received_at,
        **_missed(who, call.to),
        url=recording if recording.startswith("https://") else "",
        reply=f"tel:{person.phone}" if person.phone else "",
        person=person,
        data={name: value for name, value in data.items() if value},
        thread=f"twilio:{account}:{call.sid}",
        route=route,
    )


def _missed(who: str, to: str) -> dict[str, Any]:
    """The title; "" for a withheld number, and for an unknown one that was called."""
    if who:
        return titled("call.missed.to", who=who, to=to) if to else titled("call.missed", who=who)
    return titled("call.missed.withheld.to", to=to) if to else titled("call.missed.withheld")


def withheld(number: str) -> bool:
    return number.strip().lstrip("+").upper() in WITHHELD


def caller(call: PhoneCall, region: str | None) -> Person:
    """The caller. A withheld number, a SIP address without a full number or a client name is not an identity: it stays
    in `raw`."""
    raw = {"from": call.from_, **call.said}
    number = call.from_.strip().lower()
    dialable = number[:1].isdigit() or number.startswith(("+", "whatsapp:", "sip:+", "sips:+", "tel:"))
    phone = call.from_ if dialable and not withheld(call.from_) else ""
    name = "" if withheld(call.caller_name) else call.caller_name
    return make_person(name=name, phone=phone, raw=raw, region=region)


# ------------------------------------------------------------------------------------------------------------ REST

_ERRORS: dict[int, tuple[type[Failure], str]] = {  # twilio.com/docs/api/errors
    20002: (Misconfigured, "the friendly name is invalid"),
    20003: (Misconfigured, "account_sid or auth_token is wrong"),
    20005: (Misconfigured, "the account is not active"),
    20006: (Misconfigured, "this account may not read its calls"),
    20008: (Misconfigured, "test credentials cannot read calls"),
    20403: (Misconfigured, "this account may not read its calls"),
    20429: (RateLimited, "too many requests"),
    20500: (Transient, "Twilio had an error"),
    20503: (Transient, "Twilio is not available"),
    20504: (Transient, "Twilio did not answer in time"),
}
_STATUSES: dict[int, tuple[type[Failure], str]] = {
    401: (Misconfigured, "account_sid or auth_token is wrong"),
    403: (Misconfigured, "this account may not read its calls"),
    429: (RateLimited, "too many requests"),
}


def failure(answer: Response, now: datetime) -> Failure:
    """The failure behind an unsuccessful answer."""
    if (slow := throttled(answer, now)) is not None:
        return slow
    code, message = 0, ""
    if answer.body[:1] == b"{":
        try:
            said = answer.json()
            code, message = said.get("code"), str(said.get("message", ""))[:200]
        except Failure:
            message = "an answer that is not JSON"
    entry = (_ERRORS.get(code) if isinstance(code, int) else None) or _STATUSES.get(answer.status)
    if entry is None:
        known = answer.status >= 500
        return Transient(message or f"HTTP {answer.status}", code=str(code or answer.status), known=known)
    cls, why = entry
    return cls(f"Twilio: {why}" + (f" ({message})" if message else ""), code=str(code or answer.status))


@dataclass(frozen=True)
class CallPage:
    """Calls of one answer, newest first, and Twilio's own time when it gave it."""

    calls: list[PhoneCall]
    vendor_now: datetime


class TwilioCalls:
    """Reads the calls of one account. Every method raises a Failure."""

    def __init__(self, base_url: str, account: str, token: str, context: Context) -> None:
        self._client = HttpClient(base_url, basic=(account, token))
        self._root = f"/2010-04-01/Accounts/{account}"
        self._clock = context.clock

    def account(self) -> dict[str, Any]:
        """The account itself: `friendly_name`, `status`, `type`."""
        answer = self._get(f"{self._root}.json", {})
        said = answer.json() if answer is not None else {}
        return said if isinstance(said, dict) else {}

    def owns(self, number: str) -> bool:
        """Whether a number (E.164) is one of this account."""
        answer = self._get(f"{self._root}/IncomingPhoneNumbers.json", {"PhoneNumber": number, "PageSize": "1"})
        said = answer.json() if answer is not None else {}
        return bool(said.get("incoming_phone_numbers")) if isinstance(said, dict) else False

    def one(self, sid: str) -> PhoneCall | None:
        """None when Twilio knows no such call (any more)."""
        answer = self._get(f"{self._root}/Calls/{sid}.json", {}, absent=True)
        return read_call(answer.json()) if answer is not None else None

    def legs(self, parent: str) -> list[PhoneCall]:
        return [call for page in self._pages({"ParentCallSid": parent}) for call in page.calls]

    def window(self, since: datetime, until: datetime) -> Iterator[CallPage]:
        """Pages of the calls that started in [since, until], newest first."""
        return self._pages({"StartTime>": _stamp(since), "StartTime<": _stamp(until)})

    def vendor_now(self) -> datetime:
        """Twilio's clock, by an answer's Date header."""
        answer = self._get(f"{self._root}/Calls.json", {"PageSize": "1"})
        return self._date(answer) if answer is not None else self._clock()

    def _pages(self, filters: Mapping[str, str]) -> Iterator[CallPage]:
        path, params = f"{self._root}/Calls.json", {**filters, "PageSize": str(PAGE_SIZE)}
        while path:
            answer = self._get(path, params)
            said = answer.json() if answer is not None else {}
            if answer is None or not isinstance(said, dict) or not isinstance(said.get("calls"), list):
                raise Transient("Twilio's list of calls has another shape than documented", code="shape", known=False)
            yield CallPage(
                [read_call(record) for record in said["calls"] if isinstance(record, dict)], self._date(answer)
            )
            path, params = str(said.get("next_page_uri") or ""), {}

    def _get(self, path: str, params: Mapping[str, str], *, absent: bool = False) -> Response | None:
        answer = self._client.request("GET", path, params=params)
        if answer.status == 404 and absent:
            return None
        if not answer.ok:
            raise failure(answer, self._clock())
        return answer

    def _date(self, answer: Response) -> datetime:
        return _moment(answer.headers.get("date")) or self._clock()


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
