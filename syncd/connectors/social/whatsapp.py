"""`type: whatsapp`: messages that customers send to the numbers of a WhatsApp Business account (Cloud API).

Webhooks carry the whole message; Meta has no list of past ones. Ids: id of the account and of the message (wamid).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from syncd.capabilities import Finding, Level, Subscribed, Subscription
from syncd.connector import Ability, Batch, Connector, Context, Prompt, Request, SignalSpec
from syncd.connectors.keys import BaseUrl
from syncd.connectors.online import clock_findings
from syncd.connectors.social.fields import text_of
from syncd.connectors.social.meta_api import AppHooks, GraphApi
from syncd.connectors.social.meta_hooks import MetaEvent, MetaSettings, MetaWebhooks
from syncd.connectors.social.whatsapp_messages import TYPE, one_message_each, read_change

OBJECT = "whatsapp_business_account"
_WHY = "token: is not set, so only webhooks are read; set token and app_id to register webhooks and to test the account"


class WhatsAppSettings(MetaSettings):
    """Keys of a WhatsApp Business account."""

    account_id: str = Field(
        pattern=r"^\d{1,25}$", description="WhatsApp Business Account ID, under WhatsApp > API Setup"
    )
    token: Annotated[SecretStr | None, Prompt()] = Field(
        None, description="token of a system user with whatsapp_business_management, to register webhooks; optional"
    )
    app_id: Annotated[str, Prompt()] = Field("", description="the app's id; needed with token")
    api_version: str = Field("v25.0", pattern=r"^v\d+\.\d+$", description="version of the Graph API")
    base_url: BaseUrl = Field("https://graph.facebook.com", description="the Graph API")

    @model_validator(mode="after")
    def _app_is_named(self) -> Self:
        if self.token is not None and not self.app_id:
            raise ValueError("token needs app_id, which is beside the app secret")
        return self


class WhatsAppWebhooksOnly(MetaWebhooks):
    """A WebhookSource and SharedEndpointSource."""

    def __init__(self, settings: WhatsAppSettings, context: Context) -> None:
        super().__init__(settings, OBJECT, settings.account_id)
        self._context = context

    def parse(self, request: Request) -> Batch:
        def make(event: MetaEvent, where: str) -> Batch:
            return read_change(event, self._account, self._context, request.received_at, where)

        return self.each_event(request, make, one_message_each)


class WhatsApp(WhatsAppWebhooksOnly):
    """Also Subscribable, with an online check."""

    def __init__(self, settings: WhatsAppSettings, context: Context) -> None:
        super().__init__(settings, context)
        assert settings.token is not None
        where, secret = (settings.base_url, settings.api_version), self._secrets[0]
        self._api = GraphApi(*where, settings.token.get_secret_value(), secret, context.clock)
        app = GraphApi(*where, f"{settings.app_id}|{secret}", secret, context.clock)
        self._app_id, self._hooks = settings.app_id, AppHooks(app, settings.app_id, OBJECT)
        self._apps = f"/{self._account}/subscribed_apps"

    def subscriptions(self) -> list[Subscription]:
        return self._hooks.subscriptions(self._api.rows(self._apps), self._app_id, self._context.webhook_url)

    def subscribe(self, *, force: bool = False) -> Subscribed:
        self._hooks.point(self._context.webhook_url, self._verify_token, ("messages",), force=force)
        self._api.call("POST", self._apps)
        return Subscribed(there=[one for one in self.subscriptions() if one.ours])

    def unsubscribe(self, id: str) -> None:
        """Of our app alone; the callback URL stays, for the app's other accounts."""
        if id == self._app_id:
            self._api.call("DELETE", self._apps)

    def check_online(self) -> Iterator[Finding]:
        """The token, the account's numbers, the clocks and the subscription: four calls."""
        numbers = self._api.rows(f"/{self._account}/phone_numbers", fields="display_phone_number,verified_name")
        named = ", ".join(text_of(row.get("display_phone_number")) for row in numbers) or "no number"
        yield Finding(Level.OK, "sign-in", f"account {self._account}: {named}")
        yield from clock_findings(self._context.clock(), self._api.vendor_now(f"/{self._account}"), "Meta")
        if any(one.ours and one.active for one in self.subscriptions()):
            yield Finding(Level.OK, "webhooks", "the account is subscribed")
        else:
            text = "the account is not subscribed at this address"
            yield Finding(Level.WARNING, "webhooks", text, f"syncd webhooks register {self._context.name}")


def _build(settings: WhatsAppSettings, context: Context) -> WhatsApp | WhatsAppWebhooksOnly:
    return WhatsApp(settings, context) if settings.token is not None else WhatsAppWebhooksOnly(settings, context)


CONNECTOR = Connector(
    name="whatsapp",
    summary="messages to a WhatsApp Business account (Meta's Cloud API)",
    settings=WhatsAppSettings,
    build=_build,
    signals=(SignalSpec(TYPE, "webhook: id of the message (wamid)", backfill=False),),
    contract=2,
    role="source",
    unable=lambda settings: (
        {} if settings.token is not None else dict.fromkeys((Ability.SUBSCRIBE, Ability.ONLINE_CHECK), _WHY)
    ),
)
