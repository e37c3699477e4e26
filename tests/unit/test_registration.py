"""Registering an address at a vendor: in a list of webhooks, and at places that hold one address each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.capabilities import Level, Subscription
from syncd.connectors.online import SKEW, clock_findings, existence_findings
from syncd.connectors.registration import WebhookList, claim, same_address
from syncd.errors import SyncdError
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, error_at
from syncd.http.vendor_api import VendorApi
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, changed, created, listed, removed
from syncd.twins.wire import TwinResponse

URL = "https://syncd.example.com/webhooks/feedback"
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
EVENTS = ["answered", "deleted"]


class HookVendor(FakeVendor):
    name = "acme"
    routes = (
        FakeRoute("GET /v1/hooks", listed("hooks")),
        FakeRoute("POST /v1/hooks", created("hooks", needs=["url"])),
        FakeRoute("PATCH /v1/hooks/{id}", changed("hooks")),
        FakeRoute("DELETE /v1/hooks/{id}", removed("hooks")),
    )

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        return TwinResponse(status, {"error": {"code": code, "message": message}})


def read(row: Mapping[str, Any]) -> Subscription:
    return Subscription(
        id=str(row["id"]), url=row["url"], ours=same_address(row["url"], URL), events=tuple(row["events"])
    )


def hooks(twin: HookVendor) -> WebhookList:
    client = HttpClient(twin.url, headers={"Authorization": f"Bearer {twin.token}"})
    errors = ErrorTable("Acme", {}, error_at("code", within="error"), absent=frozenset({"404"}))
    return WebhookList(
        VendorApi(client, errors, lambda: NOW),
        "/v1/hooks",
        read,
        new=lambda: {"url": URL, "events": EVENTS},
        change=lambda: {"events": EVENTS},
        covers=lambda row: set(EVENTS) <= set(row["events"]),
    )


def test_one_webhook_is_made_once() -> None:
    with HookVendor() as twin:
        made = hooks(twin)
        (first,) = made.subscribe().there
        assert made.subscribe().there == [first]
        assert made.subscriptions() == [first]
        assert (first.ours, first.events) == (True, tuple(EVENTS))
        assert made.renew(first.id) == first
        made.unsubscribe(first.id)
        made.unsubscribe(first.id)  # gone already is as good
        assert made.renew(first.id) is None
        assert made.subscriptions() == []


def test_a_webhook_that_lacks_an_event_is_changed_and_those_of_others_are_left() -> None:
    with HookVendor() as twin:
        twin.add("hooks", id="theirs", url="https://other.example.com", events=[])
        twin.add("hooks", id="ours", url=URL + "/", events=["answered"])
        (found,) = hooks(twin).subscribe().there
        assert (found.id, found.events) == ("ours", tuple(EVENTS))
        assert {one.id: one.events for one in hooks(twin).subscriptions()} == {"theirs": (), "ours": tuple(EVENTS)}


def place(name: str, url: str) -> Subscription:
    return Subscription(id=name, url=url, state=name, ours=url == URL)


def test_places_are_claimed_only_with_force_where_they_point_elsewhere() -> None:
    pointed: list[str] = []

    def point(one: Subscription) -> Subscription:
        pointed.append(one.id)
        return place(one.id, URL)

    places = [place("a", ""), place("b", URL)]
    assert claim(places, point, URL, force=False).there == [place("a", URL), place("b", URL)]
    assert pointed == ["a"]
    taken = [place("a", ""), *(place(f"n{number}", "https://other.example.com") for number in range(7))]
    with pytest.raises(SyncdError, match=r"n0 reports to https://other\.example\.com; .* and 2 more: .*--force"):
        claim(taken, point, URL, force=False)
    assert pointed == ["a"], "nothing is changed before"
    assert len(claim(taken, point, URL, force=True).there) == len(taken)


@pytest.mark.parametrize(
    ("ahead", "texts"),
    [
        (SKEW, []),
        (timedelta(minutes=5), ["this machine's clock is 300 s ahead of Acme's"]),
        (timedelta(minutes=-5), ["this machine's clock is 300 s behind Acme's"]),
    ],
)
def test_a_clock_that_is_off_is_a_warning(ahead: timedelta, texts: list[str]) -> None:
    found = list(clock_findings(NOW + ahead, NOW, "Acme"))
    assert [one.message for one in found] == texts
    assert all(one.level is Level.WARNING for one in found)


def test_each_id_of_the_configuration_is_looked_up() -> None:
    found = list(existence_findings("form", ["1", "2"], {"1": "Visitors"}.get, "there is no such form", "there are: 1"))
    assert [(one.level, one.what, one.message, one.remedy) for one in found] == [
        (Level.OK, "form 1", "Visitors", ""),
        (Level.FAULT, "form 2", "there is no such form", "there are: 1"),
    ]
