"""Rows of a file, whatever wrote it: CSV with its quirks, workbooks by a process of their own, JSON lines. One row at a time.

The reader of signals calls it. Promise: whatever the bytes, only Malformed comes out; no text beyond ROW_BYTES is held.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from syncd.connectors.files.headers import meaning
from syncd.connectors.files.markup import ADVICE, is_markup, other_kind
from syncd.connectors.files.records import delimiter_of, records, separator
from syncd.connectors.files.text import encoding_of, open_text, repaired
from syncd.connectors.files.workbook import sheet_rows, word
from syncd.errors import Malformed

ROW_BYTES = 1_000_000
HEADER_WITHIN = 20
COLUMNS = 1_000
SAMPLE = 64_000


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
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _json_lines(path, codec, options.region)
    return _headed(_csv(path, codec, options), options.kind)


def _headed(lines: Iterator[TableRow], kind: str, rows: int | None = None) -> Table:
    """The header is the row among the first with the most names that are known; titles above it are passed over."""
    first: list[TableRow] = []
    for line in lines:
        if line.fault or any(line.cells):
            first.append(line)
        if len(first) == HEADER_WITHIN:
            break
    if not first:
        raise Malformed("the file has no rows")
    known = [sum(bool(meaning(cell, kind)) for cell in line.cells) for line in first]
    at = (
        known.index(max(known))
        if any(known)
        else [len(line.cells) > 1 for line in first].index(True)
        if any(len(line.cells) > 1 for line in first)
        else 0
    )
    headers = _once([cell.strip() for cell in first[at].cells])
    if len(headers) > COLUMNS:
        raise Malformed(f"{len(headers)} columns, more than {COLUMNS}")

    def rest() -> Iterator[TableRow]:
        for line in first[at + 1 :]:
            yield _fitted(line, len(headers))
        for line in lines:
            if line.fault or any(line.cells):
                yield _fitted(line, len(headers))

    return Table(headers, rest(), rows)


def _once(headers: list[str]) -> list[str]:
    """Headers made unique: the second `Mail` is `Mail (2)`; one without a name is its number."""
    while headers and not headers[-1]:
        headers = headers[:-1]
    seen: dict[str, int] = {}
    made = []
    for place, header in enumerate(headers, start=1):
        header = header or f"column {place}"
        seen[header] = seen.get(header, 0) + 1
        made.append(header if seen[header] == 1 else f"{header} ({seen[header]})")
    return made


def _fitted(line: TableRow, width: int) -> TableRow:
    if line.fault:
        return line
    if any(line.cells[width:]):
        return TableRow(line.number, line.cells, f"has {len(line.cells)} cells, the header {width}")
    return TableRow(line.number, (line.cells + [""] * width)[:width], note=line.note)


def _bounded(opened: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while text := opened.readline(ROW_BYTES + 1):
        number += 1
        if len(text) > ROW_BYTES:
            raise Malformed(f"line {number} has more than {ROW_BYTES} characters: is this a table?")
        yield text.replace("\0", "")


def _csv(path: Path, codec: str, options: TableOptions) -> Iterator[TableRow]:
    with open_text(path, codec) as opened:
        begins = opened.tell()
        first = opened.readline(ROW_BYTES)
        delimiter = separator(first)
        skip = int(bool(delimiter))
        if not delimiter:
            opened.seek(begins)
            delimiter = delimiter_of(opened.read(SAMPLE), lambda cell: meaning(cell, options.kind))
        opened.seek(begins)
        notes: dict[int, str] = {}

        def lines() -> Iterator[str]:
            for number, text in enumerate(_bounded(opened), start=1):
                text, note = repaired(text, codec, options.region)
                if note:
                    notes[number] = note
                yield text

        for record in islice(records(lines(), delimiter), skip, None):
            note = "; ".join(notes.pop(n) for n in range(record.number, record.last + 1) if n in notes) if notes else ""
            yield TableRow(record.number, [cell.strip() for cell in record.cells], record.fault, note)


def _json_lines(path: Path, codec: str, region: str | None) -> Table:
    """The keys of the first hundred objects are the headers; later ones bring no new column."""
    headers: dict[str, None] = {}
    for count, (_, found, _) in enumerate(_objects(path, codec, region)):
        if isinstance(found, dict):
            headers.update(dict.fromkeys(found))
        if count >= 100 or len(headers) > COLUMNS:
            break
    if not headers:
        raise Malformed("no line is a JSON object; JSON lines have one a line")
    names = list(headers)[:COLUMNS]

    def lines() -> Iterator[TableRow]:
        for number, found, note in _objects(path, codec, region):
            if isinstance(found, dict):
                yield TableRow(number, [word(found.get(name)) for name in names], note=note)
            else:
                yield TableRow(number, [], found)

    return Table(names, lines())


def _objects(path: Path, codec: str, region: str | None) -> Iterator[tuple[int, dict[str, Any] | str, str]]:
    with open_text(path, codec) as opened:
        for number, text in enumerate(_bounded(opened), start=1):
            if not text.strip():
                continue
            text, note = repaired(text, codec, region)
            try:
                found = orjson.loads(text)
            except (orjson.JSONDecodeError, RecursionError) as error:
                yield number, f"is not JSON: {error}", note
                continue
            yield number, found if isinstance(found, dict) else "is not a JSON object", note
