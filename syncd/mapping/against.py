"""Compares a mapping with what a CRM says of its own objects and fields: everything that would be refused, dropped or doubled.

`check --online` and `prepare` ask. Pure: a loaded mapping and descriptions in, remarks with file, line and column out.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from syncd.capabilities import ConversionNames, FieldDescription, Level, MissingField, Pipeline
from syncd.config.yaml_positions import KeyPath
from syncd.connector import Idempotency, WriteKind
from syncd.errors import Fault
from syncd.mapping.bounds import literal, longest, shortens, type_of
from syncd.mapping.loading import Mapping as LoadedMapping
from syncd.mapping.mapped_records import MappedRecord, Role, Use, field_uses
from syncd.mapping.parts import ConversionPart
from syncd.mapping.stages import wrong_stages
from syncd.mapping.uses import conversions_of, looked_up, lookups_of, notifications_of, people_objects, records_of

KEY_LENGTH = 36
"""Characters of syncd's key, a UUID as text."""
KEY_ROOM = 64
"""What a key field is made with: room to spare costs nothing."""
TEXT_ROOM = 255
"""A text field up to this length wants `shorten`, and this is what a field is made with when the mapping says nothing."""
SEVERAL = "several"
"""`MissingField.type` of a field with several values. It is made by hand: its values are the company's to choose."""
OWN_LENGTH = frozenset({"email", "phone", "url", "website"})
"""Types of fields whose values are short by themselves: nobody shortens an address."""
KINDS = {
    WriteKind.UPSERT: "upserted by {key}",
    WriteKind.UNIQUE: "inserted; refused as a duplicate of {key} means that it is there",
    WriteKind.FINDABLE: "inserted; looked up by {key} before it is sent again",
    WriteKind.AT_MOST_ONCE: "written at most once: an attempt in doubt ends unconfirmed",
}


@dataclass(frozen=True)
class Remark:
    """One thing found. `fault.hint` says what to do."""

    level: Level
    fault: Fault


@dataclass(frozen=True)
class CrmDescription:
    """What is known of the CRM. `objects`: as `Describes.describe` tells them. `kinds`: object -> kind as the configuration
    states it. `prepare`: the command that makes missing fields, "" when no command does.
    `notifications`: the kinds that it has, None when it does not tell. `conversions`: what they are about, None where it has
    none; `converted_statuses`: those that a converted lead may get, None where there are none to choose. `pipelines`: of deals,
    where their stages go by names, None elsewhere."""

    objects: Mapping[str, Sequence[FieldDescription]]
    folds_case: bool
    keying: Callable[[str, str], Idempotency]
    kinds: Mapping[str, str] = field(default_factory=dict)
    widens: bool = False
    prepare: str = ""
    notifications: Sequence[str] | None = None
    conversions: ConversionNames | None = None
    converted_statuses: Sequence[str] | None = None
    pipelines: Sequence[Pipeline] | None = None

    @cached_property
    def _fields(self) -> dict[str, dict[str, FieldDescription]]:
        return {
            self._same(name): {self._same(one.name): one for one in described}
            for name, described in self.objects.items()
        }

    def _same(self, name: str) -> str:
        return name.casefold() if self.folds_case else name

    def fields(self, object_: str) -> Mapping[str, FieldDescription] | None:
        """Its fields, None when there is no such object."""
        return self._fields.get(self._same(object_))

    def find(self, object_: str, name: str) -> FieldDescription | None:
        return (self.fields(object_) or {}).get(self._same(name))

    def meant(self, object_: str, name: str) -> str:
        """The field that a mistyped name probably means, "" when none is near."""
        known = {one.name.casefold(): one.name for one in (self.fields(object_) or {}).values()}
        near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.75)
        return known[near[0]] if near else ""


def compare(mapping: LoadedMapping, crm: CrmDescription) -> tuple[Remark, ...]:
    """Everything found, in the order of the file; what is well is one remark a record, saying how it is written."""
    found = [remark for record in records_of(mapping.parts) for remark in _record(mapping, record, crm)]
    found += _lookups(mapping, crm)
    found += _notifications(mapping, crm)
    found += _conversions(mapping, crm)
    return tuple(sorted(found, key=lambda remark: (remark.fault.line, remark.fault.column)))


