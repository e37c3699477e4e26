"""Calls of the Bitrix24 twin's methods, as any HTTP client makes them, with what its tests expect of every answer."""

from __future__ import annotations

from typing import Any

LEAD, DEAL, CONTACT, COMPANY = 1, 2, 3, 4
PHONE = {"typeId": "PHONE", "valueType": "WORK", "value": "+1 415 867-53-09"}
MAIL = {"typeId": "EMAIL", "valueType": "WORK", "value": "Jane@Example.com"}


def added(client: Any, type_: int, **fields: Any) -> dict[str, Any]:
    answer = client.post("crm.item.add", {"entityTypeId": type_, "fields": fields})
    assert answer.status_code == 200, answer.text
    item: dict[str, Any] = answer.json()["result"]["item"]
    return item


def updated(client: Any, type_: int, id_: int, **fields: Any) -> dict[str, Any]:
    answer = client.post("crm.item.update", {"entityTypeId": type_, "id": id_, "fields": fields})
    assert answer.status_code == 200, answer.text
    item: dict[str, Any] = answer.json()["result"]["item"]
    return item


def listed(client: Any, type_: int, **params: Any) -> list[dict[str, Any]]:
    answer = client.post("crm.item.list", {"entityTypeId": type_, **params})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["result"]["items"]
    return rows


def batch(client: Any, cmd: Any, **more: Any) -> dict[str, Any]:
    answer = client.post("batch", {"cmd": cmd, **more})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    assert result.keys() == {"result", "result_error", "result_total", "result_next", "result_time"}
    return result


def error(answer: Any) -> tuple[int, str]:
    body = answer.json()
    assert body.keys() == {"error", "error_description"}
    return answer.status_code, body["error"]
