"""`import`: a file of people or companies, once, as a durable job that this command does itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.session import Session, session
from syncd.cli.writing import deliver
from syncd.errors import SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.capabilities import Importable, TablePreview
    from syncd.cli.output import Tell
    from syncd.intake.admit import Policy
    from syncd.intake.backfill import JobInput
    from syncd.intake.imports import Imported, Seen
    from syncd.store import Store
    from syncd.store.jobs import Job

LOOK_AGAIN = 0.5
SHOWN_WRONG = 20


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("import")(import_)


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, XLSX, XLS, ODS or JSON")],
    kind: Annotated[str, typer.Option("--as", metavar="KIND", help="what a row is: contact or account")],
    map: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="YAML: what is which column, `email: Mailbox`")
    ] = None,
    sheet: Annotated[str, typer.Option("--sheet", help="of a workbook; default: the first that has rows")] = "",
    encoding: Annotated[
        str,
        typer.Option(
            "--encoding", metavar="NAME", help="of a text file, such as gb18030; default: detected from its bytes"
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count what it would bring; touch nothing")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="from the beginning, not from where it was stopped")
    ] = False,
) -> None:
    """Reads a file of people or companies, once.

    Resumes where it was stopped. Shows how it maps the columns. Invalid rows are reported with their line; rows that were
    read before change nothing.
    """
    from syncd.intake.admit import Policy
    from syncd.intake.imports import TYPES, Told

    if kind not in TYPES:
        raise UsageError(f"--as {kind!r}: there are {' and '.join(TYPES)}")
    here = session(context)
    told = Told(file, kind, _map(map), sheet, encoding)
    importer, policy = told.importer(here.settings), Policy.of(here.settings)
    if not policy.ruling(TYPES[kind]).on:
        raise UsageError(f"{TYPES[kind]} is switched off: nothing would come; `syncd channels enable {TYPES[kind]}`")
    _ = here.assembly  # a fault in a mapping is said before anything is taken in
    seen = told.seen()
    look = _preview(importer, seen)
    if not here.as_json:
        _show_look(here, file, look)
    reading = seen.reading(importer)
    with here.store() as store:
        if dry_run:
            progress = _dry(here, store, reading, policy, look, file)
            _sum_up(here, look, progress, dry=True)
        else:
            job = _open(here, store, seen, kind, restart=restart)
            progress = _do(here, store, job, reading, policy, look, seen)
            _sum_up(here, look, progress, dry=False)
            deliver(here, store)  # also when all is known: what broke off may have been the writing
            store.jobs.reported(job.id)
    if progress.error:
        raise SyncdError(progress.error)
    if progress.wrong and not progress.read:
        raise SyncdError(f"{file.name}: no row could be read")


def _preview(importer: Importable, seen: Seen) -> TablePreview:
    """The columns and first rows; where the file does not say how many rows it has, about so many as it has lines."""
    from msgspec import structs

    from syncd.errors import Malformed

    name = seen.path.name
    try:
        look = importer.look()
    except Malformed as error:
        raise SyncdError(f"{name}: {error}") from None
    except OSError as error:
        raise SyncdError(f"{name}: cannot be read: {error.strerror or error}") from None
    return look if look.rows is not None else structs.replace(look, rows=seen.lines)


def _map(path: Path | None) -> dict[str, str | None]:
    from syncd.config.yaml_positions import read_yaml
    from syncd.errors import ConfigError

    if path is None:
        return {}
    try:
        document = read_yaml(path.read_text("utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(document.data, dict):
        raise ConfigError([document.fault((), "must say what is which column, such as `email: Mailbox`")])
    wrong = [
        document.fault((what,), "must be the header of a column, or null", f'write {what}: "{header}"')
        for what, header in document.data.items()
        if header is not None and not isinstance(header, str)
    ]
    if wrong:
        raise ConfigError(wrong)
    return dict(document.data)


def _show_look(here: Session, file: Path, look: TablePreview) -> None:
    """Which column is what, and the first rows."""
    about = "" if look.rows is None else f" (about {look.rows:,} rows)"
    here.out.say(f"{file.name}{about}:")
    wide = min(max(map(len, look.columns)), 40)
    for header, what in look.columns.items():
        here.out.say(f"  {header[:40]:<{wide}}  {'-> ' + what if what else '   not used (kept in signal.data.row)'}")
    for sample in look.samples:
        here.out.say("  e.g. " + " | ".join(cell[:40] for cell in sample.values())[:150])


def _dry(here: Session, store: Store, reading: JobInput, policy: Policy, look: TablePreview, file: Path) -> Imported:
    from syncd.errors import Failure
    from syncd.intake.backfill import dry_reading
    from syncd.intake.imports import Imported

    stop = threading.Event()
    try:
        with here.out.progress(f"reading {file.name}") as tell, here.interrupts(stop):
            progress = dry_reading(reading, store, policy, stop=stop, told=_telling(tell, look))
    except Failure as error:
        raise SyncdError(str(error)) from None
    assert isinstance(progress, Imported)
    return progress


def _open(here: Session, store: Store, seen: Seen, kind: str, *, restart: bool) -> Job:
    from syncd.intake.backfill import open_same
    from syncd.intake.imports import KIND
    from syncd.service.job_runner import daemon_runs
    from syncd.store.jobs import REPORTED

    if not daemon_runs(store):
        _ = here.loaded  # what is missing for writing is said before anything is read
    return open_same(store, KIND, kind, {**seen.args, REPORTED: False}, restart=restart)


def _do(
    here: Session, store: Store, job: Job, reading: JobInput, policy: Policy, look: TablePreview, seen: Seen
) -> Imported:
    """Does the job here, also beside a daemon: the file is this user's."""
    from syncd.intake.backfill import LEASE, run_reading
    from syncd.intake.imports import Imported

    if job.cursor is not None:
        here.out.say(f"resumes after {Imported.of(job.progress).rows:,} rows")
    waits = False
    while (claimed := store.jobs.claim(LEASE, id=job.id)) is None:
        now = store.jobs.get(job.id)
        if now is None or now.state not in ("waiting", "running"):
            return Imported.of(now.progress if now else {})
        if not waits:
            here.out.say(
                "this import is under way elsewhere, or broke off there less than a minute ago: waiting for it"
            )
            waits = True
        time.sleep(LOOK_AGAIN)
    stop = threading.Event()
    with here.out.progress(f"importing {seen.path.name}") as tell, _going_on(here), here.interrupts(stop):
        progress = run_reading(*claimed, reading, store, policy, stop=stop, told=_telling(tell, look))
    assert isinstance(progress, Imported)
    return progress


