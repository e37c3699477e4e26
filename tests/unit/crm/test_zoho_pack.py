"""How writes are packed into Zoho calls: every write once, order kept, limits kept, values as Zoho reads them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import Enum
from zoneinfo import ZoneInfo

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Call, Link, Write
from syncd.connectors.crm.packing import Packed
from syncd.connectors.crm.record import Method, Target, Unsendable
from syncd.connectors.crm.zoho import pack
from syncd.connectors.crm.zoho.pack import PACKER, ROWS, formatted, record_of
from syncd.errors import Rejected

emails = st.sampled_from(["a@x.example", "A@x.example ", "b@x.example", "", None])
values = st.one_of(st.text(max_size=3), st.floats(), st.integers(), st.just("\ud800"))
writes = st.builds(
    Write,
    key=st.integers(0, 40).map(str),
    object=st.sampled_from(["Tasks", "Leads", "Contacts", "Calls", "Notes", "Own"]),
    key_field=st.sampled_from(["", "Syncd_Key", "Other"]),
    fields=st.one_of(
        st.dictionaries(st.sampled_from(["A", "B"]), values), st.fixed_dictionaries({"Email": emails, "A": values})
    ),
    on_create=st.dictionaries(st.just("C"), st.booleans()),
    id=st.sampled_from(["", "", "7328395000000704001", "7328395000000704002"]),
    group=st.sampled_from(["", "g1", "g2", "g3"]),
)


def mark(write: Write) -> int:
    return int(write.links["N"].id)


@given(st.lists(writes, max_size=120))
def test_every_write_once_in_order_and_within_the_limits(listed: list[Write]) -> None:
    marked = [msgspec.structs.replace(w, links={"N": Link("X", str(n))}) for n, w in enumerate(listed)]
    calls = PACKER.pack(marked)
    packed = [w for call in calls for w in call.writes]
    assert sorted(map(mark, packed)) == list(range(len(marked)))
    for name in ("key", "group", "id"):
        for value in {getattr(w, name) for w in marked} - {""}:
            same = [mark(w) for w in packed if getattr(w, name) == value]
            assert same == sorted(same), f"{name} {value} is out of order"
    for call in calls:
        check(call)


def check(call: Call) -> None:
    packed: Packed = call.payload
    assert 0 < len(call.writes) <= ROWS
    assert len({w.key for w in call.writes}) == len(call.writes)
    ids = [w.id for w in call.writes if w.id]
    assert len(set(ids)) == len(ids)
    [target] = {PACKER.target(w) for w in call.writes}
    assert {bundle.target for bundle in packed.bundles} <= {target}
    assert len(packed.bundles) <= 1
    rows = [row for bundle in packed.bundles for row in bundle.rows]
    records = [record for bundle in packed.bundles for record in bundle.records]
    assert sorted([*rows, *packed.refused]) == list(range(len(call.writes)))
    assert all(isinstance(f, Rejected) and f.field for f in packed.refused.values())
    for place, record in zip(rows, records, strict=True):
        orjson.dumps(record)
        write = call.writes[place]
        assert (record.get("id") == write.id) if write.id else ("id" not in record)
        assert ("C" in record) == ("C" in write.on_create and not write.id)
        if write.key_field and not write.id:
            assert record[write.key_field] == write.key
    if target.method is Method.UPSERT:
        met = [str(w.fields["Email"]).strip().lower() for w in call.writes if w.fields.get("Email")]
        assert target.object == "Own" or len(set(met)) == len(met), "two people of one e-mail in one upsert"
    assert call.cost == pack.cost(len(records))


@given(st.integers(0, 450), st.sampled_from(["Tasks", "Leads"]))
def test_as_few_calls_as_there_can_be(count: int, module: str) -> None:
    listed = [Write(key=str(n), object=module, key_field="K", fields={"Email": f"{n}@x.example"}) for n in range(count)]
    assert len(PACKER.pack(listed)) == -(-count // ROWS)


def test_lanes_that_alternate_fill_their_calls() -> None:
    listed = [Write(key=str(n), object=("Tasks", "Calls")[n % 2], key_field="K", group=str(n)) for n in range(400)]
    assert len(PACKER.pack(listed)) == 4


def test_large_records_are_spread() -> None:
    listed = [Write(key=str(n), object="Tasks", key_field="K", fields={"D": "ü" * 32_000}) for n in range(100)]
    calls = PACKER.pack(listed)
    assert len(calls) == 2
    assert all(len(orjson.dumps(call.payload.bundles[0].records)) <= pack.CALL_BYTES + 200 for call in calls)


def test_the_ways_of_writing() -> None:
    def way(object: str, key_field: str = "", id: str = "") -> tuple[Method, str, str]:
        target = PACKER.target(Write(key="k", object=object, key_field=key_field, id=id))
        return target.method, *pack.request_of(target)

    assert way(object="Leads", key_field="K") == (Method.UPSERT, "POST", "/Leads/upsert")
    assert way(object="Leads") == (Method.CREATE, "POST", "/Leads")
    assert way(object="Tasks", key_field="K") == (Method.CREATE, "POST", "/Tasks")
    assert way(object="Notes") == (Method.CREATE, "POST", "/Notes")
    assert way(object="Tasks", key_field="K", id="7") == (Method.UPDATE, "PUT", "/Tasks")


def test_check_fields_begin_with_our_key() -> None:
    def fields(module: str, **values: str) -> list[str]:
        call = PACKER.pack([Write(key="k", object=module, key_field="K", fields=dict(values))])[0]
        return pack.check_fields(call.payload.bundles[0])

    assert fields("Leads", Email="a@x.example") == ["K", "Email"]
    assert fields("Leads", Last_Name="L") == ["K"]
    assert fields("Accounts", Account_Name="A", Email="a@x.example") == ["K"]
    assert fields("Tasks", Email="a@x.example") == []


def test_links() -> None:
    def record(module: str, **links: Link) -> dict[str, object]:
        return record_of(Write(key="k", object=module, links=links), Target(module, Method.CREATE))

    contact, lead, deal = Link("Contacts", "1"), Link("Leads", "2"), Link("Deals", "3")
    assert record("Tasks", Who_Id=contact) == {"Who_Id": {"id": "1"}}
    assert record("Tasks", Who_Id=lead) == {"What_Id": {"id": "2"}, "$se_module": "Leads"}
    assert record("Events", What_Id=contact, Who_Id=contact) == {"Who_Id": {"id": "1"}}
    both = {"Who_Id": {"id": "1"}, "What_Id": {"id": "3"}, "$se_module": "Deals"}
    assert record("Calls", Who_Id=contact, What_Id=deal) == both
    assert record("Deals", Contact_Name=contact) == {"Contact_Name": {"id": "1"}}
    assert record("Notes", Parent_Id=lead) == {"Parent_Id": {"module": {"api_name": "Leads"}, "id": "2"}}
    assert record("Tasks", Who_Id=Link("Contacts", "")) == {}
    with pytest.raises(Unsendable, match="two records"):
        record("Tasks", Who_Id=lead, What_Id=deal)


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (date(2026, 11, 1), "2026-11-01"),
        (datetime(2026, 11, 1, 9, 30, 5, 761_000, UTC), "2026-11-01T09:30:05+00:00"),
        (datetime(2026, 11, 1, 9, 30, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh")), "2026-11-01T02:30:00+00:00"),
        (datetime(2026, 11, 1, 9, 30), "2026-11-01T09:30:00+00:00"),  # noqa: DTZ001 a naive one is what is tried
        (Colour.RED, "red"),
        (("a", Colour.RED), ["a", "red"]),
        ({"id": "7"}, {"id": "7"}),
        (None, None),
        (True, True),
    ],
)
def test_values(value: object, sent: object) -> None:
    assert formatted("F", value) == sent


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", object(), 2**70, ["\ud800"], {"a": float("nan")}]
)
def test_values_without_a_form(value: object) -> None:
    with pytest.raises(Unsendable) as caught:
        formatted("F", value)
    assert caught.value.field == "F"
