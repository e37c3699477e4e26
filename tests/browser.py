"""`syncd auth` in a process of its own, and the browser that a person would use beside it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urljoin

import requests

FIELD = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
PATIENCE = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Browser:
    """What a person does at the address that `syncd auth` shows."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.url.partition("?")[2]))

    def decide(self, decision: str = "allow", **changes: str) -> str:
        """Opens the consent page and presses a button; the address that the vendor sends the browser to."""
        page = requests.get(self.url, timeout=PATIENCE)
        form = {unescape(name): unescape(value) for name, value in FIELD.findall(page.text)} | changes
        base = self.url.partition("?")[0]
        answer = requests.post(base, data=form | {"decision": decision}, timeout=PATIENCE, allow_redirects=False)
        assert answer.status_code == 302, answer.text
        return urljoin(base, answer.headers["location"])

    def follow(self, location: str) -> str:
        """Goes where the vendor sent it; the page it ends at."""
        return requests.get(location, timeout=PATIENCE).text


class Auth:
    """A running `syncd auth`."""

    def __init__(self, folder: Path, *args: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from syncd.cli import main; main()", "auth", *args],
            cwd=folder,
            env={**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": "", **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def browser(self) -> Browser:
        """Once the address is shown."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("http"):
                return Browser(line.strip())
        raise AssertionError("no address was shown")

    def end(self, typed: str | None = None) -> tuple[int, str, str]:
        """(exit code, stdout, rest of stderr)."""
        out, err = self.process.communicate(typed, timeout=PATIENCE)
        return self.process.returncode, out, err


@contextmanager
def signing_in(folder: Path, *args: str, env: dict[str, str] | None = None) -> Iterator[Auth]:
    auth = Auth(folder, *args, env=env)
    try:
        yield auth
    finally:
        if auth.process.poll() is None:
            auth.process.kill()
            auth.process.communicate()
