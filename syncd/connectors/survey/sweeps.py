"""Polls and backfills of several surveys of one account: a cursor for each, and a step for each page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from syncd.connector import Batch
from syncd.time_cursor import ItemMark, TimeCursors, encode, forward, progress

Row = Mapping[str, Any]


def start_at(now: datetime) -> bytes:
    """The cursors of now, in whole seconds, as the vendors write times."""
    return encode(TimeCursors(now.replace(microsecond=0)))


def in_turn(surveys: Sequence[str], now: datetime) -> list[str]:
    """The surveys, from another one on each minute: a limit met on the way must not always cut off the same ones."""
    turn = int(now.timestamp() // 60) % len(surveys)
    return [*surveys[turn:], *surveys[:turn]]


def sweep(
    cursors: TimeCursors,
    surveys: Sequence[str],
    page_at: Callable[[str, datetime, int], Sequence[Row]],
    mark: Callable[[Row], ItemMark | None],
    *,
    lag: timedelta,
    size: int,
    farthest: int = 0,
) -> Iterator[tuple[str, Sequence[Row], bytes]]:
    """(survey, its new responses, the state after them) for each page that brings something; see `time_cursor.forward`."""
    for survey in surveys:
        cursor = cursors.of(survey)

        def page(since: datetime, offset: int, survey: str = survey) -> Sequence[Row]:
            return page_at(survey, since, offset)

        steps = forward(page, cursor, mark, lag=lag, size=size, farthest=farthest)
        for rows, after, _ in progress(steps, cursor):
            cursors = cursors.moved(survey, after)
            yield survey, rows, encode(cursors)


def up_to(until: datetime | None, made: Batch | str) -> Batch | str:
    """What was made of a response, without the signal of one that happened at `until` or later."""
    late = until is not None and isinstance(made, Batch) and any(one.occurred_at >= until for one in made.signals)
    return Batch() if late else made
