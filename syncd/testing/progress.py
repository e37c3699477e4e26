"""Watches a poll or backfill while a suite reads it, and says why it never ends. The kit's ledger asks after each batch.

Bounded by batches, not by time: IDLE of them in a row without anything new, or STEPS in all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

STEPS = 10_000
"""More batches of one reading than this are a loop."""
IDLE = 50


@dataclass
class ProgressGuard:
    """One reading; `what` names it in the failure."""

    what: str
    batches: int = 0
    idle: int = 0
    fruitless: int = 0
    _states: set[bytes] = field(default_factory=set)

    def step(self, state: bytes | None, new: int) -> None:
        """After a batch that carried `state` and brought so many signals and hints that were new. Raises AssertionError that
        names the cause when the reading gets nowhere."""
        again = state is None or state in self._states
        self.batches += 1
        self.idle = 0 if new or not again else self.idle + 1
        self.fruitless = 0 if new else self.fruitless + 1
        if state is not None:
            self._states.add(state)
        if self.idle >= IDLE or self.batches >= STEPS:
            raise AssertionError(
                f"{self.what} does not end (stopped after {self.batches} batches): {self._cause(state)}"
            )

    def _cause(self, state: bytes | None) -> str:
        if self.idle >= IDLE and state is None:
            return (
                f"the last {self.idle} batches bring nothing new and carry no state, so the next owner restarts where this poll "
                "began; give each batch the state behind it"
            )
        if self.idle >= IDLE:
            return (
                f"the last {self.idle} batches bring nothing new, and their state is one that was there before "
                f"({_short(state)}): the cursor does not move on; is the vendor's token of the next page passed on, and is a "
                "page that is empty, or the last, the end?"
            )
        if self.fruitless >= IDLE:
            return (
                f"the state changes (now {_short(state)}) but the last {self.fruitless} batches bring nothing new: the same "
                "events are read again and again; what tells it that the last page was read?"
            )
        return (
            "each batch brings new signals, more than the stand-in has events: is the id made of the vendor's own id, and of no "
            "clock, counter or page number?"
        )


def _short(state: bytes | None) -> str:
    text = repr(state)
    return text if len(text) <= 80 else text[:79] + "…"
