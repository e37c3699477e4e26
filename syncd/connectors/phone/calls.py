"""Phone calls as values, whatever the vendor: how a call ended, which calls a source wants, the signal a call becomes. Pure.

A phone source turns a vendor's record into a `PhoneCall`; `PhoneAccount` does the rest. `judge` is the only place that knows what
a missed, an answered and a placed call is, for vendors that report a ring group as one call with many legs; where the vendor
reports the outcome itself, its source passes that to `PhoneAccount.signals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from syncd.connector import ConnectorSettings, Context
from syncd.identity.phones import told_phone
from syncd.signals import Person, Route, Signal, derive_id, make_person, normal_phone
from syncd.texts.titles import titled

MISSED = frozenset({"no-answer", "busy", "canceled", "failed"})
ENDED = MISSED | {"completed"}
"""`PhoneCall.status` of calls that have ended; every other word is a call in progress."""
_KEYPAD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")
_WITHHELD_WORDS = ("ANONYMOUS", "RESTRICTED", "BLOCKED", "UNKNOWN", "UNAVAILABLE", "PRIVATE", "WITHHELD")
WITHHELD = frozenset({*_WITHHELD_WORDS, *(word.translate(_KEYPAD) for word in _WITHHELD_WORDS)})
"""A caller who withholds the number is written as a word, or as the digits that spell it (+266696687 is ANONYMOUS)."""


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


SIGNALLED = (CallOutcome.MISSED, CallOutcome.ANSWERED, CallOutcome.PLACED)


@dataclass(frozen=True)
class PhoneCall:
    """One call, or one leg of the call `parent`. `direction` begins with `inbound` or `outbound`; `status`: see `ENDED`. Times
    are UTC, None while unknown; `talked`: seconds, as text. `said`: what else the vendor knows of the caller."""

    id: str = ""
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


@dataclass(frozen=True)
class CallRecord:
    """What a vendor keeps of a call beside the call itself: notes, the address of the record, further `data`."""

    text: str = ""
    url: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def seconds_of(duration: Any) -> str:
    """Of MM:SS or HH:MM:SS, as text; "" for anything else."""
    parts = str(duration or "").split(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts) or len(parts) > 3:
        return ""
    return str(sum(int(part) * 60**place for place, part in enumerate(reversed(parts))))


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


def withheld(number: str) -> bool:
    return number.strip().lstrip("+").upper() in WITHHELD


class WantedCalls(ConnectorSettings):
    """The key of every phone source that says which calls become signals."""

    calls: list[Literal["missed", "answered", "placed"]] = Field(
        ["missed"],
        min_length=1,
        description="which calls become signals; by callback, answered and placed ones cost API calls",
    )


class PhoneSettings(WantedCalls):
    """Keys of a phone source that knows our numbers: which of the account's calls become signals."""

    numbers: list[str] = Field([], description="only calls to or from these numbers of yours; empty: any")


class PhoneAccount:
    """One account of the vendor whose connector is `connector`: the calls that its source wants, and their signals. `id_name`:
    what `data` calls the vendor's id of a call."""

    def __init__(self, connector: str, account: str, settings: WantedCalls, context: Context, id_name: str) -> None:
        self._connector, self._account, self._context, self._id_name = connector, account, context, id_name
        numbers = settings.numbers if isinstance(settings, PhoneSettings) else ()
        self.numbers = frozenset(told_phone(number, context.region) or number for number in numbers)
        self.outcomes = frozenset(CallOutcome(one) for one in settings.calls)

    def is_wanted(self, number: str) -> bool:
        """Whether calls of this number of ours become signals."""
        return not self.numbers or (normal_phone(number, self._context.region) or number) in self.numbers

    def concerns(self, call: PhoneCall) -> bool:
        """Whether it is a call of one of our numbers, of a direction that can bring a signal."""
        if not call.inbound:
            return call.outbound and CallOutcome.PLACED in self.outcomes and self.is_wanted(call.from_)
        return self.is_wanted(call.to)

    def signals(
        self,
        outcome: CallOutcome,
        call: PhoneCall,
        received_at: datetime,
        route: Route,
        *,
        legs: Sequence[PhoneCall] = (),
        recording: str = "",
        person: Person | None = None,
        record: CallRecord | None = None,
    ) -> tuple[Signal, ...]:
        """The one signal of a call, keyed by its id on every route; none if nobody asked for this outcome. Its person is the
        other side: `person`, where the vendor knows more of them than the call."""
        if outcome not in self.outcomes:
            return ()
        taken, placed = _taken(legs), outcome is CallOutcome.PLACED
        theirs = ((taken or call).to if placed else call.from_).strip()
        person = person or _person(call, theirs, self._context.region, caller=not placed)
        record = record or CallRecord()
        who = person.name or person.phone or ("" if withheld(theirs) else theirs)
        talked = (taken or call).talked if outcome is not CallOutcome.MISSED else ""
        data: dict[str, Any] = {
            self._id_name: call.id,
            "from": call.from_,
            "to": call.to,
            "status": call.status,
            "forwarded_from": call.forwarded_from,
            "started_at": call.started_at.isoformat() if call.started_at else "",
            "ended_at": call.ended_at.isoformat() if call.ended_at else "",
            "duration": int(talked) if talked.isdigit() else 0,
            "legs": [{self._id_name: leg.id, "to": leg.to, "status": leg.status} for leg in legs],
            "recording_url": recording,
            **record.data,
        }
        made = Signal(
            id=derive_id(self._connector, self._account, outcome.signal_type, call.id),
            type=outcome.signal_type,
            source=self._context.name,
            occurred_at=call.started_at or call.ended_at or received_at,
            received_at=received_at,
            **_title(outcome, who, call.to),
            text=record.text,
            url=record.url or (recording if recording.startswith("https://") else ""),
            reply=f"tel:{person.phone}" if person.phone else "",
            person=person,
            data={name: value for name, value in data.items() if value},
            thread=f"{self._connector}:{self._account}:{call.id}",
            route=route,
        )
        return (made,)


def _title(outcome: CallOutcome, who: str, to: str) -> dict[str, Any]:
    """The title; `who` is "" for a withheld or unknown number."""
    parts: dict[str, Any] = {"who": who} if who else {}
    code = outcome.signal_type if who else f"{outcome.signal_type}.withheld"
    if outcome is CallOutcome.MISSED and to:
        code, parts = f"{code}.to", {**parts, "to": to}
    return titled(code, **parts)


def _person(call: PhoneCall, number: str, region: str | None, *, caller: bool) -> Person:
    """The other side. A withheld number, a SIP address without a full number or a client name is not an identity: it stays in
    `raw`. What the vendor knows of the caller does not describe somebody whom we called."""
    raw = {"from": call.from_, **call.said} if caller else {"to": number}
    lowered = number.lower().removeprefix("(")
    dialable = lowered[:1].isdigit() or lowered.startswith(("+", "whatsapp:", "sip:+", "sips:+", "tel:"))
    name = call.caller_name if caller and not withheld(call.caller_name) else ""
    return make_person(name=name, phone=number if dialable and not withheld(number) else "", raw=raw, region=region)
