"""The tree of commands. Modules with commands are imported here and import what they need inside each command, so that
`syncd --help` stays quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncd import __version__
from syncd.cli import (
    auth,
    completion,
    configuration,
    importing,
    init,
    jobs,
    mappings,
    online,
    persons,
    quarantine,
    service,
    signals,
    storage,
    verify,
    webhooks,
    writing,
)
from syncd.cli.session import Session

app = typer.Typer(
    name="syncd",
    help="Customer signals from anywhere, onto the right record in the CRM, once.",
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
    as_json: Annotated[bool, typer.Option("--json", help="print data for programs: one object, or one a line")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    context.obj = Session(given=config, as_json=as_json, cwd=Path.cwd())


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
quarantine.register(app)
persons.register(app)
mappings.register(app)
storage.register(app)
completion.register(app)
