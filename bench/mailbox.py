"""A large folder on a real Dovecot: how long a source takes to start, to look, to read new mail and all of it, and its memory.

    python -m bench.mailbox [--mails 50000]

The reader is a process of its own. Commands are counted too: they carry over to a host that is far away, seconds do not.
"""

from __future__ import annotations

import argparse
import contextlib
import imaplib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.backfill import peak_mb
from bench.figures import Aim, Figure, LeftOut, Table

ROOT = Path(__file__).resolve().parent.parent
USER = "sales@ourcompany.example"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FRESH = 100
MEMORY = Aim.most(120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=50_000)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(json.loads(arguments.read), arguments.mails)))
        return
    print(measure(arguments.mails))


def run(*, quick: bool = False) -> list[Table]:
    if not shutil.which("dovecot"):
        raise LeftOut("Dovecot is not installed (apt-get install dovecot-imapd)")
    return [measure(2_000 if quick else 50_000)]


def measure(mails: int) -> Table:
    from tests.dovecot_server import dovecot_server

    with dovecot_server() as server:
        with server.client(USER) as client:
            client.select("INBOX")  # makes the mailbox
        put(server.maildir(USER), 0, mails)
        with server.client(USER) as client:
            client.select("INBOX")  # the server's own first look at the files is not ours
            client.fetch("1:*", "(RFC822.SIZE)")
        settings: dict[str, Any] = {"host": server.host, "port": server.port, "tls": "none", "username": USER}
        settings |= {"password": server.password, "maildir": str(server.maildir(USER))}
        command = [sys.executable, "-m", "bench.mailbox", "--mails", str(mails), "--read", json.dumps(settings)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    took = json.loads(answer.stdout)
    return Table(
        f"mailbox: {mails:,} mails in one folder of Dovecot",
        [
            Figure("start", took["start"][0] * 1000, "ms"),
            Figure("start, commands", took["start"][1], ""),
            Figure("a poll that finds nothing", took["idle"][0] * 1000, "ms"),
            Figure("a poll that finds nothing, commands", took["idle"][1], ""),
            Figure(f"a poll of {FRESH} new mails", took["fresh"][0] * 1000, "ms"),
            Figure(f"a poll of {FRESH} new mails, commands", took["fresh"][1], ""),
            Figure("backfill of all", took["backfill"][0], "s"),
            Figure("backfill, mails a second", mails / took["backfill"][0], "mails/s"),
            Figure("memory before", took["before_mb"], "MB"),
            Figure("memory at the first tenth", took["tenth_mb"], "MB"),
            Figure("memory at its peak", took["peak_mb"], "MB", MEMORY),
        ],
    )


def put(maildir: Path, first: int, count: int) -> None:
    """Small mails, a minute apart, as files."""
    for number in range(first, first + count):
        at = BEGIN + timedelta(minutes=number)
        path = maildir / "cur" / f"{int(at.timestamp())}.M{number}.host:2,S"
        path.write_text(
            f"From: Customer {number % 400} <c{number % 400}@customer.example>\nTo: {USER}\nSubject: Question {number}\n"
            f"Message-ID: <{number}@customer.example>\nDate: {at.strftime('%d %b %Y %H:%M:%S +0000')}\n\n"
            f"{'Please call me about my order. ' * 20}\n"
        )
        os.utime(path, (at.timestamp(), at.timestamp()))


@contextlib.contextmanager
def commands() -> Iterator[list[int]]:
    """Counts the commands sent meanwhile."""
    sent, original = [0], imaplib.IMAP4._new_tag  # type: ignore[attr-defined]

    def counting(self: Any) -> Any:
        sent[0] += 1
        return original(self)

    imaplib.IMAP4._new_tag = counting  # type: ignore[attr-defined]
    try:
        yield sent
    finally:
        imaplib.IMAP4._new_tag = original  # type: ignore[attr-defined]


def read(settings: dict[str, Any], mails: int) -> dict[str, Any]:
    """Everything once, in this process."""
    from syncd.connector import Context
    from syncd.connectors.mail.imap import CONNECTOR

    maildir = Path(settings.pop("maildir"))
    source = CONNECTOR.build(CONNECTOR.settings.model_validate(settings), Context(name="bench", tokens=None))  # type: ignore[arg-type]
    took: dict[str, Any] = {"before_mb": peak_mb()}
    state = b""

    def polled() -> int:
        nonlocal state
        made = 0
        for batch in source.poll(state, datetime.now(UTC)):
            made += len(batch.signals)
            state = batch.state or state
        return made

    def timed(name: str, work: Any) -> Any:
        with commands() as sent:
            began = time.perf_counter()
            result = work()
            took[name] = (time.perf_counter() - began, sent[0])
        return result

    state = timed("start", lambda: source.start(datetime.now(UTC)))
    assert timed("idle", polled) == 0
    put(maildir, mails, FRESH)
    assert timed("fresh", polled) == FRESH

    def filled() -> int:
        made = 0
        for batch in source.backfill(BEGIN, BEGIN + timedelta(minutes=mails), None):
            made += len(batch.signals)
            if "tenth_mb" not in took and made >= mails / 10:
                took["tenth_mb"] = peak_mb()
        return made

    assert timed("backfill", filled) == mails
    return took | {"peak_mb": peak_mb()}


if __name__ == "__main__":
    main()
