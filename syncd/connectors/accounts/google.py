"""Signing in to Google for its APIs: a user's consent or a service account of the domain, and what errors mean.

All sources of one service account, user and scope share a token; an interactive sign-in belongs to one configured name. Sources:
developers.google.com, "Using OAuth 2.0 for Web Server Applications", "Using OAuth 2.0 for Server to Server Applications",
"Resolve errors" of Calendar, google.rpc.ErrorInfo and google.rpc.Status of the People API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, model_validator

from syncd.capabilities import SignIn, own_grant
from syncd.connector import ConnectorSettings, Context, Prompt
from syncd.connectors.keys import BaseUrl
from syncd.errors import AuthExpired, Misconfigured, QuotaExhausted, RateLimited, Transient, UsageError
from syncd.http.client import Bearer, HttpClient
from syncd.http.error_table import LONGEST_MESSAGE, ErrorTable, Means, VendorError, dig
from syncd.http.oauth import grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers
from syncd.http.vendor_api import VendorApi

AUTHORIZE = "https://accounts.google.com/o/oauth2/v2/auth"
TOKEN = "https://oauth2.googleapis.com/token"  # noqa: S105  an address
REVOKE = "https://oauth2.googleapis.com/revoke"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_LIFE = timedelta(minutes=30)
EXPIRED_TOKEN = "EXPIRED_SYNC_TOKEN"  # noqa: S105  Google's word for it
_AGAIN = "to sign in again run: syncd auth {name}"
REMEDIES = {
    "invalid_grant": "the sign-in has ended: it was withdrawn, or the consent screen is still in testing, where it ends after "
    "7 days (publish the app); of a service account: check account; " + _AGAIN,
    "invalid_client": "check auth.client_id and auth.client_secret",
    "unauthorized_client": "allow the service account's client id for this scope: Google Admin console, Security, API controls, "
    "Domain-wide delegation",
    "invalid_scope": "the scope is not allowed for this client",
    "access_denied": "the domain's administrator has not allowed the app",
    "admin_policy_enforced": "the domain's administrator has not allowed the app",
}
ANSWERS = TokenAnswers("Google", REMEDIES, ended=frozenset({"invalid_grant"}))


class GoogleAuth(ConnectorSettings):
    """An OAuth client, for which a user signs in, or a service account."""

    client_id: Annotated[str, Prompt()] = Field(
        "", description="client id of an OAuth client of the type web or desktop"
    )
    client_secret: Annotated[SecretStr | None, Prompt()] = Field(None, description="the OAuth client's secret")
    refresh_token: SecretStr | None = Field(
        None, description="a refresh token that was obtained elsewhere; without it, `syncd auth`"
    )
    service_account: SecretStr | None = Field(
        None,
        description="instead of the other keys: the JSON key of a service account with domain-wide delegation, or the path of "
        "its file",
    )

    @model_validator(mode="after")
    def _one_way(self) -> GoogleAuth:
        if bool(self.client_id) == (self.service_account is not None):
            raise ValueError("auth needs either client_id (a user signs in) or service_account")
        return self


class GoogleAccount(ConnectorSettings):
    """The keys by which a source signs in to Google."""

    account: Annotated[
        str,
        Field(pattern=r"^[^@\s/]+@[^@\s/]+$", description="the user's address at Google, such as sales@example.com"),
    ]
    auth: Annotated[GoogleAuth, Field(description="how syncd signs in")]
    token_url: Annotated[BaseUrl, Field(description="where Google gives access tokens")] = TOKEN

    def api(self, context: Context, base_url: str, scope: str, errors: ErrorTable, *, kind: str) -> VendorApi:
        """`kind`: the connector's type; `scope`: what a service account asks for."""
        rate = context.limits.bucket(f"google:{self.account.lower()}", "calls")
        bearer = Bearer(context.tokens, self._grant(kind, context.name, scope), self._mint(context, scope))
        client = HttpClient(base_url, bearer=bearer, clock=context.clock, rate=rate)
        return VendorApi(client, errors, context.clock)

    def sign_in(self, scopes: Mapping[str, str], *, kind: str, name: str) -> SignIn:
        """The interactive sign-in. Raises UsageError for an account that needs none."""
        auth = self.auth
        if auth.service_account is not None:
            raise UsageError(f"{name}: the service account signs in by itself; no person is needed")
        if auth.refresh_token:
            raise UsageError(f"{name} has a refresh_token in the configuration; take it out to sign in with syncd auth")
        return SignIn(
            grant=self._grant(kind, name, ""),
            authorize_url=AUTHORIZE,
            token_url=self.token_url,
            revoke_url=REVOKE if self.token_url == TOKEN else "",
            client_id=auth.client_id,
            client_secret=auth.client_secret.get_secret_value() if auth.client_secret else "",
            scopes=tuple(scopes),
            reasons=dict(scopes),
            parameters={"access_type": "offline", "prompt": "consent", "login_hint": self.account},
            account=self.account,
        )

    def _grant(self, kind: str, name: str, scope: str) -> str:
        auth = self.auth
        if auth.service_account is not None:
            key = auth.service_account.get_secret_value()
            return grant_id("google", "service", self.token_url, key, self.account, scope)
        if auth.refresh_token:
            return grant_id("google", "refresh", self.token_url, auth.client_id, auth.refresh_token.get_secret_value())
        return grant_id(*own_grant(kind, name, self.token_url, auth.client_id))

    def _mint(self, context: Context, scope: str) -> Refreshing:
        auth = self.auth
        secret = {"client_secret": auth.client_secret.get_secret_value()} if auth.client_secret else {}
        by_key = auth.service_account is not None
        return Refreshing(
            self.token_url,
            {} if by_key else {"client_id": auth.client_id, **secret},
            ANSWERS,
            context.clock,
            context.name,
            grant=JWT_GRANT if by_key else "refresh_token",
            refresh=auth.refresh_token.get_secret_value() if auth.refresh_token else "",
            assertion=(lambda now: self._assertion(context, scope, now)) if by_key else None,
            around=context.refusals.attempt,
        )

    def _assertion(self, context: Context, scope: str, now: datetime) -> str:
        """Raises Misconfigured for a key that is not a service account's."""
        import jwt  # loads cryptography: only where a service account is used

        given = self.auth.service_account.get_secret_value() if self.auth.service_account else ""
        try:
            if not given.lstrip().startswith("{"):
                given = context.beside(Path(given)).read_text("utf-8")
            key = json.loads(given)
            claims = {
                "iss": key["client_email"],
                "sub": self.account,
                "scope": scope,
                "aud": self.token_url,
                "iat": int(now.timestamp()),
                "exp": int((now + ASSERTION_LIFE).timestamp()),
            }
            return jwt.encode(claims, key["private_key"], algorithm="RS256")
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError):
            raise Misconfigured(
                "auth.service_account is not the JSON key of a service account, nor the path of its file",
                code="service_account",
            ) from None


