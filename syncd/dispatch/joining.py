"""Which strangers of one batch are the same person: pure.

`new_people` asks here. Strangers with different email addresses are never joined by a phone number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MatchKeys:
    """What a look-up of the new record would find it by. `exact`: identities and exact terms; `numbers`: phone numbers; `email`:
    whether the stranger has an email address or a handle. `first`, `last`: when their signals of the batch happened."""

    exact: frozenset[object]
    numbers: frozenset[str]
    email: bool
    first: tuple[float, ...] = ()
    last: tuple[float, ...] = ()


def joined(strangers: Sequence[MatchKeys]) -> tuple[list[list[int]], list[int]]:
    """(places of the strangers that are one person each, places of those for whom it is undecided).

    Whoever shares an exact mark is one person. A stranger of whom only a number is known is whoever else has that number, if
    all who have it are one person. If they are several, the order decides as it does between batches: whoever used the
    number before all of them is the first of them, and if one alone had it until the last use, it is that one; else nobody
    can tell which.
    """
    home = list(range(len(strangers)))
    _unite(home, [one.exact for one in strangers])
    owners: dict[str, set[int]] = {}
    with_email = {_top(home, place) for place, one in enumerate(strangers) if one.email}
    for place, one in enumerate(strangers):
        if (top := _top(home, place)) in with_email:
            for number in one.numbers:
                owners.setdefault(number, set()).add(top)
    _unite(
        home, [frozenset() if _top(home, place) in with_email else one.numbers for place, one in enumerate(strangers)]
    )
    groups: dict[int, list[int]] = {}
    for place in range(len(strangers)):
        groups.setdefault(_top(home, place), []).append(place)
    began = {top: min(strangers[place].first for place in members) for top, members in groups.items()}
    unsure: list[int] = []
    for top in [top for top in groups if top not in with_email]:
        theirs = {
            owner for place in groups[top] for number in strangers[place].numbers for owner in owners.get(number, ())
        }
        if len(theirs) > 1:
            last = max(strangers[place].last for place in groups[top])
            theirs = _in_order(began[top], last, {owner: began[owner] for owner in theirs})
        if len(theirs) == 1:
            groups[theirs.pop()].extend(groups.pop(top))
        elif theirs:
            unsure += groups.pop(top)
    return sorted(sorted(members) for members in groups.values()), sorted(unsure)


def _in_order(first: tuple[float, ...], last: tuple[float, ...], owners: dict[int, tuple[float, ...]]) -> set[int]:
    """Those of several owners of a number who may have used it from `first` to `last`."""
    begun = sorted(owners.values())
    earliest = {owner for owner, began in owners.items() if began == begun[0]}
    alone = begun[0] < begun[1] and (first < begun[0] or last < begun[1])
    return earliest if alone else set(owners)


def _unite(home: list[int], marks: Sequence[frozenset[object]] | Sequence[frozenset[str]]) -> None:
    """Joins the places that share a mark."""
    first: dict[object, int] = {}
    for place, own in enumerate(marks):
        for mark in own:
            one, other = _top(home, first.setdefault(mark, place)), _top(home, place)
            home[max(one, other)] = min(one, other)


def _top(home: list[int], place: int) -> int:
    while home[place] != place:
        place = home[place]
    return place
