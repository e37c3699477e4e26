"""`syncd verify` as its user meets it: alone and beside a daemon, what it says, what it mends, what it leaves alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from syncd.config.loading import load_settings
from syncd.service.daemon import Daemon
from syncd.twins import create
from syncd.twins.server import Twin
from tests.user_folder import SECRETS, UserFolder

RANGE = ("--since", "2026-10-01", "--until", "2026-11-10")
AUTH = "{flow: client_credentials, client_id: x, client_secret: '${SF_SECRET}'}"


@pytest.fixture
def twin() -> Iterator[Twin]:
    with create("salesforce") as twin:
        yield twin


@pytest.fixture
def crm(folder: UserFolder, twin: Twin) -> UserFolder:
    """Three mails, delivered to an archive and to a Salesforce."""
    text = (folder.path / "config.yaml").read_text("utf-8")
    folder.write("config.yaml", text + f"  crm: {{type: salesforce, login_url: '{twin.url}', auth: {AUTH}}}\n")
    return folder.filled()


def lose(folder: UserFolder, title: str) -> None:
    with closing(sqlite3.connect(folder.path / "signals.db")) as database:
        assert database.execute("DELETE FROM signals WHERE title = ?", (title,)).rowcount == 1
        database.commit()


def archived(folder: UserFolder) -> int:
    with closing(sqlite3.connect(folder.path / "signals.db")) as database:
        return int(database.execute("SELECT count(*) FROM signals").fetchone()[0])


def subjects(twin: Twin) -> list[str]:
    return sorted(record["Subject"] for record in twin.records("Task"))


def test_all_well(crm: UserFolder, twin: Twin) -> None:
    before = twin.counts["calls"]
    ran = crm.done("verify", *RANGE)
    assert ran.err.splitlines() == [
        "source forms: its vendor cannot be asked about the past",
        "source inbox: 3 read, 0 missing",
        "destination archive: 3 records, 0 wrong",
        "destination crm: 6 records, 0 wrong",
    ]
    assert twin.counts["calls"] - before <= 3, "leads and tasks, and a sign-in"
    told = crm.done("--json", "verify", *RANGE).record
    assert (told["well"], told["cannot_look_back"], told["books"]) == (True, ["forms"], [])
    assert told["destinations"]["crm"]["checked"] == 6


def test_what_is_gone_is_listed_and_mended_only_when_agreed(crm: UserFolder, twin: Twin) -> None:
    lose(crm, "Question 2")
    (gone,) = [record["Id"] for record in twin.records("Task") if record["Subject"] == "Question 3"]
    twin.delete(gone)
    ran = crm.syncd("verify", *RANGE)
    assert ran.code == 1
    assert "destination crm: 6 records, 1 wrong, 1 missing" in ran.err
    assert gone in ran.out
    advice = crm.done("status").err
    assert "destination archive: 1 wrong when last verified (" in advice
    asked = crm.syncd("verify", *RANGE, "--fix")
    assert (asked.code, "2 missing records would be created again, each under its own key" in asked.err) == (1, True)
    assert "nothing was changed: " in asked.err
    assert (archived(crm), len(subjects(twin))) == (2, 2)
    fixed = crm.done("verify", *RANGE, "--fix", "--yes")
    assert "destination crm: 6 records, 0 wrong, 1 fixed, 1 missing" in fixed.err
    assert (archived(crm), subjects(twin)) == (3, ["Question 1", "Question 2", "Question 3"])
    assert twin.doubled() == {}
    assert "verified" not in crm.done("status").err
    assert crm.done("verify", *RANGE).code == 0


def test_asked_on_a_terminal(crm: UserFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(crm, "Question 1")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda text, err: "deleted on purpose" not in text)
    assert crm.syncd("verify", *RANGE, "--fix").code == 1
    assert archived(crm) == 2
    monkeypatch.setattr("typer.confirm", lambda text, err: True)
    assert "destination archive: 3 records, 0 wrong, 1 fixed" in crm.done("verify", *RANGE, "--fix").err
    assert archived(crm) == 3


def test_a_mail_that_never_came_in_is_taken_in(crm: UserFolder, twin: Twin) -> None:
    crm.mail(4, day=4)
    ran = crm.syncd("verify", *RANGE)
    assert (ran.code, "source inbox: 4 read, 1 missing" in ran.err) == (1, True)
    assert len(crm.ids()) == 3
    assert "source inbox: 1 missing in the store when last verified" in crm.done("status").err
    assert "source inbox: 4 read, 0 missing, 1 fixed" in crm.done("verify", *RANGE, "--fix", "--yes").err
    assert len(crm.ids()) == 4
    assert subjects(twin)[-1] == "Question 4"
    assert "missing in the store" not in crm.done("status").err


def test_one_source_alone(crm: UserFolder) -> None:
    told = crm.done("--json", "verify", "inbox", *RANGE).record
    assert (list(told["sources"]), told["destinations"]["crm"]["checked"]) == (["inbox"], 6)
    told = crm.done("--json", "verify", "forms", *RANGE).record
    assert (told["cannot_look_back"], told["destinations"]["crm"]["checked"]) == (["forms"], 0)


def test_two_records_with_one_key_are_listed(crm: UserFolder, twin: Twin) -> None:
    (first,) = [record for record in twin.records("Task") if record["Subject"] == "Question 1"]
    second = twin.add("Task", **{name: first[name] for name in ("Subject", "Syncd_Key__c")})
    ran = crm.syncd("verify", *RANGE, "--fix", "--yes")
    assert (ran.code, "1 wrong, 1 doubled" in ran.err) == (1, True)
    (found,) = crm.syncd("--json", "verify", *RANGE).record["destinations"]["crm"]["findings"]
    assert found["found"] == sorted([first["Id"], second])


@pytest.fixture
def daemon(crm: UserFolder) -> Iterator[Daemon]:
    daemon = Daemon(load_settings(crm.path / "config.yaml", SECRETS))
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


def test_beside_a_daemon(crm: UserFolder, twin: Twin, daemon: Daemon) -> None:
    assert crm.done("verify", *RANGE).code == 0
    lose(crm, "Question 2")
    assert crm.syncd("verify", *RANGE).code == 1
    assert 'syncd_verify_amiss{name="archive",role="destination"} 1.0' in metrics(daemon)
    ran = crm.done("verify", *RANGE, "--fix", "--yes")
    assert "the running daemon writes them" in ran.err
    for _ in range(100):
        if archived(crm) == 3:
            break
        daemon.lanes["archive"].wake()
    assert 'syncd_verify_amiss{name="archive",role="destination"} 0.0' in metrics(daemon)


def metrics(daemon: Daemon) -> str:
    import requests

    return requests.get(f"{daemon.url}/metrics", timeout=20).text


def test_no_secret_is_needed_beside_a_daemon(crm: UserFolder, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name)
    assert crm.done("verify", *RANGE).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "2026-11-10", "--until", "2026-11-01"), "--since must be before --until"),
        (("nowhere", "--since", "1d"), "no source 'nowhere'; there are: inbox, forms"),
        (("--since", "1d", "--yes"), "--yes is for --fix"),
        (("--since", "yesterday"), "--since: 'yesterday' is not a date"),
    ],
)
def test_mistakes(folder: UserFolder, words: tuple[str, ...], said: str) -> None:
    ran = folder.syncd("verify", *words)
    assert (ran.code, said in ran.err) == (2, True), ran.err


def test_a_crm_that_is_away_is_told(crm: UserFolder, twin: Twin) -> None:
    twin.stop()
    ran = crm.syncd("verify", *RANGE)
    assert (ran.code, "destination crm: could not be verified to the end: " in ran.err) == (1, True)
    assert "destination archive: 3 records, 0 wrong" in ran.err, "the others are verified all the same"
    told = crm.syncd("--json", "verify", *RANGE)
    assert (told.code, told.record["well"]) == (1, False), "standard output is data alone"


def test_the_result_says_when(crm: UserFolder) -> None:
    lose(crm, "Question 2")
    crm.syncd("verify", *RANGE)
    shown: dict[str, Any] = crm.done("--json", "status").record
    archive = next(one for one in shown["verified"] if one["name"] == "archive")
    assert (archive["role"], archive["amiss"], archive["error"]) == ("destination", 1, "")
