"""Who is who in the CRM: the cache, one bulk look-up for all who are not in it, and records for strangers.

A round of a lane asks once for all people of its batch. Promise: a stranger is created once, whatever dies in between:
that they are being created is committed before it is sent, and who is in doubt is looked up before they are created again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from syncd import crashpoints
from syncd.connector import Call, Found, Outcome, Wanted, Write
from syncd.dispatch import outcomes as rules
from syncd.dispatch.calls import Caller
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.plan import PEOPLE_CREATE, as_found, person_key
from syncd.errors import Failure, Misconfigured, Rejected, Scope
from syncd.mapping.model import CompiledMapping, Draft, Stranger
from syncd.pacing import HOUR, SECOND
from syncd.signals import Signal
from syncd.store.lanes import PersonRow, put_people
from syncd.store.lanes import people as kept_people
from syncd.store.queue import Taken, WriteRow
from syncd.store.store import Store

if TYPE_CHECKING:
    from syncd.connector import Keying
    from syncd.dispatch.outcomes import Law

KNOWN_FOR = 7 * 24 * HOUR
"""A person found is believed this long; that they were deleted, merged or converted shows earlier, as a StaleReference."""
NOBODY_FOR = HOUR
"""That somebody is nobody is believed this long where that only skips or holds their signals."""
NOBODY_TO_CREATE = 10 * 60 * SECOND
"""And this long where they would be created: whoever enters them by hand meanwhile would have them twice."""
DEAL_FOR = HOUR
REJECTED_FOR = HOUR
"""A person whom the CRM refused is tried again after this, or after a reload."""
AS = "as "
"""`reason` of somebody who is created under another identity of theirs starts so."""


@dataclass(slots=True)
class Need:
    """One person of a batch, with the deliveries that need them (and their signals), in order."""

    identity: str
    asked: list[tuple[Taken, Signal]] = field(default_factory=list)
    deals: bool = False
    row: PersonRow | None = None
    failure: Failure | None = None
    fresh: bool = False  # asked of the CRM in this round

    @property
    def found(self) -> Found | None:
        return as_found(self.row)

    def waits(self, now: int) -> int:
        """Until when their record is being made, 0 if it is not (any more)."""
        row = self.row
        return row.checked_at if row is not None and row.state == "creating" and row.checked_at > now else 0

    @property
    def nobody(self) -> bool:
        """Whether the CRM said, now or shortly before, that it has no record of them: one may be created."""
        told = self.fresh or (self.row is not None and self.row.state == "known")
        return told and self.failure is None and self.found is None and not self.refused

    @property
    def refused(self) -> str:
        """Why the CRM has no record of them and will not take one."""
        return self.row.reason if self.row is not None and self.row.state == "rejected" else ""


@dataclass(slots=True)
class Newcomer:
    """A stranger to create, under one or several identities; `brought`: the delivery that brought them."""

    leader: str
    needs: list[Need]
    brought: Taken
    draft: Draft
    write: Write


def look_up(needs: Sequence[Need], mapping: CompiledMapping, caller: Caller, store: Store, now: int) -> None:
    """Fills in what is known of everybody, asking the CRM once for all whom the cache does not know well enough. Raises
    Paused; a look-up that failed is at `Need.failure`."""
    if not needs:
        return
    with store.read() as connection:
        cached = kept_people(connection, caller.name, [need.identity for need in needs])
    for need in needs:
        need.row = cached.get(need.identity)
    ask = [need for need in needs if not _believed(need, mapping, now)]
    caller.meter.looked_up(caller.name, len(needs) - len(ask), len(ask))
    wanted = [Wanted(need.identity, mapping.lookups(need.asked[0][1].person)) for need in ask]
    answers = caller.resolve(wanted, deals=any(need.deals for need in ask)) if ask else []
    learnt: list[PersonRow] = []
    for need, answer in zip(ask, answers, strict=True):
        need.fresh = not isinstance(answer, Failure)
        row = _learnt(need, answer, now)
        if row is not None:
            need.row = row
            learnt.append(row)
    if learnt:
        store.apply(lambda connection: put_people(connection, caller.name, learnt))


def _believed(need: Need, mapping: CompiledMapping, now: int) -> bool:
    row = need.row
    if row is None:
        return False
    age = now - row.checked_at
    if row.state == "creating":
        return row.checked_at > now
    if row.state == "rejected":
        return age < REJECTED_FOR
    if not row.object:
        return age < (NOBODY_TO_CREATE if any(creates(mapping, signal) for _, signal in need.asked) else NOBODY_FOR)
    return age < KNOWN_FOR and (not need.deals or (row.open_deal is not None and age < DEAL_FOR))


def creates(mapping: CompiledMapping, signal: Signal) -> bool:
    """Whether a stranger of this signal becomes a record."""
    return mapping.strangers(signal.type).action is Stranger.CREATE


def _learnt(need: Need, answer: Found | Failure | None, now: int) -> PersonRow | None:
    """The row to keep, None when nothing was learnt."""
    if isinstance(answer, Rejected):
        reason = f"cannot be looked up: {rules.said(answer)}"
        return PersonRow(need.identity, state="rejected", reason=reason, checked_at=now)
    if isinstance(answer, Failure):
        need.failure = answer
        return None
    if answer is not None:
        return PersonRow(
            need.identity, answer.object, answer.id, answer.role, answer.account, answer.open_deal, checked_at=now
        )
    if need.row is not None and need.row.state == "creating":
        return None  # still nobody: to be created again, with the attempts it has had
    return PersonRow(need.identity, checked_at=now)


# --------------------------------------------------------------------------------------------------------- strangers


def newcomers(strangers: Sequence[Need], mapping: CompiledMapping, needing: Collection[str]) -> list[Newcomer]:
    """The records to create, one for all identities that a look-up of the new record would match: whoever shares an e-mail
    address or a phone number with another stranger of the batch is the same person. `needing`: ids of the signals that
    have something to write."""
    made: list[tuple[Need, Taken, Draft]] = []
    for need in strangers:
        taken, signal = next(one for one in need.asked if one[0].signal_id in needing and creates(mapping, one[1]))
        made.append((need, taken, mapping.stranger(signal)))
    group_of: dict[object, int] = {}
    groups: dict[int, list[int]] = {}
    for index, (need, _, draft) in enumerate(made):
        marks = _marks(need, draft, mapping)
        joined = sorted({group_of[mark] for mark in marks if mark in group_of})
        home = joined[0] if joined else index
        members = groups.setdefault(home, [])
        for other in joined[1:]:
            members.extend(groups.pop(other))
        members.append(index)
        members.sort()
        for mark, group in list(group_of.items()) if len(joined) > 1 else ():
            if group in joined:
                group_of[mark] = home
        group_of.update(dict.fromkeys(marks, home))
    return [_newcomer([made[index] for index in members]) for members in groups.values()]


def _marks(need: Need, draft: Draft, mapping: CompiledMapping) -> set[object]:
    person = need.asked[0][1].person
    marks: set[object] = {("identity", need.identity), ("identity", _leader(need))}
    for look in mapping.lookups(person):
        if look.object == draft.object:
            marks.update((term.field, term.value) for term in look.terms)
    return marks


def _leader(need: Need) -> str:
    """The identity they are created as."""
    row = need.row
    if row is not None and row.state == "creating" and row.reason.startswith(AS):
        return row.reason.removeprefix(AS)
    return need.identity


def _newcomer(members: list[tuple[Need, Taken, Draft]]) -> Newcomer:
    # Whoever was under way already keeps the key they were sent with.
    begun = [need for need, _, _ in members if need.row is not None and need.row.state == "creating"]
    leader = _leader(begun[0]) if begun else members[0][0].identity
    _, brought, draft = members[0]
    key = person_key(leader)
    write = Write(
        key=key,
        object=draft.object,
        key_field=draft.key_field,
        fields=draft.fields,
        on_create=draft.on_create,
        clear=draft.clear,
        group=key,
    )
    return Newcomer(leader, [need for need, _, _ in members], brought, draft, write)


class Creation:
    """Creates newcomers through the caller and keeps `Need.row` and the rows of rule `people.create` up to date."""

    def __init__(
        self,
        caller: Caller,
        law: Law,
        keying: Callable[[Draft], Keying],
        ledger: Ledger,
    ) -> None:
        self._caller = caller
        self._law = law
        self._keying = keying
        self._ledger = ledger
        self._by_key: dict[str, Newcomer] = {}

    def create(self, them: Sequence[Newcomer]) -> None:
        """Sends the new records. Raises Paused with the rest unsent."""
        for one in them:
            if one.draft.faults:
                self._refuse(one)
            else:
                self._by_key[one.write.key] = one
        writes = [one.write for one in self._by_key.values()]
        self._caller.send(writes, before=self._before, after=self._after, rule_of=lambda write: PEOPLE_CREATE)

    def _refuse(self, one: Newcomer) -> None:
        reason = "; ".join(f"{fault.field}: {fault.message}" for fault in one.draft.faults)
        now = self._caller.clock()
        for need in one.needs:
            need.row = PersonRow(need.identity, state="rejected", reason=reason, checked_at=now)
        row = msgspec.structs.replace(self._row(one, now), state="dead", reason=reason)
        self._ledger.answered([(one.brought, row)], [], self._people([one]))

    def _before(self, call: Call) -> None:
        now = self._caller.clock()
        them = [self._by_key[write.key] for write in call.writes]
        rows = []
        for one in them:
            safe = rules.person_safe_at(now, self._keying(one.draft), self._law)
            for need in one.needs:
                attempts = need.row.attempts if need.row is not None and need.row.state == "creating" else 0
                alias = "" if need.identity == one.leader else f"{AS}{one.leader}"
                need.row = PersonRow(
                    need.identity, state="creating", reason=alias, attempts=attempts, sent_at=now, checked_at=safe
                )
            rows.append((one.brought, msgspec.structs.replace(self._row(one, now), state="sending", sent_at=now)))
        self._ledger.leaving(rows, self._people(them))

    def _after(self, call: Call, outcomes: list[Outcome]) -> Sequence[Sequence[Write]]:
        crashpoints.point("after_send")
        now = self._caller.clock()
        them, rows, attempts = [], [], []
        for write, outcome in zip(call.writes, outcomes, strict=True):
            one = self._by_key[write.key]
            them.append(one)
            for need in one.needs:
                assert need.row is not None
                need.row = rules.decide_person(
                    need.row, outcome, self._keying(one.draft), self._law, one.draft.object, now
                )
            failure = outcome if isinstance(outcome, Failure) else None
            if isinstance(failure, Misconfigured) and failure.scope is Scope.RULE:
                self._caller.hold(PEOPLE_CREATE, failure)
            held = self._caller.pace.held_until(PEOPLE_CREATE, now)
            attempts.append(rules.attempt(one.brought.signal_id, PEOPLE_CREATE, outcome, now))
            row = self._row(one, now)
            row = msgspec.structs.replace(row, attempts=row.attempts + 1)
            rows.append((one.brought, settle_creation(row, one.needs[0], now, held, failure)))
        self._ledger.answered(rows, attempts, self._people(them))
        return ()

    def _row(self, one: Newcomer, now: int) -> WriteRow:
        row = one.brought.writes.get(PEOPLE_CREATE)
        kind = self._keying(one.draft).kind.value
        if row is None or row.key != one.write.key:
            row = WriteRow(PEOPLE_CREATE, one.write.key, one.draft.object, kind, due_at=now)
        return row

    def _people(self, them: Sequence[Newcomer]) -> list[PersonRow]:
        return [need.row for one in them for need in one.needs if need.row is not None]


def settle_creation(
    row: WriteRow, need: Need, now: int, held: tuple[int, str] | None = None, failure: Failure | None = None
) -> WriteRow:
    """The row of rule `people.create` of a delivery, as it follows from what is known of the person. `held`: until when
    and why nobody is created."""
    put, person = msgspec.structs.replace, need.row
    if person is not None and person.state == "known" and person.object:
        return put(row, state="written", reason="", crm_id=person.crm_id, object=person.object, due_at=0)
    if person is not None and person.state == "rejected":
        return put(row, state="dead", reason=person.reason, due_at=0)
    if person is not None and person.state == "creating":
        if held is not None:
            return put(row, state="held", reason=held[1], attempts=person.attempts, due_at=held[0])
        reason = rules.said(failure) if failure else row.reason
        return put(row, state="pending", reason=reason, attempts=person.attempts, due_at=max(now, person.checked_at))
    return put(row, state="skipped", reason="they are not created any more", due_at=0)


__all__ = ["Creation", "Need", "Newcomer", "creates", "look_up", "newcomers", "settle_creation"]
