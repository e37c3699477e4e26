"""`type: webhook`: any sender's signed POST becomes signals. CloudEvents by their own rule, JSON and forms by a field map.

Ids: UUIDv5 over ("webhook", `account:`, type, the event's id). CloudEvents: source and id; a field map: its `id:`; without
one, a hash of the body (of the item, with `each:`). A retried POST is therefore the same signal.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from syncd.capabilities import Finding, Level
from syncd.connector import (
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
from syncd.connectors.generic import web_form
from syncd.connectors.generic.auth import Verify
from syncd.connectors.generic.challenge import answer
from syncd.connectors.generic.cloudevents import events_alone, events_of, read_binary, read_structured
from syncd.connectors.generic.fields import FieldMap, Item, SignalMap, Whole, scope_of, types_made
from syncd.connectors.generic.making import EventDraft, Maker
from syncd.connectors.generic.paths import Scope, as_text, compile_template
from syncd.connectors.generic.presets import PresetName, with_preset
from syncd.connectors.generic.web_form import WebForm
from syncd.errors import Malformed
from syncd.http.json_text import Parsed
from syncd.items import each_item
from syncd.signals import Signal
from syncd.signatures.jwks import JwksKeys

log = logging.getLogger(__name__)


class ShareMap(ConnectorSettings):
    """Which events of a shared address are a source's."""

    by: Whole = Field(description="what names an event's account: one whole {{ item.path }}, {{ body.path }} or header")
    accounts: list[str] = Field(min_length=1, description="the accounts of this source, as the sender names them")