def needs(mapping: LoadedMapping, crm: CrmDescription) -> tuple[MissingField, ...]:
    """The fields that are named and not there, each once, keys first; those of unknown objects only where the CRM widens."""
    found: dict[tuple[str, str], MissingField] = {}
    uses = [use for record in records_of(mapping.parts) for use in record.uses]
    for use in sorted((*uses, *lookups_of(mapping.parts)), key=lambda use: use.role is not Role.KEY):
        absent = crm.fields(use.object) is None
        if use.role is Role.COPY:
            continue  # it is there or misspelt
        if (absent and not crm.widens) or crm.find(use.object, use.field) is not None:
            continue
        mark = (use.object.casefold(), use.field.casefold())
        need = _need(use, crm)
        if need.type == SEVERAL and mark in found:
            found[mark] = msgspec.structs.replace(
                found[mark], values=tuple(dict.fromkeys((*found[mark].values, *need.values)))
            )
        elif mark not in found or (not found[mark].key and need.length > found[mark].length):
            found[mark] = need
    return tuple(found.values())


def _need(use: Use, crm: CrmDescription) -> MissingField:
    if use.role is Role.LIST and not crm.widens:
        value = literal(use.tree)
        values = () if value is None else (str(value),)
        return MissingField(object=use.object, field=use.field, type=SEVERAL, values=values)
    if use.role is Role.KEY:
        return MissingField(object=use.object, field=use.field, key=True, length=KEY_ROOM)
    room = longest(use.tree) if shortens(use.tree) else None
    length = max(room or 0, TEXT_ROOM)
    return MissingField(object=use.object, field=use.field, length=length, type=type_of(use.tree))


# ------------------------------------------------------------------------------------------------------- one record


def _record(mapping: LoadedMapping, record: MappedRecord, crm: CrmDescription) -> Iterator[Remark]:
    def say(level: Level, place: KeyPath, message: str, hint: str = "") -> Remark:
        return Remark(level, mapping.document.fault(place, message, hint))

    fields = crm.fields(record.object)
    if fields is None:
        if crm.widens:
            yield say(Level.OK, record.place, f"{record.object} is not there yet: the first write makes it")
        else:
            yield say(Level.FAULT, record.place, *_no_object(record.object))
        return
    yield from _fields(mapping, record, crm, say)
    if record.own:
        yield say(Level.OK, record.place, f"{record.object}: updated by its id")
        return
    filled = {use.field.casefold() for use in record.uses if use.role is not Role.CLEAR}
    for one in fields.values():
        if one.required and one.creatable and one.name.casefold() not in filled:
            message = f"nothing fills {one.name}, without which no new {record.object} is taken"
            yield say(Level.FAULT, record.place, message, f"fill {one.name} in fields or on_create")
    yield from _kind(record, crm, say)


def _fields(
    mapping: LoadedMapping, record: MappedRecord, crm: CrmDescription, say: Callable[..., Remark]
) -> Iterator[Remark]:
    """What is wrong with the fields that are written."""
    for use in record.uses:
        known = crm.find(use.object, use.field)
        if known is None:
            if not crm.widens:
                yield say(Level.FAULT, use.place, *_no_field(use, crm))
            continue
        for level, message, hint in (*_rights(use, known), *_value(use, known), *_points(use, known, mapping)):
            yield say(level, use.place, message, hint)


def _no_object(name: str) -> tuple[str, str]:
    return f"there is no {name}, or our user may not see it", "check the name, and give the user read and edit on it"


def _no_field(use: Use, crm: CrmDescription) -> tuple[str, str]:
    message = f"{use.object} has no field {use.field}, or our user may not see it"
    near = "" if use.role is Role.KEY else crm.meant(use.object, use.field)
    if near:
        return message, f"did you mean {near}?"
    if use.role is Role.LIST:
        how = f"; `{crm.prepare}` says how" if crm.prepare else ""
        return message, f"correct the name; if it is to be a field of your own, make it by hand{how}"
    make = f"`{crm.prepare}` makes it" if crm.prepare else "make it"
    return message, make if use.role is Role.KEY else f"correct the name; if it is to be a field of your own, {make}"


def _rights(use: Use, known: FieldDescription) -> Iterator[tuple[Level, str, str]]:
    """Whether our user may write it the way the mapping does."""
    give = "give the user edit on the field, or leave it out"
    if use.role is Role.LOOK_UP:
        return
    if use.role is not Role.CLEAR and not known.creatable:
        yield Level.FAULT, f"{use.object}.{known.name} cannot be written by our user", give
    elif use.role in (Role.WRITE, Role.CLEAR, Role.LIST) and not known.updatable:
        hint = "move it to on_create" if use.role is Role.WRITE and known.creatable else give
        yield Level.FAULT, f"{use.object}.{known.name} cannot be changed on a record that exists", hint
    elif use.role is Role.FIRST and not known.updatable:
        message = f"{use.object}.{known.name} cannot be changed: a new record whose answer was lost would be refused"
        yield Level.WARNING, message, "leave it out, if the record can do without"
    if use.role is Role.CLEAR and known.required:
        yield Level.FAULT, f"{use.object}.{known.name} is required: it cannot be emptied", "take it out of clear"


