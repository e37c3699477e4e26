"""The whole plug-in contract: what a source or a destination is, what it is lent, and what it hands back.

Connector modules import this and `syncd.errors`, `syncd.signals`, `syncd.http.client`, `syncd.http.oauth`,
`syncd.signatures.verifier`,
`syncd.matching`; nothing else of syncd. They hold no threads and no clock of their own and keep no state outside what they
return: everything durable travels in a `Batch` and is committed by the intake in one transaction.

A connector is registered by an entry point of group `syncd.connectors` named `source.TYPE` or `destination.TYPE`, whose
object is a `Connector`. Its module is imported only when the configuration names the type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BaseModel, ConfigDict

from syncd.errors import Failure
from syncd.http.lockout import LoginBackoff
from syncd.runtime.known_secrets import learn_settings
from syncd.signals import Signal

if TYPE_CHECKING:
    from syncd.http.oauth import TokenStore


class ConnectorSettings(BaseModel):
    """Base of a connector's typed keys (all but the common ones: `type`, `poll`/`cron`, `mapping`, `only`, `quota`,
    `doubt`, which syncd reads itself). Unknown keys are faults; field descriptions become the docs. Secrets are
    `pydantic.SecretStr`; durations `syncd.durations.Duration` (accepts `30s 5m 2h 7d`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True)

    def model_post_init(self, context: Any, /) -> None:
        learn_settings(self)


@dataclass(frozen=True)
class Prompt:
    """Marks an optional key that `syncd init` asks for all the same, in `Annotated`; required keys are asked for anyway.
    `when`/`unless`: only with these values of keys beside it. `suggest`: what Enter means."""

    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    suggest: str = ""


S = TypeVar("S", bound=ConnectorSettings)


@dataclass(frozen=True)
class SignalSpec:
    """What a source makes, for the docs and for `syncd connectors`: the signal type, what its id is made of by each
    route ("webhook: CallSid; poll: sid"), and whether a backfill can fetch it."""

    type: str
    key: str
    backfill: bool


@dataclass(frozen=True)
class Connector(Generic[S]):
    """The declaration of one connector; `name` is its `type:` in YAML. `build(settings, context)` must do no I/O."""

    name: str
    summary: str
    settings: type[S]
    build: Callable[[S, Context], Any]
    signals: tuple[SignalSpec, ...] = ()
    secrets_note: str = ""


def _no_memory(keys: Sequence[str]) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Context:
    """What the daemon lends a connector. `recall(keys)` reads the connector's own committed `Batch.remember` values
    (absent keys are absent in the answer). `webhook_url` is the public URL of this source's endpoint, "" if none is
    configured. `region` is ISO 3166 alpha-2 or None. `directory`: where the configuration file is; `beside` anchors the paths in
    its keys there. `refusals`: whoever signs in with a secret that hosts lock accounts over asks it around each try."""

    name: str
    tokens: TokenStore
    region: str | None = None
    timezone: ZoneInfo = ZoneInfo("UTC")
    webhook_url: str = ""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    directory: Path = Path()
    recall: Callable[[Sequence[str]], dict[str, str]] = _no_memory
    refusals: LoginBackoff = field(default_factory=LoginBackoff)

    def beside(self, path: Path) -> Path:
        """A path of the settings, made absolute from where the configuration file is; `~` is the user's home."""
        return (self.directory / path.expanduser()).absolute()


# --------------------------------------------------------------------------------------------------------- sources


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
    signal -> the one that an earlier version gave it."""

    signals: Sequence[Signal] = ()
    hints: Sequence[Hint] = ()
    state: bytes | None = None
    remember: Mapping[str, str | None] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    misfits: Sequence[UnparsedItem] = ()
    formerly: Mapping[UUID, FormerId] = field(default_factory=dict)


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
    """An answer to a vendor's handshake."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


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
    verification; for a POST too) or returns None. `verifier` is built once. `parse` is pure: no I/O, no clock but
    `request.received_at`; it raises `Malformed` for what it cannot understand."""

    def handshake(self, request: Request) -> Reply | None: ...

    def verifier(self) -> Verifier: ...

    def parse(self, request: Request) -> Batch: ...


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
class Backfillable(Protocol):
    """Reads history: every event with since <= occurred_at < until, each batch with a `state` from which a stopped run
    resumes (`state` None: from the beginning). Signals carry Route.BACKFILL."""

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]: ...


# ---------------------------------------------------------------------------------------------------- destinations


class WriteKind(StrEnum):
    """What the CRM allows for a record of one object by one key: decides what an ambiguous answer means."""

    UPSERT = "upsert"
    UNIQUE = "unique"
    FINDABLE = "findable"
    AT_MOST_ONCE = "at_most_once"


@dataclass(frozen=True)
class Idempotency:
    """`enforced`: the CRM itself refuses a second record with the key. An upsert whose key is not enforced waits
    through doubt before it is sent again."""

    kind: WriteKind
    enforced: bool = True


class MatchField(msgspec.Struct, frozen=True):
    """One way to find a person: `field` equals `value`. `phone`: compare as E.164, query by the last digits."""

    field: str
    value: str
    phone: bool = False


class Lookup(msgspec.Struct, frozen=True):
    """One entry of `people.match`: any of the terms, in their order, in `object`."""

    object: str
    terms: tuple[MatchField, ...]


class PersonQuery(msgspec.Struct, frozen=True):
    """A person to find: `identity` (Person.identity) and the look-ups in order. Exact terms count over all look-ups before
    any phone term does; `syncd.matching` says who of the records with a number is the person. `email`, `name`: what is
    known of them, to tell records apart."""

    identity: str
    lookups: tuple[Lookup, ...]
    email: str = ""
    name: str = ""


class PersonMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the CRM that is a person. `role`: "lead" or "contact" (from whom a signal is wanted). `account`: id of
    the company it belongs to, "" if none. `open_deal`: None unless asked for. `name`: as the record has it. `by_number`: only
    a phone number ties it to the person, so it is asked for again each time. `rivals`: other records with that number, when
    nothing tells which of them the person is: the signals are held, or this one counts, as `people.conflict` of the mapping
    says. Two records of one email address: the one created first (lowest id), and the others are named in the log."""

    object: str
    id: str
    role: str
    account: str = ""
    open_deal: bool | None = None
    name: str = ""
    by_number: bool = False
    rivals: tuple[PersonMatch, ...] = ()


