"""Names of people whose record syncd made of an identity alone, and of signals that tell no name. Pure.

The round asks here before it sends: a later signal may give the record its name and the identities that it lacks, and the CRM's
name goes into other records.
"""

from __future__ import annotations

from typing import Any

import msgspec

from syncd.mapping.language import PEOPLE_CREATE
from syncd.mapping.model import CompiledMapping, Draft
from syncd.mapping.verbs import UPDATE
from syncd.signals import Person, Signal, split_name

PEOPLE_NAME = "people.name"
"""The rule that gives a record which syncd made of an identity alone the name and the identities that a later signal tells."""


def needs_name(person: Person) -> bool:
    """Whether a signal tells no name of the person, or only their address, number or handle."""
    return person.name in ("", *marks_of(person))


def lacks_name(name: str, person: Person) -> bool:
    """Whether a record's name is only the address, number or handle that syncd made it of."""
    return not any(sign.isalpha() for sign in name) or name.casefold() in map(str.casefold, marks_of(person))


def marks_of(person: Person) -> tuple[str, ...]:
    """What may stand in place of a name."""
    return tuple(mark for mark in (person.email, person.phone, *person.handles.values()) if mark)


def named_draft(mapping: CompiledMapping, signal: Signal) -> Draft | None:
    """What gives the record of a new person, made of an identity alone, the name that this signal tells: written only if the
    identity still stands in the field. None when the mapping makes no such record."""
    person = signal.person
    marks = marks_of(person)
    if needs_name(person) or PEOPLE_CREATE not in mapping.key_fields():
        return None
    new = mapping.stranger(signal)
    bare = _bare(mapping, signal)
    names = {
        field: value
        for field, value in new.fields.items()
        if value not in marks and all(fields.get(field) in marks for fields in bare)
    }
    if new.faults or not names:
        return None
    always = always_filled(mapping, signal)
    fill = {field: value for field, value in new.fields.items() if field not in names and field not in always}
    stands: dict[str, object] = {field: (*marks, value) for field, value in names.items()}  # it may be there already
    return as_update(new, names, fill, stands)


def _bare(mapping: CompiledMapping, signal: Signal) -> list[dict[str, Any]]:
    """The fields of the records that would be made of one identity of the person alone."""
    person = signal.person
    known = [Person(email=person.email), Person(phone=person.phone), Person(email=person.email, phone=person.phone)]
    known += [Person(handles={network: id_}) for network, id_ in person.handles.items()]
    return [mapping.stranger(msgspec.structs.replace(signal, person=one)).fields for one in known if one.identity]


def always_filled(mapping: CompiledMapping, signal: Signal) -> set[str]:
    """The fields that each of these records has."""
    first, *others = _bare(mapping, signal)
    return set(first).intersection(*others)


def as_update(new: Draft, fields: dict[str, Any], fill: dict[str, Any], only_if: dict[str, Any]) -> Draft:
    """The draft of a new person as a change of a record that is there."""
    return msgspec.structs.replace(
        new,
        rule=PEOPLE_NAME,
        key_field="",
        fields=fields,
        on_create={},
        owner=None,
        verb=UPDATE,
        fill=fill,
        only_if=only_if,
    )


def with_name(signal: Signal, name: str) -> Signal:
    """The signal with the name that the CRM has of the person."""
    first, last = split_name(name)
    person = msgspec.structs.replace(signal.person, name=name, first_name=first, last_name=last)
    return msgspec.structs.replace(signal, person=person)
