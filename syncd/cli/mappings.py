"""`mapping lint|test|show` and `preview`: mappings tried without touching anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.completing import destinations
from syncd.cli.filters import near_or_all
from syncd.cli.session import Session, session
from syncd.errors import ConfigError, SyncdError, UsageError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from syncd.connector import Link, PersonMatch
    from syncd.errors import Fault
    from syncd.mapping.preview import Previewed
    from syncd.service.assembly import BuiltDestination
    from syncd.signals import Signal

mapping_app = typer.Typer(no_args_is_help=True, help="Checks mappings, runs their tests, shows shipped ones.")
FileArgument = Annotated[
    str | None, typer.Argument(metavar="[FILE]", help="a mapping; default: those of the configuration")
]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(mapping_app, name="mapping")
    app.command("preview")(preview)


@mapping_app.command("lint")
def lint_mappings(context: typer.Context, file: FileArgument = None) -> None:
    """Errors in a mapping, and what is probably unintended."""
    from syncd.mapping.lint import lint_mapping

    here = session(context)
    faults: list[Fault] = []
    for found in _mappings(here, file):
        report = lint_mapping(found)
        faults += report.faults
        for warning in report.warnings:
            here.out.say(f"warning: {warning}")
        if not report.faults:
            here.out.say(f"{found}: ok")
    if faults:
        raise ConfigError(faults)


@mapping_app.command("test")
def beside(context: typer.Context, file: FileArgument = None) -> None:
    """Runs NAME.tests.yaml beside each mapping."""
    from syncd.mapping import load_mapping
    from syncd.mapping.testing import run_tests, tests_beside

    here = session(context)
    rows: list[dict[str, Any]] = []
    failures: list[Fault] = []
    for found in _mappings(here, file):
        beside = tests_beside(found)
        if beside is None:
            here.out.say(f"{found}: has no tests beside it")
            continue
        for result in run_tests(load_mapping(found), beside):
            rows.append({"mapping": found.name, "test": result.name, "result": "ok" if result.passed else "failed"})
            failures += result.differences
    here.out.rows(rows, ["mapping", "test", "result"], empty="no tests")
    if failures:
        raise SyncdError("\n".join(_changed(failures)))


def _changed(failures: list[Fault]) -> list[str]:
    """What differs, once for all tests in which the same field of the same rule does: a change of one line is one line here."""
    alike: dict[str, list[Fault]] = {}
    for failure in failures:
        _, _, field = failure.key.partition("expect.")
        alike.setdefault(f"{failure.file} {field}", []).append(failure)
    return [
        f"{first}{f'; so in {len(more)} more tests, the next in line {more[0].line}' if more else ''}"
        for first, *more in alike.values()
    ]


@mapping_app.command("show")
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="a shipped mapping, named as its type of destination")],
    tests: Annotated[bool, typer.Option("--tests", help="the tests beside it")] = False,
) -> None:
    """A mapping that comes with syncd, as a starting point for your own."""
    from syncd.mapping.shipped import shipped_mappings, tests_beside

    known = shipped_mappings()
    if name not in known:
        raise UsageError(f"no mapping {name!r} comes with syncd; {near_or_all(name, known)}")
    found = tests_beside(known[name]) if tests else known[name]
    assert found is not None  # each comes with its tests
    session(context).out.text(found.read_text("utf-8"))


def _mappings(here: Session, file: str | None) -> list[Path | Traversable]:
    from syncd.mapping import find_mapping

    if file is not None:
        return [find_mapping(file, here.cwd)]
    names = {entry.mapping or f"mappings/{entry.type}.yaml" for entry in here.settings.destinations.values()}
    return [find_mapping(name, here.config_path.parent) for name in sorted(names)]


def preview(
    context: typer.Context,
    signal_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="a stored signal")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", metavar="FILE", help="a signal as JSON or YAML")] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DESTINATION", autocompletion=destinations, help="default: every destination"),
    ] = None,
    find: Annotated[bool, typer.Option("--find", help="ask the CRM who the person is (reads only)")] = False,
) -> None:
    """The records a signal would write; touches nothing."""
    from syncd.connector import PersonQuery
    from syncd.mapping.preview import preview as records_of
    from syncd.service.assembly import assemble

    here = session(context)
    if (signal_id is None) == (file is None):
        raise UsageError("give a signal: its ID, or --file F")
    signal = _signal_of(here, file) if file is not None else _stored(here, signal_id or "")
    outlets = (assemble(here.loaded, only_sources=()) if find else here.assembly).outlets
    if to is not None and to not in outlets:
        raise UsageError(f"no destination {to!r}; {near_or_all(to, list(outlets))}")
    for name, outlet in outlets.items():
        if to is not None and name != to:
            continue
        person, found = signal.person, None
        if person.identity and outlet.mapping.knows_people:
            if find:
                wanted = PersonQuery(person.identity, outlet.mapping.lookups(person), person.email, person.name)
                found = outlet.destination.resolve([wanted])[0]
            elif file is None:
                found = remembered(here, name, person.identity)
        company = _company(here, outlet, signal, ask=find, stored=file is None)
        for record in records_of(outlet.mapping, signal, found, company=company, crm=outlet.destination):
            show_record(here, name, record)


def _company(here: Session, outlet: BuiltDestination, signal: Signal, *, ask: bool, stored: bool) -> Link | None:
    """The record of the company that a signal means, as the CRM (`ask`) or the database (`stored`) has it; None if unknown."""
    from syncd.capabilities import ResolvesAccounts
    from syncd.connector import AccountQuery, Link

    accounts, crm = outlet.mapping.accounts, outlet.destination
    identity = accounts.company(signal).identity if accounts is not None else ""
    if accounts is None or not identity:
        return None
    if ask and isinstance(crm, ResolvesAccounts):
        match = crm.resolve_accounts([AccountQuery(identity, accounts.lookups(signal))])[0]
        return Link(match.object, match.id) if match else None
    known = remembered(here, outlet.settings.name, identity) if stored else None
    return Link(known.object, known.id) if known else None


def remembered(here: Session, destination: str, identity: str) -> PersonMatch | None:
    """Who the person of a stored signal is in a CRM, as the database has it; None when it does not know."""
    from syncd.dispatch.plan import as_found
    from syncd.store.lanes import people

    with here.store() as store, store.read() as connection:
        return as_found(people(connection, destination, [identity]).get(identity))


def show_record(here: Session, destination: str, record: Previewed) -> None:
    title = f"{destination} · {record.rule}: {record.title or record.object}"
    if here.as_json:
        fields = [{"field": field.name, "value": field.value, "note": field.note} for field in record.fields]
        here.out.record(
            {"destination": destination, "rule": record.rule, "object": record.object, "key": record.key_field}
            | {"about": record.about, "skipped": record.skipped, "fields": fields}
        )
        return
    if record.skipped:
        here.out.text(f"{title} (skipped: {record.skipped})\n")
        return
    rows: list[dict[str, Any]] = [
        {"field": field.name, "value": field.value, "note": field.note} for field in record.fields
    ]
    rows += [{"field": fault.field, "value": "", "note": f"fault: {fault.message}"} for fault in record.faults]
    how = "their own record" if record.update else f"key {record.key_field or 'none'}"
    here.out.rows(rows, ["field", "value", "note"], title=f"{title} ({record.object}, {how})")


def _signal_of(here: Session, file: Path) -> Signal:
    """A signal from a file: the keys of `signals show --json`, those that matter for the mapping are enough."""
    from syncd.config.loading import read_text
    from syncd.config.yaml_positions import read_yaml
    from syncd.mapping.testing import sample_signal

    return sample_signal(read_yaml(read_text(file), str(file)), str(file), region=here.settings.region)


def _stored(here: Session, signal_id: str) -> Signal:
    from syncd.cli.filters import one_signal

    with here.store() as store:
        return one_signal(store, signal_id)
