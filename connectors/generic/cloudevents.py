"""CloudEvents over HTTP (spec.md, http-protocol-binding.md): structured, batched and binary, as drafts. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from connectors.generic.bodies import read_json
from connectors.generic.making import Draft
from connectors.generic.paths import as_text
from syncd.connector import Request
from syncd.errors import Malformed
from syncd.signals import frame

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
VERSIONS = ("1.0", "0.3")
_TOLD = ("text", "url")


def events_of(request: Request) -> list[Request]:
    """A batch as requests of one event each, so that a malformed one harms only itself; anything else as it is."""
    kind = request.content_type
    if kind == ONE or not kind.endswith("json") or (kind != MANY and "ce-specversion" in request.headers):
        return [request]
    try:
        events = read_json(request.body)
    except Malformed:
        return [request]
    if not isinstance(events, list) or len(events) < 2:
        return [request]
    headers = {**request.headers, "content-type": ONE}
    return [replace(request, headers=headers, body=json.dumps(event).encode()) for event in events]


def read_cloudevents(request: Request) -> list[Draft]:
    """The events of a request: binary by its ce-* headers, else structured or batched. Raises Malformed."""
    kind = request.content_type
    if kind in (MANY, ONE) or (kind.endswith("json") and "ce-specversion" not in request.headers):
        body = read_json(request.body)
        events = body if isinstance(body, list) and kind != ONE else [body]
        if kind == MANY and not isinstance(body, list):
            raise Malformed("a batch of CloudEvents that is no JSON array")
        return [
            _structured(event, f"event {index}" if len(events) > 1 else "the event")
            for index, event in enumerate(events)
        ]
    if "ce-specversion" in request.headers:
        return [_binary(request)]
    if kind.startswith("application/cloudevents"):
        raise Malformed(f"CloudEvents as {kind} are not understood; there are {ONE}, {MANY} and binary mode")
    raise Malformed(f"no CloudEvent: content type {kind or 'missing'!r} and no ce-specversion header")


def _structured(event: Any, where: str) -> Draft:
    if not isinstance(event, dict):
        raise Malformed(f"{where} is no JSON object but {type(event).__name__}")
    attributes = {name: value for name, value in event.items() if name not in ("data", "data_base64")}
    data = event.get("data")
    if data is None and "data_base64" in event:
        data = _decoded(event["data_base64"], str(attributes.get("datacontenttype", "")), where)
    return _draft(attributes, data, where)


def _decoded(encoded: Any, kind: str, where: str) -> Any:
    if not isinstance(encoded, str):
        raise Malformed(f"{where}, data_base64: no text")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Malformed(f"{where}, data_base64: no base64") from None
    return _value(raw, kind, where, encoded)


def _value(raw: bytes, kind: str, where: str, encoded: str | None = None) -> Any:
    kind = kind.partition(";")[0].strip().lower()
    if not raw:
        return None
    if kind in ("", "application/json", "text/json") or kind.endswith("+json"):
        return read_json(raw, f"{where}, data:")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": encoded if encoded is not None else base64.b64encode(raw).decode()}


def _binary(request: Request) -> Draft:
    attributes: dict[str, Any] = {
        name[3:]: unquote(value) for name, value in request.headers.items() if name.startswith("ce-")
    }
    kind = request.headers.get("content-type", "")
    if kind:
        attributes["datacontenttype"] = kind
    return _draft(attributes, _value(request.body, kind, "the event"), "the event")


def _draft(attributes: Mapping[str, Any], data: Any, where: str) -> Draft:
    if attributes.get("specversion") not in VERSIONS:
        raise Malformed(f"{where}, specversion: {attributes.get('specversion')!r} is none of {', '.join(VERSIONS)}")
    missing = [
        name for name in ("id", "source", "type") if not isinstance(attributes.get(name), str) or not attributes[name]
    ]
    if missing:
        raise Malformed(f"{where}, {', '.join(missing)}: required and to be text")
    told = dict(data) if isinstance(data, dict) else {}
    person = told.get("person")
    taken = {name: told.pop(name) for name in _TOLD if isinstance(told.get(name), str)}
    if isinstance(person, dict):
        del told["person"]
    rest = told if isinstance(data, dict) else {} if data is None else {"value": data}
    text = data if isinstance(data, str) else taken.pop("text", "")
    kept = {name: value for name, value in attributes.items() if name != "specversion"}
    return Draft(
        type=attributes["type"],
        native=frame(attributes["source"], attributes["id"]),
        where=where,
        occurred_at=attributes.get("time"),
        title=as_text(attributes.get("subject")) or attributes["type"],
        text=text,
        person=person if isinstance(person, dict) else {},
        data={"cloudevent": kept, **rest},
        **taken,
    )
