"""A conversation of Intercom as a value: since when its visitor waits, what the visitor wrote, who it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from syncd.connectors.text import clean
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed
from syncd.signals import Person, make_person

Record = Mapping[str, Any]
CUSTOMERS = frozenset({"user", "lead", "contact"})
"""`author.type` of those who are not us; the others are admin, team and bot."""


def waiting_since(conversation: Record, where: str) -> datetime | None:
    """None: nobody waits for an answer. Raises Malformed for what is not a time."""
    told = conversation.get("waiting_since")
    at = time_or_none(told)
    if at is None and told not in (None, ""):
        raise Malformed(f"{where}, waiting_since: {str(told)[:40]!r} is not a time")
    return at


def came_by(conversation: Record) -> str:
    """`conversation` for a chat, `email`, `facebook` …; "" where Intercom does not say."""
    source = conversation.get("source")
    return str(source.get("type") or "") if isinstance(source, Mapping) else ""


def unanswered(conversation: Record, since: datetime) -> str:
    """What the visitor has written from `since` on, or at least the last of it."""
    said = [(at, text) for at, text in _said(conversation) if text]
    return "\n\n".join(text for at, text in said if at is None or at >= since) or (said[-1][1] if said else "")


def _said(conversation: Record) -> Iterator[tuple[datetime | None, str]]:
    source, parts = conversation.get("source"), conversation.get("conversation_parts")
    if isinstance(source, Mapping) and _is_customers(source):
        yield time_or_none(conversation.get("created_at")), _text(source)
    listed = parts.get("conversation_parts") if isinstance(parts, Mapping) else ()
    for part in listed if isinstance(listed, list) else ():
        if isinstance(part, Mapping) and _is_customers(part):
            yield time_or_none(part.get("created_at")), _text(part)


def _text(part: Record) -> str:
    return clean(str(part.get("body") or "")).strip()


def _is_customers(part: Record) -> bool:
    author = part.get("author")
    return isinstance(author, Mapping) and author.get("type") in CUSTOMERS


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
