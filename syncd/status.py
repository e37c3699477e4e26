"""How everything is, as plain values: sources with their lag, destinations with queue, breaker and quota, the books, and what
a person should do now. `syncd status` prints it, `/readyz` lists what is degraded. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import func, select

from syncd.dispatch.plan import STRANGER
from syncd.intake.polls import FOR_A_PERSON
from syncd.store.books import balance, kept_out
from syncd.store.engine import millis, moment
from syncd.store.schema import deliveries, lanes, receipts, spending, writes
from syncd.store.subscriptions import faults
from syncd.store.verifications import last_results

if TYPE_CHECKING:
    from syncd.store import Store

DAY = timedelta(days=1)
QUIET_FAILURES = 3
"""A source that failed fewer times in a row is not worth a person's look, unless only a person can mend it."""


class HasType(Protocol):
    @property
    def type(self) -> str: ...


class Named(Protocol):
    """What is asked of a configuration: `Settings` is one, so is what a running daemon says of its own."""

    @property
    def sources(self) -> Mapping[str, HasType]: ...

    @property
    def destinations(self) -> Mapping[str, HasType]: ...


@dataclass(frozen=True)
class Status:
    """Rows for people and programs; `advice`: one line each, what is wrong and what to do; empty when all is well."""

    sources: Sequence[Mapping[str, Any]]
    destinations: Sequence[Mapping[str, Any]]
    books: Sequence[Mapping[str, Any]]
    kept_out: Sequence[Mapping[str, Any]]
    quarantine: int
    verified: Sequence[Mapping[str, Any]]
    advice: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def gather(store: Store, settings: Named, refused: Sequence[str] = ()) -> Status:
    """Everything at one moment. `refused`: why running daemons do not work by what lies there now, a fault a line. Raises
    StoreUnavailable."""
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
    advice = [
        *(f"configuration not in force: {fault}" for text in refused for fault in text.splitlines()),
        *_advice_sources(sources),
        *(f"source {name}: {fault}" for name, fault in faults(store).items() if name in settings.sources),
        *_advice_destinations(destinations, settings),
        *_advice_verified(verified),
        *_advice_books(books, quarantined),
    ]
    return Status(sources, destinations, books, out, quarantined, verified, advice)


def _sources(store: Store, settings: Named) -> list[dict[str, Any]]:
    health = store.sources.all()
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
            }
        )
    return rows


def _destinations(store: Store, settings: Named, now: datetime) -> list[dict[str, Any]]:
    queued = select(
        deliveries.c.destination,
        deliveries.c.state,
        func.count(),
        func.min(deliveries.c.created_at),
        func.max(deliveries.c.reason),
    )
    stuck = select(writes.c.destination, writes.c.state, func.count())
    faulty = select(writes.c.destination, func.count(), func.min(writes.c.reason))
    spent = select(spending.c.destination, func.sum(spending.c.units)).where(spending.c.hour > millis(now - DAY))
    with store.read() as connection:
        queue = connection.execute(queued.group_by(deliveries.c.destination, deliveries.c.state)).all()
        letters = connection.execute(
            stuck.where(writes.c.state.in_(("dead", "unconfirmed"))).group_by(writes.c.destination, writes.c.state)
        )
        counts = {(name, state): count for name, state, count in letters}
        wrong = connection.execute(
            faulty.where(writes.c.state == "held", writes.c.reason != STRANGER).group_by(writes.c.destination)
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
            "fault": faults.get(name, ""),
            "paused_until": paused.get(name),
            "reason": lane[name]["reason"] if paused.get(name) else reasons.get(name, ""),
        }
        for name in names
    ]


def _verified(store: Store, settings: Named) -> list[dict[str, Any]]:
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


def _advice_sources(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"source {row['source']}: failing ({row['failures']} times in a row): {row['error']}"
        for row in rows
        if row["failures"] >= QUIET_FAILURES or row["error"].startswith(FOR_A_PERSON)
    ]


def _advice_destinations(rows: Sequence[Mapping[str, Any]], settings: Named) -> list[str]:
    lines = []
    for row in rows:
        name = row["destination"]
        if name not in settings.destinations:
            lines.append(
                f"destination {name}: not configured any more, {row['pending'] + row['held']} deliveries are parked"
            )
        if row["paused_until"] is not None:
            lines.append(f"destination {name}: paused until {row['paused_until']:%Y-%m-%d %H:%M} UTC: {row['reason']}")
        if row["fault"]:
            lines.append(
                f"destination {name}: {row['fault']}; mend the mapping or the CRM (tried again when it is saved, and hourly)"
            )
        if row["dead"]:
            lines.append(
                f"destination {name}: {row['dead']} dead; see `syncd dead list`, mend the mapping, `syncd dead retry --all`"
            )
        if row["unconfirmed"]:
            lines.append(
                f"destination {name}: {row['unconfirmed']} unconfirmed; look in the CRM, then `syncd dead retry` or `discard`"
            )
    return lines


def _advice_verified(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        what, when = f"{row['role']} {row['name']}", f"when verified last ({row['at']:%Y-%m-%d %H:%M} UTC)"
        if row["error"]:
            lines.append(f"{what}: could not be verified: {row['error']}")
        elif row["amiss"]:
            amiss = "missing in the store" if row["role"] == "source" else "amiss"
            lines.append(
                f"{what}: {row['amiss']} {amiss} {when}; `syncd verify --since {row['since'][:10]}` lists, `--fix` mends"
            )
    return lines


def _advice_books(books: Sequence[Mapping[str, Any]], quarantined: int) -> list[str]:
    lines = [f"{quarantined} in quarantine; see `syncd quarantine list`"] if quarantined else []
    for line in books:
        if not line["balanced"]:
            lines.append(f"the books of {line['destination']}/{line['channel']} do not balance: please report this")
    return lines
