"""What the operator should do now, one line for each thing: what is wrong, where, and the command that helps.

`syncd.service.status` gathers the facts and asks here; `status` prints the lines, a program reads them. Pure: values
in, lines out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from syncd.dispatch.pacing import BREAKER_OPENS_AT
from syncd.intake.polls import NEEDS_OPERATOR
from syncd.texts.reasons import SIGN_IN

QUIET_FAILURES = 3
"""A source that failed fewer times in a row is not reported, unless only an operator can fix it."""
MANY_POLLS = 10
SLOWEST = timedelta(hours=26)
"""A source by `cron:` is read once a day at least, we suppose."""
USUAL_POLL = timedelta(minutes=5)
LITTLE_ROOM = 512 * 1024 * 1024
LITTLE_SHARE = 0.02
PURGE_GRACE = timedelta(days=2)
AHEAD = timedelta(minutes=10)
OUR_SHARE = "our_share_used"
QUOTA_SAYS = ("account_used", "allowance_used")


@dataclass(frozen=True)
class StatusFacts:
    """What the advice is made of. `sources` and `destinations` are rows of `status`; a destination's row has `stopped` (only a
    operator can fix it), `failures` in a row and `configured`. `polls`: source -> every how often it is read, for those that
    are. `dropped`: source -> what is wrong with its webhook at the vendor. `verified`: what `verify` found last, a row for each
    source or destination. `alive` False: no daemon runs. `ahead`: how far the newest signal is in the future. `failed_jobs`:
    (kind, subject, error)."""

    now: datetime
    sources: Sequence[Mapping[str, Any]] = ()
    destinations: Sequence[Mapping[str, Any]] = ()
    books: Sequence[Mapping[str, Any]] = ()
    refused: Sequence[str] = ()
    quarantined: int = 0
    polls: Mapping[str, timedelta] = field(default_factory=dict)
    alive: bool = True
    free: int | None = None
    whole: int | None = None
    key_missing: str = ""
    ahead: timedelta = timedelta(0)
    oldest: datetime | None = None
    retention: timedelta | None = None
    failed_jobs: Sequence[tuple[str, str, str]] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    verified: Sequence[Mapping[str, Any]] = ()


def advise(facts: StatusFacts) -> list[str]:
    """The most urgent first."""
    return [
        *_configuration(facts),
        *_machine(facts),
        *(line for row in facts.sources for line in _source(row, facts)),
        *(f"source {name}: {fault}" for name, fault in facts.dropped.items()),
        *(line for row in facts.destinations for line in _destination(row)),
        *(line for row in facts.verified for line in _verified(row)),
        *_store(facts),
    ]


def _configuration(facts: StatusFacts) -> Iterator[str]:
    for text in facts.refused:
        for fault in text.splitlines():
            yield f"configuration not in force: {fault}"


def _machine(facts: StatusFacts) -> Iterator[str]:
    if not facts.alive:
        yield "no daemon runs on this database: nothing is read or sent; `systemctl start syncd`, or `syncd run`"
    if low_on_room(facts.free, facts.whole):
        yield f"disk: {(facts.free or 0) // 1_000_000} MB are left for the database; free some space, see `df -h`"
    if facts.key_missing:
        yield f"secret_key: {facts.key_missing} is gone, and stored tokens cannot be read without it; restore it from the backup"
    if facts.ahead > AHEAD:
        yield f"clock: the newest signal is {_span(facts.ahead)} in the future; is the clock right? see `timedatectl`"


def low_on_room(free: int | None, whole: int | None) -> bool:
    """Whether the database's disk will be full soon."""
    return free is not None and (free < LITTLE_ROOM or (whole is not None and free < LITTLE_SHARE * whole))


