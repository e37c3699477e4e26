"""What Zoho CRM says, as syncd's failure classes: a table by code and by the field an error names, never by its wording.
Used by the client (whole answers) and the destination (rows).

Sources: zoho.md, "Error classes to implement"; Zoho's published specification of the records API (v8); the API pages "Insert
Records", "Update Records" and "Status Codes". Zoho drops fields it does not know without an error: no table can report that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    TooLarge,
    Transient,
)
from syncd.http.client import TOO_LARGE, Response, throttled, unclear


class ZohoMeaning(Enum):
    """What a code means for the row or call it stands for."""

    RETRY = auto()
    LOST = auto()
    BUSY = auto()
    QUOTA = auto()
    FULL = auto()
    TOKEN = auto()
    STOP = auto()
    PLACE = auto()
    RULE = auto()
    OFF = auto()
    WRONG = auto()
    STALE = auto()
    DUPLICATE = auto()
    BUG = auto()


_CODES: dict[ZohoMeaning, str] = {
    ZohoMeaning.RETRY: "RECORD_LOCKED RECORD_IN_PROGRESS NOT_APPROVED ALREADY_SCHEDULED",
    ZohoMeaning.LOST: "INTERNAL_ERROR INTERNAL_SERVER_ERROR",
    ZohoMeaning.BUSY: "TOO_MANY_REQUESTS",
    ZohoMeaning.QUOTA: "THRESHOLD_EXCEEDED CREDITS_EXHAUSTED API_LIMIT_EXCEEDED",
    ZohoMeaning.FULL: "STORAGE_SPACE_EXCEEDED LICENSE_LIMIT_EXCEEDED RECORD_LIMIT_EXCEEDED",
    ZohoMeaning.TOKEN: "INVALID_TOKEN AUTHENTICATION_FAILURE AUTHENTICATION_FAILED",
    ZohoMeaning.STOP: "OAUTH_SCOPE_MISMATCH NO_PERMISSION AUTHORIZATION_FAILED FORBIDDEN",
    ZohoMeaning.PLACE: "INVALID_URL_PATTERN",
    ZohoMeaning.RULE: "INVALID_MODULE INVALID_QUERY",
    ZohoMeaning.OFF: "FEATURE_NOT_SUPPORTED FEATURE_PERMISSION NOT_SUPPORTED TERRITORY_NOT_ENABLED",
    ZohoMeaning.WRONG: (
        "INVALID_DATA MANDATORY_NOT_FOUND EXPECTED_FIELD_MISSING DEPENDENT_FIELD_MISSING DEPENDENT_MISMATCH MAPPING_MISMATCH "
        "DATA_MISMATCH PATTERN_NOT_MATCHED AMBIGUITY_DURING_PROCESSING UNABLE_TO_PARSE_DATA_TYPE NOT_ALLOWED "
        "RECORD_IN_BLUEPRINT CANNOT_PROCESS CANNOT_PERFORM_ACTION FILE_SIZE_MORE_THAN_ALLOWED_SIZE"
    ),
    ZohoMeaning.STALE: "ID_ALREADY_CONVERTED CONVERTED_RECORD NOT_FOUND NO_RECORDS_FOUND",
    ZohoMeaning.DUPLICATE: "DUPLICATE_DATA",
    ZohoMeaning.BUG: "LIMIT_EXCEEDED LIMIT_REACHED INVALID_REQUEST_METHOD REQUIRED_PARAM_MISSING SYNTAX_ERROR",
}
CODES: dict[str, ZohoMeaning] = {code: meaning for meaning, codes in _CODES.items() for code in codes.split()}
"""Code -> meaning, where the field does not say otherwise."""

WHOLE: Mapping[str, ZohoMeaning] = {"NOT_FOUND": ZohoMeaning.PLACE, "NO_RECORDS_FOUND": ZohoMeaning.PLACE}
"""Code -> meaning, where it stands for a whole answer: there is no such address. Of a row it means: no such record."""

MULTIPLE = "MULTIPLE_OR_MULTI_ERRORS"
"""The code around several errors of one row, which stand in `details.errors`."""
_DEEPEST, _MOST = 6, 100
"""Levels of errors within errors that are read, and errors of one row."""

FIELDS: Mapping[tuple[str, str], ZohoMeaning] = {
    ("INVALID_DATA", "id"): ZohoMeaning.STALE,
    ("INVALID_DATA", "Who_Id"): ZohoMeaning.STALE,
    ("INVALID_DATA", "What_Id"): ZohoMeaning.STALE,
    ("INVALID_DATA", "Parent_Id"): ZohoMeaning.STALE,
    ("INVALID_DATA", "duplicate_check_fields"): ZohoMeaning.RULE,
}
"""(code, field) -> meaning, before CODES: a link whose record is gone, or a check field that is not unique."""

RECORDS, QUERIES, FIELDS_READ, FIELDS_CREATE, ORG, SIGNALS_SEND, SIGNALS_READ = (
    "ZohoCRM.modules.ALL",
    "ZohoCRM.coql.READ",
    "ZohoCRM.settings.fields.READ",
    "ZohoCRM.settings.fields.CREATE",
    "ZohoCRM.org.READ",
    "ZohoCRM.signals.CREATE",
    "ZohoCRM.settings.signals.READ",
)
SCOPES = f"{RECORDS}, {QUERIES} and {FIELDS_READ}"
NO_SCOPE = "OAUTH_SCOPE_MISMATCH"


_SCOPES = {
    "/coql": f"{QUERIES} (and {RECORDS})",
    "/org": ORG,
    "/settings/signals": SIGNALS_READ,
    "/crm/v2/signals/notifications": SIGNALS_SEND,
}
"""Path -> the scope that it takes; any other one is about records."""


def scope_of(method: str, path: str) -> str:
    """The scope that a call takes, below /crm/vN."""
    if path.startswith("/settings/fields"):
        return FIELDS_CREATE if method == "POST" else FIELDS_READ
    return _SCOPES.get(path, RECORDS)


_VALUES_SHOWN = 12
_PATH = re.compile(r"\$\.data\[(\d+)\]\.?([A-Za-z]\w*)?")


@dataclass(frozen=True)
class ZohoError:
    """One error as Zoho words it. `existing`: (module, id) of the records a value collides with, "" for a module that is not
    named."""

    code: str
    message: str
    field: str = ""
    existing: tuple[tuple[str, str], ...] = ()
    limits: str = ""

    @property
    def meaning(self) -> ZohoMeaning | None:
        """None: a code no table lists."""
        if self.code == "LIMIT_EXCEEDED" and self.field:
            return ZohoMeaning.WRONG  # too many parts of one field (participants, lines of a subform), not of our call
        return FIELDS.get((self.code, self.field), CODES.get(self.code))

    @property
    def text(self) -> str:
        return f"{self.message}{self.limits}".strip() or "no reason was given"


def parts(error: Any) -> list[ZohoError]:
    """The errors that an error object stands for: itself, or those it wraps (`details.errors`, or `errors` beside the code),
    however deep. Never empty."""
    return _parts(error, _DEEPEST)[:_MOST]


def _parts(error: Any, levels: int) -> list[ZohoError]:
    if isinstance(error, Mapping) and levels:
        details = error.get("details")
        for holder in (details, error):
            inner = holder.get("errors") if isinstance(holder, Mapping) else None
            if isinstance(inner, list) and inner:
                return [part for one in inner[:_MOST] for part in _parts(one, levels - 1)]
        if isinstance(details, list) and any(isinstance(one, Mapping) and one.get("code") for one in details):
            return [part for one in details[:_MOST] for part in _parts(one, levels - 1)]
    return [read_error(error)]


def read_error(error: Any) -> ZohoError:
    """Reads one error object: `{code, message, details: {api_name, json_path, id or duplicate_record.id, …}}`."""
    if not isinstance(error, Mapping):
        return ZohoError("", str(error)[:200])
    given = error.get("details")
    details: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    path = _PATH.search(str(details.get("json_path") or ""))
    named = (
        details.get("api_name") or (path and path[2]) or details.get("column_name") or details.get("param_name") or ""
    )
    code = str(error.get("code") or "")
    return ZohoError(code, str(error.get("message") or "")[:500], str(named), _existing(details), _limits(details))


def _existing(details: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(module, id) of every record named: `duplicate_record`, one or a list of them, else the bare `id`."""
    holders = details.get("duplicate_record") or details.get("duplicate_records") or ()
    found: dict[tuple[str, str], None] = {}
    for holder in holders if isinstance(holders, list | tuple) else (holders,):
        id_ = holder.get("id") if isinstance(holder, Mapping) else None
        if id_:
            place = holder.get("module")
            found[str(place.get("api_name") or "") if isinstance(place, Mapping) else "", str(id_)] = None
    if not found and details.get("id"):
        found["", str(details["id"])] = None
    return tuple(found)


