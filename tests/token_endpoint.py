"""A small OAuth 2.0 server on loopback: mints short-lived JWTs that the private Dovecot takes, rotates refresh tokens, throttles
and refuses on demand; `/authorize` says yes for everybody, and its codes are bound by PKCE."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt


@dataclass
class TokenEndpoint:
    """`life`: seconds until a JWT really expires; `told`: what the answer says. `email`: whose it is. `refresh`: the one refresh
    token that is good; with `rotates` each use makes another. `refuses`: answers to give instead, one after another:
    (status, body, headers). `asked`: the forms. `consents`: the queries that browsers came with."""

    key: bytes
    email: str
    life: float = 60
    told: float = 3600
    refresh: str = "first-refresh"
    rotates: bool = False
    refuses: list[tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    minted: list[str] = field(default_factory=list)
    consents: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def __enter__(self) -> TokenEndpoint:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("location", endpoint.consent(dict(parse_qsl(urlsplit(self.path).query))))
                self.send_header("content-length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                status, said, headers = endpoint.answer({name: values[0] for name, values in parse_qs(body).items()})
                content = json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                """Nothing on the screen."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, life: float | None = None) -> str:
        now = time.time()
        claims = {"email": self.email, "iat": int(now) - 5, "exp": int(now + (self.life if life is None else life))}
        return jwt.encode(claims | {"sub": self.email, "jti": str(len(self.minted))}, self.key, algorithm="HS256")

    @property
    def authorize_url(self) -> str:
        return self.url.replace("/token", "/authorize")

    def consent(self, query: dict[str, str]) -> str:
        """Where the browser is sent to, with a code."""
        self.consents.append(query)
        self._codes[code := secrets.token_urlsafe(24)] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def _proves(self, form: dict[str, str]) -> bool:
        """Whether the code is ours, unused, and asked for by whoever sends it (RFC 7636)."""
        query = self._codes.pop(form["code"], {})
        digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        fits = digest.decode() == query.get("code_challenge") and query.get("code_challenge_method") == "S256"
        return fits and form["redirect_uri"] == query["redirect_uri"]

    def revoke(self) -> None:
        """The refresh token is good no more."""
        self.refresh = secrets.token_urlsafe(24)

    def answer(self, form: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        self.asked.append(form)
        if self.refuses:
            return self.refuses.pop(0)
        if form.get("client_id") != "app" or form.get("client_secret", "s3cret") != "s3cret":
            return 401, {"error": "invalid_client"}, {}
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return 400, {"error": "invalid_grant", "error_description": "revoked"}, {}
        if form["grant_type"] == "authorization_code" and not self._proves(form):
            return 400, {"error": "invalid_grant", "error_description": "no such code"}, {}
        said: dict[str, Any] = {"access_token": self.token(), "token_type": "Bearer", "expires_in": self.told}
        self.minted.append(said["access_token"])
        if form["grant_type"] == "authorization_code" or (self.rotates and form["grant_type"] == "refresh_token"):
            self.refresh = f"refresh-{len(self.minted)}"
            said["refresh_token"] = self.refresh
        return 200, said, {}
