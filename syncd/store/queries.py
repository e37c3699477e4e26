"""Looking at signals: lists with filters, one with everything known of it, and following what comes in.

`syncd signals`, `explain`, `replay` and the feed read here. Nothing here writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Table, exists, func, or_, select, tuple_, union

from syncd.signals import Signal, decode_signal, normal_email
from syncd.store.engine import millis
from syncd.store.schema import anywhere, attempts, deliveries, people, receipts, settled, signals, writes

if TYPE_CHECKING:
    from syncd.store.store import Store

PAGE = 500
LATE = timedelta(seconds=60)
"""A commit may come this much later than the time in its row: `tail` looks back that far."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which signals. Times are about `occurred_at`, `until` excluded. `type` and `channel` may hold `*`. `person`: an
    e-mail address or E.164 number, whole; `ids`: only these signals (None: all), as `syncd.store.person_search` finds them for
    whatever was typed. `state`: of any delivery (or at `destination`): pending, held, delivered, skipped, dead,
    discarded, unconfirmed. `id`: one signal, or the beginning of its id."""

    since: datetime | None = None
    until: datetime | None = None
    channel: str = ""
    type: str = ""
    person: str = ""
    source: str = ""
    state: str = ""
    destination: str = ""
    id: str = ""
    ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """A signal with the state of its deliveries: destination -> (state, reason)."""

    signal: Signal
    states: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything known of one signal; rows as dicts of their columns, times in UTC milliseconds."""

    signal: Signal
    deliveries: list[dict[str, Any]]
    settled: list[dict[str, Any]]
    writes: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    people: list[dict[str, Any]]


def newest(store: Store, wanted: Filter, limit: int = 50) -> list[StoredSignal]:
    """The last ones received, the newest first."""
    query = _query(wanted).order_by(signals.c.received_at.desc(), signals.c.id.desc()).limit(limit)
    with store.read() as connection:
        found = [decode_signal(body) for body in connection.execute(query).scalars()]
        return _with_states(connection, found)


def every(store: Store, wanted: Filter) -> Iterator[StoredSignal]:
    """All of them in the order received, read page by page: memory stays flat, no transaction stays open."""
    after = (-1, "")
    while True:
        query = _query(wanted).add_columns(signals.c.received_at, signals.c.id)
        query = query.where(tuple_(signals.c.received_at, signals.c.id) > after)
        with store.read() as connection:
            rows = connection.execute(query.order_by(signals.c.received_at, signals.c.id).limit(PAGE)).all()
            page = _with_states(connection, [decode_signal(row.body) for row in rows])
        yield from page
        if len(rows) < PAGE:
            return
        after = (rows[-1].received_at, rows[-1].id)


def latest_pages(store: Store, wanted: Filter) -> Iterator[list[StoredSignal]]:
    """All of them, the newest received first, page by page."""
    before: tuple[int, str] | None = None
    while True:
        query = _query(wanted).add_columns(signals.c.received_at, signals.c.id)
        if before is not None:
            query = query.where(tuple_(signals.c.received_at, signals.c.id) < before)
        with store.read() as connection:
            order = (signals.c.received_at.desc(), signals.c.id.desc())
            rows = connection.execute(query.order_by(*order).limit(PAGE)).all()
            page = _with_states(connection, [decode_signal(row.body) for row in rows])
        yield page
        if len(rows) < PAGE:
            return
        before = (rows[-1].received_at, rows[-1].id)


def count(store: Store, wanted: Filter) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(_query(wanted).subquery())).scalar_one())


def sources_of(store: Store) -> list[str]:
    """The names of the sources that anything stored came from, also of those that are not configured any more."""
    with store.read() as connection:
        named = union(select(signals.c.source), select(receipts.c.source))
        return sorted(connection.execute(named).scalars())


def get(store: Store, id: str) -> Signal | None:
    """One signal by its whole id."""
    with store.read() as connection:
        body = connection.execute(select(signals.c.body).where(signals.c.id == id)).scalar()
    return None if body is None else decode_signal(body)


