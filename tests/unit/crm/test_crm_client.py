"""What every CRM's client counts, what a field maker says, and how answers of any shape are read, on a CRM of no vendor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.capabilities import FieldDescription, MissingField, PrepareResult
from syncd.connector import Allowance, Usage
from syncd.connectors.answers import mappings
from syncd.connectors.crm.client import CrmClient, each, pages_from
from syncd.connectors.crm.missing_fields import FieldMaker, Known
from syncd.errors import AuthExpired, Failure, Rejected, Transient
from syncd.http.client import Response
from syncd.http.error_table import ANY_FIELD, ErrorTable, Means, VendorError, error_at

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Wire:
    """An HttpClient that gives these answers, or raises them."""

    def __init__(self, *answers: Response | Failure) -> None:
        self.answers = list(answers)
        self.exchanges = 0

    def request(self, method: str, path: str, **sent: object) -> Response:
        self.exchanges += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Failure):
            raise answer
        return answer


class Client(CrmClient):
    unit = "points"
    when_refused = "; is the user active?"

    def query(self, statements: Sequence[str]) -> list[list[dict[str, Any]]]:
        return []

    def usage_of(self, response: Response) -> tuple[float, float] | None:
        used = response.headers.get("used", "")
        return (float(used), 100.0) if used else None


def client(*answers: Response | Failure) -> Client:
    wire: Any = Wire(*answers)
    return Client(wire, lambda: NOW)


def answer(**headers: str) -> Response:
    return Response(200, headers, b"{}", write=False)


def test_calls_and_units_are_told_once_and_the_newest_allowance_is_kept() -> None:
    crm = client(answer(), Transient("no answer"), answer(used="7"), answer())
    crm._call("GET", "/a", None, {}, False, 3.0)
    with pytest.raises(Transient):
        crm._call("GET", "/b", None, {}, False, 2.0)
    assert (crm.spend(), crm.spend(), crm.allowance()) == (Usage(2, 5.0), Usage(0, 0.0), None)
    crm._call("GET", "/c", None, {}, False)
    crm._call("GET", "/d", None, {}, False)
    assert crm.spend() == Usage(2, 2.0), "a call costs one unit at least"
    assert crm.allowance() == Allowance("points", 7.0, 100.0, NOW)


def test_a_configured_maximum_counts_until_an_answer_tells_one() -> None:
    crm = client(answer(used="7"))
    crm._maximum = 50
    assert crm.allowance() == Allowance("points", 0.0, 50.0, NOW)
    crm._call("GET", "/", None, {}, False)
    assert crm.allowance() == Allowance("points", 7.0, 100.0, NOW)


def test_pages_are_read_from_offset_to_offset_up_to_a_depth() -> None:
    asked: list[int] = []

    def page(offset: int) -> tuple[list[dict[str, Any]], bool]:
        asked.append(offset)
        return [{"id": offset}, {"id": offset + 1}], offset < 4

    assert [row["id"] for row in pages_from(page, most=100)] == [0, 1, 2, 3, 4, 5]
    assert asked == [0, 2, 4]
    assert len(pages_from(page, most=3)) == 4, "no page begins behind the depth"
    assert pages_from(lambda _: ([], False), most=3) == []


def test_the_units_that_a_header_leaves_of_the_configured_maximum() -> None:
    class Counted(CrmClient):
        unit = "points"
        when_refused = ""
        remaining = "x-left"

        def query(self, statements: Sequence[str]) -> list[list[dict[str, Any]]]:
            return []

    crm = Counted(Wire(), lambda: NOW, 50)  # type: ignore[arg-type]
    read = [crm.usage_of(Response(200, {"x-left": left}, b"", False)) for left in ("20", "90", "many", "")]
    assert read == [(30.0, 50.0), (0.0, 50.0), None, None]
    assert Counted(Wire(), lambda: NOW).usage_of(Response(200, {"x-left": "20"}, b"", False)) is None  # type: ignore[arg-type]


def test_each_statement_is_answered_in_its_order_and_the_first_failure_is_raised() -> None:
    assert each(str, [3, 1, 2], at_once=2) == ["3", "1", "2"]
    assert each(str, [], at_once=2) == []

    def refuse(thing: int) -> str:
        raise Rejected(f"no {thing}", code="no")

    for things in ([1], [1, 2, 3]):
        with pytest.raises(Rejected, match="no 1"):
            each(refuse, things, at_once=2)


def test_a_token_that_is_refused_twice_says_where_to_look() -> None:
    with pytest.raises(AuthExpired, match=r"^401: refused; is the user active\?$"):
        client(AuthExpired("refused", code="401"))._call("GET", "/", None, {}, False)


@dataclass
class Maker(FieldMaker):
    """Makes fields of things, unless they are called Full."""

    made: set[str]
    noun = "table "

    def describe(self, objects: Sequence[str]) -> Known:
        fields = [FieldDescription(name=name) for name in sorted(self.made)]
        return {name: fields for name in objects if name == "Thing"}

    def unmakeable(self, need: MissingField, known: Known) -> str:
        return "not with this name" if " " in need.field else ""

    def screen(self, need: MissingField) -> str:
        return f"Setup, {need.object}"

    def form(self, need: MissingField) -> str:
        return f"Text ({need.length})"

    def by_hand(self, need: MissingField) -> str:
        return f"{self.screen(need)}: {need.field}"

    def make(self, need: MissingField) -> PrepareResult:
        if need.field == "Full":
            return self.refused(need, "no room")
        self.made.add(need.field)
        return PrepareResult(need, self.there(need), "is made")


def test_what_is_made_planned_or_left_to_an_operator() -> None:
    maker = Maker({"There"})
    needs = [MissingField(object="Thing", field=name, length=80) for name in ("There", "New", "Full", "No Name")]
    needs.append(MissingField(object="Nothing", field="New", length=80))
    told = [(step.done, step.message, step.by_hand) for step in maker.prepare(needs, dry=True)]
    assert told == [
        (True, "Thing.There is there", False),
        (False, "would make Thing.New: Text (80)", False),
        (False, "would make Thing.Full: Text (80)", False),
        (False, "not with this name", True),
        (False, "there is no table Nothing, or our user may not see it: correct the mapping", True),
    ]
    made, full = list(maker.prepare(needs[1:3], dry=False))
    assert (made.done, full.message) == (True, "Thing.Full could not be made: no room. By hand: Setup, Thing: Full")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"a": {"b": [{"x": 1}, 2, None]}}, [{"x": 1}]),
        ({"a": []}, []),
        ({"a": {"b": "text"}}, []),
        ([], []),
        (None, []),
    ],
)
def test_the_objects_of_a_list_somewhere(body: Any, found: list[Mapping[str, Any]]) -> None:
    assert mappings(body, "a.b") == found
    assert mappings(found) == found


def test_any_field_that_an_error_names() -> None:
    codes = {"FULL": Means(Transient)}
    table = ErrorTable("", codes, error_at("code"), fields={("FULL", ANY_FIELD): Means(Rejected)})
    assert isinstance(table.of_row([VendorError("FULL", "x", "Lines")]), Rejected)
    assert isinstance(table.of_row([VendorError("FULL", "x")]), Transient)