def _limits(details: Mapping[str, Any]) -> str:
    """What the details say about the value that was expected."""
    shown = {
        "maximum_length": "at most {} characters",
        "expected_data_type": "expected: {}",
        "regex": "pattern: {}",
        "limit": "limit: {}",
        "reason": "{}",
    }
    told = [form.format(details[name]) for name, form in shown.items() if isinstance(details.get(name), str | int)]
    values = details.get("supported_values")
    if isinstance(values, list) and values:
        told.append("one of: " + ", ".join(str(value)[:40] for value in values[:_VALUES_SHOWN]))
    return f" ({', '.join(told)})"[:300] if told else ""


def failure(
    one: ZohoError, *, write: bool = True, whole: bool = False, wait: float | None = None, now: datetime | None = None
) -> Failure:
    """What an error means. `whole`: it stands for a whole answer. `wait`: seconds of a Retry-After header."""
    if one.meaning is ZohoMeaning.BUSY:
        return RateLimited(one.text, code=one.code, retry_after=wait)
    if one.meaning is ZohoMeaning.QUOTA:
        resets = now + timedelta(seconds=wait) if now is not None and wait is not None else None
        return QuotaExhausted(one.text, code=one.code, resets_at=resets)
    if one.meaning is ZohoMeaning.LOST:
        return unclear(one.text, write=write, code=one.code)
    if whole and one.code in WHOLE:
        return _FAILURES[WHOLE[one.code]](one)
    return _FAILURES[one.meaning](one)


