"""What Asterisk's events say of calls: frames of AMI go in, ended calls come out, one for each Linkedid. Pure; the clock is
passed in.

Facts: the events' descriptions in Asterisk's source (main/manager_channels.c, apps/app_dial.c, apps/app_queue.c) and a recorded
call. Neither a channel's state nor the cause of a hangup tells whether a call was missed: where voicemail takes it, the caller's
channel is Up, and both legs hang up with 21 "Call Rejected". What counts is whether a dialled leg answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from syncd.connectors.phone.calls import MISSED, CallOutcome, PhoneCall

UNANSWERED = frozenset({"NOANSWER", "BUSY", "CANCEL", "CHANUNAVAIL", "CONGESTION"})
"""`DialStatus` of a leg that rang in vain or could not ring."""
LONGEST_CALL = timedelta(hours=12)
MOST_OPEN = 20_000
INTERNAL = r"^\d{2,5}$"
"""Numbers of extensions."""
_NOBODY = frozenset({"", "<unknown>", "unknown", "anonymous", "s", "restricted", "private", "unavailable"})
_EPOCH = re.compile(r"(?:^|-)(\d{9,11})\.\d+$")
_LOCAL = "Local/"


@dataclass(frozen=True)
class CallSides:
    """Which numbers and contexts are ours. `contexts`: where calls from outside come in; empty: told by the caller's number."""

    internal: re.Pattern[str] = re.compile(INTERNAL)
    contexts: frozenset[str] = frozenset()

    def direction(self, caller: str, called: str, contexts: set[str], *, by_context: bool = True) -> str:
        """Of a call from `caller` to `called` through these contexts: inbound, outbound or internal. `by_context`: a configured
        context is needed to come in; a CDR has the context where a call went, and not always the one where it came in."""
        told = bool(self.contexts) and by_context
        if self.contexts & contexts or (not told and not self.internal.search(caller)):
            return "inbound"
        outside = self.internal.search(caller) and not self.internal.search(called) and re.search(r"\d{5}", called)
        return "outbound" if outside else "internal"


def number_of(text: str) -> str:
    """A number as Asterisk writes it; "" for a caller who shows none."""
    return "" if text.strip().lower() in _NOBODY else text.strip()


def name_of(name: str, number: str) -> str:
    plain = name.strip()
    return "" if plain.lower() in _NOBODY or plain == number or not re.search(r"[^\W\d]", plain) else plain


def epoch_of(id_: str) -> datetime | None:
    """When the channel of this Uniqueid or Linkedid began: both hold seconds since 1970, behind the name of the system if it has
    one."""
    found = _EPOCH.search(id_)
    return datetime.fromtimestamp(int(found[1]), UTC) if found else None


def outcome_of(call: PhoneCall) -> CallOutcome:
    """`ended_call` and the CDR have judged the call: its status is completed, one of MISSED, or another word."""
    if not (call.inbound or call.outbound):
        return CallOutcome.NOTHING
    if call.status == "completed":
        return CallOutcome.ANSWERED if call.inbound else CallOutcome.PLACED
    return CallOutcome.MISSED if call.inbound and call.status in MISSED else CallOutcome.NOTHING


@dataclass
class _OngoingCall:
    """A call that goes on. `seen`: its first channel was there from its beginning; `dialled`: that channel was called by
    us (a click on a number), so that nobody came in."""

    id: str
    at: datetime
    seen: bool = False
    dialled: bool = False
    caller: str = ""
    name: str = ""
    called: str = ""
    queue: str = ""
    contexts: set[str] = field(default_factory=set)
    statuses: list[str] = field(default_factory=list)
    abandoned: bool = False
    answered_at: datetime | None = None
    bridges: dict[str, set[str]] = field(default_factory=dict)


