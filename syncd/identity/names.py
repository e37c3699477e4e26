"""The order of names: which part of a full name is the family's, and how two parts are shown. Pure.

Family first: names in Chinese, Japanese or Korean characters everywhere; Vietnamese, Chinese, Korean, Japanese and Hungarian
names in Latin letters where the region says so and the name shows it (a family name known there, letters only Vietnamese has).
A western name keeps its order in every region. `Nguyễn Văn An` is (given `Văn An`, family `Nguyễn`); `王小明` is (`小明`, `王`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_FILLERS = frozenset(
    (
        *(
            "null",
            "Null",
            "NULL",
            "nil",
            "NIL",
            "nan",
            "NaN",
            "NAN",
            "<NA>",
            "NaT",
            "none",
            "None",
            "NONE",
            "undefined",
        ),
        *(
            "n/a",
            "N/A",
            "NA",
            "n.a.",
            "N.A.",
            "n. a.",
            "k.A.",
            "k. A.",
            "(null)",
            "[null]",
            "<null>",
            "(none)",
            "(blank)",
        ),
        *("(leer)", "(vide)", "(vacío)", "(空白)", "[object Object]"),
    )
)
"""What databases, data frames, scripts and pivot tables write where there is nothing. Case counts: `Nan` and `Na` are names."""
_ERROR_VALUE = re.compile(r"#[^\s\d]{1,15}[!?]?|#DIV/0!|[#*x]{3,}")
"""`#NV`, `#N/A`, `#NAME?`, `#¡VALOR!`, `####`: what a workbook shows instead of a value."""
_TAG = re.compile(r"</?[a-z][^<>@]{0,200}>", re.IGNORECASE)


def is_filler(text: str) -> bool:
    """Whether a text fills a field that is empty in truth: `NULL`, `NaN`, `N/A`, `-`, an error value or a formula."""
    text = text.strip()
    if text[:1].isalnum():  # nearly every text; none of the signs below begins so
        return text in _FILLERS
    if text in _FILLERS or text.startswith("="):
        return True
    error = bool(_ERROR_VALUE.fullmatch(text)) and text.upper() == text
    return error or (text.isascii() and not any(c.isalnum() for c in text))


def clean_name(text: str) -> str:
    """A name without tags, the list it was written in, and the mark of a handle; ``""`` for a filler."""
    if "<" in text:
        text = " ".join(_TAG.sub(" ", text).split())
    if text.startswith("[") and text.endswith("]"):
        text = _listed(text)
    if len(text) > 1 and ((text[0] == "@" and text[1].isalpha()) or (text[0] in "'’" and text[1].isupper())):
        text = text[1:]
    return "" if is_filler(text) else text


def _listed(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return " ".join(part.strip() for part in found if isinstance(part, str)) if isinstance(found, list) else text


_CJK = re.compile(r"[\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff々〆ー・·\s]+")
_HANGUL = re.compile(r"[\uac00-\ud7a3]+")
_KANA = re.compile(r"[\u3040-\u30ff]")
_VIETNAMESE = re.compile("[ạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹơư]", re.IGNORECASE)
"""Letters that no other language writes."""


def split_name(name: str, region: str | None = None) -> tuple[str, str]:
    """(given, family) of a full name. `Doe, Jane` -> (`Jane`, `Doe`); `Jane Doe` by the last word; family first as said above.
    A name whose parts cannot be distinguished is a family name."""
    name = " ".join(name.split())
    if name.isascii() and "," not in name and region not in _FAMILY_FIRST:
        first, _, last = name.rpartition(" ")
        return first, last
    if (name.count(",") + name.count("，")) == 1:
        last, first = (part.strip() for part in re.split("[,，]", name))
        if first and last and not _NOT_GIVEN.match(first):
            return first, last
    if _CJK.fullmatch(name):
        return _split_cjk(name, region)
    first, _, last = name.rpartition(" ")
    if first and _leads(name, region):
        family, _, given = name.partition(" ")
        return given, family
    return first, last


def in_order(name: str, region: str | None = None) -> str:
    """A full name as it is shown: `Müller, Jörg` as `Jörg Müller`; any other as it is (`Acme, Inc.`, `Ann Example, PhD`)."""
    if name.count(",") + name.count("，") != 1:
        return name
    family, given = (part.strip() for part in re.split("[,，]", name))
    if not family or not given or _NOT_GIVEN.match(given) or any(c.isdigit() or c in "@/()" for c in name):
        return name
    if len(family.split()) > 3 or len(given.split()) > 3:
        return name
    return joined(given, family, region)


_NOT_GIVEN = re.compile(
    r"(?:inc|ltd|llc|llp|gmbh|ag|kg|co|corp|s\.?a|s\.?r\.?l|b\.?v|plc|jr|sr|i{2,3}|ph\.?d|md|dr|esq|mba)\b",
    re.IGNORECASE,
)
"""Texts behind a comma that are not a given name."""


def joined(first: str, last: str, region: str | None = None) -> str:
    """A full name of its two parts, in the order and with the gap that its bearer uses."""
    if not (first and last):
        return first or last
    if _CJK.fullmatch(first) and _CJK.fullmatch(last):
        return f"{last}{first}"
    return f"{last} {first}" if _family_first(first, last, region) else f"{first} {last}"


def _leads(name: str, region: str | None) -> bool:
    """Whether the first word of a name in Latin letters is the family's."""
    words = name.split()
    head, tail = words[0].casefold(), words[-1].casefold()
    vietnamese = bool(_VIETNAMESE.search(name))
    if region == "VN" or vietnamese:
        ahead, behind = _has("vietnamese", head), _has("vietnamese", tail)
        if _has("vietnamese always", tail) and not _has("vietnamese always", head):
            return False
        if ahead:
            return vietnamese or _are_vietnamese(head, words[1:])
        return vietnamese and not behind
    if region == "HU":
        if _has("hungarian given", head) or head in _known("western given"):
            return False
        return _has("hungarian given", tail) or _has("hungarian", head)
    if (table := _table(region)) is None or (head in _known("western given") and head not in table):
        return False
    return head in table and not any(word.casefold() in _known("western given") - table for word in words[1:])


