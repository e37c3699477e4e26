"""A person by all their identities: what the cache and the ties say of somebody whom the CRM does not know by their own. Pure.

`people` asks here between its look-ups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from syncd.connector import Lookup, PersonMatch
from syncd.identity.identities import EMAIL, PHONE, handle_identities, split_handle
from syncd.identity.ties import TieGraph
from syncd.mapping.model import CompiledMapping
from syncd.signals import Person
from syncd.store.lanes import PersonRow
from syncd.texts.reasons import Reason

ALIAS = "alias"
"""Code of the reason of a person who is created under another of their identities."""


def alias_of(identity: str) -> Reason:
    """The reason of a person who is created as this identity."""
    return Reason(ALIAS, identity=identity)


def leader_of(row: PersonRow) -> str:
    """The other identity that a person is created as, "" for none."""
    reason = row.reason
    return str(reason.parameters["identity"]) if isinstance(reason, Reason) and reason.code == ALIAS else ""


def without(person: Person, identities: Collection[str]) -> Person:
    """The person without these identities."""
    handles = {
        network: id_
        for network, id_ in person.handles.items()
        if not set(handle_identities({network: id_})) & set(identities)
    }
    return msgspec.structs.replace(
        person,
        email="" if f"{EMAIL}{person.email}" in identities else person.email,
        phone="" if f"{PHONE}{person.phone}" in identities else person.phone,
        handles=handles,
    )


def only(identity: str) -> Person:
    """A person of whom nothing but one identity is known."""
    network, id_ = split_handle(identity)
    if network:
        return Person(handles={network: id_})
    kind, _, value = identity.partition(":")
    return Person(email=value) if kind == "email" else Person(phone=value)


def completed(person: Person, identities: Iterable[str]) -> Person:
    """The person with what these identities add: an address, a number, an account of a network that they lack."""
    for identity in identities:
        more = only(identity)
        person = msgspec.structs.replace(
            person,
            email=person.email or more.email,
            phone=person.phone or more.phone,
            handles={**more.handles, **person.handles},
        )
    return person


def lookups_by(identities: Sequence[str], mapping: CompiledMapping) -> tuple[Lookup, ...]:
    """How to find a person by these identities, each by itself."""
    return tuple(dict.fromkeys(look for one in identities for look in mapping.lookups(only(one))))


def apart_from(identity: str, others: Iterable[str], graph: TieGraph) -> frozenset[str]:
    """Those of the others that an operator keeps apart from an identity."""
    return frozenset(other for other in others if graph.apart(identity, other))


def known_records(identities: Iterable[str], cached: Mapping[str, PersonRow]) -> dict[tuple[str, str], PersonRow]:
    """(object, id) -> what is kept of each record that one of these identities is known to be, more than by its number."""
    rows = (cached[one] for one in identities if one in cached)
    return {(row.object, row.crm_id): row for row in rows if row.state == "known" and row.object and not row.by_number}


def followed(identity: str, others: Sequence[str], cached: Mapping[str, PersonRow]) -> PersonRow | None:
    """What a person's other identities say of the one that has no record: the record one of them is known to be, or that one is
    being created. The first where they are known as several records; None when they say nothing."""
    records = list(known_records(others, cached).values())
    if records:
        return msgspec.structs.replace(records[0], identity=identity)
    begun = [cached[one] for one in others if one in cached and cached[one].state == "creating"]
    if not begun:
        return None
    first = begun[0]
    return msgspec.structs.replace(first, identity=identity, reason=alias_of(leader_of(first) or first.identity))


def as_matches(records: Iterable[PersonRow]) -> tuple[PersonMatch, ...]:
    """Kept records as the CRM's answer would have them."""
    return tuple(
        PersonMatch(object=row.object, id=row.crm_id, role=row.role, account=row.account, name=row.name)
        for row in records
    )
