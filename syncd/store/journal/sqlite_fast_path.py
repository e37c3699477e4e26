"""Arrivals on SQLite: a whole group in one statement, which is a transaction of its own.

`commit_group` tries it first. While SQLite works, the event loop has the interpreter, and each statement more is one more wait
for it: so there is one. It takes only what is all new and in order. Anything else (a repeat, a poison row) leaves no
trace, and the group goes the general way, which looks closer; so do the groups after it while there are repeats among them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import msgspec

from syncd.store.engine import is_row_fault
from syncd.store.journal.bulk_writers import HOT, SQLITE_UPSERTS
from syncd.store.journal.encoding import NewSignalRows, Prepared, SignalRow
from syncd.store.journal.entries import InitialDelivery
from syncd.texts.reasons import code_of

if TYPE_CHECKING:
    from syncd.store.database import Database

MOST_ROWS = 512  # a power of two; more go the general way

_COLUMNS = (*SignalRow._fields, "priority", "seeds")
_NEW = ", ".join(f"NEW.{name}" for name in SignalRow._fields)


def _seed(at: int) -> str:
    return f"json_extract(value, '$[{at}]')"


def _upsert(name: str, values: str) -> str:
    """One of the general way's upserts, its values selected."""
    head, rest = SQLITE_UPSERTS[name].split("VALUES", 1)
    return f"{head} {values} WHERE true {rest[rest.index('ON CONFLICT') :]}"


def _setup() -> tuple[str, ...]:
    """A view that nothing can be read from; what is inserted into it becomes the rows of an arrival."""
    pending = (
        f"{_seed(0)}, NEW.id, NEW.channel, 'pending', '', {_seed(1)}, {_seed(2)}, NEW.priority, "
        "NEW.received_at, NEW.received_at, 0"
    )
    skipped = f"{_seed(0)}, NEW.id, NEW.channel, 'skipped', {_seed(3)}, {_seed(4)}, NEW.received_at"
    tally = _upsert("tally", f"SELECT {_seed(0)}, NEW.channel, 1 FROM json_each(NEW.seeds)")  # noqa: S608
    heard = _upsert("heard", "SELECT NEW.source, 0, NEW.received_at, 0, 0, ''")
    return (
        f"CREATE TEMP VIEW IF NOT EXISTS arriving AS SELECT {', '.join(f'0 AS {name}' for name in _COLUMNS)} WHERE false",
        f"""CREATE TEMP TRIGGER IF NOT EXISTS arrive INSTEAD OF INSERT ON arriving BEGIN
            SELECT RAISE(ABORT, 'known') FROM tombstones WHERE id = NEW.id;
            INSERT INTO signals ({", ".join(SignalRow._fields)}) VALUES ({_NEW});
            INSERT INTO deliveries ({", ".join(HOT["deliveries"])})
                SELECT {pending} FROM json_each(NEW.seeds) WHERE {_seed(3)} = '';
            INSERT INTO settled ({", ".join(HOT["settled"])})
                SELECT {skipped} FROM json_each(NEW.seeds) WHERE {_seed(3)} != '';
            {tally};
            {heard};
        END""",  # noqa: S608 - our names
    )


def insert_new(store: Database, group: Sequence[Prepared]) -> bool:
    """Whether the group was committed. False: nothing was, and it must go the general way. Raises StoreUnavailable."""
    if not all(prepared.bare for prepared in group):
        return False
    documents: dict[int, str] = {}  # the seeds of a policy are few tuples, shared by all its arrivals
    rows = [_row(arrival, documents) for prepared in group for arrival in prepared.arrivals]
    if len(rows) > MOST_ROWS:
        return False
    rows.sort()
    count = 1 << (len(rows) - 1).bit_length()  # padded, so that SQLite keeps them all prepared
    values = [*chain.from_iterable(rows), *repeat(None, (count - len(rows)) * len(_COLUMNS))]
    try:
        with store.alone() as pooled:
            driver: Any = pooled.driver_connection
            if "arriving" not in pooled.info:
                pooled.info["arriving"] = _made_ready(driver)
            if not pooled.info["arriving"]:
                return False
            driver.execute(_statement(count), values)
    except Exception as error:
        if not is_row_fault(error):
            raise
        return False
    return True


def _made_ready(driver: Any) -> bool:
    """Whether this connection can take the short way."""
    try:
        driver.execute("SELECT json_extract(value, '$') FROM json_each('[1]')")
    except sqlite3.OperationalError:  # a SQLite that was built without JSON
        return False
    for statement in _setup():
        driver.execute(statement)
    return True


def _row(arrival: NewSignalRows, documents: dict[int, str]) -> tuple[Any, ...]:
    seeds = documents.get(id(arrival.seeds))
    if seeds is None:
        seeds = documents[id(arrival.seeds)] = _document(arrival.seeds)
    return (*arrival.signal, arrival.priority, seeds)


def _document(seeds: tuple[InitialDelivery, ...]) -> str:
    parts = [(one.destination, one.live, one.old, str(one.skipped), code_of(one.skipped)) for one in seeds]
    return msgspec.json.encode(parts).decode()


@cache
def _statement(count: int) -> str:
    one = f"({', '.join('?' * len(_COLUMNS))})"
    rows = ", ".join([one] * count)
    return f"INSERT INTO arriving SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL"  # noqa: S608 - our names
