"""`syncd import` as its user types it: what it shows, wrong rows, broken off and gone on, twice the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest

from syncd.store import Store
from tests.user_folder import UserFolder

SYNCD = [sys.executable, "-c", "from syncd.cli import main; main()"]
ROWS = 1_000


@pytest.fixture
def here(folder: UserFolder) -> UserFolder:
    folder.done("channels", "enable", "contact.changed")
    return folder


@pytest.fixture
def store(here: UserFolder) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{here.path}/syncd.db")
    yield opened
    opened.close()


def people(count: int = ROWS, wrong: int = 0) -> str:
    """A list whose last rows are wrong."""
    rows = [f"p{number}@x.example;An;Nr {number};note" for number in range(count - wrong)]
    return "\n".join(["E-Mail;Vorname;Nachname;Notiz", *rows, *(["nobody;;;"] * wrong)]) + "\n"


def test_it_shows_what_it_takes_for_what_and_a_dry_run_touches_nothing(here: UserFolder) -> None:
    here.write("list.csv", people(5, wrong=1))
    ran = here.done("import", "list.csv", "--as", "contact", "--dry-run")
    assert ran.err.splitlines()[1:5] == [
        "  E-Mail    -> email",
        "  Vorname   -> first_name",
        "  Nachname  -> last_name",
        "  Notiz        not used (kept in signal.data.row)",
    ]
    assert "p0@x.example | An | Nr 0 | note" in ran.err
    assert "would bring 4 new, 0 known, 1 wrong rows\n  list.csv:6: E-Mail: 'nobody' is not an email address" in ran.err
    assert here.done("--json", "signals", "list").lines == []


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_fault_in_a_mapping_is_said_before_anything_is_taken_in(here: UserFolder, dry: list[str]) -> None:
    here.write("list.csv", people(5))
    config = (here.path / "config.yaml").read_text("utf-8")
    here.write("config.yaml", config.replace("mappings/database.yaml", "broken.yaml"))
    here.write("broken.yaml", "rulez: []\n")
    ran = here.syncd("import", "list.csv", "--as", "contact", *dry)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("syncd: 2 faults\n")
    assert "broken.yaml:1:1 rulez: unknown" in ran.err
    assert not (here.path / "syncd.db").exists()


def test_imported_once_and_once_more_under_another_name(here: UserFolder, store: Store) -> None:
    here.write("list.csv", people(300, wrong=2))
    first = here.done("--json", "import", "list.csv", "--as", "contact").record
    assert (first["new"], first["repeats"], first["wrong"], first["columns"]["Notiz"]) == (298, 0, 2, "")
    (here.path / "list.csv").rename(here.path / "other.csv")
    again = here.done("--json", "import", "other.csv", "--as", "contact").record
    assert (again["new"], again["repeats"], again["wrong"]) == (0, 298, 2)
    assert here.done("--json", "quarantine", "list").lines == []
    (row, *_) = here.done("--json", "signals", "list", "--source", "import").lines
    assert here.done("--json", "explain", row["id"]).record["signal"]["route"] == "import"


@pytest.mark.parametrize("restart", [False, True])
def test_killed_in_the_middle_it_goes_on_under_another_name(here: UserFolder, store: Store, restart: bool) -> None:
    here.write("list.csv", people(wrong=3))
    environment = {**os.environ, "SYNCD_CRASH_AT": "after_commit:3"}
    killed = subprocess.run([*SYNCD, "import", "list.csv", "--as", "contact"], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    (job,) = store.jobs.list(kinds=["import"])
    assert (job.state, job.subject, job.progress["read"]) == ("running", "contact", 600)
    (here.path / "list.csv").rename(here.path / "renamed.csv")
    ran = here.done("import", "renamed.csv", "--as", "contact", *(["--restart"] if restart else []))
    assert ("resumes after 600 rows" in ran.err) is not restart
    assert "waiting" not in ran.err
    (after,) = store.jobs.list(kinds=["import"])
    assert (after.id, after.state, after.progress["read"], after.progress["wrong"]) == (job.id, "done", ROWS - 3, 3)
    assert len(here.done("--json", "signals", "list", "--limit", "5000").lines) == ROWS - 3


def test_ctrl_c_ends_between_two_pages(here: UserFolder, store: Store) -> None:
    here.write("list.csv", people(200_000))
    command = [*SYNCD, "import", "list.csv", "--as", "contact"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    while not any(job.progress for job in store.jobs.list(kinds=["import"])):
        assert process.poll() is None
        threading.Event().wait(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-2:]) == (
        130,
        ["stopped; run the same command to resume", "syncd: interrupted"],
    )
    (job,) = store.jobs.list(kinds=["import"])
    assert job.state == "stopped"
    assert 0 < job.progress["read"] < 200_000


def test_what_another_process_imports_is_waited_for(
    here: UserFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from syncd.intake.backfill import open_same
    from syncd.intake.imports import Told
    from syncd.store.leases import TERM

    file = here.write("list.csv", people(10))
    job = open_same(store, "import", "contact", Told(Path(file), "contact", {}).seen().args)
    claimed = store.jobs.claim(TERM, id=job.id)
    assert claimed is not None

    def done_elsewhere(seconds: float) -> None:
        store.jobs.finish(job.id, claimed[1], "done", progress={"read": 10, "new": 10})

    monkeypatch.setattr("syncd.cli.importing.time.sleep", done_elsewhere)
    ran = here.done("import", "list.csv", "--as", "contact")
    assert "under way elsewhere" in ran.err
    assert "brought 10 new" in ran.err


def test_a_map_says_what_the_guess_has_wrong(here: UserFolder) -> None:
    here.write("list.csv", "Mail,Mail privat,Handy\na@work.example,a@home.example,0912345678\n")
    here.write("map.yaml", "email: Mail privat\nmobile: null\nwork_mail: Mail\n")
    here.done("import", "list.csv", "--as", "contact", "--map", "map.yaml")
    (row,) = here.done("--json", "signals", "list").lines
    signal_ = here.done("--json", "explain", row["id"]).record["signal"]
    assert signal_["person"] == {"email": "a@home.example"}
    assert signal_["data"]["work_mail"] == "a@work.example"


def test_a_sheet_is_chosen(here: UserFolder) -> None:
    book = openpyxl.Workbook()
    book.active.append(["nothing here"])
    book.create_sheet("People").append(["Email"])
    book["People"].append(["an@x.example"])
    book.save(here.path / "list.xlsx")
    ran = here.done("import", "list.xlsx", "--as", "contact", "--sheet", "People")
    assert "brought 1 new" in ran.err
    assert here.syncd("import", "list.xlsx", "--as", "contact", "--sheet", "Peple").err == (
        "syncd: list.xlsx: no sheet 'Peple'; there are: Sheet, People\n"
    )


@pytest.mark.parametrize(
    ("text", "words", "code", "says"),
    [
        ("Email\na@x.example\n", ["--as", "account"], 2, "syncd channels enable account.changed"),
        ("Email\na@x.example\n", ["--as", "lead"], 2, "--as 'lead': there are contact and account"),
        ("Email\na@x.example\n", ["--as", "contact", "--map", "no.yaml"], 2, "no.yaml: cannot be read: No such file"),
        ("Email\na@x.example\n", ["--as", "contact", "--map", "list.csv"], 2, "must say what is which column"),
        (
            "Colour\nred\n",
            ["--as", "contact"],
            1,
            "no column is known as email or phone or mobile; headers found: 'Colour'",
        ),
        ("", ["--as", "contact"], 1, "list.csv: the file has no rows"),
        ("Email\nbad\n", ["--as", "contact"], 1, "list.csv: no row could be read"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(
    here: UserFolder, text: str, words: list[str], code: int, says: str
) -> None:
    here.write("list.csv", text)
    ran = here.syncd("import", "list.csv", *words)
    assert ran.code == code
    assert says in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err


def test_a_file_that_is_not_there(here: UserFolder) -> None:
    ran = here.syncd("import", "no.csv", "--as", "contact")
    assert (ran.code, ran.err) == (2, "syncd: no.csv: cannot be read: No such file or directory\n")


def test_a_file_that_breaks_off_keeps_what_could_be_read(here: UserFolder) -> None:
    here.write("list.csv", people(250) + "x" * 1_200_000)
    ran = here.syncd("import", "list.csv", "--as", "contact")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == ("syncd: list.csv: line 252 has more than 1000000 characters: is this a table?")
    assert "brought 250 new" in ran.err
