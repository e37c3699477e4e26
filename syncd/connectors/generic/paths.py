"""Small templates over a received body: `{{ body.a.b[0] }}`, text around, `or` for a fallback. Pure; compiled once.

The generic webhook builds one per key of its field map. A template never fails on data: what is missing is None. What
is wrong with the template itself is a ValueError at load. A value that is one whole `{{ … }}` keeps its type.

    expression := term (" or " term)*           the first that is not empty (None, "", [] and {} are; 0 and false are not)
    term       := ("text" | 'text' | path) ("| json")?    json: parse a text that holds JSON; None if it does not
    path       := root (.name | [0] | ['any name'])*      root: body, item, headers, query
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from syncd.http.json_text import parse as parse_json

Scope = Mapping[str, Any]
Step = str | int
ROOTS = ("body", "item", "headers", "query")
SPELLED = "spelled out"
"""A key of a scope in which `| json` spells out what cannot be read (`syncd.http.json_text`)."""

_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"[^"]*"|'[^']*')
    | (?P<name>[^\W\d][\w-]*)
    | \.(?P<member>[\w-]+)
    | \[\s*(?P<index>-?\d{1,6})\s*\]
    | \[\s*(?P<key>"[^"]*"|'[^']*')\s*\]
    | \|\s*(?P<filter>\w+)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class PathTarget:
    """Where one path of a template leads."""

    root: str
    steps: tuple[Step, ...]
    parse: bool

    @property
    def reader(self) -> Callable[[Scope], Any]:
        return _reader(self.root, self.steps, self.parse)

    def put(self, tree: Any, value: Any) -> Any:
        """`tree`, what its root holds, with `value` where this leads; the rest is shared. The place must be there."""
        return _put(tree, self.steps, json.dumps(value) if self.parse else value)


@dataclass(frozen=True)
class Template:
    """A compiled template. `whole`: its value keeps its type; else it is text. `places`: all its paths, in their order."""

    text: str
    parts: tuple[str | Callable[[Scope], Any], ...]
    places: tuple[PathTarget, ...]

    @property
    def roots(self) -> frozenset[str]:
        return frozenset(place.root for place in self.places)

    @property
    def whole(self) -> bool:
        return len(self.parts) == 1 and not isinstance(self.parts[0], str)

    def __call__(self, scope: Scope) -> Any:
        parts = self.parts
        if len(parts) == 1:
            only = parts[0]
            return only if isinstance(only, str) else only(scope)
        return "".join([part if isinstance(part, str) else as_text(part(scope)) for part in parts])

    @property
    def reader(self) -> Callable[[Scope], Any]:
        """The template as the barest function that does the same, for a hot loop to hold."""
        only = self.parts[0] if len(self.parts) == 1 else ""
        return self if isinstance(only, str) else only


def compile_template(text: str) -> Template:
    """Raises ValueError that says what is wrong and where in the text."""
    parts: list[str | Callable[[Scope], Any]] = []
    places: list[PathTarget] = []
    for index, piece in enumerate(_HOLE.split(text)):
        if index % 2:
            parts.append(_expression(piece, places))
        elif "{{" in piece or "}}" in piece:
            raise ValueError(f"{text!r}: a {{{{ without its }}}}")
        elif piece:
            parts.append(piece)
    return Template(text, tuple(parts), tuple(places))


def as_text(value: Any) -> str:
    """A value as people write it: None is empty, true and false are lower-case, objects are JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return msgspec.json.encode(value).decode()


def empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def _expression(source: str, places: list[PathTarget]) -> Callable[[Scope], Any]:
    terms: list[Callable[[Scope], Any]] = []
    at = 0
    while True:
        term, at = _term(source, at, places)
        terms.append(term)
        if not source[at:].strip():
            break
        joint = _TOKEN.match(source, at)
        if joint is None or joint["name"] != "or":
            raise ValueError(
                f"{source.strip()!r}: cannot read {source[at:].strip()[:20]!r}; write body.a.b[0], with `or` between"
            )
        at = joint.end()
    if len(terms) == 1:
        return terms[0]
    return lambda scope: _first(terms, scope)


def _first(terms: list[Callable[[Scope], Any]], scope: Scope) -> Any:
    value = None
    for term in terms:
        value = term(scope)
        if not empty(value):
            break
    return value


def _term(source: str, at: int, places: list[PathTarget]) -> tuple[Callable[[Scope], Any], int]:
    token = _TOKEN.match(source, at)
    if token is None or not (token["text"] or token["name"]) or token["name"] == "or":
        raise ValueError(
            f"{source.strip()!r}: expected {', '.join(ROOTS)} or a quoted text at {source[at:].strip()[:20]!r}"
        )
    at = token.end()
    if token["text"]:
        literal = token["text"][1:-1]
        return (lambda scope: literal), at
    root = token["name"]
    if root not in ROOTS:
        raise ValueError(f"{source.strip()!r}: unknown name {root!r}; a path begins with {', '.join(ROOTS)}")
    steps: list[Step] = []
    parse = False
    while (token := _TOKEN.match(source, at)) is not None and not (token["text"] or token["name"]):
        if token["filter"]:
            if token["filter"] != "json":
                raise ValueError(f"{source.strip()!r}: unknown filter {token['filter']!r}; there is json")
            parse = True
        elif token["index"]:
            steps.append(int(token["index"]))
        else:
            steps.append(token["member"] or token["key"][1:-1])
        at = token.end()
        if parse:
            break
    places.append(PathTarget(root, tuple(steps), parse))
    return places[-1].reader, at


def _reader(root: str, steps: tuple[Step, ...], parse: bool) -> Callable[[Scope], Any]:
    if root == "headers":
        steps = tuple(step.lower() if isinstance(step, str) else step for step in steps)

    if len(steps) == 1 and not parse and isinstance(steps[0], str):
        return _member(root, steps[0])

    def read(scope: Scope) -> Any:
        value: Any = scope.get(root)
        for step in steps:
            # A member of an object, by far the commonest, needs no further question.
            value = value.get(step) if type(value) is dict and type(step) is str else _step(value, step)
        return _parsed(value, SPELLED in scope) if parse else value

    return read


def _member(root: str, name: str) -> Callable[[Scope], Any]:
    """{{ body.name }}, by far the commonest, without the loop of the general one."""

    def read(scope: Scope) -> Any:
        value = scope.get(root)
        return value.get(name) if type(value) is dict else _step(value, name)

    return read


def _step(value: Any, step: Step) -> Any:
    if isinstance(value, Mapping):
        return value.get(step if isinstance(step, str) else str(step))
    if isinstance(value, list):
        index = _index(step)
        return value[index] if index is not None and -len(value) <= index < len(value) else None
    return None


def _index(step: Step) -> int | None:
    return int(step) if isinstance(step, int) or (step.isascii() and step.isdigit() and len(step) < 7) else None


def _put(tree: Any, steps: tuple[Step, ...], value: Any) -> Any:
    if not steps:
        return value
    inner = _put(_step(tree, steps[0]), steps[1:], value)
    if isinstance(tree, list) and (index := _index(steps[0])) is not None:
        return [*tree[:index], inner, *tree[index:][1:]]
    return {**tree, str(steps[0]): inner}


def _parsed(value: Any, spelled: bool) -> Any:
    if not isinstance(value, str):
        return value
    try:
        parsed = parse_json(value.encode())
    except ValueError:
        return None
    return parsed.original if spelled else parsed.value
