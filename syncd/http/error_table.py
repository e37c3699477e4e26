"""A vendor's error codes as data: code, then field, then HTTP status, then family of statuses -> failure class.

Sources and destinations declare one `ErrorTable`. Promise: a code that no table lists is retried with a low cap and named in the
log (`Transient(known=False)`); after a write, an answer of the 5xx family is Ambiguous unless the table says that the vendor
did nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
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
from syncd.http.client import TOO_LARGE, Response, unclear

LONGEST_MESSAGE = 500
ANY_FIELD = "*"
SHAPE = "shape"
"""Code of a successful answer that is not as documented."""
MOST_KEYS = 10
"""So many keys of an answer are named in a message."""
_NAME = re.compile(r"[@$_]?[A-Za-z][\w.-]{0,39}")
"""Keys that are names, and not data such as an address."""
_KINDS: Mapping[type, str] = {
    list: "a list",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


@dataclass(frozen=True)
class VendorError:
    """One error as the vendor wrote it. `field`: the field that it names; `existing`: (object, id) of the records that a value
    collides with, "" for an object that is not named."""

    code: str = ""
    message: str = ""
    field: str = ""
    existing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Means:
    """What a code means.

    `why`: the reason and the remedy, in our words. `scope`: how much a Misconfigured stops. `one_operation`: a RateLimited limits
    only the operation of the call. `pause`: seconds to wait when no Retry-After came. `did_nothing`: the vendor says so even with
    a status of the 5xx family. `of_record`: the class if the answer is about a single record, where that harms only the record.
    """

    failure: type[Failure]
    why: str = ""
    scope: Scope = Scope.DESTINATION
    one_operation: bool = False
    pause: float | None = None
    did_nothing: bool = False
    of_record: type[Failure] | None = None


Reader = Callable[[Any], Sequence[VendorError]]
"""Reads a parsed error body; an empty list if there is no error in it."""


def error_at(code: str, message: str = "message", *, field: str = "", within: str = "") -> Reader:
    """A reader of the usual shape. Each argument is a dotted path in the error object; `within` is the path of the error object,
    or of a list of them, in the body."""

    def read(body: Any) -> list[VendorError]:
        found = dig(body, within) if within else body
        return [
            VendorError(_text(dig(one, code)), _text(dig(one, message))[:LONGEST_MESSAGE], _text(dig(one, field)))
            for one in (found if isinstance(found, list) else [found])
            if isinstance(one, Mapping)
        ]

    return read


def dig(value: Any, path: str) -> Any:
    """What is at a dotted path of a parsed JSON document; None if there is nothing. "" is the document itself."""
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def found_at(body: Any, path: str) -> str:
    """What a document has at a dotted path where a list was expected, or as far as the path leads: its keys, and no values."""
    names, value = path.split(".") if path else [], body
    for at, name in enumerate(names):
        if not isinstance(value, Mapping) or name not in value:
            return f"there is no {'.'.join(names[: at + 1])}; {_kind_of(value, '.'.join(names[:at]))}"
        value = value[name]
    return _kind_of(value, path)


def _kind_of(value: Any, path: str) -> str:
    place = path or "the body"
    if not isinstance(value, Mapping):
        kind = next((name for kind, name in _KINDS.items() if isinstance(value, kind)), "a text")
        return f"{place} is {kind}"
    named = [str(key) for key in value if _NAME.fullmatch(str(key))]
    more = len(value) - len(named[:MOST_KEYS])
    keys = f"{', '.join(named[:MOST_KEYS])}{f' and {more} more' if more and named else ''}" or f"{len(value)} keys"
    return f"{place} has {keys}" if value else f"{place} is empty"


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class ErrorTable:
    """What a vendor's answers mean. A key of `codes` is one code or several with spaces between; one that ends with * is the
    beginning of codes. `fields`: (code, field) -> meaning, before `codes`; ANY_FIELD stands for every field that an error names.
    `statuses`: meaning of a status if no code is known. `absent`: codes or statuses that say of a single record that it does not
    exist. `vendor` begins every message, "" if the connector adds its name itself. `wait(answer, now)`: seconds until the vendor
    may be asked again, None where it does not say."""

    vendor: str
    codes: Mapping[str, Means]
    read: Reader
    statuses: Mapping[int, Means] = field(default_factory=dict)
    fields: Mapping[tuple[str, str], Means] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    wait: Callable[[Response, datetime], float | None] = Response.retry_after
    _listed: Mapping[str, Means] = field(init=False, repr=False, compare=False)
    _families: tuple[tuple[str, Means], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        each = [(code, means) for codes, means in self.codes.items() for code in codes.split()]
        object.__setattr__(self, "_listed", {code: means for code, means in each if not code.endswith("*")})
        families = tuple((code[:-1], means) for code, means in each if code.endswith("*"))
        object.__setattr__(self, "_families", families)

    # ---- reading

    def said(self, answer: Response) -> list[VendorError]:
        """The errors in an answer; none in a body that is not JSON (a proxy's page)."""
        if answer.body[:1] not in (b"{", b"["):
            return []
        try:
            return list(self.read(answer.json()))
        except (Ambiguous, Transient):
            return [VendorError(message="an answer that is not JSON")]

    @property
    def listed(self) -> Collection[str]:
        """Every code of the table that is not the beginning of others."""
        return self._listed.keys()

    def meaning(self, error: VendorError) -> Means | None:
        """None: a code that the table does not list."""
        of_field = self.fields.get((error.code, error.field)) or self.fields.get(
            (error.code, ANY_FIELD if error.field else "")
        )
        found = of_field or self._listed.get(error.code)
        return found or next((means for start, means in self._families if error.code.startswith(start)), None)

    def is_absent(self, answer: Response) -> bool:
        """Whether an unsuccessful answer says that the record does not exist."""
        if answer.ok or answer.status >= 500:
            return False
        return str(answer.status) in self.absent or any(one.code in self.absent for one in self.said(answer))

    # ---- judging

    def of_row(self, errors: Sequence[VendorError], *, write: bool = True) -> Failure:
        """What the errors of one row mean: the first one that the table lists decides."""
        error, means = self._decisive(errors)
        if means is None:
            return Transient(self._sentence("", error), code=error.code or "no code", known=False)
        return self._failure(error, means, write=write, wait=None, now=None, operation="")

    def of_answer(self, answer: Response, now: datetime, *, operation: str = "", of_record: bool = False) -> Failure:
        """What an unsuccessful answer means for the whole call. `operation`: the name of the call, for a limit of it alone;
        `of_record`: the call was about a single record."""
        said, wait = self.said(answer), self.wait(answer, now)
        return self.of_errors(
            said, answer.status, write=answer.write, wait=wait, now=now, operation=operation, of_record=of_record
        )

    def of_errors(
        self,
        errors: Sequence[VendorError],
        status: int,
        *,
        write: bool,
        wait: float | None = None,
        now: datetime | None = None,
        operation: str = "",
        of_record: bool = False,
    ) -> Failure:
        """`of_answer`, of errors that were read from an answer (or from a part of one). `wait`: its Retry-After in seconds."""
        error, means = self._decisive(errors)
        if means is None and status < 500:
            means = self.statuses.get(status)
        error = replace(error, code=error.code or str(status))
        if means is None:
            return self._by_family(status, error, wait, write=write)
        if of_record and means.of_record is not None:
            means = replace(means, failure=means.of_record)
        if means.failure is Transient:
            if wait is not None:
                means = replace(means, failure=RateLimited)
            elif write and status >= 500 and not means.did_nothing:
                means = replace(means, failure=Ambiguous)
        return self._failure(error, means, write=write, wait=wait, now=now, operation=operation)

    def shape(self, where: str, found: str = "", *, write: bool = False, code: str = SHAPE) -> Failure:
        """The failure of a successful answer that is not as documented: the one place where that is worded. `found`: what is
        there instead."""
        text = f"{where} has another shape than documented{f': {found}' if found else ''}"
        if write:
            return Ambiguous(self._named(text), code=code)
        return Transient(self._named(text), code=code, known=False)

    def _decisive(self, errors: Sequence[VendorError]) -> tuple[VendorError, Means | None]:
        for error in errors:
            if (means := self.meaning(error)) is not None:
                return error, means
        return (errors[0] if errors else VendorError()), None

    def _by_family(self, status: int, error: VendorError, wait: float | None, *, write: bool) -> Failure:
        """An answer of which neither code nor status is listed."""
        code = error.code
        text = self._sentence(f"HTTP {status}" if code == str(status) else "", error)
        if status == 429 or (status == 503 and wait is not None):
            return RateLimited(text, code=code, retry_after=wait)
        if status >= 500:
            return unclear(text, write=write, code=code)
        if 300 <= status < 400:
            return Misconfigured(f"{text}: the API is at another address; check the URL", code=code)
        if status == 401:
            return AuthExpired(text, code=code)
        if status in TOO_LARGE:
            return TooLarge(f"{text}: the request is too large", code=code, known=False)
        return Transient(text, code=code, known=False)

    def _failure(
        self,
        error: VendorError,
        means: Means,
        *,
        write: bool,
        wait: float | None,
        now: datetime | None,
        operation: str,
    ) -> Failure:
        text, code, kind = self._sentence(means.why, error), error.code, means.failure
        wait = means.pause if wait is None else wait
        if issubclass(kind, RateLimited):
            return RateLimited(text, code=code, retry_after=wait, scope=operation if means.one_operation else "")
        if issubclass(kind, QuotaExhausted):
            resets = now + timedelta(seconds=wait) if now is not None and wait else None
            return QuotaExhausted(text, code=code, resets_at=resets)
        if issubclass(kind, Misconfigured):
            narrow = means.scope is Scope.RULE
            return Misconfigured(text, code=code, scope=means.scope, field=error.field if narrow else "")
        if issubclass(kind, Rejected):
            return Rejected(text, code=code, field=error.field, existing=error.existing)
        if issubclass(kind, StaleReference):
            return StaleReference(text, code=code, field=error.field)
        if issubclass(kind, Ambiguous):
            return unclear(text, write=write, code=code)
        return kind(text, code=code)

    def _sentence(self, why: str, error: VendorError) -> str:
        said = error.message[:LONGEST_MESSAGE]
        if not self.vendor:
            return "; ".join(part for part in (said, why) if part) or "no reason was given"
        return self._named(f"{why} ({said})" if why and said else why or said or "no reason was given")

    def _named(self, text: str) -> str:
        return f"{self.vendor}: {text}" if self.vendor else text
