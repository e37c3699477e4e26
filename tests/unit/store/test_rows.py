"""An entry as rows: what waits for its commit holds the rows and nothing that they were made of."""

from __future__ import annotations

from datetime import timedelta

from syncd.connector import Hint
from syncd.store.journal.encoding import prepare
from syncd.store.journal.entries import Quarantined
from tests.entries import MOMENT, a_signal, an_entry


def test_what_has_become_rows_is_not_kept_a_second_time() -> None:
    bad = Quarantined(a_signal("9").id, "phones", b"{", "no JSON", MOMENT)
    entry = an_entry("1", "2", hints=[Hint(key="k")], quarantined=[bad], remember={"a": "b"}, state=b"here")
    made = prepare(entry, MOMENT)
    assert (len(made.arrivals), len(made.hints), len(made.quarantined), made.memory) == (2, 1, 1, {"a": "b"})
    assert not any((made.entry.arrivals, made.entry.hints, made.entry.quarantined, made.entry.remember))
    assert (made.entry.source, made.entry.state) == ("phones", b"here")


def test_the_size_counts_all_that_will_be_written() -> None:
    small, state = prepare(an_entry(), MOMENT).size, b"x" * 3000
    assert prepare(an_entry(state=state), MOMENT).size == small + len(state)
    (row,) = prepare(an_entry("1"), MOMENT).arrivals
    assert prepare(an_entry("1"), MOMENT).size == small + len(row.signal.body)
    (hint,) = prepare(an_entry(hints=[Hint(key="k", data={"a": "b" * 99})]), MOMENT).hints
    assert prepare(an_entry(hints=[Hint(key="k", data={"a": "b" * 99})]), MOMENT).size == small + len(hint.payload)


def test_times_of_the_rows_are_the_signals_own() -> None:
    other = MOMENT + timedelta(hours=1)
    (own,) = prepare(an_entry("1", received_at=other), other).arrivals  # the signal itself came at MOMENT
    (same,) = prepare(an_entry("1", received_at=MOMENT), other).arrivals
    assert own.signal.received_at == same.signal.received_at == round(MOMENT.timestamp() * 1000)
