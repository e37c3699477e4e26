"""The records to create for people whom the CRM does not have: which of them are one person, under which key. Pure.

`person_creation` sends them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from syncd.connector import Link, PersonQuery, Write
from syncd.dispatch import joining
from syncd.dispatch.decided import Decided
from syncd.dispatch.endpoints import Endpoints
from syncd.dispatch.joining import MatchKeys
from syncd.dispatch.people import PersonLookup, creates, person_query, tied_query
from syncd.dispatch.plan import person_key
from syncd.dispatch.tied_people import leader_of
from syncd.identity.identities import HANDLE
from syncd.mapping.model import CompiledMapping, Draft
from syncd.store.queue import Taken


@dataclass(slots=True)
class NewPerson:
    """A stranger to create, under one or several identities; `brought`: the delivery that brought them. `wanted`: how the CRM's
    own record of them would be recognised. `owner`: who takes this turn, as JSON; `turns`: taken and not written down yet;
    `chosen`: why it is them. `account`: the company that they are linked to, which is known as `company`."""

    leader: str
    needs: list[PersonLookup]
    brought: Taken
    draft: Draft
    write: Write
    wanted: PersonQuery
    owner: str = ""
    turns: int = 0
    chosen: Decided | None = None
    account: Link | None = None
    company: str = ""


def new_people(
    strangers: Sequence[PersonLookup], mapping: CompiledMapping, needing: Collection[str]
) -> tuple[list[NewPerson], list[PersonLookup]]:
    """(the records to create, one for all identities that are one person; strangers of whom only a number is known that several
    of the others have). `needing`: ids of the signals that have something to write."""
    made: list[tuple[PersonLookup, Taken, Draft]] = []
    for need in strangers:
        taken, signal = next(one for one in need.asked if one[0].signal_id in needing and creates(mapping, one[1]))
        made.append((need, taken, mapping.stranger(msgspec.structs.replace(signal, person=need.whole))))
    groups, unsure = joining.joined([_match_keys(need, draft, mapping) for need, _, draft in made])
    found = [_new_person([made[place] for place in members], mapping) for members in groups]
    return found, [made[place][0] for place in unsure]


def creatable(them: Sequence[NewPerson], endpoints: Endpoints, now: int) -> list[NewPerson]:
    """Those whose object takes writes: none while it rests after failed calls, one while it is not known whether it answers
    again."""
    first = set[str]()
    made = []
    for one in them:
        object_ = one.write.object
        if endpoints.rests_until(object_, now) or (endpoints.probing(object_) and object_ in first):
            continue
        first.add(object_)
        made.append(one)
    return made


def _match_keys(need: PersonLookup, draft: Draft, mapping: CompiledMapping) -> MatchKeys:
    person = need.whole
    terms = [term for look in mapping.lookups(person) if look.object == draft.object for term in look.terms]
    theirs = [one for one in person.identities if one.startswith(HANDLE)]  # numbers are weighed by `joining`
    exact = {("identity", one) for one in (need.identity, _leader(need), *need.others, *theirs)}
    exact |= {(term.field, term.value) for term in terms if not term.phone}
    numbers = frozenset(term.value for term in terms if term.phone)
    moments = [(signal.occurred_at.timestamp(), signal.received_at.timestamp()) for _, signal in need.asked]
    return MatchKeys(frozenset(exact), numbers, bool(person.email or theirs), min(moments), max(moments))


def _leader(need: PersonLookup) -> str:
    """The identity they are created as."""
    row = need.row
    if row is not None and row.state == "creating":
        return leader_of(row) or need.identity
    return need.identity


def _new_person(members: list[tuple[PersonLookup, Taken, Draft]], mapping: CompiledMapping) -> NewPerson:
    # Whoever was under way already keeps the key they were sent with.
    begun = [need for need, _, _ in members if need.row is not None and need.row.state == "creating"]
    leader = _leader(begun[0]) if begun else members[0][0].identity
    brought = members[0][1]
    draft = next((draft for need, _, draft in members if need.whole.email), members[0][2])
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
    wanted = [query(need, mapping) for need, _, _ in members for query in (person_query, tied_query)]
    merged = PersonQuery(
        leader,
        tuple(dict.fromkeys(look for one in wanted for look in one.lookups)),
        next((one.email for one in wanted if one.email), ""),
        next((one.name for one in wanted if one.name), ""),
    )
    return NewPerson(leader, [need for need, _, _ in members], brought, draft, write, merged)
