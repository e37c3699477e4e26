"""Observers by rules, over both stand-in CRMs: who is named is added or removed, all others stay, however often it is done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.dispatch.decided import shown
from syncd.twins.zoho.schema import ZohoField
from syncd.twins.zoho.twin import ZohoTwin
from tests.crm_twins import both, daemon, mail
from tests.integration.dispatch.test_assigning import user
from tests.integration.dispatch.test_own_records import ANN, TwinRig, salesforce, zoho
from tests.lane_rig import signal

WATCH = "  - {{{{id: watch, name: A, signals: ['call.*'], observe: {{{{{change}}}}}}}}}\n"


@pytest.fixture(params=[salesforce, zoho])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwinRig]:
    made: TwinRig = request.param(tmp_path)
    if isinstance(made.twin, ZohoTwin):
        for module in ("Contacts", "Leads"):
            made.twin.schema[module].add(ZohoField("Observers", "multiuserlookup", custom=True))
    yield made
    made.client.close()
    made.twin.stop()


def watches(rig: TwinRig, change: str) -> None:
    if isinstance(rig.twin, ZohoTwin):
        change += ", field: Observers"
    rig.with_rules(WATCH.format(change=change))


def called(rig: TwinRig, *numbers: int, **more: Any) -> None:
    rig.arrive([signal(n, type="call.missed", **more) for n in numbers])
    rig.drain()


def observers(rig: TwinRig, record: str) -> set[str]:
    """Who observes a record; nobody twice."""
    if isinstance(rig.twin, ZohoTwin):
        there = (rig.twin.store.get(rig.names["contact"], record) or {}).get("Observers") or []
        found = [one["user"] for one in there]
    else:
        there = rig.twin.records("EntitySubscription")
        found = [one["SubscriberId"] for one in there if one["ParentId"] == record]
    assert len(found) == len(set(found))
    return set(found)


def observed(rig: TwinRig, record: str, user: str) -> None:
    """A user of the CRM adds an observer."""
    if isinstance(rig.twin, ZohoTwin):
        rig.twin.observe(rig.names["contact"], record, "Observers", user)
    else:
        rig.twin.add("EntitySubscription", ParentId=record, SubscriberId=user)


def operation(rig: TwinRig, change: str) -> str:
    """The call that adds or removes."""
    if isinstance(rig.twin, ZohoTwin):
        return "update"
    return {"add": "insert_collection", "remove": "delete_collection"}[change]


def test_who_is_named_is_added_and_removed_and_the_others_stay(rig: TwinRig) -> None:
    one, two, theirs = user(rig, "One"), user(rig, "Two"), user(rig, "Theirs")
    ann = rig.person("contact")
    observed(rig, ann, theirs)
    observed(rig, ann, two)
    watches(rig, f"add: ['{one}', '{theirs}'], remove: ['{two}']")
    called(rig, 1)
    called(rig, 2)
    assert observers(rig, ann) == {one, theirs}
    assert rig.of_rule("watch") == [("written", ""), ("written", "")]


@pytest.mark.parametrize("change", ["add", "remove"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_changes_it_once(rig: TwinRig, change: str, when: str) -> None:
    one, theirs = user(rig, "One"), user(rig, "Theirs")
    ann = rig.person("contact")
    observed(rig, ann, theirs)
    if change == "remove":
        observed(rig, ann, one)
    watches(rig, f"{change}: ['{one}']")
    rig.twin.plan.add([{"on": operation(rig, change), "do": "reset", "when": when, "times": 1}])
    called(rig, 1)
    assert observers(rig, ann) == ({one, theirs} if change == "add" else {theirs})
    assert rig.of_rule("watch") == [("written", "")]


def test_who_is_not_active_is_left_out_and_the_row_says_so(rig: TwinRig) -> None:
    one, away = user(rig, "One"), user(rig, "Away", active=False)
    ann = rig.person("contact")
    watches(rig, f"add: ['{one}', '{away}', '{{{{{{{{ signal.title }}}}}}}}']")
    called(rig, 1, title=nobody(rig))
    assert observers(rig, ann) == {one}
    (row,) = [row for row in rig.writes if row["rule"] == "watch"]
    assert (row["state"], shown(row["chosen"])) == ("written", f"left out, not active: {away}, {nobody(rig)}")


def nobody(rig: TwinRig) -> str:
    """The id of a user who is not there."""
    return "7328395000000999999" if isinstance(rig.twin, ZohoTwin) else "005000000000999AAA"


def test_without_an_active_user_nothing_is_written(rig: TwinRig) -> None:
    away = user(rig, "Away", active=False)
    ann = rig.person("contact")
    watches(rig, f"add: ['{away}']")
    called(rig, 1)
    assert (observers(rig, ann), rig.of_rule("watch")) == (set(), [("skipped", "no active user is left")])


def test_past_signals_change_no_observers(rig: TwinRig) -> None:
    ann = rig.person("contact")
    watches(rig, f"add: ['{user(rig, 'One')}']")
    rig.arrive([signal(1, type="call.missed")], live=False, old=True)
    rig.drain()
    assert (observers(rig, ann), rig.of_rule("watch")) == (set(), [("skipped", "live_only")])


def test_a_record_that_is_gone_is_looked_for_again(rig: TwinRig) -> None:
    one = user(rig, "One")
    old = rig.person("contact")
    watches(rig, f"add: ['{one}']")
    called(rig, 1)
    new = rig.person("contact")
    rig.twin.delete(old)
    called(rig, 2)
    assert observers(rig, new) == {one}
    assert {state for state, _ in rig.of_rule("watch")} == {"written"}


def test_many_people_take_few_calls(tmp_path: Path) -> None:
    rig = salesforce(tmp_path)
    try:
        one, two = user(rig, "One"), user(rig, "Two")
        people = [rig.twin.add("Contact", LastName="P", Email=f"p{n}@example.com") for n in range(60)]
        for record in people:
            observed(rig, record, two)
        watches(rig, f"add: ['{one}'], remove: ['{two}']")
        rig.arrive([signal(n, type="call.missed", email=f"p{n}@example.com") for n in range(60)])
        before = rig.twin.usage
        rig.drain()
        assert rig.twin.usage - before == 5  # people, users, who follows, who stops, who begins
        assert all(observers(rig, record) == {one} for record in people)
    finally:
        rig.client.close()
        rig.twin.stop()


@pytest.mark.parametrize("when", ["before", "after"])
def test_tags_are_observers_too(tmp_path: Path, when: str) -> None:
    rig = zoho(tmp_path)
    try:
        ann, ben = rig.person("contact"), rig.twin.add("Contacts", Last_Name="Ben", Email="ben@example.com")
        rig.with_rules(WATCH.format(change="add: ['To: Linh'], remove: [vip, Old], field: Tag"))
        for record in (ann, ben):
            rig.twin.tag("Contacts", record, "VIP", "theirs")
        rig.twin.plan.add([{"on": "add_tags", "do": "reset", "when": when, "times": 1}])
        rig.arrive([signal(1, type="call.missed", email=ANN), signal(2, type="call.missed", email="ben@example.com")])
        rig.drain()
        for record in (ann, ben):
            names = [one["name"] for one in rig.twin.store.get("Contacts", record)["Tag"]]
            assert names == ["theirs", "To: Linh"]
        assert {state for state, _ in rig.of_rule("watch")} == {"written"}
    finally:
        rig.client.close()
        rig.twin.stop()


def test_too_many_tags_are_one_clear_line(tmp_path: Path) -> None:
    rig = zoho(tmp_path)
    try:
        ann = rig.person("contact")
        rig.twin.tag("Contacts", ann, *map(str, range(10)))
        rig.with_rules(WATCH.format(change="add: [one more], field: Tag"))
        called(rig, 1)
        ((state, reason),) = rig.of_rule("watch")
        assert (state, reason) == ("dead", "Tag: not added: one more (a record has a limited number of tags)")
    finally:
        rig.client.close()
        rig.twin.stop()


def test_an_object_that_nobody_can_follow_is_one_clear_line(tmp_path: Path) -> None:
    rig = salesforce(tmp_path)
    try:
        rig.twin.schema["Contact"].tracked = False
        one = user(rig, "One")
        rig.person("contact")
        watches(rig, f"add: ['{one}']")
        called(rig, 1)
        ((state, reason),) = rig.of_rule("watch")
        assert state == "dead"
        assert "Contact cannot be followed" in reason
        assert reason.endswith("is feed tracking on for it (Setup, Feed Tracking)?")
    finally:
        rig.client.close()
        rig.twin.stop()


OF_DEAL = """
people: {match: [{object: <Contact>, by: {Email: "{{ person.email }}"}}]}
rules:
  - {id: deal, name: D, signals: ["*"], observe: {of: deal, add: ["USER"]FIELD}}
  - {id: account, name: A, signals: ["*"], observe: {of: account, add: ["USER"]FIELD}}
