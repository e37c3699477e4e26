"""The demo as its user runs it: another process, the public receiver, the balance sheet, exit code 0."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.signal_types import CATALOGUE, SHIPPED

SYNCD = str(Path(sys.executable).with_name("syncd"))
NOT_FINDABLE = "people.match has no field for a facebook handle, and nothing else is known of this person"


@pytest.mark.parametrize("crm", ["salesforce", "zoho", "bitrix24"])
def test_one_round_shows_a_signal_of_each_type_and_balanced_books(crm: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [SYNCD, "--json", "demo", "--once", "--crm", crm], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    signals = [row for row in rows if "signal" in row]
    assert [row["signal"] for row in signals] == [*(row.name for row in SHIPPED), "custom.demo_request", "custom.order"]
    assert {row["signal"]: row["reason"] for row in signals if not row["became"]} == {
        "facebook.liked": NOT_FINDABLE,
        "contact.deleted": "no rule makes a record of it",
        "web.visited": "no rule makes a record of it",
    }
    assert all((row["state"] == "delivered") == bool(row["became"]) for row in signals)
    assert {row["signal"] for row in signals if not row["is"]} == {"facebook.liked", "account.changed"}
    books = [row for row in rows if "balanced" in row]
    assert {row["channel"] for row in books} == {*CATALOGUE, "custom"}
    assert sum(row["delivered"] for row in books) == len(signals) - 3
    assert sum(row["signals"] for row in books) == len(signals)
    assert all(row["balanced"] for row in books)
    assert done.stderr.count("401 not authentic") == 1
    assert os.listdir(tmp_path) == [], "the demo leaves nothing behind"


def test_ctrl_c_stops_it_cleanly(tmp_path: Path) -> None:
    demo = subprocess.Popen([SYNCD, "demo"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if re.search(r"again in", line):
            demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0, said
    assert "stopped cleanly" in said


def test_the_table_says_what_each_signal_became_or_why_nothing(tmp_path: Path) -> None:
    done = subprocess.run([SYNCD, "demo", "--once"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^call\.missed  .* Contact \w+ +Task \w+, Task \w+ +delivered$", done.stdout, re.MULTILINE)
    assert re.search(r"^meeting\.held  .* Contact \w+ +Task \w+ +delivered$", done.stdout, re.MULTILINE)
    assert re.search(r"^web\.visited  .* none: no rule makes a record of it +skipped$", done.stdout, re.MULTILINE)
