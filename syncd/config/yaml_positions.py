"""Reads YAML into plain data that remembers where everything stands, so that faults can say file:line:column.

The configuration and the mappings are read with it. It is pure: text in, a `Document` out. Only plain types come out, and
a plain scalar means what it looks like: `on`, `yes`, `1:30`, `2026-01-01`, `0912345678` and `+84912345678` stay text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.error import MarkedYAMLError
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from syncd.errors import ConfigError, Fault

KeyPath = tuple[str | int, ...]
MAX_VALUES = 200_000
"""Values of a document with its aliases written out: more is an attack or an accident, not a configuration."""

_STR, _NULL, _BOOL, _INT, _FLOAT, _MERGE = (
    f"tag:yaml.org,2002:{kind}" for kind in ["str", "null", "bool", "int", "float", "merge"]
)
_PLAIN = (
    (_NULL, re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    (_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    (_INT, re.compile(r"-?(?:0|[1-9][0-9]{0,17})$"), list("-0123456789")),
    (_FLOAT, re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,2})?$"), list("-0123456789")),
    (_MERGE, re.compile(r"<<$"), ["<"]),
)
"""What an unquoted scalar may be besides text: JSON's numbers (no leading zero or plus: those are phone numbers and
codes), true, false and null."""


class _Resolver(BaseResolver):
    pass


for _tag, _pattern, _first in _PLAIN:
    _Resolver.add_implicit_resolver(_tag, _pattern, _first)


class _Loader(Reader, Scanner, Parser, Composer, _Resolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _Resolver.__init__(self)


@dataclass(frozen=True)
class Document:
    """What the text says (`data`: dicts with text keys, lists, str, bool, int, float, None) and where."""

    file: str
    data: Any
    _root: yaml.Node | None = None

    def place(self, path: KeyPath) -> tuple[int, int]:
        """(line, column), from 1, of the key or list item at `path`, or of the nearest parent that exists."""
        node, mark = self._root, self._root.start_mark if self._root else None
        for part in path:
            step = _step(node, part) if node else None
            if step is None:
                break
            mark, node = step
        return (mark.line + 1, mark.column + 1) if mark else (1, 1)

    def fault(self, path: KeyPath, message: str, hint: str = "") -> Fault:
        """The fault of what stands at `path`."""
        line, column = self.place(path)
        return Fault(self.file, line, column, dotted(path), message, hint)


def read_yaml(text: str, file: str) -> Document:
    """Reads one YAML document. Raises ConfigError for bad syntax and with every duplicate key; `file` is named in it."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except ReaderError as error:
        before = text[: error.position]
        column = error.position - (before.rfind("\n") + 1) + 1
        message = f"a character that YAML does not allow: {text[error.position : error.position + 1]!r}"
        raise ConfigError([Fault(file, before.count("\n") + 1, column, "", message)]) from error
    except MarkedYAMLError as error:
        raise ConfigError([_syntax_fault(error, file)]) from error
    except RecursionError:
        raise ConfigError([Fault(file, 1, 1, "", "nested too deeply")]) from None
    reading = _YamlReader(file)
    data = reading.value(root, ()) if root is not None else None
    if reading.faults:
        raise ConfigError(reading.faults)
    return Document(file, data, root)


def dotted(path: KeyPath) -> str:
    """`("rules", 0, "fields", "Subject")` -> `rules[0].fields.Subject`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass
class _YamlReader:
    file: str
    faults: list[Fault] = field(default_factory=list)
    count: int = 0
    open: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.count += 1
        if self.count == MAX_VALUES:
            self._fault(node, path, "too large: its aliases grow it beyond measure")
        if self.count >= MAX_VALUES:
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self.open:
            self._fault(node, path, "an alias that contains itself")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._known_tag(node, path, "seq")
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        self._known_tag(node, path, "map")
        data: dict[str, Any] = {}
        own: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(key, path, "a key must be plain text")
            elif key.tag == _MERGE:
                self._merge(value, path, data)
            elif key.value in own:
                self._fault(key, (*path, key.value), "this key is there twice", "remove one")
            else:
                own.add(key.value)
                data[key.value] = self.value(value, (*path, key.value))
        return data

    def _merge(self, value: yaml.Node, path: KeyPath, data: dict[str, Any]) -> None:
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if isinstance(source, yaml.MappingNode):
                for key, item in self.value(source, path).items():
                    data.setdefault(key, item)
            else:
                self._fault(source, path, "<< takes an alias of keys and values")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        match node.tag:
            case tag if tag in (_STR, _MERGE):
                return text
            case tag if tag == _NULL:
                return None
            case tag if tag == _BOOL and text.lower() in ("true", "false"):
                return text.lower() == "true"
            case tag if tag == _INT and re.fullmatch(r"-?[0-9]{1,18}", text):
                return int(text)
            case tag if tag == _FLOAT and _PLAIN[3][1].match(text):
                return float(text)
        self._fault(node, path, f"the tag {_short(node.tag)} is not known here", "only plain values: leave it out")
        return text

    def _known_tag(self, node: yaml.Node, path: KeyPath, kind: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            self._fault(node, path, f"the tag {_short(node.tag)} is not known here", "only plain values: leave it out")

    def _fault(self, node: yaml.Node, path: KeyPath, message: str, hint: str = "") -> None:
        mark = node.start_mark
        self.faults.append(Fault(self.file, mark.line + 1, mark.column + 1, dotted(path), message, hint))


def _step(node: yaml.Node, part: str | int) -> tuple[yaml.Mark, yaml.Node] | None:
    """Where the entry `part` of a node begins, and its node."""
    if isinstance(node, yaml.SequenceNode):
        if isinstance(part, int) and 0 <= part < len(node.value):
            item = node.value[part]
            return item.start_mark, item
        return None
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE and key.value == part:
                return key.start_mark, value
        for source in _merged(node):
            found = _step(source, part)
            if found:
                return found
    return None


def _merged(node: yaml.MappingNode) -> Iterator[yaml.Node]:
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag == _MERGE:
            yield from value.value if isinstance(value, yaml.SequenceNode) else (value,)


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _before(mark: yaml.Mark) -> str:
    """The character before a mark."""
    return mark.buffer[mark.pointer - 1] if mark.buffer and mark.pointer else ""


def _syntax_fault(error: MarkedYAMLError, file: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "bad YAML"
    hint = ""
    if "'\\t'" in problem:
        problem, hint = "a tab", "indent with spaces"
    elif "mapping values are not allowed" in problem:
        hint = "put text that contains a colon in quotes"
    elif "found character" in problem and "cannot start" in problem:
        hint = "put the text in quotes"
    elif "expected <block end>" in problem or "could not find expected ':'" in problem:
        hint = "check the indentation and the quotes above"
    elif "but got '{'" in problem and mark is not None and _before(mark) == "$":
        hint = "within braces put ${…} in quotes"
    elif "single document" in (error.context or ""):
        problem, hint = "a second document", "one file holds one: remove the ---"
    return Fault(file, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, "", problem, hint)
