"""Compressed RTF of Outlook ([MS-OXRTFCP]) and the plain text of RTF. `tnef` calls it.

Pure, bounded and total: formatting is left out, damaged RTF gives what could be read.
"""

from __future__ import annotations

import re

_CAP = 4_000_000
_UNCOMPRESSED = b"MELA"
_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans Serif"
    b"SymbolArial"
    b"Times New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)


def unpacked(data: bytes) -> bytes:
    """The RTF of a PR_RTF_COMPRESSED; ``b""`` for any other bytes."""
    if len(data) < 16:
        return b""
    size = min(int.from_bytes(data[4:8], "little"), _CAP)
    if data[8:12] == _UNCOMPRESSED:
        return data[16 : 16 + size]
    window = bytearray(_DICTIONARY.ljust(4096, b"\0"))
    write = len(_DICTIONARY)
    out = bytearray()
    at = 16
    while at < len(data) and len(out) < size:
        control = data[at]
        at += 1
        for bit in range(8):
            if at >= len(data) or len(out) >= size:
                break
            if control >> bit & 1:
                reference = int.from_bytes(data[at : at + 2], "big")
                offset, length = reference >> 4, (reference & 0xF) + 2
                if offset == write % 4096:
                    return bytes(out)
                at += 2
            else:
                offset, length = -1, 1
            for step in range(length):
                byte = window[(offset + step) % 4096] if offset >= 0 else data[at]
                window[write % 4096] = byte
                write += 1
                out.append(byte)
            at += offset < 0
    return bytes(out)


_TOKEN = re.compile(
    rb"\\([a-z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-f]{2})|\\([^a-z'])|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.IGNORECASE
)
_HIDDEN = frozenset(
    {b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pict", b"listtable", b"listoverridetable", b"generator", b"header",
     b"footer", b"themedata", b"datastore", b"fldinst", b"object", b"xmlnstbl", b"htmltag"}
)  # fmt: skip
_SPOKEN = {b"par": "\n", b"line": "\n", b"tab": "\t", b"cell": "\t", b"row": "\n", b"emdash": "—", b"endash": "–", b"bullet": "•",
           b"lquote": "‘", b"rquote": "’", b"ldblquote": "“", b"rdblquote": "”"}  # fmt: skip


def rtf_text(data: bytes) -> str:
    """The text of RTF. Of HTML in RTF ([MS-OXRTFEX]) the text that a plain reader would show."""
    if not data.lstrip().startswith(b"{\\rtf"):
        return ""
    reader = _Reader()
    for word, number, code, symbol, brace, plain in _TOKEN.findall(data[:_CAP]):
        if brace:
            reader.brace(brace)
        elif word:
            reader.word(word.lower(), number)
        elif symbol == b"*":
            reader.hidden = True
        elif code:
            reader.say(bytes([int(code, 16)]))
        else:
            reader.say(_SYMBOLS.get(symbol, symbol) or plain)
    return reader.text()


_SYMBOLS = {b"~": b" ", b"_": b"-", b"-": b""}


class _Reader:
    """What was read so far. `skipped`: how many characters stand behind a \\u for readers that do not know it."""

    def __init__(self) -> None:
        self.hidden = False
        self._codec = "cp1252"
        self._said: list[str] = []
        self._bytes = bytearray()
        self._outer: list[tuple[bool, int]] = []
        self._skipped = 1
        self._to_skip = 0

    def brace(self, brace: bytes) -> None:
        if brace == b"{":
            self._outer.append((self.hidden, self._skipped))
        else:
            self.hidden, self._skipped = self._outer.pop() if self._outer else (False, 1)
            self._to_skip = 0

    def word(self, name: bytes, number: bytes) -> None:
        if name == b"ansicpg":
            self._codec = _codec(int(number or 0))
        elif name in _HIDDEN:
            self.hidden = True
        elif name == b"htmlrtf":
            self.hidden = number != b"0"
        elif name == b"uc":
            self._skipped = int(number or 0)
        elif not self.hidden and (name == b"u" or name in _SPOKEN):
            self._flush()
            self._said.append(_SPOKEN.get(name) or chr(int(number or 0) % 65536))
            self._to_skip = self._skipped if name == b"u" else 0

    def say(self, raw: bytes) -> None:
        if not self.hidden:
            skipped = min(self._to_skip, len(raw))
            self._to_skip -= skipped
            self._bytes += raw[skipped:]

    def text(self) -> str:
        self._flush()
        return "".join(self._said).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _flush(self) -> None:
        self._said.append(self._bytes.decode(self._codec, "replace"))
        self._bytes.clear()


def _codec(codepage: int) -> str:
    try:
        return b"".decode(f"cp{codepage}") or f"cp{codepage}"
    except LookupError:
        return "cp1252"