def _value(use: Use, known: FieldDescription) -> Iterator[tuple[Level, str, str]]:
    """Whether what the mapping fills in fits."""
    if use.role is Role.KEY:
        if known.length is not None and known.length < KEY_LENGTH:
            message = f"{use.object}.{known.name} takes {known.length} characters; syncd's key has {KEY_LENGTH}"
            yield Level.FAULT, message, f"lengthen it to {KEY_ROOM}"
        return
    if use.role not in (Role.WRITE, Role.FIRST, Role.LIST):
        return
    same = literal(use.tree)
    if known.values is not None and isinstance(same, str):
        yield from _picked(use, known, same, known.values)
    elif use.role is not Role.LIST and known.length is not None and known.values is None and not known.references:
        yield from _fits(use, known, known.length, same)


def _picked(use: Use, known: FieldDescription, value: str, values: Sequence[str]) -> Iterator[tuple[Level, str, str]]:
    if value in values:
        return
    near = difflib.get_close_matches(value, values, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(values[:10])}"
    if known.restricted:
        yield Level.FAULT, f"{use.object}.{known.name} does not take {value!r}", hint
    else:
        yield Level.WARNING, f"{value!r} is not one of the values of {use.object}.{known.name}", hint


def _fits(use: Use, known: FieldDescription, room: int, same: Any) -> Iterator[tuple[Level, str, str]]:
    most = longest(use.tree)
    takes = f"{use.object}.{known.name} takes {room} characters"
    if most is not None and most > room:
        if same is not None:
            yield Level.FAULT, f"{takes}; this has {most}", "shorten the text"
        elif shortens(use.tree):
            yield Level.FAULT, f"{takes}; this may have {most}", "shorten to less"
        elif known.type.lower() not in OWN_LENGTH:
            yield Level.WARNING, f"{takes}; this may have {most}", f"add | shorten({room})"
    elif most is None and room <= TEXT_ROOM and known.type.lower() not in OWN_LENGTH and type_of(use.tree) == "text":
        yield Level.WARNING, f"{takes}; a longer value is a dead letter", f"add | shorten({room})"


def _points(use: Use, known: FieldDescription, mapping: LoadedMapping) -> Iterator[tuple[Level, str, str]]:
    """Whether a link can point at the people the mapping knows."""
    if use.role is not Role.LINK or use.target != "person" or not known.references:
        return
    people = use.takes or people_objects(mapping.parts)
    able = {name.casefold() for name in known.references}
    cannot = [name for name in people if name.casefold() not in able]
    if not cannot:
        return
    message = f"{use.object}.{known.name} cannot point at {_either(cannot)}"
    hint = f"it can at: {', '.join(known.references[:10])}"
    yield (Level.WARNING if len(cannot) < len(people) else Level.FAULT), message, hint


def _either(names: Iterable[str]) -> str:
    return " or ".join(f"a {name}" for name in names)


# --------------------------------------------------------------------------------------------------------- its kind


def _kind(record: MappedRecord, crm: CrmDescription, say: Callable[..., Remark]) -> Iterator[Remark]:
    """How the record is written, and whether the key's field bears it."""
    own = crm.keying(record.object, record.key)
    stated = record.kind or crm.kinds.get(record.object, "")
    kind = WriteKind(stated) if stated else own.kind
    by = f" (stated: {stated})" if stated else ""
    key = crm.find(record.object, record.key) if record.key else None
    if record.key and key is None:
        return  # said already
    if key is not None and (remark := _key_fault(record, key, Idempotency(kind, own.enforced), by)):
        level, message, hint = remark
        yield say(level, record.key_place, message, hint)
        return
    words = KINDS[kind].format(key=key.name if key else record.key)
    if kind is WriteKind.UPSERT and key is not None and not key.unique:
        words += ", which is not enforced as unique: what is in doubt waits before it is sent again"
    yield say(Level.OK, record.key_place, f"{record.object}: {words}{by}")


