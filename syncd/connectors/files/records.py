"""Lines of a CSV file to records: quotes that span lines, quotes that are never closed, quotes behind a backslash. Pure.

Promise: a quote left open costs its own row only: the row is a fault that names the line where the quote began, and the lines
that it would swallow are read one by one.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

DELIMITERS = ",;\t|"
LONGEST = 130_000
"""Characters of a record of several lines; the csv module itself takes no longer cell."""
_SEP = re.compile(r'^"?sep=(.)"?\s*$', re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """The lines it begins and ends on, its cells. `fault`: why it cannot be read."""

    number: int
    cells: list[str]
    fault: str = ""
    last: int = 0


class _Lines:
    """Numbered lines that can be given back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._ahead: deque[tuple[int, str]] = deque()
        self._rest = enumerate(lines, start=1)

    def next(self) -> tuple[int, str] | None:
        return self._ahead.popleft() if self._ahead else next(self._rest, None)

    def give_back(self, lines: Iterable[tuple[int, str]]) -> None:
        self._ahead.extendleft(reversed(list(lines)))


def separator(line: str) -> str:
    """The delimiter that a first line `sep=;` names, as Excel writes it; ``""`` for any other line."""
    found = _SEP.match(line)
    return found[1] if found else ""


def records(lines: Iterable[str], delimiter: str) -> Iterator[Record]:
    """Raises what `lines` raises, after the records before it."""
    source = _Lines(lines)
    while (line := source.next()) is not None:
        number, text = line
        if '"' not in text:
            yield _plain(number, text, delimiter)
        else:
            yield _quoted(number, text, source, delimiter)


def _plain(number: int, text: str, delimiter: str) -> Record:
    try:
        return Record(number, next(csv.reader([text], delimiter=delimiter), []), last=number)
    except csv.Error as error:
        return Record(number, [], f"cannot be read ({error})", number)


def _quoted(number: int, text: str, source: _Lines, delimiter: str) -> Record:
    """A record with a quote in it, over as many lines as the quote needs."""
    taken = [(number, text)]
    while True:
        cells, fault = _strictly(text, delimiter)
        if cells is not None:
            return _checked(taken, cells, source, delimiter)
        if fault != _OPEN and len(taken) == 1:
            return _plain(number, text, delimiter)  # `"Jörg "Jogi" Müller"` on one line
        if fault != _OPEN:
            return _left_open(taken, source, delimiter)
        while (line := source.next()) is not None and len(text) + len(line[1]) <= LONGEST:
            taken.append(line)
            text += line[1]
            if '"' in line[1]:
                break
        else:
            if line is not None:
                source.give_back([line])
            return _left_open(taken, source, delimiter)


_OPEN = "unexpected end of data"


def _strictly(text: str, delimiter: str) -> tuple[list[str] | None, str]:
    """(cells, "") of one whole record, else (None, why not). Quotes behind a backslash are tried when doubled ones do not fit."""
    fault = ""
    for form in (text, text.replace('\\"', '""')) if '\\"' in text else (text,):
        try:
            found = list(csv.reader(io.StringIO(form, newline=""), delimiter=delimiter, strict=True))
        except csv.Error as error:
            fault = fault or str(error)
            continue
        if len(found) <= 1:
            return (found[0] if found else []), ""
    return None, fault or "several records"


def _checked(taken: list[tuple[int, str]], cells: list[str], source: _Lines, delimiter: str) -> Record:
    """Of several lines: a cell that holds a row with an address in the same column has swallowed it. (Behind a quote that ends
    the cell the address is the record's own.)"""
    place = next((at for at, cell in enumerate(cells) if "@" in cell and "\n" not in cell), None) if taken[1:] else None
    for _, line in taken[1:]:
        inner = line.split(delimiter)
        if place is None or len(inner) <= place or "@" not in inner[place] or not len(inner) >= len(cells) > 1:
            continue
        if not any('"' in cell for cell in inner[: place + 1]):
            return _left_open(taken, source, delimiter)
    return Record(taken[0][0], cells, last=taken[-1][0])


def _left_open(taken: list[tuple[int, str]], source: _Lines, delimiter: str) -> Record:
    """The fault, with the lines behind the quote given back."""
    at = _begins([text for _, text in taken], delimiter)
    source.give_back(taken[at + 1 :])
    line = taken[at][0]
    return Record(line, [], f"the quote that begins on line {line} is never closed; close it, or take it out", line)


def _begins(lines: list[str], delimiter: str) -> int:
    """The index of the line with the last quote that opens a cell and swallows a line break, as the first line allows."""
    opened, quoted, fresh = 0, False, True
    for index, text in enumerate(lines):
        at = 0
        while at < len(text):
            char = text[at]
            if quoted:
                if char == '"' and text[at + 1 : at + 2] == '"':
                    at += 1
                elif char == '"':
                    if text[at + 1 : at + 2] not in (delimiter, "\r", "\n", ""):
                        return opened
                    quoted = False
            elif char == '"' and fresh:
                quoted, opened = True, index
            fresh = not quoted and char in (delimiter, "\n")
            at += 1
    return opened


def delimiter_of(sample: str, knows: Callable[[str], object] = str.isspace) -> str:
    """The delimiter that gives the most rows of one width; one that finds headers which `knows` knows goes first."""

    def worth(delimiter: str) -> tuple[int, int, int]:
        widths: dict[int, int] = {}
        headers = 0
        for index, record in enumerate(records(io.StringIO(sample, newline=""), delimiter)):
            width = len(record.cells)
            widths[width] = widths.get(width, 0) + 1
            if index < 20 and width > 1:
                headers = max(headers, sum(bool(knows(cell)) for cell in record.cells))
        count, width = max(((count, width) for width, count in widths.items() if width > 1), default=(0, 0))
        return headers, count, width

    return max(DELIMITERS, key=worth)
