"""`type: http`: a vendor's list of events, read by keys of YAML alone: requests, pages, cursor, fields and errors.

For vendors that nobody writes a module for. The field map is that of the generic webhook, read for each item of the list; an item
that cannot be understood goes into quarantine alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, Field, SecretStr, model_validator

from syncd.capabilities import Finding, Level
from syncd.connector import Batch, Connector, ConnectorSettings, Context, Prompt, Request, SignalSpec, UnparsedItem
from syncd.connectors.generic.bodies import digest
from syncd.connectors.generic.fields import Expression, FieldMap, Item, SignalMap, types_made
from syncd.connectors.generic.making import EventDraft, Maker
from syncd.durations import Duration
from syncd.errors import Malformed, Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.client import Bearer, HttpClient, check_base_url
from syncd.http.error_table import SHAPE, ErrorTable, Means, error_at
from syncd.http.oauth import grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers
from syncd.http.vendor_api import LinkHeaderPaging, LinkPaging, OffsetPaging, Page, Paging, TokenPaging, VendorApi
from syncd.items import as_json_list, each_item
from syncd.runtime.known_secrets import learn
from syncd.signals import Route, Signal
from syncd.time_cursor import (
    ItemMark,
    Step,
    TimeCursor,
    encode,
    mark_of,
    newest_first,
    oldest_first,
    progress,
    read_cursor,
)

MEANINGS: Mapping[str, Means] = {
    "misconfigured": Means(Misconfigured, "the vendor refuses this: an operator must look at it"),
    "rate_limited": Means(RateLimited, "too many requests"),
    "quota": Means(QuotaExhausted, "the allowance is used up"),
    "transient": Means(Transient, "the vendor had an error"),
}
MeaningName = Literal["misconfigured", "rate_limited", "quota", "transient"]
STATUSES = {401: "misconfigured", 403: "misconfigured", 404: "misconfigured", 429: "rate_limited"}
FORMATS: Mapping[str, Callable[[datetime], str]] = {
    "iso": lambda at: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "unix": lambda at: str(int(at.timestamp())),
    "unix_ms": lambda at: str(int(at.timestamp() * 1000)),
    "date": lambda at: at.astimezone(UTC).date().isoformat(),
}
_PAGES: Mapping[str, Callable[[HttpPages], Paging]] = {
    "token": lambda keys: TokenPaging(keys.parameter, keys.at, keys.expired_codes),
    "link": lambda keys: LinkPaging(keys.at, keys.expired_codes),
    "link_header": lambda keys: LinkHeaderPaging(keys.expired_codes),
    "offset": lambda keys: OffsetPaging(keys.parameter, keys.size, first=keys.first, expired=keys.expired_codes),
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "token": ("parameter", "at"),
    "link": ("at",),
    "link_header": (),
    "offset": ("parameter", "size"),
}


class HttpOAuth(ConnectorSettings):
    """OAuth 2.0: an access token is fetched, and again when it expires or is refused."""

    token_url: Annotated[str, AfterValidator(check_base_url)] = Field(description="the vendor's token endpoint")
    client_id: str = Field(min_length=1, description="the app's client id")
    client_secret: SecretStr = Field(description="the app's client secret")
    refresh_token: SecretStr | None = Field(None, description="refresh token; without it the app signs in by itself")
    scopes: list[str] = Field([], description="scopes to ask for, where the app signs in by itself")


class HttpAuth(ConnectorSettings):
    """How a request proves who asks: one of these."""

    oauth: HttpOAuth | None = Field(None, description="OAuth 2.0, by client credentials or a refresh token")

    bearer: SecretStr | None = Field(None, description="token, sent as `Authorization: Bearer …`")
    username: str = Field("", description="HTTP basic: user name")
    password: SecretStr | None = Field(None, description="HTTP basic: password")
    header: str = Field("", description="name of the header that carries `key`")
    query: str = Field("", description="name of the query parameter that carries `key`")
    key: SecretStr | None = Field(None, description="API key")

    @model_validator(mode="after")
    def _one_way(self) -> HttpAuth:
        ways = [self.oauth is not None, self.bearer is not None, bool(self.username), bool(self.header or self.query)]
        if sum(ways) != 1 or bool(self.header and self.query):
            raise ValueError("give one of oauth, bearer, username and password, or header (or query) with key")
        if self.username and self.password is None:
            raise ValueError("username needs password")
        if (self.header or self.query) and self.key is None:
            raise ValueError("header and query need key, the secret that they carry")
        return self


class HttpPages(ConnectorSettings):
    """How the list continues."""

    by: Literal["token", "link", "link_header", "offset"] = Field(
        description="token or link: the body has the next page's; link_header: the header Link; offset: counted"
    )
    at: str = Field("", description="token and link: where it is in the body, as in `paging.next`")
    parameter: str = Field("", description="token and offset: the query parameter that carries it")
    size: int = Field(0, ge=0, description="offset: items on a full page")
    first: int = Field(0, ge=0, description="offset: the first position")
    expired: list[str] = Field(
        [], description="the vendor's codes, or statuses, for a page token that it no longer knows"
    )

    @property
    def expired_codes(self) -> frozenset[str]:
        return frozenset(self.expired)

    @model_validator(mode="after")
    def _fits(self) -> HttpPages:
        if missing := [name for name in _NEEDED[self.by] if not getattr(self, name)]:
            raise ValueError(f"pages by {self.by} need {' and '.join(missing)}")
        return self


class HttpRequestKeys(ConnectorSettings):
    """The request for the list."""

    path: str = Field(pattern=r"^/", description="path of the list below base_url")
    query: dict[str, str] = Field({}, description="query parameters sent with each request")
    items: str = Field(
        "", description="where the items are in the body, as in `data.events`; empty: the body is the list"
    )
    order: Literal["oldest_first", "newest_first"] = Field("oldest_first", description="order of the list by time")
    since: Annotated[str, Prompt()] = Field(
        "", description="query parameter for `at or after this time`; needed for oldest_first"
    )
    until: str = Field("", description="query parameter for `before this time`, for backfills")
    times: Literal["iso", "unix", "unix_ms", "date"] = Field("iso", description="how `since` and `until` are written")
    lag: Duration = Field(timedelta(minutes=5), description="an item may show in the list this long after its time")
    pages: HttpPages | None = Field(None, description="how the list continues; without it, it has one page")

    @model_validator(mode="after")
    def _order_fits(self) -> HttpRequestKeys:
        if self.order == "oldest_first" and not self.since:
            raise ValueError("a list that is oldest_first needs since, or each poll would read all of it")
        return self


class HttpErrors(ConnectorSettings):
    """What the vendor's error answers mean; each code or status is misconfigured, rate_limited, quota or transient."""

    code: str = Field("", description="where the code is in an error body, as in `error.code`")
    message: str = Field("message", description="where the message is")
    codes: dict[str, MeaningName] = Field({}, description="code -> meaning; another one is tried three times")
    statuses: dict[int, MeaningName] = Field({}, description="HTTP status -> meaning, beside 401, 403, 404 and 429")


