"""The unit as systemd's own tools judge it, and what a real process tells systemd."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.processes import SYNCD, Process, until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
analyzer = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed: apt-get install systemd"
)
EXPOSED_AT_MOST = 2.0
CONFIG = """\
server: {listen: "127.0.0.1:0"}
destinations:
  archive: {type: database, url: "sqlite:///./archive.db", mapping: mappings/database.yaml}
"""


def tool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@analyzer
def test_the_units_are_valid(tmp_path: Path) -> None:
    names = ("syncd.service", "syncd-verify.service", "syncd-verify.timer")
    for name in names:
        text = (UNITS / name).read_text("utf-8").replace("/opt/syncd/bin/syncd", sys.executable)
        (tmp_path / name).write_text(text, "utf-8")
    ran = tool("systemd-analyze", "verify", "--man=no", *(tmp_path / name for name in names))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_timer_runs_a_command_that_exists() -> None:
    (line,) = re.findall(r"^ExecStart=\S+ (.*)$", (UNITS / "syncd-verify.service").read_text("utf-8"), re.MULTILINE)
    words = line.split()
    assert (words[0], words[2]) == ("--config", "verify")
    told = subprocess.run([SYNCD, "verify", "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert [word for word in words if word.startswith("--") and word != "--config" and word not in told] == []


@analyzer
@pytest.mark.parametrize("name", ["syncd.service", "syncd-verify.service"])
def test_the_units_are_hardened(name: str) -> None:
    ran = tool("systemd-analyze", "security", "--offline=true", "--no-pager", UNITS / name)
    level = re.search(rf"Overall exposure level for {name}: ([\d.]+)", ran.stdout)
    assert level, ran.stdout + ran.stderr
    assert float(level.group(1)) <= EXPOSED_AT_MOST


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="systemd is not installed: apt-get install systemd"
)
def test_the_user_can_be_made() -> None:
    ran = tool("systemd-sysusers", "--dry-run", UNITS / "syncd.sysusers")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(
    shutil.which("systemd-tmpfiles") is None, reason="systemd is not installed: apt-get install systemd"
)
def test_the_directories_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name, line in (("passwd", "root:x:0:0::/:"), ("group", "root:x:0:\nsyncd:x:999:")):
        (tmp_path / "etc" / name).write_text(line + "\n", "utf-8")
    ran = tool("systemd-tmpfiles", "--create", f"--root={tmp_path}", UNITS / "syncd.tmpfiles")
    assert (tmp_path / "etc/syncd").is_dir(), ran.stderr
    assert (tmp_path / "etc/syncd").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "etc/syncd/secrets").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


def told(inbox: socket.socket, word: str) -> list[str]:
    """Reads until a message begins with `word`; that message's lines."""
    while True:
        lines = inbox.recv(4096).decode().split("\n")
        if lines[0] == word:
            return lines


def silent(inbox: socket.socket) -> None:
    """Reads what was said; nothing of it may have come after a pause of a round."""
    inbox.settimeout(2)
    with contextlib.suppress(TimeoutError):
        for _ in range(5):  # what had been said before
            inbox.recv(4096)
        pytest.fail("it goes on")
    inbox.settimeout(30)


def test_what_a_real_process_tells(tmp_path: Path, inbox: socket.socket) -> None:
    """Ready, alive again and again, reloading and ready again, still ready with a file it refuses, stopping."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG, "utf-8")
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
    process = Process([SYNCD, "--config", str(config), "run"], tmp_path / "log", cwd=tmp_path, env=env)
    try:
        assert told(inbox, "READY=1")[1] == "STATUS=0 sources, 1 destinations; all well"
        for _ in range(3):
            assert told(inbox, "WATCHDOG=1")[1].endswith("all well")
        process.send(signal.SIGHUP)
        assert told(inbox, "RELOADING=1")[1].startswith("MONOTONIC_USEC=")
        assert told(inbox, "READY=1")[1] == "STATUS=the configuration was reloaded"
        config.write_text(CONFIG + "colour: red\n", "utf-8")
        process.send(signal.SIGHUP)
        told(inbox, "RELOADING=1")
        assert "colour" in told(inbox, "READY=1")[1]
        while "degraded" not in told(inbox, "WATCHDOG=1")[1]:
            pass
        process.send(signal.SIGTERM)
        told(inbox, "STOPPING=1")
        assert process.ended() == 0, process.text
    finally:
        process.finish()


def test_a_process_that_stands_still_is_not_alive(tmp_path: Path, inbox: socket.socket) -> None:
    """The writer is held up by a lock on the database that does not end: systemd hears nothing more."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG, "utf-8")
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
    process = Process([SYNCD, "--config", str(config), "run"], tmp_path / "log", cwd=tmp_path, env=env)
    try:
        told(inbox, "WATCHDOG=1")
        database = sqlite3.connect(tmp_path / "syncd.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        until(lambda: "no progress" in process.text, "the standstill is seen")
        silent(inbox)
        database.execute("ROLLBACK")
        database.close()
        told(inbox, "WATCHDOG=1")
        assert process.ends() == 0, process.text
    finally:
        process.finish()
