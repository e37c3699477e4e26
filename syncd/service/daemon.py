"""Starts, reloads and stops it all: the store, the sources, the lanes, the web server, the jobs and the nightly purge.

`syncd run` and the demo build a `Daemon`. Promise: when `start` returns, a webhook is answered and everything polls; when
`stop` returns, what was under way is settled or safely left for the next start.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from types import FrameType

import structlog

from syncd.config.loading import Loaded
from syncd.config.models import Settings
from syncd.connector import Destination, WebhookSource
from syncd.dispatch import Lane, pacing
from syncd.errors import SyncdError
from syncd.intake.intake import Intake
from syncd.intake.schedule import Times
from syncd.intake.webhooks import Endpoint
from syncd.observability.call_stats import CallStats
from syncd.service import sd_notify, watchdog
from syncd.service.advice import low_on_room
from syncd.service.assembly import Assembly, BuiltDestination, assemble, open_store
from syncd.service.job_runner import PRESENCE, JobRunner, show_presence
from syncd.service.reload import Reload, lane_mark
from syncd.signin.watcher import LOOK_EVERY, SignInWatcher
from syncd.store import Store
from syncd.store import gauges as figures
from syncd.store.announcements import Announcements
from syncd.store.balance import BalanceSheet, balance
from syncd.store.engine import millis
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.journal.group_commit import WakeUp
from syncd.store.lanes import spending
from syncd.store.pg_notify import EVERYBODY, PgNotifier
from syncd.store.purge import purge
from syncd.store.subscriptions import faults
from syncd.store.verifications import last_results
from syncd.web.app import Readiness, make_app
from syncd.web.metrics import BalanceSample, Gauges, Lag, LaneNow, Reloads, StoreGauges, VerificationSample, registry_of
from syncd.web.server import Server

log = structlog.get_logger(__name__)

LISTEN_EVERY = 0.25
"""Seconds: Python runs a handler in the main thread only. A signal that the kernel gives to another thread does not wake a
main thread that waits forever."""
DRAIN = timedelta(seconds=25)
PURGE_EVERY = timedelta(hours=6)
JOBS_EVERY = timedelta(seconds=2)
LANE_PATIENCE = 15 * 60.0
"""Seconds in which a lane's thread must have moved: longer than the longest request with all its tries."""
STATES = ("signals", "delivered", "skipped", "pending", "held", "dead", "discarded", "unconfirmed")


