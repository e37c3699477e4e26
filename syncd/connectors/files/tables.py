"""Rows of a file, whatever wrote it: CSV with its quirks, workbooks by a process of their own, JSON. One row at a time.

The reader of signals calls it. Promise: whatever the bytes, only Malformed comes out; no text beyond LINE is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from syncd.connectors.files.headers import IDENTITY, meaning, unnamed
from syncd.connectors.files.json_rows import JsonObject, is_json, json_objects
from syncd.connectors.files.markup import ADVICE, is_markup, other_kind
from syncd.connectors.files.records import delimiter_of, records, separator
from syncd.connectors.files.text import LINE, encoding_of, lines_of, open_text, repaired
from syncd.connectors.files.workbook import sheet_rows, word
from syncd.errors import Malformed

HEADER_WITHIN = 20
COLUMNS = 1_000
SAMPLE = 64_000
JSON_NAMES = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class TableRow:
    """One row: where it stands and its cells as text. `fault`: why it cannot be read; `note`: what was damaged and repaired."""

    number: int
    cells: list[str]
    fault: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """`headers` and the rows below them. `rows`: about how many there are, None when that is not known."""

    headers: list[str]
    lines: Iterator[TableRow]
    rows: int | None = None


@dataclass(frozen=True)
class TableOptions:
    """What a source says of its files: what a row is, the sheet, the encoding of text, and where the company is."""

    kind: str
    sheet: str = ""
    encoding: str = ""
    region: str | None = None


def open_table(path: Path, options: TableOptions) -> Table:
    """Raises Malformed for a file that is not a table or whose encoding is not clear, OSError for one that cannot be opened."""
    with path.open("rb") as opened:
        head = opened.read(2000)
    if kind := other_kind(head):
        raise Malformed(f"is {kind}, not a table; {ADVICE}")
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")) or is_markup(head):
        rows, found = sheet_rows(path, options.sheet, options.encoding, options.region or "")
        return _headed((TableRow(*row) for row in found), options.kind, rows)
    codec = encoding_of(path, options.encoding, options.region)
    if path.suffix.lower() in JSON_NAMES or is_json(path, codec):
        return _json(path, codec, options)
    return _headed(_csv(path, codec, options), options.kind)


def _headed(lines: Iterator[TableRow], kind: str, rows: int | None = None) -> Table:
    """The header is the row among the first with the most names that are known, at best one that identifies; titles above it
    are passed over. It is as wide as it is written: a column behind the last name may be a column without one."""
    first: list[TableRow] = []
    for line in lines:
        if line.fault or any(line.cells):
            first.append(line)
        if len(first) == HEADER_WITHIN:
            break
    if not first:
        raise Malformed("the file has no rows")
    at = _header_at(first, kind)
    cells = [cell.strip() for cell in first[at].cells]
    named = max((place for place, cell in enumerate(cells, start=1) if cell), default=0)
    if named > COLUMNS:
        raise Malformed(f"{named} columns, more than {COLUMNS}")
    width = len(cells) if len(cells) <= COLUMNS else named

    def rest() -> Iterator[TableRow]:
        for line in first[at + 1 :]:
            yield _fitted(line, named, width)
        for line in lines:
            if line.fault or any(line.cells):
                yield _fitted(line, named, width)

    return Table(_once(cells[:width]), rest(), rows)


def _header_at(lines: list[TableRow], kind: str) -> int:
    """Which of the first rows is the header."""
    known = [sum(bool(meaning(cell, kind)) for cell in line.cells) for line in lines]
    if not any(known):
        return next((at for at, line in enumerate(lines) if len(line.cells) > 1), 0)
    for at, line in enumerate(lines):
        title = sum(map(bool, line.cells)) == 1 and not any(
            meaning(cell, kind) in IDENTITY[kind] for cell in line.cells
        )
        if known[at] == max(known) and not (title and max(known) in known[at + 1 :]):
            return at
    return known.index(max(known))


def _once(headers: list[str]) -> list[str]:
    """Headers made unique: the second `Mail` is `Mail (2)`; one without a name is its number."""
    made: list[str] = []
    taken = set(headers)
    for place, header in enumerate(headers):
        name = header or unnamed(place)
        if name in made or (not header and name in taken):
            name = next(one for n in count(2) if (one := f"{name} ({n})") not in taken)
        taken.add(name)
        made.append(name)
    return made


def _fitted(line: TableRow, named: int, width: int) -> TableRow:
    """A row as wide as the header. One of another width must have nothing behind the columns that have names."""
    if line.fault or len(line.cells) == width:
        return line
    if any(line.cells[named:]):
        return TableRow(line.number, line.cells, f"has {len(line.cells)} cells, the header {width}")
    return TableRow(line.number, (line.cells + [""] * width)[:width], note=line.note)


def _csv(path: Path, codec: str, options: TableOptions) -> Iterator[TableRow]:
    with open_text(path, codec) as opened:
        begins = opened.tell()
        first = opened.readline(LINE)
        delimiter = separator(first)
        skip = int(bool(delimiter))
        if not delimiter:
            opened.seek(begins)
            delimiter = delimiter_of(opened.read(SAMPLE), lambda cell: meaning(cell, options.kind))
        opened.seek(begins)
        notes: dict[int, str] = {}

        def lines() -> Iterator[str]:
            for number, text in enumerate(lines_of(opened), start=1):
                text, note = repaired(text, codec, options.region)
                if note:
                    notes[number] = note
                yield text

        for record in islice(records(lines(), delimiter), skip, None):
            note = "; ".join(notes.pop(n) for n in range(record.number, record.last + 1) if n in notes) if notes else ""
            yield TableRow(record.number, [cell.strip() for cell in record.cells], record.fault, note)


def _json(path: Path, codec: str, options: TableOptions) -> Table:
    """The keys of the first hundred objects are the headers; later ones bring no new column."""
    headers: dict[str, None] = {}
    first: list[JsonObject] = []
    with suppress(Malformed):  # what could be read before it counts; the rows end with it
        for found in islice(json_objects(path, codec, options.region), 100):
            first.append(found)
            headers.update(dict.fromkeys(found.value) if isinstance(found.value, dict) else {})
            if len(headers) > COLUMNS:
                break
    if not headers:
        faults = [f"line {found.line} {found.value}" for found in first if isinstance(found.value, str)]
        raise Malformed(
            f"there is no JSON object in it: {faults[0]}" if faults else "there is no JSON object with keys in it"
        )
    names = list(headers)[:COLUMNS]
    if len(first) == 1 and not any(meaning(name, options.kind) in IDENTITY[options.kind] for name in names):
        _refuse_wrapped(first[0].value)

    def lines() -> Iterator[TableRow]:
        for found in json_objects(path, codec, options.region):
            if isinstance(found.value, dict):
                yield TableRow(found.line, [word(found.value.get(name)) for name in names], note=found.note)
            else:
                yield TableRow(found.line, [], found.value)

    return Table(names, lines())


def _refuse_wrapped(value: dict[str, Any] | str) -> None:
    """A list inside an object, as the answers of web services have it, is not searched for: there may be several."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            raise Malformed(f"the list is inside an object, under {name!r}: save that list alone")
