"""A response to a survey or form of any vendor: its answers as readable text and as data, and the person who gave them. Pure.

The sources of this folder make a `SurveyResponse` of what their vendor sends, and `signal_of` the signal of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from pydantic import Field

from syncd.connector import ConnectorSettings, Context
from syncd.connectors.generic.making import reply_to
from syncd.connectors.text import clean, one_line, shorten
from syncd.identity.emails import read_email
from syncd.signals import Person, Route, Signal, derive_id, make_person
from syncd.texts.titles import titled

TYPE = "survey.responded"
LONGEST_TITLE = 200
_TEXT_NAMES: Mapping[str, str] = {
    "email": "email", "emailaddress": "email", "mail": "email",
    "phone": "phone", "phonenumber": "phone", "mobile": "phone", "tel": "phone",
    "name": "name", "fullname": "name",
    "firstname": "first_name", "givenname": "first_name",
    "lastname": "last_name", "surname": "last_name", "familyname": "last_name",
    "company": "company", "organization": "company", "organisation": "company",
}  # fmt: skip
"""Names of hidden fields and variables, without case and signs -> what of a person they hold."""
_PERSON = ("email", "phone", "name", "first_name", "last_name", "company")


class AnswerFields(ConnectorSettings):
    """Which answer, hidden field or variable holds what of the person: the question's ref or id, its exact title, or the name of
    the hidden field. What is not named is found by itself, as far as that is possible."""

    email: str = Field("", description="email address; default: the first answer or hidden field that is one")
    phone: str = Field("", description="phone number; default: the first answer of that kind, or a hidden field")
    name: str = Field("", description="full name; default: a hidden field")
    first_name: str = Field("", description="given name; default: a hidden field")
    last_name: str = Field("", description="family name; default: a hidden field")
    company: str = Field("", description="company; default: a hidden field")


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer. `answer`: as text. `kind`: the vendor's word for what it is; `value`: as the vendor sent it, where that is not
    the text. `ref`, `id`: the question's."""

    question: str
    answer: str
    kind: str = ""
    ref: str = ""
    id: str = ""
    value: Any = None


class SurveyResponse(msgspec.Struct, frozen=True, kw_only=True):
    """`family`: the connector; `account`: part of the ids. `hidden`: hidden fields and variables. `known`: what the vendor itself
    knows of the person, by names of `make_person`. `data`: further data of the signal."""

    family: str
    account: str
    id: str
    survey_id: str
    survey: str
    at: datetime
    answers: Sequence[Answer]
    hidden: Mapping[str, Any] = {}
    known: Mapping[str, str] = {}
    url: str = ""
    data: Mapping[str, Any] = {}


def as_text(answers: Sequence[Answer]) -> str:
    """Each question with its answer below, and an empty line between two."""
    return "\n\n".join("\n".join(part for part in (one.question, one.answer) if part) for one in answers)


def signal_of(
    response: SurveyResponse, fields: AnswerFields, context: Context, received_at: datetime, route: Route
) -> Signal:
    """The signal of a response."""
    survey = shorten(one_line(response.survey), LONGEST_TITLE)
    title = titled("survey.responded", survey=survey) if survey else titled("survey.responded.bare")
    person = person_of(response, fields, context.region)
    refs = {one.ref or one.id: one.answer for one in response.answers if one.ref or one.id}
    data: dict[str, Any] = {"survey": response.survey, "survey_id": response.survey_id, "response_id": response.id}
    data |= {"answers": [msgspec.to_builtins(one) for one in response.answers], "by_ref": refs}
    data |= {"hidden": dict(response.hidden)} if response.hidden else {}
    return Signal(
        id=derive_id(response.family, response.account, TYPE, response.id),
        type=TYPE,
        source=context.name,
        route=route,
        occurred_at=response.at,
        received_at=received_at,
        text=clean(as_text(response.answers)),
        url=response.url,
        reply=reply_to(person),
        person=person,
        data={**data, **response.data},
        thread=f"{response.family}:{response.account}:{response.id}",
        **title,
    )


def person_of(response: SurveyResponse, fields: AnswerFields, region: str | None) -> Person:
    """Who answered: the fields that the configuration names, then what the vendor knows, an answer of the kind, a hidden field,
    and last any answer that is an email address as a whole."""
    found: dict[str, str] = {}
    for places in (_named(response, fields), response.known, dict(_by_kind(response)), dict(_hidden(response.hidden))):
        for name, value in places.items():
            if value and str(value).strip():
                found.setdefault(name, str(value))
    if "email" not in found:
        whole = (one.answer.strip() for one in response.answers if _is_address(one.answer))
        if address := next(whole, ""):
            found["email"] = address
    texts: dict[str, Any] = {name: found.get(name, "") for name in _PERSON}
    return make_person(region=region, **texts)


def _named(response: SurveyResponse, fields: AnswerFields) -> dict[str, str]:
    by_name: dict[str, str] = {str(name): _plain(value) for name, value in response.hidden.items()}
    for one in response.answers:
        by_name |= {name: one.answer for name in (one.question, one.id, one.ref) if name}
    wanted = {name: getattr(fields, name) for name in _PERSON}
    return {name: by_name.get(place, "") for name, place in wanted.items() if place}


def _by_kind(response: SurveyResponse) -> Iterator[tuple[str, str]]:
    for name in ("email", "phone", "name", "company"):
        yield name, next((one.answer for one in response.answers if one.kind == name), "")


def _hidden(hidden: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in reversed([*hidden.items()]):  # of several, the first counts
        known = _TEXT_NAMES.get(re.sub(r"[\W_]", "", str(name)).casefold())
        if known is not None and value is not None:
            yield known, _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None or isinstance(value, dict | list) else str(value)


def _is_address(text: str) -> bool:
    found = read_email(text) if "@" in text and len(text) < 255 else None
    return found is not None and found.email == text.strip().lower()
