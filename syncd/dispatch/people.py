"""Who is who in the CRM: the cache, and one bulk look-up for all who are not in it; a second one, by the identities that are tied
to theirs, for those whom the CRM does not know by their own.

A round of a lane asks once for all people of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection

from syncd.connector import PersonMatch, PersonQuery
from syncd.dispatch import outcomes as rules
from syncd.dispatch import tied_people as tied
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.pacing import HOUR, SECOND
from syncd.dispatch.plan import as_found
from syncd.errors import Failure, Rejected
from syncd.identity.emails import normal_email
from syncd.identity.identities import EMAIL, HANDLE
from syncd.identity.ties import Tie, TieGraph
from syncd.mapping.model import CompiledMapping, OnConflict, Stranger
from syncd.signals import Person, Signal
from syncd.store.identity_ties import people_of_signals, put_ties, ties_around
from syncd.store.lanes import PersonRow, holders, put_people
from syncd.store.lanes import people as kept_people
from syncd.store.queue import Taken
from syncd.store.store import Store
from syncd.texts.reasons import Reason

KNOWN_FOR = 7 * 24 * HOUR
"""A person found is believed this long; that they were deleted, merged or converted shows earlier, as a StaleReference."""
NOBODY_FOR = HOUR
"""How long "unknown to the CRM" is cached where it only skips or holds the person's signals."""
NOBODY_TO_CREATE = 10 * 60 * SECOND
"""And where it would create them: a person entered manually meanwhile would be there twice."""
DEAL_FOR = HOUR
REJECTED_FOR = HOUR
"""A person whom the CRM refused is tried again after this, or after a reload."""


Answer = PersonMatch | Failure | None


@dataclass(slots=True)
class PersonLookup:
    """One person of a batch, with the deliveries that need them (and their signals), in order. `apart`: identities of these
    signals that an operator says are another person's; `others`: identities that are theirs, too."""

    identity: str
    asked: list[tuple[Taken, Signal]] = field(default_factory=list)
    deals: bool = False
    row: PersonRow | None = None
    failure: Failure | None = None
    fresh: bool = False  # asked of the CRM in this round
    several: tuple[PersonMatch, ...] = ()  # records of theirs, when nothing tells which of them they are
    later: int = 0  # until when it is undecided which newcomer they are
    apart: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()
    answer: Answer = None  # of the CRM, in this round
    unfindable: bool = False  # people.match has no field for the only identity that is known of them
    by_tie: bool = False  # their record was found, in this round, by an identity that is only tied to theirs
    evidence: tuple[str, ...] = ()  # ids of the signals that tied their identities together
    introduced: frozenset[str] = frozenset()  # those of them that tied an account of a network to the identity
    told: tuple[Person, ...] = ()  # what the signals of other rounds that tied their identities say of them

    @property
    def person(self) -> Person:
        """What all their signals say of them: an address, a number or a name counts from whichever signal has it first."""
        first, *others = (signal.person for _, signal in self.asked)
        for other in others:
            more: dict[str, Any] = {} if first.phone else {"phone": other.phone}
            more |= _more_of(first, other)
            if other.handles and other.handles != first.handles:
                more["handles"] = {**other.handles, **first.handles}
            first = msgspec.structs.replace(first, **more) if any(more.values()) else first
        return tied.without(first, self.apart) if self.apart else first

    @property
    def whole(self) -> Person:
        """The person with the identities that are tied to theirs, and what was said where they were tied."""
        person = tied.completed(self.person, self.others)
        for one in self.told:
            person = msgspec.structs.replace(person, **_more_of(person, one))
        return person

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
        known = self.failure is not None or self.found is not None or self.refused or self.several
        return told and not known and not self.unfindable

    @property
    def refused(self) -> str:
        """Why the CRM has no record of them and will not take one."""
        return self.row.reason if self.row is not None and self.row.state == "rejected" else ""


def _more_of(person: Person, other: Person) -> dict[str, Any]:
    """The name and company that another account of a person says and this one does not."""
    more: dict[str, Any] = {} if person.company else {"company": other.company}
    if not person.name:
        more |= {"name": other.name, "first_name": other.first_name, "last_name": other.last_name}
    return more


