"""Which records a delivery needs, under which keys, in which order, and what its writes say of the delivery: all pure.

A lane's round asks here between its calls. Promise: the same signal and mapping make the same keys, always; no write of a
record overtakes an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid5

import msgspec

from syncd.config.models import Switch
from syncd.connector import Idempotency, Link, PersonMatch, Write, WriteKind
from syncd.dispatch.decided import decided
from syncd.dispatch.linked_records import LACKS, Takes, joining, linked, no_link_is_known, own_record, to_rule
from syncd.dispatch.person_names import PEOPLE_NAME
from syncd.dispatch.waiting_rules import BEFORE, is_needless, row_of_waiting
from syncd.dispatch.written_again import written_again
from syncd.mapping.accounts import ACCOUNTS_CREATE, ACCOUNTS_PARENT
from syncd.mapping.model import About, CompiledMapping, Demanded, Draft, FieldFault, Skipped, Targets
from syncd.mapping.reasons import ANOTHER, NOBODY
from syncd.signals import NAMESPACE, Signal, frame
from syncd.store.lanes import PersonRow
from syncd.store.queue import Sibling, Taken, WriteRow
from syncd.texts.reasons import WAITING, Reason, code_of

PEOPLE_CREATE = "people.create"
ORDER = ("pending", "held", "unconfirmed", "dead", "discarded", "delivered", "skipped")
"""A delivery's state is the first of these that any of its writes has."""
CONVERSIONS = "conversions"
"""The group of all of them: leads of one firm that are converted at the same moment would each make its account."""
_AS_DELIVERY = {"sending": "pending", "doubt": "pending", "written": "delivered"}

SUPERSEDED = Reason("superseded")
NOTHING_EMPTY = Reason("nothing_empty")
NOTHING_CHANGES = Reason("nothing_changes")
EMPTY: tuple[object, ...] = (None, "", [], {})
"""A field of a CRM without a value. False and 0 are values."""


@dataclass(slots=True)
class Work:
    """One write on its way: the delivery it belongs to, what the mapping made, its row as it stands. `sent_before`: when it
    was last sent before the call under way, 0 if never; `company`: whose record it points at, if that was looked up for it."""

    taken: Taken
    signal: Signal
    draft: Draft
    row: WriteRow
    keying: Idempotency
    sent_before: int = 0
    company: str = ""

    @property
    def rank(self) -> tuple[int, int, str]:
        """Where it stands among the writes of its record: when it happened, when it came, its id."""
        return rank(self.signal)


def rank(signal: Signal) -> tuple[int, int, str]:
    """The order of signals that write one record, as `siblings` has it from the tables."""
    return round(signal.occurred_at.timestamp() * 1000), round(signal.received_at.timestamp() * 1000), str(signal.id)


# -------------------------------------------------------------------------------------------------------------- keys


def write_key(about_value: str, rule: str) -> str:
    """The key of a record in the CRM: UUIDv5 of what it is about and the rule that makes it."""
    return str(uuid5(NAMESPACE, frame("write", about_value, rule)))


def person_key(identity: str) -> str:
    """The key of a new person's record."""
    return str(uuid5(NAMESPACE, frame("person", identity)))


def company_key(identity: str) -> str:
    """The key of a new company's record."""
    return str(uuid5(NAMESPACE, frame("company", identity)))


def about_value(about: About, signal: Signal, targets: Targets | None = None) -> str:
    """What a record is about, as text that no two things share; "" when the signal has no such thing. A signal without a
    thread is one of its own."""
    if about is About.PERSON:
        return f"person:{signal.person.identity}" if signal.person.identity else ""
    if about is About.ACCOUNT:
        return f"account:{targets.account.id}" if targets and targets.account else ""
    if about is About.DEAL:
        return f"deal:{targets.deal.id}" if targets and targets.deal else ""
    if about is About.THREAD and signal.thread:
        return f"thread:{signal.thread}"
    return f"signal:{signal.id}"


# ---------------------------------------------------------------------------------------------------- whom it needs


