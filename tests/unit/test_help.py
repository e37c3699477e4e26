"""`--help`: every command is in one group, and every example is a command that exists."""

from __future__ import annotations

import shlex
from collections import Counter

import pytest
import typer

from syncd.cli import run
from syncd.cli.app import app
from syncd.cli.help import EXAMPLES, PANELS

ROOT = typer.main.get_command(app)


def test_every_command_is_in_one_group() -> None:
    grouped = Counter(name for names in PANELS.values() for name in names)
    assert set(grouped) == set(ROOT.commands)  # type: ignore[attr-defined]
    assert set(grouped.values()) == {1}


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_can_be_typed(line: str) -> None:
    """Its command and options exist (its values are somebody's own)."""
    words = shlex.split(line.partition(">")[0])[1:]
    command = ROOT
    while words and words[0].startswith("--"):
        words = words[2 if words[0] == "--config" else 1 :]
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in parameter.opts} | {"--output", "--json"}
    assert not [word for word in words if word.startswith("--") and word not in options]
    assert not hasattr(command, "commands")


def test_help_shows_groups_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    out = capsys.readouterr().out
    assert all(f"{panel}:" in out for panel in PANELS)
    run(["dead", "discard", "--help"])
    assert "$ syncd dead discard 1f0c" in capsys.readouterr().out


def test_the_format_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-o", "csv", "connectors"], ["connectors", "--output", "csv"], ["connectors", "--output=csv"]):
        assert run(words) == 0
        assert capsys.readouterr().out.startswith("type,role,summary\n")
    assert run(["connectors", "-o", "yaml"]) == 2
    assert "--output 'yaml': there are: table, json, csv, tsv" in capsys.readouterr().err
