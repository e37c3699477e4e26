"""The methods of the Bitrix24 twin by name: one table, put together from those of each family.

Used by twin.py and batch.py. Names are compared without case.
"""

from __future__ import annotations

from syncd.twins.bitrix24 import (
    activities,
    chats,
    items,
    legacy,
    multifields,
    people,
    reads,
    settings,
    timeline,
    userfields,
)
from syncd.twins.bitrix24.rest import RestMethod

METHODS: dict[str, RestMethod] = {
    **items.METHODS,
    **reads.METHODS,
    **multifields.METHODS,
    **people.METHODS,
    **settings.METHODS,
    **timeline.METHODS,
    **activities.METHODS,
    **chats.METHODS,
    **legacy.METHODS,
    **userfields.METHODS,
}
BATCH = "batch"
_BY_FOLDED = {name.lower(): name for name in METHODS}


def known(name: str) -> str | None:
    """A method's name as it is documented; None for one that does not exist."""
    return _BY_FOLDED.get(name.lower())
