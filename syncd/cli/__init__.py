"""The command line: `main` runs one command and turns every fault into one clear line and an exit code.

0 done · 1 it failed · 2 wrong usage or configuration · 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Any

INTERRUPTED = 130


def main() -> None:
    """The `syncd` program."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _nobody_reads()
    sys.exit(code)


def run(args: list[str]) -> int:
    """Runs one command and returns its exit code."""
    import typer

    from syncd.cli.app import app
    from syncd.errors import Failure, SyncdError, UsageError

    click_fault: type[Exception] = next(
        base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
    )
    try:
        result = app(_output_first(args), standalone_mode=False, prog_name="syncd")
    except UsageError as error:
        return _fail(str(error), 2)
    except (SyncdError, Failure) as error:
        return _fail(str(error), 1)
    except typer.Exit as stop:
        result = stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except click_fault as error:  # typer vendors its click: the class is found through a public one
        return _wrong_usage(error)
    except (BrokenPipeError, SystemExit):  # typer leaves by SystemExit when no process reads, and for nothing else
        _nobody_reads()
        return 0
    if result == INTERRUPTED:  # typer makes an exit of Ctrl-C
        return _fail("interrupted", INTERRUPTED)
    return result if isinstance(result, int) else 0


def _nobody_reads() -> None:
    """`syncd … | head`: what is left to print goes nowhere, without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output_first(args: list[str]) -> list[str]:
    """`--json` and `--output FORMAT` are taken wherever they stand: people write them last."""
    words = args[: args.index("--")] if "--" in args else args
    first: list[str] = []
    rest: list[str] = []
    taken = iter(words)
    for word in taken:
        if word in ("--output", "-o"):
            first += [word, *([value] if (value := next(taken, None)) is not None else [])]
        elif word == "--json" or word.startswith("--output="):
            first.append(word)
        else:
            rest.append(word)
    return [*first, *rest, *args[len(words) :]]


def _wrong_usage(error: Any) -> int:
    """A command line that cannot be read: one line and where help is; a group without a command shows its commands."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    text = " ".join(str(error.format_message()).split()).rstrip(".")
    text = text.replace("Value error, ", "").replace("(Possible options: ", "(did you mean ")
    if "No such option: --config" in text or "No such option: -c" in text:
        text += " after a command; write it before: syncd --config FILE COMMAND"
    where = error.ctx.command_path if getattr(error, "ctx", None) else "syncd"
    return _fail(f"{text[:1].lower()}{text[1:]}; see `{where} --help`", 2)


def _fail(text: str, code: int) -> int:
    lines = text.splitlines()
    sys.stderr.write(f"syncd: {text}\n" if len(lines) < 2 else f"syncd: {len(lines)} faults\n{text}\n")
    return code
