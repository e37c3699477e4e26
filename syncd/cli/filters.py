"""The filters that `signals`, `replay` and `dead` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli.completing import signal_types, sources
from syncd.cli.session import Session
from syncd.errors import UsageError

if TYPE_CHECKING:
    from syncd.signals import Signal
    from syncd.store import Store
    from syncd.store.queries import Filter

Since = Annotated[
    str | None, typer.Option("--since", metavar="D", help="from this time on: 2026-11-01, or 7d for 7 days ago")
]
Until = Annotated[str | None, typer.Option("--until", metavar="D", help="before this time")]
Channel = Annotated[str, typer.Option("--channel", help="email, calls, desk, ...")]
Type = Annotated[str, typer.Option("--type", autocompletion=signal_types, help="signal type, with * for any: ticket.*")]
Person = Annotated[str, typer.Option("--person", help="e-mail address or phone number, or a part")]
State = Annotated[str, typer.Option("--state", help="pending, held, delivered, skipped, dead, discarded, unconfirmed")]
Source = Annotated[str, typer.Option("--source", autocompletion=sources, help="the name of a source")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="at most this many")]

STATES = ("pending", "held", "delivered", "skipped", "dead", "discarded", "unconfirmed")


@dataclass(frozen=True)
class Chosen:
    """The filters as typed."""

    since: str | None = None
    until: str | None = None
    channel: str = ""
    type: str = ""
    person: str = ""
    state: str = ""
    source: str = ""

    @property
    def empty(self) -> bool:
        return self == Chosen()

    def filter(self, here: Session, *, destination: str = "", states: tuple[str, ...] = STATES) -> Filter:
        """For the queries. UsageError for a state that does not exist or a date that is none."""
        from syncd.signals import CATALOGUE, CUSTOM_PREFIX, known_types
        from syncd.store.queries import Filter

        if self.state and self.state not in states:
            raise UsageError(f"--state {self.state!r}: there are {', '.join(states)}")
        if self.channel and not _names(self.channel, (*CATALOGUE, "custom")):
            raise UsageError(f"--channel {self.channel!r}: there are {', '.join(CATALOGUE)}, custom")
        if self.type and not self.type.startswith(CUSTOM_PREFIX) and not _names(self.type, known_types()):
            raise UsageError(f"--type {self.type!r}: no signal type is called so; `syncd channels` lists them")
        return Filter(
            since=here.moment(self.since, "--since"),
            until=here.moment(self.until, "--until"),
            channel=self.channel,
            type=self.type,
            person=self.person,
            state=self.state,
            source=self.source,
            destination=destination,
        )


def _names(pattern: str, known: tuple[str, ...]) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(name, pattern) for name in known)


def one_signal(store: Store, id: str) -> Signal:
    """The signal with this id, or the only one whose id begins so. UsageError otherwise."""
    from syncd.store.queries import Filter, newest

    if not id.strip():
        raise UsageError("the id is empty; `syncd signals list` shows them")
    found = newest(store, Filter(id=id.strip().lower()), limit=2)
    if not found:
        raise UsageError(f"no signal {id}; `syncd signals list` shows their ids")
    if len(found) > 1:
        raise UsageError(f"several signals begin with {id}; give more of the id")
    return found[0].signal
