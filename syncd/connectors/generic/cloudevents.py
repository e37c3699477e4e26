"""CloudEvents over HTTP (spec.md, http-protocol-binding.md): structured, batched and binary, as drafts. Pure."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from syncd.connector import Request
from syncd.connectors.forms import charset_of, codec_of, read_text
from syncd.connectors.generic.bodies import read_json
from syncd.connectors.generic.making import EventDraft
from syncd.connectors.generic.paths import as_text
from syncd.errors import Malformed
from syncd.http.json_text import LONGEST_ORIGINAL, Parsed, originals
from syncd.signals import frame

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
VERSIONS = ("1.0", "0.3")
_TOLD = ("text", "url")
_BESIDES = ("data", "data_base64", "datacontentencoding")


def events_of(request: Request) -> list[Parsed] | None:
    """The events of a structured or batched request; None: it is binary, one event in headers and body. Raises Malformed."""
    kind = request.content_type
    if kind in (MANY, ONE) or (kind.endswith("json") and "ce-specversion" not in request.headers):
        body = read_json(request.body, content_type=request.headers.get("content-type", ""))
        if kind == MANY and not isinstance(body.value, list):
            raise Malformed("a batch of CloudEvents that is not a JSON array")
        if isinstance(body.value, list) and kind != ONE:
            return [Parsed(*pair) for pair in zip(body.value, body.original, strict=True)]
        return [body]
    if "ce-specversion" in request.headers:
        return None
    if kind.startswith("application/cloudevents"):
        raise Malformed(f"CloudEvents as {kind} are not understood; there are {ONE}, {MANY} and binary mode")
    raise Malformed(f"no CloudEvent: content type {kind or 'missing'!r} and no ce-specversion header")


def events_alone(request: Request, events: Sequence[Parsed]) -> list[Request]:
    """The request once for each of these events."""
    headers = {**request.headers, "content-type": ONE}
    return [replace(request, headers=headers, body=json.dumps(event.value).encode()) for event in events]


def read_structured(event: Parsed, where: str, region: str | None = None) -> EventDraft:
    """An event in one JSON object. Raises Malformed."""
    value = event.value
    if not isinstance(value, dict):
        raise Malformed(f"{where} is not a JSON object but {type(value).__name__}")
    attributes = {name: said for name, said in value.items() if name not in _BESIDES}
    data, encoded = value.get("data"), value.get("data_base64")
    if attributes.get("specversion") == "0.3" and str(value.get("datacontentencoding")).lower() == "base64":
        data, encoded = None, data  # 0.3 has no data_base64
    replaced = originals(event)
    if data is None and encoded is not None:
        data, inner = _decoded(encoded, str(attributes.get("datacontenttype") or ""), where, region)
        replaced |= inner
    return _draft(attributes, data, where, replaced)


def read_binary(request: Request, region: str | None = None) -> EventDraft:
    """An event whose attributes are headers and whose data is the body. Raises Malformed."""
    attributes: dict[str, Any] = {
        name[3:]: header_value(value) for name, value in request.headers.items() if name.startswith("ce-")
    }
    kind = request.headers.get("content-type", "")
    if kind:
        attributes["datacontenttype"] = kind
    data, replaced = _value(request.body, kind, "the event", region)
    return _draft(attributes, data, "the event", replaced)


def header_value(value: str) -> str:
    """An attribute from its header (HTTP binding, 3.1.3.2): a quoted string unquoted, then percent-encoding decoded once. What is
    not valid stays as it is."""
    text = value.strip()
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    with contextlib.suppress(UnicodeError):  # headers reach us as Latin-1; some senders put UTF-8 into them as it is
        text = text.encode("latin-1").decode()
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _decoded(encoded: Any, kind: str, where: str, region: str | None) -> tuple[Any, dict[str, str]]:
    if not isinstance(encoded, str):
        raise Malformed(f"{where}, data_base64: no text")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Malformed(f"{where}, data_base64: no base64") from None
    return _value(raw, kind, where, region)


def _value(raw: bytes, content_type: str, where: str, region: str | None) -> tuple[Any, dict[str, str]]:
    """Data by its content type, and what of it had to be replaced. Without a type JSON is tried first, as senders mean it."""
    kind = content_type.partition(";")[0].strip().lower()
    if not raw:
        return None, {}
    if not kind or kind in ("application/json", "text/json") or kind.endswith("+json"):
        try:
            parsed = read_json(raw, f"{where}, data:", content_type)
        except Malformed:
            if kind:
                raise
        else:
            return parsed.value, originals(parsed)
    if kind.startswith("text/"):
        text, whole = read_text(raw, codec_of(charset_of(content_type)), region=region)
        return text, {} if whole else {"data": repr(raw[:LONGEST_ORIGINAL])[2:-1]}
    try:
        return raw.decode("utf-8-sig"), {}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}, {}


def _draft(attributes: Mapping[str, Any], data: Any, where: str, replaced: Mapping[str, str]) -> EventDraft:
    if attributes.get("specversion") not in VERSIONS:
        raise Malformed(
            f"{where}, specversion: {attributes.get('specversion')!r:.60} is not one of {', '.join(VERSIONS)}"
        )
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
    if replaced:
        rest = {"replaced": dict(replaced), **rest}
    text = data if isinstance(data, str) else taken.pop("text", "")
    kept = {name: value for name, value in attributes.items() if name != "specversion"}
    return EventDraft(
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
