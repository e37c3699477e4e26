"""Freshdesk's records read as tickets, as what was said on them, as ratings and as people. Pure.

Facts: recorded lists of tickets and contacts, and the fields of developers.freshdesk.com/api. Becoming overdue or escalated is
not an event but a flag for each of three dates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.connectors.desk.tickets import Record, Said, SaidKind, Score, Ticket, text_of
from syncd.connectors.text import clean, html_to_text
from syncd.connectors.times import time_or_none
from syncd.signals import Person, make_person
from syncd.time_cursor import unix_ms

STATUSES = {2: "open", 3: "pending", 4: "resolved", 5: "closed"}
"""A number from 6 on is a status that the account defines."""
PRIORITIES = {1: "low", 2: "medium", 3: "high", 4: "urgent"}
CHANNELS = {1: "email", 2: "portal", 3: "phone", 7: "chat", 9: "widget", 10: "outbound_email"}
OUTBOUND = 10
NOTE, SURVEY = (
    2,
    6,
)  # sources of a conversation: a note or portal comment, and the answer to a survey, which is a rating
_DONE = frozenset({4, 5})
_DATES = (("fr_due_by", "fr_escalated"), ("nr_due_by", "nr_escalated"), ("due_by", "is_escalated"))
"""A date by which we must answer first, answer next, and resolve the ticket -> the flag that is raised when it has passed."""


def read_ticket(record: Record, url: str) -> Ticket:
    """A ticket of a list, or alone. `url`: the desk's address. Freshdesk does not count what was said: it may be something
    whenever the ticket changed after it was made."""
    id_, made, changed = str(record.get("id")), time_or_none(record.get("created_at")), record.get("updated_at")
    modified = time_or_none(changed)
    stats = value if isinstance(value := record.get("stats"), dict) else {}
    answered = bool(stats.get("first_responded_at"))
    dates = [(time_or_none(record.get(date)), record.get(flag) is True) for date, flag in _DATES]
    if answered and not dates[0][1]:
        dates[0] = (None, False)
    raised = [date for date, flag in dates if flag and date is not None]
    waiting = sorted(date for date, flag in dates if not flag and date is not None)
    due = max(raised) if raised else waiting[0] if waiting else None
    text = record.get("description_text")
    return Ticket(
        id=id_,
        number=id_,
        subject=text_of(record.get("subject")),
        text=clean(text_of(text)).strip() if text else _html(record.get("description")),
        url=f"{url}/a/tickets/{id_}",
        open=record.get("status") not in _DONE,
        created_at=made,
        modified_at=modified,
        due_at=due,
        due_later=next((date for date in waiting if due is not None and date > due), None),
        overdue=any(flag for _, flag in dates),
        escalated=record.get("is_escalated") is True,
        said={"replied": unix_ms(modified) if modified is not None and modified != made else 0},
        unwanted="spam or trash" if record.get("spam") is True or record.get("deleted") is True else "",
        ours=record.get("source") == OUTBOUND,
        data={
            "ticket_id": id_,
            "status": _named(STATUSES, record.get("status")),
            "priority": _named(PRIORITIES, record.get("priority")),
            "channel": _named(CHANNELS, record.get("source")),
            "ticket_type": record.get("type"),
            "tags": record.get("tags") or None,
            "due_date": record.get("due_by"),
            "created_time": record.get("created_at"),
            "contact_id": text_of(record.get("requester_id")),
            "company_id": text_of(record.get("company_id")),
            "custom": record.get("custom_fields") or None,
        },
        record=record,
    )


def read_said(record: Record) -> Said | None:
    """A conversation; None if it is not a customer's, private, or the answer to a survey."""
    source = record.get("source")
    if record.get("incoming") is not True or record.get("private") is True or source == SURVEY:
        return None
    kind: SaidKind = "commented" if source == NOTE else "replied"
    id_, text = str(record.get("id")), record.get("body_text")
    return Said(
        kind=kind,
        id=id_,
        at=time_or_none(record.get("created_at")),
        text=clean(text_of(text)).strip() if text else _html(record.get("body")),
        data={"conversation_id": id_},
        writer={"id": text_of(record.get("user_id")), "email": text_of(record.get("from_email"))},
    )


def read_rating(record: Record) -> Said | None:
    """A rating; None without a score of the default question, which goes from -103 to 103 with 100 for neutral."""
    ratings = record.get("ratings")
    score = ratings.get("default_question") if isinstance(ratings, Mapping) else None
    if not isinstance(score, int):
        return None
    word: Score = "neutral" if score == 100 else "good" if score > 0 else "bad"
    return Said(
        kind="rated",
        id=str(record.get("id")),
        at=time_or_none(record.get("created_at")),
        text=_html(record.get("feedback")),
        data={"rating": word, "rating_value": score, "rating_id": str(record.get("id"))},
        writer={"id": text_of(record.get("user_id")), "email": ""},
        score=word,
    )


def person(contact: Record, company: str, region: str | None) -> Person:
    """Who a contact is. The social names are handles."""
    handles = {"twitter": text_of(contact.get("twitter_id")), "facebook": text_of(contact.get("facebook_id"))}
    phone = text_of(contact.get("phone")) or text_of(contact.get("mobile"))
    raw = {name: text_of(contact.get(name)) for name in ("phone", "mobile")} | {
        "contact_id": text_of(contact.get("id"))
    }
    return make_person(
        name=clean(text_of(contact.get("name"))),
        email=text_of(contact.get("email")),
        phone=phone,
        company=clean(company),
        handles={network: id_ for network, id_ in handles.items() if id_},
        raw={name: value for name, value in raw.items() if value},
        region=region,
    )


def _named(names: Mapping[int, str], value: Any) -> str:
    return names.get(value, text_of(value)) if isinstance(value, int) else text_of(value)


def _html(value: Any) -> str:
    return html_to_text(text_of(value)).strip()
