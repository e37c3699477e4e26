"""Workbooks that are text in truth: web pages and XML (SpreadsheetML 2003) that programs save under the name .xls.

The reader of workbooks asks, in its own process. Promise: rows, or Malformed that says what the file is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lxml import etree, html

from syncd.connectors.charsets import decode
from syncd.errors import Malformed

MARKUP = re.compile(rb"\s*<(?:!doctype html|html|head|meta|body|table|style|\?xml|workbook|\?mso|!--)", re.IGNORECASE)
"""What such a file begins with, behind a byte order mark."""
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BEGIN:VCARD", "a vCard file"),
    (b"MIME-Version:", "a web archive (MHTML)"),
    (b"SQLite format 3", "an SQLite database"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
"""How files begin that hold no table which can be read, and what they are."""
ADVICE = "open it in the program it is from and save the list as CSV or XLSX"
SPREADSHEET = "urn:schemas-microsoft-com:office:spreadsheet"
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def is_markup(head: bytes) -> bool:
    """Whether a file that begins so is a web page or XML."""
    for mark in _BOMS:
        head = head.removeprefix(mark)
    return MARKUP.match(head.replace(b"\0", b"")) is not None


def other_kind(head: bytes) -> str:
    """What a file is that does not hold a table, judged by its beginning; ``""`` for any that may hold one."""
    return next((kind for begins, kind in OTHERS if head.startswith(begins)), "")


def markup_rows(path: str, wanted: str, encoding: str = "", region: str = "") -> list[list[str]]:
    """The rows of the table in a web page, or of a sheet in XML. Raises Malformed."""
    data = Path(path).read_bytes()
    head = data[:2000].replace(b"\0", b"")
    if b"<?xml" in head and b"<html" not in head.lower():
        return _sheet(data, wanted)
    said = re.search(rb"charset=[\"']?([\w-]+)", head, re.IGNORECASE)
    declared = encoding or (said[1].decode() if said else None)
    text = decode(data, declared=declared, region=region or None, fallback="cp1252").text
    try:
        page = html.document_fromstring(text, parser=html.HTMLParser(no_network=True))
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise Malformed(f"is a web page, and cannot be read: {error}; {ADVICE}") from None
    tables = [rows for table in page.iter("table") if (rows := list(_rows(table)))]
    if not tables:
        raise Malformed(f"is a web page without a table; {ADVICE}")
    return max(tables, key=lambda rows: sum(len(row) > 1 for row in rows))


def _rows(table: etree._Element) -> Iterator[list[str]]:
    """Those of the table itself, not of tables inside its cells."""
    for row in table.iter("tr"):
        if next(row.iterancestors("table")) is not table:
            continue
        cells: list[str] = []
        for cell in row.iterchildren("td", "th"):
            for br in cell.iter("br"):
                br.tail = f"\n{br.tail or ''}"
            lines = (" ".join(line.split()) for line in "".join(cell.itertext()).split("\n"))
            cells.append("\n".join(filter(None, lines)))
            cells.extend([""] * (_number(cell.get("colspan"), 1) - 1))
        yield cells


def _sheet(data: bytes, wanted: str) -> list[list[str]]:
    """Rows of SpreadsheetML: the sheet of that name, else the first that has rows and is not hidden."""
    try:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, recover=True))
    except etree.XMLSyntaxError as error:
        raise Malformed(f"is XML that cannot be read: {error}; {ADVICE}") from None
    if root is None or SPREADSHEET not in root.nsmap.values():
        name = etree.QName(root).localname if root is not None else "nothing"
        raise Malformed(f"is XML of another kind (<{name}>); {ADVICE}")
    sheets = root.findall(f"{{{SPREADSHEET}}}Worksheet")
    names = [str(sheet.get(f"{{{SPREADSHEET}}}Name")) for sheet in sheets]
    if wanted and wanted not in names:
        raise Malformed(f"no sheet {wanted!r}; there are: {', '.join(names)}")
    for sheet, name in zip(sheets, names, strict=True):
        hidden = (sheet.findtext(".//{*}WorksheetOptions/{*}Visible") or "").startswith("Sheet")
        if name == wanted or (not wanted and not hidden):
            rows = list(_cells(sheet))
            if rows or wanted:
                return rows
    return []


def _cells(sheet: etree._Element) -> Iterator[list[str]]:
    at = 0
    for row in sheet.iterfind(".//{*}Table/{*}Row"):
        index = _number(row.get(f"{{{SPREADSHEET}}}Index"), at + 1)
        yield from ([] for _ in range(min(index - at - 1, 1000)))
        at = index
        cells: list[str] = []
        for cell in row.iterfind("{*}Cell"):
            place = min(_number(cell.get(f"{{{SPREADSHEET}}}Index"), len(cells) + 1), 1001)
            cells.extend([""] * (place - len(cells) - 1))
            data = cell.find("{*}Data")
            kind = data.get(f"{{{SPREADSHEET}}}Type") if data is not None else ""
            cells.append(_said("".join(data.itertext()) if data is not None else "", str(kind)))
            cells.extend([""] * min(_number(cell.get(f"{{{SPREADSHEET}}}MergeAcross"), 0), 1000))
        yield cells


def _said(text: str, kind: str) -> str:
    """As a cell of any other workbook: no `.0`, no time at midnight, true and false, no error values."""
    text = text.strip()
    if kind == "Number":
        return re.sub(r"\.0+$", "", text)
    if kind == "DateTime":
        return re.sub(r"T00:00:00(?:\.0+)?$", "", text)
    if kind == "Boolean":
        return {"1": "true", "0": "false"}.get(text, text)
    return "" if kind == "Error" else text


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() and len(text) < 8 else default
