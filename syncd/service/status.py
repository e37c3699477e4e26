"""The state of everything, in values: sources with their lag, destinations with queue, breaker and quota, the balance sheet, and
what the operator should do now. `syncd status` prints it, `/readyz` lists what is degraded. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import case, func, select

from syncd.dispatch.lane import read_pace
from syncd.dispatch.pacing import DAY as DAY_MILLIS
from syncd.dispatch.pacing import Pace
from syncd.intake.backfill import KIND as BACKFILL
from syncd.intake.polls import STARTED, backfill_command
from syncd.mapping.reasons import STRANGER
from syncd.service.advice import SLOWEST, USUAL_POLL, StatusFacts, advise
from syncd.store import gauges
from syncd.store.balance import balance, kept_out
from syncd.store.engine import millis, moment
from syncd.store.schema import anywhere, deliveries, lanes, receipts, signals, spending, tokens, writes
from syncd.store.subscriptions import faults
from syncd.store.verifications import last_results
from syncd.texts.reasons import WAITING

if TYPE_CHECKING:
    from syncd.store import Store

DAY = timedelta(days=1)
NOTED_FOR = timedelta(days=7)
"""How long after its start it is said of a source that it did not read its history."""


class HasType(Protocol):
    @property
    def type(self) -> str: ...


class ConfigurationView(Protocol):
    """What is asked of a configuration: `Settings` is one, so is what a running daemon says of its own."""

    @property
    def sources(self) -> Mapping[str, HasType]: ...

    @property
    def destinations(self) -> Mapping[str, HasType]: ...


@dataclass(frozen=True)
class Status:
    """Rows for people and programs; `advice`: one line each, what is wrong and what to do; empty when all is well. `notes`: what
    nothing is wrong with, and may surprise."""

    sources: Sequence[Mapping[str, Any]]
    destinations: Sequence[Mapping[str, Any]]
    books: Sequence[Mapping[str, Any]]
    kept_out: Sequence[Mapping[str, Any]]
    quarantine: int
    verified: Sequence[Mapping[str, Any]]
    advice: Sequence[str]
    notes: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def gather(store: Store, settings: ConfigurationView, refused: Sequence[str] = (), *, alive: bool = True) -> Status:
    """Everything at one moment. `refused`: why running daemons do not use the file on disk, a fault a line; `alive`:
    whether one runs. Raises StoreUnavailable."""
    now = store.clock()
    sources = _sources(store, settings)
    destinations = _destinations(store, settings, now)
    books = [asdict(line) | {"balanced": line.balanced} for line in balance(store)]
    with store.read() as connection:
        waiting = select(func.count()).select_from(receipts).where(receipts.c.state == "quarantined")
        quarantined = int(connection.execute(waiting).scalar_one())
    out = [
        {"source": source, "type": kind, "reason": reason, "count": count}
        for (source, kind, reason), count in kept_out(store).items()
    ]
    verified = _verified(store, settings)
    room = gauges.disk(store)
    facts = StatusFacts(
        now=now,
        sources=sources,
        destinations=destinations,
        books=books,
        refused=refused,
        quarantined=quarantined,
        polls={name: _every(entry) for name, entry in settings.sources.items()},
        alive=alive,
        free=room.free,
        whole=room.whole,
        key_missing=_key_missing(store, settings),
        ahead=_ahead(store, now),
        oldest=gauges.oldest_purgeable(store),
        retention=getattr(settings, "retention", None),
        failed_jobs=_failed_jobs(store, now),
        dropped={name: fault for name, fault in faults(store).items() if name in settings.sources},
        verified=verified,
    )
    return Status(
        sources, destinations, books, out, quarantined, verified, advise(facts), _history(store, settings, now)
    )


def _history(store: Store, settings: ConfigurationView, now: datetime) -> list[str]:
    """Sources that began lately, and whose history was not fetched."""
    fetched = {job.subject for job in store.jobs.list(kinds=(BACKFILL,), limit=1000)}
    notes = []
    for name in settings.sources:
        if name in fetched or not (began := store.cursors.recall(name, [STARTED]).get(STARTED)):
            continue
        since = datetime.fromisoformat(began).astimezone(UTC)
        if now - since < NOTED_FOR:
            notes.append(
                f"source {name}: read since {since:%Y-%m-%d %H:%M} UTC; what was there before is history and was not read; "
                f"to read it: {backfill_command(name)}"
            )
    return notes


def _every(entry: HasType) -> timedelta:
    """How often a source is read at least. One that receives webhooks was never read, and is not late."""
    if getattr(entry, "cron", None):
        return SLOWEST
    return getattr(entry, "poll", None) or USUAL_POLL


def _key_missing(store: Store, settings: ConfigurationView) -> str:
    """The key file, where tokens are stored and it is not there."""
    if store.postgresql or getattr(settings, "secret_key", None) is not None:
        return ""
    path = Path(f"{store.url.database}.key")
    with store.read() as connection:
        stored = connection.execute(select(tokens.c.grant_id).limit(1)).first() is not None
    return str(path) if stored and not path.exists() else ""


def _ahead(store: Store, now: datetime) -> timedelta:
    with store.read() as connection:
        newest = connection.execute(select(func.max(signals.c.received_at))).scalar()
    return moment(newest) - now if newest else timedelta(0)


def _failed_jobs(store: Store, now: datetime) -> list[tuple[str, str, str]]:
    """Jobs that failed within a day, unless the same was asked for since."""
    found = store.jobs.list(states=("failed",), limit=20)
    return [(job.kind, job.subject, str(job.progress.get("error", ""))) for job in found if now - job.updated_at < DAY]


def _sources(store: Store, settings: ConfigurationView) -> list[dict[str, Any]]:
    health, left = store.sources.all(), store.allowances.all()
    rows = []
    for name, entry in settings.sources.items():
        known = health.get(name)
        rows.append(
            {
                "source": name,
                "type": entry.type,
                "last_ok": known.last_ok_at if known else None,
                "last_signal": known.last_signal_at if known else None,
                "failures": known.failures if known else 0,
                "next_try": known.next_at if known and known.failures else None,
                "error": known.error if known else "",
                "code": known.code if known else "",
                "units_left": left[name].left if name in left else None,
                "unit": left[name].unit if name in left else "",
            }
        )
    return rows


def _destinations(store: Store, settings: ConfigurationView, now: datetime) -> list[dict[str, Any]]:
    cause = func.nullif(func.max(case((deliveries.c.code.not_in(WAITING), deliveries.c.reason))), "")
    queued = select(
        deliveries.c.destination,
        deliveries.c.state,
        func.count(),
        func.min(deliveries.c.created_at),
        func.coalesce(cause, func.max(deliveries.c.reason)),
    )
    known = writes.c.destination.in_(anywhere)
    stuck = select(writes.c.destination, writes.c.state, func.count()).where(known)
    faulty = select(writes.c.destination, func.count(), func.min(writes.c.reason)).where(known)
    spent = select(spending.c.destination, func.sum(spending.c.units)).where(spending.c.hour > millis(now - DAY))
    with store.read() as connection:
        queue = connection.execute(queued.group_by(deliveries.c.destination, deliveries.c.state)).all()
        letters = connection.execute(
            stuck.where(writes.c.state.in_(("dead", "unconfirmed"))).group_by(writes.c.destination, writes.c.state)
        )
        counts = {(name, state): count for name, state, count in letters}
        wrong = connection.execute(
            faulty.where(writes.c.state == "held", writes.c.code != STRANGER.code).group_by(writes.c.destination)
        ).all()
        used = dict(connection.execute(spent.group_by(spending.c.destination)).all())
        lane: dict[str, Mapping[str, Any]] = {
            row["destination"]: dict(row) for row in connection.execute(select(lanes)).mappings()
        }
    waiting = {(name, state): count for name, state, count, *_ in queue}
    oldest = {name: moment(first) for name, state, _, first, _ in queue if state == "pending"}
    reasons = {name: reason for name, _, _, _, reason in sorted(queue, key=lambda row: row.state)}
    faults = {name: f"{count} held: {reason}" for name, count, reason in wrong}
    paused = {name: _still(row["paused_until"], now) for name, row in lane.items()}
    paces: dict[str, Pace] = {name: read_pace(bytes(row["state"])) for name, row in lane.items()}
    names = [*settings.destinations, *sorted({name for name, *_ in queue} - set(settings.destinations))]
    return [
        {
            "destination": name,
            "type": settings.destinations[name].type if name in settings.destinations else "(parked)",
            "pending": waiting.get((name, "pending"), 0),
            "held": waiting.get((name, "held"), 0),
            "dead": counts.get((name, "dead"), 0),
            "unconfirmed": counts.get((name, "unconfirmed"), 0),
            "oldest": oldest.get(name),
            "spent_24h": used.get(name, 0.0),
            "gathers": _gathers(paces.get(name), now),
            "fault": faults.get(name, ""),
            "configured": name in settings.destinations,
            "paused_until": paused.get(name),
            "stopped": paces[name].stopped if name in paces else False,
            "failures": paces[name].failures if name in paces else 0,
            "reason": lane[name]["reason"] if paused.get(name) else reasons.get(name, ""),
            "code": lane[name]["code"] if paused.get(name) else "",
        }
        for name in names
    ]


def _gathers(pace: Pace | None, now: datetime) -> str:
    """How long signals wait to be sent together, and what it saved today; "" while none waits."""
    if pace is None or not pace.gathers:
        return ""
    day, deliveries, batches = pace.gathered
    today = f"; today {deliveries} signals in {batches} batches" if day == millis(now) // DAY_MILLIS else ""
    return f"{pace.gathers / 1000:g} s{today}"


def _verified(store: Store, settings: ConfigurationView) -> list[dict[str, Any]]:
    """The last `verify` of each source and destination that is still configured."""
    names = {"source": settings.sources, "destination": settings.destinations}
    return [
        {
            "role": one.role,
            "name": one.subject,
            "at": one.at,
            "since": one.args.get("since", ""),
            "until": one.args.get("until", ""),
            "amiss": one.amiss,
            "error": one.error,
        }
        for one in last_results(store)
        if one.subject in names[one.role]
    ]


def _still(stamp: int, now: datetime) -> datetime | None:
    until = moment(stamp) if stamp else None
    return until if until is not None and until > now else None