def look_up(
    needs: Sequence[PersonLookup], mapping: CompiledMapping, client: DestinationClient, store: Store, now: int
) -> None:
    """Fills in what is known of everybody, asking the CRM once for all whom the cache does not know well enough. Raises
    Paused; a look-up that failed is at `PersonLookup.failure`."""
    if not needs:
        return
    memory = _remembered(needs, mapping, client.name, store, now)
    ask = [need for need in needs if not need.unfindable and (memory.doubts(need) or not _believed(need, mapping, now))]
    client.meter.looked_up(client.name, len(needs) - len(ask), len(ask))
    wanted = [msgspec.structs.replace(person_query(need, mapping), every=memory.doubts(need)) for need in ask]
    answers = _asked(ask, wanted, mapping, client)
    answers = [_decided(need, answer, mapping, memory.graph) for need, answer in zip(ask, answers, strict=True)]
    answers = _unshared(ask, answers, client.name, store)
    learnt = [row for need, answer in zip(ask, answers, strict=True) if (row := _take(need, answer, client, now))]
    learnt += _by_ties(needs, memory.rows, mapping, client, now)
    seen = [*memory.seen, *(one for need in ask for one in _in_their_record(need, memory.graph, client.name, now))]
    if learnt or seen:

        def keep(connection: Connection) -> None:
            put_people(connection, client.name, {row.identity: row for row in learnt}.values())
            put_ties(connection, seen)

        store.apply(keep)
    _recall([need for need in needs if need.evidence and need.nobody], store)


def _recall(needs: Sequence[PersonLookup], store: Store) -> None:
    """Reads what the signals that tied their identities together say of those who may be created."""
    ids = {need.identity: set(need.evidence) - {taken.signal_id for taken, _ in need.asked} for need in needs}
    wanted = {one for need in needs if not (need.person.name and need.person.company) for one in ids[need.identity]}
    if not wanted:
        return
    with store.read() as connection:
        told = people_of_signals(connection, wanted)
    for need in needs:
        need.told = tuple(told[one] for one in need.evidence if one in ids[need.identity] and one in told)


@dataclass(frozen=True)
class _Memory:
    """What the store knows before the CRM is asked: `rows` by identity, the ties, and those that this batch adds (`seen`)."""

    rows: Mapping[str, PersonRow]
    graph: TieGraph
    seen: Sequence[Tie]

    def doubts(self, need: PersonLookup) -> bool:
        """Whether another identity of their own signals is kept as a record that is not known to be theirs."""
        if not need.others:
            return False
        theirs = [one for one in need.person.identities if one in need.others]
        mine = need.row and (need.row.object, need.row.crm_id)
        return any(record != mine for record in tied.known_records(theirs, self.rows))


def _remembered(
    needs: Sequence[PersonLookup], mapping: CompiledMapping, destination: str, store: Store, now: int
) -> _Memory:
    """What is kept of everybody and of the identities tied to theirs: one query where all are known by one identity, two
    where some are not or have several, a few more where some are tied to others."""
    own = {need.identity: need.person.identities for need in needs}
    with store.read() as connection:
        rows = kept_people(connection, destination, {one for each in own.values() for one in each})
        for need in needs:
            need.row = rows.get(need.identity)
        unsure = [
            need
            for need in needs
            if len(own[need.identity]) > 1 or need.found is None or not _believed(need, mapping, now)
        ]
        known = ties_around(connection, [one for need in unsure for one in own[need.identity]])
        seen = [one for need in unsure for one in _seen_together(need, known, now)]
        graph = known.plus(seen)
        for need in unsure:
            need.apart = tied.apart_from(need.identity, own[need.identity], graph)
            need.others = graph.group([need.identity])[1:]
            need.evidence = graph.evidence((need.identity, *need.others))
            need.introduced = frozenset(
                tie.evidence
                for one in need.others
                if one.startswith(HANDLE) and (tie := graph.between(need.identity, one)) and tie.via == "signal"
            )
            need.unfindable = need.identity.startswith(HANDLE) and not mapping.lookups(need.person)
        more = {one for need in unsure for one in need.others} - set(rows)
        if more:
            rows |= kept_people(connection, destination, more)
    return _Memory(rows, graph, seen)


def _seen_together(need: PersonLookup, graph: TieGraph, now: int) -> Iterator[Tie]:
    """The ties that their signals make."""
    for taken, signal in need.asked:
        yield from graph.news(signal.person.identities, "signal", taken.signal_id, now)


def _in_their_record(need: PersonLookup, graph: TieGraph, destination: str, now: int) -> Iterator[Tie]:
    """The ties that the record makes which the CRM just named: of the identity it was found by, and an address in it."""
    found = need.answer
    if isinstance(found, PersonMatch) and not found.rivals:
        evidence = f"{destination} {found.object} {found.id}"
        emails = (f"{EMAIL}{email}" for email in found.emails if normal_email(email) == email)
        for other in emails:
            if other != need.identity:
                yield from graph.news([need.identity, other], "record", evidence, now)


def _decided(need: PersonLookup, answer: Answer, mapping: CompiledMapping, graph: TieGraph) -> Answer:
    """The answer without its rivals where the first record counts: the mapping says so, an operator linked the identities, or
    the other records are those of a number that several people use."""
    if not isinstance(answer, PersonMatch) or not answer.rivals:
        return answer
    theirs = [one for one in need.person.identities if one in need.others]
    linked = not answer.by_number and all(graph.linked(need.identity, one) for one in theirs)
    return msgspec.structs.replace(answer, rivals=()) if linked or mapping.conflict is OnConflict.FIRST else answer


