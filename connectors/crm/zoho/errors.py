"""What Zoho CRM says, as syncd's failure classes: a table by code, and by words of the message where a code has several
meanings. Used by the client (whole answers) and the destination (rows). Source: zoho.md, "Error classes to implement".

Zoho drops fields it does not know without a word: no table can turn that into an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
    Transient,
)
from syncd.http import Response, throttled, unclear


class Meaning(Enum):
    """What a code means for the row or call it stands for."""

    RETRY = auto()
    LOST = auto()
    BUSY = auto()
    QUOTA = auto()
    TOKEN = auto()
    STOP = auto()
    PLACE = auto()
    RULE = auto()
    WRONG = auto()
    STALE = auto()
    DUPLICATE = auto()
    BUG = auto()


_CODES: dict[Meaning, str] = {
    Meaning.RETRY: "RECORD_LOCKED RECORD_IN_PROGRESS",
    Meaning.LOST: "INTERNAL_ERROR INTERNAL_SERVER_ERROR",
    Meaning.BUSY: "TOO_MANY_REQUESTS",
    Meaning.QUOTA: "THRESHOLD_EXCEEDED CREDITS_EXHAUSTED API_LIMIT_EXCEEDED",
    Meaning.TOKEN: "INVALID_TOKEN AUTHENTICATION_FAILURE",
    Meaning.STOP: "OAUTH_SCOPE_MISMATCH NO_PERMISSION AUTHORIZATION_FAILED",
    Meaning.PLACE: "INVALID_URL_PATTERN",
    Meaning.RULE: "INVALID_MODULE INVALID_QUERY",
    Meaning.WRONG: (
        "INVALID_DATA MANDATORY_NOT_FOUND DEPENDENT_FIELD_MISSING DEPENDENT_MISMATCH MAPPING_MISMATCH PATTERN_NOT_MATCHED "
        "UNABLE_TO_PARSE_DATA_TYPE NOT_ALLOWED RECORD_IN_BLUEPRINT"
    ),
    Meaning.STALE: "ID_ALREADY_CONVERTED",
    Meaning.DUPLICATE: "DUPLICATE_DATA",
    Meaning.BUG: "LIMIT_EXCEEDED INVALID_REQUEST_METHOD REQUIRED_PARAM_MISSING SYNTAX_ERROR",
}
CODES: dict[str, Meaning] = {code: meaning for meaning, codes in _CODES.items() for code in codes.split()}
"""Code -> meaning, where neither field nor message says otherwise."""

MESSAGES: tuple[tuple[str, str, Meaning], ...] = (
    ("INVALID_DATA", "related id", Meaning.STALE),
    ("INVALID_DATA", "id given seems to be invalid", Meaning.STALE),
)
"""(code, words of the message, meaning): the first that fits comes before CODES."""

FIELDS: Mapping[str, Meaning] = {
    "id": Meaning.STALE,
    "Who_Id": Meaning.STALE,
    "What_Id": Meaning.STALE,
    "Parent_Id": Meaning.STALE,
    "duplicate_check_fields": Meaning.RULE,
}
"""Field of an INVALID_DATA -> meaning, before MESSAGES: a link whose record is gone, or a check field that is not unique."""

SCOPES = "ZohoCRM.modules.ALL, ZohoCRM.coql.READ and ZohoCRM.settings.fields.READ"
_PATH = re.compile(r"\$\.data\[(\d+)\]\.?([A-Za-z]\w*)?")


@dataclass(frozen=True)
class Said:
    """One error as Zoho words it. `existing_id`, `existing_in`: the record a value collides with and its module, if told."""

    code: str
    message: str
    field: str = ""
    existing_id: str = ""
    limits: str = ""
    existing_in: str = ""

    @property
    def meaning(self) -> Meaning | None:
        """None: a code no table lists."""
        if self.code == "INVALID_DATA" and self.field in FIELDS:
            return FIELDS[self.field]
        for code, words, meaning in MESSAGES:
            if code == self.code and words in self.message:
                return meaning
        return CODES.get(self.code)

    @property
    def text(self) -> str:
        return f"{self.message}{self.limits}" or "no reason was given"


def said(error: Any) -> Said:
    """Reads one error object: `{code, message, details: {api_name, json_path, id or duplicate_record.id, …}}`."""
    if not isinstance(error, Mapping):
        return Said("", str(error)[:200])
    given = error.get("details")
    details: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    path = _PATH.search(str(details.get("json_path") or ""))
    named = (
        details.get("api_name") or (path and path[2]) or details.get("column_name") or details.get("param_name") or ""
    )
    holder = details.get("duplicate_record")
    existing, module = details.get("id") or "", ""
    if isinstance(holder, Mapping):
        existing = holder.get("id") or existing
        place = holder.get("module")
        module = str(place.get("api_name") or "") if isinstance(place, Mapping) else ""
    code = str(error.get("code") or "")
    return Said(code, str(error.get("message") or "")[:500], str(named), str(existing), _limits(details), module)


def _limits(details: Mapping[str, Any]) -> str:
    """What the details tell of the value that was expected."""
    shown = {
        "maximum_length": "at most {} characters",
        "expected_data_type": "expected: {}",
        "limit": "limit: {}",
        "reason": "{}",
    }
    parts = [form.format(details[name]) for name, form in shown.items() if isinstance(details.get(name), str | int)]
    return f" ({', '.join(parts)})" if parts else ""


def failure(one: Said, *, write: bool = True, wait: float | None = None, now: datetime | None = None) -> Failure:
    """What an error means. `wait`: seconds of a Retry-After header."""
    if one.meaning is Meaning.BUSY:
        return RateLimited(one.text, code=one.code, retry_after=wait)
    if one.meaning is Meaning.QUOTA:
        resets = now + timedelta(seconds=wait) if now is not None and wait is not None else None
        return QuotaExhausted(one.text, code=one.code, resets_at=resets)
    if one.meaning is Meaning.LOST:
        return unclear(one.text, write=write, code=one.code)
    return _FAILURES[one.meaning](one)


def _stale(one: Said) -> Failure:
    return StaleReference(one.text, code=one.code, field="" if one.field == "id" else one.field)


_FAILURES: dict[Meaning | None, Callable[[Said], Failure]] = {
    None: lambda one: Transient(one.text, code=one.code or "no code", known=False),
    Meaning.RETRY: lambda one: Transient(one.text, code=one.code),
    Meaning.TOKEN: lambda one: AuthExpired(one.text, code=one.code),
    Meaning.STOP: lambda one: Misconfigured(
        f"{one.text}; the refresh token needs the scopes {SCOPES}, and its user the right to write", code=one.code
    ),
    Meaning.PLACE: lambda one: Misconfigured(f"{one.text}; is data_center right?", code=one.code),
    Meaning.RULE: lambda one: Misconfigured(one.text, code=one.code, scope=Scope.RULE, field=one.field),
    Meaning.WRONG: lambda one: Rejected(one.text, code=one.code, field=one.field),
    Meaning.STALE: _stale,
    Meaning.DUPLICATE: lambda one: Rejected(one.text, code=one.code, field=one.field, existing_id=one.existing_id),
    Meaning.BUG: lambda one: Misconfigured(
        f"syncd asked for what Zoho does not allow, please report it: {one.text}", code=one.code, field=one.field
    ),
}


def answer_failure(response: Response, now: datetime) -> Failure:
    """What a whole answer that brings no rows means."""
    wait = response.retry_after(now)
    one = said(parsed(response) or {})
    if one.meaning in (Meaning.BUSY, Meaning.QUOTA):
        return failure(one, wait=wait, now=now)
    slow = throttled(response, now)
    if slow is not None:
        return slow
    if response.status >= 500:
        text = f"HTTP {response.status} {one.code or 'without a reason'}: {one.message}".rstrip(": ")
        return unclear(text, write=response.write, code=one.code or str(response.status))
    if not one.code:
        return _BARE.get(response.status, _bare_unknown)(response.status)
    return failure(one, write=response.write, now=now)


def _bare_unknown(status: int) -> Failure:
    if 300 <= status < 400:
        return Misconfigured(f"HTTP {status}: the CRM is elsewhere; is data_center right?", code=str(status))
    return Transient(f"HTTP {status} with a body that names no error code", code=str(status), known=False)


_BARE: dict[int, Callable[[int], Failure]] = {
    401: lambda s: AuthExpired(f"HTTP {s}", code=str(s)),
    404: lambda s: Misconfigured(f"HTTP {s}: no such resource; check base_url and data_center", code=str(s)),
}
"""Status -> failure, for answers without a code."""


def parsed(response: Response) -> Any:
    """The JSON of an answer, None when it has none."""
    try:
        return response.json()
    except (Ambiguous, Transient):
        return None


def refuses_token(response: Response) -> bool:
    """Whether a 401 is about the token: Zoho says 401 to a missing scope as well, which no new token would mend."""
    meaning = said(parsed(response) or {}).meaning
    return meaning not in (Meaning.STOP, Meaning.PLACE)
