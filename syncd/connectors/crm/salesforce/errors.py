"""What Salesforce says, as syncd's failure classes: a table by code, and where a code has several meanings by the field it
names or by an identifier in its message. Used by the client (whole answers), the destination (rows) and auth (the token
endpoint).

Messages are written in the language of the user that syncd signs in as: no decision depends on their wording. Codes, API names
of fields, names of limits and of Apex classes, and ids are the same in every language.
Sources: salesforce.md; the status and exception codes of the SOAP API ("Core Data Types"), which REST uses as well.
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
    TooLarge,
    Transient,
)
from syncd.http.client import TOO_LARGE, Response, throttled

CONCURRENCY_PAUSE = 10.0
"""Seconds to wait when too many long requests run: "back off seconds"."""
LOGIN_PAUSE = 900.0
"""Seconds to wait when the user signed in more than 3,600 times in an hour."""


class SalesforceMeaning(Enum):
    """What a code means for the row or call it stands for."""

    RETRY = auto()
    BUSY = auto()
    QUOTA = auto()
    FULL = auto()
    SESSION = auto()
    STOP = auto()
    RULE = auto()
    WRONG = auto()
    STALE = auto()
    DUPLICATE_RULE = auto()
    DUPLICATE_VALUE = auto()


_CODES: dict[SalesforceMeaning, str] = {
    SalesforceMeaning.RETRY: (
        "UNABLE_TO_LOCK_ROW SERVER_UNAVAILABLE QUERY_TIMEOUT REQUEST_RUNNING_TOO_LONG UNKNOWN_EXCEPTION FAILED_WRITE "
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE ENTITY_IS_LOCKED ALL_OR_NONE_OPERATION_ROLLED_BACK "
        "PROCESSING_HALTED FUNCTIONALITY_TEMPORARILY_UNAVAILABLE RECORD_IN_USE_BY_WORKFLOW TERRITORY_REALIGN_IN_PROGRESS "
        "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE PLATFORM_EVENT_PUBLISH_FAILED"
    ),
    SalesforceMeaning.BUSY: "TOO_MANY_APEX_REQUESTS",
    SalesforceMeaning.QUOTA: "REQUEST_LIMIT_EXCEEDED LIMIT_EXCEEDED EXCEEDED_QUOTA",
    SalesforceMeaning.FULL: "STORAGE_LIMIT_EXCEEDED LICENSE_LIMIT_EXCEEDED",
    SalesforceMeaning.SESSION: "INVALID_SESSION_ID INVALID_AUTH_HEADER",
    SalesforceMeaning.STOP: (
        "API_CURRENTLY_DISABLED API_DISABLED_FOR_ORG UNSUPPORTED_API_VERSION UNSUPPORTED_CLIENT ORG_LOCKED TRIAL_EXPIRED "
        "ORG_NOT_OWNED_BY_INSTANCE PASSWORD_LOCKOUT INVALID_OPERATION_WITH_EXPIRED_PASSWORD LOGIN_DURING_RESTRICTED_DOMAIN "
        "LOGIN_DURING_RESTRICTED_TIME CLIENT_NOT_ACCESSIBLE_FOR_USER CLIENT_REQUIRE_UPDATE_FOR_USER "
        "INVALID_READ_ONLY_USER_DML"
    ),
    SalesforceMeaning.RULE: (
        "INVALID_TYPE INVALID_FIELD INVALID_FIELD_FOR_INSERT_UPDATE MALFORMED_QUERY INVALID_QUERY_FILTER_OPERATOR "
        "INVALID_TYPE_FOR_OPERATION QUERY_TOO_COMPLICATED FUNCTIONALITY_NOT_ENABLED PACKAGE_LICENSE_REQUIRED "
        "FEED_NOT_ENABLED_FOR_OBJECT INVALID_ASSIGNMENT_RULE INVALID_ID_FIELD METHOD_NOT_ALLOWED"
    ),
    SalesforceMeaning.WRONG: (
        "REQUIRED_FIELD_MISSING STRING_TOO_LONG INVALID_EMAIL_ADDRESS INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST "
        "FIELD_CUSTOM_VALIDATION_EXCEPTION FIELD_FILTER_VALIDATION_EXCEPTION FIELD_INTEGRITY_EXCEPTION MALFORMED_ID "
        "JSON_PARSER_ERROR DUPLICATE_EXTERNAL_ID TXN_SECURITY_NO_ACCESS CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY "
        "CANNOT_EXECUTE_FLOW_TRIGGER APEX_ERROR SELF_REFERENCE_FROM_TRIGGER CIRCULAR_DEPENDENCY NUMBER_OUTSIDE_VALID_RANGE "
        "MISSING_ARGUMENT INACTIVE_OWNER_OR_USER TRANSFER_REQUIRES_READ INVALID_STATUS INVALID_OPERATION ALREADY_IN_PROCESS "
        "ENTITY_IS_ARCHIVED INVALID_TYPE_ON_FIELD_IN_RECORD INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD INVALID_CURRENCY_ISO "
        "INVALID_PERSON_ACCOUNT_OPERATION UNAVAILABLE_RECORDTYPE_EXCEPTION TEXT_DATA_OUTSIDE_SUPPORTED_CHARSET "
        "TOO_MANY_ENUM_VALUE MAXIMUM_HIERARCHY_LEVELS_REACHED"
    ),
    SalesforceMeaning.STALE: "ENTITY_IS_DELETED INVALID_CROSS_REFERENCE_KEY CANNOT_UPDATE_CONVERTED_LEAD NOT_FOUND",
    SalesforceMeaning.DUPLICATE_RULE: "DUPLICATES_DETECTED",
    SalesforceMeaning.DUPLICATE_VALUE: "DUPLICATE_VALUE",
}
CODES: dict[str, SalesforceMeaning] = {code: meaning for meaning, codes in _CODES.items() for code in codes.split()}
"""Code -> meaning, where neither field nor identifier says otherwise."""
FAMILIES: tuple[tuple[str, SalesforceMeaning], ...] = (("INSUFFICIENT_ACCESS", SalesforceMeaning.WRONG),)
"""Beginning of a code -> meaning, for codes that come in many forms."""

WHOLE: Mapping[str, SalesforceMeaning] = {"NOT_FOUND": SalesforceMeaning.RULE}
"""Code -> meaning, where it stands for a whole request: the object or the key field of its path does not exist, or our user
may not see it. Of a row it means: no such record."""

IDENTIFIERS: tuple[tuple[str, re.Pattern[str], SalesforceMeaning], ...] = (
    ("*", re.compile(r"\bUNABLE_TO_LOCK_ROW\b"), SalesforceMeaning.RETRY),
    ("*", re.compile(r"\bSystem\.LimitException\b"), SalesforceMeaning.RETRY),
    ("REQUEST_LIMIT_EXCEEDED", re.compile(r"\bConcurrent[A-Z]\w*"), SalesforceMeaning.BUSY),
)
"""(code or *, what stands in its message whatever the language, meaning): the first that fits comes before CODES. A code inside
the text of a trigger; the Apex exception of a governor limit; the name of a limit that ends within seconds."""

FIELDS: Mapping[tuple[str, str], SalesforceMeaning] = {
    ("INVALID_CROSS_REFERENCE_KEY", "recordtypeid"): SalesforceMeaning.WRONG,
    ("INVALID_CROSS_REFERENCE_KEY", "ownerid"): SalesforceMeaning.WRONG,
}
"""(code, field in lower case) -> meaning, before CODES: looking the person up again does not change these."""
_RECORD_TYPE = re.compile(r"\b012[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?\b")
"""The id of a record type: its first three characters tell what it is."""

TOKEN_ERRORS: tuple[tuple[str, str, SalesforceMeaning], ...] = (
    ("*", "login rate exceeded", SalesforceMeaning.BUSY),
    ("rate_limit_exceeded", "", SalesforceMeaning.BUSY),
    ("unknown_error", "", SalesforceMeaning.RETRY),
    ("server_error", "", SalesforceMeaning.RETRY),
    ("temporarily_unavailable", "", SalesforceMeaning.RETRY),
)
"""(error, its description, meaning) of the token endpoint; every other refusal stops the lane until it is tried again in an
hour. OAuth descriptions are constants of the protocol, not texts in the user's language."""

