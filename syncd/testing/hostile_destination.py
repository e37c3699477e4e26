"""A CRM in memory made to hurt: it fails by plan, before or after the write, whole calls or single rows, or never answers.

syncd's pipeline tests, and those of connector authors, write into it. `crm` is the CRM itself and outlives the
destination objects connected to it, as a real one outlives our processes.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from syncd import matching
from syncd.connector import (
    Allowance,
    Call,
    DealPick,
    Idempotency,
    Link,
    Outcome,
    PersonMatch,
    PersonQuery,
    Usage,
    Write,
    WriteKind,
    Written,
)
from syncd.errors import Ambiguous, Failure, Rejected, StaleReference
from syncd.matching import Candidate

CallFault = Callable[["HostileCrm", Call], "list[Outcome] | None"]
"""What happens to one call instead of an answer: raises, or gives the outcomes; None: the call proceeds as usual."""


@dataclass
class HostileCrm:
    """Records by object and id, and what it was asked.

    `kinds`: object -> Keying (default: an upsert whose key is enforced). `faults`: one for each of the next sends.
    `row_faults`: key -> failures of that row, one after the other. `look_up_faults`: one for each of the next resolves.
    `late`: writes that were lost on the way and arrive with `arrive()`.
    """

    kinds: dict[str, Idempotency] = field(default_factory=dict)
    faults: list[CallFault | None] = field(default_factory=list)
    row_faults: dict[str, list[Failure]] = field(default_factory=dict)
    look_up_faults: list[Failure | None] = field(default_factory=list)
    find_faults: list[Failure | None] = field(default_factory=list)
    poison: Callable[[Write], bool] = lambda write: False
    """Rows for which the CRM refuses the whole call."""
    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    history: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    late: list[Write] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    allowance: Allowance | None = None
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keying(self, object: str) -> Idempotency:
        return self.kinds.get(object, Idempotency(WriteKind.UPSERT))

    def add(self, object: str, **fields: Any) -> str:
        """A record that is there already; its id."""
        crm_id = f"{object}-{next(self.ids)}"
        self.records.setdefault(object, {})[crm_id] = dict(fields)
        return crm_id

    def of_key(self, key: str) -> list[dict[str, Any]]:
        """Every record, of any object, that carries this key."""
        return [record for table in self.records.values() for record in table.values() if record.get("key") == key]

    def doubled(self) -> list[str]:
        """Keys that more than one record carries: there must be none."""
        seen: dict[str, int] = {}
        for table in self.records.values():
            for record in table.values():
                if record.get("key"):
                    seen[record["key"]] = seen.get(record["key"], 0) + 1
        return [key for key, count in seen.items() if count > 1]

    def arrive(self) -> None:
        """What was lost on the way is written now."""
        late, self.late = self.late, []
        for write in late:
            self.write(write)

    def write(self, write: Write) -> Outcome:
        """Does one row, as its kind has it."""
        table = self.records.setdefault(write.object, {})
        keying = self.keying(write.object)
        crm_id = write.id
        if crm_id and crm_id not in table:
            return StaleReference("the record was deleted", code="ENTITY_IS_DELETED")
        if not crm_id and keying.kind in (WriteKind.UPSERT, WriteKind.UNIQUE):
            crm_id = next((known for known, record in table.items() if record.get("key") == write.key), "")
            if crm_id and keying.kind is WriteKind.UNIQUE:
                return Written(crm_id, created=False)
        created = not crm_id
        if created:
            crm_id = f"{write.object}-{next(self.ids)}"
            table[crm_id] = {"key": write.key, **write.on_create}
        table[crm_id].update(write.fields)
        table[crm_id].update({name: link.id for name, link in write.links.items()})
        for name in write.clear:
            table[crm_id].pop(name, None)
        self.history.append((write.key, dict(write.fields)))
        return Written(crm_id, created=created)

    def perform(self, call: Call) -> list[Outcome]:
        """Does a call row by row."""
        if any(self.poison(write) for write in call.writes):
            raise Rejected("one of them is invalid", code="BAD_BATCH")
        return [self._row(write) for write in call.writes]

    def _row(self, write: Write) -> Outcome:
        script = self.row_faults.get(write.key)
        return script.pop(0) if script else self.write(write)


class HostileDestination:
    """A destination connected to a HostileCrm. Look-ups match a record's fields with the terms of `people.match`."""

    def __init__(
        self,
        crm: HostileCrm,
        *,
        capacity: int = 1000,
        concurrency: int = 1,
        doubt: float = 600.0,
        search_lag: float = 0.0,
        per_call: int = 1000,
    ) -> None:
        self.crm = crm
        self.capacity = capacity
        self.concurrency = concurrency
        self.doubt = doubt
        self.search_lag = search_lag
        self.per_call = per_call
        self._spent: list[float] = []

    def role_of(self, object: str) -> str:
        return "contact" if object == "Contact" else "lead"

    def keying(self, object: str, key_field: str) -> Idempotency:
        return self.crm.keying(object)

    def resolve(self, people: Sequence[PersonQuery], *, deals: DealPick | None = None) -> list[PersonMatch | None]:
        self._count("resolve")
        fault = self.crm.look_up_faults.pop(0) if self.crm.look_up_faults else None
        if fault is not None:
            raise fault
        return [self._match(person, deals) for person in people]

    def _match(self, person: PersonQuery, deals: DealPick | None) -> PersonMatch | None:
        exact = next(self._having(person, deals, phone=False), None)
        if exact is None:
            return matching.by_number(person, list(self._having(person, deals, phone=True)))
        record = self.crm.records[exact.found.object][exact.found.id]
        mine = {str(value).lower() for value in record.values()}
        others = [one for phone in (False, True) for one in self._having(person, deals, phone=phone, beside=mine)]
        found = msgspec.structs.replace(exact.found, emails=tuple(sorted(exact.emails)))
        return matching.with_rivals(person, found, others)

    def _having(
        self, person: PersonQuery, deals: DealPick | None, *, phone: bool, beside: Collection[str] = ()
    ) -> Iterator[Candidate]:
        """The records that an exact term (or a phone term) of the person names, in the order of the look-ups. `beside`: values
        that are not looked for."""
        for look in person.lookups:
            for term in (one for one in look.terms if one.phone is phone and one.value.lower() not in beside):
                for crm_id, record in self.crm.records.get(look.object, {}).items():
                    if str(record.get(term.field, "")).lower() == term.value.lower():
                        yield replace(self._candidate(look.object, crm_id, record, deals), handle=term.handle)

    def _candidate(self, object: str, crm_id: str, record: dict[str, Any], deals: DealPick | None) -> Candidate:
        found = PersonMatch(
            object=object,
            id=crm_id,
            role=self.role_of(object),
            account=Link("Account", str(record["AccountId"])) if record.get("AccountId") else None,
            open_deal=bool(record.get("deal")) if deals else None,
            deal=Link("Opportunity", str(record["deal"])) if deals and record.get("deal") else None,
            name=" ".join(str(record[part]) for part in ("FirstName", "LastName") if record.get(part)),
        )
        email = str(record.get("Email") or "").lower()
        return Candidate(found, frozenset({email} if email else ()))

    def recognise(self, people: Sequence[PersonQuery], among: Sequence[Sequence[Link]]) -> list[PersonMatch | None]:
        """Who of the records named is each person."""
        self._count("recognise")
        return [self._recognised(person, links) for person, links in zip(people, among, strict=True)]

    def _recognised(self, person: PersonQuery, links: Sequence[Link]) -> PersonMatch | None:
        numbers = {term.value for look in person.lookups for term in look.terms if term.phone}
        for link in links:
            record = self.crm.records.get(link.object, {}).get(link.id)
            if record is None:
                continue
            one = self._candidate(link.object, link.id, record, deals=None)
            handle = any(record.get(t.field) == t.value for look in person.lookups for t in look.terms if t.handle)
            number = record.get("Phone") in numbers
            if matching.agrees(person, one.emails, one.found.name, number=number, handle=handle):
                return one.found
        return None

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        calls: list[dict[str, Write]] = []
        for write in writes:
            if not calls or len(calls[-1]) >= self.per_call or write.key in calls[-1]:
                calls.append({})
            calls[-1][write.key] = write
        return [Call(tuple(call.values()), "write", None) for call in calls]

    def send(self, call: Call) -> list[Outcome]:
        with self.crm.lock:
            self._count("write")
            fault = self.crm.faults.pop(0) if self.crm.faults else None
        if fault is not None:
            answer = fault(self.crm, call)
            if answer is not None:
                return answer
        with self.crm.lock:
            return self.crm.perform(call)

    def find(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, str]:
        return {key: ids[-1] for key, ids in self.find_all(object, key_field, keys).items()}

    def find_all(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, list[str]]:
        self._count("find")
        fault = self.crm.find_faults.pop(0) if self.crm.find_faults else None
        if fault is not None:
            raise fault
        wanted = set(keys)
        found: dict[str, list[str]] = {}
        for crm_id, record in self.crm.records.get(object, {}).items():
            if record.get("key") in wanted:
                found.setdefault(record["key"], []).append(crm_id)
        return found

    def _count(self, what: str) -> None:
        self.crm.calls.append(what)
        self._spent.append(1.0)

    def allowance(self) -> Allowance | None:
        return self.crm.allowance

    def spend(self) -> Usage:
        spent, self._spent = self._spent, []
        return Usage(len(spent), sum(spent))

    def url(self, object: str, id: str) -> str:
        return f"https://crm.example/{object}/{id}"

    def close(self) -> None:
        return None


