"""A password that the mail host refuses, tried by a daemon in every way it knows: polls, waiting, reloads, restarts, commands.

Real processes and a real Dovecot; what counts is how many logins the host has seen fail.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.processes import SYNCD, Process, pause, until
from tests.dovecot_server import PASSWORD, Dovecot, dovecot_server
from tests.mails import mail

SHIPPED = Path(__file__).parents[2] / "mappings"


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot_server() as running:
        yield running


class Host:
    """One mailbox, and the folder of a syncd that reads it."""

    def __init__(self, server: Dovecot, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.user = f"{uuid.uuid4().hex[:12]}@ourcompany.example"
        self.daemons: list[Process] = []
        self._mails = 0
        with server.client(self.user) as client:  # makes the mailbox
            client.select("INBOX")
        shutil.copytree(SHIPPED, folder / "mappings")

    def password(self, password: str, **more: Any) -> None:
        """Writes the configuration."""
        inbox = {
            "type": "imap",
            "poll": "1s",
            "host": "127.0.0.1",
            "port": self.server.port,
            "tls": "none",
            "username": self.user,
            "password": password,
        }
        config = {
            "server": {"listen": "127.0.0.1:0"},
            "channels": {"email": {"received": True}},
            "sources": {"inbox": inbox},
            "destinations": {"archive": {"type": "database", "url": "sqlite:///./out.db", "mapping": "mappings/database.yaml"}},
            **more,
        }  # fmt: skip
        written = self.folder / "config.new"
        written.write_text(json.dumps(config), "utf-8")
        written.replace(self.folder / "config.yaml")

    def start(self) -> Process:
        """A daemon that has polled."""
        log = self.folder / f"daemon-{len(self.daemons)}.log"
        daemon = Process([SYNCD, "run"], log, cwd=self.folder)
        self.daemons.append(daemon)
        until(lambda: "ready" in daemon.text, "the daemon is ready")
        return daemon

    @property
    def failed_logins(self) -> int:
        """As the host counts them."""
        lines = [line for line in self.server.log().splitlines() if f"user=<{self.user}>" in line]
        return sum("auth failed" in line for line in lines)

    def mail_arrives(self) -> None:
        """Mail that comes now is a signal within seconds."""
        self._mails += 1
        title = f"Question {self._mails}"
        self.server.append(self.user, mail(self._mails))
        until(lambda: title in self.titles(), f"{title!r} arrives", 15)

    def titles(self) -> list[str]:
        with closing(sqlite3.connect(f"file:{self.folder / 'syncd.db'}?mode=ro", uri=True)) as database:
            bodies = database.execute("SELECT body FROM signals").fetchall()
        return [json.loads(body)["title"] for (body,) in bodies]

    def command(self, *words: str) -> tuple[int, str]:
        done = subprocess.run([SYNCD, *words], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def host(server: Dovecot, tmp_path: Path) -> Iterator[Host]:
    host = Host(server, tmp_path)
    yield host
    for daemon in host.daemons:
        if daemon.alive:
            daemon.finish()


def test_a_refused_password_is_spared_over_restarts(host: Host) -> None:
    host.password("wrong-canary")
    for _ in range(4):
        daemon = host.start()
        until(lambda: "poll failed" in daemon.text, "it has polled")  # noqa: B023
        pause(1.5)  # a poll and a look of the waiting more
        daemon.kill()
    assert host.failed_logins == 1
    said = next(line for line in daemon.text.splitlines() if "poll failed" in line)
    assert "not tried again before" in said
    assert "lest the account is locked" in said
    status = host.command("status")[1]
    assert "not tried again before" in status
    for file in host.folder.iterdir():
        if file.is_file() and file.name != "config.yaml":
            assert b"wrong-canary" not in file.read_bytes(), file

    host.password(PASSWORD)
    daemon = host.start()
    until(lambda: "waiting for news" in daemon.text, "it waits for news")
    host.mail_arrives()
    assert host.failed_logins == 1


def test_reloads_restarts_and_commands_together_stay_below_a_lock_out(host: Host) -> None:
    host.password(PASSWORD)
    daemon = host.start()
    until(lambda: "waiting for news" in daemon.text, "it waits for news")
    host.mail_arrives()

    host.password("wrong-canary")  # while it polls and waits
    until(lambda: "poll failed" in daemon.text, "the poll has failed")
    for turn in range(4):
        daemon.send(signal.SIGHUP)
        until(lambda: daemon.text.count("configuration in force") > turn, "it has reloaded")  # noqa: B023
        pause(0.5)
    daemon.kill()
    for _ in range(3):
        daemon = host.start()
        until(lambda: "poll failed" in daemon.text, "it has polled")  # noqa: B023
        daemon.send(signal.SIGHUP)
        pause(1.0)
        daemon.kill()
    for _ in range(2):
        code, said = host.command("check", "--online", "inbox")
        assert code == 1
        assert "refused 3 times within an hour and not tried again before" in said
    assert host.failed_logins == 3

    daemon = host.start()
    host.password(PASSWORD)  # saved: taken over, and tried at once
    until(lambda: "waiting for news" in daemon.text, "it waits for news")
    host.mail_arrives()
    assert host.failed_logins == 3


def test_a_typed_check_tries_once_and_what_works_again_is_no_longer_spared(host: Host) -> None:
    host.password("wrong-canary")
    daemon = host.start()
    until(lambda: "poll failed" in daemon.text, "it has polled")
    assert host.failed_logins == 1
    code, said = host.command("check", "--online", "inbox")
    assert code == 1
    assert "Authentication failed" in said
    assert host.failed_logins == 2
