"""What new companies take over of the one that `accounts.create.clone_of` names: read once by each lane, when first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncd.capabilities import Describes, KnowsAccountFields
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.plan import EMPTY
from syncd.errors import Failure, Misconfigured, Scope
from syncd.mapping.model import CloneOf


class ClonedFields:
    """The values, once they are read."""

    def __init__(self) -> None:
        self._read: Mapping[str, Any] | None = None

    def of(self, clone: CloneOf, object_: str, client: DestinationClient) -> Mapping[str, Any] | Failure:
        """The fields that a new record can have and the mapping does not fill, with what stands in that record. Misconfigured,
        with scope RULE, when there is no such record. Raises Paused."""
        if self._read is None:
            found = self._asked(clone, object_, client)
            if isinstance(found, Failure):
                return found
            self._read = found
        return self._read

    def _asked(self, clone: CloneOf, object_: str, client: DestinationClient) -> Mapping[str, Any] | Failure:
        fields = wanted(clone, object_, client.destination)
        if isinstance(client.destination, Describes):
            crm = client.destination
            described = client.question("describe", 1, lambda: crm.describe([object_]))
            if isinstance(described, Failure):
                return described
            takes = {one.name.casefold() for one in described.get(object_, ()) if one.creatable and not one.unique}
            fields = [name for name in fields if name.casefold() in takes]
        if not fields:
            return {}
        there = client.values(object_, [clone.id], fields)
        if isinstance(there, Failure):
            return there
        if clone.id not in there:
            text = f"accounts.create.clone_of: there is no {object_} {clone.id}"
            return Misconfigured(text, code="clone_of", scope=Scope.RULE, field="clone_of")
        return {name: value for name, value in there[clone.id].items() if value not in EMPTY}


def wanted(clone: CloneOf, object_: str, crm: object) -> Sequence[str]:
    """The fields that are copied: those that the mapping lists, else those that the destination names."""
    named = crm.copied_fields(object_) if isinstance(crm, KnowsAccountFields) else ()
    return [name for name in (clone.fields or named) if name.lower() not in clone.never]
