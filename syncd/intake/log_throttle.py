"""Limits how often a line is logged: what strangers can trigger at will must not fill the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

EVERY = 10.0


class LogThrottle:
    """Lets one line of each kind through every `every` seconds, with the number of those held back since."""

    def __init__(self, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}

    def __call__(self, say: Callable[..., Any], event: str, **values: Any) -> None:
        now = self._clock()
        last, held = self._said.get(event, (-self._every, 0))
        if now - last < self._every:
            self._said[event] = (last, held + 1)
            return
        self._said[event] = (now, 0)
        say(event, **values, **({"more_since_last": held} if held else {}))
