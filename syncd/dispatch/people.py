"""Who is who in the CRM: the cache, and one bulk look-up for all who are not in it.

A round of a lane asks once for all people of its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from syncd.connector import PersonMatch, PersonQuery
from syncd.dispatch import outcomes as rules
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.pacing import HOUR, SECOND
from syncd.dispatch.plan import as_found
from syncd.errors import Failure, Rejected
from syncd.mapping.model import CompiledMapping, OnConflict, Stranger
from syncd.signals import Person, Signal
from syncd.store.lanes import PersonRow, holders, put_people
from syncd.store.lanes import people as kept_people
from syncd.store.queue import Taken
from syncd.store.store import Store

KNOWN_FOR = 7 * 24 * HOUR
"""A person found is believed this long; that they were deleted, merged or converted shows earlier, as a StaleReference."""
NOBODY_FOR = HOUR
"""How long "unknown to the CRM" is cached where it only skips or holds the person's signals."""
NOBODY_TO_CREATE = 10 * 60 * SECOND
"""And where it would create them: a person entered manually meanwhile would be there twice."""
DEAL_FOR = HOUR
REJECTED_FOR = HOUR
"""A person whom the CRM refused is tried again after this, or after a reload."""


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
    wanted = [person_query(need, mapping) for need in ask]
    answers = (
        list(client.resolve(wanted, deals=mapping.deal_pick if any(need.deals for need in ask) else None))
        if ask
        else []
    )
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


def person_query(need: PersonLookup, mapping: CompiledMapping) -> PersonQuery:
    """What the CRM is asked to find them by."""
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
        found.deal,
        checked_at=now,
        name=found.name,
        by_number=found.by_number,
    )
