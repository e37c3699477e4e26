"""What Salesforce says, as syncd's failure classes: a table by code, and by words of the message where a code has several
meanings. Used by the client (whole answers), the destination (rows) and auth (the token endpoint). Source: salesforce.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

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
from syncd.http import Response, throttled

CONCURRENCY_PAUSE = 10.0
"""Seconds to wait when too many long requests run: "back off seconds"."""
LOGIN_PAUSE = 900.0
"""Seconds to wait when the user signed in more than 3,600 times in an hour."""


class Meaning(Enum):
    """What a code means for the row or call it stands for."""

    RETRY = auto()
    BUSY = auto()
    QUOTA = auto()
    SESSION = auto()
    STOP = auto()
    RULE = auto()
    WRONG = auto()
    STALE = auto()
    DUPLICATE_RULE = auto()
    DUPLICATE_VALUE = auto()


_CODES: dict[Meaning, str] = {
    Meaning.RETRY: (
        "UNABLE_TO_LOCK_ROW SERVER_UNAVAILABLE QUERY_TIMEOUT REQUEST_RUNNING_TOO_LONG UNKNOWN_EXCEPTION FAILED_WRITE "
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE ENTITY_IS_LOCKED ALL_OR_NONE_OPERATION_ROLLED_BACK "
        "PROCESSING_HALTED"
    ),
    Meaning.QUOTA: "REQUEST_LIMIT_EXCEEDED STORAGE_LIMIT_EXCEEDED",
    Meaning.SESSION: "INVALID_SESSION_ID INVALID_AUTH_HEADER",
    Meaning.STOP: "API_CURRENTLY_DISABLED API_DISABLED_FOR_ORG UNSUPPORTED_API_VERSION",
    Meaning.RULE: "INVALID_TYPE INVALID_FIELD INVALID_FIELD_FOR_INSERT_UPDATE MALFORMED_QUERY INVALID_QUERY_FILTER_OPERATOR",
    Meaning.WRONG: (
        "REQUIRED_FIELD_MISSING STRING_TOO_LONG INVALID_EMAIL_ADDRESS INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST "
        "FIELD_CUSTOM_VALIDATION_EXCEPTION FIELD_INTEGRITY_EXCEPTION MALFORMED_ID JSON_PARSER_ERROR "
        "DUPLICATE_EXTERNAL_ID TXN_SECURITY_NO_ACCESS CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY NUMBER_OUTSIDE_VALID_RANGE "
        "MISSING_ARGUMENT"
    ),
    Meaning.STALE: "ENTITY_IS_DELETED INVALID_CROSS_REFERENCE_KEY CANNOT_UPDATE_CONVERTED_LEAD NOT_FOUND",
    Meaning.DUPLICATE_RULE: "DUPLICATES_DETECTED",
    Meaning.DUPLICATE_VALUE: "DUPLICATE_VALUE",
}
CODES: dict[str, Meaning] = {code: meaning for meaning, codes in _CODES.items() for code in codes.split()}
"""Code -> meaning, where the message does not say otherwise."""
FAMILIES: tuple[tuple[str, Meaning], ...] = (("INSUFFICIENT_ACCESS", Meaning.WRONG),)
"""Beginning of a code -> meaning, for codes that come in many forms."""

MESSAGES: tuple[tuple[str, str, Meaning], ...] = (
    ("*", "UNABLE_TO_LOCK_ROW", Meaning.RETRY),
    ("*", "Too many SOQL queries", Meaning.RETRY),
    ("REQUEST_LIMIT_EXCEEDED", "Concurrent", Meaning.BUSY),
    ("NOT_FOUND", "external ID field", Meaning.RULE),
    ("NOT_FOUND", "requested resource does not exist", Meaning.RULE),
    ("INVALID_CROSS_REFERENCE_KEY", "Record Type ID", Meaning.WRONG),
)
"""(code or *, words of the message, meaning): the first that fits comes before CODES."""

TOKEN_ERRORS: tuple[tuple[str, str, Meaning], ...] = (
    ("*", "login rate exceeded", Meaning.BUSY),
    ("rate_limit_exceeded", "", Meaning.BUSY),
    ("unknown_error", "", Meaning.RETRY),
    ("server_error", "", Meaning.RETRY),
    ("temporarily_unavailable", "", Meaning.RETRY),
)
"""(error, words of its description, meaning) of the token endpoint; every other refusal needs a person."""

_FIELD = (
    re.compile(r"No such column '([\w.]+)'"),
    re.compile(r"is not accessible: (\w+)"),
    re.compile(r"field '(\w+)'"),
    re.compile(r"duplicate value found: (\w+)"),
    re.compile(r"^(\w+__c|\w+Id)\b"),
)
_HOLDER = re.compile(r"record with id: (\w{15,18})")


@dataclass(frozen=True)
class Said:
    """One error as Salesforce words it, whichever of its two shapes it came in."""

    code: str
    message: str
    fields: tuple[str, ...] = ()
    existing_id: str = ""

    @property
    def field(self) -> str:
        """The field it speaks of, "" if it names none."""
        if self.fields:
            return self.fields[0]
        return next((found[1] for pattern in _FIELD if (found := pattern.search(self.message))), "")

    @property
    def meaning(self) -> Meaning | None:
        """None: a code no table lists."""
        for code, words, meaning in MESSAGES:
            if code in ("*", self.code) and words in self.message:
                return meaning
        family = next((meaning for start, meaning in FAMILIES if self.code.startswith(start)), None)
        return CODES.get(self.code, family)


def said(error: Any) -> Said:
    """Reads one error object: `statusCode` (rows) or `errorCode` (whole answers), fields, duplicateResult."""
    if not isinstance(error, Mapping):
        return Said("", str(error)[:200])
    code = str(error.get("statusCode") or error.get("errorCode") or "")
    fields = tuple(str(f) for f in _listed(error.get("fields")))
    message = str(error.get("message") or "")
    holder = _HOLDER.search(message)
    existing = _matched_id(error.get("duplicateResult")) or (holder[1] if holder else "")
    return Said(code, message[:500], fields, existing)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _matched_id(result: Any) -> str:
    """The id of the first record a duplicate rule matched (`duplicateResult.matchResults[].matchRecords[].record.Id`)."""
    matches = _listed(result.get("matchResults")) if isinstance(result, Mapping) else []
    for match in matches:
        for one in _listed(match.get("matchRecords")) if isinstance(match, Mapping) else ():
            record = one.get("record") if isinstance(one, Mapping) else None
            if isinstance(record, Mapping) and record.get("Id"):
                return str(record["Id"])
    return ""


def failure(errors: Any, *, key_field: str = "") -> Failure:
    """What the errors of a row (or of a refused collection) mean; the first error that any table knows decides."""
    spoken = [said(e) for e in errors] if isinstance(errors, list) else [said(errors)]
    one = next((s for s in spoken if s.meaning is not None), spoken[0] if spoken else Said("", "no reason was given"))
    return _FAILURES[one.meaning](one, key_field)


def _duplicate_value(one: Said, key_field: str) -> Failure:
    """Our own key: somebody else's upsert came first, ours will match now. Another unique field: the row is wrong."""
    if not key_field or one.field.lower() == key_field.lower() or "external id specified" in one.message:
        return Transient(one.message, code=one.code)
    return Rejected(one.message, code=one.code, field=one.field, existing_id=one.existing_id)


