"""SurveyMonkey's responses and the events of its webhooks. Pure.

Facts: SurveyMonkey/public_api_docs, includes/_responses.md, _webhooks.md and _surveys.md. An answer names its choice, row and
column by id; `simple=true` adds `simple_text` and the question's `heading` [UNVERIFIED, third parties]; what is missing is joined
from the survey's details.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from syncd.connectors.answers import listed
from syncd.connectors.survey.responses import Answer, SurveyResponse
from syncd.connectors.text import html_to_text, one_line
from syncd.connectors.times import read_time
from syncd.errors import Malformed

FAMILY = "surveymonkey"
COMPLETED = "completed"
PREVIEWS = frozenset({"preview", "survey_preview"})
ID = re.compile(r"\d{1,25}")
_CONTACT = ("email", "first_name", "last_name")
_ROW_KINDS = frozenset({"email", "phone", "name", "company"})
"""Types of the rows of a demographic question that identify its author (_questions.md, Demographic)."""

Row = Mapping[str, Any]


class SurveyDetails:
    """A survey's title and the texts of its questions, of `GET /surveys/{id}/details`."""

    def __init__(self, details: Any) -> None:
        details = _object(details)
        self.title = _plain(details.get("title"))
        self.headings: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        for page in _objects(details.get("pages")):
            for question in _objects(page.get("questions")):
                self._read(question)

    def _read(self, question: Row) -> None:
        heading = next((str(one.get("heading") or "") for one in _objects(question.get("headings"))), "")
        self.headings[str(question.get("id"))] = heading
        options = _object(question.get("answers"))
        other = options.get("other")
        for group in ("choices", "rows", "cols"):
            for option in _objects(options.get(group)):
                self.labels[str(option.get("id"))] = str(option.get("text") or "")
                self.kinds[str(option.get("id"))] = str(option.get("type") or "")
        for column in _objects(options.get("cols")):
            for option in _objects(column.get("choices")):
                self.labels[str(option.get("id"))] = str(option.get("text") or "")
        if isinstance(other, dict):
            self.labels[str(other.get("id"))] = str(other.get("text") or "")

    def knows(self, row: Row) -> bool:
        """Whether every question of a response is one of these."""
        return all(str(question.get("id")) in self.headings for question in _questions(row))


def read_response(survey: str, row: Row, details: SurveyDetails, contact: Row, where: str) -> SurveyResponse | str:
    """A response as `bulk` or `details` shows it, or why it is not one. `contact`: the recipient it was sent to, where that was
    looked up. Raises Malformed."""
    id_ = str(row.get("id") or "")
    if not ID.fullmatch(id_):
        raise Malformed(f"{where}, id: {id_[:40]!r} is not an id")
    status = str(row.get("response_status") or COMPLETED)
    if status != COMPLETED:
        return f"response {status[:40]}"
    if str(row.get("collection_mode")) in PREVIEWS:
        return "preview"
    if not isinstance(row.get("pages"), list):
        raise Malformed(f"{where}, pages: {type(row.get('pages')).__name__} instead of a list")
    hidden = dict(_object(row.get("custom_variables")))
    hidden |= {"custom_value": row["custom_value"]} if row.get("custom_value") else {}
    more = {name: row.get(name) for name in ("total_time", "collector_id", "collection_mode", "edit_url")}
    return SurveyResponse(
        family=FAMILY,
        account=survey,
        id=id_,
        survey_id=survey,
        survey=details.title,
        at=modified_at(row, where),
        answers=[answer for question in _questions(row) for answer in _answers(question, details)],
        hidden=hidden,
        known=_known(_object(_object(row.get("metadata")).get("contact"))) | _known(contact),
        url=str(row.get("analyze_url") or ""),
        data={name: value for name, value in more.items() if value is not None},
    )


def modified_at(row: Row, where: str) -> datetime:
    """When it was completed, or changed since. Raises Malformed."""
    try:
        at = read_time(row.get("date_modified"), UTC)
    except ValueError as error:
        raise Malformed(f"{where}, date_modified: {error}") from None
    if at is None:
        raise Malformed(f"{where}, date_modified: missing")
    return at


def recipient_of(row: Row) -> tuple[str, str] | None:
    """(collector, recipient) of a response by invitation that does not show its contact."""
    collector, recipient = str(row.get("collector_id") or ""), str(row.get("recipient_id") or "")
    known = _known(_object(_object(row.get("metadata")).get("contact")))
    if known.get("email") or not (ID.fullmatch(collector) and ID.fullmatch(recipient)) or not recipient.strip("0"):
        return None
    return collector, recipient


def _answers(question: Row, details: SurveyDetails) -> Iterator[Answer]:
    """The answer to a question; of one that asks for contact data, an answer for each row that identifies its author."""
    id_ = str(question.get("id") or "")
    heading = _plain(question.get("heading") or details.headings.get(id_))
    given = _objects(question.get("answers"))
    rest: list[Row] = []
    for one in given:
        row = str(one.get("row_id") or "")
        kind = details.kinds.get(row, "")
        if kind in _ROW_KINDS and one.get("text"):
            yield Answer(_plain(details.labels.get(row)) or heading, str(one["text"]), kind, row, id_)
        else:
            rest.append(one)
    texts = [text for one in rest if (text := _text(one, details))]
    if texts:
        yield Answer(heading, "; ".join(texts), "", "", id_, rest)


def _text(answer: Row, details: SurveyDetails) -> str:
    simple = answer.get("simple_text")
    if isinstance(simple, str) and simple.strip():
        return simple.strip()
    named = [details.labels.get(str(answer.get(name)), "") for name in ("row_id", "col_id", "choice_id")]
    said = [str(answer["text"])] if answer.get("text") not in (None, "") else []
    if answer.get("other_id") and not said:
        said = [details.labels.get(str(answer["other_id"]), "")]
    parts = [_plain(one) for one in named if one] + said
    return ": ".join(parts) or str(answer.get("download_url") or "")


def _plain(text: Any) -> str:
    """One line of text; headings and labels may be HTML."""
    text = str(text or "")
    return one_line(html_to_text(text) if "<" in text or "&" in text else text)


def _known(contact: Row) -> dict[str, str]:
    """Values stand alone, or as {"type", "value"}."""
    found = {name: contact.get(name) for name in _CONTACT}
    plain = {name: value.get("value") if isinstance(value, dict) else value for name, value in found.items()}
    return {name: value for name, value in plain.items() if isinstance(value, str) and value.strip()}


def _questions(row: Row) -> Iterator[Row]:
    return (question for page in _objects(row.get("pages")) for question in _objects(page.get("questions")))


def _object(value: Any) -> Row:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Row]:
    return [one for one in listed(value) if isinstance(one, dict)]
