"""Zoho Desk's records read as tickets, as what was said on them, and as people. Pure.

Traps kept in mind (recorded): a ticket's own `email` is null while its contact has one; counts are strings; the thread that
is the ticket's description is not a reply; becoming overdue or escalated is not an event but a difference.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from syncd.connectors.desk.tickets import Record, Said, SaidKind, Ticket, text_of
from syncd.connectors.text import clean, html_to_text
from syncd.connectors.times import time_or_none
from syncd.signals import Person, make_person

_KEPT = {
    "ticket_id": "id",
    "ticket_number": "ticketNumber",
    "subject": "subject",
    "status": "status",
    "status_type": "statusType",
    "priority": "priority",
    "channel": "channel",
    "category": "category",
    "classification": "classification",
    "department_id": "departmentId",
    "contact_id": "contactId",
    "due_date": "dueDate",
    "created_time": "createdTime",
    "custom": "cf",
}
_PERSON = {
    "name": "name",
    "first_name": "firstName",
    "last_name": "lastName",
    "email": "email",
    "phone": "phone",
    "mobile": "mobile",
}


def read_ticket(record: Record, departments: Collection[str]) -> Ticket:
    """A ticket of the API, or the payload of an event. Desk raises isOverDue for `dueDate`. `departments`: those that the source
    wants, empty for all."""
    url = text_of(record.get("webUrl"))
    return Ticket(
        id=str(record.get("id")),
        number=text_of(record.get("ticketNumber")),
        subject=text_of(record.get("subject")),
        text=_content(record.get("description"), "text/html"),
        url=url if url.startswith("https://") else "",
        open=str(record.get("statusType") or "Open").casefold() != "closed",
        created_at=time_or_none(record.get("createdTime")),
        modified_at=time_or_none(record.get("modifiedTime")),
        due_at=time_or_none(record.get("dueDate")),
        overdue=record.get("isOverDue") is True,
        escalated=record.get("isEscalated") is True,
        said={"replied": _count(record.get("threadCount")), "commented": _count(record.get("commentCount"))},
        unwanted=_unwanted(record, departments),
        data={name: record.get(key) for name, key in _KEPT.items()},
        record=record,
    )


def _unwanted(record: Record, departments: Collection[str]) -> str:
    if any(record.get(flag) is True for flag in ("isSpam", "isTrashed", "isDeleted")):
        return "spam or trash"
    return "another department" if departments and str(record.get("departmentId")) not in departments else ""


def read_said(kind: SaidKind, record: Record) -> Said | None:
    """A thread or comment; None if it is not a customer's: an agent's comment, public or not, is ours."""
    own = "author" if kind == "replied" else "commenter"
    writer = author if isinstance(author := record.get(own), dict) else {}
    if kind == "replied":
        incoming = record.get("direction") == "in" and record.get("isDescriptionThread") is not True
        theirs = incoming and writer.get("type") != "AGENT"
        at, text = record.get("createdTime"), record.get("content") or record.get("summary")
        data = {"thread_id": str(record.get("id")), "thread_channel": record.get("channel")}
    else:
        theirs, at, text = writer.get("type") == "END_USER", record.get("commentedTime"), record.get("content")
        data = {"comment_id": str(record.get("id")), "is_public": record.get("isPublic")}
    if not theirs:
        return None
    text = _content(text, str(record.get("contentType")))
    return Said(kind=kind, id=str(record.get("id")), at=time_or_none(at), text=text, data=data, writer=writer)


def writer_of(contact: Record | None, said: Said | None) -> Record | None:
    """A colleague in copy may answer instead of the ticket's contact: then it is they who did it."""
    author = (said.writer if said else None) or {}
    email = str(author.get("email") or "")
    if not email or (contact is not None and str(contact.get("email") or "").casefold() == email.casefold()):
        return contact
    whose = {name: author.get(name) for name in ("name", "firstName", "lastName", "email", "id")}
    return {**whose, "account": (contact or {}).get("account")}


def person(contact: Record | None, ticket: Record, region: str | None) -> Person:
    """Who the ticket is from: its contact, completed by the ticket's own e-mail and phone."""
    contact = contact or {}
    account = contact.get("account")
    company = account.get("accountName") if isinstance(account, dict) else None
    names: dict[str, Any] = {name: clean(text_of(contact.get(key))) for name, key in _PERSON.items()}
    email, phone, mobile = names.pop("email"), names.pop("phone"), names.pop("mobile")
    phone = phone or mobile or text_of(ticket.get("phone"))
    raw = {"contact_id": contact.get("id") or ticket.get("contactId"), "phone": phone, "mobile": mobile}
    handles = {network: clean(text_of(contact.get(network))) for network in ("facebook", "twitter")}
    return make_person(
        **names,
        email=email or text_of(ticket.get("email")),
        phone=phone,
        company=clean(text_of(company)),
        handles={network: id_ for network, id_ in handles.items() if id_},
        raw={name: value for name, value in raw.items() if value},
        region=region,
    )


def _count(value: Any) -> int:
    """Desk writes counts as text."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _content(value: Any, kind: str) -> str:
    text = text_of(value)
    return (html_to_text(text) if "plain" not in kind and "<" in text else clean(text)).strip()