def _stale(one: ZohoError) -> Failure:
    return StaleReference(one.text, code=one.code, field="" if one.field == "id" else one.field)


_FAILURES: dict[ZohoMeaning | None, Callable[[ZohoError], Failure]] = {
    None: lambda one: Transient(one.text, code=one.code or "no code", known=False),
    ZohoMeaning.RETRY: lambda one: Transient(one.text, code=one.code),
    ZohoMeaning.FULL: lambda one: QuotaExhausted(
        f"{one.text}; the Zoho account is full: make room or extend the subscription", code=one.code
    ),
    ZohoMeaning.TOKEN: lambda one: AuthExpired(one.text, code=one.code),
    ZohoMeaning.STOP: lambda one: Misconfigured(
        f"{one.text}; the refresh token needs the scopes {SCOPES}, and its user the right to write", code=one.code
    ),
    ZohoMeaning.PLACE: lambda one: Misconfigured(f"{one.text}; is data_center right?", code=one.code),
    ZohoMeaning.RULE: lambda one: Misconfigured(one.text, code=one.code, scope=Scope.RULE, field=one.field),
    ZohoMeaning.OFF: lambda one: Misconfigured(
        f"{one.text}; the edition of this Zoho account has no such feature, or it is switched off",
        code=one.code,
        scope=Scope.RULE,
        field=one.field,
    ),
    ZohoMeaning.WRONG: lambda one: Rejected(one.text, code=one.code, field=one.field),
    ZohoMeaning.STALE: _stale,
    ZohoMeaning.DUPLICATE: lambda one: Rejected(one.text, code=one.code, field=one.field, existing=one.existing),
    ZohoMeaning.BUG: lambda one: Misconfigured(
        f"syncd asked for what Zoho does not allow, please report it: {one.text}", code=one.code, field=one.field
    ),
}


