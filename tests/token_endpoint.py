"""A small OAuth 2.0 token endpoint on loopback: mints short-lived JWTs that the private Dovecot takes, rotates refresh tokens,
throttles and refuses on demand."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt


@dataclass
class TokenEndpoint:
    """`life`: seconds until a JWT really expires; `told`: what the answer says. `email`: whose it is. `refresh`: the one refresh
    token that is good; with `rotates` each use makes another. `refuses`: answers to give instead, one after another:
    (status, body, headers). `asked`: the forms."""

    key: bytes
    email: str
    life: float = 60
    told: float = 3600
    refresh: str = "first-refresh"
    rotates: bool = False
    refuses: list[tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    minted: list[str] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> TokenEndpoint:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
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

    def answer(self, form: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        self.asked.append(form)
        if self.refuses:
            return self.refuses.pop(0)
        if form.get("client_id") != "app" or form.get("client_secret", "s3cret") != "s3cret":
            return 401, {"error": "invalid_client"}, {}
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return 400, {"error": "invalid_grant", "error_description": "revoked"}, {}
        said: dict[str, Any] = {"access_token": self.token(), "token_type": "Bearer", "expires_in": self.told}
        self.minted.append(said["access_token"])
        if self.rotates and form["grant_type"] == "refresh_token":
            self.refresh = f"refresh-{len(self.minted)}"
            said["refresh_token"] = self.refresh
        return 200, said, {}
