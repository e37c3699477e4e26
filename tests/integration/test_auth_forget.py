"""`syncd auth --forget` takes a sign-in back at the vendor where it can, and says what came of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from syncd import registry
from syncd.capabilities import SignsIn
from syncd.config.loading import load_settings
from syncd.connector import Context
from syncd.http.oauth import MemoryTokens, Token
from syncd.service.assembly import connector_of
from syncd.store import Store
from tests.browser import signing_in

REFRESH = "canary-7f21-refresh"
CONFIG = """\
destinations:
  salesforce:
    type: salesforce
    login_url: {url}
    auth: {{flow: refresh_token, client_id: app, client_secret: "s"}}
  zoho:
    type: zoho
    accounts_url: {url}
    base_url: {url}
    auth: {{client_id: app, client_secret: "s"}}
"""


class Vendor:
    """An OAuth server that only revokes. `answer`: what it says."""

    answer: tuple[int, bytes] = (200, b"")

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                vendor.asked.append((self.path, parse_qs(body)))
                status, said = vendor.answer
                self.send_response(status)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *args: object) -> None:
                """Nothing on the screen."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    vendor = Vendor()
    yield vendor
    vendor.close()


def signed_in(folder: Path, vendor: Vendor, name: str) -> None:
    (folder / "config.yaml").write_text(CONFIG.format(url=vendor.url), "utf-8")
    built = connector_of(load_settings(folder / "config.yaml", need_secrets=False), "destination", name)
    assert isinstance(built, SignsIn)
    with Store.open(f"sqlite:///{folder}/syncd.db") as store:
        store.tokens.put(built.sign_in().grant, Token(access="a", refresh=REFRESH))


def forget(folder: Path, name: str) -> tuple[dict[str, object], str]:
    with signing_in(folder, name, "--forget", "--json") as auth:
        code, out, err = auth.end()
    assert code == 0, err
    assert REFRESH not in out + err
    return json.loads(out), err


@pytest.mark.parametrize(
    ("name", "path", "answer"),
    [
        ("salesforce", "/services/oauth2/revoke", (200, b"")),
        ("zoho", "/oauth/v2/token/revoke", (200, b'{"status": "success"}')),
    ],
)
def test_it_is_revoked_once(tmp_path: Path, vendor: Vendor, name: str, path: str, answer: tuple[int, bytes]) -> None:
    signed_in(tmp_path, vendor, name)
    vendor.answer = answer
    told, _ = forget(tmp_path, name)
    assert (told["forgotten"], told["revoked"], told["vendor"]) == (True, True, "revoked at the vendor")
    again, _ = forget(tmp_path, name)
    assert (again["forgotten"], again["revoked"]) == (False, False)
    assert vendor.asked == [(path, {"token": [REFRESH]})]


@pytest.mark.parametrize(
    ("answer", "done", "says"),
    [
        ((400, b'{"error": "invalid_token"}'), True, "had revoked it already"),
        ((400, b'{"error": "unsupported_token_type"}'), False, "(unsupported_token_type)"),
        ((200, b'{"error": "invalid_client"}'), False, "(invalid_client)"),
        ((200, b'{"status": "failure"}'), False, "(failure)"),
        ((404, b"<html>"), False, "404"),
        ((503, b""), False, "withdraw there what the app was granted"),
    ],
)
def test_what_came_of_it_is_said(
    tmp_path: Path, vendor: Vendor, answer: tuple[int, bytes], done: bool, says: str
) -> None:
    signed_in(tmp_path, vendor, "zoho")
    vendor.answer = answer
    told, _ = forget(tmp_path, "zoho")
    assert (told["forgotten"], told["revoked"]) == (True, done)
    assert says in str(told["vendor"])


def test_a_vendor_that_is_down_hinders_nobody(tmp_path: Path, vendor: Vendor) -> None:
    signed_in(tmp_path, vendor, "salesforce")
    vendor.close()
    with signing_in(tmp_path, "salesforce", "--forget") as auth:
        code, _, err = auth.end()
    assert code == 0
    assert "the stored sign-in was removed; the vendor did not revoke it" in err
    told, _ = forget(tmp_path, "salesforce")
    assert told["forgotten"] is False


@pytest.mark.parametrize(
    ("role", "type_name", "keys", "url"),
    [
        ("source", "imap", {"preset": "gmail"}, "https://oauth2.googleapis.com/revoke"),
        ("source", "imap", {"preset": "microsoft365"}, ""),
        (
            "source",
            "imap",
            {
                "host": "imap.example.com",
                "auth": {
                    "token_url": "https://elsewhere.example/token",
                    "authorize_url": "https://elsewhere.example/a",
                    "scopes": ["mail"],
                },
            },
            "",
        ),
        ("destination", "zoho", {"data_center": "eu"}, "https://accounts.zoho.eu/oauth/v2/token/revoke"),
        (
            "source",
            "zoho_desk",
            {"data_center": "in", "org_id": "1"},
            "https://accounts.zoho.in/oauth/v2/token/revoke",
        ),
        (
            "destination",
            "salesforce",
            {"login_url": "https://x.my.salesforce.com", "auth": {"flow": "refresh_token"}},
            "https://x.my.salesforce.com/services/oauth2/revoke",
        ),
    ],
)
def test_where_each_vendor_revokes(role: registry.Role, type_name: str, keys: dict[str, Any], url: str) -> None:
    connector = registry.load(role, type_name)
    auth = {"client_id": "app", "client_secret": "s", **keys.get("auth", {})}
    user = {"username": "a@example.com"} if type_name == "imap" else {}
    made = connector.build(
        connector.settings.model_validate(user | keys | {"auth": auth}), Context(name="it", tokens=MemoryTokens())
    )
    assert isinstance(made, SignsIn)
    assert made.sign_in().revoke_url == url
