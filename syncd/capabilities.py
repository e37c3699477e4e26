"""What a connector may offer its admin beside moving signals: each an optional protocol, found by isinstance.

Commands ask for them (`check --online`, `prepare`, `auth`, `webhooks`, `verify`), the daemon for `Waiting`. A connector
implements those its vendor can do and imports nothing else for it; whatever it cannot do is said in a sentence, never left out
in silence.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from syncd.connector import AccountMatch, AccountQuery, Batch, Link, PersonMatch, PersonQuery, Write

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


@runtime_checkable
class WritesDatabase(Protocol):
    """A destination whose records are rows: a mapping may not name a table of syncd's own database."""

    def database_url(self) -> str:
        """As SQLAlchemy writes it, relative files made absolute; without a password."""
        ...


@runtime_checkable
class LimitsNames(Protocol):
    """A destination that would cut a long name without an error. `refused_name`: why it cannot take this name of an object or
    field, "" when it can. Pure."""

    def refused_name(self, name: str) -> str: ...


class FieldDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One field as the CRM describes it. `length`: characters at most, None when not limited or unknown. `values`: the
    picklist, None when any value is taken; `restricted`: a value beside it is refused (else it is taken, and probably not
    meant). `required`: a new record without it is refused. `unique`: the CRM itself refuses a second record with the same
    value. `key`: records can be upserted by it. `creatable`/`updatable`: whether our user may write it. `references`: objects
    a link of a mapping may point at, () when unknown."""

    name: str
    type: str = ""
    length: int | None = None
    values: tuple[str, ...] | None = None
    restricted: bool = True
    required: bool = False
    unique: bool = False
    key: bool = False
    creatable: bool = True
    updatable: bool = True
    references: tuple[str, ...] = ()


@runtime_checkable
class Describes(Protocol):
    """A destination that tells what its objects look like, for comparing a mapping with them. Names compare without case
    when `folds_case`. `widens`: what is missing is made by the first write that needs it. An object that does not exist (or
    is hidden from our user) is absent from the answer."""

    folds_case: bool
    widens: bool

    def describe(self, objects: Sequence[str]) -> Mapping[str, Sequence[FieldDescription]]: ...


# ----------------------------------------------------------------------------------------------------------- verify


@runtime_checkable
class FindsAll(Protocol):
    """A destination whose API can show that several records have one key. `find_all` is `find` with every id, the oldest
    first; keys without a record are absent."""

    def find_all(self, object: str, key_field: str, keys: Sequence[str]) -> Mapping[str, Sequence[str]]: ...


@runtime_checkable
class FindsBeside(Protocol):
    """A destination some of whose records are found by their key only beside the record that they are linked to (a comment's
    key stands in its text). `beside(object)`: whether those of an object are; pure. `find_beside`: key -> id of those of these
    writes, of one object, that exist, read after write as surely as the API can."""

    def beside(self, object: str) -> bool: ...

    def find_beside(self, writes: Sequence[Write]) -> Mapping[str, str]: ...


# ------------------------------------------------------------------------------------------------------------- fill


@runtime_checkable
class ReadsFields(Protocol):
    """A destination that tells what stands in a few fields of records, for rules that fill only what is empty: read after
    write as surely as the API can, in as few calls. Ids without a record (deleted, merged) are absent from the answer; an
    empty field is None or absent."""

    def values(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Mapping[str, Any]]: ...


@runtime_checkable
class KnowsEditors(Protocol):
    """A destination whose records tell who changed them last, for rules with `on: answered`, which leave alone what a user has
    changed. `editor_fields`: the fields that tell it, of every record of an object; `edited`: whether by another user than the
    one who created the record, from these fields as `ReadsFields.values` returned them. Pure."""

    def editor_fields(self, object: str) -> Sequence[str]: ...

    def edited(self, there: Mapping[str, Any]) -> bool: ...


@runtime_checkable
class KeepsLists(Protocol):
    """A destination whose fields may hold several values (multi-select picklists), for rules that add and remove some.
    `items`: the values of such a field as `ReadsFields.values` returned it; a list of them is what `send` takes. Pure."""

    def items(self, value: Any) -> list[Any]: ...


# ----------------------------------------------------------------------------------------------------------- owners


@runtime_checkable
class Assigns(Protocol):
    """A destination whose records have owners. `owner_field`: the field that takes them, of every object. `owner`: a user's id as
    that field takes it; pure. `users`: id -> whether active, of those that are users (a queue is absent)."""

    owner_field: str

    def owner(self, user: Any) -> Any: ...

    def users(self, ids: Sequence[str]) -> Mapping[str, bool]: ...


@runtime_checkable
class KnowsTeams(Protocol):
    """A destination that Assigns and tells who is in a team of the CRM. `teams`: the kinds of team (`role`, `department`).
    `members`: ids of the active users in one, in an order that stays; none where there is no such team. It asks the CRM."""

    teams: tuple[str, ...]

    def members(self, team: str, name: str) -> Sequence[str]: ...


# ---------------------------------------------------------------------------------------------------- notifications


@runtime_checkable
class Notifies(Protocol):
    """A destination that sends the CRM's own notifications to users: it takes writes with `Write.notification`. `notifications`:
    the kinds that exist (the name after `notify:` in a mapping), None when the CRM does not tell; it asks the CRM."""

    def notifications(self) -> Sequence[str] | None: ...


# ------------------------------------------------------------------------------------------------------ conversions


class ConversionNames(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversion is about in a CRM. `deals`: the object of deals; `deal_fields`: key of `deal:` in a mapping -> its field
    there; `needed`: the keys without which no deal is made; `role`: (object, field) of the contact's role in a deal, an object ""
    for one that the CRM does not describe, and ("", "") where there are no roles."""

    deals: str
    deal_fields: Mapping[str, str]
    needed: tuple[str, ...] = ("name",)
    role: tuple[str, str] = ("", "")


