"""Finds connectors by entry point (`syncd.connectors`, named `source.TYPE` or `destination.TYPE`), importing each only
when it is asked for. A third party's wheel adds a connector the way ours do."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from syncd.connector import Connector
from syncd.errors import UsageError

GROUP = "syncd.connectors"
Role = Literal["source", "destination"]
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


def load(role: Role, type_name: str) -> Connector[Any]:
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
    return found
