"""sObject collections and composite calls of the Salesforce twin: many rows, or many requests, in one billed call.

Used by twin.py. Facts: salesforce.md, "sObject Collections upsert" and "Composite" [D][R].
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from syncd.twins.salesforce.org import SalesforceOrg
from syncd.twins.salesforce.rows import POLYMORPHIC, SalesforceRowError, full_id
from syncd.twins.wire import TwinCall, TwinResponse, make_call

ROWS = 200  # records in one collection [D]
SUBREQUESTS = 25  # in one composite call [D]
HEAVY = 5  # of which collections or queries [D]
HEAVY_OPERATIONS = frozenset(
    {
        "insert_collection",
        "update_collection",
        "upsert_collection",
        "delete_collection",
        "query",
        "query_all",
        "query_more",
    }
)
CHUNKS = 10  # runs of one type in a collection that mixes types [D]
_REFERENCE = re.compile(r"@\{([A-Za-z][\w]*)((?:\[\d+\]|\.\w+)*)\}")
_ROLLED_BACK = "Record rolled back because not all records were valid and the request was using AllOrNone header"
_HALTED = "The transaction was rolled back since another operation in the same transaction failed."

RowWork = Callable[[dict[str, Any]], dict[str, Any]]


def insert_collection(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    records, strict = _records(call)

    def work(record: dict[str, Any]) -> dict[str, Any]:
        if "id" in record or "Id" in record:
            raise SalesforceRowError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", ["Id"])
        return {"id": org.rows.insert(_made(org, record), record), "success": True, "errors": []}

    return _each(org, call, records, strict, work)


def update_collection(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    records, strict = _records(call)

    def work(record: dict[str, Any]) -> dict[str, Any]:
        given = {k: v for k, v in record.items() if k not in ("id", "Id")}
        id_ = full_id(record.get("id") or record.get("Id") or "")
        made = _made(org, record)
        if id_ is None:
            raise SalesforceRowError("MISSING_ARGUMENT", "Id not specified in an update call", ["Id"])
        if org.store.get(made.name, id_) is None:
            raise SalesforceRowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        org.rows.update(made, id_, given)
        return {"id": id_, "success": True, "errors": []}

    return _each(org, call, records, strict, work)


def upsert_collection(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    made = org.rows.object(call.segments[-2])
    key = org.key(made, call.segments[-1])
    records, strict = _records(call)
    others = {r["attributes"]["type"] for r in records} - {made.name}
    if others:
        raise SalesforceRowError(
            "INVALID_TYPE", f"all records must be of type {made.name}, not {', '.join(sorted(others))}"
        )
    seen = Counter(str(r.get(key.name)).casefold() for r in records if r.get(key.name) not in (None, ""))

    def work(record: dict[str, Any]) -> dict[str, Any]:
        value = record.get(key.name)
        if key.name != "Id" and ("id" in record or "Id" in record):
            raise SalesforceRowError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        if value not in (None, "") and seen[str(value).casefold()] > 1:
            raise SalesforceRowError("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", [key.name])
        given = {k: v for k, v in record.items() if k != key.name}
        id_, created = org.rows.upsert(made, key, value, given)
        return {"id": id_, "success": True, "errors": [], "created": created}

    return _each(org, call, records, strict, work)


def delete_collection(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    ids = [i for i in call.query.get("ids", "").split(",") if i]
    if not 0 < len(ids) <= ROWS:
        raise SalesforceRowError(
            "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {ROWS} records into this call"
        )
    strict = call.query.get("allOrNone") == "true"

    def work(record: dict[str, Any]) -> dict[str, Any]:
        made = org.schema.get(org.rows.prefixes.get(record["id"][:3], ""))
        if made is None:
            raise SalesforceRowError("MALFORMED_ID", f"malformed id {record['id']}")
        found = org.addressed(made, record["id"])
        org.store.put(made.name, found["Id"], {**found, "IsDeleted": True})
        return {"id": found["Id"], "success": True, "errors": []}

    return _each(org, call, [{"id": i} for i in ids], strict, work)


def _records(call: TwinCall) -> tuple[list[dict[str, Any]], bool]:
    """(records, allOrNone) of a collection call; raises SalesforceRowError for a request that is malformed as a whole."""
    body = call.json()
    records = body.get("records") if isinstance(body, dict) else None
    if not isinstance(records, list) or not records:
        raise SalesforceRowError(
            "JSON_PARSER_ERROR", "Unrecognized request: records must be a list at [line:1, column:1]"
        )
    if len(records) > ROWS:
        raise SalesforceRowError(
            "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {ROWS} records into this call"
        )
    chunks = 0
    previous = None
    for record in records:
        named = record.get("attributes") if isinstance(record, dict) else None
        if not isinstance(named, dict) or not named.get("type"):
            raise SalesforceRowError(
                "JSON_PARSER_ERROR", f"{POLYMORPHIC} at [line:1, column:1]"
            )  # [R]: the odd answer to a missing type
        chunks += named["type"] != previous
        previous = named["type"]
    if chunks > CHUNKS:
        raise SalesforceRowError("INVALID_INPUT", f"Cannot have more than {CHUNKS} chunks in a single operation.")
    call.rows = len(records)
    return records, body.get("allOrNone") is True


def _made(org: SalesforceOrg, record: Mapping[str, Any]) -> Any:
    type_ = record["attributes"]["type"]
    made = org.schema.get(type_)
    if made is None:
        raise SalesforceRowError("INVALID_TYPE", f"sObject type '{type_}' is not supported.")
    return made


def _each(
    org: SalesforceOrg, call: TwinCall, records: list[dict[str, Any]], strict: bool, work: RowWork
) -> TwinResponse:
    """One result a record, in the order of the records; HTTP 200 even when every one of them failed [D]."""
    start = org.store.savepoint()
    results: list[dict[str, Any]] = []
    failed = False
    for index, record in enumerate(records):
        savepoint = org.store.savepoint()
        try:
            results.append(org.spare(call, index, record, lambda r=record: work(r)))  # type: ignore[misc]
        except SalesforceRowError as error:
            org.store.rollback(savepoint)
            results.append({"success": False, "errors": [error.body("statusCode")]})
            failed = True
    if strict and failed:
        org.store.rollback(start)
        rolled = {"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK", "message": _ROLLED_BACK, "fields": []}
        results = [{"success": False, "errors": [rolled]} if r["success"] else r for r in results]
    return TwinResponse(200, results)


# Composite.


def operations(org: SalesforceOrg, call: TwinCall) -> tuple[str, ...]:
    """The operations inside a composite call, for the fault plan; empty when its body cannot be read."""
    try:
        requests = call.json()["compositeRequest"]
        calls = [make_call(str(r["method"]), str(r["url"])) for r in requests]
    except (ValueError, KeyError, TypeError):
        return ()  # the handler says what is wrong with it
    return tuple(org.resource(c.method, c.segments[3:])[0] for c in calls)


def composite(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    body = call.json()
    requests = body.get("compositeRequest") if isinstance(body, dict) else None
    if not isinstance(requests, list) or not requests:
        raise SalesforceRowError(
            "JSON_PARSER_ERROR", "The compositeRequest must be a list of subrequests at [line:1, column:1]"
        )
    _check_sizes(requests, call.inner)
    strict = body.get("allOrNone") is True
    start = org.store.savepoint()
    answers: list[dict[str, Any]] = []
    known: dict[str, Any] = {}
    for request in requests:
        answer = _subrequest(org, call, request, known)
        reference = request["referenceId"]
        if answer.status < 300:
            known[reference] = answer.body
        answers.append(
            {
                "body": answer.body,
                "httpHeaders": {k: v for k, v in answer.headers.items() if k == "Location"},
                "httpStatusCode": answer.status,
                "referenceId": reference,
            }
        )
    if strict and any(a["httpStatusCode"] >= 300 for a in answers):
        org.store.rollback(start)
        for made in answers:
            if made["httpStatusCode"] < 300:
                made["body"] = [{"errorCode": "PROCESSING_HALTED", "message": _HALTED}]
                made["httpStatusCode"] = 400
    return TwinResponse(200, {"compositeResponse": answers})


def _check_sizes(requests: list[Any], inner: tuple[str, ...]) -> None:
    if len(requests) > SUBREQUESTS:
        raise SalesforceRowError(
            "INVALID_INPUT", f"The composite request has {len(requests)} subrequests, at most {SUBREQUESTS} are allowed"
        )  # [M]
    if sum(o in HEAVY_OPERATIONS for o in inner) > HEAVY:
        raise SalesforceRowError(
            "INVALID_INPUT", f"At most {HEAVY} subrequests can be sObject collections or query operations"
        )  # wording [M]
    references = Counter(r.get("referenceId") for r in requests if isinstance(r, dict))
    if len(references) != len(requests) or not all(
        isinstance(r, str) and re.fullmatch(r"[A-Za-z]\w*", r) for r in references
    ):
        raise SalesforceRowError(
            "INVALID_INPUT", "Every subrequest needs a referenceId of letters, digits and underscores, used once"
        )  # [M]


def _subrequest(org: SalesforceOrg, call: TwinCall, request: dict[str, Any], known: Mapping[str, Any]) -> TwinResponse:
    try:
        url = _resolve(str(request.get("url", "")), known)
        body = _resolve(request.get("body"), known)
    except SalesforceRowError as error:
        return org.error(error.status, error.code, error.message)
    made = make_call(str(request.get("method", "")), url, orjson.dumps(body), sub=True)
    made.headers, made.number = call.headers, call.number
    if made.segments[:2] != ("services", "data") or len(made.segments) < 4:
        return org.error(404, "NOT_FOUND", "The requested resource does not exist")
    made.operation, handler = org.resource(made.method, made.segments[3:])
    if handler is None or made.operation == "composite":
        return org.error(404, "NOT_FOUND", "The requested resource does not exist")
    struck = org.plan.fire(made, has_rows=made.operation in org.row_operations)
    made.row_faults = [f for f in struck if f.do == "row"]
    spoiled = next((f for f in struck if f.do != "row"), None)
    answer = org.spoil(made, spoiled) if spoiled is not None else org.guarded(made, handler)
    call.rows += made.rows
    return answer


def _resolve(value: Any, known: Mapping[str, Any]) -> Any:
    """Replaces `@{ref.id}` by what an earlier subrequest answered."""
    if isinstance(value, dict):
        return {k: _resolve(v, known) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, known) for v in value]
    if not isinstance(value, str) or "@{" not in value:
        return value

    def one(match: re.Match[str]) -> str:
        found: Any = known.get(match.group(1))
        for index, name in re.findall(r"\[(\d+)\]|\.(\w+)", match.group(2)):
            try:
                found = found[int(index)] if index else found[name]
            except (KeyError, IndexError, TypeError):
                found = None
        if found is None:
            text = f"Invalid reference specified. No value for {match.group(0)[2:-1]} found in {match.group(1)}"
            raise SalesforceRowError("PROCESSING_HALTED", text)
        return str(found)

    return _REFERENCE.sub(one, value)
