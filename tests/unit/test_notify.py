"""What systemd is told, on real sockets; and when the watchdog keeps silent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.service import sd_notify, watchdog


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """(what NOTIFY_SOCKET says, the socket that systemd would read)."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@syncd-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind("\0" + name[1:] if name.startswith("@") else name)
        inbox.settimeout(5)
        yield name, inbox


def test_the_lines_arrive_as_one_message(listening: tuple[str, socket.socket]) -> None:
    name, inbox = listening
    assert sd_notify.notify(sd_notify.READY, sd_notify.status("3 sources\nand more"), env={"NOTIFY_SOCKET": name})
    assert inbox.recv(1000) == b"READY=1\nSTATUS=3 sources and more"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    assert not sd_notify.notify(sd_notify.READY, env={})
    assert not sd_notify.notify(sd_notify.READY, env={"NOTIFY_SOCKET": "vsock:2:1234"})
    assert not sd_notify.notify(sd_notify.READY, env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})


def test_a_reload_is_stamped_with_the_monotonic_clock() -> None:
    word, stamp = sd_notify.reloading()
    key, _, micros = stamp.partition("=")
    assert (word, key) == ("RELOADING=1", "MONOTONIC_USEC")
    assert 0 <= time.clock_gettime(time.CLOCK_MONOTONIC) - int(micros) / 1e6 < 60


@pytest.mark.parametrize(
    ("micros", "process", "seconds"),
    [
        ("120000000", "", 120.0),
        ("500000", "ours", 0.5),
        ("120000000", "1", None),
        ("0", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_what_the_watchdog_wants(micros: str, process: str, seconds: float | None) -> None:
    env = {"WATCHDOG_USEC": micros, "WATCHDOG_PID": process.replace("ours", str(os.getpid()))}
    assert sd_notify.watchdog_seconds(env) == seconds


def test_the_watchdog_is_told_only_while_all_parts_move(
    listening: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, inbox = listening
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    moving = {"web": True}
    parts: dict[str, watchdog.Moves] = {"writer": lambda seconds: True, "web": lambda seconds: moving["web"]}
    dog = watchdog.Watchdog(lambda: parts, lambda: "all well", 60)
    assert dog.round() == ()
    assert inbox.recv(1000) == b"WATCHDOG=1\nSTATUS=all well"
    moving["web"] = False
    assert dog.round() == ("web",)
    inbox.setblocking(False)
    with pytest.raises(BlockingIOError):
        inbox.recv(1000)
    moving["web"] = True
    assert dog.round() == ()
    assert inbox.recv(1000).startswith(b"WATCHDOG=1")


def test_a_thread_has_moved_or_not() -> None:
    now = time.monotonic()
    assert watchdog.thread(lambda: now, 60)(1)
    assert not watchdog.thread(lambda: now - 61, 60)(1)


def test_a_door_that_nobody_answers_does_not_move() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert not watchdog.web("0.0.0.0", silent.getsockname()[1])(0.05)
