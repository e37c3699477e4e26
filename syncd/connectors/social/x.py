"""`type: x`: mentions of an account on X, and direct messages to it, by webhook, poll and backfill.

Ids: see `syncd.connectors.social.x_events`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Self

import msgspec
from pydantic import Field, SecretStr, model_validator

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import (
    Ability,
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Prompt,
    Request,
    SignalSpec,
)
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.online import clock_findings
from syncd.connectors.registration import Registered
from syncd.connectors.social.fields import Fields, id_of, text_of, time_of
from syncd.connectors.social.x_api import XApi, XAuth, account_api, app_api, sign_in_of
from syncd.connectors.social.x_events import XReader, snowflake_time
from syncd.connectors.social.x_hooks import XWebhooks
from syncd.connectors.social.x_registration import XRegistration
from syncd.errors import Malformed, RateLimited
from syncd.items import each_row, kept_row
from syncd.signals import Route, Signal
from syncd.time_cursor import ItemMark, TimeCursor, mark_of, newest_first, progress

LAG = timedelta(minutes=10)
"""A mention may show in the list so late; a post that is read again on the same day costs nothing."""
_UNSIGNED = "consumer_secret: is not set, so webhooks cannot be verified; it is under Keys and tokens"
_NO_API = "bearer_token: is not set, nor is auth: with one of them mentions are read, with auth messages too"
_NO_APP = "bearer_token: is not set; X lets only the app itself register webhooks"


class XSettings(ConnectorSettings):
    """Keys of an account on X."""

    user_id: str = Field(pattern=r"^\d{1,19}$", description="the account's numeric id")
    consumer_secret: Annotated[Secrets | None, Prompt()] = Field(
        None, description="the app's consumer (API) secret, which signs webhooks; a list while it is being changed"
    )
    bearer_token: Annotated[SecretStr | None, Prompt()] = Field(
        None, description="the app's bearer token, to register webhooks, and without auth to poll mentions"
    )
    auth: XAuth | None = Field(None, description="signs in as the account, to poll mentions and direct messages")
    base_url: BaseUrl = Field("https://api.x.com", description="the X API")

    @model_validator(mode="after")
    def _has_a_way(self) -> Self:
        if not self.secrets and self.bearer_token is None and self.auth is None:
            raise ValueError("give consumer_secret for webhooks, or bearer_token or auth to poll, or both")
        return self

    @property
    def secrets(self) -> list[str]:
        return secret_texts(self.consumer_secret)


class XState(msgspec.Struct, frozen=True):
    """How far the list of mentions and that of messages were read."""

    mentions: TimeCursor
    messages: TimeCursor


_encode = msgspec.json.Encoder().encode
_read_state = msgspec.json.Decoder(XState).decode


class XRow(msgspec.Struct, frozen=True):
    """A row of a list, with the authors of its page. `list`: mentions or messages."""

    list: str
    fields: Fields
    users: dict[str, Fields]

    @property
    def at(self) -> datetime | None:
        """None for a row without a time that can be read."""
        try:
            id_ = id_of(self.fields.get("id"))
            return time_of(self.fields.get("created_at"), "created_at") or snowflake_time(id_)
        except (Malformed, ValueError, OverflowError):
            return None


def _mark(row: XRow) -> ItemMark | None:
    return mark_of(id_of(row.fields.get("id")), row.at)


class XHooks(XWebhooks):
    """A WebhookSource and SharedEndpointSource."""

    def __init__(self, settings: XSettings, context: Context) -> None:
        XWebhooks.__init__(self, settings.secrets, XReader(settings.user_id, context))


class XPolls:
    """A PollingSource, Backfillable, Reparsing and SignsIn."""

    def __init__(self, settings: XSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._reader = XReader(settings.user_id, context)
        at, user = settings.base_url, settings.user_id
        token = settings.bearer_token.get_secret_value() if settings.bearer_token else ""
        self._as_app = app_api(at, token, user, context) if token else None
        self._as_account = account_api(at, settings.auth, user, context) if settings.auth else None
        reads = self._as_account or self._as_app
        assert reads is not None
        self._api = XApi(reads, user, context.clock)
        self._lists = ("mentions", "messages") if settings.auth else ("mentions",)

    def start(self, now: datetime) -> bytes:
        cursor = TimeCursor(self._api.vendor_now())
        return _encode(XState(cursor, cursor))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return self._read(_read_state(state), Route.POLL, now, LAG, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        known = _read_state(state) if state is not None else XState(TimeCursor(since), TimeCursor(since))
        return self._read(known, Route.BACKFILL, self._context.clock(), timedelta(0), until)

    def _read(
        self, state: XState, route: Route, now: datetime, lag: timedelta, until: datetime | None
    ) -> Iterator[Batch]:
        """Both lists; a limit of one does not keep the other from being read."""
        limited: RateLimited | None = None
        for name in self._lists:
            cursor: TimeCursor = getattr(state, name)
            try:
                steps = newest_first(self._pages(name, cursor.since, until), cursor, _mark, lag=lag)
                for found, after, _ in progress(steps, cursor):
                    state = msgspec.structs.replace(state, **{name: after})
                    yield self._batch(found, route, now, _encode(state))
            except RateLimited as failed:
                if not failed.scope:
                    raise
                limited = failed
        if limited is not None:
            raise limited

    def _pages(self, name: str, since: datetime, until: datetime | None) -> Iterator[list[XRow]]:
        pages = self._api.mentions(since, until) if name == "mentions" else self._api.messages()
        for rows, users in pages:
            made = [XRow(name, row, users) for row in rows]
            yield [row for row in made if until is None or (at := row.at) is None or at < until]

    def _batch(self, rows: list[XRow], route: Route, now: datetime, state: bytes) -> Batch:
        def make(row: XRow, where: str) -> Batch:
            return self._of_row(row, route, now)

        return each_row(rows, make, lambda row: kept_row(f"/{row.list}", msgspec.to_builtins(row), now), state=state)

    def _of_row(self, row: XRow, route: Route, now: datetime) -> Batch:
        read = self._reader.mention if row.list == "mentions" else self._reader.message
        made = read(row.fields, row.users, now, route, row.list)
        return Batch([made]) if isinstance(made, Signal) else Batch(dropped={made: 1})

    def reparse(self, request: Request) -> Batch:
        """A row of a list from quarantine."""
        try:
            row = msgspec.convert(json.loads(request.body), XRow)
        except (msgspec.ValidationError, ValueError) as error:
            raise Malformed(f"not a row of X: {error}") from None
        return self._of_row(row, Route.POLL, request.received_at)

    def sign_in(self) -> SignIn:
        return sign_in_of(self._settings.base_url, self._settings.auth, self._context.name)

    def check_online(self) -> Iterator[Finding]:
        """The account, the clocks, and the right to read each list: three or four calls."""
        username = text_of(self._api.account().get("username"))
        if not username:
            text = f"X does not know an account {self._settings.user_id}"
            yield Finding(Level.FAULT, "sign-in", text, "correct user_id: (the number, not the @name)")
            return
        yield Finding(Level.OK, "sign-in", f"account @{username}")
        now = self._api.vendor_now()
        yield from clock_findings(self._context.clock(), now, "X")
        for name in self._lists:
            next(self._pages(name, now, None), None)
            yield Finding(Level.OK, name, f"{name} may be read")


class X(XHooks, XPolls):
    """By webhook, poll and backfill."""

    def __init__(self, settings: XSettings, context: Context) -> None:
        XPolls.__init__(self, settings, context)
        XHooks.__init__(self, settings, context)

    def reparse(self, request: Request) -> Batch:
        """A webhook's body, or a row of a list, from quarantine."""
        return XPolls.reparse(self, request) if request.method == "GET" else self.parse(request)


