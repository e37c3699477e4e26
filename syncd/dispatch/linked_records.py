"""Which records of the CRM a write is about or points at: the person's, their company's or deal's, what other rules made.

Pure; `plan.link_up` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from syncd.connector import Conversion, Link, PersonMatch
from syncd.dispatch.decided import decided
from syncd.mapping.model import About, Draft, Targets, made_by
from syncd.mapping.reasons import NO_ACCOUNT, NO_DEAL, NOBODY
from syncd.store.queue import Taken, WriteRow
from syncd.texts.reasons import Reason

Takes = Callable[[str, str], Sequence[str]]
"""(object, link field) -> the objects that it takes."""


def no_link_is_known(object: str, field: str) -> Sequence[str]:
    """`Takes` of a destination that says nothing of links."""
    return ()


def joining(conversion: Conversion, links: Mapping[str, Link]) -> Conversion:
    """With the company that the lead joins."""
    company = links.get("account")
    return msgspec.structs.replace(conversion, account=company.id) if company else conversion


LACKS = {About.ACCOUNT: NO_ACCOUNT, About.DEAL: NO_DEAL}


def own_record(draft: Draft, targets: Targets) -> Link | str | None:
    """The record which the CRM has that a rule writes; None when it writes one of its own; a text: why it writes none."""
    person = targets.person
    if not draft.own_record:
        return (draft.verb.unwanted(draft, person.object) or None) if person else None
    own = draft.verb.written_to(draft, targets)
    if isinstance(own, str):
        return own
    return (draft.verb.unwanted(draft, own.object) or own) if own else LACKS.get(draft.about, NOBODY)


def linked(draft: Draft, taken: Taken, targets: Targets, takes: Takes) -> dict[str, Link] | str | None:
    """The links of a write; a text: it is skipped, for this reason; None: another rule's record is not there yet."""
    links: dict[str, Link] = {}
    for field, to in draft.links.items():
        if to == "person":
            found = _to_person(draft, field, targets.person, takes)
        elif to == "account":
            found = targets.account
        elif to == "deal":
            found = targets.deal or NO_DEAL
        else:
            found = to_rule(taken, to)
            if found is None:
                return None
        if isinstance(found, str):
            return found
        if found is not None:
            links[field] = found
    return links


def _to_person(draft: Draft, field: str, person: PersonMatch | None, takes: Takes) -> Link | str | None:
    """The person's record; None when the field does not take one of its kind."""
    if person is None:
        return NOBODY
    stated = draft.takes.get(field)
    able = stated.objects if stated else takes(draft.object, field)
    return Link(person.object, person.id) if not able or person.object in able else None


def to_rule(taken: Taken, to: str) -> Link | str | None:
    """The record that another rule made of the same signal; None while it is on its way."""
    rule, which = made_by(to)
    other = taken.writes.get(rule)
    made = _made(other, which) if other is not None else None
    if other is None or (other.finished and made is None):
        return Reason("no_linked_record", rule=to)
    return made


def _made(row: WriteRow, which: str) -> Link | None:
    """The record of a write, or `which` of those that came with it; None if it is not there."""
    if which:
        return decided(row).links().get(which)
    return Link(row.object, row.crm_id) if row.crm_id else None
