"""The policy of a configuration, and the decisions people ask about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncd.config.models import DestinationSettings, Exclude, Settings
from syncd.connector import Batch, Hint
from syncd.intake.admit import NOT_ASKED_FOR, Policy, admit, empty
from syncd.signals import Route
from syncd.store.journal.entries import Fence, Fetched, JobStep
from syncd.testing.hostile import make_signal

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SETTINGS = Settings(
    channels={
        "calls": {"missed": True},
        "desk": {"created": ("lead",), "rated": False},
        "custom": {"*": True, "spam": False},
    },
    destinations={
        "crm": DestinationSettings(name="crm", type="x"),
        "phones": DestinationSettings(name="phones", type="x", only=("call.*",)),
    },
    exclude=Exclude(domains=("us.example",)),
)
POLICY = Policy.of(SETTINGS)


@pytest.mark.parametrize(
    ("kind", "on"),
    [
        ("call.missed", True),
        ("ticket.created", True),  # from whom: decided at delivery
        ("ticket.rated", False),
        ("ticket.replied", False),  # not listed
        ("email.received", False),
        ("custom.order", True),
        ("custom.spam", False),
    ],
)
def test_switches(kind: str, on: bool) -> None:
    entry = admit(Batch((make_signal(1, type=kind),)), "s", Route.POLL, POLICY, NOW)
    assert (len(entry.arrivals), sum(entry.off.values())) == ((1, 0) if on else (0, 1))


def test_excluded_people_are_counted_apart() -> None:
    entry = admit(Batch((make_signal(1, email="bob@mail.us.example"),)), "s", Route.POLL, POLICY, NOW)
    assert entry.off == {("custom.event", "exclude"): 1}


def test_a_type_nobody_asked_for_is_skipped_there_only() -> None:
    (arrival,) = admit(Batch((make_signal(1),)), "s", Route.POLL, POLICY, NOW).arrivals
    assert [seed.skipped for seed in arrival.seeds] == ["", NOT_ASKED_FOR]


@pytest.mark.parametrize(
    ("route", "age", "live", "old"),
    [
        (Route.WEBHOOK, timedelta(hours=23), True, False),
        (Route.POLL, timedelta(hours=25), False, False),
        (Route.POLL, timedelta(hours=-1), True, False),
        (Route.POLL, timedelta(days=-30), False, False),
        (Route.BACKFILL, timedelta(0), False, True),
        (Route.IMPORT, timedelta(0), False, True),
    ],
)
def test_live_and_old(route: Route, age: timedelta, live: bool, old: bool) -> None:
    (arrival,) = admit(Batch((make_signal(1, at=NOW - age),)), "s", route, POLICY, NOW).arrivals
    assert {(seed.live, seed.old) for seed in arrival.seeds} == {(live, old)}


def test_the_rest_of_a_batch_travels_along() -> None:
    batch = Batch((), [Hint(key="a")], b"7", {"k": None})
    fence, fetched, job = Fence("poll:s", "c"), Fetched("r", 1, "c"), JobStep("j", b"1", "{}")
    entry = admit(batch, "s", Route.POLL, POLICY, NOW, fence=fence, fetched=fetched, job=job)
    assert (entry.state, entry.remember, list(entry.hints)) == (b"7", {"k": None}, [Hint(key="a")])
    assert (entry.fence, entry.fetched, entry.job, entry.received_at) == (fence, fetched, job, NOW)
    assert not empty(entry)
    assert empty(admit(Batch(), "s", Route.POLL, POLICY, NOW))


def test_the_memory_of_types_is_bounded() -> None:
    many = Batch(tuple(make_signal(1, type=f"custom.t{n}") for n in range(2000)))
    policy = Policy.of(SETTINGS)
    assert len(admit(many, "s", Route.WEBHOOK, policy, NOW).arrivals) == 2000
    assert len(policy._rulings) <= 500
