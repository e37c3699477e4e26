"""Crash points do nothing unless armed, and kill at the nth passing of their name."""

from __future__ import annotations

import os

import pytest

from syncd.runtime import crashpoints


def test_a_point_kills_the_nth_time_only_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, signal: killed.append((pid, signal)))
    point = crashpoints.armed("after_send:3")
    for name in ("after_send", "after_commit", "after_send", "after_commit"):
        point(name)
    assert killed == []
    point("after_send")
    point("after_send")
    assert killed == [(os.getpid(), 9)]


def test_unarmed_costs_and_does_nothing() -> None:
    assert crashpoints.point is crashpoints._unarmed
    crashpoints.point("after_commit")
