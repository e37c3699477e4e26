"""What a person newly wrote in a mail: without the mail that they answer, and without the signature.

Pure, line by line, linear in the text. `reading` calls it. Losing a person's words is worse than keeping a quotation: each
form of a quotation needs evidence that no sentence has (an address and a date, marked lines, the header block of a mail), and
in a mail that answers none almost nothing is taken for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

from syncd.connectors.mail.quotation_words import (
    ABOVE_THIS_LINE,
    APPLE_FORWARD,
    FORWARDED,
    MYSELF,
    MYSELF_WITHOUT_BLANKS,
    ORIGINAL,
    WROTE,
    WROTE_WITHOUT_BLANKS,
    role_of,
)
from syncd.connectors.mail.signature_lines import marked, unsigned
from syncd.connectors.text import tidy

QUOTED = "\ue000"
"""Begins a line that HTML shows as a quotation by a program's own mark."""

INDENTED = "\ue001"
"""Begins a line of a blockquote that bears no such mark: a quotation if the mail shows that it quotes."""

_MARKS = QUOTED + INDENTED
_LINE_CAP = 400
_JOINED_CAP = 4
_BLOCK_CAP = 12

_WROTE = re.compile(rf"(?<!\w)(?:{WROTE})(?!\w)|{WROTE_WITHOUT_BLANKS}", re.IGNORECASE)
_MYSELF = re.compile(rf"(?<!\w)(?:{MYSELF})(?!\w)|{MYSELF_WITHOUT_BLANKS}", re.IGNORECASE)
_DATE = re.compile(
    r"(?<!\d)(?:19|20)\d\d(?!\d)|(?<!\d)\d{1,2}[./-]\s?\d{1,2}[./-]\s?\d{2}(?!\d)|\d{1,2}\s?月\s?\d{1,2}\s?日|\d{1,2}월\s?\d{1,2}일"
    r"|(?<!\d)\d{1,2}(?:[.:]|\s?h\s?)\d\d(?!\d)"
)
_DAY = re.compile(
    r"(?<!\d)(?:19|20)\d\d(?!\d)|\d{1,2}[./-]\s?\d{1,2}|月|월|(?<!\d)\d{1,2}\.?\s+[^\W\d_]{3,}|[^\W\d_]{3,}\.?\s+\d{1,2}(?!\d)"
)
_ADDRESS = re.compile(r"[^\s<>()\"]@[^\s<>()\"]+\.[^\s<>()\"]")
_INTRODUCES = re.compile(r"[:：]\s*$")
_ZOHO = re.compile(rf"-{{2,}}\s*.{{0,300}}?(?:{WROTE}|写道|寫道)\s*-{{2,}}", re.IGNORECASE)
_ORIGINAL = re.compile(rf"[-_=*─—]{{2,}}\s*(?:{ORIGINAL}|{FORWARDED})\s*:?\s*[-_=*─—]{{2,}}", re.IGNORECASE)
_APPLE = re.compile(rf"(?:{APPLE_FORWARD})\s*[:：]", re.IGNORECASE)
_ABOVE = re.compile(rf"[-#*=_\s]*(?:{ABOVE_THIS_LINE})[-#*=_.\s]*", re.IGNORECASE)
_RULE = re.compile(r"[-_=*─—]{5,}")
_LONE_MARK = re.compile(r"[-_=*─—\s]{3,}")
_MORE_THAN = re.compile(r">\s?=?\s?[~+-]?[€$£¥₫₩%]?\s?\d")


@dataclass(frozen=True)
class _Boundary:
    """Where the quotation begins, and from which line on own words may stand between marked lines."""

    start: int
    after: int


def latest_reply(text: str, *, answer: bool = True) -> str:
    """The newest part of `text`, tidied. Answers written between quoted lines are all kept; a mail that is nothing but a
    quotation or a forward comes back whole. `answer`: the mail says that it answers or forwards another (its headers or its
    subject); one that does not quotes only where that is beyond doubt."""
    lines = _lines(text)
    found = _boundary(lines, answer)
    certain = answer or found.start < len(lines) or any(line.startswith(QUOTED) for line in lines)
    above = unsigned("\n".join(_own(lines[: found.start], certain, introduced=False)))
    below = unsigned("\n".join(_own(lines[found.after :], certain, introduced=True)))
    if found.start < len(lines):
        above = _without_last_mark(above)
    own = f"{above}\n{below}" if above and below else above or below
    return tidy(own).strip() or plain("\n".join(lines))


