"""The code layout keeps its promises: one layer per module, no import cycles, one class per name."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "syncd"
MOST_TOP_LEVEL = 31


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, ast.Module]:
    return {module_name(path): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.Module, known: Mapping[str, object]) -> Iterator[str]:
    """Every module that a file imports, also inside functions and for type checking only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in known or node.module in known:
                    yield submodule if submodule in known else node.module


def cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Kosaraju)."""
    order: list[str] = []
    seen: set[str] = set()
    for start in edges:
        stack = [(start, iter(edges[start]))] if start not in seen else []
        seen.add(start)
        while stack:
            node, rest = stack[-1]
            following = next((one for one in rest if one not in seen), None)
            if following is None:
                order.append(node)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(edges[following])))
    backwards: dict[str, set[str]] = defaultdict(set)
    for node, targets in edges.items():
        for target in targets:
            backwards[target].add(node)
    found, done = [], set[str]()
    for node in reversed(order):
        component, waiting = [], [node] if node not in done else []
        done.add(node)
        while waiting:
            one = waiting.pop()
            component.append(one)
            new = backwards[one] - done
            done |= new
            waiting.extend(new)
        if len(component) > 1:
            found.append(sorted(component))
    return found


def test_no_import_cycles_even_lazy_or_for_types_only() -> None:
    trees = modules()
    edges = {name: set(imports(tree, trees)) - {name} for name, tree in trees.items()}
    assert cycles(edges) == []


def test_the_finder_of_cycles_finds_them() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_module_is_in_exactly_one_layer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = [one for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    assert contract["exhaustive"]
    layered = [name.strip() for layer in contract["layers"] for name in layer.split(":")]
    there = sorted(name.split(".")[1] for name in modules() if name.count(".") == 1)
    assert sorted(layered) == there
    assert len(there) <= MOST_TOP_LEVEL, "a new top-level module: is there no package it belongs to?"


def test_one_class_per_name() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(name)
    twice = {name: places for name, places in where.items() if len(places) > 1}
    assert twice == {}, "one name, one thing: say in each name which one it is"
