"""Durable hints and bodies set free from quarantine become signals: claimed, asked for or parsed, committed with their end.

The schedule runs `Fetches.run` per source. Promise: a receipt ends only in the commit of what it became, or in quarantine
with the reason; waiting costs no attempt; a failure decides, by its class, when the next one is.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog

from syncd.connector import Batch, BulkHintSource, Hint, HintSource, NotYet, Reparsing, Request, WebhookSource
from syncd.errors import AuthExpired, Failure, Malformed, Misconfigured, QuotaExhausted, RateLimited
from syncd.intake.admit import Policy, admit
from syncd.intake.counts import Counts
from syncd.intake.quarantine import read_payload, short
from syncd.intake.unpacking import TooLargeUnpacked, unpacked
from syncd.observability import traces
from syncd.runtime.crashpoints import point
from syncd.signals import Route, Signal
from syncd.store import Store
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.receipts import Due
from syncd.texts.reasons import SIGN_IN, failure_code

log = structlog.get_logger(__name__)

CLAIM = timedelta(minutes=5)
AT_ONCE = 20
PAUSE = timedelta(seconds=30)  # where the vendor says slow down but not how long
HOUR = timedelta(hours=1)
MOST_UNPACKED = 64 * 1024 * 1024  # of a packed body that is retried
MENDABLE = ("misconfigured", "authexpired", SIGN_IN)
"""Codes of what a changed configuration, or an operator at the vendor, may have fixed."""
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Again:
    """Try the receipt again at `at`; `counts` as a failed attempt. `pause`: the whole source waits until then."""

    at: datetime
    counts: bool
    pause: bool
    error: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Into quarantine, with the reason."""

    error: str


@dataclass(frozen=True)
class RetryLaw:
    """The waits before each try, and the share of a wait that is added at random."""

    schedule: Sequence[timedelta]
    jitter: float = 0.2

    def wait(self, attempts: int, chance: float) -> timedelta | None:
        """The wait before the next try after `attempts` failed ones; None: no more tries. `chance` in [0, 1)."""
        if attempts >= len(self.schedule):
            return None
        return self.schedule[attempts] * (1 + self.jitter * chance)


def judge_failure(error: Exception, attempts: int, law: RetryLaw, now: datetime, chance: float) -> Again | GiveUp:
    """What a failed fetch means. `attempts`: failed before this one. By class alone."""
    text = short(
        f"{type(error).__name__}: {error}" if isinstance(error, Failure) else f"bug in the connector: {error!r}"
    )
    match error:
        case RateLimited():
            told = PAUSE if error.retry_after is None else timedelta(seconds=max(error.retry_after, 0))
            return Again(now + told * (1 + law.jitter * chance), counts=False, pause=not error.scope, error=text)
        case QuotaExhausted():
            return Again(max(error.resets_at or now + HOUR, now), counts=False, pause=True, error=text)
        case Misconfigured(until=datetime() as until):
            return Again(max(until, now), counts=False, pause=True, error=text)
        case Misconfigured() | AuthExpired():
            return Again(now + HOUR, counts=False, pause=True, error=text)
        case Malformed():
            return GiveUp(short(str(error)))
    wait = law.wait(attempts + 1, chance)
    if wait is None:
        return GiveUp(f"given up after {attempts + 1} tries: {text}")
    return Again(now + wait, counts=True, pause=False, error=text)


