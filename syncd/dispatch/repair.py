"""Mends what a verification found between the store and a CRM: written again by its own key, settled, or its id corrected.

`syncd.dispatch.verification` calls it for `verify --fix`. Promise: nothing is doubled (what is made again goes the normal way
and is looked up first), the balance sheet stays balanced, and a delivery that a lane is working on is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from syncd.dispatch.compare import MENDED, KeyedRecord, RecordVerdict
from syncd.dispatch.dead_letters import BITE, rework
from syncd.dispatch.pacing import span
from syncd.store.queue import WriteRow, among, sql
from syncd.store.schema import writes
from syncd.store.store import Store
from syncd.texts.reasons import Reason

AGAIN = Reason("missing_in_crm")


@dataclass
class _Mender:
    """What becomes of each write of these keys. `touched`: keys of which a write was changed."""

    wanted: Mapping[str, tuple[RecordVerdict, str]]
    now: int
    touched: set[str] = field(default_factory=set)

    def __call__(self, row: WriteRow) -> WriteRow | None:
        verdict, id = self.wanted.get(row.key, (None, ""))
        changed = _mended(row, verdict, id, self.now) if verdict is not None else None
        if changed is not None:
            self.touched.add(row.key)
        return changed


def _mended(row: WriteRow, verdict: RecordVerdict, id: str, now: int) -> WriteRow | None:
    put = msgspec.structs.replace
    if verdict is RecordVerdict.MISSING and row.state == "written":
        return put(row, state="pending", reason=AGAIN, crm_id="", attempts=0, sent_at=0, due_at=now, stale_once=False)
    if verdict is RecordVerdict.OTHER_ID and row.state == "written":
        return put(row, crm_id=id)
    if verdict is RecordVerdict.THERE and row.state == "unconfirmed":
        return put(row, state="written", reason="", crm_id=id, due_at=0)
    return None


def mend(
    store: Store,
    destination: str,
    amiss: Sequence[tuple[KeyedRecord, RecordVerdict, tuple[str, ...]]],
    *,
    live_within: timedelta,
    now: int | None = None,
) -> set[str]:
    """Mends what can be; the keys of what was. All writes of a missing record are made again, in their order: it is what
    they made together. A signal is live as it was at first, since what is made again is what it had made. Raises
    StoreUnavailable; repairs made until then stay, and a repeat does the rest."""
    at = store.now() if now is None else now
    wanted = {record.key: (verdict, ids[0] if ids else "") for record, verdict, ids in amiss if verdict in MENDED}
    if not wanted:
        return set()
    with store.read() as connection:
        where, keys = among(connection, "key", wanted)
        text = f"SELECT DISTINCT signal_id FROM {writes.name} WHERE destination = ? AND {where} ORDER BY signal_id"  # noqa: S608
        found = [row[0] for row in connection.exec_driver_sql(sql(connection, text), (destination, keys))]
    mender = _Mender(wanted, at)
    for start in range(0, len(found), BITE):
        bite = found[start : start + BITE]
        rework(store, destination, bite, mender, at, span(live_within), old=True)
    return mender.touched