class ListedSignalMap(SignalMap):
    """The field map of one `item` of the list. `occurred_at` tells the cursor what was read."""

    id: Annotated[Expression, Prompt()] = Field(
        "", description="the vendor's id of the event, such as {{ item.id }}; needed without `repeats:`"
    )
    occurred_at: Expression = Field(
        min_length=1, description="event time, such as {{ item.at }}; ISO 8601, RFC 2822, Unix seconds or ms"
    )

    @model_validator(mode="before")
    @classmethod
    def _each_item(cls, data: Any) -> Any:
        if isinstance(data, dict) and "each" in data:
            raise ValueError("each: is not for type http; `items:` under list: says where the items are")
        if isinstance(data, dict) and "types" in data:
            raise ValueError("types: is not for type http; ask for the events that you want in list.path or list.query")
        return {**data, "each": "{{ body }}"} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _has_id(self) -> ListedSignalMap:
        if not self.id and self.repeats is None:
            raise ValueError("id: is missing: the vendor's id of the event, such as {{ item.id }}")
        return self


class HttpSettings(ConnectorSettings):
    """Keys of an `http` source."""

    base_url: Annotated[str, AfterValidator(check_base_url)] = Field(description="the vendor's API")
    auth: HttpAuth | None = Field(None, description="how requests are signed in; without it, they are not")
    headers: dict[str, str] = Field({}, description="further headers of each request")
    account: str = Field("", description="part of the ids; default: the source's name, which then must stay")
    list: HttpRequestKeys = Field(description="the request for the list of events")
    signal: ListedSignalMap = Field(description="which part of an item becomes which field of the signal")
    errors: HttpErrors = Field(HttpErrors(), description="what the vendor's error answers mean")


