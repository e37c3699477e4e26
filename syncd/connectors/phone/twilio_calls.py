"""Twilio's calls as values: what a call record or callback says, how the call ended, the signal it becomes. Pure.

`judge` is the only place that knows what a missed, an answered and a placed call is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from syncd.connector import Context
from syncd.connectors.times import read_time
from syncd.errors import Malformed
from syncd.signals import Person, Route, Signal, derive_id, make_person
from syncd.texts.titles import titled

MISSED = frozenset({"no-answer", "busy", "canceled", "failed"})
ENDED = MISSED | {"completed"}
SID = re.compile(r"[A-Za-z0-9]{2,64}")
_KEYPAD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")
_WITHHELD_WORDS = ("ANONYMOUS", "RESTRICTED", "BLOCKED", "UNKNOWN", "UNAVAILABLE", "PRIVATE", "WITHHELD")
WITHHELD = frozenset({*_WITHHELD_WORDS, *(word.translate(_KEYPAD) for word in _WITHHELD_WORDS)})
"""Twilio writes a caller who hides as a word, or as the digits that spell it (+266696687 is ANONYMOUS)."""
_TOLD = {
    "city": "FromCity",
    "state": "FromState",
    "zip": "FromZip",
    "country": "FromCountry",
    "caller_name": "CallerName",
}
_NAMES = {
    "sid": ("sid", "CallSid"),
    "parent": ("parent_call_sid", "ParentCallSid"),
    "direction": ("direction", "Direction"),
    "status": ("status", "CallStatus"),
    "from_": ("from", "From"),
    "to": ("to", "To"),
    "caller_name": ("caller_name", "CallerName"),
    "forwarded_from": ("forwarded_from", "ForwardedFrom"),
    "talked": ("duration", "CallDuration"),
}
"""Field of a call -> its name in a record of the API, and in a callback."""


class CallOutcome(StrEnum):
    """How a call ended, as far as is known now. The first three have a signal."""

    MISSED = "missed"
    ANSWERED = "answered"
    PLACED = "placed"
    NOTHING = "nothing"
    OPEN = "open"

    @property
    def signal_type(self) -> str:
        return f"call.{self}"


@dataclass(frozen=True)
class PhoneCall:
    """One call, from REST or a callback. `status` and `direction` are Twilio's. Times are UTC, None while unknown; `talked`:
    seconds, as Twilio says."""

    sid: str = ""
    parent: str = ""
    direction: str = ""
    status: str = ""
    from_: str = ""
    to: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    caller_name: str = ""
    forwarded_from: str = ""
    talked: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inbound(self) -> bool:
        return self.direction == "inbound" and not self.parent

    @property
    def outbound(self) -> bool:
        """Placed through the API or a dialler; the legs of an inbound call have a parent."""
        return self.direction.startswith("outbound") and not self.parent


def judge(call: PhoneCall, legs: Sequence[PhoneCall]) -> CallOutcome:
    """A ring group is one call with many legs. Missed: it ended unanswered, or we answered it, dialled on, and none of the legs
    was taken. Answered: one was taken by a person (not by an application). Placed: we called, also from a browser phone
    (`client:`) to a number, and were answered."""
    if call.parent or not (call.inbound or call.outbound):
        return CallOutcome.NOTHING
    if call.status in MISSED:
        return CallOutcome.MISSED if call.inbound else CallOutcome.NOTHING
    if call.status not in ENDED or any(leg.status not in ENDED for leg in legs):
        return CallOutcome.OPEN
    taken = _taken(legs)
    if call.outbound:
        return CallOutcome.PLACED if taken or not legs else CallOutcome.NOTHING
    if taken is None:
        return CallOutcome.MISSED if legs else CallOutcome.NOTHING
    dialled = call.from_.startswith("client:") and taken.to.startswith("+")
    return CallOutcome.PLACED if dialled else CallOutcome.ANSWERED


def _taken(legs: Sequence[PhoneCall]) -> PhoneCall | None:
    return next((leg for leg in legs if leg.status == "completed"), None)


def read_call(record: Mapping[str, Any]) -> PhoneCall:
    """A record of Calls.json (twilio-oai, twilio_api_v2010.json); its dates are RFC 2822."""
    texts: dict[str, Any] = {
        ours: value for ours, (name, _) in _NAMES.items() if isinstance(value := record.get(name), str)
    }
    began = _moment(record.get("start_time")) or _moment(record.get("date_created"))
    return PhoneCall(**texts, started_at=began, ended_at=_moment(record.get("end_time")))


def read_callback(form: Mapping[str, str], replaced: Mapping[str, str], received_at: datetime) -> PhoneCall:
    """A status callback, or the `action` of a <Dial>. `replaced`: fields whose bytes could not all be read. Raises Malformed."""
    try:
        at = read_time(form.get("Timestamp", ""), UTC) or received_at
    except ValueError as error:
        raise Malformed(f"Timestamp: {error}") from None
    if not SID.fullmatch(form.get("CallSid", "")):
        raise Malformed(f"CallSid is {form.get('CallSid', '')!r:.60}, which is not a call id")
    clean = {name: value.replace("\0", "") for name, value in form.items()}
    told: dict[str, Any] = {name: clean[key] for name, key in _TOLD.items() if clean.get(key)}
    told |= {"replaced": dict(replaced)} if replaced else {}
    texts: dict[str, Any] = {ours: clean[name] for ours, (_, name) in _NAMES.items() if name in clean}
    return PhoneCall(**texts, started_at=at, said=told)


def _moment(value: Any) -> datetime | None:
    try:
        return read_time(value, UTC)
    except ValueError:
        return None


def call_signal(
    outcome: CallOutcome,
    call: PhoneCall,
    context: Context,
    account: str,
    received_at: datetime,
    *,
    route: Route,
    legs: Sequence[PhoneCall] = (),
    recording: str = "",
) -> Signal:
    """The one signal of a call, keyed by the parent's CallSid on every route. Its person is the other side."""
    taken, placed = _taken(legs), outcome is CallOutcome.PLACED
    theirs = ((taken or call).to if placed else call.from_).strip()
    person = _person(call, theirs, context.region, caller=not placed)
    who = person.name or person.phone or ("" if withheld(theirs) else theirs)
    data: dict[str, Any] = {
        "call_sid": call.sid,
        "from": call.from_,
        "to": call.to,
        "status": call.status,
        "forwarded_from": call.forwarded_from,
        "started_at": call.started_at.isoformat() if call.started_at else "",
        "ended_at": call.ended_at.isoformat() if call.ended_at else "",
        "duration": int(talked)
        if (talked := (taken or call).talked).isdigit() and outcome is not CallOutcome.MISSED
        else 0,
        "legs": [{"call_sid": leg.sid, "to": leg.to, "status": leg.status} for leg in legs],
        "recording_url": recording,
    }
    return Signal(
        id=derive_id("twilio", account, outcome.signal_type, call.sid),
        type=outcome.signal_type,
        source=context.name,
        occurred_at=call.started_at or call.ended_at or received_at,
        received_at=received_at,
        **_title(outcome, who, call.to),
        url=recording if recording.startswith("https://") else "",
        reply=f"tel:{person.phone}" if person.phone else "",
        person=person,
        data={name: value for name, value in data.items() if value},
        thread=f"twilio:{account}:{call.sid}",
        route=route,
    )


def _title(outcome: CallOutcome, who: str, to: str) -> dict[str, Any]:
    """The title; `who` is "" for a withheld or unknown number."""
    parts: dict[str, Any] = {"who": who} if who else {}
    code = outcome.signal_type if who else f"{outcome.signal_type}.withheld"
    if outcome is CallOutcome.MISSED and to:
        code, parts = f"{code}.to", {**parts, "to": to}
    return titled(code, **parts)


def withheld(number: str) -> bool:
    return number.strip().lstrip("+").upper() in WITHHELD


def _person(call: PhoneCall, number: str, region: str | None, *, caller: bool) -> Person:
    """The other side. A withheld number, a SIP address without a full number or a client name is not an identity: it stays in
    `raw`. What Twilio knows of the caller does not describe somebody whom we called."""
    raw = {"from": call.from_, **call.said} if caller else {"to": number}
    lowered = number.lower()
    dialable = lowered[:1].isdigit() or lowered.startswith(("+", "whatsapp:", "sip:+", "sips:+", "tel:"))
    name = call.caller_name if caller and not withheld(call.caller_name) else ""
    return make_person(name=name, phone=number if dialable and not withheld(number) else "", raw=raw, region=region)
