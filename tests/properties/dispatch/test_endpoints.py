"""Who is blamed for failed calls, how long an endpoint rests, and in which groups items are sent again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncd.dispatch.endpoints import RETRY_CALL, Endpoints
from syncd.dispatch.pacing import BREAKER_OPENS_AT, BREAKER_RESTS

NOW = 1_772_442_000_000
calls = st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), max_size=40)


@given(calls)
def test_while_nobody_is_answered_nobody_is_blamed(made: list[set[str]]) -> None:
    endpoints = Endpoints()
    for count, items in enumerate(made, 1):
        again_at = endpoints.failed("Task", sorted(items), NOW, "down")
        assert again_at is not None
        rest = BREAKER_RESTS[min(count - BREAKER_OPENS_AT, len(BREAKER_RESTS) - 1)]
        assert again_at == NOW + (RETRY_CALL if count < BREAKER_OPENS_AT else rest)
        assert endpoints.rests_until("Task", NOW) == (again_at if count >= BREAKER_OPENS_AT else 0)
        assert endpoints.probing("Task") == (count >= BREAKER_OPENS_AT)
        assert endpoints.rests_until("Task", again_at) == 0


@given(calls, st.sampled_from("abcdef"))
def test_one_that_always_fails_is_found_and_blamed_alone(made: list[set[str]], bad: str) -> None:
    endpoints = Endpoints()
    for items in [*made, *({bad, other} for other in "abcdef"), {bad}, set("abcdef") - {bad}, {bad}, {bad}]:
        blamed = []
        if bad not in items:
            endpoints.answered("Task", items)
        elif endpoints.failed("Task", sorted(items), NOW, "500") is None:
            blamed = sorted(items)
        assert blamed in ([], [bad])
    assert blamed == [bad]
    assert not endpoints.failing("Task")


def test_an_outage_that_follows_is_not_the_suspects_fault() -> None:
    endpoints = Endpoints()
    endpoints.failed("Task", ["a", "b"], NOW, "500")
    endpoints.answered("Task", ["b"])
    endpoints.failed("Task", ["c"], NOW, "503")
    assert endpoints.failed("Task", ["a"], NOW, "503") is not None
    endpoints.answered("Task", ["a"])
    assert endpoints.failed("Task", ["a"], NOW, "503") is not None


def test_endpoints_do_not_share_what_is_known() -> None:
    endpoints = Endpoints()
    for _ in range(9):
        endpoints.failed("Task", ["a"], NOW, "503")
    endpoints.answered("Lead", ["a"])
    assert endpoints.rests_until("Task", NOW)
    assert not endpoints.rests_until("Lead", NOW)
    assert not endpoints.failing("Lead")
    assert not endpoints.probing("Lead")
    assert endpoints.reason("Task") == "503"
    endpoints.answered("Task", ["a"])
    assert not endpoints.rests_until("Task", NOW)


@given(st.lists(st.integers(1, 300), max_size=5), st.integers(0, 50))
def test_items_of_failed_calls_go_again_in_smaller_ones(sizes: list[int], fresh: int) -> None:
    endpoints, items = Endpoints(), []
    for call, size in enumerate(sizes):
        names = [f"{call}:{n}" for n in range(size)]
        endpoints.failed("Task", names, NOW, "500")
        items += names
    items += [f"new:{n}" for n in range(fresh)]
    parts = endpoints.parts(items, lambda name: ("Task", name))
    assert sorted(one for part in parts for one in part) == sorted(items)
    if fresh:
        assert parts[0] == [name for name in items if name.startswith("new")]
    for part in parts[1 if fresh else 0 :]:
        for name in part:
            assert len(part) <= max(1, sizes[int(name.partition(":")[0])] // 4)
