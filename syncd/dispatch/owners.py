"""Who becomes the owner of a record: the next active user of a turn, and the fallback where none is left.

The round asks before each wave of writes, `person_creation` before it creates people. Promise: a turn and whom it fell to are
committed together, before the record is sent; a record that is sent again keeps its owner while the mapping still names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import structlog
from msgspec import UNSET

from syncd.capabilities import Assigns, KnowsTeams
from syncd.connector import Destination, Write
from syncd.dispatch import outcomes as rules
from syncd.dispatch import plan
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.decided import Decided, decided, with_decided
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.plan import Work
from syncd.errors import Failure
from syncd.mapping.model import OwnerChoice
from syncd.store.lanes import turns_taken
from syncd.store.store import Store
from syncd.texts.reasons import Reason

log = structlog.get_logger(__name__)
Pair = tuple[Work, Write]
OLD_FIELD = "OwnerId"
"""The field of mappings that name none, where the destination does not know its own."""
NOBODY_ACTIVE, FALLS_BACK, NOBODY_NAMED = "no_active_user", "fallback_owner", "nobody_named"
"""Codes of reasons."""


def choose(choice: OwnerChoice, taken: int, active: Callable[[Any], bool]) -> tuple[Decided, int]:
    """(the owner whose turn it is after so many turns, how many turns that takes)."""
    users = choice.users
    named = bool(users or choice.team)
    for step in range(len(users)):
        user = users[(taken + step) % len(users)]
        if active(user):
            return Decided(user), step + 1 if len(users) > 1 else 0
    if choice.fallback is not None:
        return Decided(choice.fallback, FALLS_BACK if named else ""), 0
    return Decided(None, NOBODY_ACTIVE if named else NOBODY_NAMED), 0


def user_id(user: Any) -> str:
    """The id of a user as a mapping names them: itself, or in the CRM's own form."""
    return str(user.get("id", "")) if isinstance(user, dict) else str(user)


def owner_field(choice: OwnerChoice, destination: Destination) -> str:
    """The field that the owner goes into."""
    own = destination.owner_field if isinstance(destination, Assigns) else OLD_FIELD
    return choice.field or own


def as_value(user: Any, destination: Destination) -> Any:
    """A user as the owner's field takes them."""
    return destination.owner(user) if isinstance(destination, Assigns) and not isinstance(user, dict) else user


def active_users(client: DestinationClient, users: Iterable[str]) -> Callable[[str], bool]:
    """Whether a user of these is active; whoever the CRM does not tell of is, also when it cannot be asked: then it refuses an
    inactive one itself. Raises Paused."""
    crm, known, now = client.destination, client.known_users, client.clock()
    ids = known.unknown(users, now)
    if ids and isinstance(crm, Assigns):
        told = client.question("users", len(ids), lambda: crm.users(ids))
        if isinstance(told, Failure):
            log.warning("users not looked up", destination=client.name, reason=rules.describe(told))
        else:
            known.learn(ids, told, now)
    return known.active


