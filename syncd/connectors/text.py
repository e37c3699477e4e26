"""Bytes of any mail to clean text: charsets, encoded words, HTML. `message` and `bounces` call it.

Pure. Nothing here raises on any input or takes more than linear time; what cannot be decoded becomes U+FFFD.
All text returned is free of NUL, other control characters and lone surrogates, so every store and JSON takes it.
"""

from __future__ import annotations

import base64
import codecs
import quopri
import re
from collections.abc import Sequence
from html import unescape
from typing import Any

from syncd.connectors.charsets import InDoubt, detect

MIME_FAULTS = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError, ArithmeticError)
"""What the standard library's mail code raises on broken input (UnicodeError, IndexError, KeyError, binascii.Error are
among these)."""

HTML_CAP = 400_000
"""Characters of HTML that are rendered; a person's mail is far below, and what is behind it is markup or quotes."""

_CHARSETS = {
    # Names that mails use and Python does not know, or knows too narrowly (WHATWG Encoding, "names and labels").
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601-1989": "cp949",
    "euc-kr": "cp949",
    "big5": "big5hkscs",
    "big5-hkscs": "big5hkscs",
    "cn-big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "csbig5": "big5hkscs",
    "cp-850": "cp850",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "win-1251": "cp1251",
    "koi8": "koi8_r",
    "koi": "koi8_r",
    "gb_2312-80": "gb18030",
    "gb2312-80": "gb18030",
    "csgb2312": "gb18030",
    "chinese": "gb18030",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "tis-620": "cp874",
    "x-euc-jp": "euc_jp",
    "unicode-1-1-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "utf8mb4": "utf-8",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "tcvn": "cp1258",
    "viscii": "cp1258",
}
SAYS_NOTHING = frozenset({"us-ascii", "ascii", "ansi_x3.4-1968", "unknown-8bit", "8bit", "default"})
"""Charsets that programs name when they do not know it: of bytes beyond ASCII they say nothing."""
_EVIDENCE_CAP = 10_000  # bytes of noise in no charset cost the most, and this is a letter of two pages
_NOT_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
_CHARSET_NAME = re.compile(r"[a-z0-9][a-z0-9._:-]{0,39}")
_UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_META = re.compile(
    rb"<meta\b[^<>]{0,500}?\bcharset\s*=\s*[\"']?\s*([\w.:-]{2,40})|<\?xml\b[^<>]{0,200}?\bencoding\s*=\s*[\"']([\w.:-]{2,40})",
    re.IGNORECASE,
)
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")


def clean(text: str) -> str:
    """Line ends as `\\n`, no control characters but newline and tab, lone surrogates as U+FFFD."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.replace("\n", "").replace("\t", "").isprintable():  # most texts, and much faster than the search
        return text
    return _UNCLEAN.sub(lambda found: "\ufffd" if "\ud800" <= found[0] <= "\udfff" else "", text)


def one_line(text: str) -> str:
    """Clean text with every run of white space as one blank."""
    return " ".join(clean(text).split())


def codec_of(charset: str) -> str:
    """The Python codec for a mail's charset name, ``""`` for an unknown or unsafe one."""
    name = charset.strip().strip("\"'").lower().partition("*")[0]
    if not _CHARSET_NAME.fullmatch(name):
        return ""
    try:
        found = codecs.lookup(_CHARSETS.get(name, name)).name
        bytes(4).decode(found)  # refuses the codecs that are not charsets (zip, rot13)
    except (LookupError, ValueError):
        return ""
    return "" if found.replace("-", "_") in _NOT_CHARSETS else found


def decode(raw: bytes, charset: str = "", region: str | None = None) -> str:
    """Text of bytes said to be in `charset`: as said if that fits, else UTF-8 if it fits, else as said with holes. Where nothing
    is said of bytes beyond ASCII, the evidence of the bytes decides, with the `region` (ISO 3166) as a hint; Windows-1252 where
    that is not clear. UTF-8 is tried before the single-byte charsets, which fit anything."""
    said = codec_of(charset)
    if charset.strip().strip("\"'").lower() in SAYS_NOTHING:
        said = ""
    if _ESCAPES.search(raw) and (said in {"", "cp1252", "utf-8"} or said.startswith("iso2022")):
        return _iso2022(raw)
    guesses = ("utf-8", said) if said in {"", "cp1252", "utf-8"} else (said, "utf-8")
    for codec in filter(None, guesses):
        try:
            return raw.decode(codec)
        except ValueError:
            continue
    try:
        return raw.decode(said or evident_codec(raw, region), "replace")
    except ValueError:
        return raw.decode("latin-1")


# ISO 2022 switches of Japanese, Korean and Chinese (RFC 1468, 1554, 1557, 1922): seven-bit text that no person writes.
_ESCAPES = re.compile(rb"\x1b(?:\$[@AB]|\$\([A-DOPQ]|\$\)[ACG]|\([BIJ])")
_JIS = re.compile(rb"\x1b(\$[@B]|\$\([A-DOPQ]|\([BIJ])")


def _iso2022(raw: bytes) -> str:
    """Text of seven-bit bytes with escape sequences. Python's codecs refuse the row of circled numbers and ㈱ that Windows
    programs send; those segments are read as EUC, which has it."""
    for codec in ("iso2022_kr",) if b"\x1b$)C" in raw else ("iso2022_jp_2", "iso2022_jp_ext"):
        try:
            return raw.decode(codec)
        except ValueError:
            continue
    mode, text = b"", ""
    for at, piece in enumerate(_JIS.split(raw)):
        if at % 2:
            mode = piece
        elif mode in {b"$@", b"$B"}:
            text += bytes(byte | 0x80 if byte > 0x20 else byte for byte in piece).decode("euc_jis_2004", "replace")
        elif mode == b"(I":
            text += bytes(byte | 0x80 for byte in piece).decode("cp932", "replace")
        else:
            text += piece.decode("ascii", "replace")
    return text


