"""The text of an HTML mail with its quotations marked, as mail programs mark them in HTML. `content` calls it; `reply` cuts them.

A container counts only where the program puts nothing but the quoted mail in it: `div.gmail_quote`, ProtonMail's and Tutanota's
also hold the answers that a person writes between the quoted lines, so there the blockquotes count. What a person indents is a
blockquote, too: it is marked as such, and `reply` decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from syncd.connectors.mail.reply import INDENTED, QUOTED, introduces
from syncd.connectors.mail.signature_lines import MARK
from syncd.connectors.text import HTML_CAP, MIME_FAULTS, clean, html_to_text, rendered, tidy

_PREFIX = re.compile(r"^(?:x_)+")  # Outlook on the web renames what it quotes

_QUOTE_CLASSES = frozenset(
    (
        "yahoo_quoted", "moz-cite-prefix", "zmail_extra", "front-blockquote", "freshdesk_quote", "sh-quoted-content", "edo-quote",
        "nylas-quote", "mailspring-quote", "spark-quote", "hs_reply_quote", "iwm-quote",
    )
)  # fmt: skip
_QUOTE_IDS = frozenset(["isreplycontent", "isforwardcontent", "reply-intro", "mailru-quote", "qt", "quoted_text"])
_QUOTE_NAMES = frozenset({"quote", "messagereplysection"})  # GMX, WEB.DE, mail.com; Spark
# From here to the end of the mail: Outlook (web, new, mobile), Zimbra, Outlook for Mac.
_REST_IDS = frozenset(
    ["divrplyfwdmsg", "appendonsend", "mail-editor-reference-message-container", "olk_src_body_section", "zwchr"]
)
_REST_CLASSES = frozenset({"ms-outlook-mobile-reference-message", "outlookmessageheader"})

# execCommand("indent") of browsers, as Gmail, Yahoo, Zoho, Outlook on the web and others let it stand.
_INDENT = re.compile(
    r"\bborder(?:-style|-width)?\s*:\s*(?:none|0(?:px)?)\b|\bmargin\s*:\s*0(?:px)?(?:\s+0(?:px)?){2}\s+\d+px"
    r"|\bmargin-left\s*:\s*\d+(?:px|pt|em)|\bmargin-(?:right|top)\s*:\s*0"
)
_SIDE_LINE = re.compile(r"\bborder-(?:left|right|inline-start)(?:-width|-style)?\s*:\s*(?!\s*(?:none|0|medium none))")

_TRACES = (
    *(
        "<blockquote",
        "yahoo_quoted",
        "moz-cite",
        "rplyfwd",
        "appendonsend",
        "reference-message",
        "outlookmessageheader",
    ),
    *("zwchr", "olk_src", "zmail_extra", "isreplycontent", "isforwardcontent", "reply-intro", "messagereplysection"),
)
_TRACE = re.compile(r"_quote\b|name=[\"']?quote|>\s*--(?:\s|&nbsp;|&#160;|\xa0)\s*<")


def has_quotations(html: str) -> bool:
    """Whether HTML may hold a quotation or a signature that its program marked."""
    lowered = html[:HTML_CAP].lower()
    return any(trace in lowered for trace in _TRACES) or _TRACE.search(lowered) is not None


def marked_html(html: str) -> str:
    """The text of HTML, each quoted line with its mark of `reply`; of HTML without quotations, its text."""
    if not has_quotations(html):
        return html_to_text(html)
    from lxml.etree import LxmlError
    from lxml.html import document_fromstring

    source = re.sub(r"^\s*<\?xml[^<>]*\?>", "", re.sub(f"[{QUOTED}{INDENTED}{MARK}]", "", clean(html)[:HTML_CAP]))
    try:
        tree = document_fromstring(source)
        _mark_signature(tree)
        for element, mark in list(_quotations(tree)):
            _replace(element, mark)
        return _without_indents(tidy(rendered(tree)))
    except (*MIME_FAULTS, LxmlError, SyntaxError, MemoryError):
        return html_to_text(html)


def _without_indents(text: str) -> str:
    """Each line from its first letter on, but for lists: the renderer indents by the nesting of the markup."""
    return "\n".join(line if line.lstrip().startswith(("* ", "- ")) else line.lstrip(" ") for line in text.split("\n"))


def _quotations(tree: Any) -> Iterator[tuple[Any, str]]:
    """The outermost quotations, in order, each with its mark."""
    body = tree.find("body") if tree.find("body") is not None else tree
    stack = list(reversed(body))
    while stack:
        element = stack.pop()
        if not isinstance(element.tag, str):
            continue
        if _begins_rest(element) and element.getparent() is not None:
            yield _wrapped_rest(element), QUOTED
            stack = [other for other in stack if not _within(other)]
            continue
        mark = _mark_of(element)
        if mark:
            yield element, mark
        else:
            stack.extend(reversed(element))


def _within(element: Any) -> bool:
    return any(ancestor.get("data-syncd-rest") is not None for ancestor in element.iterancestors())


def _mark_of(element: Any) -> str:
    classes = {_PREFIX.sub("", name) for name in (element.get("class") or "").split()}
    identity = _PREFIX.sub("", (element.get("id") or "").lower())
    if element.tag == "blockquote":
        sure = (element.get("type") or "").lower() == "cite" or any(
            "quote" in name or "cite" in name for name in classes
        )
        if sure or identity in _QUOTE_IDS:
            return QUOTED
        return "" if _is_writers_indent(element) else INDENTED
    if classes & _QUOTE_CLASSES or (identity in _QUOTE_IDS or identity.startswith("yahoo_quoted")):
        return QUOTED
    return QUOTED if (element.get("name") or "").lower() in _QUOTE_NAMES and element.tag == "div" else ""


def _is_writers_indent(element: Any) -> bool:
    """Whether a blockquote is what an editor's button for indenting makes: a margin, and no line at its side. Quotations have
    the line, or no style at all; one below an introduction ("Ann wrote:") is a quotation however it looks."""
    style = (element.get("style") or "").lower()
    if not _INDENT.search(style) or _SIDE_LINE.search(style):
        return False
    if len(element) and element[0].tag == "blockquote" and not (element.text or "").strip():
        return _is_writers_indent(element[0])  # indented twice
    before = element.getprevious()
    words = (before.tail or "").strip() or "".join(before.itertext()) if before is not None else ""
    if before is None and element.getparent() is not None:
        words = element.getparent().text or ""
    return not introduces(words)


def _begins_rest(element: Any) -> bool:
    identity = _PREFIX.sub("", (element.get("id") or "").lower())
    classes = {_PREFIX.sub("", name.lower()) for name in (element.get("class") or "").split()}
    return identity in _REST_IDS or bool(classes & _REST_CLASSES)


def _wrapped_rest(element: Any) -> Any:
    """A new div in the element's place that holds it and everything behind it in the document."""
    from lxml.html import Element

    rest = Element("div", {"data-syncd-rest": "1"})
    element.addprevious(rest)
    following = [element, *element.itersiblings()]
    ancestor = rest.getparent()
    while ancestor is not None and ancestor.tag not in {"body", "html"}:
        following += list(ancestor.itersiblings())
        ancestor = ancestor.getparent()
    for one in following:
        rest.append(one)  # moves it, with the text behind it
    return rest


def _replace(element: Any, mark: str) -> None:
    """Puts the element's own text in its place, each line marked."""
    from lxml.html import Element

    parent = element.getparent()
    if parent is None:
        return
    tail, element.tail = element.tail, None
    lines = tidy(rendered(element)).split("\n")
    made = Element("pre")
    made.text = "\n".join(mark + line for line in lines)
    made.tail = tail
    parent.replace(element, made)


def _mark_signature(tree: Any) -> None:
    """The two dashes and a blank that begin a signature: rendering drops the blank."""
    for element in tree.iter():
        for place in ("text", "tail"):
            text = getattr(element, place)
            if text and text.strip() == "--" and text.strip("\n\r\t").endswith(("-- ", "--\xa0")):
                setattr(element, place, text.replace("--", MARK))
