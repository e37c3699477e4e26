"""`prepare`, and the half of `check` that asks the vendors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli.filters import known_name
from syncd.cli.session import Session, session

if TYPE_CHECKING:
    from syncd.config.loading import Loaded
    from syncd.preflight.lines import CheckLine


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("prepare")(prepare)


def with_secrets(here: Session, names: Sequence[str]) -> Loaded:
    """The configuration with the secrets of these entries (none: of all); those of others may be unset. Raises ConfigError."""
    from syncd.errors import ConfigError

    loaded = here.seen
    whose = tuple(f"{kind}.{name}." for kind in ("sources", "destinations") for name in names)
    gaps = [gap for gap in loaded.missing if not names or gap.key.startswith(whose)]
    if gaps or loaded.settings is None:
        raise ConfigError(gaps or loaded.missing)
    return loaded


def ask_vendors(here: Session, names: Sequence[str]) -> int:
    """`check --online`, after the configuration was found valid: prints, and returns the exit code."""
    from syncd.preflight.lines import failed, summary
    from syncd.preflight.run import check_online

    lines = check_online(with_secrets(here, names), names)
    _show(here, lines)
    here.out.say(f"{here.config_path}: {summary(lines)}")
    return 1 if failed(lines) else 0


def prepare(
    context: typer.Context,
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="the name of a destination")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be made; make nothing")] = False,
) -> int:
    """Makes the fields a mapping needs, or says how to.

    Where the CRM's API cannot, or our user may not, it tells exactly where to click. Asked twice it makes nothing twice.
    Afterwards the mapping is compared with the CRM again.
    """
    from syncd.capabilities import Level
    from syncd.preflight import prepare as preparing
    from syncd.preflight import stores
    from syncd.preflight.lines import failed
    from syncd.service.assembly import assemble

    here = session(context)
    loaded = with_secrets(here, [destination])
    settings = here.settings
    known_name("destination", destination, list(settings.destinations))
    store, _ = stores.opened(settings, here.config_path.parent)
    assembly = assemble(loaded, store=store, only_sources=())
    try:
        outlet = assembly.outlets[destination]
        count = 0
        for step in preparing.steps(outlet, store, dry=dry_run):
            count += 1
            state = "done" if step.done else "by hand" if step.by_hand else "dry run" if dry_run else "not yet"
            row = {"object": step.need.object, "field": step.need.field, "state": state, "message": step.message}
            if here.as_json:
                here.out.line(row, [])
            else:
                here.out.text(f"{state:8}{step.message}")
        if not count:
            here.out.say(f"{destination}: nothing is missing")
        if dry_run:
            return 0
        lines = [line for line in preparing.left(outlet, store) if line.level is not Level.OK]
        _show(here, lines)
        if count and not lines:
            here.out.say(f"{destination}: the mapping and the CRM agree now")
        return 1 if failed(lines) else 0
    finally:
        assembly.close()
        if store is not None:
            store.close()


def _show(here: Session, lines: Sequence[CheckLine]) -> None:
    for line in lines:
        if here.as_json:
            here.out.line(line.as_dict(), [])
        else:
            here.out.text(line.text())
