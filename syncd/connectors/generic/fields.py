"""The `signal:` map of the generic webhook: from a JSON or form body to drafts of signals, by templates. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from syncd.connector import ConnectorSettings, Request
from syncd.connectors.forms import as_dict, read_form
from syncd.connectors.generic.bodies import digest, read_json
from syncd.connectors.generic.making import EventDraft, signal_type_of
from syncd.connectors.generic.paths import SPELLED, PathTarget, Scope, as_text, compile_template, empty
from syncd.connectors.keys import left_to_a_preset
from syncd.errors import Malformed
from syncd.http.json_text import Parsed, originals

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


def _fixed_type(text: str) -> str:
    if "{{" in text:
        raise ValueError("write the signal type itself; the path stands at type:")
    return _known_type(text)


class PersonMap(ConnectorSettings):
    """Who did it."""

    name: Expression = Field("", description="full name")
    first_name: Expression = Field("", description="given name")
    last_name: Expression = Field("", description="family name")
    email: Expression = Field("", description="e-mail address")
    phone: Expression = Field("", description="phone number, in any form")
    company: Expression = Field("", description="company")
    handles: dict[str, Expression] = Field({}, description="social network -> id in that network")


def _differs(text: str) -> str:
    if not compile_template(text).roots:
        raise ValueError("it is the same for every event; write a {{ path }} in it")
    return text


Differing = Annotated[str, AfterValidator(_differs)]


class RepeatsMap(ConnectorSettings):
    """Events that are counted in one signal, such as the opens of one email."""

    same: Differing = Field(description="what happens again, in place of `id:`; the same text makes the same signal")
    event: Differing = Field(description="the sender's id of the single event; each is counted once")


class SignalMap(ConnectorSettings):
    """What of the body becomes what of the signal. Values are text or {{ body.path }}, {{ item.path }},
    {{ headers['name'] }}, {{ query.name }}."""

    model_config = ConfigDict(json_schema_extra=left_to_a_preset("type"))

    type: Annotated[str, AfterValidator(_known_type)] = Field(
        description="signal type; a type outside the catalogue gets the prefix custom."
    )
    types: dict[str, Annotated[str, AfterValidator(_fixed_type)]] = Field(
        {}, description="what the sender writes at `type` -> signal type; any other event is dropped and counted"
    )
    each: Whole | None = Field(None, description="a list in the body: one signal per `item` of it")
    id: Expression = Field("", description="the sender's id of the event; empty: a hash of the body or item")
    repeats: RepeatsMap | None = Field(
        None, description="count further events of the same thing (opens, clicks) in one signal"
    )
    occurred_at: Expression = Field("", description="event time; ISO 8601, RFC 2822, Unix seconds or ms; empty: now")
    title: Expression = Field("", description="one-line summary")
    text: Expression = Field("", description="text of the message")
    url: Expression = Field("", description="URL to view it")
    thread: Expression = Field("", description="id of the conversation")
    reply: Expression = Field("", description="URL to reply to; default: mailto: or tel: of the person")
    direction: Expression = Field("", description="in: the customer acted, or out: we did; default: by the type")
    person: PersonMap = Field(PersonMap(), description="who did it")
    data: dict[str, Expression] | Whole = Field(
        "{{ item or body }}", description="further data to keep; default: the whole item or body"
    )

    @model_validator(mode="after")
    def _one_id(self) -> SignalMap:
        if self.id and self.repeats is not None:
            raise ValueError("id: and repeats: exclude each other; repeats.same makes the id")
        return self

    @model_validator(mode="after")
    def _types_are_of_a_path(self) -> SignalMap:
        if self.types and not compile_template(self.type).roots:
            raise ValueError("types: maps what is at a path; write that path at type:, such as {{ body.event }}")
        return self

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


_ESCAPES = re.compile(rb"\\u|%5[cC]u")


def _wants_object(places: Sequence[PathTarget]) -> bool:
    """Whether a map reads members of the body by name, and none of them by number."""
    steps = [place.steps[0] for place in places if place.root == "body" and place.steps]
    return bool(steps) and not any(isinstance(step, int) or step.isdigit() for step in steps)


def scope_of(request: Request, body: Any) -> dict[str, Any]:
    """What templates read of a request."""
    return {"body": body, "headers": request.headers, "query": dict(request.query)}


_TEXTS = ("type", "title", "text", "url", "thread", "reply", "direction")


def _readers(texts: dict[str, str]) -> dict[str, Callable[[Scope], Any]]:
    """The templates of these keys; an empty one says nothing, so it is not asked for every event."""
    return {name: compile_template(text).reader for name, text in texts.items() if text}


def _only(value: Any) -> Any:
    """The member of a list of one; any other value as it is."""
    return _only(value[0]) if isinstance(value, list) and len(value) == 1 else value


class Item(NamedTuple):
    """What becomes one signal: an item of `each:`, or the whole body. `where` names it in faults. `replaced`: place -> text
    as its sender wrote it, where not all of it could be read."""

    value: Any
    scope: Scope
    where: str
    replaced: dict[str, str]


def types_made(fields: SignalMap, switches: frozenset[str]) -> tuple[str, ...]:
    """The signal types that events of this map have; () where the event names its own."""
    if fields.types:
        return tuple(sorted({signal_type_of(one, "signal", switches) for one in fields.types.values()}))
    if compile_template(fields.type).roots or "{{" in fields.type:
        return ()
    return (signal_type_of(fields.type, "signal", switches),)


class FieldMap:
    """A compiled SignalMap."""

    def __init__(self, fields: SignalMap, form: bool, region: str | None = None) -> None:
        self._form = form
        self._region = region
        self._each = compile_template(fields.each) if fields.each else None
        self._id = compile_template(fields.repeats.same if fields.repeats else fields.id).reader
        self._event = compile_template(fields.repeats.event).reader if fields.repeats else None
        self._occurred_at = compile_template(fields.occurred_at).reader
        self._texts = _readers({name: getattr(fields, name) for name in _TEXTS})
        self._person = _readers(fields.person.model_dump(exclude={"handles"}))
        self._handles = _readers(fields.person.handles)
        self._whole = compile_template(fields.data).reader if isinstance(fields.data, str) else None
        self._data = {} if isinstance(fields.data, str) else _readers(fields.data)
        places = [place for _, text in _texts(fields) for place in compile_template(text).places]
        self._types = fields.types
        self._asks_query = any(place.root == "query" for place in places)
        self._wants_object = _wants_object(places)
        self._parses = any(place.parse for place in places)

    def items(self, request: Request) -> list[Item]:
        """Raises Malformed for a body in which there is nothing to be found."""
        body, replaced = self._read(request)
        scope = scope_of(request, body.value)
        if self._each is None:
            if not (isinstance(body.value, dict | list) and body.value) and not (self._asks_query and request.query):
                raise Malformed(_nothing(body.value, self._form))
            if isinstance(body.value, list) and self._wants_object:
                raise Malformed(
                    f"the body is a list of {len(body.value)}, and the map reads one object: "
                    'write `each: "{{ body }}"` under signal:, and item. instead of body. in its keys'
                )
            return [Item(body.value, scope, "the body", replaced | originals(body))]
        items = self._each(scope)
        if items is None:
            raise Malformed(f"each: there is nothing at {self._each.text}")
        if not isinstance(items, list):
            raise Malformed(f"each: {self._each.text} is not a list but {type(items).__name__}")
        if len(items) > MOST_ITEMS:
            raise Malformed(f"each: {len(items)} items, more than {MOST_ITEMS}")
        many = len(items)
        spelled = self._spelled(request, body, items)
        return [
            Item(
                item,
                {**scope, "item": item},
                f"item {index} of {many}" if many > 1 else "the item",
                replaced | originals(Parsed(item, original)),
            )
            for index, (item, original) in enumerate(zip(items, spelled, strict=True))
        ]

    def _spelled(self, request: Request, body: Parsed, items: list[Any]) -> list[Any]:
        """The items with what could not be read spelled out; the items themselves when all could."""
        assert self._each is not None
        if body.original is body.value and not (self._parses and _ESCAPES.search(request.body)):
            return items
        spelled = self._each({**scope_of(request, body.original), SPELLED: True})
        return spelled if isinstance(spelled, list) and len(spelled) == len(items) else items

    def draft(self, item: Item) -> EventDraft | str:
        """What its sender tells of it, or why it is dropped. Raises Malformed."""
        scope = item.scope
        texts = {name: as_text(read(scope)) for name, read in self._texts.items()}
        if self._types:
            word = texts["type"].strip()
            if not word:
                raise Malformed(f"{item.where}, type: there is nothing")
            if word not in self._types:
                return f"event {word[:60]}"
            texts["type"] = self._types[word]
        native, event = as_text(self._id(scope)).strip(), ""
        if self._event is not None:
            event = as_text(self._event(scope)).strip()
            if not (native and event):
                raise Malformed(f"{item.where}, repeats.{'event' if native else 'same'}: there is nothing")
        person = {name: read(scope) for name, read in self._person.items()}
        if self._handles:
            said = ((name, read(scope)) for name, read in self._handles.items())
            person["handles"] = {name: as_text(_only(value)) for name, value in said if not empty(value)}
        data = self._kept(scope)
        return EventDraft(
            native=native or digest(item.value),
            repeat=event,
            where=item.where,
            occurred_at=self._occurred_at(scope),
            person=person,
            data={"replaced": item.replaced, **data} if item.replaced else data,
            **texts,
        )

    def alone(self, request: Request, items: Sequence[Item]) -> list[Request] | None:
        """The request once for each of these of its items, as if nothing else had stood in its list. None: they cannot be
        distinguished (the list is not part of the body, or of a form as fields that repeat), or the rest of the body is so
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
            if left < 0 or self._each(scope_of(one, self._read(one)[0].value)) != [item.value]:
                return None
            made.append(one)
        return made

    def _read(self, request: Request) -> tuple[Parsed, dict[str, str]]:
        """The body, and what of a form's fields had to be replaced."""
        if not self._form:
            return read_json(request.body, content_type=request.headers.get("content-type", "")), {}
        form = read_form(request, self._region)
        fields = as_dict(form.pairs)
        return Parsed(fields, fields), form.replaced

    def _request(self, request: Request, body: Any) -> Request:
        if not self._form:
            return replace(request, body=json.dumps(body).encode())
        headers = {**request.headers, "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        return replace(request, headers=headers, body=urlencode(body, doseq=True).encode())

    def _kept(self, scope: Scope) -> dict[str, Any]:
        if self._whole is None:
            return {name: value for name, read in self._data.items() if (value := read(scope)) is not None}
        value = self._whole(scope)
        return value if isinstance(value, dict) else {} if value is None else {"value": value}
