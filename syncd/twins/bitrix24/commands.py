"""One method of the Bitrix24 twin, called alone or as a command of a batch: its checks, its limits, its `time`.

Used by batch.py and twin.py.
"""

from __future__ import annotations

from typing import Any

from syncd.twins.bitrix24 import phpdata
from syncd.twins.bitrix24.access import PortalCaller
from syncd.twins.bitrix24.methods import BATCH, METHODS
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import Bitrix24Error, RestAnswer, RestCall
from syncd.twins.wire import TwinCall

RESET = 600  # seconds from a call to `operating_reset_at` where no basket counts
RunTime = tuple[float, int | None]
"""Seconds that the method has run in ten minutes, and when they begin to run out."""


class CommandPortal(Bitrix24Portal):
    """A portal whose methods can be called."""

    def command(
        self, call: TwinCall, caller: PortalCaller, params: dict[str, Any], index: int
    ) -> tuple[RestAnswer, RunTime]:
        """Carries out one method; `call` names it and has the row faults. Raises Bitrix24Error, and leaves nothing half done."""
        if self.between_commands is not None:
            self.between_commands(call.operation)
        self.counts["commands"] += 1
        self.counts[f"cmd:{call.operation}"] += 1
        method = METHODS.get(call.operation)
        if method is None:
            raise Bitrix24Error("ERROR_METHOD_NOT_FOUND", "Method not found!", 404)
        if not caller.may(method.scopes):
            text = "The request requires higher privileges than provided by the webhook token"
            raise Bitrix24Error("insufficient_scope", text, 403)
        if call.operation.startswith("crm.") and (self.user(caller.user) or {}).get("USER_TYPE") != "employee":
            raise Bitrix24Error("allowed_only_intranet_user", "Action allowed only for intranet users", 403)
        if self.operating.blocked(caller.name, call.operation):
            raise Bitrix24Error("OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", 429)
        savepoint = self.store.savepoint()
        try:
            self._spare(call, params, index)
            answer = method.act(self, RestCall(caller.user, caller.scopes, params, caller.app))
        except Bitrix24Error:
            self.store.rollback(savepoint)
            raise
        cost = self.operating.book(caller.name, call.operation, self.seconds.get(call.operation, method.seconds))
        return answer, cost

    def _spare(self, call: TwinCall, params: dict[str, Any], index: int) -> None:
        """A row fault spoils a command by its number in the batch, or by the values of its `fields`; `email` and `phone` are
        those of `fm`."""
        fields = dict(phpdata.entries(params.get("fields")))
        for entry in phpdata.values(fields.get("fm")):
            if isinstance(entry, dict):
                fields.setdefault(str(entry.get("typeId", "")).lower(), entry.get("value"))
        for fault in call.row_faults:
            if fault.on in ("*", BATCH, call.operation) and fault.hits_row(index, fields):
                raise Bitrix24Error(
                    fault.params.get("code", "ERROR_CORE"), fault.params.get("message", "Internal error."), 400
                )

    def timed(self, started: float, cost: RunTime) -> dict[str, Any]:
        """The `time` of an answer."""
        now = self.clock()
        return {
            "start": started,
            "finish": now,
            "duration": now - started,
            "processing": now - started,
            "date_start": self.stamp(started),
            "date_finish": self.stamp(now),
            "operating_reset_at": cost[1] if cost[1] is not None else int(now) + RESET,
            "operating": cost[0],
        }
