"""Who is who: shown, linked, kept apart, forgotten and excluded by any identity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from syncd.identity.ties import tie
from syncd.signals import Signal, derive_id, make_person
from syncd.store import Store
from syncd.store.identity_ties import put_ties
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.store.schema import people
from tests.user_folder import UserFolder

ANN, PHONE, FACE = "email:ann@example.com", "phone:+84912345678", "handle:facebook:22334"


def filled(folder: UserFolder) -> None:
    """Ann wrote and commented; a form tied her number to her address."""
    at = datetime.now(UTC) - timedelta(hours=1)
    persons = [
        make_person(name="Ann Lee", email="ann@example.com"),
        make_person(handles={"facebook": "22334"}),
        make_person(handles={"facebook": "223345"}),
    ]
    made = [
        Signal(
            id=derive_id("t", "", "custom.x", str(number)),
            type="custom.x",
            source="forms",
            occurred_at=at,
            received_at=at,
            title=f"22334 is in the title {number}",
            person=person,
        )
        for number, person in enumerate(persons)
    ]
    with Store.open(f"sqlite:///{folder.path / 'syncd.db'}") as store:
        seeds = (InitialDelivery("archive", live=True, old=False),)
        store.journal.commit(JournalEntry("forms", [NewSignal(one, seeds) for one in made]))
        with store.write() as connection:
            put_ties(connection, [tie(ANN, PHONE, "signal", str(made[0].id), 1_700_000_000_000)])
            row = {"destination": "archive", "identity": ANN, "object": "Lead", "crm_id": "00Q7", "checked_at": 1}
            connection.execute(insert(people), row)


def shown(folder: UserFolder, who: str) -> dict[str, Any]:
    return folder.syncd("--json", "people", "show", who).record


def test_a_person_is_shown_by_any_identity_and_by_name(folder: UserFolder) -> None:
    filled(folder)
    for who in ("ann@example.com", "0912 345 678", "lee ann"):
        record = shown(folder, who)
        assert {one["identity"]: one["signals"] for one in record["identities"]} == {ANN: 1, PHONE: 0}
        (tied,) = record["ties"]
        assert (tied["via"], tied["verdict"]) == ("signal", "one person")
        assert [(one["object"], one["id"]) for one in record["records"]] == [("Lead", "00Q7")]
    table = folder.syncd("people", "show", "ann@example.com")
    assert "seen together" in table.out
    nobody = folder.syncd("people", "show", "bob@example.com")
    assert (nobody.code, nobody.err.count("\n")) == (2, 1)


def test_an_operator_links_and_keeps_apart(folder: UserFolder) -> None:
    filled(folder)
    linked = folder.syncd("--json", "people", "link", "ann@example.com", FACE).record
    assert linked["identities"] == [ANN, FACE, PHONE]
    assert shown(folder, FACE)["records"] == []  # whatever was known of them is looked up afresh
    apart = folder.syncd("--json", "people", "unlink", FACE, "ann@example.com").record
    assert (apart["identities"], apart["apart"]) == ([FACE], [ANN])
    assert folder.syncd("people", "link", "ann", "bob").code == 2
    assert "same identity" in folder.syncd("people", "link", "ann@example.com", ANN).err


def test_a_handle_is_searched_exported_and_forgotten_whole(folder: UserFolder) -> None:
    filled(folder)
    folder.done("people", "link", FACE, "ann@example.com")
    assert len(folder.syncd("--json", "signals", "list", "--person", FACE).lines) == 1
    tables = [row["table"] for row in folder.syncd("export", FACE).lines]
    assert tables.count("signals") == 1
    assert tables.count("identity_ties") == 1
    gone = folder.syncd("--json", "forget", FACE, "--yes", "--no-vacuum").record
    assert (gone["signals"], gone["identity_ties"], gone["signals_of_others_left"]) == (1, 1, 0)
    assert gone["also_known_as"] == [ANN, PHONE]
    left = folder.syncd("--json", "signals", "list").lines
    assert sorted(one["person"] for one in left) == ["Ann Lee", "handle:facebook:223345"]
    assert all("22334 is in the title" in one["title"] for one in left)
    assert FACE not in folder.syncd("--json", "people", "show", "ann@example.com").out
