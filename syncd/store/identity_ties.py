"""The table of ties between identities: read around some of them, recorded by lanes, set by operators.

What ties mean is decided by `syncd.identity.ties`. Callers bring their own transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from syncd.identity.ties import Tie, TieGraph
from syncd.signals import Person, decode_signal
from syncd.store.queue import among, sql

HOPS = 4
"""A tied identity's ties are followed so far: a group of people is small, and each hop is one query."""

_COLUMNS = "identity, other, via, evidence, at, seen_at, apart"
_SEEN = f"""INSERT INTO identity_ties ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (identity, other) DO UPDATE SET seen_at = excluded.seen_at"""  # noqa: S608  no value is in the text
_SET = f"""INSERT INTO identity_ties ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (identity, other) DO UPDATE SET via = excluded.via, evidence = excluded.evidence, at = excluded.at,
    seen_at = excluded.seen_at, apart = excluded.apart"""  # noqa: S608  no value is in the text


def ties_around(connection: Connection, identities: Iterable[str]) -> TieGraph:
    """The ties of these identities and of those they are tied to. One query when there are none."""
    found: dict[tuple[str, str], Tie] = {}
    loaded: set[str] = set()
    edge = set(identities)
    for _ in range(HOPS):
        if not edge:
            break
        found.update({(one.identity, one.other): one for one in _touching(connection, sorted(edge))})
        loaded |= edge
        graph = TieGraph(found.values(), loaded)
        # A number that hundreds of people share leads to nobody: their ties are not read.
        edge = {other for one in edge if not graph.shared(one) for other in graph.around(one)} - loaded
    return TieGraph(found.values(), loaded)


def _touching(connection: Connection, identities: Sequence[str]) -> list[Tie]:
    one, wanted = among(connection, "identity", identities)
    other, _ = among(connection, "other", identities)
    text = f"""SELECT {_COLUMNS} FROM identity_ties WHERE {one}
        UNION SELECT {_COLUMNS} FROM identity_ties WHERE {other}"""  # noqa: S608  no value is in the text
    rows = connection.exec_driver_sql(sql(connection, text), (wanted, wanted))
    return [
        Tie(one, other, via, evidence, at, seen_at, bool(apart))
        for one, other, via, evidence, at, seen_at, apart in rows
    ]


def people_of_signals(connection: Connection, ids: Iterable[str]) -> dict[str, Person]:
    """Signal id -> its person, of those signals that are still kept."""
    where, wanted = among(connection, "id", sorted(ids))
    rows = connection.exec_driver_sql(sql(connection, f"SELECT id, body FROM signals WHERE {where}"), (wanted,))  # noqa: S608  no value is in the text
    return {str(id_): decode_signal(body).person for id_, body in rows}


def put_ties(connection: Connection, ties: Iterable[Tie]) -> None:
    """Records what was seen together. What is known already, or was set by an operator, stays; it is noted as seen."""
    _write(connection, _SEEN, ties)


def set_tie(connection: Connection, tie: Tie) -> None:
    """Records what an operator says, in place of whatever was known."""
    _write(connection, _SET, [tie])


def _write(connection: Connection, text: str, ties: Iterable[Tie]) -> None:
    rows = [(t.identity, t.other, t.via, t.evidence[:300], t.at, t.seen_at, t.apart) for t in ties]
    if rows:
        connection.exec_driver_sql(sql(connection, text), sorted(rows))
