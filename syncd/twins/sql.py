"""The SELECT dialect that SOQL and COQL have in common: tokens and a parser. sql_run.py runs what comes out.

Used by salesforce_soql.py and zoho_coql.py, which add what their vendor forbids. Raises QueryError with the place of the mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from syncd.twins.state import fold

_STRINGS = (r"'(?:\\.|[^'\\])*'", r"'(?:''|[^'])*'")  # a quote inside: after a backslash, or doubled
_REST = (
    r"|(?P<moment>\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))?)"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>!?[A-Za-z$_][\w.$]*)"
    r"|(?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,))"
)
_TOKENS = tuple(re.compile(rf"\s*(?:(?P<string>{string}){_REST}") for string in _STRINGS)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
ORDERED = frozenset({"<", "<=", ">", ">="})


class QueryError(ValueError):
    """The statement is wrong. `code`: the kind of mistake, for the vendor's table; `at`: its column, from 1."""

    def __init__(self, code: str, message: str, at: int = 1, field: str = "") -> None:
        super().__init__(message)
        self.code, self.at, self.field = code, at, field


@dataclass(slots=True, frozen=True)
class SqlToken:
    kind: str
    text: str
    at: int


@dataclass(slots=True, frozen=True)
class Compare:
    """`field op value`; op is one of = != < <= > >= like in `not in` `not like`; the value of in is a tuple."""

    field: str
    op: str
    value: Any
    at: int = 1


@dataclass(slots=True, frozen=True)
class Both:
    """Several conditions joined by one word, `and` or `or`."""

    word: str
    parts: tuple[Condition, ...]


@dataclass(slots=True, frozen=True)
class Not:
    part: Condition


Condition = Compare | Both | Not


@dataclass(slots=True)
class Select:
    columns: list[SqlToken]
    object: SqlToken
    where: Condition | None = None
    order: list[tuple[SqlToken, bool]] = field(default_factory=list)  # (field, descending)
    limit: int | None = None
    offset: int = 0
    count: bool = False
    criteria: int = 0
    longest_in: int = 0


def tokens(text: str, doubled_quotes: bool = False) -> Iterator[SqlToken]:
    place = 0
    pattern = _TOKENS[doubled_quotes]
    while place < len(text.rstrip()):
        match = pattern.match(text, place)
        if match is None:
            at = place + len(text[place:]) - len(text[place:].lstrip())
            raise QueryError("syntax", f"line 1:{at} no viable alternative at character '{text[at]}'", at + 1)
        kind = match.lastgroup or ""
        yield SqlToken(kind, match.group(kind), match.start(kind) + 1)
        place = match.end()


def unquote(token: SqlToken, doubled_quotes: bool = False) -> str:
    """The text of a string literal; `\\%` and `\\_` stay escaped for LIKE."""
    if doubled_quotes:
        return token.text[1:-1].replace("''", "'")

    def one(match: re.Match[str]) -> str:
        sign = match.group(1)
        if sign in "%_":
            return match.group(0)
        if sign not in _ESCAPES:
            raise QueryError("syntax", f"Illegal string literal: invalid escape \\{sign}", token.at)
        return _ESCAPES[sign]

    return re.sub(r"\\(.)", one, token.text[1:-1], flags=re.DOTALL)


