"""Typeform's responses, of a webhook and of the Responses API: their answers by type, and the titles of their questions. Pure.

Facts: typeform.com/developers, "Example payload" and "Retrieve responses". An item of the API has no definition: the titles come
from the form. `answers: null` is a form that was sent empty; the year 1 as `submitted_at` one that was not sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syncd.connectors.survey.responses import Answer, SurveyResponse
from syncd.connectors.text import one_line
from syncd.connectors.times import read_time
from syncd.errors import Malformed

FAMILY = "typeform"
NOT_SENT = "not sent by its author"
RESULTS = "https://admin.typeform.com/form/{form}/results#responses"
_TEXTS = ("text", "email", "url", "file_url", "date", "phone_number")
_KINDS = {"phone_number": "phone"}
_RECALL = re.compile(r"\{\{\s*(field|hidden|var)\s*:\s*([\w-]+)\s*\}\}")
_MARKS = re.compile(r"(?<!\w)([*_])(\S(?:[^*_\n]*\S)?)\1(?!\w)")

Row = Mapping[str, Any]


def read_response(form: str, row: Any, definition: Any, where: str) -> SurveyResponse | str:
    """The response in `form_response` of a webhook, or in an item of the API; or why it is not one. `definition`: the form's
    title and fields. Raises Malformed."""
    if not isinstance(row, dict):
        raise Malformed(f"{where}: {type(row).__name__} instead of an object")
    token = row.get("token") or row.get("response_id")
    if not isinstance(token, str) or not token.strip():
        raise Malformed(f"{where}, token: missing")
    at = submitted_at(row, where)
    if at is None:
        return NOT_SENT
    definition, hidden = _object(definition), _object(row.get("hidden"))
    score, ending = _object(row.get("calculated")).get("score"), _object(row.get("ending")).get("ref")
    more = {"score": score, "ending": ending, "variables": _variables(row.get("variables"))}
    return SurveyResponse(
        family=FAMILY,
        account=form,
        id=token,
        survey_id=form,
        survey=one_line(str(definition.get("title") or "")),
        at=at,
        answers=_answers(row.get("answers"), definition, hidden, where),
        hidden=hidden,
        url=RESULTS.format(form=form),
        data={name: value for name, value in more.items() if value not in (None, {})},
    )


def submitted_at(row: Row, where: str) -> datetime | None:
    """When it was sent, None if it was not. Raises Malformed."""
    try:
        at = read_time(row.get("submitted_at"), UTC)
    except ValueError as error:
        raise Malformed(f"{where}, submitted_at: {error}") from None
    return at if at is not None and at.year > 1 else None


def fields_of(definition: Any) -> list[Row]:
    """The fields of a form, with those in groups."""
    found: list[Row] = []
    for field in definition.get("fields") or () if isinstance(definition, dict) else ():
        if isinstance(field, dict):
            found.append(field)
            found += fields_of(field.get("properties"))
    return found


def _answers(rows: Any, definition: Row, hidden: Row, where: str) -> list[Answer]:
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise Malformed(f"{where}, answers: {type(rows).__name__} instead of a list")
    titles = {str(one.get(key)): str(one.get("title") or "") for one in fields_of(definition) for key in ("ref", "id")}
    made: list[Answer] = []
    said: dict[str, str] = {str(name): str(value) for name, value in hidden.items()}
    for row in rows:
        if not isinstance(row, dict):
            raise Malformed(f"{where}, answers: {type(row).__name__} instead of an object")
        field = _object(row.get("field"))
        id_, ref = str(field.get("id") or ""), str(field.get("ref") or "")
        kind = str(row.get("type") or "")
        text, value = _value(kind, row)
        said[ref] = said[id_] = text
        made.append(
            Answer(_title(titles.get(id_) or titles.get(ref, ""), said), text, _KINDS.get(kind, kind), ref, id_, value)
        )
    return made


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _title(title: str, said: Mapping[str, str]) -> str:
    """Without marks, and with the answers that it repeats."""
    title = _RECALL.sub(lambda found: said.get(found[2], "…"), title)
    return one_line(_MARKS.sub(r"\2", title))


def _value(kind: str, row: Row) -> tuple[str, Any]:
    """The answer as text, and as it was sent where that says more. A type that is not known is shown as JSON."""
    value = row.get(kind)
    if kind in _TEXTS and isinstance(value, str):
        return value, None
    if kind == "boolean" and isinstance(value, bool):
        return ("Yes" if value else "No"), value
    if kind == "number" and isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value), value
    if kind == "choice" and isinstance(value, dict):
        return str(value.get("label") or value.get("other") or ""), value
    if kind == "choices" and isinstance(value, dict):
        labels = value.get("labels")
        shown = [*(labels if isinstance(labels, list) else []), *([value["other"]] if value.get("other") else [])]
        return ", ".join(str(one) for one in shown), value
    if kind == "payment" and isinstance(value, dict):  # the card's last digits are nobody's business
        return str(value.get("amount") or ""), {name: value[name] for name in ("amount", "success") if name in value}
    if value is None:
        value = {name: given for name, given in row.items() if name not in ("field", "type")}
    return json.dumps(value, ensure_ascii=False), value


def _variables(rows: Any) -> dict[str, Any]:
    """key -> value."""
    rows = rows if isinstance(rows, list) else []
    return {str(one["key"]): one.get(str(one.get("type"))) for one in rows if isinstance(one, dict) and one.get("key")}
