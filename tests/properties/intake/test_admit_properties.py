"""`admit` over any batch: nothing vanishes, off is off, the past is quiet, and the answer depends on values alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Batch
from syncd.intake.admit import NOT_ASKED_FOR, OFF_EXCLUDED, OFF_SWITCH, DeliveryTarget, Policy, admit, empty
from syncd.signals import CATALOGUE, Exclusions, Person, Route, Signal, derive_id, known_types, place_of
from syncd.testing.hostile import make_signal

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

types = st.sampled_from([*known_types(), "custom.order", "custom.a.b"])
odd_types = st.sampled_from(["nonsense", "custom.", "", "Call.missed"])
moments = st.timedeltas(timedelta(days=-400), timedelta(days=400)).map(lambda span: NOW + span)


@st.composite
def signals(draw: st.DrawFn, kinds: st.SearchStrategy[str] = types) -> Signal:
    kind = draw(kinds)
    moment = draw(moments)
    return Signal(
        id=derive_id("x", "", kind, str(draw(st.integers(0, 50)))),
        type=kind,
        source=draw(st.sampled_from(["inbox", "other"])),
        occurred_at=moment,
        received_at=moment,
        title="t",
        person=Person(email=draw(st.sampled_from(["", "ann@example.com", "bob@us.example", "bot@example.com"]))),
        route=draw(st.sampled_from(list(Route))),
    )


switches = st.dictionaries(
    st.sampled_from([*CATALOGUE, "custom"]),
    st.dictionaries(
        st.sampled_from([*(switch for channel in CATALOGUE.values() for switch in channel), "*", "order"]),
        st.one_of(st.booleans(), st.just(("lead", "contact"))),
        max_size=6,
    ),
    max_size=6,
)
outlets = st.lists(st.sampled_from(["*", "call.*", "custom.*", "email.received"]), min_size=1, max_size=3).map(tuple)
policies = st.builds(
    Policy,
    switches=switches,
    outlets=st.lists(outlets, max_size=3).map(
        lambda every: tuple(DeliveryTarget(f"d{i}", only) for i, only in enumerate(every))
    ),
    exclusions=st.sampled_from([Exclusions(), Exclusions.of(["us.example"], ["bot@example.com"])]),
    live_within=st.timedeltas(timedelta(0), timedelta(days=30)),
)
batches = st.lists(st.one_of(signals(), signals(odd_types)), max_size=12).map(lambda found: Batch(tuple(found)))
routes = st.sampled_from([None, *Route])


@given(batches, routes, policies)
def test_every_signal_is_let_in_counted_or_quarantined(batch: Batch, route: Route | None, policy: Policy) -> None:
    entry = admit(batch, "inbox", route, policy, NOW)
    assert len(entry.arrivals) + sum(entry.off.values()) + len(entry.quarantined) == len(batch.signals)
    assert empty(entry) == (not batch.signals)


@given(batches, routes, policies)
def test_off_means_off_and_only_that(batch: Batch, route: Route | None, policy: Policy) -> None:
    entry = admit(batch, "inbox", route, policy, NOW)
    for arrival in entry.arrivals:
        channel, switch = place_of(arrival.signal.type)
        wanted = policy.switches[channel]
        assert wanted.get(switch, wanted.get("*")) is not False
        assert not policy.exclusions.covers(arrival.signal.person)
    for (kind, reason), count in entry.off.items():
        channel, switch = place_of(kind)
        named = policy.switches.get(channel, {})
        off = named.get(switch, named.get("*", False)) is False
        assert reason == (OFF_SWITCH if off else OFF_EXCLUDED)
        assert 0 < count <= len(batch.signals)


@given(batches, routes, policies)
def test_what_is_let_in_is_the_same_signal_with_our_stamps(batch: Batch, route: Route | None, policy: Policy) -> None:
    sent = {(s.id, s.occurred_at, s.person.email) for s in batch.signals}
    for arrival in admit(batch, "inbox", route, policy, NOW).arrivals:
        signal = arrival.signal
        assert (signal.id, signal.occurred_at, signal.person.email) in sent
        assert signal.source == "inbox"
        assert route is None or signal.route == route


@given(batches, routes, policies)
def test_each_destination_gets_one_seed_and_the_past_is_quiet(
    batch: Batch, route: Route | None, policy: Policy
) -> None:
    for arrival in admit(batch, "inbox", route, policy, NOW).arrivals:
        assert [seed.destination for seed in arrival.seeds] == [outlet.name for outlet in policy.outlets]
        past = arrival.signal.route in (Route.BACKFILL, Route.IMPORT)
        recent = abs(NOW - arrival.signal.occurred_at) <= policy.live_within
        for seed, outlet in zip(arrival.seeds, policy.outlets, strict=True):
            wanted = any(fnmatchcase(arrival.signal.type, pattern) for pattern in outlet.only)
            assert (seed.live, seed.old) == (recent and not past, past)
            assert seed.skipped == ("" if wanted else NOT_ASKED_FOR)


@given(batches, routes, policies)
def test_the_decision_is_a_function_of_its_values(batch: Batch, route: Route | None, policy: Policy) -> None:
    fresh = Policy(policy.switches, policy.outlets, policy.exclusions, policy.live_within)
    assert admit(batch, "inbox", route, policy, NOW) == admit(batch, "inbox", route, fresh, NOW)


@given(st.timedeltas(timedelta(0), timedelta(days=400)), policies)
def test_a_clock_ahead_is_judged_as_one_behind(distance: timedelta, policy: Policy) -> None:
    def live(at: datetime) -> list[bool]:
        made = make_signal(1, type="custom.x", at=at)
        return [s.live for a in admit(Batch((made,)), "s", Route.POLL, policy, NOW).arrivals for s in a.seeds]

    assert live(NOW + distance) == live(NOW - distance)
