"""A conversation of Intercom as a value: since when its visitor waits, what each side wrote, who the visitor is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from syncd.connectors.chat.answered import ChatLine
from syncd.connectors.text import clean
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed
from syncd.signals import Person, make_person

Record = Mapping[str, Any]
CUSTOMERS = frozenset({"user", "lead", "contact"})
"""`author.type` of those who are not us; the others are admin, team and bot."""
WRITTEN = frozenset({"comment", "open", "close"})
"""`part_type` of parts that the visitor sees if they have a body; `note` is for our side alone."""


def waiting_since(conversation: Record, where: str) -> datetime | None:
    """None: nobody waits for an answer. Raises Malformed for what is not a time."""
    told = conversation.get("waiting_since")
    at = time_or_none(told)
    if at is None and told not in (None, ""):
        raise Malformed(f"{where}, waiting_since: {str(told)[:40]!r} is not a time")
    return at


def last_reply(conversation: Record) -> datetime | None:
    """When one of us last replied; None if that is not said."""
    told = conversation.get("statistics")
    return time_or_none(told.get("last_admin_reply_at")) if isinstance(told, Mapping) else None


def came_by(conversation: Record) -> str:
    """`conversation` for a chat, `email`, `facebook` …; "" where Intercom does not say."""
    source = conversation.get("source")
    return str(source.get("type") or "") if isinstance(source, Mapping) else ""


def unanswered(conversation: Record, since: datetime) -> str:
    """What the visitor has written from `since` on, or at least the last of it."""
    said = [(at, text) for at, text in _said(conversation) if text]
    return "\n\n".join(text for at, text in said if at is None or at >= since) or (said[-1][1] if said else "")


def _said(conversation: Record) -> Iterator[tuple[datetime | None, str]]:
    source = conversation.get("source")
    if isinstance(source, Mapping) and _is_customers(source):
        yield time_or_none(conversation.get("created_at")), _text(source)
    for part in _parts(conversation):
        if _is_customers(part):
            yield time_or_none(part.get("created_at")), _text(part)


def _parts(conversation: Record) -> Iterator[Record]:
    parts = conversation.get("conversation_parts")
    listed = parts.get("conversation_parts") if isinstance(parts, Mapping) else ()
    yield from (part for part in (listed if isinstance(listed, list) else ()) if isinstance(part, Mapping))


def lines(conversation: Record) -> Iterator[ChatLine]:
    """What the visitor and our people wrote to each other; not what bots wrote, notes, nor what only changed the conversation.
    Of a long conversation Intercom shows the newest parts alone: then what it began with is left out."""
    source, parts = conversation.get("source"), conversation.get("conversation_parts")
    at = time_or_none(conversation.get("created_at"))
    shown = list(_parts(conversation))
    total = parts.get("total_count") if isinstance(parts, Mapping) else None
    is_whole = not isinstance(total, int) or total <= len(shown)
    if is_whole and at is not None and isinstance(source, Mapping) and _is_customers(source):
        yield ChatLine("", at, False, _text(source))
    for part in shown:
        id_, at, ours = str(part.get("id") or ""), time_or_none(part.get("created_at")), _author(part) == "admin"
        written = part.get("part_type") in WRITTEN and bool(part.get("body") or part.get("attachments"))
        if written and at is not None and ((ours and id_) or _is_customers(part)):
            yield ChatLine(id_, at, ours, _text(part))


def _author(part: Record) -> str:
    author = part.get("author")
    return str(author.get("type") or "") if isinstance(author, Mapping) else ""


def _text(part: Record) -> str:
    return clean(str(part.get("body") or "")).strip()


def _is_customers(part: Record) -> bool:
    return _author(part) in CUSTOMERS


def contact_id(conversation: Record) -> str:
    """The first contact of the conversation: who began it. "" if there is none."""
    contacts = conversation.get("contacts")
    listed = contacts.get("contacts") if isinstance(contacts, Mapping) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    return str(first.get("id") or "") if isinstance(first, Mapping) else ""


def person_of(conversation: Record, contact: Record | None, region: str | None) -> Person:
    """Who waits: as the contact says; of one that is gone, as the conversation does."""
    source = conversation.get("source")
    author = source.get("author") if isinstance(source, Mapping) and _is_customers(source) else None
    known: Record = contact or (author if isinstance(author, Mapping) else {})
    texts = {name: str(known.get(name) or "") for name in ("name", "email", "phone")}
    ids = {"intercom": contact_id(conversation), "intercom_user": str((contact or {}).get("external_id") or "")}
    return make_person(**texts, handles={network: id_ for network, id_ in ids.items() if id_}, region=region)  # type: ignore[arg-type]
