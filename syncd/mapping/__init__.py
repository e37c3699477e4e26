"""The mapping language: load, lint, preview, evaluate. `model` is what dispatch relies on.

The names below are imported on first use: Jinja2 is loaded only by a process that maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncd.mapping.loading import Mapping, load_mapping

__all__ = ["Mapping", "load_mapping"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from syncd.mapping import loading

        return getattr(loading, name)
    raise AttributeError(name)
