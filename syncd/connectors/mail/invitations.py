"""Meetings that mails tell of: an invitation (.ics) is remembered until the meeting has ended, and then is `meeting.held`.

A later mail changes what is remembered: another time, a cancellation, an answer. The hint of a meeting is due at its end. The id
is that of the calendars (`syncd.connectors.calendar.meetings`): a meeting that a calendar source reads too is one. Sources: RFC
5545, RFC 5546 (methods REQUEST, REPLY, CANCEL; SEQUENCE).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

import msgspec

from syncd.connector import Batch, Context, Hint, NotYet, SignalSpec
from syncd.connectors.calendar.meetings import (
    ALL_DAY,
    CANCELLED,
    HELD,
    Attendee,
    Meeting,
    held_signals,
    is_own,
    own_of,
    plain_uid,
)
from syncd.connectors.mail.calendar_text import CalendarProperty, read_calendar, unescaped, unfolded
from syncd.connectors.mail.calendar_zones import in_utc, zones_in
from syncd.connectors.mail.parts import leaves, part_text, structure
from syncd.connectors.text import one_line, shorten
from syncd.identity.emails import normal_email
from syncd.signals import Route

MEETING_SIGNAL = SignalSpec(
    HELD,
    "poll: as of a calendar: the iCalendar UID and the attendee; one for each attendee who is not of the company",
    backfill=False,
)
SERIES = "an invitation to a series"
UNREADABLE = "an invitation without a time"
LONGEST_TEXT = 2_000
MOST_ATTENDEES = 100
_MENTIONS = re.compile(rb"text/calendar", re.IGNORECASE)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)?(Z?))?")
_DURATION = re.compile(r"P(?:(\d{1,3})W)?(?:(\d{1,3})D)?(?:T(?:(\d{1,3})H)?(?:(\d{1,4})M)?(?:\d{1,5}S)?)?")
_SECRET = frozenset({"PRIVATE", "CONFIDENTIAL"})
_KEY = "meeting "

Event = Mapping[str, Sequence[CalendarProperty]]


class Invitation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is remembered of a meeting."""

    uid: str
    starts: datetime
    ends: datetime
    sequence: int = 0
    subject: str = ""
    text: str = ""
    place: str = ""
    attendees: tuple[Attendee, ...] = ()
    cancelled: bool = False
    private: bool = False

    def meeting(self, own: frozenset[str]) -> Meeting:
        ours = [one for one in self.attendees if is_own(normal_email(one.email), own)]
        return Meeting(
            uid=self.uid,
            starts=self.starts,
            ends=self.ends,
            subject=self.subject,
            text=self.text,
            place=self.place,
            attendees=self.attendees,
            cancelled=self.cancelled,
            declined=bool(ours) and all(one.declined for one in ours),
            private=self.private,
        )


class CalendarMail(NamedTuple):
    """What one event of a mail says: the method, the meeting as it is told, and who answers. `refused`: why it is left out."""

    method: str
    told: Invitation | None = None
    answers: tuple[Attendee, ...] = ()
    refused: str = ""


def calendar_mails(raw: bytes, zone: tzinfo, *, text: bool = True) -> list[CalendarMail]:
    """What a mail's calendar parts say; [] for any other mail. `zone`: of times that name none; `text`: with the description."""
    if not _MENTIONS.search(raw):
        return []
    part = next((leaf for leaf in leaves(structure(raw)) if leaf.get_content_type() == "text/calendar"), None)
    if part is None:
        return []
    said = part_text(part)
    method, events = read_calendar(said)
    if method not in ("REQUEST", "REPLY", "CANCEL"):
        return []
    zones = zones_in(unfolded(said))

    def moment(found: CalendarProperty) -> datetime | None:
        match = _TIME.match(found[1].strip())
        if not match or match[4] is None:
            return None
        try:
            local = datetime(*(int(match[at] or 0) for at in range(1, 7)))  # type: ignore[arg-type]  # noqa: DTZ001
        except ValueError:
            return None
        return local.replace(tzinfo=UTC) if match[7] else in_utc(local, found[0].get("TZID", ""), zones, zone)

    def read(event: Event) -> CalendarMail:
        def first(name: str) -> CalendarProperty:
            return event.get(name, [({}, "")])[0]

        uid = plain_uid(one_line(first("UID")[1]))[:500]
        if not uid:
            return CalendarMail(method, refused=UNREADABLE)
        if "RRULE" in event or "RECURRENCE-ID" in event:
            return CalendarMail(method, refused=SERIES)
        if re.fullmatch(r"\d{8}", first("DTSTART")[1].strip()):
            return CalendarMail(method, refused=ALL_DAY)
        starts = moment(first("DTSTART"))
        ends = moment(first("DTEND")) or (starts + _length(first("DURATION")[1]) if starts else None)
        if starts is None or ends is None or ends < starts:
            return CalendarMail(method, refused=UNREADABLE)
        sequence = first("SEQUENCE")[1].strip()
        told = Invitation(
            uid=uid,
            starts=starts,
            ends=ends,
            sequence=int(sequence) if sequence.isdigit() and len(sequence) < 9 else 0,
            subject=shorten(one_line(unescaped(first("SUMMARY")[1])), 900),
            text=shorten(unescaped(first("DESCRIPTION")[1]), LONGEST_TEXT) if text and method == "REQUEST" else "",
            place=shorten(one_line(unescaped(first("LOCATION")[1])), 300),
            attendees=_people((*event.get("ATTENDEE", ()), *event.get("ORGANIZER", ()))),
            private=first("CLASS")[1].strip().upper() in _SECRET,
        )
        return CalendarMail(method, told, _people(event.get("ATTENDEE", ())))

    return [read(event) for event in events]


