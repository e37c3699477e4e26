"""Signing in to Salesforce: the keys of an org, and how its access tokens are minted (client credentials, JWT bearer, refresh
token). For every connector of an org.

The TokenStore decides when; `minter` gives it the how. Salesforce does not state a token's lifetime: it is valid until a 401.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from syncd.capabilities import SignIn, own_grant
from syncd.connector import ConnectorSettings, Context, Prompt
from syncd.connectors.answers import refusal
from syncd.errors import Ambiguous, Failure, Misconfigured, RateLimited, Transient, UsageError
from syncd.http.client import HttpClient, Response, check_base_url
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.oauth import Mint, Token, grant_id

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
NOBODY = "sign_in"
"""The code of failures that only a new interactive sign-in can fix."""
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
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


_LATER = Means(Transient, "it is tried again", did_nothing=True)
_LOGINS = Means(RateLimited, "the user signed in more than 3,600 times in an hour", pause=900.0)
_CLIENT = "check auth.client_id and auth.client_secret"
TOKENS = ErrorTable(
    "Salesforce refuses to sign in",
    {
        "unknown_error server_error temporarily_unavailable": _LATER,
        "rate_limit_exceeded": _LOGINS,
        "invalid_client_id": Means(Misconfigured, "check auth.client_id, and that login_url is the org the app is in"),
        "invalid_client invalid_client_credentials": Means(Misconfigured, _CLIENT),
        "invalid_grant": Means(
            Misconfigured, "check auth: the refresh token, the user of the app, and where the org lets it sign in from"
        ),
        "invalid_app_access": Means(
            Misconfigured, "allow syncd's user in the app's policies (Setup, External Client App Manager)"
        ),
        "inactive_user": Means(Misconfigured, "activate syncd's user, or sign in as another one"),
        "inactive_org": Means(Misconfigured, "the org is closed or locked; ask its owner"),
        "unsupported_grant_type": Means(
            Misconfigured, "switch this flow on in the app, or set auth.flow to one that is"
        ),
        "invalid_scope": Means(Misconfigured, "give the app the scope api"),
        "OAUTH_APP_BLOCKED": Means(Misconfigured, "unblock the app: Setup, Connected Apps OAuth Usage"),
        "OAUTH_APP_ACCESS_DENIED": Means(Misconfigured, "allow syncd's user in the app's policies"),
    },
    lambda body: [one for one in error_at("error", "error_description", field="error_description")(body) if one.code],
    statuses={status: Means(Misconfigured, "check auth and login_url") for status in range(400, 429)},
    fields={("invalid_grant", "login rate exceeded"): _LOGINS},
)
"""OAuth errors of the token endpoint. Descriptions are constants of the protocol, not texts in the user's language; every refusal
that is not listed stops the lane until it is tried again in an hour."""


def token_failure(response: Response, now: datetime) -> Failure:
    """What a refusal of the token endpoint means: `{"error": …, "error_description": …}`, mostly with 400. Never Ambiguous: a
    token too many does no harm."""
    wait = response.retry_after(now)
    return refusal(TOKENS, TOKENS.said(response), response.status, write=False, wait=wait, now=now)


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


def minter(settings: SalesforceAccount, context: Context, http: HttpClient) -> Mint:
    """Asks Salesforce for a token through `http` (a client of login_url). The Mint raises Misconfigured, RateLimited
    (3,600 logins an hour and user) or Transient; never Ambiguous, since a token too many does no harm."""
    name, clock = context.name, context.clock

    def mint(held: Token | None) -> Token:
        if settings.signed_in and not (held and held.refresh):
            raise Misconfigured(f"not signed in yet; run: syncd auth {name}", code=NOBODY, sign_in=True)
        form = _form(settings, held, clock())
        try:
            answer = http.request("POST", TOKEN_PATH, form=form, write=True)
        except Ambiguous as lost:
            raise Transient(lost.message, code=lost.code) from None
        if not answer.ok:
            failure = token_failure(answer, clock())
            if settings.signed_in and failure.code == "invalid_grant" and isinstance(failure, Misconfigured):
                raise Misconfigured(
                    f"the sign-in has ended ({failure.message}); run: syncd auth {name}", code=NOBODY, sign_in=True
                )
            raise failure
        return _token(answer, held)

    return mint


def _form(settings: SalesforceAccount, held: Token | None, now: datetime) -> dict[str, str]:
    auth = settings.auth
    if auth.flow == "jwt_bearer":
        return {"grant_type": JWT_GRANT, "assertion": _assertion(settings, now)}
    form = {"grant_type": auth.flow, "client_id": auth.client_id}
    if auth.client_secret is not None:
        form["client_secret"] = auth.client_secret.get_secret_value()
    if auth.flow == "refresh_token":
        first = auth.refresh_token.get_secret_value() if auth.refresh_token else ""
        form["refresh_token"] = (held.refresh if held else "") or first
    return form


def _assertion(settings: SalesforceAccount, now: datetime) -> str:
    import jwt  # loads cryptography: only where JWT is used

    auth = settings.auth
    claims = {
        "iss": auth.client_id,
        "sub": auth.username,
        "aud": settings.audience,
        "exp": int((now + ASSERTION_LIFE).timestamp()),
    }
    try:
        return jwt.encode(claims, private_key(auth), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise Misconfigured(
            "auth.private_key is not an unencrypted RSA private key in PEM form; it must begin with -----BEGIN",
            code="private_key",
        ) from None


def is_pem(given: str) -> bool:
    """Whether the setting is the key itself rather than its file."""
    return given.lstrip().startswith("-----BEGIN")


def private_key(auth: SalesforceAuth) -> str:
    """The PEM text, read from its file when a path is configured. Raises Misconfigured for an unreadable file."""
    given = auth.private_key.get_secret_value() if auth.private_key else ""
    if is_pem(given):
        return given
    try:
        return Path(given).expanduser().read_text("ascii")
    except (OSError, ValueError) as error:
        reason = (error.strerror or "unreadable") if isinstance(error, OSError) else "not a PEM text file"
        raise Misconfigured(f"auth.private_key: its file cannot be read: {reason}", code="private_key") from None


def _token(answer: Response, held: Token | None) -> Token:
    try:
        given = answer.json()
    except Ambiguous as unreadable:
        raise Transient(f"the token endpoint answered nonsense: {unreadable.message}", code="token") from None
    if not isinstance(given, dict) or not given.get("access_token") or not given.get("instance_url"):
        raise Transient("the token endpoint answered 200 without access_token and instance_url", code="token")
    try:
        instance = check_base_url(str(given["instance_url"]))
    except ValueError as error:
        raise Misconfigured(f"instance_url of the token: {error}", code="instance_url") from None
    refresh = str(given.get("refresh_token") or (held.refresh if held else ""))
    return Token(access=str(given["access_token"]), refresh=refresh, extra={"instance_url": instance})
