"""Signing in to Salesforce: the keys of an org, and how its access tokens are minted (client credentials, JWT bearer, refresh
token). For every connector of an org.

The TokenStore decides when; `minter` gives it the how.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from syncd.capabilities import SignIn, own_grant
from syncd.connector import ConnectorSettings, Context, Prompt
from syncd.errors import Misconfigured, UsageError
from syncd.http.client import Deadlines, check_base_url
from syncd.http.oauth import Mint, grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers, error_word

PRODUCTION = "https://login.salesforce.com"
SANDBOX = "https://test.salesforce.com"
SHARED_LOGINS = (PRODUCTION, SANDBOX)

TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 a path, no secret
AUTHORIZE_PATH = "/services/oauth2/authorize"
REVOKE_PATH = "/services/oauth2/revoke"
"""As RFC 7009 has it: 200, else 400 with unsupported_token_type or invalid_token."""
SCOPES = {
    "api": "to read and write records, and to make missing key fields (prepare)",
    "refresh_token": "to stay signed in",
}
"""`refresh_token` is "Perform requests at any time (refresh_token, offline_access)" in the app's list."""
REMEDIES = {
    "no_refresh_token": "give the app the scope refresh_token (Perform requests at any time), wait ten minutes, sign in again",
    "invalid_client_id": "check auth.client_id, and that login_url is the org the app is in; a new app takes ten minutes",
    "invalid_grant": "the code has run out (after 15 minutes) or was used before: run it again",
    "OAUTH_APP_BLOCKED": "the org's admin has blocked the app: Setup, OAuth usage, unblock",
    "OAUTH_APP_ACCESS_DENIED": "the app lets only users its admin has approved: allow this user in the app's policies",
}
LOGIN_RATE = "login rate exceeded"
"""A description that tells another refusal than its error, `invalid_grant`."""
GRANT_TYPES = {"jwt_bearer": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
"""Flow -> its grant type, where that has another name."""
ASSERTION_LIFE = timedelta(minutes=3)

Flow = Literal["client_credentials", "jwt_bearer", "refresh_token"]

NEEDED: dict[Flow, tuple[str, ...]] = {
    "client_credentials": ("client_secret",),
    "jwt_bearer": ("username", "private_key"),
    "refresh_token": (),
}


class SalesforceAuth(ConnectorSettings):
    """How syncd signs in: as an external client app (connected app) of the org."""

    flow: Annotated[Flow, Field(description="OAuth flow; only refresh_token needs an interactive sign-in, once")]
    client_id: Annotated[str, Field(min_length=1, description="consumer key of the external client app")]
    client_secret: Annotated[
        SecretStr | None,
        Prompt(unless={"flow": ("jwt_bearer",)}),
        Field(description="consumer secret (not for jwt_bearer)"),
    ] = None
    username: Annotated[
        str, Prompt(when={"flow": ("jwt_bearer",)}), Field(description="jwt_bearer: the integration user's user name")
    ] = ""
    private_key: Annotated[
        SecretStr | None,
        Prompt(when={"flow": ("jwt_bearer",)}),
        Field(description="jwt_bearer: RSA key, as PEM text or the path of a PEM file"),
    ] = None
    audience: Annotated[str, Field(description="jwt_bearer: `aud`; default by login_url (production or sandbox)")] = ""
    refresh_token: Annotated[
        SecretStr | None,
        Field(description="refresh_token: an existing refresh token; without it, sign in with `syncd auth`"),
    ] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in NEEDED[self.flow] if not _given(getattr(self, name))]
        if missing:
            raise ValueError(f"flow {self.flow} also needs {' and '.join(missing)}")
        return self


def _given(value: SecretStr | str | None) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


class SalesforceAccount(ConnectorSettings):
    """The keys by which a connector of an org signs in."""

    login_url: Annotated[
        str, Prompt(), Field(description="sign-in URL: the org's My Domain, or login/test.salesforce.com")
    ] = PRODUCTION
    auth: Annotated[SalesforceAuth, Field(description="how syncd signs in")]

    @property
    def signed_in(self) -> bool:
        """Whether tokens come from a person's `syncd auth`."""
        return self.auth.flow == "refresh_token" and not _given(self.auth.refresh_token)

    @field_validator("login_url")
    @classmethod
    def _login(cls, value: str) -> str:
        return check_base_url(value)

    @model_validator(mode="after")
    def _own_domain(self) -> Self:
        if self.auth.flow == "client_credentials" and self.login_url in SHARED_LOGINS:
            raise ValueError(
                "flow client_credentials needs the org's My Domain as login_url, like https://example.my.salesforce.com"
            )
        return self

    @property
    def audience(self) -> str:
        """`aud` of a JWT assertion: as configured, else Salesforce's shared login host of this kind of org (a stand-in
        on this machine is its own)."""
        if self.auth.audience:
            return self.auth.audience
        host = urlsplit(self.login_url).hostname or ""
        if not host.endswith((".salesforce.com", ".force.com", ".site.com")):
            return self.login_url
        return SANDBOX if host == "test.salesforce.com" or ".sandbox." in host else PRODUCTION


