"""The records of a twin: tables with indexes, changes that can be undone or kept back, and a journal that survives a kill.

A call's changes are collected; `commit` fsyncs them to the journal before the call is answered. `detach` takes them back out,
for a call that is "still at work": `reattach` applies them later, as a slow vendor would.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

Record = dict[str, Any]


@dataclass(slots=True, frozen=True)
class Change:
    """A record before and after: `old` is None for an insert. Records are never changed in place."""

    object: str
    id: str
    old: Record | None
    new: Record | None


class IndexedTable:
    """Records of one object by id, with indexes over some fields (strings compare without case)."""

    def __init__(self, indexed: Iterable[str]) -> None:
        self.records: dict[str, Record] = {}
        self.indexes: dict[str, dict[str, dict[str, None]]] = {name: {} for name in indexed}

    def put(self, id_: str, new: Record | None) -> None:
        old = self.records.get(id_)
        for name, index in self.indexes.items():
            was = None if old is None else old.get(name)
            now = None if new is None else new.get(name)
            if was == now:
                continue
            if was is not None:
                ids = index.get(fold(was))
                if ids is not None:
                    ids.pop(id_, None)
                    if not ids:
                        del index[fold(was)]
            if now is not None:
                index.setdefault(fold(now), {})[id_] = None
        if new is None:
            self.records.pop(id_, None)
        else:
            self.records[id_] = new


def fold(value: Any) -> str:
    """The form in which vendors compare text: without case."""
    return str(value).casefold()


class TwinTables:
    """All tables of one twin. Not thread-safe by itself: the twin's lock guards it."""

    def __init__(self, indexes: Mapping[str, Iterable[str]], journal: Path | None = None) -> None:
        self._indexes = {name: tuple(fields) for name, fields in indexes.items()}
        self.tables: dict[str, IndexedTable] = {}
        self.pending: list[Change] = []
        self._journal = journal
        self._file: int | None = None
        self.clear(keep_journal=True)
        if journal is not None:
            self._load(journal)

    def clear(self, keep_journal: bool = False) -> None:
        """Forgets everything; the journal too, unless it is to be kept."""
        self.tables = {name: IndexedTable(fields) for name, fields in self._indexes.items()}
        self.pending = []
        if not keep_journal and self._journal is not None and self._file is not None:
            os.ftruncate(self._file, 0)

    def _load(self, path: Path) -> None:
        """Reads the journal back. A torn last line (killed while writing) was never answered for: it is cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.ftruncate(self._file, whole)
        for line in data[:whole].splitlines():
            entry = orjson.loads(line)
            self.table(entry["object"]).put(entry["id"], entry["record"])

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def table(self, object_: str) -> IndexedTable:
        table = self.tables.get(object_)
        if table is None:
            table = self.tables[object_] = IndexedTable(())
        return table

    def get(self, object_: str, id_: str) -> Record | None:
        table = self.tables.get(object_)
        return None if table is None else table.records.get(id_)

    def find(self, object_: str, name: str, value: Any) -> list[Record]:
        """The records whose field equals the value without case; by index where there is one."""
        table = self.table(object_)
        index = table.indexes.get(name)
        if index is not None:
            return [table.records[i] for i in index.get(fold(value), ())]
        wanted = fold(value)
        return [r for r in table.records.values() if r.get(name) is not None and fold(r[name]) == wanted]

    def put(self, object_: str, id_: str, record: Record | None) -> None:
        table = self.table(object_)
        self.pending.append(Change(object_, id_, table.records.get(id_), record))
        table.put(id_, record)

    def savepoint(self) -> int:
        return len(self.pending)

    def rollback(self, savepoint: int = 0) -> None:
        while len(self.pending) > savepoint:
            change = self.pending.pop()
            self.table(change.object).put(change.id, change.old)

    def commit(self) -> None:
        """Makes the pending changes durable (one write, one fsync) and final."""
        changes, self.pending = self.pending, []
        if self._file is None or not changes:
            return
        lines = b"".join(
            orjson.dumps({"object": c.object, "id": c.id, "record": c.new}, option=orjson.OPT_APPEND_NEWLINE)
            for c in changes
        )
        os.write(self._file, lines)
        os.fdatasync(self._file)

    def detach(self) -> list[Change]:
        """Undoes the pending changes and hands them out: nobody sees them until `reattach`."""
        changes = list(self.pending)
        self.rollback()
        return changes

    def reattach(self, changes: Iterable[Change], clashes: Callable[[str, Record], bool]) -> int:
        """Commits detached changes now; an insert that `clashes` with a unique value meanwhile is refused. "
        "Returns how many went in."""
        done = 0
        for change in changes:
            current = self.get(change.object, change.id)
            if change.new is None:
                if current is not None:
                    self.put(change.object, change.id, None)
            elif change.old is None:
                if clashes(change.object, change.new):
                    continue
                self.put(change.object, change.id, change.new)
            elif current is not None:
                old = change.old
                changed = {k: v for k, v in change.new.items() if k not in old or old[k] != v}
                self.put(change.object, change.id, {**current, **changed})
            done += 1
        self.commit()
        return done
