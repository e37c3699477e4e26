"""Bytes of unknown encoding to text: lists, mail without a charset, forms. Pure.

Promise: what comes out is right or it is refused. A byte order mark decides, then a declared charset, then UTF-8 (with damaged
bytes, too), then evidence: how well the bytes read as names and words in each encoding. The region only lowers the bar for its
own encodings; it never outweighs the evidence. Two readings that differ and fit about equally are InDoubt.
"""

from __future__ import annotations

import codecs
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from syncd.connectors.charset_evidence import ENCODINGS, Reading, pieces, readings
from syncd.errors import Malformed

MARGIN = 7.5
"""The logarithm of how much more probable the best reading must be than any other that differs."""
HINT = 1.5
"""What the region is worth: far less than MARGIN, so that a wrong one does not mislead."""
STRANGE = 0.34
"""The share of characters that no language of the encoding explains, from which on nothing is believed."""

REGIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("VN",), ("cp1258",)),
    **dict.fromkeys(("CN", "SG"), ("gb18030",)),
    **dict.fromkeys(("TW", "HK", "MO"), ("big5hkscs",)),
    **dict.fromkeys(("JP",), ("cp932", "euc_jp")),
    **dict.fromkeys(("KR",), ("cp949",)),
    **dict.fromkeys(
        ("RU", "UA", "BG", "BY", "RS", "MK", "KZ", "KG", "MD"), ("cp1251", "koi8_r", "koi8_u", "cp866", "mac_cyrillic")
    ),
    **dict.fromkeys(
        ("PL", "CZ", "SK", "HU", "RO", "MD", "HR", "SI", "BA", "ME", "AL"), ("cp1250", "iso8859_2", "cp852")
    ),
    **dict.fromkeys(("TR", "AZ"), ("cp1254", "iso8859_9", "cp857")),
    **dict.fromkeys(("GR", "CY"), ("cp1253", "iso8859_7", "cp737")),
    **dict.fromkeys(("IL",), ("cp1255", "iso8859_8", "cp862")),
    **dict.fromkeys(
        (
            "AE",
            "BH",
            "DZ",
            "EG",
            "IQ",
            "IR",
            "JO",
            "KW",
            "LB",
            "LY",
            "MA",
            "OM",
            "PK",
            "QA",
            "SA",
            "SD",
            "SY",
            "TN",
            "YE",
        ),
        ("cp1256", "iso8859_6"),
    ),
    **dict.fromkeys(("EE", "LT", "LV"), ("cp1257", "iso8859_13", "cp775")),
    **dict.fromkeys(("TH",), ("cp874",)),
}
"""Country (ISO 3166) -> the encodings that its programs write; every other country: WESTERN."""
WESTERN = ("cp1252", "iso8859_15", "mac_roman", "cp850", "cp437")

