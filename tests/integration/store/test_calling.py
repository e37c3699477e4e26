"""Daemons on one PostgreSQL hear of each other's work at once, also after a connection was cut; on SQLite nothing happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Request
from syncd.dispatch.lane import Lane
from syncd.intake.quarantine import quarantined_request
from syncd.mapping.loading import load_mapping
from syncd.service.job_runner import show_presence
from syncd.store import Store, pg_notify
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.store.journal.group_commit import WakeUp
from syncd.store.pg_notify import EVERYBODY, LONGEST, PgNotifier, decode_payload, encode_payload
from syncd.testing.hostile_destination import HostileCrm, HostileDestination
from tests.chaos import processes
from tests.entries import MOMENT
from tests.lane_rig import MAPPING, signal
from tests.servers import execute
from tests.user_folder import lay_out

until = partial(processes.until, within=15.0)

BODY = Request(method="POST", url="https://h/webhooks/forms", headers={}, body=b"?", received_at=MOMENT)
WORK = WakeUp(frozenset({"crm"}), hints=True)


@contextmanager
def calls(store: Store, heard: Callable[[WakeUp], None]) -> Iterator[PgNotifier]:
    made = PgNotifier(store, heard)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_others_hear_it_and_oneself_does_not(postgres_url: str) -> None:
    mine: list[WakeUp] = []
    theirs: list[WakeUp] = []
    with (
        Store.open(postgres_url) as one,
        Store.open(postgres_url) as other,
        calls(one, mine.append) as here,
        calls(other, theirs.append) as there,
    ):
        until(lambda: here.listening.is_set() and there.listening.is_set(), "both listen")
        here.notify(WORK)
        until(lambda: theirs, "it is heard")
        assert (theirs, mine) == ([WORK], [])


def test_a_connection_that_was_cut_is_made_anew(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pg_notify, "AGAIN", 0.05)
    heard: list[WakeUp] = []
    with (
        Store.open(postgres_url) as one,
        Store.open(postgres_url) as other,
        calls(one, heard.append) as here,
        calls(other, lambda wake_up: None) as there,
    ):
        until(lambda: here.listening.is_set() and there.listening.is_set(), "both listen")
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd listens'"
        execute(postgres_url, f"{cut} AND datname = current_database()")

        def said_again() -> bool:
            there.notify(WORK)
            return bool(heard)

        until(said_again, "it listens again")


def test_a_lane_is_woken_by_another_machines_commit(postgres_url: str) -> None:
    """The lane by itself would look once a minute."""
    crm = HostileCrm()
    crm.add("Contact", Email="ann@example.com")
    with Store.open(postgres_url) as one, Store.open(postgres_url) as other:
        settings = Settings(destinations={"crm": DestinationSettings(name="crm", type="hostile")})
        mapping = load_mapping(MAPPING, name="rig.yaml")
        lane = Lane("crm", HostileDestination(crm), mapping, one, settings, idle=60.0)
        with calls(one, lambda wake_up: lane.wake()) as here, calls(other, lambda wake_up: None) as there:
            other.journal.listen(there.notify)
            lane.start()
            try:
                until(lambda: here.listening.is_set() and other.leases.holder("lane:crm"), "the lane runs")
                until(lambda: time.monotonic() - lane.moved > 0.5, "it has looked, and rests")
                began = time.monotonic()
                other.journal.commit(
                    JournalEntry(
                        "rig",
                        [NewSignal(signal(1), (InitialDelivery("crm", live=True, old=False),))],
                        received_at=signal(1).received_at,
                    )
                )
                until(lambda: crm.records.get("Task"), "it is written")
                assert time.monotonic() - began < 10
            finally:
                lane.stop(20)


def test_a_command_beside_the_daemon_calls_out(
    postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay_out(tmp_path, capsys, monkeypatch)
    text = (folder.path / "config.yaml").read_text("utf-8")
    database = f"database: {postgres_url}\nsecret_key: {'k' * 40}"
    folder.write("config.yaml", text.replace("database: sqlite:///./syncd.db", database))
    heard: list[WakeUp] = []
    with Store.open(postgres_url) as store, calls(store, heard.append) as here:
        settled = JournalEntry(
            "forms", [NewSignal(signal(1), (InitialDelivery("archive", live=True, skipped="not asked for"),))]
        )
        store.journal.commit(settled)
        presence = show_presence(store)
        assert presence is not None
        with presence:
            until(here.listening.is_set, "it listens")
            folder.done("replay", "--to", "archive")
            until(lambda: heard, "replay is heard")
            assert heard == [WakeUp(frozenset({"archive"}))]
            store.journal.commit(JournalEntry("forms", quarantined=[quarantined_request(BODY, "forms", "odd", MOMENT)]))
            folder.done("quarantine", "retry", "--all")
            until(lambda: len(heard) > 1, "the retry is heard")
            assert heard[1] == WakeUp(hints=True)


def test_on_sqlite_there_is_nobody_to_call(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/syncd.db") as store, calls(store, lambda wake_up: None) as here:
        here.notify(WORK)
        assert not here.listening.is_set()


@given(st.builds(WakeUp, st.frozensets(st.text(max_size=200), max_size=80), st.booleans()))
def test_what_is_said_is_read_and_fits(wake_up: WakeUp) -> None:
    payload = encode_payload("machine:1:a", wake_up)
    assert len(payload.encode()) <= LONGEST
    holder, told = decode_payload(payload)
    assert (holder, told.hints) == ("machine:1:a", wake_up.hints)
    assert told.destinations in (wake_up.destinations, frozenset({EVERYBODY}))


@pytest.mark.parametrize(
    "payload", ["", "null", "{}", '{"from": 1}', "[" * 10_000, '{"from": "x", "to": 3, "hints": 1}']
)
def test_what_a_stranger_says_is_nothing(payload: str) -> None:
    assert decode_payload(payload) == ("", WakeUp())