def evident_codec(raw: bytes, region: str | None = None) -> str:
    """The codec in which bytes of an unnamed charset read best; Windows-1252 where that is not clear."""
    sample = raw if len(raw) <= _EVIDENCE_CAP else raw[: raw.rfind(b"\n", 0, _EVIDENCE_CAP) + 1] or raw[:_EVIDENCE_CAP]
    try:
        return detect(sample, region=region)[0]
    except InDoubt:
        return "cp1252"


def clean_header(value: str, hints: Sequence[str] = ()) -> str:
    """One clean line from a header's value as the parser keeps it: 8-bit bytes as surrogates, folding. Bytes that are no
    UTF-8 are read in the first of the `hints` (names of charsets) that fits."""
    if value.isascii() and "\x1b" not in value:
        return one_line(value)
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except ValueError:  # surrogates that stand for no byte
        return one_line(value)
    for codec in () if _ESCAPES.search(raw) else ("utf-8", *filter(None, map(codec_of, hints))):
        try:
            return one_line(raw.decode(codec))
        except ValueError:
            continue
    return one_line(decode(raw))


def html_charset(raw: bytes) -> str:
    """The charset that an HTML page names itself (HTML Standard, "determining the character encoding"), ``""`` for none. A
    page that can be read so far is not in UTF-16, whatever it says."""
    found = _META.search(raw, 0, 8192)
    name = (found[1] or found[2]).decode("ascii", "ignore") if found else ""
    return "utf-8" if name.lower().startswith("utf-16") else name


def word_charsets(value: str) -> tuple[str, ...]:
    """The charsets that the encoded words of a header name."""
    return tuple(dict.fromkeys(word[1].lower() for word in _WORD.finditer(value)))


def decode_header(value: str) -> str:
    """As `clean_header`, with encoded words (RFC 2047) read.

    Adjacent words of one charset are joined as bytes first: senders split them inside a character.
    """
    plain = clean_header(value)
    if "=?" not in plain:
        return plain
    pieces: list[tuple[str, bytes | str]] = []
    end = 0
    for word in _WORD.finditer(plain):
        between = plain[end : word.start()]
        if between.strip() or not pieces:
            pieces.append(("", between))
        raw = _word_bytes(word[2], word[3])
        if pieces and pieces[-1][0] == word[1].lower() and isinstance(pieces[-1][1], bytes):
            pieces[-1] = (word[1].lower(), pieces[-1][1] + raw)
        else:
            pieces.append((word[1].lower(), raw))
        end = word.end()
    pieces.append(("", plain[end:]))
    return one_line("".join(part if isinstance(part, str) else decode(part, charset) for charset, part in pieces))


def _word_bytes(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if encoding in "bB":
        return unbase64(raw)
    return quopri.decodestring(raw.replace(b"_", b" "), header=False)


def unbase64(raw: bytes) -> bytes:
    """Lenient base64: foreign characters skipped, missing padding added, a dangling last character dropped."""
    kept = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    if len(kept) % 4 == 1:
        kept = kept[:-1]
    return base64.b64decode(kept + b"=" * (-len(kept) % 4))


def html_to_text(html: str) -> str:
    """What a person would read of an HTML body. Over-long HTML is cut, and HTML that the renderer refuses loses its tags."""
    import inscriptis  # lxml: 10 MB that only mailboxes pay for
    from lxml.etree import LxmlError

    html = clean(html)[:HTML_CAP]
    lowered = html.lower()
    if "colspan" in lowered or "rowspan" in lowered:
        html = _SPANS.sub("", html)
    try:
        text = inscriptis.get_text(html, _renderer())
    except (*MIME_FAULTS, LxmlError, SyntaxError, MemoryError):
        text = strip_tags(html)
    return tidy(text)


def rendered(tree: Any) -> str:
    """The text of a parsed HTML element, untidied. Raises what inscriptis raises."""
    from inscriptis import Inscriptis

    return str(Inscriptis(tree, _renderer()).get_text())


_SPANS = re.compile(r"\b(?:col|row)span\s*=\s*[\"']?\d{3,}[\"']?", re.IGNORECASE)  # absurd spans cost a renderer dearly


def _renderer() -> Any:
    from inscriptis.model.config import ParserConfig

    return ParserConfig(display_images=False, display_links=False)


def strip_tags(html: str) -> str:
    """Text of HTML without any understanding of it; linear."""
    html = re.sub(r"<(script|style|head)\b[^<]*(?:<(?!/\1)[^<]*)*</\1[^>]*>", " ", html, flags=re.IGNORECASE)
    html = re.sub(r"<(?:br|/p|/div|/tr|/li|/h\d)\b[^<>]*>", "\n", html, flags=re.IGNORECASE)
    return unescape(re.sub(r"<[^<>]*>", " ", html))


def tidy(text: str) -> str:
    """Clean text without trailing blanks and with at most one empty line in a row."""
    lines: list[str] = []
    for line in clean(text).replace("\xa0", " ").split("\n"):
        line = line.rstrip()
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip("\n")


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the last an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