class XWithRegistration(Registered, X):
    """Also Subscribable."""

    def __init__(self, settings: XSettings, context: Context) -> None:
        super().__init__(settings, context)
        assert self._as_app is not None
        self._webhooks = XRegistration(self._as_app, self._as_account, settings.user_id, context.webhook_url)


def _build(settings: XSettings, context: Context) -> X | XHooks | XPolls:
    if settings.bearer_token is None and settings.auth is None:
        return XHooks(settings, context)
    if not settings.secrets:
        return XPolls(settings, context)
    return XWithRegistration(settings, context) if settings.bearer_token is not None else X(settings, context)


def _unable(settings: XSettings) -> dict[Ability, str]:
    lacks: dict[Ability, str] = {}
    if settings.bearer_token is None and settings.auth is None:
        lacks |= dict.fromkeys((Ability.POLL, Ability.BACKFILL, Ability.ONLINE_CHECK, Ability.SIGN_IN), _NO_API)
    if settings.bearer_token is None:
        lacks[Ability.SUBSCRIBE] = _NO_APP
    if not settings.secrets:
        lacks |= dict.fromkeys((Ability.WEBHOOK, Ability.SUBSCRIBE), _UNSIGNED)
    return lacks


CONNECTOR = Connector(
    name="x",
    summary="mentions of an account on X (Twitter), and direct messages to it",
    settings=XSettings,
    build=_build,
    signals=(
        SignalSpec("x.mentioned", "webhook, poll and backfill: id of the post", backfill=True),
        SignalSpec("x.messaged", "webhook, poll and backfill: id of the DM event", backfill=True),
    ),
    unit="requests",
    contract=2,
    role="source",
    unable=_unable,
)
