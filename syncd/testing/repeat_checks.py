"""The kit's check of sources whose signals count events (`Signal.repeat`): each event once, in whatever order they come."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from syncd.testing.ledger import SourceLedger
from syncd.testing.vendor import Vendor

TIMES = 3
"""So many events of one thing are sent."""


def repeats_are_counted(ledger: SourceLedger, vendor: Vendor) -> None:
    """Sends the events of one thing in every order, one of them twice."""
    requests = [vendor.again(0, time) for time in range(TIMES)]
    sent = [request for request in requests if request is not None]
    if len(sent) < TIMES:
        counts = [signal for signal in ledger.connect().parse(vendor.request(0)).signals if signal.repeat]
        assert not counts, (
            "the source counts events (Signal.repeat), so the stand-in must send them: override Vendor.again"
        )
        return
    found: dict[tuple[int, ...], Any] = {}
    for order in permutations(range(TIMES)):
        kept = SourceLedger(connect=ledger.connect, now=ledger.now)
        for time in order:
            kept.receive(sent[time])
        assert len(kept.signals) == vendor.signals_per_event, (
            f"{TIMES} events of one thing must be one signal: the id is made of what happens again, not of the event"
        )
        count, last_at = _counted(kept)
        assert count == TIMES, f"{TIMES} events are counted as {count}: each needs its own Signal.repeat"
        for time in order:
            kept.receive(sent[time])
        again, _ = _counted(kept)
        assert again == TIMES, f"sent twice, {TIMES} events are counted as {again}: Signal.repeat must not change"
        found[order] = last_at
    assert len(set(found.values())) == 1, f"the latest event depends on the order in which they come: {found}"


def _counted(ledger: SourceLedger) -> tuple[Any, Any]:
    """What the signals say of their events; they all say the same."""
    said = {(one.data.get("count"), one.data.get("last_at")) for one in ledger.signals.values()}
    assert len(said) == 1, f"signals of the same events count them differently: {sorted(map(str, said))}"
    return said.pop()
