"""Which strangers of one batch are the same person: pure.

`people.newcomers` asks here. Strangers with different email addresses are never joined by a phone number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MatchKeys:
    """What a look-up of the new record would find it by. `exact`: identity and exact terms; `numbers`: phone numbers; `email`:
    whether the stranger has an email address."""

    exact: frozenset[object]
    numbers: frozenset[str]
    email: bool


def joined(strangers: Sequence[MatchKeys]) -> tuple[list[list[int]], list[int]]:
    """(places of the strangers that are one person each, places of those for whom it is undecided).

    Whoever shares an exact mark is one person. A stranger of whom only a number is known is whoever else has that number, if
    all who have it are one person; if they are several, nobody can tell which.
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
    unsure: list[int] = []
    for top in [top for top in groups if top not in with_email]:
        theirs = {
            owner for place in groups[top] for number in strangers[place].numbers for owner in owners.get(number, ())
        }
        if len(theirs) == 1:
            groups[theirs.pop()].extend(groups.pop(top))
        elif theirs:
            unsure += groups.pop(top)
    return sorted(sorted(members) for members in groups.values()), sorted(unsure)


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
