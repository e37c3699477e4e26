"""Every command that the documentation shows is run, in a directory as a user has one."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.docs.generate import command_tree
from tests.user_folder import UserFolder, lay_out

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?:console|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(syncd [a-z][^`…]*)`")
ENDLESS = ("run", "signals tail")


def shown() -> list[str]:
    """Every command of a console block, without its prompt, once."""
    pages = [page for page in PAGES if page.name != "start.md"]  # test_start.py runs that one in its order
    blocks = [block for page in pages for block in BLOCK.findall(page.read_text("utf-8"))]
    lines = [
        line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith(("$ ", "syncd "))
    ]
    return list(dict.fromkeys(lines))


@pytest.fixture
def filled(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> UserFolder:
    folder = lay_out(tmp_path, capsys, monkeypatch).filled()
    folder.done("channels", "enable", "contact.changed")
    folder.write("people.csv", "E-Mail,Vorname,Nachname,Notiz\nan@example.com,An,Nguyen,met at the fair\n")
    return folder


@pytest.mark.parametrize("typed", shown())
def test_the_command_works(filled: UserFolder, typed: str) -> None:
    words = [filled.ids()[0] if word == "ID" else word for word in shlex.split(typed)]
    assert words[0] == "syncd"
    if typed.removeprefix("syncd ") in ENDLESS:
        ended(words[1:])
    else:
        ran = filled.syncd(*words[1:])
        assert ran.code == 0, ran.err


def ended(words: list[str]) -> None:
    """A command that goes on until it is told: it says something, and ends well."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from syncd.cli import main; main()",
            *words,
            *(["--since", "365d"] if "tail" in words else []),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    )
    assert process.stdout is not None
    assert next(line for line in process.stdout if "ready" in line or "Question" in line)
    process.send_signal(signal.SIGTERM if words == ["run"] else signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == (0 if words == ["run"] else 130)


def test_there_are_commands_to_run() -> None:
    assert len(shown()) >= 25


@cache
def known_commands() -> list[str]:
    return [path for path, _ in command_tree()]


def unknown(text: str) -> list[str]:
    """Commands in backticks that do not exist."""
    known = known_commands()
    groups = {path.rsplit(" ", 1)[0] for path in known if path.count(" ") == 2}
    found = []
    for typed in INLINE.findall(text):
        words = [word for word in typed.split() if not word.startswith("-")]
        path = " ".join(words[:2])
        verbs = re.split(r"[|]", words[2]) if path in groups and len(words) > 2 else []
        if (path not in known and path not in groups) or any(f"{path} {verb}" not in known for verb in verbs):
            found.append(typed)
    return found


def test_commands_that_are_spoken_of_exist() -> None:
    pages = [page for page in PAGES if page.name != "roadmap.md"]
    sources = list((ROOT / "syncd").rglob("*.*"))
    spoken_of = [*pages, *(path for path in sources if path.suffix in (".py", ".yaml"))]
    wrong = {str(path.relative_to(ROOT)): unknown(path.read_text("utf-8")) for path in spoken_of}
    assert {name: typed for name, typed in wrong.items() if typed} == {}
