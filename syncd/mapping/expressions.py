"""Templates of the mapping language: parsed by Jinja2, checked against what is known, lowered to total operators.

The compiler turns what comes out into Python, or into a Jinja2 template where there are statements. No call, method or
attribute of Python is reachable: the language has data, operators and filters only.
"""

from __future__ import annotations

import difflib
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.runtime import ChainableUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from syncd.mapping.companies import CompanyFrom, company_from
from syncd.mapping.filters import Filter
from syncd.mapping.values import LONGEST, OPEN_PARTS, OPERATORS, PARTS_OF, TESTS, ValueFault, item, to_text

_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem),
    *(nodes.Filter, nodes.Or, nodes.And, nodes.Not, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.Concat),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.List),
    *(nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Slice, nodes.Test, nodes.If, nodes.For, nodes.Assign),
)
_STATEMENTS = (nodes.If, nodes.For, nodes.Assign)
_BINARY: dict[type[nodes.Node], str] = {
    nodes.Add: "add",
    nodes.Sub: "sub",
    nodes.Mul: "mul",
    nodes.Div: "div",
    nodes.FloorDiv: "floordiv",
    nodes.Mod: "mod",
}
OPERATOR_PREFIX = "operator:"
TEST_PREFIX = "is:"
PRINTED = "printed:"
NAMES = tuple(PARTS_OF)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2 without anything to get hold of: names are looked up in data alone, and there is nothing to call."""

    def __init__(self, filters: Mapping[str, Filter]) -> None:
        super().__init__(undefined=ChainableUndefined, autoescape=False, keep_trailing_newline=True)
        operators = {OPERATOR_PREFIX + name: function for name, function in OPERATORS.items()}
        tests = {TEST_PREFIX + name: function for name, function in TESTS.items()}
        self.filters = {**filters, **operators, **tests, PRINTED: self.printed}
        self.room = threading.local()
        self.company: CompanyFrom = company_from
        self.tests = {}
        self.globals = {}
        self.known_filters = tuple(filters)

    def printed(self, value: Any) -> str:
        """Text of a piece inside a template with statements; a loop that prints without end is stopped."""
        words = to_text(value)
        self.room.left -= len(words)
        if self.room.left < 0:
            raise ValueFault(f"more than {LONGEST:,} characters; use the filter shorten")
        return words

    def getattr(self, obj: Any, attribute: str) -> Any:
        return item(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return item(obj, argument)

    def call(self, *_args: Any, **_kwargs: Any) -> Any:
        raise ValueFault("there is nothing to call in a mapping")


@dataclass(frozen=True)
class TemplateFault:
    """What is wrong with a template, and what might have been meant."""

    message: str
    hint: str = ""


@dataclass(frozen=True)
class Expression:
    """A checked and lowered template. `node`: the one expression it is, or the text its pieces make; None when it has
    statements, then `body` is what Jinja2 runs. `whole`: its value keeps its type. `uses`: the parts it reads, as in
    `person.email`."""

    source: str
    node: nodes.Expr | None
    body: tuple[nodes.Node, ...]
    whole: bool
    uses: frozenset[str]


def is_template(text: str) -> bool:
    """Has the text anything to evaluate?"""
    return "{{" in text or "{%" in text or "{#" in text


def parse(text: str, sandbox: Sandbox, names: Iterable[str] = NAMES) -> Expression | list[TemplateFault]:
    """A template checked against the known names and filters; everything wrong with it at once."""
    try:
        template = sandbox.parse(text)
    except TemplateSyntaxError as error:
        return [TemplateFault(f"bad template: {error.message or 'syntax error'}", _syntax_hint(text))]
    except RecursionError:
        return [TemplateFault("bad template: nested too deeply")]
    wrong = list(dict.fromkeys(_check(template, sandbox, tuple(names))))
    if wrong:
        return wrong
    uses = frozenset(_uses(template))
    template = _Lower(sandbox).visit(template)
    template.set_environment(sandbox)
    return _classified(text, template, uses)


def _syntax_hint(text: str) -> str:
    return "a {{ has no }}" if text.count("{{") != text.count("}}") else ""


def _classified(text: str, template: nodes.Template, uses: frozenset[str]) -> Expression:
    body = tuple(template.body)
    if any(not isinstance(node, nodes.Output) for node in body):
        return Expression(text, None, body, False, uses)
    pieces = [piece for node in body if isinstance(node, nodes.Output) for piece in node.nodes]
    real = [piece for piece in pieces if not (isinstance(piece, nodes.TemplateData) and not piece.data.strip())]
    if len(real) == 1 and not isinstance(real[0], nodes.TemplateData):
        return Expression(text, real[0], body, True, uses)
    parts = [nodes.Const(piece.data) if isinstance(piece, nodes.TemplateData) else piece for piece in pieces]
    joined = _operator("concat", parts[0], parts[1:]) if parts else nodes.Const("")
    joined = nodes.Filter(joined, "trim", [], [], None, None)
    return Expression(text, joined, body, False, uses)


# ------------------------------------------------------------------------------------------------------------ check


def _check(template: nodes.Template, sandbox: Sandbox, names: tuple[str, ...]) -> Iterator[TemplateFault]:
    stored = {name.name for name in template.find_all(nodes.Name) if name.ctx == "store"}
    for name in sorted(stored & set(NAMES)):
        yield TemplateFault(f"{name} cannot be given another value")
    known = (*names, *(stored - set(names)))
    yield from _check_node(template, sandbox, known)
    for loop in template.find_all(nodes.For):
        if any(True for _ in loop.find_all(nodes.For)):
            yield TemplateFault("a loop inside a loop")


def _check_node(node: nodes.Node, sandbox: Sandbox, known: tuple[str, ...]) -> Iterator[TemplateFault]:
    match node:
        case nodes.Call():
            yield TemplateFault("a mapping calls nothing", _call_hint(node, sandbox))
            return
        case nodes.Name():
            yield from _check_name(node, known)
        case nodes.Getattr() | nodes.Getitem():
            chain = _chain(node)
            if chain:
                yield from _check_chain(chain, known)
                return
        case nodes.Filter():
            yield from _check_filter(node, sandbox)
        case nodes.Test():
            if node.name not in TESTS:
                yield TemplateFault(f"unknown test `is {node.name}`", _meant(node.name, TESTS))
        case nodes.Compare() | nodes.Template() | nodes.Output():
            pass
        case _ if not isinstance(node, _ALLOWED):
            yield TemplateFault(f"{type(node).__name__.lower()} is not part of the mapping language")
            return
    for child in node.iter_child_nodes():
        yield from _check_node(child, sandbox, known)


def _call_hint(node: nodes.Call, sandbox: Sandbox) -> str:
    callee = node.node
    name = callee.attr if isinstance(callee, nodes.Getattr) else callee.name if isinstance(callee, nodes.Name) else ""
    return f"write … | {name}" if name in sandbox.known_filters else "use a filter, as in {{ signal.title | upper }}"


def _check_name(node: nodes.Name, known: tuple[str, ...]) -> Iterator[TemplateFault]:
    if node.ctx == "store":
        return
    if node.name in NAMES and node.name in known:
        yield TemplateFault(
            f"{node.name} is not one value", f"name a part of it, such as {node.name}.{_example(node.name)}"
        )
    elif node.name not in known:
        yield TemplateFault(f"unknown name {node.name}", _name_hint(node.name, known))


def _example(name: str) -> str:
    return {"signal": "title", "person": "email"}.get(name, "name")


def _name_hint(name: str, known: tuple[str, ...]) -> str:
    for whole, parts in PARTS_OF.items():
        if name in parts and whole in known:
            return f"did you mean {whole}.{name}?"
    return _meant(name, known)


def _check_chain(chain: list[str | int], known: tuple[str, ...]) -> Iterator[TemplateFault]:
    root, *rest = chain
    if root not in known:
        yield from _check_name(nodes.Name(str(root), "load"), known)
        return
    walked = str(root)
    if walked == "signal" and rest[0] == "person":
        if len(rest) == 1:
            yield TemplateFault("signal.person is not one value", "name a part of it, such as person.email")
            return
        walked, rest = "person", rest[1:]
    parts = PARTS_OF.get(walked)
    if parts is None:
        return
    if rest[0] not in parts:
        yield TemplateFault(f"unknown part {walked}.{rest[0]}", _meant(str(rest[0]), parts, f"{walked}."))
    elif len(rest) > 1 and rest[0] not in OPEN_PARTS:
        yield TemplateFault(
            f"{walked}.{rest[0]} has no parts", "what the vendor said is below signal.data and person.raw"
        )


def _check_filter(node: nodes.Filter, sandbox: Sandbox) -> Iterator[TemplateFault]:
    if node.node is None:
        yield TemplateFault("filter blocks are not part of the mapping language")
        return
    if node.name not in sandbox.known_filters:
        yield TemplateFault(f"unknown filter {node.name}", _meant(node.name, sandbox.known_filters))
        return
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        yield TemplateFault(f"the filter {node.name} takes its arguments one by one")
        return
    yield from _check_arguments(node, sandbox.filters[node.name])


def _check_arguments(node: nodes.Filter, function: Callable[..., Any]) -> Iterator[TemplateFault]:
    constants: list[Any] = []
    named: dict[str, Any] = {}
    names = [pair.key for pair in _keywords(node)]
    try:
        constants = [argument.as_const() for argument in node.args]
        named = {pair.key: pair.value.as_const() for pair in _keywords(node)}
        trial = True
    except nodes.Impossible:
        trial = False
    try:
        inspect.signature(function).bind(None, *node.args, **dict.fromkeys(names))
        if trial:
            function(None, *constants, **named)
    except ValueFault as error:
        yield TemplateFault(str(error))
    except TypeError as error:
        yield TemplateFault(f"the filter {node.name}: {error}", _usage(node.name, function))


def _keywords(node: nodes.Filter) -> list[nodes.Keyword]:
    pairs: list[nodes.Node] = [*node.kwargs]  # the stubs call them Pair; the parser makes Keyword
    return [pair for pair in pairs if isinstance(pair, nodes.Keyword)]


def _usage(name: str, function: Callable[..., Any]) -> str:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    shown = ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters)
    return f"write {name}({shown})" if shown else f"write {name} without arguments"


def _meant(word: str, known: Iterable[str], prefix: str = "") -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"did you mean {prefix}{near[0]}?"
    return f"there are: {', '.join(names)}" if len(names) <= 30 else ""


# ------------------------------------------------------------------------------------------------------------ chains


def _chain(node: nodes.Node) -> list[str | int] | None:
    """`signal.data.x[0]` -> ["signal", "data", "x", 0]; None when it does not start at a name or has a computed part."""
    keys: list[str | int] = []
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        if isinstance(node, nodes.Getattr):
            keys.append(node.attr)
        elif isinstance(node.arg, nodes.Const) and type(node.arg.value) in (str, int):
            keys.append(node.arg.value)
        elif isinstance(node.arg, nodes.Neg) and isinstance(node.arg.node, nodes.Const):
            keys.append(-node.arg.node.value)
        else:
            return None
        node = node.node
    return [node.name, *reversed(keys)] if isinstance(node, nodes.Name) else None


def chain_of(node: nodes.Node) -> list[str | int] | None:
    """The path a node reads from `signal`, `person` or another name; None for any other expression."""
    return _chain(node) if isinstance(node, (nodes.Getattr, nodes.Getitem)) else None


def _uses(template: nodes.Node) -> Iterator[str]:
    for node in template.find_all((nodes.Getattr, nodes.Getitem)):
        chain = _chain(node)
        if chain:
            chain = ["person", *chain[2:]] if chain[:2] == ["signal", "person"] else chain
            yield ".".join(str(part) for part in chain[:2])


# ------------------------------------------------------------------------------------------------------------ lower


def _operator(name: str, value: nodes.Expr, others: Iterable[nodes.Expr] = ()) -> nodes.Filter:
    return nodes.Filter(value, OPERATOR_PREFIX + name, list(others), [], None, None)


class _Lower(NodeTransformer):
    """Replaces every operator that could raise on data by a filter that does not, so that both back ends agree."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        super().generic_visit(node, *args, **kwargs)
        name = _BINARY.get(type(node))
        if name and isinstance(node, nodes.BinExpr):
            return _operator(name, node.left, [node.right])
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _operator("concat", node.nodes[0], node.nodes[1:])

    def visit_Neg(self, node: nodes.Neg) -> nodes.Node:
        if isinstance(node.node, nodes.Const) and type(node.node.value) in (int, float):
            return nodes.Const(-node.node.value)
        self.generic_visit(node)
        return _operator("neg", node.node)

    def visit_Pos(self, node: nodes.Pos) -> nodes.Node:
        return self.visit(node.node)  # type: ignore[no-any-return]

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        self.generic_visit(node)
        return nodes.Filter(node.node, TEST_PREFIX + node.name, [], [], None, None)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:
        self.generic_visit(node)
        return nodes.CondExpr(node.test, node.expr1, node.expr2 or nodes.Const(None))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        left, whole = node.expr, None
        for operand in node.ops:
            if operand.op in ("eq", "ne"):
                step: nodes.Expr = nodes.Compare(left, [operand])
            else:
                step = _operator(operand.op, left, [operand.expr])
            whole = step if whole is None else nodes.And(whole, step)
            left = operand.expr
        return whole or node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = [bound or nodes.Const(None) for bound in (node.arg.start, node.arg.stop, node.arg.step)]
        return _operator("slice", node.node, bounds)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.iter, nodes.Expr):
            node.iter = _operator("each", node.iter)
        return node


def text_pieces(body: Iterable[nodes.Node]) -> list[nodes.Node]:
    """The body of a template with statements, each printed piece made text the language's way."""
    return [_Printed().visit(node) for node in body]


class _Printed(NodeTransformer):
    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        pieces = [
            piece if isinstance(piece, nodes.TemplateData) else nodes.Filter(piece, PRINTED, [], [], None, None)
            for piece in node.nodes
        ]
        return nodes.Output(pieces)
