"""Commands that do something: switches, backfill, dead letters, quarantine, replay; alone and beside a daemon."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import requests

from syncd.config.loading import load_settings
from syncd.service.daemon import Daemon
from syncd.twins import create
from tests.servers import free_port
from tests.user_folder import SECRETS, UserFolder


def test_channels_keep_comments(folder: UserFolder) -> None:
    assert "enabled calls.missed" in folder.done("channels", "enable", "call.missed").err
    folder.done("channels", "disable", "email.received", "custom")
    text = (folder.path / "config.yaml").read_text("utf-8")
    assert "# The company's own file: this comment must survive." in text
    assert "# mail counts" in text
    assert '"${FORMS_SECRET}"' in text, "references are not filled in"
    wanted = {row["type"]: row["wanted"] for row in folder.done("--json", "channels").lines}
    assert (wanted["call.missed"], wanted["email.received"]) == ("on", "off")
    assert "nothing to change" in folder.done("channels", "enable", "call.missed").err


def test_backfill_alone(folder: UserFolder) -> None:
    for number in (1, 2, 3):
        folder.mail(number, day=number)
    range_ = ("backfill", "inbox", "--since", "2026-11-01", "--until", "2026-11-03")
    assert "would bring 2 new signals" in folder.done(*range_, "--dry-run").err
    assert folder.ids() == []
    told = folder.done("--json", *range_).record
    assert (told["new"], told["repeats"]) == (2, 0)
    assert "0 new signals" in folder.done(*range_, "--restart").err
    assert len(folder.ids()) == 2


def test_backfill_beside_a_daemon(folder: UserFolder) -> None:
    folder.mail(1)
    daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
    daemon.start()
    try:
        ran = folder.done("backfill", "inbox", "--since", "2026-10-01", "--until", "2026-11-10")
        assert "brought 1 new signals" in ran.err
    finally:
        daemon.stop()


def test_a_backfill_that_stopped_goes_on(folder: UserFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from syncd.connectors.mail import maildir

    for number in range(1, 9):
        folder.mail(number, day=number)
    monkeypatch.setattr(maildir, "PAGE", 2, raising=False)
    range_ = ("backfill", "inbox", "--since", "2026-11-01", "--until", "2026-11-10")
    whole = maildir.MaildirSource.backfill

    def interrupted(self, since, until, state):  # type: ignore[no-untyped-def]
        yield next(iter(whole(self, since, until, state)))
        raise KeyboardInterrupt

    monkeypatch.setattr(maildir.MaildirSource, "backfill", interrupted)
    ran = folder.syncd(*range_)
    assert ran.code == 130
    assert ran.err.endswith("syncd: interrupted\n")
    monkeypatch.setattr(maildir.MaildirSource, "backfill", whole)
    assert folder.syncd(*range_).code == 0
    assert len(folder.ids()) == 8


@pytest.fixture
def refusing(folder: UserFolder) -> UserFolder:
    """Three mails came, and the archive's table refuses one of them."""
    with closing(sqlite3.connect(folder.path / "signals.db")) as database:
        database.execute("CREATE TABLE signals (key TEXT PRIMARY KEY, title TEXT CHECK (title <> 'Question 2'))")
    return folder.filled()


def books(folder: UserFolder) -> dict[str, Any]:
    (line,) = folder.done("--json", "status").record["books"]
    assert line["balanced"]
    return dict(line)


def test_dead_letters_are_retried(refusing: UserFolder) -> None:
    (letter,) = refusing.done("--json", "dead", "list").lines
    assert letter["destination"] == "archive"
    assert "see `syncd dead list`" in refusing.done("status").err
    assert letter["rule"] in refusing.done("dead", "show", letter["signal_id"]).out
    refusing.done("dead", "retry", letter["signal_id"])
    assert len(refusing.done("--json", "dead", "list").lines) == 1
    assert books(refusing)["delivered"] == 2
    with closing(sqlite3.connect(refusing.path / "signals.db")) as database:
        database.execute("DROP TABLE signals")
    refusing.done("dead", "retry", "--all")
    assert refusing.done("dead", "list").err == "nothing dead\n"
    assert books(refusing)["delivered"] == 3


def test_dead_letters_are_discarded(refusing: UserFolder) -> None:
    assert "cannot ask without a terminal" in refusing.syncd("dead", "discard", "--all").err
    would = refusing.done("dead", "discard", "--all", "--dry-run")
    assert "1 writes would be discarded" in would.err
    assert "1 writes would be tried again" in refusing.done("dead", "retry", "--all", "--dry-run").err
    assert books(refusing)["dead"] == 1
    refusing.done("dead", "discard", "--all", "--yes")
    assert (books(refusing)["delivered"], books(refusing)["discarded"]) == (2, 1)


def test_replay(filled: UserFolder) -> None:
    again = filled.done("--json", "replay", "--to", "archive", "--since", "2026-11-02", "--dry-run").record
    assert (again["again"], again["new"]) == (2, 0)
    filled.done("replay", "--to", "archive", "--since", "2026-11-02")
    with closing(sqlite3.connect(filled.path / "signals.db")) as database:
        assert database.execute("SELECT count(*) FROM signals").fetchone() == (3,)


def test_replay_respects_only(filled: UserFolder) -> None:
    text = (filled.path / "config.yaml").read_text("utf-8")
    filled.write("config.yaml", text.replace("archive: {type", 'archive: {only: ["custom.*"], type'))
    assert "0 for the first time, 3 not asked for by its `only:`" in filled.done("replay", "--to", "archive").err