TOKEN_REMEDIES: Mapping[str, str] = {
    "invalid_client_id": "check auth.client_id, and that login_url is the org the app is in",
    "invalid_client": "check auth.client_id and auth.client_secret",
    "invalid_client_credentials": "check auth.client_id and auth.client_secret",
    "invalid_grant": "check auth: the refresh token, the user of the app, and where the org lets it sign in from",
    "invalid_app_access": "allow syncd's user in the app's policies (Setup, External Client App Manager)",
    "inactive_user": "activate syncd's user, or sign in as another one",
    "inactive_org": "the org is closed or locked; ask its owner",
    "unsupported_grant_type": "switch this flow on in the app, or set auth.flow to one that is",
    "invalid_scope": "give the app the scope api",
    "OAUTH_APP_BLOCKED": "unblock the app: Setup, Connected Apps OAuth Usage",
    "OAUTH_APP_ACCESS_DENIED": "allow syncd's user in the app's policies",
}
"""OAuth error of a refused token -> what to do."""

_CUSTOM = re.compile(r"(?<![\w.])[A-Za-z]\w*__[cC]\b", re.ASCII)
_QUOTED = re.compile(r"""['"\u2018-\u201f\u00ab\u300c]([A-Za-z][\w.]*)['"\u2018-\u201f\u00bb\u300d]""", re.ASCII)
_ID = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{5}0[A-Za-z0-9]{9}(?:[A-Za-z0-9]{3})?(?![A-Za-z0-9])")
"""15 or 18 characters, the sixth of which is 0 (the id's reserved part): a record's id, wherever a text names one."""


