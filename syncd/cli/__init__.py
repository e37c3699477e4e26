"""The command line: `main` runs one command and turns every fault into one clear line and an exit code.

0 done · 1 it failed · 2 wrong usage or configuration · 130 interrupted.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The `syncd` program."""
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Runs one command and returns its exit code."""
    import typer

    from syncd.cli.app import app
    from syncd.errors import SyncdError, UsageError

    usage: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
    try:
        result = app(args, standalone_mode=False, prog_name="syncd")
    except UsageError as error:
        return _fail(str(error), 2)
    except SyncdError as error:
        return _fail(str(error), 1)
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except usage as error:  # typer vendors its click: the class is found through a public one
        error.show()  # type: ignore[attr-defined]
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _fail(text: str, code: int) -> int:
    lines = text.splitlines()
    sys.stderr.write(f"syncd: {text}\n" if len(lines) < 2 else f"syncd: {len(lines)} faults\n{text}\n")
    return code
