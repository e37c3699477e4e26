"""`type: twilio`: calls missed, answered and placed, by callbacks, poll and backfill. One id on all routes: the parent's CallSid.

A callback that is final by itself is a signal at once; every other one is a hint on the parent call, judged through REST
when the parent and all its legs have ended. The poll reads whole windows of calls and joins legs to parents itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import Field, SecretStr

from syncd.capabilities import Finding
from syncd.connector import Batch, Connector, Context, Reply, Request, SignalSpec, Verifier, webhooks_alone
from syncd.connectors.forms import read_form
from syncd.connectors.keys import BaseUrl
from syncd.connectors.phone.call_log import LoggedCalls, call_hint, recording_of
from syncd.connectors.phone.calls import MISSED, SIGNALLED, CallOutcome, PhoneAccount, PhoneCall, PhoneSettings
from syncd.connectors.phone.twilio_api import NAMES, SID, TwilioApi
from syncd.connectors.registration import Registered
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.times import read_time
from syncd.errors import Malformed
from syncd.http.client import HttpClient
from syncd.signals import Route
from syncd.signatures.verifier import FORM, verifier

_TOLD = {
    "city": "FromCity",
    "state": "FromState",
    "zip": "FromZip",
    "country": "FromCountry",
    "caller_name": "CallerName",
}


class TwilioSettings(PhoneSettings):
    """Keys of a Twilio source."""

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$", description="Account SID, AC and 32 hex digits")
    auth_token: SecretStr = Field(description="auth token: reads calls and verifies callbacks")
    api: bool = Field(
        True, description="false: Twilio's API is never called: callbacks alone, without poll, backfill and ring groups"
    )
    base_url: BaseUrl = Field("https://api.twilio.com", description="Twilio's API")


class TwilioWebhooksOnly:
    """A WebhookSource for `api: false`. Without the API the outcome that Twilio reports last counts: a call's own final status,
    or what its `<Dial>` ended with (DialCallStatus, which covers all its legs). A leg alone does not tell of the others."""

    def __init__(self, settings: TwilioSettings, context: Context) -> None:
        self._account = settings.account_sid
        self._token = settings.auth_token.get_secret_value()
        self._calls = PhoneAccount("twilio", self._account, settings, context, id_name="call_sid")

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return verifier(STYLES["twilio"], [self._token])

    def parse(self, request: Request) -> Batch:
        call, form = self._callback(request)
        placed = call.outbound and call.status == "completed" and CallOutcome.PLACED in self._calls.outcomes
        if call.parent or placed:
            return Batch(dropped={"needs the API": 1})
        dialled, outcome = form.get("DialCallStatus", call.status), CallOutcome.NOTHING
        if call.inbound and self._calls.concerns(call):
            outcome = CallOutcome.MISSED if dialled in MISSED else outcome
            outcome = CallOutcome.ANSWERED if form.get("DialCallStatus") == "completed" else outcome
        recording = form.get("RecordingUrl", "")
        return Batch(self._calls.signals(outcome, call, request.received_at, Route.WEBHOOK, recording=recording))

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


class Twilio(TwilioWebhooksOnly, LoggedCalls, Registered):
    """WebhookSource, BulkHintSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: TwilioSettings, context: Context) -> None:
        TwilioWebhooksOnly.__init__(self, settings, context)
        client = HttpClient(settings.base_url, basic=(self._account, self._token))
        self._webhooks = self._api = TwilioApi(client, self._account, self._calls, context)
        LoggedCalls.__init__(self, self._api, self._calls, context)

    def check_online(self) -> Iterator[Finding]:
        return self._api.check_online()

    def parse(self, request: Request) -> Batch:
        call, form = self._callback(request)
        about, taken = call.parent or call.id, self._calls.outcomes != {CallOutcome.MISSED}
        leg_status = call.status if call.parent else form.get("DialCallStatus", "")
        hint = call_hint(about, call.started_at or request.received_at)
        if leg_status == "completed" and not taken:  # whatever the other legs say, it was not missed
            return Batch()
        if recording := form.get("RecordingUrl", ""):
            return Batch(hints=[hint], remember={recording_of(about): recording})
        if leg_status:
            return Batch(hints=[hint] if leg_status in MISSED or leg_status == "completed" else [])
        if not self._calls.concerns(call):
            return Batch()
        if call.inbound and call.status in MISSED:
            return Batch(self._calls.signals(CallOutcome.MISSED, call, request.received_at, Route.WEBHOOK))
        return Batch(hints=[hint] if call.status == "completed" else [])


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
    texts: dict[str, Any] = {ours: clean[name] for ours, (_, name) in NAMES.items() if name in clean}
    return PhoneCall(**texts, started_at=at, said=told)


def _build(settings: TwilioSettings, context: Context) -> Twilio | TwilioWebhooksOnly:
    return Twilio(settings, context) if settings.api else TwilioWebhooksOnly(settings, context)


_ALONE = "api: is false, so only callbacks are read; leave it out to use Twilio's API"
_KEY = "webhook, poll and backfill: CallSid of the parent call"
CONNECTOR = Connector(
    name="twilio",
    summary="calls of a Twilio account: missed, answered and placed",
    settings=TwilioSettings,
    build=_build,
    signals=tuple(SignalSpec(outcome.signal_type, _KEY, backfill=True) for outcome in SIGNALLED),
    secrets_note="callbacks are verified with the public URL of this source: server.public_url must be what Twilio calls",
    contract=2,
    role="source",
    unable=lambda settings: {} if settings.api else webhooks_alone(_ALONE),
)
