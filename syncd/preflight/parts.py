"""One source or one destination asked about itself: what its connector finds, its mapping against the CRM, quota and cost.

`run` calls these, each in a thread of its own. A Failure raised ends a part; what was said before it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from syncd.capabilities import (
    Assigns,
    Converts,
    Describes,
    Finding,
    KnowsTeams,
    Level,
    NamesStages,
    Notifies,
    Observes,
    OnlineCheck,
    Preparable,
    ReadsFields,
)
from syncd.connector import Allowance, KeyFetchingSource, WebhookSource
from syncd.dispatch import pacing
from syncd.dispatch.cloned_fields import wanted
from syncd.dispatch.owners import user_id
from syncd.errors import Failure, Misconfigured, Rejected
from syncd.mapping.against import CrmDescription, Remark, compare
from syncd.mapping.owners import FALLBACK
from syncd.mapping.uses import conversions_of, notifications_of, objects_of, observers_of, owners_of, teams_of
from syncd.preflight.lines import CheckLine
from syncd.preflight.observers import observers
from syncd.preflight.reach import reach
from syncd.service.assembly import BuiltDestination
from syncd.store import Store
from syncd.store.lanes import spend, spending


def source(name: str, asked: Any, public_url: str, address: str = "") -> Iterator[CheckLine]:
    """A source, and the way to its webhook at /webhooks/`address` (default: its name)."""
    looks = isinstance(asked, (OnlineCheck, KeyFetchingSource, WebhookSource))
    if not looks:
        yield CheckLine("source", name, Level.OK, "online", "this connector has nothing to check online")
    if isinstance(asked, OnlineCheck):
        yield from (CheckLine.of("source", name, finding) for finding in asked.check_online())
    if isinstance(asked, WebhookSource):
        yield from (CheckLine.of("source", name, finding) for finding in reach(public_url, address or name))
    if isinstance(asked, KeyFetchingSource):
        try:
            asked.fetch_keys(datetime.now(UTC))
        except Failure as failed:
            remedy = "until they are available, its calls are answered 503"
            yield CheckLine("source", name, Level.FAULT, "keys", f"the keys that verify its calls: {failed}", remedy)


def destination(outlet: BuiltDestination, store: Store | None) -> Iterator[CheckLine]:
    """A destination and its mapping. What it cost is booked to the destination's allowance."""
    name, crm = outlet.settings.name, outlet.destination
    try:
        if isinstance(crm, OnlineCheck):
            yield from (CheckLine.of("destination", name, finding) for finding in crm.check_online())
        if isinstance(crm, Describes):
            yield from compared(outlet, crm)
        if isinstance(crm, Converts) and any(conversions_of(outlet.mapping.parts)):
            yield from (CheckLine.of("destination", name, finding) for finding in crm.may_convert())
        if isinstance(crm, Assigns):
            yield from owners(outlet, crm)
        if isinstance(crm, KnowsTeams):
            yield from teams(outlet, crm)
        if isinstance(crm, Observes) and any(observers_of(outlet.mapping.parts)):
            yield from observers(outlet, crm)
        yield from _cloned(outlet)
        if not isinstance(crm, (OnlineCheck, Describes)):
            yield CheckLine("destination", name, Level.OK, "online", "this connector has nothing to check online")
        yield from _quota(outlet, crm.allowance(), store)
    finally:
        cost = crm.spend()
        if cost.calls:
            book(name, store, cost.units, cost.calls)
    if cost.calls:
        units = "" if cost.units == cost.calls else f", {cost.units:g} credits"
        yield CheckLine("destination", name, Level.OK, "cost", f"asking all this cost {_calls(cost.calls)}{units}")


def compared(outlet: BuiltDestination, crm: Describes) -> Iterator[CheckLine]:
    """The mapping against what the CRM says of itself."""
    told = described(outlet, crm)
    return (CheckLine.at(outlet.settings.name, remark) for remark in compare(outlet.mapping, told))


def owners(outlet: BuiltDestination, crm: Assigns) -> Iterator[CheckLine]:
    """The users that the mapping names as owners, against those of the CRM."""
    name, document = outlet.settings.name, outlet.mapping.document
    places = [(user_id(user), place) for user, place in owners_of(outlet.mapping.parts)]
    if not places:
        return
    try:
        active = crm.users(list(dict.fromkeys(id for id, _ in places)))
    except Failure as failed:
        remedy = "until then they all count as active"
        yield CheckLine("destination", name, Level.WARNING, "owners", f"cannot be looked up: {failed}", remedy)
        return
    wrong = [(id, place) for id, place in places if not active.get(id, True)]
    for id, place in wrong:
        level, so = _WITHOUT_OWNER[place[-1] == FALLBACK]
        message = f"the CRM has no active user {id}: {so}"
        fault = document.fault(place, message, "correct the id, or activate the user in the CRM")
        yield CheckLine.at(name, Remark(level, fault))
    if places and not wrong:
        yield CheckLine("destination", name, Level.OK, "owners", "the users named by owner: are active")


