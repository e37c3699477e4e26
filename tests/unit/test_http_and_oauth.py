"""Retry-After, throttling, and tokens: fresh, refused, minted once for everybody, never shown."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import Misconfigured, RateLimited
from syncd.http.client import Response, parse_retry_after, throttled
from syncd.http.oauth import EARLY, MemoryTokens, Token, grant_id

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        (format_datetime(NOW + timedelta(seconds=90)), 90.0),
        (format_datetime(NOW - timedelta(seconds=90)), 0.0),
        ("Sun, 22 Nov 2026 04:01:00 GMT", 60.0),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_breaks_us(value: str) -> None:
    wait = parse_retry_after(value, NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("status", "header", "wait"), [(429, "", None), (429, "5", 5.0), (503, "5", 5.0), (503, "", "no"), (200, "5", "no")]
)
def test_throttled(status: int, header: str, wait: float | str | None) -> None:
    got = throttled(Response(status, {"retry-after": header}, b"", True), NOW)
    if wait == "no":
        assert got is None
    else:
        assert isinstance(got, RateLimited)
        assert got.retry_after == wait


def test_a_token_is_minted_when_needed_and_only_then() -> None:
    now = [NOW]
    store = MemoryTokens(clock=lambda: now[0])
    seen: list[Token | None] = []

    def mint(held: Token | None) -> Token:
        seen.append(held)
        return Token(access=f"a{len(seen)}", expires_at=now[0] + timedelta(hours=1), refresh="r")

    first = store.token("g", mint)
    assert store.token("g", mint) == first
    now[0] += timedelta(hours=1) - EARLY
    second = store.token("g", mint)
    assert second.access == "a2"
    assert store.token("g", mint, refused="a1") == second, "an older token was refused: somebody refreshed already"
    assert store.token("g", mint, refused="a2").access == "a3"
    assert seen == [None, first, second]
    assert store.token("another", mint).access == "a4"


def test_everybody_who_waits_gets_the_one_failure_and_the_next_tries_again() -> None:
    store = MemoryTokens()
    minting, finish = threading.Event(), threading.Event()
    minted = []

    def mint(held: Token | None) -> Token:
        minted.append(1)
        minting.set()
        finish.wait(10)
        raise Misconfigured("no")

    failures: list[str] = []

    def work() -> None:
        try:
            store.token("g", mint)
        except Misconfigured as error:
            failures.append(str(error))

    threads = [threading.Thread(target=work)]
    threads[0].start()
    minting.wait(10)
    threads += [threading.Thread(target=work) for _ in range(4)]
    for thread in threads[1:]:
        thread.start()
    finish.set()
    for thread in threads:
        thread.join()
    assert failures == ["no"] * 5
    assert len(minted) <= 5
    assert store.token("g", lambda held: Token(access="a")).access == "a"


def test_a_token_shows_no_secret() -> None:
    token = Token(access="s3cr3t", refresh="s3cr3t too", extra={"instance_url": "s3cr3t"})
    assert "s3cr3t" not in f"{token} {token!r} {token.__rich_repr__()}"
    assert grant_id("a", "bc") != grant_id("ab", "c")
    assert "s3cr3t" not in grant_id("s3cr3t")
