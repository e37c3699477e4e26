"""What the database cannot do comes out as one clear line, commits nothing, and passes when the trouble does."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from syncd.errors import UsageError
from syncd.store import Store, balance
from syncd.store.journal.entries import JournalEntry, Quarantined, StoreUnavailable
from tests.entries import MOMENT, an_entry
from tests.servers import Server, execute


def refused(action: Callable[[], object], match: str) -> str:
    with pytest.raises(StoreUnavailable, match=match) as caught:
        action()
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    return line


def fat(number: int) -> JournalEntry:
    return JournalEntry("forms", quarantined=[Quarantined(UUID(int=number), "forms", b"x" * 100_000, "", MOMENT)])


def test_a_full_disk_refuses_and_recovers(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        store.journal.commit(an_entry(1))
        with store.engine.connect() as connection:  # the pool hands this very connection out again
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")
        refused(lambda: store.journal.commit(fat(1)), "disk is full")
        futures = [store.journal.submit(fat(number)) for number in range(2, 6)]
        for future in futures:
            refused(lambda future=future: future.result(20), "disk is full")  # type: ignore[misc]
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        store.journal.submit(fat(9)).result(20)
        assert len(store.receipts.list()) == 1
        assert [line.balanced for line in balance.balance(store)] == [True]


FILE_LIMIT = """
import resource, signal, sys
from syncd.store import Store
from syncd.store.journal.entries import StoreUnavailable
from tests.entries import an_entry
from tests.integration.store.test_faults import fat
store = Store.open(sys.argv[1])
store.journal.commit(an_entry(1))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
done = 0
try:
    for number in range(20):
        store.journal.commit(fat(number))
        done += 1
except StoreUnavailable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.journal.commit(an_entry(2))
print(done == len(store.receipts.list()))
"""


def test_a_write_the_system_refuses_is_told_and_nothing_acknowledged_is_missing(sqlite_url: str) -> None:
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", FILE_LIMIT, sqlite_url]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    message, whole = run.stdout.splitlines()
    assert "disk" in message
    assert whole == "True", run.stderr


def test_a_file_that_is_read_only(sqlite_url: str, tmp_path: Path) -> None:
    with Store.open(sqlite_url) as store:
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = 1")
        refused(lambda: store.journal.commit(an_entry(1)), "read-only for this user")
        refused(store.probe, "read-only for this user")
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = 0")
        store.probe()


AS_ANOTHER = """
import os, sys
from syncd.store import Store
from syncd.store import journal, store
from syncd.store.journal.entries import StoreUnavailable
from tests.entries import an_entry
if os.geteuid() == 0:  # root may write anywhere: be somebody who may not
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    Store.open(sys.argv[1]).journal.commit(an_entry(1))
except StoreUnavailable as error:
    print(error)
"""


@pytest.mark.parametrize(("mode", "message"), [(0o555, "read-only for this user; grant writing"), (0o444, "grant it")])
def test_a_directory_that_is_not_ours(mode: int, message: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        Path(name).chmod(0o755)
        Store.open(f"sqlite:///{folder}/syncd.db").close()
        (folder / "syncd.db").chmod(0o444)
        folder.chmod(mode)
        if mode == 0o444:
            Path(name).chmod(0o600)  # not even to be passed through
        root = str(Path(__file__).parents[3])
        command = [sys.executable, "-c", AS_ANOTHER, f"sqlite:///{folder}/syncd.db"]
        run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
        Path(name).chmod(0o755)
        folder.chmod(0o755)
    assert run.stdout.count("\n") == 1, run.stderr
    assert message in run.stdout


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    refused(lambda: Store.open(f"sqlite:///{tmp_path}/absent/syncd.db"), "absent does not exist; create it")
    refused(lambda: Store.open(f"sqlite:///{tmp_path}"), "cannot be opened")


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_file(sqlite_url: str, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "syncd.db"
    Store.open(sqlite_url).close()
    whole = path.read_bytes()
    path.write_bytes(b"this is a letter to my aunt\n" * 100 if damage == "no database" else whole[:4096] + b"?" * 90000)

    def use() -> None:
        with Store.open(sqlite_url) as store:
            store.journal.commit(an_entry(1))

    refused(use, "not a SQLite database|damaged")


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_goes_away_under_us_takes_nothing_with_it(sqlite_url: str, tmp_path: Path, how: str) -> None:
    with Store.open(sqlite_url) as store:
        store.journal.commit(an_entry(1))
        (tmp_path / "syncd.db").rename(tmp_path / "aside.db")
        if how == "replaced":
            (tmp_path / "syncd.db").touch()
        refused(lambda: store.journal.commit(an_entry(2)), "removed or replaced")
        refused(lambda: store.journal.submit(an_entry(2)).result(20), "removed or replaced")
        (tmp_path / "aside.db").rename(tmp_path / "syncd.db")
        assert len(store.journal.commit(an_entry(2)).new) == 1


def test_postgresql_that_refuses_never_shows_the_password(postgres: Server) -> None:
    absent = postgres.database("absent").replace("syncd@", "syncd:s3cret@")
    assert "s3cret" not in refused(lambda: Store.open(absent), "no such database")
    stranger = postgres.url.replace("syncd@", "stranger:s3cret@")
    assert "s3cret" not in refused(lambda: Store.open(stranger), "user or password")
    nobody = "postgresql+psycopg://syncd:s3cret@127.0.0.1:1/x"
    assert "s3cret" not in refused(lambda: Store.open(nobody), "no server answers")


def test_a_read_only_postgresql(postgres: Server, postgres_url: str) -> None:
    with Store.open(postgres_url) as store:
        name = postgres_url.rpartition("/")[2]
        execute(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        store.engine.dispose()
        refused(lambda: store.journal.commit(an_entry(1)), "read-only")
        execute(postgres.url, f"ALTER DATABASE {name} RESET default_transaction_read_only")
        store.engine.dispose()
        assert len(store.journal.commit(an_entry(1)).new) == 1


def test_a_lost_connection_before_the_commit_is_repaired_unseen(postgres_url: str) -> None:
    with Store.open(postgres_url) as store:
        store.journal.commit(an_entry(1))
        execute(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert len(store.journal.commit(an_entry(2)).new) == 1


def test_a_connection_cut_in_mid_transaction_is_tried_again(postgres_url: str) -> None:
    tries: list[int] = []
    with Store.open(postgres_url) as store:

        def work(connection: object) -> str:
            tries.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())  # type: ignore[attr-defined]
            if len(tries) == 1:
                execute(postgres_url, f"SELECT pg_terminate_backend({tries[0]})")
            connection.execute(text("INSERT INTO cursors VALUES ('s', '', 0)"))  # type: ignore[attr-defined]
            return "done"

        assert store.apply(work) == "done"
    assert len(tries) == 2


def test_wrong_urls_are_usage_errors() -> None:
    for url in ("", "mysql://x:s3cret@h/d", "sqlite://", "sqlite:///:memory:", "not a url"):
        with pytest.raises(UsageError, match="database: ") as caught:
            Store.open(url)
        assert "s3cret" not in str(caught.value)
