"""What mails tell of a meeting, and what is known of it after several."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Batch, Context, Hint, NotYet
from syncd.connectors.calendar.meetings import Attendee, Meeting, held_signals, own_of
from syncd.connectors.mail.calendar_zones import in_utc, zones_in
from syncd.connectors.mail.invitations import Invitations, calendar_mails
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
START, END = datetime(2026, 11, 22, 8, 0, tzinfo=UTC), datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HINT = Hint(key="meeting u-1@customer.example")
US, AN, BINH = "sales@ourcompany.example", "an@customer.example", "binh@customer.example"
BERLIN = """BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
"""


def invitation(method: str = "REQUEST", *lines: str, zones: str = "", sequence: int = 0, **answers: str) -> bytes:
    """`answers`: PARTSTAT of `an`, `binh` and `us`; those who are not named have not answered."""
    given = {"an": AN, "binh": BINH, "us": US}
    named = answers or ({"us": "NEEDS-ACTION", "binh": "NEEDS-ACTION"} if method == "REQUEST" else {})
    people = [f"ATTENDEE;CN=Name;PARTSTAT={said}:mailto:{given[who]}" for who, said in named.items()]
    times = [line for line in lines if line.startswith("DT")] or ["DTSTART:20261122T080000Z", "DTEND:20261122T090000Z"]
    more = [line for line in lines if not line.startswith("DT")]
    event = ["BEGIN:VEVENT", "UID:u-1@customer.example", f"SEQUENCE:{sequence}", "SUMMARY:The offer\\, again", *times]
    event += [f"ORGANIZER;CN=An:MAILTO:{AN}", *people, *more, "END:VEVENT"]
    text = "\r\n".join(["BEGIN:VCALENDAR", f"METHOD:{method}", *zones.splitlines(), *event, "END:VCALENDAR", ""])
    return f"From: An <{AN}>\r\nTo: {US}\r\nContent-Type: text/calendar; method={method}; charset=utf-8\r\n\r\n{text}".encode()


class Mailbox:
    """What a source does with its mails and hints, with what it remembers."""

    def __init__(self, *own: str, switches: frozenset[str] = frozenset({"meeting.held"})) -> None:
        self.memory: dict[str, str] = {}
        self.dropped: dict[str, int] = {}
        context = Context(
            name="mail",
            tokens=MemoryTokens(),
            timezone=HANOI,
            recall=lambda keys: {key: self.memory[key] for key in keys if key in self.memory},
            switches=switches,
        )
        self.invitations = Invitations(context, own or (US,), text=True)

    def get(self, *raws: bytes) -> list[tuple[str, datetime | None]]:
        told = [one for raw in raws for one in self.invitations.read(raw, "")]
        batch = self.invitations.joined(Batch(), told)
        self.keep(batch)
        return [(hint.key, hint.not_before) for hint in batch.hints]

    def keep(self, batch: Batch) -> None:
        for key, value in batch.remember.items():
            self.memory[key] = value or ""
            if value is None:
                del self.memory[key]
        for why, count in batch.dropped.items():
            self.dropped[why] = self.dropped.get(why, 0) + count

    def ended(self, now: datetime = END) -> list[Signal]:
        answer = self.invitations.fetch(HINT, now)
        assert isinstance(answer, Batch), answer
        self.keep(answer)
        return list(answer.signals)


def test_an_invitation_waits_for_its_end_and_is_then_a_meeting() -> None:
    mailbox = Mailbox()
    assert mailbox.get(invitation()) == [("meeting u-1@customer.example", END)]
    early = mailbox.invitations.fetch(HINT, START)
    assert early == NotYet(END)
    first, second = mailbox.ended()
    assert (first.type, first.title, first.occurred_at) == ("meeting.held", "Meeting: The offer, again", START)
    assert {first.person.email, second.person.email} == {AN, BINH}
    assert mailbox.memory == {}
    assert mailbox.ended() == []


def test_it_is_the_meeting_that_a_calendar_shows() -> None:
    mailbox = Mailbox()
    mailbox.get(invitation())
    meeting = Meeting(uid="u-1@customer.example", starts=START, ends=END, attendees=(Attendee(AN), Attendee(BINH)))
    context = Context(name="calendar", tokens=MemoryTokens())
    shown = held_signals(meeting, own_of(US, ()), context, END, Route.POLL)
    assert {one.id for one in mailbox.ended()} == {one.id for one in shown if not isinstance(one, str)}


@pytest.mark.parametrize(
    ("raws", "met"),
    [
        ([invitation(), invitation("CANCEL")], set()),
        ([invitation(), invitation("REPLY", us="DECLINED")], set()),
        ([invitation(), invitation("REPLY", us="DECLINED"), invitation("REPLY", us="ACCEPTED")], {AN, BINH}),
        ([invitation(), invitation("REPLY", binh="DECLINED")], {AN}),
        ([invitation("REPLY", binh="ACCEPTED")], {AN, BINH}),
        ([invitation(us="DECLINED", binh="ACCEPTED")], set()),
        ([invitation("REQUEST", "CLASS:PRIVATE")], set()),
        (
            [invitation(sequence=2), invitation("REQUEST", "DTSTART:20261201T080000Z", "DTEND:20261201T090000Z")],
            {AN, BINH},
        ),
    ],
)
def test_what_is_known_after_several_mails(raws: list[bytes], met: set[str]) -> None:
    together, apart = Mailbox(), Mailbox()
    together.get(*raws)
    for raw in raws:
        apart.get(raw)
    assert together.memory == apart.memory
    assert {one.person.email for one in together.ended()} == met


def test_a_meeting_that_was_moved_waits_for_its_new_end() -> None:
    mailbox = Mailbox()
    mailbox.get(invitation(), invitation("REQUEST", "DTSTART:20261201T080000Z", "DTEND:20261201T090000Z", sequence=1))
    assert mailbox.ended(datetime(2026, 12, 1, 9, tzinfo=UTC))[0].occurred_at == datetime(2026, 12, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (invitation("REQUEST", "RRULE:FREQ=WEEKLY"), "an invitation to a series"),
        (invitation("REQUEST", "DTSTART;VALUE=DATE:20261122"), "all-day event"),
        (invitation("REQUEST", "DTSTART:soon"), "an invitation without a time"),
        (invitation("CANCEL"), "cancelled"),
    ],
)
def test_what_makes_no_meeting_is_counted(raw: bytes, why: str) -> None:
    mailbox = Mailbox()
    assert mailbox.get(raw) == []
    assert mailbox.dropped == {why: 1}


def test_it_is_read_only_where_channels_name_it_and_the_mailbox_is_known() -> None:
    assert Mailbox(switches=frozenset()).get(invitation()) == []
    assert Mailbox("").get(invitation()) == []
    assert Mailbox().invitations.read(invitation(), "list") == []


def test_times_are_of_the_zone_that_the_invitation_names() -> None:
    for name, local, utc in (
        ("Europe/Berlin", "20260722T100000", 8),
        ("W. Europe Standard Time", "20260722T100000", 8),
        ("W. Europe Standard Time", "20261122T100000", 9),
        ("Unknown", "20261122T150000", 8),
    ):
        raw = invitation("REQUEST", f"DTSTART;TZID={name}:{local}", "DURATION:PT45M", zones=BERLIN)
        (mail,) = calendar_mails(raw, HANOI)
        assert mail.told is not None
        assert (mail.told.starts.hour, mail.told.ends - mail.told.starts) == (utc, timedelta(minutes=45))


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2037, 12, 30)))  # noqa: DTZ001  a local time
def test_a_zone_that_is_brought_along_is_the_zone_by_name(local: datetime) -> None:
    """But for the hour that a change of the clocks skips or has twice."""
    brought = in_utc(local, "W. Europe Standard Time", zones_in(BERLIN.splitlines()), UTC)
    if not (local.month in (3, 10) and local.day > 24 and local.hour in (1, 2, 3)):
        assert brought == local.replace(tzinfo=ZoneInfo("Europe/Berlin"))


@given(
    st.lists(
        st.sampled_from(
            [*BERLIN.splitlines(), "BEGIN:VTIMEZONE", "TZOFFSETTO:+9999", "RRULE:FREQ=YEARLY;BYDAY=5SU;BYMONTH=2"]
        )
    )
)
def test_no_zone_breaks_a_time(lines: list[str]) -> None:
    local = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001  a local time
    assert in_utc(local, "W. Europe Standard Time", zones_in(lines), UTC).tzinfo is UTC


@given(st.text())
def test_no_calendar_breaks_the_reading(text: str) -> None:
    raw = f"Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\n{text}\n".encode(
        "utf-8", "replace"
    )
    assert isinstance(calendar_mails(raw, HANOI), list)
