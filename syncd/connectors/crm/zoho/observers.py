"""Observers of records in Zoho CRM: the users of a multi-user field, or tags. The destination's `send` of observers is this.

Zoho has no observers of its own. Facts: Zoho's note on multi-user lookups in the API (at most ten users; one such field in a
module, none in Tasks, Calls and Events); an update adds the entries that it sends without an id, deletes those with `_delete`,
and keeps the others [M]. As that is not verified, a record is read, changed, and read again: whoever was there stays. Tags:
Zoho's pages "Add Tags to Records" and "Remove Tags from Records".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from syncd.capabilities import Finding, Level
from syncd.connector import Observation, Outcome, Write, Written
from syncd.connectors.answers import listed, mappings, together
from syncd.connectors.crm.directory import linked_id
from syncd.connectors.crm.packing import Bundle, Packer
from syncd.connectors.crm.record import Target, Unsendable
from syncd.connectors.crm.sending import OF_ALL, Settled, one_by_one
from syncd.connectors.crm.zoho import pack
from syncd.connectors.crm.zoho.client import ZohoClient
from syncd.connectors.crm.zoho.errors import failure, parts
from syncd.errors import Failure, Rejected, StaleReference, Transient
from syncd.http.error_table import dig

TAGS = "Tag"
"""The field of a record's tags: observers are then words, not users."""
ROWS = 100
ROUNDS = 3
"""How often a record is changed until everybody is there."""
CREDITS = 3.0
"""Of a change of users: reading, writing, reading again. Tags of one call cost one."""
KIND = "multiuserlookup"
BY_HAND = (
    "make it by hand: Setup, Modules and Fields, {}, Multi-User (one for each module, up to ten users; not in Tasks, "
    "Calls and Meetings)"
)
GONE = "the record is not there any more"


def _cost(rows: int) -> float:
    return CREDITS * rows


def _record(write: Write, target: Target) -> dict[str, Any]:
    """Nothing: what is sent depends on who is there. Raises Unsendable."""
    if write.observation is None or not write.id:
        raise Unsendable("id", "the record whose observers change is not known")
    return {}


PACKER = Packer(target=Target.of, record=_record, rows=ROWS, size=pack.CALL_BYTES, cost=_cost)


def perform(client: ZohoClient, bundle: Bundle, writes: Sequence[Write], trigger: Sequence[str] | None) -> Settled:
    """What became of each change. `trigger`: the automations that it sets off, None for all."""
    tagged = [at for at, place in enumerate(bundle.rows) if _change(writes[place]).field == TAGS]
    others = [at for at in range(len(bundle.rows)) if at not in tagged]
    settled = _Tagging(client, writes).perform(bundle.only(tagged)) if tagged else {}
    record = _MultiUser(client, trigger)
    return settled | one_by_one(bundle.only(others), lambda place, _: record.change(writes[place]))


def _change(write: Write) -> Observation:
    return write.observation or Observation()


@dataclass(frozen=True)
class _MultiUser:
    """Users in a field."""

    client: ZohoClient
    trigger: Sequence[str] | None

    def change(self, write: Write) -> Outcome:
        """Adds and removes, until those that were there, and those that are to be, are there once each."""
        change, kept = _change(write), None
        for _ in range(ROUNDS):
            entries = self._there(write, change.field)
            users = {user for user, _ in entries}
            kept = kept if kept is not None else users - set(change.remove)
            rows = _rows(entries, change, kept | set(change.add))
            if not rows:
                return Written(write.id, created=False)
            body: dict[str, Any] = {"data": [{"id": write.id, change.field: rows}]}
            body |= {} if self.trigger is None else {"trigger": list(self.trigger)}
            (answer,) = self.client.write("PUT", f"/{write.object}", body, pack.cost(1))
            if dig(answer, "status") != "success":
                return _refused(answer)
        return Transient(f"{change.field}: other observers are there than were written", code="changed")

    def _there(self, write: Write, field: str) -> list[tuple[str, str]]:
        """(user, id of the entry) of each."""
        answer = self.client.ask("GET", f"/{write.object}/{write.id}?fields={field}", None, rows="data", cost=1.0)
        row = next(iter(mappings(answer, "data")), None)
        if row is None:
            raise StaleReference(GONE)
        entries = mappings(row, field)
        return [(linked_id(one, field), str(one.get("id") or "")) for one in entries if linked_id(one, field)]


