"""Webhooks: from an HTTP request to an answer that is sent only when what it brought is durable.

The web room builds a `Request` and awaits `WebhookReceiver.receive`; the daemon fills the receiver and swaps them on
reload. Promise: 2xx
means committed (or nothing to keep); what is not authentic is 401 and leaves no trace; an authentic body that cannot be
understood is 200 and in quarantine; when the store cannot commit, 503. Failure policy: closed, and never a 500.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

from syncd.connector import AnswersSenders, Reply, Request, SharedEndpointSource, Verifier, WebhookSource
from syncd.errors import KeyUnavailable, Malformed, NotAuthentic
from syncd.intake.admit import Policy, admit, empty
from syncd.intake.async_journal import AsyncJournal, WebhookJournal
from syncd.intake.counts import Counts
from syncd.intake.log_throttle import LogThrottle
from syncd.intake.quarantine import quarantined_request
from syncd.intake.unpacking import TooLargeUnpacked, codings, unpacked
from syncd.observability import traces
from syncd.observability.logs import REQUEST
from syncd.signals import Route
from syncd.store.journal.entries import Committed, JournalEntry, StoreUnavailable

log = structlog.get_logger(__name__)

POST = "POST"
UNKNOWN_ACCOUNT = "unknown account"
PROBES = frozenset({"GET", "HEAD", "OPTIONS"})
SMALL_BODY = (
    128 * 1024
)  # above it verifying and parsing would hold up the other requests: a thread does it, and unpacks
BYTES_IN_FLIGHT = 64 * 1024 * 1024
MAX_BODY = 5_000_000


class WebhookResponse(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


STORED = WebhookResponse(200, b"ok\n")
NOT_AUTHENTIC = WebhookResponse(401, b"not authentic\n")
NO_SUCH_SOURCE = WebhookResponse(404, b"no such source\n")
WRONG_METHOD = WebhookResponse(405, b"post events here\n", ((b"allow", b"POST, GET, HEAD, OPTIONS"),))
TOO_SLOW = WebhookResponse(408, b"the body did not come in time\n")
TOO_LARGE = WebhookResponse(413, b"too large\n")
WRONG_CODING = WebhookResponse(
    415, b"this Content-Encoding is not supported; gzip and deflate are\n", ((b"accept-encoding", b"gzip, deflate"),)
)
BUSY = WebhookResponse(503, b"too much at once; again in a moment\n", ((b"retry-after", b"2"),))
NO_KEY = WebhookResponse(
    503, b"the key to verify this is being fetched; again in a moment\n", ((b"retry-after", b"5"),)
)
NO_STORE = WebhookResponse(503, b"cannot be stored now; again later\n", ((b"retry-after", b"10"),))


@dataclass(frozen=True)
class SecretOffer:
    """A handshake brought secrets: they are kept before its reply is sent, or it is refused."""

    reply: Reply


@dataclass(frozen=True)
class Several:
    """What a request brought for each of the sources that share its address: all must be committed before the 200."""

    entries: Sequence[tuple[Endpoint, Any]]


@dataclass(frozen=True)
class Endpoint:
    """The door of one webhook source, or of several that share an address: then `members` has the endpoint of each account, and
    `owner` names the source that verifies for all."""

    name: str
    source: WebhookSource
    verify: Verifier
    seldom: LogThrottle = field(default_factory=LogThrottle, compare=False)
    members: Mapping[str, Endpoint] = field(default_factory=dict, compare=False)
    owner: str = ""
    accepted: Callable[[Request], Reply | None] | None = field(default=None, compare=False)

    @property
    def verified_by(self) -> str:
        """The name of the source whose keys and secrets verify."""
        return self.owner or self.name

    @classmethod
    def of(cls, name: str, source: WebhookSource) -> Endpoint:
        own = source.accepted if isinstance(source, AnswersSenders) else None
        return cls(name, source, source.verifier(), accepted=own)

    def answer(self, request: Request, usual: WebhookResponse) -> WebhookResponse:
        """The source's own answer to a request that is stored, else the usual one."""
        if usual is not STORED or self.accepted is None:
            return usual
        try:
            own = self.accepted(request)
        except Exception:  # noqa: BLE001  it is stored, whatever its answer trips over
            self.seldom(log.error, "the answer to a sender failed: a bug in syncd", source=self.name, exc_info=True)
            return usual
        return _replied(own) if own is not None else usual


