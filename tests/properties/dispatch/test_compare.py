"""The comparison of store and CRM: nothing is called lost that is there, nothing doubled that is single, nothing forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncd.dispatch.compare import AMISS, MENDED, KeyedRecord, RecordVerdict, StoredWrite, compare, judge, records
from syncd.dispatch.plan import PEOPLE_CREATE

STATES = ("written", "unconfirmed", "dead", "doubt", "sending")
keys = st.sampled_from(["k1", "k2", "k3", "k4"])
ids = st.sampled_from(["", "a", "b"])
rows = st.builds(
    StoredWrite,
    key=keys,
    signal_id=st.text("0123456789", min_size=1, max_size=3),
    rule=st.sampled_from(["timeline", PEOPLE_CREATE]),
    object=st.just("Task"),
    state=st.sampled_from(STATES),
    crm_id=ids,
    rank=st.tuples(st.integers(0, 9), st.integers(0, 9), st.text("ab", max_size=2)),
)
found = st.dictionaries(keys, st.lists(st.sampled_from(["a", "b", "c"]), max_size=3))


@given(st.lists(rows, max_size=12))
def test_every_key_becomes_one_record_of_its_latest_written_write(given_rows: list[StoredWrite]) -> None:
    made = records(given_rows)
    assert [one.key for one in made] == sorted({row.key for row in given_rows})
    for one in made:
        theirs = [row for row in given_rows if row.key == one.key]
        assert one.states == {row.state for row in theirs}
        written = [row for row in theirs if row.state == "written"]
        best = max(row.rank for row in written or theirs)
        assert (one.crm_id, one.rule) in {(row.crm_id, row.rule) for row in written or theirs if row.rank == best}


@given(st.lists(rows, max_size=12), found)
def test_the_verdicts_follow_from_what_is_there(given_rows: list[StoredWrite], there: dict[str, list[str]]) -> None:
    for one in records(given_rows):
        verdict, ids = judge(one, there.get(one.key, [])), set(there.get(one.key, []))
        assert (verdict is RecordVerdict.DOUBLED) == (len(ids) > 1)
        if verdict in (RecordVerdict.MISSING, RecordVerdict.PERSON_GONE):
            assert one.written
            assert not ids
            assert (verdict is RecordVerdict.PERSON_GONE) == (one.rule == PEOPLE_CREATE)
        if verdict is RecordVerdict.OTHER_ID:
            assert ids
            assert one.crm_id
            assert one.crm_id not in ids
        if verdict in (RecordVerdict.THERE, RecordVerdict.DEAD_BUT_THERE):
            assert ids
            assert not one.written, "an update of a record that others write proves nothing"
        if one.written and not ids:
            assert verdict is not None, "what is lost is never passed over"
        if verdict is None and one.written and one.crm_id:
            assert ids == {one.crm_id}


@given(st.lists(rows, max_size=12), found)
def test_compare_lists_what_judge_says_and_nothing_else(
    given_rows: list[StoredWrite], there: dict[str, list[str]]
) -> None:
    held = records(given_rows)
    listed = {record.key: verdict for record, verdict, _ in compare(held, there)}
    assert listed == {one.key: v for one in held if (v := judge(one, there.get(one.key, []))) is not None}


def test_what_can_be_mended_is_amiss_and_a_person_decides_the_rest() -> None:
    assert MENDED < AMISS
    assert {RecordVerdict.DOUBLED, RecordVerdict.DEAD_BUT_THERE} == AMISS - MENDED
    assert RecordVerdict.PERSON_GONE not in AMISS


def test_a_write_in_flight_is_its_lanes_business() -> None:
    one = KeyedRecord("k", "s", "timeline", "Task", "", frozenset({"unconfirmed", "doubt"}))
    assert judge(one, ["a"]) is None
