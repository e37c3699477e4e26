"""Talks to one CRM: every look-up and call goes through here, is judged for breaker, pauses and budget, and is paid for.

A lane's round uses it. Promise: nothing is sent while the lane is paused, the budget is spent or the lane is stopping;
whatever comes out of a connector, also a bug of it, is an outcome; no database transaction is open during a call.
"""

from __future__ import annotations

import contextvars
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import msgspec
import structlog

from syncd.capabilities import FindsAll, FindsBeside, ReadsFields, Recognises
from syncd.config.models import Quota
from syncd.connector import Call, DealPick, Destination, Link, Outcome, PersonMatch, PersonQuery, Write
from syncd.dispatch import outcomes as rules
from syncd.dispatch import pacing
from syncd.dispatch.endpoints import Endpoints
from syncd.dispatch.known_users import KnownUsers
from syncd.dispatch.pacing import Pace
from syncd.dispatch.sent_writes import judge_sent, speaks_of_row
from syncd.dispatch.spending import Spending
from syncd.errors import Ambiguous, Failure, Misconfigured, RateLimited, Scope, Transient
from syncd.observability import traces
from syncd.observability.call_stats import CallStats
from syncd.store.lanes import put_pace
from syncd.store.store import Store

log = structlog.get_logger(__name__)
T = TypeVar("T")
STALLED = 20 * pacing.SECOND
"""A call leaves within this time of the commit that says it leaves, or not at all."""


class Paused(Exception):
    """Nothing may be sent now: the lane is paused, out of budget, or stopping. What is left waits as it is."""