def _source(row: Mapping[str, Any], facts: StatusFacts) -> Iterator[str]:
    name, code = row["source"], row["code"]
    failing = f"source {name}: failing ({row['failures']} times in a row): {row['error']}"
    if code == SIGN_IN:
        yield failing  # the error ends with the command; pending work resumes automatically after it
    elif code in NEEDS_OPERATOR:
        yield f"{failing}; fix it at the vendor or in the configuration, then `systemctl reload syncd`"
    elif row["failures"] >= QUIET_FAILURES:
        yield f"{failing}; it is retried automatically; if it persists, see `journalctl -u syncd`"
    elif facts.alive and name in facts.polls:
        yield from _lag(name, row["last_ok"], facts)


def _lag(name: str, last: datetime | None, facts: StatusFacts) -> Iterator[str]:
    if last is not None and facts.now - last > MANY_POLLS * facts.polls[name]:
        since = _span(facts.now - last)
        yield f"source {name}: not read for {since}; `systemctl restart syncd` if `journalctl -u syncd` does not say why"


def _destination(row: Mapping[str, Any]) -> Iterator[str]:
    here = f"destination {row['destination']}"
    if not row["configured"]:
        waiting = row["pending"] + row["held"]
        yield f"{here}: not configured any more, {waiting} deliveries are parked; put it back, or `syncd replay --to` another"
    if row["paused_until"] is not None:
        until = f"{row['paused_until']:%Y-%m-%d %H:%M} UTC"
        yield f"{here}: paused until {until}: {row['reason']}; {_after_a_pause(row)}"
    if row["fault"]:
        yield f"{here}: {row['fault']}; fix the mapping or the CRM (retried when the mapping is saved, and hourly)"
    if row["dead"]:
        yield f"{here}: {row['dead']} dead; see `syncd dead list`, fix the mapping, `syncd dead retry --all`"
    if row["unconfirmed"]:
        yield f"{here}: {row['unconfirmed']} unconfirmed; look in the CRM, then `syncd dead retry` or `syncd dead discard`"


def _after_a_pause(row: Mapping[str, Any]) -> str:
    if row["code"] == SIGN_IN:
        return "pending work resumes automatically after that"
    if row["stopped"]:
        return "fix it, then `systemctl reload syncd`"
    if row["code"] == OUR_SHARE:
        return "raise `quota:` or remove it, then `systemctl reload syncd`: it resumes at once, otherwise automatically then"
    if row["code"] in QUOTA_SAYS:
        return "it resumes automatically when the account has quota left; a backfill in `syncd status` may use it"
    if row["failures"] >= BREAKER_OPENS_AT:
        return "it is retried then; if it persists, check the vendor's status page"
    return "it resumes automatically"


def _verified(row: Mapping[str, Any]) -> Iterator[str]:
    what, when = f"{row['role']} {row['name']}", f"when last verified ({row['at']:%Y-%m-%d %H:%M} UTC)"
    if row["error"]:
        yield f"{what}: could not be verified: {row['error']}"
    elif row["amiss"]:
        amiss = "missing in the store" if row["role"] == "source" else "wrong"
        yield f"{what}: {row['amiss']} {amiss} {when}; `syncd verify --since {row['since'][:10]}` lists them, `--fix` fixes them"


def _store(facts: StatusFacts) -> Iterator[str]:
    if facts.quarantined:
        yield f"{facts.quarantined} in quarantine; see `syncd quarantine list`, fix the source, `syncd quarantine retry --all`"
    for kind, subject, error in facts.failed_jobs:
        yield f"{kind} of {subject} failed: {error or 'see the log'}; run the command again: it resumes where it stopped"
    late = facts.oldest is not None and facts.retention is not None
    if late and facts.now - facts.oldest > facts.retention + PURGE_GRACE:  # type: ignore[operator]
        yield f"retention: signals of {facts.oldest:%Y-%m-%d} are still there; a daemon that runs purges every six hours"
    for line in facts.books:
        if not line["balanced"]:
            yield f"the balance sheet of {line['destination']}/{line['channel']} does not balance: please report this"


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
