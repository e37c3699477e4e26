"""Several events of one body, or rows of one list: each is made alone, so that a wrong one harms no other.

Webhook sources call `each_item` or `each_event` in `parse`, polling sources `each_row`. Promise: whatever one item is, the others
pass; the wrong one goes into quarantine as a body of its own, from which it can be retried.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from syncd.connector import Batch, Hint, Request, UnparsedItem
from syncd.errors import Failure, Malformed
from syncd.http.json_text import parse
from syncd.signals import Signal

log = logging.getLogger(__name__)

MOST_MISFITS = 10_000

T = TypeVar("T")


def as_json_list(request: Request, items: Sequence[object]) -> list[Request]:
    """The request once for each item, as a JSON list of that item alone."""
    return [replace(request, body=json.dumps([item]).encode()) for item in items]


def each_item(
    request: Request,
    items: Sequence[T],
    make: Callable[[T, str], Batch | str],
    *,
    alone: Callable[[Request, Sequence[T]], Sequence[Request] | None] = as_json_list,
    name: str = "event",
) -> Batch:
    """What `make(item, where)` gives for each of the items, in one batch; `where` names the item for a reason ("event 3 of 7").
    A text that it returns says why the item is dropped, and is counted.

    An item for which `make` raises becomes a misfit, with the request that `alone` makes of it. The only item of a body, and
    items that `alone` cannot tell apart (None), raise Malformed: then the body is kept whole.
    """
    batch, wrong = _each(items, make, name)
    return replace(batch, misfits=[*batch.misfits, *_misfits(request, items, wrong, alone)]) if wrong else batch


def each_row(
    rows: Sequence[T],
    make: Callable[[T, str], Batch | str],
    keep: Callable[[T], Request],
    *,
    state: bytes | None = None,
    name: str = "row",
) -> Batch:
    """`each_item` for the rows of a list that was polled, in one batch with `state`. A row for which `make` raises becomes a
    misfit with the request `keep(row)` (see `kept_row`), also the only one: `Reparsing.reparse` of the source reads it. A Failure
    of a call that `make` needs is raised."""
    batch, wrong = _each(rows, make, name)
    misfits = [*batch.misfits, *(UnparsedItem(keep(row), reason) for row, reason in wrong)]
    return replace(batch, misfits=misfits, state=state)


def kept_row(path: str, row: object, now: datetime) -> Request:
    """A row of the list at `path` as quarantine keeps it: a request whose body is the row as JSON."""
    return Request("GET", path, {"content-type": "application/json"}, json.dumps(row).encode(), now)


def _each(items: Sequence[T], make: Callable[[T, str], Batch | str], name: str) -> tuple[Batch, list[tuple[T, str]]]:
    """What is made of the items, and the wrong ones with the reason."""
    signals: list[Signal] = []
    hints: list[Hint] = []
    misfits: list[UnparsedItem] = []
    remember: dict[str, str | None] = {}
    dropped: dict[str, int] = {}
    poll_now = False
    wrong: list[tuple[T, str]] = []
    for index, item in enumerate(items):
        where = f"{name} {index} of {len(items)}" if len(items) > 1 else f"the {name}"
        try:
            made = make(item, where)
        except Malformed as error:
            wrong.append((item, str(error)))
        except Failure:  # of a call to the vendor that `make` needs: it says nothing about the item
            raise
        except Exception as error:
            log.error("parser failed for one %s of several: a bug in the connector", name, exc_info=True)
            wrong.append((item, f"{where}: {type(error).__name__}: {error}"))
        else:
            made = Batch(dropped={made: 1}) if isinstance(made, str) else made
            if len(items) == 1 and made.state is None and made.signals:
                return made, []
            signals += made.signals
            hints += made.hints
            misfits += made.misfits
            remember |= made.remember
            poll_now = poll_now or made.poll_now
            for reason, count in made.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
    return Batch(signals, hints, None, remember, dropped, misfits, poll_now=poll_now), wrong


def json_body(request: Request) -> Any:
    """The parsed JSON body of a webhook, as real senders write it (`syncd.http.json_text`). Raises Malformed."""
    try:
        return parse(request.body).value
    except ValueError as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def each_event(request: Request, make: Callable[[Any, str], Batch | str]) -> Batch:
    """`each_item` for a body that is a JSON array of events. Raises Malformed for any other body."""
    events = json_body(request)
    if not isinstance(events, list):
        raise Malformed(f"the body is not a JSON array of events but {type(events).__name__}")
    return each_item(request, events, make)


def _misfits(
    request: Request,
    items: Sequence[T],
    wrong: Sequence[tuple[T, str]],
    alone: Callable[[Request, Sequence[T]], Sequence[Request] | None],
) -> list[UnparsedItem]:
    if len(items) == 1:
        raise Malformed(wrong[0][1])
    if len(wrong) > MOST_MISFITS:
        raise Malformed(f"{len(wrong)} of {len(items)} items are wrong; the first: {wrong[0][1]}")
    requests = alone(request, [item for item, _ in wrong])
    if requests is None:
        raise Malformed(wrong[0][1])
    return [UnparsedItem(one, reason) for one, (_, reason) in zip(requests, wrong, strict=True)]
