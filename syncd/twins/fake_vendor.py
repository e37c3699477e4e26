"""A vendor's stand-in from a table of routes: 30 to 60 lines for one vendor, with its token, pages, limits and planned faults.

Connector authors subclass `FakeVendor`; the server, the fault plan, the journal and `/_twin/` are the twins' own. A stand-in is
written from the vendor's documentation and recorded traffic, never from the connector. The entry point group `syncd.twins`
makes it a `syncd twin NAME`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol
from urllib.parse import urlencode

from syncd.twins import outgoing
from syncd.twins.fake_events import FakeEvents, comparable, value_at
from syncd.twins.server import Handler, Named, Twin
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

Parts = Mapping[str, str]
"""Name in braces in a route's path -> what stood there."""
Act = Callable[["FakeVendor", TwinCall, Parts], TwinResponse]


@dataclass(frozen=True)
class FakeRoute:
    """`at`: method and path, `GET /v1/answers/{id}`. `does`: see `listed`, `single`, `created`, `recorded`; or a function of the
    vendor, the call and the path's parts. `operation`: its name in fault plans, default `at`. `cost`: units it takes of the
    vendor's `credits`. `limit`: (calls, seconds) of this operation alone. `open`: needs no token."""

    at: str
    does: Act
    operation: str = ""
    cost: float = 1.0
    limit: tuple[int, float] | None = None
    open: bool = False

    def parts(self, call: TwinCall) -> dict[str, str] | None:
        """The path's parts if the route fits the call."""
        method, _, path = self.at.partition(" ")
        names = [name for name in path.split("/") if name]
        if method != call.method or len(names) != len(call.segments):
            return None
        found: dict[str, str] = {}
        for name, segment in zip(names, call.segments, strict=True):
            if name.startswith("{"):
                found[name.strip("{}")] = segment
            elif name != segment:
                return None
        return found


