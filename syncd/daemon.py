"""Starts and stops it all: the store, the sources, the lanes, the web server, the jobs and the nightly purge.

`syncd run` and the demo build a `Daemon`. Promise: when `start` returns, a webhook is answered and everything polls; when
`stop` returns, what was under way is settled or safely left for the next start.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import FrameType

import structlog

from syncd.assembly import Assembly, assemble, open_store
from syncd.dispatch import Lane
from syncd.errors import SyncdError
from syncd.intake.intake import Intake
from syncd.intake.schedule import Times
from syncd.jobs import JobRunner, show_presence
from syncd.settings_file import Loaded
from syncd.store.books import balance
from syncd.store.entries import StoreUnavailable
from syncd.store.groups import Stir
from syncd.store.purge import purge
from syncd.web.app import Readiness, make_app
from syncd.web.metrics import Gauges, Lag, Line, registry_of
from syncd.web.server import Server

log = structlog.get_logger(__name__)

DRAIN = timedelta(seconds=25)
PURGE_EVERY = timedelta(hours=6)
JOBS_EVERY = timedelta(seconds=2)
STATES = ("signals", "delivered", "skipped", "pending", "held", "dead", "discarded", "unconfirmed")


class Daemon:
    """One process of syncd. `loaded` is a complete configuration. Raises UsageError for what stands in the way (a port in
    use, no key), StoreUnavailable for a database that cannot be had."""

    def __init__(self, loaded: Loaded, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._loaded = loaded
        self._running = ExitStack()
        if loaded.settings is None:
            raise SyncdError(f"{loaded.path}: incomplete; `syncd check` says what is missing")
        self.settings = loaded.settings
        self.store = open_store(self.settings, loaded.path.parent)
        try:
            self._build()
        except BaseException:
            self.store.close()
            raise

    def _build(self) -> None:
        self.assembly: Assembly = assemble(
            self._loaded, tokens=self.store.tokens, recall=self.store.cursors.recall, clock=self._clock
        )
        self.intake = Intake(self.store, self.settings, self.assembly.sources, clock=self._clock)
        self.lanes = {
            name: Lane(name, outlet.destination, outlet.mapping, self.store, self.settings, clock=self._clock)
            for name, outlet in self.assembly.outlets.items()
        }
        self.jobs = JobRunner(self.store, self.intake, clock=self._clock)
        self.intake.schedule.add("jobs", self.jobs.work, Times(every=JOBS_EVERY))
        self.intake.schedule.add("purge", self._purge, Times(every=PURGE_EVERY, at_once=False))
        gauges = Gauges(
            self.intake.counts,
            lambda: self.store.journal.depth,
            lambda: self.intake.doors.waiting,
            self._lines,
            self._lags,
        )
        public_url = self.settings.server.public_url
        app = make_app(self.intake.doors, registry_of(gauges), self.ready, public_url=public_url)
        self._server = Server(app, self.settings.server.host, self.settings.server.port)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    def start(self) -> None:
        """Everything begins; the doors open first, so that no vendor waits for a CRM."""
        presence = show_presence(self.store)
        if presence is not None:
            self._running.enter_context(presence)
        self.store.journal.listen(self._stirred)
        self._server.start()
        self.intake.start()
        for lane in self.lanes.values():
            lane.start()
        log.info(
            "ready",
            listen=self.url,
            database=self.store.place,
            sources=sorted(self.assembly.sources),
            destinations=sorted(self.lanes),
        )

    def stop(self) -> None:
        """Drains: no new requests, polls end between two batches, each lane finishes its call and settles it."""
        log.info("stopping")
        self._server.stop()
        for lane in self.lanes.values():
            lane.ask_to_stop()
        self.intake.stop(DRAIN.total_seconds() / 2)
        for lane in self.lanes.values():
            lane.stop(DRAIN.total_seconds())
        self._running.close()
        self.assembly.close()
        self.store.close()
        log.info("stopped")

    def ready(self) -> Readiness:
        """Whether the store commits, and what is degraded."""
        try:
            self.store.probe()
        except StoreUnavailable as error:
            return Readiness(str(error))
        return Readiness("", tuple(self._degraded()))

    def _degraded(self) -> Iterable[str]:
        for name, health in sorted(self.store.sources.all().items()):
            if health.failures and name in self.settings.sources:
                yield f"source {name}: {health.error}"
        for name, lane in sorted(self.lanes.items()):
            if lane.trouble:
                yield f"destination {name}: {lane.trouble}"

    def _stirred(self, stir: Stir) -> None:
        for name in stir.destinations:
            lane = self.lanes.get(name)
            if lane is not None:
                lane.wake()

    def _purge(self, stop: threading.Event) -> None:
        done = purge(self.store, self._clock() - self.settings.retention)
        if done is not None and done.signals:
            log.info("purged", signals=done.signals, older_than=str(self.settings.retention))

    def _lines(self) -> Iterable[Line]:
        for line in balance(self.store):
            for state in STATES:
                yield Line(line.destination, line.channel, state, getattr(line, state))

    def _lags(self) -> Iterable[Lag]:
        now = self._clock()
        for name, health in self.store.sources.all().items():
            if name in self.settings.sources and health.last_ok_at is not None:
                yield Lag(name, (now - health.last_ok_at).total_seconds(), health.failures)


def run_until_stopped(daemon: Daemon) -> int:
    """Runs in the foreground until SIGTERM or SIGINT; a second one ends at once. Returns the exit code."""
    stopping = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        daemon.start()
        stopping.wait()
        daemon.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
