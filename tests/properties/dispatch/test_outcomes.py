"""The table of failure classes, over every kind, class and history of a write; splitting and merging."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syncd.config.models import Retry
from syncd.connector import Idempotency, Link, Outcome, Write, WriteKind, Written
from syncd.dispatch import outcomes as rules
from syncd.dispatch import plan
from syncd.dispatch.outcomes import RetryPolicy
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
    Transient,
)
from syncd.store.queue import UNFINISHED, WriteRow

NOW = 1_772_442_000_000
LAW = RetryPolicy(Retry(schedule=(timedelta(0), timedelta(seconds=5), timedelta(minutes=5))), 600_000, lambda: 0.5)
keyings = st.builds(Idempotency, st.sampled_from(WriteKind), st.booleans())
answers: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Written("1"),
        Transient("t"),
        Transient("t", known=False),
        RateLimited("r", retry_after=3),
        QuotaExhausted("q"),
        AuthExpired("a"),
        Misconfigured("m"),
        Misconfigured("m", scope=Scope.RULE),
        Rejected("no", field="F"),
        StaleReference("gone"),
        StaleReference("gone", field="WhoId"),
        Ambiguous("?"),
    ]
)
rows = st.builds(
    WriteRow,
    st.just("rule"),
    st.just("key"),
    st.just("Task"),
    st.just("upsert"),
    state=st.just("sending"),
    crm_id=st.sampled_from(["", "1"]),
    attempts=st.integers(0, 5),
    sent_at=st.integers(NOW - 1_000_000, NOW),
    stale_once=st.booleans(),
)


@given(rows, answers, keyings)
def test_no_outcome_is_guessed(row: WriteRow, outcome: Outcome, keying: Idempotency) -> None:
    after = rules.decide(row, outcome, keying, LAW, NOW)
    assert after.state in (*UNFINISHED, "written", "dead", "unconfirmed")
    assert after.state != "sending"
    assert (after.state == "written") == isinstance(outcome, Written)
    assert after.finished or after.due_at >= NOW
    assert after.state == "written" or after.reason
    if isinstance(outcome, Ambiguous):
        assert after.state != "dead", "it may have been written"
        kept = keying.kind is WriteKind.UNIQUE or (keying.kind is WriteKind.UPSERT and keying.enforced)
        if after.state == "pending":
            assert kept
        if not kept and after.state == "doubt":
            assert after.due_at >= row.sent_at + LAW.doubt
        if keying.kind is WriteKind.AT_MOST_ONCE:
            assert after.state == "unconfirmed"
    if isinstance(outcome, (RateLimited, QuotaExhausted, AuthExpired, Misconfigured)):
        assert after.attempts == row.attempts, "no attempt is counted"
        assert not after.finished


@given(rows, st.sampled_from([Transient("t"), Transient("t", known=False), Ambiguous("?")]), keyings)
def test_a_failed_call_counts_no_try(row: WriteRow, outcome: Outcome, keying: Idempotency) -> None:
    again_at = NOW + 30_000
    after = rules.decide(row, outcome, keying, LAW, NOW, again_at=again_at)
    lost_for_good = isinstance(outcome, Ambiguous) and keying.kind is WriteKind.AT_MOST_ONCE
    assert after.finished == lost_for_good
    if not lost_for_good:
        assert after.attempts == row.attempts
        assert after.due_at >= (row.sent_at + LAW.doubt if after.state == "doubt" else again_at)


@given(rows, st.sampled_from(["", None]))
def test_the_tries_after_a_doubt_follow_the_schedule(row: WriteRow, found: str | None) -> None:
    after = rules.doubt_over(row, found, LAW, NOW)
    if row.attempts >= len(LAW.retry.schedule):
        assert after.state == ("dead" if found == "" else "unconfirmed")
    else:
        wait = LAW.retry.schedule[row.attempts].total_seconds() * 1000 if row.attempts else 0
        assert after.state == "pending"
        assert after.due_at >= max(NOW, row.sent_at + wait if row.attempts else 0)
        assert after.due_at <= max(NOW, row.sent_at + 2 * wait)


@given(st.lists(st.tuples(answers, keyings), max_size=60))
def test_every_write_ends(history: list[tuple[Outcome, Idempotency]]) -> None:
    """Counted failures cannot go on for ever."""
    row, counted = WriteRow("rule", "key", "Task", "upsert", "sending", sent_at=NOW), 0
    for outcome, keying in history:
        if row.finished:
            break
        if row.state == "doubt":
            row = rules.doubt_over(row, "" if keying.kind is WriteKind.FINDABLE else None, LAW, NOW)
            continue
        counted += isinstance(outcome, (Transient, Ambiguous))
        row = rules.decide(row, outcome, keying, LAW, NOW)
    assert row.finished or counted <= len(LAW.retry.schedule)


@given(st.integers(1, 300), st.data())
def test_one_bad_row_costs_few_calls(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, size - 1))
    calls, waiting, alone = 0, [list(range(size))], []
    while waiting:
        items = waiting.pop()
        calls += 1
        if bad in items:
            pieces = rules.split(items, Rejected("no"))
            if pieces is None:
                alone.append(items)
            else:
                assert [one for piece in pieces for one in piece] == items
                waiting.extend(list(piece) for piece in pieces)
    assert alone == [[bad]]
    assert calls - 1 <= 1 + 2 * (size - 1).bit_length()


def test_a_rules_fault_is_split_by_rule() -> None:
    failure = Misconfigured("no field", scope=Scope.RULE)
    assert rules.split(["a1", "b1", "a2"], failure, lambda item: item[0]) == [["a1", "a2"], ["b1"]]
    assert rules.split(["a1", "a2"], failure, lambda item: item[0]) is None
    assert rules.split(["a1", "b1"], Transient("t"), lambda item: item[0]) is None


values = st.dictionaries(st.sampled_from("ABCD"), st.integers(), max_size=4)


@given(st.lists(st.tuples(values, values, st.sets(st.sampled_from("ABCD"))), min_size=1, max_size=6))
def test_a_merged_write_leaves_the_record_as_the_single_ones_would(made: list[tuple[Any, Any, Any]]) -> None:
    writes = [
        Write(
            key="k",
            object="Case",
            fields={name: value for name, value in fields.items() if name not in clear},
            on_create=on_create,
            clear=tuple(clear),
            links={"Who": Link("Lead", str(n))},
        )
        for n, (fields, on_create, clear) in enumerate(made)
    ]
    singly: dict[str, Any] = {}
    for n, write in enumerate(writes):
        _apply(singly, write, new=n == 0)
    at_once: dict[str, Any] = {}
    _apply(at_once, rules.merged(writes), new=True)
    assert at_once == singly


def _apply(record: dict[str, Any], write: Write, *, new: bool) -> None:
    if new:
        record.update(write.on_create)
    record.update(write.fields)
    record.update({name: link.id for name, link in write.links.items()})
    for name in write.clear:
        record.pop(name, None)


@given(st.lists(st.sampled_from([*UNFINISHED, "written", "skipped", "dead", "discarded", "unconfirmed"]), max_size=6))
def test_the_state_of_a_delivery(states: list[str]) -> None:
    found, reason = plan.delivery_state(WriteRow(f"r{n}", "", "", "", state, "why") for n, state in enumerate(states))
    places = [
        plan.ORDER.index({"sending": "pending", "doubt": "pending", "written": "delivered"}.get(s, s)) for s in states
    ]
    assert found == plan.ORDER[min(places, default=len(plan.ORDER) - 1)]
    assert bool(reason) == (found != "delivered")


@given(st.lists(st.text(max_size=8), min_size=2, max_size=2, unique=True), st.text(max_size=8))
def test_keys_differ_where_their_subjects_do(about: list[str], rule: str) -> None:
    assert plan.write_key(about[0], rule) != plan.write_key(about[1], rule)
    assert plan.write_key(about[0], rule) == plan.write_key(about[0], rule)
    assert plan.write_key(about[0] + "1", rule) != plan.write_key(about[0], "1" + rule)
