"""The filters that `signals`, `replay` and `dead` share."""

from __future__ import annotations

from collections.abc import Iterable
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


def _somebody(context: typer.Context, parameter: typer.CallbackParam, typed: str) -> str:
    """Refuses an empty `--person`: it would choose everybody."""
    given = getattr(context.get_parameter_source(parameter.name or ""), "name", "") == "COMMANDLINE"
    if given and not typed.strip():
        raise typer.BadParameter("it is empty and would choose everybody; leave the option out for that")
    return typed


Person = Annotated[
    str,
    typer.Option(
        "--person", callback=_somebody, help="name, e-mail address, handle or phone number, in any form, or a part"
    ),
]
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

    def check_source(self, here: Session) -> None:
        """UsageError for a source that is neither configured nor in the store: one that was removed has signals there."""
        if self.source and self.source not in here.settings.sources:
            from syncd.store.queries import sources_of

            with here.store() as store:
                stored = sources_of(store)
            if self.source not in stored:
                known_name("source", self.source, (*here.settings.sources, *stored))

    def _people(self, here: Session) -> tuple[str, ...]:
        from syncd.store.person_search import signals_of

        with here.store() as store:
            return tuple(signals_of(store, self.person))

    def filter(self, here: Session, *, destination: str = "", states: tuple[str, ...] = STATES) -> Filter:
        """For the queries. UsageError for a state that does not exist or an invalid date."""
        from syncd import registry
        from syncd.signal_types import CUSTOM, CUSTOM_PREFIX, catalogue, known_types
        from syncd.signals import normal_email
        from syncd.store.queries import Filter

        if self.state and self.state not in states:
            raise UsageError(f"--state {self.state!r}: {near_or_all(self.state, states)}")
        if self.channel and not _names(self.channel, (CUSTOM, *registry.catalogue_for(self.channel))):
            raise UsageError(f"--channel {self.channel!r}: {near_or_all(self.channel, (*catalogue(), CUSTOM))}")
        if self.type and not self.type.startswith(CUSTOM_PREFIX) and not registry.fitting_types(self.type):
            near = near_or_all(self.type, known_types(), otherwise="`syncd channels` lists them")
            raise UsageError(f"--type {self.type!r}: no such signal type; {near}")
        self.check_source(here)
        whole = normal_email(self.person)
        return Filter(
            since=here.moment(self.since, "--since"),
            until=here.moment(self.until, "--until"),
            channel=self.channel,
            type=self.type,
            person=whole,
            ids=self._people(here) if self.person and not whole else None,
            state=self.state,
            source=self.source,
            destination=destination,
        )


def near_or_all(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """The name that was probably meant, else all there are (or `otherwise`)."""
    from syncd.registry import closest

    names = tuple(dict.fromkeys(known))
    near = closest(word, names)
    return f"did you mean {near}?" if near else otherwise or f"there are: {', '.join(names) or 'none'}"


def known_name(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, which must be one of these; `what`: source, destination and so on. UsageError says what was probably meant."""
    names = tuple(known)
    if name not in names:
        raise UsageError(f"no {what} {name!r}; {near_or_all(name, names)}")
    return name


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