def test_what_cannot_be_written_now_is_told_with_its_reason(filled: UserFolder) -> None:
    text = (filled.path / "config.yaml").read_text("utf-8")
    nobody = f"http://127.0.0.1:{free_port()}"
    auth = "{flow: client_credentials, client_id: x, client_secret: '${SF_SECRET}'}"
    filled.write("config.yaml", text + f"  crm: {{type: salesforce, login_url: '{nobody}', auth: {auth}}}\n")
    told = filled.done("replay", "--to", "crm").err
    assert "crm: 0 settled; 3 wait for the next `syncd run`: timeline: cannot be looked up: connect: " in told
    (crm,) = [row for row in filled.done("--json", "status").record["destinations"] if row["destination"] == "crm"]
    assert (crm["pending"], crm["paused_until"]) == (3, None)
    assert "no connection" in crm["reason"]


def test_a_field_that_the_crm_does_not_know_is_shown_loudly(filled: UserFolder) -> None:
    shipped = (resources.files("syncd.mappings") / "salesforce.yaml").read_text("utf-8")
    (filled.path / "mappings").mkdir()
    filled.write("mappings/wrong.yaml", shipped.replace("ActivityDate: ", "Nonsense__c: "))
    auth = "{flow: client_credentials, client_id: x, client_secret: '${SF_SECRET}'}"
    text = (filled.path / "config.yaml").read_text("utf-8")
    with create("salesforce") as twin:
        crm = f"{{type: salesforce, mapping: mappings/wrong.yaml, login_url: '{twin.url}', auth: {auth}}}"
        filled.write("config.yaml", f"{text}  crm: {crm}\n")
        told = filled.done("replay", "--to", "crm").err
    assert "3 wait for the next `syncd run`: timeline: INVALID_FIELD: " in told
    advice = filled.done("status").err
    assert "destination crm: 3 held: INVALID_FIELD: " in advice
    assert "Nonsense__c" in advice


@pytest.fixture
def quarantined(folder: UserFolder) -> UserFolder:
    """An order came in by the door where CloudEvents are expected."""
    daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
    daemon.start()
    try:
        answer = requests.post(
            f"{daemon.url}/webhooks/forms",
            json={"id": "o-1", "what": "Order o-1", "mail": "an@example.org"},
            headers={"authorization": f"Bearer {SECRETS['FORMS_SECRET']}"},
            timeout=20,
        )
        assert answer.status_code == 200
    finally:
        daemon.stop()
    return folder


def test_quarantine_is_worked_off_after_a_fix(quarantined: UserFolder) -> None:
    (kept,) = quarantined.done("--json", "quarantine", "list").lines
    assert kept["source"] == "forms"
    shown = quarantined.done("quarantine", "show", kept["id"][:8])
    assert "Order o-1" in shown.out
    assert SECRETS["FORMS_SECRET"] not in shown.out
    assert "1 in quarantine; see `syncd quarantine list`" in quarantined.done("status").err
    assert "1 are back in quarantine" in quarantined.done("quarantine", "retry", "--all").err
    text = (quarantined.path / "config.yaml").read_text("utf-8")
    fields = '{type: custom.order, id: "{{ body.id }}", title: "{{ body.what }}", person: {email: "{{ body.mail }}"}}'
    quarantined.write("config.yaml", text.replace("format: cloudevents", f"format: json\n    signal: {fields}"))
    assert quarantined.done("quarantine", "retry", kept["id"]).err == "1 tried again\n"
    assert quarantined.done("quarantine", "list").err == "nothing in quarantine\n"
    assert [row["title"] for row in quarantined.done("--json", "signals", "list").lines] == ["Order o-1"]


def test_what_only_a_removed_source_can_read_stays_in_quarantine(quarantined: UserFolder) -> None:
    text = (quarantined.path / "config.yaml").read_text("utf-8")
    quarantined.write("config.yaml", text.replace("  forms:", "  renamed:"))
    ran = quarantined.syncd("quarantine", "retry", "--all")
    assert (ran.code, "no source forms is configured" in ran.err) == (2, True)
    assert len(quarantined.done("--json", "quarantine", "list").lines) == 1


def test_quarantine_is_thrown_away(quarantined: UserFolder) -> None:
    assert "cannot ask without a terminal" in quarantined.syncd("quarantine", "discard", "--all").err
    assert "1 would be tried again" in quarantined.done("quarantine", "retry", "--all", "--dry-run").err
    assert "1 would be thrown away" in quarantined.done("quarantine", "discard", "--all", "--dry-run").err
    assert quarantined.done("quarantine", "discard", "--all", "--yes").err == "1 discarded\n"
    assert quarantined.done("quarantine", "retry", "--all").err == "nothing in quarantine\n"


def test_the_daemon_leaves_a_clean_directory(folder: UserFolder) -> None:
    daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
    daemon.start()
    daemon.stop()
    assert {path.name for path in folder.path.iterdir()} <= {
        *("Maildir", "config.yaml", "signal.yaml", "syncd.db", "syncd.db.key"),
        *("syncd.db-wal", "syncd.db-shm", "signals.db", "signals.db-wal", "signals.db-shm"),
    }
    assert Path("syncd.db").stat().st_mode & 0o077 == 0
