"""Completion in a real shell: names of the configuration, signal types, connectors; silent when something is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.user_folder import UserFolder

CONFIG = """\
sources: {inbox: {type: imap}, intake-eu: {no: type}}
destinations: {crm: {type: nonsense}}
"""


def offered(folder: Path, typed: str) -> tuple[list[str], str]:
    """What is offered for the last word of a line."""
    ran = subprocess.run(
        [sys.executable, "-c", "from syncd.cli import main; main()"],
        cwd=folder,
        env={
            **os.environ,
            "_SYNCD_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout.split(), ran.stderr


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("syncd auth in", ["inbox", "intake-eu"]),
        ("syncd auth c", ["crm"]),
        ("syncd backfill ", ["inbox", "intake-eu"]),
        ("syncd replay --to ", ["crm"]),
        ("syncd signals list --type call", ["call.answered", "call.missed", "call.placed"]),
        ("syncd connectors sales", ["salesforce"]),
        ("syncd init --destination sal", ["salesforce"]),
        ("syncd completion z", ["zsh"]),
    ],
)
def test_what_is_offered(tmp_path: Path, typed: str, names: list[str]) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    assert offered(tmp_path, typed) == (names, "")


@pytest.mark.parametrize("config", ["sources: [", "", "- a list", "sources: 5", "\x00", None])
def test_a_broken_configuration_offers_nothing_and_says_nothing(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.yaml").write_text(config, "utf-8")
    assert offered(tmp_path, "syncd auth ") == ([], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_that_shell(folder: UserFolder, shell: str, tmp_path: Path) -> None:
    ran = folder.syncd("completion", shell)
    assert ran.code == 0
    assert "_SYNCD_COMPLETE=complete_" + shell in ran.out
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(ran.out, "utf-8")
        subprocess.run([shell, "-n", str(script)], check=True, timeout=20)


def test_another_shell(folder: UserFolder) -> None:
    ran = folder.syncd("completion", "tcsh")
    assert ran.code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in ran.err
