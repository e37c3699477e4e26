"""A directory as a user has one: a configuration with secrets, a maildir with mails, some signals stored and delivered.

The tests of the command line and of the documentation's examples work in it, in-process for speed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import run

CANARY = "canary-7f3a9c"
"""Part of every secret here: it must never be printed, whatever is asked for."""
SECRETS = {
    "FORMS_SECRET": f"{CANARY}-forms",
    "TWILIO_TOKEN": f"{CANARY}-twilio",
    "SF_SECRET": f"{CANARY}-salesforce",
    "ARCHIVE_PASSWORD": f"{CANARY}-archive",
}
CONFIG = """\
# The company's own file: this comment must survive.
database: sqlite:///./syncd.db
server: {listen: "127.0.0.1:0", public_url: "https://syncd.example.com"}
timezone: Asia/Ho_Chi_Minh
region: VN
channels:
  email: {received: true}     # mail counts
  custom: {"*": true}
sources:
  inbox: {type: maildir, poll: 1h, path: ./Maildir}
  forms:
    type: webhook
    verify: {scheme: bearer, secret: "${FORMS_SECRET}"}
    format: cloudevents
destinations:
  archive: {type: database, url: "sqlite:///./signals.db", mapping: mappings/database.yaml}
"""
SIGNAL = """\
type: call.missed
title: Missed call
occurred_at: 2026-11-20T08:00:00Z
person: {name: An, phone: "+84912345678"}
"""


@dataclass(frozen=True)
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        """Its standard output as one JSON object."""
        (only,) = self.lines
        return only


@dataclass(frozen=True)
class UserFolder:
    """The directory; commands run in it as if typed there."""

    path: Path
    capture: pytest.CaptureFixture[str]

    def syncd(self, *args: str) -> Ran:
        self.capture.readouterr()
        code = run(list(args))
        said = self.capture.readouterr()
        return Ran(code, said.out, said.err)

    def done(self, *args: str) -> Ran:
        """A command that must succeed."""
        ran = self.syncd(*args)
        assert ran.code == 0, f"syncd {' '.join(args)}: {ran.err}"
        return ran

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.write_text(text, "utf-8")
        return path

    def mail(self, number: int, day: int = 1) -> None:
        """A mail in the maildir, of that day of November 2026."""
        mail = EmailMessage()
        mail["From"] = f"An Nguyen <an{number}@example.org>"
        mail["To"] = "sales@example.com"
        mail["Subject"] = f"Question {number}"
        mail["Date"] = f"{day:02} Nov 2026 10:00:00 +0000"
        mail["Message-ID"] = f"<{number}@example.org>"
        mail.set_content("How much is it?")
        (self.path / "Maildir" / "new" / f"{1_700_000_000 + number}.{number}.host").write_bytes(bytes(mail))

    def filled(self) -> UserFolder:
        """Three mails stored as signals."""
        for number in range(1, 4):
            self.mail(number, day=number)
        self.done("backfill", "inbox", "--since", "2026-10-01", "--until", "2026-11-10")
        return self

    def ids(self) -> list[str]:
        return [row["id"] for row in self.done("--json", "signals", "list").lines]


def lay_out(
    path: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch, secrets: Mapping[str, str] = SECRETS
) -> UserFolder:
    """Makes the directory and goes there."""
    for part in ("new", "cur", "tmp"):
        (path / "Maildir" / part).mkdir(parents=True)
    patch.chdir(path)
    patch.delenv("SYNCD_CONFIG", raising=False)
    for name, value in secrets.items():
        patch.setenv(name, value)
    folder = UserFolder(path, capture)
    folder.write("config.yaml", CONFIG)
    folder.write("signal.yaml", SIGNAL)
    return folder
