"""How long a value can become and what type it has, read off its template without evaluating anything. Pure.

`against` asks, to compare a mapping with the lengths and types of a CRM's fields. None means that nothing can be said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jinja2 import nodes

from syncd.mapping.compiler import Tree
from syncd.mapping.expressions import OPERATOR_PREFIX, Expression, chain_of
from syncd.mapping.values import is_empty, to_text

FILTER_LENGTHS = {"date": 10, "business_days": 10, "time": 8, "datetime": 32, "int": 20, "length": 20, "phone": 30}
"""Characters at most of what a filter makes, whatever goes in."""
KEEPS_LENGTH = frozenset({"trim", "one_line", "lower", "capitalize", "title"})
"""Filters that make nothing longer (but for a few letters of a few alphabets)."""
PART_LENGTHS = {
    ("signal", "id"): 36,
    ("signal", "occurred_at"): 32,
    ("signal", "received_at"): 32,
    ("person", "phone"): 16,
    ("person", "email"): 254,
}
"""Parts that are short by nature: E.164, RFC 5321, ISO 8601."""
FILTER_TYPES = {"date": "date", "business_days": "date", "datetime": "datetime", "int": "number", "float": "number"}
_MOMENTS = (["signal", "occurred_at"], ["signal", "received_at"])


def literal(tree: Tree) -> Any:
    """The value of a tree that is the same for every signal; None when it is not, or is empty."""
    value = tree
    if isinstance(tree, Expression):
        value = tree.node.value if isinstance(tree.node, nodes.Const) else None
    return None if isinstance(value, (list, dict)) or is_empty(value) else value


def longest(tree: Tree) -> int | None:
    """Characters that the value can have at most."""
    if isinstance(tree, Expression):
        return None if tree.node is None else _longest(tree.node)
    return None if isinstance(tree, (list, dict)) else len(to_text(tree))


def shortens(tree: Tree) -> bool:
    """Does the mapping itself say how long the value may be?"""
    if not isinstance(tree, Expression):
        return False
    roots = [tree.node] if tree.node is not None else list(tree.body)
    return any(_is_shorten(node) for root in roots for node in (root, *root.find_all(nodes.Filter)))


def type_of(tree: Tree) -> str:
    """text, date, datetime, number or checkbox."""
    value = literal(tree)
    if isinstance(value, bool):
        return "checkbox"
    if isinstance(value, (int, float)):
        return "number"
    node = tree.node if isinstance(tree, Expression) and tree.whole else None
    if isinstance(node, nodes.Filter):
        return FILTER_TYPES.get(node.name, "text")
    return "datetime" if node is not None and chain_of(node) in _MOMENTS else "text"


def _is_shorten(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Filter) and node.name == "shorten"


def _longest(node: nodes.Node) -> int | None:
    match node:
        case nodes.Const():
            return len(to_text(node.value))
        case nodes.Or() | nodes.And():
            return _most((node.left, node.right))
        case nodes.CondExpr():
            return _most((node.expr1, *([node.expr2] if node.expr2 is not None else [])))
        case nodes.Filter(node=value) if value is not None:
            return _filtered(node, value)
        case nodes.Getattr() | nodes.Getitem():
            chain = chain_of(node)
            chain = ["person", *chain[2:]] if chain and chain[:2] == ["signal", "person"] else chain
            return PART_LENGTHS.get((str(chain[0]), str(chain[1]))) if chain and len(chain) == 2 else None
    return None


def _filtered(node: nodes.Filter, value: nodes.Expr) -> int | None:
    if node.name == "shorten":
        limit = _limit(node)
        inner = _longest(value)
        return inner if limit is None else limit if inner is None else min(limit, inner)
    if node.name in FILTER_LENGTHS:
        return FILTER_LENGTHS[node.name]
    if node.name in KEEPS_LENGTH:
        return _longest(value)
    if node.name == "default":
        return _most((value, *node.args[:1])) if node.args else _longest(value)
    if node.name == f"{OPERATOR_PREFIX}concat":
        return _sum((value, *node.args))
    return None


def _limit(node: nodes.Filter) -> int | None:
    named = [pair.value for pair in node.kwargs if isinstance(pair, nodes.Keyword) and pair.key == "limit"]
    given = next(iter([*node.args[:1], *named]), None)
    return given.value if isinstance(given, nodes.Const) and isinstance(given.value, int) else None


def _most(parts: Iterable[nodes.Node]) -> int | None:
    found = [_longest(part) for part in parts]
    known = [one for one in found if one is not None]
    return max(known) if len(known) == len(found) else None


def _sum(parts: Iterable[nodes.Node]) -> int | None:
    found = [_longest(part) for part in parts]
    known = [one for one in found if one is not None]
    return sum(known) if len(known) == len(found) else None
