"""Thin client of Bitrix24's REST API on HttpClient: everything goes in batches of commands, within the portal's limits.

Facts: bitrix24.md, batch, Limits; bitrix24_more.md, Batch law. Empty maps come as lists. A command that hits its method's
run-time is refused alone; the sum of the last ten minutes comes with each answer, and from SLOW_FROM on that method rests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.connector import Context
from syncd.connectors.answers import listed
from syncd.connectors.crm.bitrix24 import commands
from syncd.connectors.crm.bitrix24.errors import (
    ANSWERS,
    OPERATION,
    answer_failure,
    command_failure,
    error_at,
    read_error,
    refuses_token,
)
from syncd.connectors.crm.bitrix24.objects import FINDS, row_of
from syncd.connectors.crm.bitrix24.settings import ENDPOINT, Bitrix24Settings, bearer
from syncd.connectors.crm.client import CrmClient, Rows
from syncd.connectors.crm.portions import fitting
from syncd.errors import Ambiguous, Failure, RateLimited, Transient
from syncd.http.client import Deadlines, HttpClient, Response, unclear
from syncd.http.error_table import VendorError, dig
from syncd.http.limits import Bucket, Rate
from syncd.runtime.known_secrets import learn

COMMANDS = 50
"""Commands in a batch."""
DEADLINES = Deadlines(connect=10.0, read=75.0, total=90.0)
"""Ours: Bitrix24 ends a request after 60 seconds."""
BURST = 25.0
"""Requests at once, of the 50 after which Bitrix24 refuses: others may call from this machine too."""
TURNS = 5
"""How often a request waits here for its turn, half a second each time; then the lane does."""
SLOW_FROM = 400.0
"""Seconds of a method's run-time in ten minutes; Bitrix24 refuses from 480 on."""
WINDOW = timedelta(minutes=10)
LONGEST_BATCH = 40.0
"""Seconds that the commands of a batch may take, by what they took before: Bitrix24 ends a request after 60. (A recorded add took
four: its robots run first.)"""
TOO_SLOW = frozenset({"timeout", "504"})
"""Codes of a request that was not answered in time."""


@dataclass(frozen=True)
class CommandReply:
    """What became of one command. `failure` None: it was carried out, and `value` is its result. `next`: where the next page of
    a list begins."""

    value: Any = None
    failure: Failure | None = None
    next: int | None = None


