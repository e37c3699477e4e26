"""A text file opened in its encoding, line by line, with what is damaged in it. `tables` reads CSV and JSON lines through it.

Promise: nothing is guessed: an encoding that is not clear is refused (InDoubt). No more than a line and a sample is held.
"""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncd.connectors.charsets import codec_of, detect, put_for, undoubled
from syncd.errors import Malformed

LINE = 1_000_000
SAMPLE = 200_000
"""Bytes of lines beyond ASCII that the encoding is judged by."""
TWICE = "looks encoded twice, and cannot be read back: save the list as UTF-8 again from where it is right"
_TWICE = re.compile(r"[ÂÃÄÅ][\x80-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|á[º»][\x80-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")
"""What the first byte of a European or Vietnamese letter in UTF-8 becomes when it is read as Windows-1252, with a second one."""
_ESCAPED = re.compile("[\udc80-\udcff]+")
_END_MARKS = re.compile("^\x1a+|\x1a+(?=[\r\n]*$)")


def encoding_of(path: Path, said: str = "", region: str | None = None) -> str:
    """The codec of a file: `said`, else what its bytes tell. Raises Malformed for an unknown name, InDoubt, OSError."""
    if said:
        if not (codec := codec_of(said)):
            raise Malformed(f"encoding: {said!r} is not known; examples: utf-8, windows-1258, gb18030, shift_jis")
        return codec
    return detect(_sample(path), region=region)[0]


def _sample(path: Path) -> bytes:
    """The beginning, then the first lines that are not ASCII and the first that are not UTF-8."""
    kept: list[bytes] = []
    size = odd_size = 0
    with path.open("rb") as opened:
        head = opened.read(4096)
        opened.seek(0)
        if b"\0" in head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
            return head
        while line := opened.readline(LINE):
            if line.isascii() and b"\x1b" not in line:
                continue
            if size < SAMPLE:
                kept.append(line)
                size += len(line)
            elif odd_size < SAMPLE and not _utf8(line):
                kept.append(line)
                odd_size += len(line)
    return (codecs.BOM_UTF8 if head.startswith(codecs.BOM_UTF8) else b"") + b"".join(kept)


def _utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def open_text(path: Path, codec: str) -> Iterator[io.TextIOWrapper]:
    """Bytes that the codec does not define come out as lone surrogates: `repaired` puts letters in their place."""
    wide = codec.startswith(("utf-16", "utf-32", "utf-7", "iso2022"))
    name = "utf-8-sig" if codec == "utf-8" else codec
    with path.open("r", encoding=name, errors="replace" if wide else "surrogateescape", newline="") as opened:
        if codec.startswith(("utf-16-", "utf-32-")) and opened.read(1) != "\ufeff":
            opened.seek(0)
        yield opened


def lines_of(opened: io.TextIOWrapper) -> Iterator[str]:
    """The lines, without NUL and without the end mark of DOS (^Z) around them: both fill up the last block of a file.
    Raises Malformed for a line of more than LINE characters."""
    number = 0
    while text := opened.readline(LINE + 1):
        number += 1
        if len(text) > LINE and len(text.rstrip("\0")) > LINE:
            raise Malformed(f"line {number} has more than {LINE} characters: is this a table?")
        text = text.replace("\0", "") if "\0" in text else text
        yield _END_MARKS.sub("", text) if "\x1a" in text else text


def repaired(text: str, codec: str, region: str | None) -> tuple[str, str]:
    """(the text, what was damaged in it: ``""`` when nothing was). Vietnamese tones become part of their letters."""
    if text.isascii():
        return text, ""
    if codec == "cp1258":
        text = unicodedata.normalize("NFC", text)
    if codec == "utf-8" and _TWICE.search(text):
        once = undoubled(text)
        return (once, f"was encoded twice: read as {_differs(text, once)!r}") if once != text else (text, TWICE)
    if not _ESCAPED.search(text):
        return text, ""
    notes: list[str] = []

    def put(found: re.Match[str]) -> str:
        raw = found[0].encode("utf-8", "surrogateescape")
        before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        char = put_for(raw, before, after, region) if codec == "utf-8" else "\ufffd"
        notes.append(f"the bytes {raw.hex(' ')} are not {codec}: read as {char!r}")
        return char

    return _ESCAPED.sub(put, text), "; ".join(notes)


def _differs(before: str, after: str) -> str:
    """The first word of a text that is not in the text before."""
    known = set(before.split())
    return next((word for word in after.split() if word not in known), after)[:40]
