"""Fields with several values: what they hold after some were added and removed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from syncd.mapping.model import Draft

Items = Callable[[Any], list[Any]]
"""The values of a field as the CRM returned it."""


def edited(there: list[Any], add: list[Any], remove: list[Any]) -> list[Any]:
    """The list without `remove`, and with `add` at its end: in its order, each once, compared without case."""
    gone = {_same(one) for one in remove}
    kept = [one for one in there if _same(one) not in gone]
    known = {_same(one) for one in kept}
    for one in add:
        if _same(one) not in known:
            known.add(_same(one))
            kept.append(one)
    return kept


def with_lists(draft: Draft, there: Mapping[str, object], items: Items) -> Draft:
    """The draft with what its lists become, beside what it fills; a list that does not change is left out, and one that becomes
    empty is None."""
    fill = dict(draft.fill)
    for name in dict.fromkeys((*draft.remove, *draft.add)):
        before = items(there.get(name))
        after = edited(before, items(draft.add.get(name)), items(draft.remove.get(name)))
        if after != before:
            fill[name] = after or None
    return msgspec.structs.replace(draft, fill=fill, add={}, remove={})


def _same(value: Any) -> str:
    return str(value).strip().casefold()
