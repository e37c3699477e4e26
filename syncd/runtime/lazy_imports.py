"""Imports libraries without those of their extras that syncd does not use: they cost a daemon's start a fifth of its time.

`syncd.observability.logs` and the migrations use it. Promise: afterwards everything can be imported as if nothing had been.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hide_optional(*packages: str) -> Iterator[None]:
    """Imports in this block find these optional packages missing, unless they are loaded already. For the main thread,
    before others start."""
    hidden = [package for package in packages if package not in sys.modules]
    for package in hidden:
        sys.modules[package] = None  # type: ignore[assignment]  # what the import system takes for "not there"
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]
