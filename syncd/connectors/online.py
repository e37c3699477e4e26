"""What many connectors do for `check --online`: try a call for the sake of its refusal, and report a clock that is off or ids of
the configuration that do not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar

from syncd.capabilities import Finding, Level
from syncd.errors import Failure

Answer = TypeVar("Answer")
SKEW = timedelta(minutes=2)
"""Signatures with a time, and cursors that follow the vendor's clock, tolerate this much."""


def tried(ask: Callable[[], Answer], *codes: str) -> Answer | Failure:
    """The answer, or the refusal: one with these codes, or any where none is given. Raises other failures."""
    try:
        return ask()
    except Failure as refused:
        if codes and refused.code not in codes:
            raise
        return refused


def clock_findings(ours: datetime, theirs: datetime, vendor: str) -> Iterator[Finding]:
    """A warning if this machine's clock differs from the vendor's by more than SKEW; nothing otherwise."""
    ahead = ours - theirs
    if abs(ahead) > SKEW:
        where = "ahead of" if ahead > SKEW else "behind"
        text = f"this machine's clock is {abs(ahead).total_seconds():.0f} s {where} {vendor}'s"
        yield Finding(Level.WARNING, "clock", text, "set the clock (NTP)")


def existence_findings(
    kind: str, wanted: Iterable[str], found: Callable[[str], str | None], missing: str, remedy: str
) -> Iterator[Finding]:
    """One finding for each `wanted` id of the configuration: fine with what `found` says of it, a fault (`missing`, `remedy`)
    where that is None. Lazy: `found` may call the vendor."""
    for one in wanted:
        told = found(one)
        if told is None:
            yield Finding(Level.FAULT, f"{kind} {one}", missing, remedy)
        else:
            yield Finding(Level.OK, f"{kind} {one}", told)
