"""`prepare`: the fields a mapping needs and the CRM lacks, made where its API can, and what is left afterwards.

The command calls `prepare`. Asked twice it makes nothing twice: what is there is no need any more.
"""

from __future__ import annotations

from collections.abc import Iterator

from syncd.capabilities import Describes, Preparable, PrepareResult
from syncd.errors import UsageError
from syncd.mapping.against import needs
from syncd.preflight.lines import CheckLine
from syncd.preflight.parts import book, compared, described
from syncd.service.assembly import BuiltDestination
from syncd.store import Store


def steps(outlet: BuiltDestination, store: Store | None, *, dry: bool) -> Iterator[PrepareResult]:
    """One a field that is missing. Raises UsageError for a destination that cannot be prepared, a Failure when the CRM
    cannot be asked."""
    crm, name = outlet.destination, outlet.settings.name
    if not isinstance(crm, Describes) or not isinstance(crm, Preparable):
        raise UsageError(
            f"{name}: a {outlet.settings.type} destination needs nothing made; its page (docs/connectors) says what to set up"
        )
    try:
        missing = needs(outlet.mapping, described(outlet, crm))
        if missing:
            yield from crm.prepare(missing, dry=dry)
    finally:
        cost = crm.spend()
        book(name, store, cost.units, cost.calls)


def left(outlet: BuiltDestination, store: Store | None) -> list[CheckLine]:
    """The mapping compared with the CRM as it is now."""
    crm = outlet.destination
    assert isinstance(crm, Describes)
    lines = list(compared(outlet, crm))
    cost = crm.spend()
    book(outlet.settings.name, store, cost.units, cost.calls)
    return lines
