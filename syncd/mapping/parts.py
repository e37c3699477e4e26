"""A mapping as its YAML says it, checked: who is found how, who is created, which records are written.

`language` reads them, `loading` compiles them, lint and `check --online` look at them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from syncd.config.yaml_positions import KeyPath
from syncd.mapping.compiler import Tree
from syncd.mapping.model import About, LinkTakes, OnConflict, StrangerPolicy


@dataclass(frozen=True)
class MatchPart:
    """One entry of `people.match`: object and (field, expression, is it a phone)."""

    object: str
    terms: tuple[tuple[str, Tree, bool], ...]


@dataclass(frozen=True)
class CreatePart:
    """`people.create`. `owners`: the field that takes them and whom it goes round; on_create besides."""

    object: str
    key: str
    fields: dict[str, Tree]
    on_create: dict[str, Tree]
    owner_field: str = ""
    owners: tuple[Any, ...] = ()


@dataclass(frozen=True)
class RulePart:
    """One entry of `rules`; `place` is its path in the YAML. Of a rule that updates: `fill` only fills empty fields, and
    it writes `only_if` these fields stand in the record already. `takes`: of links that only some people can be put into."""

    id: str
    name: str
    signals: tuple[str, ...]
    verb: str
    object: str
    key: str
    about: About
    kind: str
    link: dict[str, str]
    fields: dict[str, Tree]
    on_create: dict[str, Tree]
    clear: tuple[str, ...]
    live_only: bool
    when: Tree
    place: KeyPath = ()
    fill: dict[str, Tree] = field(default_factory=dict)
    only_if: dict[str, Tree] = field(default_factory=dict)
    takes: dict[str, LinkTakes] = field(default_factory=dict)


@dataclass(frozen=True)
class MappingParts:
    """A whole mapping, checked. `match` is None when it has no `people:`."""

    match: tuple[MatchPart, ...] | None
    strangers: tuple[tuple[str, StrangerPolicy], ...]
    create: CreatePart | None
    rules: tuple[RulePart, ...]
    conflict: OnConflict = OnConflict.HOLD
