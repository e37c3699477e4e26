"""What destinations share whose CRM is read by statements of a query language (SOQL, COQL): people, companies and deals, records
by key and by id, people that the CRM itself named, and whose fault a wrong statement is.

A CRM's destination says what its records of people are (`people`) and where deals are (`_deals`), how a statement is written (its
`QueryLanguage`) and asked (`CrmClient.query`).
"""

from __future__ import annotations

import contextlib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from syncd.capabilities import FieldDescription, MissingField, PrepareResult
from syncd.connector import (
    AccountMatch,
    AccountQuery,
    Allowance,
    Call,
    DealPick,
    DestinationDefaults,
    Link,
    Outcome,
    PersonMatch,
    PersonQuery,
    Usage,
    Write,
)
from syncd.connectors.crm import lists
from syncd.connectors.crm.client import CrmClient
from syncd.connectors.crm.companies import CompanyColumns, CompanyRows, columns_of
from syncd.connectors.crm.deals import DealRows, OpenDeal, deal_of
from syncd.connectors.crm.directory import PersonObjects, Row, age, everybody, steps, with_deals
from syncd.connectors.crm.missing_fields import FieldMaker
from syncd.connectors.crm.packing import Bundle, Packer
from syncd.connectors.crm.search import Search
from syncd.connectors.crm.sending import Answered, raise_if_all, send_bundles
from syncd.errors import Misconfigured, Scope

log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")


def is_name(text: str) -> bool:
    """Whether this can stand as an object or field name: anything else never reaches a statement."""
    return _NAME.fullmatch(text) is not None


def check_names(names: Iterable[str], *, code: str, section: str = "") -> None:
    """Raises Misconfigured for what is not a name: of one rule, or of a `section` of the mapping that concerns every rule."""
    for name in names:
        if not is_name(name) and section:
            raise Misconfigured(f"{section}: {name!r} is not the name of an object or field", code=code)
        if not is_name(name):
            raise Misconfigured(f"{name} is not a field name", code=code, scope=Scope.RULE, field=name)


def fields_of_each(
    objects: Iterable[str], read: Callable[[str], Iterable[FieldDescription]]
) -> dict[str, tuple[FieldDescription, ...]]:
    """The fields of these objects, which `read` asks for one object at a time, without objects that do not exist (a
    Misconfigured of a rule) and what cannot be a name. Raises the Failure of any other refusal."""
    found: dict[str, tuple[FieldDescription, ...]] = {}
    for object_ in filter(is_name, objects):
        try:
            found[object_] = tuple(read(object_))
        except Misconfigured as unknown:
            if unknown.scope is not Scope.RULE:
                raise
    return found


@contextlib.contextmanager
def about_people(section: str = "people.match") -> Iterator[None]:
    """Nobody can be found with a wrong look-up: that concerns every rule, not one. A sign-in, a scope or an address that is
    wrong is not a fault of the look-ups. `section`: the part of the mapping that they come from."""
    try:
        yield
    except Misconfigured as wrong:
        if wrong.scope is Scope.DESTINATION:
            raise
        named = "" if wrong.field in wrong.message else wrong.field
        text = " ".join(f"{section}: {wrong.message} {named}".split())
        raise Misconfigured(text, code=wrong.code, scope=Scope.DESTINATION, field=wrong.field) from None


class QueryLanguage(Protocol):
    """Writes the statements by which a CRM is read. Every name was checked; values may be any text: what cannot be in the CRM is
    left out. Each method yields statements, as few as the vendor's limits allow, that together read these columns of all
    records with one of the values."""

    def equal(
        self, object: str, columns: Iterable[str], field: str, values: Iterable[str], *, also: str = ""
    ) -> Iterator[str]:
        """Of those whose field is one of the values. `also`: one more criterion, in the language."""
        ...

    def containing(self, object: str, columns: Iterable[str], field: str, parts: Iterable[str]) -> Iterator[str]:
        """Of those whose field contains one of these texts."""
        ...

    def people(
        self, object: str, columns: Iterable[str], values: Mapping[str, Sequence[str]], *, phone: bool
    ) -> Iterator[str]:
        """Of those who have one of the values (field -> values) in its field. With `phone` they are E.164 numbers, written there
        in any form, and more records than theirs may be read."""
        ...


About = TypeVar("About")


