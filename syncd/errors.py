"""The failure classes every connector speaks in, and the faults a user is shown.

Connectors translate a vendor's answer into one `Failure` from a table; dispatch and intake decide by its class alone.
A failure *raised* refers to the whole call; a failure *returned* in row i of an answer refers to row i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from syncd.runtime.known_secrets import mask


class SyncdError(Exception):
    """A fault with one clear line for the user: what, where, why, what to do. Commands exit 1 on it. Its text may hold a
    vendor's: secrets are masked in it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(mask(one) if isinstance(one, str) else one for one in args))


class UsageError(SyncdError):
    """Wrong usage or configuration. Commands exit 2 on it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a YAML file. `line` and `column` count from 1; 0 when the place is unknown (an absent file)."""

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f" {self.key}" if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{key}: {self.message}{hint}"


class ConfigError(UsageError):
    """All faults of a configuration or mapping at once, in file order."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda f: (f.file, f.line, f.column)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Scope(StrEnum):
    """What a Misconfigured stops: everything behind the connector, or one mapping rule."""

    DESTINATION = "destination"
    RULE = "rule"


class Failure(Exception):
    """Base of what can go wrong in a vendor call. `code` is the vendor's own word for it, for logs and dead letters.

    `of_call`: a failure returned for a row refers to the whole request that carried the row (a part of a composite call
    that was answered by a gateway). Transient and Ambiguous only; a raised failure refers to its call anyway.
    """

    of_call = False

    def __init__(self, message: str = "", *, code: str = "") -> None:
        self.message = mask(message)  # a vendor may echo our request: here its words enter
        self.code = mask(code)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code else self.message

    def about_call(self) -> Self:
        """Marks it as `of_call`, and returns it."""
        self.of_call = True
        return self


class Transient(Failure):
    """Nothing was written (lock, busy), or the request never left: the retry schedule applies.

    `known` is False for a code the vendor's table does not list: retried with a low cap and named in the log.
    """

    def __init__(self, message: str = "", *, code: str = "", known: bool = True) -> None:
        super().__init__(message, code=code)
        self.known = known


class TooLarge(Transient):
    """The request was larger than the vendor, or a proxy before it, accepts: its rows are sent again in smaller calls."""


class RateLimited(Failure):
    """Slow down: the lane pauses at least `retry_after` seconds (None: the vendor did not say); no attempt is counted.

    `scope`: the operation (method, module) that alone is limited, as the connector names it; "" is the whole account. Calls of
    other operations continue.
    """

    def __init__(self, message: str = "", *, code: str = "", retry_after: float | None = None, scope: str = "") -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after
        self.scope = scope


class QuotaExhausted(Failure):
    """The allowance is gone until `resets_at` (UTC; None: unknown, ask again in an hour)."""

    def __init__(self, message: str = "", *, code: str = "", resets_at: datetime | None = None) -> None:
        super().__init__(message, code=code)
        self.resets_at = resets_at


class AuthExpired(Failure):
    """The access token was refused. The HTTP client refreshes once and replays once by itself; what still comes out
    of a connector as AuthExpired is a second refusal and is treated as Misconfigured."""


class Misconfigured(Failure):
    """Credentials, an unknown object or field, a disabled API: held and shown; tried again on reload or hourly. `until`: when
    it is worth a try again (UTC), where that is known better. `sign_in`: an operator must sign in first (`syncd auth`)."""

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        scope: Scope = Scope.DESTINATION,
        field: str = "",
        until: datetime | None = None,
        sign_in: bool = False,
    ) -> None:
        super().__init__(message, code=code)
        self.scope = scope
        self.field = mask(field)
        self.until = until
        self.sign_in = sign_in


class Rejected(Failure):
    """This row is wrong and will stay wrong: a dead letter naming the field. `existing`: (object, id) of the records that it
    collides with, as the CRM named them ("" for an object that it did not name); `existing_id`: the first one's id. Nobody is
    taken for one of them before it was read and agrees."""

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        field: str = "",
        existing_id: str = "",
        existing: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message, code=code)
        self.field = mask(field)
        self.existing = tuple(existing) or ((("", existing_id),) if existing_id else ())
        self.existing_id = self.existing[0][1] if self.existing else ""


class StaleReference(Failure):
    """The linked record was deleted, merged or converted: resolve the person afresh, once. `field`: the link, if known."""

    def __init__(self, message: str = "", *, code: str = "", field: str = "") -> None:
        super().__init__(message, code=code)
        self.field = mask(field)


class Ambiguous(Failure):
    """Sent, and the answer is missing, unreadable or a 5xx: what happens next depends on the kind of the write."""


class NotAuthentic(Exception):
    """A webhook request whose signature, secret or age is wrong: answered 401, stored nowhere. `reason` is for our log."""


class KeyUnavailable(Exception):
    """The key that would verify a webhook could not be had (unknown key id, JWKS unreachable): answered 503."""


class Malformed(Exception):
    """An authentic body that cannot be understood: kept raw in quarantine, answered 200. The text says what and where."""
