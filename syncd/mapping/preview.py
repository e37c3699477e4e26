"""What a mapping would write for one signal, field by field, touching nothing: `syncd preview` and mapping tests use it.

Pure: the person as found (or not) goes in, what each rule makes comes out. It decides as dispatch does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from syncd.capabilities import KnowsLinks, LimitsLinks
from syncd.connector import Conversion, Link, Observation, PersonMatch
from syncd.durations import format_duration
from syncd.identity.identities import split_handle
from syncd.mapping.companies import ABOUT_COMPANIES
from syncd.mapping.language import PEOPLE_CREATE
from syncd.mapping.loading import Mapping
from syncd.mapping.model import (
    NONE_DEMANDED,
    About,
    CompiledAccounts,
    Demanded,
    Draft,
    FieldFault,
    OwnerChoice,
    Skipped,
    Stranger,
    Targets,
)
from syncd.mapping.reasons import NO_ACCOUNT, NO_DEAL, NOBODY, NOT_ANSWERED, STRANGER, not_findable
from syncd.signals import Signal
from syncd.texts.reasons import Reason


@dataclass(frozen=True)
class Shown:
    """One field of a record: `note` is "" (always sent), `on create`, `if empty`, `added` or
    `removed` (a value of several), `link`, `cleared`, or `must be` (nothing
    is sent unless it stands there)."""

    name: str
    value: Any
    note: str = ""


@dataclass(frozen=True)
class Previewed:
    """What one rule makes of the signal; `skipped` says why it makes nothing. `title` is the rule's own name,
    `update`: the record is the person's own."""

    rule: str
    title: str
    object: str = ""
    key_field: str = ""
    about: str = ""
    fields: tuple[Shown, ...] = ()
    faults: tuple[FieldFault, ...] = ()
    skipped: str = ""
    update: bool = False


def preview(
    mapping: Mapping,
    signal: Signal,
    found: PersonMatch | None = None,
    *,
    live: bool = True,
    company: Link | None = None,
    demanded: Demanded = NONE_DEMANDED,
    crm: object = None,
    answered: bool = False,
) -> list[Previewed]:
    """The records of a signal, in the order in which they would be written. `found`: the person's record in the CRM,
    None for a person it does not know; `company`: the record of the company that the signal means, None for an unknown one;
    `demanded`: rules that a user sets off, with what the user gave; `crm`: the destination, for what its links take;
    `answered`: whether one of us has answered the person since."""
    titles = {rule.id: rule.name for rule in mapping.parts.rules}
    records: list[Previewed] = []
    person, why_not = _person(mapping, signal, found)
    drafts = mapping.drafts(signal, live=live, demanded=demanded)
    needed = any(isinstance(one, Draft) and one.needs_person for one in drafts)
    stranger = person is None and not why_not and needed
    targets = _targets(signal, found, company)
    new_company = _new_company(mapping, signal, drafts, targets, stranger=stranger)
    if new_company is not None and mapping.accounts is not None:
        records += _companies(mapping.accounts, signal, new_company)
        targets = msgspec.structs.replace(targets, account=Link(new_company.object, ""))
    account = f"the new {new_company.object}" if new_company else _shown_link(targets.account)
    if stranger:
        new = mapping.stranger(signal)
        records.append(_record(new, "A new person, unless the CRM knows them", {"account": account}))
        person = f"the new {new.object}"
    shown = {"person": person or "", "account": account, "deal": _shown_link(targets.deal)}
    for made in drafts:
        title = titles.get(made.rule, "")
        if isinstance(made, Skipped):
            records.append(Previewed(made.rule, title, skipped=made.reason))
        elif made.record and not answered:
            records.append(Previewed(made.rule, title, made.object, skipped=NOT_ANSWERED))
        elif reason := _skipped(made, signal, targets, why_not) or _not_theirs(mapping, made, targets):
            records.append(Previewed(made.rule, title, made.object, skipped=reason))
        else:
            whose = {"person": _object(mapping, found)}
            whose |= {
                name: link.object for name, link in (("account", targets.account), ("deal", targets.deal)) if link
            }
            records.append(_record(_without_links(made, whose, crm), title, shown))
    return records


def _targets(signal: Signal, found: PersonMatch | None, company: Link | None) -> Targets:
    """What dispatch would link to: a signal about a company means that company, whoever sent it."""
    targets = Targets.of(found)
    own = None if signal.type in ABOUT_COMPANIES else targets.account
    return msgspec.structs.replace(targets, account=own or company)


def _new_company(
    mapping: Mapping, signal: Signal, drafts: Sequence[Draft | Skipped], targets: Targets, *, stranger: bool
) -> Draft | None:
    """The company that would be made first, None when none would."""
    accounts = mapping.accounts
    if accounts is None or targets.account is not None or not accounts.creates(signal.type):
        return None
    needed = any(isinstance(one, Draft) and one.needs_account for one in drafts)
    needed = needed or (stranger and mapping.newcomers_have_company)
    return accounts.draft(signal) if needed and accounts.company(signal).identity else None


def _companies(accounts: CompiledAccounts, signal: Signal, new: Draft) -> list[Previewed]:
    """The new company, after the one that it belongs to."""
    records, more = [], []
    parent = accounts.parent(signal)
    if parent is not None:
        above = accounts.company(parent)
        title = "The company it belongs to, unless the CRM knows it"
        records.append(_record(accounts.draft(parent, is_parent=True), title, {}))
        more.append(Shown("parent", above.name or above.domain, "link"))
    if accounts.clone is not None:
        more.append(Shown("clone_of", accounts.clone.id, "on create"))
    made = _record(new, "A new company, unless the CRM knows it", {})
    return [*records, replace(made, fields=(*more, *made.fields))]