def applied(before: Invitation | None, mail: CalendarMail) -> Invitation | None:
    """What is known of a meeting after a mail; None for a meeting that is not to be remembered."""
    told = mail.told
    if told is None:
        return before
    if mail.method == "CANCEL":
        return msgspec.structs.replace(before, cancelled=True) if before else None
    if mail.method == "REPLY" and before is not None:
        answers = {one.email: one.declined for one in mail.answers}
        there = tuple(
            msgspec.structs.replace(one, declined=answers.pop(one.email, one.declined)) for one in before.attendees
        )
        new = tuple(one for one in mail.answers if one.email in answers)
        return msgspec.structs.replace(before, attendees=(*there, *new)[:MOST_ATTENDEES])
    return before if before is not None and before.sequence > told.sequence else told


class ReadsInvitations:
    """A HintSource for the meetings that its mails tell of."""

    _invitations: Invitations

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        """The signals of a meeting whose end has come."""
        return self._invitations.fetch(hint, now)


class Invitations:
    """The meetings that the mails of one mailbox tell of. `own`: the addresses of the mailbox; without any, it is not known who
    is of another company, and nothing is remembered."""

    def __init__(self, context: Context, own: Iterable[str], *, text: bool) -> None:
        self._context, self._text = context, text
        self._own = frozenset(part for address in own for part in own_of(address, ()))
        self._wanted = HELD in context.switches and bool(self._own)

    def read(self, raw: bytes, dropped: str) -> list[CalendarMail]:
        """What a mail says of meetings. `dropped`: why it is not a customer's message; those of lists are invitations to many."""
        if not self._wanted or dropped == "list":
            return []
        return calendar_mails(raw, self._context.timezone, text=self._text)

    def joined(self, batch: Batch, mails: Sequence[CalendarMail]) -> Batch:
        """With a hint for each meeting, due at its end, and what is remembered of it."""
        if not mails:
            return batch
        named = {_KEY + one.told.uid for one in mails if one.told is not None}
        held = self._context.recall(sorted(named)) if named else {}
        known = {key: msgspec.json.decode(value, type=Invitation) for key, value in held.items()}
        dropped = dict(batch.dropped)
        for mail in mails:
            key = _KEY + mail.told.uid if mail.told is not None else ""
            after = applied(known.get(key), mail) if key else None
            if after is not None:
                known[key] = after
            else:
                why = mail.refused or CANCELLED
                dropped[why] = dropped.get(why, 0) + 1
        changed = {key: one for key, one in known.items() if msgspec.json.encode(one).decode() != held.get(key)}
        hints = [Hint(key=key, not_before=one.ends) for key, one in changed.items()]
        remember = {key: msgspec.json.encode(one).decode() for key, one in changed.items()}
        return replace(batch, hints=[*batch.hints, *hints], remember={**batch.remember, **remember}, dropped=dropped)

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        """The signals of a meeting that has ended."""
        value = self._context.recall([hint.key]).get(hint.key)
        if value is None:
            return Batch()
        known = msgspec.json.decode(value, type=Invitation)
        if known.ends > now:
            return NotYet(known.ends)
        found = held_signals(known.meeting(self._own), self._own, self._context, now, Route.POLL)
        forgotten: dict[str, str | None] = {hint.key: None}
        if isinstance(found, str):
            return Batch(remember=forgotten, dropped={found: 1})
        return Batch(found, remember=forgotten)


def _people(named: Iterable[CalendarProperty]) -> tuple[Attendee, ...]:
    """Those with an address, without rooms, each once."""
    found: dict[str, Attendee] = {}
    for parameters, value in named:
        email = normal_email(value)
        if email and parameters.get("CUTYPE", "").upper() not in ("ROOM", "RESOURCE") and len(found) < MOST_ATTENDEES:
            declined = parameters.get("PARTSTAT", "").upper() == "DECLINED"
            found.setdefault(email, Attendee(email, one_line(parameters.get("CN", ""))[:200], declined))
    return tuple(found.values())


def _length(duration: str) -> timedelta:
    match = _DURATION.fullmatch(duration.strip())
    weeks, days, hours, minutes = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)
