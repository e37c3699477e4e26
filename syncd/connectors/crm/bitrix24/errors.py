"""What Bitrix24 says, as syncd's failure classes: a table by code, never by wording. Used by the client and the destination.

Sources: bitrix24.md, Limits and retry table; bitrix24_more.md, Batch law; Bitrix24's pages of the methods used (Error codes).
Codes come in any case, some are sentences, and one may be empty: they are compared in upper case with _ between the words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from syncd.connectors.answers import parsed, refusal
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
)
from syncd.http.client import Response
from syncd.http.error_table import ErrorTable, Means, VendorError, dig

WRONG = Means(Rejected)
STALE = Means(StaleReference)
OPERATION = "OPERATION_TIME_LIMIT"
SCOPE_MISSING = "INSUFFICIENT_SCOPE"
NO_RIGHT = frozenset({"ACCESS_DENIED"})
"""Codes of a right that our user lacks: said of a command, they speak of its record or object only."""
UNHEARD = Means(Misconfigured, "syncd asked for what Bitrix24 does not allow, please report it")

CODES: Mapping[str, Means] = {
    "QUERY_LIMIT_EXCEEDED": Means(RateLimited),
    OPERATION: Means(RateLimited, "Bitrix24 has given this method all its time for the moment", one_operation=True),
    "OVERLOAD_LIMIT": Means(
        Misconfigured, "Bitrix24 blocked this portal's API by hand: ask its support to lift that", did_nothing=True
    ),
    "INTERNAL_SERVER_ERROR ERROR_UNEXPECTED_ANSWER": Means(Ambiguous),
    "EXPIRED_TOKEN": Means(AuthExpired),
    "NO_AUTH_FOUND INVALID_TOKEN INVALID_CREDENTIALS": Means(
        Misconfigured, "the webhook was removed, has run out or is another portal's: make a new one, or sign in again"
    ),
    "WRONG_AUTH_TYPE ERROR_WRONG_CONTEXT": Means(Misconfigured, "this method needs an application: configure auth"),
    f"{SCOPE_MISSING} USER_ACCESS_ERROR": Means(
        Misconfigured, "give the webhook or application the scope, and its user access to it"
    ),
    "ACCESS_DENIED": Means(
        Misconfigured, "the API needs a commercial plan, and the webhook's user the right to this record"
    ),
    "ALLOWED_ONLY_INTRANET_USER USER_NOT_FOUND_OR_IS_NOT_ACTIVE": Means(
        Misconfigured, "the webhook's user is not an active employee: make a webhook of one who is"
    ),
    "PORTAL_DELETED": Means(Misconfigured, "the portal is closed or has another address", did_nothing=True),
    "PAYMENT_REQUIRED": Means(Misconfigured, "the subscription of this Bitrix24 has ended", did_nothing=True),
    "WRONG_CLIENT": Means(Misconfigured, "check auth.client_id and auth.client_secret"),
    "INVALID_REQUEST": Means(Misconfigured, "base_url must begin with https"),
    "ERROR_METHOD_NOT_FOUND": Means(Misconfigured, "the scope or the edition lacks this method", scope=Scope.RULE),
    "CREATE_DYNAMIC_ITEM_RESTRICTED UPDATE_DYNAMIC_ITEM_RESTRICTED": Means(
        Misconfigured, "the plan of this Bitrix24 does not allow it", scope=Scope.RULE
    ),
    "COMMUNICATION_*": UNHEARD,
    "ERROR_BATCH_LENGTH_EXCEEDED ERROR_BATCH_METHOD_NOT_ALLOWED": WRONG,
    "CRM_FIELD_ERROR_* 100 INVALID_ARG_VALUE ERROR_CORE WRONG_DATETIME_FORMAT MAX_IMPORT_BATCH_SIZE_EXCEEDED": WRONG,
    "CAN_NOT_UPDATE_COMPLETED_TODO CAN_NOT_UPDATE_RESPONSIBLE_USER_COMPLETED_TODO ERROR_PARENT_ACTIVITY_RESTRICT": WRONG,
    "MESSAGE_EMPTY ACCESS_ERROR ACCESS_DENIED_EXTEND CHAT_ID CHAT_ID_EMPTY USER_ID_EMPTY": WRONG,
    "NOT_FOUND OWNER_NOT_FOUND": STALE,
}
_STATUSES: Mapping[int, Means] = {
    **dict.fromkeys(range(300, 400), Means(Misconfigured, "the portal has another address; check base_url or portal")),
    401: Means(Misconfigured, "the sign-in is refused; check base_url or portal"),
    404: Means(Misconfigured, "there is no such webhook or method; check base_url or portal"),
    410: Means(Misconfigured, "the portal is closed"),
}
_FIELD = re.compile(r"[Ff]ield[: ]+[\"'`]([\w.]+)[\"'`]")


def read_error(body: Any) -> VendorError | None:
    """The error of an answer or of a command, None where there is none. An empty code with a description is one."""
    if not isinstance(body, Mapping) or not ("error" in body or "error_description" in body):
        return None
    message = str(body.get("error_description") or "")[:500]
    code = "_".join(str(body.get("error") or "").upper().split())
    named = _FIELD.search(message)
    return VendorError(code, message, named[1] if named else "")


def _read(body: Any) -> list[VendorError]:
    error = read_error(body)
    return [error] if error else []


ANSWERS = ErrorTable("", {**CODES, "NOT_FOUND": _STATUSES[404]}, _read, statuses=_STATUSES)
ROWS = replace(
    ANSWERS,
    codes={
        **CODES,
        f"{SCOPE_MISSING} ACCESS_DENIED": Means(
            Misconfigured, "give the webhook or application this scope, and its user this right", scope=Scope.RULE
        ),
    },
)
"""Of one command, a scope or right that is lacking concerns its method; NOT_FOUND is its record."""


def answer_failure(response: Response, now: datetime) -> Failure:
    """What a whole answer without a result means."""
    told = _read(parsed(response) or {})
    if not told:
        return refusal(ANSWERS, [], response.status, write=response.write, wait=response.retry_after(now), now=now)
    status = 400 if response.ok else response.status  # an error may come with 200
    return refusal(ANSWERS, told, status, write=response.write, wait=response.retry_after(now), now=now)


def command_failure(error: VendorError, method: str, *, write: bool) -> Failure:
    """What the error of one command means."""
    meant = ROWS.of_row([error], write=write)
    if isinstance(meant, RateLimited) and error.code == OPERATION:
        meant.scope = method
    return meant


def refuses_token(response: Response) -> bool:
    """Whether a 401 is about the token: a new one helps against an expired one alone."""
    error = read_error(parsed(response) or {})
    means = ANSWERS.meaning(error) if error else None
    return means is not None and means.failure is AuthExpired


def error_at(value: Any, key: str) -> VendorError | None:
    """The error of one command of a batch."""
    return read_error(dig(value, key)) if isinstance(value, Mapping) and key in value else None
