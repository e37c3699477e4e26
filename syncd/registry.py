"""Finds connectors by entry point (`syncd.connectors`, named `source.TYPE` or `destination.TYPE`), importing each only
when it is asked for. A third party's wheel adds a connector the way ours do."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from syncd.connector import CHANGES, CONTRACT, Ability, Connector
from syncd.connector import Role as Role
from syncd.errors import UsageError
from syncd.signal_types import CUSTOM_PREFIX, SignalType, catalogue, declare, is_declared, known_types

GROUP = "syncd.connectors"
GUIDE = "docs/writing-a-connector.md"
ROLES: tuple[Role, ...] = ("source", "destination")


@cache
def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def names(role: Role) -> tuple[str, ...]:
    """The types that can stand behind `type:`, sorted."""
    prefix = role + "."
    return tuple(sorted(name.removeprefix(prefix) for name in _entries() if name.startswith(prefix)))


def closest(word: str, known: tuple[str, ...]) -> str:
    """The known name a mistyped one probably means, "" when none is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return near[0] if near else ""


def load(role: Role, type_name: str) -> Connector[Any, Any]:
    """The connector behind `type:`. Raises UsageError for an unknown type or one whose package does not import."""
    entry = _entries().get(f"{role}.{type_name}")
    if entry is None:
        near = closest(type_name, names(role))
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(names(role))}"
        raise UsageError(f"no {role} connector of type {type_name!r}; {hint}")
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{role} connector {type_name!r} does not load: {error}; install what it needs") from error
    if not isinstance(found, Connector):
        raise UsageError(f"{role} connector {type_name!r} ({entry.value}) is not a syncd Connector")
    if refused := refusal(found, role):
        raise UsageError(f"{role} connector {type_name!r} ({entry.value}) {refused}")
    try:
        declare_types(found)
    except ValueError as error:
        raise UsageError(
            f"{role} connector {type_name!r} declares a signal type that cannot be used: {error}"
        ) from error
    return found


def declare_types(connector: Connector[Any, Any]) -> None:
    """Makes a connector's own signal types known. Raises ValueError for one that cannot be, or means something else already."""
    for spec in connector.signals:
        if spec.type == "*" or spec.type.startswith(CUSTOM_PREFIX) or (is_declared(spec.type) and not spec.channel):
            continue
        declare(SignalType(spec.type, spec.channel, spec.switch, spec.title or spec.type, spec.direction))
        _DECLARED_BY.setdefault(spec.type, connector.name)


_DECLARED_BY: dict[str, str] = {}


def declared_by(signal_type: str) -> str:
    """The connector that declared a type of its own, "" for shipped types."""
    return _DECLARED_BY.get(signal_type, "")


@cache
def load_every_source() -> None:
    """All installed sources, for the types that they declare; whichever does not load declares none."""
    for type_name in names("source"):
        with suppress(UsageError):
            load("source", type_name)


def fitting_types(pattern: str) -> tuple[str, ...]:
    """The signal types that a pattern (`call.*`) fits. Connectors that nothing has loaded yet are loaded only when the types
    known so far do not fit."""
    found = _fitting(pattern)
    if not found:
        load_every_source()
        found = _fitting(pattern)
    return found


def _fitting(pattern: str) -> tuple[str, ...]:
    return tuple(kind for kind in known_types() if fnmatchcase(kind, pattern))


def catalogue_for(channel: str, switch: str = "") -> dict[str, dict[str, str]]:
    """channel -> switch -> signal type. If this channel (and switch) is not in it so far, installed connectors that nothing
    has loaded yet are loaded, for the types that they declare."""
    known = catalogue()
    if channel not in known or (switch and switch not in known[channel]):
        load_every_source()
        known = catalogue()
    return known


def refusal(connector: Connector[Any, Any], role: Role) -> str:
    """Why this connector cannot be used as `role`, as the end of a sentence; "" when it can."""
    if connector.contract > CONTRACT:
        return f"was written for version {connector.contract} of the contract, this syncd has {CONTRACT}: upgrade syncd"
    if connector.contract < CONTRACT:
        changed = "; ".join(
            CHANGES[version] for version in range(max(connector.contract, 0) + 1, CONTRACT + 1) if version in CHANGES
        )
        return (
            f"was written for version {connector.contract} of the contract, this syncd has {CONTRACT}: {changed}; "
            f"see {GUIDE}, adapt it, then set contract={CONTRACT}"
        )
    if connector.role != role:
        declared = f"declares role={connector.role!r}" if connector.role else "declares no role"
        return f"{declared} but is registered as {role}.{connector.name}; correct the one or the other ({GUIDE})"
    return ""


def made_by(type_name: str, settings: Any, switches: frozenset[str]) -> tuple[str, ...]:
    """The signal types that a source with these settings makes: as they tell, else all that its connector can make; also with
    None, for an entry whose keys are not valid."""
    connector = load("source", type_name)
    told = connector.makes(settings, switches) if connector.makes is not None and settings is not None else ()
    return told or tuple(spec.type for spec in connector.signals)


def unable(role: Role, type_name: str, settings: Any) -> Mapping[Ability, str]:
    """Ability -> why these settings of a connector lack it; {} when they allow all that it can do."""
    reasons = load(role, type_name).unable
    return {} if reasons is None else reasons(settings)
