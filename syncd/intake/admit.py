"""What of a batch is let in, and how it starts at each destination: pure decisions over values.

Webhooks, polls, fetches and backfills call `admit` before they commit. A `Policy` is compiled from the settings and never
changes: a reload replaces it as a whole. Promise: `admit` does no I/O, and every signal of a batch is either an
arrival, counted in `off`, or quarantined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

import msgspec

from syncd.config.models import Settings, Switch
from syncd.connector import Batch
from syncd.intake.quarantine import quarantined_request, quarantined_signal
from syncd.signals import Exclusions, Route, Signal, place_of
from syncd.store.journal.entries import Fence, Fetched, InitialDelivery, JobStep, JournalEntry, NewSignal
from syncd.texts.reasons import Reason

OFF_SWITCH = "switch"
OFF_EXCLUDED = "exclude"
NOT_ASKED_FOR = Reason("not_asked_for")
_LONGEST_REASON = 20  # the column's width
_REMEMBERED_TYPES = 500  # custom.* names come from outside: the memory of them is bounded

Seeds = tuple[InitialDelivery, ...]


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """One destination as the intake sees it: its name and the patterns of signal types it asks for."""

    name: str
    only: tuple[str, ...] = ("*",)

    def wants(self, signal_type: str) -> bool:
        return any(fnmatchcase(signal_type, pattern) for pattern in self.only)


@dataclass(frozen=True, slots=True)
class TypeDecision:
    """What a policy says of one signal type: let in or not, and the seeds when live, quiet (too late) and past."""

    on: bool
    live: Seeds = ()
    quiet: Seeds = ()
    past: Seeds = ()


@dataclass(frozen=True)
class Policy:
    """The settings that decide what is let in, compiled. `switches`: channel -> switch -> on, off or from whom."""

    switches: Mapping[str, Mapping[str, Switch]]
    outlets: tuple[DeliveryTarget, ...] = ()
    exclusions: Exclusions = Exclusions()
    live_within: timedelta = timedelta(hours=24)
    _rulings: dict[str, TypeDecision] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """The policy of a configuration."""
        return cls(
            switches=settings.channels,
            outlets=tuple(
                DeliveryTarget(name, destination.only) for name, destination in settings.destinations.items()
            ),
            exclusions=settings.exclude.exclusions(),
            live_within=settings.live_within,
        )

    def ruling(self, signal_type: str) -> TypeDecision:
        """Raises ValueError for a type that does not exist."""
        known = self._rulings.get(signal_type)
        if known is not None:
            return known
        channel, switch = place_of(signal_type)
        switches = self.switches.get(channel, {})
        # From whom (a list of groups) is decided at delivery, when it is known who it is: here it means on.
        on = switches.get(switch, switches.get("*", False)) is not False
        ruling = (
            TypeDecision(on, *(self._seeds(signal_type, live, old) for live, old in _STARTS))
            if on
            else TypeDecision(False)
        )
        if len(self._rulings) < _REMEMBERED_TYPES:
            self._rulings[signal_type] = ruling
        return ruling

    def _seeds(self, signal_type: str, live: bool, old: bool) -> Seeds:
        return tuple(
            InitialDelivery(outlet.name, live=live, old=old, skipped="" if outlet.wants(signal_type) else NOT_ASKED_FOR)
            for outlet in self.outlets
        )


_STARTS = ((True, False), (False, False), (False, True))  # (live, old) of a TypeDecision's three kinds of seeds


def admit(
    batch: Batch,
    source: str,
    route: Route | None,
    policy: Policy,
    now: datetime,
    *,
    fence: Fence | None = None,
    fetched: Fetched | None = None,
    job: JobStep | None = None,
) -> JournalEntry:
    """The journal entry of a batch. `route` is stamped on its signals (None: each keeps its own), and so is `source`.

    A signal whose type does not exist (a connector's mistake) is quarantined alone; its neighbours pass. What the source
    itself dropped is counted in `off` under the type "".
    """
    arrivals: list[NewSignal] = []
    off = {("", reason[:_LONGEST_REASON]): count for reason, count in batch.dropped.items()}
    odd = [quarantined_request(misfit.request, source, misfit.reason, now) for misfit in batch.misfits]
    for signal in batch.signals:
        try:
            ruling = policy.ruling(signal.type)
        except ValueError as error:
            odd.append(quarantined_signal(signal, source, str(error), now))
            continue
        if not ruling.on:
            _count(off, signal.type, OFF_SWITCH)
        elif policy.exclusions.covers(signal.person):
            _count(off, signal.type, OFF_EXCLUDED)
        else:
            stamped = _stamp(signal, source, route)
            arrivals.append(NewSignal(stamped, _start(ruling, stamped, policy.live_within, now)))
    return JournalEntry(
        source,
        arrivals=arrivals,
        hints=batch.hints,
        received_at=now,
        state=batch.state,
        remember=batch.remember,
        quarantined=odd,
        off=off,
        fence=fence,
        fetched=fetched,
        job=job,
        poll_now=batch.poll_now,
    )


def empty(entry: JournalEntry) -> bool:
    """Whether committing the entry would change nothing."""
    return not (
        entry.arrivals
        or entry.hints
        or entry.off
        or entry.quarantined
        or entry.remember
        or entry.state is not None
        or entry.fetched
        or entry.job
        or entry.poll_now
    )


def _count(off: dict[tuple[str, str], int], signal_type: str, reason: str) -> None:
    off[signal_type, reason] = off.get((signal_type, reason), 0) + 1


def _stamp(signal: Signal, source: str, route: Route | None) -> Signal:
    if signal.source == source and (route is None or signal.route == route):
        return signal
    return msgspec.structs.replace(signal, source=source, route=route or signal.route)


def _start(ruling: TypeDecision, signal: Signal, live_within: timedelta, now: datetime) -> Seeds:
    if signal.route is Route.BACKFILL or signal.route is Route.IMPORT:
        return ruling.past
    # A time ahead of our clock counts by its distance, like one behind: a skewed clock neither makes nor mutes a call.
    return ruling.live if abs(now - signal.occurred_at) <= live_within else ruling.quiet
