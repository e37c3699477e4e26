"""Twilio's callbacks as a source receives them, and the source that has nothing else: `api: false`.

Without the API the outcome that Twilio reports last counts: a call's own final status, or what its `<Dial>` ended with
(DialCallStatus, which covers all legs of that Dial). A leg alone does not tell whether another one was answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from syncd.connector import Ability, Batch, Context, Reply, Request, Verifier
from syncd.connectors.forms import read_form
from syncd.connectors.phone.twilio_calls import MISSED, SID, PhoneCall, missed_call
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.times import read_time
from syncd.errors import Malformed
from syncd.identity.phones import told_phone
from syncd.signals import Route, normal_phone
from syncd.signatures.verifier import FORM, verifier

NEEDS_API = "needs the API"
_MOST_FIELDS = 500
_WHY = "api: is false, so only callbacks are read; leave it out to use Twilio's API"
LACKS: Mapping[Ability, str] = dict.fromkeys(
    (Ability.POLL, Ability.FETCH, Ability.BACKFILL, Ability.SUBSCRIBE, Ability.ONLINE_CHECK), _WHY
)


class TwilioReceiver:
    """Verification and reading of callbacks: a WebhookSource but for `parse`."""

    def __init__(self, account: str, token: str, numbers: Sequence[str], context: Context) -> None:
        self._account = account
        self._token = token
        self._context = context
        self._numbers = frozenset(told_phone(number, context.region) or number for number in numbers)

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return verifier(STYLES["twilio"], [self._token])

    def _callback(self, request: Request) -> tuple[PhoneCall, dict[str, str]]:
        """The call of a callback, and its form. Raises Malformed."""
        form, replaced = _read_form(request)
        call = _called(form, replaced, request.received_at)
        if form.get("AccountSid") != self._account:
            raise Malformed(f"AccountSid is {form.get('AccountSid', 'missing')!r:.60}, not {self._account}")
        if not SID.fullmatch(call.sid):
            raise Malformed(f"CallSid is {call.sid!r:.60}, which is not a call id")
        return call, form

    def _wanted(self, call: PhoneCall) -> bool:
        return self._is_wanted(call.to)

    def _is_wanted(self, number: str) -> bool:
        return not self._numbers or (normal_phone(number, self._context.region) or number) in self._numbers


class TwilioWebhooksOnly(TwilioReceiver):
    """A WebhookSource. Ids are those of the other routes: the parent's CallSid."""

    def parse(self, request: Request) -> Batch:
        call, form = self._callback(request)
        if call.parent:
            return Batch(dropped={NEEDS_API: 1})
        if not call.inbound or not self._wanted(call) or form.get("DialCallStatus", call.status) not in MISSED:
            return Batch()
        recording = form.get("RecordingUrl", "")
        at, route = request.received_at, Route.WEBHOOK
        return Batch([missed_call(call, self._context, self._account, at, route=route, recording=recording)])


def _read_form(request: Request) -> tuple[dict[str, str], dict[str, str]]:
    if request.content_type != FORM:
        raise Malformed(f"a callback of Twilio is a form, not {request.content_type or 'without a content type'}")
    form = read_form(request, most=_MOST_FIELDS)
    return dict(form.pairs), form.replaced


def _called(form: dict[str, str], replaced: dict[str, str], received_at: datetime) -> PhoneCall:
    try:
        at = read_time(form.get("Timestamp", ""), UTC) or received_at
    except ValueError as error:
        raise Malformed(f"Timestamp: {error}") from None
    clean = {name: value.replace("\0", "") for name, value in form.items()}
    told: dict[str, object] = {name: clean[key] for name, key in _TOLD.items() if clean.get(key)}
    if replaced:
        told["replaced"] = replaced
    return PhoneCall(
        sid=form.get("CallSid", ""),
        parent=form.get("ParentCallSid", ""),
        direction=clean.get("Direction", ""),
        status=clean.get("CallStatus", ""),
        from_=clean.get("From", ""),
        to=clean.get("To", ""),
        started_at=at,
        ended_at=None,
        caller_name=clean.get("CallerName", ""),
        forwarded_from=clean.get("ForwardedFrom", ""),
        said=told,
    )


_TOLD = {
    "city": "FromCity",
    "state": "FromState",
    "zip": "FromZip",
    "country": "FromCountry",
    "caller_name": "CallerName",
}