def filtered(switch: Switch, found: PersonMatch | None) -> str:
    """Why a signal of this switch is not wanted from this person ("" when it is). Asked before any stranger is made."""
    if not isinstance(switch, tuple):
        return ""
    if found is not None:
        theirs = {found.role, "deal" if found.open_deal else "", "account" if found.account else ""}
        if theirs.intersection(switch):
            return ""
    return Reason("not_from", groups=" or ".join(switch))


def as_found(person: PersonRow | None) -> PersonMatch | None:
    """The record of a known person, None for an unknown one."""
    if person is None or not person.object or person.state != "known":
        return None
    return PersonMatch(
        object=person.object,
        id=person.crm_id,
        role=person.role,
        account=person.account,
        open_deal=person.open_deal,
        deal=person.deal,
        name=person.name,
        by_number=person.by_number,
    )


# -------------------------------------------------------------------------------------------------- rows of a delivery


def open_work(
    taken: Taken,
    signal: Signal,
    mapping: CompiledMapping,
    keying: Callable[[Draft], Idempotency],
    now: int,
    answer: str = "",
) -> tuple[list[Work], list[WriteRow]]:
    """(the writes of a delivery that have work, rows that changed without any call). `answer`: the id of what answered the
    signal by now.

    A rule that makes no record ends as skipped, a field that failed as dead, a write whose rule is gone from the mapping
    as skipped; what was finished before stays as it is, unless the signal was counted up and its record is to show that.
    """
    works: list[Work] = []
    changed: list[WriteRow] = []
    rules = set()
    drafts = mapping.drafts(signal, live=taken.live, demanded=demanded(taken))
    for made in drafts:
        rules.add(made.rule)
        row = taken.writes.get(made.rule)
        if isinstance(made, Draft) and made.record:
            before, row = row, row_of_waiting(made, taken.writes, drafts, signal, answer)
            if row is None or row.finished:
                changed += [row] if row is not None and row != before else []
                continue
        elif row is not None and row.finished:
            again = written_again(row, made, now) if taken.repeated and isinstance(made, Draft) else None
            if again is None:
                continue
            row = again
        if isinstance(made, Draft) and is_needless(made.rule, row, drafts, answer):
            made = Skipped(made.rule, BEFORE)
        if isinstance(made, Skipped):
            changed.append(
                WriteRow(made.rule, "", "", "", "skipped", made.reason) if row is None else skip(row, made.reason)
            )
            continue
        kept = keying(made)
        if row is None:
            row = WriteRow(made.rule, "", made.object, kept.kind.value)
        elif (made.object and row.object != made.object) or row.kind != kept.kind.value:
            row = msgspec.structs.replace(row, object=made.object or row.object, kind=kept.kind.value)
        if made.faults:
            reason = field_faults(made.faults)
            changed.append(
                msgspec.structs.replace(row, state="dead", reason=reason, key=row.key or _any_key(signal, made))
            )
            continue
        works.append(Work(taken, signal, made, row, kept))
    rules |= {PEOPLE_CREATE, PEOPLE_NAME, *([ACCOUNTS_CREATE, ACCOUNTS_PARENT] if mapping.accounts else [])}
    for rule, row in taken.writes.items():
        if rule not in rules and not row.finished:
            changed.append(skip(row, Reason("rule_gone")))
    return works, changed


def field_faults(faults: Iterable[FieldFault]) -> Reason:
    """Why a record whose fields cannot be made is dead."""
    return Reason("field_faults", faults="; ".join(f"{fault.field}: {fault.message}" for fault in faults))


def of_rule(rule: str, reason: str) -> str:
    """The reason of a write as its delivery says it."""
    return reason.of_rule(rule) if isinstance(reason, Reason) else f"{rule}: {reason}"


def demanded(taken: Taken) -> Demanded:
    """The rules of a delivery that a user set off, with what the user gave."""
    given = {rule: decided(row).given for rule, row in taken.writes.items() if row.chosen}
    return {rule: values for rule, values in given.items() if values is not None}