def _rows(entries: Sequence[tuple[str, str]], change: Observation, wanted: set[str]) -> list[dict[str, Any]]:
    """What an update sends: new users, and what is to go: who is removed, and whom we added twice."""
    there: set[str] = set()
    rows: list[dict[str, Any]] = []
    for user, entry in entries:
        if user in change.remove or (user in change.add and user in there):
            rows.append({"id": entry, "_delete": None})
        there.add(user)
    return [*rows, *({change.field: {"id": user}} for user in sorted(wanted - there))]


class _Tagging:
    """Tags of records: those that get the same ones share a call."""

    def __init__(self, client: ZohoClient, writes: Sequence[Write]) -> None:
        self._client = client
        self._writes = writes
        self._wrong: dict[int, list[Failure]] = {}

    def perform(self, bundle: Bundle) -> Settled:
        calls: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for place in bundle.rows:
            change = _change(self._writes[place])
            for action, names in (("remove_tags", change.remove), ("add_tags", change.add)):
                if names:
                    calls.setdefault((action, names), []).append(place)
        stopped: Failure | None = None
        for (action, names), places in calls.items():
            if stopped is None:
                stopped = self._tag(bundle.target.object, action, names, places)
            else:
                self._refuse(places, stopped)
        return {
            place: together(wrong) if (wrong := self._wrong.get(place)) else Written(self._writes[place].id, False)
            for place in bundle.rows
        }

    def _tag(self, module: str, action: str, names: Sequence[str], places: Sequence[int]) -> Failure | None:
        """A failure after which no more calls are made."""
        body = {"tags": [{"name": name} for name in names], "ids": [self._writes[place].id for place in places]}
        try:
            answer = self._client.ask("POST", f"/{module}/actions/{action}", body, rows="data", write=True, cost=1.0)
        except Failure as failed:
            self._refuse(places, failed)
            return failed if isinstance(failed, OF_ALL) else None
        rows = listed(dig(answer, "data"))
        for place, row in zip(places, rows, strict=False):
            if dig(row, "status") != "success":
                self._refuse([place], _refused(row))
            elif missed := [str(one.get("name")) for one in mappings(row, "details.not_added_tags")]:
                text = f"not added: {', '.join(missed)} (a record has a limited number of tags)"
                self._refuse([place] if action == "add_tags" else [], Rejected(text, field=TAGS))
        lacking = Transient(f"{len(places)} records were answered with {len(rows)} outcomes", code="rows")
        self._refuse(places[len(rows) :], lacking)
        return None

    def _refuse(self, places: Sequence[int], why: Failure) -> None:
        for place in places:
            self._wrong.setdefault(place, []).append(why)


def _refused(row: Any) -> Failure:
    """What the errors of a row mean; one that names no field speaks of the record itself."""
    told = parts(row)
    if any(one.code == "INVALID_DATA" and one.field in ("", "id") for one in told):
        return StaleReference(told[0].message, code=told[0].code)
    return together([failure(one) for one in told])


def may_observe(client: ZohoClient, modules: Sequence[str], field: str) -> Iterator[Finding]:
    """Whether these modules have the field, and it takes users."""
    if field == TAGS:
        yield Finding(Level.OK, "observers", f"are tags of {', '.join(modules)}")
        return
    for module in modules:
        rows = client.read(f"/settings/fields?module={module}", "fields")
        kind = next((str(row.get("data_type")) for row in rows if row.get("api_name") == field), "")
        if kind == KIND:
            yield Finding(Level.OK, f"observers {module}", f"are the users in {module}.{field}")
        else:
            said = f"is a field of type {kind}, which takes no users" if kind else "is not there"
            yield Finding(Level.FAULT, f"observers {module}", f"{module}.{field} {said}", BY_HAND.format(module))
