"""One polite HTTP client for every connector: deadlines, Retry-After, one refresh and one replay on 401, no secret in an
error. It classifies what happened on the wire; what the vendor *said* is classified by the connector from its own table.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from syncd import __version__
from syncd.errors import Ambiguous, AuthExpired, Failure, Misconfigured, RateLimited, Transient
from syncd.http.deadline import Exchange, NotPublic, TimedAdapter
from syncd.http.json_text import parse
from syncd.http.limits import Bucket, CallGate
from syncd.http.oauth import Mint, Token, TokenStore
from syncd.runtime.known_secrets import learn, learn_named

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
READS = frozenset({"GET", "HEAD", "OPTIONS"})
TOO_LARGE = (413, 414, 431)
"""Statuses of a request that is larger than the server takes: its body, its URL or its headers (RFC 9110, RFC 6585)."""
LARGEST_ANSWER = 64 * 1024 * 1024
ANSWER_TOO_LARGE = "answer_too_large"
"""Code of the failure of an answer beyond that."""
NOT_PUBLIC = "not_public"
"""Code of the failure of a client that is for public addresses only, at another one."""
LONGEST_WAIT = 7 * 86_400.0
"""Seconds that a Retry-After is obeyed for: nobody means a longer one."""
_TITLE = re.compile(rb"<title[^>]*>([^<]{1,200})", re.IGNORECASE)


def check_base_url(url: str) -> str:
    """The URL without a trailing slash. Raises ValueError unless it is https, or http to this machine."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http(s) URL")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError(f"plain http:// is allowed for this machine only; use https:// for {parts.hostname}")
    return url.rstrip("/")


@dataclass(frozen=True)
class Bearer:
    """How a client authenticates: the grant's token in `Authorization: {scheme} {token}`. `parameter`: the member of the JSON
    body that takes it instead, for a vendor who reads no such header; every request has a JSON object then."""

    tokens: TokenStore
    grant: str
    mint: Mint
    scheme: str = "Bearer"
    parameter: str = ""


@dataclass(frozen=True)
class Deadlines:
    """Seconds: to connect (each address), between two bytes of the answer, and for the whole exchange however slowly it
    drips. Resolving the host's name is the system's business and not bounded here."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 120.0


@dataclass(frozen=True)
class Response:
    """What came back. `headers` have lower-case names. `write`: whether the request may have changed something (decides
    what unreadable means). Redirects are not followed: a 3xx comes back like any other status."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    write: bool

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The parsed body. A body that is not JSON (an HTML page, half an answer) is Ambiguous after a write, else
        Transient."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            pass
        try:
            return parse(self.body).value  # half an emoji in one record must not hide the others
        except ValueError:
            return self._unreadable()

    def _unreadable(self) -> Any:
        raise unclear(f"HTTP {self.status} with {self._looks()}, not JSON", write=self.write, code="unreadable")

    def _looks(self) -> str:
        """What the body is, without showing it: half a token answer holds a secret. An HTML page tells its title."""
        title = _TITLE.search(self.body[:4096])
        if title is not None:
            return f"an HTML page {title[1].decode('utf-8', 'replace').strip()[:60]!r}"
        kind = self.headers.get("content-type", "").partition(";")[0].strip() or "no type"
        return f"a body of {len(self.body)} bytes ({kind})"

    def retry_after(self, now: datetime) -> float | None:
        """Seconds the vendor asked us to wait (Retry-After as seconds or date), or None."""
        return parse_retry_after(self.headers.get("retry-after", ""), now)


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Retry-After in either of its forms as seconds from `now`, LONGEST_WAIT at most; None when absent or nonsense."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(max(0.0, (moment - now).total_seconds()), LONGEST_WAIT)
    except (ValueError, TypeError, OverflowError):
        return None


def unclear(message: str, *, write: bool, code: str = "") -> Failure:
    """What a missing or unreadable answer means: Ambiguous when something may have been written, else Transient."""
    return Ambiguous(message, code=code) if write else Transient(message, code=code)