class QueriedCrm(DestinationDefaults, ABC):
    """One account. `people`: its records of people and companies; `links`: standard link field -> the objects it takes,
    of those that people are linked by. `editors`: the fields that name who created a record and who changed it last.
    `conversion_packer` and `observer_packer`: pack conversions of leads, and changes of observers, in a CRM that has
    them. `staged`: a later look-up is asked only for the people not found yet, since each statement is a call of its own.
    `deals`: where open deals are."""

    people: ClassVar[PersonObjects]
    links: ClassVar[Mapping[str, tuple[str, ...]]]
    editors: ClassVar[tuple[str, ...]] = ()
    staged: ClassVar[bool]
    conversion_packer: ClassVar[Packer | None] = None
    observer_packer: ClassVar[Packer | None] = None
    folds_case: bool
    widens = False

    def __init__(
        self,
        client: CrmClient,
        language: QueryLanguage,
        packer: Packer,
        deals: Sequence[DealRows],
        region: str | None,
    ) -> None:
        self._crm = client
        self._language = language
        self._packer = packer
        self._deals = deals
        self._region = region
        self.folds_case = self.people.folds_case

    @abstractmethod
    def _fields(self) -> FieldMaker:
        """What describes objects and makes missing fields."""

    def _rows(self, asked: Sequence[tuple[About, str]]) -> Iterator[tuple[About, list[dict[str, Any]]]]:
        """The rows of each statement, with what it is about."""
        answers = self._crm.query([statement for _, statement in asked])
        yield from zip((about for about, _ in asked), answers, strict=True)

    @abstractmethod
    def _perform(self, call: Call, bundles: Sequence[Bundle]) -> Iterable[Answered]:
        """Writes some of the call's bundles; `send_bundles` says how."""

    def _with_key(self, object: str, key_field: str, keys: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Rows (id and key) of the records with these keys."""
        return self._crm.query(list(self._language.equal(object, (self.people.id_field, key_field), key_field, keys)))

    def _short(self, id: str) -> str:
        """What of an id tells records apart."""
        return id

    def resolve(self, people: Sequence[PersonQuery], *, deals: DealPick | None = None) -> list[PersonMatch | None]:
        """The people by the stages of a `Search`, all at once unless `staged`; `deals` costs one more call or a few."""
        search = Search(people, self.people, self._region)
        for stage in search.stages:
            check_names((stage.object, *stage.fields), code="people.match", section="people.match")
        with about_people():
            for stages in [[one] for one in search.stages] if self.staged else [search.stages]:
                asked = [
                    (stage, statement)
                    for stage in stages
                    for statement in self._language.people(
                        stage.object, search.columns(stage), search.values(stage), phone=stage.phone
                    )
                ]
                for stage, rows in self._rows(asked):
                    search.learn(stage, rows)
                for stage in stages:
                    search.learn(stage, ())
        found = search.found()
        return self._with_deals(found, deals) if deals else found

    def _with_deals(self, found: list[PersonMatch | None], pick: DealPick) -> list[PersonMatch | None]:
        people = everybody(found)
        asked = [
            (one, statement)
            for one in self._deals
            for statement in self._language.equal(
                one.object, one.columns, one.owner, one.owners(people), also=one.still
            )
        ]
        deals: dict[str, list[OpenDeal]] = {}
        for place, rows in self._rows(asked):
            for owner, deal in place.read(rows):
                deals.setdefault(self._mark(place.person or self.people.account, owner), []).append(deal)
        return with_deals(found, lambda one: deal_of(one, deals, pick, self._mark))

    def _mark(self, object: str, id: str) -> str:
        return f"{object} {self._short(id)}"

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        """Observers and conversions in calls of their own, after the records."""
        records = [write for write in writes if write.conversion is None and write.observation is None]
        observed = [write for write in writes if write.observation is not None]
        leads = [write for write in writes if write.conversion is not None]
        observing = self.observer_packer.pack(observed) if self.observer_packer else ()
        return [
            *self._packer.pack(records),
            *observing,
            *(self.conversion_packer.pack(leads) if self.conversion_packer else ()),
        ]

    def send(self, call: Call) -> list[Outcome]:
        """Performs the call, and a few more where a bundle is refused as a whole because of some of its records. A limit that
        struck every record is raised: it concerns the call."""
        outcomes = send_bundles(
            call.payload, lambda bundles: self._perform(call, bundles), per_call=self._packer.bundles
        )
        raise_if_all(outcomes)
        return [outcomes[place] for place in range(len(call.writes))]

    def recognise(self, people: Sequence[PersonQuery], among: Sequence[Sequence[Link]]) -> list[PersonMatch | None]:
        """All named records of one object at once, with the fields that the people are looked up by."""
        fields: dict[str, dict[str, None]] = {}
        for lookup, term in (step for person in people for step in steps(person)):
            check_names((lookup.object, term.field), code="people.match", section="people.match")
            fields.setdefault(lookup.object, {})[term.field] = None
        ids: dict[str, dict[str, None]] = {}
        for link in (link for links in among for link in links if is_name(link.object)):
            ids.setdefault(link.object, {})[link.id] = None
        asked = [
            (object_, statement)
            for object_, wanted in ids.items()
            for statement in self._language.equal(
                object_, self.people.columns(object_, fields.get(object_, ())), self.people.id_field, wanted
            )
        ]
        directory = self.people.directory(self._region)
        with about_people():
            for object_, rows in self._rows(asked):
                directory.add(object_, rows)
        return [directory.named(one, links) for one, links in zip(people, among, strict=True)]

    def resolve_accounts(self, queries: Sequence[AccountQuery]) -> list[AccountMatch | None]:
        """The exact fields of all companies, and their domains by what a website contains, in as few calls as `query` makes."""
        names = {object_: facts.name for object_, facts in self.people.facts.items() if facts.company}
        asked = columns_of(queries, names)
        statements: list[tuple[CompanyColumns, str]] = []
        for one in asked:
            columns = one.columns(self.people.id_field)
            check_names((one.object, *columns), code="accounts.match", section="accounts.match")
            for name, values in one.exact.items():
                statements += [(one, text) for text in self._language.equal(one.object, columns, name, values)]
            for name, values in one.domains.items():
                statements += [(one, text) for text in self._language.containing(one.object, columns, name, values)]
        found = CompanyRows(self.people.id_field)
        with about_people("accounts.match"):
            for one, rows in self._rows(statements):
                found.add(one, rows)
        return [found.find(query) for query in queries]

    def parent_field(self, object: str) -> str:
        """Of the standard objects of companies."""
        return self.people.known(object).parent

    def copied_fields(self, object: str) -> tuple[str, ...]:
        """Of the standard objects of companies."""
        return self.people.known(object).classes

    def find(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, str]:
        """Of several records with one key (possible where it is not unique) the oldest counts."""
        return {key: ids[0] for key, ids in self.find_all(object, key_field, keys).items()}

    def find_all(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, list[str]]:
        """`find` with every record of each key, the oldest first."""
        check_names((object, key_field), code="key")
        held: dict[str, list[str]] = {}
        for rows in self._with_key(object, key_field, keys):
            found = [
                (str(row[self.people.id_field]), str(row.get(key_field, "")).lower())
                for row in rows
                if self._has_id(row)
            ]
            for id_, key in sorted(found, key=lambda pair: age(pair[0])):
                ids = held.setdefault(key, [])
                if ids:
                    log.warning("two %s records share the key %s: %s and %s", object, key, ids[0], id_)
                ids.append(id_)
        return {key: held[key.lower()] for key in keys if key.lower() in held}

    def values(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What stands in these fields of the records that are there."""
        check_names((object, *fields), code="fill")
        statements = list(self._language.equal(object, (self.people.id_field, *fields), self.people.id_field, ids))
        found = [row for rows in self._crm.query(statements) for row in rows if self._has_id(row)]
        rows = {self._short(str(row[self.people.id_field])): row for row in found}
        return {
            id_: {name: rows[self._short(id_)].get(name) for name in fields} for id_ in ids if self._short(id_) in rows
        }

    def describe(self, objects: Sequence[str]) -> Mapping[str, Sequence[FieldDescription]]:
        return self._fields().describe(objects)

    def prepare(self, needs: Sequence[MissingField], *, dry: bool = False) -> Iterator[PrepareResult]:
        """A few calls a field."""
        return self._fields().prepare(needs, dry=dry)

    def owner(self, user: Any) -> Any:
        """A user is named by their id, unless the CRM wants more."""
        return user

    def editor_fields(self, object: str) -> tuple[str, ...]:
        """Who created a record, and who changed it last."""
        return self.editors

    def edited(self, there: Mapping[str, Any]) -> bool:
        """Whether they are two users; a user is an id, or an object with one."""
        users = (there.get(name) for name in self.editors)
        ids = {str(user.get("id") or "") if isinstance(user, Mapping) else str(user or "") for user in users}
        return len(ids - {""}) > 1

    def items(self, value: Any) -> list[str]:
        """The values of a field that holds several (a multi-select picklist)."""
        return lists.items(value)

    def _has_id(self, row: Row) -> bool:
        return bool(row.get(self.people.id_field))

    def role_of(self, object: str) -> str:
        """An object of the account's own that is looked up as a person is a contact."""
        return self.people.known(object).role

    def link_takes(self, object: str, field: str) -> tuple[str, ...]:
        """Of the standard fields that people are linked by."""
        return self.links.get(field, ())

    def allowance(self) -> Allowance | None:
        return self._crm.allowance()

    def spend(self) -> Usage:
        return self._crm.spend()

    def close(self) -> None:
        self._crm.close()