@dataclass(frozen=True)
class SalesforceError:
    """One error as Salesforce words it, whichever of its two shapes it came in."""

    code: str
    message: str
    fields: tuple[str, ...] = ()
    existing: tuple[tuple[str, str], ...] = ()

    @property
    def field(self) -> str:
        """The field it speaks of, "" if it names none: as listed, else the API name that its message holds."""
        if self.fields:
            return self.fields[0]
        found = _CUSTOM.search(self.message) or _QUOTED.search(self.message)
        return found[found.re.groups] if found else ""

    @property
    def meaning(self) -> SalesforceMeaning | None:
        """None: a code no table lists."""
        for code, pattern, meaning in IDENTIFIERS:
            if code in ("*", self.code) and pattern.search(self.message):
                return meaning
        if (self.code, self.field.lower()) in FIELDS:
            return FIELDS[self.code, self.field.lower()]
        if self.code == "INVALID_CROSS_REFERENCE_KEY" and _RECORD_TYPE.search(self.message):
            return SalesforceMeaning.WRONG
        family = next((meaning for start, meaning in FAMILIES if self.code.startswith(start)), None)
        return CODES.get(self.code, family)


def read_error(error: Any) -> SalesforceError:
    """Reads one error object: `statusCode` (rows) or `errorCode` (whole answers), fields, duplicateResult."""
    if not isinstance(error, Mapping):
        return SalesforceError("", str(error)[:200])
    code = str(error.get("statusCode") or error.get("errorCode") or "")
    fields = tuple(str(f) for f in _listed(error.get("fields")))
    message = str(error.get("message") or "")
    holder = _ID.search(message) if code == "DUPLICATE_VALUE" else None
    existing = _matched(error.get("duplicateResult"))
    if holder and not existing:
        existing = ((PREFIXES.get(holder[0][:3], ""), holder[0]),)
    return SalesforceError(code, message[:500], fields, existing)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


PREFIXES = {"001": "Account", "003": "Contact", "00Q": "Lead"}
"""First three characters of an id -> object ("Standard Field Record ID Prefix Decoder", Salesforce Help)."""


