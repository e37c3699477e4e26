"""One signal's way through, by its id: a debug line at each step, and a span if tracing is on.

The intake says what it stored, lanes what they tried and how it ended. Promise: without debug lines and traces it costs two
looks at a name; no text of a customer and no vendor's message is in a line (`syncd explain ID` shows those).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from syncd.observability import logs, traces  # isort: skip  # logs first: see syncd.runtime.lazy_imports

import structlog

log = structlog.get_logger(__name__)

NEEDS_OPERATOR = ("dead", "unconfirmed")


class WriteAttempt(Protocol):
    """An attempt, as lanes write it down."""

    @property
    def signal_id(self) -> str: ...

    @property
    def rule(self) -> str: ...

    @property
    def outcome(self) -> str: ...

    @property
    def code(self) -> str: ...


class FinishedDelivery(Protocol):
    """A delivery that is done."""

    @property
    def signal_id(self) -> str: ...

    @property
    def state(self) -> str: ...


def stored(source: str, ids: Iterable[UUID]) -> None:
    """These signals are durable now."""
    for id in ids if logs.detailed or traces.active is not None else ():
        if logs.detailed:
            log.debug("signal stored", signal=str(id), source=source)
        if traces.active is not None:
            traces.active.signal(id, source)


def attempted(destination: str, tries: Iterable[WriteAttempt]) -> None:
    """What became of each record that a call carried."""
    for one in tries if logs.detailed or traces.active is not None else ():
        said = {"destination": destination, "rule": one.rule, "outcome": one.outcome, "code": one.code}
        if logs.detailed:
            log.debug("attempt", signal=one.signal_id, delivery=f"{one.signal_id}/{destination}", **said)
        if traces.active is not None:
            traces.active.attempt(one.signal_id, said)


def ended(destination: str, endings: Sequence[FinishedDelivery]) -> None:
    """These deliveries are done. What needs a person is said at once, in one line a commit however many they are."""
    if logs.detailed:
        for one in endings:
            log.debug(
                "delivery ended",
                signal=one.signal_id,
                delivery=f"{one.signal_id}/{destination}",
                destination=destination,
                state=one.state,
            )
    bad = Counter(one.state for one in endings if one.state in NEEDS_OPERATOR)
    for state, count in sorted(bad.items()):
        first = next(one.signal_id for one in endings if one.state == state)
        log.warning(f"deliveries {state}", destination=destination, count=count, signal=first)