def _key_fault(
    record: MappedRecord, key: FieldDescription, keying: Idempotency, by: str
) -> tuple[Level, str, str] | None:
    """What is wrong with the field of the key for writes of this kind. `by`: who says that they are of this kind."""
    upsert = keying.kind is WriteKind.UPSERT
    if upsert and not key.key:
        message = f"{record.object} cannot be upserted by {key.name}{by}: it is not marked as a key of records"
        return Level.FAULT, message, "make it an external id or unique, or state another kind: findable"
    if keying.kind is WriteKind.UNIQUE and not key.unique:
        message = f"{record.object}.{key.name} is not unique{by}: a write in doubt would be there twice"
        return Level.FAULT, message, f"make it unique, or say kinds: {{{record.object}: findable}}"
    if upsert and keying.enforced and not key.unique:
        message = f"{record.object}.{key.name} is not unique: two writers at once would both make a record"
        return Level.WARNING, message, "make it unique"
    return None


# --------------------------------------------------------------------------------------------------------- look-ups


def _lookups(mapping: LoadedMapping, crm: CrmDescription) -> Iterator[Remark]:
    place = mapping.document.fault
    for name, path in looked_up(mapping.parts):
        if crm.fields(name) is None:
            yield Remark(Level.FAULT, place(path, *_no_object(name)))
    for use in lookups_of(mapping.parts):
        if crm.fields(use.object) is not None and crm.find(use.object, use.field) is None:
            yield Remark(Level.FAULT, place(use.place, *_no_field(use, crm)))


def _notifications(mapping: LoadedMapping, crm: CrmDescription) -> Iterator[Remark]:
    for name, place in notifications_of(mapping.parts).items():
        if crm.notifications is None or name in crm.notifications:
            continue
        near = difflib.get_close_matches(name, crm.notifications, n=1, cutoff=0.6)
        hint = (
            f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(crm.notifications)[:10]) or 'none'}"
        )
        fault = mapping.document.fault(place, f"there is no notification {name}", hint)
        yield Remark(Level.FAULT, fault)


# ------------------------------------------------------------------------------------------------------ conversions


def _conversions(mapping: LoadedMapping, crm: CrmDescription) -> Iterator[Remark]:
    """The deals that leads become, and the status that they get."""

    def say(level: Level, place: KeyPath, message: str, hint: str = "") -> Remark:
        return Remark(level, mapping.document.fault(place, message, hint))

    for part, place in conversions_of(mapping.parts) if crm.conversions else ():
        if crm.conversions is not None and part.deal is not None:
            yield from _deals(mapping, part, (*place, "deal"), crm, crm.conversions, say)
        status = literal(part.records.get("status"))
        if "status" in part.records and crm.converted_statuses is None:
            message = "a converted lead has no status to choose here"
            yield say(Level.FAULT, (*place, "status"), message, "leave it out")
        elif isinstance(status, str) and status not in (crm.converted_statuses or ()):
            there = ", ".join(crm.converted_statuses or ()) or "none"
            yield say(
                Level.FAULT,
                (*place, "status"),
                f"no converted lead may have the status {status!r}",
                f"there are: {there}",
            )


def _deals(
    mapping: LoadedMapping,
    part: ConversionPart,
    place: KeyPath,
    crm: CrmDescription,
    names: ConversionNames,
    say: Callable[..., Remark],
) -> Iterator[Remark]:
    fields = crm.fields(names.deals)
    if fields is None:
        yield say(Level.FAULT, place, *_no_object(names.deals))
        return
    known = {key: field for key, field in names.deal_fields.items() if key in (part.deal or {})}
    uses = [
        Use(names.deals, known[key], Role.WRITE, (*place, key), tree)
        for key, tree in (part.deal or {}).items()
        if key in known
    ]
    uses += field_uses(names.deals, part.fields, Role.WRITE, (*place, "fields"))
    if names.role[0] and "role" in (part.deal or {}):
        uses.append(Use(*names.role, Role.WRITE, (*place, "role"), (part.deal or {})["role"]))
    named = {(*place, key) for key in ("stage", "pipeline")} if crm.pipelines else set()
    compared = tuple(use for use in uses if use.place not in named)
    yield from _fields(mapping, MappedRecord("deal", names.deals, "", "", place, compared), crm, say)
    for key, message, hint in wrong_stages(part.deal or {}, crm.pipelines or ()):
        yield say(Level.FAULT, (*place, key), message, hint)
    filled = {use.field.casefold() for use in uses}
    filled |= {field.casefold() for key, field in names.deal_fields.items() if key not in names.needed}
    for one in fields.values():
        if one.required and one.creatable and one.name.casefold() not in filled:
            message = f"nothing fills {one.name}, without which no new {names.deals} is taken"
            yield say(Level.FAULT, place, message, f"fill {one.name} in fields of the deal")
    yield say(Level.OK, place, f"{names.deals}: made with the conversion of a lead")
