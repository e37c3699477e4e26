"""`db`: the database, and `status`: how everything is, with the balance sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from syncd.cli.output import localised
from syncd.cli.session import Session, session

db_app = typer.Typer(no_args_is_help=True, help="The database of syncd itself.")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(db_app, name="db")
    app.command("status")(status)


@db_app.command("info")
def info(context: typer.Context) -> None:
    """Which database, at which revision, and how much is in it."""
    from dataclasses import asdict

    here = session(context)
    with here.store(migrate=False) as store:
        here.out.record(asdict(store.info()))


@db_app.command("upgrade")
def upgrade(context: typer.Context) -> None:
    """Brings the tables up to date; `run` does so by itself."""
    here = session(context)
    with here.store() as store:
        here.out.say(f"{store.place}: up to date (revision {store.info().revision})")


@db_app.command("backup")
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the copy to make; FILE.key gets the key of the tokens")],
) -> None:
    """A complete copy of a SQLite database, also while syncd runs."""
    from syncd.store.backup import backup as copy_to
    from syncd.store.engine import parse_url

    here = session(context)
    url = parse_url(here.settings.database.get_secret_value())
    if url.get_backend_name() == "sqlite":
        url = url.set(database=str(here.config_path.parent / str(url.database)))
    made = copy_to(url, here.cwd / file)
    here.out.rows([{"file": str(path)} for path in made], ["file"])


def status(context: typer.Context) -> None:
    """How everything is: sources, destinations, the balance sheet."""
    from syncd.cli.running import running
    from syncd.service.job_runner import daemon_runs
    from syncd.service.status import gather

    here = session(context)
    with running(here) as (store, known, refused):
        found = gather(store, known, refused, alive=daemon_runs(store))
    if here.as_json:
        here.out.record(found.as_dict())
        return
    _show(here, found)


def _show(here: Session, found: Any) -> None:
    out = here.out
    sources = [
        {**row, "error": localised(str(row["error"]), out.zone), "left": _left(row["units_left"], row["unit"])}
        for row in found.sources
    ]
    columns = ["source", "type", "last_ok", "last_signal", "failures", "next_try", *_some(sources, "left"), "error"]
    out.rows(sources, columns, title="sources")
    rows = [
        {**row, "oldest": _short(out, row["oldest"]), "paused_until": _short(out, row["paused_until"])}
        for row in found.destinations
    ]
    columns = ["destination", "type", "pending", *_some(rows, "held", "dead", "unconfirmed"), "oldest"]
    columns += _some(rows, "spent_24h", "gathers", "paused_until")
    out.rows(rows, columns, title="\ndestinations", empty="no destinations")
    for row in rows:
        if row["reason"] and not row["paused_until"]:
            out.text(f"{row['destination']}: {localised(str(row['reason']), out.zone)}")
    columns = ["destination", "channel", "signals", "delivered", "skipped", "pending"]
    columns += _some(found.books, "held", "dead", "discarded", "unconfirmed")
    out.rows(found.books, columns, title="\nbalance sheet", empty="\nno signals yet")
    if found.kept_out:
        columns = ["source", "type", "reason", "count"]
        out.rows(found.kept_out, columns, title="\nread, but not signals")
    for line in (*found.notes, *found.advice):
        out.say(localised(line, out.zone))
    out.say(f"all times: {out.zone.key}")


def _some(rows: Any, *columns: str) -> list[str]:
    """Those columns in which there is something: a terminal is narrow."""
    return [column for column in columns if any(row[column] for row in rows)]


def _left(units: float | None, unit: str) -> str:
    """What the account of a source has left of its day, as the vendor last said."""
    return "" if units is None else f"{units:,.0f} {unit}"


def _short(out: Any, at: Any) -> str:
    """A time without year and seconds, as a reader needs it here."""
    return at.astimezone(out.zone).strftime("%m-%d %H:%M") if at else ""
