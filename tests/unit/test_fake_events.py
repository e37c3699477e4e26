"""The table of a stand-in's events makes what the kit asks for, wherever the vendor keeps an id, a time and a person."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from syncd.testing import FakeVendor, TwinVendor
from syncd.twins.fake_events import FakeEvents, iso, unix, unix_ms
from syncd.twins.fake_vendor import FakeRoute, listed

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


class Nested(FakeVendor):
    name = "nested"
    events = FakeEvents(
        object="talks",
        id="conversation.id",
        at="conversation.created",
        key=lambda number: 100 + number,
        fields={"subject": "Talk {n}", "tags": ["t{n}"]},
        people={"handle": {"author": {"id": "p{n}"}}, "email": "author.email"},
    )
    routes = (FakeRoute("GET /talks", listed("talks", sort="conversation.created", newest_first=True)),)


def test_an_event_is_made_where_its_vendor_keeps_things() -> None:
    made = Nested.events
    assert made is not None
    assert made.made(3, AT) == {
        "conversation": {"id": 103, "created": "2026-11-22T08:00:00Z"},
        "subject": "Talk 3",
        "tags": ["t3"],
        "author": {"id": "p3"},
    }
    assert made.made(3, AT, "email")["author"] == {"email": "an3@example.org"}
    with pytest.raises(KeyError):
        made.made(3, AT, "phone")


@pytest.mark.parametrize(
    ("write", "written"), [(iso, "2026-11-22T08:00:00Z"), (unix, 1795334400), (unix_ms, 1795334400000)]
)
def test_times(write: object, written: object) -> None:
    assert callable(write)
    assert write(AT) == written


def test_what_the_kit_does_to_a_stand_in_comes_from_its_table() -> None:
    twin = Nested()
    vendor = TwinVendor(twin)
    vendor.happen(1)
    assert vendor.happen_by(2, "email")
    assert not vendor.happen_by(3, "phone")
    assert vendor.spoil(4)
    shown = [twin.shown("talks", row)["conversation"]["created"] for row in twin.records("talks")]
    assert shown[-1] == "some day"
    assert vendor.event(1)["subject"] == vendor.event(1)["subject"] == "Talk 1"
    assert vendor.event(9)["conversation"]["id"] == 109
    assert vendor.forget_page_tokens()
    assert twin.expired_pages == 1
    assert not vendor.expire_token()
    twin.tokens_made = 1
    assert vendor.expire_token()
    assert not twin.valid_tokens
    twin.reset()
    assert not twin.spoilt


def test_a_vendor_without_a_table_is_asked_for_nothing() -> None:
    class Plain(FakeVendor):
        name = "plain"

    vendor = TwinVendor(Plain())
    vendor.happen(1)
    assert not vendor.spoil(1)
    assert not vendor.happen_by(1, "email")
    with pytest.raises(AssertionError, match="no table"):
        vendor.event(1)
