"""A user's directory with one CRM that can be put as a test wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.twins import create
from syncd.twins.server import Twin
from tests.user_folder import SECRETS, UserFolder, lay_out

Start = Callable[..., Twin]
KEYS = {"salesforce": ("Lead", "Task", "Syncd_Key__c"), "zoho": ("Leads", "Tasks", "Syncd_Key")}
ENTRIES = {
    "salesforce": 'type: salesforce, mapping: mappings/salesforce.yaml, login_url: "{url}", '
    'auth: {{flow: client_credentials, client_id: app, client_secret: "${{SF_SECRET}}"}}',
    "zoho": 'type: zoho, mapping: mappings/zoho.yaml, accounts_url: "{url}", '
    'auth: {{client_id: app, client_secret: "${{SF_SECRET}}", refresh_token: "${{TWILIO_TOKEN}}"}}',
}


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> UserFolder:
    return lay_out(tmp_path, capsys, monkeypatch, SECRETS)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a twin; ends them all."""
    started: list[Twin] = []

    def begin(kind: str, **options: Any) -> Twin:
        started.append(create(kind, **options))
        started[-1].start()
        return started[-1]

    yield begin
    for twin in started:
        twin.stop()
        twin.store.close()


def point(folder: UserFolder, kind: str, twin: Twin, more: str = "") -> None:
    """A configuration whose destination `crm` is this twin; its mail source is left as it was."""
    entry = ENTRIES[kind].format(url=twin.url) + more
    text = folder.path / "config.yaml"
    head, _, _ = text.read_text("utf-8").partition("destinations:")
    head = head.replace("https://syncd.example.com", "http://127.0.0.1:9")  # nobody answers there, and at once
    text.write_text(f"{head}destinations:\n  crm: {{{entry}}}\n", "utf-8")


def said(folder: UserFolder, *names: str) -> dict[str, dict[str, Any]]:
    """What `check --online` finds, by name and what."""
    ran = folder.syncd("--json", "check", "--online", *names)
    return {f"{row['name']} {row['what']}": row for row in ran.lines if "role" in row}
