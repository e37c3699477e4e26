"""SalesSignals of the Zoho CRM twin: the v2 notification call and the list of namespaces.

Used by twin.py. Facts: zoho.md, SalesSignals. It has no idempotency key: a repeated call notifies twice, and is stored twice.
"""

from __future__ import annotations

from typing import Any

from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho.coql import alive
from syncd.twins.zoho.org import ZohoOrg
from syncd.twins.zoho.rows import PEOPLE, ZohoRowError

SUBJECT, MESSAGE = 100, 1_000  # characters [DOC]


def list_(org: ZohoOrg) -> TwinResponse:
    return TwinResponse(
        200, {"signals": [{"namespace": n, "display_label": n, "enabled": True} for n in sorted(org.namespaces)]}
    )


def notify(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    if call.segments[1] != "v2":
        return org.named["wrong_dc"](org, call)  # "the notification call is still v2"
    body = call.json()
    signals = body.get("signals") if isinstance(body, dict) else None
    if not isinstance(signals, list) or not signals:  # [3P live]: the answer to a flat body
        raise ZohoRowError("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "signals"})
    call.rows = len(signals)
    results = []
    for index, signal in enumerate(signals):
        try:
            results.append(_one(org, signal, index))
        except ZohoRowError as error:
            results.append(error.body())
    return TwinResponse(200, {"signals": results})  # the success body is [UNV]


def _one(org: ZohoOrg, signal: Any, index: int) -> dict[str, Any]:
    where = f"$.signals[{index}]"
    for name, length in (("signal_namespace", 255), ("subject", SUBJECT), ("message", MESSAGE)):
        value = signal.get(name) if isinstance(signal, dict) else None
        if not value and name != "message":
            raise ZohoRowError(
                "MANDATORY_NOT_FOUND", "required field not found", {"api_name": name, "json_path": f"{where}.{name}"}
            )
        if len(str(value or "")) > length:
            raise ZohoRowError(
                "INVALID_DATA",
                "invalid data",
                {"maximum_length": length, "api_name": name, "json_path": f"{where}.{name}"},
            )
    if signal["signal_namespace"] not in org.namespaces:
        raise ZohoRowError(
            "INVALID_DATA", "invalid data", {"api_name": "signal_namespace", "json_path": f"{where}.signal_namespace"}
        )
    key = "id" if "id" in signal else "email"
    person = _person(org, signal)
    if person is None:  # "unknown e-mail => needs a record first"
        raise ZohoRowError("INVALID_DATA", "invalid data", {"api_name": key, "json_path": f"{where}.{key}"})
    id_ = org.rows.new_id()
    org.store.put("Signals", id_, {"id": id_, "person": person, **signal})
    return {"code": "SUCCESS", "details": {}, "message": "signal notification added", "status": "success"}


def _person(org: ZohoOrg, signal: dict[str, Any]) -> str | None:
    for module in PEOPLE:
        if "id" in signal:
            if org.rows.live(module, str(signal["id"])) is not None:
                return str(signal["id"])
            continue
        for record in org.store.find(module, "Email", signal.get("email", "")):
            if alive(record):
                return str(record["id"])
    return None