def plain(text: str) -> str:
    """A text without the marks of quotations and signatures, tidied."""
    lines = (line.lstrip(_MARKS) for line in text.split("\n"))
    return unsigned_marks(tidy("\n".join(lines)))


def unsigned_marks(text: str) -> str:
    """Signature marks as the two dashes that they are."""
    return re.sub("(?m)^\ue002$", "--", text).replace("\ue002", "")


def _lines(text: str) -> list[str]:
    """Tidied lines: marks of quotations stay, an empty marked line is a marked one."""
    return tidy(marked(text)).split("\n")


def _is_quoted(line: str) -> bool:
    return line.startswith((">", "＞", *_MARKS))


def _bare(line: str) -> str:
    return line.replace("&nbsp;", " ").strip(f"*_ \t\xa0>＞|{_MARKS}")[:_LINE_CAP]


def _own(lines: list[str], certain: bool, *, introduced: bool) -> list[str]:
    """The lines that are not a quotation. Marked ones are only where the mail is `certain` to quote; lines that say "more than"
    (`>500 units`) and are not `introduced`, or one that an mbox program marked (`>From …`), do not count."""
    own: list[str] = []
    for quoted, group in groupby(lines, _is_quoted):
        block = list(group)
        if not quoted:
            own += block
        elif len(block) == 1 and block[0].startswith(">From "):
            own.append(block[0][1:])
        elif block[0].startswith(QUOTED):
            continue
        elif not certain or (not introduced and all(_MORE_THAN.match(line) or line == ">" for line in block)):
            own += [line.lstrip(_MARKS) for line in block]
    return own


@dataclass(frozen=True)
class _SeenLines:
    """The lines of a text, what they say without marks, which are marked as quoted, and which may be the last of an introduction:
    each line is looked at many times."""

    lines: list[str]
    bare: list[str]
    quoted: list[bool]
    ends: list[bool]

    @classmethod
    def of(cls, lines: list[str]) -> _SeenLines:
        bare = [_bare(line) for line in lines]
        ends = [
            text.endswith((":", "：")) or line.endswith("-")
            for text, line in (
                (text.rstrip(), line.rstrip(f" {_MARKS}")) for text, line in zip(bare, lines, strict=True)
            )
        ]
        return cls(lines, bare, [_is_quoted(line) for line in lines], ends)


def _boundary(lines: list[str], answer: bool) -> _Boundary:
    """Where the quoted mail's introduction begins; behind the last line if there is no introduction."""
    end, seen = len(lines), _SeenLines.of(lines)
    for at, bare in enumerate(seen.bare):
        if not bare:
            continue
        below = at if seen.quoted[at] else end  # own words may follow only lines that are marked one by one
        if _separates(lines, at, answer):
            return _Boundary(at, below)
        if role_of(bare) and (answer or _ruled(lines, at)) and _is_header_block(lines, at, answer):
            return _Boundary(at - 1 if _ruled(lines, at) else at, below)
        for joined in range(1, _JOINED_CAP + 1) if any(seen.ends[at : at + _JOINED_CAP]) else ():
            if introduced := _introduction(seen, at, joined, answer):
                marked_below = introduced == "marked" or seen.quoted[at]
                return _Boundary(at, at + joined if marked_below else end)
    return _Boundary(end, end)


def _separates(lines: list[str], at: int, answer: bool) -> bool:
    """A line such as `----- Original Message -----`. In a mail that answers none, the header of a mail must follow."""
    line = lines[at].replace("&nbsp;", " ").strip(f" \t>＞{_MARKS}")[:_LINE_CAP]
    if _ABOVE.fullmatch(line):
        return True
    if not (_ORIGINAL.fullmatch(line) or _APPLE.fullmatch(line.strip("* "))):
        return False
    return answer or any(role_of(_bare(following)) for following in lines[at + 1 : at + 4])


def _ruled(lines: list[str], at: int) -> bool:
    return at > 0 and _RULE.fullmatch(lines[at - 1].strip(f" >{_MARKS}")) is not None


