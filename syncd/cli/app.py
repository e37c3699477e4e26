"""The tree of commands. Modules with commands are imported here and import what they need inside each command, so that
`syncd --help` stays quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncd import __version__
from syncd.cli import (
    acting,
    auth,
    completion,
    configuration,
    importing,
    init,
    jobs,
    mappings,
    online,
    people,
    persons,
    quarantine,
    service,
    signals,
    storage,
    verify,
    webhooks,
    writing,
)
from syncd.cli.filters import near_or_all
from syncd.cli.help import GroupedCommands, add_examples, epilog
from syncd.cli.output import FORMATS
from syncd.cli.session import Session
from syncd.errors import UsageError

app = typer.Typer(
    name="syncd",
    cls=GroupedCommands,
    epilog=epilog(""),
    help="Deliver customer signals to the right CRM record, exactly once in effect.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"syncd {__version__}")
        raise typer.Exit


@app.callback()
def _session(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="else $SYNCD_CONFIG, ./config.yaml, /etc/syncd/config.yaml"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the same as --output json")] = False,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FORMAT", help="table, json (one object a line), csv or tsv"),
    ] = "table",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    chosen = next((known for known in FORMATS if known == ("json" if as_json else output)), None)
    if chosen is None:
        raise UsageError(f"--output {output!r}: {near_or_all(output, FORMATS)}")
    context.obj = Session(given=config, format=chosen, cwd=Path.cwd())


service.register(app)
init.register(app)
configuration.register(app)
auth.register(app)
online.register(app)
jobs.register(app)
verify.register(app)
webhooks.register(app)
importing.register(app)
signals.register(app)
writing.register(app)
acting.register(app)
quarantine.register(app)
persons.register(app)
people.register(app)
mappings.register(app)
storage.register(app)
completion.register(app)
add_examples(app)
