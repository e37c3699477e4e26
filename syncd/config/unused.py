"""What a valid configuration says to no purpose: switches without a source, sources whose signals are all off, destinations
that ask for nothing that is on. `check` shows it as warnings. Pure: nothing here reads a file or builds a connector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

from syncd import registry
from syncd.config.models import Settings, SourceSettings
from syncd.errors import UsageError
from syncd.signal_types import CUSTOM_PREFIX, catalogue, known_types, place_of

IMPORTED = frozenset({"contact.changed", "account.changed"})
"""`syncd import` makes these without a source."""
ANY = "*"
"""What a source declares that may make every type."""
Found = Iterator[tuple[tuple[str, ...], str, str]]
"""(path in the configuration, what, what to do)."""


def loose_ends(settings: Settings) -> Found:
    """Everything of the kind, in the order of the file."""
    made = {name: _makes(settings, entry) for name, entry in settings.sources.items()}
    if not settings.sources:
        yield ("sources",), "there is no source: nothing comes in", "`syncd connectors` lists the types of sources"
    if not settings.destinations:
        hint = "signals are only stored; `syncd connectors` lists the types of destinations"
        yield ("destinations",), "there is no destination: nothing is written", hint
    yield from _switches(settings, made)
    for name, patterns in made.items():
        if patterns and not any(_is_on(settings, pattern) for pattern in patterns):
            yield ("sources", name), f"nothing becomes a signal: {_off(patterns)}", _switch_on(patterns[0])
    for name, destination in settings.destinations.items():
        if not any(_is_on(settings, pattern) for pattern in destination.only):
            hint = "switch them on in channels:"
            yield ("destinations", name, "only"), f"nothing goes there: {_off(destination.only)}", hint


def _switches(settings: Settings, made: dict[str, tuple[str, ...]]) -> Found:
    patterns = {pattern for kinds in made.values() for pattern in kinds}
    known = catalogue()
    for channel, switches in settings.channels.items() if settings.sources else ():
        for switch, wanted in switches.items():
            kind = known.get(channel, {}).get(switch, f"{CUSTOM_PREFIX}{switch}")
            if not wanted or kind in IMPORTED or any(_meet(kind, pattern) for pattern in patterns):
                continue
            maker = registry.declared_by(kind)
            which = f"of type {maker}" if maker else "that does (`syncd connectors` says which)"
            hint = f"add a source {which}, or take the switch out"
            yield ("channels", channel, switch), f"is on, and no source makes {kind}", hint


def _makes(settings: Settings, entry: SourceSettings) -> tuple[str, ...]:
    with suppress(UsageError):  # an unknown type is a fault of its own
        return registry.made_by(entry.type, entry.connector, settings.newer_types)
    return ()


def _off(patterns: Sequence[str]) -> str:
    return f"{', '.join(patterns)} {'is' if len(patterns) == 1 else 'are'} off"


def _switch_on(kind: str) -> str:
    """The line of the configuration that does it, and the command that writes it."""
    if kind == ANY:
        return "set a switch under channels: to true; `syncd channels` lists them"
    named = kind.removeprefix(CUSTOM_PREFIX)
    kind = named if named in known_types() else kind  # a type of NEWER, for want of its switch
    channel, switch = place_of(kind)
    return f"set `{channel}: {{{switch}: true}}` under channels:, or run `syncd channels enable {kind}`"


def _is_on(settings: Settings, pattern: str) -> bool:
    """Whether any signal type of this pattern is wanted."""
    custom = [f"{CUSTOM_PREFIX}{switch}" for switch, wanted in settings.channels.get("custom", {}).items() if wanted]
    if any(_meet(kind, pattern) for kind in custom):
        return True
    return any(settings.switch(kind) for kind in known_types() if fnmatchcase(kind, pattern))


def _meet(one: str, other: str) -> bool:
    """Whether two patterns, each a type or with `*` in it, may mean the same type."""
    return fnmatchcase(one, other) or fnmatchcase(other, one)