class RunTime:
    """How long each method ran in the last ten minutes, as Bitrix24 told, and how long one call of it takes. Thread-safe."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._until: dict[str, datetime] = {}
        self._takes: dict[str, float] = {}
        self._guard = threading.Lock()

    def note(self, method: str, told: Any) -> None:
        """`told`: the `time` of an answer."""
        operating, resets = dig(told, "operating"), dig(told, "operating_reset_at")
        if isinstance(operating, int | float) and operating >= SLOW_FROM:
            self.limited(method, resets)
        took = dig(told, "duration")
        if isinstance(took, int | float) and took >= 0:
            with self._guard:
                self._takes[method] = max(took, 0.8 * self._takes.get(method, 0.0) + 0.2 * took)

    def too_slow(self, texts: Sequence[str]) -> None:
        """These commands took too long together: next time half of them go."""
        with self._guard:
            for method in {commands.method_of(text) for text in texts}:
                self._takes[method] = max(self._takes.get(method, 0.0), 2 * LONGEST_BATCH / len(texts))

    def fits(self, texts: Sequence[str]) -> bool:
        """Whether these commands go into one batch."""
        with self._guard:
            takes = sum(self._takes.get(commands.method_of(text), 0.0) for text in texts)
        return len(texts) <= COMMANDS and (takes <= LONGEST_BATCH or len(texts) == 1)

    def limited(self, method: str, resets: Any) -> None:
        """The method rests until it has time again, told in seconds since 1970."""
        now = self._clock()
        until = now + WINDOW
        if isinstance(resets, int | float) and now.timestamp() < resets <= until.timestamp() + 60:
            until = datetime.fromtimestamp(resets, UTC)
        with self._guard:
            self._until[method] = until

    def rests(self, method: str) -> RateLimited | None:
        """Why a method must wait, None when it need not."""
        with self._guard:
            until = self._until.get(method)
        wait = (until - self._clock()).total_seconds() if until is not None else 0.0
        if wait <= 0:
            return None
        text = f"{method} has used its run-time of ten minutes"
        return RateLimited(text, code="run_time", retry_after=wait, scope=method)


class Bitrix24Client(CrmClient):
    """Calls one portal as one user."""

    unit = "requests"
    when_refused = "; run `syncd auth` again"

    def __init__(
        self, settings: Bitrix24Settings, context: Context, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        learn(settings.secret)
        rate = Rate(settings.requests_per_second, timedelta(seconds=1), BURST)
        rest = f"{settings.home}/rest"
        http = HttpClient(
            settings.webhook or (lambda token: token.extra.get(ENDPOINT) or rest),
            bearer=bearer(settings, context),
            deadlines=DEADLINES,
            refuses_token=refuses_token,
            rate=Bucket(context.limits.rates, f"bitrix24 {settings.host}", rate, "requests in a second"),
            clock=context.clock,
        )
        super().__init__(http, context.clock)
        self._sleep = sleep
        self._run_time = RunTime(context.clock)

    def query(self, statements: Sequence[str]) -> list[Rows]:
        """The rows of each command, all pages of them. What a look-up by address, number or site names is read whole, the ids of
        all of them together. Raises the first failure."""
        answers = [
            self._paged(statement, reply) for statement, reply in zip(statements, self.read(statements), strict=True)
        ]
        named: dict[str, dict[str, None]] = {}
        for statement, rows in zip(statements, answers, strict=True):
            for object_, ids in _named(statement, rows):
                named.setdefault(object_, {}).update(dict.fromkeys(ids))
        whole: dict[tuple[str, str], dict[str, Any]] = {}
        asked = [(object_, text) for object_, ids in named.items() for text in commands.by_id(object_, ids)]
        replies = self.read([text for _, text in asked])
        for (object_, text), reply in zip(asked, replies, strict=True):
            whole.update(((object_, row["id"]), row) for row in map(row_of, self._paged(text, reply)))
        found: list[Rows] = []
        for statement, rows in zip(statements, answers, strict=True):
            if (names := _named(statement, rows)) or commands.method_of(statement) in _NAMING:
                found.append([whole[object_, id_] for object_, ids in names for id_ in ids if (object_, id_) in whole])
            else:
                found.append([row_of(row) for row in rows if isinstance(row, Mapping)])
        return found

    def _paged(self, statement: str, reply: CommandReply) -> list[Any]:
        """The rows of a command and of its further pages."""
        rows = _rows(statement, reply.value)
        while reply.next is not None:
            before = reply.next
            (reply,) = self.read([f"{statement}&start={before}"])
            rows += _rows(statement, reply.value)
            if reply.next is not None and reply.next <= before:
                raise ANSWERS.shape(commands.method_of(statement), "a page that leads back")
        return rows

    def read(self, texts: Sequence[str]) -> list[CommandReply]:
        """Replies to commands that change nothing, in as few requests as can be. Raises the first failure."""
        parts = list(fitting(texts, self._run_time.fits))
        replies = [reply for some in parts for reply in self.batch(some, write=False)]
        for reply in replies:
            if reply.failure is not None:
                raise reply.failure
        return replies

    def write(self, texts: Sequence[str]) -> list[CommandReply]:
        """Replies to at most COMMANDS commands that write, in one request, or in a few where they take long. Raises the Failure
        of the first request; that of a later one is told of its commands."""
        linked = any(commands.LINKED in text for text in texts)
        replies: list[CommandReply] = []
        for some in [list(texts)] if linked else list(fitting(texts, self._run_time.fits)):
            try:
                replies += self.batch(some, write=True)
            except Failure as failed:
                if not replies:
                    raise
                replies += [CommandReply(failure=failed.about_call())] * len(some)
        return replies

    def batch(self, texts: Sequence[str], *, write: bool) -> list[CommandReply]:
        """One request with at most COMMANDS commands; those whose method has used its time are not sent. Raises a Failure that
        concerns the whole."""
        rests = {method: self._run_time.rests(method) for method in {commands.method_of(text) for text in texts}}
        keys = {f"c{at:04}": text for at, text in enumerate(texts) if rests[commands.method_of(text)] is None}
        try:
            result = self._results(keys, write) if keys else {}
        except (Ambiguous, Transient) as failed:
            if failed.code in TOO_SLOW and len(keys) > 1:
                self._run_time.too_slow(list(keys.values()))
            raise
        return [
            _reply(result, f"c{at:04}", text, write=write)
            if f"c{at:04}" in keys
            else CommandReply(failure=rests[commands.method_of(text)])
            for at, text in enumerate(texts)
        ]

    def _results(self, keys: Mapping[str, str], write: bool) -> Mapping[str, Any]:
        """The maps of a batch's answer."""
        answer = self.ask("batch", {"halt": 0, "cmd": dict(keys)}, write=write)
        if not isinstance(answer, Mapping) or not {"result", "result_error"} <= answer.keys():
            raise unclear("a batch was answered without results", write=write, code="batch")
        times = answer.get("result_time")
        for key, text in keys.items():
            method = commands.method_of(text)
            if isinstance(times, Mapping) and key in times:
                self._run_time.note(method, times[key])
            error = error_at(answer["result_error"], key)
            if error is not None and error.code == OPERATION:
                self._run_time.limited(method, dig(times, f"{key}.operating_reset_at"))
        return answer

    def _in_turn(self, call: Callable[[], Response]) -> Response:
        for _ in range(TURNS):
            try:
                return call()
            except RateLimited as limit:
                if limit.code != "rate":
                    raise
                self._sleep(limit.retry_after or 0.0)
        return call()

    def ask(self, method: str, parameters: Mapping[str, Any], *, write: bool) -> Any:
        """The result of one method. Waits for its turn TURNS times; raises a Failure."""
        response = self._in_turn(lambda: self._call("POST", f"/{method}", parameters, {}, write, 1.0))
        body = response.json() if response.ok else None
        if isinstance(body, Mapping) and read_error(body) is None:
            if "result" in body:
                return body["result"]
            raise unclear(f"{method} was answered without a result", write=write, code="result")
        raise answer_failure(response, self._clock())


