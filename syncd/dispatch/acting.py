"""Rules that a user sets off: one rule of one signal, with the values that the user gave.

`syncd act` calls it, beside a running daemon or without one; the lane does the writing. Promise: the same rule with the same
values makes one record, however often it is asked for; no other rule of the signal writes anything because of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, select

from syncd.dispatch.dead_letters import busy_among, place
from syncd.dispatch.decided import decided, with_decided
from syncd.dispatch.pacing import span
from syncd.errors import UsageError
from syncd.store.queue import WRITE_COLUMNS, WriteRow, put_writes, write_row
from syncd.store.schema import settled, writes
from syncd.texts.reasons import Reason

if TYPE_CHECKING:
    from syncd.store.store import Store

IN_DOUBT = ("sending", "doubt", "unconfirmed")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a user asks for. `once`: the rule's record is made once and never changed. `others`: (id, object) of the rules that
    the signal sets off by itself."""

    destination: str
    signal_id: str
    rule: str
    object: str
    given: Mapping[str, Any]
    once: bool = False
    others: Sequence[tuple[str, str]] = ()


def act(store: Store, demand: Demand, *, live_within: timedelta) -> bool:
    """Puts the rule's write into the queue; False when it was done with these values already, or is under way. Raises UsageError
    where it cannot be done, and says why; StoreUnavailable."""
    now = store.now()

    def work(connection: Connection) -> bool:
        busy, waiting = busy_among(connection, demand.destination, [demand.signal_id], now)
        if busy:
            raise UsageError("the signal is being written at this moment; try again in a few seconds")
        ended = _ended(connection, demand)
        if ended is None and not waiting:
            raise UsageError(f"{demand.destination} does not have this signal; `syncd replay` brings it there")
        rows = _rows(connection, demand)
        before = rows.get(demand.rule)
        if before is not None and not _again(before, demand):
            return False
        row = before or WriteRow(demand.rule, "", demand.object, "")
        row = msgspec.structs.replace(row, state="pending", reason="", attempts=0, due_at=now, stale_once=False)
        row = with_decided(row, msgspec.structs.replace(decided(row), given=dict(demand.given)))
        put = {demand.rule: row}
        if not waiting:  # what the signal did not write by itself when it came is not written now
            why = ended or Reason("not_set_off")
            others = ((rule, object_) for rule, object_ in demand.others if rule not in rows)
            put |= {rule: WriteRow(rule, "", object_, "", "skipped", why) for rule, object_ in others}
        put_writes(connection, demand.destination, [(demand.signal_id, one) for one in put.values()], now)
        all_rows = {demand.signal_id: rows | put}
        place(connection, demand.destination, all_rows, waiting, now, span(live_within), False)
        return True

    return store.apply(work)


def row_of(store: Store, destination: str, signal_id: str, rule: str) -> WriteRow | None:
    """The write of a rule as it stands."""
    with store.read() as connection:
        return _rows(connection, Demand(destination, signal_id, rule, "", {})).get(rule)


def _again(row: WriteRow, demand: Demand) -> bool:
    """Whether it is to be written (again). Raises UsageError where that could make a second record."""
    same = decided(row).given == dict(demand.given)
    if row.state in IN_DOUBT:
        if same and not row.finished:
            return False
        raise UsageError(
            f"it may have been done already: {row.reason or row.state}; look in the CRM, then `syncd dead retry` or `discard`"
        )
    if same and (row.state == "written" or not row.finished):
        return False
    if row.state == "written" and demand.once:
        named = f"{row.object} {row.crm_id}".strip()
        raise UsageError(f"rule {demand.rule} has been carried out ({named}), and is carried out once")
    return True


def _rows(connection: Connection, demand: Demand) -> dict[str, WriteRow]:
    columns = [writes.c[name] for name in WRITE_COLUMNS.split(", ")]
    here = (writes.c.destination == demand.destination) & (writes.c.signal_id == demand.signal_id)
    return {row[0]: write_row(row) for row in connection.execute(select(*columns).where(here))}


def _ended(connection: Connection, demand: Demand) -> str | None:
    """Why the signal's delivery ended ("" for no special reason); None while it has not."""
    here = (settled.c.destination == demand.destination) & (settled.c.signal_id == demand.signal_id)
    found = connection.execute(select(settled.c.reason).where(here)).scalar()
    return None if found is None else str(found)
