"""The table of ties on both databases: recorded once, set by operators, read around a person, purged and erased."""

from __future__ import annotations

from datetime import timedelta

from syncd.identity.ties import Tie, tie
from syncd.store import Store
from syncd.store.identity_ties import people_of_signals, put_ties, set_tie, ties_around
from syncd.store.journal.entries import JournalEntry, NewSignal
from syncd.store.known_people import known_person, say
from syncd.store.privacy import erase, look, marks_of
from syncd.store.purge import purge
from tests.lane_rig import signal

ANN, BOB, PHONE, FACE = "email:ann@x.example", "email:bob@x.example", "phone:+84912345678", "handle:fb:1"


def all_of(store: Store, *start: str) -> list[Tie]:
    with store.read() as connection:
        return ties_around(connection, start).of(start)


def put(store: Store, *ties: Tie) -> None:
    with store.write() as connection:
        put_ties(connection, ties)


def test_what_was_seen_first_stays_and_an_operators_word_counts_most(store: Store) -> None:
    put(store, tie(ANN, PHONE, "signal", "one", 1))
    put(store, tie(PHONE, ANN, "signal", "two", 2), tie(ANN, FACE, "signal", "two", 2))
    assert all_of(store, PHONE) == [Tie(ANN, PHONE, "signal", "one", 1, 2)]
    with store.write() as connection:
        set_tie(connection, tie(ANN, PHONE, "operator", "", 3, apart=True))
    put(store, tie(ANN, PHONE, "signal", "four", 4))
    assert all_of(store, PHONE) == [Tie(ANN, PHONE, "operator", "", 3, 4, apart=True)]


def test_a_person_is_read_by_any_of_their_identities(store: Store) -> None:
    put(store, tie(ANN, PHONE, "signal", "one", 1), tie(ANN, FACE, "signal", "two", 2))
    for start in (ANN, PHONE, FACE):
        assert set(known_person(store, start).identities) == {ANN, PHONE, FACE}
    assert say(store, BOB, PHONE, apart=False) == (
        BOB,
        PHONE,
    )  # two addresses: the number is shared, Ann keeps her handle
    assert set(known_person(store, FACE).identities) == {ANN, FACE}
    assert PHONE in known_person(store, ANN).shared


def test_ties_are_purged_with_their_time_and_erased_with_the_person(store: Store) -> None:
    now = store.now()
    put(store, tie(ANN, PHONE, "signal", "old", 1), tie(ANN, FACE, "signal", "new", now))
    with store.write() as connection:
        set_tie(connection, tie(BOB, FACE, "operator", "", 1, apart=True))
    purge(store, store.clock() - timedelta(days=1))
    assert [one.evidence for one in all_of(store, ANN)] == ["new"]
    marks = marks_of(FACE, None)
    found = look(store, marks)
    assert found.ties == 2
    erase(store, marks, found)
    assert all_of(store, ANN, BOB, FACE) == []


def test_what_a_signal_says_of_its_person_is_read_by_the_evidence_of_a_tie(store: Store) -> None:
    told = signal(1, phone="+84912345678", name="Ann Lee")
    store.journal.commit(JournalEntry("rig", [NewSignal(told, ())]))
    with store.read() as connection:
        found = people_of_signals(connection, [str(told.id), str(signal(2).id), "crm Lead 7"])
    assert found == {str(told.id): told.person}
