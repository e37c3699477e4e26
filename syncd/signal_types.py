"""The catalogue of signal types: the channel and switch, direction and plain name of each, and which of them answer which.

The types in SHIPPED are always known. A connector declares others (`SignalSpec` with channel, switch and title); they are known
from the moment its module is loaded (`syncd.registry.load`), which is when the configuration names it. Declarations are never
withdrawn in a process: signals of a removed connector stay readable.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

import msgspec

CUSTOM = "custom"
"""The channel that takes any `custom.NAME`; its switch is NAME."""
CUSTOM_PREFIX = CUSTOM + "."


class Direction(StrEnum):
    """Who acted: the customer (in), or we (out)."""

    IN = "in"
    OUT = "out"


class SignalType(msgspec.Struct, frozen=True):
    """One row of the catalogue. `title` names the type for users, in English: "Missed call"."""

    name: str
    channel: str
    switch: str
    title: str
    direction: Direction = Direction.IN


SHIPPED = (
    SignalType("email.received", "email", "received", "Email received"),
    SignalType("email.opened", "email_insights", "opened", "Email opened"),
    SignalType("email.clicked", "email_insights", "clicked", "Link in an email clicked"),
    SignalType("email.bounced", "email_insights", "bounced", "Email bounced"),
    SignalType("call.missed", "calls", "missed", "Missed call"),
    SignalType("survey.responded", "survey", "responded", "Survey response"),
    SignalType("campaign.opened", "campaigns", "opened", "Campaign email opened"),
    SignalType("campaign.clicked", "campaigns", "clicked", "Link in a campaign clicked"),
    SignalType("campaign.bounced", "campaigns", "bounced", "Campaign email bounced"),
    SignalType("chat.missed", "chat", "missed", "Missed chat"),
    SignalType("ticket.created", "desk", "created", "Ticket created"),
    SignalType("ticket.commented", "desk", "commented", "Comment on a ticket"),
    SignalType("ticket.replied", "desk", "replied", "Reply on a ticket"),
    SignalType("ticket.overdue", "desk", "overdue", "Ticket overdue"),
    SignalType("ticket.escalated", "desk", "escalated", "Ticket escalated"),
    SignalType("ticket.rated", "desk", "rated", "Ticket rated"),
    SignalType("facebook.posted", "facebook", "posted", "Post on Facebook"),
    SignalType("facebook.commented", "facebook", "commented", "Comment on Facebook"),
    SignalType("facebook.liked", "facebook", "liked", "Like on Facebook"),
    SignalType("facebook.messaged", "facebook", "messaged", "Message on Facebook"),
    SignalType("x.mentioned", "x", "mentioned", "Mention on X"),
    SignalType("x.messaged", "x", "messaged", "Direct message on X"),
    SignalType("contact.changed", "contacts", "contact_changed", "Contact changed"),
    SignalType("account.changed", "contacts", "account_changed", "Company changed"),
    SignalType("contact.deleted", "contacts", "contact_deleted", "Contact deleted"),
    SignalType("message.received", "messages", "received", "Message received (WhatsApp, Zalo, SMS …)"),
    SignalType("email.sent", "outgoing", "email_sent", "Email sent", Direction.OUT),
    SignalType("call.answered", "outgoing", "call_answered", "Call answered", Direction.OUT),
    SignalType("call.placed", "outgoing", "call_placed", "Call placed", Direction.OUT),
    SignalType("message.sent", "outgoing", "message_sent", "Message sent (WhatsApp, Zalo, SMS …)", Direction.OUT),
    SignalType("chat.answered", "outgoing", "chat_answered", "Chat answered", Direction.OUT),
    SignalType("meeting.held", "outgoing", "meeting_held", "Meeting held", Direction.OUT),
    SignalType("web.visited", "web", "visited", "Website visited"),
)

NEWER = frozenset(
    {
        *("email.sent", "call.answered", "call.placed", "message.sent", "chat.answered", "meeting.held"),
        *("message.received", "web.visited", "contact.deleted"),
    }
)
"""Shipped types that senders of the generic webhook could send before, as `custom.NAME`. They stay custom until `channels:` names
the switch of the type, so that an upgrade neither switches their signals off nor changes their ids."""

CATALOGUE: dict[str, dict[str, str]] = {}
"""channel -> switch -> signal type, of the shipped types; see `catalogue` for all that are known."""
for _row in SHIPPED:
    CATALOGUE.setdefault(_row.channel, {})[_row.switch] = _row.name

_REACHED = ("email.received", "call.missed", "chat.missed", "message.received", "survey.responded")
ANSWERS: dict[str, frozenset[str]] = {
    "email.sent": frozenset(_REACHED),
    "call.answered": frozenset(_REACHED),
    "call.placed": frozenset(_REACHED),
    "message.sent": frozenset({*_REACHED, "facebook.messaged", "x.messaged"}),
    "chat.answered": frozenset(_REACHED),
    "meeting.held": frozenset(_REACHED),
}
"""Our action -> the types it answers for the same person: whoever was spoken to since is not waiting any more. Beyond this
table, a signal with `direction: out` answers those of its own type (a message that we sent on the same network)."""

OPEN_TYPES = frozenset(_REACHED) | {
    "facebook.messaged",
    "facebook.commented",
    "facebook.posted",
    "x.messaged",
    "x.mentioned",
}
"""The types that wait for an answer."""

_KNOWN = {row.name: row for row in SHIPPED}
_OUTGOING = {row.name for row in SHIPPED if row.direction is Direction.OUT}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\.[a-z][a-z0-9_.]{0,59}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")


def declare(row: SignalType) -> None:
    """Adds a connector's own type; saying the same twice changes nothing. Raises ValueError for a name, channel or switch that
    cannot be, and for one that means something else already."""
    if not _NAME.fullmatch(row.name) or row.name.startswith(CUSTOM_PREFIX):
        raise ValueError(f"{row.name!r} cannot be declared; a signal type is two lower-case words: acme.pinged")
    if not _WORD.fullmatch(row.channel) or row.channel == CUSTOM or not _WORD.fullmatch(row.switch):
        raise ValueError(
            f"{row.name} needs a channel and a switch, each a lower-case word: channel='acme', switch='pinged'"
        )
    known = _KNOWN.get(row.name)
    if known is not None and (known.channel, known.switch, known.direction) != (row.channel, row.switch, row.direction):
        raise ValueError(
            f"{row.name} is declared already, as {known.channel}.{known.switch}, direction {known.direction}"
        )
    taken = catalogue().get(row.channel, {}).get(row.switch, row.name)
    if taken != row.name:
        raise ValueError(f"{row.name}: the switch {row.channel}.{row.switch} belongs to {taken}")
    if known is None:
        _KNOWN[row.name] = row
        if row.direction is Direction.OUT:
            _OUTGOING.add(row.name)


def catalogue() -> dict[str, dict[str, str]]:
    """channel -> switch -> signal type, of all known types, the shipped ones first."""
    found: dict[str, dict[str, str]] = {}
    for row in tuple(_KNOWN.values()):
        found.setdefault(row.channel, {})[row.switch] = row.name
    return found


def known_types() -> tuple[str, ...]:
    """Every known signal type, in catalogue order."""
    return tuple(_KNOWN)


def is_declared(signal_type: str) -> bool:
    """Whether the catalogue has this very type (a `custom.NAME` is never in it)."""
    return signal_type in _KNOWN


def title_of(signal_type: str) -> str:
    """The plain name of a type; of one that is not in the catalogue, the type itself."""
    row = _KNOWN.get(signal_type)
    return row.title if row is not None else signal_type


def goes_out(signal_type: str) -> bool:
    """Whether signals of this type are always what we did."""
    return signal_type in _OUTGOING


@lru_cache(maxsize=1000)
def place_of(signal_type: str) -> tuple[str, str]:
    """(channel, switch) of a signal type. Raises ValueError for a type that is neither catalogued nor `custom.NAME`."""
    row = _KNOWN.get(signal_type)
    if row is not None:
        return row.channel, row.switch
    if signal_type.startswith(CUSTOM_PREFIX) and len(signal_type) > len(CUSTOM_PREFIX):
        return CUSTOM, signal_type[len(CUSTOM_PREFIX) :]
    raise ValueError(f"unknown signal type {signal_type!r}: neither in the catalogue nor custom.NAME")


def channel_of(signal_type: str) -> str:
    """The channel of a stored signal: also of a type whose connector is not installed any more (its first word)."""
    try:
        return place_of(signal_type)[0]
    except ValueError:
        return signal_type.partition(".")[0]
