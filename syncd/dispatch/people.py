"""Who is who in the CRM: the cache, one bulk look-up for all who are not in it, and records for strangers.

A round of a lane asks once for all people of its batch. Promise: a stranger is created once, whatever dies in between:
that they are being created is committed before it is sent, and who is in doubt is looked up before they are created again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from syncd.connector import Call, Link, Outcome, PersonMatch, PersonQuery, Write
from syncd.dispatch import joining
from syncd.dispatch import outcomes as rules
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.joining import MatchKeys
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.pacing import HOUR, SECOND
from syncd.dispatch.plan import PEOPLE_CREATE, as_found, person_key
from syncd.errors import Failure, Misconfigured, Rejected, Scope
from syncd.mapping.model import CompiledMapping, Draft, OnConflict, Stranger
from syncd.runtime import crashpoints
from syncd.signals import Person, Signal
from syncd.store.lanes import PersonRow, holders, put_people, turns_taken
from syncd.store.lanes import people as kept_people
from syncd.store.queue import Taken, WriteRow
from syncd.store.store import Store

if TYPE_CHECKING:
    from syncd.connector import Idempotency
    from syncd.dispatch.outcomes import RetryPolicy

KNOWN_FOR = 7 * 24 * HOUR
"""A person found is believed this long; that they were deleted, merged or converted shows earlier, as a StaleReference."""
NOBODY_FOR = HOUR
"""How long "unknown to the CRM" is cached where it only skips or holds the person's signals."""
NOBODY_TO_CREATE = 10 * 60 * SECOND
"""And where it would create them: a person entered manually meanwhile would be there twice."""
DEAL_FOR = HOUR
REJECTED_FOR = HOUR
"""A person whom the CRM refused is tried again after this, or after a reload."""
ALIAS_OF = "as "
"""`reason` of a person who is created under another of their identities starts so."""


@dataclass(slots=True)
class PersonLookup:
    """One person of a batch, with the deliveries that need them (and their signals), in order."""

    identity: str
    asked: list[tuple[Taken, Signal]] = field(default_factory=list)
    deals: bool = False
    row: PersonRow | None = None
    failure: Failure | None = None
    fresh: bool = False  # asked of the CRM in this round
    several: tuple[PersonMatch, ...] = ()  # records with their number, when nothing tells which of them they are
    later: int = 0  # until when it is undecided which newcomer they are

    @property
    def person(self) -> Person:
        """What all their signals say of them: an address, a number or a name counts from whichever signal has it first."""
        first, *others = (signal.person for _, signal in self.asked)
        for other in others:
            more = {} if first.phone else {"phone": other.phone}
            if not first.name:
                more |= {"name": other.name, "first_name": other.first_name, "last_name": other.last_name}
            if not first.company:
                more["company"] = other.company
            first = msgspec.structs.replace(first, **more) if any(more.values()) else first
        return first

    @property
    def found(self) -> PersonMatch | None:
        return as_found(self.row)

    def waits(self, now: int) -> int:
        """Until when their record is being made, 0 if it is not (any more)."""
        row = self.row
        if self.later > now:
            return self.later
        return row.checked_at if row is not None and row.state == "creating" and row.checked_at > now else 0

    @property
    def nobody(self) -> bool:
        """Whether the CRM said, now or shortly before, that it has no record of them: one may be created."""
        told = self.fresh or (self.row is not None and self.row.state == "known")
        return told and self.failure is None and self.found is None and not self.refused and not self.several

    @property
    def refused(self) -> str:
        """Why the CRM has no record of them and will not take one."""
        return self.row.reason if self.row is not None and self.row.state == "rejected" else ""


@dataclass(slots=True)
class NewPerson:
    """A stranger to create, under one or several identities; `brought`: the delivery that brought them. `wanted`: how the CRM's
    own record of them would be recognised. `owner`: who takes this turn, as JSON; `turn`: it is not written down yet."""

    leader: str
    needs: list[PersonLookup]
    brought: Taken
    draft: Draft
    write: Write
    wanted: PersonQuery
    owner: str = ""
    turn: bool = False


def look_up(
    needs: Sequence[PersonLookup], mapping: CompiledMapping, client: DestinationClient, store: Store, now: int
) -> None:
    """Fills in what is known of everybody, asking the CRM once for all whom the cache does not know well enough. Raises
    Paused; a look-up that failed is at `PersonLookup.failure`."""
    if not needs:
        return
    with store.read() as connection:
        cached = kept_people(connection, client.name, [need.identity for need in needs])
    for need in needs:
        need.row = cached.get(need.identity)
    ask = [need for need in needs if not _believed(need, mapping, now)]
    client.meter.looked_up(client.name, len(needs) - len(ask), len(ask))
    wanted = [_wanted(need, mapping) for need in ask]
    answers = list(client.resolve(wanted, deals=any(need.deals for need in ask))) if ask else []
    if mapping.conflict is OnConflict.FIRST:
        answers = [msgspec.structs.replace(one, rivals=()) if isinstance(one, PersonMatch) else one for one in answers]
    answers = _unshared(ask, answers, client.name, store)
    learnt: list[PersonRow] = []
    for need, answer in zip(ask, answers, strict=True):
        need.fresh = not isinstance(answer, Failure)
        row = _learnt(need, answer, now)
        if row is not None:
            need.row = row
            learnt.append(row)
    if learnt:
        store.apply(lambda connection: put_people(connection, client.name, learnt))


