"""Migrations on both databases: equal to the schema, run once, safe from kills, and only when due."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from syncd.errors import UsageError
from syncd.runtime import crashpoints
from syncd.signals import Person
from syncd.store import Store
from syncd.store.engine import WRITES, make_engine, parse_url
from syncd.store.journal.entries import JournalEntry, NewSignal
from syncd.store.lanes import people
from syncd.store.queries import Filter, newest
from syncd.store.revisions import HEAD, SCRIPTS, db_info, upgrade
from syncd.store.schema import metadata
from syncd.texts.reasons import Reason
from tests.entries import CRM, a_signal

OPEN = "import sys; from syncd.store import Store; Store.open(sys.argv[1]).close(); print('alembic' in sys.modules)"


def open_in_process(url: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, url],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_head_is_the_newest_script() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == HEAD


def test_the_migrations_make_the_schema(empty_url: str) -> None:
    with Store.open(empty_url) as store, store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_alembic_is_loaded_only_when_something_is_due(empty_url: str) -> None:
    for due in ("True", "False"):
        process = open_in_process(empty_url)
        output, errors = process.communicate(timeout=60)
        assert (output.strip(), process.returncode) == (due, 0), errors


def test_four_daemons_starting_at_once_migrate_once(empty_url: str) -> None:
    processes = [open_in_process(empty_url) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert db_info(empty_url).revision == HEAD


def test_a_kill_in_mid_migration_leaves_nothing_and_the_next_start_goes_on(empty_url: str) -> None:
    process = open_in_process(empty_url, **{crashpoints.VARIABLE: "in_migration"})
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    info = db_info(empty_url)
    assert (info.revision, info.tables, info.due) == ("", {}, True)
    with Store.open(empty_url) as store:
        assert store.info().revision == HEAD


def test_a_database_of_the_first_revision_is_brought_up_with_all_that_is_in_it(empty_url: str) -> None:
    with Store.open(empty_url) as store:
        store.journal.commit(
            JournalEntry("phones", [NewSignal(a_signal("1", person=Person(email="jo@example.com")), CRM)])
        )
    engine = make_engine(parse_url(empty_url))
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        operations = Operations(MigrationContext.configure(connection))
        operations.drop_index("signals_received", "signals")
        operations.create_index("signals_received", "signals", ["received_at"])
        operations.create_index("signals_identity", "signals", ["identity"])
        operations.drop_table("refusals")
        operations.drop_table("turns")
        operations.drop_table("identity_ties")
        operations.drop_table("repeats")
        operations.drop_column("deliveries", "repeated")
        operations.drop_table("rates")
        operations.drop_table("allowances")
        operations.drop_index("people_record", "people")
        for name in ("name", "by_number", "owner", "account_object", "deal", "deal_object"):
            operations.drop_column("people", name)
        operations.drop_column("writes", "chosen")
        for table in ("writes", "settled", "deliveries", "people"):
            operations.drop_column(table, "parameters")
        for table in ("writes", "settled", "deliveries", "people", "lanes", "source_health", "receipts"):
            operations.drop_column(table, "code")
        connection.execute(
            text(
                "INSERT INTO people (destination, identity, role, account, crm_id, object, state, reason, "
                "attempts, sent_at, checked_at) VALUES ('crm', 'phone:+84912345678', '', '', '', '', 'creating', "
                "'as email:jo@example.com', 0, 0, 0)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO writes (destination, signal_id, rule, key, object, kind, state, reason, crm_id, "
                "attempts, sent_at, due_at, stale_once, updated_at) VALUES ('crm', 's', 'fill', 'k', 'Lead', 'upsert', "
                "'skipped', 'their record is a Contact, not a Lead', '', 0, 0, 0, FALSE, 0)"
            )
        )
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()
    with Store.open(empty_url) as store:
        assert store.info().revision == HEAD
        assert [one.signal.id for one in newest(store, Filter(person="jo@example.com"))] == [a_signal("1").id]
        with store.read() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            alias = people(connection, "crm", ["phone:+84912345678"])["phone:+84912345678"].reason
            codes = connection.execute(text("SELECT code FROM writes")).scalars().all()
        assert isinstance(alias, Reason)
        assert (alias.code, alias.parameters, codes) == (
            "alias",
            {"identity": "email:jo@example.com"},
            ["another_object"],
        )


def test_the_table_of_counted_events_goes_and_comes_back(empty_url: str) -> None:
    with Store.open(empty_url) as store:
        store.journal.commit(JournalEntry("phones", [NewSignal(a_signal("1", repeat="a"), CRM)]))
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    engine = make_engine(parse_url(empty_url))
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
    with engine.connect() as connection:
        assert "repeats" not in inspect(connection).get_table_names()
        assert "repeated" not in {column["name"] for column in inspect(connection).get_columns("deliveries")}
    engine.dispose()
    with Store.open(empty_url) as store:
        assert store.info().revision == HEAD
        store.journal.commit(JournalEntry("phones", [NewSignal(a_signal("1", repeat="b"), CRM)]))
        assert [one.signal.data["count"] for one in newest(store, Filter())] == [
            1
        ]  # the first event is not known any more


def test_a_newer_database_is_refused_in_one_line(store_url: str) -> None:
    with Store.open(store_url) as store, store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match=r"newer syncd \(revision 9999, this one knows") as caught:
        Store.open(store_url)
    assert "\n" not in str(caught.value)


def test_without_leave_to_migrate_the_command_is_named(empty_url: str) -> None:
    with pytest.raises(UsageError, match="syncd db upgrade"):
        Store.open(empty_url, migrate=False)
    assert upgrade(empty_url)
    assert not upgrade(empty_url)
    Store.open(empty_url, migrate=False).close()


def test_info_changes_nothing(empty_url: str) -> None:
    info = db_info(empty_url)
    assert (info.revision, info.due) == ("", True)
    assert db_info(empty_url) == info
