"""A total deadline for one HTTP exchange, however slowly the other side drips: at its end the socket is shut down.

Used by `syncd.http.client` alone. A read timeout bounds the wait for the next byte; only this bounds the wait for the last one.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from types import TracebackType
from typing import Any, Self

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_current = threading.local()


class Exchange:
    """Covers the exchange that this thread makes within the `with`. `connecting`: a connection was started. `sending`: it
    stood and the request began to leave. `expired`: the deadline came first, and the socket was shut down."""

    def __init__(self, seconds: float) -> None:
        self.connecting = False
        self.sending = False
        self.expired = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        _current.exchange = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        _current.exchange = None
        with self._lock:
            self._socket = None

    def watch(self, connected: socket.socket | None) -> None:
        """The request is about to leave through this socket."""
        with self._lock:
            self.sending = True
            self._socket = connected
            if self.expired:
                _shut(connected)

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            _shut(self._socket)

    @property
    def never_left(self) -> bool:
        """No byte of the request can have reached the other side."""
        return self.connecting and not self.sending


def _shut(connected: socket.socket | None) -> None:
    if connected is None:
        return
    with contextlib.suppress(OSError):  # already closed by the other side
        # Not SSLSocket.shutdown, which would drop the TLS state under the thread that reads.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _exchange() -> Exchange | None:
    exchange = getattr(_current, "exchange", None)
    return exchange if isinstance(exchange, Exchange) else None


class _Timed:
    """Tells the thread's Exchange how far a connection has come."""

    sock: Any

    def connect(self) -> None:
        exchange = _exchange()
        if exchange is not None:
            exchange.connecting = True
        super().connect()  # type: ignore[misc]

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = _exchange()
        if exchange is not None:
            exchange.watch(self.sock)
        super().endheaders(*args, **kwargs)  # type: ignore[misc]


class _TimedHTTP(_Timed, HTTPConnection):
    pass


class _TimedHTTPS(_Timed, HTTPSConnection):
    pass


class NotPublic(Exception):
    """The connection stands to an address that is not one of the public internet; nothing was sent."""


class _Public:
    """Closes a connection to an address that is not public before a byte leaves. It is the address that was connected to, so a
    name that resolves to another one the next time deceives nobody."""

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        address = connected.getpeername()[0]
        if is_public(address):
            return connected
        connected.close()
        raise NotPublic(address)


_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a translator (RFC 6052)."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet: not private, loopback, link-local, shared or reserved, also where an
    IPv6 address stands for an IPv4 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _TRANSLATED else None
        ip = ip.ipv4_mapped or ip.sixtofour or translated or ip
    return ip.is_global and not ip.is_multicast


class _PublicHTTP(_Public, _TimedHTTP):
    pass


class _PublicHTTPS(_Public, _TimedHTTPS):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _TimedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPS


class _PublicHTTPPool(HTTPConnectionPool):
    ConnectionCls = _PublicHTTP


class _PublicHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPS


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
_PUBLIC_POOLS = {"http": _PublicHTTPPool, "https": _PublicHTTPSPool}


class TimedAdapter(HTTPAdapter):
    """An adapter whose connections tell the current Exchange their socket; it never retries by itself. `public`: it connects to
    addresses of the public internet only (a proxy of the environment excepted, which decides for itself)."""

    def __init__(self, *, public: bool = False, **kwargs: Any) -> None:
        self._public = public
        super().__init__(**kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _PUBLIC_POOLS if self._public else _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
