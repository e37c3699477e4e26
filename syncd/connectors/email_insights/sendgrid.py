"""`type: sendgrid`: opens, clicks and bounces of emails that a SendGrid account sent, by its Event Webhook.

A body is a list of events of many emails, signed over its time and the raw bytes. SendGrid retries for 24 hours and may send an
event twice; each event has an id. The only list of past opens and clicks is a paid one; that of bounces has no ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from syncd.capabilities import Finding, Level
from syncd.connector import Ability, Batch, Connector, Context, Prompt, Reply, Request, Verifier
from syncd.connectors.email_insights.events import InsightSettings, specs, taken
from syncd.connectors.email_insights.sendgrid_api import PUBLIC_KEY, EventWebhooks
from syncd.connectors.email_insights.sendgrid_events import read_event
from syncd.connectors.keys import BaseUrl
from syncd.connectors.registration import Registered
from syncd.connectors.signature_styles import STYLES
from syncd.errors import NotAuthentic
from syncd.items import each_event
from syncd.signals import Route
from syncd.signatures.verifier import check_secrets, verifier

STYLE = STYLES["sendgrid"]
_WHY = "api_key: is not set; with it `syncd webhooks` makes the webhook and learns its key"


class SendGridSettings(InsightSettings):
    """Keys of a SendGrid source."""

    public_key: Annotated[str | list[str] | None, Prompt()] = Field(
        None,
        description="verification key of the event webhook; a list while it is being changed. Not needed after "
        "`syncd webhooks register`, which learns it",
    )
    api_key: Annotated[SecretStr | None, Prompt()] = Field(
        None, description="API key (SG.…) that may change event webhooks, for `syncd webhooks`"
    )
    base_url: BaseUrl = Field(
        "https://api.sendgrid.com", description="SendGrid's API; subusers in the EU: https://api.eu.sendgrid.com"
    )

    @property
    def keys(self) -> list[str]:
        return self.public_key if isinstance(self.public_key, list) else [self.public_key] if self.public_key else []

    @field_validator("public_key")
    @classmethod
    def _usable(cls, value: str | list[str] | None) -> str | list[str] | None:
        if value is not None:
            check_secrets(STYLE, value if isinstance(value, list) else [value])
        return value

    @model_validator(mode="after")
    def _something_verifies(self) -> Self:
        if not self.keys and self.api_key is None:
            raise ValueError("set public_key, or api_key for `syncd webhooks register`, which learns the key")
        return self


class SendGridWebhooksOnly:
    """A WebhookSource."""

    def __init__(self, settings: SendGridSettings, context: Context) -> None:
        self._settings, self._context = settings, context

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        known = self._known_keys()
        return verifier(STYLE, known) if known else _refuse

    def parse(self, request: Request) -> Batch:
        def make(event: Any, where: str) -> Batch | str:
            read = read_event(event, where)
            if isinstance(read, str):
                return read
            return taken(read, self._settings, self._context, request.received_at, Route.WEBHOOK)

        return each_event(request, make)

    def _known_keys(self) -> list[str]:
        learned = self._context.recall([PUBLIC_KEY]).get(PUBLIC_KEY)
        return [*self._settings.keys, *([learned] if learned else [])]


class SendGrid(SendGridWebhooksOnly, Registered):
    """Subscribable too, with an online check."""

    def __init__(self, settings: SendGridSettings, context: Context) -> None:
        super().__init__(settings, context)
        assert settings.api_key is not None
        self._hooks = EventWebhooks(settings.base_url, settings.api_key.get_secret_value(), context)
        self._webhooks = self._hooks

    def check_online(self) -> Iterator[Finding]:
        """The API key, the webhook and its key: two calls."""
        ours = [one for one in self._hooks.subscriptions() if one.ours and one.active]
        yield Finding(Level.OK, "sign-in", "the event webhooks may be read")
        remedy = f"syncd webhooks register {self._context.name}"
        if not ours:
            yield Finding(Level.WARNING, "webhook", "SendGrid does not call this syncd", remedy)
        elif set(self._hooks.keys()).isdisjoint(self._known_keys()):
            yield Finding(Level.FAULT, "webhook", "it is not signed, or with a key that is not known here", remedy)
        else:
            yield Finding(Level.OK, "webhook", "SendGrid calls this syncd, and its key is known")


def _refuse(request: Request, now: datetime) -> None:
    raise NotAuthentic("no verification key is known; run: syncd webhooks register")


def _build(settings: SendGridSettings, context: Context) -> SendGrid | SendGridWebhooksOnly:
    return SendGrid(settings, context) if settings.api_key is not None else SendGridWebhooksOnly(settings, context)


CONNECTOR = Connector(
    name="sendgrid",
    contract=2,
    role="source",
    summary="opens, clicks and bounces of emails sent by SendGrid",
    settings=SendGridSettings,
    build=_build,
    signals=specs("webhook"),
    unable=lambda settings: (
        {} if settings.api_key is not None else dict.fromkeys((Ability.SUBSCRIBE, Ability.ONLINE_CHECK), _WHY)
    ),
)
