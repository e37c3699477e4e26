"""What `check --online` and `prepare` say: one line a thing looked at, of the store, a source or a destination. Pure.

The runners make them, the commands print them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from syncd.capabilities import Finding, Level
from syncd.errors import Fault
from syncd.mapping.against import Remark


@dataclass(frozen=True)
class CheckLine:
    """`role`: store, source or destination. `fault`: the place in a mapping it refers to, if any."""

    role: str
    name: str
    level: Level
    what: str
    message: str
    remedy: str = ""
    fault: Fault | None = None

    @classmethod
    def of(cls, role: str, name: str, finding: Finding) -> CheckLine:
        return cls(role, name, finding.level, finding.what, finding.message, finding.remedy)

    @classmethod
    def at(cls, name: str, remark: Remark) -> CheckLine:
        """Of a destination's mapping."""
        fault = remark.fault
        return cls("destination", name, remark.level, fault.key, fault.message, fault.hint, fault)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        place = self.fault
        return {
            "role": self.role,
            "name": self.name,
            "level": str(self.level),
            "what": self.what,
            "message": self.message,
            "remedy": self.remedy,
            "file": place.file if place else "",
            "line": place.line if place else 0,
            "column": place.column if place else 0,
        }

    def text(self) -> str:
        """For people: a fault of a mapping begins with its place, so that editors find it."""
        if self.fault is not None and self.level is not Level.OK:
            return f"{self.level!s:8}{self.name}  {self.fault}"
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{self.level!s:8}{self.name}  {self.what}: {self.message}{remedy}"


def failed(lines: Iterable[CheckLine]) -> bool:
    return any(line.level is Level.FAULT for line in lines)


def summary(lines: Iterable[CheckLine]) -> str:
    """How many of which."""
    levels = [line.level for line in lines]
    words = [f"{levels.count(level)} {level}{'s' if levels.count(level) != 1 else ''}" for level in _BAD]
    return ", ".join([f"{levels.count(Level.OK)} ok", *words])


_BAD = (Level.WARNING, Level.FAULT)
