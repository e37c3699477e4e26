"""A few commands as real processes: signals, pipes, start-up time's imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.user_folder import UserFolder

SYNCD = [sys.executable, "-c", "from syncd.cli import main; main()"]
HEAVY = ("sqlalchemy", "uvicorn", "starlette", "requests", "jinja2", "alembic", "phonenumbers", "lxml")


def started(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*SYNCD, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def test_run_until_sigterm(folder: UserFolder) -> None:
    process = started("run")
    assert process.stderr is not None
    seen = next(line for line in process.stderr if '"ready"' in line)
    assert "http://127.0.0.1:" in seen
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert '"stopped"' in rest
    assert "Traceback" not in rest


def test_a_port_in_use_is_one_line(folder: UserFolder) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = (folder.path / "config.yaml").read_text("utf-8")
        folder.write("config.yaml", text.replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
        process = started("run")
        out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "syncd: server.listen: cannot listen on 127.0.0.1:" in said
    assert "Traceback" not in said


def test_tail_until_ctrl_c(filled: UserFolder) -> None:
    process = started("signals", "tail", "--since", "2026-11-01")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    assert all("Question" in line for line in lines)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "syncd: interrupted\n"


def test_a_reader_that_has_enough(filled: UserFolder) -> None:
    process = started("config", "schema")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_no_reader_at_all(folder: UserFolder) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    told = subprocess.run(
        [*SYNCD, "--version"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writing)
    assert (told.returncode, told.stderr) == (0, "")


def test_a_twin_says_where_it_is(folder: UserFolder) -> None:
    process = started("twin", "zoho")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode in (0, 130)


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["signals", "list", "--help"]])
def test_help_imports_nothing_heavy(args: list[str], tmp_path: Path) -> None:
    code = f"import sys; from syncd.cli import run; run({args!r}); print([m for m in {HEAVY!r} if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    assert told.stdout.splitlines()[-1] == "[]"
