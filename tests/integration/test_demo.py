"""The demo as its user runs it: another process, the public receiver, the balance sheet, exit code 0."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SYNCD = str(Path(sys.executable).with_name("syncd"))


@pytest.mark.parametrize("crm", ["salesforce", "zoho", "bitrix24"])
def test_one_round_ends_with_balanced_books(crm: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [SYNCD, "--json", "demo", "--once", "--crm", crm], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    signals = [row for row in rows if "signal" in row]
    assert sorted(row["signal"] for row in signals) == [
        "call.missed",
        "custom.demo_request",
        "custom.order",
        "email.bounced",
        "email.received",
        "survey.responded",
    ]
    assert all(row["state"] == "delivered" and row["became"] and row["is"] for row in signals)
    books = [row for row in rows if "balanced" in row]
    assert sum(row["delivered"] for row in books) == 6
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