def _object(mapping: Mapping, found: PersonMatch | None) -> str:
    """What the person's record is, or will be."""
    create = mapping.parts.create
    return found.object if found else create.object if create else ""


def _without_links(draft: Draft, objects: AnyMapping[str, str], crm: object) -> Draft:
    """The draft without the links that do not take the person's record, and those that its record cannot hold beside others.
    `objects`: what the records of the person, company and deal are."""
    left = {
        name: to for name, to in draft.links.items() if to != "person" or _takes(draft, name, objects["person"], crm)
    }
    if isinstance(crm, LimitsLinks):
        known = {name: Link(objects[to], to) for name, to in left.items() if objects.get(to)}
        held = crm.held_together(draft.object, known)
        left = {name: to for name, to in left.items() if name in held or name not in known}
    return msgspec.structs.replace(draft, links=left)


def _takes(draft: Draft, field: str, object: str, crm: object) -> bool:
    """Whether a link takes a person's record: as the mapping says, else as the destination knows."""
    stated = draft.takes.get(field)
    able = stated.objects if stated else crm.link_takes(draft.object, field) if isinstance(crm, KnowsLinks) else ()
    return not able or object in able


def _skipped(draft: Draft, signal: Signal, targets: Targets, why_not: str) -> str:
    """Why dispatch would not write this record, "" when it would."""
    if why_not and draft.needs_person:
        return why_not
    if draft.needs_deal and targets.deal is None:
        return NO_DEAL
    if draft.about is About.ACCOUNT and targets.account is None:
        return NO_ACCOUNT
    return NOBODY if draft.about is About.PERSON and not signal.person.identity else ""


def _not_theirs(mapping: Mapping, draft: Draft, targets: Targets) -> str:
    """Why a rule makes nothing of a person (or company, or deal) with this record, "" when it does."""
    others = {About.ACCOUNT: targets.account, About.DEAL: targets.deal} if draft.own_record else {}
    other = Link(draft.object, "") if draft.record else others.get(draft.about)
    own = draft.verb.written_to(draft, targets) if targets.person is not None else None
    if isinstance(own, str):
        return own
    return draft.verb.unwanted(draft, other.object if other else _object(mapping, targets.person))


def _person(mapping: Mapping, signal: Signal, found: PersonMatch | None) -> tuple[str | None, str]:
    """(the person's record, why it is missing); (None, "") when a new one is made."""
    if not mapping.knows_people:
        return "", ""
    if not signal.person.identity:
        return None, NOBODY
    if found is not None:
        return f"{found.object} {found.id}", ""
    if split_handle(signal.person.identity)[0] and not mapping.lookups(signal.person):
        return None, not_findable(signal.person.identity)
    policy = mapping.strangers(signal.type)
    if policy.action is Stranger.HOLD and policy.hold is not None:
        return None, Reason("stranger_held", span=format_duration(policy.hold))
    return None, "" if policy.action is Stranger.CREATE else STRANGER


def _shown_link(link: Link | None) -> str:
    return f"{link.object} {link.id}" if link else ""


def _record(draft: Draft, title: str, targets: dict[str, str]) -> Previewed:
    links = [Shown(name, targets.get(target, target), "link") for name, target in draft.links.items()]
    fields = [Shown(name, value) for name, value in draft.fields.items()]
    new = [Shown(name, value, "on create") for name, value in draft.on_create.items()]
    if draft.owner is not None:
        new.append(_owner(draft.owner, always=draft.own_record))
    new += [Shown(name, value, "if empty") for name, value in draft.fill.items()]
    new += [Shown(name, value, "added") for name, value in draft.add.items()]
    new += [Shown(name, value, "removed") for name, value in draft.remove.items()]
    new += [Shown(name, value, "must be") for name, value in draft.only_if.items()]
    if draft.conversion is not None:
        new += _converted(draft.conversion)
    if draft.observation is not None:
        new += _observed(draft.observation)
    cleared = [Shown(name, None, "cleared") for name in draft.clear]
    return Previewed(
        rule=draft.rule,
        title=title,
        object=draft.object,
        key_field=draft.key_field,
        about=draft.about.value,
        fields=tuple(each for each in (*links, *fields, *new, *cleared) if each.note != "link" or each.value),
        faults=draft.faults,
        update=draft.own_record,
    )


def _converted(conversion: Conversion) -> Iterator[Shown]:
    """What a lead becomes, beside the company that it joins."""
    for name in ("account", "contact", "status"):
        if value := getattr(conversion, name):
            yield Shown(name, value)
    deal = None if conversion.deal is None else {**conversion.deal, **conversion.deal_fields}
    yield from (Shown(f"deal.{name}", value, "on create") for name, value in (deal or {}).items())
    if deal is None:
        yield Shown("deal", "none")


def _observed(observation: Observation) -> Iterator[Shown]:
    """Who is added to the observers, and who is removed."""
    name = observation.field or "observers"
    if observation.add:
        yield Shown(name, list(observation.add), "added")
    if observation.remove:
        yield Shown(name, list(observation.remove), "removed")
    if observation.chat:
        yield Shown("chat", True)


def _owner(choice: OwnerChoice, *, always: bool) -> Shown:
    """The owner that it gets, or those who take turns."""
    name = choice.field or "owner"
    if choice.team is not None:
        return Shown(name, " ".join(choice.team), "in turn")
    if len(choice.users) > 1:
        return Shown(name, list(choice.users), "in turn")
    return Shown(name, choice.users[0] if choice.users else choice.fallback, "" if always else "on create")


__all__ = ["PEOPLE_CREATE", "Previewed", "Shown", "preview"]
