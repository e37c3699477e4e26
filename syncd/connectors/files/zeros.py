"""Leading zeros that only the number format of an XLSX cell shows: 1234 in the format 00000 is 01234. Read from the file's XML.

The reader of workbooks asks, in its own process. Promise: a workbook without such formats costs one look at its styles.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from lxml import etree

Masks = dict[tuple[int, int], str]
"""(row, column), from 0 -> the format of zeros."""
_MASK = re.compile(r"[0 ()/-]*0[0 ()/-]*0[0 ()/-]*")
_CELL = re.compile(r"([A-Z]+)(\d+)")


def masks(path: str, sheet: str) -> Masks:
    """The cells of a sheet that have a format of zeros alone. {} for files that are not XLSX, or are damaged."""
    try:
        with zipfile.ZipFile(path) as packed:
            styles = _zero_styles(packed)
            return dict(_cells(packed, _part(packed, sheet), styles)) if styles else {}
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError, etree.XMLSyntaxError, OSError, NotImplementedError):
        return {}


def shown(number: float, mask: str) -> str:
    """A whole number as the format shows it: 1234 in 00000 is 01234, 123456789 in 00000-0000 is 12345-6789."""
    digits, made = list(str(int(number))), []
    for char in reversed(mask):
        made.append((digits.pop() if digits else "0") if char == "0" else char)
    return "".join((*digits, *reversed(made)))


def _zero_styles(packed: zipfile.ZipFile) -> dict[str, str]:
    """Style index -> its format of zeros."""
    root = etree.fromstring(packed.read("xl/styles.xml"), _parser())
    custom: dict[str, str] = {}
    for each in root.iterfind(".//{*}numFmt"):
        code = re.sub(r'\[[^\]]*\]|[\\"]', "", str(each.get("formatCode")).partition(";")[0]).strip()
        if _MASK.fullmatch(code):
            custom[str(each.get("numFmtId"))] = code
    formats = root.find("{*}cellXfs")
    if not custom or formats is None:
        return {}
    kinds = [str(each.get("numFmtId")) for each in formats.iterfind("{*}xf")]
    return {str(index): custom[kind] for index, kind in enumerate(kinds) if kind in custom}


def _part(packed: zipfile.ZipFile, sheet: str) -> str:
    """The part of the package that a sheet is in."""
    book = etree.fromstring(packed.read("xl/workbook.xml"), _parser())
    named = next(each for each in book.iterfind(".//{*}sheet") if each.get("name") == sheet)
    wanted = next(value for name, value in named.attrib.items() if str(name).endswith("}id"))
    links = etree.fromstring(packed.read("xl/_rels/workbook.xml.rels"), _parser())
    target = next(str(each.get("Target")) for each in links if each.get("Id") == wanted)
    return target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)


def _cells(packed: zipfile.ZipFile, part: str, styles: dict[str, str]) -> Iterator[tuple[tuple[int, int], str]]:
    with packed.open(part) as opened:
        for _, row in etree.iterparse(opened, tag="{*}row", resolve_entities=False, no_network=True):
            for cell in row.iterfind("{*}c"):
                mask = styles.get(str(cell.get("s")))
                if mask and cell.get("t") in (None, "n") and (place := _CELL.fullmatch(str(cell.get("r")))):
                    yield (int(place[2]) - 1, _column(place[1])), mask
            row.clear()
            while row.getprevious() is not None:
                del row.getparent()[0]


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
