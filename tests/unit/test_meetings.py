"""Which meetings make signals, and under which id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Context
from syncd.connectors.calendar.meetings import Attendee, Meeting, held_signals, is_own, own_of, plain_uid
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
CONTEXT = Context(name="meetings", tokens=MemoryTokens())
EXCHANGE = "040000008200E00074C5B7101A82E008"
REST = "00F1B2A3C4D5E601000000000000000010000000" + "A1" * 16


def test_the_day_of_an_occurrence_is_not_part_of_exchanges_uid() -> None:
    master, occurrence = f"{EXCHANGE}00000000{REST}", f"{EXCHANGE}07EA0B16{REST}"
    assert plain_uid(occurrence) == plain_uid(master) == master
    assert plain_uid(occurrence.lower()) == master


def test_a_uid_that_exchange_wrapped_is_the_one_inside() -> None:
    inner = b"7v1kq@google.com"
    data = b"vCal-Uid\x01\x00\x00\x00" + inner + b"\x00"
    wrapped = f"{EXCHANGE}00000000{'00' * 16}{len(data):02X}000000{data.hex().upper()}"
    assert plain_uid(wrapped) == inner.decode()


@given(st.text())
def test_any_other_uid_stays(uid: str) -> None:
    assert plain_uid(uid) == uid.strip() or plain_uid(uid).startswith("0400")


@given(st.text(alphabet="0123456789abcdefABCDEF", max_size=120))
def test_nothing_that_looks_like_exchanges_uid_breaks_it(rest: str) -> None:
    once = plain_uid(EXCHANGE + rest)
    assert plain_uid(once) == once


@pytest.mark.parametrize(
    ("email", "own"),
    [
        ("sales@ourcompany.example", True),
        ("me@mail.ourcompany.example", True),
        ("me@notourcompany.example", False),
        ("freelancer@gmail.com", True),
        ("other@gmail.com", False),
    ],
)
def test_who_is_of_the_company(email: str, own: bool) -> None:
    ours = own_of("Sales@OurCompany.example", ("freelancer@gmail.com", "@Sister.example"))
    assert is_own(email, ours) is own
    assert is_own("x@sister.example", ours)


def test_a_guest_who_is_named_twice_is_one() -> None:
    guests = (Attendee("An@Customer.example", "An"), Attendee("an@customer.example"))
    meeting = Meeting(uid="u", starts=START, ends=START + timedelta(hours=1), attendees=guests)
    made = held_signals(meeting, own_of("me@ourcompany.example", ()), CONTEXT, START, Route.POLL)
    assert not isinstance(made, str)
    assert [(one.person.name, one.title) for one in made] == [("An", "Meeting")]
