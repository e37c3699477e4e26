"""Zendesk's records read as tickets, comments, ratings and people. Pure.

Facts: recorded exports and comments, and developer.zendesk.com. In webhooks ids are texts and words are upper case ("OPEN"), in
the API ids are numbers and words are lower case; a solved or closed ticket is not overdue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from syncd.connectors.desk.tickets import Record, Said, SaidKind, Score, Ticket, text_of
from syncd.connectors.text import clean, html_to_text
from syncd.connectors.times import time_or_none
from syncd.signals import Person, make_person
from syncd.time_cursor import unix_ms

_DONE = frozenset({"solved", "closed", "deleted"})
END_USER = "end-user"


def word(value: Any) -> str:
    """A status, priority or type as the API writes it."""
    return str(value or "").casefold()


def read_ticket(
    record: Record, url: str, now: datetime, *, priorities: Collection[str] = (), tags: Collection[str] = ()
) -> Ticket:
    """A ticket of the export, or alone. `url`: the address of the account. It is escalated while its priority is one of
    `priorities` or it has one of `tags`. Zendesk does not count comments: there may be one whenever the ticket changed after it
    was made. Only a task has a due date; whether that has passed is up to the clock."""
    id_, status = str(record.get("id")), word(record.get("status"))
    created, modified, due = (time_or_none(record.get(name)) for name in ("created_at", "updated_at", "due_at"))
    held = value if isinstance(value := record.get("tags"), list) else []
    open_ = status not in _DONE
    return Ticket(
        id=id_,
        number=id_,
        subject=text_of(record.get("subject")),
        text=clean(text_of(record.get("description"))).strip(),
        url=f"{url}/agent/tickets/{id_}",
        open=open_,
        created_at=created,
        modified_at=modified,
        due_at=due,
        overdue=open_ and due is not None and due <= now,
        escalated=word(record.get("priority")) in priorities or not set(tags).isdisjoint(map(str, held)),
        said={"replied": unix_ms(modified) if modified is not None and modified != created else 0},
        unwanted="a deleted ticket" if status == "deleted" else "",
        data={
            "ticket_id": id_,
            "status": status,
            "priority": word(record.get("priority")),
            "ticket_type": word(record.get("type")),
            "channel": _channel(record),
            "tags": held or None,
            "due_date": record.get("due_at"),
            "created_time": record.get("created_at"),
            "contact_id": text_of(record.get("requester_id")),
            "company_id": text_of(record.get("organization_id")),
        },
        record=record,
    )


def read_comment(record: Record, requester: str, author: Record | None) -> Said | None:
    """A comment; None if it is private or of our staff. `author`: the user who wrote it. Its writer's address and place
    (`metadata.system`) are not kept."""
    if record.get("public") is not True or author is None or word(author.get("role")) != END_USER:
        return None
    kind: SaidKind = "replied" if str(record.get("author_id")) == requester else "commented"
    plain = record.get("plain_body")
    id_, text = (
        str(record.get("id")),
        clean(text_of(plain)) if plain else html_to_text(text_of(record.get("html_body"))),
    )
    data = {"comment_id": id_, "comment_channel": _channel(record)}
    return Said(
        kind=kind, id=id_, at=time_or_none(record.get("created_at")), text=text.strip(), data=data, writer=author
    )


def read_rating(record: Record) -> Said | None:
    """A rating; None if it was only offered."""
    given = word(record.get("score"))
    score: Score | None = "good" if given.startswith("good") else "bad" if given.startswith("bad") else None
    if score is None:
        return None
    id_ = str(record.get("id"))
    data = {"rating": score, "rating_id": id_, "rating_reason": record.get("reason")}
    at, text = time_or_none(record.get("created_at")), clean(text_of(record.get("comment"))).strip()
    return Said(kind="rated", id=id_, at=at, text=text, data=data, score=score)


def person(user: Record, company: str, region: str | None) -> Person:
    """Who a user is."""
    return make_person(
        name=clean(text_of(user.get("name"))),
        email=text_of(user.get("email")),
        phone=text_of(user.get("phone")),
        company=clean(company),
        raw={"contact_id": text_of(user.get("id"))} if user.get("id") else {},
        region=region,
    )


def _channel(record: Record) -> str:
    via = record.get("via")
    return text_of(via.get("channel")) if isinstance(via, Mapping) else ""
