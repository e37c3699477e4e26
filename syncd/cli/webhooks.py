"""`webhooks`: the vendor's subscription for a source, made, shown and removed where the vendor has an API for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.confirming import DryRun
from syncd.cli.filters import known_name
from syncd.cli.session import Session, session
from syncd.errors import Failure, SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.capabilities import Subscription
    from syncd.store import Store

webhooks_app = typer.Typer(no_args_is_help=True, help="What vendors call when something happens.")
COLUMNS = ("id", "ours", "active", "state", "url", "events", "note")
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="the name of a source")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(webhooks_app, name="webhooks")


@webhooks_app.command("register")
def webhooks_register(
    context: typer.Context,
    source: Source,
    force: Annotated[bool, typer.Option("--force", help="take over webhooks that point elsewhere")] = False,
    dry_run: DryRun = False,
) -> None:
    """Points the vendor at this source; changes nothing if it already points there.

    For a vendor without an API for it, prints the address to paste there. syncd must be running and reachable: vendors try
    the address.
    """
    from syncd.intake.subscriptions import keep_subscribed

    here = session(context)
    with _vendor(here, source) as (store, made):
        if made is None:
            _by_hand(here, source)
            return
        if dry_run:
            there = made.subscriptions()
            _show(here, there)
            ours = [one for one in there if one.ours and one.active]
            what = "points at this source already" if ours else "would be pointed at"
            here.out.say(f"{source}: the vendor {what}: {here.settings.webhook_url(source)}")
            return
        subscribed = made.subscribe(force=force)
        keep_subscribed(store, source, subscribed, store.clock())
    _show(here, subscribed.there)
    here.out.say(f"{source}: the vendor calls {here.settings.webhook_url(source)}")


@webhooks_app.command("list")
def webhooks_list(context: typer.Context, source: Source) -> None:
    """The webhooks the vendor has, ours and others'."""
    here = session(context)
    with _vendor(here, source) as (_, made):
        if made is None:
            _by_hand(here, source)
            return
        found = made.subscriptions()
    _show(here, found)


@webhooks_app.command("remove")
def webhooks_remove(
    context: typer.Context,
    source: Source,
    id: Annotated[str, typer.Argument(metavar="[ID]", help="only this one; default: all that point here")] = "",
    dry_run: DryRun = False,
) -> None:
    """Removes the vendor's webhooks for this source."""
    from syncd.store import subscriptions

    here = session(context)
    with _vendor(here, source) as (store, made):
        if made is None:
            raise UsageError(
                f"source {source}: its vendor has no API for webhooks; remove it on the vendor's own pages"
            )
        found = made.subscriptions()
        others = [one for one in found if one.id == id and not one.ours]
        if others:
            raise UsageError(
                f"{id} points at {others[0].url or 'nothing'}: it does not belong to this source, so it is not removed"
            )
        ours = [one.id for one in found if one.ours and id in ("", one.id)]
        if dry_run:
            _show(here, [one for one in found if one.id in ours])
            here.out.say(f"{len(ours)} would be removed")
            return
        for each in ours:
            made.unsubscribe(each)
        kept = [one for one in subscriptions.registrations(store, source) if one.id not in (*ours, id)]
        subscriptions.register(store, source, kept if id else ())
    here.out.say(f"{len(ours)} removed" if ours else "no webhook points here")


@webhooks_app.command("forget")
def webhooks_forget(context: typer.Context, source: Source) -> None:
    """Forgets the secret that the vendor sent to verify its webhooks.

    The next one that a handshake brings is kept: for a webhook that was made anew on the vendor's pages. Until then the source's
    webhooks are refused.
    """
    from syncd.store.vendor_secrets import announce

    here = session(context)
    known_name("source", source, list(here.settings.sources))
    with here.store() as store:
        count = store.vendor_secrets.forget(source)
        announce(store, source)
    here.out.say(f"{source}: {count} forgotten" if count else f"{source}: the vendor gave no secret")


@contextmanager
def _vendor(here: Session, name: str) -> Iterator[tuple[Store, Any]]:
    """(the store, the source; None when its vendor has no API for webhooks). What the vendor says is reported as the source's."""
    from syncd.capabilities import Subscribable
    from syncd.connector import WebhookSource
    from syncd.service.assembly import assemble

    entry = here.settings.sources[known_name("source", name, list(here.settings.sources))]
    with here.store() as store:
        assembly = assemble(here.loaded, store=store, only_sources=(name,))
        try:
            made = assembly.sources[name]
            if not isinstance(made, WebhookSource):
                raise UsageError(f"source {name} ({entry.type}) takes no webhooks; it is read on its schedule")
            if not here.settings.server.public_url:
                raise UsageError("server.public_url is not set: the vendor needs an address to call (https://…)")
            yield store, made if isinstance(made, Subscribable) else None
        except Failure as error:
            raise SyncdError(f"source {name}: {error}") from error
        finally:
            assembly.close()


def _by_hand(here: Session, name: str) -> None:
    """The address is data; where it goes is talk."""
    from syncd import registry
    from syncd.connector import Ability

    url, entry = here.settings.webhook_url(name), here.settings.sources[name]
    why = registry.unable("source", entry.type, entry.connector).get(
        Ability.SUBSCRIBE, "its vendor has no API for this"
    )
    here.out.record({"url": url, "by_hand": True}) if here.as_json else here.out.text(url)
    here.out.say(
        f"{name}: {why}: paste the address where the sender asks for a webhook's or callback's URL "
        f"(method POST; with `verify: {{scheme: path}}` the secret follows after a slash); see docs/connectors/{entry.type}.md"
    )


def _show(here: Session, found: Sequence[Subscription]) -> None:
    import msgspec

    rows = [msgspec.to_builtins(one) for one in found]
    if not here.as_json:
        rows = [row | {"events": ", ".join(row["events"])} for row in rows]
    here.out.rows(rows, COLUMNS, empty="none")
    for one in found:
        if one.note:
            here.out.say(f"{one.id}: {one.note}")