class Daemon:
    """One process of syncd. `loaded` is a complete configuration. Raises UsageError for what stands in the way (a port in
    use, no key), StoreUnavailable for a database that cannot be had."""

    def __init__(self, loaded: Loaded, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._loaded = loaded
        self._running = ExitStack()
        self._watching: watchdog.Watchdog | None = None
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
        self._meter = CallStats()
        self._books = BalanceSheet(lambda: balance(self.store))
        self.assembly = self._assemble(self._loaded)
        self.intake = Intake(self.store, self.settings, self.assembly.sources, clock=self._clock)
        self.lanes = {name: self._lane(self.settings, name, out) for name, out in self.assembly.outlets.items()}
        self._ending: list[threading.Thread] = []  # lanes that a reload has ended, until they have settled
        self.reloads = Reload(self._loaded, self.settings, Announcements(self.store), self._assemble, self._adopt)
        self._calling = PgNotifier(self.store, self._heard)
        self.jobs = JobRunner(self.store, self.intake, clock=self._clock)
        self.intake.schedule.add("jobs", self.jobs.work, Times(every=JOBS_EVERY))
        sign_ins = SignInWatcher(self.store, self._on_signed_in)
        self.intake.schedule.add("sign-ins", sign_ins.poll, Times(every=LOOK_EVERY))
        self.intake.schedule.add("purge", self._purge, Times(every=PURGE_EVERY, at_once=False))
        gauges = Gauges(
            self.intake.counts,
            lambda: self.store.journal.depth,
            lambda: self.intake.receiver.waiting,
            self._lines,
            self._lags,
            lambda: Reloads(self.reloads.applied, self.reloads.refused, bool(self.reloads.fault)),
            verified=self._verified,
            lanes=self._lanes_now,
            stored=self._stored,
            commits=(self.store.journal.sizes, self.store.journal.seconds),
            meter=self._meter,
        )
        public_url = self.settings.server.public_url
        app = make_app(self.intake.receiver, registry_of(gauges), self.ready, public_url=public_url)
        self._server = Server(app, self.settings.server.host, self.settings.server.port)

    def _assemble(self, loaded: Loaded) -> Assembly:
        assembly = assemble(loaded, store=self.store, clock=self._clock)
        for name, source in assembly.sources.items():
            if isinstance(source, WebhookSource):
                Endpoint.of(name, source)  # what is wrong with it is wrong now, not when half of it is in force
        return assembly

    def _lane(self, settings: Settings, name: str, outlet: BuiltDestination) -> Lane:
        return Lane(
            name, outlet.destination, outlet.mapping, self.store, settings, clock=self._clock, meter=self._meter
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    def start(self) -> None:
        """Everything begins; the receiver open first, so that no vendor waits for a CRM."""
        presence = show_presence(self.store)
        if presence is not None:
            self._running.enter_context(presence)
        Announcements(self.store).keep_only(self.store.leases.holders(PRESENCE))
        self.store.journal.listen(self._woken_by_commit)
        self.store.journal.listen(self._calling.notify)
        self._calling.start()
        self._server.start()
        self.intake.start()
        for lane in self.lanes.values():
            lane.start()
        self.reloads.start()
        sd_notify.notify(sd_notify.READY, sd_notify.status(self.summary()))
        self._writer_moves = watchdog.writer(self.store.journal)
        within = sd_notify.watchdog_seconds()
        if within is not None:
            self._watching = watchdog.Watchdog(self._parts, self.summary, within)
            self._watching.start()
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
        sd_notify.notify(sd_notify.STOPPING)
        if self._watching is not None:
            self._watching.stop()
        self.reloads.stop()
        self._server.stop()
        for lane in self.lanes.values():
            lane.ask_to_stop()
        self.intake.stop(DRAIN.total_seconds() / 2)
        for lane in self.lanes.values():
            lane.stop(DRAIN.total_seconds())
        for ending in self._ending:
            ending.join(DRAIN.total_seconds())
        self._calling.stop()
        self._running.close()
        self.assembly.close()
        self.store.close()
        log.info("stopped")

    def reload(self) -> bool:
        """Brings the files as they are now into force; True when they are, else `reloads.fault` says why not."""
        return self.reloads.now()

    def _adopt(self, loaded: Loaded, fresh: Assembly) -> None:
        """Takes over a configuration that has been proved whole; what is unchanged keeps running undisturbed."""
        settings = fresh.settings
        before, lanes, outlets, new = self.lanes, {}, {}, []
        for name, outlet in fresh.outlets.items():
            if name in before and self._goes_on(before[name], settings, outlet):
                lanes[name], outlets[name] = before[name], self.assembly.outlets[name]
                outlet.destination.close()
            else:
                lanes[name], outlets[name] = self._lane(settings, name, outlet), outlet
                new.append(name)
        ended = [(lane, self.assembly.outlets[name]) for name, lane in before.items() if lanes.get(name) is not lane]
        log.info(
            "configuration in force",
            config=str(loaded.path),
            destinations_begun=sorted(new),
            destinations_ended=sorted(lane.name for lane, _ in ended),
        )
        self.lanes = lanes
        self.intake.reload(settings, fresh.sources)
        self.settings, self._loaded = settings, loaded
        self.assembly = Assembly(settings, self.intake.sources, outlets)
        for name in new:
            lanes[name].start()  # it waits for the lease of the one that ends
        for lane, outlet in ended:
            self._end(lane, outlet.destination)

    def _goes_on(self, lane: Lane, settings: Settings, outlet: BuiltDestination) -> bool:
        """Whether this lane may stay as it is. One that waits for an operator's fix is restarted."""
        if lane_mark(settings, outlet) != lane_mark(self.settings, self.assembly.outlets[lane.name]):
            return False
        try:
            pace = lane.pace()
        except StoreUnavailable:  # then the lane waits for the database anyway
            return True
        return not pace.stopped and not pace.held

    def _end(self, lane: Lane, destination: Destination) -> None:
        """Lets a lane settle what is under way, then closes its destination; only the shutdown waits for it."""

        def end() -> None:
            lane.stop()
            destination.close()
            successor = self.lanes.get(lane.name)
            if successor is not None:
                successor.wake()

        lane.ask_to_stop()
        thread = threading.Thread(target=end, name=f"lane {lane.name} ends", daemon=True)
        self._ending = [*(other for other in self._ending if other.is_alive()), thread]
        thread.start()

    def _parts(self) -> Mapping[str, watchdog.Moves]:
        """What must move for this process to be alive."""
        server = self._server
        lanes = {
            f"lane {name}": watchdog.thread(lambda lane=lane: lane.moved, LANE_PATIENCE)  # type: ignore[misc]
            for name, lane in self.lanes.items()
        }
        return {"writer": self._writer_moves, "web": watchdog.web(server.host, server.port), **lanes}

    def summary(self) -> str:
        """One line for `systemctl status`."""
        about = f"{len(self.settings.sources)} sources, {len(self.settings.destinations)} destinations"
        try:
            degraded = list(self._degraded())
        except StoreUnavailable as error:
            degraded = [str(error)]
        return f"{about}; degraded: {'; '.join(degraded)}" if degraded else f"{about}; all well"

    def ready(self) -> Readiness:
        """Whether the store commits, and what is degraded."""
        try:
            self.store.probe()
        except StoreUnavailable as error:
            return Readiness(str(error))
        return Readiness("", tuple(self._degraded()))

    def _degraded(self) -> Iterable[str]:
        for fault in self.reloads.fault.splitlines():
            yield f"configuration not in force: {fault}"
        room = figures.disk(self.store)
        if low_on_room(room.free, room.whole):
            yield f"disk: {(room.free or 0) // 1_000_000} MB are left for the database"
        for name, health in sorted(self.store.sources.all().items()):
            if health.failures and name in self.settings.sources:
                yield f"source {name}: {health.error}"
        for name, fault in faults(self.store).items():
            if name in self.settings.sources:
                yield f"source {name}: {fault}"
        for name, lane in sorted(self.lanes.items()):
            if lane.trouble:
                yield f"destination {name}: {lane.trouble}"

    def _woken_by_commit(self, wake_up: WakeUp) -> None:
        for name in wake_up.destinations:
            lane = self.lanes.get(name)
            if lane is not None:
                lane.wake()

    def _on_signed_in(self, role: str, name: str) -> None:
        """Somebody has signed in for this one: what waited for it is tried at once."""
        if role == "source":
            self.intake.on_signed_in(name)
        elif name in self.lanes:
            self.lanes[name].on_signed_in()

    def _heard(self, wake_up: WakeUp) -> None:
        """Another machine, or a command beside this daemon, has new work."""
        everybody = EVERYBODY in wake_up.destinations
        self._woken_by_commit(WakeUp(frozenset(self.lanes)) if everybody else wake_up)
        if everybody:
            self.intake.schedule.wake("jobs")
        if wake_up.hints:
            self.intake.schedule.wake_all("fetch:")

    def _purge(self, stop: threading.Event) -> None:
        done = purge(self.store, self._clock() - self.settings.retention)
        if done is None:
            return
        if done.signals or done.people or done.jobs:
            older = str(self.settings.retention)
            log.info("purged", signals=done.signals, jobs=done.jobs, people=done.people, older_than=older)
        if done.quarantined:
            log.warning("purged from quarantine unread: retention expired", bodies=done.quarantined)

    def _lines(self) -> Iterable[BalanceSample]:
        for line in self._books.lines():
            for state in STATES:
                yield BalanceSample(line.destination, line.channel, state, getattr(line, state))

    def _verified(self) -> Iterable[VerificationSample]:
        names = {"source": set(self.settings.sources), "destination": set(self.settings.destinations)}
        for one in last_results(self.store):
            if one.subject in names[one.role]:
                yield VerificationSample(one.role, one.subject, one.amiss, one.at.timestamp())

    def _lags(self) -> Iterable[Lag]:
        now = self._clock()
        for name, health in self.store.sources.all().items():
            if name in self.settings.sources:
                read, heard = health.last_ok_at, health.last_signal_at
                yield Lag(
                    name,
                    (now - read).total_seconds() if read else None,
                    health.failures,
                    heard.timestamp() if heard else None,
                )

    def _lanes_now(self) -> Iterable[LaneNow]:
        for name, lane in sorted(self.lanes.items()):
            yield lane_now(lane, self.assembly.outlets[name], self.store, millis(self._clock()))

    def _stored(self) -> StoreGauges:
        now = self._clock()
        room, oldest = figures.disk(self.store), figures.oldest_purgeable(self.store)
        since = figures.oldest_pending(self.store)
        return StoreGauges(
            oldest={name: (now - since[name]).total_seconds() if name in since else 0.0 for name in self.lanes},
            receipts=figures.receipt_counts(self.store),
            jobs=figures.job_counts(self.store),
            people=figures.people_counts(self.store),
            books_age=self._books.age,
            size=room.size,
            free=room.free,
            retained_seconds=(now - oldest).total_seconds() if oldest else 0.0,
        )


def lane_now(lane: Lane, outlet: BuiltDestination, store: Store, now: int) -> LaneNow:
    """How a destination fares, by its lane's last word and without asking the vendor."""
    pace, allowance = lane.pace(), outlet.destination.allowance()
    with store.read() as connection:
        spent = pacing.spent(spending(connection, lane.name), now)
    return LaneNow(
        lane.name,
        paused=pace.paused(now),
        breaker=pace.breaker(now),
        failures=pace.failures,
        held_rules=sum(until > now for until, _ in pace.held.values()),
        spent=spent,
        quota=pacing.cap(outlet.settings.quota, allowance),
        unit=allowance.unit if allowance else "",
        used=allowance.used if allowance else None,
        maximum=allowance.maximum if allowance else None,
    )


def run_until_stopped(daemon: Daemon) -> int:
    """Runs in the foreground until SIGTERM or SIGINT; a second one ends at once. SIGHUP reloads. Returns the exit code."""
    asked: SimpleQueue[int] = SimpleQueue()  # its put may interrupt itself; an Event's set may not

    def ask(number: int, frame: FrameType | None) -> None:
        if not asked.empty():
            raise KeyboardInterrupt
        asked.put(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda number, frame: daemon.reloads.ask())
    try:
        daemon.start()
        while asked.empty():
            time.sleep(LISTEN_EVERY)
        daemon.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
