"""`type: twilio`: calls missed, answered and placed, by callbacks, poll and backfill. One id on all routes: the parent's CallSid.

A callback that is final by itself is a signal at once; every other one is a hint on the parent call, judged through REST
when the parent and all its legs have ended. The poll reads whole windows of calls and joins legs to parents itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from syncd.capabilities import Finding, Subscribed, Subscription
from syncd.connector import (
    Ability,
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Hint,
    NotYet,
    Reply,
    Request,
    SignalSpec,
    Verifier,
)
from syncd.connectors.forms import read_form
from syncd.connectors.phone.twilio_api import TwilioApi
from syncd.connectors.phone.twilio_calls import MISSED, CallOutcome, PhoneCall, call_signal, judge, read_callback
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.times import read_time
from syncd.errors import Failure, Malformed
from syncd.http.client import HttpClient, check_base_url
from syncd.identity.phones import told_phone
from syncd.signals import Route, Signal, normal_phone
from syncd.signatures.verifier import FORM, verifier
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, read_cursor

LAG = timedelta(minutes=10)  # a call may show in the list this long after it began
SETTLING = timedelta(minutes=1)  # legs of a call that ended so long ago are all in the list
WINDOW = timedelta(days=1)
LONGEST_CALL = timedelta(hours=4)  # Twilio's default limit: a callback at its end may come so long after its start
_SOONEST, _LATEST = timedelta(seconds=15), timedelta(minutes=5)
_WHY = "api: is false, so only callbacks are read; leave it out to use Twilio's API"
_NEED_API = (Ability.POLL, Ability.FETCH, Ability.BACKFILL, Ability.SUBSCRIBE, Ability.ONLINE_CHECK)
_TAKEN = frozenset({CallOutcome.ANSWERED, CallOutcome.PLACED})


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
    numbers: list[str] = Field([], description="only calls to or from these numbers of yours; empty: any")
    calls: list[Literal["missed", "answered", "placed"]] = Field(
        ["missed"],
        min_length=1,
        description="which calls become signals; by callback, answered and placed ones cost API calls",
    )


class TwilioWebhooksOnly:
    """A WebhookSource for `api: false`. Without the API the outcome that Twilio reports last counts: a call's own final status,
    or what its `<Dial>` ended with (DialCallStatus, which covers all its legs). A leg alone does not tell of the others."""

    def __init__(self, settings: TwilioSettings, context: Context) -> None:
        self._account = settings.account_sid
        self._token = settings.auth_token.get_secret_value()
        self._context = context
        self._numbers = frozenset(told_phone(number, context.region) or number for number in settings.numbers)
        self._outcomes = frozenset(CallOutcome(one) for one in settings.calls)

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return verifier(STYLES["twilio"], [self._token])

    def parse(self, request: Request) -> Batch:
        call, form = self._callback(request)
        if call.parent or (call.outbound and call.status == "completed" and CallOutcome.PLACED in self._outcomes):
            return Batch(dropped={"needs the API": 1})
        dialled, outcome = form.get("DialCallStatus", call.status), CallOutcome.NOTHING
        if call.inbound and self._concerns(call):
            outcome = CallOutcome.MISSED if dialled in MISSED else outcome
            outcome = CallOutcome.ANSWERED if form.get("DialCallStatus") == "completed" else outcome
        recording = form.get("RecordingUrl", "")
        return Batch(self._signals(outcome, call, request.received_at, Route.WEBHOOK, recording=recording))

    def _callback(self, request: Request) -> tuple[PhoneCall, Mapping[str, str]]:
        """The call of a callback, and its form. Raises Malformed."""
        if request.content_type != FORM:
            raise Malformed(f"a callback of Twilio is a form, not {request.content_type or 'without a content type'}")
        read = read_form(request, most=500)
        form = dict(read.pairs)
        call = read_callback(form, read.replaced, request.received_at)
        if form.get("AccountSid") != self._account:
            raise Malformed(f"AccountSid is {form.get('AccountSid', 'missing')!r:.60}, not {self._account}")
        return call, form

    def _concerns(self, call: PhoneCall) -> bool:
        """Whether it is a call of one of our numbers, of a direction that can bring a signal."""
        if not call.inbound:
            return call.outbound and CallOutcome.PLACED in self._outcomes and self._is_wanted(call.from_)
        return self._is_wanted(call.to)

    def _is_wanted(self, number: str) -> bool:
        return not self._numbers or (normal_phone(number, self._context.region) or number) in self._numbers

    def _signals(
        self,
        outcome: CallOutcome,
        call: PhoneCall,
        at: datetime,
        route: Route,
        legs: Sequence[PhoneCall] = (),
        recording: str = "",
    ) -> tuple[Signal, ...]:
        if outcome not in self._outcomes:
            return ()
        made = call_signal(outcome, call, self._context, self._account, at, route=route, legs=legs, recording=recording)
        return (made,)


class Twilio(TwilioWebhooksOnly):
    """WebhookSource, BulkHintSource, PollingSource, Backfillable and Subscribable."""

    hints_at_once = 20

    def __init__(self, settings: TwilioSettings, context: Context) -> None:
        super().__init__(settings, context)
        client = HttpClient(settings.base_url, basic=(self._account, self._token))
        self._api = TwilioApi(client, self._account, context.webhook_url, self._is_wanted, context.clock)

    def subscriptions(self) -> list[Subscription]:
        return self._api.subscriptions()

    def subscribe(self, *, force: bool = False) -> Subscribed:
        return Subscribed(there=self._api.subscribe(force=force))

    def unsubscribe(self, id: str) -> None:
        self._api.unsubscribe(id)

    def check_online(self) -> Iterator[Finding]:
        return self._api.check(sorted(self._numbers), self._context.clock())

    def parse(self, request: Request) -> Batch:
        call, form = self._callback(request)
        about, taken = call.parent or call.sid, not self._outcomes.isdisjoint(_TAKEN)
        leg_status = call.status if call.parent else form.get("DialCallStatus", "")
        hint = Hint(key=about, data={"at": (call.started_at or request.received_at).isoformat()})
        if leg_status == "completed" and not taken:  # whatever the other legs say, it was not missed
            return Batch()
        if recording := form.get("RecordingUrl", ""):
            return Batch(hints=[hint], remember={_recording(about): recording})
        if leg_status:
            return Batch(hints=[hint] if leg_status in MISSED or leg_status == "completed" else [])
        if not self._concerns(call):
            return Batch()
        if call.inbound and call.status in MISSED:
            return Batch(self._signals(CallOutcome.MISSED, call, request.received_at, Route.WEBHOOK))
        return Batch(hints=[hint] if call.status == "completed" else [])

    # ---- hints

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        call = self._api.call(hint.key)
        if call is not None and call.parent:
            return Batch(hints=[Hint(key=call.parent, data=hint.data)], remember={_recording(hint.key): None})
        ended = call is not None and self._concerns(call) and call.status == "completed"
        return self._judged(hint, call, self._api.legs(hint.key) if ended else [], now)

    def fetch_many(self, hints: Sequence[Hint], now: datetime) -> list[Batch | NotYet | Failure]:
        """One list of the calls of that time instead of two calls for each hint; whatever is not in it is fetched alone. The list
        is newest first: with a call, all its legs have been read."""
        moments = [read_time(hint.data.get("at"), self._context.timezone) for hint in hints]
        told = [moment for moment in moments if moment is not None]
        found: dict[str, PhoneCall] = {}
        if len(told) > 1 and max(told) - min(told) < WINDOW:
            try:
                for calls, _ in islice(self._api.window(min(told) - LONGEST_CALL, max(told) + LAG), len(told)):
                    found.update((call.sid, call) for call in calls)
            except Failure as failed:
                return [failed] * len(hints)
        legs = _by_parent(found.values())
        return [
            self._judged(hint, found[hint.key], legs.get(hint.key, []), now)
            if hint.key in found and not found[hint.key].parent
            else self._alone(hint, now)
            for hint in hints
        ]

    def _alone(self, hint: Hint, now: datetime) -> Batch | NotYet | Failure:
        try:
            return self.fetch(hint, now)
        except Failure as failed:
            return failed

    def _judged(self, hint: Hint, call: PhoneCall | None, legs: list[PhoneCall], now: datetime) -> Batch | NotYet:
        forget: dict[str, str | None] = {_recording(hint.key): None}
        if call is None or not self._concerns(call):
            return Batch(remember=forget)
        outcome, settled = judge(call, legs), (call.ended_at or now) + SETTLING
        may_have_legs = not legs and call.status == "completed" and settled > now
        if outcome is CallOutcome.OPEN or may_have_legs:
            age = now - (call.started_at or now)
            return NotYet(now + min(max(age / 4, _SOONEST), _LATEST))
        recording = self._context.recall([_recording(call.sid)]).get(_recording(call.sid), "")
        route = Route(hint.data.get("route", Route.WEBHOOK))
        return Batch(self._signals(outcome, call, now, route, legs, recording), remember=forget)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(self._api.vendor_now()))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor, last = read_cursor(state), False
        while not last:
            until = cursor.since + WINDOW
            calls, vendor_now = self._window(cursor.since, until)
            last = until >= vendor_now
            parents = [call for call in calls if self._concerns(call)]
            # Legs that began after the window are not in `calls`: what ended near its end is judged by a hint.
            batch = self._sorted(cursor.fresh(parents, _mark), calls, min(vendor_now, until), now, Route.POLL)
            before, cursor = cursor, cursor.after(map(_mark, parents), LAG) if last else cursor.moved(until)
            if batch.signals or batch.hints or cursor != before:
                yield replace(batch, state=encode(cursor))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        begin = read_cursor(state).since if state is not None else since
        while begin < until:
            end = min(begin + WINDOW, until)
            calls, vendor_now = self._window(begin, end + WINDOW / 24)
            parents = [
                call for call in calls if self._concerns(call) and call.started_at and begin <= call.started_at < end
            ]
            known = min(vendor_now, end + WINDOW / 24)
            batch = self._sorted(parents, calls, known, self._context.clock(), Route.BACKFILL)
            yield replace(batch, state=encode(TimeCursor(end)))
            begin = end

    def _window(self, since: datetime, until: datetime) -> tuple[list[PhoneCall], datetime]:
        """The calls of a time, oldest first, and Twilio's clock before they were read."""
        found: dict[str, PhoneCall] = {}
        clock: datetime | None = None
        for calls, vendor_now in self._api.window(since, until):
            clock = clock or vendor_now
            found.update((call.sid, call) for call in calls)
        return sorted(found.values(), key=lambda call: (call.started_at or until, call.sid)), clock or since

    def _sorted(
        self,
        parents: Sequence[PhoneCall],
        calls: Sequence[PhoneCall],
        known_until: datetime,
        now: datetime,
        route: Route,
    ) -> Batch:
        """The signals of `parents`, and hints on those that this list does not decide: a call is still in progress, or its legs
        may have started after `known_until`."""
        legs, signals, hints = _by_parent(calls), list[Signal](), list[Hint]()
        for call in parents:
            outcome = judge(call, legs.get(call.sid, ()))
            known = call.status in MISSED or (call.ended_at is not None and call.ended_at + SETTLING <= known_until)
            if outcome is CallOutcome.OPEN or not known:
                data = {"route": str(route), "at": (call.started_at or now).isoformat()}
                hints.append(Hint(key=call.sid, data=data, not_before=now + _SOONEST))
            else:
                signals += self._signals(outcome, call, now, route, legs.get(call.sid, ()))
        return Batch(signals=signals, hints=hints)


