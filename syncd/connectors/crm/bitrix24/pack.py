"""How Bitrix24 takes records: fifty commands a batch, one for each record, of any objects. Pure.

A record here is `{method, parameters}`. Facts: bitrix24.md, Showing the signal; bitrix24_more.md, Timeline and follow-ups, Small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, tzinfo
from functools import partial
from typing import Any

from syncd.connector import Link, Write
from syncd.connectors.crm.bitrix24.client import COMMANDS
from syncd.connectors.crm.bitrix24.objects import (
    BESIDE,
    COMMENT,
    KEY,
    ORIGINATOR,
    OURS,
    PSEUDO,
    REF,
    TO_DO,
    TYPES,
    VALUE_TYPES,
    timeline_name,
    type_id,
)
from syncd.connectors.crm.packing import Packer, one_call
from syncd.connectors.crm.record import Formatter, Method, Target, Unsendable

CALL_BYTES = 2_000_000
"""Of commands in one request. Cautious: Bitrix24 documents no largest request."""
CLOSING = time(18, 0)
"""When a to-do is due whose mapping tells a day alone: in the configured time zone."""
SYSTEM = "system"
"""The one kind of notification: im.notify.system.add, to a user."""
USER = "USER_ID"
METHODS: Mapping[tuple[str, Method], str] = {
    (COMMENT, Method.CREATE): "crm.timeline.comment.add",
    (COMMENT, Method.UPDATE): "crm.timeline.comment.update",
    (TO_DO, Method.CREATE): "crm.activity.todo.add",
    (TO_DO, Method.UPDATE): "crm.activity.todo.update",
    (SYSTEM, Method.NOTIFY): "im.notify.system.add",
}
ADD, UPDATE, GET = "crm.item.add", "crm.item.update", "crm.item.get"
TEXTS: Mapping[str, str] = {COMMENT: "COMMENT", TO_DO: "description"}
"""Object -> its field that ends with the line of the key."""
OWNER_LINKS: Mapping[str, str] = {COMMENT: "ENTITY_ID", TO_DO: "ownerId"}
"""Object -> its field with the record that it stands at."""
SHORT_KEY = 12
"""Digits of the key in a text: they tell one record's comments apart."""
_REF = re.compile(rf"{REF}: ([0-9a-f]{{{SHORT_KEY}}})\b")
_TAG = re.compile(r"\[(?=/?[A-Za-z*])")


def ref_of(key: str) -> str:
    """The line that a text ends with."""
    return f"{REF}: {key.replace('-', '')[:SHORT_KEY]}"


def refs_in(text: str) -> list[str]:
    """The lines of keys in a text."""
    return [f"{REF}: {found}" for found in _REF.findall(text)]


def plain(text: str) -> str:
    """Text in which nothing is read as a BB code: customers' words are not ours to format."""
    return _TAG.sub("[\u200b", text)


def target_of(write: Write) -> Target:
    """No object can be upserted."""
    return Target.of(write, no_upsert=(write.object,))


def formatted(zone: tzinfo) -> Formatter:
    """Times to the second with their offset, a list as it is."""
    return Formatter("Bitrix24", lambda moment: moment.astimezone(UTC).isoformat(timespec="seconds"), list, nested=True)


def record_of(write: Write, target: Target, *, zone: tzinfo) -> dict[str, Any]:
    """The command of a write. Raises Unsendable."""
    form = formatted(zone)
    if target.method is Method.NOTIFY:
        return _notification(write, form)
    fields = form.record(write, target.method, _link)
    fields.pop("id", None)
    if write.object in BESIDE:
        return _beside(write, target, fields, zone)
    if write.key_field == KEY and not write.id:
        fields[ORIGINATOR] = OURS
    if gone := [name for name in write.clear if name in PSEUDO and fields.get(name) is None]:
        raise Unsendable(gone[0], f"syncd does not take away the {gone[0]} of a record; take it out of clear")
    entries = [entry for name in [*fields] if name in PSEUDO for entry in _entries(name, fields.pop(name))]
    if entries:
        fields["fm"] = {f"n{at}": entry for at, entry in enumerate(entries)}
    parameters: dict[str, Any] = {"entityTypeId": type_id(write.object), "fields": fields}
    if write.id:
        parameters["id"] = write.id
    return {"method": UPDATE if write.id else ADD, "parameters": parameters}


