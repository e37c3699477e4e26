"""Several events in one body: each is made alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.connector import Batch, Hint, Request
from syncd.errors import Malformed, RateLimited
from syncd.items import MOST_MISFITS, each_event, each_item, each_row, kept_row

REQUEST = Request("POST", "https://x.example/webhooks/a", {}, b"[]", datetime(2026, 11, 22, tzinfo=UTC))


def make(item: Any, where: str) -> Batch:
    if item == "off":
        return Batch(dropped={"switched off": 1}, remember={"seen": item})
    if not isinstance(item, int):
        raise Malformed(f"{where} is no number")
    return Batch(hints=[Hint(key=str(10 // item))])


def test_wrong_items_are_misfits_beside_the_good_ones() -> None:
    batch = each_item(REQUEST, [1, "x", 0, "off", 2, "off"], make)
    assert [hint.key for hint in batch.hints] == ["10", "5"]
    assert (batch.dropped, batch.remember) == ({"switched off": 2}, {"seen": "off"})
    assert [json.loads(misfit.request.body) for misfit in batch.misfits] == [["x"], [0]]
    assert batch.misfits[0].reason == "event 1 of 6 is no number"
    assert batch.misfits[1].reason.startswith("event 2 of 6: ZeroDivisionError")


def test_the_only_item_of_a_body_leaves_the_body_whole() -> None:
    with pytest.raises(Malformed, match=r"^the event is no number$"):
        each_item(REQUEST, ["x"], make)
    assert not each_item(REQUEST, [], make).misfits


def test_items_that_cannot_be_told_apart_leave_the_body_whole() -> None:
    with pytest.raises(Malformed, match="event 1 of 2"):
        each_item(REQUEST, [1, "x"], make, alone=lambda request, items: None)


def test_misfits_are_bounded() -> None:
    with pytest.raises(Malformed, match="items are wrong; the first: event 0 of"):
        each_item(REQUEST, ["x"] * (MOST_MISFITS + 1), make)


def test_a_text_says_why_an_item_is_dropped() -> None:
    assert each_item(REQUEST, ["a", "b", "a"], lambda item, where: f"event {item}").dropped == {
        "event a": 2,
        "event b": 1,
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "the body is not JSON: "),
        (b'{"id": 1}', "the body is not a JSON array of events but dict"),
        (b"", "not JSON"),
    ],
)
def test_only_a_json_array_has_events(body: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        each_event(replace(REQUEST, body=body), make)


def test_the_events_of_an_array_are_made_each_alone() -> None:
    batch = each_event(replace(REQUEST, body=b'[1, "x", 2]'), make)
    assert ([hint.key for hint in batch.hints], len(batch.misfits)) == (["10", "5"], 1)


def test_a_wrong_row_of_a_list_is_kept_alone_also_when_it_is_the_only_one() -> None:
    batch = each_row([1, "x"], make, lambda row: kept_row("/v1/rows", row, REQUEST.received_at), state=b"2")
    assert ([hint.key for hint in batch.hints], batch.state) == (["10"], b"2")
    (misfit,) = batch.misfits
    assert (misfit.request.url, json.loads(misfit.request.body), misfit.reason) == (
        "/v1/rows",
        "x",
        "row 1 of 2 is no number",
    )
    (alone,) = each_row(["x"], make, lambda row: kept_row("/v1/rows", row, REQUEST.received_at)).misfits
    assert alone.reason == "the row is no number"


def test_a_failure_of_the_vendor_is_not_the_fault_of_a_row() -> None:
    def limited(row: int, where: str) -> Batch:
        raise RateLimited("wait")

    with pytest.raises(RateLimited):
        each_row([1, 2], limited, lambda row: kept_row("/v1/rows", row, REQUEST.received_at))