def evaluate(
    endpoint: Endpoint, request: Request, policy: Policy, now: datetime, max_body: int = MAX_BODY
) -> WebhookResponse | JournalEntry | Several | SecretOffer:
    """What a request deserves: an answer at once, entries that must be committed before the 200, or secrets that must be kept
    before the reply. No I/O. `max_body`: what a packed body may unpack to."""
    reply = _handshake(endpoint, request)
    if reply is not None:
        return SecretOffer(reply) if reply.remember else _replied(reply)
    if request.method != POST:
        return WRONG_METHOD
    if "content-encoding" in request.headers:
        verdict = _judge_packed(endpoint, request, now, max_body)
        if not isinstance(verdict, Request):
            return verdict
        request = verdict
    elif (refused := _refused(endpoint, request, now)) is not None:
        return refused
    return _fan_out(endpoint, request, policy, now) if endpoint.members else _parsed(endpoint, request, policy, now)


def _parsed(endpoint: Endpoint, request: Request, policy: Policy, now: datetime) -> WebhookResponse | JournalEntry:
    """What an authentic request brings one source."""
    try:
        entry = admit(endpoint.source.parse(request), endpoint.name, Route.WEBHOOK, policy, now)
    except Malformed as error:
        return _quarantine(endpoint, request, str(error), now)
    except Exception as error:  # noqa: BLE001  an authentic body is kept, whatever its parser trips over
        endpoint.seldom(log.error, "parser failed: a bug in syncd", source=endpoint.name, exc_info=True)
        return _quarantine(endpoint, request, f"{type(error).__name__}: {error}", now)
    return STORED if empty(entry) else entry


def _fan_out(
    endpoint: Endpoint, request: Request, policy: Policy, now: datetime
) -> WebhookResponse | JournalEntry | Several:
    """What an authentic request brings each source of a shared address. Events of an account that no source has are counted."""
    assert isinstance(endpoint.source, SharedEndpointSource)
    try:
        found = endpoint.source.accounts_in(request)
    except Malformed as error:
        return _quarantine(endpoint, request, str(error), now)
    except Exception as error:  # noqa: BLE001  an authentic body is kept, whatever its parser trips over
        endpoint.seldom(log.error, "parser failed: a bug in syncd", source=endpoint.name, exc_info=True)
        return _quarantine(endpoint, request, f"{type(error).__name__}: {error}", now)
    unknown = {account: count for account, count in found.items() if account not in endpoint.members}
    entries: list[tuple[Endpoint, JournalEntry]] = []
    if unknown:
        accounts = [account[:60] for account in sorted(unknown)[:5]]
        endpoint.seldom(log.warning, "webhook of an unknown account", endpoint=endpoint.name, accounts=accounts)
        off = {("", UNKNOWN_ACCOUNT): sum(unknown.values())}
        entries.append((endpoint, JournalEntry(endpoint.name, received_at=now, off=off)))
    for member in {id(own): own for account, own in endpoint.members.items() if account in found}.values():
        verdict = _parsed(member, request, policy, now)
        if isinstance(verdict, JournalEntry):
            entries.append((member, verdict))
    return Several(entries) if entries else STORED


def _replied(reply: Reply) -> WebhookResponse:
    headers = tuple((name.lower().encode(), value.encode()) for name, value in reply.headers.items())
    return WebhookResponse(reply.status, reply.body, headers)


def _judge_packed(
    endpoint: Endpoint, request: Request, now: datetime, limit: int
) -> WebhookResponse | JournalEntry | Request:
    """An authentic packed request unpacked, or what else it deserves. Some senders sign the bytes they send, others the bytes
    they packed: either proves it."""
    if codings(request) is None:
        return WRONG_CODING
    try:
        plain = unpacked(request, limit)
    except TooLargeUnpacked:
        return TOO_LARGE
    except Malformed as error:
        return _refused(endpoint, request, now) or _quarantine(endpoint, request, str(error), now)
    with contextlib.suppress(Exception):  # whatever it is, the bytes as they were sent decide
        endpoint.verify(plain, now)
        return plain
    return _refused(endpoint, request, now) or plain


def _refused(endpoint: Endpoint, request: Request, now: datetime) -> WebhookResponse | None:
    """Why the request is not let in; None: it is authentic."""
    try:
        endpoint.verify(request, now)
    except NotAuthentic as error:
        endpoint.seldom(log.warning, "webhook not authentic", source=endpoint.name, why=str(error))
        return NOT_AUTHENTIC
    except KeyUnavailable as error:
        endpoint.seldom(log.warning, "webhook key unavailable", source=endpoint.name, why=str(error))
        return NO_KEY
    except Exception:  # noqa: BLE001  whatever a verifier trips over, the request has not been proved authentic
        endpoint.seldom(log.error, "verifier failed: a bug in syncd", source=endpoint.name, exc_info=True)
        return NOT_AUTHENTIC
    return None


