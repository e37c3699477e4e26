"""What comes of a lead that is converted: its person is the contact from then on, and the records that came with it are kept with
the write. Pure; the sender asks after each call, the round before and after each wave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from syncd.connector import Idempotency, Link, Outcome, PersonMatch, Write, Written
from syncd.dispatch import outcomes as rules
from syncd.dispatch.decided import decided, with_decided
from syncd.dispatch.plan import Work
from syncd.errors import Ambiguous, Rejected, StaleReference
from syncd.store.lanes import PersonRow
from syncd.store.queue import WriteRow

CONTACT, ACCOUNT, DEAL = "contact", "account", "deal"
"""Names of what a lead became (`Written.also`)."""
Pair = tuple[Work, Write]
Followed = tuple[Link, PersonMatch]
"""A lead, and the contact that it became."""


def keying_of_answer(work: Work, write: Write, outcome: Outcome) -> Idempotency:
    """What the write is, as far as this outcome goes. An update by id is as good a second time; a conversion is not while nobody
    knows whether the first still runs."""
    if not write.id or (write.conversion is not None and isinstance(outcome, Ambiguous)):
        return work.keying
    return _waiting(rules.keying_of_known(work.keying), work)


def keying_of_interrupted(work: Work) -> Idempotency:
    """What a write is whose answer a dead worker took along."""
    known = work.row.crm_id and work.draft.conversion is None
    return _waiting(rules.keying_of_known(work.keying), work) if known else work.keying


def _waiting(keying: Idempotency, work: Work) -> Idempotency:
    """A change of observers that may make a chat waits until the first call has surely ended, since a CRM may make two."""
    change = work.draft.observation
    return Idempotency(keying.kind, enforced=False) if change is not None and change.chat else keying


def apart(ready: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """(the writes of a wave, its conversions): these go last, so that the CRM takes along what was just linked to the lead."""
    rest = [pair for pair in ready if pair[1].conversion is None]
    return rest, [pair for pair in ready if pair[1].conversion is not None]


def followed(write: Write, outcome: Outcome, role_of: Callable[[str], str]) -> Followed | None:
    """Whom the lead's person is from now on; None where the write converted none, or the CRM does not tell what it became."""
    if write.conversion is None or not isinstance(outcome, Written) or CONTACT not in outcome.also:
        return None
    contact, deal = outcome.also[CONTACT], outcome.also.get(DEAL)
    found = PersonMatch(
        object=contact.object,
        id=contact.id,
        role=role_of(contact.object),
        account=outcome.also.get(ACCOUNT),
        open_deal=True if deal else None,
        deal=deal,
    )
    return Link(write.object, write.id), found


def asks_again(write: Write, outcome: Outcome) -> bool:
    """Whether the person is to be looked up again: their lead may be converted, and it is not told into what."""
    if write.conversion is None or isinstance(outcome, StaleReference):
        return False
    return isinstance(outcome, Rejected) or (isinstance(outcome, Written) and CONTACT not in outcome.also)


def with_also(row: WriteRow, outcome: Outcome) -> WriteRow:
    """The row, keeping the records that came with the one it wrote."""
    if not isinstance(outcome, Written) or not outcome.also:
        return row
    also = {name: (link.object, link.id) for name, link in outcome.also.items()}
    return with_decided(row, msgspec.structs.replace(decided(row), also=also))


def known_as(row: PersonRow | None, converted: Iterable[Followed]) -> PersonRow | None:
    """What is known of a person after these conversions."""
    for lead, found in converted:
        if row is not None and (row.object, row.crm_id, row.state) == (lead.object, lead.id, "known"):
            more = {"account": found.account, "open_deal": found.open_deal, "deal": found.deal}
            row = msgspec.structs.replace(row, object=found.object, crm_id=found.id, role=found.role, **more)
    return row