class Parser:
    """One pass over the tokens. COQL's ways: `commas_in_limit` (`limit offset, count`), `pairwise` brackets, `doubled_quotes`."""

    def __init__(
        self, text: str, *, commas_in_limit: bool = False, pairwise: bool = False, doubled_quotes: bool = False
    ) -> None:
        self._tokens = list(tokens(text, doubled_quotes))
        self._doubled_quotes = doubled_quotes
        self._place = 0
        self._commas_in_limit = commas_in_limit
        self._pairwise = pairwise
        self._criteria = 0
        self._longest_in = 0

    def parse(self) -> Select:
        self._word("select")
        columns, count = self._columns()
        self._word("from")
        select = Select(columns, self._take("word"), count=count)
        if self._maybe("where"):
            select.where = self._condition()
        if self._maybe("order"):
            self._word("by")
            select.order = self._order()
        if self._maybe("limit"):
            self._limit(select)
        if self._maybe("offset"):
            select.offset = int(self._take("number").text)
        if self._place < len(self._tokens):
            self._unexpected()
        select.criteria, select.longest_in = self._criteria, self._longest_in
        return select

    def _limit(self, select: Select) -> None:
        first = int(self._take("number").text)
        if self._commas_in_limit and self._sign(","):
            select.offset, select.limit = first, int(self._take("number").text)
        else:
            select.limit = first

    def _columns(self) -> tuple[list[SqlToken], bool]:
        first = self._take("word")
        if fold(first.text) == "count" and self._sign("("):
            if not self._sign(")"):
                self._take("word")
                self._need(")")
            return [], True
        columns = [first]
        while self._sign(","):
            columns.append(self._take("word"))
        return columns, False

    def _order(self) -> list[tuple[SqlToken, bool]]:
        order = []
        while True:
            name = self._take("word")
            descending = self._maybe("desc")
            if not descending:
                self._maybe("asc")
            if self._maybe("nulls") and not (self._maybe("first") or self._maybe("last")):
                self._unexpected()
            order.append((name, descending))
            if not self._sign(","):
                return order

    def _condition(self) -> Condition:
        parts = [self._operand()]
        word = ""
        while token := self._peek("and", "or"):
            if word and fold(token.text) != word:
                raise QueryError("syntax", f"unexpected token: '{token.text}'", token.at)
            if self._pairwise and len(parts) == 2:
                raise QueryError("pairwise", "more than two criteria need brackets, two by two", token.at)
            word = fold(token.text)
            self._place += 1
            parts.append(self._operand())
        return parts[0] if len(parts) == 1 else Both(word, tuple(parts))

    def _operand(self) -> Condition:
        if self._maybe("not"):
            return Not(self._operand())
        if self._sign("("):
            inner = self._condition()
            self._need(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Compare:
        name = self._take("word")
        self._criteria += 1
        if self._maybe("is"):
            op = "!=" if self._maybe("not") else "="
            self._word("null")
            return Compare(name.text, op, None, name.at)
        negate = "not " if self._maybe("not") else ""
        if self._maybe("in"):
            return Compare(name.text, f"{negate}in", self._list(), name.at)
        if self._maybe("like"):
            return Compare(name.text, f"{negate}like", self._value(), name.at)
        token = self._take("sign")
        op = "!=" if token.text == "<>" else token.text
        if negate or op not in ("=", "!=", *ORDERED):
            raise QueryError("syntax", f"unexpected token: '{token.text}'", token.at)
        return Compare(name.text, op, self._value(), name.at)

    def _list(self) -> tuple[Any, ...]:
        self._need("(")
        values = [self._value()]
        while self._sign(","):
            values.append(self._value())
        self._need(")")
        self._longest_in = max(self._longest_in, len(values))
        return tuple(values)

    def _value(self) -> Any:
        token = self._tokens[self._place] if self._place < len(self._tokens) else self._end()
        self._place += 1
        if token.kind == "string":
            return unquote(token, self._doubled_quotes)
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "moment":
            return token.text
        words = {"null": None, "true": True, "false": False}
        if token.kind == "word" and fold(token.text) in words:
            return words[fold(token.text)]
        self._place -= 1
        return self._unexpected()

    def _peek(self, *words: str) -> SqlToken | None:
        if self._place < len(self._tokens):
            token = self._tokens[self._place]
            if token.kind == "word" and fold(token.text) in words:
                return token
        return None

    def _maybe(self, word: str) -> bool:
        found = self._peek(word) is not None
        self._place += found
        return found

    def _word(self, word: str) -> None:
        if not self._maybe(word):
            self._unexpected()

    def _sign(self, sign: str) -> bool:
        found = self._place < len(self._tokens) and self._tokens[self._place].text == sign
        self._place += found
        return found

    def _need(self, sign: str) -> None:
        if not self._sign(sign):
            self._unexpected()

    def _take(self, kind: str) -> SqlToken:
        if self._place >= len(self._tokens):
            self._end()
        token = self._tokens[self._place]
        if token.kind != kind:
            self._unexpected()
        self._place += 1
        return token

    def _end(self) -> SqlToken:
        raise QueryError("syntax", "unexpected token: '<EOF>'", self._tokens[-1].at if self._tokens else 1)

    def _unexpected(self) -> Any:
        if self._place >= len(self._tokens):
            self._end()
        token = self._tokens[self._place]
        raise QueryError("syntax", f"unexpected token: '{token.text}'", token.at)


def fields_of(condition: Condition | None) -> Iterator[Compare]:
    """Every comparison in a condition, in the order of the text."""
    if isinstance(condition, Compare):
        yield condition
    elif isinstance(condition, Both):
        for part in condition.parts:
            yield from fields_of(part)
    elif isinstance(condition, Not):
        yield from fields_of(condition.part)
