"""One polite HTTP client for every connector: deadlines, Retry-After, one refresh and one replay on 401, no secret in an
error. It classifies what happened on the wire; what the vendor *said* is classified by the connector from its own table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from urllib3.util.retry import Retry

from syncd import __version__
from syncd.errors import Ambiguous, AuthExpired, Failure, Misconfigured, RateLimited, Transient
from syncd.oauth import Mint, Token, TokenStore

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
READS = frozenset({"GET", "HEAD", "OPTIONS"})
LARGEST_ANSWER = 64 * 1024 * 1024


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
    """How a client authenticates: the grant's token in `Authorization: {scheme} {token}`."""

    tokens: TokenStore
    grant: str
    mint: Mint
    scheme: str = "Bearer"


@dataclass(frozen=True)
class Deadlines:
    """Seconds: to connect, between two bytes of the answer, and for the whole answer."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 120.0


@dataclass(frozen=True)
class Response:
    """What came back. `write`: whether the request may have changed something (decides what unreadable means)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    write: bool

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The parsed body. A body that is no JSON (an HTML page, half an answer) is Ambiguous after a write, else
        Transient."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return self._unreadable()

    def _unreadable(self) -> Any:
        seen = self.body[:60].decode("utf-8", "replace")
        raise unclear(f"HTTP {self.status} with a body that is no JSON: {seen!r}", write=self.write)

    def retry_after(self, now: datetime) -> float | None:
        """Seconds the vendor asked us to wait (Retry-After as seconds or date), or None."""
        return parse_retry_after(self.headers.get("retry-after", ""), now)


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Retry-After in either of its forms as seconds from `now`; None when absent or nonsense."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def unclear(message: str, *, write: bool, code: str = "") -> Failure:
    """What a missing or unreadable answer means: Ambiguous when something may have been written, else Transient."""
    return Ambiguous(message, code=code) if write else Transient(message, code=code)


class HttpClient:
    """Calls one vendor. `base_url` may be a function of the newest token (instance_url, api_domain). One session per
    client, safe for a few threads. `headers` are sent with every request.

    `request` raises: Transient (never left; or a read that failed), Ambiguous (a write whose answer is missing),
    AuthExpired (401 again after one refresh), and whatever `mint` raises. Every answer else is returned, whatever its
    status. Reads are tried up to 3 times on wire trouble; a write is sent once.
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
    ) -> None:
        self._base_url = base_url
        self._bearer = bearer
        self._deadlines = deadlines or Deadlines()
        self._refused = refused_statuses
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": f"syncd/{__version__}", "Accept": "application/json"})
        self._session.headers.update(headers or {})
        self._session.auth = basic
        self._session.trust_env = True
        adapter = HTTPAdapter(pool_connections=pool, pool_maxsize=pool, max_retries=Retry(0, read=False))
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

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
    ) -> Response:
        """One exchange. `path` is appended to the base URL (or is a whole URL on the same host). `write` tells whether it
        may change something; default: by the method (a POSTed query says `write=False`)."""
        sent_headers = dict(headers or {})
        if json is not None:
            body = orjson.dumps(json)
            sent_headers.setdefault("Content-Type", "application/json")
        writes = method not in READS if write is None else write

        def once() -> Response:
            return self._authorised(method, path, params, body, form, sent_headers, writes)

        if writes:
            return once()
        retrying = Retrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_after_attempt(3),
            wait=wait_exponential_jitter(initial=0.2, max=2.0),
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
            if token is not None and self._bearer is not None:
                headers = {**headers, "Authorization": f"{self._bearer.scheme} {token.access}"}
            response = self._exchange(method, self._url(path, token), params, body, form, headers, write)
            if response.status not in self._refused or token is None:
                return response
            refused = token.access
        raise AuthExpired(f"{method} {path}: the access token was refused again right after a refresh", code="401")

    def _token(self, refused: str) -> Token | None:
        if self._bearer is None:
            return None
        return self._bearer.tokens.token(self._bearer.grant, self._bearer.mint, refused=refused)

    def _url(self, path: str, token: Token | None) -> str:
        base = self._base_url if isinstance(self._base_url, str) else self._base_url(token or Token(access=""))
        base = base.rstrip("/")
        if path.startswith(("http://", "https://")):
            if urlsplit(path)[:2] != urlsplit(base)[:2]:
                raise Misconfigured(f"refusing to send credentials to another host: {urlsplit(path).hostname}")
            return path
        return base + path

    def _exchange(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str],
        write: bool,
    ) -> Response:
        where = f"{method} {urlsplit(url).hostname}{urlsplit(url).path}"
        limits = self._deadlines
        try:
            answer = self._session.request(
                method,
                url,
                params=params,
                data=body if form is None else form,
                headers=headers,
                timeout=(limits.connect, limits.read),
                allow_redirects=False,
                stream=True,
            )
            with answer:
                received = _read_all(answer, limits.total, where)
        except requests.exceptions.SSLError as error:
            raise Misconfigured(f"{where}: TLS failed: {_wire(error)}", code="tls") from None
        except (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError) as error:
            raise Transient(f"{where}: no connection: {_wire(error)}", code="connect") from None
        except requests.exceptions.ConnectionError as error:
            if _never_left(error):
                raise Transient(f"{where}: no connection: {_wire(error)}", code="connect") from None
            raise unclear(f"{where}: the connection broke: {_wire(error)}", write=write, code="reset") from None
        except requests.exceptions.Timeout as error:
            raise unclear(f"{where}: no answer in time: {_wire(error)}", write=write, code="timeout") from None
        except requests.exceptions.RequestException as error:
            raise unclear(f"{where}: {_wire(error)}", write=write, code="wire") from None
        lowered = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, lowered, received, write)

    def close(self) -> None:
        self._session.close()


def _read_all(answer: requests.Response, total: float, where: str) -> bytes:
    """The whole body within `total` seconds and LARGEST_ANSWER bytes."""
    deadline = time.monotonic() + total
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_content(65536):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise requests.exceptions.RequestException(f"{where}: an answer over {LARGEST_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise requests.exceptions.Timeout(f"{where}: the answer took over {total:g} s")
    return b"".join(parts)


def _never_left(error: requests.exceptions.ConnectionError) -> bool:
    """True when no byte of the request can have reached the vendor (refused, unresolved)."""
    text = repr(error)
    return "NewConnectionError" in text or "NameResolutionError" in text or "ConnectTimeoutError" in text


def _wire(error: Exception) -> str:
    """The class of trouble, without URLs or headers that could carry a secret."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    reason = getattr(inner, "reason", None)
    return type(reason if isinstance(reason, BaseException) else inner).__name__


def throttled(response: Response, now: datetime) -> RateLimited | None:
    """The generic reading of 429 and of 503 with Retry-After; None for anything else."""
    wait = response.retry_after(now)
    if response.status == 429 or (response.status == 503 and wait is not None):
        return RateLimited(f"HTTP {response.status}", code=str(response.status), retry_after=wait)
    return None
