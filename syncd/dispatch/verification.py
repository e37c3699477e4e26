"""The store against one CRM, over a range: a durable job that the owner of the lane does between its rounds, a page a turn.

A daemon's lane asks `turn` whenever it has a moment; `syncd verify` does when no daemon runs, with the lane's lease. Promise:
every look-up goes through the lane's own client (its pauses, its budget), so live deliveries wait for one page at most; killed
at any instant it continues behind the last page; nothing is changed unless the job says `fix`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.capabilities import FindsBeside
from syncd.connector import Destination, WriteKind
from syncd.dispatch.calls import DestinationClient, Paused
from syncd.dispatch.compare import AMISS, KeyedRecord, RecordVerdict, StoredWrite, compare, records
from syncd.dispatch.outcomes import describe
from syncd.dispatch.plan import PEOPLE_CREATE
from syncd.dispatch.repair import mend
from syncd.errors import Ambiguous, Failure, QuotaExhausted, RateLimited, Transient
from syncd.mapping.model import CompiledMapping
from syncd.store.engine import millis
from syncd.store.jobs import Findings, Job, asked_for
from syncd.store.leases import TERM, Claim
from syncd.store.store import Store
from syncd.store.verifications import DESTINATION_KIND, forget_older, keys, open_or_resume, rows

PAGE = 500
"""Records of one turn: a few calls of a CRM's queries."""
MOST_SHOWN = 500
"""Findings that are kept one by one; the rest is counted."""
TRIES = 5
"""Failed look-ups in a row, each a turn apart, before the job gives up with the reason."""
_HEX = 16**8