class FakePages(Protocol):
    """How a list is divided into pages."""

    def cut(self, call: TwinCall, rows: Sequence[Record], expired: int) -> tuple[int, int]:
        """Where the page starts and how many rows it has at most. Raises ValueError for a page that does not exist."""
        ...

    def mark(self, call: TwinCall, start: int, expired: int, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        """What the body and the headers say of the page that starts there."""
        ...


@dataclass(frozen=True)
class TokenPages:
    """The token of the next page at `token` in the body, sent back as `parameter`. `FakeVendor.expire_pages` ends all of them."""

    parameter: str = "page_token"
    token: str = "next_page_token"
    size: int = 3

    def cut(self, call: TwinCall, rows: Sequence[Record], expired: int) -> tuple[int, int]:
        generation, _, start = call.query.get(self.parameter, f"{expired}.0").partition(".")
        if generation != str(expired):
            raise ValueError("the page token has expired")
        return int(start), self.size

    def mark(self, call: TwinCall, start: int, expired: int, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        return {self.token: f"{expired}.{start}"}, {}


@dataclass(frozen=True)
class OffsetPages:
    """Position and limit in the query; the body says nothing of the next page."""

    parameter: str = "from"
    limit: str = "limit"
    size: int = 3
    first: int = 0

    def cut(self, call: TwinCall, rows: Sequence[Record], expired: int) -> tuple[int, int]:
        start = int(call.query.get(self.parameter, self.first)) - self.first
        return max(0, start), min(self.size, int(call.query.get(self.limit, self.size)))

    def mark(self, call: TwinCall, start: int, expired: int, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        return {}, {}


@dataclass(frozen=True)
class LinkPages:
    """The address of the next page, whole: at `link` in the body or, if that is "", in the header Link."""

    link: str = ""
    parameter: str = "page"
    size: int = 3

    def cut(self, call: TwinCall, rows: Sequence[Record], expired: int) -> tuple[int, int]:
        return int(call.query.get(self.parameter, 0)), self.size

    def mark(self, call: TwinCall, start: int, expired: int, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        whole = f"{url}{call.path}?{urlencode({**call.query, self.parameter: start})}"
        return ({self.link: whole}, {}) if self.link else ({}, {"Link": f'<{whole}>; rel="next"'})


def listed(
    object_: str,
    *,
    items: str = "data",
    pages: FakePages | None = None,
    sort: str = "",
    newest_first: bool = False,
    least: Mapping[str, str] | None = None,
    below: Mapping[str, str] | None = None,
    equal: Mapping[str, str] | None = None,
) -> Act:
    """The records of an object: at `items` in the body ("" for a bare list), ordered by the field `sort`. Query parameters that
    filter, parameter -> field: `least` (at or after), `below` (before), `equal`."""
    filters: tuple[tuple[Mapping[str, str] | None, Callable[[Any, Any], bool]], ...] = (
        (least, lambda held, given: held >= given),
        (below, lambda held, given: held < given),
        (equal, lambda held, given: held == given),
    )

    def act(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
        rows = vendor.records(object_)
        for named, holds in filters:
            for parameter, name in (named or {}).items():
                if parameter in call.query:
                    given = comparable(call.query[parameter])
                    rows = [row for row in rows if holds(comparable(value_at(row, name)), given)]
        if sort:
            rows.sort(key=lambda row: comparable(value_at(row, sort)), reverse=newest_first)
        shown = [vendor.shown(object_, row) for row in rows]
        if pages is None:
            return TwinResponse(200, {items: shown} if items else shown)
        try:
            start, size = pages.cut(call, shown, vendor.expired_pages)
        except ValueError as error:
            return vendor.error(*vendor.page_expired, str(error))
        page = shown[start : start + size]
        more = start + size < len(shown)
        told, headers = pages.mark(call, start + size, vendor.expired_pages, vendor.url) if more else ({}, {})
        return TwinResponse(200, {items: page, **told} if items else page, headers)

    return act


def single(object_: str) -> Act:
    """The record with the path's `{id}`."""

    def act(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
        record = vendor.store.get(object_, parts["id"])
        return TwinResponse(200, vendor.shown(object_, record)) if record is not None else vendor.missing()

    return act


def created(object_: str, *, needs: Iterable[str] = (), status: int = 201) -> Act:
    """A record made of the JSON body, which must have the fields `needs`."""
    needed = tuple(needs)

    def act(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
        given = call.json()
        for name in needed:
            if not given.get(name):
                return vendor.error(*vendor.invalid, f"{name} is required", [name])
        id_ = vendor.put_record(object_, {**parts, **given})
        return TwinResponse(status, vendor.shape(object_, vendor.store.get(object_, id_) or {}))

    return act


def changed(object_: str) -> Act:
    """The record with the path's `{id}`, with the fields of the JSON body."""

    def act(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
        record = vendor.store.get(object_, parts["id"])
        if record is None:
            return vendor.missing()
        vendor.store.put(object_, parts["id"], {**record, **call.json()})
        return TwinResponse(200, vendor.shape(object_, vendor.store.get(object_, parts["id"]) or {}))

    return act


def removed(object_: str) -> Act:
    """The record with the path's `{id}` is deleted."""

    def act(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
        if vendor.store.get(object_, parts["id"]) is None:
            return vendor.missing()
        vendor.store.put(object_, parts["id"], None)
        return TwinResponse(204)

    return act


def recorded(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Act:
    """An answer as it was recorded."""
    return lambda vendor, call, parts: TwinResponse(status, body, dict(headers or {}))


def token_endpoint(**more: Any) -> Act:
    """An OAuth token endpoint that takes any client and gives a token for an hour; `more` stands beside it in the answer."""

    def act(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
        token = f"{vendor.token}-{vendor.tokens_made}"
        vendor.tokens_made += 1
        vendor.valid_tokens.add(token)
        return TwinResponse(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600, **more})

    return act


def _slow_down(twin: Any, call: TwinCall) -> TwinResponse:
    return twin.limited(1)  # type: ignore[no-any-return]


class FakeVendor(Twin):
    """A vendor by its `routes`. Options beside those of Twin: `credits` (units in all, None: no limit).

    `events`: the table by which the conformance kit makes events happen in it (`syncd.testing.TwinVendor`).
    `subscriptions`: the object that holds the webhooks which were made by the API, "" if there are none.
    `token`: what the Authorization header must carry behind its scheme, "" for no token. `id_field`: the records' key.
    `credits_header`: the response header with the units left. `absent`, `invalid`, `page_expired`, `throttled`, `used_up`:
    status and code of these refusals. Override `error` (the vendor's error body), `shape` (a record as the API shows it), `sign`
    (headers of a webhook) and, for another way to sign in, `admits`.
    """

    key_field = ""
    events: ClassVar[FakeEvents | None] = None
    subscriptions: ClassVar[str] = ""
    routes: ClassVar[Sequence[FakeRoute]] = ()
    token: ClassVar[str] = "twin-token"
    id_field: ClassVar[str] = "id"
    credits_header: ClassVar[str] = ""
    absent: ClassVar[tuple[int, str]] = (404, "NOT_FOUND")
    invalid: ClassVar[tuple[int, str]] = (422, "INVALID")
    page_expired: ClassVar[tuple[int, str]] = (400, "INVALID_PAGE_TOKEN")
    throttled: ClassVar[tuple[int, str]] = (429, "TOO_MANY_REQUESTS")
    used_up: ClassVar[tuple[int, str]] = (429, "QUOTA_EXCEEDED")
    named: ClassVar[Mapping[str, Named]] = {"too_many": _slow_down}

    def __init__(self, *, credits: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.credits = credits
        self.forget()

    def forget(self) -> None:
        self.spent = 0.0
        self.expired_pages = 0
        self.spoilt: list[Record] = []
        self.between_calls: Callable[[], None] | None = None
        self.tokens_made = 0
        self.valid_tokens = {self.token}
        self._recent: dict[str, list[float]] = {}

    def credentials(self) -> dict[str, str]:
        return {"token": self.token}

    # What a vendor may say in its own way.

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        return dict(record)

    def sign(self, body: bytes) -> dict[str, str]:
        return {}

    def admits(self, call: TwinCall) -> bool:
        return not self.token or call.bearer in self.valid_tokens

    def missing(self) -> TwinResponse:
        return self.error(*self.absent, "there is no such resource")

    def limited(self, seconds: float) -> TwinResponse:
        answer = self.error(*self.throttled, "slow down")
        answer.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
        return answer

    def shown(self, object_: str, record: Record) -> dict[str, Any]:
        """The record in the vendor's `shape`, or spoilt if it is one of `happen(…, spoilt=True)`."""
        shaped = self.shape(object_, record)
        if self.events is not None and record in self.spoilt:
            self.events.spoil(shaped)
        return shaped

    # Steering.

    def happen(self, number: int, moment: datetime, *, form: str = "", spoilt: bool = False) -> Record:
        """Event `number` of the table `events` takes place; the record as it is kept."""
        if self.events is None:
            raise ValueError(f"{self.name} has no table of events")
        record = self.events.made(number, moment.astimezone(UTC), form)
        with self.lock, self.settled():
            self.store.put(self.events.object, str(self.events.key(number)), record)
            if spoilt:
                self.spoilt.append(record)
        return record

    def add(self, object_: str, /, **fields: Any) -> str:
        with self.lock, self.settled():
            return self.put_record(object_, fields)

    def put_record(self, object_: str, fields: Mapping[str, Any]) -> str:
        """Keeps a record; without a key of its own it gets the next number."""
        table = self.store.table(object_).records
        id_ = str(fields.get(self.id_field) or len(table) + 1)
        self.store.put(object_, id_, {self.id_field: id_, **fields})
        return id_

    def modify(self, object_: str, id_: str, **fields: Any) -> None:
        with self.lock, self.settled():
            self.store.put(object_, id_, {**(self.store.get(object_, id_) or {}), **fields})

    def delete(self, id_: str) -> bool:
        with self.lock, self.settled():
            for object_, table in self.store.tables.items():
                if id_ in table.records:
                    self.store.put(object_, id_, None)
                    return True
        return False

    def expire_tokens(self) -> None:
        self.valid_tokens.clear()

    def expire_pages(self) -> None:
        """Every page token handed out so far is no longer recognised."""
        self.expired_pages += 1

    def forget_subscriptions(self) -> None:
        """Every webhook that was made by the API is lost."""
        for id_ in [str(record[self.id_field]) for record in self.records(self.subscriptions)]:
            with self.lock, self.settled():
                self.store.put(self.subscriptions, id_, None)

    def deliver(self, url: str, body: bytes, content_type: str = "application/json") -> int:
        """Posts a signed event to a webhook on this machine; the status it was answered with, 0 without an answer."""
        return outgoing.call("POST", url, {"Content-Type": content_type, **self.sign(body)}, body)

    # Serving.

    def route(self, call: TwinCall) -> Handler | None:
        for one in self.routes:
            parts = one.parts(call)
            if parts is not None:
                call.operation = one.operation or one.at
                return lambda served, one=one, parts=parts: self._serve_route(one, served, parts)  # type: ignore[misc]
        return None

    def _serve_route(self, route: FakeRoute, call: TwinCall, parts: Parts) -> TwinResponse:
        if not route.open and not self.admits(call):
            return self.refused()
        if route.limit is not None and (wait := self._wait(call.operation, *route.limit)):
            return self.limited(wait)
        if self.credits is not None and self.spent + route.cost > self.credits:
            return self.error(*self.used_up, "the allowance is used up")
        self.spent += route.cost
        answer = route.does(self, call, parts)
        if self.between_calls is not None and answer.status < 300 and not route.open:
            self.between_calls()
        if self.credits_header and self.credits is not None:
            answer.headers[self.credits_header] = f"{self.credits - self.spent:g}"
        return answer

    def _wait(self, operation: str, calls: int, seconds: float) -> float:
        """Seconds until one more call of the operation is allowed; 0 if it is now, which counts it."""
        now = self.clock()
        recent = [at for at in self._recent.get(operation, ()) if at > now - seconds]
        if len(recent) >= calls:
            return recent[0] + seconds - now
        self._recent[operation] = [*recent, now]
        return 0.0


def replay(exchanges: Iterable[Mapping[str, Any]]) -> list[FakeRoute]:
    """Routes that answer as recorded: each exchange has `method`, `path`, `status`, `headers` and `response`. The first of a
    method and path is kept."""
    routes: dict[str, FakeRoute] = {}
    for one in exchanges:
        at = f"{one['method']} {str(one['path']).partition('?')[0]}"
        routes.setdefault(at, FakeRoute(at, recorded(one.get("response"), int(one["status"]))))
    return list(routes.values())
