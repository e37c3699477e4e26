"""Companies that are to be made: of which signal, below which other company, in which order. Pure.

`companies` looks them up and sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from syncd.dispatch.people import PersonLookup
from syncd.mapping.accounts import ACCOUNTS_CREATE, ACCOUNTS_PARENT
from syncd.signals import Signal
from syncd.store.queue import Taken


@dataclass(slots=True)
class NewCompany:
    """A company to make, and the delivery that brought it. `is_parent`: the signal tells of it only that another belongs to it;
    `parent`: the one that it belongs to."""

    need: PersonLookup
    taken: Taken
    signal: Signal
    is_parent: bool = False
    parent: PersonLookup | None = None

    @property
    def rule(self) -> str:
        """The rule that makes it."""
        return ACCOUNTS_PARENT if self.is_parent else ACCOUNTS_CREATE


def cut_loops(new: Sequence[NewCompany]) -> Iterator[NewCompany]:
    """Takes its parent from the first company of each loop (A belongs to B, and B to A), and yields it."""
    made = {one.need.identity: one for one in new}
    for one in new:
        passed: set[str] = set()
        above = _above(one, made)
        while above is not None and above is not one and above.need.identity not in passed:
            passed.add(above.need.identity)
            above = _above(above, made)
        if above is one:
            one.parent = None
            yield one


def in_waves(new: Sequence[NewCompany]) -> list[list[NewCompany]]:
    """Those that belong to a company of an earlier wave, or to none that is to be made. There must be no loop."""
    made = {one.need.identity: one for one in new}
    waves: list[list[NewCompany]] = []
    for one in new:
        depth, above = 0, _above(one, made)
        while above is not None:
            depth, above = depth + 1, _above(above, made)
        waves += ([] for _ in range(depth + 1 - len(waves)))
        waves[depth].append(one)
    return waves


def _above(one: NewCompany, made: dict[str, NewCompany]) -> NewCompany | None:
    return made.get(one.parent.identity) if one.parent is not None else None