@dataclass(frozen=True, slots=True)
class VerificationScope:
    """What is verified: records of signals that happened in [since, until), of one source or (`source` "") of all. `fix`:
    fix what can be fixed."""

    since: datetime
    until: datetime
    source: str = ""
    fix: bool = False

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> VerificationScope:
        since, until = datetime.fromisoformat(args["since"]), datetime.fromisoformat(args["until"])
        return cls(since, until, args.get("source", ""), bool(args.get("fix")))

    def args(self) -> dict[str, Any]:
        times = {name: getattr(self, name).astimezone(UTC).isoformat() for name in ("since", "until")}
        return {**times, "source": self.source, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class VerificationProgress(Findings):
    """How far it has come. `amiss`: differences not fixed; `mended`: fixed; `counts` by verdict. `unkeyed`: records
    that no key leads back to; `fresh`: written so lately that the CRM may not show them yet. `share` of the whole, 0 to 1.
    `waits`: why it is paused now."""

    checked: int = 0
    amiss: int = 0
    mended: int = 0
    unkeyed: int = 0
    fresh: int = 0
    share: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    findings: Sequence[Mapping[str, Any]] = ()
    waits: str = ""
    error: str = ""


Amiss = tuple[KeyedRecord, RecordVerdict, tuple[str, ...]]


class Verification:
    """The verifications of one destination, as its lane does them."""

    def __init__(
        self, name: str, destination: Destination, mapping: CompiledMapping, store: Store, live_within: timedelta
    ) -> None:
        self._name = name
        self._destination = destination
        self._store = store
        self._live_within = live_within
        self._fields = mapping.key_fields()
        self._failed = 0
        self.ended: VerificationProgress | None = None
        """What the last turn brought to its end, None when it ended none."""

    def turn(self, client: DestinationClient) -> bool:
        """Does a page of the job that waits, if one does; True when there is more to do at once. Raises StoreUnavailable."""
        self.ended = None
        if client.pace.paused(client.clock()):
            return False
        claimed = self._store.jobs.claim(TERM, kinds=(DESTINATION_KIND,), subject=self._name)
        if claimed is None:
            return False
        job, claim = claimed
        with self._store.leases.heartbeat(claim):
            return self._page(job, claim, client)

    def _page(self, job: Job, claim: Claim, client: DestinationClient) -> bool:
        wanted, before = VerificationScope.of(job.args), VerificationProgress.of(job.progress)
        after = (job.cursor or b"").decode()
        with self._store.read() as connection:
            span = (millis(wanted.since), millis(wanted.until))
            page = keys(connection, self._name, *span, wanted.source, after, PAGE)
            held = records(_row(row) for row in rows(connection, self._name, page)) if page else []
        if not page:
            self._end(job, claim, replace(before, share=1.0, waits=""))
            return False
        try:
            answer = self._look_up(held, before, client)
        except Paused:
            waits = client.pace.reason or "the lane is stopping"
            self._store.jobs.step(job.id, claim, progress=replace(before, waits=waits).document())
            return False
        if isinstance(answer, Failure):
            return self._failure(job, claim, before, answer)
        self._failed = 0
        progress, amiss = answer
        mended = mend(self._store, self._name, amiss, live_within=self._live_within) if wanted.fix else set()
        progress = _counted(progress, amiss, mended)
        progress = replace(progress, share=int(page[-1][:8], 16) / _HEX if page[-1][:8].isalnum() else 0.0, waits="")
        self._store.jobs.step(job.id, claim, cursor=page[-1].encode(), progress=progress.document())
        return True

    def _look_up(
        self, held: Sequence[KeyedRecord], so_far: VerificationProgress, client: DestinationClient
    ) -> tuple[VerificationProgress, list[Amiss]] | Failure:
        """Asks the CRM for these records. Raises Paused."""
        fresh_from = client.clock() - round(self._destination.search_lag * 1000)
        groups: dict[tuple[str, str], list[KeyedRecord]] = {}
        unkeyed = fresh = 0
        for record in held:
            key_field = self._key_field(record)
            if not key_field:
                unkeyed += 1
            elif self._destination.search_lag and record.updated_at > fresh_from:
                fresh += 1
            else:
                groups.setdefault((record.object, key_field), []).append(record)
        amiss: list[Amiss] = []
        for (object_, key_field), theirs in sorted(groups.items()):
            found = client.find_all(object_, key_field, [record.key for record in theirs])
            if isinstance(found, Failure):
                return found
            amiss += compare(theirs, found)
        checked = so_far.checked + sum(map(len, groups.values()))
        return replace(so_far, checked=checked, unkeyed=so_far.unkeyed + unkeyed, fresh=so_far.fresh + fresh), amiss

    def _key_field(self, record: KeyedRecord) -> str:
        """The field that holds the record's key, "" when nothing leads back to it. A rule that is gone from the mapping had
        the key where another rule of its object has it."""
        known = self._fields.get(record.rule)
        if known is None:  # new people have a key of their own kind: what wrote their records later has none
            rules = (entry for rule, entry in self._fields.items() if rule != PEOPLE_CREATE)
            known = next((entry for entry in rules if entry[0] == record.object), ("", ""))
        object_, key_field = known
        if object_ != record.object or not key_field:
            return ""
        crm = self._destination
        keying, beside = crm.keying(object_, key_field), isinstance(crm, FindsBeside) and crm.beside(object_)
        return key_field if keying.readable and keying.kind is not WriteKind.AT_MOST_ONCE and not beside else ""

    def _failure(self, job: Job, claim: Claim, before: VerificationProgress, failure: Failure) -> bool:
        """Waits where waiting helps; else the job fails and says why."""
        self._failed += 1
        passing = isinstance(failure, (Transient, Ambiguous)) and self._failed < TRIES
        if passing or isinstance(failure, (RateLimited, QuotaExhausted)):
            self._store.jobs.step(job.id, claim, progress=replace(before, waits=str(describe(failure))).document())
            return False
        self._failed = 0
        self._end(job, claim, replace(before, error=f"{type(failure).__name__}: {describe(failure)}", waits=""))
        return False

    def _end(self, job: Job, claim: Claim, progress: VerificationProgress) -> None:
        state = "failed" if progress.error else "done"
        self._store.jobs.finish(job.id, claim, state, progress=progress.document())
        forget_older(self._store, job)
        self.ended = progress


def open_verification(
    store: Store, destination: str, wanted: VerificationScope, asked: Mapping[str, str] | None = None
) -> Job:
    """The job of this verification: an unfinished one of the same range (`asked`: in the words of the command line) goes
    on, else a new one. It waits for the lane."""
    words = None if asked is None else {**asked, "source": wanted.source, "fix": str(wanted.fix)}
    return open_or_resume(store, DESTINATION_KIND, destination, asked_for(wanted.args(), words))


def _row(row: Sequence[Any]) -> StoredWrite:
    key, signal_id, rule, object_, state, crm_id, occurred_at, received_at, updated_at = row
    return StoredWrite(key, signal_id, rule, object_, state, crm_id, (occurred_at, received_at, signal_id), updated_at)


def _counted(so_far: VerificationProgress, amiss: Sequence[Amiss], mended: set[str]) -> VerificationProgress:
    counts, findings = dict(so_far.counts), list(so_far.findings)
    left = 0
    for record, verdict, ids in amiss:
        counts[verdict.value] = counts.get(verdict.value, 0) + 1
        left += verdict in AMISS and record.key not in mended
        if len(findings) < MOST_SHOWN:
            findings.append(
                {
                    "verdict": verdict.value,
                    "object": record.object,
                    "key": record.key,
                    "rule": record.rule,
                    "signal_id": record.signal_id,
                    "recorded": record.crm_id,
                    "found": list(ids),
                    "mended": record.key in mended,
                }
            )
    return replace(
        so_far, amiss=so_far.amiss + left, mended=so_far.mended + len(mended), counts=counts, findings=findings
    )
