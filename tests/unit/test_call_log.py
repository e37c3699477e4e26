"""What every phone source inherits: calls of an invented vendor, listed in windows, judged when they have ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.connector import Context, Hint, NotYet
from syncd.connectors.phone.call_log import LAG, LoggedCalls, call_hint, recording_of
from syncd.connectors.phone.calls import CallOutcome, PhoneAccount, PhoneCall, PhoneSettings, withheld
from syncd.errors import Failure, Transient
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal, derive_id

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
OURS = "+842412345678"


class Log:
    """A CallLog in memory; newest first, two calls a page."""

    def __init__(self) -> None:
        self.calls: dict[str, PhoneCall] = {}
        self.asked: list[str] = []
        self.failing = False

    def add(self, id: str, status: str, minutes_ago: float = 60, **more: Any) -> PhoneCall:
        began = NOW - timedelta(minutes=minutes_ago)
        ended = None if status == "ringing" else began + timedelta(minutes=1)
        fields: dict[str, Any] = {"direction": "inbound", "from_": "+84912345678", "to": OURS, **more}
        self.calls[id] = PhoneCall(id=id, status=status, started_at=began, ended_at=ended, **fields)
        return self.calls[id]

    def call(self, id: str) -> PhoneCall | None:
        self.asked.append(id)
        return self.calls.get(id)

    def legs(self, parent: str) -> list[PhoneCall]:
        return [call for call in self.calls.values() if call.parent == parent]

    def window(self, since: datetime, until: datetime) -> Iterator[tuple[list[PhoneCall], datetime]]:
        if self.failing:
            raise Transient("down")
        self.asked.append("list")
        found = [one for one in self.calls.values() if one.started_at and since <= one.started_at <= until]
        found.sort(key=lambda call: str(call.started_at), reverse=True)
        for start in range(0, max(len(found), 1), 2):
            yield found[start : start + 2], NOW

    def vendor_now(self) -> datetime:
        return NOW


@pytest.fixture
def log() -> Log:
    return Log()


def source(log: Log, memory: dict[str, str] | None = None, **keys: Any) -> LoggedCalls:
    context = Context(
        name="phones",
        tokens=MemoryTokens(),
        region="VN",
        clock=lambda: NOW,
        recall=lambda names: {name: value for name, value in (memory or {}).items() if name in names},
    )
    account = PhoneAccount("acme_phone", "4711", PhoneSettings.model_validate(keys), context, id_name="call_id")
    return LoggedCalls(log, account, context)


def polled(made: LoggedCalls, state: bytes) -> tuple[list[Signal], list[Hint], bytes]:
    signals, hints = list[Signal](), list[Hint]()
    for batch in made.poll(state, NOW):
        signals += batch.signals
        hints += batch.hints
        state = batch.state or state
    return signals, hints, state


def test_a_call_has_one_id_by_poll_backfill_and_hint(log: Log) -> None:
    log.add("c1", "no-answer")
    made = source(log)
    state = source(Log()).start(NOW).replace(b"2026-11-22", b"2026-11-21")
    (by_poll,), _, _ = polled(made, state)
    (by_backfill,) = [one for batch in made.backfill(NOW - timedelta(days=1), NOW, None) for one in batch.signals]
    by_hint = made.fetch(call_hint("c1", NOW), NOW)
    assert not isinstance(by_hint, NotYet)
    expected = derive_id("acme_phone", "4711", "call.missed", "c1")
    assert [by_poll.id, by_backfill.id, by_hint.signals[0].id] == [expected] * 3
    assert by_poll.data["call_id"] == "c1"
    assert [by_poll.route, by_backfill.route] == [Route.POLL, Route.BACKFILL]


def test_a_call_in_progress_is_a_hint_and_not_lost(log: Log) -> None:
    going_on = log.add("c1", "ringing", minutes_ago=2)
    made = source(log)
    signals, (hint,), _ = polled(made, made.start(NOW).replace(b"04:00", b"03:00"))
    assert (signals, hint.key) == ([], "c1")
    later = made.fetch(hint, NOW)
    assert isinstance(later, NotYet)
    assert NOW < later.at <= NOW + timedelta(minutes=5)
    log.calls["c1"] = replace(going_on, status="no-answer", ended_at=NOW)
    batch = made.fetch(hint, NOW)
    assert not isinstance(batch, NotYet)
    assert [one.route for one in batch.signals] == [Route.POLL]


def test_polls_hand_over_each_call_once(log: Log) -> None:
    log.add("c1", "busy", minutes_ago=LAG / timedelta(minutes=1) / 2)
    made = source(log)
    first, _, state = polled(made, made.start(NOW).replace(b"04:00", b"03:00"))
    again, _, _ = polled(made, state)
    assert (len(first), again) == (1, [])


def test_many_hints_cost_one_list_and_a_failure_is_that_of_all(log: Log) -> None:
    for name in ("c1", "c2", "c3"):
        log.add(name, "busy")
    made = source(log)
    hints = [call_hint(name, NOW - timedelta(hours=1)) for name in ("c1", "c2", "c3")]
    assert all(not isinstance(one, (NotYet, Failure)) and one.signals for one in made.fetch_many(hints, NOW))
    assert log.asked == ["list"]
    log.failing = True
    assert [type(one) for one in made.fetch_many(hints, NOW)] == [Transient] * 3


def test_the_recording_is_used_and_forgotten(log: Log) -> None:
    log.add("c1", "no-answer")
    url = "https://acme.example/r1"
    batch = source(log, {recording_of("c1"): url}).fetch(call_hint("c1", NOW), NOW)
    assert not isinstance(batch, NotYet)
    assert batch.signals[0].url == url
    assert batch.remember == {recording_of("c1"): None}


@pytest.mark.parametrize(
    ("keys", "more", "kinds"),
    [
        ({}, {}, ["call.missed"]),
        ({"numbers": ["024 1234 5678"]}, {}, ["call.missed"]),
        ({"numbers": ["+8424999"]}, {}, []),
        ({}, {"direction": "outbound-api"}, []),
        ({"calls": ["answered"]}, {}, []),
    ],
)
def test_only_what_was_asked_for(log: Log, keys: dict[str, Any], more: dict[str, Any], kinds: list[str]) -> None:
    log.add("c1", "no-answer", **more)
    made = source(log, **keys)
    signals, hints, _ = polled(made, made.start(NOW).replace(b"04:00", b"03:00"))
    assert ([one.type for one in signals], hints) == (kinds, [])


def test_a_leg_leads_to_its_parent(log: Log) -> None:
    log.add("leg", "busy", parent="c1", direction="outbound-dial")
    batch = source(log).fetch(call_hint("leg", NOW), NOW)
    assert not isinstance(batch, NotYet)
    assert [one.key for one in batch.hints] == ["c1"]


def test_the_outcomes_with_a_signal_are_signal_types() -> None:
    assert CallOutcome.PLACED.signal_type == "call.placed"


@pytest.mark.parametrize(
    ("number", "hidden"), [("anonymous", True), ("+266696687", True), ("+84912345678", False), ("", False)]
)
def test_withheld(number: str, hidden: bool) -> None:
    assert withheld(number) is hidden