@contextmanager
def _going_on(here: Session) -> Iterator[None]:
    """Says of Ctrl-C that nothing is lost by it."""
    try:
        yield
    except KeyboardInterrupt:
        here.out.say("stopped; run the same command to resume")
        raise


def _telling(tell: Tell, look: TablePreview) -> Any:
    def told(progress: Imported) -> None:
        share = progress.rows / look.rows if look.rows else None
        tell(share, f"{progress.rows:,} rows, {progress.new:,} new, {progress.of_known()}, {progress.wrong:,} wrong")

    return told


def _sum_up(here: Session, look: TablePreview, progress: Imported, *, dry: bool) -> None:
    if here.as_json:
        columns = {"columns": look.columns, "samples": look.samples}
        here.out.record({"dry_run": dry, **columns, **asdict(progress)})
        return
    off = f", {progress.off:,} of excluded people" if progress.off else ""
    verb = "would bring" if dry else "brought"
    here.out.say(f"{verb} {progress.new:,} new, {progress.of_known()}{off}, {progress.wrong:,} wrong rows")
    for reason in progress.reasons[:SHOWN_WRONG]:
        here.out.say(f"  {reason}")
    if progress.wrong > SHOWN_WRONG:
        here.out.say(f"  and {progress.wrong - SHOWN_WRONG:,} more")
    if progress.faulty:
        here.out.say(f"{progress.faulty:,} rows were read although a part of them is damaged or lost:")
        for fault in progress.faults[:SHOWN_WRONG]:
            here.out.say(f"  {fault}")
    if progress.wrong:
        here.out.say("fix these rows in the file and import it again: rows that are already known change nothing")
