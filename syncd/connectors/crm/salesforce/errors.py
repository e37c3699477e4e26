"""What Salesforce says, as syncd's failure classes: a table by code, and where a code has several meanings by the field it
names or by an identifier in its message. Used by the client (whole answers) and the destination (rows); errors of the token
endpoint are in `connectors.accounts.salesforce`.

Messages are written in the language of the user that syncd signs in as: no decision depends on their wording. Codes, API names
of fields, names of limits and of Apex classes, and ids are the same in every language.
Sources: salesforce.md; the status and exception codes of the SOAP API ("Core Data Types"), which REST uses as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from syncd.connectors.answers import listed, mappings, parsed, refusal
from syncd.errors import (
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
from syncd.http.error_table import ErrorTable, Means, VendorError, dig

BUSY = Means(RateLimited, pause=10.0)
"""Too many long requests run at once: "back off seconds"."""
RULE = Means(Misconfigured, scope=Scope.RULE)
WRONG = Means(Rejected)
UNKNOWN_ADDRESS = Means(Transient, "no such resource; check api_version and login_url")
MOVED = Means(Misconfigured, "the org moved; set login_url to its current My Domain")
FULL = "the org is full: make room (Setup, Storage Usage) or extend the subscription"

CODES: Mapping[str, Means] = {
    "SERVER_UNAVAILABLE INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE": Means(Transient, did_nothing=True),
    "UNABLE_TO_LOCK_ROW QUERY_TIMEOUT REQUEST_RUNNING_TOO_LONG UNKNOWN_EXCEPTION FAILED_WRITE ENTITY_IS_LOCKED "
    "ALL_OR_NONE_OPERATION_ROLLED_BACK PROCESSING_HALTED FUNCTIONALITY_TEMPORARILY_UNAVAILABLE RECORD_IN_USE_BY_WORKFLOW "
    "TERRITORY_REALIGN_IN_PROGRESS PLATFORM_EVENT_PUBLISHING_UNAVAILABLE PLATFORM_EVENT_PUBLISH_FAILED "
    "System.LimitException": Means(Transient),
    "TOO_MANY_APEX_REQUESTS Concurrent*": BUSY,
    "REQUEST_LIMIT_EXCEEDED LIMIT_EXCEEDED EXCEEDED_QUOTA": Means(QuotaExhausted),
    "STORAGE_LIMIT_EXCEEDED LICENSE_LIMIT_EXCEEDED": Means(QuotaExhausted, FULL),
    "INVALID_SESSION_ID INVALID_AUTH_HEADER": Means(AuthExpired),
    "API_CURRENTLY_DISABLED API_DISABLED_FOR_ORG UNSUPPORTED_API_VERSION UNSUPPORTED_CLIENT ORG_LOCKED TRIAL_EXPIRED "
    "ORG_NOT_OWNED_BY_INSTANCE PASSWORD_LOCKOUT INVALID_OPERATION_WITH_EXPIRED_PASSWORD LOGIN_DURING_RESTRICTED_DOMAIN "
    "LOGIN_DURING_RESTRICTED_TIME CLIENT_NOT_ACCESSIBLE_FOR_USER CLIENT_REQUIRE_UPDATE_FOR_USER "
    "INVALID_READ_ONLY_USER_DML": Means(Misconfigured),
    "INVALID_TYPE INVALID_FIELD INVALID_FIELD_FOR_INSERT_UPDATE MALFORMED_QUERY INVALID_QUERY_FILTER_OPERATOR "
    "INVALID_TYPE_FOR_OPERATION QUERY_TOO_COMPLICATED FUNCTIONALITY_NOT_ENABLED PACKAGE_LICENSE_REQUIRED "
    "FEED_NOT_ENABLED_FOR_OBJECT INVALID_ASSIGNMENT_RULE INVALID_ID_FIELD METHOD_NOT_ALLOWED": RULE,
    "REQUIRED_FIELD_MISSING STRING_TOO_LONG INVALID_EMAIL_ADDRESS INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST "
    "FIELD_CUSTOM_VALIDATION_EXCEPTION FIELD_FILTER_VALIDATION_EXCEPTION FIELD_INTEGRITY_EXCEPTION MALFORMED_ID "
    "JSON_PARSER_ERROR DUPLICATE_EXTERNAL_ID TXN_SECURITY_NO_ACCESS CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY "
    "CANNOT_EXECUTE_FLOW_TRIGGER APEX_ERROR SELF_REFERENCE_FROM_TRIGGER CIRCULAR_DEPENDENCY NUMBER_OUTSIDE_VALID_RANGE "
    "MISSING_ARGUMENT INACTIVE_OWNER_OR_USER TRANSFER_REQUIRES_READ INVALID_STATUS INVALID_OPERATION ALREADY_IN_PROCESS "
    "ENTITY_IS_ARCHIVED INVALID_TYPE_ON_FIELD_IN_RECORD INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD INVALID_CURRENCY_ISO "
    "INVALID_PERSON_ACCOUNT_OPERATION UNAVAILABLE_RECORDTYPE_EXCEPTION TEXT_DATA_OUTSIDE_SUPPORTED_CHARSET "
    "TOO_MANY_ENUM_VALUE MAXIMUM_HIERARCHY_LEVELS_REACHED INSUFFICIENT_ACCESS*": WRONG,
    "ENTITY_IS_DELETED INVALID_CROSS_REFERENCE_KEY CANNOT_UPDATE_CONVERTED_LEAD NOT_FOUND": Means(StaleReference),
    # By our own key, or naming no field: another upsert came first, ours will match now.
    "DUPLICATE_VALUE": Means(Transient),
    "DUPLICATES_DETECTED": Means(StaleReference),
}
_FIELDS = {
    # Looking the person up again does not change these.
    ("INVALID_CROSS_REFERENCE_KEY", "RecordTypeId"): WRONG,
    ("INVALID_CROSS_REFERENCE_KEY", "OwnerId"): WRONG,
}
_STATUSES: Mapping[int, Means] = {
    **dict.fromkeys(range(300, 400), MOVED),
    404: UNKNOWN_ADDRESS,
    406: Means(Transient),
    420: BUSY,
}

_INSIDE = re.compile(r"\b(?:UNABLE_TO_LOCK_ROW|System\.LimitException)\b")
"""A code inside the text of a trigger, the Apex exception of a governor limit: whatever the code around it is."""
_LIMIT = re.compile(r"\bConcurrent[A-Z]\w*")
"""The name of a limit that ends within seconds, where REQUEST_LIMIT_EXCEEDED stands for the day's calls as well."""
_RECORD_TYPE = re.compile(r"\b012[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?\b")
"""The id of a record type: its first three characters tell what it is."""
_CUSTOM = re.compile(r"(?<![\w.])[A-Za-z]\w*__[cC]\b", re.ASCII)
_QUOTED = re.compile(r"""['"\u2018-\u201f\u00ab\u300c]([A-Za-z][\w.]*)['"\u2018-\u201f\u00bb\u300d]""", re.ASCII)
_ID = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{5}0[A-Za-z0-9]{9}(?:[A-Za-z0-9]{3})?(?![A-Za-z0-9])")
"""15 or 18 characters, the sixth of which is 0 (the id's reserved part): a record's id, wherever a text names one."""
PREFIXES = {"001": "Account", "003": "Contact", "00Q": "Lead"}
"""First three characters of an id -> object ("Standard Field Record ID Prefix Decoder", Salesforce Help)."""


