"""What goes into one statement or call: items cut into portions within a vendor's limits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def portions(items: Iterable[Item], most: int) -> list[list[Item]]:
    """The items, each once and in their order, at most so many together."""
    wanted = list(dict.fromkeys(items))
    return [wanted[start : start + most] for start in range(0, len(wanted), most)]


def fitting(items: Iterable[Item], fits: Callable[[Sequence[Item]], bool]) -> Iterator[list[Item]]:
    """The items in their order, as many together as `fits` allows; an item that does not fit by itself stands alone. For limits
    that are not a mere count, such as criteria of which one item takes several."""
    held: list[Item] = []
    for item in items:
        if held and not fits([*held, item]):
            yield held
            held = []
        held.append(item)
    if held:
        yield held
