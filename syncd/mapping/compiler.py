"""Turns the fields of one rule into one Python function, and single expressions into functions of their own.

Plain paths, filters and operators become Python code; templates with statements of one rule are evaluated together by one
Jinja2 template. What comes out never raises on any signal: a value that fails is a FieldFault, the others stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import nodes
from jinja2.environment import Template
from jinja2.runtime import Undefined

from syncd.mapping.expressions import Expression, Sandbox, chain_of, text_pieces
from syncd.mapping.model import FieldFault
from syncd.mapping.values import LONGEST, clean, is_empty, item, path
from syncd.signals import Person, Signal

Tree = Any
"""What stands in a field: an Expression, a literal, or a list or dict of these."""
FieldMaker = Callable[[Signal, Person], tuple[list[dict[str, Any]], list[FieldFault]]]
"""(signal, person) -> one dict of values a group (empty ones left out), and the faults."""


def compile_groups(groups: Sequence[Mapping[str, Tree]], sandbox: Sandbox, *, only_jinja: bool = False) -> FieldMaker:
    """One function for all fields of all groups (`fields`, `on_create`) of a rule. `only_jinja` evaluates every
    expression by Jinja2: slower and the same, which a test holds."""
    writer = _Writer(sandbox, only_jinja)
    lines = [f"    out{number} = {{}}" for number in range(len(groups))]
    for number, group in enumerate(groups):
        for name, tree in group.items():
            lines += writer.field(f"out{number}", name, tree)
    results = ", ".join(f"out{number}" for number in range(len(groups)))
    head = ["def make(s, p):", "    faults = []", *writer.prelude()]
    return writer.build([*head, *lines, f"    return [{results}], faults"])


def compile_value(tree: Tree, sandbox: Sandbox) -> Callable[[Signal | None, Person], Any]:
    """One value by itself, unclean. The function may raise: ValueFault mostly."""
    writer = _Writer(sandbox, only_jinja=False)
    code = writer.tree(tree)
    return writer.build(["def make(s, p):", *writer.prelude(), f"    return {code}"])


def as_condition(value: Any) -> bool:
    """Does a `when:` hold? Everything holds but false, zero and what is empty."""
    return bool(value) and not is_empty(value)


def explain(error: BaseException) -> str:
    """One line of what failed, for a dead letter."""
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return text if type(error).__module__.startswith("syncd.") else f"{text} ({type(error).__name__})"


ROOTS = {"signal": "s", "person": "p", "company": "c"}
"""What the roots of paths are called in generated code."""


class _Failed:
    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


@dataclass
class _Jinja:
    """The templates of a rule that need Jinja2: evaluated as one, and one by one when that fails."""

    sandbox: Sandbox
    bodies: list[list[nodes.Node]] = field(default_factory=list)
    together: Template | None = None
    alone: list[Template] = field(default_factory=list)
    needs_company: bool = False

    def add(self, expression: Expression, *, as_value: bool) -> int:
        name = f"result{len(self.bodies)}"
        self.needs_company = self.needs_company or any(part.startswith("company.") for part in expression.uses)
        target = nodes.Name(name, "store")
        if as_value and expression.node is not None:
            self.bodies.append([nodes.Assign(target, expression.node)])
        else:
            trimmed = nodes.Filter(None, "trim", [], [], None, None)  # as other text is
            self.bodies.append([nodes.AssignBlock(target, trimmed, text_pieces(expression.body))])
        return len(self.bodies) - 1

    def compile(self) -> None:
        self.together = self._template([node for body in self.bodies for node in body])
        self.alone = [self._template(body) for body in self.bodies] if len(self.bodies) > 1 else [self.together]

    def _template(self, body: list[nodes.Node]) -> Template:
        tree = nodes.Template(body, lineno=1)
        tree.set_environment(self.sandbox)
        tree.set_lineno(1, override=True)
        code = self.sandbox.compile(tree)
        return Template.from_code(self.sandbox, code, {}, None)

    def __call__(self, signal: Signal | None, person: Person) -> list[Any]:
        assert self.together is not None
        try:
            found = self._run(self.together, signal, person)
            return [_known(found.get(f"result{number}")) for number in range(len(self.bodies))]
        except Exception:  # noqa: BLE001 - each is tried by itself, and its error reported
            return [self._one(number, signal, person) for number in range(len(self.bodies))]

    def _one(self, number: int, signal: Signal | None, person: Person) -> Any:
        try:
            return _known(self._run(self.alone[number], signal, person).get(f"result{number}"))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this field's fault and nobody else's
            return _Failed(error)

    def _run(self, template: Template, signal: Signal | None, person: Person) -> dict[str, Any]:
        self.sandbox.room.left = LONGEST
        company = self.sandbox.company(signal, person) if self.needs_company else None
        context = template.new_context({"signal": signal, "person": person, "company": company})
        for _ in template.root_render_func(context):
            pass
        return context.vars


def _known(value: Any) -> Any:
    return None if isinstance(value, Undefined) else value


def _use(value: Any) -> Any:
    if value.__class__ is _Failed:
        raise value.error
    return value


def _fault(faults: list[FieldFault], name: str, error: Exception) -> None:
    faults.append(FieldFault(name, explain(error)))


class _Writer:
    """Writes the Python of one function; constants and filters are its globals."""

    def __init__(self, sandbox: Sandbox, only_jinja: bool) -> None:
        self.sandbox = sandbox
        self.only_jinja = only_jinja
        self.globals: dict[str, Any] = {
            "__builtins__": {"Exception": Exception},
            "clean": clean,
            "item": item,
            "path": path,
            "use": _use,
            "fault": _fault,
            "company": sandbox.company,
        }
        self.needs_company = False
        self.jinja = _Jinja(sandbox)

    def build(self, lines: list[str]) -> Callable[..., Any]:
        exec(compile("\n".join(lines), "<mapping>", "exec"), self.globals)  # noqa: S102 - our own code: names are ours
        made: Callable[..., Any] = self.globals["make"]
        return made

    def prelude(self) -> list[str]:
        """What runs before the fields. Called when all of them are written."""
        lines = ["    c = company(s, p)"] if self.needs_company else []
        if self.jinja.bodies:
            self.jinja.compile()
            self.globals["jinja"] = self.jinja
            lines.append("    j = jinja(s, p)")
        return lines

    def field(self, target: str, name: str, tree: Tree) -> Iterator[str]:
        key = self.constant(name)
        yield "    try:"
        yield f"        v = clean({self.tree(tree)})"
        yield "        if v is not None:"
        yield f"            {target}[{key}] = v"
        yield "    except Exception as e:"
        yield f"        fault(faults, {key}, e)"

    def constant(self, value: Any) -> str:
        if value is None or value is True or value is False or type(value) in (str, int):
            return repr(value)
        name = f"k{len(self.globals)}"
        self.globals[name] = value
        return name

    def tree(self, tree: Tree) -> str:
        if isinstance(tree, Expression):
            if tree.node is None or self.only_jinja:
                return f"use(j[{self.jinja.add(tree, as_value=tree.node is not None)}])"
            return self.code(tree.node)
        if isinstance(tree, list):
            return f"[{', '.join(self.tree(each) for each in tree)}]"
        if isinstance(tree, dict):
            return f"{{{', '.join(f'{self.constant(key)}: {self.tree(each)}' for key, each in tree.items())}}}"
        return self.constant(tree)

    def code(self, node: nodes.Node) -> str:
        """The Python of a lowered expression."""
        match node:
            case nodes.Const():
                return self.constant(node.value)
            case nodes.Or():
                return f"({self.code(node.left)} or {self.code(node.right)})"
            case nodes.And():
                return f"({self.code(node.left)} and {self.code(node.right)})"
            case nodes.Not():
                return f"(not {self.code(node.node)})"
            case nodes.CondExpr(test=test, expr1=yes, expr2=no) if no is not None:
                return f"({self.code(yes)} if {self.code(test)} else {self.code(no)})"
            case nodes.Compare(ops=[operand]):
                sign = "==" if operand.op == "eq" else "!="
                return f"({self.code(node.expr)} {sign} {self.code(operand.expr)})"
            case nodes.Filter(node=value) if value is not None:
                return self._filter(node, value)
            case nodes.Getattr() | nodes.Getitem():
                return self._part(node)
            case nodes.List() | nodes.Tuple():
                return f"[{', '.join(self.code(each) for each in node.items)}]"
            case nodes.Dict():
                pairs = ", ".join(f"{self.code(pair.key)}: {self.code(pair.value)}" for pair in node.items)
                return f"{{{pairs}}}"
        raise AssertionError(f"no code for {type(node).__name__}")  # the check lets nothing else through

    def _filter(self, node: nodes.Filter, value: nodes.Expr) -> str:
        name = f"f_{''.join(c if c.isalnum() else '_' for c in node.name)}"
        self.globals[name] = self.sandbox.filters[node.name]
        named = [f"{pair.key}={self.code(pair.value)}" for pair in node.kwargs if isinstance(pair, nodes.Keyword)]
        return f"{name}({', '.join([self.code(value), *map(self.code, node.args), *named])})"

    def _part(self, node: nodes.Getattr | nodes.Getitem) -> str:
        chain = chain_of(node)
        if chain is None:
            key = self.constant(node.attr) if isinstance(node, nodes.Getattr) else self.code(node.arg)
            return f"item({self.code(node.node)}, {key})"
        chain = ["person", *chain[2:]] if chain[:2] == ["signal", "person"] else chain
        root, part, *rest = chain
        if root == "signal" and part in ("id", "route"):
            return f"item(s, {part!r})"
        self.needs_company = self.needs_company or root == "company"
        whole = f"{ROOTS[str(root)]}.{part}"
        return f"path({', '.join([whole, *map(self.constant, rest)])})" if rest else whole
