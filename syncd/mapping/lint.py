"""What is wrong with a mapping, and what is probably not meant: `syncd mapping lint` and `syncd check` print it.

Faults keep a mapping from being loaded; warnings do not. Both carry file, line, column and key.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from jinja2 import nodes

from syncd import registry
from syncd.config.yaml_positions import KeyPath
from syncd.errors import ConfigError, Fault
from syncd.mapping.compiler import Tree
from syncd.mapping.expressions import Expression
from syncd.mapping.loading import Mapping, load_mapping, matches
from syncd.mapping.model import About, Stranger
from syncd.mapping.parts import RulePart
from syncd.signal_types import CUSTOM_PREFIX, OPEN_TYPES, known_types

OPEN_STATES = frozenset({"not started", "open", "in progress", "waiting on someone else", "deferred", "new"})
"""Task states that require action (standard picklists of CRMs)."""


@dataclass(frozen=True)
class Lint:
    """`mapping` is None exactly when there are faults."""

    mapping: Mapping | None
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()


def lint_mapping(
    source: Path | Traversable | str, *, timezone: tzinfo = UTC, region: str | None = None, name: str = ""
) -> Lint:
    """Loads a mapping and looks it over. Raises UsageError only for a file that cannot be read."""
    try:
        mapping = load_mapping(source, timezone=timezone, region=region, name=name)
    except ConfigError as error:
        return Lint(None, faults=error.faults)
    return Lint(mapping, warnings=warnings_of(mapping))


def warnings_of(mapping: Mapping) -> tuple[Fault, ...]:
    """What a loaded mapping says that is probably not meant, in file order."""
    found = [
        *_people(mapping),
        *_accounts(mapping),
        *(fault for rule in mapping.parts.rules for fault in _rule(mapping, rule)),
    ]
    return tuple(sorted(found, key=lambda fault: (fault.line, fault.column)))


def _people(mapping: Mapping) -> Iterator[Fault]:
    place, parts = mapping.document.fault, mapping.parts
    create = parts.create
    if create is not None:
        if not create.key:
            yield place(("people", "create"), "has no key: a lost answer may leave a new person twice", "add key:")
        if not any(policy.action is Stranger.CREATE for _, policy in parts.strangers):
            yield place(("people", "create"), "is never used: no strangers are created", "strangers: create")
        yield from _loose_shortening(mapping, ("people", "create", "fields"), create.fields)
    seen: list[str] = []
    for pattern, _ in parts.strangers:
        path = ("people", "strangers", pattern)
        if "*" in seen:
            yield place(path, "is never reached: the pattern * above fits everything", "move * to the end")
        else:
            yield from _fits_nothing(mapping, path, pattern)
        seen.append(pattern)
    if parts.match is not None and parts.strangers and "*" not in seen:
        yield place(("people", "strangers"), "strangers who send other signals are skipped", 'say so: add "*": skip')


def _accounts(mapping: Mapping) -> Iterator[Fault]:
    place, part = mapping.document.fault, mapping.parts.accounts
    if part is None:
        return
    path = ("accounts", "create")
    if part.create is not None:
        if not part.create.key:
            yield place(path, "has no key: a lost answer may leave a new company twice", "add key:")
        if not any(creates for _, creates in part.unknown):
            yield place(path, "is never used: no unknown companies are created", "unknown: create")
        yield from _loose_shortening(mapping, (*path, "fields"), part.create.fields)
    for pattern, _ in part.unknown:
        yield from _fits_nothing(mapping, ("accounts", "unknown", pattern), pattern)
    used = any(rule.about is About.ACCOUNT or "account" in rule.link.values() for rule in mapping.parts.rules)
    if not used and not mapping.newcomers_have_company:
        yield place(
            ("accounts",), "is never used: no rule is about an account or links one", "add link: {AccountId: account}"
        )


def _rule(mapping: Mapping, rule: RulePart) -> Iterator[Fault]:
    place = mapping.document.fault
    for index, pattern in enumerate(rule.signals):
        yield from _fits_nothing(mapping, (*rule.place, "signals", index), pattern)
    for path, message, hint in rule.verb.warnings(rule):
        yield place(path, message, hint)
    if rule.record:
        yield from _waits_for_nothing(mapping, rule)
    if rule.when is False:
        yield place((*rule.place, "when"), "never holds")
    state = rule.on_create.get("Status", rule.fields.get("Status"))
    if not (rule.live_only or rule.demand) and isinstance(state, str) and state.lower() in OPEN_STATES:
        message = f"opens a {rule.object} that needs action, for past signals too"
        yield place(rule.place, message, "add live_only: true")
    if not rule.name:
        yield place(rule.place, f"the rule {rule.id} has no name", "say in a line what it is for")
    for part, fields in (
        ("fields", rule.fields),
        ("fill", rule.fill),
        ("on_create", rule.on_create),
        ("add", rule.add),
    ):
        yield from _loose_shortening(mapping, (*rule.place, part), fields)


def _waits_for_nothing(mapping: Mapping, rule: RulePart) -> Iterator[Fault]:
    """Of a rule that waits for answers: signals that need none."""
    for index, pattern in enumerate(rule.signals):
        fitting = [name for name in known_types() if matches(pattern, name)]
        if fitting and OPEN_TYPES.isdisjoint(fitting):
            hint = f"name some of {', '.join(sorted(OPEN_TYPES))}"
            place = (*rule.place, "signals", index)
            yield mapping.document.fault(place, f"signals of type {pattern} wait for no answer", hint)


def _fits_nothing(mapping: Mapping, path: KeyPath, pattern: str) -> Iterator[Fault]:
    if pattern.startswith(CUSTOM_PREFIX) or registry.fitting_types(pattern):
        return
    near = difflib.get_close_matches(pattern, known_types(), n=1)
    hint = f"did you mean {near[0]}?" if near else "types of your own are called custom.NAME"
    yield mapping.document.fault(path, f"{pattern} fits no signal type", hint)


def _loose_shortening(mapping: Mapping, path: KeyPath, fields: dict[str, Tree]) -> Iterator[Fault]:
    """`a or b | shorten(80)` shortens b alone."""
    for name, tree in fields.items():
        for expression in _expressions(tree):
            for either in _ors(expression):
                if _shortens(either.right) and not _shortens(either.left):
                    message = "only the last alternative is shortened: | binds closer than or"
                    yield mapping.document.fault((*path, name), message, "write (a or b) | shorten(…)")


def _expressions(tree: Any) -> Iterator[Expression]:
    if isinstance(tree, Expression):
        yield tree
    elif isinstance(tree, (list, dict)):
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from _expressions(each)


def _ors(expression: Expression) -> Iterator[nodes.Or]:
    for root in [expression.node] if expression.node is not None else expression.body:
        if isinstance(root, nodes.Or):
            yield root
        yield from root.find_all(nodes.Or)


def _shortens(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Filter) and node.name == "shorten"
