"""The keys of a `type: bitrix24` destination, as typed models, and how syncd signs in with them.

Facts: bitrix24.md, Auth. An incoming webhook's URL is a credential: it acts as one employee and is shown nowhere. An OAuth
application's refresh token is replaced with each use; `client_endpoint` of a token answer is the portal, not `domain`.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from syncd.capabilities import SignIn, own_grant
from syncd.connector import ConnectorSettings, Context, Prompt
from syncd.connectors.keys import BaseUrl
from syncd.errors import UsageError
from syncd.http.client import Bearer, check_base_url
from syncd.http.oauth import grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers

_WEBHOOK = re.compile(r"(/.*)?/rest/\d+/(\w{4,})/?")
ENDPOINT = "client_endpoint"
SCOPES = {
    "crm": "to look people up and to write records",
    "user_brief": "to skip owners who are not active (assign rules, owner: {turn: ...})",
    "im": "to send notifications (notify rules)",
}
"""Scope -> what it is for. They are chosen when the application or webhook is made."""
_REMEDIES = {
    "invalid_grant": "the sign-in has ended (a refresh token lives 180 days)",
    "wrong_client": "the client id or secret is wrong; check auth.client_id and auth.client_secret",
    "invalid_client": "the client id or secret is wrong; check auth.client_id and auth.client_secret",
    "payment_required": "the subscription of this Bitrix24 has ended",
    "PORTAL_DELETED": "this Bitrix24 does not exist any more",
}
ANSWERS = TokenAnswers("Bitrix24", _REMEDIES, ended=frozenset({"invalid_grant"}), urls=(ENDPOINT,))


class Bitrix24Auth(ConnectorSettings):
    """A local application of the portal (Developer resources, Other, Local application)."""

    client_id: str = Field(min_length=1, description="the application's client id")
    client_secret: SecretStr = Field(description="the application's key (client secret)")


class Bitrix24Settings(ConnectorSettings):
    """A Bitrix24 portal that records are written to."""

    base_url: Annotated[
        SecretStr | None,
        Prompt(),
        Field(description="the URL of an incoming webhook, https://PORTAL/rest/USER/SECRET/: it is a secret"),
    ] = None
    auth: Annotated[
        Bitrix24Auth | None,
        Field(description="an OAuth application to sign in with (`syncd auth`), instead of base_url"),
    ] = None
    portal: Annotated[BaseUrl | None, Field(description="the portal's address, with auth")] = None
    oauth_url: Annotated[BaseUrl, Field(description="where an application's tokens come from")] = (
        "https://oauth.bitrix.info"
    )
    requests_per_second: Annotated[
        float, Field(gt=0, le=50, description="requests that the plan allows in a second: 2, Enterprise 5")
    ] = 2.0

    @model_validator(mode="after")
    def _one_way(self) -> Bitrix24Settings:
        if (self.base_url is None) == (self.auth is None):
            raise ValueError("needs base_url (an incoming webhook) or auth (an OAuth application), and not both")
        if (self.portal is None) != (self.auth is None):
            raise ValueError("portal, the portal's address, belongs to auth")
        return self

    @property
    def webhook(self) -> str:
        """The webhook's URL, "" with OAuth."""
        return self.base_url.get_secret_value() if self.base_url is not None else ""

    def check(self) -> None:
        """Raises ValueError where base_url is not a webhook's URL. (A configuration is read before its secrets are known.)"""
        try:
            url = check_base_url(self.webhook) if self.webhook else ""
        except ValueError:  # its text would show the secret
            url = "x"
        if url and not _WEBHOOK.fullmatch(urlsplit(url).path):
            raise ValueError("base_url is not a webhook's URL; write it like https://PORTAL/rest/USER/SECRET/")

    @property
    def secret(self) -> str:
        """The secret part of a webhook's URL, "" with OAuth."""
        found = _WEBHOOK.fullmatch(urlsplit(self.webhook).path)
        return found[2] if found else ""

    @property
    def home(self) -> str:
        """Where users open the portal."""
        if self.portal is not None:
            return self.portal
        parts = urlsplit(self.webhook)
        return f"{parts.scheme}://{parts.netloc}{parts.path.partition('/rest/')[0]}"

    @property
    def host(self) -> str:
        """The portal's host: its limits are for all who call it from here."""
        return urlsplit(self.home).hostname or ""


def bearer(settings: Bitrix24Settings, context: Context) -> Bearer | None:
    """How a client of an OAuth application authenticates, None with a webhook. Bitrix24 takes the token as a parameter."""
    if settings.auth is None:
        return None
    form = {"client_id": settings.auth.client_id, "client_secret": settings.auth.client_secret.get_secret_value()}
    mint = Refreshing(f"{settings.oauth_url}/oauth/token/", form, ANSWERS, context.clock, context.name)
    return Bearer(tokens=context.tokens, grant=_grant(settings, context.name), mint=mint, parameter="auth")


def sign_in_of(settings: Bitrix24Settings, name: str) -> SignIn:
    """The interactive sign-in. Raises UsageError where a webhook is configured."""
    if settings.auth is None:
        raise UsageError(f"{name} (bitrix24) signs in by its webhook's URL; for `syncd auth` configure auth")
    return SignIn(
        grant=_grant(settings, name),
        authorize_url=f"{settings.home}/oauth/authorize/",
        token_url=f"{settings.oauth_url}/oauth/token/",
        client_id=settings.auth.client_id,
        client_secret=settings.auth.client_secret.get_secret_value(),
        scopes=(),
        extra=(ENDPOINT,),
        lifetime=3600.0,
        remedies={"invalid_grant": "the code has run out (after 30 seconds): run the command again", **_REMEDIES},
    )


def _grant(settings: Bitrix24Settings, name: str) -> str:
    client = settings.auth.client_id if settings.auth else ""
    return grant_id(*own_grant("bitrix24", name, settings.home, client))
