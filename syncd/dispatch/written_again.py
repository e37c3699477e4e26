"""Which finished writes are made again because their signal was counted up (`Signal.repeat`). Pure: `plan.open_work` and the
sender ask."""

from __future__ import annotations

import msgspec

from syncd.connector import WriteKind
from syncd.dispatch.decided import decided
from syncd.mapping.model import Draft
from syncd.signals import Signal
from syncd.store.queue import REPEATED, WriteRow
from syncd.texts.reasons import code_of


def written_again(row: WriteRow, draft: Draft, now: int) -> WriteRow | None:
    """The row as it is written again, under its key, so that the record that exists is updated; None: it stays as it is. What is
    made once is not made twice, no owner is given a second time, and what a user set off is the user's. A rule whose condition
    did not hold may make its record now."""
    if code_of(row.reason) == "when" if row.state == "skipped" else _is_repeatable(row, draft):
        return msgspec.structs.replace(row, state="pending", reason=REPEATED, attempts=0, due_at=now, stale_once=False)
    return None


def made_before(row: WriteRow, draft: Draft, signal: Signal, now: int) -> WriteRow:
    """The row of a record that an earlier send made, whose answer was lost. It may show an earlier count, so it is written once
    more, by its id. A record of a single event, and one that is made once, stays as it is."""
    if row.state != "written" or not row.crm_id or signal.times == 1 or draft.verb.once:
        return row
    return msgspec.structs.replace(row, state="pending", reason=REPEATED, due_at=now)


def _is_repeatable(row: WriteRow, draft: Draft) -> bool:
    if row.state != "written" or draft.verb.once or row.kind == WriteKind.AT_MOST_ONCE:
        return False
    if row.kind == WriteKind.FINDABLE and not row.crm_id:  # would be inserted, not updated
        return False
    return not (draft.own_record and draft.owner is not None) and decided(row).given is None
