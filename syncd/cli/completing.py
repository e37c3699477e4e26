"""What the shell offers after TAB: names of the configuration, signal types, connectors. Quick, and silent about trouble.

Called by completion scripts in a process of its own; whatever is wrong with the configuration, nothing is offered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer


def _offer(names: Callable[[typer.Context], Iterable[str]]) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        with suppress(Exception):
            return [name for name in names(ctx) if name.startswith(incomplete)]
        return []

    return complete


def _section(ctx: typer.Context, section: str) -> list[str]:
    """The names under a key of the YAML, which may be broken elsewhere: nothing is validated."""
    import yaml

    from syncd.config.locate import find_config

    path = find_config(ctx.find_root().params.get("config"), os.environ, Path.cwd())
    with path.open("rb") as file:
        document: Any = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both safe
    return [str(name) for name in document.get(section) or ()]


def _signal_types(ctx: typer.Context) -> list[str]:
    from syncd.signals import known_types

    return sorted(known_types())


def _connectors(ctx: typer.Context) -> list[str]:
    from syncd import registry

    return sorted({name for role in registry.ROLES for name in registry.names(role)})


sources = _offer(lambda ctx: _section(ctx, "sources"))
destinations = _offer(lambda ctx: _section(ctx, "destinations"))
signers = _offer(lambda ctx: [*_section(ctx, "sources"), *_section(ctx, "destinations")])
signal_types = _offer(_signal_types)
connectors = _offer(_connectors)


def _types(role: str) -> Callable[[typer.Context], Iterable[str]]:
    def names(ctx: typer.Context) -> Iterable[str]:
        from syncd import registry

        return registry.names("source" if role == "source" else "destination")

    return names


source_types = _offer(_types("source"))
destination_types = _offer(_types("destination"))