def skip(row: WriteRow, reason: str) -> WriteRow:
    """The row of a write that is not made (again). One that was written before stays written; of one that was sent
    without an answer nobody knows."""
    state = "written" if row.crm_id else "unconfirmed" if row.state in ("sending", "doubt") else "skipped"
    return msgspec.structs.replace(row, state=state, reason=reason, due_at=0)


def _any_key(signal: Signal, draft: Draft) -> str:
    return write_key(about_value(draft.about, signal) or f"signal:{signal.id}", draft.rule)


def delivery_state(rows: Iterable[WriteRow]) -> tuple[str, str]:
    """(state, reason) of a delivery by its writes: the first state in ORDER that any of them has, and what the first of them met
    rather than that others wait for it."""
    best = len(ORDER) - 1
    reasons: dict[int, str] = {}
    for row in rows:
        place = ORDER.index(_AS_DELIVERY.get(row.state, row.state))
        best = min(best, place)
        if row.reason:
            named = of_rule(row.rule, row.reason) if place < ORDER.index("delivered") else row.reason
            if place not in reasons or (code_of(reasons[place]) in WAITING and code_of(named) not in WAITING):
                reasons[place] = named
    state = ORDER[best]
    if state == "delivered":
        return state, ""
    return state, reasons.get(best, Reason("no_rule") if state == "skipped" else "")


# ------------------------------------------------------------------------------------------------------------ writes


def link_up(work: Work, targets: Targets, takes: Takes = no_link_is_known) -> Write | str | None:
    """The write ready to send; a text: it is skipped, for this reason; None: it waits for another rule's record. `takes`: which
    objects a link field of an object takes, () where the CRM says nothing of it."""
    draft = work.draft
    own = to_rule(work.taken, draft.record) if draft.record else begun_conversion(work) or own_record(draft, targets)
    if isinstance(own, str):
        return own
    if own is None and draft.record:
        return None
    links = linked(draft, work.taken, targets, takes)
    if links is None or isinstance(links, str):
        return links
    account = targets.account.id if targets.account else ""
    key = work.row.key
    if not key:
        about = about_value(draft.about, work.signal, targets)
        if not about:
            return LACKS.get(draft.about, NOBODY)
        key = write_key(about, draft.rule)
    return Write(
        key=key,
        object=draft.object or (own.object if own else ""),
        key_field=draft.key_field,
        fields=draft.fields,
        on_create=draft.on_create,
        clear=draft.clear,
        links={} if draft.conversion else links,
        id=own.id if own else work.row.crm_id,
        group=CONVERSIONS
        if draft.conversion
        else account or (targets.person.id if targets.person else "") or work.signal.person.identity or key,
        notification=draft.verb.notification,
        conversion=draft.conversion and joining(draft.conversion, links),
        observation=draft.observation,
    )


def begun_conversion(work: Work) -> Link | None:
    """The lead of a conversion that was sent before: it is asked what became of it, whatever its person is by now."""
    sent = work.draft.conversion is not None and work.row.crm_id
    return Link(work.row.object, work.row.crm_id) if sent else None


def reopened(taken: Taken, now: int) -> list[WriteRow]:
    """When the person's record is gone, and they may be another one now: rules that updated that kind of record get their
    turn again."""
    return [
        msgspec.structs.replace(row, state="pending", reason="", due_at=now)
        for row in taken.writes.values()
        if row.state == "skipped" and code_of(row.reason) in ANOTHER
    ]


def disagrees(draft: Draft, there: Mapping[str, object]) -> str:
    """Why what stands `there` forbids to write, "" when it does not. Texts are the same whatever their case."""
    for name, wanted in draft.only_if.items():
        either = wanted if isinstance(wanted, tuple) else (wanted,)
        if str(there.get(name) or "").strip().casefold() not in [str(one).strip().casefold() for one in either]:
            return Reason("other_value" if there.get(name) else "no_value", field=name)
    return ""


