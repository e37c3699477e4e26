"""`dead` and `replay`: writes that need a person, and stored signals written again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import filters
from syncd.cli.completing import destinations
from syncd.cli.filters import Chosen, one_signal
from syncd.cli.session import Session, session
from syncd.errors import UsageError

if TYPE_CHECKING:
    from syncd.dispatch.letters import Changed
    from syncd.store import Store
    from syncd.store.queries import Filter

dead_app = typer.Typer(no_args_is_help=True, help="Writes that need a person: dead, unconfirmed and held ones.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="ids of signals, or the beginnings of them")]
All = Annotated[bool, typer.Option("--all", help="all that the filters leave")]
WriteState = Annotated[str, typer.Option("--state", help="dead, unconfirmed or held; default: dead")]
To = Annotated[
    str, typer.Option("--to", metavar="DESTINATION", autocompletion=destinations, help="only this destination")
]
LETTER_STATES = ("dead", "unconfirmed", "held")
COLUMNS = ("updated_at", "destination", "state", "type", "person", "rule", "object", "reason", "signal_id")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(dead_app, name="dead")
    app.command("replay")(replay)


@dead_app.command("list")
def dead_list(
    context: typer.Context,
    since: filters.Since = None,
    until: filters.Until = None,
    channel: filters.Channel = "",
    type: filters.Type = "",
    person: filters.Person = "",
    state: WriteState = "dead",
    source: filters.Source = "",
    to: To = "",
    limit: filters.Limit = 100,
) -> None:
    """The newest first, with what the CRM said."""
    from syncd.dispatch.letters import letters

    here = session(context)
    chosen = _filter(here, Chosen(since, until, channel, type, person, "", source), to)
    with here.store() as store:
        rows = [_row(letter) for letter in letters(store, chosen, states=_states(state), limit=limit)]
    here.out.rows(rows, COLUMNS, empty=f"nothing {state}")


@dead_app.command("show")
def dead_show(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="id of the signal, or the beginning of it")],
) -> None:
    """The writes of one signal that need a person."""
    from syncd.dispatch.letters import letters
    from syncd.store.queries import Filter

    here = session(context)
    with here.store() as store:
        signal = one_signal(store, id)
        found = letters(store, Filter(id=str(signal.id)), states=LETTER_STATES)
    if not found:
        raise UsageError(f"no write of signal {signal.id} needs a person; `syncd explain` tells its story")
    for letter in found:
        here.out.record(_row(letter))


@dead_app.command("retry")
def dead_retry(
    context: typer.Context,
    ids: Ids = None,
    every: All = False,
    since: filters.Since = None,
    until: filters.Until = None,
    channel: filters.Channel = "",
    type: filters.Type = "",
    person: filters.Person = "",
    state: WriteState = "dead",
    source: filters.Source = "",
    to: To = "",
) -> None:
    """Tries them again, with all their tries.

    A running daemon does so; without one, this command at once.
    """
    from syncd.dispatch.letters import retry

    here = session(context)
    chosen = Chosen(since, until, channel, type, person, "", source)
    with here.store() as store:
        total = [
            retry(store, wanted, states=_states(state), live_within=here.settings.live_within)
            for wanted in _wanted(here, store, ids, every, chosen, to)
        ]
        _say(here, "tried again", total)
        if sum(changed.writes for changed in total):
            deliver(here, store, [to] if to else None)


@dead_app.command("discard")
def dead_discard(
    context: typer.Context,
    ids: Ids = None,
    every: All = False,
    since: filters.Since = None,
    until: filters.Until = None,
    channel: filters.Channel = "",
    type: filters.Type = "",
    person: filters.Person = "",
    state: WriteState = "dead",
    source: filters.Source = "",
    to: To = "",
) -> None:
    """Gives them up for good; they stay in the books as discarded."""
    from syncd.dispatch.letters import discard

    here = session(context)
    chosen = Chosen(since, until, channel, type, person, "", source)
    with here.store() as store:
        wanted = _wanted(here, store, ids, every, chosen, to)
        _say(here, "discarded", [discard(store, each, states=_states(state)) for each in wanted])


def replay(
    context: typer.Context,
    to: Annotated[
        str, typer.Option("--to", metavar="DESTINATION", autocompletion=destinations, help="where to write them again")
    ],
    since: filters.Since = None,
    until: filters.Until = None,
    channel: filters.Channel = "",
    type: filters.Type = "",
    person: filters.Person = "",
    state: filters.State = "",
    source: filters.Source = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count what it would write; touch nothing")] = False,
) -> None:
    """Maps stored signals again, and updates their records.

    For a corrected mapping, or a new destination. The past calls nobody to action.
    """
    from syncd.dispatch.replay import replay as write_again

    here = session(context)
    _known(here, to)
    wanted = Chosen(since, until, channel, type, person, state, source).filter(here)
    with here.store() as store:
        done = write_again(store, wanted, to, only=here.settings.destinations[to].only, dry_run=dry_run)
        if here.as_json:
            here.out.record(asdict(done))
        else:
            busy = f", {done.busy} on their way already" if done.busy else ""
            unwanted = f", {done.unwanted} not asked for by its `only:`" if done.unwanted else ""
            verb = "would be mapped" if dry_run else "are mapped"
            here.out.say(f"{done.again} {verb} again, {done.new} for the first time{busy}{unwanted}")
        if not dry_run and done.again + done.new:
            deliver(here, store, [to])


def deliver(here: Session, store: Store, names: list[str] | None = None) -> None:
    """Without a daemon, works the queue of these destinations (default: all) off, as far as it can be now. With one, the
    daemon does."""
    from syncd.assembly import assemble
    from syncd.dispatch import Lane
    from syncd.dispatch.drain import drain
    from syncd.jobs import daemon_runs
    from syncd.store.calling import EVERYBODY, call_out
    from syncd.store.groups import Stir

    if daemon_runs(store):
        call_out(store, Stir(frozenset(names or [EVERYBODY])))
        here.out.say("the running daemon writes them")
        return
    assembly = assemble(here.loaded, store=store, only_sources=())
    try:
        for name, outlet in assembly.outlets.items():
            if names is not None and name not in names:
                continue
            lane = Lane(name, outlet.destination, outlet.mapping, store, here.settings)
            done = drain(lane, store)
            if done is None:
                here.out.say(f"{name}: another process is writing to it")
                continue
            wait = f"; {done.waiting} wait for the next `syncd run`" if done.waiting else ""
            here.out.say(f"{name}: {done.settled} settled{wait}" + (f": {done.why}" if done.why else ""))
    finally:
        assembly.close()


def _wanted(here: Session, store: Store, ids: list[str] | None, every: bool, chosen: Chosen, to: str) -> list[Filter]:
    """What the command line names. UsageError for nothing, or for ids together with filters."""
    from syncd.store.queries import Filter

    if ids:
        if every or not chosen.empty:
            raise UsageError("give either IDs, or --all with filters")
        if to:
            _known(here, to)
        return [Filter(id=str(one_signal(store, id).id), destination=to) for id in ids]
    if not every:
        raise UsageError("give IDs, or --all (with filters)")
    return [_filter(here, chosen, to)]


def _filter(here: Session, chosen: Chosen, to: str) -> Filter:
    if to:
        _known(here, to)
    return chosen.filter(here, destination=to)


def _known(here: Session, destination: str) -> None:
    if destination not in here.settings.destinations:
        raise UsageError(
            f"no destination {destination!r}; there are: {', '.join(here.settings.destinations) or 'none'}"
        )


def _states(state: str) -> tuple[str, ...]:
    if state not in LETTER_STATES:
        raise UsageError(f"--state {state!r}: there are {', '.join(LETTER_STATES)}")
    return (state,)


def _row(letter: Any) -> dict[str, Any]:
    from syncd.store.engine import moment

    row = asdict(letter)
    times = {name: moment(row[name]) for name in ("updated_at", "occurred_at")}
    return row | times | {"person": row["identity"].partition(":")[2]}


def _say(here: Session, verb: str, changes: list[Changed]) -> None:
    writes = sum(changed.writes for changed in changes)
    deliveries = sum(changed.deliveries for changed in changes)
    busy = sum(changed.busy for changed in changes)
    if here.as_json:
        here.out.record({"writes": writes, "deliveries": deliveries, "busy": busy})
        return
    here.out.say(f"{writes} writes of {deliveries} signals {verb}" + (f"; {busy} are being worked on" if busy else ""))