class Fetches:
    """Works off the due receipts of one source: hints, where it is a HintSource, and bodies set free from quarantine."""

    def __init__(
        self,
        name: str,
        source: object,
        store: Store,
        policy: Callable[[], Policy],
        law: RetryLaw,
        *,
        counts: Counts | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        claim: timedelta = CLAIM,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._source = source
        self._store = store
        self._policy = policy
        self._law = law
        self._counts = counts or Counts()
        self._clock = clock
        self._claim = claim
        self._chance = chance
        self._paused_until: datetime | None = None
        self._paused_by = self._paused_code = ""

    def run(self, stop: threading.Event) -> datetime | None:
        """Works until nothing is due, the source must pause, or `stop`. Returns when to come again, None: at its times."""
        while not stop.is_set():
            if self._paused_until is not None and self._paused_until > self._clock():
                return self._paused_until
            try:
                found = self._store.receipts.claim(AT_ONCE, self._claim, sources=[self.name])
                if not found:
                    return None
                answers = self._many(found)
                for index, due in enumerate(found):
                    if stop.is_set() or (self._paused_until is not None and self._paused_until > self._clock()):
                        self._give_back(found[index:])
                        break
                    if self._store.receipts.renew(due, self._claim):
                        with traces.span("fetch", source=self.name):
                            self._one(due, answers.get(due.id))
            except StoreUnavailable as error:
                log.error("fetch failed: the store cannot commit", source=self.name, why=str(error))
                return None
        return None

    def forget_pause(self) -> None:
        """At the start and after a reload: what was misconfigured may be right now, and is due at once."""
        self._paused_until = None
        try:
            self._store.receipts.hurry(self.name, MENDABLE)
        except StoreUnavailable as error:  # then it waits out its time
            log.warning("what was misconfigured waits on", source=self.name, why=str(error))

    def _give_back(self, rest: Sequence[Due]) -> None:
        at = self._paused_until or self._clock()
        for due in rest:
            self._store.receipts.postpone(due, at, error=self._paused_by, code=self._paused_code)

    def _many(self, found: Sequence[Due]) -> dict[str, Batch | NotYet | Exception]:
        """receipt id -> the answer to its hint, where the source answers several at once. What is not here is fetched alone."""
        source, now = self._source, self._clock()
        hints = {due.id: hint for due in found if due.kind == "hint" and (hint := _readable(due)) is not None}
        if not isinstance(source, BulkHintSource) or len(hints) < 2:
            return {}
        answers: dict[str, Batch | NotYet | Exception] = {}
        for start in range(0, len(hints), source.hints_at_once):
            some = dict(list(hints.items())[start : start + source.hints_at_once])
            try:
                with traces.span("fetch many", source=self.name):
                    answered = source.fetch_many(list(some.values()), now)
            except Exception as error:  # noqa: BLE001  each receipt fails with it, by its class
                return {**answers, **dict.fromkeys(some, error)}
            if len(answered) != len(some):
                wrong = ValueError(f"fetch_many has {len(answered)} answers to {len(some)} hints")
                return {**answers, **dict.fromkeys(some, wrong)}
            answers |= dict(zip(some, answered, strict=True))
        return answers

    def _one(self, due: Due, answered: Batch | NotYet | Exception | None = None) -> None:
        """Fetches or parses one receipt, unless it is answered already, and settles it. Raises StoreUnavailable."""
        now = self._clock()
        try:
            if isinstance(answered, Exception):
                raise answered
            answer = answered or (self._hint(due, now) if due.kind == "hint" else self._body(due))
            point("after_fetch")
            if isinstance(answer, NotYet):
                self._store.receipts.postpone(due, answer.at)
                return
            entry = admit(answer, self.name, None, self._policy(), self._clock(), fetched=due.fetched)
            committed = self._store.journal.commit(entry)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it is this receipt's own
            self._failed(due, error)
            return
        self._counts.committed(self.name, committed)

    def _hint(self, due: Due, now: datetime) -> Batch | NotYet:
        if not isinstance(self._source, HintSource):
            raise Malformed(f"{self.name} cannot fetch hints (any more): its connector has no fetch")
        hint = _readable(due)
        if hint is None:
            raise Malformed("the stored hint cannot be read")
        return self._source.fetch(hint, now)

    def _body(self, due: Due) -> Batch:
        try:
            kept = read_payload(due.payload)
        except ValueError as error:
            raise Malformed(str(error)) from error
        if isinstance(kept, Signal):
            return Batch((kept,))
        return _parse(self._source, kept)

    def _failed(self, due: Due, error: Exception) -> None:
        now, code = self._clock(), failure_code(error)
        if due.kind == "body" and not isinstance(error, Failure):
            verdict: Again | GiveUp = GiveUp(short(str(error)))  # parsing is pure: trying again gives the same
        else:
            verdict = judge_failure(error, due.attempts, self._law, now, self._chance())
        log.warning(
            "fetch failed",
            source=self.name,
            key=due.key,
            why=verdict.error,
            again=verdict.at.isoformat() if isinstance(verdict, Again) else "no: in quarantine",
            exc_info=not isinstance(error, (Failure, Malformed)),
        )
        if isinstance(verdict, GiveUp):
            self._store.receipts.quarantine(due, verdict.error)
            return
        if verdict.pause:
            self._paused_until, self._paused_by, self._paused_code = verdict.at, verdict.error, code
        if verdict.counts:
            self._store.receipts.fail(due, verdict.error, verdict.at, code=code)
        else:
            self._store.receipts.postpone(due, verdict.at, error=verdict.error, code=code)


def _readable(due: Due) -> Hint | None:
    """The hint of a receipt; None for one that cannot be read."""
    try:
        return Hint(key=due.key, data=_decode_data(due.payload))
    except msgspec.DecodeError:
        return None


def _parse(source: object, request: Request) -> Batch:
    try:
        request = unpacked(request, MOST_UNPACKED)
    except TooLargeUnpacked:
        raise Malformed(f"unpacked, the body exceeds {MOST_UNPACKED} bytes") from None
    if isinstance(source, Reparsing):
        return source.reparse(request)
    if not isinstance(source, WebhookSource):
        raise Malformed("its source is not a webhook source (any more)")
    batch = source.parse(request)
    return replace(batch, signals=[msgspec.structs.replace(one, route=Route.WEBHOOK) for one in batch.signals])


def retry_quarantined(store: Store, fetches: Fetches, ids: Sequence[str] = ()) -> int:
    """Sets receipts of this source free (no ids: all) and works them off now; how many were set free. What still cannot be
    understood is back in quarantine afterwards. Raises StoreUnavailable."""
    freed = store.receipts.retry(ids=ids, source=fetches.name)
    fetches.run(threading.Event())
    return freed
