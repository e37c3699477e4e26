"""Comparing ways of doing one thing: rounds interleaved, so that a noisy machine harms all alike; medians and ratios printed.

Every benchmark here uses it. Ratios carry over to other machines, absolute figures do not; tests assert neither.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Way = Callable[[], float]
"""Does one round and returns its figure (a rate, or seconds)."""


@dataclass(frozen=True)
class Compared:
    """Medians of all rounds. `ratio`: to the first way, median of the rounds' own ratios (each round is its own control)."""

    medians: Mapping[str, float]
    ratios: Mapping[str, float]
    spreads: Mapping[str, tuple[float, float]]


def compare(ways: Mapping[str, Way], *, rounds: int = 5, warm_up: int = 1, seed: int = 1) -> Compared:
    """Runs every way once a round, in an order that changes from round to round. The first way is what the others are
    compared with."""
    order, baseline = list(ways), next(iter(ways))
    figures: dict[str, list[float]] = {name: [] for name in ways}
    shuffle = random.Random(seed).shuffle
    for number in range(warm_up + rounds):
        shuffle(order)
        for name in order:
            figure = ways[name]()
            if number >= warm_up:
                figures[name].append(figure)
        if sys.stderr.isatty():
            print(f"\rround {number + 1} of {warm_up + rounds}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    ratios = {
        name: statistics.median(mine / base for mine, base in zip(of, figures[baseline], strict=True))
        for name, of in figures.items()
    }
    spreads = {name: (min(of), max(of)) for name, of in figures.items()}
    return Compared({name: statistics.median(of) for name, of in figures.items()}, ratios, spreads)


def table(title: str, compared: Compared, unit: str) -> str:
    """The comparison as text, one way a line."""
    width = max(map(len, compared.medians))
    lines = [title]
    for name, median in compared.medians.items():
        low, high = compared.spreads[name]
        lines.append(
            f"  {name:<{width}}  {_figure(median):>10} {unit}  x{compared.ratios[name]:<6.2f} ({_figure(low)} to {_figure(high)})"
        )
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
