"""One vendor's REST API as a connector reads it: objects, rows, pages of a list, the vendor's clock, errors by one table.

A source builds a `VendorApi` on an `HttpClient` and an `ErrorTable`. Every method raises a Failure. Promise: a successful answer
of an undocumented shape, an unreadable error body and a page token that has expired are each handled here, in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from requests.utils import parse_header_links

from syncd.errors import RateLimited
from syncd.http.client import HttpClient, Response
from syncd.http.error_table import ErrorTable, dig, found_at
from syncd.http.limits import Reserve

MOST_RESTARTS = 2
"""So often a list is read again from its beginning after its page token has expired; then the failure is raised."""
_ID_PART = re.compile(r"[^/]*\d[^/]*")


@dataclass(frozen=True)
class Page:
    """One page of a list: its items, and the answer they came in."""

    items: list[dict[str, Any]]
    answer: Response
    body: Any


Where = tuple[str, Mapping[str, str]]
"""Path (or URL on the same host) and query of a request."""


class Paging(Protocol):
    """How a vendor's list continues. `expired`: codes or statuses of a page token that the vendor no longer recognises."""

    @property
    def expired(self) -> frozenset[str]: ...

    def following(self, page: Page, at: Where) -> Where | None:
        """Where the page after `page` is, which was read `at`; None after the last."""
        ...


@dataclass(frozen=True)
class TokenPaging:
    """The body has the next page's token at the path `token`; it is sent as the query parameter `parameter`."""

    parameter: str
    token: str
    expired: frozenset[str] = frozenset()

    def following(self, page: Page, at: Where) -> Where | None:
        token = dig(page.body, self.token)
        return (at[0], {**at[1], self.parameter: str(token)}) if token else None


@dataclass(frozen=True)
class LinkPaging:
    """The body has the next page's address at the path `link`, relative to the base URL or whole."""

    link: str
    expired: frozenset[str] = frozenset()

    def following(self, page: Page, at: Where) -> Where | None:
        link = dig(page.body, self.link)
        return (str(link), {}) if link else None


@dataclass(frozen=True)
class LinkHeaderPaging:
    """The header Link with rel=next (RFC 8288)."""

    expired: frozenset[str] = frozenset()

    def following(self, page: Page, at: Where) -> Where | None:
        links = parse_header_links(page.answer.headers.get("link", ""))
        return next(((link["url"], {}) for link in links if link.get("rel") == "next"), None)


@dataclass(frozen=True)
class OffsetPaging:
    """A position in the query, counted from `first`. A page with fewer than `size` rows is the last; `slack`: so many fewer are
    still a full page (where it is not documented what is counted from). Nothing beyond `farthest` is asked for."""

    parameter: str
    size: int
    first: int = 0
    farthest: int | None = None
    slack: int = 0
    expired: frozenset[str] = frozenset()

    def following(self, page: Page, at: Where) -> Where | None:
        position = int(at[1].get(self.parameter, self.first)) + self.size
        if len(page.items) < max(1, self.size - self.slack) or (self.farthest is not None and position > self.farthest):
            return None
        return at[0], {**at[1], self.parameter: str(position)}


