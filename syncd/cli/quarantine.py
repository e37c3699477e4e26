"""`quarantine`: authentic bodies that could not be understood, kept raw until an operator decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import filters
from syncd.cli.confirming import DryRun, Yes, agreed
from syncd.cli.filters import Chosen
from syncd.cli.session import Session, session
from syncd.errors import UsageError

if TYPE_CHECKING:
    from syncd.store import Store
    from syncd.store.receipts import Receipt

quarantine_app = typer.Typer(no_args_is_help=True, help="Authentic bodies that could not be understood, kept raw.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="one or more, or the beginnings of them")]
All = Annotated[bool, typer.Option("--all", help="all that the filters leave")]
LISTED = 100
COLUMNS = ("received_at", "source", "kind", "reason", "id")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(quarantine_app, name="quarantine")


@quarantine_app.command("list")
def quarantine_list(context: typer.Context, source: filters.Source = "", limit: filters.Limit = LISTED) -> None:
    """The newest first, with the reason."""
    here = session(context)
    Chosen(source=source).check_source(here)
    with here.store() as store:
        rows = [_receipt_row(found) for found in store.receipts.list(source=source, limit=limit)]
    here.out.rows(rows, COLUMNS, empty="nothing in quarantine")


@quarantine_app.command("show")
def quarantine_show(
    context: typer.Context, id: Annotated[str, typer.Argument(metavar="ID", help="its id, or the beginning of it")]
) -> None:
    """Show one in full: the body as received, no credentials."""
    here = session(context)
    with here.store() as store:
        found = store.receipts.get(_one(store, id))
    assert found is not None
    here.out.record(_receipt_row(found) | {"payload": _readable(found.payload)})


@quarantine_app.command("retry")
def quarantine_retry(
    context: typer.Context, ids: Ids = None, every: All = False, source: filters.Source = "", dry_run: DryRun = False
) -> None:
    """Retries them, after a fix.

    A running daemon does so within a minute; without one, this command at once.
    """
    here = session(context)
    with here.store() as store:
        chosen = _chosen(here, store, ids, every, source)
        if dry_run:
            _would(here, store, chosen, "tried again")
            return
        if not chosen:
            here.out.say("nothing in quarantine")
            return
        sources = {found.source for found in store.receipts.list(ids=chosen, limit=len(chosen))}
        if gone := sorted(sources - set(here.settings.sources)):
            raise UsageError(
                f"no source {gone[0]} is configured, and only it can read these: bring it back, or discard them"
            )
        waiting = store.receipts.retry(ids=chosen)
        left = _work_off(here, store, chosen)
    if left is None:
        here.out.say(f"{waiting} set free; the running daemon tries them within a minute")
    else:
        here.out.say(f"{waiting} tried again" + (f", {left} are back in quarantine" if left else ""))


@quarantine_app.command("discard")
def quarantine_discard(
    context: typer.Context,
    ids: Ids = None,
    every: All = False,
    source: filters.Source = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Discards them permanently.

    With --all it asks first.
    """
    here = session(context)
    with here.store() as store:
        chosen = _chosen(here, store, ids, every, source)
        if dry_run:
            _would(here, store, chosen, "thrown away")
            return
        if every and chosen and not agreed("quarantine discard", f"Discard {len(chosen)} bodies permanently?", yes=yes):
            here.out.say("nothing was changed")
            return
        count = store.receipts.discard(ids=chosen) if chosen else 0
    here.out.say(f"{count} discarded")


def _work_off(here: Session, store: Store, ids: list[str]) -> int | None:
    """Parses or fetches what was set free; how many are in quarantine again. None: a daemon runs, and does it."""
    from syncd.intake.admit import Policy
    from syncd.intake.fetches import Fetches, RetryLaw, retry_quarantined
    from syncd.service.assembly import assemble
    from syncd.service.job_runner import daemon_runs
    from syncd.store.journal.group_commit import WakeUp
    from syncd.store.pg_notify import notify_now

    if daemon_runs(store):
        notify_now(store, WakeUp(hints=True))
        return None
    sources = {found.source for found in store.receipts.list(state="", ids=ids, limit=len(ids))}
    known = sorted(sources & set(here.settings.sources))
    assembly = assemble(here.loaded, store=store, only_sources=known)
    policy, retry = Policy.of(here.settings), here.settings.retry
    law = RetryLaw(retry.schedule, float(retry.jitter))
    for name, source in assembly.sources.items():
        retry_quarantined(store, Fetches(name, source, store, lambda: policy, law), ids)
    return len(store.receipts.list(ids=ids, limit=len(ids)))


def _would(here: Session, store: Store, ids: list[str], verb: str) -> None:
    """A dry run: what was chosen, and how many."""
    found = store.receipts.list(ids=ids, limit=len(ids)) if ids else []
    here.out.rows([_receipt_row(one) for one in found], COLUMNS, empty="nothing in quarantine")
    here.out.say(f"{len(found)} would be {verb}")


def _chosen(here: Session, store: Store, ids: list[str] | None, every: bool, source: str) -> list[str]:
    """Whole ids of what the command line names. UsageError for nothing named, or an id that is not there."""
    if ids and (every or source):
        raise UsageError("give either IDs, or --all with filters")
    if ids:
        return [_one(store, id) for id in ids]
    if not every:
        raise UsageError("give IDs, or --all")
    Chosen(source=source).check_source(here)
    return [found.id for found in store.receipts.list(source=source, limit=1_000_000)]


def _one(store: Store, id: str) -> str:
    found = [receipt.id for receipt in store.receipts.list(limit=1_000_000) if receipt.id.startswith(id.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"several in quarantine begin with {id}; give more of the id")
    raise UsageError(f"nothing in quarantine has the id {id}; `syncd quarantine list` shows them")


def _receipt_row(found: Receipt) -> dict[str, Any]:
    return {
        "id": found.id,
        "received_at": found.received_at,
        "source": found.source,
        "kind": found.kind,
        "reason": found.error,
        "attempts": found.attempts,
    }


def _readable(payload: bytes) -> Any:
    """A stored payload for people: a request's body as text where it is text."""
    import msgspec

    try:
        document = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload.decode("utf-8", "replace")
    if isinstance(document, dict) and isinstance(document.get("body"), str):
        import base64

        raw = base64.b64decode(document["body"])
        document["body"] = raw.decode("utf-8", "replace")
    return document
