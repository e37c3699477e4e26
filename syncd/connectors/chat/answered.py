"""What the signals of answered chats have in common, whatever the vendor. Pure.

One turn is one signal: the first message of ours after something that the visitor wrote. What we write after it, before the
visitor writes again, belongs to the same answer. What we write to a visitor who has written nothing answers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from syncd.connector import Hint
from syncd.connectors.times import time_or_none
from syncd.signals import Person, Route
from syncd.texts.titles import titled

TYPE = "chat.answered"
LOOK_BACK = timedelta(hours=1)
"""A look takes the answers of so long before it was asked for: hints of one conversation are merged, and webhooks come late."""
_KEY, _PAST = "answered:", "past-answered:"


class ChatLine(NamedTuple):
    """A message of a conversation. `ours`: a person on our side wrote it to the visitor; the others are the visitor's."""

    id: str
    at: datetime
    ours: bool
    text: str


def answers(said: Iterable[ChatLine]) -> Iterator[ChatLine]:
    """The first of our messages after each of the visitor's, of messages in any order."""
    waits = False
    for one in sorted(said, key=lambda each: each.at):
        if one.ours and waits:
            yield one
        waits = not one.ours


def title_of(person: Person) -> Any:
    """The three fields of a Signal that are its title: whom we answered, as far as that is known."""
    who = person.name or person.email or person.phone
    return titled(TYPE, who=who) if who else titled(f"{TYPE}.bare")


def look_for_answers(id: str, route: Route, since: datetime, until: datetime | None = None) -> Hint:
    """A look for what we answered in a conversation from `since` on, before `until`. It has a key of its own, so that it is not
    merged with a look for what waits, nor one at the past with one of now."""
    data = {"route": str(route), "since": since.isoformat()} | ({"until": until.isoformat()} if until else {})
    return Hint(key=f"{_PAST if route is Route.BACKFILL else _KEY}{id}", data=data)


def looks_for_answers(hint: Hint) -> bool:
    return hint.key.startswith((_KEY, _PAST))


def is_within(at: datetime, hint: Hint) -> bool:
    """Whether an answer of that time is one that the hint asks for."""
    since, until = (time_or_none(hint.data.get(name)) for name in ("since", "until"))
    return (since is None or at >= since) and (until is None or at < until)


def is_before(at: datetime, hint: Hint) -> bool:
    """Whether a message of that time is older than what the hint asks for: nothing before it needs to be read."""
    since = time_or_none(hint.data.get("since"))
    return since is not None and at < since
