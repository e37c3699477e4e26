"""Which strangers of one batch are one person."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncd.dispatch.joining import MatchKeys, joined


def mail(address: str, *numbers: str, also: str = "") -> MatchKeys:
    return MatchKeys(frozenset({address, *([also] if also else [])}), frozenset(numbers), email=True)


def caller(number: str, *exact: str) -> MatchKeys:
    return MatchKeys(frozenset({f"phone:{number}", *exact}), frozenset({number}), email=False)


def test_colleagues_with_one_number_are_several_people() -> None:
    assert joined([mail("a", "1"), mail("b", "1"), mail("c", "1")]) == ([[0], [1], [2]], [])


def test_a_caller_is_the_only_person_with_the_number() -> None:
    assert joined([caller("1"), mail("a", "1"), mail("b", "2")]) == ([[0, 1], [2]], [])
    assert joined([mail("a", "1"), caller("1"), caller("2")]) == ([[0, 1], [2]], [])


def test_of_a_caller_whose_number_several_have_nobody_can_tell() -> None:
    assert joined([mail("a", "1"), caller("1"), mail("b", "1")]) == ([[0], [2]], [1])


def test_exact_marks_join_along_a_chain() -> None:
    chain = [mail("a"), mail("b"), mail("c", also="a"), mail("d", also="b"), mail("e", also="c")]
    assert joined(chain) == ([[0, 2, 4], [1, 3]], [])
    assert joined([mail("a"), mail("b"), mail("a", also="b"), mail("b")]) == ([[0, 1, 2, 3]], [])


def test_callers_of_one_number_are_one_person() -> None:
    assert joined([caller("1"), caller("2"), caller("1", "customer 7")]) == ([[0, 2], [1]], [])


marks = st.builds(
    MatchKeys,
    st.frozensets(st.sampled_from("abcdef"), min_size=1, max_size=2),
    st.frozensets(st.sampled_from("123"), max_size=2),
    st.booleans(),
)


@given(st.lists(marks, max_size=8))
def test_everybody_is_somewhere_once_and_addresses_are_joined_by_exact_marks_alone(strangers: list[MatchKeys]) -> None:
    groups, unsure = joined(strangers)
    assert sorted([*unsure, *(place for group in groups for place in group)]) == list(range(len(strangers)))
    for group in groups:
        with_email = [place for place in group if strangers[place].email]
        reached, edge = set(with_email[:1]), with_email[:1]
        while edge:  # along exact marks only
            here = strangers[edge.pop()]
            for place in group:
                if place not in reached and strangers[place].exact & here.exact:
                    reached.add(place)
                    edge.append(place)
        assert set(with_email) <= reached


def when(stranger: MatchKeys, first: float, last: float | None = None) -> MatchKeys:
    return MatchKeys(stranger.exact, stranger.numbers, stranger.email, (first,), (first if last is None else last,))


def test_who_had_the_number_when_it_was_used_counts() -> None:
    fay, gus = when(mail("fay", "1"), 5), when(mail("gus", "1"), 7)
    assert joined([when(caller("1"), 1, 9), fay, gus]) == ([[0, 1], [2]], [])
    assert joined([when(caller("1"), 1), when(mail("fay", "1"), 7), gus]) == ([[1], [2]], [0])
    assert joined([when(caller("1"), 6), fay, gus]) == ([[0, 1], [2]], [])
    assert joined([when(caller("1"), 6, 8), fay, gus]) == ([[1], [2]], [0])
    assert joined([when(caller("1"), 8), fay, gus]) == ([[1], [2]], [0])
    assert joined([when(caller("1"), 1), fay]) == ([[0, 1]], [])