def _matched(result: Any) -> tuple[tuple[str, str], ...]:
    """(object, id) of every record that a duplicate rule matched (`duplicateResult.matchResults[].matchRecords[].record`)."""
    found: dict[tuple[str, str], None] = {}
    matches = _listed(result.get("matchResults")) if isinstance(result, Mapping) else []
    for match in (one for one in matches if isinstance(one, Mapping)):
        for one in _listed(match.get("matchRecords")):
            record = one.get("record") if isinstance(one, Mapping) else None
            if isinstance(record, Mapping) and record.get("Id"):
                id_, given = str(record["Id"]), record.get("attributes")
                named = given.get("type") if isinstance(given, Mapping) else None
                found[str(named or PREFIXES.get(id_[:3]) or match.get("entityType") or ""), id_] = None
    return tuple(found)


def failure(errors: Any, *, key_field: str = "", whole: bool = False, used_up: bool | None = None) -> Failure:
    """What the errors of a row (or, `whole`, of a refused collection or query) mean; the first error that any table knows
    decides. `used_up`: whether the org's calls of the day are, where its answer tells that."""
    spoken = [read_error(e) for e in errors] if isinstance(errors, list) else [read_error(errors)]
    one = next(
        (s for s in spoken if s.meaning is not None),
        spoken[0] if spoken else SalesforceError("", "no reason was given"),
    )
    meaning = WHOLE.get(one.code, one.meaning) if whole else one.meaning
    if meaning is SalesforceMeaning.QUOTA and one.code == "REQUEST_LIMIT_EXCEEDED" and used_up is False:
        meaning = SalesforceMeaning.BUSY  # the day's calls are not used up: too many long requests run at once
    return _FAILURES[meaning](one, key_field)


def _duplicate_value(one: SalesforceError, key_field: str) -> Failure:
    """Another unique field that is named: the row is wrong. Our own key, or no field at all (a record that our user may not
    see, a key twice in one call): another upsert came first, ours will match now."""
    if key_field and one.field and one.field.lower() != key_field.lower() and _CUSTOM.fullmatch(one.field):
        return Rejected(one.message, code=one.code, field=one.field, existing=one.existing)
    return Transient(one.message, code=one.code)


def _duplicate_rule(one: SalesforceError, _: str) -> Failure:
    if one.existing:
        named = ", ".join(f"{object_} {id_}".strip() for object_, id_ in one.existing)
        return Rejected(f"{one.message} ({named})", code=one.code, existing=one.existing)
    return StaleReference(one.message, code=one.code)


_FAILURES: dict[SalesforceMeaning | None, Callable[[SalesforceError, str], Failure]] = {
    None: lambda one, _: Transient(one.message, code=one.code or "no code", known=False),
    SalesforceMeaning.RETRY: lambda one, _: Transient(one.message, code=one.code),
    SalesforceMeaning.BUSY: lambda one, _: RateLimited(one.message, code=one.code, retry_after=CONCURRENCY_PAUSE),
    SalesforceMeaning.QUOTA: lambda one, _: QuotaExhausted(one.message, code=one.code),
    SalesforceMeaning.FULL: lambda one, _: QuotaExhausted(
        f"{one.message}; the org is full: make room (Setup, Storage Usage) or extend the subscription", code=one.code
    ),
    SalesforceMeaning.SESSION: lambda one, _: AuthExpired(one.message, code=one.code),
    SalesforceMeaning.STOP: lambda one, _: Misconfigured(one.message, code=one.code),
    SalesforceMeaning.RULE: lambda one, _: Misconfigured(one.message, code=one.code, scope=Scope.RULE, field=one.field),
    SalesforceMeaning.WRONG: lambda one, _: Rejected(
        one.message, code=one.code, field=one.field, existing=one.existing
    ),
    SalesforceMeaning.STALE: lambda one, _: StaleReference(one.message, code=one.code, field=one.field),
    SalesforceMeaning.DUPLICATE_RULE: _duplicate_rule,
    SalesforceMeaning.DUPLICATE_VALUE: _duplicate_value,
}


