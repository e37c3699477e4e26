"""SOQL of the Salesforce twin: what its parser forbids, the fields it knows, and records shaped as query answers.

Used by twin.py. A wrong statement raises SalesforceRowError with Salesforce's code: MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from syncd.twins import sql, sql_run
from syncd.twins.salesforce.rows import SalesforceRowError, full_id
from syncd.twins.salesforce.schema import SalesforceField, SObject
from syncd.twins.state import Record, TwinTables

STATEMENT = 100_000  # characters [D]
FOLLOWERS = 1_000  # rows of a query of EntitySubscription at most [D]
LITERAL = 4_000  # characters of one string [D]


def execute(
    text: str, store: TwinTables, schema: Mapping[str, SObject], version: str, deleted: bool = False
) -> tuple[int, list[Any]]:
    """Runs a statement: (total size, rows as in an answer). Raises SalesforceRowError. `deleted`: queryAll."""
    if len(text) > STATEMENT:
        raise SalesforceRowError(
            "QUERY_TOO_COMPLICATED",
            "Query is either selecting too many fields or the filter conditions are too complicated.",
        )
    try:
        select = sql.Parser(text).parse()
    except sql.QueryError as error:
        raise SalesforceRowError(
            "MALFORMED_QUERY", f"\n{text}\n{'^':>{error.at}}\nERROR at Row:1:Column:{error.at}\n{error}"
        ) from error
    made = _object(select, schema)
    if made.name == "EntitySubscription" and not (select.limit and select.limit <= FOLLOWERS):
        text = (
            f"Implementation restriction: {made.name} requires a LIMIT of at most {FOLLOWERS}"  # [D]; the code is [M]
        )
        raise SalesforceRowError("MALFORMED_QUERY", text)
    query = _Query(made, schema, store)
    select.where = query.checked(select.where)
    for name, _ in select.order:
        query.path(name.text, name.at)
    columns = [query.path(c.text, c.at) for c in select.columns]
    found = sql_run.run(select, store.table(made.name), (lambda r: True) if deleted else _alive, query.get)
    if select.limit is not None or select.offset:
        end = None if select.limit is None else select.offset + select.limit
        found = found[select.offset : end]
    if select.count:
        return len(found), []
    return len(found), [query.shape(r, columns, version) for r in found]


def _alive(record: Record) -> bool:
    return not record["IsDeleted"]


def _object(select: sql.Select, schema: Mapping[str, SObject]) -> SObject:
    folded = {name.casefold(): made for name, made in schema.items()}
    made = folded.get(select.object.text.casefold())
    if made is None:
        text = (  # [R]: the code, on a query of an unknown object inside a composite
            f"\nFROM {select.object.text}\n     ^\nERROR at Row:1:Column:{select.object.at}\nsObject type "
            f"'{select.object.text}' is not "
            "supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. "
            "Please reference your WSDL or the describe call for the appropriate names."
        )
        raise SalesforceRowError("INVALID_TYPE", text)
    return made


class _Query:
    """Field paths of one statement: `Email`, or one relationship deep, `Profile.Name`."""

    def __init__(self, made: SObject, schema: Mapping[str, SObject], store: TwinTables) -> None:
        self._made, self._schema, self._store = made, schema, store

    def path(self, text: str, at: int) -> tuple[SalesforceField | None, str]:
        """(the relationship's field or None, the name of the field behind it)."""
        head, dot, tail = text.partition(".")
        if not dot:
            one = self._made.field(head)
            if one is None:
                raise self._unknown(head, self._made.name, at)
            return None, one.name
        relation = next((f for r, f in self._made.relationships.items() if r.casefold() == head.casefold()), None)
        if relation is None:
            text = (
                f"Didn't understand relationship '{head}' in field path. If you are attempting to use a custom "
                "relationship, be sure to append the '__r' after the custom relationship name."
            )
            raise SalesforceRowError("INVALID_FIELD", text)
        targets = [self._schema[r] for r in relation.refers if r in self._schema]
        if targets and not any(t.field(tail) for t in targets) and tail not in ("Id", "Name", "Type"):
            raise self._unknown(tail, targets[0].name, at)
        return relation, tail

    def _unknown(self, name: str, entity: str, at: int) -> SalesforceRowError:
        text = (
            f"\nSELECT {name} FROM {entity}\n       ^\nERROR at Row:1:Column:{at}\nNo such column '{name}' on "
            f"entity '{entity}'. If you are "
            "attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your "
            "WSDL or the describe call for the appropriate names."
        )
        return SalesforceRowError("INVALID_FIELD", text)

    def checked(self, condition: sql.Condition | None) -> sql.Condition | None:
        """The condition with canonical field names and 18-character ids; refuses what a field cannot be compared with."""
        if isinstance(condition, sql.Both):
            return sql.Both(condition.word, tuple(filter(None, map(self.checked, condition.parts))))
        if isinstance(condition, sql.Not):
            inner = self.checked(condition.part)
            return None if inner is None else sql.Not(inner)
        if condition is None:
            return None
        relation, name = self.path(condition.field, condition.at)
        values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        if any(isinstance(v, str) and len(v) > LITERAL for v in values):
            raise SalesforceRowError("MALFORMED_QUERY", "string literal too long")
        if relation is not None:
            return condition
        one = self._made.fields[name]
        self._comparable(one, condition, values)
        if one.type in ("id", "reference"):
            values = tuple(full_id(v) if isinstance(v, str) else v for v in values)
            if any(v is None and w is not None for v, w in zip(values, _tuple(condition.value), strict=True)):
                raise SalesforceRowError("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {condition.value}")
        value = values if isinstance(condition.value, tuple) else values[0]
        return replace(condition, field=name, value=value)

    def _comparable(self, one: SalesforceField, condition: sql.Compare, values: tuple[Any, ...]) -> None:
        if one.type == "textarea" and one.length > 255:
            text = f"field '{one.name}' can not be filtered in a query call"
            raise SalesforceRowError("INVALID_FIELD", text)
        textual = one.type not in ("boolean", "int", "double", "currency", "percent", "date", "datetime")
        for value in values:
            quoted = isinstance(value, str) and not _moment(value)
            if value is not None and ((textual and not isinstance(value, str)) or (not textual and quoted)):
                text = f"value of filter criterion for field '{one.name}' must be of type {one.type} and should"
                raise SalesforceRowError("INVALID_FIELD", f"{text}{' ' if textual else ' not '}be enclosed in quotes")
        if condition.op.endswith("like") and not textual:
            raise SalesforceRowError("INVALID_FIELD", f"invalid operator on {one.type} field")

    def get(self, record: Record, path: str) -> Any:
        if "." not in path:
            return (
                record.get(path)
                if path in record
                else record.get((self._made.field(path) or SalesforceField(path)).name)
            )
        relation, tail = self.path(path, 1)
        parent = self._parent(record, relation)
        return None if parent is None else parent.get(tail)

    def _parent(self, record: Record, relation: SalesforceField | None) -> Record | None:
        id_ = record.get(relation.name) if relation is not None else None
        if id_ is None or relation is None:
            return None
        return next((p for r in relation.refers if (p := self._store.get(r, id_)) is not None), None)

    def shape(self, record: Record, columns: list[tuple[SalesforceField | None, str]], version: str) -> dict[str, Any]:
        """One row as answers write it: `attributes` first, the columns asked for, parents nested [R]."""
        row: dict[str, Any] = {"attributes": attributes(self._made.name, record["Id"], version)}
        for relation, name in columns:
            if relation is None:
                row[name] = record.get(name)
                continue
            key = relation.relationship or relation.name
            parent = self._parent(record, relation)
            if parent is None:
                row[key] = None
                continue
            inner = row.setdefault(
                key, {"attributes": attributes(_type(relation, self._store, parent["Id"]), parent["Id"], version)}
            )
            inner[name] = parent.get(name)
        return row


def attributes(object_: str, id_: str, version: str) -> dict[str, str]:
    return {"type": object_, "url": f"/services/data/{version}/sobjects/{object_}/{id_}"}


def _type(relation: SalesforceField, store: TwinTables, id_: str) -> str:
    return next((r for r in relation.refers if store.get(r, id_) is not None), relation.refers[0])


def _moment(text: str) -> bool:
    return len(text) >= 10 and text[4:5] == "-" and text[7:8] == "-" and text[:4].isdigit()


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
