"""COQL text, pure: quoting, brackets, and statements that stay within Zoho's limits.

`Coql` is the destination's QueryLanguage. Limits (zoho.md, Finding people; Zoho's COQL pages): IN takes 50 values, WHERE
25 criteria bracketed two by two, a call 2,000 rows; LIKE knows starts with, ends with and contains only; a quote inside a
string is doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest

from syncd.connectors.crm.portions import fitting, portions
from syncd.identity.phones import written_forms

IN_VALUES = 50
CRITERIA = 25
DEEPEST = 100_000
"""Rows that paging reaches."""
PAGE, LARGE_PAGE = 200, 2_000
"""Rows asked for first (one credit), and of every later page (three credits)."""
LONGEST = 255
"""Characters of a single-line field: a longer value cannot be in the CRM."""
TAIL = 4
"""Last digits that every way to write a phone number leaves together, but for those that `_torn` lists."""


def literal(value: str) -> str:
    """A quoted string literal of any text that is `askable`."""
    return "'" + value.replace("'", "''") + "'"


def askable(value: str) -> bool:
    """Whether a value can be asked for. What a backslash or a control character means inside a string is nowhere
    documented, and a statement that does not parse would take its 49 neighbours with it."""
    return 0 < len(value) <= LONGEST and value.isprintable() and "\\" not in value


def select(columns: Iterable[str], module: str) -> str:
    return " ".join(("select", ", ".join(dict.fromkeys(columns)), "from", module))


def bracketed(word: str, tests: Sequence[str]) -> str:
    """Tests joined two by two, as Zoho demands of more than two."""
    if len(tests) == 1:
        return tests[0]
    middle = len(tests) // 2
    return f"({bracketed(word, tests[:middle])} {word} {bracketed(word, tests[middle:])})"


def isin(field: str, values: Sequence[str]) -> str:
    return f"{field} in ({', '.join(map(literal, values))})"


class Coql:
    """A QueryLanguage."""

    def equal(
        self, object: str, columns: Iterable[str], field: str, values: Iterable[str], *, also: str = ""
    ) -> Iterator[str]:
        return selects(select(columns, object), {field: values}, also)

    def containing(self, object: str, columns: Iterable[str], field: str, parts: Iterable[str]) -> Iterator[str]:
        """Each of as many texts as WHERE takes. (`like` on Website is slow: the answers are cached.)"""
        for some in portions(filter(askable, parts), CRITERIA):
            tests = [f"{field} like {literal(f'%{part}%')}" for part in some]
            yield f"{select(columns, object)} where {bracketed('or', tests)}"

    def people(
        self, object: str, columns: Iterable[str], values: Mapping[str, Sequence[str]], *, phone: bool
    ) -> Iterator[str]:
        """All exact fields in one statement; one for each field of numbers."""
        head = select(columns, object)
        of_phones = (phones(head, field, numbers) for field, numbers in values.items())
        return chain.from_iterable(of_phones) if phone else selects(head, values)


def selects(head: str, wanted: Mapping[str, Iterable[str]], also: str = "") -> Iterator[str]:
    """Statements that together find the records with one of these values in its field (field -> values, of which only the
    askable ones count): each of at most IN_VALUES values of each field, with all fields. `also`: one more criterion."""
    for tests in zip_longest(*(_isin_each(field, values) for field, values in wanted.items())):
        found = bracketed("or", [test for test in tests if test])
        yield f"{head} where {bracketed('and', [found, also]) if also else found}"


def _isin_each(field: str, values: Iterable[str]) -> list[str]:
    return [isin(field, some) for some in portions(filter(askable, values), IN_VALUES)]


def phones(head: str, field: str, numbers: Iterable[str]) -> Iterator[str]:
    """Statements that find E.164 numbers in a field where people wrote them in any form. They find more than that: the
    rows' numbers must be compared."""
    told = (number for number in numbers if len(number) > TAIL and number.removeprefix("+").isdecimal())
    torn = {number: _torn(number) for number in told}

    def fits(held: Sequence[str]) -> bool:
        return len(held) + -(-sum(len(torn[number]) for number in held) // IN_VALUES) <= CRITERIA

    for held in fitting(torn, fits):
        tails = dict.fromkeys(number[-TAIL:] for number in held)
        tests = [f"{field} like {literal(f'%{tail}%')}" for tail in tails]  # an extension may follow
        tests += _isin_each(field, (form for number in held for form in torn[number]))
        yield f"{head} where {bracketed('or', tests)}"


def _torn(number: str) -> list[str]:
    """The forms of a number in which its last TAIL digits do not stand together (pairs in France, threes in Vietnam)."""
    return [form for form in written_forms(number) if not form.endswith(number[-TAIL:])]


def paged(statement: str, offset: int) -> str:
    """The statement for the page that begins at row `offset`. Zoho sorts by id where nothing else is asked."""
    size = min(LARGE_PAGE, DEEPEST - offset) if offset else PAGE
    return f"{statement} limit {offset}, {size}"


def credits(offset: int) -> int:
    """What the page costs (zoho.md, Limits)."""
    return 3 if offset else 1