def filled(draft: Draft, there: Mapping[str, object]) -> Draft:
    """The draft without what it cannot fill, since something stands `there`."""
    left = {name: value for name, value in draft.fill.items() if there.get(name) in EMPTY}
    return msgspec.structs.replace(draft, fill=left)


def in_order(works: Sequence[Work], siblings: Sequence[Sibling], now: int) -> list[Work]:
    """The writes of one record that may go now, in their order; the rows of the others are changed to say what they wait
    for, or that they came too late.

    `works`: those at hand, `siblings`: those of signals that are not. A later one that is written supersedes; what else
    has to be waited for says `_waits_for`.
    """
    here = {work.taken.signal_id for work in works}
    others = sorted((one for one in siblings if one.signal_id not in here), key=lambda one: one.rank)
    written = [one for one in others if one.state == "written"]
    open_ones = [one for one in others if one.state != "written"]
    open_ones += [_as_sibling(work) for work in works if work.row.due_at > now]
    crm_id = next((one.crm_id for one in reversed(written) if one.crm_id), "")
    ready: list[Work] = []
    for work in sorted(works, key=lambda one: one.rank):
        if _came_too_late(work, written):
            work.row = _superseded(work.row)
        elif work.row.due_at <= now:
            if due := [other.due_at for other in open_ones if _waits_for(work, other)]:
                reason = work.row.reason or Reason("waits_for_write")
                work.row = msgspec.structs.replace(work.row, due_at=max(now + 1000, *due), reason=reason)
                open_ones.append(_as_sibling(work))
                continue
            if crm_id and _takes_id(work):
                work.row = msgspec.structs.replace(work.row, crm_id=crm_id)
            ready.append(work)
    return ready


def _came_too_late(work: Work, written: Sequence[Sibling]) -> bool:
    """Whether a later write of the record is there, which this one would undo."""
    return work.draft.overwrites and bool(written) and written[-1].rank > work.rank


def _superseded(row: WriteRow) -> WriteRow:
    """Also when it is in doubt: whatever became of it, newer data is there."""
    in_doubt = row.state in ("sending", "doubt")
    return skip(msgspec.structs.replace(row, state="pending") if in_doubt else row, SUPERSEDED)


def _takes_id(work: Work) -> bool:
    """Whether the record's id, known from another write of it, is what this one lacks."""
    return not work.row.crm_id and not work.row.stale_once and not work.draft.own_record


def _waits_for(work: Work, other: Sibling) -> bool:
    """Whether a write has to wait for another unfinished one of its record. Earlier ones go first. But one that was sent may
    be there already, and is not to be followed by an earlier one: so all others wait for it. (Sent ones first, the latest
    before the earlier, then the others in their order: no two ever wait for each other.)"""
    if other.signal_id == work.taken.signal_id:
        return False
    return not work.row.sent_at if other.rank < work.rank else bool(other.sent_at)


def _as_sibling(work: Work) -> Sibling:
    row = work.row
    return Sibling(row.key, work.taken.signal_id, row.state, row.due_at, row.sent_at, row.crm_id, work.rank)


def look_up_first(work: Work, write: Write) -> bool:
    """Whether it is looked up by key before it is sent: what is in doubt, and what may be older than our store and could
    be doubled, or would overwrite what people changed since."""
    kind = work.keying.kind
    if not write.key_field or not work.keying.readable:
        return False
    if work.row.state == "doubt":
        return kind is WriteKind.FINDABLE and not write.id
    if not work.taken.old or write.id or work.row.attempts:
        return False
    unkept = kind in (WriteKind.FINDABLE, WriteKind.AT_MOST_ONCE) or (
        kind is WriteKind.UPSERT and not work.keying.enforced
    )
    return unkept or bool(write.on_create)


def by_key(works: Iterable[Work]) -> Mapping[str, list[Work]]:
    """The works of each record."""
    groups: dict[str, list[Work]] = {}
    for work in works:
        groups.setdefault(work.row.key, []).append(work)
    return groups
