"""Which signals wait for an answer: decided over values, and read from both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncd.identity.ties import Tie
from syncd.signal_types import ANSWERS, OPEN_TYPES, SHIPPED, Direction
from syncd.signals import Person, Signal, answered_by, decode_signal, derive_id, encode
from syncd.store import Store
from syncd.store.answers import answers_to, newest_unanswered
from syncd.store.identity_ties import set_tie
from syncd.store.journal.entries import JournalEntry, NewSignal
from syncd.store.queries import Filter
from tests.entries import MOMENT, a_signal

AN, BA = Person(email="an@example.com"), Person(email="ba@example.com")


def signal(kind: str, minutes: int = 0, person: Person = AN, **changes: Any) -> Signal:
    return a_signal(
        id=derive_id("test", "", kind, f"{minutes}{person.email}"),
        type=kind,
        person=person,
        occurred_at=MOMENT + timedelta(minutes=minutes),
        **changes,
    )


def test_the_table_names_types_of_the_catalogue() -> None:
    names = {row.name for row in SHIPPED}
    assert names >= OPEN_TYPES
    assert {row.name for row in SHIPPED if row.direction is Direction.OUT} == set(ANSWERS)
    assert all(answered <= OPEN_TYPES for answered in ANSWERS.values())


def test_direction_comes_from_the_type_and_is_written_only_when_out() -> None:
    assert b"direction" not in encode(signal("call.missed"))
    placed = signal("call.placed")
    assert placed.direction is Direction.OUT
    assert b'"direction":"out"' in encode(placed)
    assert decode_signal(encode(placed)) == placed
    stored_before = encode(signal("call.missed"))
    assert decode_signal(stored_before).direction is Direction.IN


@pytest.mark.parametrize(
    ("ours", "answers"),
    [
        (signal("call.placed", 5), True),
        (signal("email.sent", 5), True),
        (signal("call.placed", -5), False),
        (signal("call.placed", 5, BA), False),
        (signal("call.missed", 5), False),
        (signal("web.visited", 5), False),
    ],
)
def test_what_answers_a_missed_call(ours: Signal, answers: bool) -> None:
    assert (answered_by(signal("call.missed"), [ours]) is ours) is answers


def test_the_first_answer_counts() -> None:
    late, early = signal("call.placed", 9), signal("email.sent", 3)
    assert answered_by(signal("call.missed"), [late, early]) == early


def test_a_message_of_ours_answers_one_of_the_same_network_and_thread() -> None:
    asked = signal("facebook.messaged", thread="t")
    ours = signal("facebook.messaged", 2, BA, thread="t", direction=Direction.OUT)
    assert answered_by(asked, [ours]) == ours
    assert answered_by(asked, [signal("x.messaged", 2, direction=Direction.OUT)]) is None
    assert answered_by(ours, [ours]) is None


def test_one_shared_identity_is_enough() -> None:
    both = Person(email=AN.email, phone="+84912345678")
    assert (
        answered_by(signal("call.missed", person=Person(phone=both.phone)), [answer := signal("email.sent", 5, both)])
        == answer
    )
    assert answered_by(
        signal("call.missed"), [signal("call.placed", 5, Person(phone=both.phone))], [f"phone:{both.phone}"]
    )


def test_nobody_known_is_answered_by_nobody() -> None:
    assert answered_by(signal("call.missed", person=Person()), [signal("call.placed", 5, Person())]) is None


def test_the_store_tells_who_waits(store: Store) -> None:
    asked, waiting = signal("call.missed"), signal("email.received", person=BA)
    answer = signal("call.answered", 10)
    everything = [asked, waiting, answer, signal("email.opened", 20)]
    store.journal.submit(JournalEntry("phones", [NewSignal(one, ()) for one in everything])).result(10)
    assert [found.signal for found in newest_unanswered(store, Filter())] == [waiting]
    assert answers_to(store, [asked, waiting]) == {asked.id: answer}


def test_an_answer_to_a_tied_identity_counts(store: Store) -> None:
    asked, answer = signal("email.received"), signal("call.placed", 10, Person(phone="+84912345678"))
    store.journal.submit(JournalEntry("phones", [NewSignal(one, ()) for one in (asked, answer)])).result(10)
    assert answers_to(store, [asked]) == {}
    tie = Tie("email:an@example.com", "phone:+84912345678", "operator", "", 1, 1)
    store.apply(lambda connection: set_tie(connection, tie))
    assert answers_to(store, [asked]) == {asked.id: answer}
