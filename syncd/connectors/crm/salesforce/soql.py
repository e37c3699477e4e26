"""SOQL text, pure: quoting, statements that stay within Salesforce's limits, and phone patterns.

`Soql` is the destination's QueryLanguage. Limits: 100,000 characters a statement, 4,000 a literal, and 16,384 bytes of
URI and headers where a statement travels in a GET of its own (salesforce.md, Limits).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote as percent

from syncd.connectors.crm.portions import portions

STATEMENT = 100_000
LITERAL = 4_000
GET_BYTES = 12_000
"""What of the 16,384 bytes a statement may take, percent-encoded; the rest is for the host, path and headers."""
PHONE_DIGITS = 8
"""Digits a phone pattern asks for: enough to be rare, few enough that trunk prefixes (0, 15, 1) do not hide a match."""
PHONES_A_QUERY = 500
"""LIKE with a leading wildcard reads the table: fewer patterns a statement keep it below QUERY_TIMEOUT."""

_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"})


def literal(value: str) -> str:
    """A quoted string literal of any text."""
    return f"'{value.translate(_ESCAPES)}'"


def encoded(statement: str) -> str:
    """The statement as the value of `q=`."""
    return percent(statement, safe="")


def select(columns: Iterable[str], object_: str) -> str:
    """The head of a statement; the names were checked."""
    return " ".join(("SELECT", ", ".join(columns), "FROM", object_))


def phone_pattern(e164: str) -> str:
    """A LIKE pattern that matches the number however it is written: its last digits with anything between them."""
    digits = re.sub(r"\D", "", e164)[-PHONE_DIGITS:]
    return "%" + "%".join(digits) + "%" if digits else ""


@dataclass(frozen=True)
class Soql:
    """A QueryLanguage. `get`: each statement must fit into a URI."""

    get: bool = False

    def equal(
        self, object: str, columns: Iterable[str], field: str, values: Iterable[str], *, also: str = ""
    ) -> Iterator[str]:
        return selects(select(columns, object), field, values, f" AND {also}" if also else "", get=self.get)

    def containing(self, object: str, columns: Iterable[str], field: str, parts: Iterable[str]) -> Iterator[str]:
        return likes(select(columns, object), (field,), [f"%{part}%" for part in parts], get=self.get)

    def people(
        self, object: str, columns: Iterable[str], values: Mapping[str, Sequence[str]], *, phone: bool
    ) -> Iterator[str]:
        """A statement a field; those that are asked for the same numbers share one."""
        head = select(columns, object)
        if not phone:
            for field, given in values.items():
                yield from selects(head, field, given, get=self.get)
            return
        shared: dict[tuple[str, ...], list[str]] = {}
        for field, given in values.items():
            shared.setdefault(tuple(given), []).append(field)
        for numbers, fields in shared.items():
            yield from likes(head, fields, filter(None, map(phone_pattern, numbers)), get=self.get)


def selects(head: str, field: str, values: Iterable[str], tail: str = "", *, get: bool = False) -> Iterator[str]:
    """Statements `{head} WHERE {field} IN (…){tail}` that together ask for all values, each as long as allowed.
    `get`: they must fit into a URI. Values too long for a literal cannot be in the CRM and are left out."""
    frame = f"{head} WHERE {field} IN ({{}}){tail}"
    quoted = [literal(value) for value in dict.fromkeys(values) if len(value) < LITERAL // 2]
    for part in _filled(quoted, ",", len(frame), get):
        yield frame.format(part)


def likes(head: str, fields: Sequence[str], patterns: Iterable[str], *, get: bool = False) -> Iterator[str]:
    """Statements `{head} WHERE field LIKE pattern OR …` over every field and pattern."""
    for some in portions(patterns, PHONES_A_QUERY):
        tests = [f"{f} LIKE {literal(p)}" for p in some for f in fields]
        for part in _filled(tests, " OR ", len(head) + 7, get):
            yield f"{head} WHERE {part}"


def _filled(items: Sequence[str], glue: str, frame: int, get: bool) -> Iterator[str]:
    """The items joined into as few texts as fit beside `frame` characters."""
    limit = GET_BYTES if get else STATEMENT
    spare = 3 if get else 1
    held: list[str] = []
    size = frame * spare
    for item in items:
        cost = len(encoded(item + glue)) if get else len(item + glue)
        if held and size + cost > limit:
            yield glue.join(held)
            held, size = [], frame * spare
        held.append(item)
        size += cost
    if held:
        yield glue.join(held)
