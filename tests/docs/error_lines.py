"""Every line of fault that syncd can print, read from its source: what is given to an exception or to a fault of a YAML file.

`docs/faq.md` must answer each (tests/docs/test_faq.py). A part that is only known while running is an ellipsis in the line: the
text `no source …; there are: …` stands for f"no source {name!r}; there are: {known}".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
GAP = "…"
FAULTS = {
    *("SyncdError", "UsageError", "ConfigError", "Fault", "fault", "Transient", "RateLimited", "QuotaExhausted"),
    *("AuthExpired", "Misconfigured", "Rejected", "StaleReference", "Ambiguous", "NotAuthentic", "KeyUnavailable"),
    *("Malformed", "ValueError"),
}
"""What a line of fault is made with; classes that inherit one of these are found by themselves."""
NEVER_SHOWN = ("AssertionError", "NotImplementedError", "TypeError", "KeyError", "RuntimeError", "SystemExit", "Exit")
"""Raised for our own bugs, or without a line."""
WORDS = ("code", "field", "scope", "key")
"""Keywords that hold no line for a person."""
NOT_SHOWN = ("syncd/twins/", "syncd/testing/", "syncd/cli/demo/")
"""Stand-ins and suites: whoever sees their lines is a developer with the source before them."""
TABLES = re.compile(r"_?[A-Z_]*(TELLS|TELLING|HINTS|MEANINGS|REASONS|ADVICE)$")
"""Module-level tables whose texts are shown as lines of fault."""


@dataclass(frozen=True, order=True)
class Line:
    """One line and where it is made."""

    file: str
    number: int
    text: str


@cache
def every_line() -> tuple[Line, ...]:
    """Every line of syncd and of its connectors, in the order of the files; those that only pass on another's are left out."""
    files = sorted((ROOT / "syncd").rglob("*.py"))
    names = {path: path.relative_to(ROOT).as_posix() for path in files}
    trees = {path: ast.parse(path.read_text("utf-8")) for path in files if not names[path].startswith(NOT_SHOWN)}
    kinds = FAULTS | _heirs(list(trees.values()))
    found = {
        Line(names[path], number, text)
        for path, tree in trees.items()
        for number, text in _Module(tree, kinds).lines()
        if says_something(text)
    }
    return tuple(sorted(found))


def says_something(text: str) -> bool:
    """Whether there are two words of ours in it."""
    return len(re.findall(r"[A-Za-z_]{2,}", text.replace(GAP, " "))) >= 2


def _heirs(trees: list[ast.Module]) -> set[str]:
    """Names of exception classes that are faults because a base of theirs is."""
    bases = {
        node.name: {_name(base) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    heirs: set[str] = set()
    while more := {name for name, own in bases.items() if own & (FAULTS | heirs)} - heirs:
        heirs |= more
    return heirs


class _Module:
    """One module: constants, functions that make a text, and functions that make a fault of a text they are given."""

    def __init__(self, tree: ast.Module, kinds: set[str]) -> None:
        self.tree = tree
        self.kinds = set(kinds)
        self.functions = {
            node.name: node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        self.constants = _assigned(tree.body)
        self.holders = self._holders()

    def lines(self) -> Iterator[tuple[int, str]]:
        for scope in [self.tree, *self.functions.values()]:
            local = {} if scope is self.tree else _assigned(ast.walk(scope))
            raised = {node.exc for node in ast.walk(scope) if isinstance(node, ast.Raise)}
            for node in ast.walk(scope):
                if not isinstance(node, ast.Call) or _name(node.func) in NEVER_SHOWN:
                    continue
                if node in raised or _name(node.func) in self.kinds | self.holders or _gathers(node):
                    for argument in self._said(node):
                        yield from ((node.lineno, text) for text in self.texts(argument, local))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Tuple):
                yield from self._entry(node)
        for statement in self.tree.body:
            yield from self._table(statement)

    def _said(self, call: ast.Call) -> list[ast.expr]:
        spoken = [keyword.value for keyword in call.keywords if keyword.arg not in WORDS]
        return [*call.args, *spoken]

    def _holders(self) -> set[str]:
        """Functions of this module that hand a text of their caller on to a fault: their calls are looked at like faults."""
        found: set[str] = set()
        while True:
            more = {name for name, node in self.functions.items() if name not in found and self._hands_on(node, found)}
            if not more:
                return found
            found |= more

    def _hands_on(self, function: ast.FunctionDef | ast.AsyncFunctionDef, holders: set[str]) -> bool:
        given = {one.arg for one in [*function.args.args, *function.args.kwonlyargs]}
        return any(
            isinstance(node, ast.Call)
            and (_name(node.func) in self.kinds | holders)
            and any(isinstance(one, ast.Name) and one.id in given for one in self._said(node))
            for node in ast.walk(function)
        )

    def texts(self, node: ast.expr, local: dict[str, list[ast.expr]], depth: int = 0) -> list[str]:
        """What an expression may say, [] when it is no text of this module."""
        if depth > 4:
            return []
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            return ["".join(_piece(part) for part in node.values)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left = self.texts(node.left, local, depth + 1) or [GAP]
            right = self.texts(node.right, local, depth + 1) or [GAP]
            return [one + other for one in left for other in right]
        if isinstance(node, ast.IfExp):
            return self.texts(node.body, local, depth + 1) + self.texts(node.orelse, local, depth + 1)
        if isinstance(node, ast.BoolOp):
            return [text for part in node.values for text in self.texts(part, local, depth + 1)]
        if isinstance(node, ast.Name):
            known = local.get(node.id) or self.constants.get(node.id) or []
            return [text for value in known for text in self.texts(value, local, depth + 1)]
        if isinstance(node, ast.Call):
            return self._made_by(node, depth)
        return []

    def _made_by(self, call: ast.Call, depth: int) -> list[str]:
        function = self.functions.get(_name(call.func))
        if function is None or _name(call.func) in self.holders:
            return []
        local = _assigned(ast.walk(function))
        returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
        return [text for value in returned for text in self.texts(value, local, depth + 1)]

    def _entry(self, entry: ast.Tuple) -> Iterator[tuple[int, str]]:
        """Of a vendor's table: (…, the class, what it says)."""
        classes = [at for at, one in enumerate(entry.elts) if _name(one) in self.kinds]
        for one in entry.elts[classes[0] + 1 :] if classes else []:
            yield from ((one.lineno, text) for text in self.texts(one, {}))

    def _table(self, statement: ast.stmt) -> Iterator[tuple[int, str]]:
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
            return
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if any(TABLES.fullmatch(_name(target)) for target in targets):
            for node in ast.walk(statement.value):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") > 2:
                    yield node.lineno, node.value


def _assigned(nodes: Iterator[ast.AST] | list[ast.stmt]) -> dict[str, list[ast.expr]]:
    """Name -> what is assigned to it."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                found.setdefault(_name(target), []).append(node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            found.setdefault(_name(node.target), []).append(node.value)
    return found


def _gathers(call: ast.Call) -> bool:
    """Whether it puts a line to those that are shown together: `found.missing.append(…)`."""
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "append"
        and _name(call.func.value) in ("missing", "wrong", "problems")
    )


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _piece(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else GAP