def explain(store: Store, id: str) -> Explained | None:
    """One signal by its whole id with its outcome; None if it is not there."""
    with store.read() as connection:
        body = connection.execute(select(signals.c.body).where(signals.c.id == id)).scalar()
        if body is None:
            return None
        signal = decode_signal(body)

        def rows(table: Table, *order: Any) -> list[dict[str, Any]]:
            query = select(table).where(table.c.signal_id == id, table.c.destination.in_(anywhere)).order_by(*order)
            return [dict(row) for row in connection.execute(query).mappings()]

        known: list[dict[str, Any]] = []
        if identities := signal.person.identities:
            query = select(people).where(people.c.identity.in_(identities)).order_by(people.c.destination)
            known = [dict(row) for row in connection.execute(query).mappings()]
        return Explained(
            signal,
            rows(deliveries, deliveries.c.destination),
            rows(settled, settled.c.destination),
            rows(writes, writes.c.destination, writes.c.rule),
            rows(attempts, attempts.c.at, attempts.c.destination, attempts.c.rule),
            known,
        )


class Tail:
    """Follows what comes in: each call of `new` gives what was committed since the last one, once."""

    def __init__(self, store: Store, wanted: Filter, since: datetime) -> None:
        self._store = store
        self._wanted = wanted
        self._from = since
        self._mark = since
        self._seen: dict[str, datetime] = {}

    def new(self) -> list[StoredSignal]:
        """In the order received. Raises StoreUnavailable."""
        look_from = max(self._from, self._mark - LATE)
        query = _query(self._wanted).where(signals.c.received_at >= millis(look_from))
        with self._store.read() as connection:
            bodies = connection.execute(query.order_by(signals.c.received_at, signals.c.id)).scalars()
            found = [signal for body in bodies if str((signal := decode_signal(body)).id) not in self._seen]
            page = _with_states(connection, found)
        for signal in found:
            self._mark = max(self._mark, signal.received_at)
            self._seen[str(signal.id)] = signal.received_at
        self._seen = {id: at for id, at in self._seen.items() if at >= self._mark - LATE}
        return page


def ids(wanted: Filter) -> Select[Any]:
    """The ids of these signals, as a part of another query."""
    return _query(wanted).with_only_columns(signals.c.id)


def _query(wanted: Filter) -> Select[Any]:
    query: Select[Any] = select(signals.c.body)
    if wanted.since:
        query = query.where(signals.c.occurred_at >= millis(wanted.since))
    if wanted.until:
        query = query.where(signals.c.occurred_at < millis(wanted.until))
    for column, pattern in ((signals.c.type, wanted.type), (signals.c.channel, wanted.channel)):
        if "*" in pattern:
            query = query.where(column.like(_like(pattern).replace("*", "%"), escape="\\"))
        elif pattern:
            query = query.where(column == pattern)
    if wanted.source:
        query = query.where(signals.c.source == wanted.source)
    if wanted.id:
        query = query.where(signals.c.id.like(_like(wanted.id.lower()) + "%", escape="\\"))
    if wanted.person:
        query = query.where(_is_person(wanted.person))
    if wanted.ids is not None:
        query = query.where(or_(*(signals.c.id.in_(chunk) for chunk in _chunks(wanted.ids))))
    if wanted.state or wanted.destination:
        query = query.where(or_(*(_has_state(table, wanted) for table in (deliveries, settled))))
    return query


def _chunks(ids: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)] or [()]


def _like(text: str) -> str:
    return re.sub(r"([%_\\])", r"\\\1", text)


def _is_person(person: str) -> Any:
    return signals.c.identity == (f"email:{whole}" if (whole := normal_email(person)) else f"phone:{person}")


def _has_state(table: Table, wanted: Filter) -> Any:
    query = exists().where(table.c.signal_id == signals.c.id)
    if wanted.state:
        query = query.where(table.c.state == wanted.state)
    return query.where(table.c.destination == wanted.destination) if wanted.destination else query


def _with_states(connection: Any, found: list[Signal]) -> list[StoredSignal]:
    states: dict[str, dict[str, tuple[str, str]]] = {str(signal.id): {} for signal in found}
    ids = list(states)
    for start in range(0, len(ids), PAGE):
        for table in (settled, deliveries):
            columns = (table.c.signal_id, table.c.destination, table.c.state, table.c.reason)
            rows = connection.execute(select(*columns).where(table.c.signal_id.in_(ids[start : start + PAGE])))
            for id, destination, state, reason in rows:
                states[id][destination] = (state, reason)
    return [StoredSignal(signal, states[str(signal.id)]) for signal in found]