class Owners:
    """The choosing of one round."""

    def __init__(self, store: Store, client: DestinationClient, ledger: Ledger) -> None:
        self._store = store
        self._client = client
        self._ledger = ledger

    def active(self, choices: Sequence[OwnerChoice]) -> Callable[[Any], bool]:
        """Whether a user of these choices is active. Raises Paused."""
        is_active = active_users(self._client, (user_id(user) for choice in choices for user in choice.users))
        return lambda user: is_active(user_id(user))

    def with_members(self, choice: OwnerChoice) -> OwnerChoice | Failure:
        """The choice with the members of its team as users. Where the CRM cannot be asked, those whom it told of last; the
        failure where it never did. Raises Paused."""
        crm, known, now = self._client.destination, self._client.known_users, self._client.clock()
        if choice.team is None or not isinstance(crm, KnowsTeams):  # such a mapping is refused for any other
            return choice
        kind, name = choice.team
        members = known.team(choice.team, now)
        if members is None:
            told = self._client.question("users", 1, lambda: crm.members(kind, name))
            if not isinstance(told, Failure):
                known.learn_team(choice.team, told, now)
            elif known.team(choice.team, now, stale=True) is None:
                return told
            members = known.team(choice.team, now, stale=True)
        return replace(choice, users=members or ())

    def _team_known(self, work: Work) -> bool:
        """Whether it is known who is in the team that a work names; else its rule is held."""
        assert work.draft.owner is not None
        choice = self.with_members(work.draft.owner)
        if isinstance(choice, Failure):
            self._client.hold(work.draft.rule, choice)
            until = self._client.pace.held_until(work.draft.rule, self._client.clock())
            due, reason = until if until is not None else (work.row.due_at, rules.describe(choice))
            work.row = msgspec.structs.replace(work.row, state="held", reason=reason, due_at=due)
            self._ledger.put(work.taken, work.row)
            return False
        work.draft = msgspec.structs.replace(work.draft, owner=choice)
        return True

    def given(self, ready: Sequence[Pair]) -> list[Pair]:
        """The writes with their owners; those that assign nobody are noted in their rows. Raises Paused."""
        asking = [(work, write) for work, write in ready if _asks(work, write)]
        if not asking:
            return list(ready)
        asked = {id(work) for work, _ in asking}
        asking = [(work, write) for work, write in asking if self._team_known(work)]
        active = self.active([work.draft.owner for work, _ in asking if work.draft.owner])
        by_rule: dict[str, list[Work]] = {}
        for work, _ in asking:
            if work.draft.owner and not _stays(work.draft.owner, decided(work.row).owner):
                by_rule.setdefault(work.draft.rule, []).append(work)
        for rule, works in by_rule.items():
            self._choose(rule, works, active)
        made = {id(work): one for work, write in asking if (one := self._with_owner(work, write)) is not None}
        return [(work, made.get(id(work), write)) for work, write in ready if id(work) not in asked or id(work) in made]

    def _choose(self, rule: str, works: Sequence[Work], active: Callable[[Any], bool]) -> None:
        with self._store.read() as connection:
            taken = first = turns_taken(connection, self._client.name, rule)
        for work in works:
            assert work.draft.owner is not None
            chosen, turns = choose(work.draft.owner, taken, active)
            taken += turns
            kept = msgspec.structs.replace(decided(work.row), owner=chosen.owner, why=chosen.why)
            work.row = with_decided(work.row, kept)
        self._ledger.leaving([(work.taken, work.row) for work in works], turns=(rule, taken - first))

    def _with_owner(self, work: Work, write: Write) -> Write | None:
        choice, chosen = work.draft.owner, decided(work.row)
        assert choice is not None
        if chosen.owner is None:
            if work.draft.verb.any_object and work.draft.conversion is None:  # it would change the owner alone
                work.row = plan.skip(work.row, Reason(chosen.why))
                self._ledger.put(work.taken, work.row)
                return None
            return write
        crm = self._client.destination
        given = {owner_field(choice, crm): as_value(chosen.owner, crm)}
        if work.draft.own_record:
            work.draft = msgspec.structs.replace(work.draft, fields={**work.draft.fields, **given})
            return msgspec.structs.replace(write, fields={**write.fields, **given})
        work.draft = msgspec.structs.replace(work.draft, on_create={**work.draft.on_create, **given})
        return msgspec.structs.replace(write, on_create={**write.on_create, **given})


def _stays(choice: OwnerChoice, owner: Any) -> bool:
    """Whether what was decided stands: a mapping that no longer names them decides again, else the write would stay dead."""
    return owner is not UNSET and owner in (*choice.users, choice.fallback)


def _asks(work: Work, write: Write) -> bool:
    """A record of a rule's own gets its owner while it is new."""
    return work.draft.owner is not None and (work.draft.own_record or not write.id)
