"""What one destination has spent of its quota, by the hour."""

from __future__ import annotations

from syncd.config.models import Quota
from syncd.connector import Allowance
from syncd.dispatch import pacing
from syncd.store.lanes import spend, spending
from syncd.store.store import Store


class Spending:
    """The hours are read from the store once, and again after each booking: one lane alone books for a destination."""

    def __init__(self, destination: str, store: Store, quota: Quota | None) -> None:
        self._destination = destination
        self._store = store
        self._quota = quota
        self._hours: list[tuple[int, float]] | None = None

    def budget(self, allowance: Allowance | None, now: int) -> pacing.Budget:
        """What may still be spent, by the configured quota and what the vendor last said."""
        return pacing.budget(self._quota, allowance, self.hours(), now)

    def hours(self) -> list[tuple[int, float]]:
        """(start of an hour, units) of what was spent."""
        if self._hours is None:
            with self._store.read() as connection:
                self._hours = spending(connection, self._destination)
        return self._hours

    def book(self, now: int, units: float, calls: int = 0) -> None:
        """Commits what was spent; negative units give back what was booked too much."""
        if not units and not calls:
            return
        self._store.apply(lambda connection: spend(connection, self._destination, pacing.hour_of(now), units, calls))
        self._hours = None