ALIASES: dict[str, str] = {
    **dict.fromkeys(
        ("us-ascii", "ascii", "ansi_x3.4-1968", "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "ansi"),
        "cp1252",
    ),
    **dict.fromkeys(("gb2312", "gbk", "gb_2312-80", "x-gbk", "cp936", "windows-936", "euc-cn", "hz-gb"), "gb18030"),
    **dict.fromkeys(("big5", "cn-big5", "x-x-big5", "cp950", "big5-hkscs", "windows-950"), "big5hkscs"),
    **dict.fromkeys(
        ("shift_jis", "shift-jis", "sjis", "x-sjis", "ms_kanji", "windows-31j", "windows-932", "ms932"), "cp932"
    ),
    **dict.fromkeys(
        ("euc-kr", "euckr", "ks_c_5601-1987", "ks_c_5601", "ksc5601", "korean", "windows-949", "uhc", "ms949"), "cp949"
    ),
    **dict.fromkeys(("iso-8859-9", "iso8859-9", "latin5"), "cp1254"),
    **dict.fromkeys(("iso-8859-11", "tis-620", "tis620", "windows-874"), "cp874"),
    **dict.fromkeys(("iso-8859-8-i", "iso-8859-8-e"), "iso8859_8"),
    **dict.fromkeys(("iso-2022-jp", "iso-2022-jp-1", "csiso2022jp", "cp50220", "cp50221"), "iso2022_jp_ext"),
    **dict.fromkeys(("macintosh", "x-mac-roman", "mac"), "mac_roman"),
    **dict.fromkeys(("x-mac-cyrillic", "x-mac-ukrainian"), "mac_cyrillic"),
    **dict.fromkeys(("unicode-1-1-utf-8", "x-unicode20utf8", "utf8mb4", "utf-8-sig"), "utf-8"),
    **dict.fromkeys(("unicode", "ucs-2", "utf-16"), "utf-16"),
}
"""Charset names -> the Python codec that reads what programs mean by them (the supersets of the WHATWG Encoding Standard)."""
_NO_GUESS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""In this order: the mark of UTF-32 begins with that of UTF-16."""
_ESCAPES = (
    (re.compile(rb"\x1b\$(?:[@B]|\([DOPQ])|\x1b\([IJ]"), "iso2022_jp_ext"),
    (re.compile(rb"\x1b\$\)C"), "iso2022_kr"),
)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


class InDoubt(Malformed):
    """No encoding, or more than one, fits the bytes. `candidates`: the codecs that came closest, best first."""

    def __init__(self, why: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.candidates = candidates


@dataclass(frozen=True)
class Damage:
    """Bytes that the encoding does not define. `at`: their offset, `line`: from 1, `read`: the text put in their place."""

    at: int
    line: int
    raw: bytes
    read: str


@dataclass(frozen=True)
class Decoded:
    """`encoding`: the Python codec; `how`: what decided."""

    text: str
    encoding: str
    how: Literal["ascii", "bom", "declared", "utf-8", "escapes", "zeros", "evidence", "fallback"]
    damage: tuple[Damage, ...] = ()


def codec_of(charset: str) -> str:
    """The Python codec of a charset's name, ``""`` for an unknown one and for codecs that are not charsets (zip, rot13)."""
    name = charset.strip().strip("\"'").lower().partition("*")[0]
    name = ALIASES.get(name) or ALIASES.get(name.replace("_", "-")) or name
    try:
        found = codecs.lookup(name).name
        "".encode(found)
        b"".decode(found)
    except (LookupError, UnicodeError, ValueError):
        return ""
    return ALIASES.get(found, found)


def decode(
    data: bytes, *, declared: str | None = None, region: str | None = None, fallback: str | None = None
) -> Decoded:
    """Text of `data`. `declared`: the charset that came with it, taken unless the bytes contradict it; `region`: ISO 3166.

    Raises InDoubt when no reading is clearly the best; with a `fallback` codec it reads by that instead. Bytes that the encoding
    does not define are replaced and listed in `damage`; nothing else is changed, except that Vietnamese is composed (NFC).
    """
    try:
        encoding, how = detect(data, declared=declared, region=region)
    except InDoubt:
        if fallback is None:
            raise
        encoding, how = codec_of(fallback) or "cp1252", "fallback"
    for mark, codec in _BOMS:
        if codec == encoding and data.startswith(mark):
            data = data[len(mark) :]
            break
    text, damage = read_as(data, encoding, region)
    return Decoded(text, encoding, how, damage)


_How = Literal["ascii", "bom", "declared", "utf-8", "escapes", "zeros", "evidence", "fallback"]


def detect(data: bytes, *, declared: str | None = None, region: str | None = None) -> tuple[str, _How]:
    """(codec, what decided). A sample will do, if it holds the lines that are not ASCII. Raises InDoubt."""
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return codec, "bom"
    if zeros := _by_zeros(data):
        return zeros, "zeros"
    for escape, codec in _ESCAPES:
        if escape.search(data):
            return codec, "escapes"
    said = codec_of(declared) if declared else ""
    if said and _declared_fits(data, said, (declared or "").strip().lower()):
        return said, "declared"
    if data.isascii():
        return "utf-8", "ascii"
    if _is_utf8(data):
        return "utf-8", "utf-8"
    if said and (said != "utf-8" or _MULTIBYTE.search(data)):
        return said, "declared"
    try:
        return by_evidence(data, region), "evidence"
    except InDoubt:
        if not said:
            raise
        return said, "declared"


def read_as(data: bytes, codec: str, region: str | None = None) -> tuple[str, tuple[Damage, ...]]:
    """The text in a known encoding and what is damaged in it. A lone byte in UTF-8 is read by the region's own encoding."""
    try:
        return _composed(data.decode(codec), codec), ()
    except UnicodeDecodeError:
        pass
    except UnicodeError:  # utf-7, utf-16 without its half
        return data.decode("utf-8", "replace"), (Damage(0, 1, b"", ""),)
    found: list[Damage] = []
    text: list[str] = []
    at, line = 0, 1
    while at < len(data):
        try:
            text.append(data[at:].decode(codec))
            break
        except UnicodeDecodeError as error:
            start, end = at + error.start, at + max(error.end, error.start + 1)
        text.append(data[at:start].decode(codec))
        line += data.count(b"\n", at, start)
        around = data[max(0, start - 1) : start].decode("latin-1"), data[end : end + 1].decode("latin-1")
        put = put_for(data[start:end], *around, region) if codec == "utf-8" else "\ufffd"
        found.append(Damage(start, line, data[start:end], put))
        text.append(put)
        at = end
    return _composed("".join(text), codec), tuple(found)


def undoubled(text: str) -> str:
    """`JÃ¶rg` as `Jörg`: UTF-8 that was read as Windows-1252 and written as UTF-8. Only a text whose every character goes back
    to UTF-8; any other stays as it is."""
    try:
        return b"".join(_byte(c) for c in text).decode()
    except UnicodeError:
        return text


def _byte(char: str) -> bytes:
    """The byte of a character in Windows-1252; the five bytes that it leaves open are control characters, as in browsers."""
    return bytes([ord(char)]) if "\x80" <= char < "\xa0" else char.encode("cp1252")


def by_evidence(data: bytes, region: str | None = None) -> str:
    """The codec of one or two bytes a character in which the bytes read best. Raises InDoubt."""
    raw = pieces(data)
    hinted = REGIONS.get((region or "").upper(), WESTERN) if region else ()
    found = readings(raw)
    if not found:
        raise InDoubt("the encoding is not known: no usual one defines all of its bytes; say which with encoding:")

    def worth(reading: Reading) -> float:
        return reading.worth + (HINT if reading.encoding.codec in hinted else 0.0)

    found.sort(key=worth, reverse=True)
    best = found[0]
    rival = next((other for other in found[1:] if other.texts != best.texts), None)
    names = tuple(reading.encoding.codec for reading in (best, rival) if reading is not None)
    lead = worth(best) - worth(rival) if rival is not None else math.inf
    if best.strange > STRANGE:
        raise InDoubt(
            f"the encoding is not known: its letters make no known words ({_shown(best)}); say which with encoding:",
            names,
        )
    if rival is not None and lead < MARGIN * (2 if _by_foreign_words(best, rival) else 1):
        raise InDoubt(
            f"the encoding is not clear: {_differing(best, rival)} fit about equally; say which with encoding:",
            names,
        )
    return best.encoding.codec


def _by_foreign_words(best: Reading, rival: Reading) -> bool:
    """Whether the readings differ in words only that are in another language than the rest of the list, such as one Turkish
    word among Swedish names: such evidence counts half."""
    return all(foreign for a, b, foreign in zip(best.texts, rival.texts, best.foreign, strict=True) if a != b)


def _differing(one: Reading, other: Reading) -> str:
    pairs = ((a, b) for a, b in zip(one.texts, other.texts, strict=True) if a != b)
    a, b = next(pairs)
    return f"{one.encoding.codec} ({a[:30]!r}) and {other.encoding.codec} ({b[:30]!r})"


def _shown(reading: Reading) -> str:
    return f"as {reading.encoding.codec}: {', '.join(text[:20] for text in reading.texts[:3])}"


def _composed(text: str, codec: str) -> str:
    return unicodedata.normalize("NFC", text) if codec == "cp1258" else text


def _declared_fits(data: bytes, said: str, name: str) -> bool:
    """Whether the bytes agree with their charset. ASCII says nothing about bytes beyond it, and UTF-8 shows what it is."""
    if said == "utf-8" or (name in ("us-ascii", "ascii", "ansi_x3.4-1968") and not data.isascii()):
        return False
    try:
        data.decode(said)
    except UnicodeError:
        return said in _NO_GUESS
    return said in _NO_GUESS or len(_MULTIBYTE.findall(data)) < 3 or bool(_BAD.search(_MULTIBYTE.sub(b"", data)))


def _by_zeros(data: bytes) -> str:
    """UTF-16 without its mark: of what is ASCII in it, at least blanks and line ends, every second byte is zero. Zeros at the end
    fill up a file."""
    head = data[:4096].rstrip(b"\0")
    if len(data) < 8 or b"\0" not in head:
        return ""
    even, odd = head[::2].count(0), head[1::2].count(0)
    for codec, more, less in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if less * 20 <= more and (more > 0.3 * len(head) / 2 or (not less and more > 2 and _reads(head, codec))):
            return codec
    return ""


def _reads(head: bytes, codec: str) -> bool:
    """Whether the beginning of a text has lines of assigned characters in a codec."""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError:
        return False
    return "\n" in text and not any(unicodedata.category(char) in ("Cn", "Co") for char in text)


def _is_utf8(data: bytes) -> bool:
    """UTF-8 throughout, or with a few damaged bytes among far more good characters."""
    good = _MULTIBYTE.findall(data)
    if not good:
        return False
    rest = _MULTIBYTE.sub(b"\x01", data)
    if bad := len(_BAD.findall(rest)):
        return len(good) >= 3 and len(good) > 2 * bad and (len(good) > 9 or not _BESIDE_GOOD.search(rest))
    if len(good) > 6 or any(len(one) > 2 for one in good):
        return True
    text = data.decode("utf-8", "replace")
    if any(undoubled(word) != word for word in text.split()):
        return True
    words = re.findall(r"[^\W\d_]+", text)
    return all(len({_script(c) for c in word if not c.isascii()}) < 2 and _plain(word) for word in words)


_BAD = re.compile(rb"[\xe0-\xf4][\x80-\xbf]{1,2}|[\x80-\xff]")
_BESIDE_GOOD = re.compile(rb"\x01[\x80-\xff]|[\x80-\xff]\x01")
"""Damage in text of a few characters stands alone; beside good ones it is a text of two bytes a character."""


def _script(char: str) -> str:
    return unicodedata.name(char, "?").partition(" ")[0]


def _plain(word: str) -> bool:
    """Not Greek, Cyrillic, … beside Latin letters in one word."""
    return word.isascii() or len({_script(c) for c in word}) < 2


def put_for(raw: bytes, before: str, after: str, region: str | None) -> str:
    """What damaged bytes inside UTF-8 text are read as: a lone byte in a word as a letter of the region's single-byte encoding,
    else U+FFFD."""
    if len(raw) != 1 or not (before.isalpha() or after.isalpha()):
        return "\ufffd"
    for codec in (REGIONS.get((region or "").upper(), WESTERN)[0], "cp1252"):
        char = raw.decode(codec, "replace")
        if len(char) == 1 and unicodedata.category(char)[0] == "L" and _script(char) == "LATIN":
            return char
    return "\ufffd"


def encodings() -> Iterable[str]:
    """The codecs that evidence is sought for."""
    return (each.codec for each in ENCODINGS)