def google_errors(api: str, console: str, no_item: str) -> ErrorTable:
    """`api`: its name in the Cloud console, `console`: its host there; `no_item`: why what was asked for is not there."""
    scope = "the sign-in does not include this permission; sign in again with syncd auth"
    return ErrorTable(
        "Google",
        {
            EXPIRED_TOKEN: Means(Transient, "the state of the last reading is not known any more"),
            "SERVICE_DISABLED accessNotConfigured": Means(
                Misconfigured,
                f"enable {api} for the project: https://console.cloud.google.com/apis/library/{console}",
            ),
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT insufficientPermissions": Means(Misconfigured, scope),
            "RATE_LIMIT_EXCEEDED rateLimitExceeded userRateLimitExceeded RESOURCE_EXHAUSTED": Means(
                RateLimited, "too many requests", pause=60
            ),
            "dailyLimitExceeded quotaExceeded": Means(QuotaExhausted, "the calls of the day are used"),
            "UNAUTHENTICATED authError": Means(AuthExpired, "the access token is refused"),
            "notFound NOT_FOUND": Means(Misconfigured, no_item),
            "PERMISSION_DENIED forbidden": Means(Misconfigured, "this account may not read it"),
            "backendError internalError UNAVAILABLE INTERNAL": Means(Transient, "Google cannot answer for a moment"),
        },
        _said,
        statuses={403: Means(Misconfigured, "this account may not read it"), 404: Means(Misconfigured, no_item)},
        absent=frozenset({"404"}),
    )


def _said(body: Any) -> list[VendorError]:
    """The reasons first, which say more, then the status."""
    error = dig(body, "error")
    if not isinstance(error, dict):
        return []
    lists = (error.get("details"), error.get("errors"))
    reasons = [dig(one, "reason") for some in lists if isinstance(some, list) for one in some]
    message = str(error.get("message") or "")[:LONGEST_MESSAGE]
    return [VendorError(str(code), message) for code in (*reasons, error.get("status"), error.get("code")) if code]
