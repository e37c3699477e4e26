"""uvicorn in a thread: one port, a clear line when it is taken, and a stop that lets requests under way end.

The daemon and the tests start it. `syncd.web.protocol` says what one connection may cost; here are the limits on all of them
together.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
import uvloop

from syncd.errors import SyncdError, UsageError
from syncd.intake.log_throttle import EVERY
from syncd.runtime.switch_interval import relaxed_timers
from syncd.web.protocol import HEAD_SECONDS, Protocol

KEEP_ALIVE_SECONDS = 30
DRAIN_SECONDS = 15
BACKLOG = 1024
_MOST_MESSAGES = 100
MOST_CONNECTIONS = 8000  # each may hold 64 KiB of a body not asked for yet


def connections_allowed() -> int:
    """As many as leave the process a quarter of its file descriptors for the database and the vendors."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(MOST_CONNECTIONS, files * 3 // 4))


class OnceInAWhile(logging.Filter):
    """Lets each warning of uvicorn through once in EVERY seconds: strangers can trigger them at will."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        now = self._clock()
        if now - self._said.get(record.msg, -EVERY) < EVERY:
            return False
        self._said = {record.msg: now} if len(self._said) > _MOST_MESSAGES else {**self._said, record.msg: now}
        return True


_FILTER = OnceInAWhile()


class _Uvicorn(uvicorn.Server):
    """Sweeps slow connections on uvicorn's own tick."""

    async def on_tick(self, counter: int) -> bool:
        if counter % 20 == 0:
            oldest = asyncio.get_running_loop().time() - HEAD_SECONDS
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol) and (connection.head_since or oldest + 1) < oldest:
                    connection.transport.close()
        return await super().on_tick(counter)


def tune_the_interpreter() -> None:
    """For a process that answers requests: the cyclic collector rarely (what a request allocates dies with its last
    reference; full collections are what the slowest answers wait for), and threads quick to take turns (the writer that
    they all wait for must not queue 5 ms for the interpreter at each of its statements)."""
    relaxed_timers()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class Server:
    """One listening HTTP server. `port` 0 takes a free one, to be read from `port` after the construction.

    Raises UsageError when the address cannot be had. Connections are accepted from `start` on, and `stop` waits for the
    requests under way, at most `drain` seconds.
    """

    def __init__(self, app: Any, host: str, port: int, *, drain: int = DRAIN_SECONDS) -> None:
        self._socket = _bind(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=drain,
            limit_concurrency=connections_allowed(),
            backlog=BACKLOG,
        )
        self._drain = drain
        self._uvicorn = _Uvicorn(config)
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="syncd-web", daemon=True)
        self._up = threading.Event()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        """Returns when requests are answered. Raises SyncdError when the server could not come up."""
        tune_the_interpreter()
        logging.getLogger("uvicorn.error").addFilter(_FILTER)  # adding it again does nothing
        self._thread.start()
        self._up.wait()
        if self._fault is not None:
            raise SyncdError(f"the web server did not start: {self._fault}") from self._fault

    def stop(self) -> None:
        """No new connections; requests under way are answered; returns when the thread has ended."""
        self._uvicorn.should_exit = True
        if self._thread.is_alive():
            self._thread.join(self._drain + 5)
        self._socket.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001  passed to the thread that waits in start()
            self._fault = error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        serving = asyncio.ensure_future(self._uvicorn.serve(sockets=[self._socket]))
        while not self._uvicorn.started and not serving.done():
            await asyncio.sleep(0.005)
        self._up.set()
        await serving


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"server.listen: {host}:{port} is not an address of this machine: {error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(f"server.listen: cannot listen on {host}:{port}: {_why(error)}") from error
    return listening


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program (or another syncd) uses this port; stop it or choose another port"
    if error.errno == errno.EACCES:
        return "this user may not; ports below 1024 need CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return str(error.strerror or error)
