"""`dead` and `replay`: writes that need attention, and stored signals written again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import filters
from syncd.cli.completing import destinations
from syncd.cli.confirming import DryRun, Yes, agreed
from syncd.cli.filters import Chosen, known_name, near_or_all, one_signal
from syncd.cli.session import Session, session
from syncd.errors import SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.dispatch.dead_letters import Changed
    from syncd.dispatch.replay import Replayed
    from syncd.service.assembly import Assembly
    from syncd.store import Store
    from syncd.store.jobs import Job
    from syncd.store.queries import Filter

dead_app = typer.Typer(no_args_is_help=True, help="Writes that need attention: dead, unconfirmed and held ones.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="ids of signals, or the beginnings of them")]
All = Annotated[bool, typer.Option("--all", help="all that the filters leave")]
WriteState = Annotated[str, typer.Option("--state", help="dead, unconfirmed or held; default: dead")]
To = Annotated[
    str, typer.Option("--to", metavar="DESTINATION", autocompletion=destinations, help="only this destination")
]
EVERY = 1_000_000
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
    from syncd.dispatch.dead_letters import letters

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
    """The writes of one signal that need attention."""
    from syncd.dispatch.dead_letters import letters
    from syncd.store.queries import Filter

    here = session(context)
    with here.store() as store:
        signal = one_signal(store, id)
        found = letters(store, Filter(id=str(signal.id)), states=LETTER_STATES)
    if not found:
        raise UsageError(f"no write of signal {signal.id} needs attention; `syncd explain` shows its history")
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
    dry_run: DryRun = False,
) -> None:
    """Retries them with a fresh retry budget.

    A running daemon does so; without one, this command at once.
    """
    from syncd.dispatch.dead_letters import retry

    here = session(context)
    chosen = Chosen(since, until, channel, type, person, "", source)
    with here.store() as store:
        if dry_run:
            _would(here, store, _wanted(here, store, ids, every, chosen, to), state, "tried again")
            return
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
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Discard permanently (still counted in the balance sheet).

    With --all it asks first.
    """
    from syncd.dispatch.dead_letters import discard

    here = session(context)
    chosen = Chosen(since, until, channel, type, person, "", source)
    with here.store() as store:
        wanted = _wanted(here, store, ids, every, chosen, to)
        if dry_run:
            _would(here, store, wanted, state, "discarded")
            return
        count = _count(store, wanted, state) if every else 0
        if count and not agreed("dead discard", f"Discard {count} {state} writes permanently?", yes=yes):
            here.out.say("nothing was changed")
            return
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
    restart: Annotated[bool, typer.Option("--restart", help="from the beginning, not where it was stopped")] = False,
) -> None:
    """Maps stored signals again, and updates their records.

    For a corrected mapping, or a new destination. Past signals create no calls to action. When it was stopped, the same command
    resumes there, unless the mapping was changed meanwhile: then it starts again from the beginning.
    """
    from syncd.dispatch.replay import replay as write_again

    here = session(context)
    _known(here, to)
    chosen = Chosen(since, until, channel, type, person, state, source)
    wanted = chosen.filter(here)
    with here.store() as store:
        if dry_run:
            _show_replayed(here, write_again(store, wanted, to, only=here.settings.destinations[to].only, dry_run=True))
            return
        done, job = _do_replay(here, store, to, chosen, restart=restart)
        _show_replayed(here, done, verb="are mapped")
        if done.again + done.new + done.busy:  # busy: also those of a replay that was killed before it delivered
            deliver(here, store, [to])
        store.jobs.reported(job.id)


def _do_replay(here: Session, store: Store, to: str, chosen: Chosen, *, restart: bool) -> tuple[Replayed, Job]:
    """The replay as a job, done here: it only touches the store."""
    from syncd.dispatch.replay import KIND, Replayed, run_replay
    from syncd.intake.backfill import LEASE, open_same
    from syncd.store.jobs import ASKED, REPORTED

    only = here.settings.destinations[to].only
    moments = {"since": here.moment(chosen.since, "--since"), "until": here.moment(chosen.until, "--until")}
    words = {"since": here.words(chosen.since, "--since"), "until": here.words(chosen.until, "--until")}
    mapping = here.assembly.outlets[to].mapping.fingerprint
    asked = {**asdict(chosen), **words, "only": " ".join(only), "mapping": mapping}
    args = {name: at.isoformat() if at else None for name, at in moments.items()}
    job = open_same(store, KIND, to, {**args, ASKED: asked, REPORTED: False}, restart=restart)
    so_far = Replayed.of(job.progress)
    if so_far.signals:
        here.out.say(f"resumes after {so_far.signals:,} signals")
    if job.state == "done":
        return so_far, job
    claimed = store.jobs.claim(LEASE, id=job.id)
    if claimed is None:
        raise SyncdError("this replay is under way in another process; try again when it has ended")
    wanted = replace(chosen, since=job.args["since"], until=job.args["until"]).filter(here)
    stop = threading.Event()
    with resumable(here), here.interrupts(stop):
        return run_replay(*claimed, store, wanted, only=only, stop=stop), job


