"""Links of rules to the records of other rules: which of them lead nowhere, or in a circle. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from syncd.config.yaml_positions import KeyPath
from syncd.mapping.model import made_by
from syncd.mapping.parts import LINK_TARGETS, RulePart
from syncd.mapping.verbs.convert import DEAL, MADE


def wrong_links(rules: Sequence[RulePart]) -> Iterator[tuple[KeyPath, str, str]]:
    """(place, message, hint) of every link to a rule that cannot be linked to."""
    known = {rule.id: rule for rule in rules}
    for rule in rules:
        for field, target in rule.link.items():
            if target in LINK_TARGETS:
                continue
            place = (*rule.place, "link", field)
            id_, part = made_by(target)
            other = known.get(id_)
            if other is not None and (wrong := _wrong_part(other, part)):
                yield place, *wrong
            elif other is None:
                near = difflib.get_close_matches(target, (*LINK_TARGETS, *known), n=1)
                hint = f"did you mean {near[0]}?" if near else f"use {', '.join(LINK_TARGETS)} or the id of a rule"
                yield place, f"there is no rule {target} to link to", hint
            elif circle := _circle(rule.id, id_, known):
                message = f"rules link in a circle: {' -> '.join(circle)}"
                yield (
                    place,
                    message,
                    "a record must exist before another one can point at it: take out one of the links",
                )


def _wrong_part(other: RulePart, part: str) -> tuple[str, str] | None:
    """(message, hint) where a link names what a rule does not make."""
    if other.conversion is None:
        return (f"rule {other.id} makes one record", f"write {other.id}") if part else None
    made = [f"{other.id}.{name}" for name in MADE if name != DEAL or other.conversion.deal is not None]
    if part and f"{other.id}.{part}" in made:
        return None
    return f"rule {other.id} converts a lead: a link must name what it becomes", f"write {' or '.join(made)}"


def _circle(start: str, target: str, known: Mapping[str, RulePart]) -> list[str]:
    """The way from a link of rule `start` back to it, [] when there is none."""
    ways = [[start, target]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == start:
            return way
        if way[-1] in seen or way[-1] not in known:
            continue
        seen.add(way[-1])
        ways.extend([*way, made_by(to)[0]] for to in known[way[-1]].link.values() if to not in LINK_TARGETS)
    return []
