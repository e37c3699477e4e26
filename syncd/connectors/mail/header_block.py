"""Header blocks that senders and filters damaged, made readable for the parser. `message` calls `repaired`.

Pure and total. RFC 5322 4.5.8 allows a blank before the colon; a filter forgets to indent a continuation; a mail taken out of
an mbox keeps its `>From` line. The standard library ends the headers at the first such line, and the rest becomes text: sender,
subject and Message-ID are lost. Here a line that is not a header does not end the block: it is joined to the header that it
continues, or left out. Mails without such lines come back unchanged.
"""

from __future__ import annotations

import re

BLOCK_CAP = 256 * 1024
"""Bytes of one header block that are repaired; a longer one is left as it is."""

_BOUNDARIES_CAP = 100

# Names that only headers have (RFC 5322, 2045, 2076, 2369, 3834, 6376, 8601, 8617): one of them after a damaged line shows
# that the headers continue. So does any name of the prefixes.
_KNOWN = frozenset(
    b"from to cc bcc sender subject date reply-to message-id in-reply-to references received return-path delivered-to"
    b" mime-version comments keywords dkim-signature domainkey-signature authentication-results received-spf precedence"
    b" priority importance thread-topic thread-index auto-submitted user-agent organization envelope-to errors-to feedback-id"
    b" original-recipient disposition-notification-to return-receipt-to sensitivity status lines".split()
)
_KNOWN_PREFIXES = (b"x-", b"content-", b"list-", b"resent-", b"arc-")
# Names that no person writes in a text: they show that a paragraph of headers is one, whatever stands above it.
_MACHINE = frozenset({b"message-id", b"mime-version", b"content-type", b"received", b"dkim-signature"})
_LISTS = frozenset({b"to", b"cc", b"bcc", b"reply-to"})
_IDS = frozenset({b"references", b"in-reply-to", b"message-id"})

_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_WELL_FORMED = re.compile(rb"(?:(?:[!-9;-~]+:|[ \t])[^\r\n]*\r?\n)*+")
_EMPTY_LINE = re.compile(rb"(?:\A|(?<=\n))\r*\n")
_END_OF_PART_HEADERS = re.compile(rb"^(?:\r*\n|--)", re.MULTILINE)
_LEADING = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t]*\r*\n)*+")
_ENVELOPE = re.compile(rb">*From (?!\s*:)")
_BOUNDARY = re.compile(rb"boundary\s*=\s*(?:\"([^\"\r\n]{1,200})\"|([^\s;\"]{1,200}))")  # of bytes in lower case
_PARAMETER = re.compile(
    rb"(?:boundary|charset|name|filename|format|delsp|type|start|protocol|micalg|report-type|reply-type|smime-type|method)"
    rb"(?:\*\d{0,3}\*?)?\s*=",
    re.IGNORECASE,
)
_FOLDED_AT = 56
"""A Subject line at least this long may have been folded: programs fold between 60 and 78 characters."""


def repaired(raw: bytes) -> bytes:
    """The mail with well-formed header blocks, its own and those of its parts; `raw` where there is nothing to repair."""
    start = _LEADING.match(raw, 0, BLOCK_CAP)
    if start and start.end() and _name(raw[start.end() : start.end() + 200]) in _KNOWN:
        raw = raw[start.end() :]
    if b"\r\r\n" in raw[:BLOCK_CAP]:
        raw = re.sub(rb"\r+\n", b"\n", raw)
    end = _end_of_headers(raw)
    block = raw[:end]
    made = _repaired_block(block, whole=True)
    return _repaired_parts(raw if made == block else made + raw[end:])


def _end_of_headers(raw: bytes) -> int:
    """Where the empty line after the headers begins. An empty line inside the headers is passed over: what follows are
    headers that are missing above, among them such as no person writes."""
    first = _EMPTY_LINE.search(raw, 0, BLOCK_CAP)
    if first is None:
        return min(len(raw), BLOCK_CAP)
    above = {_name(line) for line in raw[: first.start()].split(b"\n")}
    further = _WELL_FORMED.match(raw, first.end(), BLOCK_CAP)
    if further is None or not further[0] or b"content-type" in above or not above & _KNOWN:
        return first.start()
    below = {_name(line) for line in further[0].split(b"\n")} & _KNOWN
    ended = _EMPTY_LINE.match(raw, further.end()) is not None
    if ended and not below & above - {b"received"} and (below & _MACHINE or {b"from", b"subject"} <= below):
        return further.end()
    return first.start()


