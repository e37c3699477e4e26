"""The database destination on PostgreSQL behind PgBouncer in transaction mode, and names that PostgreSQL would cut."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from syncd.capabilities import Level
from syncd.connector import Write, Written
from syncd.connectors.crm.database import DatabaseDestination, DatabaseSettings
from syncd.connectors.crm.database_tables import LONGEST_NAME, index_name, too_long
from syncd.errors import Misconfigured, Scope
from syncd.service.assembly import check_configuration
from tests.servers import NoBouncer, Server, execute, transaction_pooler

LONG = "a_column_name_that_is_longer_than_what_postgresql_keeps_of_a_name"
WIDE = "ghi_chú_của_khách_hàng_về_lần_liên_hệ_gần_nhất_qua_điện"


@pytest.fixture(scope="module")
def pooled(postgres: Server) -> Iterator[str]:
    """A database through the pooler."""
    try:
        with transaction_pooler(postgres) as url:
            execute(postgres.url, "CREATE DATABASE pooled_rows")
            yield url.rpartition("/")[0] + "/pooled_rows"
    except NoBouncer as error:
        pytest.skip(str(error))


def write(number: int, **fields: str) -> Write:
    return Write(key=str(number), object="signals", key_field="key", fields={"title": f"t{number}", **fields})


def push(database: DatabaseDestination, writes: list[Write]) -> list[object]:
    return [outcome for call in database.plan(writes) for outcome in database.send(call)]


def test_sessions_that_are_shared(pooled: str) -> None:
    crms = [DatabaseDestination(DatabaseSettings.model_validate({"url": pooled})) for _ in range(6)]
    assert [finding.level for finding in crms[0].check_online()] == [Level.OK]
    assert isinstance(push(crms[0], [write(0)])[0], Written)

    def many(place: int) -> list[object]:
        """Repeated statements: what psycopg would prepare after five times."""
        return [outcome for turn in range(30) for outcome in push(crms[place], [write(1000 * place + turn)])]

    with ThreadPoolExecutor(len(crms)) as pool:
        outcomes = [outcome for done in pool.map(many, range(len(crms))) for outcome in done]
    assert len(outcomes) == 180
    assert all(isinstance(one, Written) for one in outcomes)
    assert crms[1].find("signals", "key", ["1000", "1029", "nobody"]) == {"1000": "1000", "1029": "1029"}
    for crm in crms:
        crm.close()


def test_limits_hold_for_a_transaction_and_no_longer(pooled: str) -> None:
    crm = DatabaseDestination(DatabaseSettings.model_validate({"url": pooled}))
    engine, _ = crm._opened()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "1min"
        assert connection.scalar(sa.text("SHOW lock_timeout")) == "10s"
    other = sa.create_engine(pooled, poolclass=sa.NullPool, connect_args={"prepare_threshold": None})
    for _ in range(4):
        with other.connect() as connection:
            assert connection.scalar(sa.text("SHOW statement_timeout")) == "0"
    other.dispose()
    crm.close()


@pytest.mark.parametrize("name", [LONG, WIDE])
@pytest.mark.parametrize("create", [True, False])
def test_a_name_that_postgresql_would_cut_holds_its_rule(empty_postgres_url: str, name: str, create: bool) -> None:
    crm = DatabaseDestination(DatabaseSettings.model_validate({"url": empty_postgres_url, "create_tables": create}))
    execute(empty_postgres_url, "CREATE TABLE signals (key text UNIQUE, title text)")
    good, bad = Write(key="1", object="signals", key_field="key", fields={"title": "t"}), write(2, **{name: "x"})
    table = Write(key="3", object=name, key_field="key", fields={"title": "t"})
    written, *refused = push(crm, [good]) + push(crm, [bad]) + push(crm, [table])
    assert isinstance(written, Written)
    for one in refused:
        assert isinstance(one, Misconfigured)
        assert (one.scope, one.field) == (Scope.RULE, name)
        assert "63 bytes" in str(one)
    crm.close()


def test_a_long_table_with_a_long_key_has_an_index_all_the_same(empty_postgres_url: str) -> None:
    crm = DatabaseDestination(DatabaseSettings.model_validate({"url": empty_postgres_url}))
    row = Write(key="1", object="t" * LONGEST_NAME, key_field="k" * LONGEST_NAME, fields={"title": "t"})
    for _ in range(2):
        assert isinstance(push(crm, [row])[0], Written)
    crm.close()


@given(st.text(min_size=1, max_size=90), st.text(min_size=1, max_size=90))
def test_an_index_name_always_fits_and_stays_what_it_was(table: str, key: str) -> None:
    name = index_name(table, key)
    assert len(name.encode("utf-8", "surrogatepass")) <= LONGEST_NAME
    assert name == index_name(table, key)
    if len(f"uq_{table}_{key}".encode("utf-8", "surrogatepass")) <= LONGEST_NAME:
        assert name == f"uq_{table}_{key}"


def test_what_is_too_long() -> None:
    assert not too_long("x" * 63)
    assert not too_long("x" * 63 + "." + "y" * 63)
    assert "64" in too_long("public." + "y" * 64)
    assert too_long("ữ" * 22)


@pytest.mark.parametrize(("backend", "faults"), [("postgresql+psycopg://u@127.0.0.1:1/x", 2), ("sqlite:///x.db", 0)])
def test_check_names_the_place(tmp_path: Path, backend: str, faults: int) -> None:
    rule = (
        f"  - id: r\n    name: R\n    signals: ['*']\n    upsert: {LONG}\n    key: key\n    fields:\n      {WIDE}: x\n"
    )
    (tmp_path / "m.yaml").write_text("rules:\n" + rule, "utf-8")
    there = f"  b: {{type: database, url: '{backend}', mapping: m.yaml}}"
    config = f"sources:\n  a: {{type: maildir, path: .}}\ndestinations:\n{there}\n"
    (tmp_path / "config.yaml").write_text(config, "utf-8")
    report = check_configuration(tmp_path / "config.yaml")
    assert [(fault.line, "63 bytes" in fault.message) for fault in report.faults] == [(5, True), (8, True)][:faults]
