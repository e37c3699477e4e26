"""The database destination on SQLite and PostgreSQL: tables made, rows upserted, bad rows alone, faults classified."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from syncd.capabilities import Level, MissingField
from syncd.connector import Link, PersonQuery, Write, WriteKind, Written
from syncd.connectors.crm.database import DatabaseDestination, DatabaseSettings
from syncd.connectors.crm.database_writes import ROWS
from syncd.errors import Ambiguous, Failure, Misconfigured, Rejected, Scope, StaleReference, Transient

Connect = Callable[..., DatabaseDestination]


@pytest.fixture
def url(empty_url: str) -> str:
    """An empty database of each kind."""
    return empty_url


@pytest.fixture
def connect(url: str) -> Iterator[Connect]:
    made: list[DatabaseDestination] = []

    def build(**keys: Any) -> DatabaseDestination:
        made.append(DatabaseDestination(DatabaseSettings.model_validate({"url": url, **keys})))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def rows(url: str) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)

    def read(statement: str) -> list[dict[str, Any]]:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    yield read
    engine.dispose()


Rows = Callable[[str], list[dict[str, Any]]]


def write(name: object, table: str = "signals", **more: Any) -> Write:
    fields = {"title": f"Signal {name}", **more.pop("fields", {})}
    return Write(key=str(name), object=table, key_field=more.pop("key_field", "key"), fields=fields, **more)


def push(database: DatabaseDestination, *writes: Write) -> list[Any]:
    return [outcome for call in database.plan(writes) for outcome in database.send(call)]


def test_a_table_is_made_of_what_is_written(connect: Connect, rows: Rows) -> None:
    at = datetime(2026, 11, 22, 8, 30, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))
    values = {
        "id": uuid.UUID(int=7),
        "occurred_at": at,
        "day": date(2026, 11, 22),
        "count": 2**60 + 1,
        "score": 1.5,
        "seen": True,
        "data": {"to": ["a@example.com"], "n": 1},
        "select": "a reserved word",
    }
    database = connect()
    outcome = push(database, write(1, fields=values, links={"person": Link("people", "p-1")}))
    assert outcome == [Written("1", True)]
    [row] = rows("SELECT * FROM signals")
    assert row["title"] == "Signal 1"
    assert row["id"] == str(uuid.UUID(int=7))
    assert row["count"] == 2**60 + 1
    assert float(row["score"]) == 1.5
    assert bool(row["seen"]) is True
    assert row["person"] == "p-1"
    assert row["select"] == "a reserved word"
    assert str(row["day"]) == "2026-11-22"
    moment = datetime.fromisoformat(str(row["occurred_at"]))
    assert (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) == at
    assert database.keying("signals", "key").kind is WriteKind.UPSERT
    assert database.keying("signals", "").kind is WriteKind.AT_MOST_ONCE
    assert database.resolve([PersonQuery("x", ())]) == [None]


def test_a_later_write_changes_the_row_but_not_what_is_set_at_first(connect: Connect, rows: Rows) -> None:
    first = write(1, fields={"text": "old"}, on_create={"status": "new"})
    assert push(connect(), first) == [Written("1", True)]
    rows("UPDATE signals SET status = 'a person changed it'")
    again = write(1, fields={"title": "Better"}, on_create={"status": "new"}, clear=("text",))
    assert push(connect(), again) == [Written("1", False)]
    [row] = rows("SELECT title, text, status FROM signals")
    assert row == {"title": "Better", "text": None, "status": "a person changed it"}
    bare = Write(key="1", object="signals", key_field="key", on_create={"status": "new"})
    assert push(connect(), bare) == [Written("1", False)]


def test_columns_that_come_later_are_added(connect: Connect, rows: Rows) -> None:
    database = connect()
    push(database, write(1))
    push(database, write(2, fields={"late": 5}))
    assert rows("SELECT key, late FROM signals ORDER BY key") == [{"key": "1", "late": None}, {"key": "2", "late": 5}]
    assert push(database, write(3, fields={"late": 5.5}))[0] == Written("3", True)


def test_a_thousand_rows_twice_are_a_thousand(connect: Connect, rows: Rows) -> None:
    database = connect()
    many = [write(n) for n in range(1000)]
    assert all(o.created for o in push(database, *many))
    assert not any(o.created for o in push(database, *many))
    assert rows("SELECT count(*) AS n FROM signals") == [{"n": 1000}]
    assert len(database.plan(many)) == 1000 / ROWS
    assert [len(c.writes) for c in database.plan([write(1), write(2), write(1)])] == [2, 1]
    assert database.find("signals", "key", ["5", "nobody", "999"]) == {"5": "5", "999": "999"}
    assert database.find("nothing", "key", ["5"]) == {}


def test_a_bad_row_harms_only_itself(connect: Connect, rows: Rows) -> None:
    rows(
        "CREATE TABLE signals (key TEXT PRIMARY KEY, title TEXT NOT NULL, count INTEGER, at TIMESTAMP, CHECK (count < 10))"
    )
    database = connect()
    outcomes = push(
        database,
        write("good"),
        write("null", clear=("title",), fields={"title": None}),
        write("big", fields={"count": 11}),
        write("text", fields={"count": "many"}),
        write("huge", fields={"count": 2**64}),
        write("when", fields={"at": "yesterday"}),
        write("half", fields={"title": "\ud800"}),
        write("fine", fields={"count": 9, "at": "2026-01-01T00:00:00Z"}),
    )
    assert [type(o) for o in outcomes] == [Written, *[Rejected] * 6, Written]
    assert [o.field for o in outcomes[1:7] if o is not outcomes[2]] == ["title", "count", "count", "at", "title"]
    assert [r["key"] for r in rows("SELECT key FROM signals ORDER BY key")] == ["fine", "good"]
    assert all("Signal" not in str(o) for o in outcomes if isinstance(o, Failure))


def test_what_is_missing_is_a_fault_of_the_rule(connect: Connect, rows: Rows) -> None:
    rows("CREATE TABLE signals (key TEXT UNIQUE, title TEXT)")
    rows("CREATE TABLE loose (key TEXT, title TEXT)")
    database = connect(create_tables=False)
    good, column, table, key = push(
        database, write("good"), write(1, fields={"wrong": 1}), write(2, "nowhere"), write(3, "loose")
    )
    assert isinstance(good, Written)
    for fault, field in ((column, "wrong"), (table, ""), (key, "key")):
        assert isinstance(fault, Misconfigured)
        assert (fault.scope, fault.field) == (Scope.RULE, field)
    rows("ALTER TABLE signals ADD COLUMN wrong INTEGER")
    assert isinstance(push(database, write(1, fields={"wrong": 1}))[0], Written), "seen without a restart"


def test_a_key_that_cannot_be_unique_holds_only_its_table(connect: Connect, rows: Rows) -> None:
    rows("CREATE TABLE loose (key TEXT, title TEXT)")
    rows("INSERT INTO loose VALUES ('1', 'a'), ('1', 'b')")
    good, held = push(connect(), write("good"), write(1, "loose"))
    assert isinstance(good, Written)
    assert isinstance(held, Misconfigured)
    assert held.scope is Scope.RULE


def test_a_table_of_the_users_own_gets_its_unique_index(connect: Connect, rows: Rows) -> None:
    rows('CREATE TABLE loose ("Key" TEXT, title TEXT)')
    assert push(connect(), write(1, "loose"), write(2, "loose")) == [Written("1", True), Written("2", True)]
    assert push(connect(), write(1, "loose")) == [Written("1", False)]


def test_rows_without_a_key(connect: Connect, rows: Rows) -> None:
    database = connect()
    first, second = push(database, write(1, "log", key_field=""), write(2, "log", key_field=""))
    assert {first.id, second.id} == {"1", "2"}
    changed = write(1, "log", key_field="", id=first.id, fields={"title": "Changed"})
    assert push(database, changed) == [Written(first.id, False)]
    assert rows("SELECT title FROM log ORDER BY id") == [{"title": "Changed"}, {"title": "Signal 2"}]
    gone = write(9, "log", key_field="", id="77", fields={"title": "x"})
    assert isinstance(push(database, gone)[0], StaleReference)


def test_order_of_writes_of_one_key(connect: Connect, rows: Rows) -> None:
    push(connect(), *(write(n % 3, fields={"title": str(n)}) for n in range(30)))
    assert {r["title"] for r in rows("SELECT title FROM signals")} == {"27", "28", "29"}


def test_a_locked_sqlite_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.connectors.crm.database.CONNECT", 0)
    file = tmp_path / "out.db"
    database = DatabaseDestination(DatabaseSettings.model_validate({"url": f"sqlite:///{file}"}))
    push(database, write(1))
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Transient, match="locked"):
        push(database, write(2))
    other.execute("ROLLBACK")
    assert isinstance(push(database, write(2))[0], Written)
    other.close()
    database.close()


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "out.db"
    database = DatabaseDestination(DatabaseSettings.model_validate({"url": f"sqlite:///{file}"}))
    push(database, write(1))
    assert database._open is not None
    engine = database._open[0]
    with engine.connect() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {used}")
    with pytest.raises(Misconfigured, match="full") as caught:
        push(database, *(write(n, fields={"text": "x" * 5000}) for n in range(50)))
    assert caught.value.scope is Scope.DESTINATION
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert len(push(database, *(write(n, fields={"text": "x" * 5000}) for n in range(50)))) == 50
    database.close()


@pytest.mark.parametrize(
    ("url", "expected", "said"),
    [
        ("sqlite:////proc/nowhere/out.db", Misconfigured, "unable to open"),
        ("postgresql://nobody:hush@127.0.0.1:1/x", Transient, "127.0.0.1.*port 1.*[Rr]efused"),
    ],
)
def test_a_database_that_is_not_there(url: str, expected: type[Failure], said: str) -> None:
    database = DatabaseDestination(DatabaseSettings.model_validate({"url": url}))
    with pytest.raises(expected, match=said) as caught:
        push(database, write(1))
    assert "hush" not in str(caught.value)
    database.close()


def test_a_folder_that_is_not_there_is_said_and_not_promised(tmp_path: Path) -> None:
    database = DatabaseDestination(DatabaseSettings.model_validate({"url": f"sqlite:///{tmp_path}/absent/out.db"}))
    with pytest.raises(Misconfigured, match="unable to open"):
        list(database.check_online())
    database.close()


def test_no_database_of_that_name(empty_postgres_url: str) -> None:
    database = DatabaseDestination(
        DatabaseSettings.model_validate({"url": empty_postgres_url.rpartition("/")[0] + "/absent"})
    )
    with pytest.raises(Misconfigured, match='database "absent" does not exist'):
        push(database, write(1))
    database.close()


def test_connections_the_server_has_dropped_are_replaced(empty_postgres_url: str) -> None:
    database = DatabaseDestination(DatabaseSettings.model_validate({"url": empty_postgres_url}))
    push(database, write(1, "dropped"))
    engine = sa.create_engine(empty_postgres_url, poolclass=sa.NullPool)
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test' AND pid <> pg_backend_pid()"
    with engine.connect() as connection:
        connection.exec_driver_sql(others)
    assert push(database, write(2, "dropped")) == [Written("2", True)]
    database.close()


def test_a_connection_lost_in_the_middle_wrote_nothing_and_in_commit_is_in_doubt(empty_postgres_url: str) -> None:
    database = DatabaseDestination(DatabaseSettings.model_validate({"url": empty_postgres_url}))
    push(database, write(1, "lost"))
    assert database._open is not None
    engine = database._open[0]

    def cut(connection: Any) -> None:
        killer = sa.create_engine(empty_postgres_url, poolclass=sa.NullPool)
        with killer.connect() as other:
            pid = connection.connection.dbapi_connection.info.backend_pid
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")

    sa.event.listen(engine, "commit", cut)
    with pytest.raises(Ambiguous):
        push(database, write(2, "lost"))
    sa.event.remove(engine, "commit", cut)
    sa.event.listen(engine, "begin", cut)
    with pytest.raises(Transient):
        push(database, write(2, "lost"))
    sa.event.remove(engine, "begin", cut)
    assert isinstance(push(database, write(2, "lost"))[0], Written)
    database.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "what", "oracle+nothing://x", ""])
def test_wrong_urls(url: str) -> None:
    with pytest.raises(ValidationError, match="sqlite:///FILE"):
        DatabaseSettings.model_validate({"url": url})


# ------------------------------------------------------------------------------------- described, checked and prepared

NEEDS = (
    MissingField(object="log", field="key", key=True, length=64),
    MissingField(object="log", field="title", length=255),
    MissingField(object="log", field="at", type="datetime"),
    MissingField(object="log", field="day", type="date"),
    MissingField(object="log", field="count", type="number"),
    MissingField(object="log", field="open", type="checkbox"),
)


def test_prepared_tables_take_the_writes_they_are_made_for(connect: Connect, rows: Rows) -> None:
    crm = connect()
    assert [step.done for step in crm.prepare(NEEDS, dry=True)] == [False] * 6
    assert crm.describe(["log"]) == {}
    assert all(step.done and "made" in step.message for step in crm.prepare(NEEDS))
    assert all(step.message.endswith("is there") for step in crm.prepare(NEEDS)), "asked twice it makes nothing twice"
    described = {one.name: one for one in crm.describe(["log"])["log"]}
    assert (described["key"].unique, described["key"].key, described["title"].unique) == (True, True, False)
    assert not any(one.required for one in described.values())
    values = {"at": datetime(2026, 1, 1, tzinfo=UTC), "day": date(2026, 1, 1), "count": 7, "open": True, "title": "T"}
    one = Write(key="k", object="log", key_field="key", fields=values)
    (call,) = crm.plan([one])
    assert isinstance(crm.send(call)[0], Written)
    assert rows("SELECT title FROM log")[0]["title"] == "T"
    assert [finding.level for finding in crm.check_online()] == [Level.OK]


def test_columns_are_described_as_they_are(connect: Connect, rows: Rows) -> None:
    rows(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a VARCHAR(20) NOT NULL, b TEXT DEFAULT 'x' NOT NULL, c INTEGER UNIQUE)"
    )
    described = {one.name: one for one in connect(create_tables=False).describe(["t", "absent"])["t"]}
    assert (described["a"].length, described["a"].required) == (20, True)
    assert (described["b"].length, described["b"].required) == (None, False)
    assert (described["c"].unique, described["id"].unique, described["id"].required) == (True, True, False)


def test_a_table_that_cannot_be_made_ready_is_said(connect: Connect, rows: Rows) -> None:
    rows("CREATE TABLE log (key VARCHAR(64))")
    rows("INSERT INTO log VALUES ('twice'), ('twice')")
    steps = list(connect().prepare(NEEDS))
    assert steps[0].done, "the column is there; that it is not unique is what the comparison says"
    assert not steps[1].done
    assert "rows there share a value" in steps[1].message
