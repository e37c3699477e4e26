"""The single decisions of dispatch, each at its boundary: what a write, a person or a lane does next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from syncd.config.models import Quota, Retry
from syncd.connector import Allowance, Idempotency, Link, PersonMatch, Write, WriteKind, Written
from syncd.dispatch import outcomes as rules
from syncd.dispatch import pacing, plan
from syncd.dispatch.compare import KeyedRecord, RecordVerdict, judge
from syncd.dispatch.outcomes import RetryPolicy
from syncd.dispatch.pacing import ASK_AGAIN, BREAKER_OPENS_AT, DAY, HOUR, SECOND, Pace
from syncd.dispatch.plan import SUPERSEDED, Work
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
    Transient,
)
from syncd.mapping import verbs
from syncd.mapping.model import About, Draft, Targets
from syncd.store.lanes import PersonRow
from syncd.store.queue import Sibling, Taken, WriteRow
from tests.lane_rig import T0, signal

NOW = round(T0.timestamp() * 1000)
LAW = RetryPolicy(Retry(schedule=(timedelta(0), timedelta(seconds=5), timedelta(minutes=5))), 600_000, lambda: 0.0)
UPSERT, UNIQUE, FINDABLE = (
    Idempotency(WriteKind.UPSERT),
    Idempotency(WriteKind.UNIQUE),
    Idempotency(WriteKind.FINDABLE, enforced=False),
)
UNENFORCED, ONCE = Idempotency(WriteKind.UPSERT, enforced=False), Idempotency(WriteKind.AT_MOST_ONCE, enforced=False)


def row(**more: Any) -> WriteRow:
    return WriteRow("rule", "key", "Case", "upsert", **{"state": "sending", "sent_at": NOW - 1000, **more})


def work(number: int = 1, *, seconds: int = 0, keying: Idempotency = UPSERT, old: bool = False, **more: Any) -> Work:
    one = signal(number, at=T0 + timedelta(seconds=seconds))
    taken = Taken(str(one.id), one, "email", True, old, 0, NOW, NOW)
    draft: dict[str, Any] = {
        name: more.pop(name) for name in ("verb", "links", "key_field", "about", "on_create") if name in more
    }
    keys: dict[str, Any] = {
        "rule": "rule",
        "object": "Case",
        "key_field": "Key",
        "fields": {"A": 1},
        "on_create": {},
        "about": About.THREAD,
        "verb": verbs.UPSERT,
    }
    made = Draft(**(keys | draft))
    return Work(taken, one, made, row(**{"state": "pending", "sent_at": 0, **more}), keying)


def sibling(of: Work, *, state: str = "written", **more: Any) -> Sibling:
    return Sibling(
        "key", of.taken.signal_id, state, more.get("due_at", 0), more.get("sent_at", 0), more.get("crm_id", ""), of.rank
    )


# ------------------------------------------------------------------------------------------------------------ order


def test_a_later_written_one_supersedes_and_no_other_does() -> None:
    for seconds, superseded in [(-1, False), (1, True)]:
        one = work()
        ready = plan.in_order([one], [sibling(work(2, seconds=seconds))], NOW)
        assert (ready == []) == superseded
        assert (one.row.reason == SUPERSEDED) == superseded


def test_one_of_the_very_same_rank_does_not_supersede() -> None:
    one = work()
    twin = Sibling("key", "another", "written", 0, 0, "", one.rank)
    assert plan.in_order([one], [twin], NOW) == [one]


def test_an_unfinished_later_one_supersedes_nothing() -> None:
    one = work()
    assert plan.in_order([one], [sibling(work(2, seconds=1), state="pending")], NOW) == [one]


def test_a_rule_that_overwrites_nothing_is_not_superseded() -> None:
    one = work(verb=verbs.UPDATE)
    one.draft = msgspec.structs.replace(one.draft, fields={}, fill={"A": 1})
    assert plan.in_order([one], [sibling(work(2, seconds=1))], NOW) == [one]


@pytest.mark.parametrize("state", ["sending", "doubt"])
def test_one_in_doubt_that_is_superseded_is_skipped_not_unconfirmed(state: str) -> None:
    one = work(state=state, sent_at=NOW - 1)
    plan.in_order([one], [sibling(work(2, seconds=1))], NOW)
    assert (one.row.state, one.row.reason) == ("skipped", SUPERSEDED)


def test_the_id_of_the_record_is_taken_from_the_latest_written_one() -> None:
    one = work(seconds=9)
    siblings = [sibling(work(n, seconds=n), crm_id=crm_id) for n, crm_id in [(2, "a"), (3, "b"), (4, "")]]
    plan.in_order([one], siblings, NOW)
    assert one.row.crm_id == "b"


@pytest.mark.parametrize(
    ("more", "crm_id"),
    [({}, "a"), ({"crm_id": "own"}, "own"), ({"stale_once": True}, ""), ({"verb": verbs.UPDATE}, "")],
    ids=["none", "its own", "its record was gone", "the person's record"],
)
def test_who_takes_no_id_of_a_sibling(more: dict[str, Any], crm_id: str) -> None:
    one = work(seconds=9, **more)
    assert plan.in_order([one], [sibling(work(2), crm_id="a")], NOW) == [one]
    assert one.row.crm_id == crm_id


def test_who_waits_for_whom() -> None:
    earlier, later = work(1), work(2, seconds=1)
    waiting = sibling(earlier, state="pending", due_at=NOW + 5000)
    assert plan.in_order([later], [waiting], NOW) == []
    assert later.row.due_at == NOW + 5000
    sent = sibling(work(2, seconds=1), state="doubt", due_at=NOW + 9000, sent_at=NOW - 1)
    one = work(1)
    assert plan.in_order([one], [sent], NOW) == []
    assert one.row.due_at == NOW + 9000
    sent_too = work(1, sent_at=NOW - 5)
    assert plan.in_order([sent_too], [sent], NOW) == []
    last = work(2, seconds=1, sent_at=NOW - 5)
    assert plan.in_order([last], [sibling(work(1), state="pending", due_at=NOW + 1)], NOW) == [last]


def test_one_that_waits_is_looked_at_again_a_second_later_at_the_earliest() -> None:
    later = work(2, seconds=1)
    plan.in_order([later], [sibling(work(1), state="pending")], NOW)
    assert later.row.due_at == NOW + 1000
    assert later.row.reason == "waits for another write of its record"


def test_one_that_waits_keeps_its_own_reason_and_blocks_those_after_it() -> None:
    first, second, third = work(1, due_at=NOW + 1), work(2, seconds=1, reason="busy"), work(3, seconds=2)
    assert plan.in_order([third, second, first], [], NOW) == []
    assert second.row.reason == "busy"
    assert third.row.due_at >= second.row.due_at > NOW


def test_one_that_is_due_now_goes() -> None:
    one = work(due_at=NOW)
    assert plan.in_order([one], [], NOW) == [one]


# ----------------------------------------------------------------------------------------------------------- skipping


@pytest.mark.parametrize(
    ("state", "crm_id", "after"),
    [
        ("pending", "", "skipped"),
        ("held", "", "skipped"),
        ("sending", "", "unconfirmed"),
        ("doubt", "", "unconfirmed"),
        ("pending", "1", "written"),
        ("doubt", "1", "written"),
    ],
)
def test_what_a_write_that_is_not_made_ends_as(state: str, crm_id: str, after: str) -> None:
    ended = plan.skip(row(state=state, crm_id=crm_id, due_at=NOW), "why")
    assert (ended.state, ended.reason, ended.due_at) == (after, "why", 0)


@pytest.mark.parametrize(
    ("keying", "more", "write", "asked"),
    [
        (FINDABLE, {"state": "doubt"}, {}, True),
        (FINDABLE, {"state": "doubt"}, {"id": "1"}, False),
        (FINDABLE, {"state": "doubt"}, {"key_field": ""}, False),
        (UNENFORCED, {"state": "doubt"}, {}, False),
        (FINDABLE, {}, {}, False),
        (FINDABLE, {"old": True}, {}, True),
        (ONCE, {"old": True}, {}, True),
        (UNENFORCED, {"old": True}, {}, True),
        (UPSERT, {"old": True}, {}, False),
        (UNIQUE, {"old": True}, {}, False),
        (UPSERT, {"old": True}, {"on_create": {"S": 1}}, True),
        (FINDABLE, {"old": True}, {"id": "1"}, False),
        (FINDABLE, {"old": True, "attempts": 1}, {}, False),
        (FINDABLE, {"old": True}, {"key_field": ""}, False),
    ],
)
def test_what_is_looked_up_before_it_is_sent(
    keying: Idempotency, more: dict[str, Any], write: dict[str, Any], asked: bool
) -> None:
    one = work(keying=keying, **more)
    assert plan.look_up_first(one, Write(**{"key": "k", "object": "Case", "key_field": "Key", **write})) == asked


# ------------------------------------------------------------------------------------------------------------ links


def test_a_link_to_a_rule_waits_for_its_record_or_ends_with_it() -> None:
    for state, crm_id, made in [
        ("pending", "", None),
        ("written", "9", "9"),
        ("skipped", "", str),
        ("pending", "9", "9"),
    ]:
        one = work(links={"What": "other"})
        one.taken.writes["other"] = WriteRow("other", "k", "Deal", "upsert", state, crm_id=crm_id)
        linked = plan.link_up(one, Targets())
        if made is None:
            assert linked is None
        elif made is str:
            assert linked == "there is no record of rule other to link to"
        else:
            assert isinstance(linked, Write)
            assert linked.links == {"What": Link("Deal", "9")}


def test_an_update_writes_the_persons_record_and_any_other_rule_its_own() -> None:
    ann = PersonMatch(object="Case", id="p1", role="contact")
    updated = plan.link_up(work(verb=verbs.UPDATE, crm_id="old"), Targets.of(ann))
    own = plan.link_up(work(crm_id="old"), Targets.of(ann))
    assert isinstance(updated, Write)
    assert isinstance(own, Write)
    assert (updated.id, own.id) == ("p1", "old")
    assert own.group == "p1"
    alone = plan.link_up(work(), Targets())
    assert isinstance(alone, Write)
    assert alone.group == "email:ann@example.com", "a person whom nobody looks up is one all the same"


def test_a_record_of_an_account_is_grouped_by_it_and_skipped_without() -> None:
    ann = PersonMatch(object="Contact", id="p1", role="contact", account=Link("Account", "a1"))
    made = plan.link_up(work(about=About.ACCOUNT), Targets.of(ann))
    assert isinstance(made, Write)
    assert made.group == "a1"
    named = work(about=About.ACCOUNT)
    named.row = msgspec.structs.replace(named.row, key="")
    assert isinstance(plan.link_up(named, Targets()), str)


# --------------------------------------------------------------------------------------------------------- outcomes


@pytest.mark.parametrize(
    ("failure", "keying", "state"),
    [
        (Ambiguous("?"), UNIQUE, "unconfirmed"),
        (Ambiguous("?"), UPSERT, "unconfirmed"),
        (Transient("t"), UNIQUE, "dead"),
        (Transient("t"), ONCE, "dead"),
        (Ambiguous("?"), ONCE, "unconfirmed"),
        (Ambiguous("?"), FINDABLE, "doubt"),
        (Ambiguous("?"), UNENFORCED, "doubt"),
    ],
)
def test_how_the_last_try_ends(failure: Failure, keying: Idempotency, state: str) -> None:
    after = rules.decide(row(attempts=2), failure, keying, LAW, NOW)
    assert after.state == state
    assert after.attempts == 3
    before = rules.decide(row(attempts=1), failure, keying, LAW, NOW)
    assert before.finished == (keying is ONCE and isinstance(failure, Ambiguous))


@pytest.mark.parametrize(
    ("outcome", "state", "due", "attempts"),
    [
        (Written("1"), "written", 0, 2),
        (Transient("t"), "pending", NOW + 300_000, 2),
        (Misconfigured("m", scope=Scope.RULE), "held", NOW + ASK_AGAIN, 1),
        (Misconfigured("m"), "pending", NOW, 1),
        (AuthExpired("a"), "pending", NOW, 1),
        (RateLimited("r"), "pending", NOW, 1),
        (QuotaExhausted("q"), "pending", NOW, 1),
        (StaleReference("s"), "pending", NOW, 1),
        (Rejected("no"), "dead", 0, 2),
    ],
    ids=repr,
)
def test_what_becomes_of_a_write(outcome: Written | Failure, state: str, due: int, attempts: int) -> None:
    after = rules.decide(row(attempts=1), outcome, UPSERT, LAW, NOW)
    assert (after.state, after.due_at, after.attempts) == (state, due, attempts)
    assert after.reason == ("" if isinstance(outcome, Written) else rules.describe(outcome))


@pytest.mark.parametrize("again_at", [NOW - 5000, NOW + 5000])
def test_a_write_of_a_failed_call_goes_again_then_but_never_in_the_past(again_at: int) -> None:
    after = rules.decide(row(attempts=9), Transient("t"), UPSERT, LAW, NOW, again_at=again_at)
    assert (after.state, after.due_at, after.attempts) == ("pending", max(NOW, again_at), 9)


@pytest.mark.parametrize(
    "keying", [UNENFORCED, FINDABLE, Idempotency(WriteKind.FINDABLE), Idempotency(WriteKind.FINDABLE, enforced=True)]
)
def test_a_doubt_lasts_from_when_it_was_sent(keying: Idempotency) -> None:
    for sent_at, due in [(NOW - 1000, NOW + 599_000), (NOW - 700_000, NOW)]:
        after = rules.decide(row(sent_at=sent_at), Ambiguous("?"), keying, LAW, NOW)
        assert (after.state, after.due_at, after.attempts) == ("doubt", due, 1)
        spared = rules.decide(row(sent_at=sent_at), Ambiguous("?"), keying, LAW, NOW, again_at=NOW + 1)
        assert (spared.state, spared.due_at, spared.attempts) == ("doubt", due, 0)


def test_a_unique_key_needs_no_doubt_whoever_enforces_it() -> None:
    for keying in (UNIQUE, Idempotency(WriteKind.UNIQUE, enforced=False)):
        assert rules.decide(row(), Ambiguous("?"), keying, LAW, NOW).state == "pending"


@pytest.mark.parametrize(
    ("failure", "state", "attempts"),
    [
        (Ambiguous("?"), "pending", 1),
        (Transient("t"), "pending", 1),
        (RateLimited("r"), "pending", 0),
        (Rejected("no"), "dead", 1),
        (Misconfigured("m", scope=Scope.RULE), "held", 0),
    ],
    ids=repr,
)
def test_a_write_whose_look_up_failed_was_never_sent(failure: Failure, state: str, attempts: int) -> None:
    after = rules.not_looked_up(row(state="pending"), failure, LAW, NOW)
    assert (after.state, after.attempts) == (state, attempts)
    if isinstance(failure, (Ambiguous, Transient)):
        spared = rules.not_looked_up(row(state="pending"), failure, LAW, NOW, again_at=NOW + 7)
        assert (spared.state, spared.attempts, spared.due_at) == ("pending", 0, NOW + 7)


def test_after_a_doubt_the_schedule_counts_from_when_it_was_sent() -> None:
    late = RetryPolicy(
        Retry(schedule=(timedelta(hours=1), timedelta(seconds=5), timedelta(hours=2))), 1000, lambda: 0.0
    )
    for attempts, due in [(0, NOW), (1, NOW + 4000), (2, NOW + 2 * HOUR - 1000)]:
        assert rules.doubt_over(row(attempts=attempts), None, late, NOW).due_at == due


def test_which_outcomes_speak_of_the_call() -> None:
    spoken = [Transient("t").about_call(), Ambiguous("?").about_call()]
    others: list[Written | Failure] = [
        Written("1"),
        Transient("t"),
        Ambiguous("?"),
        Rejected("r").about_call(),
        RateLimited("r").about_call(),
    ]
    assert [rules.of_call(one) for one in spoken] == [True, True]
    assert not any(rules.of_call(one) for one in others)


def test_what_is_told_of_a_try() -> None:
    assert rules.attempt("s", "r", Written("1"), NOW).outcome == "written"
    tried = rules.attempt("s", "r", Rejected("no", code="NO", field="F"), NOW)
    assert (tried.outcome, tried.code, tried.message, tried.at) == ("rejected", "NO", "F: NO: no", NOW)
    assert rules.describe(Rejected("no", code="NO")) == "NO: no"


@pytest.mark.parametrize("found", ["", None, "7"])
def test_how_a_doubt_ends(found: str | None) -> None:
    doubt = row(state="doubt", sent_at=NOW - 600_000)
    last = rules.doubt_over(msgspec.structs.replace(doubt, attempts=3), found, LAW, NOW)
    assert last.state == {"": "dead", None: "unconfirmed", "7": "written"}[found]
    more = rules.doubt_over(msgspec.structs.replace(doubt, attempts=2), found, LAW, NOW)
    assert more.state == ("written" if found else "pending")
    if not found:
        assert more.due_at == NOW  # the doubt was longer than the schedule's five minutes
    assert more.crm_id == (found or "")


def test_our_own_record_that_is_gone_is_made_again_and_looked_up_where_that_could_double_it() -> None:
    gone = StaleReference("deleted")
    known = row(crm_id="1")
    for keying, state in [(FINDABLE, "doubt"), (UPSERT, "pending"), (UNIQUE, "pending")]:
        after = rules.decide(known, gone, keying, LAW, NOW)
        assert (after.state, after.crm_id, after.stale_once, after.due_at) == (state, "", True, NOW)
    linked = rules.decide(known, StaleReference("deleted", field="WhoId"), FINDABLE, LAW, NOW)
    assert (linked.state, linked.crm_id) == ("pending", "1")
    unknown = rules.decide(row(), gone, FINDABLE, LAW, NOW)
    assert unknown.state == "pending"
    twice = rules.decide(row(stale_once=True, attempts=1), gone, UPSERT, LAW, NOW)
    assert (twice.state, twice.attempts, twice.due_at) == ("dead", 2, 0)


def test_a_known_record_is_written_again_whatever_inserting_is() -> None:
    assert rules.keying_of_known(UNENFORCED) == UPSERT
    assert rules.keying_of_known(FINDABLE) == UPSERT
    assert rules.keying_of_known(ONCE) is ONCE


def test_a_written_row_keeps_the_id_it_had_when_none_is_told() -> None:
    assert rules.decide(row(crm_id="1"), Written(""), UPSERT, LAW, NOW).crm_id == "1"
    assert rules.decide(row(crm_id="1"), Written("2"), UPSERT, LAW, NOW).crm_id == "2"


@pytest.mark.parametrize("keying", [UPSERT, UNIQUE, UNENFORCED, FINDABLE, ONCE])
def test_when_a_person_in_doubt_may_be_created_again(keying: Idempotency) -> None:
    sent = PersonRow("email:a@b", state="creating", sent_at=NOW - 1000, checked_at=0)
    kept = keying in (UPSERT, UNIQUE)
    assert rules.person_safe_at(NOW, Idempotency(WriteKind.FINDABLE, enforced=True), LAW) == NOW + 600_000
    assert rules.person_safe_at(NOW, Idempotency(WriteKind.UNIQUE, enforced=False), LAW) == NOW
    assert rules.person_safe_at(NOW - 1000, keying, LAW) == NOW - 1000 + (0 if kept else 600_000)
    lost = rules.decide_person(sent, Ambiguous("?"), keying, LAW, "Lead", NOW)
    assert (lost.state, lost.attempts) == ("creating", 1)
    assert lost.checked_at == (NOW + 5000 if kept else NOW + 599_000)
    spared = rules.decide_person(sent, Ambiguous("?"), keying, LAW, "Lead", NOW, again_at=NOW + 30_000)
    assert (spared.state, spared.attempts) == ("creating", 0)
    assert spared.checked_at == (NOW + 30_000 if kept else NOW + 599_000)
    refused = rules.decide_person(sent, Transient("t"), keying, LAW, "Lead", NOW)
    assert refused.checked_at == NOW + 5000


def test_a_person_who_was_refused_has_used_a_try() -> None:
    sent = PersonRow("email:a@b", state="creating", attempts=1, sent_at=NOW)
    refused = rules.decide_person(sent, Rejected("no", field="F"), UPSERT, LAW, "Lead", NOW)
    assert (refused.state, refused.reason, refused.attempts, refused.checked_at) == ("rejected", "F: no", 2, NOW)
    named = rules.decide_person(sent, Rejected("no", existing=(("Lead", "1"),)), UPSERT, LAW, "Lead", NOW)
    assert (named.state, named.attempts, named.checked_at) == ("creating", 2, NOW + SECOND)


DUPLICATE = Rejected("a duplicate", existing=(("Lead", "1"),))


@pytest.mark.parametrize(
    ("answer", "lag", "attempts", "state", "due"),
    [
        (
            PersonMatch(object="Contact", id="c1", role="contact", name="Ann", account=Link("Account", "a1")),
            0.0,
            1,
            "known",
            NOW,
        ),
        (None, 0.0, 1, "rejected", NOW),
        (None, 15.0, 2, "rejected", NOW),
        (None, 15.0, 1, "creating", NOW + 15_000),
        (None, 2.0, 1, "creating", NOW + 5000),
        (Transient("busy"), 0.0, 1, "creating", NOW + 5000),
        (Transient("busy"), 15.0, 2, "creating", NOW + 300_000),
        (Transient("busy"), 15.0, 3, "rejected", NOW),
    ],
)
def test_who_a_person_refused_as_a_duplicate_is(
    answer: PersonMatch | Failure | None, lag: float, attempts: int, state: str, due: int
) -> None:
    sent = PersonRow("email:a@b", state="creating", attempts=attempts, sent_at=NOW)
    after = rules.recognised(sent, DUPLICATE, answer, LAW, NOW, lag=lag)
    assert (after.state, after.checked_at) == (state, due)
    if isinstance(answer, PersonMatch):
        assert (after.object, after.crm_id, after.role, after.name, after.account) == (
            "Contact",
            "c1",
            "contact",
            "Ann",
            Link("Account", "a1"),
        )
    else:
        assert after.crm_id == ""


def test_how_several_records_are_named() -> None:
    five = [
        PersonMatch(object="Lead", id=str(n), role="lead", name="" if n else "Ann", by_number=not n) for n in range(5)
    ]
    named = "several records have this phone number: Lead 0 (Ann), Lead 1, Lead 2, Lead 3, Lead 4"
    assert rules.several(five) == named
    assert rules.several([*five, five[1]]) == f"{named} and 1 more"


@pytest.mark.parametrize("failure", [Transient("t"), Ambiguous("?"), StaleReference("s")])
def test_a_person_is_given_up_after_their_tries(failure: Failure) -> None:
    sent = PersonRow("email:a@b", state="creating", attempts=2, sent_at=NOW)
    assert rules.decide_person(sent, failure, UPSERT, LAW, "Lead", NOW).state == "rejected"
    unknown = Transient("t", known=False)
    assert rules.decide_person(sent, unknown, UPSERT, LAW, "Lead", NOW).state == "rejected"


@pytest.mark.parametrize("failure", [RateLimited("r"), QuotaExhausted("q"), AuthExpired("a"), Misconfigured("m")])
def test_a_limit_or_a_wrong_configuration_counts_no_try_of_a_person(failure: Failure) -> None:
    sent = PersonRow("email:a@b", state="creating", attempts=1, sent_at=NOW)
    after = rules.decide_person(sent, failure, UPSERT, LAW, "Lead", NOW)
    assert (after.state, after.attempts, after.checked_at) == ("creating", 1, NOW)


@pytest.mark.parametrize("role", ["contact", "lead"])
def test_a_new_record_has_the_role_that_the_connector_says(role: str) -> None:
    made = rules.decide_person(PersonRow("i", state="creating"), Written("1"), UPSERT, LAW, "Made", NOW, role=role)
    assert (made.role, made.object, made.crm_id, made.state) == (role, "Made", "1", "known")


def at(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, UTC)


@pytest.mark.parametrize(
    ("resets", "until"),
    [(NOW + 5000, NOW + 5000), (NOW - 5000, NOW + ASK_AGAIN), (NOW, NOW + ASK_AGAIN), (0, NOW + ASK_AGAIN)],
)
def test_a_used_up_allowance_is_waited_for_never_until_a_moment_that_is_past(resets: int, until: int) -> None:
    failure = QuotaExhausted("q", resets_at=at(resets) if resets else None)
    assert rules.next_pace(Pace(), failure, NOW, lambda: 0.0).paused_until == until


@pytest.mark.parametrize(
    ("failure", "until", "stopped", "failures"),
    [
        (AuthExpired("a"), NOW + ASK_AGAIN, True, 0),
        (Misconfigured("m"), NOW + ASK_AGAIN, True, 0),
        (Misconfigured("m", until=at(NOW + 9000)), NOW + 9000, True, 0),
        (Misconfigured("m", scope=Scope.RULE), 0, False, 0),
        (Misconfigured("m", scope=Scope.RULE, until=at(NOW + 9000)), 0, False, 0),
        (RateLimited("r", retry_after=7), NOW + 7000, False, 0),
        (RateLimited("r"), NOW + 5000, False, 0),
        (Transient("t"), 0, False, 1),
        (Ambiguous("a"), 0, False, 1),
        (Rejected("r"), 0, False, 0),
        (StaleReference("s"), 0, False, 0),
        (None, 0, False, 0),
    ],
    ids=repr,
)
def test_how_a_lane_reacts(failure: Failure | None, until: int, stopped: bool, failures: int) -> None:
    pace = rules.next_pace(Pace(), failure, NOW, lambda: 0.0)
    assert (pace.paused_until, pace.stopped, pace.failures) == (until, stopped, failures)
    well = rules.next_pace(Pace(failures=3, opened=2, throttled=4, size=8), failure, NOW, lambda: 0.0)
    answered = (
        failure is None
        or isinstance(failure, (Rejected, StaleReference))
        or (isinstance(failure, Misconfigured) and failure.scope is Scope.RULE)
    )
    assert (well.failures == 0 and well.opened == 0 and well.throttled == 0 and well.size == 16) == answered


def test_rules_are_held_for_an_hour_and_forgotten_after_it() -> None:
    pace = rules.hold(Pace(), ["a", "b"], Misconfigured("no field", scope=Scope.RULE, field="X"), NOW)
    assert pace.held == {"a": (NOW + ASK_AGAIN, "X: no field"), "b": (NOW + ASK_AGAIN, "X: no field")}
    assert pace.held_until("a", NOW + ASK_AGAIN - 1) is not None
    assert pace.held_until("a", NOW + ASK_AGAIN) is None
    later = rules.hold(pace, ["c"], Misconfigured("m"), NOW + ASK_AGAIN)
    assert set(later.held) == {"c"}


def test_what_a_failure_says_names_its_field_once() -> None:
    assert rules.describe(Rejected("too long", code="LONG", field="Subject")) == "Subject: LONG: too long"
    assert rules.describe(Rejected("Subject is too long", field="Subject")) == "Subject is too long"
    assert rules.describe(Transient()) == "Transient"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_a_refused_call_is_taken_apart_into(count: int) -> None:
    items = list(range(count))
    for failure in (Rejected("r"), StaleReference("s")):
        pieces = rules.split(items, failure)
        assert pieces == (None if count == 1 else [items[: count // 2], items[count // 2 :]])
    assert rules.split(items, Misconfigured("m"), lambda n: n) is None
    by_rule = rules.split(items, Misconfigured("m", scope=Scope.RULE), lambda n: n)
    assert by_rule == (None if count == 1 else [[n] for n in items])


def test_a_merged_write_keeps_an_id_and_the_first_ones_creation() -> None:
    def one(**more: Any) -> Write:
        return Write(**{"key": "k", "object": "Case", "key_field": "Key", **more})

    first, last = one(fields={"A": 1}, on_create={"S": "new"}, id="1"), one(fields={"B": 2}, on_create={"S": "x"})
    merged = rules.merged([first, last])
    assert (merged.id, merged.on_create, merged.fields) == ("1", {"S": "new"}, {"A": 1, "B": 2})
    assert rules.merged([one(id="1"), one(id="2")]).id == "2"
    assert rules.merged([first]) is first


# ----------------------------------------------------------------------------------------------------------- pacing


def test_the_boundaries_of_a_pause() -> None:
    paused = pacing.pause(Pace(), NOW + 10, "one")
    assert paused.paused(NOW + 9)
    assert not paused.paused(NOW + 10)
    assert pacing.pause(paused, NOW + 10, "two").reason == "one"
    assert pacing.pause(paused, NOW + 11, "two").reason == "two"
    stopped = pacing.pause(Pace(), NOW + 10, "one", stopped=True)
    assert not pacing.pause(stopped, NOW + 11, "two").stopped


def test_the_breaker_by_its_count() -> None:
    for failures in range(BREAKER_OPENS_AT + 2):
        pace = Pace(failures=failures, paused_until=NOW + 1)
        opened = failures >= BREAKER_OPENS_AT
        assert pace.probing() == opened
        assert pace.breaker(NOW) == ("open" if opened else "closed")
        assert pace.breaker(NOW + 1) == ("half-open" if opened else "closed")


def test_rounds_grow_back_until_nothing_limits_them() -> None:
    sizes = []
    pace = pacing.shrunk(Pace(), 3)
    while pace.size:
        sizes.append(pace.size)
        pace = pacing.succeeded(pace)
    assert sizes == [2**n for n in range(13)]
    assert pacing.shrunk(Pace(), 1).size == 1
    assert pacing.shrunk(Pace(), 1000).size == 500


def test_a_success_ends_what_only_one_thing_was_wrong_with() -> None:
    for wrong in ({"failures": 1}, {"opened": 1}, {"throttled": 1}, {"stopped": True}):
        assert pacing.succeeded(Pace(**wrong)) == Pace()
    quiet = Pace(paused_until=NOW, reason="x")
    assert pacing.succeeded(quiet) is quiet


def test_rests_and_throttle_pauses_grow_to_a_longest() -> None:
    pace, rests, now = Pace(failures=BREAKER_OPENS_AT - 1), [], NOW
    for _ in range(7):
        pace = pacing.failed(pace, now, "down")
        rests.append((pace.paused_until - now) // SECOND)
        now = pace.paused_until
    assert rests == [30, 60, 120, 300, 900, 900, 900]
    assert pacing.failed(Pace(failures=BREAKER_OPENS_AT - 2), NOW, "x").paused_until == 0
    pace, waits, now = Pace(), [], NOW
    for _ in range(6):
        pace = pacing.throttled(pace, now, None, lambda: 0.0, "slow")
        waits.append((pace.paused_until - now) // SECOND)
        now = pace.paused_until
    assert waits == [5, 15, 60, 300, 300, 300]
    assert pacing.throttled(Pace(), NOW, float("inf"), lambda: 0.0, "slow").paused_until == NOW + 5 * SECOND


def test_a_clock_set_back_moves_pauses_and_holds_but_not_into_the_past() -> None:
    pace = Pace(paused_until=NOW + HOUR + 5000, held={"a": (NOW + HOUR + 5000, "r"), "b": (NOW + 1, "r")})
    moved = pacing.moved(pace, -HOUR, NOW)
    assert moved.paused_until == NOW + 5000
    assert moved.held == {"a": (NOW + 5000, "r"), "b": (NOW, "r")}
    assert pacing.moved(pace, HOUR, NOW) is pace
    assert pacing.moved(pace, 0, NOW) is pace
    over = Pace(paused_until=NOW)
    assert pacing.moved(over, -HOUR, NOW) is over
    assert pacing.moved(Pace(held={"a": (NOW + HOUR, "r")}), -HOUR, NOW).held == {"a": (NOW, "r")}


def test_a_pause_of_the_budget_ends_with_enough_left() -> None:
    short = pacing.pause(Pace(), NOW + HOUR, "used up", short_of=5.0)
    assert pacing.afforded(short, 4.9) is short
    assert pacing.afforded(short, 5.0) == Pace()
    other = pacing.pause(Pace(), NOW + HOUR, "slow")
    assert pacing.afforded(other, 1e9) is other
    assert pacing.pause(short, NOW + 2 * HOUR, "slow").short_of == 0.0


def test_the_budget_at_its_boundaries() -> None:
    hour = pacing.hour_of(NOW)
    assert hour % HOUR == 0
    assert hour <= NOW < hour + HOUR
    full = pacing.budget(Quota(calls=5), None, [(hour, 5.0)], NOW)
    assert (full.left, full.until) == (0.0, hour + DAY + HOUR)
    assert pacing.budget(Quota(calls=5), None, [(hour, 7.0)], NOW).left == 0.0
    assert pacing.spent([(NOW - DAY - HOUR, 1.0), (NOW - DAY - HOUR + 1, 2.0)], NOW) == 2.0
    first = pacing.budget(Quota(calls=5), None, [(hour, 3.0), (hour - HOUR, 2.0), (hour - 2 * HOUR, 0.0)], NOW)
    assert first.until == hour - HOUR + DAY + HOUR
    assert pacing.cap(None, None) is None
    half = Allowance("calls", used=0, maximum=100, as_of=at(NOW))
    assert pacing.cap(Quota(share=0.5), half) == 50
    assert pacing.cap(Quota(share=0.5, calls=20), half) == 20
    assert pacing.cap(Quota(share=0.5), Allowance("calls", used=0, maximum=0, as_of=at(NOW))) is None


def test_what_others_used_stops_us_for_an_hour() -> None:
    def left(used: float, age: int) -> float:
        return pacing.budget(None, Allowance("calls", used=used, maximum=100, as_of=at(NOW - age)), [], NOW).left

    assert left(94, 0) == 1
    assert left(95, 0) == 0
    assert left(99, ASK_AGAIN - 1) == 0
    assert left(99, ASK_AGAIN) == float("inf")  # one call brings a new report
    assert left(90, 2 * ASK_AGAIN) == 5


# ---------------------------------------------------------------------------------------------------------- comparing


@pytest.mark.parametrize(
    ("states", "crm_id", "ids", "verdict"),
    [
        ({"written"}, "a", ["a"], None),
        ({"written"}, "", ["a"], None),
        ({"written"}, "a", ["b"], RecordVerdict.OTHER_ID),
        ({"written"}, "a", [], RecordVerdict.MISSING),
        ({"written", "dead"}, "a", ["a"], None),
        ({"written"}, "a", ["a", "a"], None),
        ({"written"}, "a", ["a", "b"], RecordVerdict.DOUBLED),
        ({"dead"}, "", ["a"], RecordVerdict.DEAD_BUT_THERE),
        ({"dead"}, "", [], None),
        ({"unconfirmed", "dead"}, "", ["a"], RecordVerdict.THERE),
        ({"unconfirmed", "sending"}, "", ["a"], None),
        ({"unconfirmed", "doubt"}, "", ["a"], None),
        ({"pending"}, "", ["a"], None),
    ],
)
def test_verdicts(states: set[str], crm_id: str, ids: list[str], verdict: RecordVerdict | None) -> None:
    assert judge(KeyedRecord("k", "s", "timeline", "Task", crm_id, frozenset(states)), ids) is verdict
