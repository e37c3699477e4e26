"""`backfill`: the past of a source, as a durable job with progress."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.completing import sources
from syncd.cli.filters import known_name
from syncd.cli.session import Session, session
from syncd.cli.writing import deliver_pending, resumable
from syncd.errors import SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.intake.backfill import BackfillProgress, Range
    from syncd.store import Store
    from syncd.store.jobs import Job

WATCH_EVERY = 0.5


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("backfill")(backfill)


def backfill(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="the name of a source", autocompletion=sources)],
    since: Annotated[
        str, typer.Option("--since", metavar="D", help="from this time on: 2026-11-01, or 30d for 30 days ago")
    ],
    until: Annotated[str | None, typer.Option("--until", metavar="D", help="before this time; default: now")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count what it would bring; touch nothing")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="from the beginning, not from where it was stopped")
    ] = False,
) -> None:
    """Fetches the past of a source; resumes where it was stopped.

    A running daemon does the work and this command shows its progress; without one, this command does it.
    """
    from syncd.intake.backfill import Range

    here = session(context)
    wanted = Range(_required(here, since, "--since"), here.moment(until, "--until") or datetime.now(UTC))
    if wanted.since >= wanted.until:
        raise UsageError("--since must be before --until")
    asked = {"since": here.words(since, "--since"), "until": here.words(until, "--until")}
    _backfillable(here, source)
    with here.store() as store:
        if dry_run:
            _show(here, _dry(here, store, source, wanted), "would bring")
            return
        progress, job = do_backfill(here, store, source, wanted, asked=asked, restart=restart)
        deliver_pending(here, store)
        store.jobs.reported(job.id)
    if progress.error:
        raise SyncdError(f"backfill of {source}: {progress.error}; run the same command to resume")
    _show(here, progress, "brought")


def _required(here: Session, text: str, option: str) -> datetime:
    moment = here.moment(text, option)
    assert moment is not None
    return moment


def _backfillable(here: Session, name: str) -> None:
    from syncd import registry
    from syncd.connector import Ability, Backfillable
    from syncd.service.assembly import assemble

    known_name("source", name, list(here.settings.sources))
    if not isinstance(assemble(here.loaded, only_sources=(name,)).sources[name], Backfillable):
        entry = here.settings.sources[name]
        why = registry.unable("source", entry.type, entry.connector).get(Ability.BACKFILL, "")
        reason = f": {why}" if why else f"; `syncd connectors {entry.type}` says what can"
        raise UsageError(f"source {name} ({entry.type}) cannot fetch the past{reason}")


def _dry(here: Session, store: Store, name: str, wanted: Range) -> BackfillProgress:
    from syncd.errors import Failure
    from syncd.intake.admit import Policy
    from syncd.intake.backfill import dry_run
    from syncd.service.assembly import assemble

    assembly = assemble(here.loaded, store=store, only_sources=(name,))
    with here.out.progress(f"looking back at {name}") as told:
        try:
            return dry_run(
                name, assembly.sources[name], store, Policy.of(here.settings), wanted, told=_telling(told, wanted)
            )
        except Failure as error:
            raise SyncdError(f"source {name}: {error}") from error


def do_backfill(
    here: Session, store: Store, name: str, wanted: Range, *, asked: dict[str, str] | None = None, restart: bool = False
) -> tuple[BackfillProgress, Job]:
    """Leaves the job to a running daemon and watches it, or does it here. A job that was started earlier with an open end is
    read to its end first, then from there to now."""
    from syncd.intake.backfill import BackfillProgress, Range, open_job
    from syncd.intake.overlapping_backfills import close_covered
    from syncd.service.job_runner import daemon_runs
    from syncd.store.jobs import REPORTED, asked_for

    job = open_job(store, name, wanted, asked=asked, restart=restart)
    for other in close_covered(store, job, waiting=not daemon_runs(store)):
        here.out.say(f"an unfinished backfill of {name} from {other.args['since']} is part of this one: it is closed")
    before, reached = BackfillProgress.of(job.progress), Range.of(job.args)
    if before.read:
        here.out.say(f"resumes after {before.read:,} that were read")
    progress = before if job.state == "done" else _follow(here, store, job, reached)
    if asked is not None and not asked["until"] and reached.until < wanted.until and not progress.error:
        rest = Range(reached.until, wanted.until)
        if store.jobs.extend(job.id, {**asked_for(rest.args(), asked), REPORTED: False}):
            progress = _follow(here, store, job, rest)
    return progress, job


def _follow(here: Session, store: Store, job: Job, wanted: Range) -> BackfillProgress:
    """The job to its end, by a running daemon, or here as soon as no daemon runs. Ctrl-C leaves it to the daemon."""
    from syncd.intake.backfill import LEASE, BackfillProgress
    from syncd.service.job_runner import daemon_runs
    from syncd.store.journal.group_commit import WakeUp
    from syncd.store.pg_notify import EVERYBODY, notify_now

    called = False
    with here.out.progress(f"backfill of {job.subject}") as told:
        tell = _telling(told, wanted)
        while True:
            if daemon_runs(store):
                if not called:
                    notify_now(store, WakeUp(frozenset({EVERYBODY})))
                called = True
            elif (claimed := store.jobs.claim(LEASE, id=job.id)) is not None:
                with resumable(here):
                    return _alone(here, store, claimed, tell)
            now = store.jobs.get(job.id)
            if now is None:
                return BackfillProgress(error="the job was removed")
            progress = BackfillProgress.of(now.progress)
            tell(progress)
            if now.state in ("done", "failed", "stopped"):
                return progress
            with resumable(here, "the running daemon continues it"):
                time.sleep(WATCH_EVERY)


def _alone(here: Session, store: Store, claimed: Any, told: Any) -> BackfillProgress:
    from syncd.intake.admit import Policy
    from syncd.intake.backfill import BackfillProgress
    from syncd.service.assembly import assemble
    from syncd.service.job_runner import perform

    job, claim = claimed
    policy = Policy.of(here.settings)
    assembly = assemble(here.loaded, store=store, only_sources=(job.subject,))
    stop = threading.Event()
    with here.interrupts(stop):
        types = {name: entry.type for name, entry in here.settings.sources.items()}
        progress = perform(job, claim, assembly.sources, types, store, lambda: policy, stop=stop, told=told)
    assert isinstance(progress, BackfillProgress)
    return progress


def _telling(told: Any, wanted: Range) -> Any:
    """Progress in time: how much of the range has been read."""
    span = (wanted.until - wanted.since).total_seconds()

    def tell(progress: BackfillProgress) -> None:
        share = None
        if progress.position:
            share = (datetime.fromisoformat(progress.position) - wanted.since).total_seconds() / span
        waits = f"; waits {progress.waits}" if progress.waits else ""
        told(share, f"{progress.read:,} read, {progress.new:,} new, {progress.of_known()}{waits}")

    return tell


def _show(here: Session, progress: BackfillProgress, verb: str) -> None:
    if here.as_json:
        here.out.record(progress.document())
        return
    extra = f", {progress.off} switched off" if progress.off else ""
    extra += f", {progress.quarantined} in quarantine" if progress.quarantined else ""
    here.out.say(f"{verb} {progress.new:,} new signals ({progress.read:,} read, {progress.of_known()}{extra})")
