"""`verify`: sources, store and CRMs compared over a range; what is missing or extra is listed and, on request, fixed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.filters import known_name
from syncd.cli.jobs import WATCH_EVERY, do_backfill
from syncd.cli.session import Session, session
from syncd.cli.writing import deliver, resumable
from syncd.errors import SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.store import Store
    from syncd.store.jobs import Job

ON_ITS_WAY = timedelta(minutes=15)
"""What happened so lately may not have been polled or written yet: the default end of the range."""
NOBODY_FOR = 60.0
"""Seconds without anybody who could do a job, until the command gives up watching it."""
COLUMNS = ("where", "verdict", "what", "id", "recorded", "found", "signal_id")


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command("verify")(verify)


def verify(
    context: typer.Context,
    since: Annotated[
        str, typer.Option("--since", metavar="D", help="from this time on: 2026-11-01, or 2d for 2 days ago")
    ],
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SOURCE]", help="only this source and its outcome at the destinations; default: all"),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="D", help="before this time; default: 15 minutes ago")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="fix what can be fixed, after showing it and asking for confirmation")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="with --fix: do not ask")] = False,
) -> int:
    """Compares source, store and CRM; lists what is missing.

    Exits 0 if everything matches or was fixed, 1 if differences remain. A running daemon does the work and this command shows
    its progress; without one, this command does it.
    """
    here = session(context)
    begin, end = here.moment(since, "--since"), here.moment(until, "--until") or datetime.now(UTC) - ON_ITS_WAY
    assert begin is not None
    if begin >= end:
        raise UsageError("--since must be before --until (which is 15 minutes ago when it is not given)")
    if source is not None:
        known_name("source", source, list(here.settings.sources))
    if yes and not fix:
        raise UsageError("--yes is for --fix")
    with here.store() as store:
        asked = {"since": here.words(since, "--since"), "until": here.words(until, "--until")}
        work = _Work(here, store, begin, end, source or "", asked)
        report = work.verify(fix=fix and yes)
        if fix and not yes and report.mendable:
            _show(here, report)
            if not _agreed(here, report):
                return 1
            report = work.mend(report)
        elif fix and yes:
            report = work.mend_sources(report)
        _show(here, report)
        return 0 if report.well else 1


@dataclass
class _Report:
    """Results by name; `silent`: sources that cannot look back; `errors`: what could not be verified, a line each."""

    since: datetime
    until: datetime
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    destinations: dict[str, dict[str, Any]] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    books: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [
            *(("source", name, part) for name, part in self.sources.items()),
            *(("destination", name, part) for name, part in self.destinations.items()),
        ]

    @property
    def well(self) -> bool:
        return not self.books and all(not part["amiss"] and not part["error"] for _, _, part in self.parts)

    @property
    def mendable(self) -> bool:
        return bool(self.missing_signals or self.mendable_records)

    @property
    def missing_signals(self) -> int:
        return sum(part["amiss"] for part in self.sources.values())

    @property
    def mendable_records(self) -> dict[str, int]:
        """What `--fix` would do, by verdict."""
        from syncd.dispatch.compare import MENDED

        found: dict[str, int] = {}
        for part in self.destinations.values():
            for verdict in MENDED:
                count = part["counts"].get(verdict.value, 0)
                if count:
                    found[verdict.value] = found.get(verdict.value, 0) + count
        return found

    def findings(self) -> Iterator[dict[str, Any]]:
        for role, name, part in self.parts:
            for one in part["findings"]:
                yield {
                    "where": f"{role} {name}",
                    "verdict": one["verdict"] + (", fixed" if one.get("mended") else ""),
                    "what": one.get("type") or f"{one['object']} by rule {one['rule']}",
                    "id": one.get("key") or one["occurred_at"],
                    "recorded": one.get("recorded", ""),
                    "found": ", ".join(one.get("found", ())),
                    "signal_id": one["signal_id"],
                }


@dataclass
class _Work:
    """One run of the command: `source` "" for all; `asked`: the range as typed."""

    here: Session
    store: Store
    since: datetime
    until: datetime
    source: str
    asked: dict[str, str]

    def verify(self, *, fix: bool) -> _Report:
        """Everything compared; with `fix` differences in the CRMs are fixed on the way."""
        from syncd.store.balance import balance, unbalanced

        report = _Report(self.since, self.until)
        self._sources(report)
        self._destinations(report, list(self.here.settings.destinations), fix=fix)
        report.books = [asdict(line) for line in unbalanced(balance(self.store))]
        if any(part["mended"] for part in report.destinations.values()):
            deliver(self.here, self.store)
        return report

    def mend(self, report: _Report) -> _Report:
        """A second pass over the destinations with differences that can be fixed, fixing them; and over the sources."""
        names = [name for name, part in report.destinations.items() if part["amiss"]]
        self._destinations(report, names, fix=True)
        if any(part["mended"] for part in report.destinations.values()):
            deliver(self.here, self.store)
        return self.mend_sources(report)

    def mend_sources(self, report: _Report) -> _Report:
        """What is missing in the store is taken in by a backfill."""
        from syncd.intake.backfill import Range
        from syncd.store.verifications import put_result

        brought = 0
        for name, part in report.sources.items():
            if not part["amiss"] or part["error"]:
                continue
            done, _ = do_backfill(self.here, self.store, name, Range(self.since, self.until), restart=True)
            mended = min(done.new, part["amiss"])
            brought += done.new
            part |= {"mended": mended, "amiss": part["amiss"] - mended}
            if done.error:
                part["error"] = f"backfill: {done.error}"
            put_result(self.store, report.jobs[name], part)
        if brought:
            deliver(self.here, self.store)
        return report

    def _sources(self, report: _Report) -> None:
        from syncd import registry
        from syncd.intake.backfill import Range
        from syncd.intake.verification import open_comparison

        for name in [self.source] if self.source else list(self.here.settings.sources):
            specs = registry.load("source", self.here.settings.sources[name].type).signals
            if not any(spec.backfill for spec in specs):
                report.silent.append(name)
                continue
            job = open_comparison(self.store, name, Range(self.since, self.until), self.asked)
            report.jobs[name] = job.id
            report.sources[name] = self._do(f"source {name}", job, self._source_alone)

    def _destinations(self, report: _Report, names: list[str], *, fix: bool) -> None:
        from syncd.dispatch.verification import VerificationScope, open_verification

        for name in names:
            wanted = VerificationScope(self.since, self.until, self.source, fix)
            job = open_verification(self.store, name, wanted, self.asked)
            report.destinations[name] = self._do(f"destination {name}", job, self._destination_alone)

    def _do(self, what: str, job: Job, alone: Callable[[Job, Any], dict[str, Any]]) -> dict[str, Any]:
        """Leaves the job to a running daemon and watches it, or does it here; its progress at the end."""
        from syncd.service.job_runner import daemon_runs
        from syncd.store.verifications import close_abandoned

        with self.here.out.progress(f"verifying {what}") as told:
            tell = self._telling(told)
            if daemon_runs(self.store):
                return self._watch(job, tell)
            close_abandoned(self.store, job)
            return alone(job, tell)

    def _source_alone(self, job: Job, tell: Any) -> dict[str, Any]:
        from syncd.intake.admit import Policy
        from syncd.intake.backfill import LEASE
        from syncd.service.assembly import assemble
        from syncd.service.job_runner import perform

        here, stop = self.here, threading.Event()
        claimed = self.store.jobs.claim(LEASE, id=job.id)
        if claimed is None:
            return self._watch(job, tell)
        assembly = assemble(here.loaded, store=self.store, only_sources=(job.subject,))
        types = {name: entry.type for name, entry in here.settings.sources.items()}
        policy = Policy.of(here.settings)
        try:
            with resumable(here), here.interrupts(stop):
                progress = perform(
                    *claimed,
                    assembly.sources,
                    types,
                    self.store,
                    lambda: policy,
                    stop=stop,
                    told=lambda done: tell(done.document()),
                )
        finally:
            assembly.close()
        return progress.document()

    def _destination_alone(self, job: Job, tell: Any) -> dict[str, Any]:
        from syncd.dispatch import Lane
        from syncd.dispatch.drain import verify_alone
        from syncd.service.assembly import assemble

        here, store, stop = self.here, self.store, threading.Event()
        assembly = assemble(here.loaded, store=store, only_sources=())
        outlet = assembly.outlets[job.subject]
        lane = Lane(job.subject, outlet.destination, outlet.mapping, store, here.settings)
        try:
            with resumable(here), here.interrupts(stop):
                progress = verify_alone(lane, store, job, stop=stop, told=lambda done: tell(done.document()))
                if stop.is_set():
                    store.jobs.stop(job.id)
        finally:
            assembly.close()
        if progress is None:
            raise SyncdError(f"destination {job.subject}: another process is writing to it; try again when it is done")
        return progress.document()

    def _watch(self, job: Job, tell: Any) -> dict[str, Any]:
        """Follows a job that a daemon does. Ctrl-C leaves it running."""
        from syncd.store.verifications import ENDED

        moved, last = time.monotonic(), None
        while True:
            now = self.store.jobs.get(job.id)
            if now is None:
                raise SyncdError(f"verification of {job.subject}: the job was removed")
            tell(now.progress)
            if now.state in ENDED:
                return _whole(now)
            if now.updated_at != last or now.progress.get("waits"):
                moved, last = time.monotonic(), now.updated_at
            if time.monotonic() - moved > NOBODY_FOR and not self._somebody(now):
                raise SyncdError(
                    f"verification of {job.subject}: no daemon has taken it; does the running daemon know it?"
                )
            time.sleep(WATCH_EVERY)

    def _somebody(self, job: Job) -> bool:
        from syncd.service.job_runner import daemon_runs
        from syncd.store.verifications import SOURCE_KIND

        if job.kind == SOURCE_KIND:
            return daemon_runs(self.store)
        return bool(self.store.leases.holder(f"lane:{job.subject}"))

    def _telling(self, told: Any) -> Any:
        span = (self.until - self.since).total_seconds()

        def tell(done: dict[str, Any]) -> None:
            if "share" in done:
                waits = f"; waits: {done['waits']}" if done.get("waits") else ""
                told(done["share"], f"{done['checked']} records, {done['amiss']} wrong{waits}")
            elif "read" in done:
                at = done.get("position")
                share = (datetime.fromisoformat(at) - self.since).total_seconds() / span if at else None
                told(share, f"{done['read']} read")

        return tell


def _whole(job: Job) -> dict[str, Any]:
    """A job's progress with every key, also of one that failed before it began."""
    from syncd.dispatch.verification import VerificationProgress
    from syncd.intake.verification import Compared
    from syncd.store.verifications import SOURCE_KIND

    if job.kind == SOURCE_KIND:
        return Compared.of(job.progress).document()
    return VerificationProgress.of(job.progress).document()