def _by_parent(calls: Iterable[PhoneCall]) -> dict[str, list[PhoneCall]]:
    legs: dict[str, list[PhoneCall]] = {}
    for call in calls:
        if call.parent:
            legs.setdefault(call.parent, []).append(call)
    return legs


def _mark(call: PhoneCall) -> ItemMark | None:
    return mark_of(call.sid, call.started_at)


def _recording(sid: str) -> str:
    return f"recording:{sid}"


def _build(settings: TwilioSettings, context: Context) -> Twilio | TwilioWebhooksOnly:
    return Twilio(settings, context) if settings.api else TwilioWebhooksOnly(settings, context)


_KEY = "webhook, poll and backfill: CallSid of the parent call"
CONNECTOR = Connector(
    name="twilio",
    summary="calls of a Twilio account: missed, answered and placed",
    settings=TwilioSettings,
    build=_build,
    signals=tuple(
        SignalSpec(outcome.signal_type, _KEY, backfill=True) for outcome in (CallOutcome.MISSED, *sorted(_TAKEN))
    ),
    secrets_note="callbacks are verified with the public URL of this source: server.public_url must be what Twilio calls",
    contract=2,
    role="source",
    unable=lambda settings: {} if settings.api else dict.fromkeys(_NEED_API, _WHY),
)
