"""Zoho Desk's records as signals: what a ticket, thread or comment becomes, and what changed on a ticket. Pure.

Traps kept in mind (recorded): a ticket's own `email` is null while its contact has one; counts are strings; the thread that
is the ticket's description is not a reply; becoming overdue or escalated is not an event but a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from syncd.connector import Context
from syncd.connectors.text import clean, html_to_text
from syncd.connectors.times import read_time
from syncd.signals import Person, Route, Signal, derive_id, make_person
from syncd.texts.titles import titled

Record = Mapping[str, Any]


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What was last seen of a ticket: the flags, how often it was escalated, how much was said. `due`: the due date that it
    was overdue by (unix ms), 0 when it was not, or when that was noted by a syncd that kept no date."""

    overdue: bool = False
    escalated: bool = False
    escalations: int = 0
    threads: int = 0
    comments: int = 0
    due: int = 0


def standing(ticket: Record, before: Standing | None, now: datetime) -> Standing:
    """As the ticket stands now, counting an escalation when the flag was down (or never seen) before."""
    escalated = ticket.get("isEscalated") is True
    times = before.escalations if before else 0
    return Standing(
        overdue=ticket.get("isOverDue") is True,
        escalated=escalated,
        escalations=times + (escalated and not (before and before.escalated)),
        threads=count(ticket.get("threadCount")),
        comments=count(ticket.get("commentCount")),
        due=_overdue_by(ticket, before, now),
    )


def _overdue_by(ticket: Record, before: Standing | None, now: datetime) -> int:
    """A date still to come is not what the ticket is overdue by: the flag is up for one before it."""
    if ticket.get("isOverDue") is not True:
        return 0
    due, present = moment(ticket.get("dueDate")), unix_ms(now)
    if due is not None and unix_ms(due) <= present:
        return unix_ms(due)
    return (before.due if before else 0) or present


def became_overdue(ticket: Record, before: Standing | None, began: datetime, now: datetime) -> bool:
    """The flag went up, or stayed up while the due date moved on and passed again. A ticket seen for the first time became so
    in our time only if it fell due since the source began."""
    if ticket.get("isOverDue") is not True:
        return False
    if before is not None:
        return not before.overdue or fell_due_again(ticket, before, now)
    due = moment(ticket.get("dueDate"))
    return due is not None and due >= began


def fell_due_again(ticket: Record, before: Standing, now: datetime) -> bool:
    due = moment(ticket.get("dueDate"))
    return before.due > 0 and is_open(ticket) and due is not None and before.due < unix_ms(due) <= unix_ms(now)


def became_escalated(ticket: Record, before: Standing | None, began: datetime) -> bool:
    """A ticket seen for the first time became so in our time for sure only if it was made since the source began."""
    if ticket.get("isEscalated") is not True:
        return False
    if before is not None:
        return not before.escalated
    made = moment(ticket.get("createdTime"))
    return made is not None and made >= began


def is_open(ticket: Record) -> bool:
    return str(ticket.get("statusType") or "Open").casefold() != "closed"


def is_customers_reply(thread: Record) -> bool:
    author = thread.get("author")
    kind = author.get("type") if isinstance(author, dict) else None
    return thread.get("direction") == "in" and thread.get("isDescriptionThread") is not True and kind != "AGENT"


def is_customers_comment(comment: Record) -> bool:
    """An agent's comment, public or not, is ours."""
    commenter = comment.get("commenter")
    return isinstance(commenter, dict) and commenter.get("type") == "END_USER"


def moment(value: Any) -> datetime | None:
    try:
        return read_time(value, UTC)
    except ValueError:
        return None


