"""Everything the store holds of one person: found, exported, erased. `syncd forget` and `syncd export` call it.

Signals *of* the person go whole and leave tombstones, so that no repeat and no backfill brings them back; where others' rows
only mention the person, the mention goes. Promise: the balance sheet balances before, between and after the bites.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import msgspec
from sqlalchemy import Column, Connection, Table, delete, func, insert, or_, select, text, tuple_, update

from syncd.errors import UsageError
from syncd.identity.identities import HANDLE, PHONE, handle_identities, normal_identity, split_handle
from syncd.store.engine import PURGE_LOCK
from syncd.store.identity_ties import ties_around
from syncd.store.schema import (
    attempts,
    deliveries,
    identity_ties,
    jobs,
    lanes,
    memory,
    people,
    receipts,
    repeats,
    settled,
    signals,
    source_health,
    tally,
    tombstones,
    writes,
)
from syncd.texts.reasons import Reason, packed

if TYPE_CHECKING:
    from syncd.store.store import Store

BITE = 100
PAGE = 500
ERASED = "(erased)"

MENTIONS: tuple[tuple[Table, tuple[Column[Any], ...], Column[Any]], ...] = (
    (attempts, (attempts.c.destination, attempts.c.signal_id, attempts.c.rule, attempts.c.at), attempts.c.message),
    (writes, (writes.c.destination, writes.c.signal_id, writes.c.rule), writes.c.reason),
    (writes, (writes.c.destination, writes.c.signal_id, writes.c.rule), writes.c.chosen),
    (settled, (settled.c.destination, settled.c.signal_id), settled.c.reason),
    (deliveries, (deliveries.c.destination, deliveries.c.signal_id), deliveries.c.reason),
    (source_health, (source_health.c.source,), source_health.c.error),
    (writes, (writes.c.destination, writes.c.signal_id, writes.c.rule), writes.c.parameters),
    (settled, (settled.c.destination, settled.c.signal_id), settled.c.parameters),
    (deliveries, (deliveries.c.destination, deliveries.c.signal_id), deliveries.c.parameters),
    (lanes, (lanes.c.destination,), lanes.c.reason),
    (receipts, (receipts.c.id,), receipts.c.error),
)
"""Texts about others that may quote the person: (table, its key, the text)."""


@dataclass(frozen=True)
class PersonMarks:
    """How a person is recognised: the identity the store keys them by, and the text that others' rows may hold."""

    identity: str
    needle: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the whole address or number only: not another that ends or begins like it. A handle may be any number or
        word: in running text only the whole identity means the person."""
        if self.identity.startswith(HANDLE):
            return re.compile(rf"(?<!\w){re.escape(self.identity)}(?!\w)", re.IGNORECASE)
        if self.identity.startswith(PHONE):
            return re.compile(rf"(?<!\d)\+?{re.escape(self.needle.lstrip('+'))}(?!\d)")
        return re.compile(rf"(?<![\w.%+-]){re.escape(self.needle)}(?![\w-]|\.\w)", re.IGNORECASE)

    @property
    def alone(self) -> str:
        """What means the person where it is a whole value: the id of a handle, "" for other identities."""
        return self.needle if self.identity.startswith(HANDLE) else ""


def marks_of(person: str, region: str | None) -> PersonMarks:
    """From an e-mail address, a phone number, or an identity as `explain` shows it. Raises UsageError."""
    identity = normal_identity(person, region)
    if not identity:
        raise UsageError(
            f"{person!r} is neither an e-mail address nor a phone number nor handle:NETWORK:ID; give one whole, for example "
            "+84912345678"
        )
    return PersonMarks(identity, split_handle(identity)[1] or identity.partition(":")[2])


@dataclass
class PersonData:
    """What is held. `records`: (destination, object, id) in the CRMs; `others`: signals of other people that mention the
    person; `sending`: deliveries that a lane has in its hands now; `ties`: pairs of identities that theirs is one of, and
    `also`: the other identities of the same person, which are not looked for."""

    signals: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    memory: list[tuple[str, str]] = field(default_factory=list)
    people: int = 0
    jobs: list[str] = field(default_factory=list)
    mentions: int = 0
    sending: int = 0
    ties: int = 0
    also: tuple[str, ...] = ()
    records: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        held = (self.signals, self.others, self.receipts, self.memory, self.jobs)
        return not (any(held) or self.people or self.mentions or self.ties)


def look(store: Store, marks: PersonMarks) -> PersonData:
    """Everything of this person, without changing anything. Reads the whole store once, page by page."""
    found, pattern = PersonData(), marks.pattern
    quick = marks.needle.lstrip("+").lower().encode()
    for id, identity, body in _pages(store, signals, signals.c.id, signals.c.identity, signals.c.body):
        if identity == marks.identity or _is_person(body, marks, quick):
            found.signals.append(id)
        elif quick in body.lower() and _says(_json(body), pattern, marks.alone):
            found.others.append(id)
    for id, key, payload in _pages(store, receipts, receipts.c.id, receipts.c.key, receipts.c.payload):
        if pattern.search(key) or any(_means(said, pattern, marks.alone) for said in _texts_of(bytes(payload))):
            found.receipts.append(id)
    for source, key, value in _pages(store, memory, memory.c.source, memory.c.key, memory.c.value):
        if pattern.search(key) or pattern.search(value):
            found.memory.append((source, key))
    for id, args, progress in _pages(store, jobs, jobs.c.id, jobs.c.args, jobs.c.progress):
        if pattern.search(args) or pattern.search(progress):
            found.jobs.append(id)
    mine, waste = set(found.signals), set(found.receipts)
    for table, key_columns, column in MENTIONS:
        for *place, said in _pages(store, table, *key_columns, column):
            at = dict(zip((one.name for one in key_columns), place, strict=True))
            found.mentions += bool(
                at.get("signal_id") not in mine and at.get("id") not in waste and pattern.search(said)
            )
    _records(store, marks, found)
    with store.read() as connection:
        graph = ties_around(connection, [marks.identity])
    found.ties, found.also = len(graph.of([marks.identity])), graph.group([marks.identity])[1:]
    return found


def _records(store: Store, marks: PersonMarks, found: PersonData) -> None:
    records: dict[tuple[str, str, str], None] = {}
    with store.read() as connection:
        for row in connection.execute(select(people).where(_theirs(marks))):
            found.people += 1
            if row.crm_id:
                records[row.destination, row.object, row.crm_id] = None
        now = store.now()
        for some in _bites(found.signals, PAGE):
            made = select(writes.c.destination, writes.c.object, writes.c.crm_id, writes.c.chosen).where(
                writes.c.signal_id.in_(some), writes.c.crm_id != ""
            )
            for destination, object_, crm_id, kept in connection.execute(made):
                records[destination, object_, crm_id] = None
                records.update(dict.fromkeys((destination, *one) for one in _came_along(kept)))
            held = select(func.count()).select_from(deliveries)
            held = held.where(deliveries.c.signal_id.in_(some), deliveries.c.claimed_until > now)
            found.sending += int(connection.execute(held).scalar_one())
    found.records = list(records)


class _AlsoWritten(msgspec.Struct):
    """What a write keeps of the records that came with the one it wrote (a converted lead's contact, account and deal)."""

    also: dict[str, tuple[str, str]] = {}


def _came_along(kept: str) -> Iterable[tuple[str, str]]:
    """(object, id) of each."""
    return msgspec.json.decode(kept, type=_AlsoWritten).also.values() if kept else ()


def _theirs(marks: PersonMarks) -> Any:
    alias = Reason("alias", identity=marks.identity)
    return or_(
        people.c.identity == marks.identity, (people.c.code == alias.code) & (people.c.parameters == packed(alias))
    )


def _tied(marks: PersonMarks) -> Any:
    return or_(identity_ties.c.identity == marks.identity, identity_ties.c.other == marks.identity)


def everything(store: Store, found: PersonData, marks: PersonMarks) -> Iterator[dict[str, Any]]:
    """What `look` found, row by row, `table` naming where it is; bodies decoded. No transaction stays open."""
    for id in found.signals:
        with store.read() as connection:
            body = connection.execute(select(signals.c.body).where(signals.c.id == id)).scalar()
            beside = [
                {"table": str(table.name), **row}
                for table in (deliveries, settled, writes, attempts, repeats)
                for row in connection.execute(select(table).where(table.c.signal_id == id)).mappings()
            ]
        if body is not None:
            yield {"table": "signals", **_json(bytes(body))}
        yield from beside
    with store.read() as connection:
        rows = [dict(row) for row in connection.execute(select(people).where(_theirs(marks))).mappings()]
        tied = [dict(row) for row in connection.execute(select(identity_ties).where(_tied(marks))).mappings()]
    yield from ({"table": "people", **row} for row in rows)
    yield from ({"table": "identity_ties", **row} for row in tied)
    for id in found.receipts:
        receipt = store.receipts.get(id)
        if receipt is not None:
            payload = "\n".join(_texts_of(receipt.payload))
            yield {"table": "receipts", "id": id, "source": receipt.source, "state": receipt.state, "payload": payload}
    yield from ({"table": "memory", "source": source, "key": key} for source, key in found.memory)


def erase(store: Store, marks: PersonMarks, found: PersonData, *, others: bool = False) -> None:
    """Erases what `look` found, in bites. `others`: signals of other people that mention the person go, too. Raises
    StoreUnavailable; what was erased until then stays erased, and the same command resumes."""
    for some in _bites([*found.signals, *(found.others if others else ())], BITE):
        store.apply(lambda connection, some=some: remove(store, connection, some))  # type: ignore[misc]
    for some in _bites(found.receipts, BITE):
        gone = delete(receipts).where(receipts.c.id.in_(some))
        store.apply(lambda connection, gone=gone: connection.execute(gone))  # type: ignore[misc]
    store.apply(lambda connection: _rest(store, connection, marks, found))
    pattern = marks.pattern
    for table, key_columns, column in MENTIONS:
        for *place, said in list(_pages(store, table, *key_columns, column)):
            if pattern.search(said):
                here = [one == value for one, value in zip(key_columns, place, strict=True)]
                clean = update(table).where(*here, column == said).values({column.name: pattern.sub(ERASED, said)})
                store.apply(lambda connection, clean=clean: connection.execute(clean))  # type: ignore[misc]
    for name, state in list(_pages(store, lanes, lanes.c.destination, lanes.c.state)):
        document = bytes(state).decode("utf-8", "replace")
        if pattern.search(document):
            cleaned = update(lanes).where(lanes.c.destination == name)
            cleaned = cleaned.values(state=pattern.sub(ERASED, document).encode())
            store.apply(lambda connection, cleaned=cleaned: connection.execute(cleaned))  # type: ignore[misc]


def _rest(store: Store, connection: Connection, marks: PersonMarks, found: PersonData) -> None:
    _overwrite(store, connection)
    connection.execute(delete(people).where(_theirs(marks)))
    connection.execute(delete(identity_ties).where(_tied(marks)))
    for source, key in found.memory:
        connection.execute(delete(memory).where(memory.c.source == source, memory.c.key == key))
    if found.jobs:
        connection.execute(delete(jobs).where(jobs.c.id.in_(found.jobs)))


def remove(store: Store, connection: Connection, ids: Sequence[str]) -> None:
    """These signals with all that hangs on them, in one transaction: what they count for leaves the balance sheet with them."""
    _overwrite(store, connection)
    if store.postgresql:  # as the purge does: no repeat may come between the signal and its tombstone
        connection.execute(text(f"SELECT pg_advisory_xact_lock({PURGE_LOCK})"))
    there = list(connection.execute(select(signals.c.id).where(signals.c.id.in_(ids))).scalars())
    counted: Counter[tuple[str, str]] = Counter()
    for table in (settled, deliveries):
        rows = connection.execute(
            select(table.c.destination, table.c.channel, func.count())
            .where(table.c.signal_id.in_(there))
            .group_by(table.c.destination, table.c.channel)
        )
        for destination, channel, count in rows:
            counted[destination, channel] += count
    for (destination, channel), count in sorted(counted.items()):
        line = (tally.c.destination == destination, tally.c.channel == channel)
        connection.execute(update(tally).where(*line).values(signals=tally.c.signals - count))
    for table in (settled, deliveries, writes, attempts, repeats):
        connection.execute(delete(table).where(table.c.signal_id.in_(there)))
    connection.execute(delete(signals).where(signals.c.id.in_(there)))
    if there:
        now = store.now()
        connection.execute(insert(tombstones), [{"id": id, "at": now} for id in there])


def _overwrite(store: Store, connection: Connection) -> None:
    """SQLite: what is deleted is overwritten with zeros."""
    if not store.postgresql:
        connection.exec_driver_sql("PRAGMA secure_delete=ON")


def _pages(store: Store, table: Table, *columns: Column[Any]) -> Iterator[tuple[Any, ...]]:
    """All rows, page by page in the order of the primary key; no transaction stays open. `attempts` has none: by signal."""
    order = list(table.primary_key.columns) or [table.c.signal_id, table.c.destination, table.c.rule, table.c.at]
    after: tuple[Any, ...] | None = None
    while True:
        query = select(*columns, *order).order_by(*order).limit(PAGE)
        if after is not None:
            query = query.where(tuple_(*order) > after)
        with store.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield tuple(row[: len(columns)])
        if len(rows) < PAGE:
            return
        after = tuple(rows[-1][len(columns) :])


def _bites(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    return (list(ids[start : start + size]) for start in range(0, len(ids), size))


def _is_person(body: bytes, marks: PersonMarks, quick: bytes) -> bool:
    """Whether the signal is of this person by another of their marks (their phone, where they are known by e-mail)."""
    if quick not in body.lower():
        return False
    person = _json(body).get("person", {})
    if marks.alone:
        return marks.identity in handle_identities(person.get("handles", {}))
    return marks.needle in (str(person.get("email", "")).lower(), person.get("phone", ""))


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):  # quarantine keeps whatever was sent, be it nested beyond measure
        return body.decode("utf-8", "replace")


def _says(document: Any, pattern: re.Pattern[str], alone: str) -> bool:
    return any(_means(said, pattern, alone) for said in _strings(document))


def _means(said: str, pattern: re.Pattern[str], alone: str) -> bool:
    return bool(pattern.search(said)) or bool(alone and said == alone)


def _strings(document: Any) -> Iterator[str]:
    """Every text in it, however deep."""
    left = [document]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from map(str, one)
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)


def _texts_of(payload: bytes) -> Iterator[str]:
    """The texts in a stored payload: its own, and of a request's body what it says as text, as JSON and as a form."""
    document = _json(payload)
    yield from _strings(document)
    if isinstance(document, dict) and isinstance(document.get("body"), str):
        try:
            body = base64.b64decode(document["body"], validate=True)
        except (binascii.Error, ValueError):
            return
        said = body.decode("utf-8", "replace")
        yield from (said, unquote_plus(said))
        yield from _strings(_json(body))
