"""Meetings as signals, for every source that sees them: which were held, and with whom. Pure.

A meeting counts once it has ended, was neither cancelled nor declined by us, and somebody of another company took part. Each of
them gets a signal, as each recipient of an email does. The id is made of the iCalendar UID, the same in all calendars and
invitations: a meeting that several sources see is one. Sources: RFC 5545 (UID, RECURRENCE-ID), MS-OXOCAL
(PidLidGlobalObjectId).
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime

import msgspec

from syncd.connector import Context, SignalSpec
from syncd.connectors.text import one_line, shorten
from syncd.identity.companies import own_domain, parents_of
from syncd.identity.emails import normal_email
from syncd.signals import Route, Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

HELD = "meeting.held"
FAMILY = "meeting"
SIGNALS = (
    SignalSpec(
        HELD,
        "poll, backfill: the iCalendar UID, the original start of an occurrence of a series, and the attendee; one for each "
        "attendee who is not of the company",
        backfill=True,
    ),
)
MOST_ATTENDEES = 50
"""A meeting with more is an event or a webinar: being invited says little of a person."""
LONGEST_TEXT = 10_000
CANCELLED, DECLINED, PRIVATE = "cancelled", "declined", "private"
ALL_DAY, INTERNAL, LARGE = "all-day event", "nobody of another company", f"more than {MOST_ATTENDEES} attendees"
_EXCHANGE = "040000008200E00074C5B7101A82E008"
"""How a UID that Exchange made begins: sixteen bytes in hexadecimal, then four for the day of an occurrence."""
_FOREIGN = "7643616C2D55696401000000"
"""`vCal-Uid` and a one: behind it is the UID that another program made."""


class Attendee(msgspec.Struct, frozen=True):
    email: str
    name: str = ""
    declined: bool = False


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """One meeting, or one occurrence of a series. `original`: when the occurrence was to begin, None for a meeting that does not
    repeat. `attendees`: all who were invited and who organised it, without rooms. `declined`: by us."""

    uid: str
    starts: datetime
    ends: datetime
    subject: str = ""
    text: str = ""
    place: str = ""
    url: str = ""
    original: datetime | None = None
    attendees: tuple[Attendee, ...] = ()
    cancelled: bool = False
    declined: bool = False
    private: bool = False
    all_day: bool = False


def held_signals(
    meeting: Meeting, own: frozenset[str], context: Context, now: datetime, route: Route, *, all_day: bool = False
) -> tuple[Signal, ...] | str:
    """A signal for each attendee of another company, or why there is none. `own`: domains and addresses of the company;
    `all_day`: such events count too. The meeting has ended."""
    guests: dict[str, Attendee] = {}
    for one in meeting.attendees:
        email = normal_email(one.email)
        if email and not is_own(email, own):
            guests.setdefault(email, one)
    came = {email: one for email, one in guests.items() if not one.declined}
    refusals = (
        (meeting.cancelled, CANCELLED),
        (meeting.private, PRIVATE),
        (meeting.all_day and not all_day, ALL_DAY),
        (not guests, INTERNAL),
        (meeting.declined or not came, DECLINED),
        (len(meeting.attendees) > MOST_ATTENDEES, LARGE),
    )
    if (why := next((why for holds, why in refusals if holds), "")) != "":
        return why
    subject, uid = one_line(meeting.subject), plain_uid(meeting.uid)
    occurrence = meeting.original.astimezone(UTC).isoformat() if meeting.original else ""
    data = {
        "starts": meeting.starts.isoformat(),
        "ends": meeting.ends.isoformat(),
        "minutes": round((meeting.ends - meeting.starts).total_seconds() / 60),
        "place": one_line(meeting.place),
        "attendees": [normal_email(one.email) or one.email for one in meeting.attendees],
        "uid": uid,
    }
    title = titled("meeting.held", subject=shorten(subject, 900)) if subject else titled("meeting.held.bare")
    return tuple(
        Signal(
            id=derive_id(FAMILY, "", HELD, frame(uid, occurrence, email)),
            type=HELD,
            source=context.name,
            occurred_at=meeting.starts,
            received_at=now,
            **title,
            text=shorten(meeting.text.strip(), LONGEST_TEXT),
            url=meeting.url,
            person=make_person(name=one.name, email=email, region=context.region),
            data=data,
            thread=f"meeting:{frame(uid, occurrence)}",
            route=route,
        )
        for email, one in came.items()
    )


def own_of(mailbox: str, domains: tuple[str, ...]) -> frozenset[str]:
    """The company's own addresses and domains: the calendar's user and, unless many share it, their domain; and what the
    configuration names."""
    address = mailbox.strip().lower()
    own = own_domain(address.rpartition("@")[2])
    return frozenset({address, own, *(one.strip().lower().lstrip("@") for one in domains)} - {""})


def is_own(email: str, own: frozenset[str]) -> bool:
    return email in own or not own.isdisjoint(parents_of(email.rpartition("@")[2]))


def plain_uid(uid: str) -> str:
    """The UID as the program that made the meeting wrote it: Exchange marks the day of an occurrence in its own, and wraps those
    of others."""
    text = uid.strip()
    if not re.fullmatch(rf"{_EXCHANGE}[0-9A-F]{{16,}}", text, re.IGNORECASE):
        return text
    text = text.upper()
    wrapped = text.find(_FOREIGN)
    if wrapped > 0:
        try:
            return bytes.fromhex(text[wrapped + len(_FOREIGN) :]).rstrip(b"\0").decode()
        except (ValueError, binascii.Error):
            pass
    return f"{_EXCHANGE}00000000{text[40:]}"
