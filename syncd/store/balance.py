"""The balance sheet: per channel and destination, what came in against its outcome, to the unit.

`syncd status` and `/metrics` show them, tests hold them: signals = delivered + skipped + pending + held + dead + discarded +
unconfirmed, at any moment. One statement, so one snapshot on both databases.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, literal, select, union_all

from syncd.store.schema import deliveries, settled, switched_off, tally

if TYPE_CHECKING:
    from syncd.store.store import Store

LONG = 0.1
REST = 30


@dataclass(frozen=True, slots=True)
class BalanceRow:
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


def balance(store: Store) -> list[BalanceRow]:
    """Every channel of every destination, in order. Raises StoreUnavailable."""
    statement = union_all(
        select(tally.c.destination, tally.c.channel, literal("signals").label("state"), tally.c.signals.label("count")),
        *(
            select(table.c.destination, table.c.channel, table.c.state, func.count()).group_by(
                table.c.destination,
                table.c.state,
                table.c.channel,  # in the order of the index: nothing is sorted
            )
            for table in (deliveries, settled)
        ),
    )
    counts: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    with store.read() as connection:
        for destination, channel, state, count in connection.execute(statement):
            counts[destination, channel][state] = int(count)
    return [BalanceRow(key[0], key[1], **counts[key]) for key in sorted(counts) if any(counts[key].values())]


class BalanceSheet:
    """The balance sheet for whoever asks often: where counting took long, the last count is returned for REST times as
    long, so that of the time it takes at most one part in REST. Any thread may ask; `clock` counts seconds."""

    def __init__(self, count: Callable[[], list[BalanceRow]], clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._asked = threading.Lock()
        self._lines: list[BalanceRow] = []
        self._counted_at = self._until = -math.inf

    def lines(self) -> list[BalanceRow]:
        """What `balance` says, or said lately. Raises StoreUnavailable."""
        with self._asked:
            began = self._clock()
            if began >= self._until:
                self._lines = self._count()
                took = self._clock() - began
                self._counted_at, self._until = began, began + (REST * took if took > LONG else 0.0)
            return self._lines

    @property
    def age(self) -> float:
        """Seconds since what `lines` gave last was counted."""
        return max(0.0, self._clock() - self._counted_at) if self._counted_at > -math.inf else 0.0


def unbalanced(lines: Iterable[BalanceRow]) -> list[BalanceRow]:
    """The lines that do not add up: there must be none, ever."""
    return [line for line in lines if not line.balanced]


def kept_out(store: Store) -> dict[tuple[str, str, str], int]:
    """(source, type, reason) -> how many the switches and `exclude` filtered."""
    with store.read() as connection:
        return {
            (row.source, row.type, row.reason): row._mapping["count"]
            for row in connection.execute(select(switched_off))
        }
