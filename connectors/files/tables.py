"""Rows of a file, whatever wrote it: CSV with its quirks, workbooks by a process of their own, JSON lines. One row at a time.

The reader of signals calls it. Promise: whatever the bytes, only Malformed comes out; no text beyond ROW_BYTES is held.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from connectors.files.headers import meaning
from connectors.files.workbook import sheet_rows, word
from syncd.errors import Malformed

ROW_BYTES = 1_000_000
HEADER_WITHIN = 20
COLUMNS = 1_000
DELIMITERS = ",;\t|"
SAMPLE = 64_000


@dataclass(frozen=True)
class Line:
    """One row: where it stands and its cells as text. `fault`: why it cannot be read."""

    number: int
    cells: list[str]
    fault: str = ""


@dataclass(frozen=True)
class Table:
    """`headers` and the rows below them. `rows`: about how many there are, None when that is not known."""

    headers: list[str]
    lines: Iterator[Line]
    rows: int | None = None


def open_table(path: Path, kind: str, sheet: str = "") -> Table:
    """Raises Malformed for a file that is none, OSError for one that cannot be opened."""
    with path.open("rb") as opened:
        head = opened.read(8)
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        rows, found = sheet_rows(path, sheet)
        return _headed((Line(*row) for row in found), kind, rows)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _json_lines(path)
    return _headed(_csv(path), kind)


def _headed(lines: Iterator[Line], kind: str, rows: int | None = None) -> Table:
    """The header is the row among the first with the most names that are known; titles above it are passed over."""
    first: list[Line] = []
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

    def rest() -> Iterator[Line]:
        for line in first[at + 1 :]:
            yield _fitted(line, len(headers))
        for line in lines:
            if line.fault or any(line.cells):
                yield _fitted(line, len(headers))

    return Table(headers, rest(), rows)


def _once(headers: list[str]) -> list[str]:
    """Headers told apart: the second `Mail` is `Mail (2)`; one without a name is its number."""
    while headers and not headers[-1]:
        headers = headers[:-1]
    seen: dict[str, int] = {}
    made = []
    for place, header in enumerate(headers, start=1):
        header = header or f"column {place}"
        seen[header] = seen.get(header, 0) + 1
        made.append(header if seen[header] == 1 else f"{header} ({seen[header]})")
    return made


def _fitted(line: Line, width: int) -> Line:
    if line.fault:
        return line
    if any(line.cells[width:]):
        return Line(line.number, line.cells, f"has {len(line.cells)} cells, the header {width}")
    return Line(line.number, (line.cells + [""] * width)[:width])


def _text(path: Path) -> io.TextIOWrapper:
    """Opened as what it is: by its BOM, else UTF-8 if it is that throughout, else Windows-1252."""
    with path.open("rb") as opened:
        head = opened.read(4)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        else:
            encoding = "utf-8-sig" if _is_utf8(opened, head) else "cp1252"
    return path.open("r", encoding=encoding, errors="replace", newline="")


def _is_utf8(opened: BinaryIO, head: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    chunk = head
    try:
        while chunk:
            decoder.decode(chunk)
            chunk = opened.read(1 << 20)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _bounded(opened: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while text := opened.readline(ROW_BYTES + 1):
        number += 1
        if len(text) > ROW_BYTES:
            raise Malformed(f"line {number} has more than {ROW_BYTES} characters: is this a table?")
        yield text.replace("\0", "")


def _csv(path: Path) -> Iterator[Line]:
    with _text(path) as opened:
        sample = opened.read(SAMPLE)
        opened.seek(0)
        reader = csv.reader(_bounded(opened), delimiter=delimiter_of(sample))
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Line(number, [], f"cannot be read ({error}); is a quote left open?")
                continue
            yield Line(number, [cell.strip() for cell in cells])


def delimiter_of(sample: str) -> str:
    """The delimiter that gives the most rows of one width."""

    def worth(delimiter: str) -> tuple[int, int]:
        widths: dict[int, int] = {}
        try:
            for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
                widths[len(row)] = widths.get(len(row), 0) + 1
        except csv.Error:
            pass
        return max(((count, width) for width, count in widths.items() if width > 1), default=(0, 0))

    return max(DELIMITERS, key=worth)


def _json_lines(path: Path) -> Table:
    """The keys of the first hundred objects are the headers; later ones bring no new column."""
    headers: dict[str, None] = {}
    for count, (_, found) in enumerate(_objects(path)):
        if isinstance(found, dict):
            headers.update(dict.fromkeys(found))
        if count >= 100 or len(headers) > COLUMNS:
            break
    if not headers:
        raise Malformed("no line is a JSON object; JSON lines have one a line")
    names = list(headers)[:COLUMNS]

    def lines() -> Iterator[Line]:
        for number, found in _objects(path):
            if isinstance(found, dict):
                yield Line(number, [word(found.get(name)) for name in names])
            else:
                yield Line(number, [], found)

    return Table(names, lines())


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with _text(path) as opened:
        for number, text in enumerate(_bounded(opened), start=1):
            if not text.strip():
                continue
            try:
                found = orjson.loads(text)
            except (orjson.JSONDecodeError, RecursionError) as error:
                yield number, f"is no JSON: {error}"
                continue
            yield number, found if isinstance(found, dict) else "is no JSON object"
