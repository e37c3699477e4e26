"""`forget`, `export`: what is held of one person, to be erased or handed out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.confirming import agreed
from syncd.cli.session import Session, session

if TYPE_CHECKING:
    from syncd.store.privacy import PersonData

Person = Annotated[
    str, typer.Argument(metavar="PERSON", help="e-mail address, phone number or handle:NETWORK:ID, whole")
]

BEYOND = (
    "the records in the CRM above: delete them there",
    "backups of the database: they hold the person until they are replaced",
    "logs: syncd writes ids there, not addresses, but a reverse proxy may",
    "the mailbox, desk or form itself: a new message of the person is a new signal",
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("forget")(forget)
    app.command("export")(export)


def forget(
    context: typer.Context,
    person: Person,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would go")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    mentions: Annotated[
        bool, typer.Option("--mentions", help="also erase signals of other people that mention the person")
    ] = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum/--no-vacuum", help="rewrite the database file, so that no byte remains (SQLite)")
    ] = True,
) -> int:
    """Erases a person from the store permanently.

    Ids stay, so that no repeat and no backfill brings their signals back. Records in the CRM are listed, not touched.
    """
    from syncd.store import privacy

    here = session(context)
    settings = here.settings
    marks = privacy.marks_of(person, settings.region)
    with here.store() as store:
        found = privacy.look(store, marks)
        records = [_record(here, *one) for one in found.records]
        if found.empty:
            _told(here, found, records, erased=False, mentions=mentions, wiped=None)
            return 0
        if dry_run or not (yes or _agreed(here, found, records, mentions)):
            _told(here, found, records, erased=False, mentions=mentions, wiped=None)
            return 0
        privacy.erase(store, marks, found, others=mentions)
        wiped = store.wipe(rewrite=vacuum)
    _told(here, found, records, erased=True, mentions=mentions, wiped=wiped)
    return 0


def export(context: typer.Context, person: Person) -> None:
    """Everything that is held of a person, as JSON lines."""
    from syncd.cli.output import Output
    from syncd.store import privacy

    here = session(context)
    marks = privacy.marks_of(person, here.settings.region)
    with here.store() as store:
        found = privacy.look(store, marks)
        Output("json", here.settings.zone).rows(privacy.everything(store, found, marks), ())
    if found.others:
        here.out.say(f"not among them: {len(found.others)} signals of other people that mention the person")


def _agreed(here: Session, found: PersonData, records: list[dict[str, Any]], mentions: bool) -> bool:
    if sys.stdin.isatty():
        _told(here, found, records, erased=False, mentions=mentions, wiped=None)
    return agreed("forget", "Erase this permanently?", yes=False)


def _record(here: Session, destination: str, object: str, id: str) -> dict[str, Any]:
    outlet = here.assembly.outlets.get(destination)
    url = outlet.destination.url(object, id) if outlet else ""
    return {"destination": destination, "object": object, "id": id, "url": url}


def _told(
    here: Session, found: PersonData, records: list[dict[str, Any]], *, erased: bool, mentions: bool, wiped: bool | None
) -> None:
    counts = {
        "signals": len(found.signals) + (len(found.others) if mentions else 0),
        "receipts": len(found.receipts),
        "people_known": found.people,
        "identity_ties": found.ties,
        "memory": len(found.memory),
        "jobs": len(found.jobs),
        "mentions_in_messages": found.mentions,
        "signals_of_others_left": 0 if mentions else len(found.others),
        "being_sent_now": found.sending,
    }
    out = here.out
    if out.as_json:
        beyond = list(BEYOND) if not found.empty else []
        also = {"also_known_as": list(found.also), "crm_records": records}
        out.record({"erased": erased, **counts, **also, "file_wiped": wiped, "beyond_reach": beyond})
        return
    if found.empty:
        out.say("nothing is held of this person")
        return
    out.record(counts, title="erased" if erased else "would be erased")
    if records:
        out.rows(records, ["destination", "object", "id", "url"], title="\nrecords in the CRM, not touched")
    if found.also:
        out.say(f"the same person is also {', '.join(found.also)}: what is held under those is not counted here")
    if counts["signals_of_others_left"]:
        out.say(f"{len(found.others)} signals of other people mention the person; --mentions erases them too")
    if erased:
        for line in BEYOND:
            out.say(f"not reached: {line}")
        if wiped is False:
            out.say("the file could not be rewritten while others read it; stop syncd and run the command again")
