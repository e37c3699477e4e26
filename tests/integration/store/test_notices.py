"""What daemons say of themselves: each its own, and only while it lives."""

from __future__ import annotations

from collections.abc import Callable

from syncd.store import Store
from syncd.store.announcements import Notices


def test_each_daemon_says_its_own(open_store: Callable[..., Store]) -> None:
    one, other = open_store(), open_store()
    holders = [one.holder, other.holder]
    Notices(one).put("refused", "a")
    Notices(one).put("refused", "a\0b")
    Notices(other).put("refused", "c")
    assert sorted(Notices(one).of("refused", holders)) == ["a\N{SYMBOL FOR NULL}b", "c"]
    assert Notices(one).of("refused", [other.holder]) == ["c"]
    Notices(other).put("refused", "")
    assert Notices(one).of("refused", [other.holder]) == []


def test_the_dead_are_forgotten_and_never_oneself(open_store: Callable[..., Store]) -> None:
    one, other = open_store(), open_store()
    Notices(one).put("refused", "a")
    Notices(other).put("refused", "b")
    Notices(one).keep_only([])
    assert Notices(one).of("refused", [one.holder, other.holder]) == ["a"]
