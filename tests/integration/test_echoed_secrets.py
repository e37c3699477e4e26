"""A vendor, or a proxy, that echoes our request in its errors: no secret reaches the database, the log or what is shown."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
import structlog

from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Context, Destination
from syncd.connectors.crm.salesforce import Salesforce, SalesforceSettings
from syncd.connectors.crm.zoho import Zoho, ZohoSettings
from syncd.dispatch.lane import Lane
from syncd.http.oauth import MemoryTokens
from syncd.mapping.loading import load_mapping
from syncd.observability.logs import mask_known_secrets
from syncd.runtime.known_secrets import mask
from syncd.store import Store
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from tests.lane_rig import T0, signal

CLIENT_SECRET = "9f+client/SECRET=7c41"
REFRESH = "1000.b2c3refresh.d4e5f6a7"
ACCESS = "00Dxx!AQ8.access/token+e1f2a3"
MAPPING = """
rules:
  - {id: timeline, name: T, signals: ["*"], upsert: %s, key: %s, fields: {Subject: "{{ signal.title }}"}}
"""
Echo = Callable[[str], str]
SAID: dict[str, Echo] = {
    "plain": str,
    "url": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of more": lambda text: base64.b64encode(f"x{text}y".encode()).decode(),
    "cut": lambda text: "." * (500 - len(text) + 6) + text,
}


@contextmanager
def vendor(answer: Callable[[str, str], tuple[int, str]]) -> Iterator[str]:
    """Gives tokens; to all else it answers `answer(what to echo, path)`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            token = self.path.startswith(("/oauth/v2/token", "/services/oauth2/token"))
            if token and answer.__name__ != "of_the_token":
                here = f"http://{self.headers['host']}"
                said = {"access_token": ACCESS, "instance_url": here, "api_domain": here, "expires_in": 3600}
                status, text = 200, json.dumps(said)
            else:
                form = parse_qs(body)
                sent = [self.headers.get("authorization", "").partition(" ")[2] or ""]
                sent += [value for name in ("client_secret", "refresh_token") for value in form.get(name, [])]
                status, text = answer(next((one for one in sent if one), ""), self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_PATCH = do_PUT = do_GET = do_POST

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def destination(kind: str, url: str) -> tuple[Destination, str]:
    context = Context(name="crm", tokens=MemoryTokens(clock=lambda: T0), clock=lambda: T0)
    if kind == "salesforce":
        keys = {"flow": "refresh_token", "client_id": "app", "client_secret": CLIENT_SECRET, "refresh_token": REFRESH}
        return Salesforce(SalesforceSettings.model_validate({"login_url": url, "auth": keys}), context), MAPPING % (
            "Task",
            "Syncd_Key__c",
        )
    keys = {"client_id": "app", "client_secret": CLIENT_SECRET, "refresh_token": REFRESH}
    made = {"accounts_url": url, "base_url": url, "auth": keys}
    return Zoho(ZohoSettings.model_validate(made), context), MAPPING % ("Tasks", "Syncd_Key")


def row(kind: str, said: str, code: str) -> str:
    if kind == "salesforce":
        return json.dumps([{"success": False, "errors": [{"statusCode": code, "message": said, "fields": []}]}])
    return json.dumps({"data": [{"code": code, "message": said, "status": "error", "details": {"api_name": said}}]})


def whole(kind: str, said: str, code: str) -> str:
    if kind == "salesforce":
        return json.dumps([{"errorCode": code, "message": said}])
    return json.dumps({"code": code, "message": said, "status": "error", "details": {}})


@pytest.mark.parametrize("kind", ["salesforce", "zoho"])
@pytest.mark.parametrize("how", SAID)
@pytest.mark.parametrize(
    ("shape", "status"),
    [("row", 200), ("whole", 400), ("whole", 401), ("page", 403), ("page", 200), ("code", 400), ("token", 400)],
)
def test_nothing_that_is_kept_or_shown_holds_a_secret(
    tmp_path: Path, kind: str, how: str, shape: str, status: int
) -> None:
    def refusal(secret: str, path: str) -> tuple[int, str]:
        said = SAID[how](secret)
        if shape == "row":
            return status, row(kind, said, "INVALID_DATA")
        if shape == "page":
            return status, f"<html><title>{said}</title><body>{said}</body></html>"
        return status, whole(kind, *(("no", said) if shape == "code" else (said, "INVALID_DATA")))

    def of_the_token(secret: str, path: str) -> tuple[int, str]:
        return status, json.dumps({"error": "odd", "error_description": SAID[how](secret)})

    lines = io.StringIO()
    with vendor(of_the_token if shape == "token" else refusal) as url:
        one, mapping = destination(kind, url)
        now = T0
        store = Store.open(f"sqlite:///{tmp_path}/syncd.db", clock=lambda: now)
        settings = Settings(destinations={"crm": DestinationSettings(name="crm", type=kind)})
        lane = Lane("crm", one, load_mapping(mapping, name="m.yaml"), store, settings, clock=lambda: now)
        entry = JournalEntry(
            "rig", [NewSignal(signal(1), (InitialDelivery("crm", live=True, old=False),))], received_at=now
        )
        store.journal.commit(entry)
        processors = [mask_known_secrets, structlog.processors.JSONRenderer()]
        with logged(lines, processors):
            for _ in range(6):
                lane.step(now)
                now += timedelta(minutes=10)
        shown = lane.trouble
        lane.close()
        one.close()
        store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("utf-8", "replace")
    assert "timeline" in kept
    for text in (kept, lines.getvalue(), shown):
        for secret in (ACCESS, REFRESH, CLIENT_SECRET):
            encoded = base64.b64encode(secret.encode()).decode()
            for form in (secret, quote(secret, safe=""), encoded[:-4], secret[:16], encoded[4:20]):
                assert form not in text


@contextmanager
def logged(stream: io.StringIO, processors: list[Any]) -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(processors=processors, logger_factory=structlog.PrintLoggerFactory(stream))
    try:
        yield
    finally:
        structlog.configure(**before)


def test_a_log_line_is_masked_wherever_the_secret_stands() -> None:
    destination("zoho", "http://127.0.0.1:1")
    event = {"event": f"got {REFRESH}", "reason": CLIENT_SECRET, "exception": f"Traceback: {REFRESH}", "count": 3}
    masked = mask_known_secrets(None, "error", dict(event))
    assert masked["count"] == 3
    assert all(REFRESH not in str(value) and CLIENT_SECRET not in str(value) for value in masked.values())
    assert mask("nothing to hide") == "nothing to hide"