Answer = PersonMatch | Failure | None


def _wanted(need: PersonLookup, mapping: CompiledMapping) -> PersonQuery:
    person = need.person
    return PersonQuery(need.identity, mapping.lookups(person), person.email, person.name)


def _unshared(asked: Sequence[PersonLookup], answers: Sequence[Answer], destination: str, store: Store) -> list[Answer]:
    """The answers without records that several people with addresses of their own would be by one number: whoever is known as
    the record keeps it; the others, who share the number, are not in the CRM."""
    claims: dict[str, set[str]] = {}
    for need, answer in zip(asked, answers, strict=True):
        if isinstance(answer, PersonMatch) and answer.by_number and need.person.email:
            claims.setdefault(answer.id, set()).add(need.identity)
    if not claims:
        return list(answers)
    with store.read() as connection:
        kept = holders(connection, destination, claims)

    def shared(need: PersonLookup, answer: Answer) -> bool:
        if not (isinstance(answer, PersonMatch) and answer.by_number and need.person.email):
            return False
        known = kept.get(answer.id, set())
        return need.identity not in known if known else len(claims[answer.id]) > 1

    return [None if shared(need, answer) else answer for need, answer in zip(asked, answers, strict=True)]


def _believed(need: PersonLookup, mapping: CompiledMapping, now: int) -> bool:
    row = need.row
    if row is None or row.state == "conflict" or (row.object and row.by_number):
        return False  # a number can be several people's: it is never taken as certain
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


def _learnt(need: PersonLookup, answer: Answer, now: int) -> PersonRow | None:
    """The row to keep, None when nothing was learnt."""
    if isinstance(answer, Rejected):
        reason = f"cannot be looked up: {rules.describe(answer)}"
        return PersonRow(need.identity, state="rejected", reason=reason, checked_at=now)
    if isinstance(answer, Failure):
        need.failure = answer
        return None
    if isinstance(answer, PersonMatch) and answer.rivals:
        need.several = (answer, *answer.rivals)
        return PersonRow(need.identity, state="conflict", reason=rules.several(need.several), checked_at=now)
    if answer is not None:
        return known_as(need.identity, answer, now)
    if need.row is not None and need.row.state == "creating":
        return None  # still nobody: to be created again, with the attempts it has had
    return PersonRow(need.identity, checked_at=now)


def known_as(identity: str, found: PersonMatch, now: int) -> PersonRow:
    """The row of a person whom the CRM has."""
    return PersonRow(
        identity,
        found.object,
        found.id,
        found.role,
        found.account,
        found.open_deal,
        checked_at=now,
        name=found.name,
        by_number=found.by_number,
    )


# --------------------------------------------------------------------------------------------------------- strangers


def new_people(
    strangers: Sequence[PersonLookup], mapping: CompiledMapping, needing: Collection[str]
) -> tuple[list[NewPerson], list[PersonLookup]]:
    """(the records to create, one for all identities that are one person; strangers of whom only a number is known that several
    of the others have). `needing`: ids of the signals that have something to write."""
    made: list[tuple[PersonLookup, Taken, Draft]] = []
    for need in strangers:
        taken, signal = next(one for one in need.asked if one[0].signal_id in needing and creates(mapping, one[1]))
        made.append((need, taken, mapping.stranger(msgspec.structs.replace(signal, person=need.person))))
    groups, unsure = joining.joined([_match_keys(need, draft, mapping) for need, _, draft in made])
    found = [_new_person([made[place] for place in members], mapping) for members in groups]
    return found, [made[place][0] for place in unsure]


def _match_keys(need: PersonLookup, draft: Draft, mapping: CompiledMapping) -> MatchKeys:
    terms = [term for look in mapping.lookups(need.person) if look.object == draft.object for term in look.terms]
    exact = {("identity", need.identity), ("identity", _leader(need))}
    exact |= {(term.field, term.value) for term in terms if not term.phone}
    numbers = frozenset(term.value for term in terms if term.phone)
    moments = [(signal.occurred_at.timestamp(), signal.received_at.timestamp()) for _, signal in need.asked]
    return MatchKeys(frozenset(exact), numbers, bool(need.person.email), min(moments), max(moments))


def _leader(need: PersonLookup) -> str:
    """The identity they are created as."""
    row = need.row
    if row is not None and row.state == "creating" and row.reason.startswith(ALIAS_OF):
        return row.reason.removeprefix(ALIAS_OF)
    return need.identity


