"""All that brings signals in, as one: receiver, polls, fetches of hints and keys, over the sources of a configuration.

The daemon builds it, starts it, hands it a new configuration on reload, and stops it. Promise: a reload swaps policy and
endpoints at once and leaves unchanged sources alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from syncd.capabilities import Subscribable, Waiting
from syncd.config.models import Settings, SourceSettings, parse_share
from syncd.connector import HintSource, KeyFetchingSource, PollingSource, WebhookSource
from syncd.intake.admit import Policy
from syncd.intake.counts import Counts
from syncd.intake.fetches import Fetches, RetryLaw
from syncd.intake.idle_watchers import IdleWatcher
from syncd.intake.keys import KeyFetch
from syncd.intake.polls import SPACING, Poll
from syncd.intake.schedule import FETCH_EVERY, Schedule, Times
from syncd.intake.shared_endpoints import grouped
from syncd.intake.spaced_calls import SpacedCalls
from syncd.intake.subscriptions import EVERY as LOOK_EVERY
from syncd.intake.subscriptions import SubscriptionLook
from syncd.intake.webhooks import BYTES_IN_FLIGHT, Endpoint, WebhookReceiver
from syncd.store import Store
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.journal.group_commit import WakeUp
from syncd.store.subscriptions import note_keys
from syncd.store.vendor_secrets import announce, announced

log = structlog.get_logger(__name__)

BIG_BODY_THREADS = 2
RETRIES_EVERY = timedelta(minutes=1)  # of a source without hints: what an operator released from quarantine
KEYS_EVERY = timedelta(hours=24)
LOOK = timedelta(seconds=2)  # for what commands and other machines changed
LEAVE = 1.0  # seconds in which a wait ends


class Intake:
    """`sources`: connector objects by name, as the configuration built them. `receiver` goes to the web app."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        sources: Mapping[str, Any],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.counts = Counts()
        self.schedule = Schedule(settings.zone, clock=clock)
        self._store = store
        self._clock = clock
        self._policy = Policy.of(settings)
        self._threads = ThreadPoolExecutor(BIG_BODY_THREADS, thread_name_prefix="syncd-bodies")
        self._common: tuple[object, ...] = ()  # of the settings that every source was built with
        self._settings: dict[str, SourceSettings] = {}
        self._sources: dict[str, Any] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._polls: dict[str, Poll] = {}
        self._fetches: dict[str, Fetches] = {}
        self._waits: dict[str, IdleWatcher] = {}
        self._asked: dict[str, SpacedCalls] = {}  # polls that webhooks ask for
        self._started = False
        self._law = RetryLaw(settings.retry.schedule, parse_share(settings.retry.jitter))
        self.receiver = WebhookReceiver(
            store.journal,
            self._policy,
            max_body=settings.server.max_body,
            max_waiting=settings.server.max_waiting,
            threads=self._threads,
            key_wanted=self._key_wanted,
            keep_secrets=self._keep_secrets,
            counts=self.counts,
            clock=clock,
        )
        self._announced = announced(store)
        self.schedule.add("webhooks", self._look_at_webhooks, Times(every=LOOK))
        self._take_up(settings, sources)
        store.journal.listen(self._woken_by_commit)

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def sources(self) -> Mapping[str, Any]:
        """The connector objects in use."""
        return dict(self._sources)

    @property
    def types(self) -> Mapping[str, str]:
        """The connector behind each source."""
        return {name: entry.type for name, entry in self._settings.items()}

    def start(self) -> None:
        """Polls, waits and fetches begin. The receiver are open as soon as a server stands before them."""
        for fetches in self._fetches.values():
            fetches.forget_pause()
        self.schedule.start()
        self._started = True
        for wait in self._waits.values():
            wait.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Ends between two batches; what still runs after `seconds` is left, its lease runs out."""
        for wait in self._waits.values():
            wait.stop()
        for asked in self._asked.values():
            asked.end()
        left = self.schedule.stop(seconds)
        left += [f"wait:{name}" for name, wait in self._waits.items() if not wait.ended(LEAVE)]
        if left:
            log.warning("work left unfinished; it resumes at the next start", work=left)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def reload(self, settings: Settings, sources: Mapping[str, Any]) -> None:
        """Another configuration: switches and limits at once, changed and new sources afresh, removed ones end."""
        self.receiver.max_body = settings.server.max_body
        self.receiver.max_bytes = max(BYTES_IN_FLIGHT, 2 * settings.server.max_body)
        self.receiver.max_waiting = settings.server.max_waiting
        self._policy = Policy.of(settings)
        self._law = RetryLaw(settings.retry.schedule, parse_share(settings.retry.jitter))
        self._take_up(settings, sources)
        self._store.refusals.bypass()
        try:
            failing = {name for name, health in self._store.sources.all().items() if health.error}
        except StoreUnavailable:  # the new configuration is in force all the same
            failing = set(self._sources)
        for name in self._sources:
            self.on_signed_in(name, polled=name in failing)

    def on_signed_in(self, name: str, *, polled: bool = True) -> None:
        """What was misconfigured may be right now: no pause is waited out, and with `polled` it is read at once."""
        if name in self._polls and polled:
            self._polls[name].clear_backoff()
            self.schedule.wake(f"poll:{name}")
        if name in self._waits:
            self._waits[name].clear_backoff()
        if name in self._fetches:
            self._fetches[name].forget_pause()
            self.schedule.wake(f"fetch:{name}")

    def wake(self, source: str) -> bool:
        """Polls a source now; False if it is not one that is polled."""
        return self.schedule.wake(f"poll:{source}")

    def fetches(self, source: str) -> Fetches | None:
        """The worker of a source's receipts, for `retry_quarantined`; None for a source without."""
        return self._fetches.get(source)

    def _take_up(self, settings: Settings, sources: Mapping[str, Any]) -> None:
        common = (settings.region, settings.timezone, settings.retry, settings.newer_types)
        for name in list(self._settings):
            if common != self._common or self._settings[name] != settings.sources.get(name):
                self._drop(name)
        self._common = common
        for name, entry in settings.sources.items():
            if name not in self._settings and name in sources:
                self._add(name, entry, sources[name], settings.zone)
        self.receiver.open(self._policy, grouped(self._endpoints, self._settings))

    def _drop(self, name: str) -> None:
        for kind in ("poll", "fetch", "keys", "subscriptions"):
            self.schedule.remove(f"{kind}:{name}")
        wait = self._waits.pop(name, None)
        if wait is not None:
            wait.stop()  # its successor waits for its lease
        if asked := self._asked.pop(name, None):
            asked.end()
        for table in (self._settings, self._sources, self._endpoints, self._polls, self._fetches):
            table.pop(name, None)

    def _add(self, name: str, entry: SourceSettings, source: Any, zone: ZoneInfo) -> None:
        self._settings[name] = entry
        self._sources[name] = source
        common: dict[str, Any] = {"counts": self.counts, "clock": self._clock}
        if isinstance(source, WebhookSource):
            self._endpoints[name] = Endpoint.of(name, source)
        if isinstance(source, KeyFetchingSource):
            keys = KeyFetch(name, source, note=partial(note_keys, self._store, name), clock=self._clock)
            self.schedule.add(f"keys:{name}", keys.run, Times(every=KEYS_EVERY))
        if isinstance(source, Subscribable):
            look = SubscriptionLook(name, source, self._store, clock=self._clock)
            self.schedule.add(f"subscriptions:{name}", look.run, Times(every=LOOK_EVERY))
        if isinstance(source, PollingSource):
            self._polls[name] = Poll(name, source, self._store, lambda: self._policy, **common)
            self.schedule.add(f"poll:{name}", self._polls[name].work, Times(entry.poll, entry.cron), zone=zone)
            self._asked[name] = SpacedCalls(partial(self.wake, name), SPACING)
            if isinstance(source, Waiting) and entry.cron is None:  # with cron: it is read at these times only
                self._waits[name] = IdleWatcher(name, source, self._store, lambda: self.wake(name), clock=self._clock)
                if self._started:
                    self._waits[name].start()
        self._fetches[name] = Fetches(name, source, self._store, lambda: self._policy, self._law, **common)
        every = FETCH_EVERY if isinstance(source, HintSource) else RETRIES_EVERY
        self.schedule.add(f"fetch:{name}", self._fetches[name].run, Times(every=every))

    def _key_wanted(self, source: str) -> None:
        self.schedule.wake(f"keys:{source}")

    def _keep_secrets(self, source: str, secrets: Mapping[str, str]) -> bool:
        """What a handshake brought, for the receiver. Raises StoreUnavailable, UsageError."""
        kept = self._store.vendor_secrets.keep_first(source, secrets)
        if kept:
            announce(self._store, source)
            self._verify_afresh(source)
        return kept

    def _verify_afresh(self, source: str) -> None:
        """Builds a source's verifier again, of the secrets that are kept now."""
        if (endpoint := self._endpoints.get(source)) is not None:
            self._endpoints[source] = Endpoint.of(source, endpoint.source)
            self.receiver.open(self._policy, grouped(self._endpoints, self._settings))

    def _look_at_webhooks(self, stop: threading.Event) -> None:
        """Whether a command, or another machine, changed the webhooks of a source or what verifies them."""
        try:
            now = announced(self._store)
            changed = [source for source, mark in now.items() if self._announced.get(source) != mark]
            for source in changed:
                self._verify_afresh(source)
                self.schedule.wake(f"subscriptions:{source}")
            self._announced = now
        except StoreUnavailable:  # nothing is missed: the next look compares again
            return

    def _woken_by_commit(self, wake_up: WakeUp) -> None:
        if wake_up.hints:
            self.schedule.wake_all("fetch:")
        for name in wake_up.polls:
            if asked := self._asked.get(name):
                asked.wake()
