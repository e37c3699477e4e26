"""`people`: which identities are one person's, what showed it, and an operator's correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.session import Session, session
from syncd.errors import UsageError

if TYPE_CHECKING:
    from syncd.store import Store
    from syncd.store.known_people import KnownPerson

people_app = typer.Typer(
    no_args_is_help=True,
    help="The identities that belong to one person (e-mail addresses, phone numbers, handles), and that person's CRM records.",
)

Who = Annotated[
    str, typer.Argument(metavar="WHO", help="a name, e-mail address, phone number or handle, or a part of one")
]
_IDENTITY = "a complete e-mail address, a phone number or handle:NETWORK:ID"
One = Annotated[str, typer.Argument(metavar="IDENTITY", help=_IDENTITY)]
Other = Annotated[str, typer.Argument(metavar="OTHER", help="the other identity, in the same form")]
MOST_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(people_app, name="people")


@people_app.command("show")
def show(context: typer.Context, who: Who) -> None:
    """Shows a person's identities and their CRM records.

    Also why the identities count as one person's: which signal, CRM record or operator joined them.
    """
    here = session(context)
    with here.store() as store:
        found = _people(here, store, who)
    if not found:
        raise UsageError(f"nothing is known of {who!r}; `syncd signals list --person` searches the signals")
    for known in found[:MOST_SHOWN]:
        _show(here, known)
    if len(found) > MOST_SHOWN:
        here.out.say(f"and {len(found) - MOST_SHOWN} more people; give more of the name, or an identity")


@people_app.command("link")
def link(context: typer.Context, one: One, other: Other) -> None:
    """Declares that two identities are the same person.

    Writes that wait for this (held) are tried again. If the CRM has a record for each identity, both stay as they are: a
    signal goes to the record of its own first identity. `unlink` reverses it.
    """
    _say(context, one, other, apart=False)


@people_app.command("unlink")
def unlink(context: typer.Context, one: One, other: Other) -> None:
    """Declares that two identities are different people.

    That counts even if signals have both. Writes that wait for this (held) are tried again. `link` reverses it.
    """
    _say(context, one, other, apart=True)


def _people(here: Session, store: Store, who: str) -> list[KnownPerson]:
    """Everybody who is meant, each once."""
    from syncd.identity.identities import normal_identity
    from syncd.store.known_people import known_person
    from syncd.store.person_search import identities_of

    whole = normal_identity(who, here.settings.region)
    found: list[KnownPerson] = []
    for identity in [whole] if whole else identities_of(store, who):
        if len(found) > MOST_SHOWN:
            break
        if any(identity in known.identities for known in found):
            continue
        known = known_person(store, identity)
        if not known.empty:
            found.append(known)
    return found


def _show(here: Session, known: KnownPerson) -> None:
    from syncd.store.engine import moment

    identities = [
        {"identity": one, "signals": count, "last_signal_at": moment(last) if last else None}
        for one in known.identities
        for count, last in [known.counts.get(one, (0, 0))]
    ]
    ties = [
        {
            "identity": one.identity,
            "other": one.other,
            "verdict": _verdict(known, one.identity, one.other, apart=one.apart),
            "via": one.via,
            "evidence": one.evidence,
            "at": moment(one.at),
            "last_seen_at": moment(one.seen_at),
        }
        for one in known.ties
    ]
    records = [_record(here, row) for row in known.records]
    out = here.out
    if out.as_json:
        out.record({"identities": identities, "ties": ties, "records": records})
        return
    out.rows(identities, ["identity", "signals", "last_signal_at"])
    if ties:
        columns = ["identity", "other", "verdict", "via", "evidence", "at", "last_seen_at"]
        out.rows(ties, columns, title="\nseen together")
    if records:
        columns = ["destination", "identity", "state", "object", "id", "url", "checked_at", "reason"]
        out.rows(records, columns, title="\nrecords")


def _verdict(known: KnownPerson, one: str, other: str, *, apart: bool) -> str:
    if apart:
        return "two people"
    if one in known.identities and other in known.identities:
        return "one person"
    shared = [end for end in (one, other) if end in known.shared]
    return f"not counted: {' and '.join(shared)} is shared" if shared else "not counted"


def _record(here: Session, row: dict[str, Any]) -> dict[str, Any]:
    from syncd.store.engine import moment

    outlet = here.assembly.outlets.get(row["destination"])
    url = outlet.destination.url(row["object"], row["crm_id"]) if outlet and row["crm_id"] else ""
    state = "stranger" if row["state"] == "known" and not row["object"] else row["state"]
    return {
        "destination": row["destination"],
        "identity": row["identity"],
        "state": state,
        "object": row["object"],
        "id": row["crm_id"],
        "url": url,
        "checked_at": moment(row["checked_at"]),
        "reason": row["reason"],
    }


def _say(context: typer.Context, one: str, other: str, *, apart: bool) -> None:
    from syncd.dispatch.dead_letters import retry
    from syncd.store.known_people import held_signals, say
    from syncd.store.privacy import marks_of
    from syncd.store.queries import Filter

    here = session(context)
    first, second = (marks_of(typed, here.settings.region).identity for typed in (one, other))
    if first == second:
        raise UsageError(f"{one!r} and {other!r} are the same identity ({first}); give two")
    with here.store() as store:
        theirs = say(store, first, second, apart=apart)
        held = held_signals(store, [first, second, *theirs])
        live_within = here.settings.live_within
        again = retry(store, Filter(ids=held), states=("held",), live_within=live_within).writes if held else 0
    here.out.record({"identities": list(theirs), "apart": [second] if apart else [], "held_writes_tried_again": again})