def _agreed(here: Session, report: _Report) -> bool:
    """Says what would be done, and asks; without a terminal there is no answer."""
    records = report.mendable_records
    plans = [
        (report.missing_signals, "missing signals would be taken in by a backfill"),
        (records.get("missing", 0), "missing records would be created again, each under its own key"),
        (records.get("there after all", 0), "unconfirmed writes would be settled as written"),
        (records.get("another id", 0), "ids would be corrected in the store"),
    ]
    for count, plan in plans:
        if count:
            here.out.say(f"{count} {plan}")
    if not sys.stdin.isatty():
        here.out.say("nothing was changed: what people deleted on purpose would come back; add --yes to fix it")
        return False
    return typer.confirm("Records that people deleted on purpose would come back too. Fix it?", err=True)


def _show(here: Session, report: _Report) -> None:
    if here.as_json:
        here.out.record(
            {
                "since": report.since,
                "until": report.until,
                "well": report.well,
                "sources": report.sources,
                "destinations": report.destinations,
                "cannot_look_back": report.silent,
                "books": report.books,
            }
        )
        return
    findings = list(report.findings())
    if findings:
        here.out.rows(findings, COLUMNS)
    for line in _lines(report):
        here.out.say(line)


def _lines(report: _Report) -> Iterator[str]:
    """The summary at the end: one line a source, destination and fault."""
    for name in report.silent:
        yield f"source {name}: its vendor cannot be asked about the past"
    for name, part in report.sources.items():
        if part["error"]:
            yield f"source {name}: could not be verified: {part['error']}"
            continue
        extra = f", {part['extra']} in the store that it does not show (any more)" if part["extra"] else ""
        off = f", {part['off']} switched off" if part["off"] else ""
        yield f"source {name}: {part['read']} read{off}, {part['amiss']} missing{_mended(part)}{extra}"
    for name, part in report.destinations.items():
        if part["error"]:
            yield f"destination {name}: could not be verified to the end: {part['error']}"
        counts = "".join(f", {count} {verdict}" for verdict, count in sorted(part["counts"].items()))
        unkeyed = f", {part['unkeyed']} without a key cannot be looked up" if part["unkeyed"] else ""
        fresh = f", {part['fresh']} too fresh to be found" if part["fresh"] else ""
        yield (
            f"destination {name}: {part['checked']} records, {part['amiss']} wrong{_mended(part)}{counts}{unkeyed}{fresh}"
        )
    for line in report.books:
        yield f"the balance sheet of {line['destination']}/{line['channel']} does not balance: please report this"


def _mended(part: dict[str, Any]) -> str:
    return f", {part['mended']} fixed" if part["mended"] else ""
