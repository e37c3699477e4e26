"""`run`, `demo`, `twin`: what stays in the foreground."""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from syncd.cli.filters import near_or_all
from syncd.cli.session import session
from syncd.errors import SyncdError, UsageError


class DemoCrm(enum.StrEnum):
    """The twins that the demo can write to."""

    SALESFORCE = "salesforce"
    ZOHO = "zoho"
    BITRIX24 = "bitrix24"


BARE = (DemoCrm.SALESFORCE, DemoCrm.ZOHO)
"""The twins that can be without the fields that syncd needs."""


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("run")(run)
    app.command("demo")(demo)
    app.command("twin")(twin)


def run(
    context: typer.Context,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error")] = "info",
) -> int:
    """The service, in the foreground, until SIGTERM."""
    from syncd.observability.logs import set_up_logs  # isort: skip  # first: see syncd.runtime.lazy_imports
    from syncd.observability import traces
    from syncd.service.daemon import Daemon, run_until_stopped

    if log_level not in ("debug", "info", "warning", "error"):
        raise UsageError(f"--log-level {log_level!r}: write debug, info, warning or error")
    here = session(context)
    set_up_logs(level=log_level)
    traces.set_up(os.environ)
    try:
        return run_until_stopped(Daemon(here.loaded))
    finally:
        traces.shut_down()


def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="one round, print the balance sheet, and exit")] = False,
    crm: Annotated[DemoCrm, typer.Option("--crm", help="which CRM to stand in for")] = DemoCrm.SALESFORCE,
) -> int:
    """The whole of it on this machine: events in, records out.

    Sample events come in by the public doors; a stand-in for the CRM takes the records.
    """
    from syncd.cli.demo.run import run_demo

    return run_demo(crm.value, once=once, out=session(context).out)


def twin(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="salesforce, zoho, bitrix24, zoho_desk, zoho_mail, twilio, graph, google, or one that a package adds",
        ),
    ],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free port")] = 0,
    faults: Annotated[Path | None, typer.Option("--faults", metavar="FILE", help="a plan of faults (YAML)")] = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", metavar="FILE", help="keep the records in this file")
    ] = None,
    latency: Annotated[float, typer.Option("--latency", min=0, help="seconds added to every answer")] = 0.0,
    bare: Annotated[
        bool, typer.Option("--bare", help="salesforce, zoho: without the fields syncd needs, to try `syncd prepare`")
    ] = False,
) -> None:
    """A stand-in CRM to try mappings against, also in CI.

    Prints its address, and on standard error what to put into a config.yaml.
    """
    from syncd.twins import names, serve
    from syncd.twins.server import Twin

    if name not in (known := names()):
        raise UsageError(f"there is no twin called {name!r}; {near_or_all(name, known)}")
    if bare and name not in BARE:
        raise UsageError(f"--bare: the twin {name} has no fields to leave out; it is for {' and '.join(BARE)}")
    out = session(context).out

    def ready(running: Twin) -> None:
        out.text(running.url)
        sys.stdout.flush()  # whoever started it (a script, CI) waits for this line
        out.say("to use it, put into a config.yaml:\n")
        out.say(running.configuration())

    options = {"bare": True} if bare else {}
    try:
        serve(name, port, faults=faults, log_path=journal, latency=latency, ready=ready, **options)
    except OSError as error:
        named = error.filename or (f"port {port}" if port else "the twin")
        raise SyncdError(f"twin {name}: {named}: {error.strerror}") from None
    except ValueError as error:  # what is wrong with the plan
        raise UsageError(str(error)) from None