def _is_header_block(lines: list[str], at: int, answer: bool) -> bool:
    """Whether the header of a mail stands here: sender, and when or about what, with an address, in bold or below a rule. A
    list of a route (From, To, Date) has neither a subject nor the word that only mails have for the day. Where nothing is
    answered (`answer`), an address or a day must stand in it: people fill in forms with such labels."""
    roles: set[str] = set()
    addressed = bold = dated = False
    strange = 0
    for line in lines[at : at + _BLOCK_CAP]:
        bare = _bare(line)
        role = role_of(bare)
        if bare and not role:
            strange += 1
            if strange > 1 or not ({"to", "cc"} & roles and "subject" not in roles and _continues_list(bare)):
                break
            continue
        if role:
            roles.add(role)
            addressed = addressed or _ADDRESS.search(bare) is not None
            dated = dated or (role in {"sent", "date"} and _DATE.search(bare) is not None)
            bold = bold or line.lstrip(f"> {_MARKS}").startswith("*")
    if len(roles) < 3 or "from" not in roles or not (answer or addressed or dated):
        return False
    when = bool({"sent", "date"} & roles)
    if "subject" in roles and when:
        return True
    return bool({"sent", "subject"} & roles) and (addressed or bold or _ruled(lines, at))


def _continues_list(line: str) -> bool:
    return "@" in line or ";" in line


def _introduction(seen: _SeenLines, at: int, joined: int, answer: bool) -> str:
    """Whether `joined` lines from here introduce a quotation ("On Tuesday, 3 May 2026, Ann <ann@x.example> wrote:"): "marked"
    when marked lines follow, "unmarked" when not, ``""`` when they do not."""
    lines, bare = seen.lines, seen.bare[at : at + joined]
    part = lines[at : at + joined]
    if len(part) < joined or not all(bare) or len(set(seen.quoted[at : at + joined])) > 1:
        return ""
    text = " ".join(bare)
    if len(text) > _LINE_CAP:
        return ""
    if (
        joined == 1
        and answer
        and _ZOHO.fullmatch(lines[at].strip(f" {_MARKS}"))
        and (_DATE.search(text) or "@" in text)
    ):
        return "unmarked"
    if not _INTRODUCES.search(text):
        return ""
    says, dated, addressed = _WROTE.search(text), _DATE.search(text), _ADDRESS.search(text)
    if joined > 1 and (
        not dated or _ends_sentence(part[0]) or not _begins(part[0]) or _introduction(seen, at + 1, joined - 1, answer)
    ):
        return ""
    following = next((line for line in lines[at + joined : at + joined + 3] if line.strip()), "")
    followed = _is_quoted(following) or _is_quoted(part[0])
    myself = _MYSELF.search(text) is not None and not addressed
    if followed and not (_MORE_THAN.match(following) and not dated and not addressed):
        evident = bool(dated and (addressed or (says and not myself and _DAY.search(text))))
        weak = says and (joined == 1) and not _part_of_longer(lines, at)
        return "marked" if evident or (answer and weak) else ""
    alone = at == 0 or not lines[at - 1].strip()
    return "unmarked" if answer and alone and dated and _DAY.search(text) and addressed and not myself else ""


def introduces(text: str) -> bool:
    """Whether a text ends as an introduction of a quotation does: with a colon, behind a verb for it, a date or an address."""
    last = " ".join(line for line in text.strip().split("\n")[-_JOINED_CAP:])[-_LINE_CAP:]
    return _INTRODUCES.search(last) is not None and bool(
        _WROTE.search(last) or (_DATE.search(last) and _ADDRESS.search(last))
    )


def _part_of_longer(lines: list[str], at: int) -> bool:
    """Whether the line above belongs to the same introduction: it is found when that line is looked at."""
    return (
        False
        if at == 0
        else bool(_begins(lines[at - 1]) and not _ends_sentence(lines[at - 1]) and lines[at - 1].strip())
    )


def _begins(line: str) -> bool:
    """Whether an introduction of several lines may begin so: with a day, a time or an address."""
    bare = _bare(line)
    return bool(_DAY.search(bare) or _ADDRESS.search(bare))


def _ends_sentence(line: str) -> bool:
    return line.rstrip().endswith((".", "!", "?", "。", "！", "？")) and not re.search(r"\b\w{1,4}\.$", line.rstrip())


def _without_last_mark(text: str) -> str:
    """A text without rows of dashes at its end, which belonged to the quotation below."""
    lines = text.split("\n")
    while lines and (not lines[-1].strip() or _LONE_MARK.fullmatch(lines[-1])):
        lines.pop()
    return "\n".join(lines)
