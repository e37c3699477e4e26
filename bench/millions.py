"""What looking at everything costs when millions of signals are kept: `syncd status` and a scrape of `/metrics`.

    python -m bench.millions [COUNT]        on SQLite, and on PostgreSQL where it is installed; default 1,000,000

The rows are made by the databases themselves, in the store's own tables: every signal with a settled delivery, a written record
and an attempt, one of a hundred skipped, one of ten thousand dead; and a person remembered for every ten signals. Not part of
`make bench`: filling takes minutes, and some GB in .bench/.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from bench.figures import Aim, Figure, Table, workplace
from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.service.status import gather
from syncd.store import Store, gauges
from syncd.store.balance import balance
from tests.servers import NoPostgres, postgres_server

SETTINGS = Settings(
    sources={"inbox": SourceSettings(name="inbox", type="webhook")},
    destinations={"crm": DestinationSettings(name="crm", type="database")},
)
ROUNDS = 7
SOON = Aim.most(250)

NUMBERS = {
    "sqlite": "(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < :count) SELECT n FROM up)",
    "postgresql": "(SELECT n FROM generate_series(CAST(1 AS bigint), CAST(:count AS bigint)) AS one(n))",
}
ID = {  # scattered, as ids are that are hashes
    "sqlite": "printf('%08x-0000-5000-8000-%012x', (n * 2654435761) % 4294967296, n)",
    "postgresql": "lpad(to_hex((n * 2654435761) % 4294967296), 8, '0') || '-0000-5000-8000-' || lpad(to_hex(n), 12, '0')",
}
BODY = {"sqlite": "zeroblob(600)", "postgresql": "decode(repeat(md5(n::text), 37), 'hex')"}
STATE = "CASE WHEN n % 10000 = 0 THEN 'dead' WHEN n % 100 = 1 THEN 'skipped' ELSE 'delivered' END"
CHANNEL = "CASE n % 3 WHEN 0 THEN 'email' WHEN 1 THEN 'calls' ELSE 'custom' END"
AT = "1767225600000 + n * 1000"
FILL = (
    """INSERT INTO signals (id, type, channel, source, route, occurred_at, received_at, identity, body)
        SELECT {id}, 'email.received', {channel}, 'inbox', 'webhook', {at}, {at}, 'email:p' || (n % 100000), {body}
        FROM {numbers} AS made""",
    """INSERT INTO settled (destination, signal_id, channel, state, reason, settled_at)
        SELECT 'crm', {id}, {channel}, {state}, '', {at} FROM {numbers} AS made""",
    """INSERT INTO writes (destination, signal_id, rule, key, object, kind, state, reason, crm_id, attempts, sent_at,
            due_at, stale_once, updated_at)
        SELECT 'crm', {id}, 'timeline', {id}, 'Task', 'upsert', CASE {state} WHEN 'delivered' THEN 'written' ELSE {state} END,
            '', '00T' || n, 1, {at}, 0, {false}, {at} FROM {numbers} AS made""",
    """INSERT INTO attempts (destination, signal_id, rule, at, outcome, code, message)
        SELECT 'crm', {id}, 'timeline', {at}, 'written', '', '' FROM {numbers} AS made""",
    """INSERT INTO people (destination, identity, object, crm_id, role, account, state, reason, attempts, sent_at,
            checked_at)
        SELECT 'crm', 'email:p' || n, 'Contact', '003' || n, 'contact', '', 'known', '', 0, 0, {at}
        FROM {numbers} AS made WHERE n % 10 = 0""",
    """INSERT INTO tally (destination, channel, signals)
        SELECT destination, channel, count(*) FROM settled GROUP BY destination, channel""",
)  # fmt: skip


def fill(store: Store, count: int) -> None:
    """Makes the rows of so many signals that are done."""
    kind = "postgresql" if store.postgresql else "sqlite"
    words = {
        "state": STATE,
        "channel": CHANNEL,
        "at": AT,
        "id": ID[kind],
        "body": BODY[kind],
        "numbers": NUMBERS[kind],
        "false": "false" if store.postgresql else "0",
    }
    with store.write() as connection:
        if not store.postgresql:
            connection.exec_driver_sql("PRAGMA cache_size=-1500000")
        for statement in FILL:
            known = {"count": count} if ":count" in statement.format(**words) else {}
            connection.execute(text(statement.format(**words)), known)
    if store.postgresql:
        store.wipe()
        with store.write() as connection:
            connection.exec_driver_sql("ANALYZE")


def scraped(store: Store) -> None:
    """What `/metrics` asks of the store beyond small tables."""
    balance(store)
    gauges.disk(store)
    gauges.oldest_purgeable(store)
    gauges.oldest_pending(store)
    gauges.people_counts(store)


LOOKS: dict[str, Callable[[Store], object]] = {
    "the balance sheet": balance,
    "people remembered": gauges.people_counts,
    "status": lambda store: gather(store, SETTINGS),
    "a scrape": scraped,
}


@contextmanager
def stores(count: int) -> Iterator[Iterator[tuple[str, Store]]]:
    """Filled ones, one after the other."""

    def each() -> Iterator[tuple[str, Store]]:
        with tempfile.TemporaryDirectory(dir=workplace()) as folder:
            with Store.open(f"sqlite:///{Path(folder) / 'millions.db'}") as store:
                fill(store, count)
            with Store.open(f"sqlite:///{Path(folder) / 'millions.db'}") as store:
                yield "SQLite", store
        try:
            with postgres_server() as server, Store.open(server.url, key_source="k" * 32) as store:
                fill(store, count)
                yield "PostgreSQL", store
        except NoPostgres as error:
            print(error, file=sys.stderr)

    yield each()


def measure(count: int) -> Iterator[Table]:
    with stores(count) as each:
        for name, store in each:
            took: dict[str, list[float]] = {look: [] for look in LOOKS}
            for _ in range(ROUNDS):
                for look, way in LOOKS.items():
                    began = time.perf_counter()
                    way(store)
                    took[look].append((time.perf_counter() - began) * 1e3)
            told = [
                Figure(look, statistics.median(times), "ms", SOON, (min(times), max(times)))
                for look, times in took.items()
            ]
            yield Table(f"{count:,} signals on {name}", told)


if __name__ == "__main__":
    for table in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000):
        print(table, flush=True)