_ORDER: tuple[type[Failure], ...] = (
    RateLimited,
    QuotaExhausted,
    AuthExpired,
    Misconfigured,
    Rejected,
    StaleReference,
    Ambiguous,
    Transient,
)
"""Which of several failures of one row decides: what concerns more than the row first, then what no retry can change."""


def together(failures: Sequence[Failure]) -> Failure:
    """The one failure that several errors of a row amount to; a Rejected names them all. The records with which
    values collide are named."""
    if len(failures) == 1:
        return failures[0]
    worst = min(failures, key=_rank)
    if not isinstance(worst, Rejected):
        return worst
    rejected = [one for one in failures if isinstance(one, Rejected)]
    text = "; ".join(dict.fromkeys(_named(one) for one in rejected))
    existing = tuple(dict.fromkeys(record for one in rejected for record in one.existing))
    return Rejected(text[:1000], code=worst.code, field=worst.field, existing=existing)


def _rank(one: Failure) -> tuple[int, bool]:
    narrow = isinstance(one, Misconfigured) and one.scope is Scope.RULE
    return next(place for place, kind in enumerate(_ORDER) if isinstance(one, kind)), narrow


def _named(one: Rejected) -> str:
    holder = f" (record {one.existing_id} has it)" if one.existing_id else ""
    return f"{one.field or one.code}: {one.message}{holder}"


def answer_failure(response: Response, now: datetime) -> Failure:
    """What a whole answer that brings no rows means."""
    wait = response.retry_after(now)
    told = parts(parsed(response) or {})
    one = told[0]
    if one.meaning in (ZohoMeaning.BUSY, ZohoMeaning.QUOTA):
        return failure(one, wait=wait, now=now)
    slow = throttled(response, now)
    if slow is not None:
        return slow
    if response.status >= 500:
        text = f"HTTP {response.status} {one.code or 'without a reason'}: {one.message}".rstrip(": ")
        return unclear(text, write=response.write, code=one.code or str(response.status))
    if not one.code:
        return _BARE.get(response.status, _bare_unknown)(response.status)
    return together([failure(part, write=response.write, whole=True, now=now) for part in told])


def _bare_unknown(status: int) -> Failure:
    if 300 <= status < 400:
        return Misconfigured(f"HTTP {status}: the CRM is elsewhere; is data_center right?", code=str(status))
    return Transient(f"HTTP {status} with a body that names no error code", code=str(status), known=False)


_BARE: dict[int, Callable[[int], Failure]] = {
    401: lambda s: AuthExpired(f"HTTP {s}", code=str(s)),
    404: lambda s: Transient(f"HTTP {s}: no such resource; check base_url and data_center", code=str(s)),
    **dict.fromkeys(TOO_LARGE, lambda s: TooLarge(f"HTTP {s}: the request is too large", code=str(s), known=False)),
}
"""Status -> failure, for answers without a code: mostly a proxy's or a gateway's, which speak of the call."""


def parsed(response: Response) -> Any:
    """The JSON of an answer, None when it has none."""
    try:
        return response.json()
    except (Ambiguous, Transient):
        return None


def refuses_token(response: Response) -> bool:
    """Whether a 401 is about the token: Zoho says 401 to a missing scope as well, which a new token would not fix."""
    meaning = parts(parsed(response) or {})[0].meaning
    return meaning not in (ZohoMeaning.STOP, ZohoMeaning.PLACE)