class Link(msgspec.Struct, frozen=True):
    """The record a link field points at."""

    object: str
    id: str


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One record to make, ready to send. `key` (UUID text) goes into `key_field` when the mapping names one. `id` is the
    record's CRM id when known: then it is updated and `on_create` is not sent. `links`: field -> record. `group`: what
    must not be in flight twice (the person's or account's CRM id, else the key). `fields` values are JSON-able, dates
    as `datetime.date`/aware `datetime` for the destination to format."""

    key: str
    object: str
    key_field: str = ""
    fields: dict[str, Any] = {}
    on_create: dict[str, Any] = {}
    clear: tuple[str, ...] = ()
    links: dict[str, Link] = {}
    id: str = ""
    group: str = ""


@dataclass(frozen=True)
class Call:
    """One request to the CRM carrying several writes. `operation` names it in logs; `payload` is the connector's own;
    `cost` is in the vendor's unit (calls, credits)."""

    writes: tuple[Write, ...]
    operation: str
    payload: Any
    cost: float = 1.0


@dataclass(frozen=True)
class Written:
    """The record is there. `created` None: the vendor does not say."""

    id: str
    created: bool | None = None


Outcome = Written | Failure


@dataclass(frozen=True)
class Allowance:
    """What the account has left in its rolling day, in `unit` ("calls", "credits"), as the vendor last said."""

    unit: str
    used: float
    maximum: float
    as_of: datetime


@dataclass(frozen=True)
class Usage:
    """What talking to the vendor cost since the last time it was asked for."""

    calls: int = 0
    units: float = 0.0


class Destination(Protocol):
    """A CRM (or database) that records are written to. Only one lane calls it at a time, from one thread, except `send`,
    which may run `concurrency` at once for calls without a common `group`.

    `capacity`: deliveries worth claiming at once. `doubt`: seconds the vendor may keep working on a call we lost.
    `search_lag`: seconds until a written record is found by `find`.
    """

    @property
    def capacity(self) -> int: ...

    @property
    def concurrency(self) -> int: ...

    @property
    def doubt(self) -> float: ...

    @property
    def search_lag(self) -> float: ...

    def keying(self, object: str, key_field: str) -> Idempotency:
        """What writes of this object by this key are. Pure."""
        ...

    def resolve(self, people: Sequence[PersonQuery], *, deals: bool = False) -> Sequence[PersonMatch | None]:
        """The records of these people, parallel to them, in as few calls as the API allows. `deals`: fill `open_deal`."""
        ...

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        """Packs writes into calls, keeping their order per key and group; never two of one key in one call. Pure."""
        ...

    def send(self, call: Call) -> list[Outcome]:
        """Performs the call once: one outcome a write, parallel. Raises a Failure that refers to the whole call."""
        ...

    def find(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, str]:
        """key -> id of those that exist, read after write as surely as the API can."""
        ...

    def allowance(self) -> Allowance | None:
        """The last allowance the vendor reported, without a call of its own; None when it reports none."""
        ...

    def spend(self) -> Usage:
        """Calls and units spent since the last `spend()`, token calls excluded; resets the count."""
        ...

    def url(self, object: str, id: str) -> str:
        """Where a user looks at the record, "" if nowhere."""
        ...

    def close(self) -> None: ...


class DestinationDefaults:
    """Defaults most destinations share."""

    capacity: ClassVar[int] = 200
    concurrency: ClassVar[int] = 1
    doubt: ClassVar[float] = timedelta(minutes=10).total_seconds()
    search_lag: ClassVar[float] = 0.0

    def allowance(self) -> Allowance | None:
        return None

    def spend(self) -> Usage:
        return Usage()

    def url(self, object: str, id: str) -> str:
        return ""

    def close(self) -> None:
        return None
