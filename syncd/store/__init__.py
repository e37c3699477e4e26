"""The durable store: one set of tables on SQLite or PostgreSQL. `Store` is loaded when first asked for, so that the plain
values in `entries` cost no database library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncd.store.store import Store as Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    if name == "Store":
        from syncd.store.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
