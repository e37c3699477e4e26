"""OAuth of the Salesforce twin: JWT bearer, client credentials, refresh token, and a person's consent (authorization code with
PKCE); access tokens that can expire and be revoked.

Used by twin.py. Error bodies are {"error", "error_description"} with 400, as recorded for refresh tokens
(salesforce.md, Auth).
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from syncd.twins.consent import ConsentError, Consents, Refusal, page_of_error
from syncd.twins.wire import TwinCall, TwinResponse

APP_SCOPES = frozenset({"api", "refresh_token", "offline_access", "id", "openid", "profile", "email", "web", "full"})
"""What the app of this org may grant [D, "OAuth Tokens and Scopes"]."""
IDENTITY = frozenset({"id", "openid", "profile", "full"})
DATA = frozenset({"api", "full"})
ORG = "00DdM00000vfgTuUAI"
AUDIENCES = (
    "https://login.salesforce.com",
    "https://test.salesforce.com",
)  # [D]; the twin's own URL stands for an Experience site
JWT_LIFE = 300.0  # seconds; "exp <= ~3 min" (salesforce.md) plus room for clocks that differ
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


_SAID = {  # wording [M]
    ConsentError.CODE: ("invalid_grant", "invalid authorization code"),
    ConsentError.EXPIRED: ("invalid_grant", "expired authorization code"),
    ConsentError.REDIRECT: ("redirect_uri_mismatch", "redirect_uri must match configuration"),
    ConsentError.VERIFIER: ("invalid_grant", "invalid code verifier"),
    ConsentError.CLIENT: ("invalid_client_id", "client identifier invalid"),
}


class OAuthError(Exception):
    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code, self.status = code, status

    def answer(self) -> TwinResponse:
        return TwinResponse(self.status, {"error": self.code, "error_description": str(self)})


class Tokens:
    """Grants and live tokens. A client id, secret, key or refresh token that is not set is not checked, only asked for."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        client_id: str | None,
        client_secret: str | None,
        refresh_token: str | None,
        public_key: str | None,
        life: float,
        rotate: bool,
        scopes: Iterable[str] | None = None,
    ) -> None:
        self._clock, self._life, self._rotate = clock, life, rotate
        self.client_id, self.client_secret = client_id, client_secret
        self.refresh_token, self.public_key = refresh_token, public_key
        self.issued = 0
        self.scopes = None if scopes is None else frozenset(scopes)
        """Of tokens that no consent stands behind (None: every one)."""
        self._consented: dict[str, frozenset[str]] = {}
        self._held: dict[str, frozenset[str] | None] = {}
        self._scopes: list[str] = []
        self._live: dict[str, float] = {}
        # "the authorization code … expires after 15 minutes" (help: OAuth 2.0 Web Server Flow).
        self.consents = Consents(clock, life=900.0)
        self.refreshable: set[str] = set()
        """Refresh tokens that people's consent made; while there are some, no other is taken."""
        self._grants: Mapping[str, Callable[[TwinCall, dict[str, str], str], None]] = {
            JWT_GRANT: self._jwt,
            "client_credentials": self._client_credentials,
            "refresh_token": self._refresh,
            "authorization_code": self._code,
        }

    def valid(self, token: str) -> bool:
        return self._live.get(token, 0.0) > self._clock()

    def may(self, token: str, either: frozenset[str]) -> bool:
        """Whether a valid token has one of these scopes."""
        held = self._held.get(token)
        return held is None or bool(held & either)

    def expire_all(self) -> None:
        self._live.clear()

    def grant(self, call: TwinCall, url: str, user: str) -> TwinResponse:
        """Answers the token endpoint."""
        form = call.form()
        check = self._grants.get(form.get("grant_type", ""))
        if check is None:
            return OAuthError("unsupported_grant_type", "grant type not supported").answer()
        try:
            check(call, form, url)
        except OAuthError as error:
            return error.answer()
        scopes = self._scopes if form["grant_type"] == "authorization_code" else ()
        self.issued += 1
        token = f"{ORG[:15]}!{secrets.token_urlsafe(48)}"
        self._live[token] = self._clock() + self._life
        consented = self._consented.get(form.get("refresh_token", ""), self.scopes)
        self._held[token] = frozenset(scopes) if form["grant_type"] == "authorization_code" else consented
        # No expires_in: a token is good until a 401 says otherwise (salesforce.md, Auth [M]).
        body: dict[str, Any] = {
            "access_token": token,
            "scope": "api",
            "instance_url": url,
            "id": f"{url}/id/{ORG}/{user}",
            "token_type": "Bearer",
        }
        if form["grant_type"] != JWT_GRANT:
            body |= {
                "signature": base64.b64encode(secrets.token_bytes(32)).decode(),
                "issued_at": str(int(self._clock() * 1000)),
            }
        if form["grant_type"] == "refresh_token" and self._rotate:
            body["refresh_token"] = fresh = secrets.token_urlsafe(32)
            if form["refresh_token"] in self.refreshable:
                self.refreshable.remove(form["refresh_token"])
                self.refreshable.add(fresh)
                self._consented[fresh] = self._consented.get(form["refresh_token"], frozenset())
            else:
                self.refresh_token = fresh
        if scopes:
            body["scope"] = " ".join(scopes)
        if "refresh_token" in scopes or "offline_access" in scopes:
            body["refresh_token"] = secrets.token_urlsafe(32)
            self.refreshable.add(body["refresh_token"])
            self._consented[body["refresh_token"]] = frozenset(scopes)
        return TwinResponse(200, body)

    def authorize(self, call: TwinCall) -> TwinResponse:
        """The page that asks a person, and its outcome."""
        form = call.form()
        if self.client_id not in (None, form.get("client_id") or None) or not form.get("client_id"):
            return page_of_error("error=invalid_client_id&error_description=client identifier invalid")
        if not self.consents.known(form.get("redirect_uri", "")):
            text = "error=redirect_uri_mismatch&error_description=redirect_uri must match configuration"
            return page_of_error(text)  # shown by Salesforce itself, not sent to the address
        if not set(form.get("scope", "").split()) <= APP_SCOPES:
            return page_of_error("error=invalid_scope&error_description=the requested scope is not allowed")
        return self.consents.ask(call, form, "Allow Access?", {})

    def _code(self, call: TwinCall, form: dict[str, str], url: str) -> None:
        self._client(call, form, secret=self.client_secret is not None)
        try:
            self._scopes = self.consents.redeem(form).scope.split() or sorted(APP_SCOPES)
        except Refusal as refusal:
            raise OAuthError(*_SAID[refusal.wrong]) from None

    def _client(self, call: TwinCall, form: Mapping[str, str], secret: bool) -> None:
        id_, given = form.get("client_id", ""), form.get("client_secret", "")
        if call.headers.get("authorization", "").lower().startswith("basic "):
            id_, _, given = base64.b64decode(call.bearer).decode("utf-8", "replace").partition(":")
        if not id_ or self.client_id not in (None, id_):
            raise OAuthError("invalid_client_id", "client identifier invalid")
        if secret and (not given or self.client_secret not in (None, given)):
            raise OAuthError("invalid_client", "invalid client credentials")

    def _client_credentials(self, call: TwinCall, form: dict[str, str], url: str) -> None:
        self._client(call, form, secret=True)

    def _refresh(self, call: TwinCall, form: dict[str, str], url: str) -> None:
        self._client(call, form, secret=False)
        given = form.get("refresh_token", "")
        known = given in self.refreshable or (
            given == self.refresh_token if self.refresh_token or self.refreshable else bool(given)
        )
        if not known:
            raise OAuthError("invalid_grant", "expired access/refresh token")

    def _jwt(self, call: TwinCall, form: dict[str, str], url: str) -> None:
        import jwt

        options: Any = {
            "verify_signature": self.public_key is not None,
            "verify_exp": False,
            "verify_aud": False,
            "verify_iat": False,
        }
        try:
            header = jwt.get_unverified_header(form.get("assertion", ""))
            claims = jwt.decode(
                form.get("assertion", ""), key=self.public_key or "", algorithms=["RS256"], options=options
            )
        except jwt.InvalidTokenError as error:
            raise OAuthError("invalid_grant", "invalid assertion") from error
        if header.get("alg") != "RS256" or not claims.get("sub"):
            raise OAuthError("invalid_grant", "invalid assertion")
        if not claims.get("iss") or self.client_id not in (None, claims["iss"]):
            raise OAuthError("invalid_client_id", "client identifier invalid")
        if claims.get("aud") not in (*AUDIENCES, url):
            raise OAuthError("invalid_grant", "audience is invalid")
        expires = claims.get("exp")
        if not isinstance(expires, int | float) or not self._clock() < expires <= self._clock() + JWT_LIFE:
            raise OAuthError("invalid_grant", "assertion is expired or valid for too long")  # wording [M]