def _handshake(endpoint: Endpoint, request: Request) -> Reply | None:
    try:
        return endpoint.source.handshake(request)
    except Exception:  # noqa: BLE001  a probe we cannot read does not count; verification decides
        endpoint.seldom(log.warning, "handshake failed", source=endpoint.name, exc_info=True)
        return None


def _quarantine(endpoint: Endpoint, request: Request, error: str, now: datetime) -> JournalEntry:
    endpoint.seldom(log.warning, "webhook in quarantine", source=endpoint.name, why=error)
    kept = quarantined_request(request, endpoint.verified_by, error, now)
    return JournalEntry(endpoint.verified_by, received_at=now, quarantined=(kept,))


def _with_own_answer(
    endpoint: Endpoint, request: Request, told: Callable[[WebhookResponse], None]
) -> Callable[[WebhookResponse], None]:
    return lambda usual: told(endpoint.answer(request, usual))


@dataclass(frozen=True)
class _Open:
    """Everything a reload swaps, as one."""

    policy: Policy
    endpoints: Mapping[str, Endpoint]


class WebhookReceiver:
    """The endpoints of all webhook sources. `receive` belongs to one event loop; `open` may be called from any thread.

    `max_waiting`: requests that may wait for a commit at once. `threads` runs what is too big for the loop.
    `key_wanted(source)` must return at once; it is called when a verifier lacked a key. `keep_secrets` stores what a handshake
    brought, in one of `threads`; False: others are kept already.
    """

    def __init__(
        self,
        journal: WebhookJournal,
        policy: Policy,
        *,
        max_body: int = MAX_BODY,
        max_waiting: int = 2000,
        threads: Executor | None = None,
        key_wanted: Callable[[str], None] = lambda source: None,
        keep_secrets: Callable[[str, Mapping[str, str]], bool] = lambda source, secrets: False,
        counts: Counts | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.max_body = max_body
        self.max_waiting = max_waiting
        self.max_bytes = max(BYTES_IN_FLIGHT, 2 * max_body)
        self.counts = counts or Counts()
        self.waiting = 0
        self.bytes_held = 0
        self.clock = clock
        self._journal = journal
        self._commits = AsyncJournal(journal)
        self._threads = threads
        self._key_wanted = key_wanted
        self._keep_secrets = keep_secrets
        self._committing: set[asyncio.Task[WebhookResponse]] = set()
        self._open = _Open(policy, {})

    def open(self, policy: Policy, endpoints: Mapping[str, Endpoint]) -> None:
        """Takes new endpoints and a new policy, at once and together; requests under way end under the old ones."""
        self._open = _Open(policy, dict(endpoints))

    def endpoint(self, name: str) -> Endpoint | None:
        return self._open.endpoints.get(name)

    def refusal(self, length: int) -> WebhookResponse | None:
        """The answer for a body of `length` bytes that must not be read (further), or None: continue."""
        if length > self.max_body:
            return TOO_LARGE
        if (
            self.waiting >= self.max_waiting
            or self._journal.depth >= self.max_waiting
            or self.bytes_held + length > self.max_bytes
        ):
            return BUSY
        return None

    async def receive(self, endpoint: Endpoint, request: Request) -> WebhookResponse:
        """Judges a whole request and, when there is something to keep, answers after its commit. Never raises."""
        size = len(request.body)
        self.waiting += 1
        self.bytes_held += size
        try:
            policy = self._open.policy
            if size <= SMALL_BODY and "content-encoding" not in request.headers:
                verdict = self._prepare(endpoint, request, policy)
            else:
                loop = asyncio.get_running_loop()
                verdict = await loop.run_in_executor(self._threads, self._prepare, endpoint, request, policy)
            if isinstance(verdict, SecretOffer):
                return await self._in_a_thread(endpoint, verdict)
            if isinstance(verdict, Several):
                return await self._commit_all(verdict)
            if verdict is NO_KEY:
                self._key_wanted(endpoint.verified_by)
            answer = verdict if isinstance(verdict, WebhookResponse) else await self._commit(endpoint, verdict)
            return endpoint.answer(request, answer)
        finally:
            self.waiting -= 1
            self.bytes_held -= size

    def receive_nowait(self, endpoint: Endpoint, request: Request, answered: Callable[[WebhookResponse], None]) -> None:
        """`receive` without a coroutine, for a body of at most SMALL_BODY: `answered(answer)` is called on this loop, within
        this call when nothing has to be committed."""
        verdict = self._prepare(endpoint, request, self._open.policy)
        if endpoint.accepted is not None:
            answered = _with_own_answer(endpoint, request, answered)
        if isinstance(verdict, WebhookResponse):
            if verdict is NO_KEY:
                self._key_wanted(endpoint.verified_by)
            answered(verdict)
            return
        if isinstance(verdict, Several):
            committing = asyncio.get_running_loop().create_task(self._commit_all(verdict))
            self._committing.add(committing)
            committing.add_done_callback(self._committing.discard)
            committing.add_done_callback(lambda done: answered(done.result()))
            return
        if isinstance(verdict, SecretOffer):
            self._in_a_thread(endpoint, verdict).add_done_callback(lambda kept: answered(kept.result()))
            return
        size = len(request.body)
        self.waiting += 1
        self.bytes_held += size

        asking = REQUEST.get()

        def ended(outcome: Committed | Exception) -> None:
            self.waiting -= 1
            self.bytes_held -= size
            mark = REQUEST.set(asking)  # what is logged of the commit names the request, too
            try:
                answered(self._answer(endpoint, outcome))
            finally:
                REQUEST.reset(mark)

        self._commits.submit(verdict, ended)

    def _prepare(self, endpoint: Endpoint, request: Request, policy: Policy) -> Any:
        """`evaluate` at the time it came, an entry at once as the journal takes it: its rows are made where it is still warm,
        and what the body was parsed into does not wait for the commit."""
        now = request.received_at
        verdict = evaluate(endpoint, request, policy, now, self.max_body)
        if isinstance(verdict, Several):
            return Several([(own, self._prepared(own, entry, request, now)) for own, entry in verdict.entries])
        return self._prepared(endpoint, verdict, request, now) if isinstance(verdict, JournalEntry) else verdict

    def _prepared(self, endpoint: Endpoint, entry: JournalEntry, request: Request, now: datetime) -> Any:
        try:
            return self._journal.prepare(entry)
        except (ValueError, TypeError) as error:  # a signal that cannot be written down: the body is kept instead
            endpoint.seldom(log.error, "signal cannot be stored: a bug in syncd", source=endpoint.name, exc_info=True)
            return self._journal.prepare(_quarantine(endpoint, request, f"{type(error).__name__}: {error}", now))

    def _in_a_thread(self, endpoint: Endpoint, offer: SecretOffer) -> asyncio.Future[WebhookResponse]:
        return asyncio.get_running_loop().run_in_executor(self._threads, self._keep, endpoint, offer)

    def _keep(self, endpoint: Endpoint, offer: SecretOffer) -> WebhookResponse:
        """The reply to a handshake after its secrets are durable. Never raises."""
        try:
            if self._keep_secrets(endpoint.verified_by, offer.reply.remember):
                log.info("the vendor's secret for its webhooks is kept", source=endpoint.name)
                return _replied(offer.reply)
        except StoreUnavailable as error:
            endpoint.seldom(log.error, "secret refused: the store cannot commit", source=endpoint.name, why=str(error))
            return NO_STORE
        except Exception as error:  # noqa: BLE001  not kept, so not acknowledged
            endpoint.seldom(log.error, "secret refused", source=endpoint.name, why=str(error))
            return NO_STORE
        why = f"another secret is kept already; if the webhook was made anew: `syncd webhooks forget {endpoint.name}`"
        endpoint.seldom(log.warning, "webhook not authentic", source=endpoint.name, why=why)
        return NOT_AUTHENTIC

    async def _commit_all(self, several: Several) -> WebhookResponse:
        """One answer for all: the vendor sends the request again unless every part is durable; repeats are known."""
        answers = await asyncio.gather(*(self._commit(endpoint, entry) for endpoint, entry in several.entries))
        return next((answer for answer in answers if answer is not STORED), STORED)

    async def _commit(self, endpoint: Endpoint, entry: Any) -> WebhookResponse:
        try:
            with traces.span("commit", source=endpoint.name):
                committed = await self._commits.commit(entry)
            return self._answer(endpoint, committed)
        except Exception as error:  # noqa: BLE001  not committed, so not acknowledged: the vendor sends it again
            return self._answer(endpoint, error)

    def _answer(self, endpoint: Endpoint, outcome: Committed | Exception) -> WebhookResponse:
        if isinstance(outcome, Committed):
            self.counts.committed(endpoint.name, outcome)
            return STORED
        if isinstance(outcome, StoreUnavailable):
            why = str(outcome)
            endpoint.seldom(log.error, "webhook refused: the store cannot commit", source=endpoint.name, why=why)
        else:
            endpoint.seldom(log.error, "commit failed: a bug in syncd", source=endpoint.name, exc_info=outcome)
        return NO_STORE