def _asked(
    needs: Sequence[PersonLookup], wanted: Sequence[PersonQuery], mapping: CompiledMapping, client: DestinationClient
) -> list[Answer]:
    """The CRM's answers to these queries, parallel to them. Raises Paused."""
    deals = mapping.deal_pick if any(need.deals for need in needs) else None
    return list(client.resolve(wanted, deals=deals)) if wanted else []


def _take(need: PersonLookup, answer: Answer, client: DestinationClient, now: int) -> PersonRow | None:
    """Keeps an answer of the CRM in the need; the row to store, if any."""
    need.fresh, need.answer = not isinstance(answer, Failure), answer
    row = _learnt(need, answer, now, client.destination.url)
    need.row = row or need.row
    return row


def _by_ties(
    needs: Sequence[PersonLookup],
    rows: Mapping[str, PersonRow],
    mapping: CompiledMapping,
    client: DestinationClient,
    now: int,
) -> Iterator[PersonRow]:
    """Looks for those whom the CRM does not know by their own identities under the others that are theirs: first in the cache,
    then in the CRM. Yields the rows to store. Raises Paused."""
    ask: list[PersonLookup] = []
    for need in needs:
        if not need.others or not (need.nobody or need.unfindable):
            continue
        row = tied.followed(need.identity, need.others, rows)
        several = list(tied.known_records(need.others, rows).values())
        if len(several) > 1 and mapping.conflict is OnConflict.HOLD:
            need.unfindable, need.several = False, tied.as_matches(several)
            need.row = _conflict(need, now, client.destination.url)
            yield need.row
        elif row is not None:
            need.unfindable, need.row, need.fresh = False, row, row.state == "creating" and row.checked_at <= now
            need.by_tie = row.state == "known"
            yield row
        elif tied.lookups_by(need.others, mapping):
            need.unfindable = False
            ask.append(need)
    wanted = [tied_query(need, mapping) for need in ask]
    answers = _asked(ask, wanted, mapping, client)
    for need, answer in zip(ask, answers, strict=True):
        if isinstance(answer, PersonMatch) and not answer.rivals:  # the tie says more than the number
            answer = msgspec.structs.replace(answer, by_number=False)
            need.by_tie = True
        if row := _take(need, answer, client, now):
            yield row


def person_query(need: PersonLookup, mapping: CompiledMapping) -> PersonQuery:
    """What the CRM is asked to find them by."""
    person = need.person
    return PersonQuery(need.identity, mapping.lookups(person), person.email, person.name)


def tied_query(need: PersonLookup, mapping: CompiledMapping) -> PersonQuery:
    """What it is asked to find them by under the identities that are tied to theirs."""
    person = need.whole
    return PersonQuery(need.identity, tied.lookups_by(need.others, mapping), person.email, person.name)


def _unshared(asked: Sequence[PersonLookup], answers: Sequence[Answer], destination: str, store: Store) -> list[Answer]:
    """The answers without records that several people with addresses of their own would be by one number: whoever is known as
    the record keeps it; the others, who share the number, are not in the CRM."""
    claims: dict[tuple[str, str], set[str]] = {}
    for need, answer in zip(asked, answers, strict=True):
        if isinstance(answer, PersonMatch) and answer.by_number and need.person.email:
            claims.setdefault((answer.object, answer.id), set()).add(need.identity)
    if not claims:
        return list(answers)
    with store.read() as connection:
        kept = holders(connection, destination, {id_ for _, id_ in claims})

    def shared(need: PersonLookup, answer: Answer) -> bool:
        if not (isinstance(answer, PersonMatch) and answer.by_number and need.person.email):
            return False
        record = (answer.object, answer.id)
        known = kept.get(record, set())
        return need.identity not in known if known else len(claims[record]) > 1

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


def _learnt(need: PersonLookup, answer: Answer, now: int, url: Callable[[str, str], str]) -> PersonRow | None:
    """The row to keep, None when nothing was learnt."""
    if isinstance(answer, Rejected):
        reason = Reason("cannot_look_up", cause=rules.describe(answer))
        return PersonRow(need.identity, state="rejected", reason=reason, checked_at=now)
    if isinstance(answer, Failure):
        need.failure = answer
        return None
    if isinstance(answer, PersonMatch) and answer.rivals:
        need.several = (answer, *answer.rivals)
        return _conflict(need, now, url)
    if answer is not None:
        return known_as(need.identity, answer, now)
    if need.row is not None and need.row.state == "creating":
        return None  # still nobody: to be created again, with the attempts it has had
    return PersonRow(need.identity, checked_at=now)


def _conflict(need: PersonLookup, now: int, url: Callable[[str, str], str]) -> PersonRow:
    return PersonRow(need.identity, state="conflict", reason=rules.several(need.several, url), checked_at=now)


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
