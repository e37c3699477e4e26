"""Signing in to Zoho: its data centres, and access tokens under the law of ten. Shared by every Zoho connector.

`bearer(...)` is what a connector hands to its HttpClient. The grant is named by accounts host, client and refresh token, so
that all connectors of one grant share its token; an interactive sign-in belongs to one configured name. Zoho gives at
most ten tokens in ten minutes per refresh token and then blocks it for the rest of the window (accounts docs): nine are
spent at most, counted in the stored token itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from syncd.capabilities import SignIn, own_grant
from syncd.connector import ConnectorSettings, Context, Prompt
from syncd.connectors.keys import BaseUrl
from syncd.errors import UsageError
from syncd.http.client import Bearer
from syncd.http.oauth import Token, grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers

DataCentreName = Literal["us", "eu", "in", "au", "jp", "ca", "cn", "sa", "uk", "sg", "ae"]


@dataclass(frozen=True)
class DataCentre:
    """The hosts of one Zoho data centre."""

    accounts: str
    crm: str
    desk: str

    def app(self, name: str) -> str:
        """Where people open one of Zoho's applications (crm, mail)."""
        return self.accounts.replace("//accounts.", f"//{name}.", 1)


def _at(domain: str, crm: str = "") -> DataCentre:
    return DataCentre(f"https://accounts.{domain}", crm or f"https://www.{domain}", f"https://desk.{domain}")


DATA_CENTRES: dict[DataCentreName, DataCentre] = {
    "us": _at("zoho.com", "https://www.zohoapis.com"),
    "eu": _at("zoho.eu", "https://www.zohoapis.eu"),
    "in": _at("zoho.in", "https://www.zohoapis.in"),
    "au": _at("zoho.com.au", "https://www.zohoapis.com.au"),
    "jp": _at("zoho.jp", "https://www.zohoapis.jp"),
    "ca": _at("zohocloud.ca", "https://www.zohoapis.ca"),
    "cn": _at("zoho.com.cn", "https://www.zohoapis.com.cn"),
    "sa": _at("zoho.sa", "https://www.zohoapis.sa"),
    "uk": _at("zoho.uk", "https://www.zohoapis.uk"),  # this and the next two are not verified: the token's own
    "sg": _at("zoho.sg", "https://www.zohoapis.sg"),  # api_domain, which always wins for the CRM, tells the truth
    "ae": _at("zoho.ae", "https://www.zohoapis.ae"),
}

SCHEME = "Zoho-oauthtoken"
WINDOW = timedelta(minutes=10)
MOST_TOKENS = 9
_PERMANENT = {
    "invalid_code": "the refresh token is revoked, or belongs to another client or data centre; sign in again",
    "invalid_client": "the client id is unknown in this data centre; check auth.client_id and data_center",
    "invalid_client_secret": "the client secret is wrong; check auth.client_secret",
    "unauthorized_client": "this client may not refresh tokens; use a server-based or self client",
    "access_denied": "the account denies access to this client; sign in again",
    "invalid_grant": "the refresh token is not accepted; sign in again",
    "invalid_scope": "the refresh token's scopes are not accepted; sign in again",
    "unsupported_grant_type": "the accounts host does not know this way to sign in; check accounts_url",
}
"""Zoho's word for a refusal that no retry changes -> why, and what to do."""
ANSWERS = TokenAnswers(
    "Zoho",
    _PERMANENT,
    ended=frozenset({"invalid_code", "invalid_grant", "invalid_scope"}),
    throttles=frozenset({"Access Denied"}),
    pause=WINDOW.total_seconds(),
    life_fields=("expires_in_sec", "expires_in"),
    shortest=1.0,
    milliseconds_from=100_000,  # older answers count a token's hour as 3,600,000
    urls=("api_domain",),
)

REMEDIES = {
    "no_refresh_token": "withdraw what this client was granted at accounts.zoho.com, Security, Connected apps; then sign in "
    "again",
    "elsewhere": "write data_center: as that address ends, and use a client of that data centre's API console",
    "invalid_client": "check auth.client_id and data_center; the client must be a server-based one (a self client has no page)",
    "invalid_redirect_uri": "enter {redirect} in the API console as an authorized redirect URI of this client",
    "invalid_code": "the code has run out (after two minutes) or was used before: run it again",
}
"""What to do about a sign-in that fails, in Zoho's words (accounts docs, "Authorization Request" and "Errors")."""