@dataclass(frozen=True)
class ListRow:
    """One item of the list and what it became: a signal, or the reason why not."""

    raw: Mapping[str, Any]
    signal: Signal | None
    reason: str = ""


class HttpList:
    """PollingSource, Backfillable and Reparsing."""

    def __init__(self, settings: HttpSettings, context: Context) -> None:
        self._context = context
        self._keys = settings.list
        self._fields = FieldMap(settings.signal, form=False, region=context.region)
        self._maker = Maker("http", settings.account or context.name, context)
        auth, self._query = settings.auth or _NOBODY, dict(settings.list.query)
        headers = dict(settings.headers)
        if auth.bearer is not None:
            headers["Authorization"] = f"Bearer {auth.bearer.get_secret_value()}"
        if auth.key is not None:
            learn(auth.key.get_secret_value())
            (headers if auth.header else self._query)[auth.header or auth.query] = auth.key.get_secret_value()
        basic = (auth.username, auth.password.get_secret_value()) if auth.password is not None else None
        bearer = _bearer(auth.oauth, context) if auth.oauth is not None else None
        client = HttpClient(settings.base_url, headers=headers, basic=basic, bearer=bearer, clock=context.clock)
        self._api = VendorApi(client, _table(settings.errors), context.clock)

    def check_online(self) -> Iterator[Finding]:
        """Reads one page of the last hour. Raises the Failure of what is refused."""
        rows = next(self._rows(self._context.clock() - timedelta(hours=1), None, Route.POLL), [])
        wrong = next((row.reason for row in rows if row.signal is None), "")
        yield Finding(Level.OK, "list", f"{self._keys.path} may be read")
        if wrong:
            yield Finding(
                Level.WARNING, "signal", f"an item cannot be understood: {wrong}", "compare signal: with the items"
            )

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(now))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = read_cursor(state)
        for rows, after, _ in progress(self._steps(cursor, None, Route.POLL, self._keys.lag), cursor):
            yield self._batch(rows, encode(after))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursor = read_cursor(state) if state is not None else TimeCursor(since)
        for rows, after, _ in self._steps(cursor, until, Route.BACKFILL, timedelta(0)):
            wanted = [row for row in rows if row.signal is None or row.signal.occurred_at < until]
            if wanted or after != cursor:
                cursor = after
                yield self._batch(wanted, encode(cursor))
            if self._keys.order == "oldest_first" and cursor.since >= until:
                return

    def _steps(self, cursor: TimeCursor, until: datetime | None, route: Route, lag: timedelta) -> Iterator[Step]:
        pages = self._rows(cursor.since, until, route)
        if self._keys.order == "newest_first":
            return newest_first(pages, cursor, _mark, lag=lag)
        return oldest_first(pages, cursor, _mark, lag=lag)

    def _rows(self, since: datetime, until: datetime | None, route: Route) -> Iterator[list[ListRow]]:
        keys, write = self._keys, FORMATS[self._keys.times]
        query = {**self._query, **({keys.since: write(since)} if keys.since else {})}
        query |= {keys.until: write(until)} if keys.until and until is not None else {}
        try:
            if keys.pages is None:
                yield self._read(self._api.rows(keys.path, query, items=keys.items), route)
                return
            paging: Paging = _PAGES[keys.pages.by](keys.pages)
            for page in self._api.pages(keys.path, query, items=keys.items, paging=_WithQuery(paging, self._query)):
                yield self._read(page.items, route)
        except Transient as failed:
            if failed.code != SHAPE:
                raise
            stated = (
                f"list.items is {keys.items}" if keys.items else "list.items is empty, so the body must be the list"
            )
            text = f"{stated}, and {failed.message}; set list.items to the key under which the list is"
            raise Transient(text, code=SHAPE, known=False) from None

    # ---- items

    def reparse(self, request: Request) -> Batch:
        """One item from quarantine, as a list of one."""
        try:
            items = json.loads(request.body)
        except ValueError as error:
            raise Malformed(f"the kept item is not JSON: {error}") from None

        def make(item: Any, where: str) -> Batch:
            return Batch([self._made(item, where, Route.POLL, request.received_at)])

        return each_item(request, items if isinstance(items, list) else [items], make, name="item")

    def _read(self, items: Iterable[Mapping[str, Any]], route: Route) -> list[ListRow]:
        rows, now = [], self._context.clock()
        for item in items:
            try:
                rows.append(ListRow(item, self._made(item, "the item", route, now)))
            except Malformed as error:
                rows.append(ListRow(item, None, str(error)))
        return rows

    def _made(self, item: Any, where: str, route: Route, received_at: datetime) -> Signal:
        scope = {"body": [item], "item": item, "headers": {}, "query": {}}
        draft = self._fields.draft(Item(item, scope, where, {}))
        assert isinstance(draft, EventDraft), "the settings have no types:"
        if draft.occurred_at in (None, ""):
            raise Malformed(f"{where}, occurred_at: there is nothing")
        return msgspec.structs.replace(self._maker.make(draft, received_at), route=route)

    def _batch(self, rows: Sequence[ListRow], state: bytes) -> Batch:
        signals = [row.signal for row in rows if row.signal is not None]
        wrong = [row for row in rows if row.signal is None]
        request = Request("GET", self._keys.path, {"content-type": "application/json"}, b"", self._context.clock())
        kept = as_json_list(request, [row.raw for row in wrong])
        misfits = [UnparsedItem(one, row.reason) for one, row in zip(kept, wrong, strict=True)]
        return Batch(signals, state=state, misfits=misfits)


