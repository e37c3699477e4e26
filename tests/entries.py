"""Short ways to make signals and journal entries for tests of the store and of what stands on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from syncd.signals import Signal, derive_id
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal

MOMENT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
CRM = (InitialDelivery("crm", live=True),)


def a_signal(native: str | int = "1", **changes: Any) -> Signal:
    """A missed call; the same `native` gives the same id."""
    values: dict[str, Any] = {
        "id": derive_id("test", "account", "call.missed", str(native)),
        "type": "call.missed",
        "source": "phones",
        "occurred_at": MOMENT,
        "received_at": MOMENT,
        "title": f"call {native}",
    }
    return Signal(**{**values, **changes})


def an_entry(*natives: str | int, seeds: tuple[InitialDelivery, ...] = CRM, **changes: Any) -> JournalEntry:
    """An entry with these calls."""
    return JournalEntry("phones", [NewSignal(a_signal(native), seeds) for native in natives], **changes)