def teams(outlet: BuiltDestination, crm: KnowsTeams) -> Iterator[CheckLine]:
    """The teams whose members become owners: a call or two each."""
    name = outlet.settings.name
    for (kind, team), place in teams_of(outlet.mapping.parts):
        try:
            count = len(crm.members(kind, team))
        except Failure as failed:
            remedy = "until then the rules that name it are held"
            yield CheckLine(
                "destination", name, Level.FAULT, "owners", f"{kind} {team} cannot be read: {failed}", remedy
            )
            continue
        level, message = Level.OK, f"{kind} {team}: {count} active users take turns"
        if not count:
            level, message = (
                Level.WARNING,
                f"the CRM has no active user in the {kind} {team}: nothing is assigned to them",
            )
        hint = "" if count else f"correct the name of the {kind}"
        yield CheckLine.at(name, Remark(level, outlet.mapping.document.fault(place, message, hint)))


_WITHOUT_OWNER = {
    False: (Level.WARNING, "nothing is assigned to them"),
    True: (Level.FAULT, "a record that falls to them is refused"),
}
"""What comes of an owner who is not active, by whether they are a fallback, which is taken as it is."""


def _cloned(outlet: BuiltDestination) -> Iterator[CheckLine]:
    """Whether the record is there whose values new companies take over."""
    accounts, crm = outlet.mapping.parts.accounts, outlet.destination
    if accounts is None or accounts.clone is None or accounts.create is None or not isinstance(crm, ReadsFields):
        return
    clone, object_ = accounts.clone, accounts.create.object
    fields = wanted(clone, object_, crm)
    level, message, hint = Level.OK, f"{object_} {clone.id}: new companies take over {', '.join(fields)}", ""
    try:
        there = crm.values(object_, [clone.id], fields[:1]) if fields else {clone.id: {}}
    except (Misconfigured, Rejected) as wrong:
        level, message, hint = Level.FAULT, f"{object_} {clone.id} cannot be read: {wrong}", "correct the id"
    else:
        if clone.id not in there:
            level, message = Level.FAULT, f"there is no {object_} {clone.id}"
            hint = "write, in quotes, the id of a record that exists and that our user may see"
    fault = outlet.mapping.document.fault(("accounts", "create", "clone_of"), message, hint)
    yield CheckLine.at(outlet.settings.name, Remark(level, fault))


def described(outlet: BuiltDestination, crm: Describes) -> CrmDescription:
    """The CRM as the comparison wants it: one `describe`."""
    prepares = isinstance(outlet.destination, Preparable)
    tells = outlet.destination if notifications_of(outlet.mapping.parts) else None
    conversions = [part for part, _ in conversions_of(outlet.mapping.parts)]
    converts = outlet.destination if conversions and isinstance(outlet.destination, Converts) else None
    made = [part.deal for part in conversions if part.deal is not None]
    deals = [converts.conversions.deals] if converts and made else []
    deals += [converts.conversions.role[0]] if converts and any("role" in deal for deal in made) else []
    return CrmDescription(
        crm.describe(tuple(dict.fromkeys((*objects_of(outlet.mapping.parts), *filter(None, deals))))),
        folds_case=crm.folds_case,
        keying=outlet.destination.keying,
        kinds=outlet.settings.kinds,
        widens=crm.widens,
        prepare=f"syncd prepare {outlet.settings.name}" if prepares else "",
        notifications=tells.notifications() if isinstance(tells, Notifies) else None,
        conversions=converts.conversions if converts else None,
        converted_statuses=converts.converted_statuses() if converts else None,
        pipelines=converts.pipelines() if made and isinstance(converts, NamesStages) else None,
    )


def book(name: str, store: Store | None, units: float, calls: int) -> None:
    """Puts what we spent beside the daemon into the quota account its lane keeps within."""
    if store is not None:
        hour = pacing.hour_of(store.now())
        store.apply(lambda connection: spend(connection, name, hour, units, calls))


def _quota(outlet: BuiltDestination, allowance: Allowance | None, store: Store | None) -> Iterator[CheckLine]:
    quota, name = outlet.settings.quota, outlet.settings.name
    if allowance is None:
        if quota is not None and quota.share is not None:
            text = "the vendor does not report a daily allowance: a share of it limits nothing"
            finding = Finding(
                Level.WARNING, "quota", text, "write an absolute number: quota: {calls: 50000} or {credits: 20000}"
            )
            yield CheckLine.of("destination", name, finding)
        return
    rows = _spent(name, store)
    now = round(datetime.now(UTC).timestamp() * 1000)
    room = pacing.budget(quota, allowance, rows, now)
    text = f"{allowance.used:,.0f} of {allowance.maximum:,.0f} {allowance.unit} of the account are used in 24 hours"
    ours = (
        f"; syncd used {pacing.spent(rows, now):,.0f} and may use {room.left:,.0f} more"
        if math.isfinite(room.left)
        else ""
    )
    if room.left <= 0:
        yield CheckLine("destination", name, Level.WARNING, "quota", f"{text}: {room.reason}", "raise quota:, or wait")
    else:
        yield CheckLine("destination", name, Level.OK, "quota", text + ours)


def _spent(name: str, store: Store | None) -> list[tuple[int, float]]:
    if store is None:
        return []
    with store.read() as connection:
        return spending(connection, name)


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"
