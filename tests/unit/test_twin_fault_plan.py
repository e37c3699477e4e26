"""The twins' fault plan: which call is struck, repeatably, and what is said of a plan that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncd.twins.faults import FaultPlan, FaultPlanError, load
from syncd.twins.wire import make_call


@pytest.mark.parametrize(
    ("which", "struck"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"nth": 3}, [3]),
        ({"every": 2}, [2, 4, 6]),
        ({"every": 2, "times": 2}, [2, 4]),
        ({"after": 2, "times": 1}, [3]),
        ({"after": 1, "nth": 2}, [3]),
        ({"chance": 0.0}, []),
        ({"chance": 1.0, "times": 2}, [1, 2]),
    ],
)
def test_when_a_fault_strikes(which: dict[str, Any], struck: list[int]) -> None:
    plan = FaultPlan([{"on": "GET /a/*", "do": "reset", **which}])
    found = []
    for number in range(1, 7):
        assert plan.fire(make_call("POST", "/a/b")) == []
        if plan.fire(make_call("GET", "/a/b?x=1")):
            found.append(number)
    assert found == struck


def test_chance_is_repeatable() -> None:
    def run(seed: int) -> list[bool]:
        plan = FaultPlan([{"on": "*", "do": "reset", "chance": 0.5, "seed": seed}])
        return [bool(plan.fire(make_call("GET", "/"))) for _ in range(50)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_one_answer_a_call_but_several_that_stack() -> None:
    plan = FaultPlan([{"do": "slow"}, {"do": "reset"}, {"do": "html"}, {"do": "expire_tokens"}])
    assert [f.do for f in plan.fire(make_call("GET", "/"))] == ["slow", "reset", "expire_tokens"]
    assert [f.seen for f in plan.faults] == [1, 1, 0, 1]


def test_a_wrong_plan_names_every_mistake() -> None:
    plan = FaultPlan([{"do": "hang"}], named=["lock"])
    with pytest.raises(FaultPlanError) as caught:
        plan.add(
            [
                {"do": "nope"},
                {"do": "reset", "colour": 1},
                {"do": "lock", "nth": 0},
                {"do": "lock", "chance": 2},
                {"do": "error", "when": "never"},
                {"do": "late", "answer": "smile"},
                {"do": "delete", "object": "Lead"},
                "reset",  # type: ignore[list-item]
            ]
        )
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"fault {n}" for n in range(1, 9)]
    assert "'nope' is not one of" in lines[0]
    assert "does not take colour" in lines[1]
    assert len(plan.faults) == 1


def test_a_plan_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("seed: 7\nfaults:\n  - {on: query, do: reset, every: 3}\n  - {do: slow, seconds: 0.1}\n")
    entries = load(path)
    assert entries == [{"seed": 7, "on": "query", "do": "reset", "every": 3}, {"seed": 8, "do": "slow", "seconds": 0.1}]
    path.write_text("just text")
    with pytest.raises(FaultPlanError, match="must be a list of faults"):
        load(path)
    path.write_text("{")
    with pytest.raises(FaultPlanError, match="not valid YAML"):
        load(path)
