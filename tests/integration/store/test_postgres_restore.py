"""A PostgreSQL backup as docs/operating.md makes it, restored: the daemon goes on with it, and nothing is doubled."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from syncd.store import Store
from syncd.store.balance import balance, unbalanced
from syncd.twins.salesforce.twin import SalesforceTwin
from tests.chaos import processes
from tests.servers import NoPostgres, Server, execute, plain_url, postgres_program
from tests.user_folder import CONFIG, UserFolder, lay_out

PATIENCE = 60
until = partial(processes.until, within=PATIENCE)
CRM = """\
  crm:
    type: salesforce
    login_url: {url}
    auth: {{flow: client_credentials, client_id: app, client_secret: "${{SF_SECRET}}"}}
"""


def program(name: str, *args: str) -> None:
    try:
        found = postgres_program(name)
    except NoPostgres as error:
        pytest.skip(f"{name}: {error}")
    subprocess.run([found, *args], check=True, capture_output=True, timeout=PATIENCE)


def configure(folder: UserFolder, database: str, crm: str) -> None:
    text = CONFIG.replace("database: sqlite:///./syncd.db", f"database: {database}\nsecret_key: {'k' * 40}")
    folder.write("config.yaml", text.replace("poll: 1h", "poll: 1s") + CRM.format(url=crm))


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """`syncd run` in a process of its own, from its ready line to its clean end."""
    with (folder / "run.log").open("w+b") as log:
        run = [sys.executable, "-c", "from syncd.cli import main; main()", "run"]
        process = subprocess.Popen(run, cwd=folder, stdout=log, stderr=log)
        try:
            until(lambda: b'"ready"' in (folder / "run.log").read_bytes(), "syncd run")
            yield
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


def test_a_restored_database_goes_on_and_doubles_nothing(
    postgres: Server,
    postgres_url: str,
    empty_postgres_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = lay_out(tmp_path, capsys, monkeypatch)
    dump = str(folder.path / "nightly.dump")
    with SalesforceTwin() as twin:

        def tasks() -> list[str]:
            return sorted(str(one["Id"]) for one in twin.records("Task"))

        configure(folder, postgres_url, twin.url)
        with Store.open(postgres_url) as first, running(folder.path):
            until(lambda: bool(first.sources.all()), "the maildir was read: what comes now is new")
            folder.mail(1)
            folder.mail(2)
            until(lambda: len(tasks()) == 2, "two mails are written")
            program("pg_dump", "-Fc", "-f", dump, plain_url(postgres_url))
            folder.mail(3)
            until(lambda: len(tasks()) == 3, "the third is written, after the backup")
        before = tasks()
        program("pg_restore", "--no-owner", "--single-transaction", "-d", plain_url(empty_postgres_url), dump)
        # A backup is older than a minute: whoever held a poll or a lane in it does so no more.
        execute(empty_postgres_url, "UPDATE leases SET expires_at = 0", "ANALYZE")
        configure(folder, empty_postgres_url, twin.url)
        with Store.open(empty_postgres_url) as store:
            assert sum(line.signals for line in balance(store) if line.destination == "crm") == 2
            with running(folder.path):
                folder.mail(4)
                until(lambda: len(tasks()) == 4, "a new one is written")

                def all_settled() -> bool:
                    lines = [line for line in balance(store) if line.destination == "crm"]
                    return sum(line.delivered for line in lines) == 4

                until(all_settled, "the third, read again, is known to be there")
            assert set(before) < set(tasks())
            assert len(tasks()) == 4
            assert unbalanced(balance(store)) == []
