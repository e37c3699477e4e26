"""Followers of records in Salesforce: each is a record of EntitySubscription, which is inserted to follow and deleted to stop.
The destination's `send` of observers is this.

Facts: Salesforce's object reference, EntitySubscription: one for each record and user, a query needs a LIMIT of at most 1,000,
and only who may modify all data makes others follow; salesforce_more.md, Followers: a second insert is DUPLICATE_VALUE [M]. Only
what a rule names is inserted or deleted, so followers that users set stay, whoever writes at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.capabilities import Finding, Level
from syncd.connector import Outcome, Write, Written
from syncd.connectors.answers import listed, together
from syncd.connectors.crm.packing import Bundle, Packer
from syncd.connectors.crm.portions import portions
from syncd.connectors.crm.record import Target, Unsendable
from syncd.connectors.crm.salesforce import pack, soql
from syncd.connectors.crm.salesforce.client import SalesforceClient, Subrequest, Subresponse
from syncd.connectors.crm.salesforce.describe import ABSENT, LIGHT
from syncd.connectors.crm.salesforce.errors import answer_failure, failure
from syncd.connectors.crm.sending import Settled
from syncd.errors import Failure, Misconfigured, Rejected, Scope, StaleReference

FOLLOW = "EntitySubscription"
PARENT, FOLLOWER = "ParentId", "SubscriberId"
ROWS = 200
"""Records whose followers change in one of our calls."""
LIMIT = 1_000
"""Rows of a query of followers."""
COST = 3.0
"""Calls at most: who follows, who stops, who begins."""
DONE = frozenset({"DUPLICATE_VALUE"})
GONE = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND"})
"""Codes of a follower who stopped by themselves meanwhile."""
NOT_TRACKED = frozenset({"FIELD_INTEGRITY_EXCEPTION", "INVALID_ID_FIELD"})
TRACKING = "is feed tracking on for it (Setup, Feed Tracking)?"


def _cost(rows: int) -> float:
    return COST if rows else 0.0


def _record(write: Write, target: Target) -> dict[str, Any]:
    """Whom it adds and removes. Raises Unsendable."""
    change = write.observation
    if change is None or not write.id:
        raise Unsendable("id", "the record whose followers change is not known")
    return {"add": list(change.add), "remove": list(change.remove)}


PACKER = Packer(target=Target.of, record=_record, rows=ROWS, size=pack.CALL_BYTES, cost=_cost)


def perform(client: SalesforceClient, bundle: Bundle, writes: Sequence[Write]) -> Settled:
    """What became of each change. Raises a Failure while nothing was changed."""
    return _Following(client, bundle, writes).perform()


Placed = tuple[int, str]
"""Place in Call.writes -> a user, or a subscription."""


def _ended(subscriptions: Sequence[Placed]) -> Subrequest:
    ids = ",".join(id_ for _, id_ in subscriptions)
    return Subrequest("DELETE", f"/composite/sobjects?ids={ids}&allOrNone=false")


@dataclass
class _Following:
    """The changes of one call. `wrong`: place -> what was refused of it."""

    client: SalesforceClient
    bundle: Bundle
    writes: Sequence[Write]
    wrong: dict[int, list[Failure]] = field(default_factory=dict)

    def perform(self) -> Settled:
        self._stop(list(self._named("remove")))
        self._each(list(self._named("add")), self._begun, DONE)
        return {place: self._outcome(place) for place in self.bundle.rows}

    def _named(self, key: str) -> Iterator[Placed]:
        """The users that the changes add, or remove."""
        for place, record in zip(self.bundle.rows, self.bundle.records, strict=True):
            yield from ((place, user) for user in record[key])

    def _begun(self, users: Sequence[Placed]) -> Subrequest:
        rows = [
            {"attributes": {"type": FOLLOW}, PARENT: self.writes[place].id, FOLLOWER: user} for place, user in users
        ]
        return Subrequest("POST", "/composite/sobjects", {"allOrNone": False, "records": rows})

    def _stop(self, named: Sequence[Placed]) -> None:
        """Deletes the subscriptions of these users that are there."""
        wanted = {(self.writes[place].id[:15], user[:15]): place for place, user in named}
        there: list[Placed] = []
        for users in portions((user for _, user in named), LIMIT // ROWS):
            for parents in portions((self.writes[place].id for place, _ in named), LIMIT // len(users)):
                there += self._following(parents, users, wanted)
        self._each(there, _ended, GONE)

    def _following(
        self, parents: Sequence[str], users: Sequence[str], wanted: Mapping[tuple[str, str], int]
    ) -> Iterator[Placed]:
        """(place, id of the subscription) of those that are to end."""
        quoted = ",".join(map(soql.literal, users))
        tail = f" AND {FOLLOWER} IN ({quoted}) LIMIT {LIMIT}"
        head = soql.select(("Id", PARENT, FOLLOWER), FOLLOW)
        for rows in self.client.query(list(soql.selects(head, PARENT, parents, tail))):
            for row in rows:
                place = wanted.get((str(row.get(PARENT))[:15], str(row.get(FOLLOWER))[:15]))
                if place is not None and row.get("Id"):
                    yield place, str(row["Id"])

    def _each(
        self, rows: Sequence[Placed], request: Callable[[Sequence[Placed]], Subrequest], fine: frozenset[str]
    ) -> None:
        """Sends the rows in collections, and notes what was refused. `fine`: codes of what is done already."""
        for some in portions(rows, pack.ROWS):
            (answer,) = self.client.send([request(some)])
            self._note([place for place, _ in some], answer, fine)

    def _note(self, places: Sequence[int], answer: Subresponse, fine: frozenset[str]) -> None:
        rows = listed(answer.body) if answer.ok else ()
        if len(rows) != len(places):
            refused = _of_rule(answer_failure(answer.status, answer.body, write=True))
            for place in places:
                self.wrong.setdefault(place, []).append(refused)
            return
        for place, row in zip(places, rows, strict=True):
            if isinstance(row, Mapping) and row.get("success") is True:
                continue
            errors = row.get("errors") if isinstance(row, Mapping) else None
            if any(isinstance(one, Mapping) and one.get("statusCode") in fine for one in listed(errors)):
                continue
            self.wrong.setdefault(place, []).append(self._refused(place, failure(errors or [])))

    def _refused(self, place: int, meant: Failure) -> Failure:
        if meant.code in NOT_TRACKED:
            object_ = self.writes[place].object
            return Rejected(f"{object_} cannot be followed: {meant.message}; {TRACKING}", code=meant.code)
        if isinstance(meant, StaleReference) and meant.field == FOLLOWER:
            return Rejected(f"there is no such user: {meant.message}", code=meant.code, field=FOLLOWER)
        return meant

    def _outcome(self, place: int) -> Outcome:
        wrong = self.wrong.get(place)
        return together(wrong) if wrong else Written(self.writes[place].id, created=False)


def _of_rule(refused: Failure) -> Failure:
    """An org without Chatter has no followers: that holds the rule, not the destination."""
    if isinstance(refused, Misconfigured):
        text = f"followers cannot be set: {refused.message}; is Chatter on (Setup, Chatter Settings)?"
        return Misconfigured(text, code=refused.code, scope=Scope.RULE)
    return refused


def may_follow(client: SalesforceClient, objects: Sequence[str]) -> Iterator[Finding]:
    """Whether the org has followers, and which of these objects can be followed (`feedEnabled` of their description)."""
    try:
        client.query([f"{soql.select(('Id',), FOLLOW)} LIMIT 1"])
    except Misconfigured as refused:
        remedy = "switch Chatter on (Setup, Chatter Settings), or leave the rule out"
        yield Finding(Level.FAULT, "observers", f"the org has no followers: {refused.message}", remedy)
        return
    paths = [f"/sobjects/{name}/describe" for name in objects]
    answers = client.answers(paths, LIGHT)
    untracked = [
        name
        for name, answer in zip(objects, answers, strict=True)
        if answer.status != ABSENT and isinstance(answer.body, Mapping) and answer.body.get("feedEnabled") is False
    ]
    for name in untracked:
        remedy = f"switch it on: Setup, Feed Tracking, {name}, Enable Feed Tracking"
        yield Finding(
            Level.FAULT, f"observers {name}", f"feed tracking is off for {name}: nobody can follow it", remedy
        )
    if not untracked:
        yield Finding(Level.OK, "observers", f"can be followed: {', '.join(objects)}")