"""


@pytest.mark.parametrize("kind", ["salesforce", "zoho"])
def test_deals_and_companies_have_observers_on_both_databases(kind: str, store_url: str) -> None:
    for crm in both(kind):
        if crm.zoho:
            for module in ("Deals", "Accounts"):
                crm.twin.schema[module].add(ZohoField("Observers", "multiuserlookup", custom=True))
            one = crm.twin.rows.new_id()
            crm.twin.store.table("users").put(one, {"id": one, "full_name": "One", "status": "active"})
        else:
            one = "005000000000001AAA"
            crm.twin.store.table("User").put(one, {"Id": one, "Name": "One", "IsActive": True, "IsDeleted": False})
        account = crm.add("Account", Name="Acme")
        ann = crm.add("Contact", LastName="Ann", Email=ANN, AccountId=account)
        deal = crm.add(
            "Opportunity", OpportunityName="Big", StageName="Qualification", CloseDate="2026-09-30", AccountId=account
        )
        if not crm.zoho:
            crm.add("OpportunityContactRole", OpportunityId=deal, ContactId=ann)
        text = OF_DEAL.replace("USER", one).replace("FIELD", ", field: Observers" if crm.zoho else "")
        lane = daemon(crm, store_url, text)
        lane.arrive(mail(1, ANN), mail(2, ANN))
        for _ in range(5):
            lane.lane.step(lane.now)
            lane.now += timedelta(seconds=60)
        assert lane.writes() == [(rule, "written", "") for rule in ("account", "account", "deal", "deal")]
        for object_, record in (("Account", account), ("Opportunity", deal)):
            if crm.zoho:
                there = crm.twin.store.get(crm.names[object_], record)["Observers"]
                assert [each["user"] for each in there] == [one]
            else:
                rows = [each for each in crm.records("EntitySubscription") if each["ParentId"] == record]
                assert [each["SubscriberId"] for each in rows] == [one]
