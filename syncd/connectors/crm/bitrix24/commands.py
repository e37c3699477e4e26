"""Commands of a batch as Bitrix24 reads them: a method with its parameters as a PHP query string. Pure.

`Commands` is the destination's QueryLanguage: a statement is one command. Facts: bitrix24.md, Duplicate lookup and batch;
Bitrix24's pages of crm.item.list (filters, `fm` only with `*`) and crm.duplicate.findbycomm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from syncd.connectors.crm.bitrix24.objects import COMMUNICATIONS, FINDS, PSEUDO, type_id
from syncd.connectors.crm.portions import portions
from syncd.errors import Misconfigured, Scope
from syncd.identity.phones import written_forms

PAGE = 50
"""Rows of a page, and values that are asked for in one command."""
LONGEST = 255
"""Characters of a value that can be in the CRM."""
FIND, ITEMS, COMPANIES = "crm.duplicate.findbycomm", "crm.item.list", "crm.company.list"
LINKED = "%24result%5B"
"""Stands in a command that takes a value of an earlier one."""
_REFERENCE = re.compile(r"\$(?=\w+\[)")


class Reference(str):
    """A value that Bitrix24 takes from an earlier command of the batch: `$result[key][item][id]`."""

    __slots__ = ()


def command(method: str, parameters: Mapping[str, Any]) -> str:
    """A command of a batch. Text that would be read as a reference to another command's result is kept apart from it by an
    invisible character."""
    return f"{method}?{'&'.join(_pairs('', parameters))}"


def _pairs(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in items:
            yield from _pairs(f"{name}[{quote(str(key), safe='@%=<>!')}]" if name else str(key), one)
    else:
        yield f"{name}={quote(_text(value), safe='')}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return _REFERENCE.sub("$\u200b", str(value))


def method_of(text: str) -> str:
    """The method of a command."""
    return text.partition("?")[0]


def items(object_: str, filters: Mapping[str, Any], columns: Iterable[str]) -> str:
    """The records of an object that pass the filters, in the order of their ids. People and companies are read whole: their
    addresses and numbers come only so."""
    select = ["*"] if object_ in FINDS else sorted({"id", *columns} - PSEUDO.keys())
    parameters = {"entityTypeId": type_id(object_), "filter": filters, "select": select, "order": {"id": "ASC"}}
    return command(ITEMS, parameters)


def by_id(object_: str, ids: Iterable[str]) -> list[str]:
    """Commands that read these records whole."""
    return [items(object_, {"@id": some}, ("*",)) for some in portions(ids, PAGE)]


def askable(value: str) -> bool:
    """Whether a value can be in the CRM."""
    return 0 < len(value) <= LONGEST and value.isprintable()


def national(number: str) -> list[str]:
    """The forms of an E.164 number that are compared by their digits alone: with the country, and as dialled in it."""
    digits = ("".join(filter(str.isdigit, form)) for form in written_forms(number) if not form.startswith("+"))
    return list(dict.fromkeys((number, *digits)))


class Commands:
    """A QueryLanguage."""

    def equal(
        self, object: str, columns: Iterable[str], field: str, values: Iterable[str], *, also: str = ""
    ) -> Iterator[str]:
        """`also`: more of the query string."""
        for some in portions(filter(askable, values), PAGE):
            text = items(object, {f"@{field}": some}, columns)
            yield f"{text}&{also}" if also else text

    def containing(self, object: str, columns: Iterable[str], field: str, parts: Iterable[str]) -> Iterator[str]:
        """Companies by the site in their card, of which Bitrix24 compares the whole text: the usual ways to write a domain."""
        for domain in filter(askable, parts):
            if PSEUDO.get(field) != "WEB":
                yield items(object, {f"%{field}": domain}, columns)
                continue
            for form in _sites(domain):
                yield command(COMPANIES, {"filter": {"WEB": form}, "select": ["ID"], "order": {"ID": "ASC"}})

    def people(
        self, object: str, columns: Iterable[str], values: Mapping[str, Sequence[str]], *, phone: bool
    ) -> Iterator[str]:
        """One value a command, since twenty records of one value end the answer; a number in its two forms."""
        for field, wanted in values.items():
            known = filter(askable, wanted)
            if (kind := COMMUNICATIONS.get(field)) is None:
                forms = [form for number in known for form in (national(number) if phone else (number,))]
                yield from self.equal(object, columns, field, forms)
                continue
            if object not in FINDS:
                text = f"{object} has no {field} that Bitrix24 looks people up by; it looks in {', '.join(FINDS)}"
                raise Misconfigured(text, code="people.match", scope=Scope.RULE, field=field)
            for value in known:
                asked = national(value) if phone else [value]
                yield command(FIND, {"type": kind, "values": asked, "entity_type": FINDS[object]})


def _sites(domain: str) -> list[str]:
    hosts = (domain, f"www.{domain}")
    urls = [f"{scheme}://{host}" for host in hosts for scheme in ("https", "http")]
    return [*hosts, *urls, *(f"{url}/" for url in urls)]
