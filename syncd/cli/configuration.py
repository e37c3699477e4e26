"""`check`, `config`, `connectors`, `channels`: what is configured, whether it holds, and what there is to configure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd import registry
from syncd.cli.completing import connectors as connector_types
from syncd.cli.confirming import DryRun
from syncd.cli.online import ask_vendors, with_secrets
from syncd.cli.session import Session, session
from syncd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel


config_app = typer.Typer(no_args_is_help=True, help="The configuration in force; schema and example of it.")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("check")(check)
    app.add_typer(config_app, name="config")
    app.command("connectors")(connectors)
    app.command("channels")(channels)


def check(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="with --online: only these sources and destinations, or store"),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="also ask the vendors: credentials, rights, fields, quota")
    ] = False,
) -> int:
    """Every fault of the configuration and the mappings, at once.

    With --online also runs the checks that need the vendors. It changes nothing there; exits with status 1 if one fails.
    """
    from syncd.service.assembly import check_configuration

    here = session(context)
    if names and not online:
        raise UsageError("names are for --online: write `syncd check --online NAME`")
    report = check_configuration(here.config_path)
    if report.faults:
        if here.as_json:
            here.out.rows([{"level": "fault", **_fault(fault)} for fault in report.faults], [])
        raise ConfigError(report.faults)
    if online:
        with_secrets(here, names or ())
    if here.as_json:
        levels = {"warning": report.warnings, "note": report.notes, "needed": report.missing}
        rows = [(level, fault) for level, faults in levels.items() for fault in faults]
        here.out.rows([{"level": level, **_fault(fault)} for level, fault in rows], [])
        return ask_vendors(here, names or ()) if online else 0
    for warning in report.warnings:
        here.out.say(f"warning: {warning}")
    for note in report.notes:
        here.out.say(f"note: {note}")
    for missing in report.missing:
        here.out.say(f"needed by run: {missing}")
    here.out.say(f"{here.config_path}: {report.summary}")
    return ask_vendors(here, names or ()) if online else 0


def _fault(fault: Any) -> dict[str, Any]:
    return {name: getattr(fault, name) for name in ("file", "line", "column", "key", "message", "hint")}


@config_app.command("show")
def show(context: typer.Context) -> None:
    """The effective values, with secrets masked."""
    import yaml

    here = session(context)
    values = masked(here)
    if here.as_json:
        here.out.record(values)
    else:
        here.out.text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


@config_app.command("schema")
def schema(context: typer.Context) -> None:
    """A JSON Schema of the configuration file, for editors."""
    import json

    from syncd.config.schema import config_schema

    session(context).out.text(json.dumps(config_schema(), indent=2))


@config_app.command("example")
def example(context: typer.Context) -> None:
    """A file with every key, explained: copy what you need."""
    from importlib.resources import files

    session(context).out.text((files("syncd") / "config.example.yaml").read_text("utf-8"))


def masked(here: Session) -> dict[str, Any]:
    """The settings as YAML would hold them: secrets are ******, connector keys beside the common ones."""
    import orjson

    settings = here.settings
    values: dict[str, Any] = orjson.loads(settings.model_dump_json(exclude={"sources", "destinations"}))
    values["database"] = mask_url(settings.database.get_secret_value())
    values["sources"] = {name: _entry(entry) for name, entry in settings.sources.items()}
    values["destinations"] = {name: _entry(entry) for name, entry in settings.destinations.items()}
    return values


def _entry(entry: BaseModel) -> dict[str, Any]:
    import orjson

    common: dict[str, Any] = orjson.loads(entry.model_dump_json(exclude={"name", "connector"}, exclude_none=True))
    own: dict[str, Any] = orjson.loads(entry.connector.model_dump_json(exclude_none=True, by_alias=True))  # type: ignore[attr-defined]
    return common | own


def mask_url(url: str) -> str:
    """A database URL without its password."""
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{':******' if colon else ''}{at}{host}" if at else url


def connectors(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="one connector, with its keys and signals; or the word new",
            autocompletion=connector_types,
        ),
    ] = None,
    new_name: Annotated[
        str | None, typer.Argument(metavar="[NEW_NAME]", help="after new: the `type:` of the connector to make")
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="new: polling, webhook, hint or destination; may be repeated"),
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="FOLDER", help="new: where; default: ./syncd-NEW_NAME")
    ] = None,
) -> None:
    """The connectors; with NAME, all about one. `connectors new NEW_NAME --kind KIND` makes a package with its test."""
    if name == "new":
        _new_connector(context, new_name, kinds or [], into)
        return
    if new_name or kinds or into:
        raise UsageError("write `syncd connectors new NEW_NAME --kind KIND`, or `syncd connectors NAME`")
    out = session(context).out
    if name is None:
        rows = [{"type": kind, "role": role, "summary": _summary(role, kind)} for role, kind in _all_connectors()]
        out.rows(rows, ["type", "role", "summary"])
        return
    here = session(context)
    for role in _roles_of(name):
        _show_connector(here, role, name)


def _all_connectors() -> list[tuple[registry.Role, str]]:
    return [(role, kind) for role in registry.ROLES for kind in registry.names(role)]


def _roles_of(name: str) -> list[registry.Role]:
    """Source, destination or both. Raises UsageError for an unknown connector."""
    known = _all_connectors()
    found = [role for role, kind in known if kind == name]
    if not found:
        near = registry.closest(name, tuple(kind for _, kind in known))
        raise UsageError(
            f"no connector {name!r}" + (f"; did you mean {near}?" if near else "; `syncd connectors` lists them")
        )
    return found


def _show_connector(here: Session, role: registry.Role, name: str) -> None:
    """Keys, signals, kinds of write and abilities of one connector: a record in JSON, else tables. Where there is a
    configuration, also what its entries of this type lack."""
    from syncd.cli.abilities import capabilities_of, kinds_of_write, unable_here
    from syncd.config.schema import key_rows
    from syncd.signal_types import title_of

    out = here.out
    connector = registry.load(role, name)
    keys = list(key_rows(connector.settings))
    writes, can = kinds_of_write(connector), capabilities_of(connector)
    configured = here.configured()
    lacking = unable_here(configured, role, name) if configured is not None else []
    if out.as_json:
        made = [
            {"type": s.type, "title": title_of(s.type), "key": s.key, "backfill": s.backfill} for s in connector.signals
        ]
        about: dict[str, Any] = {"type": name, "role": role, "summary": connector.summary, "keys": keys}
        out.record(about | {"signals": made, "writes": writes, "abilities": can, "unable": lacking})
        return
    out.text(f"{name} ({role}): {connector.summary}")
    for row in keys:
        row["default"] = "(required)" if row.pop("required") else row["default"]
    out.rows(keys, ["key", "type", "default", "description"], title="keys")
    if connector.signals:
        made = [{"signal": s.type, "id_made_of": s.key, "backfill": s.backfill} for s in connector.signals]
        out.rows(made, ["signal", "id_made_of", "backfill"], title="signals")
    if writes:
        out.rows(writes, ["object", "kind", "enforced"], title="kinds of write")
    out.rows(can, ["ability", "what_for", "there"], title="what it can do")
    if lacking:
        out.rows(lacking, ["name", "ability", "why"], title="what your configuration does not allow")


def _new_connector(context: typer.Context, name: str | None, kinds: list[str], into: Path | None) -> None:
    from syncd import scaffold

    if name is None:
        raise UsageError("give the new connector a name: syncd connectors new acme --kind webhook")
    wanted = scaffold.plan(name, kinds)
    here = session(context)
    folder = here.cwd / (into or Path(f"syncd-{name.replace('_', '-')}"))
    made = scaffold.write(wanted, folder)
    here.out.rows([{"file": str(path)} for path in made], ["file"])
    here.out.say(f"now: cd {folder}, pip install -e . pytest, pytest; then make the invented vendor yours (README.md)")


def _summary(role: registry.Role, kind: str) -> str:
    try:
        return registry.load(role, kind).summary
    except UsageError as error:  # one broken package must not hide the others
        return str(error)


def channels(
    context: typer.Context,
    action: Annotated[str | None, typer.Argument(metavar="[ACTION]", help="enable or disable")] = None,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="signal types: email.received, ticket.*, custom.order"),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Shows the switches, or edits them in the file (comments stay)."""
    from syncd.config.switches import edit_switches, switch_rows

    here = session(context)
    if action is None:
        here.out.rows(switch_rows(here.settings), ["channel", "switch", "type", "title", "wanted"])
        return
    if action not in ("enable", "disable") or not patterns:
        raise UsageError("write `syncd channels enable PATTERN...` or `syncd channels disable PATTERN...`")
    changed = edit_switches(here.config_path, patterns, on=action == "enable", dry_run=dry_run)
    verb = f"would {action}" if dry_run else f"{action}d"
    here.out.say(f"{here.config_path}: {verb} {', '.join(changed)}" if changed else "nothing to change")
