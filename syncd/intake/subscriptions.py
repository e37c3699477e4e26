"""Supervision of the webhooks that were registered through syncd: vendors disable and forget them, and some expire.

The schedule runs it for each source. Promise: one machine looks at a time, at least once a day; what expires is renewed at two
thirds of its lifetime, and made anew when the vendor lost it; a poll follows every gap; what is wrong is shown by `status`
and `/readyz` with what to do, until a look or `syncd webhooks register` finds it well. A source that was never registered is
not asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from syncd.capabilities import Renewable, Subscribable, Subscribed, Subscription
from syncd.connector import PollingSource
from syncd.errors import Failure, SyncdError
from syncd.store import Store
from syncd.store.journal.entries import JournalEntry, StoreUnavailable
from syncd.store.subscriptions import Registration, note, noted, put_registrations, registrations
from syncd.store.vendor_secrets import announce

log = structlog.get_logger(__name__)

EVERY = timedelta(hours=24)
AGAIN = timedelta(hours=1)
SOONEST = timedelta(minutes=1)
LEASE = timedelta(minutes=5)
SHARE = 2 / 3
"""Of a subscription's lifetime, after which it is renewed: what is left is for trying again."""


def renewal_due(one: Registration) -> datetime | None:
    """When it is to be renewed; None for one that does not expire."""
    if one.since is None or one.expires_at is None:
        return None
    return one.since + (one.expires_at - one.since) * SHARE


def next_look(wanted: Sequence[Registration], now: datetime) -> datetime | None:
    """When the next renewal is due, or the next try of one that failed: a quarter of what is left. None: nothing expires."""
    times = []
    for one in wanted:
        due = renewal_due(one)
        if due is None or one.expires_at is None:
            continue
        left = (one.expires_at - now) / 4
        times.append(due if due > now else now + min(max(left, SOONEST), AGAIN))
    return min(times, default=None)


def registration(one: Subscription, now: datetime) -> Registration:
    """A webhook that was made or renewed just now, as it is noted."""
    return Registration(one.id, now, one.expires_at) if one.expires_at is not None else Registration(one.id)


def lost(name: str, wanted: Sequence[str], found: Sequence[Subscription]) -> str:
    """What is wrong with the webhooks of a source and what to do, "" when all of `wanted` are there, active and ours."""
    there = {one.id: one for one in found}
    gone = [id for id in wanted if id not in there]
    moved = [id for id in wanted if id in there and there[id].active and not there[id].ours]
    off = [id for id in wanted if id in there and not there[id].active]
    parts = [
        f"{', '.join(ids[:5])} {what}"
        for ids, what in ((gone, "gone at the vendor"), (off, "disabled there"), (moved, "pointing elsewhere"))
        if ids
    ]
    return (
        f"its webhook at the vendor has changed: {'; '.join(parts)}; `syncd webhooks register {name}` repairs it"
        if parts
        else ""
    )


class SubscriptionLook:
    """The look at one source."""

    def __init__(
        self,
        name: str,
        source: Subscribable,
        store: Store,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._source = source
        self._store = store
        self._clock = clock

    def run(self, stop: threading.Event) -> datetime | None:
        """Looks once, renewing what is due. Returns when to look again, besides its times."""
        try:
            if not registrations(self._store, self.name):
                return None
            claim = self._store.leases.acquire(f"subscriptions:{self.name}", LEASE)
            if claim is None:
                return None
            try:
                with self._store.leases.heartbeat(claim):
                    return self._look()
            finally:
                self._store.leases.release(claim)
        except StoreUnavailable as error:
            log.error("webhooks not checked: the store cannot be used", source=self.name, why=str(error))
        except (Failure, SyncdError) as error:
            log.warning("webhooks not checked", source=self.name, why=str(error))
        except Exception:
            log.error("webhooks not checked: a bug in the connector", source=self.name, exc_info=True)
        return self._clock() + AGAIN

    def _look(self) -> datetime | None:
        now = self._clock()
        before = noted(self._store, self.name)
        wanted, lapsed, failures = self._renewed(list(registrations(self._store, self.name)), now)
        fault = lost(self.name, [one.id for one in wanted], self._source.subscriptions())
        if fault and not failures and self._may_make_anew(wanted, now):
            log.warning("webhook lost; making it anew", source=self.name, why=fault)
            wanted, fault, lapsed = self._made_anew(now), "", True
        fault = "; ".join([*failures, fault] if fault else failures)
        note(self._store, self.name, fault)
        if fault:
            log.warning("webhook lost" if not failures else "webhook not renewed", source=self.name, why=fault)
        if lapsed or bool(fault) != bool(before):
            self._poll()
        return min(filter(None, (next_look(wanted, now), now + AGAIN if fault else None)), default=None)

    def _may_make_anew(self, wanted: Sequence[Registration], now: datetime) -> bool:
        """Only what expires, and not again at once: what was made just now and is lost already needs the operator."""
        expiring = [one for one in wanted if one.since is not None and one.expires_at is not None]
        recent = any(one.since is not None and now - one.since < AGAIN for one in expiring)
        return bool(expiring) and not recent and isinstance(self._source, Renewable)

    def _renewed(self, wanted: list[Registration], now: datetime) -> tuple[list[Registration], bool, list[str]]:
        """What is wanted after the renewals that are due, whether one had lapsed, and what could not be renewed."""
        lapsed, failures = False, []
        for index, one in enumerate(wanted):
            due = renewal_due(one)
            if due is None or due > now or one.expires_at is None or not isinstance(self._source, Renewable):
                continue
            lapsed = lapsed or one.expires_at <= now
            try:
                fresh = self._source.renew(one.id)
            except Failure as error:
                failures.append(
                    f"its webhook {one.id} expires at {one.expires_at:%Y-%m-%d %H:%M} UTC and was not renewed: {error}; "
                    f"syncd tries again; if it persists, `syncd webhooks register {self.name}`"
                )
                continue
            if fresh is not None:  # else the look at what is there finds it gone
                wanted[index] = registration(fresh, now)
                put_registrations(self._store, self.name, wanted)
        return wanted, lapsed, failures

    def _made_anew(self, now: datetime) -> list[Registration]:
        made = self._source.subscribe()
        keep_subscribed(self._store, self.name, made, now)
        return [registration(one, now) for one in made.there]

    def _poll(self) -> None:
        """Events may have been missed: whoever polls this source does so now."""
        if isinstance(self._source, PollingSource):
            self._store.journal.commit(JournalEntry(self.name, poll_now=True))


def keep_subscribed(store: Store, source: str, made: Subscribed, now: datetime) -> None:
    """Notes what a registration left, its secrets first, and lets every daemon know. Raises StoreUnavailable, UsageError."""
    if made.remember:
        store.vendor_secrets.replace(source, made.remember)
    put_registrations(store, source, [registration(one, now) for one in made.there])
    note(store, source, "")
    announce(store, source)
