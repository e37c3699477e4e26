"""The one-shot web server on this machine that a browser comes back to after signing in. `syncd auth` holds it open.

Promise: it listens on loopback only, takes one answer, tells the browser its outcome once that is certain, and shows
and keeps no secret.
"""

from __future__ import annotations

import html
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from syncd.errors import SyncdError

ANSWER_WITHIN = 90.0
"""Seconds a browser waits for the outcome: longer than the exchange with the vendor may take."""
IDLE = 10.0
"""Seconds a connection may say nothing."""
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem; color: #1c2024; }}
h1 {{ font-size: 1.5rem; border-left: .4rem solid {colour}; padding-left: .9rem; }}
p {{ padding-left: 1.3rem; overflow-wrap: anywhere; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #15181b; color: #e8eaed; }} }}
</style></head><body><h1>{title}</h1><p>{text}</p></body></html>
"""


def page(title: str, text: str, *, good: bool) -> bytes:
    """What the browser shows at the end."""
    colour = "#2e7d4f" if good else "#b3372f"
    return _PAGE.format(title=html.escape(title), text=html.escape(text), colour=colour).encode()


class Visit:
    """One browser that came back: the query it brought, and a page it waits for."""

    def __init__(self, query: str) -> None:
        self.query = query
        self._pages: queue.Queue[bytes] = queue.Queue(1)
        self.shown = threading.Event()

    def show(self, title: str, text: str, *, good: bool) -> None:
        """Lets the browser know, and waits a moment for it to have the page."""
        self._pages.put(page(title, text, good=good))
        self.shown.wait(5)

    def page(self) -> bytes:
        try:
            return self._pages.get(timeout=ANSWER_WITHIN)
        except queue.Empty:
            return page("No outcome yet", "See the terminal that syncd auth was started in.", good=False)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout: ClassVar[float] = IDLE
    server_version = "syncd"
    sys_version = ""

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if path.path != self.server.path:
            self._answer(HTTPStatus.NOT_FOUND, page("Not here", "Nothing is at this address.", good=False))
        elif not path.query:
            self._answer(HTTPStatus.BAD_REQUEST, page("Waiting", "The vendor has not answered yet.", good=False))
        elif not self.server.first.acquire(blocking=False):
            self._answer(HTTPStatus.GONE, page("Already done", "This sign-in has had its answer.", good=False))
        else:
            visit = Visit(path.query)
            self.server.visits.put(visit)
            self._answer(HTTPStatus.OK, visit.page())
            visit.shown.set()

    def _answer(self, status: HTTPStatus, body: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:  # the browser is gone; the terminal says it all the same
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the request line holds the code."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, family: socket.AddressFamily, host: str, port: int, path: str) -> None:
        self.address_family = family
        self.path = path
        self.visits: queue.SimpleQueue[Visit] = queue.SimpleQueue()
        self.first = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of our own name that HTTPServer does."""
        if self.address_family is socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is the browser's affair."""


class Callback:
    """The server while it listens. `port` is the real one where 0 was asked for."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.port = server.server_port

    def wait(self, seconds: float) -> Visit | None:
        """The first browser that comes back within so long, else None."""
        try:
            return self._server.visits.get(timeout=seconds)
        except queue.Empty:
            return None


@contextmanager
def listening(port: int, path: str) -> Iterator[Callback]:
    """Listens on 127.0.0.1, and on ::1 where that can be had (`localhost` may mean either). Raises SyncdError for a port
    in use."""
    servers = [_open(socket.AF_INET, "127.0.0.1", port, path)]
    try:
        if socket.has_ipv6:
            try:
                servers.append(_open(socket.AF_INET6, "::1", servers[0].server_port, path))
            except SyncdError:
                if port and _in_use(port):
                    raise
        for server in servers[1:]:
            server.visits, server.first = servers[0].visits, servers[0].first
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.1,), name="sign-in callback", daemon=True).start()
        yield Callback(servers[0])
    finally:
        for server in servers:
            threading.Thread(target=server.shutdown, daemon=True).start()
            server.server_close()


def _open(family: socket.AddressFamily, host: str, port: int, path: str) -> _Server:
    try:
        return _Server(family, host, port, path)
    except OSError as error:
        raise SyncdError(
            f"port {port} of this machine cannot be used ({error.strerror}); stop what uses it (another `syncd auth`?), or "
            f"give --port and register http://localhost:PORT{path} at the vendor"
        ) from None


def _in_use(port: int) -> bool:
    """Whether a process listens on the port of ::1; False on a machine without IPv6."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("::1", port)) == 0
