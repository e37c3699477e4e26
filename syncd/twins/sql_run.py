"""Conditions of SOQL and COQL compiled to functions over records, and statements run over a table with its indexes.

Used by salesforce_soql.py and zoho_coql.py. Text compares without case, as both vendors do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from operator import ge, gt, le, lt
from typing import Any

from syncd.twins.sql import Both, Compare, Condition, Not, Select
from syncd.twins.state import IndexedTable, fold

Predicate = Callable[[dict[str, Any]], bool]

_ORDERED: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def predicate(condition: Condition | None, get: Callable[[dict[str, Any], str], Any] = dict.get) -> Predicate:
    """A condition as a function of a record; `get(record, field)` reads a field."""
    if condition is None:
        return lambda record: True
    if isinstance(condition, Not):
        inner = predicate(condition.part, get)
        return lambda record: not inner(record)
    if isinstance(condition, Both):
        return _joined(condition, get)
    return _compare(condition, get)


def _joined(condition: Both, get: Callable[[dict[str, Any], str], Any]) -> Predicate:
    if condition.word == "and":
        parts = [predicate(p, get) for p in condition.parts]
        return lambda record: all(p(record) for p in parts)
    suffixes: dict[str, list[str]] = {}  # many `LIKE '%tail'` on one field are one endswith
    rest: list[Predicate] = []
    for part in condition.parts:
        if isinstance(part, Compare) and part.op == "like" and _is_suffix(part.value):
            suffixes.setdefault(part.field, []).append(fold(part.value[1:]))
        else:
            rest.append(predicate(part, get))
    rest.extend(_ends(name, tuple(ends), get) for name, ends in suffixes.items())
    return lambda record: any(p(record) for p in rest)


def _is_suffix(pattern: Any) -> bool:
    return isinstance(pattern, str) and pattern[:1] == "%" and not set(pattern[1:]) & {"%", "_", "\\"}


def _ends(name: str, ends: tuple[str, ...], get: Callable[[dict[str, Any], str], Any]) -> Predicate:
    def test(record: dict[str, Any]) -> bool:
        value = get(record, name)
        return value is not None and fold(value).endswith(ends)

    return test


def _compare(c: Compare, get: Callable[[dict[str, Any], str], Any]) -> Predicate:
    if c.op.startswith("not "):
        inner = _compare(Compare(c.field, c.op[4:], c.value), get)
        return lambda record: not inner(record)
    if c.op == "in":
        wanted = {None if v is None else fold(v) for v in c.value}
        return lambda record: (None if (v := get(record, c.field)) is None else fold(v)) in wanted
    if c.op == "like":
        pattern = _like(str(c.value))
        return lambda record: (v := get(record, c.field)) is not None and pattern.fullmatch(str(v)) is not None
    if c.op in _ORDERED:
        order = _ORDERED[c.op]
        return lambda record: (v := get(record, c.field)) is not None and order(*_alike(v, c.value))
    same = None if c.value is None else fold(c.value)
    if c.op == "=":
        return lambda record: (None if (v := get(record, c.field)) is None else fold(v)) == same
    return lambda record: (None if (v := get(record, c.field)) is None else fold(v)) != same


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a, b
    if _MOMENT.fullmatch(str(a)) and _MOMENT.fullmatch(str(b)):  # in whatever zones they are written
        return datetime.fromisoformat(str(a)), datetime.fromisoformat(str(b))
    return fold(a), fold(b)


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _like(pattern: str) -> re.Pattern[str]:
    signs = {"%": ".*", "_": "."}
    parts = re.findall(r"\\[%_]|.", pattern, flags=re.DOTALL)
    text = "".join(signs.get(p) or re.escape(p[-1]) for p in parts)
    return re.compile(text, re.IGNORECASE | re.DOTALL)


def candidates(condition: Condition | None, table: IndexedTable) -> Iterable[str] | None:
    """The ids a condition can be true for, from the indexes; None when only a full scan tells."""
    if isinstance(condition, Compare) and condition.op in ("=", "in"):
        values = condition.value if condition.op == "in" else (condition.value,)
        if any(v is None for v in values):
            return None
        if condition.field in ("Id", "id"):
            return [v for v in values if isinstance(v, str)]
        index = table.indexes.get(condition.field)
        if index is None:
            return None
        return [i for v in dict.fromkeys(map(fold, values)) for i in index.get(v, ())]
    if isinstance(condition, Both):
        found = [candidates(p, table) for p in condition.parts]
        if condition.word == "and":
            return next((f for f in found if f is not None), None)
        if all(f is not None for f in found):
            return dict.fromkeys(i for f in found for i in f or ())
    return None


def run(
    select: Select, table: IndexedTable, alive: Predicate, get: Callable[[dict[str, Any], str], Any] = dict.get
) -> list[dict[str, Any]]:
    """The matching live records, sorted, not yet cut by LIMIT; in the order of creation when nothing is asked."""
    ids = candidates(select.where, table)
    records: Iterable[dict[str, Any]] = table.records.values()
    if ids is not None:
        records = [table.records[i] for i in dict.fromkeys(ids) if i in table.records]
    test = predicate(select.where, get)
    found = [r for r in records if alive(r) and test(r)]
    for name, descending in reversed(select.order):
        found.sort(key=lambda r: _sortable(get(r, name.text)), reverse=descending)
    return found


def _sortable(value: Any) -> tuple[int, Any, str]:
    if value is None:
        return (0, 0, "")
    if isinstance(value, int | float):
        return (1, value, "")
    return (2, 0, fold(value))