def answer_failure(status: int, body: Any, *, write: bool, key_field: str = "", used_up: bool | None = None) -> Failure:
    """What a refused request or subrequest means. `body`: the parsed JSON, None when it is not JSON (an HTML page). A Transient
    or Ambiguous one concerns all its records: none of them is the reason."""
    return _answer_failure(status, body, write=write, key_field=key_field, used_up=used_up).about_call()


def _answer_failure(status: int, body: Any, *, write: bool, key_field: str, used_up: bool | None) -> Failure:
    errors: Sequence[Any] = body if isinstance(body, list) else [body] if isinstance(body, Mapping) else []
    spoken = read_error(errors[0]) if errors else SalesforceError("", "")
    lost = status >= 500 and spoken.code not in SAFE_5XX
    if lost:
        text = f"HTTP {status} {spoken.code or 'without a reason'}: {spoken.message}".rstrip(": ")
        return Ambiguous(text, code=spoken.code or str(status)) if write else Transient(text, code=str(status))
    if 300 <= status < 400:
        return Misconfigured(f"HTTP {status}: the org moved; set login_url to its current My Domain", code=str(status))
    if not spoken.code:
        return _BARE.get(status, _bare_unknown)(status)
    return failure(list(errors), key_field=key_field, whole=True, used_up=used_up)


SAFE_5XX = frozenset({"SERVER_UNAVAILABLE", "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE"})
"""Codes of 5xx answers that say the request was not worked on; after any other the outcome is unknown."""


def _bare_unknown(status: int) -> Failure:
    return Transient(f"HTTP {status} with a body that names no error code", code=str(status), known=False)


_BARE: dict[int, Callable[[int], Failure]] = {
    401: lambda s: AuthExpired(f"HTTP {s}", code=str(s)),
    404: lambda s: Transient(f"HTTP {s}: no such resource; check api_version and login_url", code=str(s)),
    406: lambda s: Transient(f"HTTP {s}", code=str(s)),
    **dict.fromkeys(TOO_LARGE, lambda s: TooLarge(f"HTTP {s}: the request is too large", code=str(s), known=False)),
    420: lambda s: RateLimited(f"HTTP {s}", code=str(s), retry_after=CONCURRENCY_PAUSE),
    429: lambda s: RateLimited(f"HTTP {s}", code=str(s)),
}
"""Status -> failure, for answers without a code: mostly a proxy's or a gateway's, which speak of the call."""


def response_failure(response: Response, now: datetime) -> Failure:
    """What a whole answer that is not 2xx means."""
    slow = throttled(response, now)
    if slow is not None:
        return slow
    usage = usage_of(response)
    used_up = usage[0] >= USED_UP * usage[1] if usage else None
    return answer_failure(response.status, parsed(response), write=response.write, used_up=used_up)


_USAGE = re.compile(r"(?:^|[\s,;])api-usage=(\d{1,15})/(\d{1,15})")
USED_UP = 0.98
"""Share of the day's calls from which a refusal is about them: calls that run at the same time are not counted yet."""


def usage_of(response: Response) -> tuple[int, int] | None:
    """Calls of the org in 24 hours, and how many it may make (`Sforce-Limit-Info`); None where the answer does not tell."""
    usage = _USAGE.search(response.headers.get("sforce-limit-info", ""))
    return (int(usage[1]), int(usage[2])) if usage else None


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
            if meaning is SalesforceMeaning.BUSY:
                return RateLimited(text or error, code=error, retry_after=LOGIN_PAUSE)
            return Transient(text, code=error)
    if response.status >= 500 or not error:
        if 400 <= response.status < 500:
            text = (
                f"Salesforce gives no token to sign in with: HTTP {response.status} from login_url; is login_url right?"
            )
            return Misconfigured(text, code="token")
        text = f"the sign-in at Salesforce failed: HTTP {response.status} from the token endpoint; it is tried again"
        return Transient(text, code=str(response.status))
    remedy = TOKEN_REMEDIES.get(error, "check auth and login_url")
    return Misconfigured(f"Salesforce refuses to sign in: {text or error}; {remedy}", code=error)