def _show_replayed(here: Session, done: Replayed, verb: str = "would be mapped") -> None:
    if here.as_json:
        here.out.record(asdict(done))
        return
    busy = f", {done.busy} on their way already" if done.busy else ""
    unwanted = f", {done.unwanted} not asked for by its `only:`" if done.unwanted else ""
    here.out.say(f"{done.again} {verb} again, {done.new} for the first time{busy}{unwanted}")


def deliver(here: Session, store: Store, names: list[str] | None = None) -> None:
    """Without a daemon, works the queue of these destinations (default: all) off, as far as it can be now. With one, the
    daemon does. Ctrl-C ends it after the call under way, whose records are settled; the rest stays in the queue."""
    from syncd.service.assembly import assemble
    from syncd.service.job_runner import daemon_runs
    from syncd.store.journal.group_commit import WakeUp
    from syncd.store.pg_notify import EVERYBODY, notify_now

    if daemon_runs(store):
        notify_now(store, WakeUp(frozenset(names or [EVERYBODY])))
        here.out.say("the running daemon writes them")
        return
    assembly = assemble(here.loaded, store=store, only_sources=())
    stop = threading.Event()
    try:
        with resumable(here), here.interrupts(stop):
            _drain_all(here, store, assembly, names, stop)
    finally:
        assembly.close()


def _drain_all(here: Session, store: Store, assembly: Assembly, names: list[str] | None, stop: threading.Event) -> None:
    from syncd.dispatch import Lane
    from syncd.dispatch.drain import drain

    for name, outlet in assembly.outlets.items():
        if (names is not None and name not in names) or stop.is_set():
            continue
        lane = Lane(name, outlet.destination, outlet.mapping, store, here.settings)
        done = drain(lane, store, stop)
        if done is None:
            here.out.say(f"{name}: another process is writing to it")
            continue
        left = "are left" if stop.is_set() else "wait for the next `syncd run`"
        wait = f"; {done.waiting} {left}" if done.waiting else ""
        here.out.say(f"{name}: {done.settled} settled{wait}" + (f": {done.why}" if done.why else ""))


@contextmanager
def resumable(here: Session, what: str = "stopped; run the same command to resume") -> Iterator[None]:
    """Says of Ctrl-C that nothing is lost by it."""
    try:
        yield
    except KeyboardInterrupt:
        here.out.say(what)
        raise


def deliver_pending(here: Session, store: Store) -> None:
    """`deliver`, where anything waits: also what an earlier command stored and was killed before it could deliver."""
    from syncd.store.gauges import oldest_pending

    if oldest_pending(store).keys() & here.settings.destinations.keys():
        deliver(here, store)


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


def _count(store: Store, wanted: list[Filter], state: str) -> int:
    from syncd.dispatch.dead_letters import letters

    return sum(len(letters(store, each, states=_states(state), limit=EVERY)) for each in wanted)


def _would(here: Session, store: Store, wanted: list[Filter], state: str, verb: str) -> None:
    """A dry run: the writes, and how many."""
    from syncd.dispatch.dead_letters import letters

    found = [letter for each in wanted for letter in letters(store, each, states=_states(state), limit=EVERY)]
    here.out.rows([_row(letter) for letter in found], COLUMNS, empty=f"nothing {state}")
    here.out.say(f"{len(found)} writes would be {verb}")


def _filter(here: Session, chosen: Chosen, to: str) -> Filter:
    if to:
        _known(here, to)
    return chosen.filter(here, destination=to)


def _known(here: Session, destination: str) -> None:
    known_name("destination", destination, list(here.settings.destinations))


def _states(state: str) -> tuple[str, ...]:
    if state not in LETTER_STATES:
        raise UsageError(f"--state {state!r}: {near_or_all(state, LETTER_STATES)}")
    return (state,)


def _row(letter: Any) -> dict[str, Any]:
    from syncd.store.engine import moment
    from syncd.texts.reasons import parameters_of

    row = asdict(letter)
    times = {name: moment(row[name]) for name in ("updated_at", "occurred_at")}
    row["parameters"] = parameters_of(row["parameters"])
    return row | times | {"person": row["identity"].partition(":")[2]}


def _say(here: Session, verb: str, changes: list[Changed]) -> None:
    writes = sum(changed.writes for changed in changes)
    deliveries = sum(changed.deliveries for changed in changes)
    busy = sum(changed.busy for changed in changes)
    if here.as_json:
        here.out.record({"writes": writes, "deliveries": deliveries, "busy": busy})
        return
    here.out.say(f"{writes} writes of {deliveries} signals {verb}" + (f"; {busy} are being worked on" if busy else ""))
