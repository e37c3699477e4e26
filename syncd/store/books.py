"""The books: per channel and destination, what came in against what became of it, to the unit.

`syncd status` and `/metrics` show them, tests hold them: signals = delivered + skipped + pending + held + dead + discarded +
unconfirmed, at any moment. One statement, so one snapshot on both databases.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, literal, select, union_all

from syncd.store.schema import deliveries, settled, switched_off, tally

if TYPE_CHECKING:
    from syncd.store.store import Store


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the balance sheet."""

    destination: str
    channel: str
    signals: int = 0
    delivered: int = 0
    skipped: int = 0
    pending: int = 0
    held: int = 0
    dead: int = 0
    discarded: int = 0
    unconfirmed: int = 0

    @property
    def accounted(self) -> int:
        return self.delivered + self.skipped + self.pending + self.held + self.dead + self.discarded + self.unconfirmed

    @property
    def balanced(self) -> bool:
        return self.signals == self.accounted


def balance(store: Store) -> list[Line]:
    """Every channel of every destination, in order. Raises StoreUnavailable."""
    statement = union_all(
        select(tally.c.destination, tally.c.channel, literal("signals").label("state"), tally.c.signals.label("count")),
        *(
            select(table.c.destination, table.c.channel, table.c.state, func.count()).group_by(
                table.c.destination, table.c.channel, table.c.state
            )
            for table in (deliveries, settled)
        ),
    )
    counts: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    with store.read() as connection:
        for destination, channel, state, count in connection.execute(statement):
            counts[destination, channel][state] = int(count)
    return [Line(key[0], key[1], **counts[key]) for key in sorted(counts) if any(counts[key].values())]


def unbalanced(lines: Iterable[Line]) -> list[Line]:
    """The lines that do not add up: there must be none, ever."""
    return [line for line in lines if not line.balanced]


def kept_out(store: Store) -> dict[tuple[str, str, str], int]:
    """(source, type, reason) -> how many the switches and `exclude` kept out."""
    with store.read() as connection:
        return {
            (row.source, row.type, row.reason): row._mapping["count"]
            for row in connection.execute(select(switched_off))
        }
