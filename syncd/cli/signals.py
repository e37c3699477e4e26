"""`signals`, `explain`: what came in, and its outcome."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import filters
from syncd.cli.filters import Chosen, one_signal
from syncd.cli.session import Session, session

if TYPE_CHECKING:
    from syncd.signals import Person, Signal
    from syncd.store.queries import Explained, StoredSignal

signals_app = typer.Typer(no_args_is_help=True, help="The signals that were stored.")
COLUMNS = ("occurred_at", "type", "person", "title", "state", "id")
FOLLOW_EVERY = 1.0


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(signals_app, name="signals")
    app.command("explain")(explain)


@signals_app.command("list")
def list_(
    context: typer.Context,
    since: filters.Since = None,
    until: filters.Until = None,
    channel: filters.Channel = "",
    type: filters.Type = "",
    person: filters.Person = "",
    state: filters.State = "",
    source: filters.Source = "",
    unanswered: Annotated[
        bool,
        typer.Option("--unanswered", help="only those that wait for an answer: nothing went out to the person since"),
    ] = False,
    limit: filters.Limit = 50,
) -> None:
    """The signals received last, the newest first."""
    from syncd.store.answers import newest_unanswered
    from syncd.store.queries import newest

    here = session(context)
    chosen = Chosen(since, until, channel, type, person, state, source).filter(here)
    with here.store() as store:
        found = newest_unanswered(store, chosen, limit) if unanswered else newest(store, chosen, limit)
        here.out.rows([row(each) for each in found], COLUMNS, empty="no signals")


@signals_app.command("show")
def show(
    context: typer.Context, id: Annotated[str, typer.Argument(metavar="ID", help="its id, or the beginning of it")]
) -> None:
    """One signal with everything it carries."""
    import msgspec

    here = session(context)
    with here.store() as store:
        signal = one_signal(store, id)
    here.out.record(msgspec.to_builtins(signal, builtin_types=(datetime,)))


@signals_app.command("tail")
def tail(
    context: typer.Context,
    since: filters.Since = None,
    channel: filters.Channel = "",
    type: filters.Type = "",
    person: filters.Person = "",
    state: filters.State = "",
    source: filters.Source = "",
) -> None:
    """Prints signals as they come in, until Ctrl-C."""
    from syncd.store.person_search import matcher
    from syncd.store.queries import Tail

    here = session(context)
    chosen = Chosen(since, None, channel, type, "", state, source).filter(here)
    matches = matcher(person)
    with here.store() as store:
        following = Tail(store, chosen, chosen.since or datetime.now(UTC))
        while True:
            for found in following.new():
                if person and not matches(found.signal.person):
                    continue
                here.out.line(row(found), COLUMNS)
            time.sleep(FOLLOW_EVERY)


def row(found: StoredSignal) -> dict[str, Any]:
    """One line of a list of signals."""
    signal = found.signal
    states = {name: state for name, (state, _) in found.states.items()}
    return {
        "id": str(signal.id),
        "type": signal.type,
        "direction": signal.direction.value,
        "source": signal.source,
        "occurred_at": signal.occurred_at,
        "received_at": signal.received_at,
        "person": signal.person.name or signal.person.email or signal.person.phone or signal.person.identity,
        "email": signal.person.email,
        "phone": signal.person.phone,
        "title": _title(signal),
        "times": signal.times,
        "state": ", ".join(f"{name}: {state}" for name, state in states.items()),
        "states": states,
    }


def _title(signal: Signal) -> str:
    """Its title, and how many events it counts."""
    from syncd.texts.titles import ENGLISH, title_in

    return title_in(ENGLISH, signal.title, signal.title_code, signal.title_parameters, signal.times)


def explain(
    context: typer.Context, id: Annotated[str, typer.Argument(metavar="ID", help="its id, or the beginning of it")]
) -> None:
    """Where a signal came from, whose it is, and its outcome."""
    import msgspec

    from syncd.store import queries
    from syncd.store.answers import answers_to

    here = session(context)
    with here.store() as store:
        signal = one_signal(store, id)
        known = queries.explain(store, str(signal.id))
        answer = answers_to(store, [signal]).get(signal.id)
    assert known is not None
    writes = [_told(here, write) for write in _timed(known.writes)]
    deliveries = [
        {name: part[name] for name in ("destination", "state", "reason", "code", "parameters")}
        for part in _timed([*known.deliveries, *known.settled])
    ]
    if here.as_json:
        parts: dict[str, Any] = {
            "signal": msgspec.to_builtins(signal, builtin_types=(datetime,)),
            "answered_by": None if answer is None else _brief(answer),
            "deliveries": deliveries,
            "people": _timed(known.people),
            "writes": writes,
            "attempts": _timed(known.attempts),
        }
        here.out.record(parts)
        return
    _show_signal(here.out, signal, answer)
    _show(here.out, known, deliveries, writes)


def _told(here: Session, write: dict[str, Any]) -> dict[str, Any]:
    """A write with where to look at its record, and what was decided for it."""
    from syncd.dispatch.decided import shown

    chosen = str(write.pop("chosen"))
    return write | {"url": _url(here, write), "decided": shown(chosen)}


def _brief(answer: Signal) -> dict[str, Any]:
    return {"id": str(answer.id), "type": answer.type, "occurred_at": answer.occurred_at, "title": answer.title}


def _show_signal(out: Any, signal: Signal, answer: Signal | None) -> None:
    about: dict[str, Any] = {
        "signal": f"{signal.type}: {_title(signal)}",
        "id": str(signal.id),
        "came by": f"{signal.route.value} of {signal.source}",
        "direction": "out: what we did" if signal.direction == "out" else "in",
        "occurred": signal.occurred_at,
        "received": signal.received_at,
        "person": f"{signal.person.name} <{_whole_identity(signal.person)}>".strip(),
    }
    if signal.times > 1:
        about["times"] = f"{signal.times}, the last at {signal.data['last_at']}"
    if answer is not None:
        about["answered by"] = f"{answer.type}: {answer.title} ({answer.id})"
        about["answered"] = answer.occurred_at
    out.record(about)


def _show(out: Any, known: Explained, deliveries: list[dict[str, Any]], writes: list[dict[str, Any]]) -> None:
    out.rows(deliveries, ["destination", "state", "reason"], title="\ndeliveries", empty="no destination took it")
    if known.people:
        out.rows(
            _timed(known.people), ["destination", "identity", "object", "crm_id", "checked_at"], title="\nperson found"
        )
    if writes:
        columns = ["destination", "rule", "object", "state", "crm_id", "url", "attempts", "reason", "due_at"]
        if any(write["decided"] for write in writes):
            columns.append("decided")
        out.rows(writes, columns, title="\nwrites")
    if known.attempts:
        columns = ["at", "destination", "rule", "outcome", "code", "message"]
        out.rows(_timed(known.attempts), columns, title="\nattempts")


def _whole_identity(person: Person) -> str:
    return person.email or person.phone or person.identity or "unknown"


def _timed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the store with their milliseconds as times, and the parameters of their reasons as values."""
    from syncd.store.engine import moment
    from syncd.texts.reasons import parameters_of

    def value(key: str, raw: Any) -> Any:
        if key == "at" or key.endswith("_at"):
            return moment(raw) if raw else None
        return parameters_of(raw) if key == "parameters" else raw

    return [{key: value(key, raw) for key, raw in row.items()} for row in rows]


def _url(here: Any, write: dict[str, Any]) -> str:
    """Where the record is looked at, "" when its destination is not configured any more."""
    if not write["crm_id"]:
        return ""
    outlet = here.assembly.outlets.get(write["destination"])
    return outlet.destination.url(write["object"], write["crm_id"]) if outlet else ""