class _NoToken(Exception):
    """No access token could be had, and why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


class HttpClient:
    """Calls one vendor. `base_url` may be a function of the newest token (where that names the host). One session per client,
    safe for a few threads; it keeps no cookies and reads no ~/.netrc. `headers` are sent with every request.
    `exchanges` counts the requests made so far, replays and those without an answer included. The token counts as
    refused when the status is one of `refused_statuses` and `refuses_token` agrees (some say 401 to a missing scope too).
    `rate`: the bucket that every request takes its `units` from, shared by everything with the same account and store.
    `public`: hosts with an address of the public internet only; another one is Misconfigured.

    `request` raises: RateLimited without a call (the bucket is empty, or its `operation` is limited), Transient (never left; or
    a read that failed), Ambiguous (a write whose answer is missing), AuthExpired (401 again after one refresh), Misconfigured
    (TLS that cannot work), and whatever `mint` raises. Every answer else is returned, whatever its status. Reads are tried up
    to 3 times on wire trouble; a write is sent once.
    No message shows a query string, a header, or the part of a URL that stands in the base URL.
    """

    def __init__(
        self,
        base_url: str | Callable[[Token], str],
        *,
        bearer: Bearer | None = None,
        headers: Mapping[str, str] | None = None,
        deadlines: Deadlines | None = None,
        basic: tuple[str, str] | None = None,
        pool: int = 8,
        refused_statuses: frozenset[int] = frozenset({401}),
        refuses_token: Callable[[Response], bool] = lambda response: True,
        rate: Bucket | None = None,
        public: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._base_url = base_url
        self._bearer = bearer
        self._deadlines = deadlines or Deadlines()
        self._refused = refused_statuses
        self._refuses_token = refuses_token
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": f"syncd/{__version__}", "Accept": "application/json"})
        self._session.headers.update(headers or {})
        learn_named((headers or {}).items(), passing=False)
        if basic is not None:
            learn(basic[1], base64.b64encode(":".join(basic).encode()).decode())
        # An auth of our own, even an empty one, keeps requests from putting ~/.netrc over our Authorization header.
        self._session.auth = basic or _as_it_is
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        adapter = TimedAdapter(public=public, pool_connections=pool, pool_maxsize=pool)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._counting = threading.Lock()
        self._gate = CallGate(rate, clock)
        self.exchanges = 0

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        write: bool | None = None,
        operation: str = "",
        units: float = 1.0,
    ) -> Response:
        """One exchange. `path` is appended to the base URL (or is a whole URL on the same host); "" is the base URL as it is,
        with a slash at its end if it has one. `write` tells whether it may change something; default: by the method (a POSTed
        query says `write=False`). `operation`: its name where the vendor limits it by itself; `units`: what it takes from the
        bucket."""
        self._gate.admit(operation, units)
        sent_headers = dict(headers or {})
        learn_named([*sent_headers.items(), *(params or {}).items(), *(form or {}).items()])
        if json is not None:
            body = orjson.dumps(json)
            sent_headers.setdefault("Content-Type", "application/json")
        writes = method not in READS if write is None else write

        def once() -> Response:
            return self._authorised(method, path, params, body, form, sent_headers, writes)

        try:
            return once() if writes else self._persistently(once)
        except _NoToken as no_token:
            raise no_token.failure from None

    def limited(self, failure: RateLimited) -> None:
        """Notes a limit of one operation (`failure.scope`): `request` refuses that operation until its time."""
        self._gate.note(failure)

    def _persistently(self, once: Callable[[], Response]) -> Response:
        """A read, again on wire trouble. Never because no token could be had: logins are rationed by the vendors."""
        retrying = Retrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_after_attempt(3),
            wait=wait_exponential(multiplier=0.2, max=2.0) + wait_random(0, 0.2),
            reraise=True,
        )
        return retrying(once)

    def _authorised(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        form: Mapping[str, str] | None,
        headers: dict[str, str],
        write: bool,
    ) -> Response:
        refused = ""
        for _ in range(2):
            token = self._token(refused)
            sent = body
            if token is not None and self._bearer is not None and self._bearer.parameter:
                sent = orjson.dumps({**orjson.loads(body or b"{}"), self._bearer.parameter: token.access})
            elif token is not None and self._bearer is not None:
                headers = {**headers, "Authorization": f"{self._bearer.scheme} {token.access}"}
            where = f"{method} {_shown(path)}".rstrip()
            response = self._exchange(where, method, self._url(path, token), params, sent, form, headers, write)
            if token is None or response.status not in self._refused or not self._refuses_token(response):
                return response
            refused = token.access
        raise AuthExpired(
            f"{method} {_shown(path)}: the access token was refused again right after a refresh", code="401"
        )

    def _token(self, refused: str) -> Token | None:
        if self._bearer is None:
            return None
        try:
            return self._bearer.tokens.token(self._bearer.grant, self._bearer.mint, refused=refused)
        except Failure as failure:
            raise _NoToken(failure) from None

    def _url(self, path: str, token: Token | None) -> str:
        base = self._base_url if isinstance(self._base_url, str) else self._base_url(token or Token(access=""))
        if not path:
            return base
        base = base.rstrip("/")
        if path.startswith(("http://", "https://")):
            if urlsplit(path)[:2] != urlsplit(base)[:2]:
                raise Misconfigured(f"refusing to send credentials to another host: {urlsplit(path).hostname}")
            return path
        return base + path

    def _exchange(
        self,
        where: str,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str],
        write: bool,
    ) -> Response:
        where = f"{where} at {urlsplit(url).hostname}"
        limits = self._deadlines
        with self._counting:
            self.exchanges += 1
        with Exchange(limits.total) as exchange:
            try:
                answer = self._session.request(
                    method,
                    url,
                    params=params,
                    data=body if form is None else form,
                    headers=headers,
                    timeout=(limits.connect, min(limits.read, limits.total)),
                    allow_redirects=False,
                    stream=True,
                )
                with answer:
                    received = _read_all(answer)
            except requests.exceptions.RequestException as error:
                raise _wire_failure(error, exchange, where, write=write) from None
            except NotPublic as address:
                text = f"{where}: nothing was sent, since {address} is not an address of the public internet"
                raise Misconfigured(text, code=NOT_PUBLIC) from None
            if exchange.expired:
                raise unclear(f"{where}: no whole answer within {limits.total:g} s", write=write, code="timeout")
        lowered = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, lowered, received, write)

    def close(self) -> None:
        self._session.close()


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _shown(path: str) -> str:
    """A path for a message: without its query, and a whole URL without its host (named elsewhere)."""
    bare = path.partition("?")[0]
    return urlsplit(bare).path if bare.startswith(("http://", "https://")) else bare


def _read_all(answer: requests.Response) -> bytes:
    """The whole body, of at most LARGEST_ANSWER bytes."""
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_content(65536):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise requests.exceptions.RequestException(AnswerTooLarge())
    return b"".join(parts)


class AnswerTooLarge(Exception):
    """An answer over LARGEST_ANSWER bytes."""


def _wire_failure(
    error: requests.exceptions.RequestException, exchange: Exchange, where: str, *, write: bool
) -> Failure:
    """What trouble on the wire means: whether the request can have reached the vendor decides."""
    what = _wire(error)
    if exchange.expired:
        return unclear(f"{where}: no whole answer in time", write=write and not exchange.never_left, code="timeout")
    if isinstance(error, requests.exceptions.SSLError) and not exchange.sending:
        if "EOF" in what or "Zero" in what:
            return Transient(f"{where}: the connection broke in the TLS handshake", code="connect")
        return Misconfigured(f"{where}: TLS failed ({what}); check the URL and the host's certificate", code="tls")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
        return Misconfigured(f"{where}: cannot be sent: {type(error).__name__}", code="request")
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return Transient(f"{where}: no connection: {what}", code="connect")
    if exchange.never_left or _never_left(error):
        return Transient(f"{where}: no connection: {what}", code="connect")
    if isinstance(error, requests.exceptions.Timeout) or "ReadTimeout" in what:
        return unclear(f"{where}: no answer in time: {what}", write=write, code="timeout")
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return unclear(f"{where}: the connection broke: {what}", write=write, code="reset")
    large = any(isinstance(inner, AnswerTooLarge) for inner in _chain(error))
    return unclear(f"{where}: {what}", write=write, code=ANSWER_TOO_LARGE if large else "wire")


_BEFORE_SENDING = (NewConnectionError, ConnectTimeoutError)


def _never_left(error: BaseException) -> bool:
    """True when no byte of the request can have reached the vendor (refused, unresolved)."""
    return any(isinstance(inner, _BEFORE_SENDING) for inner in _chain(error))


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it wraps, outermost first."""
    found: list[BaseException] = []
    inner: Any = error
    while isinstance(inner, BaseException) and inner not in found:
        found.append(inner)
        reason = getattr(inner, "reason", None)
        inner = reason if isinstance(reason, BaseException) else inner.args[-1] if inner.args else None
    return found


def _wire(error: BaseException) -> str:
    """The class of trouble, without URLs or headers that could carry a secret."""
    return type(_chain(error)[-1]).__name__


def throttled(response: Response, now: datetime) -> RateLimited | None:
    """The generic reading of 429 and of 503 with Retry-After; None for anything else."""
    wait = response.retry_after(now)
    if response.status == 429 or (response.status == 503 and wait is not None):
        return RateLimited(f"HTTP {response.status}", code=str(response.status), retry_after=wait)
    return None
