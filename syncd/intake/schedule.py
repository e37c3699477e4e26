"""When sources work: polls by interval or cron, fetches of hints, fetches of keys. APScheduler, and a thread for every run.

The daemon fills it, the receiver and the journal wake it. Promise: a source never overlaps with itself, never delays another,
and one that hangs blocks no other source, not even the end of the process.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from syncd.config.cron import parse_cron

log = structlog.get_logger(__name__)

DEFAULT_POLL = timedelta(minutes=5)
FETCH_EVERY = timedelta(seconds=5)
LONGEST_JITTER = 30.0
CLOCK_EVERY = 5.0  # seconds between looks whether the clock was set back: APScheduler sleeps until times of day
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

Work = Callable[[threading.Event], datetime | None]
"""One run of something; `stop` is set when it should end early. Returns when it wants to run again besides its times."""


@dataclass(frozen=True, slots=True)
class Times:
    """When work runs: every so often, or by a cron line; `at_once` also when it is added."""

    every: timedelta | None = None
    cron: str | None = None
    at_once: bool = True

    @property
    def slack(self) -> timedelta:
        """By how much two plans of the same times may differ: twice the jitter, and a little."""
        seconds = 0.0 if self.cron is not None else (self.every or DEFAULT_POLL).total_seconds()
        return timedelta(seconds=2 + 2 * min(seconds / 10, LONGEST_JITTER))

    def due(self, zone: ZoneInfo, now: datetime) -> datetime | None:
        """When it would run next if it were planned now."""
        if self.cron is None:
            return now + (self.every or DEFAULT_POLL)
        found: datetime | None = self.trigger(zone).get_next_fire_time(None, now)
        return found

    def trigger(self, zone: ZoneInfo) -> BaseTrigger:
        """Raises ValueError for an invalid cron line."""
        if self.cron is not None:
            return cron_trigger(self.cron, zone)
        seconds = (self.every or DEFAULT_POLL).total_seconds()
        return IntervalTrigger(seconds=seconds, jitter=min(seconds / 10, LONGEST_JITTER))


def cron_trigger(line: str, zone: ZoneInfo) -> BaseTrigger:
    """A trigger of a crontab line, read in `zone`. APScheduler's own reader counts weekdays from Monday and wants both
    days to fit, so it is handed plain values. Raises ValueError."""
    cron = parse_cron(line)

    def trigger(days: tuple[int, ...] | None, weekdays: tuple[int, ...] | None) -> CronTrigger:
        return CronTrigger(
            month=_listed(cron.months),
            day=_listed(days) if days else "*",
            day_of_week=",".join(_DAYS[day] for day in weekdays) if weekdays else "*",
            hour=_listed(cron.hours),
            minute=_listed(cron.minutes),
            second="0",
            timezone=zone,
        )

    if cron.either_day:
        return OrTrigger([trigger(cron.days, None), trigger(None, cron.weekdays)])
    return trigger(cron.days, cron.weekdays)


def _listed(values: tuple[int, ...]) -> str:
    return ",".join(str(value) for value in values)


class _Threads(BaseExecutor):  # type: ignore[misc]
    """A daemon thread for each run: no run waits for a slot, and a run that hangs does not keep the process alive."""

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        def run() -> None:
            try:
                events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
            except BaseException as error:  # noqa: BLE001  the scheduler must learn that the run has ended
                self._run_job_error(job.id, error, error.__traceback__)
            else:
                self._run_job_success(job.id, events)

        threading.Thread(target=run, name=f"syncd {job.id}", daemon=True).start()


class _Line:
    """The runs of one piece of work, one at a time; a call during a run makes it run again afterwards."""

    def __init__(self, name: str, work: Work, stop: threading.Event, again_at: Callable[[str, datetime], None]) -> None:
        self.name = name
        self._work = work
        self._stop = stop
        self._again_at = again_at
        self._lock = threading.Lock()
        self._running = False
        self._again = False
        self.idle = threading.Event()
        self.idle.set()

    def __call__(self) -> None:
        with self._lock:
            if self._running:
                self._again = True
                return
            self._running = True
            self.idle.clear()
        more = True
        while more:
            if not self._stop.is_set():
                self._run()
            with self._lock:
                more = self._running = self._again and not self._stop.is_set()
                self._again = False
                if not more:
                    self.idle.set()

    def _run(self) -> None:
        try:
            again = self._work(self._stop)
        except Exception:
            log.exception("scheduled work failed: a bug in syncd", work=self.name)
            return
        if again is not None and not self._stop.is_set():
            self._again_at(self.name, again)

    def runs_again(self) -> bool:
        """Marks a run under way to be followed by another; False when none is under way."""
        with self._lock:
            self._again = self._again or self._running
            return self._running

    def end(self) -> None:
        """No further run begins."""
        self._stop.set()


class Schedule:
    """All scheduled work of a process, by name (`poll:inbox`, `fetch:desk`). Thread-safe."""

    def __init__(self, zone: ZoneInfo, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._zone = zone
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        self._times: dict[str, tuple[Times, ZoneInfo]] = {}
        self._stopping = threading.Event()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": _Threads()},
            job_defaults={"coalesce": True, "max_instances": 2, "misfire_grace_time": None},
        )

    def start(self) -> None:
        self._scheduler.start()
        threading.Thread(target=self._watch_the_clock, name="syncd clock", daemon=True).start()

    def stop(self, seconds: float = 10.0) -> list[str]:
        """Begins nothing new, asks what runs to end, waits at most `seconds`. Returns what still runs: it is left to
        itself. May be called twice."""
        self._stopping.set()
        for line in list(self._lines.values()):
            line.end()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        until = time.monotonic() + seconds
        return [
            name for name, line in sorted(self._lines.items()) if not line.idle.wait(max(until - time.monotonic(), 0))
        ]

    def add(self, name: str, work: Work, times: Times, *, zone: ZoneInfo | None = None) -> None:
        """Takes up work under a name, in place of what had it. Raises ValueError for a wrong cron line."""
        trigger = times.trigger(zone or self._zone)
        self.remove(name)
        self._times[name] = (times, zone or self._zone)
        line = _Line(name, work, threading.Event(), self._run_at)
        self._lines[name] = line
        options: dict[str, Any] = {}
        if times.at_once:
            # Not all sources in the same instant after a restart.
            options["next_run_time"] = self._clock() + timedelta(seconds=random.uniform(0, 0.5))  # noqa: S311
        self._scheduler.add_job(line, trigger, id=name, replace_existing=True, **options)

    def remove(self, name: str) -> None:
        """Ends this work: a run under way is asked to stop and not waited for."""
        line = self._lines.pop(name, None)
        self._times.pop(name, None)
        if line is None:
            return
        line.end()
        for job in (name, f"again:{name}"):
            with suppress(JobLookupError):  # a date job that has run is gone already
                self._scheduler.remove_job(job)

    def wake(self, name: str) -> bool:
        """Runs this work now, besides its times; if it runs, again afterwards. False for an unknown name."""
        line = self._lines.get(name)
        if line is None:
            return False
        if not line.runs_again():
            threading.Thread(target=line, name=f"syncd {name} woken", daemon=True).start()
        return True

    def wake_all(self, prefix: str) -> None:
        """Wakes all work whose name begins so (`fetch:`)."""
        for name in list(self._lines):
            if name.startswith(prefix):
                self.wake(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._lines))

    def _watch_the_clock(self) -> None:
        while not self._stopping.wait(CLOCK_EVERY):
            self.replan()

    def replan(self, now: datetime | None = None) -> list[str]:
        """Schedules again, and runs once, what would sleep until a time of the old clock: the clock was set back.
        Returns what it was."""
        now, late = now or datetime.now(UTC), []
        for name, (times, zone) in list(self._times.items()):
            job, due = self._scheduler.get_job(name), times.due(zone, now)
            planned: datetime | None = job.next_run_time if job is not None else None
            if planned is None or due is None or planned <= due + times.slack:
                continue
            late.append(name)
            with suppress(JobLookupError):  # removed meanwhile
                self._scheduler.reschedule_job(name, trigger=times.trigger(zone))
                self.wake(name)
        if late:
            log.warning("the clock was set back; sources are scheduled again", work=late)
        return late

    def _run_at(self, name: str, at: datetime) -> None:
        line = self._lines.get(name)
        if line is not None:
            self._scheduler.add_job(line, "date", run_date=at, id=f"again:{name}", replace_existing=True)
