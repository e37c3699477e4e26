"""A cursor over a list ordered by time: it never goes back, nothing is lost within its lag or comes twice, it is small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from syncd import time_cursor
from syncd.time_cursor import (
    ItemMark,
    Step,
    TimeCursor,
    encode,
    forward,
    mark_of,
    newest_first,
    oldest_first,
    progress,
    read_cursor,
)

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
LAG = timedelta(minutes=5)


@dataclass(frozen=True)
class Item:
    """`at`: minutes after NOW; `late`: minutes after that until it shows in the list."""

    id: str
    at: int
    late: int = 0

    @property
    def moment(self) -> datetime:
        return NOW + timedelta(minutes=self.at)


def mark(item: Item) -> ItemMark | None:
    return mark_of(item.id, item.moment)


ITEMS = st.lists(
    st.builds(Item, id=st.uuids().map(str), at=st.integers(0, 60), late=st.integers(0, 5)), max_size=25
).map(lambda items: list({item.id: item for item in items}.values()))
POLLS = st.lists(st.integers(0, 70), min_size=1, max_size=6).map(sorted)


def shown(items: Sequence[Item], minute: int) -> list[Item]:
    return sorted((one for one in items if one.at + one.late <= minute), key=lambda one: (one.at, one.id))


def cut(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    yield from (items[start : start + size] for start in range(0, max(len(items), 1), size))


@given(items=ITEMS, polls=POLLS, size=st.integers(1, 7), way=st.sampled_from(["forward", "oldest", "newest"]))
def test_everything_comes_once_whatever_is_late(items: list[Item], polls: list[int], size: int, way: str) -> None:
    cursor, got = TimeCursor(NOW), []
    for minute in [*polls, 100, 101]:
        there = shown(items, minute)

        def page_at(since: datetime, offset: int, there: Sequence[Item] = there) -> Sequence[Item]:
            return [one for one in there if one.moment >= since][offset : offset + size]

        if way == "forward":
            steps = forward(page_at, cursor, mark, lag=LAG, size=size, farthest=1000)
        elif way == "oldest":
            steps = oldest_first(cut([one for one in there if one.moment >= cursor.since], size), cursor, mark, lag=LAG)
        else:
            steps = newest_first(cut(there[::-1], size), cursor, mark, lag=LAG)
        for step in steps:
            assert step.cursor.since >= cursor.since
            got += step.items
            cursor = read_cursor(encode(step.cursor))
    assert sorted(one.id for one in got) == sorted(one.id for one in items)


@given(items=ITEMS, size=st.integers(1, 4), stop=st.integers(0, 5))
def test_a_stop_between_two_steps_loses_nothing(items: list[Item], size: int, stop: int) -> None:
    """Newest first, in chunks of one, so that there are steps to stop between."""
    there, cursor, got = shown(items, 100), TimeCursor(NOW), []
    chunk, time_cursor.CHUNK = time_cursor.CHUNK, 1
    try:
        for limit in (stop, 1000):
            for count, step in enumerate(newest_first(cut(there[::-1], size), cursor, mark, lag=LAG)):
                if count == limit:
                    break
                got += step.items
                cursor = step.cursor
    finally:
        time_cursor.CHUNK = chunk
    assert sorted(one.id for one in got) == sorted(one.id for one in items)


@given(items=ITEMS, moved=st.lists(st.integers(0, 24), max_size=5), size=st.integers(2, 4))
def test_items_that_change_during_a_sweep_shift_nothing(items: list[Item], moved: list[int], size: int) -> None:
    """Read forward by time: an item that was changed moves to the end, and its new state comes too."""
    table, got = {one.id: one for one in shown(items, 100)}, set()
    names = sorted(table)
    waiting = [names[index] for index in moved if index < len(names)]

    def page_at(since: datetime, offset: int) -> Sequence[Item]:
        rows = sorted((one for one in table.values() if one.moment >= since), key=lambda one: (one.at, one.id))
        page = rows[offset : offset + size]
        if waiting:
            table[waiting[-1]] = Item(waiting[-1], 70 + len(waiting))
            waiting.pop()
        return page

    for step in forward(page_at, TimeCursor(NOW), mark, lag=LAG, size=size, farthest=1000):
        got |= {one.id for one in step.items}
    assert got == set(table)


@given(st.lists(st.tuples(st.uuids().map(str), st.integers(0, 30)), max_size=40))
def test_the_size_is_bounded_and_the_newest_are_known(items: list[tuple[str, int]]) -> None:
    marks = [ItemMark(id_, time_cursor.unix_ms(NOW) + ms) for id_, ms in items]
    most, time_cursor.MOST_SEEN = time_cursor.MOST_SEEN, 5
    try:
        cursor = TimeCursor(NOW).after(marks, LAG)
    finally:
        time_cursor.MOST_SEEN = most
    assert len(cursor.seen) == min(5, len({tuple(one) for one in marks}))
    newest = sorted({one.ms for one in marks})[-1:]
    assert not marks or any(tuple(one) in cursor.seen for one in marks if [one.ms] == newest)


def test_an_item_without_a_time_comes_each_time() -> None:
    cursor = TimeCursor(NOW)
    for _ in range(2):
        assert cursor.fresh(["a"], lambda item: None) == ["a"]
        cursor = cursor.after([None], LAG)
    assert cursor == TimeCursor(NOW)


def test_a_cursor_of_ids_alone_that_an_earlier_version_kept_is_read() -> None:
    held = msgspec.json.encode({"since": NOW, "seen": ["CA1", "CA2"]})
    cursor = read_cursor(held)
    assert cursor.since == NOW
    assert cursor.fresh([Item("CA1", 1)], mark) == [Item("CA1", 1)], "it is looked at once more"
    assert cursor.after([mark(Item("CA1", 1))], LAG).seen == ((("CA1", time_cursor.unix_ms(NOW) + 60_000)),)


def test_a_cursor_moves_on_by_windows_and_never_back() -> None:
    later = TimeCursor(NOW, (("a", 1),)).moved(NOW + LAG)
    assert later == TimeCursor(NOW + LAG)
    assert later.moved(NOW) is later


def test_progress_leaves_out_steps_that_change_nothing() -> None:
    one, two = TimeCursor(datetime(2026, 11, 22, tzinfo=UTC)), TimeCursor(datetime(2026, 11, 23, tzinfo=UTC))
    steps = [Step([], one, False), Step(["a"], one, False), Step([], two, False), Step([], two, True)]
    assert list(progress(steps, one)) == [steps[1], steps[2]]