def unix_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def count(value: Any) -> int:
    """Desk writes counts as text."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


@dataclass(frozen=True)
class Desk:
    """Makes the signals of one organisation."""

    context: Context
    org: str

    def made(
        self,
        kind: str,
        ticket: Record,
        contact: Record | None,
        at: datetime,
        route: Route,
        *,
        said: Record | None = None,
        times: int = 0,
    ) -> Signal:
        """The signal ticket.`kind`. `said`: the thread or comment; `times`: how often it was escalated."""
        facts = _facts(kind, ticket, said or {}, times)
        url = str(ticket.get("webUrl") or "")
        url = url if url.startswith("https://") else ""
        subject = " ".join(clean(str(ticket.get("subject") or "")).split())
        data = {name: ticket.get(key) for name, key in _KEPT.items()} | dict(facts.data)
        return Signal(
            id=derive_id("zoho_desk", self.org, f"ticket.{kind}", facts.native),
            type=f"ticket.{kind}",
            source=self.context.name,
            occurred_at=facts.when or at,
            received_at=at,
            **_title(kind, str(ticket.get("ticketNumber") or ticket["id"]), subject),
            text=facts.text,
            url=url,
            reply=url,
            person=person(_writer(contact, facts.writer), ticket, self.context.region),
            data={name: value for name, value in data.items() if value is not None and value != ""},
            thread=f"zoho_desk:{self.org}:{ticket['id']}",
            route=route,
        )


def _title(kind: str, number: str, subject: str) -> dict[str, Any]:
    code = f"ticket.{kind}"
    return titled(code, number=number, subject=subject) if subject else titled(f"{code}.bare", number=number)


class _Facts(NamedTuple):
    """What differs between the kinds: the vendor's id of the event, its time, its text, more data, who wrote it."""

    native: str
    when: datetime | None
    text: str = ""
    data: Record = {}
    writer: Any = None


def _facts(kind: str, ticket: Record, said: Record, times: int) -> _Facts:
    id_ = str(ticket["id"])
    if kind == "created":
        return _Facts(id_, moment(ticket.get("createdTime")), _text(ticket.get("description"), "text/html"))
    if kind == "overdue":
        due = moment(ticket.get("dueDate"))
        return _Facts(f"{id_}:{due.isoformat() if due else ''}", due)
    if kind == "escalated":
        return _Facts(f"{id_}:{times}", moment(ticket.get("modifiedTime")), data={"escalations": times})
    own, form = str(said["id"]), str(said.get("contentType"))
    if kind == "replied":
        text, data = (
            said.get("content") or said.get("summary"),
            {"thread_id": own, "thread_channel": said.get("channel")},
        )
        return _Facts(own, moment(said.get("createdTime")), _text(text, form), data, said.get("author"))
    data = {"comment_id": own, "is_public": said.get("isPublic")}
    return _Facts(own, moment(said.get("commentedTime")), _text(said.get("content"), form), data, said.get("commenter"))


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


def person(contact: Record | None, ticket: Record, region: str | None) -> Person:
    """Who the ticket is from: its contact, completed by the ticket's own e-mail and phone."""
    contact = contact or {}
    account = contact.get("account")
    company = account.get("accountName") if isinstance(account, dict) else None
    said = {name: clean(str(contact.get(key) or "")) for name, key in _PERSON.items()}
    email = said["email"] or str(ticket.get("email") or "")
    phone = said["phone"] or said["mobile"] or str(ticket.get("phone") or "")
    raw = {"contact_id": contact.get("id") or ticket.get("contactId"), "phone": phone, "mobile": said["mobile"]}
    return make_person(
        name=said["name"],
        first_name=said["first"],
        last_name=said["last"],
        email=email,
        phone=phone,
        company=clean(str(company or "")),
        handles={
            network: id_ for network in ("facebook", "twitter") if (id_ := clean(str(contact.get(network) or "")))
        },
        raw={name: value for name, value in raw.items() if value},
        region=region,
    )


_PERSON = {
    "name": "name",
    "first": "firstName",
    "last": "lastName",
    "email": "email",
    "phone": "phone",
    "mobile": "mobile",
}


def _writer(contact: Record | None, author: Any) -> Record | None:
    """A colleague in copy may answer instead of the ticket's contact: then it is they who did it."""
    if not isinstance(author, dict) or not author.get("email"):
        return contact
    same = contact is not None and str(contact.get("email") or "").casefold() == str(author["email"]).casefold()
    if same:
        return contact
    return {name: author.get(name) for name in ("name", "firstName", "lastName", "email")} | {
        "id": author.get("id"),
        "account": (contact or {}).get("account"),
    }


def _text(told: Any, kind: str) -> str:
    text = str(told or "")
    return (html_to_text(text) if "plain" not in kind and "<" in text else clean(text)).strip()
