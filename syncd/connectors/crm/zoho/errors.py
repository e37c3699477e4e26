"""What Zoho CRM says, as syncd's failure classes: a table by code and by the field an error names, never by its wording.
Used by the client (whole answers) and the destination (rows).

Sources: zoho.md, "Error classes to implement"; Zoho's published specification of the records API (v8); the API pages "Insert
Records", "Update Records" and "Status Codes". Zoho drops fields it does not know without an error: no table can report that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from syncd.connectors.answers import details_said, listed, mappings, parsed, refusal, together, unwrapped
from syncd.connectors.crm.zoho import scopes
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
    Transient,
)
from syncd.http.client import Response
from syncd.http.error_table import ANY_FIELD, ErrorTable, Means, VendorError, dig

RULE = Means(Misconfigured, scope=Scope.RULE)
WRONG = Means(Rejected)
STALE = Means(StaleReference)
PLACE = Means(Misconfigured, "is data_center right?")
DUPLICATE = "DUPLICATE_DATA"

CODES: Mapping[str, Means] = {
    "RECORD_LOCKED RECORD_IN_PROGRESS NOT_APPROVED ALREADY_SCHEDULED": Means(Transient),
    "INTERNAL_ERROR INTERNAL_SERVER_ERROR": Means(Ambiguous),
    "TOO_MANY_REQUESTS": Means(RateLimited),
    "THRESHOLD_EXCEEDED CREDITS_EXHAUSTED API_LIMIT_EXCEEDED": Means(QuotaExhausted),
    "STORAGE_SPACE_EXCEEDED LICENSE_LIMIT_EXCEEDED RECORD_LIMIT_EXCEEDED": Means(
        QuotaExhausted, "the Zoho account is full: make room or extend the subscription"
    ),
    "INVALID_TOKEN AUTHENTICATION_FAILURE AUTHENTICATION_FAILED": Means(AuthExpired),
    f"{scopes.MISSING} NO_PERMISSION AUTHORIZATION_FAILED FORBIDDEN": Means(
        Misconfigured, f"the refresh token needs the scopes {scopes.LEAST}, and its user the right to write"
    ),
    "INVALID_URL_PATTERN": PLACE,
    "INVALID_MODULE INVALID_QUERY": RULE,
    "FEATURE_NOT_SUPPORTED FEATURE_PERMISSION NOT_SUPPORTED TERRITORY_NOT_ENABLED": replace(
        RULE, why="the edition of this Zoho account has no such feature, or it is switched off"
    ),
    "INVALID_DATA MANDATORY_NOT_FOUND EXPECTED_FIELD_MISSING DEPENDENT_FIELD_MISSING DEPENDENT_MISMATCH MAPPING_MISMATCH "
    "DATA_MISMATCH PATTERN_NOT_MATCHED AMBIGUITY_DURING_PROCESSING UNABLE_TO_PARSE_DATA_TYPE NOT_ALLOWED "
    "RECORD_IN_BLUEPRINT CANNOT_PROCESS CANNOT_PERFORM_ACTION FILE_SIZE_MORE_THAN_ALLOWED_SIZE": WRONG,
    "ID_ALREADY_CONVERTED CONVERTED_RECORD NOT_FOUND NO_RECORDS_FOUND": STALE,
    DUPLICATE: WRONG,
    "LIMIT_EXCEEDED LIMIT_REACHED INVALID_REQUEST_METHOD REQUIRED_PARAM_MISSING SYNTAX_ERROR": Means(
        Misconfigured, "syncd asked for what Zoho does not allow, please report it"
    ),
}
_FIELDS = {
    **dict.fromkeys([("INVALID_DATA", name) for name in ("id", "Who_Id", "What_Id", "Parent_Id")], STALE),
    ("INVALID_DATA", "duplicate_check_fields"): RULE,
    ("LIMIT_EXCEEDED", ANY_FIELD): WRONG,
}
"""A link whose record is gone, a check field that is not unique, too many parts of one field (participants, lines of a form)."""
_STATUSES: Mapping[int, Means] = {
    **dict.fromkeys(range(300, 400), Means(Misconfigured, "the CRM is elsewhere; is data_center right?")),
    404: Means(Transient, "no such resource; check base_url and data_center"),
}

MULTIPLE = "MULTIPLE_OR_MULTI_ERRORS"
"""The code around several errors of one row, which stand in `details.errors`."""
_EXPECTED: Mapping[str, str] = {
    "maximum_length": "at most {} characters",
    "expected_data_type": "expected: {}",
    "regex": "pattern: {}",
    "limit": "limit: {}",
    "reason": "{}",
    "supported_values": "one of: {}",
}
"""What the details say about the value that was expected."""
_PATH = re.compile(r"\$\.data\[\d+\]\.?([A-Za-z]\w*)?")


def parts(error: Any) -> list[VendorError]:
    """The errors that an error object stands for: itself, or those it wraps (`details.errors`, or `errors` beside the code),
    however deep. Never empty."""
    return [read_error(one) for one in unwrapped(error, _within)]


def _within(error: Any) -> Sequence[Any]:
    details = dig(error, "details")
    coded = any(one.get("code") for one in mappings(details))
    lists = (dig(details, "errors"), dig(error, "errors"), details if coded else ())
    return next(filter(None, map(listed, lists)), ())


def read_error(error: Any) -> VendorError:
    """Reads one error object: `{code, message, details: {api_name, json_path, id or duplicate_record.id, …}}`."""
    if not isinstance(error, Mapping):
        return VendorError("", str(error)[:200])
    details, code = error.get("details"), str(error.get("code") or "")
    path = _PATH.search(str(dig(details, "json_path") or ""))
    names = (dig(details, "api_name"), path and path[1], dig(details, "column_name"), dig(details, "param_name"))
    message = f"{str(error.get('message') or '')[:500]}{details_said(details, _EXPECTED)}".strip()
    named = next(filter(None, names), "")
    return VendorError(code, message, str(named), _existing(details) if code == DUPLICATE else ())


def _existing(details: Any) -> tuple[tuple[str, str], ...]:
    """(module, id) of every record named: `duplicate_record`, one or a list of them, else the bare `id`."""
    told = dig(details, "duplicate_record") or dig(details, "duplicate_records")
    holders = [one for one in (told if isinstance(told, list) else [told]) if dig(one, "id")]
    found = holders or [one for one in [details] if dig(one, "id")]
    return tuple(dict.fromkeys((str(dig(one, "module.api_name") or ""), str(dig(one, "id"))) for one in found))


ROWS = ErrorTable("", CODES, parts, statuses=_STATUSES, fields=_FIELDS)
ANSWERS = replace(ROWS, codes={**CODES, "NOT_FOUND NO_RECORDS_FOUND": PLACE})
"""Of a whole answer they mean: there is no such address. Of a row: no such record."""


def failure(one: VendorError, *, write: bool = True) -> Failure:
    """What an error of a row means."""
    meant = ROWS.of_row([one], write=write)
    if isinstance(meant, StaleReference) and meant.field == "id":
        meant.field = ""  # the record itself, not one that it points at
    return meant


def answer_failure(response: Response, now: datetime) -> Failure:
    """What a whole answer that brings no rows means."""
    told, wait = parts(parsed(response) or {}), response.retry_after(now)
    meant = [refusal(ANSWERS, [one], response.status, write=response.write, wait=wait, now=now) for one in told]
    return together(meant)


def refuses_token(response: Response) -> bool:
    """Whether a 401 is about the token: Zoho says 401 to a missing scope as well, which a new token would not fix."""
    means = ANSWERS.meaning(parts(parsed(response) or {})[0])
    return means is None or means.failure is not Misconfigured
