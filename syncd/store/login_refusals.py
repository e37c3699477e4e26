"""Refused credentials, kept over restarts and shared by all who share the database: the book behind `syncd.http.lockout`.

`Store.refusals` is made of it. Promise: kept is a mark made with the store's key, no secret and no hash that could be tried out
without the key; where there is no key or no database, this process remembers for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete, select

from syncd.errors import SyncdError
from syncd.http.lockout import MemoryRefusals
from syncd.store.engine import millis, moment
from syncd.store.journal.encoding import plain
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.schema import refusals
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.store.database import Database

log = structlog.get_logger(__name__)


class StoredRefusals:
    """A `Book` on the database. Nothing raises."""

    def __init__(self, store: Database, mark: Callable[..., str]) -> None:
        """`mark(*credentials)`: a keyed mark of credentials; raises SyncdError without a key."""
        self._store = store
        self._mark = mark
        self._own = MemoryRefusals()
        self._unmarked: set[str] = set()  # marks of this process: there is no key to make others with

    def mark(self, *credentials: str) -> str:
        try:
            return self._mark(*credentials)
        except SyncdError:  # whoever needs the key says what is wrong with it
            mark = self._own.mark(*credentials)
            self._unmarked.add(mark)
            return mark

    def read(self, mark: str, since: datetime) -> Mapping[datetime, str]:
        own = dict(self._own.read(mark, since))
        query = select(refusals.c.at, refusals.c.said).where(refusals.c.mark == mark, refusals.c.at > millis(since))
        try:
            with self._store.read() as connection:
                return own | {moment(row.at): row.said for row in connection.execute(query)}
        except StoreUnavailable:  # then nothing is polled either
            return own

    def add(self, mark: str, at: datetime, said: str) -> None:
        if mark in self._unmarked:
            log.warning("a refused sign-in is remembered by this process only", why="secret_key is not set, or wrong")
            self._own.add(mark, at, said)
            return
        row = {"mark": mark, "at": millis(at), "said": plain(said)}
        statement = upsert(self._store, refusals, row, {})
        try:
            self._store.apply(lambda connection: connection.execute(statement))
        except StoreUnavailable as error:
            log.warning("a refused sign-in is remembered by this process only", why=str(error))
            self._own.add(mark, at, said)

    def forget(self, mark: str) -> None:
        self._own.forget(mark)
        gone = delete(refusals).where(refusals.c.mark == mark)
        try:
            self._store.apply(lambda connection: connection.execute(gone))
        except StoreUnavailable as error:
            log.warning("a sign-in that works again is still held against its password", why=str(error))
