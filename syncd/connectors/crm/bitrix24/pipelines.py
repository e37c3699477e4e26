"""Pipelines of deals and their stages, by id or by the name that users see.

Facts: Bitrix24's pages of crm.category.list and crm.status.list: the stages of the first pipeline (id 0) are the directory
DEAL_STAGE, those of another DEAL_STAGE_ and its id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from syncd.capabilities import Pipeline
from syncd.connectors.answers import mappings
from syncd.connectors.crm.bitrix24.client import Bitrix24Client
from syncd.connectors.crm.bitrix24.commands import command
from syncd.errors import Misconfigured, Scope
from syncd.http.error_table import dig

STAGES = "DEAL_STAGE"
READ_AGAIN = timedelta(minutes=1)
"""A name that is not known is looked for again after this: it may have been made since."""
LISTED = 15
"""Names that a message lists."""
Named = tuple[str, str]
"""(id, name)."""


@dataclass(frozen=True)
class _Funnel:
    """A pipeline as the portal has it."""

    id: str
    name: str
    stages: tuple[Named, ...]


class Pipelines:
    """Those of one portal, read when they are first asked for."""

    def __init__(self, client: Bitrix24Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._read_at: datetime | None = None
        self._funnels: list[_Funnel] = []

    def known(self) -> list[Pipeline]:
        """All of them as they are now, the default first: two requests."""
        self._read()
        return [
            Pipeline(names=(one.name, one.id), stages=tuple(word for id_, name in one.stages for word in (name, id_)))
            for one in self._funnels
        ]

    def fields(self, pipeline: str, stage: str) -> dict[str, Any]:
        """The ids of a deal's pipeline and stage; "" for the default ones. Raises Misconfigured for what is not there, or the
        Failure of a request."""
        if not (pipeline or stage):
            return {}
        try:
            return self._fields(pipeline, stage)
        except Misconfigured:
            if self._read_at is not None and self._clock() - self._read_at < READ_AGAIN:
                raise
        self._read()
        return self._fields(pipeline, stage)

    def _fields(self, pipeline: str, stage: str) -> dict[str, Any]:
        named = [(one.id, one.name) for one in self._funnels]
        chosen = _chosen(named, pipeline, "pipeline") if pipeline else next(iter(named), ("0", ""))[0]
        stages = next((one.stages for one in self._funnels if one.id == chosen), ())
        found: dict[str, Any] = {"categoryId": chosen} if pipeline else {}
        return found | ({"stageId": _chosen(stages, stage, "stage")} if stage else {})

    def _read(self) -> None:
        rows: list[Any] = []
        start: int | None = 0
        while start is not None:
            (reply,) = self._client.read([command("crm.category.list", {"entityTypeId": 2, "start": start})])
            rows += mappings(reply.value, "categories")
            start = reply.next if reply.next is not None and reply.next > start else None
        rows.sort(key=lambda row: row.get("isDefault") != "Y")
        ids = [str(dig(row, "id")) for row in rows]
        texts = [
            command("crm.status.list", {"filter": {"ENTITY_ID": _directory(id_)}, "order": {"SORT": "ASC"}})
            for id_ in ids
        ]
        self._funnels = [
            _Funnel(id_, str(row.get("name") or id_), _stages(reply.value))
            for id_, row, reply in zip(ids, rows, self._client.read(texts), strict=True)
        ]
        self._read_at = self._clock()


def _directory(id_: str) -> str:
    return STAGES if id_ == "0" else f"{STAGES}_{id_}"


def _stages(value: Any) -> tuple[Named, ...]:
    return tuple((str(row["STATUS_ID"]), str(row.get("NAME") or "")) for row in mappings(value) if row.get("STATUS_ID"))


def _chosen(named: Sequence[Named], wanted: str, what: str) -> str:
    """The id of whatever has this id or name."""
    for at in (0, 1):
        for one in named:
            if one[at].casefold() == wanted.strip().casefold():
                return one[0]
    there = ", ".join(name or id_ for id_, name in named[:LISTED]) or "none"
    text = f"the deals of this portal have no {what} {wanted!r}; there are: {there}"
    raise Misconfigured(text, code=what, scope=Scope.RULE, field=what)
