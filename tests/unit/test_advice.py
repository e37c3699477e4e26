"""Each state that a user can meet gives one line: what is wrong, and the command or deed that helps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.service.advice import StatusFacts, advise

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def source(**values: Any) -> dict[str, Any]:
    return {"source": "inbox", "error": "", "code": "", "failures": 0, "last_ok": NOW, **values}


def destination(**values: Any) -> dict[str, Any]:
    well = {"destination": "crm", "configured": True, "pending": 0, "held": 0, "dead": 0, "unconfirmed": 0, "fault": ""}
    return {**well, "paused_until": None, "reason": "", "code": "", "stopped": False, "failures": 0, **values}


WELL = StatusFacts(
    NOW,
    sources=[source()],
    destinations=[destination()],
    books=[{"destination": "crm", "channel": "email", "balanced": True}],
    polls={"inbox": MINUTE},
    free=10**11,
    whole=2 * 10**11,
    oldest=NOW - timedelta(days=180),
    retention=timedelta(days=180),
)
SOON = NOW + 5 * MINUTE

STATES: dict[str, tuple[dict[str, Any], str, str]] = {
    "source failing": ({"sources": [source(failures=3, error="Transient: no route")]}, "failing (3", "journalctl -u syncd"),
    "source misconfigured": (
        {"sources": [source(failures=1, code="misconfigured", error="Misconfigured: password")]},
        "password", "systemctl reload syncd"),
    "source signed out": (
        {"sources": [source(failures=1, code="authexpired", error="AuthExpired: x")]}, "AuthExpired", "reload syncd"),
    "source needs a sign-in": (
        {"sources": [source(failures=1, code="sign_in", error="Misconfigured: sign_in: nobody has; run: syncd auth inbox")]},
        "nobody has", "run: syncd auth inbox"),
    "destination needs a sign-in": (
        {"destinations": [destination(paused_until=SOON, reason="no; run: syncd auth crm", code="sign_in", stopped=True)]},
        "run: syncd auth crm", "resumes automatically after that"),
    "webhook dropped": ({"dropped": {"desk": "its webhook is gone"}}, "source desk", "its webhook is gone"),
    "verified amiss": (
        {"verified": [{"role": "destination", "name": "crm", "at": NOW, "since": "2026-11-20T00:00", "amiss": 3, "error": ""}]},
        "3 wrong", "syncd verify --since 2026-11-20"),
    "not verified": (
        {"verified": [{"role": "source", "name": "inbox", "at": NOW, "since": "2026-11-20", "amiss": 0, "error": "no route"}]},
        "source inbox", "could not be verified: no route"),
    "source lags": ({"sources": [source(last_ok=NOW - 11 * MINUTE)]}, "not read for 11 min", "restart syncd"),
    "paused": ({"destinations": [destination(paused_until=SOON, reason="throttled: x")]}, "throttled", "automatically"),
    "breaker": (
        {"destinations": [destination(paused_until=SOON, reason="5 calls failed in a row: x", failures=5)]},
        "5 calls failed", "status page"),
    "misconfigured": (
        {"destinations": [destination(paused_until=SOON, reason="INVALID_LOGIN", stopped=True)]},
        "INVALID_LOGIN", "systemctl reload syncd"),
    "quota": (
        {"destinations": [destination(paused_until=SOON, reason="our share is used: 5 of 5", code="our_share_used")]},
        "5 of 5", "raise `quota:`"),
    "rule held": ({"destinations": [destination(fault="3 held: No such field X")]}, "No such field X", "fix the mapping"),
    "dead": ({"destinations": [destination(dead=2)]}, "2 dead", "syncd dead retry --all"),
    "unconfirmed": ({"destinations": [destination(unconfirmed=2)]}, "2 unconfirmed", "syncd dead discard"),
    "parked": ({"destinations": [destination(configured=False, pending=4)]}, "4 deliveries are parked", "put it back"),
    "quarantine": ({"quarantined": 2}, "2 in quarantine", "syncd quarantine list"),
    "reload refused": ({"refused": ["c.yaml:3:1 x: wrong"]}, "configuration not in force", "c.yaml:3:1"),
    "no daemon": ({"alive": False}, "no daemon runs", "syncd run"),
    "disk": ({"free": 10**8}, "100 MB are left", "df -h"),
    "disk by share": ({"free": 10**9, "whole": 10**11}, "1000 MB are left", "free some space"),
    "key": ({"key_missing": "/var/lib/syncd/syncd.db.key"}, "syncd.db.key is gone", "restore it"),
    "clock": ({"ahead": timedelta(days=3)}, "3 days in the future", "timedatectl"),
    "retention": ({"oldest": NOW - timedelta(days=183)}, "2026-05-26", "daemon that runs"),
    "job": ({"failed_jobs": [("backfill", "inbox", "no")]}, "backfill of inbox failed: no", "command again"),
    "books": ({"books": [{"destination": "crm", "channel": "email", "balanced": False}]}, "does not balance", "report"),
}  # fmt: skip


def test_nothing_is_said_when_all_is_well() -> None:
    assert advise(WELL) == []


@pytest.mark.parametrize("state", STATES)
def test_one_line_a_state(state: str) -> None:
    changes, wrong, remedy = STATES[state]
    (line,) = advise(replace(WELL, **changes))
    assert wrong in line
    assert remedy in line
    assert "\n" not in line


def test_a_source_that_fails_now_and_then_is_nobodys_business() -> None:
    assert advise(replace(WELL, sources=[source(failures=2, error="Transient: x")])) == []


def test_a_stopped_daemon_is_said_once_not_once_a_source() -> None:
    assert len(advise(replace(WELL, alive=False, sources=[source(last_ok=NOW - timedelta(days=9))]))) == 1
