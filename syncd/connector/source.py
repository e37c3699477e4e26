"""What a source is asked for and hands back: batches of signals and hints, webhook requests, the protocols it is read by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

import msgspec

from syncd.errors import Failure
from syncd.signals import Signal


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened: look it up. `key` names what to look up: a hint waiting under the same key of the source is
    merged into one (the latest `data`, the earliest `not_before`)."""

    key: str
    data: dict[str, Any] = {}
    not_before: datetime | None = None


@dataclass(frozen=True)
class Batch:
    """What one step of a source saw, committed as one: signals, hints, the new cursor (`state`, None: unchanged) and
    what to `remember` (value None forgets the key). `dropped` counts, by reason, items that were read but are not signals;
    `misfits` are pieces that could not be understood: each goes into quarantine alone, its neighbours pass. `formerly`: id of a
    signal -> the one that an earlier version gave it. `poll_now`: the vendor said that something changed, but not what: the
    source is polled, on whichever machine reads it, after this batch is durable."""

    signals: Sequence[Signal] = ()
    hints: Sequence[Hint] = ()
    state: bytes | None = None
    remember: Mapping[str, str | None] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    misfits: Sequence[UnparsedItem] = ()
    formerly: Mapping[UUID, FormerId] = field(default_factory=dict)
    poll_now: bool = False


@dataclass(frozen=True)
class FormerId:
    """The id that an earlier version of a connector derived for an event, and when the event happened (None where that depends
    on who reads it). A stored signal of that id and time is the same event: its id stays."""

    id: UUID
    occurred_at: datetime | None = None


@dataclass(frozen=True)
class NotYet:
    """A hint cannot be judged before `at` (UTC): it waits, and that does not count as a failed attempt."""

    at: datetime


@dataclass(frozen=True)
class Request:
    """One HTTP request at /webhooks/{source}. `headers` have lower-case names; `url` is the full public URL as the
    vendor called it, query included; `query` and `form` keep repeats and order; `tail` is the path after the source's
    name ("" or "secret")."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    query: Sequence[tuple[str, str]] = ()
    tail: str = ""

    @property
    def content_type(self) -> str:
        """The media type alone, lower-case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Reply:
    """An answer to a vendor's handshake. `remember`: secrets that the vendor gave with it, by keys of the connector's own.
    They are kept encrypted before the answer is sent, `Context.recall` gives them back, and the verifier is built again. A
    handshake is not authentic: where another value is kept under one of the keys, this one is refused (401)."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    remember: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UnparsedItem:
    """One piece (a row, an event) that cannot be understood. `request` carries it alone, in its body, so that a
    WebhookSource's `parse` or a Reparsing source's `reparse` can try it again; `reason` says where it stood and what is wrong."""

    request: Request
    reason: str


@runtime_checkable
class Reparsing(Protocol):
    """A source without webhooks whose misfits can be tried again from quarantine. Pure; raises Malformed."""

    def reparse(self, request: Request) -> Batch: ...


@runtime_checkable
class PollingSource(Protocol):
    """Reads a vendor on schedule. `start` gives the cursor of "now" (history is backfill's; it may do I/O). `poll`
    yields batches, each with its `state`; it reads at most about one page beyond what it has yielded, and may be
    stopped between any two batches. Errors: a raised `Failure` ends this poll; nothing yielded before it is lost."""

    def start(self, now: datetime) -> bytes: ...

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]: ...


class Verifier(Protocol):
    """Raises NotAuthentic (401) or KeyUnavailable (503); any other exception is a 401 too, and logged as our bug."""

    def __call__(self, request: Request, now: datetime) -> None: ...


@runtime_checkable
class WebhookSource(Protocol):
    """Receives a vendor's calls. `handshake` answers probes that carry no event (it is asked first, before
    verification; for a POST too) or returns None. `verifier` is built with the source, and again when secrets that it
    may recall have changed; it must be buildable without them. `parse` is pure: no I/O, no clock but
    `request.received_at`; it raises `Malformed` for what it cannot understand."""

    def handshake(self, request: Request) -> Reply | None: ...

    def verifier(self) -> Verifier: ...

    def parse(self, request: Request) -> Batch: ...


@runtime_checkable
class AnswersSenders(Protocol):
    """A WebhookSource whose senders expect another answer than the usual 200 once their request is stored (a browser that is
    sent to another page). Pure; None: the usual answer. It is asked only for requests that are authentic and need not be sent
    again."""

    def accepted(self, request: Request) -> Reply | None: ...


@runtime_checkable
class SharedEndpointSource(Protocol):
    """A WebhookSource that can stand with others behind one address (`endpoint:`): one callback URL per app, events of many
    accounts in one body. It may stand alone, too. `accounts`: those whose events it takes, as the vendor names them; its `parse`
    leaves out all others, silently. `accounts_in`: how many events a request has by account, "" for those that name none; pure,
    raises Malformed. `shares`: what must be equal in all sources of an address: how they verify, and how events name accounts."""

    @property
    def accounts(self) -> frozenset[str]: ...

    @property
    def shares(self) -> object: ...

    def accounts_in(self, request: Request) -> Mapping[str, int]: ...


@runtime_checkable
class KeyFetchingSource(Protocol):
    """A webhook source whose verifier needs keys from the vendor (JWKS): called outside the request path when a
    verifier raised KeyUnavailable, and at start. What it returns is shown in `status`: a line for each key that
    cannot be used."""

    def fetch_keys(self, now: datetime) -> Sequence[str] | None: ...


@runtime_checkable
class HintSource(Protocol):
    """Turns a durable hint into signals by asking the vendor. May yield hints again (timed ones)."""

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet: ...


@runtime_checkable
class BulkHintSource(HintSource, Protocol):
    """A HintSource that answers several hints with fewer calls than `fetch` would: at most `hints_at_once` of them. `fetch_many`
    has one answer for each hint, in their order, the same as `fetch` has; a Failure returned for a hint concerns it alone, one
    that is raised concerns all."""

    @property
    def hints_at_once(self) -> int: ...

    def fetch_many(self, hints: Sequence[Hint], now: datetime) -> Sequence[Batch | NotYet | Failure]: ...


@runtime_checkable
class Backfillable(Protocol):
    """Reads history: every event with since <= occurred_at < until, each batch with a `state` from which a stopped run
    resumes (`state` None: from the beginning). Signals carry Route.BACKFILL."""

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]: ...
