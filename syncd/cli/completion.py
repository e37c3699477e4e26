"""`completion`: the script that lets a shell complete commands, options and the names of the configuration."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from syncd.cli.session import session


class Shell(enum.StrEnum):
    """The shells there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("completion")(completion)


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish")]
) -> None:
    """Prints the completion script of a shell.

    Bash: put it into /usr/share/bash-completion/completions/syncd, or read it by `source` from ~/.bashrc.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # what its own option calls

    script = get_completion_script(prog_name="syncd", complete_var="_SYNCD_COMPLETE", shell=shell.value)
    session(context).out.text(script)
