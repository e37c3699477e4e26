"""Buckets and allowances of vendor accounts in the database: all machines take from the same ones.

`Store.rates` and `Store.allowances` are the books behind `syncd.http.limits`. A take is one UPDATE whose condition is that the
bucket has enough: no lease, and no two machines take the same unit.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, case, literal, select, update

from syncd.http.limits import LastAllowance, Rate, refill, wait_for
from syncd.store.engine import millis, moment
from syncd.store.schema import allowances, rates
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from syncd.store.database import Database


class StoredRates:
    """The `RateBook` on the database. Raises StoreUnavailable."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def take(self, account: str, units: float, rate: Rate, now: datetime) -> float:
        units = min(units, rate.size)

        def work(connection: Connection) -> float:
            full = upsert(self._store, rates, {"account": account, "level": rate.size, "at": millis(now)}, {})
            connection.execute(full)
            level = _refilled(millis(now), rate)
            later = case((rates.c.at > millis(now), rates.c.at), else_=millis(now))
            taken = update(rates).where(rates.c.account == account, level >= units)
            if connection.execute(taken.values(level=level - units, at=later)).rowcount:
                return 0.0
            held = connection.execute(select(rates.c.level, rates.c.at).where(rates.c.account == account)).one()
            return wait_for(units, refill(held.level, moment(held.at), now, rate), rate)

        return self._store.apply(work)


def _refilled(now: int, rate: Rate) -> ColumnElement[Any]:
    """What is in the bucket at `now` (ms): `syncd.http.limits.refill` in SQL."""
    passed = case((rates.c.at < now, now - rates.c.at), else_=0)
    level = rates.c.level + passed * literal(rate.per_second / 1000)
    return case((level > rate.size, literal(rate.size)), else_=level)


class StoredAllowances:
    """The `AllowanceBook` on the database. Raises StoreUnavailable."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def note(self, source: str, last: LastAllowance) -> None:
        row = {"unit": last.unit, "units_left": last.left, "keep": last.keep, "at": millis(last.at)}
        self._store.apply(
            lambda connection: connection.execute(upsert(self._store, allowances, {"source": source, **row}, row))
        )

    def read(self, source: str) -> LastAllowance | None:
        return self.all().get(source)

    def all(self) -> dict[str, LastAllowance]:
        with self._store.read() as connection:
            found = connection.execute(select(allowances)).all()
        return {row.source: LastAllowance(row.units_left, row.keep, row.unit, moment(row.at)) for row in found}