class ZohoAuth(ConnectorSettings):
    """A self client or a server-based client of api-console.zoho.com."""

    client_id: str = Field(min_length=1, description="client id from Zoho's API console")
    client_secret: SecretStr = Field(description="client secret")
    refresh_token: SecretStr | None = Field(
        None, description="refresh token with the scopes that the connector's page names; without it, `syncd auth`"
    )

    @property
    def configured(self) -> str:
        """The refresh token of the configuration, "" for an interactive sign-in."""
        return self.refresh_token.get_secret_value() if self.refresh_token else ""


class ZohoAccount(ConnectorSettings):
    """The keys by which a connector of an account of Zoho CRM signs in."""

    data_center: Annotated[
        DataCentreName, Prompt(), Field(description="the account's data centre: the ending of its web address")
    ] = "us"
    accounts_url: Annotated[
        BaseUrl | None, Field(description="accounts server, which issues tokens; default: by data_center")
    ] = None
    base_url: Annotated[
        BaseUrl | None, Field(description="API domain; default: the api_domain that comes with the token")
    ] = None
    auth: Annotated[ZohoAuth, Field(description="how syncd signs in")]

    @property
    def centre(self) -> DataCentre:
        """The hosts of the data centre."""
        return DATA_CENTRES[self.data_center]

    @property
    def accounts(self) -> str:
        """The accounts host."""
        return self.accounts_url or self.centre.accounts

    def sign_in(self, scopes: Mapping[str, str], *, kind: str, name: str) -> SignIn:
        """The interactive sign-in of a connector `name` of this `kind`. Raises as `sign_in_of`."""
        return sign_in_of(self.accounts, self.centre, self.auth, scopes, kind=kind, name=name)


def bearer(context: Context, accounts_url: str, auth: ZohoAuth, *, kind: str) -> Bearer:
    """How a Zoho API client authenticates; `kind` is the connector's type. The mint raises RateLimited, Misconfigured or
    Transient."""
    grant = _grant(accounts_url, auth, kind, context.name)
    form = {"client_id": auth.client_id, "client_secret": auth.client_secret.get_secret_value()}
    mint = Refreshing(
        f"{accounts_url}/oauth/v2/token",
        form,
        ANSWERS,
        context.clock,
        context.name,
        refresh=auth.configured,
        most=MOST_TOKENS,
        window=WINDOW,
    )
    return Bearer(tokens=context.tokens, grant=grant, mint=mint, scheme=SCHEME)


def sign_in_of(
    accounts_url: str, centre: DataCentre, auth: ZohoAuth, scopes: Mapping[str, str], *, kind: str, name: str
) -> SignIn:
    """The interactive sign-in with these scopes (scope -> what it is for). Raises UsageError where the configuration has a
    refresh token.

    Zoho gives a refresh token only for access_type=offline, and a second time only with prompt=consent. Its answer tells
    where the account lives: a code of another data centre is good there alone (accounts docs, Multi DC). Revocation answers
    {"status": "success"} or 400; its page shows the token in the query, a form as in other OAuth calls keeps it out of
    the logs of proxies [U]."""
    if auth.configured:
        raise UsageError(f"{name} ({kind}) has auth.refresh_token; for `syncd auth` leave it out")
    return SignIn(
        grant=_grant(accounts_url, auth, kind, name),
        authorize_url=f"{accounts_url}/oauth/v2/auth",
        token_url=f"{accounts_url}/oauth/v2/token",
        revoke_url=f"{accounts_url}/oauth/v2/token/revoke",
        client_id=auth.client_id,
        client_secret=auth.client_secret.get_secret_value(),
        scopes=tuple(scopes),
        reasons=dict(scopes),
        scope_separator=",",
        parameters={"access_type": "offline", "prompt": "consent"},
        extra=("api_domain",),
        lifetime=3600.0,
        remedies=REMEDIES,
        server_parameter="accounts-server",
        servers=(centre.accounts,),
    )


def _grant(accounts_url: str, auth: ZohoAuth, kind: str, name: str) -> str:
    if auth.configured:
        return grant_id("zoho", accounts_url, auth.client_id, auth.configured)
    return grant_id(*own_grant(kind, name, accounts_url, auth.client_id))


def api_base(configured: str, default: str) -> str | Callable[[Token], str]:
    """The CRM's base URL: as configured, else the `api_domain` that came with the token, else the default."""
    return configured or (lambda token: token.extra.get("api_domain") or default)