class DestinationClient:
    """One destination as its lane calls it. `pace` and `made` (calls) are for the lane to read, `before_call` is its
    heartbeat. `endpoints`: named by `resolve`, `find`, `values`, and by the object for writes."""

    def __init__(
        self,
        name: str,
        destination: Destination,
        store: Store,
        *,
        quota: Quota | None,
        random: pacing.Random,
        clock: Callable[[], int],
        stopping: Callable[[], bool],
        pace: Pace,
        meter: CallStats | None = None,
    ) -> None:
        self.name = name
        self.meter = meter or CallStats()
        self.destination = destination
        self.pace = pace
        self.made = 0
        self.endpoints = Endpoints()
        self.known_users = KnownUsers()
        self.clock = clock
        self._store = store
        self._spending = Spending(name, store, quota)
        self._random = random
        self._stopping = stopping
        self.before_call: Callable[[], object] = lambda: None
        self._person_cost = 0.0
        self._key_cost = 0.0
        self._kept = pace
        self._pool: ThreadPoolExecutor | None = None
        self._spared: Mapping[str, int] = {}
        self._look_up_again: int | None = None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    # ------------------------------------------------------------------------------------------------ may it be sent

    def check(self, cost: float = 0.0) -> None:
        """Raises Paused when a call of this cost may not be made now."""
        now = self.clock()
        if self._stopping() or self.pace.paused(now):
            raise Paused
        left, needed = self.budget(now), max(cost, 1e-9)
        if left.left < needed:
            until = max(left.until, now + pacing.SECOND)
            self.pace = pacing.pause(self.pace, until, left.reason, short_of=needed)
            log.warning("destination paused", destination=self.name, reason=left.reason, until=pacing.shown(until))
            raise Paused
        self.before_call()

    def paused(self, now: int) -> bool:
        """Whether nothing may be sent now. A pause of the budget ends when the budget, as it is configured now, has enough."""
        if self.pace.short_of and self.pace.paused(now):
            afforded = pacing.afforded(self.pace, self.budget(now).left)
            if afforded is not self.pace:
                log.info("destination resumed: enough quota is available again", destination=self.name)
            self.pace = afforded
        return self.pace.paused(now)

    def budget(self, now: int) -> pacing.Budget:
        """What may still be spent."""
        return self._spending.budget(self.destination.allowance(), now)

    def spent_by_hour(self) -> list[tuple[int, float]]:
        """(start of an hour, units) of what was spent."""
        return self._spending.hours()

    def _book_cost(self, expected: float) -> None:
        """Books what was really spent, beyond what was booked before the call; keeps the pace."""
        cost = self.destination.spend()
        self.made += cost.calls
        self._spending.book(self.clock(), cost.units - expected, cost.calls)

    def keep_pace(self) -> None:
        """Writes the pace down when it changed."""
        if self.pace is self._kept or self.pace == self._kept:
            return
        pace, now = self.pace, self.clock()
        with self._store.write() as connection:
            put_pace(
                connection,
                self.name,
                msgspec.json.encode(pace, enc_hook=str),  # a Reason is kept as its text
                paused_until=pace.paused_until,
                reason=pace.reason,
                code=pace.code,
                failures=pace.failures,
                now=now,
            )
        self._kept = pace

    def _ask(self, operation: str, records: int, question: Callable[[], T]) -> T | Failure:
        """Whatever comes out is an answer or a Failure; measured, and traced if tracing is on."""
        begun = time.perf_counter()
        with traces.span("call", destination=self.name, operation=operation, records=records) as span:
            answer = self._answer(question)
            how = rules.outcome_name(answer) if isinstance(answer, Failure) else "answered"
            span.set_attribute("syncd.outcome", how)
        self.meter.called(self.name, operation, how, time.perf_counter() - begun)
        return answer

    def _answer(self, question: Callable[[], T]) -> T | Failure:
        try:
            return question()
        except Failure as failure:
            return failure
        except Exception as bug:
            log.exception(
                "connector raised an unexpected error; treating the outcome as unknown", destination=self.name
            )
            return Ambiguous(f"{type(bug).__name__}: {bug}", code="connector-bug")

    def _judge(self, failure: Failure | None) -> None:
        before = self.pace
        self.pace = rules.next_pace(self.pace, failure, self.clock(), self._random)
        if failure is not None and self.pace.paused_until > before.paused_until:
            until = pacing.shown(self.pace.paused_until)
            log.warning("destination paused", destination=self.name, reason=self.pace.reason, until=until)

    def hold(self, rule: str, failure: Failure) -> None:
        """The rule names what the CRM does not know: its writes wait, the others flow."""
        now = self.clock()
        if self.pace.held_until(rule, now) is None:
            log.warning("rule held", destination=self.name, rule=rule, reason=rules.describe(failure))
        self.pace = rules.hold(self.pace, [rule], failure, now)

    # ------------------------------------------------------------------------------------------------------ look-ups

    def resolve(self, people: Sequence[PersonQuery], *, deals: DealPick | None) -> list[PersonMatch | Failure | None]:
        """The records of these people, parallel to them; a Failure for whom the look-up failed. Raises Paused."""
        if not people:
            return []
        if (resting := self._resting("resolve")) is not None:
            return [resting] * len(people)
        self.check(max(1.0, self._person_cost * len(people)))
        answer = self._ask("resolve", len(people), lambda: self.destination.resolve(people, deals=deals))
        self._note_look_up("resolve", [person.identity for person in people], answer)
        units = self._look_up_paid(answer)
        if not isinstance(answer, Failure):
            if len(answer) == len(people):
                self._person_cost = units / len(people)
                return list(answer)
            answer = Ambiguous(f"{len(answer)} answers for {len(people)} people", code="connector-bug")
        pieces = rules.split(people, answer)
        if pieces is None:
            return [answer] * len(people)
        return [found for piece in pieces for found in self.resolve(piece, deals=deals)]

    def recognise(
        self, people: Sequence[PersonQuery], among: Sequence[Sequence[Link]]
    ) -> Sequence[PersonMatch | Failure | None]:
        """Who of the records that the CRM itself named is each of these people; a Failure for whom that could not be read.
        Raises Paused."""
        ask = self.destination
        if not isinstance(ask, Recognises):
            return [None] * len(people)
        answer = self.question("recognise", len(people), lambda: ask.recognise(people, among))
        return [answer] * len(people) if isinstance(answer, Failure) else answer

    def find(self, object: str, key_field: str, writes: Sequence[Write]) -> Mapping[str, str] | Failure:
        """key -> id of the records of these writes that exist. Raises Paused."""
        keys, ask = sorted({write.key for write in writes}), self.destination
        if isinstance(ask, FindsBeside) and ask.beside(object):
            return self.look_up("find", keys, lambda: ask.find_beside(writes))
        return self.look_up("find", keys, lambda: ask.find(object, key_field, keys))

    def look_up(self, operation: str, items: Sequence[str], question: Callable[[], T]) -> T | Failure:
        """The answer to a question about these items. Raises Paused."""
        if (resting := self._resting(operation)) is not None:
            return resting
        self.check(1.0)
        answer = self._ask(operation, len(items), question)
        self._note_look_up(operation, items, answer)
        self._look_up_paid(answer)
        return answer

    def find_all(self, object: str, key_field: str, keys: Sequence[str]) -> Mapping[str, Sequence[str]] | Failure:
        """key -> ids of the records that exist: all of them where the CRM's API can show that. Raises Paused."""
        self.check(max(1.0, self._key_cost * len(keys)))
        ask = self.destination
        if isinstance(ask, FindsAll):
            answer = self._ask("find", len(keys), lambda: ask.find_all(object, key_field, keys))
        else:
            answer = self._ask(
                "find", len(keys), lambda: {k: (i,) for k, i in ask.find(object, key_field, keys).items()}
            )
        self._key_cost = self._look_up_paid(answer) / max(1, len(keys))
        return answer

    def values(
        self, object: str, ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Mapping[str, Any]] | Failure:
        """id -> what stands in these fields, of the records that exist. Raises Paused."""
        reader = self.destination
        if not isinstance(reader, ReadsFields):
            text = "fill: and only_if: cannot be used here: its connector cannot read fields"
            return Misconfigured(text, scope=Scope.RULE)
        return self.look_up("values", ids, lambda: reader.values(object, ids, fields))

    def question(self, operation: str, items: int, ask: Callable[[], T]) -> T | Failure:
        """Asks the CRM something beside the look-ups above. Raises Paused."""
        self.check(1.0)
        answer = self._ask(operation, items, ask)
        self._look_up_paid(answer)
        return answer

    def look_up_again_at(self) -> int | None:
        """After a look-up that failed as Transient or Ambiguous: when its items may be asked for again without having used a
        try; None: the only item asked for is to blame."""
        return self._look_up_again

    def _resting(self, operation: str) -> Failure | None:
        """The failure of a look-up that is not made, because the last ones failed."""
        until = self.endpoints.rests_until(operation, self.clock())
        if not until:
            return None
        self._look_up_again = until
        return Transient(f"look-ups fail: {self.endpoints.reason(operation)}", code="resting")

    def _note_look_up(self, operation: str, items: Sequence[str], answer: object) -> None:
        if isinstance(answer, RateLimited) and answer.scope:
            why = rules.describe(answer)
            self._look_up_again = self.endpoints.limited(operation, self.clock(), answer.retry_after, why)
        elif isinstance(answer, (Transient, Ambiguous)):
            self._look_up_again = self.endpoints.failed(operation, items, self.clock(), rules.describe(answer))
        elif not isinstance(answer, Failure):
            self.endpoints.answered(operation, items)

    def _look_up_paid(self, answer: object) -> float:
        self._judge(answer if isinstance(answer, Failure) else None)
        cost = self.destination.spend()
        self.made += cost.calls
        self._spending.book(self.clock(), cost.units, cost.calls)
        return cost.units

    # ------------------------------------------------------------------------------------------------------- sending

    def send(
        self,
        writes: Sequence[Write],
        *,
        before: Callable[[Call], None],
        after: Callable[[Call, list[Outcome]], Sequence[Sequence[Write]]],
        rule_of: Callable[[Write], str],
        refused: Callable[[Call, Failure], None] = lambda call, failure: None,
        once: Callable[[Write], bool] = lambda write: False,
    ) -> None:
        """Sends all writes in as few calls as the vendor allows, in order per key and group.

        `before(call)` commits that they leave now; `after(call, outcomes)` commits their outcomes, and may return
        groups of writes to send again, each packed by itself; `refused(call, failure)` hears of a call that is taken
        apart: nothing of it was done. Writes that are done at most `once` are not sent after a failed call to their object:
        they stay as they are. Raises Paused with the rest unsent, never in between: each call that has left has been
        settled.
        """
        parts = self.endpoints.parts(writes, lambda write: (write.object, write.key))
        waiting = deque(call for part in parts for call in self.destination.plan(part))
        flying: dict[Future[list[Outcome] | Failure], Call] = {}
        paused: Paused | None = None
        while waiting or flying:
            while paused is None and len(flying) < self.destination.concurrency:
                call = self._next(waiting, list(flying.values()))
                if call is None:
                    break
                try:
                    self._mark_in_flight(call, before)
                    flying[self._submit(call)] = call
                except Paused as reason:
                    paused = reason
            if not flying:
                break
            landed, _ = wait(flying, return_when=FIRST_COMPLETED)
            for one in landed:
                call = flying.pop(one)
                again = self._completed(call, one.result(), after, rule_of, refused)
                waiting.extendleft(reversed([more for group in again for more in self.destination.plan(group)]))
                waiting = deque(one for one in waiting if not self.endpoints.limits(one.writes, self.clock()))
                if any(self.endpoints.failing(write.object) for write in call.writes):
                    waiting = deque(one for one in waiting if not any(once(write) for write in one.writes))
        if paused is not None:
            raise paused

    def _next(self, waiting: deque[Call], flying: Sequence[Call]) -> Call | None:
        """The first waiting call that shares no group or key with one in flight, or with one that waits before it."""
        taken = {mark for call in flying for mark in _marks(call)}
        for index, call in enumerate(waiting):
            marks = _marks(call)
            if not taken & marks:
                del waiting[index]
                return call
            taken |= marks
        return None

    def _mark_in_flight(self, call: Call, before: Callable[[Call], None]) -> None:
        self.check(call.cost)
        begun = self.clock()
        before(call)
        self._spending.book(self.clock(), call.cost)
        if self.clock() - begun > STALLED:
            # We were stopped meanwhile: another worker may own the lane, and the doubt of these writes is running out.
            raise Paused

    def _submit(self, call: Call) -> Future[list[Outcome] | Failure]:
        if self.destination.concurrency == 1:
            done: Future[list[Outcome] | Failure] = Future()
            done.set_result(self._send(call))
            return done
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.destination.concurrency, thread_name_prefix=f"lane {self.name}")
        return self._pool.submit(contextvars.copy_context().run, self._send, call)

    def _send(self, call: Call) -> list[Outcome] | Failure:
        return self._ask("send", len(call.writes), lambda: self.destination.send(call))

    def _completed(
        self,
        call: Call,
        answer: list[Outcome] | Failure,
        after: Callable[[Call, list[Outcome]], Sequence[Sequence[Write]]],
        rule_of: Callable[[Write], str],
        refused: Callable[[Call, Failure], None],
    ) -> Sequence[Sequence[Write]]:
        if not isinstance(answer, Failure) and len(answer) != len(call.writes):
            answer = Ambiguous(f"{len(answer)} outcomes for {len(call.writes)} writes", code="connector-bug")
        if isinstance(answer, Failure):
            if isinstance(answer, (Transient, Ambiguous)):
                answer = answer.about_call()
            if not self._note_sent(call.writes, [answer] * len(call.writes)):
                self._judge(answer)
            self._book_cost(call.cost)
            pieces = rules.split(call.writes, answer, rule_of, lambda write: write.object)
            if pieces is not None:
                refused(call, answer)
                return pieces
            self.meter.wrote(self.name, [rules.outcome_name(answer)] * len(call.writes))
            return after(call, [answer] * len(call.writes))
        blamed = self._note_sent(call.writes, answer)
        failed = next((one for one in answer if isinstance(one, Failure)), None)
        self._judge(failed if not blamed and all(map(rules.of_call, answer)) else None)
        self.meter.wrote(self.name, map(rules.outcome_name, answer))
        limit = next((one for one in answer if isinstance(one, Failure) and not speaks_of_row(one)), None)
        if limit is not None:
            self._judge(limit)
        self._book_cost(call.cost)
        return after(call, answer)

    def spared(self, write: Write) -> int | None:
        """When a write of the call that was just answered may be sent again without having used a try, because the call
        failed rather than the write; None: the outcome is its own."""
        return self._spared.get(write.key)

    def _note_sent(self, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> bool:
        """Notes which endpoints answered and which failed; whether a single write is to blame for the failure of its call."""
        judged = judge_sent(self.endpoints, writes, outcomes, self.clock())
        self._spared = judged.spared
        return judged.blamed


def _marks(call: Call) -> set[str]:
    return {mark for write in call.writes for mark in (write.group, write.key) if mark}
