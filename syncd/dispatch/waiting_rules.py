"""Rules that wait for an answer (`Draft.record`): how their row stands, and when the record they would change is needless. Pure.

`plan.open_work` asks; `answered` finds the rows again when an answer comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import uuid5

import msgspec

from syncd.dispatch.decided import decided, with_decided
from syncd.mapping.model import Draft, Skipped
from syncd.mapping.reasons import NOT_ANSWERED
from syncd.signals import NAMESPACE, Signal, frame
from syncd.store.queue import WriteRow
from syncd.texts.reasons import Reason, code_of

BEFORE = Reason("answered_before")


def answer_key(identity: str) -> str:
    """The key of rows that wait until this person is answered."""
    return str(uuid5(NAMESPACE, frame("answered", identity)))


def is_waiting(row: WriteRow) -> bool:
    """Whether a row waits for an answer."""
    return row.state == "skipped" and code_of(row.reason) == "not_answered"


def row_of_waiting(
    made: Draft, rows: Mapping[str, WriteRow], others: Iterable[Draft | Skipped], signal: Signal, answer: str
) -> WriteRow | None:
    """The row of a rule that waits for an answer, as it stands now; None when it is done with. `rows`: the signal's, as they
    stood; `others`: what its rules make of it; `answer`: what answered it by now. It is pending exactly when it is to be
    written now."""
    row = rows.get(made.rule)
    if row is not None and row.finished and not is_waiting(row):
        return None
    row = row or WriteRow(made.rule, "", made.object, "")
    answer = decided(row).answer or answer
    changed = rows.get(made.record)
    no_record = changed is None or (changed.state == "skipped" and not changed.crm_id)
    if no_record and any(isinstance(one, Skipped) and one.rule == made.record for one in others):
        reason = Reason("no_linked_record", rule=made.record)
        return msgspec.structs.replace(row, state="skipped", reason=reason, due_at=0)
    if not answer:
        key = answer_key(signal.person.identity) if signal.person.identity else ""
        return msgspec.structs.replace(row, state="skipped", reason=NOT_ANSWERED, key=key, due_at=0)
    if not decided(row).answer:  # the key led to it; from here on it is a write of its own
        row = msgspec.structs.replace(row, key="", state="pending", reason="")
    return with_decided(row, msgspec.structs.replace(decided(row), answer=answer))


def is_needless(rule: str, row: WriteRow | None, made: Iterable[Draft | Skipped], answer: str) -> bool:
    """Whether a rule's record has not been sent, and a rule that would change it once the signal is answered would do so at once:
    then there is nothing left to do for whom it calls to action."""
    unsent = row is None or (not row.finished and not row.sent_at and not row.crm_id)
    return bool(answer) and unsent and any(isinstance(one, Draft) and one.record == rule for one in made)
