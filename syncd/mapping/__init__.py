"""The mapping language: load, lint, preview, evaluate. `model` is what dispatch relies on.

The names below are imported on first use: Jinja2 is loaded only by a process that maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncd.mapping.loading import Mapping, load_mapping
    from syncd.mapping.shipped import find_mapping

__all__ = ["Mapping", "find_mapping", "load_mapping"]


def __getattr__(name: str) -> Any:
    if name in ("Mapping", "load_mapping"):
        from syncd.mapping import loading

        return getattr(loading, name)
    if name == "find_mapping":
        from syncd.mapping.shipped import find_mapping

        return find_mapping
    raise AttributeError(name)