def _link(record: dict[str, Any], name: str, link: Link) -> None:
    if name == OWNER_LINKS[COMMENT]:
        record |= {name: link.id, "ENTITY_TYPE": timeline_name(link.object)}
    elif name == OWNER_LINKS[TO_DO]:
        record |= {name: link.id, "ownerTypeId": type_id(link.object)}
    else:
        record[name] = [link.id] if name.endswith("Ids") else link.id


def _entries(name: str, value: Any) -> list[dict[str, Any]]:
    """The entries of `fm` for an address, number or site, or several."""
    kind = {"typeId": PSEUDO[name], "valueType": VALUE_TYPES.get(name, "WORK")}
    values = value if isinstance(value, list) else [value]
    return [{**kind, "value": one} for one in values if one not in (None, "")]


def _beside(write: Write, target: Target, fields: dict[str, Any], zone: tzinfo) -> dict[str, Any]:
    """A comment or to-do, with the line of its key in the text."""
    text_field, owner = TEXTS[write.object], OWNER_LINKS[write.object]
    if not fields.get(owner):
        raise Unsendable(owner, f"a {write.object} belongs to a record: the rule needs link: {{{owner}: person}}")
    fields.pop(write.key_field, None)
    if write.key_field or text_field in fields:
        text = plain(str(fields.get(text_field) or "")).rstrip()
        fields[text_field] = "\n\n".join(part for part in (text, ref_of(write.key) if write.key_field else "") if part)
    if write.object == TO_DO:
        fields["deadline"] = _deadline(write, zone)
        if isinstance(title := fields.get("title"), str):
            fields["title"] = plain(title)
        parameters = {**fields, "id": write.id} if write.id else fields
    elif write.id:
        parameters = {"id": write.id, "fields": {text_field: fields.get(text_field)}}
    else:
        parameters = {"fields": fields}
    return {"method": METHODS[write.object, target.method], "parameters": parameters}


def _deadline(write: Write, zone: tzinfo) -> str:
    """When a to-do is due: Bitrix24 takes none without."""
    due = write.fields.get("deadline", write.on_create.get("deadline"))
    if isinstance(due, str) and due:
        try:
            due = datetime.fromisoformat(due) if len(due) > 10 else date.fromisoformat(due)
        except ValueError:
            raise Unsendable("deadline", f"{due!r} is not a date or time") from None
    if not isinstance(due, date):
        raise Unsendable("deadline", "a Todo needs a deadline, a date or time")
    moment = due if isinstance(due, datetime) else datetime.combine(due, CLOSING)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).isoformat(timespec="seconds")


def _notification(write: Write, form: Formatter) -> dict[str, Any]:
    """A notification to a user; `Destination` completes one for whoever is responsible for the person's record."""
    fields = {name: form(name, value) for name, value in write.fields.items()}
    if isinstance(message := fields.get("MESSAGE"), str):
        fields["MESSAGE"] = plain(message)
    return {"method": METHODS.get((write.object, Method.NOTIFY), ""), "parameters": fields}


def known_objects() -> str:
    """The objects, for messages."""
    return ", ".join((*TYPES, *sorted(BESIDE), "Dynamic_NUMBER"))


def packer(zone: tzinfo) -> Packer:
    """Fifty commands in a call, whatever their objects."""
    record = partial(record_of, zone=zone)
    return Packer(
        target=target_of, record=record, rows=COMMANDS, size=CALL_BYTES, cost=one_call, bundles=COMMANDS, most=COMMANDS
    )


NOTIFICATIONS = Packer(
    target=target_of, record=partial(record_of, zone=UTC), rows=COMMANDS // 2, size=CALL_BYTES, cost=one_call
)
"""They may need two commands each, and go by themselves: they are sent at most once."""
