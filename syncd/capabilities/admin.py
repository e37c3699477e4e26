"""What a connector may offer its admin: checks, preparation, sign-in, webhooks, waiting and lists."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from syncd.connector import Batch

# --------------------------------------------------------------------------------------------------- check --online


class Level(StrEnum):
    """How a finding weighs: `FAULT` makes `check --online` fail."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: `what` in two or three words ("sign-in", "quota", "Task.Syncd_Key__c"), what was found, and what
    to do about it ("" when nothing)."""

    level: Level
    what: str
    message: str
    remedy: str = ""


@runtime_checkable
class OnlineCheck(Protocol):
    """Tries what only the vendor can tell: credentials, scopes, prerequisites, quota. Changes nothing over there, costs as
    few calls as can be. A Failure raised ends it and is shown as a fault; what was yielded before it stands."""

    def check_online(self) -> Iterator[Finding]: ...


# ---------------------------------------------------------------------------------------------------------- prepare


class MissingField(msgspec.Struct, frozen=True, kw_only=True):
    """A field that a mapping needs and the CRM lacks. `key`: it holds syncd's key (36 characters): it should be unique, and
    usable for upserts where the CRM allows it. `length`: characters at most. `type`: text, date, datetime, number or
    checkbox, as far as the mapping tells; `several` for a field that takes several of `values`, which the mapping names."""

    object: str
    field: str
    key: bool = False
    length: int = 36
    type: str = "text"
    values: tuple[str, ...] = ()


class PrepareResult(msgspec.Struct, frozen=True):
    """The outcome of one need. `by_hand`: the API cannot; `message` then says exactly where to click."""

    need: MissingField
    done: bool
    message: str
    by_hand: bool = False


@runtime_checkable
class Preparable(Protocol):
    """A destination whose missing fields can be made, or whose admin gets exact instructions. One step a need, in their
    order; asking twice makes nothing twice. A need whose name cannot be one of the admin's own fields (a misspelt standard
    one) is refused, with instructions, never made. `dry`: only say what would be done."""

    def prepare(self, needs: Sequence[MissingField], *, dry: bool = False) -> Iterator[PrepareResult]: ...


# ------------------------------------------------------------------------------------------------------------- auth


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """How an operator signs in to this vendor for syncd (OAuth 2.0 authorization code with PKCE): plain vendor data. `grant` is
    where the token is kept in the TokenStore: the same id the connector asks for its tokens with. `reasons`: scope -> what
    it is for, shown to the person. `parameters` are added to the authorisation URL (`access_type=offline`,
    `prompt=consent`). `extra`: names in the token answer that are kept in `Token.extra` (where the API is).
    `lifetime`: seconds a token lives when the vendor does not say. `remedies`: what to do about an OAuth error, by the
    vendor's word for it, and by `no_refresh_token` and `elsewhere` for what is found here. `server_parameter`: the
    redirect's parameter that tells which server holds the person's account; another one than `token_url` and `servers` (where
    `token_url` is a proxy) is `elsewhere`. `revoke_url`: where the grant is withdrawn (POST token=…, RFC 7009), "" where the
    vendor has no such place."""

    grant: str
    authorize_url: str
    token_url: str
    client_id: str
    client_secret: str = ""
    scopes: tuple[str, ...] = ()
    reasons: dict[str, str] = {}
    scope_separator: str = " "
    parameters: dict[str, str] = {}
    extra: tuple[str, ...] = ()
    lifetime: float | None = None
    account: str = ""
    remedies: dict[str, str] = {}
    server_parameter: str = ""
    revoke_url: str = ""
    servers: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the secret."""
        return f"SignIn(authorize_url={self.authorize_url!r}, client_id={self.client_id!r})"

    __str__ = __repr__


@runtime_checkable
class SignsIn(Protocol):
    """A connector that an operator can sign in for with `syncd auth NAME`. `sign_in` is pure; it raises UsageError when the
    configuration has no use for it (a flow without a user) and says so."""

    def sign_in(self) -> SignIn: ...


def own_grant(kind: str, name: str, *parts: str) -> tuple[str, ...]:
    """The parts of a grant (for `syncd.http.oauth.grant_id`) that belongs to one configured name: what `syncd auth
    NAME` signed in for. After a rename of the entry, sign in again."""
    return ("signed in", kind, name, *parts)


# --------------------------------------------------------------------------------------------------------- webhooks


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook at the vendor, of any receiver. `ours`: it points at this source's address. `state`: as the vendor says.
    `active`: the vendor calls it. `note`: what the operator still has to do for it, "" for nothing. `expires_at` (UTC): until
    when, None for one that does not expire."""

    id: str
    url: str
    events: tuple[str, ...] = ()
    state: str = ""
    ours: bool = False
    active: bool = True
    note: str = ""
    details: dict[str, Any] = {}
    expires_at: datetime | None = None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """What `subscribe` leaves: all webhooks that point at this source. `remember`: secrets that belong to them, by keys of the
    connector's own; they replace those that are kept, encrypted, and `Context.recall` gives them back."""

    there: Sequence[Subscription]
    remember: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Subscribed(there={self.there!r})"

    __str__ = __repr__


@runtime_checkable
class Subscribable(Protocol):
    """A source whose vendor has an API for its webhooks. `subscribe` points the vendor at `Context.webhook_url` and returns
    all that do so then; asked twice it changes nothing more, and never makes a second one. What points elsewhere is
    taken over only with `force`; without it SyncdError says what that is, before anything is changed. `unsubscribe` of an id
    that is gone is done already."""

    def subscriptions(self) -> Sequence[Subscription]: ...

    def subscribe(self, *, force: bool = False) -> Subscribed: ...

    def unsubscribe(self, id: str) -> None: ...


@runtime_checkable
class Renewable(Protocol):
    """A Subscribable whose subscriptions expire. `renew` prolongs one and returns it with its new `expires_at`; None: the vendor
    does not know it any more, and it is made again by `subscribe`. Raises a Failure, and is then asked again before the end."""

    def renew(self, id: str) -> Subscription | None: ...


# ------------------------------------------------------------------------------------------------------------- idle


@runtime_checkable
class Waiting(Protocol):
    """A polling source that is notified of new items (IMAP IDLE). `wait` holds what it waits on (connections) as long as it is
    iterated, and yields each time something may be new: also once when it starts, for what came before. It ends within a
    second of `stop` (asked by `is_set`), a connection that is being made aside; or by itself when it has nothing to wait on
    and the schedule must do. A Failure ends this wait; the schedule keeps polling meanwhile."""

    def wait(self, stop: threading.Event) -> Iterator[None]: ...


# ----------------------------------------------------------------------------------------------------------- import


class TablePreview(msgspec.Struct, frozen=True, kw_only=True):
    """A table before it is read. `columns`: header -> what it is taken for, "" when it is only kept with the row. `samples`:
    the first rows, by header. `rows`: about how many there are, None when only reading all of it would show."""

    columns: dict[str, str]
    samples: tuple[dict[str, str], ...] = ()
    rows: int | None = None


@runtime_checkable
class Importable(Protocol):
    """A source over one file that `syncd import` reads once, instead of polling it. `table` resumes from the `state` of the
    last batch; rows that are wrong are `misfits`. Both raise Malformed for a file that is not a table (`table` after what could
    be read of it) and OSError for one that cannot be opened."""

    def look(self) -> TablePreview: ...

    def table(self, state: bytes | None) -> Iterator[Batch]: ...