def _new_person(members: list[tuple[PersonLookup, Taken, Draft]], mapping: CompiledMapping) -> NewPerson:
    # Whoever was under way already keeps the key they were sent with.
    begun = [need for need, _, _ in members if need.row is not None and need.row.state == "creating"]
    leader = _leader(begun[0]) if begun else members[0][0].identity
    brought = members[0][1]
    draft = next((draft for need, _, draft in members if need.person.email), members[0][2])
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
    wanted = [_wanted(need, mapping) for need, _, _ in members]
    merged = PersonQuery(
        leader,
        tuple(dict.fromkeys(look for one in wanted for look in one.lookups)),
        next((one.email for one in wanted if one.email), ""),
        next((one.name for one in wanted if one.name), ""),
    )
    return NewPerson(leader, [need for need, _, _ in members], brought, draft, write, merged)


class PersonCreator:
    """Creates newcomers through the caller and keeps `PersonLookup.row` and the rows of rule `people.create` up to date."""

    def __init__(
        self,
        client: DestinationClient,
        policy: RetryPolicy,
        keying: Callable[[Draft], Idempotency],
        ledger: Ledger,
        store: Store,
    ) -> None:
        self._client = client
        self._policy = policy
        self._keying = keying
        self._ledger = ledger
        self._store = store
        self._by_key: dict[str, NewPerson] = {}
        self._duplicates: list[tuple[NewPerson, Rejected]] = []

    def create(self, them: Sequence[NewPerson]) -> None:
        """Sends the new records. Raises Paused with the rest unsent."""
        self._give_turns([one for one in them if not one.draft.faults])
        for one in them:
            if one.draft.faults:
                self._refuse(one)
            else:
                self._by_key[one.write.key] = one
        writes = [one.write for one in self._by_key.values()]
        self._client.send(writes, before=self._before, after=self._after, rule_of=lambda write: PEOPLE_CREATE)
        self._recognise()

    def _give_turns(self, them: Sequence[NewPerson]) -> None:
        """Whoever is created again keeps their owner; the others get the next ones, written down as they leave."""
        in_turn = [one for one in them if one.draft.owners]
        if not in_turn:
            return
        with self._store.read() as connection:
            taken = turns_taken(connection, self._client.name, PEOPLE_CREATE)
        for one in in_turn:
            owners = list(one.draft.owners)
            kept = next((need.row.owner for need in one.needs if need.row is not None and need.row.owner), "")
            owner = msgspec.json.decode(kept) if kept else None
            if owner not in owners:
                owner, one.turn, taken = owners[taken % len(owners)], True, taken + 1
            one.owner = msgspec.json.encode(owner).decode()
            on_create = {**one.write.on_create, one.draft.owner_field: owner}
            one.write = msgspec.structs.replace(one.write, on_create=on_create)

    def _refuse(self, one: NewPerson) -> None:
        reason = "; ".join(f"{fault.field}: {fault.message}" for fault in one.draft.faults)
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
                alias = "" if need.identity == one.leader else f"{ALIAS_OF}{one.leader}"
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
        self._ledger.leaving(rows, self._people(them), turns=(PEOPLE_CREATE, sum(one.turn for one in them)))
        for one in them:
            one.turn = False

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
                    again_at=self._client.spared(write),
                )
            if isinstance(outcome, Rejected) and outcome.existing:
                self._duplicates.append((one, outcome))
            failure = outcome if isinstance(outcome, Failure) else None
            if isinstance(failure, Misconfigured) and failure.scope is Scope.RULE:
                self._client.hold(PEOPLE_CREATE, failure)
            held = self._client.pace.held_until(PEOPLE_CREATE, now)
            attempts.append(rules.attempt(one.brought.signal_id, PEOPLE_CREATE, outcome, now))
            row = self._row(one, now)
            row = msgspec.structs.replace(row, attempts=row.attempts + 1)
            rows.append((one.brought, settle_creation(row, one.needs[0], now, held, failure)))
        self._ledger.answered(rows, attempts, self._people(them))
        return ()

    def _recognise(self) -> None:
        """Whom the CRM refused as a duplicate is the record it named, if that was read and agrees; else a dead letter. Raises
        Paused: they are then created, and refused, again."""
        duplicates, self._duplicates = self._duplicates, []
        if not duplicates:
            return
        people = [one.wanted for one, _ in duplicates]
        among = [[Link(name or one.draft.object, id_) for name, id_ in why.existing] for one, why in duplicates]
        answers = self._client.recognise(people, among)
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

    def _row(self, one: NewPerson, now: int) -> WriteRow:
        row = one.brought.writes.get(PEOPLE_CREATE)
        kind = self._keying(one.draft).kind.value
        if row is None or row.key != one.write.key:
            row = WriteRow(PEOPLE_CREATE, one.write.key, one.draft.object, kind, due_at=now)
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
    return put(row, state="skipped", reason="they are not created any more", due_at=0)


__all__ = ["PersonCreator", "PersonLookup", "NewPerson", "creates", "look_up", "new_people", "settle_creation"]