class VendorApi:
    """Calls one vendor account. `cost(method, path)`: what a call takes from the client's bucket. `reserve`: leaves units of the
    account's allowance to others."""

    def __init__(
        self,
        client: HttpClient,
        errors: ErrorTable,
        clock: Callable[[], datetime],
        *,
        cost: Callable[[str, str], float] = lambda method, path: 1.0,
        reserve: Reserve | None = None,
    ) -> None:
        self._client = client
        self._errors = errors
        self._clock = clock
        self._cost = cost
        self._reserve = reserve

    def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        write: bool | None = None,
        absent: bool = False,
    ) -> Response | None:
        """A successful answer. `absent`: the call is about a single record; None if the vendor says that it does not exist."""
        answer, failed = self._exchange(method, path, params, json=json, form=form, write=write)
        if answer.ok:
            return answer
        if absent and self._errors.is_absent(answer):
            return None
        raise failed(of_record=absent)

    def written(self, method: str, path: str, *, absent: bool = False, **sent: Any) -> dict[str, Any] | None:
        """The record as a call that makes or changes it returns it: {} if the answer does not hold it; None as in `call`. `sent`:
        `json` or `form` of `call`, and `write`."""
        answer = self.call(method, path, absent=absent, **sent)
        if answer is None:
            return None
        said = answer.json() if answer.body else {}
        return said if isinstance(said, dict) else {}

    def one(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """A single record; None if it does not exist."""
        answer = self.call("GET", path, params, absent=True)
        if answer is None or answer.status == 204:
            return None
        body = answer.json()
        if not isinstance(body, dict):
            raise self._errors.shape(path)
        return body

    def rows(
        self, path: str, params: Mapping[str, str] | None = None, *, items: str = "", absent: bool = False
    ) -> list[dict[str, Any]]:
        """The rows of one page, which are at the path `items` of the body. An empty answer has none, and with `absent` a list
        below a record that does not exist."""
        answer, failed = self._exchange("GET", path, params)
        if answer.ok:
            return self._page(path, answer, items).items
        if absent and self._errors.is_absent(answer):
            return []
        raise failed()

    def pages(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        items: str = "",
        paging: Paging,
        absent: bool = False,
        sparse: bool = False,
    ) -> Iterator[Page]:
        """Every page of a list; `absent` as in `rows`; `sparse`: the body of an empty page lacks `items`. After an expired page
        token the list is read again from its first page, so that rows may come twice: the cursor of the source knows them
        (`syncd.time_cursor`)."""
        first: Where = (path, dict(params or {}))
        at, restarts = first, 0
        while True:
            answer, failed = self._exchange("GET", *at)
            if not answer.ok:
                if absent and self._errors.is_absent(answer):
                    return
                if at == first or restarts == MOST_RESTARTS or not self._expired(answer, paging):
                    raise failed()
                at, restarts = first, restarts + 1
                continue
            page = self._page(path, answer, items, sparse=sparse)
            yield page
            following = paging.following(page, at)
            if following is None:
                return
            if following == at:
                raise self._errors.shape(f"{path}: a page that continues at itself", code="page_repeats")
            at = following

    def vendor_now(self, answer: Response | None) -> datetime:
        """The vendor's clock by an answer's Date header; ours where it says nothing."""
        try:
            at = parsedate_to_datetime(answer.headers.get("date", "") if answer else "")
        except (ValueError, TypeError, OverflowError):
            return self._clock()
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)

    def _exchange(
        self, method: str, path: str, params: Mapping[str, str] | None = None, **sent: Any
    ) -> tuple[Response, Callable[..., Exception]]:
        """The answer, and what makes the failure of it. A limit of one operation is noted for the next call."""
        operation, now = operation_of(method, path), self._clock()
        if self._reserve is not None:
            self._reserve.check(now)
        answer = self._client.request(
            method, path, params=params, operation=operation, units=self._cost(method, path), **sent
        )
        if self._reserve is not None:
            self._reserve.note(answer.headers.get(self._reserve.header, ""), now)

        def failed(*, of_record: bool = False) -> Exception:
            failure = self._errors.of_answer(answer, now, operation=operation, of_record=of_record)
            if isinstance(failure, RateLimited):
                self._client.limited(failure)
            return failure

        return answer, failed

    def _page(self, path: str, answer: Response, items: str, *, sparse: bool = False) -> Page:
        if answer.status == 204 or not answer.body:
            return Page([], answer, None)
        body = answer.json()
        rows = dig(body, items)
        if rows is None and sparse and isinstance(body, dict):
            rows = []
        if not isinstance(rows, list):
            raise self._errors.shape(path, found_at(body, items))
        return Page([row for row in rows if isinstance(row, dict)], answer, body)

    def _expired(self, answer: Response, paging: Paging) -> bool:
        named = {str(answer.status), *(error.code for error in self._errors.said(answer))}
        return not paging.expired.isdisjoint(named)


def operation_of(method: str, path: str) -> str:
    """The name of a call for limits of one operation: its method and path, with * for each part that has a digit in it."""
    return f"{method} {_ID_PART.sub('*', path.partition('?')[0])}"
