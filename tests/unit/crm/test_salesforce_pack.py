"""How writes are packed into Salesforce calls: every write once, order kept, limits kept, values as Salesforce reads them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import Enum
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Call, Link, Write
from syncd.connectors.crm.packing import Packed
from syncd.connectors.crm.record import Method, Target, Unsendable
from syncd.connectors.crm.salesforce import pack
from syncd.connectors.crm.salesforce.client import HEAVY
from syncd.connectors.crm.salesforce.pack import ROWS, formatted, record_of
from syncd.errors import Rejected

writes = st.builds(
    Write,
    key=st.integers(0, 40).map(str),
    object=st.sampled_from(["Task", "Lead", "Case", "Event", "Contact", "Own__c", "Two__c"]),
    key_field=st.sampled_from(["", "Syncd_Key__c", "Other__c"]),
    fields=st.dictionaries(st.sampled_from(["A", "B"]), st.one_of(st.text(max_size=3), st.floats(), st.integers())),
    on_create=st.dictionaries(st.just("C"), st.booleans()),
    id=st.sampled_from(["", "", "003000000000001AAA", "003000000000002AAA"]),
    group=st.sampled_from(["", "g1", "g2", "g3"]),
)


def mark(write: Write) -> int:
    return int(write.links["N"].id)


@given(st.lists(writes, max_size=120), st.booleans())
def test_every_write_once_in_order_and_within_the_limits(listed: list[Write], composite: bool) -> None:
    marked = [msgspec.structs.replace(w, links={"N": Link("X", str(n))}) for n, w in enumerate(listed)]
    calls = pack.packer(composite=composite).pack(marked)
    packed = [w for call in calls for w in call.writes]
    assert sorted(map(mark, packed)) == list(range(len(marked)))
    for name in ("key", "group", "id"):
        for value in {getattr(w, name) for w in marked} - {""}:
            same = [mark(w) for w in packed if getattr(w, name) == value]
            assert same == sorted(same), f"{name} {value} is out of order"
    for call in calls:
        check(call, composite)


def check(call: Call, composite: bool) -> None:
    keys = [w.key for w in call.writes]
    ids = [w.id for w in call.writes if w.id]
    assert len(set(keys)) == len(keys)
    assert len(set(ids)) == len(ids)
    payload: Packed = call.payload
    assert len(payload.bundles) <= (HEAVY if composite else 1)
    sent = [row for c in payload.bundles for row in c.rows]
    assert sorted([*sent, *payload.refused]) == list(range(len(call.writes)))
    for collection in payload.bundles:
        assert 0 < len(collection.rows) <= ROWS
        assert len(collection.rows) == len(collection.records)
        for row, record in zip(collection.rows, collection.records, strict=True):
            write = call.writes[row]
            assert record["attributes"] == {"type": write.object} == {"type": collection.target.object}
            assert ("id" in record) is bool(write.id) is (collection.target.method is Method.UPDATE)
            assert record.get(collection.target.key_field or "-") == (
                write.key if collection.target.key_field else None
            )
    assert all(isinstance(failure, Rejected) and failure.field for failure in payload.refused.values())


def many(count: int) -> list[Write]:
    return [Write(key=str(n), object="Task", key_field="K__c", fields={"S": n}) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "composite", "calls"), [(0, True, 0), (1000, True, 1), (1001, True, 2), (1000, False, 5)]
)
def test_call_counts(count: int, composite: bool, calls: int) -> None:
    assert len(pack.packer(composite=composite).pack(many(count))) == calls


def test_leads_and_their_tasks_share_a_call() -> None:
    leads = [Write(key=f"l{n}", object="Lead", key_field="K__c") for n in range(50)]
    [call] = pack.packer().pack([*leads, *many(800)])
    assert call.operation == "upsert 50 Lead+upsert 200 Task+upsert 200 Task+upsert 200 Task+upsert 200 Task"


def test_rows_of_one_parent_stand_together() -> None:
    mixed = [Write(key=str(n), object="Task", key_field="K__c", group=f"g{n % 3}") for n in range(9)]
    [call] = pack.packer().pack(mixed)
    assert [w.group for w in call.writes] == ["g0"] * 3 + ["g1"] * 3 + ["g2"] * 3


def test_large_texts_make_more_calls() -> None:
    large = [Write(key=str(n), object="Task", key_field="K__c", fields={"D": "x" * 32_000}) for n in range(400)]
    calls = pack.packer().pack(large)
    assert len(calls) == 3
    assert all(len(c.writes) * 32_000 < pack.CALL_BYTES for c in calls)


class Status(Enum):
    OPEN = "Open"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (date(2026, 3, 4), "2026-03-04"),
        (datetime(2026, 3, 4, 5, 6, 7, 890_123, UTC), "2026-03-04T05:06:07.890+00:00"),
        (datetime(2026, 3, 4, 5, 6, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh")), "2026-03-04T05:06:00.000+07:00"),
        (datetime(2026, 3, 4, 5, 6), "2026-03-04T05:06:00.000+00:00"),  # noqa: DTZ001 the case under test
        (["A", "B"], "A;B"),
        (Status.OPEN, "Open"),
        (True, True),
        (1.5, 1.5),
        ("", ""),
        (None, None),
    ],
)
def test_values(value: object, sent: object) -> None:
    assert formatted("F", value) == sent


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", 2**70, object(), b"x", {"a": {1, 2}}])
def test_what_cannot_be_sent_names_its_field(value: object) -> None:
    with pytest.raises(Unsendable) as caught:
        formatted("Field__c", value)
    assert caught.value.field == "Field__c"


def test_a_record() -> None:
    write = Write(
        key="k",
        object="Task",
        key_field="K__c",
        fields={"Subject": "s", "Kept": "stays"},
        on_create={"Status": "Done"},
        clear=("Old", "Kept"),
        links={"WhoId": Link("Contact", "003"), "WhatId": Link("Account", "")},
    )
    common = {"attributes": {"type": "Task"}, "Subject": "s", "Old": None, "Kept": "stays", "WhoId": "003"}
    assert record_of(write, Target("Task", Method.UPSERT)) == {**common, "K__c": "k", "Status": "Done"}
    assert record_of(msgspec.structs.replace(write, id="00T"), Target("Task", Method.UPDATE)) == {**common, "id": "00T"}
