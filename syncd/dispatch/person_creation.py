"""Creates records for people whom the CRM does not have.

Promise: a stranger is created once, whatever dies in between: that they are being created is committed before it is sent,
and who is in doubt is looked up before they are created again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from syncd.capabilities import KnowsRoles
from syncd.connector import Call, Link, Outcome, PersonMatch, Write
from syncd.dispatch import outcomes as rules
from syncd.dispatch import owners
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.decided import with_decided
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.new_people import NewPerson
from syncd.dispatch.pacing import HOUR
from syncd.dispatch.people import PersonLookup
from syncd.dispatch.plan import PEOPLE_CREATE, field_faults
from syncd.dispatch.tied_people import alias_of
from syncd.errors import Failure, Misconfigured, Rejected, Scope, StaleReference
from syncd.mapping.model import Draft, OwnerChoice
from syncd.runtime import crashpoints
from syncd.store.lanes import PersonRow, turns_taken
from syncd.store.queue import WriteRow
from syncd.store.store import Store
from syncd.texts.reasons import Reason

if TYPE_CHECKING:
    from syncd.connector import Idempotency
    from syncd.dispatch.outcomes import RetryPolicy


class PersonCreator:
    """Creates newcomers through the caller and keeps `PersonLookup.row` and the rows of the `rule` that makes them up to date."""

    def __init__(
        self,
        client: DestinationClient,
        policy: RetryPolicy,
        keying: Callable[[Draft], Idempotency],
        ledger: Ledger,
        store: Store,
        rule: str = PEOPLE_CREATE,
    ) -> None:
        self._client = client
        self._policy = policy
        self._keying = keying
        self._ledger = ledger
        self._store = store
        self._rule = rule
        self._owners = owners.Owners(store, client, ledger)
        self._by_key: dict[str, NewPerson] = {}
        self._duplicates: list[tuple[NewPerson, Rejected]] = []

    def create(self, them: Sequence[NewPerson]) -> None:
        """Sends the new records. Raises Paused with the rest unsent."""
        if not self._give_turns([one for one in them if not one.draft.faults]):
            return  # whose turn it is cannot be told: the rule is held
        for one in them:
            if one.draft.faults:
                self._refuse(one)
            else:
                self._by_key[one.write.key] = one
        writes = [one.write for one in self._by_key.values()]
        self._client.send(writes, before=self._before, after=self._after, rule_of=lambda write: self._rule)
        self._recognise()

    def _give_turns(self, them: Sequence[NewPerson]) -> bool:
        """Whoever is created again keeps their owner; the others get the next ones, written down as they leave. False where
        nobody knows who is in the team that they are owned by."""
        asking: list[tuple[NewPerson, OwnerChoice]] = []
        for one in them:
            choice = one.draft.owner and self._owners.with_members(one.draft.owner)
            if isinstance(choice, Failure):
                self._client.hold(self._rule, choice)
                return False
            if choice is not None:
                asking.append((one, choice))
        if not asking:
            return True
        active, crm = self._owners.active([choice for _, choice in asking]), self._client.destination
        with self._store.read() as connection:
            taken = turns_taken(connection, self._client.name, self._rule)
        for one, choice in asking:
            kept = next((need.row.owner for need in one.needs if need.row is not None and need.row.owner), "")
            owner = msgspec.json.decode(kept) if kept else None
            if owner is None or owner not in (*choice.users, choice.fallback):
                one.chosen, one.turns = owners.choose(choice, taken, active)
                owner, taken = one.chosen.owner, taken + one.turns
            if owner is None:
                continue
            one.owner = msgspec.json.encode(owner).decode()
            on_create = {**one.write.on_create, owners.owner_field(choice, crm): owners.as_value(owner, crm)}
            one.write = msgspec.structs.replace(one.write, on_create=on_create)
        return True

    def _refuse(self, one: NewPerson) -> None:
        reason = field_faults(one.draft.faults)
        now = self._client.clock()
        for need in one.needs:
            need.row = PersonRow(need.identity, state="rejected", reason=reason, checked_at=now)
        row = msgspec.structs.replace(self._row(one, now), state="dead", reason=reason)
        self._ledger.answered([(one.brought, row)], [], self._people([one]))

    def _before(self, call: Call) -> None:
        now = self._client.clock()
        them = [self._by_key[write.key] for write in call.writes]
        rows = []
        for one in them:
            safe = rules.person_safe_at(now, self._keying(one.draft), self._policy)
            for need in one.needs:
                attempts = need.row.attempts if need.row is not None and need.row.state == "creating" else 0
                alias = "" if need.identity == one.leader else alias_of(one.leader)
                need.row = PersonRow(
                    need.identity,
                    state="creating",
                    reason=alias,
                    attempts=attempts,
                    sent_at=now,
                    checked_at=safe,
                    name=one.wanted.name,
                    owner=one.owner,
                )
            rows.append((one.brought, msgspec.structs.replace(self._row(one, now), state="sending", sent_at=now)))
        self._ledger.leaving(rows, self._people(them), turns=(self._rule, sum(one.turns for one in them)))
        for one in them:
            one.turns = 0

    def _after(self, call: Call, outcomes: list[Outcome]) -> Sequence[Sequence[Write]]:
        crashpoints.point("after_send")
        now = self._client.clock()
        them, rows, attempts = [], [], []
        for write, outcome in zip(call.writes, outcomes, strict=True):
            one = self._by_key[write.key]
            them.append(one)
            for need in one.needs:
                assert need.row is not None
                need.row = rules.decide_person(
                    need.row,
                    outcome,
                    self._keying(one.draft),
                    self._policy,
                    one.draft.object,
                    now,
                    role=self._role_of(one.draft.object),
                    again_at=self._client.spared(write),
                )
                if need.row.state == "known":
                    need.row = msgspec.structs.replace(need.row, account=one.account)
            if isinstance(outcome, Rejected) and outcome.existing:
                self._duplicates.append((one, outcome))
            failure = outcome if isinstance(outcome, Failure) else None
            if isinstance(failure, Misconfigured) and failure.scope is Scope.RULE:
                self._client.hold(self._rule, failure)
            held = self._client.pace.held_until(self._rule, now)
            attempts.append(rules.attempt(one.brought.signal_id, self._rule, outcome, now))
            row = self._row(one, now)
            row = msgspec.structs.replace(row, attempts=row.attempts + 1)
            rows.append((one.brought, settle_creation(row, one.needs[0], now, held, failure)))
        # A company whose record is gone is looked up again before its people are sent again.
        stale = {
            self._by_key[w.key].company
            for w, o in zip(call.writes, outcomes, strict=True)
            if isinstance(o, StaleReference)
        }
        self._ledger.answered(rows, attempts, self._people(them), stale=stale - {""})
        return ()

    def _role_of(self, object_: str) -> str:
        crm = self._client.destination
        return crm.role_of(object_) if isinstance(crm, KnowsRoles) else "lead"

    def _recognise(self) -> None:
        """Whom the CRM refused as a duplicate is the record it named, if that was read and agrees; else a dead letter. Raises
        Paused: they are then created, and refused, again."""
        duplicates, self._duplicates = self._duplicates, []
        if not duplicates:
            return
        answers = self._recognised(duplicates)
        now = self._client.clock()
        rows = []
        for (one, why), answer in zip(duplicates, answers, strict=True):
            for need in one.needs:
                assert need.row is not None
                need.row = rules.recognised(
                    need.row, why, answer, self._policy, now, lag=self._client.destination.search_lag
                )
            rows.append((one.brought, settle_creation(self._row(one, now), one.needs[0], now)))
        self._ledger.answered(rows, [], self._people([one for one, _ in duplicates]))

    def _recognised(self, duplicates: Sequence[tuple[NewPerson, Rejected]]) -> Sequence[PersonMatch | Failure | None]:
        """The record that each of these is, of those that the CRM named."""
        people = [one.wanted for one, _ in duplicates]
        among = [[Link(name or one.draft.object, id_) for name, id_ in why.existing] for one, why in duplicates]
        return self._client.recognise(people, among)

    def _row(self, one: NewPerson, now: int) -> WriteRow:
        row = one.brought.writes.get(self._rule)
        kind = self._keying(one.draft).kind.value
        if row is None or row.key != one.write.key:
            row = WriteRow(self._rule, one.write.key, one.draft.object, kind, due_at=now)
        if one.chosen is not None:
            row = with_decided(row, one.chosen)
        return row

    def _people(self, them: Sequence[NewPerson]) -> list[PersonRow]:
        return [need.row for one in them for need in one.needs if need.row is not None]


def settle_creation(
    row: WriteRow, need: PersonLookup, now: int, held: tuple[int, str] | None = None, failure: Failure | None = None
) -> WriteRow:
    """The row of rule `people.create` of a delivery, as it follows from what is known of the person. `held`: until when
    and why nobody is created."""
    put, person = msgspec.structs.replace, need.row
    if person is not None and person.state == "known" and person.object:
        return put(row, state="written", reason="", crm_id=person.crm_id, object=person.object, due_at=0)
    if person is not None and person.state == "rejected":
        return put(row, state="dead", reason=person.reason, due_at=0)
    if person is not None and person.state == "conflict":
        return put(row, state="held", reason=person.reason, due_at=now + HOUR)
    if person is not None and person.state == "creating":
        if held is not None:
            return put(row, state="held", reason=held[1], attempts=person.attempts, due_at=held[0])
        reason = rules.describe(failure) if failure else row.reason
        return put(row, state="pending", reason=reason, attempts=person.attempts, due_at=max(now, person.checked_at))
    return put(row, state="skipped", reason=Reason("not_created_any_more"), due_at=0)
