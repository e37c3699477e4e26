"""The question before what cannot be undone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from syncd.errors import UsageError

Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show what it would do; change nothing")]


def agreed(command: str, question: str, *, yes: bool) -> bool:
    """Whether the operator agrees to what `command` does, or has with `--yes`. UsageError without a terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"{command}: cannot ask without a terminal; check with --dry-run, then give --yes")
    return typer.confirm(question, err=True)
