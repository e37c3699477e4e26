"""Events that the store has under the id of an earlier version keep that id. Polls, backfills and verifications ask for it.

A connector that derives its ids differently says what they were (`Batch.formerly`). No former id is written any more, so what is
found here does not depend on who else writes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from msgspec import structs
from sqlalchemy import select

from syncd.connector import Batch, FormerId
from syncd.store import Store
from syncd.store.engine import millis
from syncd.store.schema import signals, tombstones

_IN_CHUNK = 500


def with_former_ids(batch: Batch, store: Store) -> Batch:
    """The batch, its signals under their former ids where the store has those: the same event comes again. One that was purged
    counts as the same: nothing is left to compare."""
    if not batch.formerly:
        return batch
    happened = _happened(store, [str(former.id) for former in batch.formerly.values()])
    kept = {now: former.id for now, former in batch.formerly.items() if _is_same(former, happened)}
    if not kept:
        return batch
    return replace(
        batch,
        signals=[
            structs.replace(signal, id=kept[signal.id]) if signal.id in kept else signal for signal in batch.signals
        ],
    )


def _is_same(former: FormerId, happened: dict[str, int | None]) -> bool:
    if str(former.id) not in happened:
        return False
    stored = happened[str(former.id)]
    return stored is None or former.occurred_at is None or stored // 1000 == _seconds(former.occurred_at)


def _seconds(moment: datetime) -> int:
    return millis(moment) // 1000


def _happened(store: Store, ids: list[str]) -> dict[str, int | None]:
    """Id -> when it happened, None for one that was purged; without those that the store never had."""
    found: dict[str, int | None] = {}
    with store.read() as connection:
        for start in range(0, len(ids), _IN_CHUNK):
            chunk = ids[start : start + _IN_CHUNK]
            found.update(
                dict.fromkeys(connection.execute(select(tombstones.c.id).where(tombstones.c.id.in_(chunk))).scalars())
            )
            query = select(signals.c.id, signals.c.occurred_at).where(signals.c.id.in_(chunk))
            found.update({row.id: row.occurred_at for row in connection.execute(query)})
    return found