@dataclass(frozen=True)
class _WithQuery:
    """Pages whose address stands in the answer also get the parameters of the configuration (an API key in the query)."""

    paging: Paging
    query: Mapping[str, str]

    @property
    def expired(self) -> frozenset[str]:
        return self.paging.expired

    def following(self, page: Page, at: tuple[str, Mapping[str, str]]) -> tuple[str, Mapping[str, str]] | None:
        found = self.paging.following(page, at)
        if found is None or found[1]:
            return found
        return found[0], {name: value for name, value in self.query.items() if f"{name}=" not in found[0]}


_NOBODY = HttpAuth.model_construct()
_TOKENS = TokenAnswers(
    "the token endpoint's vendor",
    {
        "invalid_client": "it does not accept client_id and client_secret; check auth.oauth",
        "invalid_grant": "the refresh token has ended or was withdrawn; put a new one into auth.oauth",
        "invalid_scope": "it does not give these scopes; check auth.oauth.scopes",
        "unauthorized_client": "the app may not sign in this way; allow the grant in the vendor's settings",
    },
)
"""RFC 6749, 5.2."""


def _bearer(keys: HttpOAuth, context: Context) -> Bearer:
    own = keys.refresh_token is None
    refresh = keys.refresh_token.get_secret_value() if keys.refresh_token is not None else ""
    form = {"client_id": keys.client_id, "client_secret": keys.client_secret.get_secret_value()}
    form |= {"scope": " ".join(keys.scopes)} if own and keys.scopes else {}
    grant = "client_credentials" if own else "refresh_token"
    mint = Refreshing(keys.token_url, form, _TOKENS, context.clock, context.name, grant=grant, refresh=refresh)
    return Bearer(context.tokens, grant_id("http", keys.token_url, *form.values(), refresh), mint)


def _table(keys: HttpErrors) -> ErrorTable:
    statuses = {**STATUSES, **keys.statuses}
    return ErrorTable(
        "",
        {code: MEANINGS[meaning] for code, meaning in keys.codes.items()},
        error_at(keys.code or "code", keys.message),
        statuses={status: MEANINGS[meaning] for status, meaning in statuses.items()},
    )


def _mark(row: ListRow) -> ItemMark | None:
    """An item that cannot be understood is known by its content, without a time: once for each time it is listed."""
    return mark_of(digest(row.raw), row.signal.occurred_at) if row.signal is not None else None


CONNECTOR = Connector(
    name="http",
    contract=2,
    role="source",
    summary="any vendor's list of events over HTTP, by YAML alone: pages, cursor, field map, errors",
    settings=HttpSettings,
    build=HttpList,
    signals=(SignalSpec("*", "poll and backfill: the map's id", backfill=True),),
    secrets_note="auth.bearer, auth.password and auth.key are secrets",
    makes=lambda settings, switches: types_made(settings.signal, switches),
)
