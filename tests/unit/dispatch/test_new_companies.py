"""In which order new companies are made: parents first, and no loop."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syncd.dispatch.new_companies import NewCompany, cut_loops, in_waves
from syncd.dispatch.people import PersonLookup


def companies(above: dict[str, str]) -> list[NewCompany]:
    needs = {name: PersonLookup(name) for name in {*above, *above.values()} if name}
    nothing: Any = None
    return [NewCompany(needs[name], nothing, nothing, parent=needs.get(parent)) for name, parent in above.items()]


def names(waves: list[list[NewCompany]]) -> list[list[str]]:
    return [[one.need.identity for one in wave] for wave in waves]


def test_parents_go_first() -> None:
    new = companies({"c": "b", "b": "a", "x": "known", "a": "", "y": "a"})
    assert list(cut_loops(new)) == []
    assert names(in_waves(new)) == [["x", "a"], ["b", "y"], ["c"]]


def test_the_first_of_a_loop_loses_its_parent() -> None:
    new = companies({"under": "a", "a": "b", "b": "c", "c": "a", "own": "own"})
    assert [one.need.identity for one in cut_loops(new)] == ["a", "own"]
    assert names(in_waves(new)) == [["a", "own"], ["under", "c"], ["b"]]


NAMES = st.sampled_from("abcdefg")


@given(st.dictionaries(NAMES, NAMES | st.just("")))
def test_every_company_is_made_once_after_its_parent(above: dict[str, str]) -> None:
    new = companies(above)
    cut = {one.need.identity for one in cut_loops(new)}
    waves = names(in_waves(new))
    place = {name: depth for depth, wave in enumerate(waves) for name in wave}
    assert sorted(name for wave in waves for name in wave) == sorted(above)
    for name, parent in above.items():
        if name not in cut and parent in place:
            assert place[parent] < place[name]