def read_errors(body: Any) -> list[VendorError]:
    """The errors of a row (`statusCode`) or of a whole answer (`errorCode`). Never empty."""
    return [_read(one) for one in (body if isinstance(body, list) else [body])] or [
        VendorError("", "no reason was given")
    ]


def _read(error: Any) -> VendorError:
    if not isinstance(error, Mapping):
        return VendorError("", str(error)[:200])
    code = str(error.get("statusCode") or error.get("errorCode") or "")
    message = str(error.get("message") or "")
    names = listed(error.get("fields"))
    found = _CUSTOM.search(message) or _QUOTED.search(message)
    field = str(names[0]) if names else found[found.re.groups] if found else ""
    existing = _matched(error.get("duplicateResult"))
    if code == "DUPLICATE_VALUE" and not existing and (holder := _ID.search(message)):
        existing = ((PREFIXES.get(holder[0][:3], ""), holder[0]),)
    if code == "INVALID_CROSS_REFERENCE_KEY" and _RECORD_TYPE.search(message):
        field = "RecordTypeId"
    inside = _INSIDE.search(message) or (_LIMIT.search(message) if code == "REQUEST_LIMIT_EXCEEDED" else None)
    return VendorError(inside[0] if inside else code, message[:500], field, existing)


def _matched(result: Any) -> tuple[tuple[str, str], ...]:
    """(object, id) of every record that a duplicate rule matched (`duplicateResult.matchResults[].matchRecords[].record`)."""
    found: dict[tuple[str, str], None] = {}
    for match in mappings(result, "matchResults"):
        for one in mappings(match, "matchRecords"):
            if id_ := dig(one, "record.Id"):
                named = dig(one, "record.attributes.type") or PREFIXES.get(str(id_)[:3]) or match.get("entityType")
                found[str(named or ""), str(id_)] = None
    return tuple(found)