class CallTracker:
    """The calls of one connection to AMI. `unjudged`: calls that ended and were under way when the connection began."""

    def __init__(self, sides: CallSides) -> None:
        self._sides = sides
        self._open: dict[str, _OngoingCall] = {}
        self._done: dict[str, None] = {}
        self.unjudged = 0

    def feed(self, frame: Mapping[str, str], now: datetime) -> PhoneCall | None:
        """One frame; the call, if the frame ends one that can be judged. Frames that say nothing of a call are passed over."""
        id_ = frame.get("Linkedid", "")
        if not id_ or id_ in self._done:
            return None
        call = self._open.get(id_)
        if call is None:
            self._make_room(now)
            call = self._open[id_] = _OngoingCall(id_, now)
        _note(call, frame, now)
        if frame.get("Event") != "Hangup" or frame.get("Uniqueid") != id_:
            return None
        del self._open[id_]
        self._done[id_] = None
        if not call.seen:
            self.unjudged += 1
            return None
        return ended_call(call, self._sides, now)

    def _make_room(self, now: datetime) -> None:
        """Calls whose end was not shown are given up, and of those that ended the older are forgotten."""
        if len(self._open) >= MOST_OPEN:
            for id_ in [one.id for one in self._open.values() if now - one.at > LONGEST_CALL] or list(self._open)[:1]:
                del self._open[id_]
        if len(self._done) > MOST_OPEN:
            self._done = dict.fromkeys(list(self._done)[MOST_OPEN // 2 :])


def _note(call: _OngoingCall, frame: Mapping[str, str], now: datetime) -> None:
    event, channel = frame.get("Event", ""), frame.get("Channel", "")
    if frame.get("Uniqueid") == call.id and not channel.startswith(_LOCAL):  # the channel that the call began with
        call.caller = call.caller or number_of(frame.get("CallerIDNum", ""))
        call.name = call.name or name_of(frame.get("CallerIDName", ""), call.caller)
        if event == "Newchannel":
            call.seen, call.called = True, number_of(frame.get("Exten", ""))
            call.contexts.add(frame.get("Context", ""))
    call.dialled = call.dialled or frame.get("DestUniqueid") == call.id
    if event == "DialEnd" and not frame.get("DestChannel", "").startswith(_LOCAL):
        status = frame.get("DialStatus", "")
        call.statuses.append(status)
        if status == "ANSWER":
            call.answered_at = call.answered_at or now
    elif event == "AgentConnect":
        call.answered_at = call.answered_at or now
    elif event in ("BridgeEnter", "BridgeLeave"):
        _bridged(call, frame, now)
    elif event == "QueueCallerJoin":
        call.queue = frame.get("Queue", "")
    elif event == "QueueCallerAbandon":
        call.abandoned, call.queue = True, frame.get("Queue", "") or call.queue


def _bridged(call: _OngoingCall, frame: Mapping[str, str], now: datetime) -> None:
    """Two real channels in one bridge talk; a holding bridge is music or a car park."""
    channel = frame.get("Channel", "")
    if channel.startswith(_LOCAL) or frame.get("BridgeType") == "holding":
        return
    members = call.bridges.setdefault(frame.get("BridgeUniqueid", ""), set())
    if frame.get("Event") == "BridgeLeave":
        members.discard(channel)
        return
    members.add(channel)
    if len(members) > 1:
        call.answered_at = call.answered_at or now


def ended_call(call: _OngoingCall, sides: CallSides, now: datetime) -> PhoneCall:
    """Missed: it came in, no dialled leg answered, and some leg rang in vain or the caller left a queue. A call that only heard a
    menu or a mailbox is neither missed nor answered."""
    in_vain = [one for one in call.statuses if one in UNANSWERED]
    status = "hung-up"
    if call.answered_at is not None:
        status = "completed"
    elif in_vain or call.abandoned:
        status = "busy" if in_vain and set(in_vain) == {"BUSY"} and not call.abandoned else "no-answer"
    began = epoch_of(call.id) or call.at
    talked = now - call.answered_at if call.answered_at is not None else timedelta(0)
    said = {"queue": call.queue, "context": min(call.contexts, default="")}
    return PhoneCall(
        id=call.id,
        direction="internal" if call.dialled else sides.direction(call.caller, call.called, call.contexts),
        status=status,
        from_=call.caller,
        to=call.called,
        started_at=began,
        ended_at=max(now, began),
        caller_name=call.name,
        talked=str(max(0, round(talked.total_seconds()))),
        said={name: value for name, value in said.items() if value},
    )
