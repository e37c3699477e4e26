"""What the record of a person lacks that syncd made of one identity alone, and a later signal of theirs tells. Pure.

The round asks here before it sends. Nothing is written over: a name only where the identity stands in its place, an identity only
into an empty field of a record that syncd made.
"""

from __future__ import annotations

import msgspec

from syncd.connector import PersonMatch
from syncd.dispatch.people import PersonLookup
from syncd.dispatch.person_names import always_filled, as_update, lacks_name, marks_of, named_draft, needs_name
from syncd.dispatch.plan import person_key
from syncd.dispatch.tied_people import completed
from syncd.identity.identities import EMAIL, PHONE
from syncd.mapping.language import PEOPLE_CREATE
from syncd.mapping.model import CompiledMapping, Draft
from syncd.matching import same_name
from syncd.signals import Signal


def completing(mapping: CompiledMapping, signal: Signal, need: PersonLookup, *, begun: bool = False) -> Draft | None:
    """What a person's record lacks and the signal tells, None for nothing. `begun`: it was found to lack it before.

    A record that was found by a number alone is theirs if the number and their address were seen together: a number that several
    people use, and the address of a role, tie nothing.
    """
    found = need.found
    if found is None:
        return None
    person = completed(signal.person, need.others)
    about = msgspec.structs.replace(signal, person=person)
    guessed = found.by_number and bool(person.email) and f"{PHONE}{person.phone}" not in need.others
    draft = None
    if not guessed and (begun or lacks_name(found.name, person)):
        draft = named_draft(mapping, about)
    if draft is None and not guessed and (begun or _lacks_identity(found, signal, need)):
        draft = identified_draft(mapping, about, need)
    return draft if draft is not None and draft.object == found.object else None


def _lacks_identity(found: PersonMatch, signal: Signal, need: PersonLookup) -> bool:
    """Whether the record was found by another identity than the one that the signal's person goes by, and has no other name."""
    by_another = need.by_tie or str(signal.id) in need.introduced
    by_another = by_another or (found.by_number and need.identity.startswith(EMAIL))
    named = found.name and not (needs_name(signal.person) or lacks_name(found.name, signal.person))
    return by_another and not (named and not same_name(found.name, signal.person.name))


def identified_draft(mapping: CompiledMapping, signal: Signal, need: PersonLookup) -> Draft | None:
    """What gives a record that syncd made of one identity the others: written only into empty fields, and only where its key says
    that syncd made it of one of them. None when the mapping makes no such record."""
    _, key_field = mapping.key_fields().get(PEOPLE_CREATE, ("", ""))
    if not key_field:
        return None
    new, marks = mapping.stranger(signal), marks_of(signal.person)
    always = always_filled(mapping, signal)
    fill = {field: value for field, value in new.fields.items() if value in marks and field not in always}
    if new.faults or not fill:
        return None
    made: dict[str, object] = {key_field: tuple(map(person_key, (need.identity, *need.others)))}
    return as_update(new, {}, fill, made)
