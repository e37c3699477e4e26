"""What a benchmark hands over: figures with a unit and an aim, in tables; printed here, kept and compared by `bench.__main__`.

Every benchmark module has `run(quick) -> list[Table]` and may raise LeftOut. A ratio is a figure too; absolute figures are
of this machine in this minute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent.parent / ".bench"
"""What is kept between runs, and where benchmarks work: on the disk of the checkout, git-ignored."""


def workplace() -> Path:
    """The directory for databases under test; there afterwards."""
    HERE.mkdir(exist_ok=True)
    return HERE


class LeftOut(Exception):
    """A benchmark that cannot be run here; the text says why."""


@dataclass(frozen=True)
class Aim:
    """What a figure should be: at least, or at most."""

    value: float
    least: bool

    @classmethod
    def at_least(cls, value: float) -> Self:
        return cls(value, least=True)

    @classmethod
    def most(cls, value: float) -> Self:
        return cls(value, least=False)

    def met(self, value: float) -> bool:
        return value >= self.value if self.least else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {number(self.value)}"


@dataclass(frozen=True)
class Figure:
    """One line of a table. `spread`: the lowest and the highest of the rounds."""

    name: str
    value: float
    unit: str = ""
    aim: Aim | None = None
    spread: tuple[float, float] | None = None


@dataclass(frozen=True)
class Table:
    """The figures of one comparison. `load`: the machine's load average when they were taken."""

    title: str
    figures: list[Figure]
    notes: list[str] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def __str__(self) -> str:
        return self.text({})

    def text(self, before: Mapping[str, float]) -> str:
        """The table with the change since `before` (figure name -> value) beside."""
        width = max(len(figure.name) for figure in self.figures)
        lines = [f"{self.title}   (load {self.load:.1f})"]
        for one in self.figures:
            aim = "" if one.aim is None else f"aim {one.aim} {'✓' if one.aim.met(one.value) else '✗ missed'}"
            spread = "" if one.spread is None else f"({number(one.spread[0])} to {number(one.spread[1])})"
            change = _change(before.get(one.name), one.value)
            line = f"  {one.name:<{width}}  {number(one.value):>9} {one.unit:<8} {aim:<18} {spread:<20} {change}"
            lines.append(line.rstrip())
        lines.extend(f"  {note}" for note in self.notes)
        return "\n".join(lines)

    def as_data(self) -> dict[str, Any]:
        """For the process that runs the benchmarks, and the file."""
        figures = [[f.name, f.value, f.unit, f.aim and [f.aim.value, f.aim.least], f.spread] for f in self.figures]
        return {"title": self.title, "figures": figures, "notes": self.notes, "load": self.load}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        figures = [
            Figure(name, value, unit, Aim(*aim) if aim else None, (spread[0], spread[1]) if spread else None)
            for name, value, unit, aim, spread in data["figures"]
        ]
        return cls(data["title"], figures, data["notes"], data["load"])


def number(value: float) -> str:
    """At most four digits that mean something."""
    if value == int(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _change(before: float | None, now: float) -> str:
    if before is None:
        return ""
    if before == now:
        return "as before"
    return f"{(now - before) / before:+.0%} (was {number(before)})" if before else f"was {number(before)}"
