"""Refused credentials in the store: shared by all who have it, and worth nothing to who has only the database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from syncd.errors import Misconfigured
from syncd.http.lockout import LoginBackoff
from syncd.store import Store
from syncd.store.purge import purge
from syncd.store.schema import refusals as table

WRONG = ("imap", "h", "993", "u@x.example", "wrong-canary")
Open = Callable[..., Store]


def refused(refusals: LoginBackoff) -> None:
    with suppress(Misconfigured), refusals.attempt(*WRONG):
        raise Misconfigured("the server says: no")


def rows(store: Store) -> list[tuple[str, int, str]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(select(table))]


def test_every_process_knows_and_a_success_is_everybodys(open_store: Open) -> None:
    one, other = open_store(key_source="k" * 40), open_store(key_source="k" * 40)
    refused(one.refusals)
    with pytest.raises(Misconfigured, match="the server says: no; not tried again before"):
        other.refusals.check(*WRONG)
    other.refusals.check(*WRONG[:-1], "right")
    with other.refusals.bypass().attempt(*WRONG):
        pass
    one.refusals.check(*WRONG)
    assert rows(one) == []


def test_together_they_try_three_times_an_hour(open_store: Open) -> None:
    tried = []
    for turn in range(6):
        with suppress(Misconfigured), open_store(key_source="k" * 40).refusals.bypass().attempt(*WRONG):
            tried.append(turn)
            raise Misconfigured("no")
    assert tried == [0, 1, 2]


def test_what_is_kept_tells_nothing_without_the_key(open_store: Open) -> None:
    store, stranger = open_store(key_source="k" * 40), open_store(key_source="x" * 40)
    refused(store.refusals)
    ((mark, _, said),) = rows(store)
    assert "canary" not in mark + said
    stranger.refusals.check(*WRONG)  # the same credentials have another mark there


def test_without_a_key_a_process_remembers_for_itself(open_store: Open, request: pytest.FixtureRequest) -> None:
    one = open_store(key_source="short")
    refused(one.refusals)
    with pytest.raises(Misconfigured, match="not tried again before"):
        one.refusals.check(*WRONG)
    assert rows(one) == []
    open_store(key_source="short").refusals.check(*WRONG)


def test_without_a_table_a_process_remembers_for_itself(open_store: Open) -> None:
    store = open_store(key_source="k" * 40)
    store.apply(lambda connection: connection.execute(text("DROP TABLE refusals")))
    refused(store.refusals)
    with pytest.raises(Misconfigured, match="not tried again before"):
        store.refusals.check(*WRONG)


def test_old_ones_are_purged(open_store: Open) -> None:
    now = datetime.now(UTC)
    store = open_store(key_source="k" * 40, clock=lambda: now - timedelta(days=3))
    refused(store.refusals)
    assert len(rows(store)) == 1
    assert purge(open_store(key_source="k" * 40), now - timedelta(days=365)) is not None
    assert rows(store) == []
