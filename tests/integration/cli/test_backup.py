"""`syncd db backup` beside a writer, and what an older backup does when it is restored: nothing is doubled."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.twins.salesforce.twin import SalesforceTwin
from tests.user_folder import CONFIG, UserFolder, lay_out

CRM = """\
  crm:
    type: salesforce
    login_url: {url}
    auth: {{flow: client_credentials, client_id: app, client_secret: "${{SF_SECRET}}"}}
"""


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> UserFolder:
    return lay_out(tmp_path, capsys, monkeypatch)


@pytest.fixture
def twin() -> Iterator[SalesforceTwin]:
    with SalesforceTwin() as started:
        yield started


def filled(folder: UserFolder) -> None:
    folder.done("backfill", "inbox", "--since", "2026-10-01", "--until", "2026-11-20", "--restart")


def test_an_older_backup_doubles_nothing(folder: UserFolder, twin: SalesforceTwin) -> None:
    folder.write("config.yaml", CONFIG + CRM.format(url=twin.url))
    folder.mail(1)
    filled(folder)
    folder.done("db", "backup", "older.db")
    folder.mail(2)
    folder.mail(3)
    filled(folder)
    before = {object_: sorted(one["Id"] for one in twin.records(object_)) for object_ in ("Task", "Lead")}
    assert len(before["Task"]) == 3
    for name in ("syncd.db", "syncd.db-wal", "syncd.db-shm"):
        (folder.path / name).unlink(missing_ok=True)
    (folder.path / "older.db").rename(folder.path / "syncd.db")
    (folder.path / "older.db.key").replace(folder.path / "syncd.db.key")
    assert len(folder.ids()) == 1
    filled(folder)
    assert len(folder.ids()) == 3
    after = {object_: sorted(one["Id"] for one in twin.records(object_)) for object_ in ("Task", "Lead")}
    assert after == before
    rows = sqlite3.connect(folder.path / "signals.db").execute("SELECT count(*), count(DISTINCT key) FROM signals")
    assert rows.fetchone() == (3, 3)


def test_a_backup_beside_a_writer_is_one_moment(folder: UserFolder) -> None:
    folder.filled()
    stop, started = threading.Event(), threading.Event()

    def write() -> None:
        connection = sqlite3.connect(folder.path / "syncd.db", timeout=15)
        connection.execute("CREATE TABLE pairs (a INTEGER, b INTEGER)")
        number = 0
        while not stop.is_set():
            number += 1
            with connection:
                connection.execute("INSERT INTO pairs VALUES (?, ?)", (number, -number))
                connection.execute("UPDATE pairs SET b = -a")
            started.set()
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert started.wait(10)
        folder.done("db", "backup", "copy.db")
    finally:
        stop.set()
        writer.join()
    copy = sqlite3.connect(folder.path / "copy.db")
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert copy.execute("SELECT count(*) FROM pairs WHERE a + b <> 0").fetchone() == (0,)
    assert copy.execute("SELECT count(*) FROM signals").fetchone() == (3,)
    assert (folder.path / "copy.db").stat().st_mode & 0o077 == 0


def test_nothing_is_written_over(folder: UserFolder) -> None:
    folder.filled()
    folder.write("there.db", "mine")
    ran = folder.syncd("db", "backup", "there.db")
    assert ran.code == 2
    assert "is there already" in ran.err
    assert (folder.path / "there.db").read_text() == "mine"
    assert folder.syncd("db", "backup", "no/such/folder.db").code == 1
