"""Backfill of many mails, from Dovecot or a maildir: mails a second, and the peak memory of the process that reads.

    python -m bench.backfill [--source imap|maildir] [--mails 20000] [--page-size 50]

The reader is a process of its own, so that what made the mailbox does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.figures import Aim, Figure, Table

ROOT = Path(__file__).resolve().parent.parent
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
PAGE = 50
MEMORY = Aim.most(200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=["imap", "maildir"], default="imap")
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--page-size", type=int, default=PAGE)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.source, json.loads(arguments.read), arguments.mails)))
        return
    print(measure(arguments.source, arguments.mails, arguments.page_size))


def run(*, quick: bool = False) -> list[Table]:
    """Fewer mails than a real mailbox has: memory does not grow with them. IMAP where Dovecot is installed."""
    mails = 500 if quick else 4000
    tables = [measure("maildir", mails, PAGE)]
    if shutil.which("dovecot"):
        tables.append(measure("imap", mails, PAGE))
    else:
        tables[0].notes.append("imap left out: Dovecot is not installed (apt-get install dovecot-imapd)")
    return tables


def measure(source: str, mails: int, page_size: int) -> Table:
    """Reads so many mails in a process of its own."""
    with mailbox(source, mails) as settings:
        if source == "imap":
            settings["page_size"] = page_size
        command = [sys.executable, "-m", "bench.backfill", "--source", source, "--mails", str(mails)]
        command += ["--read", json.dumps(settings)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    figures = json.loads(answer.stdout)
    assert figures["mails"] == mails, f"{figures['mails']} of {mails} mails came"
    return Table(
        f"backfill: {mails:,} mails from {source}",
        [
            Figure("speed", figures["mails"] / figures["seconds"], "mails/s"),
            Figure("memory before", figures["before_mb"], "MB"),
            Figure("memory after a quarter", figures["quarter_mb"], "MB"),
            Figure("memory at its peak", figures["peak_mb"], "MB", MEMORY),
        ],
    )


@contextlib.contextmanager
def mailbox(source: str, mails: int) -> Iterator[dict[str, object]]:
    """The settings of a source on a mailbox filled with `mails`."""
    if source == "maildir":
        with tempfile.TemporaryDirectory() as directory:
            fill(Path(directory), mails)
            yield {"path": directory}
        return
    from tests.dovecot_server import dovecot_server

    user = "sales@ourcompany.example"
    with dovecot_server() as server:
        with server.client(user) as client:
            client.select("INBOX")  # makes the mailbox
        fill(server.maildir(user), mails)
        yield {"host": server.host, "port": server.port, "tls": "none", "username": user, "password": server.password}


def fill(maildir: Path, mails: int) -> None:
    """Mails of 1 to 20 kB, some with HTML and attachments, one in a thousand of a megabyte."""
    chance = random.Random(7)
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(exist_ok=True)
    for number in range(mails):
        at = SINCE + timedelta(minutes=number)
        size = 1_000_000 if number % 1000 == 999 else chance.randint(500, 18_000)
        words = " ".join(chance.choices(("order", "please", "Grüße", "tomorrow", "price", "delivery"), k=size // 8))
        text = "\n".join(words[start : start + 72] for start in range(0, len(words), 72))
        html = f"<html><body><p>{text}</p></body></html>"
        parts = [("text/html" if number % 2 else "text/plain", html if number % 2 else text)]
        if number % 5 == 0:
            parts.append(('application/pdf; name="offer.pdf"', "x" * 5000))
        body = "".join(
            f"--b\n Content-Type: {kind}\n\n{content}\n".replace("\n Content", "\nContent") for kind, content in parts
        )
        head = (
            f"From: Customer {number % 400} <c{number % 400}@customer.example>\nTo: sales@ourcompany.example\n"
            f"Subject: Question {number}\nMessage-ID: <{number}@customer.example>\n"
            f"Date: {at.strftime('%d %b %Y %H:%M:%S +0000')}\nMIME-Version: 1.0\n"
            "Content-Type: multipart/mixed; boundary=b; charset=utf-8\n\n"
        )
        path = maildir / "cur" / f"{int(at.timestamp())}.M{number}.host:2,S"
        path.write_text(f"{head}{body}--b--\n", encoding="utf-8")
        os.utime(path, (at.timestamp(), at.timestamp()))


def read(source: str, settings: dict[str, object], expected: int) -> dict[str, float]:
    """Runs the backfill in this process and measures it."""
    from typing import Any

    from syncd.connector import Connector, Context
    from syncd.connectors.mail.imap import CONNECTOR as IMAP
    from syncd.connectors.mail.maildir import CONNECTOR as MAILDIR

    connector: Connector[Any, Any] = IMAP if source == "imap" else MAILDIR
    built = connector.build(connector.settings.model_validate(settings), Context(name="bench", tokens=None))  # type: ignore[arg-type]
    before, began = peak_mb(), time.perf_counter()
    mails = batches = 0
    quarter = 0.0
    for batch in built.backfill(SINCE, SINCE + timedelta(days=365), None):
        mails += len(batch.signals)
        batches += 1
        if not quarter and mails >= expected / 4:
            quarter = peak_mb()
    seconds = time.perf_counter() - began
    return {
        "mails": mails,
        "batches": batches,
        "seconds": seconds,
        "before_mb": before,
        "quarter_mb": quarter,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
