"""A person is forgotten: what is theirs goes, to the last byte of the file; what is others' stays; nothing brings it back."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, update

from syncd.signals import Signal, make_person
from syncd.store import Store
from syncd.store import privacy as held
from syncd.store.balance import balance, unbalanced
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal, Quarantined
from syncd.store.privacy import marks_of
from syncd.store.schema import attempts, deliveries, people, signals, tombstones
from tests.user_folder import UserFolder

AN = "an2@example.org"


def opened(folder: UserFolder) -> Store:
    return Store.open(f"sqlite:///{folder.path / 'syncd.db'}")


def on_disk(folder: UserFolder, words: bytes) -> list[str]:
    return [file.name for file in folder.path.glob("syncd.db*") if words in file.read_bytes().lower()]


def sprinkle(folder: UserFolder) -> None:
    """The person's address in every table that can hold it."""
    body = base64.b64encode(b"who=an2%40example.org").decode()
    with opened(folder) as store:
        bad = Quarantined(uuid4(), "forms", json.dumps({"body": body}).encode(), f"no id: {AN}", datetime.now(UTC))
        other = Quarantined(uuid4(), "forms", b'{"body": "e30="}', "no id", datetime.now(UTC))
        store.journal.commit(
            JournalEntry("forms", quarantined=(bad, other), remember={f"person {AN}": "1", "else": "2"})
        )
        with store.write() as connection:
            connection.execute(
                insert(people),
                {
                    "destination": "archive",
                    "identity": f"email:{AN}",
                    "object": "Lead",
                    "crm_id": "00Q7",
                    "checked_at": 1,
                },
            )
            one = connection.execute(select(signals.c.id).where(signals.c.identity == "email:an1@example.org")).scalar()
            connection.execute(
                update(attempts).where(attempts.c.signal_id == one).values(message=f"like {AN}, not jan2@example.org")
            )
        store.jobs.create("replay", "archive", {"person": AN})


def test_to_the_last_byte(filled: UserFolder) -> None:
    sprinkle(filled)
    assert on_disk(filled, AN.encode())
    shown = filled.done("--json", "forget", AN, "--dry-run").record
    assert (shown["erased"], shown["signals"], shown["receipts"], shown["people_known"]) == (False, 1, 1, 1)
    assert (shown["memory"], shown["jobs"], shown["mentions_in_messages"]) == (1, 1, 1)
    assert {"destination": "archive", "object": "Lead", "id": "00Q7", "url": ""} in shown["crm_records"]
    done = filled.done("--json", "forget", AN, "--yes").record
    assert done["erased"]
    assert done["file_wiped"]
    assert done["beyond_reach"]
    assert on_disk(filled, AN.encode()) == ["syncd.db"], "jan2@ holds it, and is somebody else"
    with opened(filled) as store:
        with store.read() as connection:
            assert connection.execute(select(attempts.c.message)).scalars().first() is not None
            said = set(connection.execute(select(attempts.c.message)).scalars())
        assert "like (erased), not jan2@example.org" in said
        with store.write() as connection:
            connection.execute(update(attempts).values(message=""))
        store.wipe()
    assert on_disk(filled, AN.encode()) == []
    assert on_disk(filled, b"an1@example.org"), "others stay"
    assert filled.done("--json", "forget", AN, "--yes").record["erased"] is False
    assert "nothing is held" in filled.done("forget", AN).err


def test_the_books_balance_and_nothing_comes_back(filled: UserFolder) -> None:
    filled.done("forget", AN, "--yes")
    with opened(filled) as store:
        assert unbalanced(balance(store)) == []
        assert [line.signals for line in balance(store)] == [2]
    filled.done("backfill", "inbox", "--since", "2026-10-01", "--until", "2026-11-10", "--restart")
    assert len(filled.ids()) == 2
    assert "nothing is held" in filled.done("forget", AN).err


def test_it_asks_before(filled: UserFolder) -> None:
    ran = filled.syncd("forget", AN)
    assert ran.code == 2
    assert "give --yes" in ran.err
    assert len(filled.ids()) == 3
    ran = filled.syncd("forget", "an2")
    assert ran.code == 2
    assert "neither an e-mail address nor a phone number" in ran.err


def test_export_is_what_would_go(filled: UserFolder) -> None:
    sprinkle(filled)
    rows = filled.done("export", AN).lines
    kinds = [row["table"] for row in rows]
    assert {"signals", "settled", "writes", "attempts", "people", "receipts", "memory"} <= set(kinds)
    assert next(row for row in rows if row["table"] == "signals")["person"]["email"] == AN
    assert next(row for row in rows if row["table"] == "receipts")["payload"].count(AN) >= 1
    assert "an1@" not in json.dumps(rows)


def mentioning(kind: str, email: str, text: str) -> NewSignal:
    now = datetime.now(UTC)
    signal = Signal(
        id=uuid4(), type=kind, source="s", occurred_at=now, received_at=now, title="t", text=text,
        person=make_person(email=email),
    )  # fmt: skip
    return NewSignal(signal, (InitialDelivery("crm", live=True), InitialDelivery("hook", live=True, skipped="why")))


@pytest.mark.parametrize("others", [False, True])
def test_on_each_database(store: Store, others: bool) -> None:
    arrivals = (
        mentioning("custom.a", AN, "mine"),
        mentioning("custom.a", "bo@example.org", f"ask\n{AN}."),
        mentioning("custom.a", "bo@example.org", f"ask j{AN} or {AN}.vn"),
    )
    committed = store.journal.commit(JournalEntry("s", arrivals=arrivals))
    marks = marks_of(AN.upper(), None)
    found = held.look(store, marks)
    assert (len(found.signals), len(found.others)) == (1, 1)
    held.erase(store, marks, found, others=others)
    assert store.wipe()
    left = 1 if others else 2
    assert unbalanced(balance(store)) == []
    assert {line.signals for line in balance(store)} == {left}
    with store.read() as connection:
        assert len(connection.execute(select(signals.c.id)).all()) == left
        assert len(connection.execute(select(deliveries.c.signal_id)).all()) == left
        assert len(connection.execute(select(tombstones.c.id)).all()) == 3 - left
    assert store.journal.commit(JournalEntry("s", arrivals=arrivals)).new == ()
    assert len(committed.new) == 3


def test_by_phone(store: Store) -> None:
    now = datetime.now(UTC)
    signal = Signal(
        id=uuid4(), type="call.missed", source="s", occurred_at=now, received_at=now, title="t",
        person=make_person(email="x@example.org", phone="+84912345678"),
    )  # fmt: skip
    store.journal.commit(JournalEntry("s", arrivals=(NewSignal(signal, (InitialDelivery("crm", live=True),)),)))
    assert held.look(store, marks_of("0912 345 678", "VN")).signals == [str(signal.id)]
    assert held.look(store, marks_of("+84912345679", None)).empty


@pytest.mark.parametrize("depth", [900, 100_000])
def test_somebody_elses_body_nested_beyond_measure_stops_nothing(store: Store, depth: int) -> None:
    body = base64.b64encode(b"[" * depth + b'"an1@example.org"' + b"]" * depth).decode()
    kept = Quarantined(uuid4(), "forms", json.dumps({"body": body}).encode(), "nested too deep", datetime.now(UTC))
    store.journal.commit(JournalEntry("forms", quarantined=(kept,)))
    assert held.look(store, marks_of(AN, None)).empty
    assert held.look(store, marks_of("an1@example.org", None)).receipts == [str(kept.id)]
