"""`batch`: up to fifty commands in one call, each of which may use what the ones before it answered.

Used by twin.py. The call is HTTP 200 whatever its commands do; their errors are in `result_error`. Empty maps come out as lists,
and so do maps whose keys are 0, 1, 2 … (phpdata.shown).
"""

from __future__ import annotations

from typing import Any

from syncd.twins.bitrix24 import phpdata
from syncd.twins.bitrix24.access import PortalCaller
from syncd.twins.bitrix24.commands import CommandPortal, RunTime
from syncd.twins.bitrix24.methods import BATCH, known
from syncd.twins.bitrix24.rest import Bitrix24Error, RestAnswer, truth
from syncd.twins.wire import TwinCall, make_call

COMMANDS = 50
"""Those beyond end with an error of their own [DOC]."""


def commands(params: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(key, method, query) of each command; what is no text is left out [UNV]. An unescaped # ends a command, as in any URL."""
    found = []
    for key, text in phpdata.entries(params.get("cmd")):
        if isinstance(text, str):
            path, _, query = text.partition("#")[0].partition("?")
            asked = path.strip("/").removesuffix(".json")
            found.append((key, BATCH if asked.lower() == BATCH else known(asked) or asked, query))
    return found


def run(
    portal: CommandPortal, call: TwinCall, caller: PortalCaller, params: dict[str, Any], started: float
) -> dict[str, Any]:
    """The `result` of the call."""
    results: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {"result_error": {}, "result_total": {}, "result_next": {}, "result_time": {}}
    for index, (key, method, query) in enumerate(commands(params)):
        began = portal.clock()
        try:
            answer, cost = _command(
                portal, call, caller, index, method, phpdata.resolved(phpdata.parse(query), results)
            )
        except Bitrix24Error as error:
            told = (
                error.body() if error.code != "insufficient_scope" else {"error": error.code, "error_description": ""}
            )
            parts["result_error"][key] = told
            if truth(params.get("halt")):
                break
            continue
        results[key] = phpdata.shown(answer.result)
        for name, value in answer.around().items():
            parts[f"result_{name}"][key] = value
        parts["result_time"][key] = portal.timed(began, cost)
    return {"result": results, **parts}


def _command(
    portal: CommandPortal, call: TwinCall, caller: PortalCaller, index: int, method: str, params: dict[str, Any]
) -> tuple[RestAnswer, RunTime]:
    if index >= COMMANDS:
        raise Bitrix24Error("ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded", 400)
    if method == BATCH:
        raise Bitrix24Error("ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage", 405)
    inner = make_call("POST", f"/rest/{method}", sub=True)
    inner.operation, inner.row_faults = method, call.row_faults
    for fault in portal.plan.fire(inner):
        made = portal.spoil(inner, fault)
        told = made.body if isinstance(made.body, dict) else {}
        raise Bitrix24Error(told.get("error", "INTERNAL_SERVER_ERROR"), told.get("error_description", ""), made.status)
    return portal.command(inner, caller, params, index)
