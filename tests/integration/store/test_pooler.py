"""The store through a real PgBouncer in transaction mode: sessions are shared, and nothing depends on one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from syncd.store import Store
from syncd.store.pg_notify import PgNotifier
from syncd.store.schema import signals
from tests.entries import an_entry

CLIENTS, ROUNDS = 8, 40


@pytest.fixture
def pooled(empty_postgres_url: str, pgbouncer: Callable[[str], str]) -> Iterator[Store]:
    with Store.open(pgbouncer(empty_postgres_url), key_source="k" * 40) as store:
        yield store


def test_many_writers_share_few_sessions(pooled: Store) -> None:
    def write(client: int) -> None:
        for number in range(ROUNDS):
            pooled.journal.commit(an_entry(client * ROUNDS + number))
            claim = pooled.leases.acquire(f"client:{client}", timedelta(seconds=60))
            assert claim is not None
            pooled.leases.release(claim)

    with ThreadPoolExecutor(CLIENTS) as clients:
        for done in [clients.submit(write, client) for client in range(CLIENTS)]:
            done.result()
    with pooled.read() as connection:
        assert connection.execute(select(func.count()).select_from(signals)).scalar_one() == CLIENTS * ROUNDS


def test_every_transaction_is_durable(pooled: Store) -> None:
    assert pooled.pooled()
    pooled.apply(
        lambda connection: connection.execute(text("SET SESSION synchronous_commit = off"))
    )  # a neighbour does so
    for _ in range(5):
        shown = pooled.apply(lambda connection: connection.execute(text("SHOW synchronous_commit")).scalar())
        assert shown == "on"


def test_a_direct_connection_is_told_from_a_pooled_one(store: Store) -> None:
    assert not store.pooled()


def test_calling_does_not_listen_through_a_pooler(pooled: Store) -> None:
    calling = PgNotifier(pooled, lambda wake_up: None)
    calling.start()
    try:
        for thread in threading.enumerate():
            if thread.name == "syncd-hears":
                thread.join(60)
                assert not thread.is_alive()
        assert not calling.listening.is_set()
    finally:
        calling.stop()
