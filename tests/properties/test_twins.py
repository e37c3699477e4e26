"""Properties of the twins' own machinery: queries never crash, a literal survives quoting, undoing leaves nothing behind."""

# ruff: noqa: S608, SIM905 - no database behind the statements; the words read better as one line

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.twins import sql, sql_run
from syncd.twins.salesforce.rows import SalesforceRowError, full_id
from syncd.twins.salesforce.soql import execute
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.state import IndexedTable, TwinTables
from syncd.twins.zoho.coql import CoqlError, parse
from syncd.twins.zoho.twin import ZohoTwin

WORDS = st.sampled_from(
    "select from where and or not in like is null order by limit offset count ( ) , = != <> < >= 'a' 'it''s' '\\'' 7 "
    "2026-01-01 Id Email Lead Leads Contact Name Description Owner.Name id".split()
)
STATEMENTS = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=14).map(" ".join))
VALUES = st.text(alphabet=st.characters(codec="utf-8"), max_size=12)


@pytest.fixture(scope="module")
def salesforce() -> SalesforceTwin:
    twin = SalesforceTwin()
    twin.add("Lead", LastName="L", Company="X", Email="a@x.com")
    return twin


@pytest.fixture(scope="module")
def zoho() -> ZohoTwin:
    twin = ZohoTwin()
    twin.add("Leads", Last_Name="L", Email="a@x.com")
    return twin


@given(text=STATEMENTS)
def test_any_soql_is_answered_or_refused(salesforce: SalesforceTwin, text: str) -> None:
    refused = None
    total, rows = 0, list[Any]()
    try:
        total, rows = execute(text, salesforce.store, salesforce.schema, "v62.0")
    except SalesforceRowError as error:
        refused = error
    assert refused is None or (refused.status == 400 and refused.code.isupper())
    assert total >= len(rows)


@given(text=STATEMENTS)
def test_any_coql_is_parsed_or_refused(zoho: ZohoTwin, text: str) -> None:
    refused = None
    limit: int | None = 0
    try:
        limit = parse(text, zoho.schema)[0].limit
    except CoqlError as error:
        refused = error
    assert refused is None or refused.code.isupper()
    assert limit is not None
    assert limit <= 2_000


@given(value=VALUES)
def test_a_literal_survives_quoting(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    doubled = value.replace("'", "''")
    for text, twice in ((escaped, False), (doubled, True)):
        select = sql.Parser(f"select a from b where c = '{text}'", doubled_quotes=twice).parse()
        assert isinstance(select.where, sql.Compare)
        assert select.where.value == value


CONDITIONS = st.recursive(
    st.one_of(
        st.builds(sql.Compare, st.sampled_from("ab"), st.sampled_from(["=", "!=", "<", ">="]), st.sampled_from("xyz")),
        st.builds(
            sql.Compare,
            st.sampled_from("ab"),
            st.sampled_from(["in", "not in"]),
            st.tuples(st.sampled_from("xyz"), st.just("y")),
        ),
        st.builds(
            sql.Compare,
            st.sampled_from("ab"),
            st.sampled_from(["like", "not like"]),
            st.sampled_from(["%x", "y%", "_", "%"]),
        ),
        st.builds(sql.Compare, st.sampled_from("ab"), st.sampled_from(["=", "!="]), st.none()),
    ),
    lambda inner: st.one_of(
        st.builds(sql.Both, st.sampled_from(["and", "or"]), st.tuples(inner, inner, inner)), st.builds(sql.Not, inner)
    ),
    max_leaves=8,
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"a": st.sampled_from(["x", "Y", "zx", None]), "b": st.sampled_from(["X", "y"])}
    ),
    max_size=8,
)


@given(condition=CONDITIONS, records=RECORDS)
def test_indexes_find_what_a_scan_finds(condition: sql.Condition, records: list[dict[str, Any]]) -> None:
    indexed, plain = IndexedTable(["a", "b"]), IndexedTable([])
    for number, record in enumerate(records):
        for table in (indexed, plain):
            table.put(str(number), {**record, "id": str(number)})
    select = sql.Select([], sql.SqlToken("word", "t", 1), where=condition)
    found = [sorted(r["id"] for r in sql_run.run(select, table, lambda _: True)) for table in (indexed, plain)]
    assert found[0] == found[1]


PUTS = st.lists(
    st.tuples(
        st.sampled_from("12"), st.one_of(st.none(), st.fixed_dictionaries({"e": st.sampled_from(["x", "X", "y"])}))
    ),
    max_size=10,
)


@given(before=PUTS, after=PUTS)
def test_undoing_restores_records_and_indexes(before: list[Any], after: list[Any]) -> None:
    store = TwinTables({"t": ("e",)})
    for id_, record in before:
        store.put("t", id_, record)
    store.commit()
    table = store.table("t")
    known = copy.deepcopy(table.records), {k: set(v) for k, v in table.indexes["e"].items()}
    for id_, record in after:
        store.put("t", id_, record)
    changed = copy.deepcopy(table.records)
    changes = store.detach()
    assert (table.records, {k: set(v) for k, v in table.indexes["e"].items()}) == known
    store.reattach(changes, lambda *_: False)
    assert table.records.keys() == changed.keys()


@given(signs=st.text(alphabet="0123456789ABCXYZabcxyz", min_size=15, max_size=15))
def test_an_id_is_known_in_both_lengths_and_in_no_other_case(signs: str) -> None:
    long = full_id(signs)
    assert long is not None
    assert full_id(long) == long
    swapped = long[:15].swapcase() + long[15:]
    assert swapped == long or full_id(swapped) is None
