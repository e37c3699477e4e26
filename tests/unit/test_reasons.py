"""Reasons are codes with parameters; what is decided is decided by the code, never by the English words."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

from syncd.dispatch.outcomes import describe
from syncd.errors import AuthExpired, Misconfigured, Rejected
from syncd.store import Store
from syncd.store.lanes import PersonRow, people, put_people
from syncd.store.queue import WRITE_COLUMNS, WriteRow, put_writes, write_row
from syncd.store.schema import writes
from syncd.texts.reasons import SENTENCES, SIGN_IN, Reason, code_of, packed, parameters_of

SYNCD = Path(__file__).parents[2] / "syncd"
WORDS = {"reason", "error", "why", "cause"}
ALLOWED = {
    # file: what is compared there, and why it is not the text of a reason
    "store/migrations/versions/r0007_reason_codes.py": "gives rows of before their codes, by their words",
}


def test_a_reason_reads_as_its_text_and_carries_its_code() -> None:
    reason = Reason("no_linked_record", rule="case")
    assert reason == "there is no record of rule case to link to"
    assert (reason.code, reason.parameters) == ("no_linked_record", {"rule": "case"})
    assert code_of("an old row's words") == ""
    assert pickle.loads(pickle.dumps(reason)).code == "no_linked_record"  # noqa: S301  our own bytes


def test_a_cause_leaves_its_code_too() -> None:
    failure = Rejected("no such value", code="BAD_VALUE", field="Status")
    given_up = Reason("given_up", tries=3, cause=describe(failure))
    assert given_up == "given up after 3 tries: Status: BAD_VALUE: no such value"
    assert given_up.parameters == {"tries": 3, "cause": "Status: BAD_VALUE: no such value", "cause_code": "rejected"}
    assert given_up.of_rule("timeline").parameters["rule"] == "timeline"
    assert given_up.of_rule("timeline").code == "given_up"


def test_the_code_of_a_failure_is_its_class_unless_somebody_must_sign_in() -> None:
    assert describe(AuthExpired("refused")).code == "authexpired"
    assert describe(Misconfigured("gone", code="x", sign_in=True)).code == SIGN_IN
    assert describe(Misconfigured("run: syncd auth crm", code="x")).code == "misconfigured"


def test_braces_of_a_vendor_are_text() -> None:
    assert Reason("stumbled", cause="{x} {}") == "syncd tripped over it: {x} {}"


def test_codes_fit_their_column() -> None:
    assert all(len(code) <= 60 and code.isidentifier() for code in SENTENCES)


def test_rows_keep_text_code_and_parameters(store: Store) -> None:
    reason = Reason("in_doubt", cause="a\0b")
    rows = [WriteRow("r", "k", "Task", "upsert", reason=reason), WriteRow("old", "k", "Task", "upsert", reason="words")]
    store.apply(lambda connection: put_writes(connection, "crm", [("s", row) for row in rows], 1))
    columns = [writes.c[name] for name in WRITE_COLUMNS.split(", ")]
    with store.read() as connection:
        from sqlalchemy import select

        found = {row.rule: row for row in map(write_row, connection.execute(select(*columns)).all())}
    assert code_of(found["r"].reason) == "in_doubt"
    assert parameters_of(packed(found["r"].reason)) == {"cause": "ab"}
    assert (found["old"].reason, code_of(found["old"].reason)) == ("words", "")


def test_people_keep_them_too(store: Store) -> None:
    row = PersonRow("email:a@b.example", state="creating", reason=Reason("alias", identity="phone:+84912345678"))
    store.apply(lambda connection: put_people(connection, "crm", [row]))
    with store.read() as connection:
        kept = people(connection, "crm", [row.identity])[row.identity]
    assert isinstance(kept.reason, Reason)
    assert kept.reason.parameters == {"identity": "phone:+84912345678"}


def test_nothing_is_decided_by_the_words_of_a_reason() -> None:
    found = [
        f"{path.relative_to(SYNCD)}:{line}: {text}"
        for path in sorted(SYNCD.rglob("*.py"))
        if path.relative_to(SYNCD).as_posix() not in ALLOWED and "twins" not in path.parts
        for line, text in _decisions(ast.parse(path.read_text("utf-8")))
    ]
    assert not found, "compare `code_of(reason)`, or the row's `code`, instead of the words:\n" + "\n".join(found)


def test_that_test_finds_what_it_looks_for() -> None:
    wrong: tuple[str, ...] = (
        "row.reason.startswith(X)",
        "health.error in X",
        "'a' in row['reason']",
        "str(row['reason']) == X",
        "why == X",
    )
    wrong += ("table.c.reason != STRANGER", "row.reason.removeprefix('as ')")
    assert [len(list(_decisions(ast.parse(one)))) for one in wrong] == [1] * len(wrong)
    right = ("row.reason == ''", "row.reason or X", "code_of(row.reason) == X", "row.error is None", "'why' in kwargs")
    assert [list(_decisions(ast.parse(one))) for one in right] == [[]] * len(right)


def _decisions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Comparisons of the text of a reason, and questions how it begins or ends."""
    asks = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "split", "find", "index", "like"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            blank = all(
                not _is_text(side) or _nothing(other) for side, other in zip(sides, reversed(sides), strict=True)
            )
            if isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn) and not blank:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and _asks(node.func, asks):
            yield node.lineno, ast.unparse(node)


def _asks(function: ast.expr, asks: set[str]) -> bool:
    return isinstance(function, ast.Attribute) and function.attr in asks and _is_text(function.value)


def _nothing(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in ("", None)


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="str"), args=[ast.Attribute() | ast.Subscript() as inner]):
            return _is_text(inner)
        case ast.Attribute(attr=name):
            return name in WORDS
        case ast.Name(id=name):  # a bare `error` is an exception
            return name in WORDS - {"error"}
        case ast.Subscript(slice=ast.Constant(value=str() as name)):
            return name in WORDS
    return False