ROWS = ErrorTable("", CODES, read_errors, statuses=_STATUSES, fields=_FIELDS)
ABSENT = "NOT_FOUND"
"""Of a whole request: the object or the key field of its path does not exist, or our user may not see it. Of a row: no such
record."""
ANSWERS = replace(ROWS, codes={**CODES, ABSENT: RULE})


def failure(errors: Any, *, key_field: str = "") -> Failure:
    """What the errors of a row mean; the first one that the table knows decides."""
    spoken = read_errors(errors)
    return _duplicate(spoken, key_field) or ROWS.of_row(spoken)


def _duplicate(errors: Sequence[VendorError], key_field: str) -> Failure | None:
    """The failure of a duplicate: by another unique field than our key, or by a duplicate rule, which names the records."""
    one = next((error for error in errors if ROWS.meaning(error)), None)
    if one is None:
        return None
    if one.code == "DUPLICATES_DETECTED" and not one.existing:
        return StaleReference(one.message, code=one.code)
    if one.code == "DUPLICATES_DETECTED":
        named = ", ".join(f"{object_} {id_}".strip() for object_, id_ in one.existing)
        return Rejected(f"{one.message} ({named})", code=one.code, existing=one.existing)
    other = key_field and _CUSTOM.fullmatch(one.field) and one.field.lower() != key_field.lower()
    if one.code == "DUPLICATE_VALUE" and other:
        return Rejected(one.message, code=one.code, field=one.field, existing=one.existing)
    return None


def answer_failure(status: int, body: Any, *, write: bool, key_field: str = "", wait: float | None = None) -> Failure:
    """What a refused request or subrequest means. `body`: the parsed JSON, None when it is not JSON (an HTML page). A Transient
    or Ambiguous one concerns all its records: none of them is the reason."""
    errors = read_errors(body) if isinstance(body, Mapping) or (isinstance(body, list) and body) else []
    meant = _duplicate(errors, key_field) if status < 500 else None
    return (meant or refusal(ANSWERS, errors, status, write=write, wait=wait)).about_call()


USED_UP = 0.98
"""Share of the day's calls from which a refusal is about them: calls that run at the same time are not counted yet."""
_USAGE = re.compile(r"(?:^|[\s,;])api-usage=(\d{1,15})/(\d{1,15})")


def response_failure(response: Response, now: datetime) -> Failure:
    """What a whole answer that is not 2xx means."""
    meant = answer_failure(response.status, parsed(response), write=response.write, wait=response.retry_after(now))
    usage = usage_of(response)
    if meant.code == "REQUEST_LIMIT_EXCEEDED" and usage and usage[0] < USED_UP * usage[1]:
        return RateLimited(meant.message, code=meant.code, retry_after=BUSY.pause)  # too many long requests run at once
    return meant


def usage_of(response: Response) -> tuple[int, int] | None:
    """Calls of the org in 24 hours, and how many it may make (`Sforce-Limit-Info`); None where the answer does not tell."""
    usage = _USAGE.search(response.headers.get("sforce-limit-info", ""))
    return (int(usage[1]), int(usage[2])) if usage else None
