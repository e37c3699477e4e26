"""What the thin clients of CRMs share: one exchange, what it cost, and what the account has left.

A CRM's client adds its own calls on `_call`, and says where an answer tells the account's usage.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from syncd.connector import Allowance, Usage
from syncd.errors import Ambiguous, AuthExpired, Transient
from syncd.http.client import Deadlines, HttpClient, Response

DEADLINES = Deadlines(connect=10.0, read=120.0, total=180.0)
"""Ours: a call may write hundreds of records that each set off automations in the CRM."""
Rows = list[dict[str, Any]]
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def each(ask: Callable[[Asked], Answer], things: Sequence[Asked], at_once: int) -> list[Answer]:
    """The answer to each, in their order, at most `at_once` asked at a time: for APIs that take one statement a call. Raises the
    first failure."""
    if len(things) < 2:
        return [ask(thing) for thing in things]
    with ThreadPoolExecutor(at_once, thread_name_prefix="look-ups") as pool:
        return list(pool.map(ask, things))


def pages_from(page: Callable[[int], tuple[Rows, bool]], most: int) -> Rows:
    """The rows of all pages, of at most so many rows. `page`: the rows that begin at an offset, and whether there are more."""
    rows, more = page(0)
    rows = list(rows)
    while more and len(rows) < most:
        found, more = page(len(rows))
        rows.extend(found)
    return rows


class CrmClient(ABC):
    """Calls one account as one user, from a few threads. `unit`: what the account's allowance is counted in; `when_refused`: the
    likely reasons why a new token is refused too, added to that failure; `maximum`: units in a rolling day, where the
    configuration tells it; `remaining`: the header that tells how many of them are left, if one does."""

    unit: ClassVar[str]
    when_refused: ClassVar[str]
    remaining: ClassVar[str] = ""

    def __init__(self, http: HttpClient, clock: Callable[[], datetime], maximum: int | None = None) -> None:
        self._http = http
        self._clock = clock
        self._maximum = maximum
        self._counting = threading.Lock()
        self._counted = 0
        self._units = 0.0
        self._allowance: Allowance | None = None

    @abstractmethod
    def query(self, statements: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The rows of each statement of the CRM's language, all pages of them, in as few calls as the API allows."""

    def usage_of(self, response: Response) -> tuple[float, float] | None:
        """What the account has used in its rolling day, and of how much; None where the answer does not tell."""
        left = response.headers.get(self.remaining, "")
        if not self._maximum or not left.isdecimal():
            return None
        return max(0.0, self._maximum - float(left)), float(self._maximum)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        write: bool,
        cost: float = 0.0,
        raw: bytes | None = None,
    ) -> Response:
        """An answer, whatever its status. `cost`: its units, spent even if no answer came; `raw`: a body that is not JSON. Raises
        as `HttpClient.request`."""
        try:
            response = self._http.request(method, path, json=body, body=raw, headers=headers, write=write)
        except AuthExpired as refused:
            raise AuthExpired(refused.message + self.when_refused, code=refused.code) from None
        except (Ambiguous, Transient):
            self._spent(cost)
            raise
        self._spent(cost)
        if (usage := self.usage_of(response)) is not None:
            self._allowance = Allowance(self.unit, float(usage[0]), float(usage[1]), self._clock())
        return response

    def now(self) -> datetime:
        """The time, by the clock that was lent to us."""
        return self._clock()

    def _spent(self, cost: float) -> None:
        with self._counting:
            self._units += cost

    def allowance(self) -> Allowance | None:
        """As the last answer told it. Until one does, `used` is 0 of the configured maximum: then only the configured share
        limits us, by what we spend ourselves. None where neither tells."""
        if self._allowance is None and self._maximum:
            return Allowance(self.unit, 0.0, float(self._maximum), self._clock())
        return self._allowance

    def spend(self) -> Usage:
        """Calls and units since the last time. A call that had to be repeated on the wire counts as many calls, one that got no
        answer counts too; each costs one unit at least."""
        with self._counting:
            made = self._http.exchanges - self._counted
            self._counted += made
            units, self._units = self._units, 0.0
        return Usage(calls=made, units=max(units, float(made)))

    def close(self) -> None:
        self._http.close()
