"""Marked secrets of every kind go through a running daemon and every command; then they are looked for in all that it left.

Log, database files, metrics, pages, notices, traces, standard output and error, as text and as JSON: none found.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path

import pytest
import requests
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from syncd.cli import run
from syncd.config.loading import load_settings
from syncd.http.oauth import Token
from syncd.observability import traces
from syncd.observability.logs import set_up_logs
from syncd.service.daemon import Daemon
from syncd.store.queries import get
from tests.chaos.processes import until

MARK = "canary5ecret"
"""Part of every secret, in letters that no encoding of a URL changes."""
PASSWORDS = {
    "FORMS": f"{MARK}-forms",
    "HMAC": f"{MARK}-hmac",
    "PATH_WORD": f"{MARK}-path-{'p' * 24}",
    "TWILIO": f"{MARK}-twilio",
    "IMAP": f"{MARK}-imap",
    "SF": f"{MARK}-salesforce",
    "ZOHO_CLIENT": f"{MARK}-zoho-client",
    "ZOHO_REFRESH": f"{MARK}-zoho-refresh",
    "ARCHIVE": f"{MARK}-archive",
}
CONFIG = """\
database: sqlite:///./syncd.db
secret_key: ${file:key}
server: {listen: "127.0.0.1:0"}
channels: {custom: {"*": true}, calls: {missed: true}, email: {received: true}}
retry: {schedule: [0s]}
sources:
  forms: {type: webhook, verify: {scheme: bearer, secret: "${FORMS}"}, format: cloudevents}
  shop:
    type: webhook
    verify: {scheme: hmac, secret: "${HMAC}", header: x-sign}
    format: cloudevents
  open: {type: webhook, verify: {scheme: path, secret: "${PATH_WORD}"}, format: cloudevents}
  phones: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: "${TWILIO}", base_url: "http://127.0.0.1:1"}
  inbox: {type: imap, host: 127.0.0.1, port: 1, username: x, password: "${IMAP}"}
destinations:
  crm:
    type: salesforce
    login_url: http://127.0.0.1:1
    auth: {flow: client_credentials, client_id: x, client_secret: "${SF}"}
  zoho:
    type: zoho
    accounts_url: http://127.0.0.1:1
    base_url: http://127.0.0.1:1
    auth: {client_id: x, client_secret: "${ZOHO_CLIENT}", refresh_token: "${ZOHO_REFRESH}"}
  archive: {type: database, url: "postgresql+psycopg://u:${ARCHIVE}@127.0.0.1:1/x", mapping: database}
"""
TYPED = (
    *("check", "config show", "config schema", "status", "db info", "db upgrade", "connectors", "connectors webhook"),
    *("channels", "signals list", "signals show ID", "explain ID", "preview ID", "dead list", "dead list --state held"),
    *("quarantine list", "quarantine show BODY", "replay --to archive --dry-run", "mapping lint", "mapping test"),
    *("export an@example.org", "forget an@example.org --dry-run", "backfill inbox --since 7d --dry-run"),
    *("dead retry --all", "quarantine retry --all", "quarantine discard --all", "forget an@example.org --yes"),
)
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "order",
    "time": "2026-11-20T08:00:00Z",
    "data": {"person": {"email": "an@example.org"}},
}


def knock(url: str) -> None:
    """Requests with secrets in headers, paths and queries: right, wrong, and not understood."""
    typed = {"content-type": "application/cloudevents+json"}
    right = {**typed, "authorization": f"Bearer {PASSWORDS['FORMS']}", "cookie": f"a={MARK}"}
    for path, headers, body in (
        ("forms", right, json.dumps(EVENT)),
        ("forms", right, "{"),
        ("forms", {**typed, "authorization": f"Bearer {MARK}-wrong"}, "{}"),
        ("shop", {**typed, "x-sign": f"{MARK}-signature"}, "{}"),
        (f"open/{PASSWORDS['PATH_WORD']}", typed, json.dumps({**EVENT, "id": "2"})),
        (f"open/{PASSWORDS['PATH_WORD']}", typed, "["),
        (f"open/{MARK}-wrong", typed, "{}"),
        (f"{MARK}-no-such-source", typed, "{}"),
        (f"phones?token={MARK}", {"x-twilio-signature": f"{MARK}-signature"}, "a=b"),
    ):
        answer = requests.post(f"{url}/webhooks/{path}", data=body, headers=headers, timeout=10)
        assert MARK not in answer.text + str(answer.headers)


def said(*words: str) -> str:
    """All that a command prints, as it runs in this directory."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(words))
    assert code in (0, 1, 2), words
    assert "Traceback" not in err.getvalue(), words
    return out.getvalue() + err.getvalue()


def test_no_secret_is_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, word in PASSWORDS.items():
        monkeypatch.setenv(name, word)
    (tmp_path / "key").write_text(f"{MARK}-{'k' * 40}\n", "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    log, spans = io.StringIO(), InMemorySpanExporter()
    set_up_logs(stream=log, as_json=True, level="debug")
    traces.set_up({}, exporter=spans)
    daemon = Daemon(load_settings(tmp_path / "config.yaml"))
    try:
        daemon.start()
        knock(daemon.url)
        daemon.store.tokens.token("grant", lambda before: Token(access=f"{MARK}-access", refresh=f"{MARK}-refresh"))
        until(lambda: "destination crm" in said("status"), "the CRM was asked for a token")
        until(lambda: "source inbox" in said("status") or daemon.store.sources.health("inbox").error, "inbox was tried")
        (tmp_path / "config.yaml").write_text(CONFIG.replace("retry:", f"{MARK[:3]}: 1\nretry:"), "utf-8")
        assert not daemon.reload()
        pages = "".join(
            requests.get(daemon.url + page, timeout=10).text for page in ("/metrics", "/readyz", "/healthz")
        )
        (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
        assert daemon.reload()
        ids = [json.loads(line)["id"] for line in said("--json", "signals", "list").splitlines()]
        assert len(ids) == 2
        bodies = [json.loads(line)["id"] for line in said("--json", "quarantine", "list").splitlines()]
        assert bodies
        assert get(daemon.store, ids[0]) is not None
        for typed in TYPED:
            for flags in ([], ["--json"]):
                words = shlex.split(typed.replace("ID", ids[0]).replace("BODY", bodies[0]))
                assert MARK not in said(*flags, *words), typed
    finally:
        daemon.stop()
        traces.shut_down()
        set_up_logs(level="info")
    assert MARK not in pages
    assert MARK not in log.getvalue(), [line for line in log.getvalue().splitlines() if MARK in line]
    told = [f"{span.name} {span.attributes} {span.events} {span.status}" for span in spans.get_finished_spans()]
    assert told
    assert MARK not in "".join(told)
    held = [file.name for file in tmp_path.glob("syncd.db*") if MARK.encode() in file.read_bytes()]
    assert held == [], "the database, its log, and the key file"
