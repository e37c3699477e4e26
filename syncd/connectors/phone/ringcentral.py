"""`type: ringcentral`: calls missed, answered and placed, from the account's call log. One id on all routes: the call's session.

An event only says that a call ended for one party, and a queue has a party for each agent who did not answer; RingCentral signs
no event. So it is a hint: the call log says how the whole call ended. Facts: ringcentral-api-docs, docs/notifications/webhooks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import Batch, Connector, Context, Reply, Request, SignalSpec, Verifier
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.phone.call_log import LoggedCalls, call_hint
from syncd.connectors.phone.calls import SIGNALLED, CallOutcome, PhoneAccount, PhoneSettings
from syncd.connectors.phone.ringcentral_api import SESSIONS, UNIT, RingCentralApi, outcome_of, session_of
from syncd.connectors.registration import RegisteredForTime
from syncd.connectors.times import read_time
from syncd.errors import Malformed, NotAuthentic
from syncd.http.json_text import parse as parse_json
from syncd.signatures.shared_secret import bearer, path

TOKEN_HEADERS = ("verification-token", "validation-token")
"""Where the secret of a webhook comes back: the specification names the first, the guide and a published event the second."""
LOGGED_AFTER = timedelta(
    minutes=1
)  # the call log follows the end of a call; what it does not show then, the poll finds
_HANDSHAKE = re.compile(r"[!-~]{1,300}")  # the whole answer may have 1,024 bytes
_STRONG = re.compile(r"[A-Za-z0-9]{16,}")
"""A secret that nobody guesses and that an address can hold."""
_WEAK = "webhook_token must have 16 letters and digits or more, and nothing else"
_ONGOING = frozenset({"Setup", "Proceeding", "Answered", "Hold", "Parked"})
"""`status.code` of a party whose call has not ended; others are looked up."""


class RingCentralSettings(PhoneSettings):
    """Keys of a RingCentral source."""

    client_id: str = Field(min_length=1, description="client id of the app in the developer console")
    client_secret: SecretStr = Field(description="its client secret")
    jwt: SecretStr = Field(description="the JWT credential of the user whose rights syncd has")
    webhook_token: Secrets | None = Field(
        None,
        description="a secret of your own, 16 letters and digits or more, that events must show; without it no webhook",
    )
    voicemail: bool = Field(True, description="a call that went to voicemail counts as missed")
    base_url: BaseUrl = Field("https://platform.ringcentral.com", description="RingCentral's API")


class RingCentral(LoggedCalls, RegisteredForTime):
    """WebhookSource, BulkHintSource, PollingSource, Backfillable, Subscribable and Renewable."""

    def __init__(self, settings: RingCentralSettings, context: Context) -> None:
        # A session's id is unique over all accounts, and "~" is whatever account the user belongs to.
        self._calls = PhoneAccount("ringcentral", "~", settings, context, id_name="session_id")
        tokens = secret_texts(settings.webhook_token)
        self._tokens = [one for one in tokens if _STRONG.fullmatch(one)]
        self._weak = len(tokens) > len(self._tokens)
        only_missed = self._calls.outcomes == {CallOutcome.MISSED}
        self._webhooks = self._api = RingCentralApi(
            settings.base_url,
            (settings.client_id, settings.client_secret.get_secret_value()),
            settings.jwt.get_secret_value(),
            context,
            token=self._tokens[0] if self._tokens else "",
            events=f"{SESSIONS}?direction=Inbound&missedCall=true" if only_missed else SESSIONS,
            voicemail=settings.voicemail,
        )
        LoggedCalls.__init__(self, self._api, self._calls, context, outcome_of)

    def check_online(self) -> Iterator[Finding]:
        yield from self._api.check_online()
        if self._weak:
            yield Finding(Level.FAULT, "webhook_token", _WEAK, "create one with: openssl rand -hex 16")

    # ---- webhook

    def handshake(self, request: Request) -> Reply | None:
        """RingCentral tries an address by an empty POST with a random token in a header, and wants that header back."""
        token = request.headers.get("validation-token", "")
        empty = request.method == "POST" and request.body.strip() in (b"", b"{}")
        if not empty or not _HANDSHAKE.fullmatch(token):
            return None
        return Reply(200, b"", {"Validation-Token": token, "Content-Type": "application/json"})

    def verifier(self) -> Verifier:
        """The secret, in a header or as the last part of the address: which headers come is not verified."""
        tokens = self._tokens
        ways = [*(bearer(tokens, header=name, scheme="") for name in TOKEN_HEADERS), path(tokens)] if tokens else []

        def verify(request: Request, now: datetime) -> None:
            for way in ways:
                try:
                    return way(request, now)
                except NotAuthentic:
                    continue
            raise NotAuthentic(
                "the event does not show webhook_token" if ways else f"no webhook_token to compare: {_WEAK}"
            )

        return verify

    def parse(self, request: Request) -> Batch:
        """A hint on the call, once a party of it has ended."""
        try:
            said = parse_json(request.body).value
        except (ValueError, RecursionError) as error:
            raise Malformed(f"an event that is not JSON: {error}") from None
        event = _within(said, "pn_apns") or said  # the form of push notifications
        body = _within(event, "body")
        if not isinstance(event, Mapping) or not isinstance(event.get("event"), str):
            raise Malformed("event: missing or not a text")
        if not event["event"].partition("?")[0].endswith("/telephony/sessions"):
            return Batch(dropped={f"event {_name(event['event'])}": 1})
        id_ = session_of(body)
        if not id_:
            raise Malformed("body.telephonySessionId: missing or not an id")
        try:
            at = read_time(body.get("eventTime"), UTC) or request.received_at
        except ValueError as error:
            raise Malformed(f"body.eventTime: {error}") from None
        parties = body.get("parties")
        if isinstance(parties, list) and parties and all(map(_is_ongoing, parties)):
            return Batch()
        return Batch(hints=[call_hint(id_, at, not_before=request.received_at + LOGGED_AFTER)])


def _within(value: Any, name: str) -> Mapping[str, Any]:
    inner = value.get(name) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _is_ongoing(party: Any) -> bool:
    code = _within(party, "status").get("code")
    return (
        isinstance(party, Mapping)
        and party.get("missedCall") is not True
        and isinstance(code, str)
        and code in _ONGOING
    )


def _name(event: str) -> str:
    """A filter without ids."""
    words = [one for one in event.partition("?")[0].split("/") if one.replace("-", "").isalpha()]
    return "/".join(words)[-60:] or "without a name"


_KEY = "webhook, poll and backfill: telephonySessionId, otherwise sessionId"
CONNECTOR = Connector(
    name="ringcentral",
    unit=UNIT,
    summary="calls of a RingCentral account: missed, answered and placed",
    settings=RingCentralSettings,
    build=RingCentral,
    signals=tuple(SignalSpec(outcome.signal_type, _KEY, backfill=True) for outcome in SIGNALLED),
    secrets_note="webhook_token is a secret of your own that RingCentral sends with each event",
    contract=2,
    role="source",
)