class WebhookSettings(ConnectorSettings):
    """Keys of a generic webhook source."""

    verify: Verify = Field(description="how a request proves that it is authentic")
    preset: PresetName | None = Field(None, description="a shipped format and field map; keys beside it change it")
    account: str = Field("", description="part of the ids; default: the source's name, which then must stay")
    format: Annotated[Literal["cloudevents", "json", "form"], Prompt(suggest="json")] = Field(
        "cloudevents", description="format of the body"
    )
    signal: Annotated[SignalMap | None, Prompt(when={"format": ("json", "form")})] = Field(
        None, description="json and form: which part of the body becomes which field of the signal"
    )
    web_form: WebForm | None = Field(
        None,
        description="a form of a web page posts here from the visitor's browser: where it goes then, and who may post",
    )
    share: ShareMap | None = Field(
        None,
        description="which events are this source's, where the sender posts those of several accounts; see `endpoint:`",
    )
    allowed_rate: int | None = Field(
        None, ge=1, description="requests per minute that CloudEvents senders are allowed; default: no limit"
    )

    @model_validator(mode="before")
    @classmethod
    def _on_preset(cls, data: Any) -> Any:
        return with_preset(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _map_fits(self) -> WebhookSettings:
        if self.format == "cloudevents" and self.signal is not None:
            raise ValueError("signal: is for format json or form; a CloudEvent says itself what it is")
        if self.format != "cloudevents" and self.signal is None:
            raise ValueError(f"format {self.format} needs signal:, the map from the body to the signal")
        if self.web_form is not None and (self.format == "cloudevents" or self.share is not None):
            raise ValueError("web_form: is for format form or json, and not for a shared address")
        return self


class Webhook:
    """A WebhookSource; also a KeyFetchingSource for `scheme: jwt`."""

    def __init__(self, settings: WebhookSettings, context: Context) -> None:
        self._settings = settings
        self._maker = Maker("webhook", settings.account or context.name, context)
        self._region = context.region
        self._form = settings.web_form
        self._by = compile_template(settings.share.by) if settings.share else None
        form = settings.format == "form"
        self._fields = FieldMap(settings.signal, form, context.region) if settings.signal else None
        self._jwks = JwksKeys(settings.verify.jwks_url) if settings.verify.jwks_url else None
        if settings.verify.scheme == "none":
            log.warning("source %s accepts events from anyone: its verify.scheme is `none`", context.name)

    def handshake(self, request: Request) -> Reply | None:
        if request.method == "HEAD":
            return Reply()
        if self._form is not None and (reply := web_form.preflight(self._form, request)) is not None:
            return reply
        if request.method != "OPTIONS":
            return answer(request, self._verify)
        headers = {"Allow": "POST, HEAD, OPTIONS"}
        origin = request.headers.get("webhook-request-origin", "").strip()
        if origin:  # CloudEvents http-webhook.md, 4: permission to send; deliveries are verified all the same
            rate = self._settings.allowed_rate
            headers |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": str(rate) if rate else "*"}
        return Reply(headers=headers)

    @cached_property
    def _verify(self) -> Verifier:
        verify = self._settings.verify.build(self._jwks.keys if self._jwks else None)
        return web_form.from_known_page(self._form, verify) if self._form is not None else verify

    def verifier(self) -> Verifier:
        return self._verify

    def accepted(self, request: Request) -> Reply | None:
        """What a visitor's browser is told once its form is stored."""
        return web_form.accepted(self._form, request) if self._form is not None else None

    def fetch_keys(self, now: datetime) -> Sequence[str]:
        """Fills the keys of `scheme: jwt`; nothing for the others. Raises a Failure."""
        return self._jwks.fetch(now) if self._jwks is not None else ()

    def check_online(self) -> Iterator[Finding]:
        """How senders are authenticated. Whether they can reach us is tried for every webhook alike."""
        scheme = self._settings.verify.scheme
        if scheme == "none":
            yield Finding(Level.WARNING, "verify", "takes events from anybody", "set verify: to what the sender can do")
        else:
            yield Finding(Level.OK, "verify", f"requests are verified: {scheme}")

    # ---- several sources at one address

    @property
    def accounts(self) -> frozenset[str]:
        return frozenset(self._settings.share.accounts) if self._settings.share else frozenset()

    @property
    def shares(self) -> object:
        settings = self._settings
        each = settings.signal.each if settings.signal else None
        return settings.verify, settings.format, each, settings.share.by if settings.share else ""

    def accounts_in(self, request: Request) -> Mapping[str, int]:
        if self._fields is not None:
            return Counter(self._account(item.scope) for item in self._fields.items(request))
        events = events_of(request)
        if events is None:
            return {self._account(scope_of(request, None)): 1}
        return Counter(self._account(_event_scope(request, event)) for event in events)

    def _account(self, scope: Scope) -> str:
        return as_text(self._by(scope)).strip() if self._by is not None else ""

    def _is_ours(self, scope: Scope) -> bool:
        return self._by is None or self._account(scope) in self.accounts

    # ---- parsing

    def parse(self, request: Request) -> Batch:
        return self._mapped(self._fields, request) if self._fields is not None else self._events(request)

    def _events(self, request: Request) -> Batch:
        events = events_of(request)
        if events is None:
            ours = self._is_ours(scope_of(request, None))
            return Batch([self._made(read_binary(request, self._region), request)] if ours else [])

        def make(event: Parsed, where: str) -> Batch:
            if not self._is_ours(_event_scope(request, event)):
                return Batch()
            try:
                return Batch([self._made(read_structured(event, "the event", self._region), request)])
            except Malformed as error:
                raise Malformed(f"{where}: {error}" if len(events) > 1 else str(error)) from None

        return each_item(request, events, make, alone=events_alone)

    def _mapped(self, fields: FieldMap, request: Request) -> Batch:
        def make(item: Item, where: str) -> Batch | str:
            if not self._is_ours(item.scope):
                return Batch()
            if self._form is not None and web_form.is_robots(self._form, item.scope["body"]):
                return Batch(dropped={web_form.ROBOT: 1})
            draft = fields.draft(item)
            return draft if isinstance(draft, str) else Batch([self._made(draft, request)])

        return each_item(request, fields.items(request), make, alone=fields.alone, name="item")

    def _made(self, draft: EventDraft, request: Request) -> Signal:
        return self._maker.make(draft, request.received_at)


def _event_scope(request: Request, event: Parsed) -> Scope:
    return {**scope_of(request, event.value), "item": event.value}


CONNECTOR = Connector(
    name="webhook",
    contract=2,
    role="source",
    summary="any sender's signed POST: CloudEvents, or JSON and forms with a field map",
    settings=WebhookSettings,
    build=Webhook,
    signals=(
        SignalSpec(
            "*", "webhook: CloudEvents source and id; else the map's id; else a hash of the body", backfill=False
        ),
    ),
    makes=lambda settings, switches: types_made(settings.signal, switches) if settings.signal else (),
)
