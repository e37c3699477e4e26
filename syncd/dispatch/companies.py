"""The companies that a batch needs: found in the CRM or made, before the people and the records that point at them.

They are kept beside people, under their own identities. Promise: a company is made once, whatever dies in between and however
many of its people a batch brings, as `person_creation` promises it of people.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from syncd.capabilities import KnowsAccountFields, ResolvesAccounts
from syncd.connector import AccountMatch, AccountQuery, Link, PersonMatch, PersonQuery, Write
from syncd.dispatch import outcomes as rules
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.cloned_fields import ClonedFields
from syncd.dispatch.company_creation import ROLE, CompanyCreator
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.new_companies import NewCompany, cut_loops, in_waves
from syncd.dispatch.new_people import NewPerson, creatable
from syncd.dispatch.pacing import HOUR, SECOND
from syncd.dispatch.people import KNOWN_FOR, NOBODY_FOR, NOBODY_TO_CREATE, REJECTED_FOR, PersonLookup, creates, known_as
from syncd.dispatch.person_creation import settle_creation
from syncd.dispatch.plan import Work, company_key, skip
from syncd.errors import Failure, Misconfigured, Rejected, Scope
from syncd.identity.companies import folded_name
from syncd.mapping.accounts import ACCOUNTS_CREATE, ACCOUNTS_PARENT
from syncd.mapping.companies import ABOUT_COMPANIES
from syncd.mapping.model import CompiledAccounts, CompiledMapping, Draft, Targets
from syncd.signals import Signal
from syncd.store.lanes import PersonRow, put_people
from syncd.store.lanes import people as kept_people
from syncd.store.queue import Taken, WriteRow
from syncd.store.store import Store
from syncd.texts.reasons import Reason

if TYPE_CHECKING:
    from syncd.connector import Idempotency
    from syncd.dispatch.outcomes import RetryPolicy

log = structlog.get_logger(__name__)
MINUTE = 60 * SECOND
CREATING = (ACCOUNTS_PARENT, ACCOUNTS_CREATE)
Asked = tuple[Taken, Signal]
AccountAnswer = AccountMatch | Failure | None


def wanted(
    works: Iterable[Work], people: Mapping[str, PersonLookup], deliveries: Iterable[Taken], mapping: CompiledMapping
) -> Collection[Asked]:
    """The deliveries whose company must be known: for records that point at it, where the person's own record belongs to none,
    for new people, and for companies that were being made. `people`: by identity."""
    found: dict[str, Asked] = {}
    for work in works:
        need = people.get(work.signal.person.identity)
        theirs = need is not None and need.found is not None and need.found.account is not None
        if work.draft.needs_account and (work.signal.type in ABOUT_COMPANIES or not theirs):
            found[work.taken.signal_id] = (work.taken, work.signal)
    for taken in deliveries:
        signal = taken.signal
        if signal is None:
            continue
        need = people.get(signal.person.identity)
        new = mapping.newcomers_have_company and need is not None and need.nobody and creates(mapping, signal)
        if new or _begun(taken, ACCOUNTS_CREATE) or _begun(taken, ACCOUNTS_PARENT):
            found[taken.signal_id] = (taken, _about(need, signal) if new and need is not None else signal)
    return found.values()


def _about(need: PersonLookup, signal: Signal) -> Signal:
    """The signal with all that is known of its person, where that was said elsewhere: their company may be a part of it."""
    return msgspec.structs.replace(signal, person=need.whole) if need.told else signal


def _begun(taken: Taken, rule: str) -> bool:
    row = taken.writes.get(rule)
    return row is not None and not row.finished


class Companies:
    """The companies of one round."""

    def __init__(
        self,
        accounts: CompiledAccounts,
        client: DestinationClient,
        policy: RetryPolicy,
        keying: Callable[[Draft], Idempotency],
        ledger: Ledger,
        store: Store,
        cloned: ClonedFields,
    ) -> None:
        self._accounts = accounts
        self._client = client
        self._policy = policy
        self._keying = keying
        self._ledger = ledger
        self._store = store
        self._cloned = cloned
        self._needs: dict[str, PersonLookup] = {}
        self._parents: dict[str, PersonLookup] = {}  # those that no signal of the batch means itself
        self._parent_of: dict[str, PersonLookup] = {}

    def find(self, asked: Iterable[Asked], now: int) -> None:
        """Finds or makes the companies of these signals. Raises Paused."""
        for taken, signal in asked:
            identity = self._accounts.company(signal).identity
            if identity:
                self._needs.setdefault(identity, PersonLookup(identity)).asked.append((taken, signal))
        needs = list(self._needs.values())
        if not needs:
            return
        for need in needs:  # a signal that is about the company says most of it
            need.asked.sort(key=lambda pair: pair[1].type not in ABOUT_COMPANIES)
        self._look_up(needs, now)
        new = self._new_companies(needs, now)
        try:
            self._create(new, now)
        finally:
            self._settle(needs, now)

    def _look_up(self, needs: Sequence[PersonLookup], now: int) -> None:
        with self._store.read() as connection:
            cached = kept_people(connection, self._client.name, [need.identity for need in needs])
        for need in needs:
            need.row = cached.get(need.identity)
        ask = [need for need in needs if not self._believed(need, now)]
        answers = self._resolve([AccountQuery(one.identity, self._accounts.lookups(one.asked[0][1])) for one in ask])
        learnt: list[PersonRow] = []
        for need, answer in zip(ask, answers, strict=True):
            need.fresh = not isinstance(answer, Failure)
            if isinstance(answer, Failure):
                need.failure = answer
            elif answer is not None:
                found = PersonMatch(object=answer.object, id=answer.id, role=ROLE, name=answer.name)
                learnt.append(known_as(need.identity, found, now))
            elif need.row is None or need.row.state != "creating":
                learnt.append(PersonRow(need.identity, checked_at=now))
            if learnt and learnt[-1].identity == need.identity:
                need.row = learnt[-1]
        if learnt:
            self._store.apply(lambda connection: put_people(connection, self._client.name, learnt))

    def _believed(self, need: PersonLookup, now: int) -> bool:
        row = need.row
        if row is None:
            return False
        age = now - row.checked_at
        if row.state == "creating":
            return row.checked_at > now
        if row.state == "rejected":
            return age < REJECTED_FOR
        if row.object:
            return age < KNOWN_FOR
        return age < (NOBODY_TO_CREATE if self._creator_of(need) else NOBODY_FOR)

    def _creator_of(self, need: PersonLookup) -> Asked | None:
        """The first signal that makes the company if it is unknown."""
        return next((pair for pair in need.asked if self._accounts.creates(pair[1].type)), None)

    def _resolve(self, queries: Sequence[AccountQuery]) -> list[AccountAnswer]:
        if not queries:
            return []
        crm = self._client.destination
        if not isinstance(crm, ResolvesAccounts):
            return [Misconfigured("accounts: cannot be used here: its connector cannot find companies")] * len(queries)
        answer = self._client.look_up(
            "resolve_accounts", [query.identity for query in queries], lambda: list(crm.resolve_accounts(queries))
        )
        if not isinstance(answer, Failure):
            return list(answer)
        pieces = rules.split(queries, answer)
        if pieces is None:
            return [answer] * len(queries)
        return [found for piece in pieces for found in self._resolve(piece)]

    # ------------------------------------------------------------------------------------------------------ creation

    def _new_companies(self, needs: Sequence[PersonLookup], now: int) -> list[NewCompany]:
        """The companies to make, with those that they belong to, which are looked up here. Raises Paused."""
        new = [
            NewCompany(need, *pair) for need in needs if need.nobody and (pair := self._creator_of(need)) is not None
        ]
        brought: dict[str, Asked] = {}
        for one in new:
            one.parent = self._parent(one.taken, one.signal, brought)
        for taken, signal in (pair for need in needs for pair in need.asked if _begun(pair[0], ACCOUNTS_PARENT)):
            self._parent(taken, signal, brought)
        self._look_up(list(self._parents.values()), now)
        made = {one.need.identity for one in new}
        above = {need.identity: need for need in (*(one.parent for one in new), *self._parent_of.values()) if need}
        new += [
            NewCompany(need, *brought[identity], is_parent=True)
            for identity, need in above.items()
            if need.nobody and identity not in made
        ]
        for one in cut_loops(new):
            text = "companies that belong to each other: this one is created without its parent"
            log.warning(text, destination=self._client.name, company=one.need.identity)
        return new

    def _parent(self, taken: Taken, signal: Signal, brought: dict[str, Asked]) -> PersonLookup | None:
        """The company that a signal's company belongs to: one of the batch's own, also by its name, or one more to look up."""
        about = self._accounts.parent(signal)
        if about is None:
            return None
        parent, company = self._accounts.company(about), self._accounts.company(signal)
        name = folded_name(parent.name)
        if parent.identity == company.identity or (name and name == folded_name(company.name)):
            text = "company is its own parent: it is created without one"
            log.warning(text, destination=self._client.name, company=company.identity)
            return None
        found = self._needs.get(parent.identity) or (self._named(name) if name else None)
        if found is None:
            found = self._parents.setdefault(parent.identity, PersonLookup(parent.identity))
            found.asked.append((taken, about))
        brought.setdefault(found.identity, (taken, about))
        self._parent_of[taken.signal_id] = found
        return found

    def _named(self, name: str) -> PersonLookup | None:
        """The first company of the batch with this name."""
        for need in self._needs.values():
            if folded_name(self._accounts.company(need.asked[0][1]).name) == name:
                return need
        return None

    def _create(self, new: Sequence[NewCompany], now: int) -> None:
        """Wave after wave: a company is made after the one that it belongs to. Raises Paused."""
        if all(self._client.pace.held_until(rule, now) is not None for rule in CREATING):
            return
        copied = self._copied(new, now)
        if copied is None:
            return
        for wave in in_waves(new):
            for rule in CREATING:
                if self._client.pace.held_until(rule, now) is not None:
                    continue
                ready = [self._newcomer(one, copied) for one in wave if one.rule == rule and self._may_go(one, now)]
                creator = CompanyCreator(self._client, self._policy, self._keying, self._ledger, self._store, rule=rule)
                creator.create(creatable(ready, self._client.endpoints, now))

    def _copied(self, new: Sequence[NewCompany], now: int) -> Mapping[str, Any] | None:
        """The values that new companies take over; None when they could not be read, so that none is made now."""
        clone = self._accounts.clone
        if clone is None or not new:
            return {}
        object_ = self._accounts.draft(new[0].signal, is_parent=new[0].is_parent).object
        values = self._cloned.of(clone, object_, self._client)
        if not isinstance(values, Failure):
            return values
        if isinstance(values, Misconfigured) and values.scope is Scope.RULE:
            self._client.hold(ACCOUNTS_CREATE, values)
            self._client.hold(ACCOUNTS_PARENT, values)
        for one in new:
            one.need.later = min(self._client.look_up_again_at() or now + MINUTE, now + HOUR)
        return None

    def _may_go(self, one: NewCompany, now: int) -> bool:
        """Whether a company's parent is there, or will not be; else it waits for it."""
        parent = one.parent
        if parent is None or parent.found is not None:
            return True
        if parent.refused or isinstance(parent.failure, Rejected):
            log.warning(
                "the parent of a company cannot be had: it is created without one",
                destination=self._client.name,
                company=one.need.identity,
                parent=parent.identity,
                reason=str(parent.refused or parent.failure),
            )
            return True
        held = self._client.pace.held_until(ACCOUNTS_PARENT, now)
        again = (self._client.look_up_again_at() or now + MINUTE) if parent.failure is not None else 0
        due = max(now + SECOND, parent.waits(now), again, held[0] if held else 0)
        one.need.later = min(due, now + HOUR)
        return False

    def _newcomer(self, one: NewCompany, copied: Mapping[str, Any]) -> NewPerson:
        draft = self._accounts.draft(one.signal, is_parent=one.is_parent)
        key, crm = company_key(one.need.identity), self._client.destination
        links = {}
        above = one.parent.found if one.parent is not None else None
        field = crm.parent_field(draft.object) if isinstance(crm, KnowsAccountFields) else ""
        if above is not None and field and above.object == draft.object:
            links[field] = Link(above.object, above.id)
        write = Write(
            key=key,
            object=draft.object,
            key_field=draft.key_field,
            fields=draft.fields,
            on_create={**copied, **draft.on_create},
            links=links,
            group=key,
        )
        wanted = PersonQuery(one.need.identity, (), name=self._accounts.company(one.signal).name)
        parent = one.parent.identity if one.parent is not None and links else ""
        return NewPerson(one.need.identity, [one.need], one.taken, draft, write, wanted, company=parent)

    def _settle(self, needs: Sequence[PersonLookup], now: int) -> None:
        for need in needs:
            for taken, _ in need.asked:
                self._settle_row(taken, ACCOUNTS_CREATE, need, now)
                parent = self._parent_of.get(taken.signal_id)
                if parent is not None:
                    self._settle_row(taken, ACCOUNTS_PARENT, parent, now)
                elif _begun(taken, ACCOUNTS_PARENT):
                    self._ledger.put(taken, skip(taken.writes[ACCOUNTS_PARENT], Reason("not_created_any_more")))

    def _settle_row(self, taken: Taken, rule: str, need: PersonLookup, now: int) -> None:
        row = taken.writes.get(rule)
        if row is not None and not row.finished and need.failure is None:
            row = settle_creation(row, need, now, self._client.pace.held_until(rule, now))
            resting = 0 if row.finished else self._client.endpoints.rests_until(row.object, now)
            self._ledger.put(taken, msgspec.structs.replace(row, due_at=max(row.due_at, resting)))

    # ------------------------------------------------------------------------------------------------------ their use

    def completed(self, work: Work, targets: Targets) -> Targets | WriteRow:
        """The targets of a write with the company that its signal means; the row of one that cannot go, because its company is
        not there yet or was refused."""
        if not work.draft.needs_account:
            return targets
        targets = self._targets(work, targets)
        waiting = self._unsettled(work, self._client.clock()) if targets.account is None else None
        return targets if waiting is None else waiting

    def _targets(self, work: Work, targets: Targets) -> Targets:
        """With the company that the signal means: always where the signal is about it, else where the person's own record belongs
        to none."""
        about = work.signal.type in ABOUT_COMPANIES
        if targets.account is not None and not about:
            return targets
        need = self._need(work.signal)
        found = need.found if need is not None else None
        if need is None or found is None:
            return Targets(targets.person, None, targets.deal) if about else targets
        work.company = need.identity
        return Targets(targets.person, Link(found.object, found.id), targets.deal)

    def _unsettled(self, work: Work, now: int) -> WriteRow | None:
        """The row of a write that cannot go because its company is not there yet, or was refused; None when it may go without."""
        need = self._need(work.signal)
        if need is None or need.found is not None:
            return None
        put = msgspec.structs.replace
        if need.failure is not None:
            again_at = self._client.look_up_again_at()
            return rules.not_looked_up(work.row, need.failure, self._policy, now, again_at=again_at)
        if need.refused:
            return put(work.row, state="dead", reason=Reason("company_refused", cause=need.refused), due_at=0)
        due = self._due(need, now)
        if not due:
            return None
        held = self._client.pace.held_until(ACCOUNTS_CREATE, now)
        if held is not None:
            return put(work.row, state="held", reason=held[1], due_at=held[0])
        return put(work.row, state="pending", reason=Reason("waits_for_company"), due_at=due)

    def _due(self, need: PersonLookup, now: int) -> int:
        """When a company that is to be made may be there, 0 for one that is not made."""
        if not (need.waits(now) or self._creator_of(need)) or need.refused:
            return 0
        held = self._client.pace.held_until(ACCOUNTS_CREATE, now)
        return max(now + SECOND, need.waits(now), held[0] if held else 0)

    def linked(self, them: Sequence[NewPerson], now: int) -> list[NewPerson]:
        """New people with their company, without those whose company is still to be made: they wait for it."""
        ready = []
        for one in them:
            signals = (_about(person, signal) for person in one.needs for _, signal in person.asked)
            need = next(filter(None, map(self._need, signals)), None)
            fields = [name for name, to in one.draft.links.items() if to == "account"]
            if need is None or not fields:
                ready.append(one)
                continue
            found = need.found
            due = 0 if found else now + HOUR if need.failure is not None else self._due(need, now)
            if due:
                for person in one.needs:
                    person.later = min(due, now + HOUR)
                continue
            if found is not None:
                one.account, one.company = Link(found.object, found.id), need.identity
                one.write = msgspec.structs.replace(one.write, links=dict.fromkeys(fields, one.account))
            ready.append(one)
        return ready

    def known_since(self, work: Work) -> int:
        """When the CRM last returned the record of this work's company, 0 if it is not one that was looked up."""
        need = self._needs.get(work.company)
        return need.row.checked_at if need is not None and need.row is not None else 0

    def _need(self, signal: Signal) -> PersonLookup | None:
        return self._needs.get(self._accounts.company(signal).identity)
