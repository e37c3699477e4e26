"""What an answer of the CRM means: the table of failure classes, as pure decisions over one write, one person, one lane.

Lanes ask here after every call, and when they find what a dead worker left. Promise: no outcome is guessed; what may have
been written is never sent again unless the CRM keeps the key, the doubt is over, or it was looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec

from syncd.config.models import Retry
from syncd.connector import Idempotency, Observation, Outcome, PersonMatch, Write, WriteKind, Written
from syncd.dispatch import pacing
from syncd.dispatch.pacing import Pace
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
    TooLarge,
    Transient,
)
from syncd.store.lanes import PersonRow
from syncd.store.queue import Attempt, WriteRow
from syncd.texts.reasons import Reason, failure_code

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """What decisions need of the settings. `doubt`: milliseconds from sending until a lost call has surely ended and
    what it wrote can be found (the vendor's doubt and its search lag)."""

    retry: Retry
    doubt: int
    random: pacing.Random


def outcome_name(outcome: Outcome) -> str:
    """The outcome as `attempts` has it: "written", or the failure class in lower case."""
    return "written" if isinstance(outcome, Written) else type(outcome).__name__.lower()


def describe(failure: Failure) -> Reason:
    """The failure as a person reads it: the field, if one is named, then code and message. Its code is the failure class, or
    `sign_in` for whoever must be signed in first; the parameter `code` is the vendor's own."""
    field = getattr(failure, "field", "")
    text = str(failure) or type(failure).__name__
    shown = f"{field}: {text}" if field and field not in text else text
    named = {"field": field} if field else {}
    return Reason.worded(shown, failure_code(failure), code=failure.code, message=failure.message, **named)


def attempt(signal_id: str, rule: str, outcome: Outcome, now: int) -> Attempt:
    """What `explain` shows of one try."""
    if isinstance(outcome, Written):
        return Attempt(signal_id, rule, now, outcome_name(outcome))
    return Attempt(signal_id, rule, now, outcome_name(outcome), outcome.code, describe(outcome))


def stops_lane(failure: Failure) -> bool:
    """Whether it concerns everything behind the destination."""
    return isinstance(failure, AuthExpired) or (
        isinstance(failure, Misconfigured) and failure.scope is Scope.DESTINATION
    )


# ------------------------------------------------------------------------------------------------------- one write


def of_call(outcome: Outcome) -> bool:
    """Whether it concerns the request that carried the row, not the row itself."""
    return isinstance(outcome, (Transient, Ambiguous)) and outcome.of_call


def decide(
    row: WriteRow, outcome: Outcome, keying: Idempotency, policy: RetryPolicy, now: int, *, again_at: int | None = None
) -> WriteRow:
    """The next state of a write that was sent at `row.sent_at` and had this outcome. `again_at`: the call failed, not the
    write: no try is counted, and it may be sent again then."""
    put = msgspec.structs.replace
    match outcome:
        case Written():
            return put(
                row, state="written", reason="", crm_id=outcome.id or row.crm_id, attempts=row.attempts + 1, due_at=0
            )
        case Transient():
            return _again(row, outcome, policy, now, known=outcome.known, again_at=again_at)
        case Ambiguous():
            return in_doubt(row, outcome, keying, policy, now, again_at=again_at)
        case StaleReference():
            return _stale(row, outcome, keying, now)
        case Misconfigured() if outcome.scope is Scope.RULE:
            return put(row, state="held", reason=describe(outcome), due_at=now + pacing.ASK_AGAIN)
        case RateLimited() | QuotaExhausted() | AuthExpired() | Misconfigured():  # the lane pauses; no attempt counts
            return put(row, state="pending", reason=describe(outcome), due_at=now)
        case _:
            return put(row, state="dead", reason=describe(outcome), attempts=row.attempts + 1, due_at=0)


def _again(
    row: WriteRow, failure: Failure, policy: RetryPolicy, now: int, *, known: bool = True, again_at: int | None = None
) -> WriteRow:
    if again_at is not None:
        return msgspec.structs.replace(row, state="pending", reason=describe(failure), due_at=max(now, again_at))
    attempts = row.attempts + 1
    due = pacing.next_try(policy.retry, attempts, now, policy.random, known=known)
    if due is not None:
        return msgspec.structs.replace(row, state="pending", reason=describe(failure), attempts=attempts, due_at=due)
    reason = Reason("given_up", tries=attempts, cause=describe(failure))
    # Its last answer is missing: that it was not written would be a guess.
    state = "unconfirmed" if isinstance(failure, Ambiguous) else "dead"
    return msgspec.structs.replace(row, state=state, reason=reason, attempts=attempts, due_at=0)


def in_doubt(
    row: WriteRow, failure: Failure, keying: Idempotency, policy: RetryPolicy, now: int, *, again_at: int | None = None
) -> WriteRow:
    """After a lost answer, by the kind of the write: again, wait and then again, wait and look up, or unconfirmed.
    `again_at` as in `decide`."""
    kind = keying.kind
    if kind is WriteKind.AT_MOST_ONCE:
        reason = Reason("maybe_done", cause=describe(failure))
        return msgspec.structs.replace(row, state="unconfirmed", reason=reason, attempts=row.attempts + 1, due_at=0)
    if kind is WriteKind.UNIQUE or (kind is WriteKind.UPSERT and keying.enforced):
        return _again(row, failure, policy, now, again_at=again_at)
    due, attempts = max(now, row.sent_at + policy.doubt), row.attempts + (again_at is None)
    return msgspec.structs.replace(
        row, state="doubt", reason=Reason("in_doubt", cause=describe(failure)), attempts=attempts, due_at=due
    )


def keying_of_known(keying: Idempotency) -> Idempotency:
    """Of a record whose id we know: an update is as good a second time, whatever inserting is."""
    return keying if keying.kind is WriteKind.AT_MOST_ONCE else Idempotency(WriteKind.UPSERT)


def not_looked_up(
    row: WriteRow, failure: Failure, policy: RetryPolicy, now: int, *, again_at: int | None = None
) -> WriteRow:
    """A write whose person, or record, cannot be looked up: nothing was sent. It counts as a try, unless the look-up is at
    fault: then `again_at` says when it may be asked again."""
    asked = Transient(failure.message, code=failure.code) if isinstance(failure, Ambiguous) else failure
    return decide(row, asked, Idempotency(WriteKind.UPSERT), policy, now, again_at=again_at)


def doubt_over(row: WriteRow, found: str | None, policy: RetryPolicy, now: int) -> WriteRow:
    """A write whose doubt has ended. `found`: the id it was found by, "" when looked for in vain, None when no look-up is
    needed (an upsert simply goes again). It is due as the schedule says, counted from when it was sent."""
    if found:
        return msgspec.structs.replace(row, state="written", reason="", crm_id=found, due_at=0)
    if row.attempts >= len(policy.retry.schedule):
        state = "dead" if found == "" else "unconfirmed"
        return msgspec.structs.replace(
            row, state=state, reason=Reason("given_up", tries=row.attempts, cause=row.reason), due_at=0
        )
    # The doubt itself may have been longer than the schedule's wait; it is empty before a first counted try.
    due = pacing.next_try(policy.retry, row.attempts, row.sent_at, policy.random) if row.attempts else None
    return msgspec.structs.replace(row, state="pending", due_at=max(now, due or 0))


def _stale(row: WriteRow, failure: StaleReference, keying: Idempotency, now: int) -> WriteRow:
    if row.stale_once:
        reason = Reason("link_refused", cause=describe(failure))
        return msgspec.structs.replace(row, state="dead", reason=reason, attempts=row.attempts + 1, due_at=0)
    again = msgspec.structs.replace(row, state="pending", stale_once=True, reason=describe(failure), due_at=now)
    if not row.crm_id or failure.field:
        return again
    # Our own record may be what is gone. Without its id an insert could double it: such kinds look it up first.
    looked_up = keying.kind is WriteKind.FINDABLE
    return msgspec.structs.replace(again, crm_id="", state="doubt" if looked_up else "pending")


# ------------------------------------------------------------------------------------------------------ one person


def decide_person(
    row: PersonRow,
    outcome: Outcome,
    keying: Idempotency,
    policy: RetryPolicy,
    object: str,
    now: int,
    *,
    role: str = "lead",
    again_at: int | None = None,
) -> PersonRow:
    """The next state of a person whose record was sent at `row.sent_at`. When in doubt they are resolved again, never
    before the lost call has surely ended, unless the CRM itself keeps the key. `role`: of whoever has such a record;
    `again_at` as in `decide`."""
    put = msgspec.structs.replace
    match outcome:
        case Written():
            return PersonRow(row.identity, object, outcome.id, role, checked_at=now, name=row.name)
        case Rejected() if outcome.existing:  # until it is read whether one of the records named is theirs
            return put(row, attempts=row.attempts + 1, checked_at=now + pacing.SECOND)
        case Transient() | Ambiguous() | StaleReference():
            attempts = row.attempts + (again_at is None)
            due = again_at
            if due is None:
                due = pacing.next_try(policy.retry, attempts, now, policy.random, known=getattr(outcome, "known", True))
            if due is None:
                reason = Reason("given_up", tries=attempts, cause=describe(outcome))
                return put(row, state="rejected", reason=reason, attempts=attempts, checked_at=now)
            if isinstance(outcome, Ambiguous):
                due = max(due, person_safe_at(row.sent_at, keying, policy))
            return put(row, attempts=attempts, checked_at=due)
        case RateLimited() | QuotaExhausted() | AuthExpired() | Misconfigured():  # nothing was written; the lane waits
            return put(row, checked_at=now)
        case _:
            return put(row, state="rejected", reason=describe(outcome), attempts=row.attempts + 1, checked_at=now)


NAMED = 5
"""So many records are named in a reason."""


def several(records: Sequence[PersonMatch], url: Callable[[str, str], str] = lambda object, id: "") -> str:
    """Why it is unclear which of these records is the person's. `url`: where a record is looked at, "" if nowhere."""
    shown = [
        " ".join(part for part in (one.object, one.id, one.name and f"({one.name})", url(one.object, one.id)) if part)
        for one in records[:NAMED]
    ]
    more = f" and {len(records) - NAMED} more" if len(records) > NAMED else ""
    code = "several_by_number" if records[0].by_number else "several_records"
    return Reason(code, records=f"{', '.join(shown)}{more}")


def recognised(
    row: PersonRow, why: Rejected, answer: PersonMatch | Failure | None, policy: RetryPolicy, now: int, *, lag: float
) -> PersonRow:
    """Somebody whom the CRM refused as a duplicate. `answer`: the record it named that agrees with them, None when none does, or
    why none could be read; `lag`: seconds until the CRM shows a record that was just made."""
    put = msgspec.structs.replace
    if isinstance(answer, PersonMatch):
        return PersonRow(
            row.identity, answer.object, answer.id, answer.role, answer.account, checked_at=now, name=answer.name
        )
    unseen = answer is None and lag > 0 and row.attempts < 2
    if isinstance(answer, Failure) or unseen:
        due = pacing.next_try(policy.retry, row.attempts, now, policy.random)
        if due is not None:
            return put(row, checked_at=max(due, now + round(lag * 1000)))
    reason = Reason("existing_not_theirs", cause=describe(why))
    return put(row, state="rejected", reason=reason, checked_at=now)


def person_safe_at(sent_at: int, keying: Idempotency, policy: RetryPolicy) -> int:
    """From when on a person sent then may be created again, if no look-up finds them."""
    kept = keying.kind is WriteKind.UNIQUE or (keying.kind is WriteKind.UPSERT and keying.enforced)
    return sent_at if kept else sent_at + policy.doubt


# -------------------------------------------------------------------------------------------------------- the lane


def next_pace(pace: Pace, failure: Failure | None, now: int, random: pacing.Random) -> Pace:
    """The lane's pace after a call: `failure` concerns the whole call, or is what a row said of more than itself."""
    match failure:
        case Transient() | Ambiguous():
            return pacing.failed(pace, now, describe(failure))
        case RateLimited(scope=scope) if scope:  # one operation alone: its endpoint rests, the lane does not
            return pace
        case RateLimited():
            return pacing.throttled(pace, now, failure.retry_after, random, describe(failure))
        case QuotaExhausted():
            resets = round(failure.resets_at.timestamp() * 1000) if failure.resets_at else 0
            until = resets if resets > now else now + pacing.ASK_AGAIN
            return pacing.pause(pace, until, Reason("allowance_used", cause=describe(failure)))
        case Misconfigured(until=datetime() as again) if stops_lane(failure):
            return pacing.pause(pace, round(again.timestamp() * 1000), describe(failure), stopped=True)
        case Failure() if stops_lane(failure):
            return pacing.pause(pace, now + pacing.ASK_AGAIN, describe(failure), stopped=True)
        case _:  # answered: the vendor is well, whatever it thinks of the rows
            return pacing.succeeded(pace)


def hold(pace: Pace, rules: Sequence[str], failure: Failure, now: int) -> Pace:
    """These rules name what the CRM does not know: their writes wait an hour, or for a reload."""
    held = {rule: entry for rule, entry in pace.held.items() if entry[0] > now}
    held.update(dict.fromkeys(rules, (now + pacing.ASK_AGAIN, describe(failure))))
    return msgspec.structs.replace(pace, held=held)


def split(
    items: Sequence[T],
    failure: Failure,
    rule_of: Callable[[T], Hashable] = lambda item: None,
    object_of: Callable[[T], Hashable] = lambda item: None,
) -> list[Sequence[T]] | None:
    """How a call (or look-up) that was refused whole is taken apart, so that a bad row harms only itself: halves for a
    Rejected (one bad row of n costs at most 2·log2(n) more calls) and for a call that is too large, one call a rule for a
    rule's fault, one call an object for a limit of one operation. None: it stands."""
    if isinstance(failure, (Rejected, StaleReference, TooLarge)) and len(items) > 1:
        middle = len(items) // 2
        return [items[:middle], items[middle:]]
    of: Callable[[T], Hashable] | None = None
    if isinstance(failure, Misconfigured) and failure.scope is Scope.RULE:
        of = rule_of
    elif isinstance(failure, RateLimited) and failure.scope:
        of = object_of
    parts: dict[Hashable, list[T]] = {}
    for item in items if of is not None else ():
        parts.setdefault(of(item) if of is not None else None, []).append(item)
    return list(parts.values()) if len(parts) > 1 else None


def merged(writes: Sequence[Write]) -> Write:
    """One write that leaves the record as these would, one after the other (all of one key)."""
    first, last = writes[0], writes[-1]
    if first is last:
        return first
    fields: dict[str, object] = {}
    clear: dict[str, None] = {}
    links = {}
    for write in writes:
        fields.update(write.fields)
        links.update(write.links)
        for name in write.fields:
            clear.pop(name, None)
        for name in write.clear:
            fields.pop(name, None)
            clear[name] = None
    # The first one would have created the record; what the later ones would set at creation was never sent.
    return msgspec.structs.replace(
        last,
        fields=fields,
        on_create=first.on_create,
        clear=tuple(clear),
        links=links,
        id=last.id or first.id,
        observation=_observed([write.observation for write in writes if write.observation is not None]),
    )


def _observed(changes: Sequence[Observation]) -> Observation | None:
    """One change of observers that leaves what these would, one after the other."""
    if not changes:
        return None
    adds: dict[str, bool] = {}  # user -> whether the last that names them adds them
    for change in changes:
        adds.update(dict.fromkeys(change.remove, False) | dict.fromkeys(change.add, True))
    return msgspec.structs.replace(
        changes[-1],
        add=tuple(user for user, added in adds.items() if added),
        remove=tuple(user for user, added in adds.items() if not added),
    )
