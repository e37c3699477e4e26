"""The same command again after a kill, at every stage: it goes on where it stopped, and all that was taken in is delivered.

The process is killed for real (SIGKILL at a named instant, see `syncd.runtime.crashpoints`); the clock moves on in between.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from syncd.config.loading import load_settings
from syncd.intake.backfill import KIND, LEASE, Range
from syncd.runtime.crashpoints import VARIABLE
from syncd.service.assembly import open_store
from syncd.service.daemon import Daemon
from syncd.store import Store
from syncd.store.jobs import Job
from tests.user_folder import SECRETS, UserFolder

SYNCD = [sys.executable, "-c", "from syncd.cli import main; main()"]
MAILS = 120
SINCE = ("backfill", "inbox", "--since", "60d")
READING = ("after_fetch:1", "after_fetch:2", "after_commit:2")
DELIVERING = ("after_send:1", "in_settling:1")


@pytest.fixture
def folder(folder: UserFolder, store_url: str) -> UserFolder:
    """With mails of the last weeks, on each kind of database."""
    text = (folder.path / "config.yaml").read_text("utf-8")
    text = text.replace("database: sqlite:///./syncd.db", f"database: {store_url}\nsecret_key: {'k' * 40}", 1)
    folder.write("config.yaml", text)
    at = datetime.now(UTC) - timedelta(days=30)
    for number in range(MAILS):
        mail = (
            f"From: P <p{number}@customer.example>\r\nSubject: Order {number}\r\nMessage-ID: <{number}@customer.example>\r\n"
            f"Date: {format_datetime(at - timedelta(minutes=number))}\r\n\r\nPlease send {number} pumps.\r\n"
        )
        (folder.path / "Maildir" / "cur" / f"{1_700_000_000 + number}.M{number}.h:2,S").write_text(mail)
    return folder


@pytest.fixture
def store(folder: UserFolder) -> Iterator[Store]:
    loaded = load_settings(folder.path / "config.yaml", SECRETS)
    assert loaded.settings is not None
    with open_store(loaded.settings, folder.path) as opened:
        yield opened


def killed(*args: str, at: str) -> None:
    """The command as a process, killed at this instant."""
    environment = {**os.environ, VARIABLE: at}
    ran = subprocess.run([*SYNCD, *args], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr


def delivered(folder: UserFolder) -> int:
    with closing(sqlite3.connect(folder.path / "signals.db")) as database:
        return int(database.execute("SELECT count(*) FROM signals").fetchone()[0])


def states(store: Store, *kinds: str) -> list[str]:
    return [job.state for job in store.jobs.list(kinds=kinds)]


@pytest.mark.parametrize("at", READING + DELIVERING)
def test_a_backfill_that_was_killed(folder: UserFolder, store: Store, at: str) -> None:
    killed(*SINCE, at=at)
    ran = folder.done(*SINCE)
    assert f"({MAILS} read, 0 known)" in ran.err
    assert states(store) == ["done"]
    assert delivered(folder) == MAILS
    again = folder.done(*SINCE)  # complete: a new request reads anew
    assert f"brought 0 new signals ({MAILS} read, {MAILS} known)" in again.err


def test_a_killed_backfill_is_finished_up_to_now(folder: UserFolder, store: Store) -> None:
    killed(*SINCE, at="after_commit:1")
    folder.mail(1)
    now = format_datetime(datetime.now(UTC) - timedelta(seconds=1))
    path = next((folder.path / "Maildir" / "new").iterdir())
    path.write_text(path.read_text().replace("01 Nov 2026 10:00:00 +0000", now))
    assert f"({MAILS + 1} read, 0 known)" in folder.done(*SINCE).err
    assert states(store) == ["done"]


def test_a_range_in_other_words_is_another_job(folder: UserFolder, store: Store) -> None:
    killed("backfill", "inbox", "--since", "40d", "--until", "20d", at="after_fetch:2")
    assert "is part of this one" in folder.done(*SINCE).err
    assert sorted(states(store)) == ["done", "stopped"]
    assert delivered(folder) == MAILS


def test_a_daemon_finishes_what_a_killed_command_began(folder: UserFolder, store: Store) -> None:
    killed(*SINCE, at="after_fetch:2")
    (job,) = store.jobs.list()
    daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
    daemon.start()
    try:
        folder.done(*SINCE)
    finally:
        daemon.stop()
    assert [(each.id, each.state) for each in store.jobs.list()] == [(job.id, "done")]


def test_a_daemon_leaves_out_what_another_open_backfill_covers(folder: UserFolder, store: Store) -> None:
    now = datetime.now(UTC)
    jobs: list[Job] = []
    for later in (0, 1):  # as an earlier release left them: killed, each with an end of its own
        job = store.jobs.create(KIND, "inbox", Range(now - timedelta(days=60), now + timedelta(seconds=later)).args())
        claimed = store.jobs.claim(LEASE, id=job.id)
        assert claimed is not None
        store.jobs.step(job.id, claimed[1], progress={"read": 1})
        store.leases.release(claimed[1])
        jobs.append(job)
    daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
    daemon.start()
    try:
        while states(store) != ["done", "stopped"]:  # the newest first
            assert "failed" not in states(store)
            store.jobs.list()
    finally:
        daemon.stop()
    assert len(jobs) == 2


def test_restart_begins_with_the_range_of_now(folder: UserFolder, store: Store) -> None:
    killed(*SINCE, at="after_commit:1")
    (before,) = store.jobs.list()
    assert "resumes after" not in folder.done(*SINCE, "--restart").err
    (after,) = store.jobs.list()
    assert after.id == before.id
    assert after.args["until"] > before.args["until"]


def test_a_replay_that_was_killed(folder: UserFolder, store: Store) -> None:
    folder.done(*SINCE)
    killed("replay", "--to", "archive", "--since", "60d", at="after_send:1")
    assert (
        f"{MAILS} are mapped again, 0 for the first time"
        in folder.done("replay", "--to", "archive", "--since", "60d").err
    )
    assert states(store, "replay") == ["done"]
    (line,) = folder.done("--json", "status").record["books"]
    assert (line["delivered"], line["pending"]) == (MAILS, 0)


def test_a_replay_with_another_mapping_begins_again(folder: UserFolder, store: Store) -> None:
    folder.done(*SINCE)
    killed("replay", "--to", "archive", at="after_send:1")
    text = (Path(__file__).parents[3] / "mappings" / "database.yaml").read_text("utf-8")
    (folder.path / "mappings").mkdir()
    folder.write("mappings/database.yaml", text.replace("signal.title", "signal.title | upper", 1))
    assert "resumes" not in folder.done("replay", "--to", "archive").err
    assert sorted(states(store, "replay")) == ["done", "done"]


def test_an_import_that_was_killed_while_it_delivered(folder: UserFolder, store: Store) -> None:
    folder.write("config.yaml", (folder.path / "config.yaml").read_text("utf-8").replace(
        "  custom:", "  contacts: {contact_changed: true}\n  custom:", 1
    ))  # fmt: skip
    folder.write("list.csv", "Email\n" + "".join(f"p{number}@customer.example\n" for number in range(30)))
    killed("import", "list.csv", "--as", "contact", at="after_send:1")
    assert "brought 30 new, 0 known" in folder.done("import", "list.csv", "--as", "contact").err
    assert states(store, "import") == ["done"]
    assert delivered(folder) == 30


def test_a_verification_that_was_killed(folder: UserFolder, store: Store) -> None:
    folder.done(*SINCE)
    verify = ("verify", "--since", "60d")
    old = store.jobs.create(
        "verify.source", "inbox", Range(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)).args()
    )
    folder.done(*verify)
    kept = store.jobs.get(old.id)
    assert kept is None or kept.state == "stopped"  # nobody will do it again
    assert set(states(store, "verify.source", "verify.destination")) <= {"done", "stopped"}
