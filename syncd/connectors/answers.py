"""Reading a vendor's answers, which may hold anything: a list, a number, a body that is not JSON; and what a refusal of a whole
request, or several errors of one row, mean together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
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
from syncd.http.client import Response
from syncd.http.error_table import ErrorTable, VendorError, dig


def listed(value: Any) -> Sequence[Any]:
    """A list of a vendor's answer; whatever else stands there holds nothing."""
    return value if isinstance(value, list) else ()


def mappings(value: Any, path: str = "") -> list[Mapping[str, Any]]:
    """The objects of the list at a dotted path; what else stands in it, or there, counts as nothing."""
    return [one for one in listed(dig(value, path)) if isinstance(one, Mapping)]


def whole(value: Any) -> int:
    """A count or length of a vendor's answer, 0 where it is not a number."""
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0


_DEEPEST, _MOST = 6, 100
"""Levels of errors within errors that are read, and errors of one row."""
_SHOWN, _LONGEST_VALUE, _LONGEST_DETAILS = 12, 40, 300
"""Values of a list in a message, and characters of one of them and of all details."""


def unwrapped(error: Any, within: Callable[[Any], Sequence[Any]], levels: int = _DEEPEST) -> list[Any]:
    """The errors that one stands for: itself, or those that it wraps, however deep, within bounds. Never empty. `within`: those
    that an error wraps, empty where it wraps none."""
    inner = within(error)[:_MOST] if levels else ()
    return [one for part in inner for one in unwrapped(part, within, levels - 1)][:_MOST] or [error]


def details_said(details: Any, forms: Mapping[str, str]) -> str:
    """What the details of an error say, in brackets, "" for nothing. `forms`: key -> its words, with {} for the value: a text, a
    number, or the first values of a list."""
    told = [form.format(_shown(dig(details, name))) for name, form in forms.items() if _shown(dig(details, name))]
    return f" ({', '.join(told)})"[:_LONGEST_DETAILS] if told else ""


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one)[:_LONGEST_VALUE] for one in value[:_SHOWN])
    return str(value) if isinstance(value, str | int) else ""


def parsed(response: Response) -> Any:
    """The JSON of an answer, None when it has none."""
    try:
        return response.json()
    except (Ambiguous, Transient):
        return None


def refusal(
    table: ErrorTable,
    errors: Sequence[VendorError],
    status: int,
    *,
    write: bool,
    wait: float | None = None,
    now: datetime | None = None,
) -> Failure:
    """What the refusal of a whole request means. A status that is about the request itself (3xx, 429, 5xx) counts before what
    its body says, unless that is a limit, or that nothing was done: whoever answers so need not have understood the request, or
    may have carried it out."""
    means = next((means for one in errors if (means := table.meaning(one))), None)
    plain = 400 <= status < 500 and status != 429
    if plain or (means and (means.did_nothing or means.failure in (RateLimited, QuotaExhausted))):
        return table.of_errors(errors, status, write=write, wait=wait, now=now)
    said = "; ".join(f"{one.code}: {one.message}".strip(": ") for one in errors)
    return table.of_errors([VendorError(message=said)], status, write=write, wait=wait, now=now)


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


def trimmed(value: object) -> str:
    """A text of an answer without blanks around it; "" for anything else."""
    return value.strip() if isinstance(value, str) else ""