@runtime_checkable
class Converts(Protocol):
    """A destination that converts leads: it takes writes with `Write.conversion`, and for a lead that is converted already it
    returns what it became. `converted_statuses`: the statuses that a converted lead may get, None where the CRM has none to
    choose; `may_convert`: whether our sign-in may convert. Both ask the CRM."""

    conversions: ConversionNames

    def converted_statuses(self) -> Sequence[str] | None: ...

    def may_convert(self) -> Iterator[Finding]: ...


# -------------------------------------------------------------------------------------------------------- observers


@runtime_checkable
class Observes(Protocol):
    """A destination whose records have observers: it takes writes with `Write.observation`, adds and removes those that it names,
    and keeps all others, also those that a user adds in the same second. Done twice it changes nothing more. Pure:
    `observable`, why its records cannot have observers in this field ("" for the CRM's own), or why those cannot join a chat; ""
    when they can. `observed_by_users`: whether the observers in a field are users of the CRM, and not words. `may_observe`:
    whether records of these objects can have observers in this field, and our sign-in may set them (`chat`: and put them
    into the records' chats); it asks the CRM."""

    def observable(self, field: str, *, chat: bool) -> str: ...

    def observed_by_users(self, field: str) -> bool: ...

    def may_observe(self, objects: Sequence[str], field: str, *, chat: bool) -> Iterator[Finding]: ...


# ------------------------------------------------------------------------------------------------------------ links


@runtime_checkable
class KnowsLinks(Protocol):
    """A destination that knows its CRM's links. `link_takes(object, field)`: the objects that a standard link field takes, ()
    where it takes any or is not known. Pure."""

    def link_takes(self, object: str, field: str) -> Sequence[str]: ...


@runtime_checkable
class KnowsRoles(Protocol):
    """A destination that knows what a record of an object makes of a person: `role_of` is "lead" or "contact". Pure. Asked for
    the records that syncd creates; without it they count as leads until the people are resolved again."""

    def role_of(self, object: str) -> str: ...


@runtime_checkable
class LimitsLinks(Protocol):
    """A destination whose records cannot hold every combination of links. `held_together`: those of these links (field -> record)
    that a record of the object can have at once. Pure."""

    def held_together(self, object: str, links: Mapping[str, Link]) -> Mapping[str, Link]: ...


# -------------------------------------------------------------------------------------------------------- companies


@runtime_checkable
class ResolvesAccounts(Protocol):
    """A destination that finds companies. `resolve_accounts` returns the record of each, parallel to them, in as few calls as the
    API allows; None for those that are not there."""

    def resolve_accounts(self, queries: Sequence[AccountQuery]) -> Sequence[AccountMatch | None]: ...


@runtime_checkable
class KnowsAccountFields(Protocol):
    """A destination that knows its companies' own fields. `parent_field`: the field that takes the company which another belongs
    to, "" for an object without one. `copied_fields`: what a new company takes over from the record named by `clone_of:` of a
    mapping that lists no fields: those that classify a company, none that identifies or locates it. Pure."""

    def parent_field(self, object: str) -> str: ...

    def copied_fields(self, object: str) -> Sequence[str]: ...


# ------------------------------------------------------------------------------------------------------- duplicates


@runtime_checkable
class Recognises(Protocol):
    """A destination that can read the records which its CRM named when it refused a new person as a duplicate. `recognise`
    returns for each person (`among` is parallel) the named record that is them: one with their email address, otherwise one
    with their number and name (`syncd.matching.agrees`), as its own object; None when none agrees."""

    def recognise(
        self, people: Sequence[PersonQuery], among: Sequence[Sequence[Link]]
    ) -> Sequence[PersonMatch | None]: ...


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
