"""One round of a lane: what was claimed is mapped, its people are found or made, its records written, and all of it settled.

`Lane.step` makes one of each batch. Promise: before a call leaves, that it leaves is committed; each call is settled row by
row as soon as it is answered; whatever could not be sent goes back to the queue as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from syncd.capabilities import KnowsLinks, LimitsLinks, ReadsFields
from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Destination, Idempotency, Write, WriteKind
from syncd.dispatch import conversions, pacing, person_names, plan
from syncd.dispatch import outcomes as rules
from syncd.dispatch.answered import answers_of, reopen_answered
from syncd.dispatch.calls import DestinationClient, Paused
from syncd.dispatch.cloned_fields import ClonedFields
from syncd.dispatch.companies import Companies, wanted
from syncd.dispatch.completion import completing
from syncd.dispatch.ledger import Ledger
from syncd.dispatch.linked_records import no_link_is_known
from syncd.dispatch.new_people import creatable, new_people
from syncd.dispatch.observers import Observers
from syncd.dispatch.outcomes import RetryPolicy
from syncd.dispatch.owners import Owners
from syncd.dispatch.people import PersonLookup, creates, look_up
from syncd.dispatch.person_creation import PersonCreator, settle_creation
from syncd.dispatch.plan import PEOPLE_CREATE, Work
from syncd.dispatch.read_first import ReadFirst
from syncd.dispatch.sender import Sender
from syncd.errors import Ambiguous, Failure, Transient
from syncd.mapping import reasons
from syncd.mapping.companies import ABOUT_COMPANIES
from syncd.mapping.model import About, CompiledMapping, Draft, Stranger, Targets, made_by
from syncd.signals import Signal
from syncd.store.lanes import put_people
from syncd.store.queue import ClaimedBatch, Taken, WriteRow
from syncd.store.store import Store
from syncd.texts.reasons import Reason

DIED = Ambiguous("syncd was stopped before the answer came", code="interrupted")
WAITS_FOR_PERSON = Reason("waits_for_person")


@dataclass(frozen=True)
class LaneContext:
    """Where a lane leads and by what rules."""

    settings: Settings
    destination: Destination
    here: DestinationSettings
    mapping: CompiledMapping
    policy: RetryPolicy
    cloned: ClonedFields = field(default_factory=ClonedFields)
    _kept: dict[tuple[str, str, str], Idempotency] = field(default_factory=dict)

    def keying(self, draft: Draft) -> Idempotency:
        """What writes of this draft are: as the mapping says, else the settings, else the connector."""
        if (own := draft.verb.idempotency()) is not None:
            return own
        mark = (draft.object, draft.key_field, draft.kind)
        if mark not in self._kept:
            kept = self.destination.keying(draft.object, draft.key_field)
            stated = draft.kind or self.here.kinds.get(draft.object, "")
            self._kept[mark] = kept if stated in ("", kept.kind.value) else Idempotency(WriteKind(stated))
        return self._kept[mark]


class Round:
    """Works one batch off."""

    def __init__(self, route: LaneContext, store: Store, client: DestinationClient, batch: ClaimedBatch) -> None:
        self._route = route
        self._store = store
        self._client = client
        self._batch = batch
        self._works: list[Work] = []
        self._needs: dict[str, PersonLookup] = {}
        self._companies: Companies | None = None
        # Asked once for a round: isinstance with a protocol costs more than planning a write.
        crm = route.destination
        self._takes = crm.link_takes if isinstance(crm, KnowsLinks) else no_link_is_known
        self._limits_links = crm if isinstance(crm, LimitsLinks) else None
        self.ledger = Ledger(store, batch, client.clock)

    def run(self) -> None:
        """Does it all; a pause in the middle leaves the rest for later."""
        try:
            self._open()
            if self._route.mapping.knows_people:
                self._find_people()
            else:
                self._find_companies(self._client.clock())
            self._send()
        except Paused:
            pass  # the lane's pace says why and until when
        self.ledger.close()

    # ------------------------------------------------------------------------------------------------- what is to do

    def _open(self) -> None:
        now = self._client.clock()
        answers = self._answers(now) if self._route.mapping.heeds_answers else {}
        filters = self._route.mapping.knows_people
        for taken in self._batch.taken:
            signal = taken.signal
            if signal is None:
                self.ledger.unwanted(taken, Reason("signal_gone"))
                continue
            if filters and not taken.writes and isinstance(self._route.settings.switch(signal.type), tuple):
                self.ledger.undecided.add(taken.signal_id)
            answer = answers.get(signal.id, "")
            works, changed = plan.open_work(taken, signal, self._route.mapping, self._route.keying, now, answer)
            for row in changed:
                self.ledger.put(taken, row)
            for work in works:
                before = taken.writes.setdefault(work.draft.rule, work.row)
                if before.finished:  # kept with the next commit, which takes back that the delivery was repeated
                    self.ledger.put(taken, work.row)
                if self._is_due(work, now):
                    self._works.append(work)
            self.ledger.opened.add(taken.signal_id)

    def _answers(self, now: int) -> Mapping[UUID, str]:
        """What answered the signals of this batch; signals that are answered by one of it get their turn again."""
        settings, batch = self._route.settings, self._batch.taken
        reopen_answered(self._store, self._client.name, batch, self._route.mapping, now, settings.live_within)
        return answers_of(self._store, batch)

    def _is_due(self, work: Work, now: int) -> bool:
        """False when the write waits. One that a dead worker left without an answer is in doubt from here on; a held one
        goes again when its rule's hold is over."""
        if work.row.state == "sending":
            keying = conversions.keying_of_interrupted(work)
            self._put(work, rules.in_doubt(work.row, DIED, keying, self._route.policy, now))
            if work.row.finished:
                return False
        about = plan.about_value(work.draft.about, work.signal)
        if about and not work.row.key:
            work.row = msgspec.structs.replace(work.row, key=plan.write_key(about, work.draft.rule))
            work.taken.writes[work.draft.rule] = work.row
        held = self._client.pace.held_until(work.draft.rule, now)
        if held is not None and work.row.state != "doubt":
            self._change(work, state="held", reason=held[1], due_at=held[0])
            return False
        if work.row.state == "held":
            self._change(work, state="pending", due_at=min(work.row.due_at, now))
        # A record of one signal has no siblings that would have to wait for it.
        return work.row.due_at <= now or work.draft.about is not About.SIGNAL

    # ------------------------------------------------------------------------------------------------------- people

    def _find_people(self) -> None:
        """Everybody this batch needs: found, created, or known to be waited for."""
        self._gather()
        now = self._client.clock()
        look_up(list(self._needs.values()), self._route.mapping, self._client, self._store, now)
        self._filter(now)
        self._isolate_failures(now)
        self._find_companies(now)
        try:
            self._create(now)
        finally:
            self._settle_creations(now)
        self._name()
        self._complete(now)

    def _complete(self, now: int) -> None:
        """Records that syncd made of one identity alone get the name and the identities that a signal of this batch tells."""
        if not isinstance(self._route.destination, ReadsFields):
            return
        needing = {work.taken.signal_id for work in self._works}
        for need in self._needs.values():
            for taken, signal in need.asked:
                row = taken.writes.get(person_names.PEOPLE_NAME)
                if row.finished if row is not None else taken.signal_id not in needing:
                    continue
                draft = completing(self._route.mapping, signal, need, begun=row is not None)
                if draft is not None:
                    self._give_name(need, taken, signal, draft, now)
                elif row is not None and need.found is not None:
                    self.ledger.put(taken, plan.skip(row, plan.NOTHING_EMPTY))

    def _give_name(self, need: PersonLookup, taken: Taken, signal: Signal, draft: Draft, now: int) -> None:
        keying = self._route.keying(draft)
        row = taken.writes.get(draft.rule) or WriteRow(draft.rule, "", draft.object, keying.kind.value)
        work = Work(taken, signal, draft, row, keying)
        taken.writes[draft.rule] = row
        if need.row is not None and draft.fields:  # the next signal has not to read it again
            known = need.row = msgspec.structs.replace(need.row, name=signal.person.name)
            self._store.apply(lambda connection: put_people(connection, self._client.name, [known]))
        if self._is_due(work, now):
            self._works.append(work)

    def _name(self) -> None:
        """Records of people whose name a signal does not tell get the name that the CRM has."""
        drafts: dict[str, dict[str, Draft]] = {}
        for work in self._works:
            need = self._needs.get(work.signal.person.identity)
            name = need.row.name if need is not None and need.row is not None else ""
            if not name or not person_names.needs_name(work.signal.person):
                continue
            if (id_ := work.taken.signal_id) not in drafts:
                made = self._route.mapping.drafts(
                    person_names.with_name(work.signal, name),
                    live=work.taken.live,
                    demanded=plan.demanded(work.taken),
                )
                drafts[id_] = {one.rule: one for one in made if isinstance(one, Draft) and not one.faults}
            work.draft = drafts[id_].get(work.draft.rule, work.draft)

    def _gather(self) -> None:
        needing = {
            work.taken.signal_id
            for work in self._works
            if work.draft.needs_person or (work.draft.needs_account and work.signal.type not in ABOUT_COMPANIES)
        }
        of_deals = {work.taken.signal_id for work in self._works if work.draft.needs_deal}
        for taken in self.ledger.taken:
            signal = taken.signal
            if signal is None or not signal.person.identity:
                continue
            asks = taken.signal_id in self.ledger.undecided
            begun = (taken.writes.get(rule) for rule in (PEOPLE_CREATE, person_names.PEOPLE_NAME))
            if not (asks or taken.signal_id in needing or any(row and not row.finished for row in begun)):
                continue
            need = self._needs.setdefault(signal.person.identity, PersonLookup(signal.person.identity))
            need.asked.append((taken, signal))
            switch = self._route.settings.switch(signal.type) if asks else True
            filters = isinstance(switch, tuple) and "deal" in switch
            need.deals = need.deals or filters or taken.signal_id in of_deals

    def _filter(self, now: int) -> None:
        """From whom a signal is wanted is decided once, before any stranger is created."""
        for taken in list(self.ledger.taken):
            signal = taken.signal
            if signal is None or taken.signal_id not in self.ledger.undecided:
                continue
            need = self._needs.get(signal.person.identity)
            if need is not None and need.failure is not None:
                # Asked again when its time has come, less and less often; nothing is kept of it that would say it is wanted.
                wait = min(max(now - taken.created_at, 5 * pacing.SECOND), pacing.HOUR)
                again = self._asked_again_at(need.failure, now)
                self.ledger.waits[taken.signal_id] = again or now + (wait if self._alone() else 0)
            elif need is not None and need.waits(now):
                self.ledger.waits[taken.signal_id] = need.waits(now)
            else:
                self.ledger.undecided.discard(taken.signal_id)
                switch = self._route.settings.switch(signal.type)
                who = need.several or (need.found,) if need else (None,)
                reasons_not = [plan.filtered(switch, one) for one in who]
                if all(reasons_not):
                    self.ledger.unwanted(taken, reasons_not[0])
        self._works = [
            work for work in self._works if work.taken.writes and work.taken.signal_id not in self.ledger.undecided
        ]

    def _alone(self) -> bool:
        """Whether one person alone was asked for: then a look-up that failed is theirs."""
        return sum(need.fresh or need.failure is not None for need in self._needs.values()) == 1

    def _asked_again_at(self, failure: Failure, now: int) -> int | None:
        """When people whose look-up failed are asked for again, where that is not their own fault: None when it is, and 0 when
        they are asked for at once, fewer at a time."""
        if not isinstance(failure, (Transient, Ambiguous)):
            return None
        again = self._client.look_up_again_at()
        return again if again is None or self._alone() or self._client.endpoints.rests_until("resolve", now) else 0

    def _isolate_failures(self, now: int) -> None:
        """People whose look-up failed: their writes wait. Rounds shrink until the one who poisons them is alone; then it
        counts as a try, unless look-ups fail for everybody."""
        failed = {need.identity: need for need in self._needs.values() if need.failure is not None}
        if not failed:
            return
        if any(isinstance(need.failure, (Transient, Ambiguous)) for need in failed.values()):
            self._client.pace = pacing.shrunk(self._client.pace, len(self._batch.taken))
        alone, kept = self._alone(), []
        for work in self._works:
            need = failed.get(work.signal.person.identity)
            if need is None or need.failure is None or not work.draft.needs_person:
                kept.append(work)
            elif again := self._asked_again_at(need.failure, now):
                reason = Reason("cannot_look_up", cause=rules.describe(need.failure))
                self._change(work, reason=reason, due_at=max(again, work.row.due_at))
            elif alone and work.row.state != "doubt":
                self._put(work, rules.not_looked_up(work.row, need.failure, self._route.policy, now))
        self._works = kept

    def _find_companies(self, now: int) -> None:
        """The companies that records, or new people, are linked to."""
        accounts = self._route.mapping.accounts
        if accounts is None:
            return
        client, route = self._client, self._route
        self._companies = Companies(
            accounts, client, route.policy, route.keying, self.ledger, self._store, route.cloned
        )
        self._companies.find(wanted(self._works, self._needs, self.ledger.taken, route.mapping), now)

    def _create(self, now: int) -> None:
        mapping = self._route.mapping
        needing = {work.taken.signal_id for work in self._works if work.draft.needs_person}
        strangers = [
            need
            for need in self._needs.values()
            if need.nobody
            and any(creates(mapping, signal) and taken.signal_id in needing for taken, signal in need.asked)
        ]
        if strangers and self._client.pace.held_until(PEOPLE_CREATE, now) is None:
            creation = PersonCreator(self._client, self._route.policy, self._route.keying, self.ledger, self._store)
            them, unsure = new_people(strangers, mapping, needing)
            for need in unsure:  # distinguished, or held, once the others can be found
                need.later = now + round(max(1.0, self._client.destination.search_lag) * pacing.SECOND)
            them = self._companies.linked(them, now) if self._companies else them
            creation.create(creatable(them, self._client.endpoints, now))

    def _settle_creations(self, now: int) -> None:
        held = self._client.pace.held_until(PEOPLE_CREATE, now)
        for need in self._needs.values():
            for taken, _ in need.asked:
                row = taken.writes.get(PEOPLE_CREATE)
                if row is not None and not row.finished and need.failure is None:
                    row = settle_creation(row, need, now, held)
                    resting = 0 if row.finished else self._client.endpoints.rests_until(row.object, now)
                    self.ledger.put(taken, msgspec.structs.replace(row, due_at=max(row.due_at, resting)))

    # ------------------------------------------------------------------------------------------------------ sending

    def _send(self) -> None:
        """Wave after wave: a record that another rule's record is linked to goes before it."""
        sender = Sender(self._route.policy, self._store, self._client, self.ledger)
        owners = Owners(self._store, self._client, self.ledger)
        observers = Observers(self._client, self.ledger)
        read_first = ReadFirst(self._route.policy, self._client, self.ledger, self._known_since)
        waiting = self._works
        while waiting:
            ready: list[tuple[Work, Write]] = []
            later: list[Work] = []
            for work in waiting:
                self._link(work, ready, later)
            if not ready:
                self._wait_for_rules(later)
                return
            going = observers.active(owners.given(read_first.read(sender.admitted(ready))))
            for wave in conversions.apart(going):
                sender.send(wave)
            for need in self._needs.values() if sender.converted else ():
                need.row = conversions.known_as(need.row, sender.converted)
            waiting = later

    def _known_since(self, work: Work) -> int:
        if work.company and self._companies is not None:
            return self._companies.known_since(work)
        need = self._needs.get(work.signal.person.identity)
        return need.row.checked_at if need is not None and need.row is not None else 0

    def _link(self, work: Work, ready: list[tuple[Work, Write]], later: list[Work]) -> None:
        need = self._needs.get(work.signal.person.identity)
        person = need.found if need is not None else None
        if self._route.mapping.knows_people and person is None and work.draft.needs_person:
            self._unmatched(work, need)
            return
        targets: Targets | WriteRow = Targets.of(person)
        if self._companies is not None:
            targets = self._companies.completed(work, Targets.of(person))
        if isinstance(targets, WriteRow):
            self._put(work, targets)
            return
        made = plan.link_up(work, targets, self._takes)
        if made is None:
            later.append(work)
        elif isinstance(made, str):
            self._put(work, plan.skip(work.row, made))
        else:
            if (work.row.key, work.row.object) != (made.key, made.object):
                row = msgspec.structs.replace(work.row, key=made.key, object=made.object)
                work.row = work.taken.writes[work.draft.rule] = row
            if self._limits_links is not None:
                links = self._limits_links.held_together(made.object, made.links)
                made = msgspec.structs.replace(made, links=dict(links))
            ready.append((work, made))

    def _unmatched(self, work: Work, need: PersonLookup | None) -> None:
        """A write whose person has no record: skipped, held, waiting or dead, as policy and CRM have it."""
        now = self._client.clock()
        held = self._client.pace.held_until(PEOPLE_CREATE, now)
        policy = self._route.mapping.strangers(work.signal.type)
        if need is None:
            self._put(work, plan.skip(work.row, reasons.NOBODY))
        elif need.unfindable:
            self._put(work, plan.skip(work.row, reasons.not_findable(need.identity)))
        elif need.refused:
            reason = Reason("person_refused", cause=need.refused)
            self._change(work, state="dead", reason=reason, due_at=0)
        elif need.several:
            several = need.row.reason if need.row is not None else ""
            self._change(work, state="held", reason=several, due_at=now + pacing.HOUR)
        elif held is not None and policy.action is Stranger.CREATE:
            self._change(work, state="held", reason=held[1], due_at=held[0])
        elif need.waits(now) or policy.action is Stranger.CREATE:
            object_ = self._route.mapping.stranger(work.signal).object if policy.action is Stranger.CREATE else ""
            resting = self._client.endpoints.rests_until(object_, now)
            self._change(work, state="pending", reason=WAITS_FOR_PERSON, due_at=max(now, need.waits(now), resting))
        elif policy.action is Stranger.HOLD and now < (end := work.taken.created_at + pacing.hold_span(policy.hold)):
            self._change(work, state="held", reason=reasons.STRANGER, due_at=min(end, now + pacing.HOUR))
        else:
            self._put(work, plan.skip(work.row, reasons.STRANGER))

    def _wait_for_rules(self, works: Sequence[Work]) -> None:
        now = self._client.clock()
        for work in works:
            linked = {made_by(to)[0] for to in work.draft.links.values()}
            others = [row for rule, row in work.taken.writes.items() if rule in linked]
            due = max((row.due_at for row in others if not row.finished), default=0)
            self._change(work, reason=Reason("waits_for_link"), due_at=max(due, now + pacing.SECOND))

    def _put(self, work: Work, row: WriteRow) -> None:
        work.row = row
        self.ledger.put(work.taken, row)

    def _change(self, work: Work, **changes: object) -> None:
        self._put(work, msgspec.structs.replace(work.row, **changes))
