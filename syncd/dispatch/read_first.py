"""Rules that read before they write: to fill only empty fields, to add to a list, to write only if something stands there.

The round asks before each wave of writes. Promise: a field that had a value when it was read is never overwritten by
`fill:`; a record whose fields cannot be read is not written; of several writes of one record in a wave, each sees the earlier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from syncd.capabilities import KeepsLists, KnowsEditors
from syncd.connector import Write
from syncd.dispatch import lists, plan, untouched
from syncd.dispatch import outcomes as rules
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.outcomes import RetryPolicy
from syncd.dispatch.pacing import SECOND
from syncd.dispatch.plan import Work
from syncd.errors import Failure, Misconfigured, Scope, StaleReference
from syncd.store.queue import WriteRow
from syncd.texts.reasons import Reason, code_of

Pair = tuple[Work, Write]
Fields = Mapping[str, Any]
GONE = StaleReference("their record is not there any more")
NOT_SEEN = Reason("not_seen_yet")
NO_RECORD = Reason("record_gone")


class ReadFirst:
    """The reading of one round. `known_since(work)`: when the CRM last returned the record of this work's person (ms)."""

    def __init__(
        self, policy: RetryPolicy, client: DestinationClient, ledger: Ledger, known_since: Callable[[Work], int]
    ) -> None:
        self._policy = policy
        self._client = client
        self._ledger = ledger
        self._known_since = known_since

    def read(self, ready: Sequence[Pair]) -> list[Pair]:
        """Those that may go now, with what they have to write; the others are noted in their rows. Raises Paused."""
        if not any(work.draft.reads or work.draft.own_record for work, _ in ready):
            return list(ready)
        asking: dict[str, list[Pair]] = {}
        now = self._client.clock()
        for work, write in ready:
            # One that is not due waits outside: nobody has read what stands in its record.
            if work.draft.reads and work.row.due_at <= now:
                asking.setdefault(work.draft.rule, []).append((work, write))
        there = {rule: read for rule, pairs in asking.items() if (read := self._read(rule, pairs, now)) is not None}
        made: dict[int, Write] = {}
        brought: dict[tuple[str, str], dict[str, Any]] = defaultdict(
            dict
        )  # record -> what earlier writes of this wave leave
        for work, write in sorted(ready, key=lambda pair: pair[0].rank):
            if work.draft.reads:
                rows = there.get(work.draft.rule, {}) if work.row.due_at <= now else {}
                there_now = {**rows.get(write.id, {}), **brought[write.object, write.id]}
                kept = self._with(work, write, there_now) if write.id in rows else None
            else:
                kept = write
            if kept is not None:
                made[id(work)] = kept
                if work.draft.own_record:
                    brought[kept.object, kept.id].update(kept.fields, **dict.fromkeys(kept.clear))
        return [(work, made[id(work)]) for work, _ in ready if id(work) in made]

    def _read(self, rule: str, pairs: Sequence[Pair], now: int) -> Mapping[str, Fields] | None:
        """id -> what stands there; None when it could not be read. Works whose record is not there are noted."""
        object_ = pairs[0][0].draft.object
        ids = list(dict.fromkeys(write.id for _, write in pairs))
        fields = list(dict.fromkeys(name for work, _ in pairs for name in work.draft.reads))
        crm = self._client.destination
        if pairs[0][0].draft.record:
            fields += [name for work, _ in pairs for name in work.draft.fields]
            fields += crm.editor_fields(object_) if isinstance(crm, KnowsEditors) else ()
            fields = list(dict.fromkeys(fields))
        there = self._client.values(object_, ids, fields)
        if isinstance(there, Failure):
            if isinstance(there, Misconfigured) and there.scope is Scope.RULE:
                self._client.hold(rule, there)
            again_at = self._client.look_up_again_at()
            for work, _ in pairs:
                self._put(work, rules.not_looked_up(work.row, there, self._policy, now, again_at=again_at))
            return None
        self._not_there([work for work, write in pairs if write.id not in there], now)
        return there

    def _with(self, work: Work, write: Write, there: Fields) -> Write | None:
        reason = self._closed(work, there) if work.draft.record else ""
        if code_of(reason) == "done_already" and work.row.sent_at:  # by an earlier send, whose answer was lost
            self._put(work, msgspec.structs.replace(work.row, state="written", reason="", crm_id=write.id, due_at=0))
            return None
        reason = reason or plan.disagrees(work.draft, there)
        if not reason:
            edits = bool(work.draft.add or work.draft.remove)
            work.draft = plan.filled(work.draft, there)
            if edits:
                crm = self._client.destination
                assert isinstance(crm, KeepsLists)  # such a mapping is refused for any other
                work.draft = lists.with_lists(work.draft, there, crm.items)
            nothing = plan.NOTHING_CHANGES if edits else plan.NOTHING_EMPTY
            reason = "" if work.draft.sent or work.draft.clear else nothing
        if reason:
            doubt = work.draft.record and work.row.state == "doubt"  # whatever became of it: it is the user's now
            row = msgspec.structs.replace(work.row, state="pending") if doubt else work.row
            self._put(work, plan.skip(row, reason))
            return None
        return msgspec.structs.replace(write, fields=work.draft.sent)

    def _closed(self, work: Work, there: Fields) -> str:
        """Why a record is left alone although its signal is answered, "" when it is not."""
        crm = self._client.destination
        by_user = isinstance(crm, KnowsEditors) and crm.edited(there)
        return untouched.why_not(work.draft, there, by_user=by_user)

    def _not_there(self, works: Sequence[Work], now: int) -> None:
        """A record that was made a moment ago may not be shown yet. Else it was deleted, merged or converted, and their
        people are resolved again."""
        lag = round(self._client.destination.search_lag * SECOND)
        rows, stale = [], set()
        for work in works:
            changed = work.taken.writes.get(work.draft.record)
            if (changed.sent_at if changed else self._known_since(work)) > now - lag:
                self._put(work, msgspec.structs.replace(work.row, reason=NOT_SEEN, due_at=now + lag))
                continue
            if work.draft.record:
                self._put(work, plan.skip(work.row, NO_RECORD))
                continue
            work.row = rules.decide(work.row, GONE, work.keying, self._policy, now)
            rows.append((work.taken, work.row))
            stale |= {work.signal.person.identity, work.company}
            if not work.row.finished:
                rows += [(work.taken, row) for row in plan.reopened(work.taken, now)]
        if rows:
            self._ledger.answered(rows, [], stale=stale - {""})

    def _put(self, work: Work, row: WriteRow) -> None:
        work.row = row
        self._ledger.put(work.taken, row)
