"""Deltas of a stand-in: what changed in a list since a token, page by page. The twins of Graph and Google ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from syncd.twins.fake_vendor import FakeVendor
from syncd.twins.state import Record

ROUNDS = "rounds"
"""The object that keeps what the tokens stand for which were given."""


class DeltaPage(NamedTuple):
    """The records of a page that are new or changed, the ids of those that are gone, the token of what follows, and whether that
    is a further page of this round."""

    changed: list[Record]
    gone: list[str]
    token: str
    more: bool


def delta_page(vendor: FakeVendor, rows: Sequence[Record], token: str, size: int, key: str = "id") -> DeltaPage | None:
    """What changed in `rows` after `token`, "" for a first round; None for a token that is not known any more."""
    of, _, number = token.partition("!") if token else (str(vendor.expired_pages), "", "0")
    if of != str(vendor.expired_pages):
        return None
    kept: dict[str, Any] = vendor.store.get(ROUNDS, number) or {}
    seen, start, waiting = dict(kept.get("seen", {})), kept.get("start", 0), kept.get("waiting")
    here = {str(row[key]): row for row in rows}
    if waiting is None:
        waiting = [id_ for id_, row in here.items() if seen.get(id_) != dict(row)]
        waiting += [id_ for id_ in seen if id_ not in here]
    changed, gone = [], []
    for id_ in waiting[start : start + size]:
        if id_ in here:
            changed.append(here[id_])
            seen[id_] = dict(here[id_])
        else:
            gone.append(id_)
            seen.pop(id_, None)
    more = start + size < len(waiting)
    kept = {"seen": seen, "start": start + size if more else 0, "waiting": waiting if more else None}
    number = str(len(vendor.store.table(ROUNDS).records) + 1)
    vendor.store.put(ROUNDS, number, kept)
    return DeltaPage(changed, gone, f"{of}!{number}", more)
