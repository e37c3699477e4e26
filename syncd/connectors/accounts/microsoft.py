"""Signing in to Microsoft 365 for Microsoft Graph: its clouds, an app's own right or a user's consent, what refusals mean.

`bearer(...)` is what a connector hands to its HttpClient. All sources of one app and tenant share the app's token; an interactive
sign-in belongs to one configured name. Microsoft rotates refresh tokens: the newest one is kept. Sources: RFC 6749 5.2;
learn.microsoft.com, "Microsoft Entra authentication and authorization error codes", "OAuth 2.0 client credentials flow",
"Microsoft Graph national cloud deployments".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, model_validator

from syncd.capabilities import SignIn, own_grant
from syncd.connector import ConnectorSettings, Context, Prompt
from syncd.connectors.text import one_line, shorten
from syncd.errors import UsageError
from syncd.http.client import Bearer
from syncd.http.oauth import grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers, error_word

CloudName = Literal["global", "us", "us_dod", "china"]


@dataclass(frozen=True)
class Cloud:
    """The hosts of one Microsoft cloud."""

    graph: str
    login: str


CLOUDS: dict[CloudName, Cloud] = {
    "global": Cloud("https://graph.microsoft.com", "https://login.microsoftonline.com"),
    "us": Cloud("https://graph.microsoft.us", "https://login.microsoftonline.us"),
    "us_dod": Cloud("https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
    "china": Cloud("https://microsoftgraph.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"),
}

_AADSTS = re.compile(r"AADSTS\d+")
_AGAIN = "to sign in again run: syncd auth {name}"
REMEDIES = {
    "AADSTS7000215": "client_secret is wrong: set its value, not its id",
    "AADSTS7000222": "client_secret has expired; make a new one for the app",
    "AADSTS700016": "client_id is unknown in this tenant; check client_id and tenant",
    "AADSTS90002": "there is no such tenant; check auth.tenant",
    "AADSTS900023": "there is no such tenant; check auth.tenant",
    "AADSTS65001": "consent for the app is missing; " + _AGAIN,
    "AADSTS70008": "the sign-in has expired; " + _AGAIN,
    "AADSTS700082": "the refresh token was not used for too long and has expired; " + _AGAIN,
    "AADSTS50173": "the password was changed since; " + _AGAIN,
    "AADSTS50076": "the tenant wants a second factor; " + _AGAIN,
    "invalid_grant": "the refresh token is revoked, expired or another client's; " + _AGAIN,
    "invalid_client": "check client_id and client_secret",
    "unauthorized_client": "this app may not get tokens that way; check auth.flow and the app's settings",
    "unsupported_grant_type": "the host does not know this way; check auth.flow and auth.token_url",
    "invalid_scope": "check auth.scopes",
    "access_denied": "the host's administrator has not allowed the app",
    "interaction_required": _AGAIN,
    "consent_required": _AGAIN,
}
"""What a person can do, by the host's own word for it; numbers before the words of RFC 6749."""
SIGN_IN = frozenset(word for word, remedy in REMEDIES.items() if remedy.endswith(_AGAIN))
THROTTLES = frozenset({"slow_down", "AADSTS50196", "AADSTS90055", "rate_limit_exceeded"})


def words(said: Mapping[str, Any]) -> list[str]:
    """Microsoft's number, which says more, then the word of RFC 6749."""
    number = _AADSTS.search(str(said.get("error_description", "")))
    return [*([number[0]] if number else []), *error_word(said)]


def detail(said: Mapping[str, Any]) -> str:
    text = str(said.get("error_description", "")).partition("Trace ID")[0]
    return f" ({shorten(one_line(text), 160)})" if text else ""


ANSWERS = TokenAnswers("Microsoft", REMEDIES, ended=SIGN_IN, throttles=THROTTLES, words=words, detail=detail)


class MicrosoftAuth(ConnectorSettings):
    """An app registration of Microsoft Entra."""

    tenant: str = Field(
        pattern=r"^[A-Za-z0-9.-]{1,120}$", description="directory (tenant) id of the app, or a domain of the tenant"
    )
    client_id: str = Field(min_length=1, description="application (client) id of the app")
    client_secret: Annotated[SecretStr | None, Prompt()] = Field(None, description="value of the app's client secret")
    flow: Literal["client_credentials", "delegated"] = Field(
        "client_credentials",
        description="`client_credentials`: the app's own right, with application permissions; `delegated`: a user signs in "
        "with `syncd auth`, with delegated permissions",
    )

    @model_validator(mode="after")
    def _secret(self) -> MicrosoftAuth:
        if self.flow == "client_credentials" and self.client_secret is None:
            raise ValueError("flow client_credentials also needs client_secret")
        return self

    @property
    def form(self) -> dict[str, str]:
        secret = self.client_secret.get_secret_value() if self.client_secret else ""
        return {"client_id": self.client_id, **({"client_secret": secret} if secret else {})}


def bearer(context: Context, login_url: str, graph_url: str, auth: MicrosoftAuth, *, kind: str) -> Bearer:
    """How a client of Microsoft Graph authenticates; `kind` is the connector's type. The mint raises RateLimited, Misconfigured
    or Transient."""
    own_right = auth.flow == "client_credentials"
    form = {**auth.form, "scope": f"{graph_url}/.default"} if own_right else auth.form
    mint = Refreshing(
        f"{login_url}/{auth.tenant}/oauth2/v2.0/token",
        form,
        ANSWERS,
        context.clock,
        context.name,
        grant="client_credentials" if own_right else "refresh_token",
        around=context.refusals.attempt,
    )
    return Bearer(context.tokens, _grant(login_url, graph_url, auth, kind, context.name), mint)


def sign_in_of(
    login_url: str,
    graph_url: str,
    auth: MicrosoftAuth,
    scopes: Mapping[str, str],
    *,
    kind: str,
    name: str,
    account: str,
) -> SignIn:
    """The interactive sign-in of `account` with these permissions (name -> what it is for). Raises UsageError for an app that
    signs in by itself."""
    if auth.flow == "client_credentials":
        raise UsageError(f"{name}: flow client_credentials signs in by itself; no person is needed")
    root = f"{login_url}/{auth.tenant}/oauth2/v2.0"
    reasons = {f"{graph_url}/{scope}": why for scope, why in scopes.items()} | {"offline_access": "stays signed in"}
    return SignIn(
        grant=_grant(login_url, graph_url, auth, kind, name),
        authorize_url=f"{root}/authorize",
        token_url=f"{root}/token",
        client_id=auth.client_id,
        client_secret=auth.client_secret.get_secret_value() if auth.client_secret else "",
        scopes=tuple(reasons),
        reasons=reasons,
        parameters={"login_hint": account},
        account=account,
    )


def _grant(login_url: str, graph_url: str, auth: MicrosoftAuth, kind: str, name: str) -> str:
    if auth.flow == "client_credentials":
        return grant_id("microsoft", "app", login_url, graph_url, auth.tenant, *auth.form.values())
    return grant_id(*own_grant(kind, name, login_url, auth.tenant, auth.client_id))
