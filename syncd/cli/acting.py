"""`act`: one rule of one signal, set off by a user."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.completing import destinations
from syncd.cli.confirming import DryRun
from syncd.cli.filters import near_or_all, one_signal
from syncd.cli.mappings import remembered, show_record
from syncd.cli.session import Session, session
from syncd.cli.writing import deliver
from syncd.errors import UsageError

if TYPE_CHECKING:
    from syncd.capabilities import FieldDescription
    from syncd.mapping import Mapping
    from syncd.mapping.parts import RulePart
    from syncd.signals import Signal
    from syncd.store import Store

WATCHED = 10.0
"""Seconds that a running daemon is waited for."""
WATCH_EVERY = 0.25


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("act")(act)


def act(
    context: typer.Context,
    id: Annotated[
        str,
        typer.Argument(metavar="ID", help="id of the signal (`syncd signals list` shows it), or the beginning of it"),
    ],
    rule: Annotated[
        str,
        typer.Argument(
            metavar="[RULE]", help="the rule to carry out; without it: lists the rules that fit, and what each asks for"
        ),
    ] = "",
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="a value for a field that the rule asks for, instead of its default; may be repeated",
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="DESTINATION",
            autocompletion=destinations,
            help="the destination, where several have the rule",
        ),
    ] = "",
    dry_run: DryRun = False,
) -> None:
    """Carries out a rule that waits for a user, such as a follow-up task.

    These are the rules of a destination's mapping with `on: demand`; syncd never carries them out by itself. Repeating the
    command with the same values makes no second record; with other values it updates the record, unless the rule creates only.
    """
    here = session(context)
    with here.store() as store:
        signal = one_signal(store, id)
        offered = _offered(here, signal, to)
        if not rule:
            _list(here, offered)
            return
        name, mapping, part = _one(offered, rule)
        values = _values(here, store, name, part, given or [])
        if dry_run:
            _preview(here, name, mapping, part, signal, values)
            return
        _carry_out(here, store, name, mapping, part, signal, values)


def _offered(here: Session, signal: Signal, to: str) -> list[tuple[str, Mapping, RulePart]]:
    """The rules that a user may set off for this signal, and where."""
    outlets = here.assembly.outlets
    if to and to not in outlets:
        raise UsageError(f"no destination {to!r}; {near_or_all(to, list(outlets))}")
    return [
        (name, outlet.mapping, one.part)
        for name, outlet in outlets.items()
        if to in ("", name)
        for one in outlet.mapping.fitting(signal.type)
        if one.part.demand
    ]


def _one(offered: list[tuple[str, Mapping, RulePart]], rule: str) -> tuple[str, Mapping, RulePart]:
    found = [one for one in offered if one[2].id == rule]
    if not found:
        known = sorted({part.id for _, _, part in offered})
        hint = near_or_all(rule, known) if known else "its mappings have no rule with on: demand for this type"
        raise UsageError(f"no rule {rule!r} for this signal; {hint}")
    if len(found) > 1:
        raise UsageError(f"rule {rule} is in several mappings: add --to {' or '.join(name for name, _, _ in found)}")
    return found[0]


def _list(here: Session, offered: list[tuple[str, Mapping, RulePart]]) -> None:
    rows = [
        {
            "rule": part.id,
            "destination": name,
            "what": part.name,
            "asks": ", ".join(f"{field} ({label})" if label else field for field, label in part.ask.items()),
        }
        for name, _, part in offered
    ]
    here.out.rows(rows, ["rule", "destination", "what", "asks"], empty="no rule waits for a user here")


def _values(here: Session, store: Store, name: str, part: RulePart, given: list[str]) -> dict[str, Any]:
    """The values by field, each of the type that the field takes."""
    from syncd.mapping.bounds import type_of
    from syncd.mapping.given_values import TEXT, given_value

    texts: dict[str, str] = {}
    for text in given:
        field, equals, value = text.partition("=")
        if not equals or field not in part.ask:
            known = near_or_all(field, list(part.ask)) if part.ask else f"rule {part.id} asks for nothing"
            raise UsageError(f"--set {text}: {known}")
        texts[field] = value
    trees = part.on_create | part.fields
    types = {field: type_of(trees.get(field)) for field in texts}
    described = _described(here, store, name, part.object) if TEXT in types.values() else {}
    values: dict[str, Any] = {}
    for field, value in texts.items():
        try:
            values[field] = given_value(value, types[field], described.get(field.casefold()))
        except ValueError as error:
            raise UsageError(f"--set {field}={value}: {error}") from None
    return values


def _described(here: Session, store: Store, name: str, object_: str) -> dict[str, FieldDescription]:
    """The fields of an object in the CRM, by name without case; none where it does not tell, or cannot be asked."""
    from syncd.capabilities import Describes
    from syncd.errors import Failure
    from syncd.preflight.parts import book

    crm = here.assembly.outlets[name].destination
    if not isinstance(crm, Describes):
        return {}
    try:
        fields = crm.describe([object_]).get(object_, ())
    except Failure as failed:
        here.out.say(f"{name} could not be asked which values its fields take: {failed}")
        return {}
    finally:
        cost = crm.spend()
        book(name, store, cost.units, cost.calls)
    return {one.name.casefold(): one for one in fields}


def _preview(
    here: Session, name: str, mapping: Mapping, part: RulePart, signal: Signal, values: dict[str, Any]
) -> None:
    from syncd.mapping.preview import preview

    found = remembered(here, name, signal.person.identity) if signal.person.identity else None
    for record in preview(mapping, signal, found, demanded={part.id: values}):
        if record.rule == part.id:
            show_record(here, name, record)


def _carry_out(
    here: Session,
    store: Store,
    name: str,
    mapping: Mapping,
    part: RulePart,
    signal: Signal,
    values: dict[str, Any],
) -> None:
    from syncd.dispatch.acting import Demand, row_of
    from syncd.dispatch.acting import act as put_into_queue

    fitting = [one.part for one in mapping.fitting(signal.type)]
    others = [(one.id, one.object) for one in fitting if not one.demand]
    demand = Demand(name, str(signal.id), part.id, part.object, values, part.verb.once, others)
    if put_into_queue(store, demand, live_within=here.settings.live_within):
        deliver(here, store, [name])
    until = time.monotonic() + WATCHED
    row = row_of(store, name, str(signal.id), part.id)
    while row is not None and row.state in ("pending", "sending") and not row.reason and time.monotonic() < until:
        time.sleep(WATCH_EVERY)
        row = row_of(store, name, str(signal.id), part.id)
    assert row is not None
    here.out.record(
        {
            "destination": name,
            "rule": row.rule,
            "object": row.object,
            "id": row.crm_id,
            "state": row.state,
            "reason": row.reason,
        }
    )