def _repaired_block(block: bytes, *, whole: bool) -> bytes:
    """The header lines of a block as they should be, followed by an empty line and the text where that line is missing.
    `whole`: the block of the mail, not of a part."""
    formed = _WELL_FORMED.match(block)
    if (formed and formed.end() == len(block)) or (b"\n" not in block and b"\r" in block):
        return block
    lines = [line.rstrip(b"\r").replace(b"\r", b" ") for line in block.removesuffix(b"\n").split(b"\n")]
    last = max((at for at, line in enumerate(lines) if _is_known(line)), default=-1)
    if last < 0:
        return block
    kept: list[bytes] = []
    for line, following in zip(lines[: last + 1], [*lines[1 : last + 2], b""], strict=False):
        _keep(kept, line, following)
    text = lines[last + 1 :]
    while text and (_HEADER.match(text[0]) or _ENVELOPE.match(text[0]) or text[0][:1] in (b"", b" ", b"\t")):
        _keep(kept, text.pop(0), b"")
    if text and (_continues(kept, text[0]) or (whole and len(text) == 1 and not _wordlike(text[0]))):
        _keep(kept, text.pop(0), b"")
    return b"".join(line + b"\n" for line in (*kept, *((b"", *text) if text else ())))


def _keep(kept: list[bytes], line: bytes, following: bytes) -> None:
    """Adds a line of a damaged block: a header by its name, a continuation as one, anything else not at all."""
    header = _HEADER.match(line)
    if line[:1] in (b" ", b"\t"):
        if kept:
            kept.append(line)
    elif header and not _ENVELOPE.match(line):
        kept.append(header[1] + b":" + header[2])
    elif line and following[:1] not in (b" ", b"\t") and _continues(kept, line):
        if _PARAMETER.match(line) and not kept[-1].rstrip().endswith(b";"):
            kept[-1] = kept[-1].rstrip() + b";"
        kept.append(b" " + line)


def _continues(kept: list[bytes], line: bytes) -> bool:
    """Whether a line that is not indented belongs to the header above: a parameter, the next address, the rest of a subject."""
    above = next((before for before in reversed(kept) if before[:1] not in (b" ", b"\t")), b"")
    name, end = _name(above), kept[-1].rstrip() if kept else b""
    if name.startswith(b"content-"):
        return _PARAMETER.match(line) is not None
    if name in _LISTS:
        return end.endswith(b",") and b"@" in line
    if name in _IDS:
        return line.startswith(b"<")
    if name in {b"subject", b"from"} and line.startswith(b"=?"):
        return end.endswith(b"?=")
    return name == b"subject" and len(end) >= _FOLDED_AT and _wordlike(line)


def _wordlike(line: bytes) -> bool:
    return line[:1].isalnum() or line[:1] >= b"\x80"


def _is_known(line: bytes) -> bool:
    name = _name(line)
    return name in _KNOWN or name.startswith(_KNOWN_PREFIXES)


def _name(line: bytes) -> bytes:
    found = _HEADER.match(line)
    return found[1].lower() if found else b""


def _repaired_parts(raw: bytes) -> bytes:
    """The mail with the header blocks of its parts repaired."""
    boundaries = {raw[slice(*found.span(found.lastindex or 0))] for found in _BOUNDARY.finditer(raw.lower())}
    if not boundaries or len(boundaries) > _BOUNDARIES_CAP:
        return raw
    delimiter = re.compile(rb"--(?:%s)[ \t]*\r?\n" % b"|".join(map(re.escape, sorted(boundaries))))
    pieces: list[bytes] = []
    done = 0
    for found in delimiter.finditer(raw):
        if raw[found.start() - 1 : found.start()] not in (b"\n", b""):
            continue
        start = found.end()
        formed = _WELL_FORMED.match(raw, start)
        end = formed.end() if formed else start
        if start < done or _EMPTY_LINE.match(raw, end) or raw[end : end + 2] in (b"--", b""):
            continue
        stop = _END_OF_PART_HEADERS.search(raw, end, start + BLOCK_CAP)
        block = raw[start : stop.start()] if stop else b""
        pieces += (raw[done:start], _repaired_block(block, whole=False))
        done = start + len(block)
    return b"".join((*pieces, raw[done:])) if pieces else raw