def _family_first(first: str, last: str, region: str | None) -> bool:
    """The same question, when the parts are known."""
    given, family = first.casefold().split(), last.casefold().split()[0]
    if _VIETNAMESE.search(first + last):
        return _has("vietnamese", family)
    if region == "VN":
        return _has("vietnamese", family) and _are_vietnamese(family, given)
    if region == "HU":
        hungarian = _has("hungarian given", given[0])
        return hungarian or (_has("hungarian", family) and given[0] not in _known("western given"))
    table = _table(region)
    return table is not None and family in table and not any(word in _known("western given") for word in given)


def _are_vietnamese(family: str, given: Sequence[str]) -> bool:
    """Whether given names without accents may be Vietnamese: by their syllables, or beside a family name that is nothing else."""
    if _has("vietnamese always", family):
        return not any(word.casefold() in _known("western given") for word in given)
    return all(_plain(word) in _known("vietnamese syllables") for word in given)


_TABLES = {
    **dict.fromkeys(("CN", "TW", "HK", "MO", "SG"), "chinese"),
    **dict.fromkeys(("KR", "KP"), "korean"),
    "JP": "japanese",
}
"""Region -> the family names of it in Latin letters."""
_FAMILY_FIRST = frozenset({*_TABLES, "VN", "HU"})
"""Where the family may come first in a name that is written in ASCII."""


def _table(region: str | None) -> frozenset[str] | None:
    return _known(_TABLES[region]) if region in _TABLES else None


@cache
def _known(table: str) -> frozenset[str]:
    """A table of family_names.txt."""
    found = _read_tables()[table]
    return found | _known("vietnamese always") if table == "vietnamese" else found


@cache
def _read_tables() -> dict[str, frozenset[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in Path(__file__).with_name("family_names.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(name, []).extend(line.split())
    return {name: frozenset(words) for name, words in found.items()}


def _plain(word: str) -> str:
    """Without accents."""
    bare = unicodedata.normalize("NFD", word.casefold().replace("đ", "d"))
    return "".join(c for c in bare if not unicodedata.combining(c))


def _has(table: str, word: str) -> bool:
    """Whether a table has the word; one that is written without accents may be any that differs in accents only."""
    word = unicodedata.normalize("NFC", word)
    return word in _known(table) or (word.isascii() and word in _bare(table))


@cache
def _bare(table: str) -> frozenset[str]:
    return frozenset(_plain(word) for word in _known(table))


def _split_cjk(name: str, region: str | None) -> tuple[str, str]:
    """By its blank, else by the family names that are known."""
    if "・" in name or "·" in name:  # a foreign name, in its own order
        first, _, last = re.sub("[・·]", " ", name).rpartition(" ")
        return first.strip(), last
    head, gap, tail = name.partition(" ")
    if gap:
        given_first = _is_family(tail) and not _is_family(head)
        return (head, tail) if given_first else (tail, head)
    size = _family_size(name, region)
    return (name[size:], name[:size]) if 0 < size < len(name) else ("", name)


def _is_family(word: str) -> bool:
    return (
        word in _known("han")
        or word in _known("han compound")
        or word in _known("japanese kanji")
        or word in _known("hangul compound")
    )


def _family_size(name: str, region: str | None) -> int:
    """How many characters the family name has; 0 when that is not known."""
    if _HANGUL.fullmatch(name):
        compound = name[:2] in _known("hangul compound") and len(name) > 2
        return (2 if compound else 1) if len(name) <= 4 else 0
    japanese = next((size for size in (3, 2, 1) if name[:size] in _known("japanese kanji")), 0)
    if region == "JP" or _KANA.search(name):
        return japanese
    if len(name) > 4:
        return 0
    if name[:2] in _known("han compound") and len(name) > 2:
        return 2
    if region not in _CHINESE_WRITTEN and len(name) == 4 and japanese > 1:
        return japanese
    return 1 if name[0] in _known("han") or region in _CHINESE_WRITTEN else 0


_CHINESE_WRITTEN = ("CN", "TW", "HK", "MO", "SG")
