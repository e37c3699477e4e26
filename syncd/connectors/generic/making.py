"""From what a format's reader found in a body (a Draft) to a Signal: times, person, one-line title, derived id. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from syncd.connector import Context
from syncd.connectors.generic.person_values import person_text
from syncd.connectors.times import read_time
from syncd.errors import Malformed
from syncd.signal_types import NEWER, SHIPPED
from syncd.signals import Direction, Person, Signal, derive_id, make_person, place_of

_KNOWN = frozenset(row.name for row in SHIPPED)
"""Not the types that connectors declare: with one more connector, a sender's events would get other ids."""
_PERSON_TEXTS = ("name", "first_name", "last_name", "email", "phone", "company")
PERSON_KEYS = (*_PERSON_TEXTS, "handles")
_DIRECTIONS = tuple(Direction)
_LONGEST_TITLE = 500
_LONGEST_TYPE = 200


class EventDraft(msgspec.Struct, frozen=True, kw_only=True):
    """One event as its sender described it. `native` is the sender's name of the event; `where` says which one of the body it
    is, for faults. `person` holds texts by PERSON_KEYS. `repeat`: the single event, where `native` names what happened to it."""

    type: str
    native: str
    where: str
    occurred_at: Any = None
    title: str = ""
    text: str = ""
    url: str = ""
    reply: str = ""
    thread: str = ""
    direction: str = ""
    repeat: str = ""
    person: dict[str, Any] = {}
    data: dict[str, Any] = {}


@dataclass(frozen=True)
class Maker:
    """Makes the signals of one source."""

    family: str
    account: str
    context: Context

    def make(self, draft: EventDraft, received_at: datetime) -> Signal:
        """Raises Malformed naming the event and the field."""
        signal_type = signal_type_of(draft.type, draft.where, self.context.switches)
        try:
            occurred_at = read_time(draft.occurred_at, self.context.timezone) or received_at
        except ValueError as error:
            raise Malformed(f"{draft.where}, occurred_at: {error}") from None
        if draft.direction and draft.direction not in _DIRECTIONS:
            raise Malformed(f"{draft.where}, direction: {draft.direction[:80]!r} is neither in nor out")
        person = self._person(draft)
        safe_url = draft.url.startswith(("https://", "http://"))
        return Signal(
            id=derive_id(self.family, self.account, signal_type, draft.native),
            type=signal_type,
            source=self.context.name,
            occurred_at=occurred_at,
            received_at=received_at,
            title=_one_line(draft.title) or signal_type.removeprefix("custom."),
            text=_clean(draft.text),
            url=_clean(draft.url) if safe_url else "",
            reply=_clean(draft.reply) or reply_to(person),
            person=person,
            data=draft.data if safe_url or not draft.url else {"url": draft.url, **draft.data},
            thread=f"{self.family}:{self.account}:{draft.thread}" if draft.thread else "",
            direction=Direction(draft.direction) if draft.direction else Direction.IN,
            repeat=draft.repeat,
        )

    def _person(self, draft: EventDraft) -> Person:
        try:
            person = person_of(draft.person, self.context.region)
        except ValueError as error:
            raise Malformed(f"{draft.where}, {error}") from None
        address = str(person.raw.get("email", "")) if person.raw else ""
        if "@" in address and not person.identity:
            raise Malformed(
                f"{draft.where}, person.email: {address[:80]!r} is not an email address, and no other identity is given"
            )
        return person


def signal_type_of(text: str, where: str, switches: frozenset[str] = NEWER) -> str:
    """A catalogued type or custom.NAME as it is, else custom.TEXT. Of the types NEWER, only those among `switches` count as
    catalogued: the ones that `channels:` names. Raises Malformed for an empty one."""
    if len(text) > _LONGEST_TYPE:
        raise Malformed(f"{where}, type: {len(text)} characters, more than {_LONGEST_TYPE}")
    try:
        return _type_of(text, switches)
    except ValueError as error:
        raise Malformed(f"{where}, type: {error}") from None


@lru_cache(maxsize=1000)
def _type_of(text: str, switches: frozenset[str]) -> str:
    text = _one_line(text)
    if not text:
        raise ValueError("empty")
    if text in _KNOWN and (text not in NEWER or text in switches):
        return text
    made = text if text.startswith("custom.") else f"custom.{text}"
    place_of(made)
    return made


def person_of(said: dict[str, Any], region: str | None) -> Person:
    """The person from values by PERSON_KEYS; anything else said of them is kept in `raw`. Raises ValueError for a value that
    should be a text and holds none."""
    handles = said.get("handles")
    handles = {str(network): _handle(name) for network, name in handles.items()} if isinstance(handles, dict) else {}
    texts: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    for name, value in said.items():
        if name in _PERSON_TEXTS:
            texts[name] = person_text(name, value)
        elif name != "handles" and value is not None:
            raw[name] = value
    return make_person(**texts, handles=handles, raw=raw, region=region)


def reply_to(person: Person) -> str:
    """How to answer a person of whom only the address is known."""
    if person.email:
        return f"mailto:{person.email}"
    return f"tel:{person.phone}" if person.phone else ""


def _handle(value: Any) -> str:
    """An id in a network, without a list of one around it."""
    return _handle(value[0]) if isinstance(value, list) and len(value) == 1 else str(value)


_BREAKS = re.compile(r"[\x0b\x0c]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def _clean(text: str) -> str:
    """Without the control characters that CRMs refuse; those that break a line (office programs paste them) do so."""
    return text if text.isprintable() else _CONTROL.sub("", _BREAKS.sub("\n", text))


def _one_line(text: str) -> str:
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:_LONGEST_TITLE]
