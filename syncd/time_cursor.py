"""How far a source has read a list that is ordered by time: a time of the vendor's clock, and what is known from there on. Pure.

Polling sources keep a `TimeCursor` as their state and read with `oldest_first`, `newest_first` or, page by page with a time
filter, `forward`.
Promise: a cursor never goes back; an item that shows in the list at most `lag` after its time is handed over, however the pages
shift meanwhile; what was handed over is not handed over again while its mark is kept; the size is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

MOST_SEEN = 10_000
"""Marks that a cursor keeps. Beyond it the oldest are forgotten: their items are read again, never lost."""
MOST_SHIFTS = 10
"""So often the pages of one millisecond are read again because they shifted."""
CHUNK = 500
"""Items of a list, newest first, that are handed over together."""

T = TypeVar("T")


class ItemMark(NamedTuple):
    """One item, or one state of an item that changes: its id and its time in Unix milliseconds."""

    id: str
    ms: int


def mark_of(id: object, at: datetime | None) -> ItemMark | None:
    """None for an item without a time, which no cursor can know: it is handed over each time."""
    return ItemMark(str(id), unix_ms(at)) if at is not None else None


def unix_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


class TimeCursor(msgspec.Struct, frozen=True):
    """Items at or after `since` (the vendor's clock) are still to be looked at, but for those `seen`. A subclass adds fields of
    its own, each with a default. A mark that is only an id was kept by an earlier version; its item is looked at once more."""

    since: datetime
    seen: tuple[tuple[str, int] | str, ...] = ()

    def fresh(self, items: Iterable[T], mark: Callable[[T], ItemMark | None]) -> list[T]:
        """The items that are at or after `since` and not seen, in their order; each once."""
        known, least = {one for one in self.seen if isinstance(one, tuple)}, unix_ms(self.since)
        found: list[T] = []
        for item in items:
            own = mark(item)
            if own is None:
                found.append(item)
            elif own.ms >= least and tuple(own) not in known:
                known.add((own.id, own.ms))
                found.append(item)
        return found

    def after(self, marks: Iterable[ItemMark | None], lag: timedelta) -> Self:
        """The cursor after these items were handled: `lag` behind the newest of all, with what is known from there on."""
        known = {one for one in self.seen if isinstance(one, tuple)}
        known |= {(one.id, one.ms) for one in marks if one is not None}
        newest = max((ms for _, ms in known), default=None)
        since = self.since
        if newest is not None:
            since = max(since, datetime.fromtimestamp(newest / 1000, UTC) - lag)
        kept = sorted((one for one in known if one[1] >= unix_ms(since)), key=lambda one: (one[1], one[0]))
        return msgspec.structs.replace(self, since=since, seen=tuple(sorted(kept[-MOST_SEEN:])))

    def moved(self, to: datetime) -> Self:
        """The cursor after everything before `to` was handled."""
        return self if to <= self.since else msgspec.structs.replace(self, since=to, seen=())


C = TypeVar("C", bound=TimeCursor)

encode = msgspec.json.Encoder().encode
read_cursor = msgspec.json.Decoder(TimeCursor).decode


class TimeCursors(msgspec.Struct, frozen=True):
    """A cursor for each of several lists of one account (its surveys, its campaigns), by name. A list that was not read yet is
    read from `since`."""

    since: datetime
    lists: dict[str, TimeCursor] = {}

    def of(self, name: str) -> TimeCursor:
        return self.lists.get(name) or TimeCursor(self.since)

    def moved(self, name: str, cursor: TimeCursor, among: Iterable[str] | None = None) -> TimeCursors:
        """After a step of one list. `among`: the lists that are still there; the cursors of others are dropped."""
        kept = self.lists if among is None else {one: self.lists[one] for one in among if one in self.lists}
        return TimeCursors(self.since, {**kept, name: cursor})


read_cursors = msgspec.json.Decoder(TimeCursors).decode


class Step(NamedTuple):
    """Items that are new, oldest first where the list is ordered, the cursor after them, and whether the list ends here."""

    items: list[Any]
    cursor: Any
    last: bool


def progress(steps: Iterable[Step], cursor: TimeCursor) -> Iterator[Step]:
    """The steps that have items or move the cursor on from `cursor`: a batch of another one would change nothing."""
    for step in steps:
        if step.items or step.cursor != cursor:
            cursor = step.cursor
            yield step


def forward(
    page_at: Callable[[datetime, int], Sequence[T]],
    cursor: C,
    mark: Callable[[T], ItemMark | None],
    *,
    lag: timedelta,
    size: int,
    farthest: int,
) -> Iterator[Step]:
    """Reads a list that is filtered by "at or after a time" and ordered by it, oldest first. `page_at(since, offset)` reads a
    page of at most `size` items; no offset beyond `farthest` is asked for.

    A page begins where the last one ended, by time and not by count: an item that changes meanwhile shifts nothing. Only a page
    whose items are all of one millisecond is continued by count, with an overlap of one item: if that is another item now, these
    pages have shifted and are read again. More items of one millisecond than an offset can reach are passed over."""
    at, offset, last = cursor.since, 0, False
    end: ItemMark | None = None
    shifts = 0
    while not last:
        rows = page_at(at, offset)
        marks = [mark(row) for row in rows]
        if offset and size > 1 and shifts < MOST_SHIFTS and marks[:1] != [end]:
            offset, shifts = 0, shifts + 1
            continue
        last = len(rows) < size
        fresh = cursor.fresh(rows, mark)
        cursor = cursor.after(marks, lag)
        yield Step(fresh, cursor, last)
        newest = max((datetime.fromtimestamp(one.ms / 1000, UTC) for one in marks if one is not None), default=at)
        end = marks[-1] if marks else None
        if newest > at:
            at, offset, shifts = newest, 0, 0
        elif (offset := offset + max(1, size - 1)) > farthest:
            at, offset, shifts = at + timedelta(milliseconds=1), 0, 0


def oldest_first(
    pages: Iterable[Sequence[T]], cursor: C, mark: Callable[[T], ItemMark | None], *, lag: timedelta
) -> Iterator[Step]:
    """Reads a list that begins at the cursor, oldest first, however its pages continue. The end is not known here: `last` is
    False."""
    for page in pages:
        fresh = cursor.fresh(page, mark)
        cursor = cursor.after(map(mark, page), lag)
        yield Step(fresh, cursor, False)


def newest_first(
    pages: Iterable[Sequence[T]],
    cursor: C,
    mark: Callable[[T], ItemMark | None],
    *,
    lag: timedelta,
) -> Iterator[Step]:
    """Reads a list without a time filter, newest first, down to the cursor, and hands it over oldest first: a stop between two
    steps loses nothing. What happens during the reading is in the list of the next time."""
    least = unix_ms(cursor.since)
    found: list[T] = []
    for page in pages:
        found += page
        marks = [one for one in map(mark, page) if one is not None]
        if marks and min(one.ms for one in marks) < least:
            break
    fresh = cursor.fresh(found, mark)
    fresh.sort(key=lambda item: own.ms if (own := mark(item)) is not None else least)
    for start in range(0, max(len(fresh), 1), CHUNK):
        chunk = fresh[start : start + CHUNK]
        last = start + CHUNK >= len(fresh)
        cursor = cursor.after(map(mark, chunk), lag)
        yield Step(chunk, cursor, last)
