"""The store against a CRM, on a real store: what is found, what it costs, what is mended, and what a kill leaves."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from syncd.connector import Idempotency, WriteKind
from syncd.dispatch import verification
from syncd.dispatch.verification import VerificationProgress, VerificationScope, open_verification
from syncd.errors import Misconfigured, RateLimited, Scope, Transient
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.schema import signals, writes
from syncd.store.verifications import DESTINATION_KIND, last_results
from syncd.testing.hostile_destination import HostileCrm, before, lost
from tests.lane_rig import KEPT, MAPPING, T0, THREADS, Rig, key_of, known, signal, sqlite

ALL = VerificationScope(T0 - timedelta(days=1), T0 + timedelta(days=1))


def verify(rig: Rig, wanted: VerificationScope = ALL, *, turns: int = 1000, fix: bool = False) -> VerificationProgress:
    """A whole verification, its clock going on where it waits."""
    wanted = VerificationScope(wanted.since, wanted.until, wanted.source, fix)
    job = open_verification(rig.store, "crm", wanted)
    for _ in range(turns):
        more = rig.lane.verify(rig.now)
        now = rig.store.jobs.get(job.id)
        assert now is not None
        if now.state in ("done", "failed"):
            rig.check_books()
            return VerificationProgress.of(now.progress)
        if not more:
            rig.later(60)
    raise AssertionError(f"still not done: {now}")


def only(done: VerificationProgress) -> dict[str, Any]:
    (found,) = done.findings
    return dict(found)


def filled(tmp_path: Path, count: int = 3, keying: Idempotency = KEPT, **more: Any) -> Rig:
    rig = known(tmp_path, keying, **more)
    rig.arrive([signal(number) for number in range(1, count + 1)])
    rig.drain()
    rig.crm.calls.clear()
    return rig


def remove(rig: Rig, number: int) -> str:
    """Somebody deletes the record of a signal; its id."""
    crm_id = next(i for i, r in rig.crm.records["Task"].items() if r["key"] == key_of(number))
    del rig.crm.records["Task"][crm_id]
    return crm_id


def test_all_agree_in_one_call(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    done = verify(rig)
    assert (done.checked, done.amiss, done.findings, done.error, done.share) == (3, 0, [], "", 1.0)
    assert rig.crm.calls == ["find"]


def test_what_was_deleted_is_missing_and_made_again_once(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    gone = remove(rig, 2)
    done = verify(rig)
    found = only(done)
    assert (done.amiss, found["verdict"], found["recorded"]) == (1, "missing", gone)
    assert (found["key"], found["signal_id"]) == (key_of(2), str(signal(2).id))
    assert rig.states() == {"delivered": 3}, "looking changes nothing"
    fixed = verify(rig, fix=True)
    assert (fixed.amiss, fixed.mended, only(fixed)["mended"]) == (0, 1, True)
    rig.drain()
    assert rig.states() == {"delivered": 3}
    assert len(rig.records("Task")) == 3
    assert rig.crm.doubled() == []
    assert next(r for r in rig.records("Task") if r["key"] == key_of(2))["Status"] == "Completed", "as a new record"
    assert verify(rig).amiss == 0


@pytest.mark.parametrize(
    "keying",
    [
        Idempotency(WriteKind.UPSERT),
        Idempotency(WriteKind.UPSERT, enforced=False),
        Idempotency(WriteKind.UNIQUE),
        Idempotency(WriteKind.FINDABLE),
    ],
)
def test_what_came_back_before_it_is_made_again_is_not_doubled(tmp_path: Path, keying: Idempotency) -> None:
    rig = filled(tmp_path, keying=keying)
    record = next(r for r in rig.records("Task") if r["key"] == key_of(1))
    remove(rig, 1)
    verify(rig, fix=True)
    rig.crm.records["Task"]["restored"] = dict(record)  # from the CRM's recycle bin
    rig.drain()
    assert rig.crm.doubled() == []
    assert len(rig.records("Task")) == 3
    assert verify(rig).amiss == 0


def test_another_id_is_shown_and_corrected(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    gone = remove(rig, 3)
    rig.crm.records["Task"]["new"] = {"key": key_of(3)}
    found = only(verify(rig))
    assert (found["verdict"], found["recorded"], found["found"]) == ("another id", gone, ["new"])
    assert verify(rig, fix=True).mended == 1
    assert {row["crm_id"] for row in rig.writes if row["key"] == key_of(3)} == {"new"}
    assert verify(rig).amiss == 0


def test_what_is_doubled_is_only_listed(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    rig.crm.records["Task"]["second"] = {"key": key_of(1)}
    done = verify(rig, fix=True)
    found = only(done)
    assert (done.amiss, done.mended, found["verdict"], found["mended"]) == (1, 0, "doubled", False)
    assert "second" in found["found"]
    assert len(found["found"]) == 2


def unconfirmed(tmp_path: Path) -> Rig:
    """A write that may have been done: the configuration says at most once, though the CRM could look it up."""
    rig = known(tmp_path, Idempotency(WriteKind.UPSERT), here={"kinds": {"Task": "at_most_once"}})
    rig.crm.faults = [lost]
    rig.arrive([signal(1)])
    rig.drain()
    assert rig.states() == {"unconfirmed": 1}
    return rig


def test_an_unconfirmed_write_that_is_there_is_settled(tmp_path: Path) -> None:
    rig = unconfirmed(tmp_path)
    assert only(verify(rig))["verdict"] == "there after all"
    assert verify(rig, fix=True).mended == 1
    assert rig.states() == {"delivered": 1}
    assert [row["crm_id"] for row in rig.writes if row["key"] == key_of(1)] == list(rig.crm.records["Task"])


def test_an_unconfirmed_write_that_is_not_there_stays_a_persons(tmp_path: Path) -> None:
    rig = unconfirmed(tmp_path)
    rig.crm.records["Task"].clear()
    assert verify(rig, fix=True).findings == []
    assert rig.states() == {"unconfirmed": 1}


def test_a_record_of_a_thread_is_one_and_made_again_whole(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=THREADS)
    told = [
        signal(number, thread="t", at=T0 + timedelta(minutes=number), text=f"text {number}") for number in range(1, 4)
    ]
    rig.arrive(told)
    rig.drain()
    assert verify(rig).checked == 1
    rig.crm.records["Case"].clear()
    assert verify(rig, fix=True).mended == 1
    rig.drain()
    (case,) = rig.records("Case")
    assert (case["Text"], case["Status"]) == ("text 3", "New")
    assert rig.states() == {"delivered": 3}


def test_the_range_and_the_source_are_kept(tmp_path: Path) -> None:
    rig = known(tmp_path)
    rig.arrive([signal(1), signal(2, at=T0 - timedelta(days=3))])
    rig.drain()
    rig.crm.records["Task"].clear()
    assert only(verify(rig))["key"] == key_of(1)
    assert verify(rig, VerificationScope(ALL.since, ALL.until, "elsewhere")).checked == 0


def test_a_person_that_is_gone_is_told_and_is_no_fault(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.arrive([signal(1, email="new@example.com")])
    rig.drain()
    rig.crm.records["Lead"].clear()
    done = verify(rig)
    assert (done.amiss, dict(done.counts)) == (0, {"person gone": 1})


def test_writes_without_a_key_are_counted(tmp_path: Path) -> None:
    rig = filled(tmp_path, mapping=MAPPING.replace("upsert: Task\n    key: Key", "create: Task"))
    done = verify(rig)
    assert (done.checked, done.unkeyed, done.amiss) == (0, 3, 0)


def test_what_the_crm_may_not_show_yet_is_not_missing(tmp_path: Path) -> None:
    rig = filled(tmp_path, options={"search_lag": 30.0})
    rig.crm.records["Task"].clear()
    done = verify(rig)
    assert (done.fresh, done.amiss) == (3, 0)
    rig.later(60)
    assert verify(rig).amiss == 3


def test_a_paused_lane_makes_it_wait_and_live_goes_first(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    rig.crm.find_faults = [RateLimited("slow down", retry_after=90)]
    job = open_verification(rig.store, "crm", ALL)
    assert not rig.lane.verify(rig.now)
    now = rig.store.jobs.get(job.id)
    assert now is not None
    assert (now.state, now.progress["waits"]) == ("running", "slow down")
    assert not rig.lane.verify(rig.now)
    assert rig.crm.calls == ["find"], "nothing is asked before its time"
    rig.later(200)
    assert rig.lane.verify(rig.now)
    assert verify(rig).checked == 3


def test_the_budget_is_the_lanes(tmp_path: Path) -> None:
    rig = filled(tmp_path, here={"quota": {"calls": 2}})  # resolve and write have spent it
    open_verification(rig.store, "crm", ALL)
    assert not rig.lane.verify(rig.now)
    assert rig.crm.calls == []
    assert "our share of the daily allowance" in rig.store.jobs.list()[0].progress["waits"]


def test_passing_failures_are_tried_again_and_lasting_ones_end_it_with_the_reason(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    rig.crm.find_faults = [Transient("busy"), Transient("busy")]
    assert verify(rig).checked == 3
    rig.crm.find_faults = [Misconfigured("no such field", scope=Scope.RULE)]
    assert verify(rig).error == "Misconfigured: no such field"
    (result,) = last_results(rig.store)
    assert (result.role, result.subject, result.error) == ("destination", "crm", "Misconfigured: no such field")


def test_only_the_newest_result_is_kept(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    for _ in range(3):
        verify(rig)
        rig.later(1)
    assert len(rig.store.jobs.list(kinds=[DESTINATION_KIND])) == 1


def test_killed_it_goes_on_behind_the_last_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "PAGE", 2)
    rig = filled(tmp_path, count=7)
    remove(rig, 1)
    job = open_verification(rig.store, "crm", ALL)
    assert rig.lane.verify(rig.now)
    rig.restart()
    while rig.lane.verify(rig.now):
        rig.restart()
    now = rig.store.jobs.get(job.id)
    assert now is not None
    assert (now.state, now.progress["checked"], now.progress["amiss"]) == ("done", 7, 1)
    assert rig.crm.calls == ["find"] * 4


def test_a_store_that_fails_in_mending_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = filled(tmp_path)
    remove(rig, 1)
    open_verification(rig.store, "crm", VerificationScope(ALL.since, ALL.until, "", True))

    def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(verification, "mend", full)
        with pytest.raises(StoreUnavailable):
            rig.lane.verify(rig.now)
    assert verify(rig, fix=True).mended == 1
    rig.drain()
    assert len(rig.records("Task")) == 3
    assert rig.crm.doubled() == []


def test_a_failed_write_while_it_is_made_again_is_an_ordinary_failure(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    remove(rig, 1)
    verify(rig, fix=True)
    rig.crm.faults = [before(Transient("busy")), lost]
    rig.drain()
    assert rig.states() == {"delivered": 3}
    assert rig.crm.doubled() == []


def test_memory_is_flat_over_20000_records(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), HostileCrm())
    count = 20_000
    stamp = round(T0.timestamp() * 1000)
    made = [signal(number) for number in range(count)]
    body = b"{}"
    with rig.store.write() as connection:
        connection.execute(
            insert(signals),
            [
                {
                    "id": str(one.id),
                    "type": one.type,
                    "channel": "email",
                    "source": "rig",
                    "route": "webhook",
                    "occurred_at": stamp,
                    "received_at": stamp,
                    "identity": "",
                    "body": body,
                }
                for one in made
            ],
        )
        connection.execute(
            insert(writes),
            [
                {
                    "destination": "crm",
                    "signal_id": str(one.id),
                    "rule": "timeline",
                    "key": key_of(number),
                    "object": "Task",
                    "kind": "upsert",
                    "state": "written",
                    "crm_id": f"t{number}",
                    "updated_at": 0,
                }
                for number, one in enumerate(made)
            ],
        )
    rig.crm.records["Task"] = {f"t{number}": {"key": key_of(number)} for number in range(count) if number % 10_000}
    del made
    tracemalloc.start()
    try:
        done = verify(rig)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (done.checked, done.amiss) == (count, 2)
    assert len(rig.crm.calls) == count // verification.PAGE
    assert peak < 12_000_000


def test_a_write_of_a_rule_that_was_renamed_is_still_found(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    with rig.store.write() as connection:
        connection.execute(update(writes).values(rule="former"))
    assert verify(rig).checked == 3