# -------------------------------------------------------------------------------------------------- faults of a call


def before(failure: Failure) -> CallFault:
    """The call fails, and nothing was written."""

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        raise failure

    return fault


def lost(crm: HostileCrm, call: Call) -> list[Outcome] | None:
    """Everything is written; the answer never arrives."""
    crm.perform(call)
    raise Ambiguous("no answer", code="timeout")


def late(crm: HostileCrm, call: Call) -> list[Outcome] | None:
    """The answer never arrives, and what was sent is written only with `crm.arrive()`."""
    crm.late.extend(call.writes)
    raise Ambiguous("no answer", code="timeout")


def half(crm: HostileCrm, call: Call) -> list[Outcome] | None:
    """The first half is written; the answer never arrives."""
    for write in call.writes[: len(call.writes) // 2]:
        crm.write(write)
    raise Ambiguous("no answer", code="timeout")


def buggy(crm: HostileCrm, call: Call) -> list[Outcome] | None:
    """The connector itself trips, after the write."""
    crm.perform(call)
    raise ZeroDivisionError("a bug in the connector")


def short(crm: HostileCrm, call: Call) -> list[Outcome] | None:
    """An answer with fewer outcomes than rows."""
    return crm.perform(call)[:-1]


def hang(gate: threading.Event, reached: threading.Event) -> CallFault:
    """The call reports that it is under way, waits for the gate, then proceeds."""

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        reached.set()
        gate.wait(30)
        return None

    return fault
