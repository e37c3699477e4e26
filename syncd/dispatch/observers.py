"""Who is added to the observers of a record: the users that a rule names, without those who are not active in the CRM.

The round asks before each wave of writes. Promise: a user who is not active is never added, and the row says who was left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog

from syncd.capabilities import Observes
from syncd.connector import Observation, Write
from syncd.dispatch import plan
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.decided import decided, with_decided
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.owners import NOBODY_ACTIVE, active_users
from syncd.dispatch.plan import Work
from syncd.texts.reasons import Reason

log = structlog.get_logger(__name__)
Pair = tuple[Work, Write]


class Observers:
    """The choosing of one round."""

    def __init__(self, client: DestinationClient, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger

    def active(self, ready: Sequence[Pair]) -> list[Pair]:
        """The writes, those of observers without users who are not active; those that change nothing then are noted in their
        rows. Raises Paused."""
        crm, now = self._client.destination, self._client.clock()
        asking = [
            (work, work.draft.observation)
            for work, _ in ready
            if work.draft.observation is not None
            and work.row.due_at <= now
            and isinstance(crm, Observes)
            and crm.observed_by_users(work.draft.observation.field)
        ]
        if not asking:
            return list(ready)
        is_active = active_users(self._client, (user for _, one in asking for user in one.add))
        for work, observation in asking:
            away = tuple(user for user in observation.add if not is_active(user))
            if away:
                self._leave_out(work, observation, away)
        changed = {id(work) for work, _ in asking}
        return [
            (work, msgspec.structs.replace(write, observation=work.draft.observation) if id(work) in changed else write)
            for work, write in ready
            if not work.row.finished
        ]

    def _leave_out(self, work: Work, observation: Observation, away: tuple[str, ...]) -> None:
        log.warning(
            "observers left out: they are not active",
            destination=self._client.name,
            rule=work.draft.rule,
            users=", ".join(away),
        )
        kept = msgspec.structs.replace(observation, add=tuple(user for user in observation.add if user not in away))
        work.draft = msgspec.structs.replace(work.draft, observation=kept)
        work.row = with_decided(work.row, msgspec.structs.replace(decided(work.row), left_out=away))
        if not (kept.add or kept.remove):
            work.row = plan.skip(work.row, Reason(NOBODY_ACTIVE))
        self._ledger.put(work.taken, work.row)
