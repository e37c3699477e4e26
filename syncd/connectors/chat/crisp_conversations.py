"""A conversation of Crisp as a value: what of it waits for an answer, what each side wrote, who the visitor is. Pure.

Facts: docs.crisp.chat, "REST API Reference (V1)": a message is `from` a user or an operator, `automated` if a bot or a campaign
sent it; `fingerprint` is its number within the conversation; notes and events are messages too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from syncd.connectors.chat.answered import ChatLine
from syncd.connectors.social.fields import id_of, inner, text_of
from syncd.connectors.times import time_or_none
from syncd.signals import Person, make_person

Record = Mapping[str, Any]
NOT_SAID = frozenset({"note", "event"})
"""Types of messages that are not for the visitor."""
RESOLVED = "resolved"
_PLACEHOLDER = re.compile(r"visitor\W*\d+", re.IGNORECASE)
"""What Crisp calls a visitor who gave no name."""


class Stretch(NamedTuple):
    """What a visitor wrote since our last answer. `first`: number of its first message; `at`: when that was written;
    `answered`: we answered before it."""

    first: str
    at: datetime
    text: str
    answered: bool


def is_ours(message: Record, bots: bool) -> bool:
    """Whether it answers the visitor. `bots`: what a bot says is an answer too."""
    if message.get("from") != "operator" or message.get("type") in NOT_SAID:
        return False
    return bots or message.get("automated") is not True


def unanswered(messages: Iterable[Record], bots: bool) -> Stretch | None:
    """The messages of the visitor after our last; None if there are none. Messages without a time or number are passed over."""
    said = [(at, one) for one in messages if (at := time_or_none(one.get("timestamp"))) is not None]
    said.sort(key=lambda pair: pair[0])
    last = max((index for index, (_, one) in enumerate(said) if is_ours(one, bots)), default=-1)
    waiting = [
        (at, one)
        for at, one in said[last + 1 :]
        if one.get("from") == "user" and one.get("type") not in NOT_SAID and id_of(one.get("fingerprint"))
    ]
    if not waiting:
        return None
    at, first = waiting[0]
    text = "\n\n".join(filter(None, (text_in(one) for _, one in waiting)))
    return Stretch(id_of(first.get("fingerprint")), at, text, last >= 0)


def lines(messages: Iterable[Record], bots: bool) -> list[ChatLine]:
    """What the visitor and we wrote to each other. Messages without a time or number are passed over."""
    return [
        ChatLine(id_, at, ours, text_in(one))
        for one in messages
        if (at := time_or_none(one.get("timestamp"))) is not None
        and (id_ := id_of(one.get("fingerprint")))
        and ((ours := is_ours(one, bots)) or (one.get("from") == "user" and one.get("type") not in NOT_SAID))
    ]


def text_in(message: Record) -> str:
    """What a message says; of one that is not text its type in brackets, with what is readable of it."""
    content = message.get("content")
    if isinstance(content, str):
        return text_of(content)
    held: Record = content if isinstance(content, Mapping) else {}
    readable = next((text for name in ("text", "name", "value") if (text := text_of(held.get(name)))), "")
    return f"[{text_of(message.get('type')) or 'message'}] {readable}".strip()


def person_of(conversation: Record, session: str, region: str | None) -> Person:
    """Who it is, by what the visitor said; known by the id of the conversation, which is the visitor's, in any case."""
    meta = inner(conversation, "meta")
    name = text_of(meta.get("nickname"))
    return make_person(
        name="" if _PLACEHOLDER.fullmatch(name) else name,
        email=text_of(meta.get("email")),
        phone=text_of(meta.get("phone")),
        handles={"crisp": session},
        region=region,
    )