_CLIENT = "check auth.client_id and auth.client_secret"
ANSWERS = TokenAnswers(
    "Salesforce",
    {
        "invalid_client_id": "check auth.client_id, and that login_url is the org the app is in",
        "invalid_client": _CLIENT,
        "invalid_client_credentials": _CLIENT,
        "invalid_grant": "check auth: the refresh token, the user of the app, and where the org lets it sign in from",
        "invalid_app_access": "allow syncd's user in the app's policies (Setup, External Client App Manager)",
        "inactive_user": "activate syncd's user, or sign in as another one",
        "inactive_org": "the org is closed or locked; ask its owner",
        "unsupported_grant_type": "switch this flow on in the app, or set auth.flow to one that is",
        "invalid_scope": "give the app the scope api",
        "OAUTH_APP_BLOCKED": "unblock the app: Setup, Connected Apps OAuth Usage",
        "OAUTH_APP_ACCESS_DENIED": "allow syncd's user in the app's policies",
    },
    throttles=frozenset({LOGIN_RATE, "rate_limit_exceeded"}),
    later=frozenset({"unknown_error", "server_error", "temporarily_unavailable"}),
    unlisted="check auth and login_url",
    words=lambda said: [*([LOGIN_RATE] if said.get("error_description") == LOGIN_RATE else []), *error_word(said)],
    detail=lambda said: f" ({said['error_description']})"[:500] if said.get("error_description") else "",
    pause=900.0,
    life=None,
    life_fields=(),
    urls=("instance_url",),
    needed=frozenset({"instance_url"}),
)
"""OAuth errors of the token endpoint, mostly with 400. Descriptions are constants of the protocol, not texts in the user's
language; every refusal that is not listed stops the lane until it is tried again in an hour. A user may sign in 3,600 times in
an hour. No answer states a token's lifetime."""


def grant_of(settings: SalesforceAccount, name: str) -> str:
    """The same for every connector that signs in to the same org in the same way as the same user; an interactive sign-in
    for belongs to the configured `name` alone."""
    auth = settings.auth
    if settings.signed_in:
        return grant_id(*own_grant("salesforce", name, settings.login_url, auth.client_id))
    refresh = auth.refresh_token.get_secret_value() if auth.refresh_token else ""
    return grant_id("salesforce", settings.login_url, auth.flow, auth.client_id, auth.username, refresh)


def sign_in_of(settings: SalesforceAccount, name: str) -> SignIn:
    """The interactive sign-in. Raises UsageError for a flow without one."""
    auth = settings.auth
    if not settings.signed_in:
        given = "auth.refresh_token" if auth.flow == "refresh_token" else f"flow {auth.flow}"
        raise UsageError(
            f"destination {name} signs in by itself ({given}); for `syncd auth` write flow: refresh_token, without "
            "a refresh_token"
        )
    return SignIn(
        grant=grant_of(settings, name),
        authorize_url=settings.login_url + AUTHORIZE_PATH,
        token_url=settings.login_url + TOKEN_PATH,
        revoke_url=settings.login_url + REVOKE_PATH,
        client_id=auth.client_id,
        client_secret=auth.client_secret.get_secret_value() if auth.client_secret else "",
        scopes=tuple(SCOPES),
        reasons=SCOPES,
        parameters={"prompt": "login consent"},
        extra=("instance_url",),
        remedies=REMEDIES,
    )


def minter(settings: SalesforceAccount, context: Context) -> Mint:
    """Asks Salesforce for a token (see `Refreshing`)."""
    auth = settings.auth
    by_jwt = auth.flow == "jwt_bearer"
    secret = {"client_secret": auth.client_secret.get_secret_value()} if auth.client_secret else {}
    return Refreshing(
        settings.login_url + TOKEN_PATH,
        {} if by_jwt else {"client_id": auth.client_id, **secret},
        replace(ANSWERS, ended=frozenset({"invalid_grant"})) if settings.signed_in else ANSWERS,
        context.clock,
        context.name,
        grant=GRANT_TYPES.get(auth.flow, auth.flow),
        refresh=auth.refresh_token.get_secret_value() if auth.refresh_token else "",
        assertion=(lambda now: _assertion(settings, context, now)) if by_jwt else None,
        deadlines=Deadlines(connect=10.0, read=30.0, total=60.0),
    )


def _assertion(settings: SalesforceAccount, context: Context, now: datetime) -> str:
    import jwt  # loads cryptography: only where JWT is used

    auth = settings.auth
    claims = {
        "iss": auth.client_id,
        "sub": auth.username,
        "aud": settings.audience,
        "exp": int((now + ASSERTION_LIFE).timestamp()),
    }
    try:
        return jwt.encode(claims, _private_key(auth, context), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise Misconfigured(
            "auth.private_key is not an unencrypted RSA private key in PEM form; it must begin with -----BEGIN",
            code="private_key",
        ) from None


def _private_key(auth: SalesforceAuth, context: Context) -> str:
    """The PEM text, read from its file when a path is configured. Raises Misconfigured for an unreadable file."""
    given = auth.private_key.get_secret_value() if auth.private_key else ""
    if given.lstrip().startswith("-----BEGIN"):
        return given
    try:
        return context.beside(Path(given)).read_text("ascii")
    except (OSError, ValueError) as error:
        reason = (error.strerror or "unreadable") if isinstance(error, OSError) else "not a PEM text file"
        raise Misconfigured(f"auth.private_key: its file cannot be read: {reason}", code="private_key") from None
