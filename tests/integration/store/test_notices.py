"""What daemons say of themselves: each its own, and only while it lives."""

from __future__ import annotations

from collections.abc import Callable

from syncd.store import Store
from syncd.store.announcements import Announcements


def test_each_daemon_says_its_own(open_store: Callable[..., Store]) -> None:
    one, other = open_store(), open_store()
    holders = [one.holder, other.holder]
    Announcements(one).put("refused", "a")
    Announcements(one).put("refused", "a\0b")
    Announcements(other).put("refused", "c")
    assert sorted(Announcements(one).of("refused", holders)) == ["a\N{SYMBOL FOR NULL}b", "c"]
    assert Announcements(one).of("refused", [other.holder]) == ["c"]
    Announcements(other).put("refused", "")
    assert Announcements(one).of("refused", [other.holder]) == []


def test_the_dead_are_forgotten_and_never_oneself(open_store: Callable[..., Store]) -> None:
    one, other = open_store(), open_store()
    Announcements(one).put("refused", "a")
    Announcements(other).put("refused", "b")
    Announcements(one).keep_only([])
    assert Announcements(one).of("refused", [one.holder, other.holder]) == ["a"]
