"""COQL of the Zoho CRM twin: its limits, its brackets, its quotes, and rows shaped as query answers.

Used by twin.py. Facts: zoho.md "Finding people" and Zoho's COQL pages: IN takes 50 values, WHERE 25 criteria
bracketed two by two, SELECT 50
columns, LIMIT 2,000; no multi-line field in a criterion; a quote inside a string is doubled (Zoho's COQL FAQ, Kaizen #171 [DOC]).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.twins import sql, sql_run
from syncd.twins.state import Record
from syncd.twins.zoho.rows import ZohoRows
from syncd.twins.zoho.schema import Module

COLUMNS, CRITERIA, IN_VALUES, ROWS, DEFAULT_ROWS, DEEP = 50, 25, 50, 2_000, 200, 100_000
CREDITS = ((200, 1), (1_000, 2), (2_000, 3))  # up to LIMIT rows: credits [DOC]


class CoqlError(Exception):
    """A statement that Zoho refuses, with HTTP 400."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, dict(details or {})


def parse(text: Any, schema: Mapping[str, Module]) -> tuple[sql.Select, Module]:
    """The statement and its module; raises CoqlError."""
    if not isinstance(text, str):
        raise CoqlError(
            "MANDATORY_NOT_FOUND",
            "required field not found",
            {"api_name": "select_query", "json_path": "$.select_query"},
        )
    try:
        select = sql.Parser(text, commas_in_limit=True, pairwise=True, doubled_quotes=True).parse()
    except sql.QueryError as error:
        raise CoqlError("SYNTAX_ERROR", "error occurred while parsing the query", {"near": str(error)}) from error
    module = schema.get(select.object.text)
    if module is None or module.name == "Notes":
        raise CoqlError("INVALID_QUERY", "module given seems to be invalid", {"module": select.object.text})
    _limits(select)
    _fields(select, module)
    return select, module


def _limits(select: sql.Select) -> None:
    select.limit = DEFAULT_ROWS if select.limit is None else select.limit
    for what, count, most in (
        ("select columns", len(select.columns), COLUMNS),
        ("criteria", select.criteria, CRITERIA),
        ("in values", select.longest_in, IN_VALUES),
        ("limit", select.limit, ROWS),
        ("offset", select.offset + select.limit, DEEP),
    ):
        if count > most:
            raise CoqlError(
                "LIMIT_EXCEEDED", f"{what} limit exceeded", {"limit": most, "given": count, "limit_due_to": what}
            )
    if select.where is None:
        raise CoqlError("SYNTAX_ERROR", "missing clause", {"clause": "where"})


def _fields(select: sql.Select, module: Module) -> None:
    for token in (*select.columns, *(name for name, _ in select.order)):
        _known(module, token.text)
    for part in sql.fields_of(select.where):
        one = module.fields.get(part.field.partition(".")[0])
        _known(module, part.field)
        if one is not None and one.type == "textarea":
            raise CoqlError(
                "INVALID_QUERY", "column given seems to be invalid", {"column_name": part.field, "reason": "multi-line"}
            )


def _known(module: Module, name: str) -> None:
    head, _, tail = name.partition(".")
    one = module.fields.get(head)
    if head != "id" and (one is None or (tail and one.type not in ("lookup", "ownerlookup"))):
        raise CoqlError("INVALID_QUERY", "column given seems to be invalid", {"column_name": name})


def credits(select: sql.Select) -> int:
    return next(cost for rows, cost in CREDITS if (select.limit or DEFAULT_ROWS) <= rows)


def run(select: sql.Select, module: Module, rows: ZohoRows) -> dict[str, Any] | None:
    """The answer's body; None (HTTP 204) when nothing matches."""

    def get(record: Record, path: str) -> Any:
        head, _, tail = path.partition(".")
        if not tail or tail == "id":
            return record.get(head) if head != "Full_Name" else rows.field(module, record, head)
        one = module.fields[head]
        other = rows.store.get(
            one.refers if one.refers not in ("", "*") else str(record.get("$se_module")), record.get(head) or ""
        )
        return None if other is None else other.get(tail)

    found = sql_run.run(select, rows.store.table(module.name), alive, get)
    if select.count:
        return {"data": [{"count(id)": len(found)}], "info": {"count": 1, "more_records": False}}
    if not select.order:
        found.sort(key=lambda r: r["id"])
    limit = select.limit or DEFAULT_ROWS
    page = found[select.offset : select.offset + limit]
    if not page:
        return None
    shown = [_shape(select, module, rows, record, get) for record in page]
    return {"data": shown, "info": {"count": len(shown), "more_records": select.offset + limit < len(found)}}


def _shape(select: sql.Select, module: Module, rows: ZohoRows, record: Record, get: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for token in select.columns:
        value = rows.field(module, record, token.text) if "." not in token.text else get(record, token.text)
        row[token.text] = (
            {"id": value["id"], "name": value["name"]} if isinstance(value, dict) and "id" in value else value
        )
    return row | {"id": record["id"]}


def alive(record: Record) -> bool:
    """Neither deleted nor converted: a converted lead has left its module's lists."""
    return not record.get("_deleted") and not record.get("$converted")
