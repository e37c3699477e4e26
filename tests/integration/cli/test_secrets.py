"""No command prints a secret: a canary is part of each, and is looked for in everything that is said."""

from __future__ import annotations

import shlex

import pytest

from tests.user_folder import CANARY, UserFolder

TYPED = (
    "check",
    "config show",
    "status",
    "db info",
    "connectors webhook",
    "channels",
    "signals list",
    "explain ID",
    "signals show ID",
    "preview ID",
    "dead list --state held",
    "quarantine list",
    "backfill inbox --since 7d",
    "replay --to archive",
    "config schema",
)
MORE = """\
  phones: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: "${TWILIO_TOKEN}"}
destinations:
  crm:
    type: salesforce
    login_url: http://127.0.0.1:1
    auth: {flow: client_credentials, client_id: x, client_secret: "${SF_SECRET}"}
  elsewhere: {type: database, url: "postgresql+psycopg://u:${ARCHIVE_PASSWORD}@127.0.0.1:1/x", mapping: database}
"""


@pytest.mark.parametrize("as_json", [False, True])
def test_the_canary_is_never_heard(filled: UserFolder, as_json: bool) -> None:
    text = (filled.path / "config.yaml").read_text("utf-8")
    filled.write("config.yaml", text.replace("destinations:\n", MORE))
    for typed in TYPED:
        words = shlex.split(typed.replace("ID", filled.ids()[0]))
        ran = filled.syncd(*(["--json"] if as_json else []), *words)
        assert ran.code in (0, 1), (typed, ran.err)
        assert CANARY not in ran.out + ran.err, typed


@pytest.mark.parametrize(
    "fault",
    [
        'destinations: {a: {type: database, url: "mysql://u:${ARCHIVE_PASSWORD}@h/x"}}',
        "sources: {a: {type: twilio, account_sid: '${TWILIO_TOKEN}', auth_token: '${TWILIO_TOKEN}'}}",
        "sources: {a: {type: webhook, verify: {scheme: standard_webhooks, secret: '${FORMS_SECRET}'}}}",
        "secret_key: ['${FORMS_SECRET}']",
        "database: 'postgresql+psycopg://u:${ARCHIVE_PASSWORD}@h:port/x'",
        "${FORMS_SECRET}: 1",
    ],
)
def test_nor_is_it_in_a_fault(folder: UserFolder, fault: str) -> None:
    folder.write("config.yaml", fault + "\n")
    for typed in ("check", "status", "config show"):
        ran = folder.syncd(typed) if " " not in typed else folder.syncd(*typed.split())
        assert CANARY not in ran.out + ran.err
        assert "Traceback" not in ran.err


def test_a_password_in_the_databases_own_url(folder: UserFolder) -> None:
    folder.write("config.yaml", f"database: postgresql+psycopg://u:{CANARY}@127.0.0.1:1/x\nsecret_key: {'k' * 40}\n")
    assert "u:******@127.0.0.1:1/x" in folder.done("config", "show").out
    ran = folder.syncd("status")
    assert ran.code == 1
    assert CANARY not in ran.err