_NAMING = (commands.FIND, commands.COMPANIES)
"""Methods that name records instead of showing them."""


def _rows(statement: str, value: Any) -> list[Any]:
    """What a list method returned: `{items: [...]}` or the list itself, or a map of lists by object."""
    if commands.method_of(statement) == commands.FIND:
        return [value] if isinstance(value, Mapping) else []
    return list(listed(dig(value, "items")) if isinstance(value, Mapping) else listed(value))


def _named(statement: str, rows: Sequence[Any]) -> list[tuple[str, list[str]]]:
    """Object and ids of the records that a look-up names."""
    method = commands.method_of(statement)
    if method == commands.COMPANIES:
        return [("Company", [str(dig(row, "ID")) for row in rows if dig(row, "ID")])]
    if method != commands.FIND or not rows:
        return []
    return [(object_, [str(one) for one in listed(dig(rows[0], name))]) for object_, name in FINDS.items()]


def _reply(result: Mapping[str, Any], key: str, text: str, *, write: bool) -> CommandReply:
    """What a batch says of one command. Errors that come as a list belong to nobody in particular: a command without a result
    then has the error that all of them have, or is not known."""
    method, values, errors = commands.method_of(text), result["result"], result["result_error"]
    if (error := error_at(errors, key)) is not None:
        return CommandReply(failure=command_failure(error, method, write=write))
    if isinstance(values, Mapping) and key in values:
        following = dig(result.get("result_next"), key)
        return CommandReply(values[key], next=following if isinstance(following, int) else None)
    alike: set[VendorError] = {one for one in map(read_error, listed(errors)) if one is not None}
    if len(alike) == 1:
        return CommandReply(failure=command_failure(alike.pop(), method, write=write))
    return CommandReply(failure=unclear(f"{method} was not answered in its batch", write=write, code="batch"))
