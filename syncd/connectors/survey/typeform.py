"""`type: typeform`: responses to forms, by webhook, poll and backfill. One id on all routes: the response's token.

Facts: typeform.com/developers, "Webhooks" (retries; one answer 404 or 410 disables a webhook) and "Responses API". A webhook has
no time that is signed: a replay is known by its id. A response may show in the API late (about half an hour).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import (
    Ability,
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Prompt,
    Reply,
    Request,
    SignalSpec,
    Verifier,
)
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.registration import Registered
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.survey.responses import TYPE, AnswerFields, signal_of
from syncd.connectors.survey.sweeps import in_turn, start_at, sweep, up_to
from syncd.connectors.survey.typeform_api import EVENT, TypeformApi
from syncd.connectors.survey.typeform_responses import read_response, submitted_at
from syncd.errors import Malformed
from syncd.items import each_item, each_row, json_body
from syncd.signals import Route
from syncd.signatures.verifier import verifier
from syncd.time_cursor import ItemMark, TimeCursors, mark_of, read_cursors

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
    token: Annotated[SecretStr | None, Prompt()] = Field(
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

        def make(event: Any, where: str) -> Batch | str:
            sent = event.get("form_response") if isinstance(event, dict) else None
            if not isinstance(event, dict) or (sent is None and not event.get("event_type")):
                raise Malformed(f"{where}: not an event of Typeform")
            if event.get("event_type") != EVENT:
                return f"event {str(event.get('event_type'))[:40]}"
            if not isinstance(sent, dict):
                raise Malformed(f"{where}, form_response: missing or not an object")
            form = str(sent.get("form_id") or "")
            if form not in self._forms:
                return "another form"
            return self._made(form, sent, sent.get("definition"), where, request.received_at, Route.WEBHOOK)

        return each_item(request, body if isinstance(body, list) and body else [body], make)

    def _made(self, form: str, row: Any, definition: Any, where: str, now: datetime, route: Route) -> Batch | str:
        """Raises Malformed."""
        read = read_response(form, row, definition, where)
        return (
            read
            if isinstance(read, str)
            else Batch([signal_of(read, self._settings.fields, self._context, now, route)])
        )


class Typeform(TypeformWebhooksOnly, Registered):
    """A WebhookSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: TypeformSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._api = TypeformApi(settings.base_url, settings.token, settings.secrets[0], self._forms, context)
        self._webhooks = self._api

    def start(self, now: datetime) -> bytes:
        return start_at(now)

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return self._sweep(read_cursors(state), in_turn(self._forms, now), Route.POLL, LAG, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursors = read_cursors(state) if state is not None else TimeCursors(since)
        return self._sweep(cursors, self._forms, Route.BACKFILL, timedelta(0), until)

    def _sweep(
        self, cursors: TimeCursors, forms: Sequence[str], route: Route, lag: timedelta, until: datetime | None
    ) -> Iterator[Batch]:
        def page(form: str, since: datetime, offset: int) -> list[dict[str, Any]]:
            return self._api.responses(form, since, until, PAGE)

        for form, rows, state in sweep(cursors, forms, page, _mark, lag=lag, size=PAGE):
            yield self._rows(form, rows, route, state, until)

    def _rows(
        self, form: str, rows: Sequence[Mapping[str, Any]], route: Route, state: bytes, until: datetime | None
    ) -> Batch:
        definition = self._api.form(form, rows) if rows else {}
        now = self._context.clock()

        def make(row: Mapping[str, Any], where: str) -> Batch | str:
            return up_to(until, self._made(form, row, definition, where, now, route))

        def kept(row: Mapping[str, Any]) -> Request:
            event = {"event_type": EVENT, "form_response": {**row, "form_id": form, "definition": definition}}
            return Request("POST", "", {"content-type": "application/json"}, json.dumps(event).encode(), now)

        return each_row(rows, make, kept, state=state, name="response")

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
