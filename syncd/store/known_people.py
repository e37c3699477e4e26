"""What the store knows of a person under all their identities, and an operator's word on which identities are theirs.

`syncd people` calls it. Beside a running daemon or without one: what changes is read at the next look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select

from syncd.identity.ties import Tie, tie
from syncd.store.identity_ties import set_tie, ties_around
from syncd.store.schema import anywhere, people, signals, writes

if TYPE_CHECKING:
    from syncd.store.store import Store


@dataclass(frozen=True)
class KnownPerson:
    """`identities` of one person, nearest first; `ties` of any of them, also those that do not count (`shared`: identities
    that several people use) or keep two apart; `counts`: identity -> (signals that came by it, when the last was received);
    `records`: rows of `people`. Times are UTC milliseconds."""

    identities: tuple[str, ...]
    ties: tuple[Tie, ...]
    shared: frozenset[str]
    counts: dict[str, tuple[int, int]]
    records: tuple[dict[str, Any], ...]

    @property
    def empty(self) -> bool:
        return not (self.ties or self.counts or self.records)


def known_person(store: Store, identity: str) -> KnownPerson:
    """Everything that is known of who has this identity."""
    with store.read() as connection:
        graph = ties_around(connection, [identity])
        identities = graph.group([identity])
        ties = graph.of(identities)
        counted = select(signals.c.identity, func.count(), func.max(signals.c.received_at))
        counted = counted.where(signals.c.identity.in_(identities)).group_by(signals.c.identity)
        counts = {one: (count, last) for one, count, last in connection.execute(counted)}
        query = select(people).where(people.c.identity.in_(identities))
        records = [
            dict(row) for row in connection.execute(query.order_by(people.c.destination, people.c.identity)).mappings()
        ]
    ends = {end for one in ties for end in (one.identity, one.other)}
    return KnownPerson(
        identities, tuple(ties), frozenset(end for end in ends if graph.shared(end)), counts, tuple(records)
    )


def say(store: Store, one: str, other: str, *, apart: bool) -> tuple[str, ...]:
    """Records that two identities are one person's (or, `apart`, two people's). Whoever has one of them is looked up afresh.
    Returns the identities that the first of the two is one person with now. Raises StoreUnavailable."""

    def work(connection: Connection) -> tuple[str, ...]:
        before = ties_around(connection, [one, other])
        set_tie(connection, tie(one, other, "operator", "", store.now(), apart=apart))
        after = ties_around(connection, [one, other])
        touched = {name for graph in (before, after) for start in (one, other) for name in graph.group([start])}
        gone = delete(people).where(people.c.identity.in_(sorted(touched)), people.c.state != "creating")
        connection.execute(gone)
        return after.group([one])

    return store.apply(work)


def held_signals(store: Store, identities: Sequence[str]) -> tuple[str, ...]:
    """The ids of these people's signals that have a held write."""
    query = select(signals.c.id).join(writes, writes.c.signal_id == signals.c.id).distinct()
    query = query.where(
        writes.c.destination.in_(anywhere), writes.c.state == "held", signals.c.identity.in_(identities)
    )
    with store.read() as connection:
        return tuple(sorted(connection.execute(query).scalars()))
