"""The `signal:` map of the generic webhook: from a JSON or form body to drafts of signals, by templates. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode

from pydantic import AfterValidator, Field, model_validator

from connectors.generic.bodies import digest, read_form, read_json
from connectors.generic.making import Draft, signal_type_of
from connectors.generic.paths import Scope, as_text, compile_template, empty
from syncd.connector import ConnectorSettings, Request
from syncd.errors import Malformed

MOST_ITEMS = 10_000
_COPIED = 4  # times its own size that a body may grow to when its wrong items are kept one by one
_COPIED_ANYWAY = 1_000_000


def _checked(text: str) -> str:
    compile_template(text)
    return text


def _one_expression(text: str) -> str:
    if not compile_template(text).whole:
        raise ValueError("write one whole {{ … }}")
    return text


Expression = Annotated[str, AfterValidator(_checked)]
Whole = Annotated[str, AfterValidator(_one_expression)]


def _known_type(text: str) -> str:
    if not compile_template(text).roots and "{{" not in text:
        try:
            signal_type_of(text, "signal")
        except Malformed as error:
            raise ValueError(str(error)) from None
    return _checked(text)


class PersonMap(ConnectorSettings):
    """Who did it."""

    name: Expression = Field("", description="full name")
    first_name: Expression = Field("", description="given name")
    last_name: Expression = Field("", description="family name")
    email: Expression = Field("", description="e-mail address")
    phone: Expression = Field("", description="phone number, in any form")
    company: Expression = Field("", description="company")
    handles: dict[str, Expression] = Field({}, description="network -> id there")


class SignalMap(ConnectorSettings):
    """What of the body becomes what of the signal. Values are text or {{ body.path }}, {{ item.path }},
    {{ headers['name'] }}, {{ query.name }}."""

    type: Annotated[str, AfterValidator(_known_type)] = Field(
        description="signal type; one that is not in the catalogue gets custom. before it"
    )
    each: Whole | None = Field(None, description="a list in the body: one signal per `item` of it")
    id: Expression = Field("", description="the sender's id of the event; empty: a hash of the body or item")
    occurred_at: Expression = Field("", description="when; ISO 8601, RFC 2822, unix seconds or ms; empty: now")
    title: Expression = Field("", description="one line for a person")
    text: Expression = Field("", description="what was said")
    url: Expression = Field("", description="where to look at it")
    thread: Expression = Field("", description="what belongs together")
    reply: Expression = Field("", description="how to answer; default mailto: or tel: of the person")
    person: PersonMap = Field(PersonMap(), description="who did it")
    data: dict[str, Expression] | Whole = Field(
        "{{ item or body }}", description="what else to keep; default: the whole item or body"
    )

    @model_validator(mode="after")
    def _item_has_each(self) -> SignalMap:
        if self.each is None and (users := sorted(name for name, text in _texts(self) if _uses_item(text))):
            raise ValueError(f"{', '.join(users)}: there is an item only with each:")
        if self.each is not None and "item" in compile_template(self.each).roots:
            raise ValueError("each: names a list in the body, so it cannot use item")
        return self


def _texts(fields: SignalMap) -> Iterator[tuple[str, str]]:
    dumped = fields.model_dump(exclude_unset=True)
    for name, value in dumped.items():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict):
            flat = {**value, **value.get("handles", {})} if name == "person" else value
            yield from ((f"{name}.{key}", text) for key, text in flat.items() if isinstance(text, str))


def _uses_item(text: str) -> bool:
    return "item" in compile_template(text).roots


def _nothing(body: Any, form: bool) -> str:
    if form:
        return "the body is a form without fields: there is no event in it"
    said = json.dumps(body)
    return f"the body is {said[:40]}{'…' if len(said) > 40 else ''}: there is no event in it; an object with fields is expected"


_TEXTS = ("type", "title", "text", "url", "thread", "reply")


def _readers(texts: dict[str, str]) -> dict[str, Callable[[Scope], Any]]:
    """The templates of these keys; an empty one says nothing, so it is not asked for every event."""
    return {name: compile_template(text).reader for name, text in texts.items() if text}


class Item(NamedTuple):
    """What becomes one signal: an item of `each:`, or the whole body. `where` names it in faults."""

    value: Any
    scope: Scope
    where: str


class FieldMap:
    """A compiled SignalMap."""

    def __init__(self, fields: SignalMap, form: bool) -> None:
        self._form = form
        self._each = compile_template(fields.each) if fields.each else None
        self._id = compile_template(fields.id).reader
        self._occurred_at = compile_template(fields.occurred_at).reader
        self._texts = _readers({name: getattr(fields, name) for name in _TEXTS})
        self._person = _readers(fields.person.model_dump(exclude={"handles"}))
        self._handles = _readers(fields.person.handles)
        self._whole = compile_template(fields.data).reader if isinstance(fields.data, str) else None
        self._data = {} if isinstance(fields.data, str) else _readers(fields.data)
        self._asks_query = any("query" in compile_template(text).roots for _, text in _texts(fields))

    def items(self, request: Request) -> list[Item]:
        """Raises Malformed for a body in which there is nothing to be found."""
        scope = self._scope(request)
        body = scope["body"]
        if self._each is None:
            if not (isinstance(body, dict | list) and body) and not (self._asks_query and request.query):
                raise Malformed(_nothing(body, self._form))
            return [Item(body, scope, "the body")]
        items = self._each(scope)
        if items is None:
            raise Malformed(f"each: there is nothing at {self._each.text}")
        if not isinstance(items, list):
            raise Malformed(f"each: {self._each.text} is no list but {type(items).__name__}")
        if len(items) > MOST_ITEMS:
            raise Malformed(f"each: {len(items)} items, more than {MOST_ITEMS}")
        many = len(items)
        return [
            Item(item, {**scope, "item": item}, f"item {index} of {many}" if many > 1 else "the item")
            for index, item in enumerate(items)
        ]

    def draft(self, item: Item) -> Draft:
        """What its sender tells of it. Raises Malformed."""
        scope = item.scope
        native = as_text(self._id(scope)).strip() or digest(item.value)
        person = {name: read(scope) for name, read in self._person.items()}
        if self._handles:
            said = ((name, read(scope)) for name, read in self._handles.items())
            person["handles"] = {name: as_text(value) for name, value in said if not empty(value)}
        return Draft(
            native=native,
            where=item.where,
            occurred_at=self._occurred_at(scope),
            person=person,
            data=self._kept(scope),
            **{name: as_text(read(scope)) for name, read in self._texts.items()},
        )

    def alone(self, request: Request, items: list[Item]) -> list[Request] | None:
        """The request once for each of these of its items, as if nothing else had stood in its list. None: they cannot be
        told apart (the list is no part of the body, or of a form as fields that repeat), or the rest of the body is so
        large that it is not to be copied for each."""
        assert self._each is not None
        made: list[Request] = []
        left = _COPIED * len(request.body) + _COPIED_ANYWAY
        for item in items:
            place = next((place for place in self._each.places if not empty(place.reader(item.scope))), None)
            if place is None or place.root != "body":
                return None
            one = self._request(request, place.put(item.scope["body"], [item.value]))
            left -= len(one.body)
            if left < 0 or self._each(self._scope(one)) != [item.value]:
                return None
            made.append(one)
        return made

    def _scope(self, request: Request) -> dict[str, Any]:
        body = read_form(request) if self._form else read_json(request.body)
        return {"body": body, "headers": request.headers, "query": dict(request.query)}

    def _request(self, request: Request, body: Any) -> Request:
        if not self._form:
            return replace(request, body=json.dumps(body).encode())
        headers = {**request.headers, "content-type": "application/x-www-form-urlencoded"}
        return replace(request, headers=headers, body=urlencode(body, doseq=True).encode())

    def _kept(self, scope: Scope) -> dict[str, Any]:
        if self._whole is None:
            return {name: value for name, read in self._data.items() if (value := read(scope)) is not None}
        value = self._whole(scope)
        return value if isinstance(value, dict) else {} if value is None else {"value": value}
