"""What customers send to a WhatsApp Business number, from the webhooks of the Cloud API. Pure.

Facts: developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages and the pages below it (text,
image, …, contacts, group, unsupported), and …/whatsapp/business-scoped-user-ids: since 2026 a customer with a username may come
without a phone number, with `user_id` alone, which belongs to the business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from syncd.connector import Batch, Context
from syncd.connectors.social.fields import Fields, fields_of, id_of, inner, rows_of, text_of, time_of
from syncd.connectors.social.meta_hooks import MetaEvent
from syncd.errors import Malformed
from syncd.signals import Person, Signal, derive_id, make_person
from syncd.texts.titles import titled

TYPE = "message.received"
MEDIA = ("image", "video", "audio", "document", "sticker")


def one_message_each(event: MetaEvent) -> Iterator[MetaEvent]:
    """An event with each of its messages alone; what else it has stays together."""
    value = event.value.get("value") if isinstance(event.value, dict) else None
    messages = value.get("messages") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(messages, list) or len(messages) < 2:
        yield event
        return
    for message in messages:
        yield replace(event, value={**event.value, "value": {**value, "messages": [message]}})


def read_change(event: MetaEvent, account: str, context: Context, received_at: datetime, where: str) -> Batch:
    """A change of the account: the signals of its messages; statuses of our own messages are dropped. Raises Malformed."""
    if not event.kind:
        return Batch(dropped={"no event": 1})
    change = fields_of(event.value, where)
    field = text_of(change.get("field"))
    if not field:
        raise Malformed(f"{where}, field: missing")
    if field != "messages":
        return Batch(dropped={f"field {field[:40]}": 1})
    value = fields_of(change.get("value"), f"{where}, value")
    dropped: dict[str, int] = {}
    for status in rows_of(value.get("statuses")):
        name = f"status {text_of(status.get('status'))[:40]}".strip()
        dropped[name] = dropped.get(name, 0) + 1
    messages = value.get("messages")
    if messages is None:
        return Batch(dropped=dropped or {"no message": 1})
    if not isinstance(messages, list):
        raise Malformed(f"{where}, value.messages: {type(messages).__name__} instead of a list")
    signals = []
    for message in messages:
        made = _signal(fields_of(message, f"{where}, message"), value, account, context, received_at, where)
        if isinstance(made, Signal):
            signals.append(made)
        else:
            dropped[made] = dropped.get(made, 0) + 1
    return Batch(signals, dropped=dropped)


def _signal(
    message: Fields, value: Fields, account: str, context: Context, received_at: datetime, where: str
) -> Signal | str:
    kind, native, number = text_of(message.get("type")), id_of(message.get("id")), inner(value, "metadata")
    sender = id_of(message.get("from")) or id_of(message.get("from_user_id"))
    if not native or not kind:
        raise Malformed(f"{where}: a message without its id or type")
    if kind == "system" or (kind == "reaction" and not text_of(inner(message, "reaction").get("emoji"))):
        return "system message" if kind == "system" else "reaction removed"
    if not sender:
        raise Malformed(f"{where}: a message without its sender")
    if _digits(sender) == _digits(id_of(number.get("display_phone_number"))) != "":
        return "own"
    person, ours = _person(message, value, context.region), id_of(number.get("phone_number_id"))
    group, moment = id_of(message.get("group_id")), time_of(message.get("timestamp"), f"{where}, timestamp")
    who, code = person.name or person.phone, "message.received.whatsapp"
    media, referral = inner(message, kind), inner(message, "referral")
    data = {
        "network": "whatsapp",
        "kind": kind,
        "message_id": native,
        "phone_number_id": ours,
        "number": id_of(number.get("display_phone_number")),
        "username": text_of(inner(_contact(message, value), "profile").get("username")),
        "media_id": id_of(media.get("id")) if kind in MEDIA else "",
        "mime_type": text_of(media.get("mime_type")),
        "reply_to": id_of(inner(message, "context").get("id")) or id_of(inner(message, "reaction").get("message_id")),
        "group_id": group,
        "ad_id": id_of(referral.get("source_id")),
        "ad_headline": text_of(referral.get("headline")),
    }
    return Signal(
        id=derive_id("whatsapp", account, TYPE, native),
        type=TYPE,
        source=context.name,
        occurred_at=moment or received_at,
        received_at=received_at,
        **(titled(code, who=who) if who else titled(f"{code}.bare")),
        text=_text(kind, message),
        reply=f"https://wa.me/{person.phone.removeprefix('+')}" if person.phone else "",
        person=person,
        data={name: held for name, held in data.items() if held},
        thread=f"whatsapp:{ours}:{group or _digits(sender) or sender}",
    )


def _contact(message: Fields, value: Fields) -> Fields:
    """Who of the `contacts` wrote the message."""
    ids = {id_of(message.get("from")), id_of(message.get("from_user_id"))} - {""}
    contacts = rows_of(value.get("contacts"))
    same = (one for one in contacts if not ids.isdisjoint({id_of(one.get("wa_id")), id_of(one.get("user_id"))}))
    return next(same, contacts[0] if len(contacts) == 1 else {})


def _person(message: Fields, value: Fields, region: str | None) -> Person:
    contact = _contact(message, value)
    digits = _digits(id_of(message.get("from")))
    user = id_of(message.get("from_user_id")) or id_of(contact.get("user_id"))
    handles = {"whatsapp": id_of(contact.get("wa_id")) or digits, "whatsapp_user": user}
    return make_person(
        name=text_of(inner(contact, "profile").get("name")),
        phone=f"+{digits}" if digits else "",
        handles={network: id_ for network, id_ in handles.items() if id_},
        region=region,
    )


def _digits(number: str) -> str:
    """A phone number as WhatsApp writes it, without its plus sign; "" for anything else."""
    bare = number.removeprefix("+")
    return bare if bare.isascii() and bare.isdigit() else ""


# ------------------------------------------------------------------------------------------------------------- texts


def _text(kind: str, message: Fields) -> str:
    """What a salesperson reads: the text, or what was sent instead of one in brackets."""
    held = inner(message, kind)
    if kind in MEDIA:
        name = "voice message" if held.get("voice") is True else kind
        return _lines(f"[{name}] {text_of(held.get('filename'))}", text_of(held.get("caption")))
    reader = _READERS.get(kind)
    return (reader(held, message) if reader else "") or f"[{kind[:40]}]"


def _interactive(held: Fields, message: Fields) -> str:
    reply = inner(held, text_of(held.get("type")))
    return _lines(text_of(reply.get("title")) or text_of(reply.get("body")), text_of(reply.get("description")))


def _location(held: Fields, message: Fields) -> str:
    place = ", ".join(filter(None, (text_of(held.get("name")), text_of(held.get("address")))))
    latitude, longitude = held.get("latitude"), held.get("longitude")
    numbers = isinstance(latitude, (int, float)) and isinstance(longitude, (int, float))
    return _lines(f"[location] {place}", f"{latitude}, {longitude}" if numbers else "")


def _contacts(held: Fields, message: Fields) -> str:
    lines = []
    for one in rows_of(message.get("contacts")):
        phones = [text_of(phone.get("phone")) for phone in rows_of(one.get("phones"))]
        emails = [text_of(email.get("email")) for email in rows_of(one.get("emails"))]
        said = [text_of(inner(one, "name").get("formatted_name")), *phones, *emails]
        lines.append("[contact] " + ", ".join(filter(None, said)))
    return _lines(*lines)


def _order(held: Fields, message: Fields) -> str:
    items = [
        f"{id_of(row.get('quantity'))} x {id_of(row.get('product_retailer_id'))}"
        for row in rows_of(held.get("product_items"))
    ]
    return _lines("[order]", text_of(held.get("text")), *items)


_READERS: Mapping[str, Callable[[Fields, Fields], str]] = {
    "text": lambda held, message: text_of(held.get("body")),
    "button": lambda held, message: text_of(held.get("text")),
    "reaction": lambda held, message: text_of(held.get("emoji")),
    "interactive": _interactive,
    "location": _location,
    "contacts": _contacts,
    "order": _order,
}


def _lines(*parts: str) -> str:
    return "\n".join(part.strip() for part in parts if part.strip())
