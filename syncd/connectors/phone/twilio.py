"""`type: twilio`: missed calls, by status callbacks, poll and backfill. One id on all routes: the parent's CallSid.

A callback that is final by itself is a signal at once; every other one is a hint on the parent call, judged through REST
when the parent and all its legs have ended. The poll reads whole windows of calls and joins legs to parents itself, so
that an answered call costs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from pydantic import AfterValidator, Field, SecretStr

from syncd.capabilities import Finding, Subscribed, Subscription
from syncd.connector import (
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Hint,
    NotYet,
    Request,
    SignalSpec,
)
from syncd.connectors.phone.twilio_calls import (
    MISSED,
    TYPE,
    CallVerdict,
    PhoneCall,
    TwilioCalls,
    judge,
    missed_call,
)
from syncd.connectors.phone.twilio_check import check
from syncd.connectors.phone.twilio_numbers import TwilioNumbers
from syncd.connectors.phone.twilio_receiver import LACKS, TwilioReceiver, TwilioWebhooksOnly
from syncd.http.client import HttpClient, check_base_url
from syncd.signals import Route, Signal

LAG = timedelta(minutes=10)  # a call may show in the list this long after it began
SETTLING = timedelta(minutes=1)  # legs of a call that ended so long ago are all in the list
WINDOW = timedelta(days=1)
_SOONEST, _LATEST = timedelta(seconds=15), timedelta(minutes=5)


class TwilioSettings(ConnectorSettings):
    """Keys of a Twilio source."""

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$", description="Account SID, AC and 32 hex digits")
    auth_token: SecretStr = Field(description="auth token: reads calls and verifies callbacks")
    api: bool = Field(
        True, description="false: Twilio's API is never called: callbacks alone, without poll, backfill and ring groups"
    )
    base_url: Annotated[str, AfterValidator(check_base_url)] = Field(
        "https://api.twilio.com", description="Twilio's API"
    )
    numbers: list[str] = Field([], description="only calls to these numbers of yours; empty: to any")


class CallCursor(msgspec.Struct, frozen=True):
    """Calls that started at or after `since` (Twilio's clock) are still to be looked at, but for those `seen`."""

    since: datetime
    seen: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode
_read_cursor = msgspec.json.Decoder(CallCursor).decode


def advance(cursor: CallCursor, calls: Sequence[PhoneCall]) -> CallCursor:
    """The cursor after `calls` were handled: the newest start minus LAG, and who is at or after it. Never goes back."""
    starts = {call.sid: call.started_at for call in calls if call.started_at is not None}
    since = max([cursor.since, *(start - LAG for start in starts.values())])
    kept = set(cursor.seen) - starts.keys() if since == cursor.since else set()
    return CallCursor(since, tuple(sorted(kept | {sid for sid, start in starts.items() if start >= since})))


class Twilio(TwilioReceiver):
    """WebhookSource, HintSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: TwilioSettings, context: Context) -> None:
        token = settings.auth_token.get_secret_value()
        super().__init__(settings.account_sid, token, settings.numbers, context)
        self._calls = TwilioCalls(settings.base_url, self._account, token, context)
        client = HttpClient(settings.base_url, basic=(self._account, token))
        self._callbacks = TwilioNumbers(client, self._account, context.webhook_url, self._is_wanted, context.clock)

    # ---- webhook

    def subscriptions(self) -> list[Subscription]:
        return self._callbacks.all()

    def subscribe(self, *, force: bool = False) -> Subscribed:
        return Subscribed(there=self._callbacks.subscribe(force=force))

    def unsubscribe(self, id: str) -> None:
        self._callbacks.unsubscribe(id)

    def parse(self, request: Request) -> Batch:
        call, form = self._callback(request)
        about = call.parent or call.sid
        leg_status = call.status if call.parent else form.get("DialCallStatus", "")
        if leg_status == "completed":  # taken: whatever the other legs say
            return Batch()
        if recording := form.get("RecordingUrl", ""):
            return Batch(hints=[Hint(key=about)], remember={_recording(about): recording})
        if leg_status:
            return Batch(hints=[Hint(key=about)] if leg_status in MISSED else [])
        if not call.inbound or not self._wanted(call):
            return Batch()
        if call.status in MISSED:
            return Batch(signals=[self._signal(call, Route.WEBHOOK, (), request.received_at)])
        return Batch(hints=[Hint(key=about)] if call.status == "completed" else [])

    # ---- check --online

    def check_online(self) -> Iterator[Finding]:
        return check(self._calls, sorted(self._numbers), self._context.clock())

    # ---- hints

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        call = self._calls.one(hint.key)
        forget: dict[str, str | None] = {_recording(hint.key): None}
        if call is None or not (call.inbound or call.parent) or not self._wanted(call):
            return Batch(remember=forget)
        if call.parent:
            return Batch(hints=[Hint(key=call.parent, data=hint.data)], remember=forget)
        legs = self._calls.legs(call.sid) if call.status == "completed" else []
        verdict = judge(call, legs)
        settled = (call.ended_at or now) + SETTLING
        if verdict is CallVerdict.OPEN or (verdict is CallVerdict.NOT_MISSED and not legs and settled > now):
            age = now - (call.started_at or now)
            return NotYet(now + min(max(age / 4, _SOONEST), _LATEST))
        if verdict is CallVerdict.NOT_MISSED:
            return Batch(remember=forget)
        recording = self._context.recall([_recording(call.sid)]).get(_recording(call.sid), "")
        route = Route(hint.data.get("route", Route.WEBHOOK))
        return Batch(signals=[self._signal(call, route, legs, now, recording)], remember=forget)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return _encode(CallCursor(self._calls.vendor_now()))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = _read_cursor(state)
        last = False
        while not last:
            until = cursor.since + WINDOW
            calls, vendor_now = self._window(cursor.since, until)
            last = until >= vendor_now
            inbound = [call for call in calls if call.inbound and not _before(call, cursor.since)]
            fresh = [call for call in inbound if call.sid not in cursor.seen]
            # Legs that began after the window are not in `calls`: what ended near its end is judged by a hint.
            signals, hints = self._sort(fresh, calls, min(vendor_now, until), now, Route.POLL)
            before, cursor = cursor, advance(cursor, inbound) if last else CallCursor(until)
            if signals or hints or cursor != before:
                yield Batch(signals=signals, hints=hints, state=_encode(cursor))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        begin = _read_cursor(state).since if state is not None else since
        while begin < until:
            end = min(begin + WINDOW, until)
            calls, vendor_now = self._window(begin, end + WINDOW / 24)
            wanted = [
                call
                for call in calls
                if call.inbound and call.started_at is not None and begin <= call.started_at < end
            ]
            now = self._context.clock()
            signals, hints = self._sort(wanted, calls, min(vendor_now, end + WINDOW / 24), now, Route.BACKFILL)
            yield Batch(signals=signals, hints=hints, state=_encode(CallCursor(end)))
            begin = end

    def _window(self, since: datetime, until: datetime) -> tuple[list[PhoneCall], datetime]:
        calls: dict[str, PhoneCall] = {}
        vendor_now: datetime | None = None
        for page in self._calls.window(since, until):
            vendor_now = vendor_now or page.vendor_now
            calls.update((call.sid, call) for call in page.calls if call.inbound or call.parent)
        return sorted(calls.values(), key=_began), vendor_now or since

    def _sort(
        self,
        parents: Sequence[PhoneCall],
        calls: Sequence[PhoneCall],
        known_until: datetime,
        now: datetime,
        route: Route,
    ) -> tuple[list[Signal], list[Hint]]:
        """Which of `parents` were missed, and which this list does not decide: it is still in progress, or its legs may
        have started after `known_until`."""
        legs: dict[str, list[PhoneCall]] = {}
        for call in calls:
            if call.parent:
                legs.setdefault(call.parent, []).append(call)
        signals: list[Signal] = []
        hints: list[Hint] = []
        for call in filter(self._wanted, parents):
            verdict = judge(call, legs.get(call.sid, ()))
            known = call.status in MISSED or (call.ended_at is not None and call.ended_at + SETTLING <= known_until)
            if verdict is CallVerdict.OPEN or not known:
                hints.append(Hint(key=call.sid, data={"route": str(route)}, not_before=now + _SOONEST))
            elif verdict is CallVerdict.MISSED:
                signals.append(self._signal(call, route, legs.get(call.sid, ()), now))
        return signals, hints

    def _signal(
        self, call: PhoneCall, route: Route, legs: Sequence[PhoneCall], at: datetime, recording: str = ""
    ) -> Signal:
        return missed_call(call, self._context, self._account, at, route=route, legs=legs, recording=recording)


def _began(call: PhoneCall) -> tuple[datetime, str]:
    return call.started_at or datetime.max.replace(tzinfo=UTC), call.sid


def _before(call: PhoneCall, moment: datetime) -> bool:
    return call.started_at is not None and call.started_at < moment


def _recording(sid: str) -> str:
    return f"recording:{sid}"


def _build(settings: TwilioSettings, context: Context) -> Twilio | TwilioWebhooksOnly:
    if settings.api:
        return Twilio(settings, context)
    token = settings.auth_token.get_secret_value()
    return TwilioWebhooksOnly(settings.account_sid, token, settings.numbers, context)


CONNECTOR = Connector(
    name="twilio",
    contract=2,
    role="source",
    summary="missed calls of a Twilio account",
    settings=TwilioSettings,
    build=_build,
    unable=lambda settings: {} if settings.api else LACKS,
    signals=(SignalSpec(TYPE, "webhook, poll and backfill: CallSid of the parent call", backfill=True),),
    secrets_note="callbacks are verified with the public URL of this source: server.public_url must be what Twilio calls",
)
