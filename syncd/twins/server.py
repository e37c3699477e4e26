"""A twin as a server: runs under uvicorn in a thread or in the foreground, carries out the fault plan, keeps the call log.

A vendor's twin subclasses `Twin` and provides `route` and its error shapes. What it promises: a change is in the journal
(fsynced) before its answer is sent, and a change whose answer a fault takes away is there or not exactly as the plan says.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from syncd.twins import introspect, spoil
from syncd.twins.faults import FaultPlan
from syncd.twins.state import Change, Record, TwinTables
from syncd.twins.wire import (
    Message,
    PlannedFault,
    Receive,
    Send,
    TwinCall,
    TwinResponse,
    matches,
    read_call,
    send_answer,
)

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

Handler = Callable[[TwinCall], TwinResponse]
Named = Callable[[Any, TwinCall], TwinResponse]


class Twin(ABC):
    """One stand-in vendor. Options: `journal` (a path), `faults` (a plan), `latency` (seconds before each answer), `clock`."""

    name: ClassVar[str] = "twin"
    key_field: ClassVar[str] = "Syncd_Key__c"
    row_operations: ClassVar[frozenset[str]] = frozenset()
    named: ClassVar[Mapping[str, Named]] = {}  # answers a plan may ask for by name: `do: daily_limit`
    indexes: ClassVar[Mapping[str, Iterable[str]]] = {}
    log_size: ClassVar[int] = 20_000
    example: ClassVar[str] = ""  # YAML that points a syncd at this twin, for `configuration`

    def __init__(
        self,
        *,
        journal: str | Path | None = None,
        faults: Iterable[Mapping[str, Any] | PlannedFault] = (),
        latency: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.latency = latency
        self.url = ""
        self.plan = FaultPlan(faults, named=self.named)
        self.store = TwinTables(self.indexes, Path(journal) if journal is not None else None)
        self.calls: deque[dict[str, Any]] = deque(maxlen=self.log_size)
        self.counts: Counter[str] = Counter()
        self.in_flight = 0
        self.in_lane: Counter[str] = Counter()
        self._late: list[list[Change]] = []
        self._arrived = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    # What a vendor's twin provides.

    @abstractmethod
    def route(self, call: TwinCall) -> Handler | None:
        """The handler of a call, after naming its `operation` (and `inner` ones); None when there is no such resource."""

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        """An error of the whole call in the vendor's shape, which may depend on the operation."""
        return TwinResponse(status, {"code": code, "message": message})

    def credentials(self) -> dict[str, str]:
        """What of `example` is this twin's own, beside `url`."""
        return {}

    def configuration(self) -> str:
        """YAML for a config.yaml that points at this running twin, with credentials that it accepts."""
        return self.example.format(url=self.url, **self.credentials())

    def refused(self) -> TwinResponse:
        """The answer to a token that is not valid."""
        return self.error(401, "UNAUTHORIZED", "the token is not valid")

    def expire_tokens(self) -> None:
        """Makes every access token handed out so far invalid."""
        return

    def clashes(self, object_: str, record: Record) -> bool:
        """Whether a record that was kept back would now break a unique field."""
        return False

    def delete(self, id_: str) -> bool:
        """Deletes a record as a user of the CRM would; False when it does not exist."""
        raise ValueError(f"{self.name} has no records to delete")

    def convert(self, id_: str) -> dict[str, Any]:
        """Converts a lead as a user would; the ids it became."""
        raise ValueError(f"{self.name} has no leads")

    def add(self, object_: str, /, **fields: Any) -> str:
        """Puts a record there as a user of the vendor's own screens would; returns its id."""
        raise ValueError(f"{self.name} takes no records")

    def alive(self, record: Record) -> bool:
        """Whether a stored record is one a client would count."""
        return True

    def forget(self) -> None:
        """Vendor state beside the records, dropped by `reset` (tokens, counters)."""
        return

    # Looking in, and steering: for tests in the same process; the same over HTTP is in introspect.py.

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Commits what the block changed, or undoes it when it fails. For changes that come from no call."""
        try:
            yield
        except BaseException:
            self.store.rollback()
            raise
        self.store.commit()

    def records(self, object_: str) -> list[Record]:
        """The live records of an object, oldest first, as copies."""
        with self.lock:
            return [dict(r) for r in self.store.table(object_).records.values() if self.alive(r)]

    def doubled(self) -> dict[str, list[str]]:
        """Per object, the syncd keys that more than one live record has. Must be empty, always."""
        with self.lock:
            found: dict[str, list[str]] = {}
            for object_, table in self.store.tables.items():
                keys = Counter(
                    r[self.key_field] for r in table.records.values() if r.get(self.key_field) and self.alive(r)
                )
                twice = sorted(k for k, n in keys.items() if n > 1)
                if twice:
                    found[object_] = twice
            return found

    def stats(self) -> dict[str, Any]:
        """Counters of calls and records, what is doubled, and how often each fault struck."""
        doubled = self.doubled()
        with self.lock:
            live = {o: sum(map(self.alive, t.records.values())) for o, t in self.store.tables.items() if t.records}
            return {
                "name": self.name,
                "calls": self.counts["calls"],
                "rows": self.counts["rows"],
                "counts": dict(sorted(self.counts.items())),
                "records": live,
                "doubled": doubled,
                "doubled_total": sum(map(len, doubled.values())),
                "late": len(self._late),
                "faults": [f.describe() for f in self.plan.faults],
            }

    def reset(self) -> None:
        """Back to an empty vendor: records, journal, log, counters, faults and tokens."""
        with self.lock:
            self.store.clear()
            self.calls.clear()
            self.counts.clear()
            self.plan.clear()
            self._late.clear()
            self.forget()

    def release(self) -> int:
        """Commits every write that a `late` fault still holds back; returns how many changes went in."""
        with self.lock:
            held, self._late = self._late, []
            return sum(self.store.reattach(changes, self.clashes) for changes in held)

    # Running.

    def start(self, port: int = 0, host: str = "127.0.0.1") -> str:
        """Serves in a thread; returns the URL, which accepts connections from now on."""
        listener = self._listen(host, port)
        server = self._server = self._uvicorn()
        self._thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name=self.name)
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """Ends the server and its hanging calls; the records stay, and so does the journal."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._server = self._thread = self._loop = self._stopping = None

    def run(self, port: int, host: str = "127.0.0.1", ready: Callable[[str], None] | None = None) -> None:
        """Serves in the foreground until SIGINT or SIGTERM."""
        listener = self._listen(host, port)
        if ready is not None:
            ready(self.url)
        self._uvicorn().run(sockets=[listener])

    def _listen(self, host: str, port: int) -> socket.socket:
        listener = socket.create_server((host, port), backlog=512)
        self.url = f"http://{host}:{listener.getsockname()[1]}"
        return listener

    def _uvicorn(self) -> uvicorn.Server:
        import uvicorn

        config = uvicorn.Config(
            self,
            log_level="critical",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        return uvicorn.Server(config)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self.store.close()

    # One call.

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._loop is None:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._arrived += 1
        try:
            call = await read_call(scope, receive, self._arrived)
        except ConnectionError:
            self.counts["left"] += 1
            return
        if call.segments[:1] == ("_twin",):
            await send_answer(send, introspect.answer(self, call))
            return
        started = time.perf_counter()
        self.in_flight += 1
        try:
            await self._serve(call, receive, send, started)
        finally:
            self.in_flight -= 1
            self.in_lane[call.lane] -= 1

    async def _serve(self, call: TwinCall, receive: Receive, send: Send, started: float) -> None:
        with self.lock:
            handler = self.route(call)
            self.in_lane[call.lane] += 1
            struck = self.plan.fire(call, has_rows=call.operation in self.row_operations)
        call.row_faults = [f for f in struck if f.do == "row"]
        decisive = next((f for f in struck if f.do not in ("row", "slow", "delete", "convert", "expire_tokens")), None)
        delay = self.latency + sum(f.params.get("seconds", 1.0) for f in struck if f.do == "slow")
        if delay:
            await self.pause(delay)
        with self.lock:
            self._meddle(struck)
            answer = self._execute(call, handler, decisive)
            self._note(call, answer, struck, started)
        await spoil.reply(self, receive, send, answer, decisive)

    async def pause(self, seconds: float, receive: Receive | None = None) -> None:
        """Sleeps, but not beyond the end of the server, nor (given `receive`) beyond the patience of the client."""
        if self._stopping is None:
            raise RuntimeError("the twin is not serving")
        waits = [asyncio.ensure_future(self._stopping.wait())]
        if receive is not None:
            waits.append(asyncio.ensure_future(_gone(receive)))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _meddle(self, struck: Iterable[PlannedFault]) -> None:
        """State faults: people deleted or converted behind the client's back, tokens expired."""
        for fault in struck:
            if fault.do == "expire_tokens":
                self.expire_tokens()
            elif fault.do in ("delete", "convert"):
                table = self.store.table(fault.params["object"])
                found = [i for i, r in table.records.items() if self.alive(r) and matches(r, fault.params["match"])]
                for id_ in found:
                    self.delete(id_) if fault.do == "delete" else self.convert(id_)

    def _execute(self, call: TwinCall, handler: Handler | None, fault: PlannedFault | None) -> TwinResponse:
        """The answer, with its changes committed, kept back or never made, as the fault wants."""
        if fault is not None and fault.do != "late" and fault.when == "before" and fault.do not in ("truncate", "cut"):
            return self.spoil(call, fault)
        answer = self._handle(call, handler)
        if fault is not None and fault.do == "late":
            self._keep_back(self.store.detach(), fault.params.get("seconds"))
            return self.spoil(call, fault)
        self.store.commit()
        if fault is not None and fault.do not in ("truncate", "cut"):
            return self.spoil(call, fault)
        return answer

    def _handle(self, call: TwinCall, handler: Handler | None) -> TwinResponse:
        if handler is None:
            return self.error(404, "NOT_FOUND", "The requested resource does not exist")
        try:
            return handler(call)
        except Exception:
            # A bug of the twin must look like one: loud in the log, and no half-made change behind it.
            log.exception("the %s twin failed at %s %s", self.name, call.method, call.path)
            self.store.rollback()
            self.counts["bugs"] += 1
            return TwinResponse(500, b"the twin itself failed; see its log", content_type="text/plain")

    def _keep_back(self, changes: list[Change], seconds: float | None) -> None:
        self._late.append(changes)
        if seconds is not None and self._loop is not None:
            self._loop.call_later(seconds, self._come_late, changes)

    def _come_late(self, changes: list[Change]) -> None:
        with self.lock:
            if any(held is changes for held in self._late):
                self._late = [held for held in self._late if held is not changes]
                self.store.reattach(changes, self.clashes)

    def spoil(self, call: TwinCall, fault: PlannedFault) -> TwinResponse:
        """The answer that a fault puts in the place of the true one; status 0 stands for none at all."""
        return spoil.answer(self, call, fault)

    def _note(self, call: TwinCall, answer: TwinResponse, struck: Iterable[PlannedFault], started: float) -> None:
        self.counts["calls"] += 1
        self.counts["rows"] += call.rows
        self.counts[f"op:{call.operation or 'unknown'}"] += 1
        self.counts[f"status:{answer.status}"] += 1
        self.calls.append(
            {
                "number": call.number,
                "at": self.clock(),
                "method": call.method,
                "path": call.path,
                "query": call.query,
                "operation": call.operation,
                "inner": list(call.inner),
                "rows": call.rows,
                "status": answer.status,
                "faults": [f.do for f in struck],
                "seconds": round(time.perf_counter() - started, 6),
            }
        )


async def _gone(receive: Receive) -> Literal[True]:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        continue
    return True
