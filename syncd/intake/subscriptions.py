"""A daily look whether the webhooks that were registered through syncd are still there: vendors disable and forget them.

The schedule runs one a source. Promise: one call a day, by one machine; a source that was never registered is not asked; what
is wrong is shown by `status` and `/readyz` with what to do, until a look or `syncd webhooks register` finds it well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from syncd.capabilities import Subscribable, Subscription
from syncd.errors import Failure
from syncd.store import Store
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.subscriptions import note, registered

log = structlog.get_logger(__name__)

EVERY = timedelta(hours=24)
AGAIN = timedelta(hours=1)
LEASE = timedelta(minutes=5)


def amiss(name: str, wanted: Sequence[str], found: Sequence[Subscription]) -> str:
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
        """Looks once. Returns when to try again after a failure."""
        try:
            wanted = registered(self._store, self.name)
            claim = self._store.leases.acquire(f"subscriptions:{self.name}", LEASE) if wanted else None
            if claim is None:
                return None
            try:
                fault = amiss(self.name, wanted, self._source.subscriptions())
                note(self._store, self.name, fault)
                if fault:
                    log.warning("webhook lost", source=self.name, why=fault)
            finally:
                self._store.leases.release(claim)
        except StoreUnavailable as error:
            log.error("webhooks not checked: the store cannot be used", source=self.name, why=str(error))
        except Failure as error:
            log.warning("webhooks not checked", source=self.name, why=str(error))
        except Exception:
            log.error("webhooks not checked: a bug in the connector", source=self.name, exc_info=True)
        else:
            return None
        return self._clock() + AGAIN
