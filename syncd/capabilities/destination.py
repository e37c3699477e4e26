"""What a destination may offer beside writing records: how it is described, read, owned, linked, converted and watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from syncd.capabilities.admin import Finding

if TYPE_CHECKING:
    from syncd.connector import AccountMatch, AccountQuery, Link, PersonMatch, PersonQuery, Write


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


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline of deals. `names`: what it may be called in a mapping, as users see it first; `stages`: the same of its
    stages."""

    names: tuple[str, ...]
    stages: tuple[str, ...]


@runtime_checkable
class NamesStages(Protocol):
    """A destination that takes the names that users see for the `stage` and `pipeline` of a conversion's deal. `pipelines`: the
    default one first; it asks the CRM."""

    def pipelines(self) -> Sequence[Pipeline]: ...


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
