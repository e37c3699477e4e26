"""A mailbox on a real Dovecot, and beside it the folder, the daemons and the commands of a syncd that reads it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.processes import SYNCD, Process, until
from tests.dovecot_server import Dovecot
from tests.mails import mail

SHIPPED = Path(__file__).parents[1] / "mappings"


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

    def configure(self, **keys: Any) -> None:
        """Writes the configuration; `keys` are the mailbox's: how it is signed in to."""
        inbox = {"type": "imap", "poll": "1s", "host": "127.0.0.1", "port": self.server.port, "tls": "none"}
        config = {
            "server": {"listen": "127.0.0.1:0"},
            "channels": {"email": {"received": True}},
            "sources": {"inbox": {**inbox, "username": self.user, **keys}},
            "destinations": {"archive": {"type": "database", "url": "sqlite:///./out.db", "mapping": "mappings/database.yaml"}},
        }  # fmt: skip
        written = self.folder / "config.new"
        written.write_text(json.dumps(config), "utf-8")
        written.replace(self.folder / "config.yaml")

    def start(self) -> Process:
        """A daemon that is ready."""
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


@contextmanager
def beside(server: Dovecot, folder: Path) -> Iterator[Host]:
    """The daemons that still run are ended."""
    host = Host(server, folder)
    try:
        yield host
    finally:
        for daemon in host.daemons:
            if daemon.alive:
                daemon.finish()
