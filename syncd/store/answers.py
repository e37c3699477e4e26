"""Which stored signals wait for an answer, and what answered the others. Nothing here writes.

`syncd signals list --unanswered` and `explain` read here; what counts as an answer decides `syncd.signals.answered_by`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Connection, select

from syncd.signal_types import ANSWERS, OPEN_TYPES
from syncd.signals import Direction, Signal, answered_by, decode_signal
from syncd.store.engine import millis
from syncd.store.identity_ties import ties_around
from syncd.store.queries import Filter, StoredSignal, latest_pages
from syncd.store.schema import signals

if TYPE_CHECKING:
    from syncd.store.store import Store

CLOCKS = timedelta(days=1)
"""A vendor's clock may be ahead of ours by so much: an answer may be received before it happened."""
_OURS = tuple(sorted({*ANSWERS, *OPEN_TYPES}))
"""Types of which a signal may be an answer: ours, and those that may have `direction: out`."""


def newest_unanswered(store: Store, wanted: Filter, limit: int = 50) -> list[StoredSignal]:
    """The last received signals that wait for an answer, the newest first."""
    return list(islice(_unanswered(store, wanted), limit))


def _unanswered(store: Store, wanted: Filter) -> Iterable[StoredSignal]:
    for page in latest_pages(store, wanted):
        waiting = [each for each in page if each.signal.type in OPEN_TYPES and each.signal.direction is Direction.IN]
        answers = answers_to(store, [each.signal for each in waiting])
        yield from (each for each in waiting if each.signal.id not in answers)


def answers_to(store: Store, asked: Sequence[Signal]) -> dict[UUID, Signal]:
    """The first answer to each of these signals (at most a page of them) that has one."""
    waiting = [one for one in asked if one.type in OPEN_TYPES and one.person.identity]
    if not waiting:
        return {}
    ours: dict[str, list[Signal]] = defaultdict(list)
    with store.read() as connection:
        known_as = _identities(connection, waiting)
        since = min(one.occurred_at for one in waiting)
        query = select(signals.c.body).where(
            signals.c.received_at >= millis(since - CLOCKS),  # of which there is an index
            signals.c.identity.in_(sorted(set().union(*known_as.values()))),
            signals.c.type.in_(_OURS),
            signals.c.occurred_at >= millis(since),
        )
        for body in connection.execute(query).scalars():
            found = decode_signal(body)
            ours[found.person.identity].append(found)
    answers: dict[UUID, Signal] = {}
    for one in waiting:
        theirs = known_as[one.id]
        answer = answered_by(one, (each for identity in theirs for each in ours[identity]), theirs)
        if answer is not None:
            answers[one.id] = answer
    return answers


def _identities(connection: Connection, asked: Sequence[Signal]) -> dict[UUID, set[str]]:
    """Every identity of who sent each signal: their own, and those that are tied to them."""
    graph = ties_around(connection, {identity for one in asked for identity in one.person.identities})
    return {one.id: set(graph.group(one.person.identities)) for one in asked}
