"""Real processes for the chaos tests: a daemon or a twin, its log, and every way to hurt it. Ends only what it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

SYNCD = str(Path(sys.executable).parent / "syncd")
STARTS_WITHIN = 30.0
ENDS_WITHIN = 45.0
_TICK = threading.Event()  # never set: a wait on it is a pause between two looks


def pause(seconds: float) -> None:
    """Lets time pass: load to run, a lease to run out. Never used to hope that something has happened."""
    _TICK.wait(seconds)


def until(look: Callable[[], T], what: str, within: float = STARTS_WITHIN) -> T:
    """The first true answer of `look`. Raises AssertionError naming `what` when there is none in time."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:.0f} s: {what}")
        pause(0.02)


def fetch(url: str, body: Any = None, method: str | None = None) -> Any:
    """A JSON answer. Raises OSError where nobody answers, urllib's HTTPError for a refusal."""
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  loopback
        return orjson.loads(answer.read() or b"null")


def answers(url: str) -> bool:
    """Whether anything at all answers there over HTTP."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, TimeoutError):
        return False


class Process:
    """One program under test. Its output goes to a file; `text` reads it."""

    def __init__(self, command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                list(command),
                stdout=output,
                stderr=output,
                cwd=cwd,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, and the corpse is gone: its pid names nobody any more."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> None:
        self.send(signal.SIGSTOP)

    def go_on(self) -> None:
        self.send(signal.SIGCONT)

    def ended(self, within: float = ENDS_WITHIN) -> int:
        """Its exit code, when it has ended by itself."""
        try:
            return self.popen.wait(within)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)  # says where each thread stands
            self.popen.wait(10)
            raise AssertionError(f"did not end within {within:.0f} s:\n{self.text[-9000:]}") from None

    def ends(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to end; the exit code."""
        self.send(number)
        return self.ended()

    def finish(self) -> None:
        """Whatever state it is in: gone afterwards."""
        with contextlib.suppress(ProcessLookupError):
            self.go_on()
            self.kill()


class Twin(Process):
    """A stand-in CRM in a process of its own, with a journal that it flushes before it answers."""

    def __init__(self, name: str, folder: Path, port: int, faults: Sequence[Mapping[str, Any]] = ()) -> None:
        self.url = f"http://127.0.0.1:{port}"
        plan = folder / "faults.json"
        plan.write_bytes(orjson.dumps(list(faults)))
        command = [SYNCD, "twin", name, "--port", str(port), "--journal", str(folder / "twin.journal")]
        super().__init__([*command, "--faults", str(plan)], folder / "twin.log", cwd=folder)
        until(lambda: not self.alive or answers(f"{self.url}/_twin/stats"), "the twin answers")
        assert self.alive, self.text

    def records(self, object_: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = fetch(f"{self.url}/_twin/records/{object_}")["records"]
        return found

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = fetch(f"{self.url}/_twin/stats")
        return found

    def calls(self) -> list[dict[str, Any]]:
        """The log of all calls, oldest first."""
        found: list[dict[str, Any]] = fetch(f"{self.url}/_twin/calls")["calls"]
        return found

    def add(self, object_: str, rows: Sequence[Mapping[str, Any]]) -> None:
        fetch(f"{self.url}/_twin/records/{object_}", list(rows))

    def hurt(self, *faults: Mapping[str, Any]) -> None:
        """Adds faults to the plan."""
        fetch(f"{self.url}/_twin/faults", list(faults))

    def heal(self) -> None:
        """No more faults; what was kept back comes in."""
        fetch(f"{self.url}/_twin/faults", method="DELETE")
        fetch(f"{self.url}/_twin/release", {})
