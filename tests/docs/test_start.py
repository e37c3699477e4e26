"""docs/start.md from its first line to its last, as a new user types it: real processes, in an empty folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos.processes import until
from tests.servers import free_port

PAGE = Path(__file__).parents[2] / "docs" / "start.md"
BLOCK = re.compile(r"^```(console|yaml)\n(.*?)^```", re.DOTALL | re.MULTILINE)
OTHERS = ("python3 -m venv", ". syncd-env", "pip install")
"""Made ready by whoever runs the tests."""
SERVERS = ("syncd run", "syncd twin")
PATIENCE = 30


@contextmanager
def serving(typed: str, folder: Path, env: dict[str, str]) -> Iterator[None]:
    """A command that stays in its own terminal, once it says that it is there."""
    said = folder / f"{typed.split()[1]}.log"
    with said.open("w+b") as log:
        process = subprocess.Popen(["sh", "-c", f"exec {typed}"], cwd=folder, env=env, stdout=log, stderr=log)
        try:
            words = b"ready" if "run" in typed else b"127.0.0.1"
            until(lambda: words in said.read_bytes(), typed)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def typed_in(folder: Path, env: dict[str, str], line: str) -> str:
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_a_new_user_gets_there(tmp_path: Path) -> None:
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    text = PAGE.read_text("utf-8").replace("8081", str(free_port()))
    port = str(free_port())
    text = text.replace("8420", port)
    said: list[str] = []
    config = tmp_path / "config.yaml"
    with _Terminals(tmp_path, env) as terminals:
        for kind, block in BLOCK.findall(text):
            if kind == "yaml":
                before = config.read_text("utf-8") if config.exists() else f"server: {{listen: 127.0.0.1:{port}}}\n"
                config.write_text(before + block, "utf-8")
                continue
            for line in block.replace("$ ", "", 1).split("\n$ "):
                run_line(line.strip(), terminals, said)
    assert "delivered" in "".join(said)
    assert re.search(r"\bTask\b", said[-1])
    assert re.search(r"\bLead\b", said[-1])


class _Terminals(ExitStack):
    """The folder, the environment and what runs in the other terminals."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        super().__init__()
        self.folder = folder
        self.env = env


def run_line(line: str, at: _Terminals, said: list[str]) -> None:
    if not line or line.startswith(OTHERS):
        return
    if line.startswith("export "):
        name, _, value = line.removeprefix("export ").partition("=")
        at.env[name] = value
        return
    if line.startswith(SERVERS):
        at.enter_context(serving(line, at.folder, at.env))
        return
    if " ID" in line:
        ids = re.findall(r'"id":\s*"([0-9a-f-]{36})"', typed_in(at.folder, at.env, "syncd --json signals list"))
        assert len(ids) == 1
        line = line.replace(" ID", f" {ids[0][:8]}")
        wanted = "delivered"
        until(lambda: wanted in typed_in(at.folder, at.env, line), line)
    said.append(typed_in(at.folder, at.env, line))
    if line.startswith("curl"):
        said.append(typed_in(at.folder, at.env, line))  # as vendors do