def _duplicate_rule(one: Said, _: str) -> Failure:
    if one.existing_id:
        return Rejected(one.message, code=one.code, existing_id=one.existing_id)
    return StaleReference(one.message, code=one.code)


_FAILURES: dict[Meaning | None, Callable[[Said, str], Failure]] = {
    None: lambda one, _: Transient(one.message, code=one.code or "no code", known=False),
    Meaning.RETRY: lambda one, _: Transient(one.message, code=one.code),
    Meaning.BUSY: lambda one, _: RateLimited(one.message, code=one.code, retry_after=CONCURRENCY_PAUSE),
    Meaning.QUOTA: lambda one, _: QuotaExhausted(one.message, code=one.code),
    Meaning.SESSION: lambda one, _: AuthExpired(one.message, code=one.code),
    Meaning.STOP: lambda one, _: Misconfigured(one.message, code=one.code),
    Meaning.RULE: lambda one, _: Misconfigured(one.message, code=one.code, scope=Scope.RULE, field=one.field),
    Meaning.WRONG: lambda one, _: Rejected(one.message, code=one.code, field=one.field, existing_id=one.existing_id),
    Meaning.STALE: lambda one, _: StaleReference(one.message, code=one.code, field=one.field),
    Meaning.DUPLICATE_RULE: _duplicate_rule,
    Meaning.DUPLICATE_VALUE: _duplicate_value,
}


