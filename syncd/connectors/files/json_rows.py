"""JSON files, whatever wrote them: one object a line, a list of objects, objects one behind the other, on any number of lines.

`tables` makes rows of the objects. Promise: a value that cannot be read is a fault with its line, and costs nothing else; no
text beyond LINE is held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import orjson

from syncd.connectors.files.text import LINE, lines_of, open_text, repaired
from syncd.errors import Malformed
from syncd.http.json_text import originals, parse

CHUNK = 64_000
_BEGINS = re.compile(r'\s*(?:\[\s*)?\{\s*"')
_TOKEN = re.compile(r'\\.|["{}\[\],]|\r\n?|\n', re.DOTALL)


class JsonObject(NamedTuple):
    """The object that begins on a line, or why it cannot be read. `note`: what was damaged in it and was read nevertheless."""

    line: int
    value: dict[str, Any] | str
    note: str = ""


def is_json(path: Path, codec: str) -> bool:
    """Whether a file begins as a JSON object, or a list of them. Raises OSError."""
    with open_text(path, codec) as opened:
        return _BEGINS.match(opened.read(1000)) is not None


def json_objects(path: Path, codec: str, region: str | None) -> Iterator[JsonObject]:
    """Raises Malformed where the file breaks off, after what stands before; OSError."""
    with open_text(path, codec) as opened:
        begins = opened.tell()
        by_line = _one_a_line(opened.read(CHUNK))
        opened.seek(begins)
        texts = enumerate(lines_of(opened), start=1) if by_line else elements(_chunks(opened))
        for line, text in texts:
            if text.strip():
                text, note = repaired(text, codec, region)
                value, lost = _value(text)
                yield JsonObject(line, value, "; ".join(filter(None, (note, lost))))


def _one_a_line(begin: str) -> bool:
    """Whether each line is a value of its own. A list is none, nor is an object whose first line is not whole, unless the next
    line begins one, too."""
    lines = [text for line in re.split(r"[\r\n]", begin) if (text := line.strip("\ufeff\0\x1a \t"))]
    if not lines or lines[0][0] not in "[{":
        return True
    if lines[0][0] == "[":
        return False
    return len(lines) == 1 or lines[1][0] == "{" or isinstance(_value(lines[0])[0], dict)


def _value(text: str) -> tuple[dict[str, Any] | str, str]:
    """(the object or why it is none, what in it could not be read)."""
    try:
        found, lost = orjson.loads(text), ""
    except (orjson.JSONDecodeError, RecursionError):
        try:
            parsed = parse(text.strip().removesuffix(",").encode("utf-8", "surrogatepass"), "utf-8")
        except ValueError as error:
            return f"is not JSON: {error}", ""
        found = parsed.value
        lost = ", ".join(f"{place}: {said[:40]!r} cannot be read" for place, said in originals(parsed).items())
    return found if isinstance(found, dict) else "is not a JSON object", lost


def _chunks(opened: TextIO) -> Iterator[str]:
    """Pieces of the text, none of which ends in the middle of an escape or of a line end."""
    while chunk := opened.read(CHUNK):
        while chunk.endswith(("\\", "\r")) and (more := opened.read(1)):
            chunk += more
        yield chunk.replace("\0", "")


def elements(chunks: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(line, text) of each element of a JSON list, or of each of several values one behind the other. Raises Malformed for a text
    that ends in the middle of one, after those before."""
    cutter = _Cutter()
    for chunk in chunks:
        yield from cutter.feed(chunk)
    yield from cutter.end()


class _Cutter:
    """Knows what is open: the list, the brackets of an element, a string in it."""

    def __init__(self) -> None:
        self._line = self._begins = 1
        self._parts: list[str] = []
        self._size = self._depth = self._base = 0
        self._quoted = self._closed = False

    def feed(self, chunk: str) -> Iterator[tuple[int, str]]:
        at = 0
        for match in _TOKEN.finditer(chunk):
            self._keep(chunk[at : match.start()])
            at = match.end()
            yield from self._token(match[0])
        self._keep(chunk[at:])

    def end(self) -> Iterator[tuple[int, str]]:
        whole = "".join(self._parts).strip("\x1a \t\r\n")
        if whole and (self._quoted or self._depth > self._base):
            raise Malformed(f"line {self._begins}: the object that begins here is never closed: is the file whole?")
        if whole:
            yield self._begins, whole
        if self._base and not self._closed:
            raise Malformed("the list is never closed by ]: is the file whole?")

    def _token(self, sign: str) -> Iterator[tuple[int, str]]:
        if sign[0] in "\r\n":
            self._line += 1
            if self._parts:
                self._keep(sign)
        elif self._quoted:
            self._keep(sign)
            self._quoted = sign != '"'
        elif sign == "[" and not (self._parts or self._base or self._depth):
            self._base = self._depth = 1
        elif sign == "]" and self._base and self._depth == 1:
            yield from self._cut()
            self._closed, self._depth, self._base = True, 0, 0
        elif sign == "," and self._depth == self._base:
            yield from self._cut()
        else:
            self._keep(sign)
            self._quoted = sign == '"'
            self._depth = max(self._base, self._depth + (sign in "{[") - (sign in "}]"))
            if sign in "}]" and self._depth == self._base:
                yield from self._cut()

    def _keep(self, text: str) -> None:
        if not self._parts:
            text = text.lstrip("\ufeff\x1a \t")
            self._begins, self._size = self._line, 0
        if text:
            self._parts.append(text)
            self._size += len(text)
        if self._size > LINE:
            raise Malformed(f"line {self._begins}: the object that begins here has more than {LINE} characters")

    def _cut(self) -> Iterator[tuple[int, str]]:
        if self._parts:
            yield self._begins, "".join(self._parts)
        self._parts = []
