"""Whose turn it is: every active user in their order, the fallback when none is left."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.dispatch.decided import Decided
from syncd.dispatch.known_users import KEPT, KnownUsers
from syncd.dispatch.owners import choose
from syncd.mapping.model import OwnerChoice


@given(st.integers(1, 6), st.sets(st.integers(0, 5)), st.integers(0, 40))
def test_every_active_user_gets_the_same_number_of_turns(count: int, away: set[int], rounds: int) -> None:
    choice, taken, got = OwnerChoice(tuple(range(count))), 0, Counter[int]()
    here = [user for user in range(count) if user not in away]
    for _ in range(rounds * len(here)):
        chosen, turns = choose(choice, taken, lambda user: user not in away)
        assert chosen.owner in here
        got[chosen.owner] += 1
        taken += turns
    assert count == 1 or all(got[user] == rounds for user in here)


@pytest.mark.parametrize(
    ("choice", "decided"),
    [
        (OwnerChoice(("a", "b"), "c"), Decided("c", "fallback_owner")),
        (OwnerChoice(("a", "b")), Decided(None, "no_active_user")),
        (OwnerChoice((), "c"), Decided("c")),
        (OwnerChoice(()), Decided(None, "nobody_named")),
    ],
)
def test_where_nobody_is_active(choice: OwnerChoice, decided: Decided) -> None:
    assert choose(choice, 1, lambda user: False) == (decided, 0)


def test_users_are_asked_for_again_after_a_while() -> None:
    users = KnownUsers()
    users.learn(["a", "b"], {"a": False}, 1000)
    assert (users.active("a"), users.active("b")) == (False, True)
    assert users.unknown(["a", "b", "c", "c"], 2000) == ["c"]
    assert users.unknown(["a"], 1000 + KEPT) == ["a"]
