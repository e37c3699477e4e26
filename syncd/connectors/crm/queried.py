"""What destinations share whose CRM is read by statements of a query language (SOQL, COQL): records by key and by id, people
that the CRM itself named, and whose fault a wrong statement is.

A CRM's destination says what its records of people are (`people`), how a statement is written (`_statements`) and asked (`_ask`).
"""

from __future__ import annotations

import contextlib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from syncd.connector import (
    AccountMatch,
    AccountQuery,
    Allowance,
    DestinationDefaults,
    Link,
    PersonMatch,
    PersonQuery,
    Usage,
)
from syncd.connectors.crm import lists
from syncd.connectors.crm.companies import CompanyColumns, CompanyRows, columns_of
from syncd.connectors.crm.directory import PersonObjects, Row, age, steps
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


class CrmClient(Protocol):
    """What the thin client of a CRM counts."""

    def allowance(self) -> Allowance | None: ...

    def spend(self) -> Usage: ...

    def close(self) -> None: ...


class QueriedCrm(DestinationDefaults, ABC):
    """One account. `people`: its records of people and companies; `links`: standard link field -> the objects it takes, of those
    that people are linked by."""

    people: ClassVar[PersonObjects]
    links: ClassVar[Mapping[str, tuple[str, ...]]]
    account_names: ClassVar[Mapping[str, str]]
    folds_case: bool
    widens = False

    def __init__(self, client: CrmClient, region: str | None) -> None:
        self._counting = client
        self._region = region

    @abstractmethod
    def _statements(self, object: str, columns: Iterable[str], field: str, values: Iterable[str]) -> Iterator[str]:
        """Statements that together read these columns of all records with one of the values; every name was checked."""

    @abstractmethod
    def _containing(self, object: str, columns: Iterable[str], field: str, parts: Iterable[str]) -> Iterator[str]:
        """Statements that together read these columns of all records whose field contains one of these texts."""

    @abstractmethod
    def _ask(self, statements: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The rows of each statement, in as few calls as the API allows."""

    def _with_key(self, object: str, key_field: str, keys: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Rows (id and key) of the records with these keys."""
        return self._ask(list(self._statements(object, (self.people.id_field, key_field), key_field, keys)))

    def _short(self, id: str) -> str:
        """What of an id tells records apart."""
        return id

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
            for statement in self._statements(
                object_, self.people.columns(object_, fields.get(object_, ())), self.people.id_field, wanted
            )
        ]
        directory = self.people.directory(self._region)
        with about_people():
            for (object_, _), rows in zip(asked, self._ask([statement for _, statement in asked]), strict=True):
                directory.add(object_, rows)
        return [directory.named(one, links) for one, links in zip(people, among, strict=True)]

    def resolve_accounts(self, queries: Sequence[AccountQuery]) -> list[AccountMatch | None]:
        """The exact fields of all companies, and their domains by what a website contains, in as few calls as `_ask` makes."""
        asked = columns_of(queries, self.account_names)
        statements: list[tuple[CompanyColumns, str]] = []
        for one in asked:
            columns = one.columns(self.people.id_field)
            check_names((one.object, *columns), code="accounts.match", section="accounts.match")
            for name, values in one.exact.items():
                statements += [(one, text) for text in self._statements(one.object, columns, name, values)]
            for name, values in one.domains.items():
                statements += [(one, text) for text in self._containing(one.object, columns, name, values)]
        found = CompanyRows(self.people.id_field)
        with about_people("accounts.match"):
            for (one, _), rows in zip(statements, self._ask([text for _, text in statements]), strict=True):
                found.add(one, rows)
        return [found.find(query) for query in queries]

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
        statements = list(self._statements(object, (self.people.id_field, *fields), self.people.id_field, ids))
        found = [row for rows in self._ask(statements) for row in rows if self._has_id(row)]
        rows = {self._short(str(row[self.people.id_field])): row for row in found}
        return {
            id_: {name: rows[self._short(id_)].get(name) for name in fields} for id_ in ids if self._short(id_) in rows
        }

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
        return self._counting.allowance()

    def spend(self) -> Usage:
        return self._counting.spend()

    def close(self) -> None:
        self._counting.close()
