"""Sends the writes of a round: in their order per record, merged where several signals write one, looked up where in doubt.

The round hands in writes whose links are known. Promise: a row's answer settles that row; of writes that were refused as
one only the bad one suffers.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from syncd.capabilities import KnowsRoles
from syncd.connector import Call, Link, Outcome, Write, WriteKind, Written
from syncd.dispatch import conversions, plan
from syncd.dispatch import outcomes as rules
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.outcomes import RetryPolicy
from syncd.dispatch.pacing import SECOND
from syncd.dispatch.plan import Work
from syncd.dispatch.written_again import made_before
from syncd.errors import Failure, Misconfigured, Rejected, Scope, StaleReference
from syncd.mapping.model import About
from syncd.runtime import crashpoints
from syncd.store import queue
from syncd.store.queue import WriteRow
from syncd.store.store import Store
from syncd.texts.reasons import Reason

Pair = tuple[Work, Write]
LOOK_AGAIN = 30 * SECOND
"""When a look-up by key fails, its writes wait this long."""


class Sender:
    """The sending half of one round."""

    def __init__(self, policy: RetryPolicy, store: Store, client: DestinationClient, ledger: Ledger) -> None:
        self._policy = policy
        self._store = store
        self._client = client
        self._ledger = ledger
        self._riders: dict[str, list[list[Work]]] = {}  # key -> the works behind each write of it, in sending order
        self._links: dict[tuple[str, str], dict[str, Link]] = {}  # of the writes that were merged
        self._chains: dict[str, list[Work]] = {}  # key -> those that go singly, when the one before them is done
        self.converted: list[conversions.Followed] = []
        crm = client.destination
        self._role_of = crm.role_of if isinstance(crm, KnowsRoles) else lambda object: "contact"

    def send(self, ready: Sequence[Pair]) -> None:
        """Sends what may go now. Raises Paused with the rest unsent."""
        writes: list[Write] = []
        for group in self._looked_up(self._ordered(ready)):
            if len(group) > 1:
                self._links.update({(work.row.rule, work.taken.signal_id): write.links for work, write in group})
            one = rules.merged([write for _, write in group])
            self._riders.setdefault(one.key, []).append([work for work, _ in group])
            writes.append(one)
        if writes:
            self._client.send(
                writes,
                before=self._before,
                after=self._after,
                rule_of=self._rule_of,
                refused=self._refused,
                once=self._once,
            )

    def admitted(self, ready: Sequence[Pair]) -> list[Pair]:
        """Those whose object's writes are not resting after failed calls; the others wait until then. While it is not known
        whether it answers again, one record goes and the others stay as they are."""
        now, endpoints = self._client.clock(), self._client.endpoints
        admitted: list[Pair] = []
        first: dict[str, str] = {}
        for work, write in ready:
            until = endpoints.rests_until(write.object, now)
            if until:
                code = "limited" if endpoints.limits([write], now) else "calls_fail"
                due, reason = max(work.row.due_at, until), Reason(code, cause=endpoints.reason(write.object))
                self._put(work, msgspec.structs.replace(work.row, due_at=due, reason=reason))
                continue
            one_by_one = endpoints.probing(write.object) or (
                endpoints.failing(write.object) and work.keying.kind is WriteKind.AT_MOST_ONCE
            )
            if not one_by_one or work.row.due_at > now or first.setdefault(write.object, write.key) == write.key:
                admitted.append((work, write))
        return admitted

    def _once(self, write: Write) -> bool:
        return self._riders[write.key][0][0].keying.kind is WriteKind.AT_MOST_ONCE

    def _rule_of(self, write: Write) -> str:
        return self._riders[write.key][0][0].draft.rule

    # ---------------------------------------------------------------------------------------------------------- order

    def _ordered(self, ready: Sequence[Pair]) -> list[list[Pair]]:
        """Groups of writes of one record that go as one; what has to wait, or came too late, is noted in its row."""
        now = self._client.clock()
        shared = [work for work, _ in ready if work.draft.about is not About.SIGNAL]
        groups = [[pair] for pair in ready if pair[0].draft.about is About.SIGNAL]
        if not shared:
            return groups
        made = {id(work): write for work, write in ready}
        with self._store.read() as connection:
            others = queue.siblings(connection, self._client.name, {work.row.key for work in shared})
        per_key: dict[str, list[queue.Sibling]] = {}
        for one in others:
            per_key.setdefault(one.key, []).append(one)
        for key, works in plan.by_key(shared).items():
            before = {id(work): work.row for work in works}
            goes = plan.in_order(works, per_key.get(key, ()), now)
            for work in works:
                if work.row is not before[id(work)]:
                    self._ledger.put(work.taken, work.row)
            if goes:
                groups.append([(work, _of_sibling(work, made[id(work)])) for work in goes])
        return groups

    # ----------------------------------------------------------------------------------------------------- look first

    def _looked_up(self, groups: Sequence[Sequence[Pair]]) -> list[list[Pair]]:
        """The groups still to be sent, after those that must be looked up by key have been."""
        asks: dict[tuple[str, str], list[Write]] = {}
        for group in groups:
            for work, write in group:
                if plan.look_up_first(work, write):
                    asks.setdefault((write.object, write.key_field), []).append(write)
        found: dict[str, str | Failure] = {}
        for (object_, field), writes in asks.items():
            answer = self._client.find(object_, field, writes)
            keys = (write.key for write in writes)
            found.update(dict.fromkeys(keys, answer) if isinstance(answer, Failure) else answer)
        return [kept for group in groups if (kept := self._judged(group, found))]

    def _judged(self, group: Sequence[Pair], found: dict[str, str | Failure]) -> list[Pair]:
        now = self._client.clock()
        go: list[Pair] = []
        for work, write in group:
            asked, hit = plan.look_up_first(work, write), found.get(write.key, "")
            if asked and isinstance(hit, Failure):  # nobody knows whether it is there: nothing of this record goes
                self._not_looked_up([one for one, _ in group if not one.row.finished], hit, now)
                return []
            crm_id = hit if isinstance(hit, str) else ""
            if work.row.state == "doubt":
                self._put(work, self._doubt_over(work, write, crm_id if asked else None, now))
            elif asked and crm_id and work.keying.kind is WriteKind.AT_MOST_ONCE:
                self._put(work, msgspec.structs.replace(work.row, state="written", crm_id=crm_id, due_at=0))
            if not work.row.finished:
                go.append((work, msgspec.structs.replace(write, id=crm_id) if crm_id and not write.id else write))
        due = max((work.row.due_at for work, _ in go), default=0)
        if due <= now:
            return go
        for work, _ in go:  # what goes as one waits as one
            self._put(work, msgspec.structs.replace(work.row, due_at=due))
        return []

    def _doubt_over(self, work: Work, write: Write, found: str | None, now: int) -> WriteRow:
        if found is None and not write.id and work.keying.kind is WriteKind.FINDABLE:
            reason = Reason("maybe_done_without_key", cause=work.row.reason)
            return msgspec.structs.replace(work.row, state="unconfirmed", reason=reason, due_at=0)
        return made_before(rules.doubt_over(work.row, found, self._policy, now), work.draft, work.signal, now)

    def _not_looked_up(self, works: Sequence[Work], failure: Failure, now: int) -> None:
        due = max(now + LOOK_AGAIN, self._client.endpoints.rests_until("find", now))
        for work in works:
            reason = Reason("cannot_look_up", cause=rules.describe(failure))
            self._put(work, msgspec.structs.replace(work.row, reason=reason, due_at=due))

    # ---------------------------------------------------------------------------------------------- before and after

    def _before(self, call: Call) -> None:
        now = self._client.clock()
        leaving = []
        for write in call.writes:
            for work in self._riders[write.key][0]:
                work.sent_before = work.row.sent_at
                work.row = msgspec.structs.replace(
                    work.row, state="sending", sent_at=now, due_at=now, crm_id=write.id, kind=work.keying.kind.value
                )
                leaving.append((work.taken, work.row))
        self._ledger.leaving(leaving)

    def _refused(self, call: Call, failure: Failure) -> None:
        """The whole call was refused, and goes again in pieces: nothing of it is under way any more."""
        now = self._client.clock()
        for write in call.writes:
            self._not_sent(self._riders[write.key][0], failure, now)

    def _not_sent(self, works: Sequence[Work], failure: Failure, now: int) -> None:
        for work in works:
            reason, sent_at = rules.describe(failure), work.sent_before
            row = msgspec.structs.replace(work.row, state="pending", due_at=now, reason=reason, sent_at=sent_at)
            self._put(work, row)

    def _after(self, call: Call, outcomes: list[Outcome]) -> Sequence[Sequence[Write]]:
        crashpoints.point("after_send")
        now = self._client.clock()
        rows, attempts, again, stale = [], [], [], set()
        converted: list[conversions.Followed] = []
        for write, outcome in zip(call.writes, outcomes, strict=True):
            works = self._riders[write.key].pop(0)
            if len(works) > 1 and isinstance(outcome, (Rejected, StaleReference)):
                self._not_sent(works, outcome, now)
                again.append([self._begin_chain(works, write)])
                continue
            if isinstance(outcome, Misconfigured) and outcome.scope is Scope.RULE:
                self._client.hold(works[0].draft.rule, outcome)
            if (now_is := conversions.followed(write, outcome, self._role_of)) is not None:
                converted.append(now_is)
            if conversions.asks_again(write, outcome):
                stale |= {work.signal.person.identity for work in works}
            for work in works:
                keying = conversions.keying_of_answer(work, write, outcome)
                again_at = self._client.spared(write)
                work.row = rules.decide(work.row, outcome, keying, self._policy, now, again_at=again_at)
                work.row = conversions.with_also(work.row, outcome)
                if keying.kind is WriteKind.UNIQUE and isinstance(outcome, Written) and outcome.created is False:
                    work.row = made_before(work.row, work.draft, work.signal, now)
            together = max(work.row.due_at for work in works)  # what was sent as one is sent again as one
            for work in works:
                if not work.row.finished:
                    work.row = msgspec.structs.replace(work.row, due_at=together)
                rows.append((work.taken, work.row))
                attempts.append(rules.attempt(work.taken.signal_id, work.row.rule, outcome, now))
                if isinstance(outcome, StaleReference):
                    stale |= {work.signal.person.identity, work.company}
                    if work.draft.own_record and not work.row.finished:
                        rows += [(work.taken, row) for row in plan.reopened(work.taken, now)]
            if write.key in self._chains:
                again.extend(self._next_of_chain(works[-1], write))
        self._ledger.answered(rows, attempts, stale=stale - {""}, converted=converted)
        self.converted += converted
        return again

    def _begin_chain(self, works: Sequence[Work], merged: Write) -> Write:
        """A record's writes that were refused as one go again singly, in their order. If they were sent before, the latest
        may be there already: then it goes alone, and the others wait for what becomes of it."""
        if any(work.sent_before for work in works):
            for work in works[:-1]:
                self._put(work, msgspec.structs.replace(work.row, due_at=self._client.clock() + SECOND))
            works = works[-1:]
        self._chains[merged.key] = list(works[1:])
        return self._single(works[0], merged, merged.id)

    def _next_of_chain(self, last: Work, write: Write) -> list[list[Write]]:
        rest = self._chains.pop(write.key)
        if not rest:
            return []
        if not last.row.finished:  # in their order: the others wait with it
            for work in rest:
                due = max(last.row.due_at, self._client.clock() + SECOND)
                self._put(work, msgspec.structs.replace(work.row, due_at=due))
            return []
        self._chains[write.key] = rest[1:]
        return [[self._single(rest[0], write, last.row.crm_id if last.row.state == "written" else write.id)]]

    def _single(self, work: Work, like: Write, crm_id: str) -> Write:
        self._riders[like.key].append([work])
        draft = work.draft
        links = self._links[work.row.rule, work.taken.signal_id]
        return msgspec.structs.replace(
            like,
            fields=draft.sent,
            on_create=draft.on_create,
            clear=draft.clear,
            links=links,
            id=crm_id,
            observation=draft.observation,
        )

    def _put(self, work: Work, row: WriteRow) -> None:
        work.row = row
        self._ledger.put(work.taken, row)


def _of_sibling(work: Work, write: Write) -> Write:
    """The write with the id that the record has by now; a person's own record is known by theirs."""
    return write if work.draft.own_record else msgspec.structs.replace(write, id=work.row.crm_id)