def answer_failure(status: int, body: Any, *, write: bool, key_field: str = "") -> Failure:
    """What a refused request or subrequest means. `body`: the parsed JSON, None when it is none (an HTML page)."""
    errors: Sequence[Any] = body if isinstance(body, list) else [body] if isinstance(body, Mapping) else []
    spoken = said(errors[0]) if errors else Said("", "")
    lost = status >= 500 and spoken.code not in SAFE_5XX
    if lost:
        text = f"HTTP {status} {spoken.code or 'without a reason'}: {spoken.message}".rstrip(": ")
        return Ambiguous(text, code=spoken.code or str(status)) if write else Transient(text, code=str(status))
    if 300 <= status < 400:
        return Misconfigured(f"HTTP {status}: the org moved; set login_url to its current My Domain", code=str(status))
    if not spoken.code:
        return _BARE.get(status, _bare_unknown)(status)
    return failure(list(errors), key_field=key_field)


SAFE_5XX = frozenset({"SERVER_UNAVAILABLE", "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE"})
"""Codes of 5xx answers that say the request was not worked on; after any other the outcome is unknown."""


def _bare_unknown(status: int) -> Failure:
    return Transient(f"HTTP {status} with a body that names no error code", code=str(status), known=False)


_BARE: dict[int, Callable[[int], Failure]] = {
    401: lambda s: AuthExpired(f"HTTP {s}", code=str(s)),
    404: lambda s: Misconfigured(f"HTTP {s}: no such resource; check api_version and login_url", code=str(s)),
    406: lambda s: Transient(f"HTTP {s}", code=str(s)),
    420: lambda s: RateLimited(f"HTTP {s}", code=str(s), retry_after=CONCURRENCY_PAUSE),
    429: lambda s: RateLimited(f"HTTP {s}", code=str(s)),
}
"""Status -> failure, for answers without a code."""


def response_failure(response: Response, now: datetime) -> Failure:
    """What a whole answer that is not 2xx means."""
    slow = throttled(response, now)
    if slow is not None:
        return slow
    return answer_failure(response.status, parsed(response), write=response.write)


def parsed(response: Response) -> Any:
    """The JSON of a refusal, None when it has none."""
    try:
        return response.json()
    except (Ambiguous, Transient):
        return None


def token_failure(response: Response, now: datetime) -> Failure:
    """What a refusal of the token endpoint means: `{"error": …, "error_description": …}`, mostly with 400."""
    slow = throttled(response, now)
    if slow is not None:
        return slow
    body = parsed(response)
    error, text = "", ""
    if isinstance(body, Mapping):
        error, text = str(body.get("error") or ""), str(body.get("error_description") or "")[:300]
    for code, words, meaning in TOKEN_ERRORS:
        if code in ("*", error) and words in text and (error or text):
            if meaning is Meaning.BUSY:
                return RateLimited(text or error, code=error, retry_after=LOGIN_PAUSE)
            return Transient(text, code=error)
    if response.status >= 500 or not error:
        if 400 <= response.status < 500:
            return Misconfigured(f"HTTP {response.status} from login_url, no token; is it right?", code="token")
        return Transient(f"HTTP {response.status} from the token endpoint", code=str(response.status))
    return Misconfigured(f"Salesforce refuses to sign in: {text or error}; check auth", code=error)
