"""Reads checked pieces of a mapping's YAML: keys, words, lists, fields, templates. Faults are kept, with their places.

`language` and what it is made of (people, rules, verbs) read with it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from syncd.config.yaml_positions import Document, KeyPath
from syncd.errors import Fault
from syncd.mapping.compiler import Tree
from syncd.mapping.expressions import NAMES, Expression, Sandbox, is_template, parse

T = TypeVar("T")
_SIGNAL_PATTERN = re.compile(r"[A-Za-z0-9_.*-]+")


def unknown_keys(node: Mapping[str, Any], known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each key that is not known, with what was probably meant."""
    for key in node:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            yield key, f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


@dataclass
class MappingReader:
    """One mapping as it is read. `faults`: all that was found so far."""

    document: Document
    sandbox: Sandbox
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.faults.append(self.document.fault(path, message, hint))

    # ------------------------------------------------------------------------------------------------- small pieces

    def keys(self, node: Any, path: KeyPath, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Any]:
        """The keys and values at `path`; unknown and missing keys are faults."""
        known = tuple(known)
        if not isinstance(node, dict):
            self.fault(path, f"must be keys and values ({', '.join(known)})")
            return {}
        for key, hint in unknown_keys(node, known):
            self.fault((*path, key), "unknown key", hint)
        for key in needed:
            if node.get(key) is None:
                self.fault(path, f"the key {key} is required here")
        return {key: value for key, value in node.items() if value is not None}

    def word(self, node: Mapping[str, Any], path: KeyPath, key: str, default: str = "") -> str:
        """A piece of literal text."""
        value = node.get(key, default)
        if isinstance(value, str) and (value.strip() or value == default):
            if is_template(value):
                self.fault((*path, key), "must be plain text, not a template")
            return value.strip()
        self.fault((*path, key), "must be text")
        return default

    def choice(self, node: Mapping[str, Any], path: KeyPath, key: str, known: Iterable[str], default: str) -> str:
        value, known = node.get(key, default), tuple(known)
        if value in known or value == default:
            return str(value)
        near = difflib.get_close_matches(str(value), known, n=1)
        self.fault(
            (*path, key), f"{value!r} is not one of {', '.join(known)}", f"did you mean {near[0]}?" if near else ""
        )
        return default

    def entries(self, node: Any, path: KeyPath, read: Callable[[Any, KeyPath], T | None], what: str) -> tuple[T, ...]:
        """A list, each entry read by `read`."""
        if not isinstance(node, list) or not node:
            self.fault(path, f"must be a list of {what}")
            return ()
        found = (read(entry, (*path, index)) for index, entry in enumerate(node))
        return tuple(entry for entry in found if entry is not None)

    def patterns(self, node: Any, path: KeyPath) -> tuple[str, ...]:
        def one(entry: Any, place: KeyPath) -> str | None:
            if isinstance(entry, str) and _SIGNAL_PATTERN.fullmatch(entry):
                return entry
            self.fault(place, 'must be a signal type or a pattern such as call.missed, "ticket.*" or "*"')
            return None

        return self.entries([node] if isinstance(node, str) else node, path, one, "signal types")

    # ------------------------------------------------------------------------------------------------------- values

    def fields(self, node: Any, path: KeyPath) -> dict[str, Tree]:
        if node is None:
            return {}
        if not isinstance(node, dict):
            self.fault(path, "must be fields and their values")
            return {}
        return {name: self.tree(value, (*path, name)) for name, value in node.items()}

    def tree(self, node: Any, path: KeyPath, names: tuple[str, ...] = NAMES) -> Tree:
        """A value with its templates parsed."""
        if isinstance(node, str) and is_template(node):
            return self.template(node, path, names)
        if isinstance(node, list):
            return [self.tree(each, (*path, index), names) for index, each in enumerate(node)]
        if isinstance(node, dict):
            return {key: self.tree(each, (*path, key), names) for key, each in node.items()}
        return node

    def template(self, text: str, path: KeyPath, names: tuple[str, ...]) -> Expression | None:
        found = parse(text, self.sandbox, names)
        if isinstance(found, Expression):
            return found
        for wrong in found:
            self.fault(path, wrong.message, wrong.hint)
        return None

    def condition(self, node: Any, path: KeyPath) -> Tree:
        """`when:` is an expression, with or without its braces; None without a condition."""
        if node is None or isinstance(node, bool):
            return node
        if not isinstance(node, str):
            self.fault(path, "must be an expression such as signal.data.rating <= 2")
            return None
        found = self.template(node if is_template(node) else "{{ " + node + " }}", path, NAMES)
        if found is not None and not found.whole:
            self.fault(path, "must be one expression, not text around one")
        return found

    def switch(self, parts: Mapping[str, Any], path: KeyPath, key: str, *, default: bool = False) -> bool:
        value = parts.get(key, default)
        if isinstance(value, bool):
            return value
        self.fault((*path, key), "must be true or false")
        return default

    def filled_twice(
        self, path: KeyPath, key: str, parts: Mapping[str, Mapping[str, Any]], also: Iterable[str] = ()
    ) -> None:
        """Notes every field that several parts of one record fill. `also`: fields that its owner goes into."""
        seen = {name: "owner" for name in also if name}
        if key:
            seen[key] = "key"
        for part, fields in parts.items():
            for name in fields:
                if name in seen:
                    why = "it holds syncd's key" if seen[name] == "key" else f"{seen[name]} fills it too"
                    self.fault((*path, part, name), f"{name} cannot be filled here: {why}")
                else:
                    seen[name] = part
