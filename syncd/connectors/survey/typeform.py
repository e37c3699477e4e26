"""`type: typeform`: responses to forms, by webhook, poll and backfill. One id on all routes: the response's token.

Facts: typeform.com/developers, "Webhooks" (retries; one answer 404 or 410 disables a webhook) and "Responses API". A webhook has
no time that is signed: a replay is known by its id. A response may show in the API late (about half an hour).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import (
    Ability,
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Reply,
    Request,
    SignalSpec,
    Verifier,
)
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.registration import Registered
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.survey.responses import TYPE, AnswerFields, signal_of
from syncd.connectors.survey.typeform_api import TypeformApi
from syncd.connectors.survey.typeform_responses import read_response, submitted_at
from syncd.errors import Malformed
from syncd.items import each_item, each_row, json_body
from syncd.signals import Route
from syncd.signatures.verifier import verifier
from syncd.time_cursor import ItemMark, TimeCursor, encode, forward, mark_of, progress

LAG = timedelta(hours=1)
PAGE = 1000
"""Most responses on a page (Responses API)."""
_WHY = "token: is not set, so only webhooks are read; with it Typeform's API is read too"
_NEED_API = (Ability.POLL, Ability.BACKFILL, Ability.SUBSCRIBE, Ability.ONLINE_CHECK)


class TypeformSettings(ConnectorSettings):
    """Keys of a Typeform source."""

    forms: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,40}$")]] = Field(
        min_length=1, description="ids of the forms: the last part of a form's address, typeform.com/to/ID"
    )
    secret: Secrets = Field(
        description="a text of your choice, with which Typeform signs; a list while it is being changed, the new one first"
    )
    token: SecretStr | None = Field(
        None,
        description="personal access token (tfp_…), for poll, backfill and `syncd webhooks`; without it: webhooks alone",
    )
    base_url: BaseUrl = Field(
        "https://api.typeform.com", description="Typeform's API; accounts in the EU: https://api.eu.typeform.com"
    )
    fields: AnswerFields = Field(AnswerFields(), description="which answers hold the person")

    @property
    def secrets(self) -> list[str]:
        return secret_texts(self.secret)


class FormCursors(msgspec.Struct, frozen=True):
    """How far each form was read. A form that the configuration has since is read from `since`."""

    since: datetime
    forms: dict[str, TimeCursor] = {}

    def of(self, form: str) -> TimeCursor:
        return self.forms.get(form) or TimeCursor(self.since)

    def with_form(self, form: str, cursor: TimeCursor) -> FormCursors:
        return FormCursors(self.since, {**self.forms, form: cursor})


_read_cursors = msgspec.json.Decoder(FormCursors).decode


class TypeformWebhooksOnly:
    """A WebhookSource."""

    def __init__(self, settings: TypeformSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._forms = tuple(dict.fromkeys(settings.forms))

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return verifier(STYLES["typeform"], self._settings.secrets)

    def parse(self, request: Request) -> Batch:
        body = json_body(request)

        def make(event: Any, where: str) -> Batch:
            sent = event.get("form_response") if isinstance(event, dict) else None
            if not isinstance(event, dict) or (sent is None and not event.get("event_type")):
                raise Malformed(f"{where}: not an event of Typeform")
            if event.get("event_type") != "form_response":
                return Batch(dropped={f"event {str(event.get('event_type'))[:40]}": 1})
            if not isinstance(sent, dict):
                raise Malformed(f"{where}, form_response: missing or not an object")
            form = str(sent.get("form_id") or "")
            if form not in self._forms:
                return Batch(dropped={"another form": 1})
            return self._batch(form, sent, sent.get("definition"), where, request.received_at, Route.WEBHOOK)

        return each_item(request, body if isinstance(body, list) and body else [body], make)

    def _batch(self, form: str, row: Any, definition: Any, where: str, now: datetime, route: Route) -> Batch:
        """Raises Malformed."""
        read = read_response(form, row, definition, where)
        if isinstance(read, str):
            return Batch(dropped={read: 1})
        return Batch([signal_of(read, self._settings.fields, self._context, now, route)])


class Typeform(TypeformWebhooksOnly, Registered):
    """A WebhookSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: TypeformSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._api = TypeformApi(settings.base_url, settings.token, settings.secrets[0], self._forms, context)
        self._webhooks = self._api

    def start(self, now: datetime) -> bytes:
        return encode(FormCursors(now.replace(microsecond=0)))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursors = _read_cursors(state)
        turn = int(now.timestamp() // 60) % len(
            self._forms
        )  # a limit met on the way must not always meet the same forms
        return self._read(cursors, [*self._forms[turn:], *self._forms[:turn]], Route.POLL, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursors = _read_cursors(state) if state is not None else FormCursors(since)
        return self._read(cursors, self._forms, Route.BACKFILL, until)

    def _read(
        self, cursors: FormCursors, forms: Sequence[str], route: Route, until: datetime | None
    ) -> Iterator[Batch]:
        for form in forms:
            cursor = cursors.of(form)

            def page(since: datetime, offset: int, form: str = form) -> list[dict[str, Any]]:
                return self._api.responses(form, since, until, PAGE)

            lag = timedelta(0) if route is Route.BACKFILL else LAG
            steps = forward(page, cursor, _mark, lag=lag, size=PAGE, farthest=0)
            for rows, after, _ in progress(steps, cursor):
                cursors = cursors.with_form(form, after)
                yield self._rows(form, rows, route, encode(cursors), until)

    def _rows(
        self, form: str, rows: Sequence[Mapping[str, Any]], route: Route, state: bytes, until: datetime | None
    ) -> Batch:
        definition = self._api.form(form, rows) if rows else {}
        now = self._context.clock()

        def make(row: Mapping[str, Any], where: str) -> Batch:
            batch = self._batch(form, row, definition, "the response", now, route)
            return batch if until is None or all(one.occurred_at < until for one in batch.signals) else Batch()

        def keep(row: Mapping[str, Any]) -> Request:
            """As a webhook's body, which `parse` reads again."""
            event = {"event_type": "form_response", "form_response": {**row, "form_id": form, "definition": definition}}
            return Request("POST", "", {"content-type": "application/json"}, json.dumps(event).encode(), now)

        return each_row(rows, make, keep, state=state)

    def check_online(self) -> Iterator[Finding]:
        """The token, each form, and whether its webhook is there: two calls for each form."""
        for form in self._forms:
            found = self._api.definition(form)
            if found is None:
                yield Finding(Level.FAULT, f"form {form}", "does not exist in this account", "correct forms:")
                continue
            yield Finding(Level.OK, f"form {form}", str(found.get("title") or "may be read"))
            if self._context.webhook_url and not self._api.is_active(form):
                text = "Typeform does not call this syncd for it"
                yield Finding(Level.WARNING, f"webhook {form}", text, f"syncd webhooks register {self._context.name}")


def _mark(row: Mapping[str, Any]) -> ItemMark | None:
    """By its token: a response does not change any more."""
    try:
        return mark_of(row.get("token") or row.get("response_id"), submitted_at(row, ""))
    except Malformed:
        return None


def _build(settings: TypeformSettings, context: Context) -> Typeform | TypeformWebhooksOnly:
    return Typeform(settings, context) if settings.token is not None else TypeformWebhooksOnly(settings, context)


CONNECTOR = Connector(
    name="typeform",
    contract=2,
    role="source",
    summary="responses to Typeform's forms, with all answers",
    settings=TypeformSettings,
    build=_build,
    signals=(SignalSpec(TYPE, "webhook, poll and backfill: the response's token", backfill=True),),
    unable=lambda settings: dict.fromkeys(_NEED_API, _WHY) if settings.token is None else {},
)
