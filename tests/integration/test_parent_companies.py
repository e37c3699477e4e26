"""New companies below the one that they belong to, and with the values of another one (`parent:`, `clone_of:`), on both CRMs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from syncd.config.models import DestinationSettings
from syncd.mapping.loading import load_mapping
from syncd.mapping.preview import preview
from syncd.preflight import parts
from syncd.service.assembly import BuiltDestination
from tests.crm_twins import Crm, both, changed, daemon, id_of, mail


@pytest.fixture(params=["salesforce", "zoho"])
def crm(request: pytest.FixtureRequest) -> Iterator[Crm]:
    yield from both(request.param)


MAPPING = """
people:
  match: [{object: <Contact>, by: {Email: "{{ person.email }}"}}]
accounts:
  match: [{object: <Account>, by: {Website: "{{ company.domain }}", <Name>: "{{ company.name }}"}}]
  unknown: create
  create:
    object: <Account>
    key: <Syncd_Key__c>
    parent: "{{ company.parent }}"
    fields: {<Name>: "{{ company.name or company.domain }}", Website: "{{ company.domain }}", <BillingCity>: "{{ company.city }}"}
rules:
  - {id: log, name: n, signals: ["email.*"], upsert: <Task>, key: <Syncd_Key__c>, link: {<WhatId>: account},
     fields: {Subject: "{{ signal.title }}"}}
  - {id: fill, name: n, signals: [account.changed], update: <Account>, fill: {<BillingCity>: "{{ company.city }}"}}
"""


def above(crm: Crm) -> dict[str, str]:
    """Name of each company -> that of its parent, "" without one."""
    name, parent = crm.names.get("Name", "Name"), crm.names.get("ParentId", "ParentId")
    found = crm.records("Account")
    names = {id_of(one): str(one[name]) for one in found}
    assert len(set(names.values())) == len(found), "no company twice"
    return {str(one[name]): names.get(id_of(one.get(parent)), "") for one in found}


def test_a_new_company_is_made_below_its_parent(crm: Crm, store_url: str) -> None:
    """Named as it is in the CRM, or by its website; an unknown one is made first, once for all that belong to it."""
    crm.add("Account", Name="HOLDING")
    crm.add("Account", Name="By website", Website="https://www.group.example/")
    rig = daemon(crm, store_url, MAPPING)
    rig.arrive(
        changed(1, "One", parent="Holding"),
        changed(2, "Two", parent="group.example"),
        changed(3, "Three", parent="Unknown Ltd"),
        changed(4, "Four", parent=" unknown  LTD "),
        changed(5, "Five", parent="gmail.com"),
        changed(6, "Six"),
    )
    for _ in range(2):
        rig.lane.step()
    parents = {
        "One": "HOLDING",
        "Two": "By website",
        "Three": "Unknown Ltd",
        "Four": "Unknown Ltd",
        "Five": "",
        "Six": "",
    }
    assert above(crm) == {**parents, "HOLDING": "", "By website": "", "Unknown Ltd": ""}
    assert {state for _, state, _ in rig.writes()} <= {"written", "skipped"}
    rig.store.close()


def test_parents_of_one_batch_are_made_before_the_companies_that_belong_to_them(crm: Crm, store_url: str) -> None:
    rig = daemon(crm, store_url, MAPPING)
    rig.arrive(
        changed(1, "Daughter", parent="Mother"),
        changed(2, "Mother", parent="Grandmother", website="https://mother.example"),
        changed(3, "Grandmother"),
    )
    for _ in range(2):
        rig.lane.step()
    assert above(crm) == {"Daughter": "Mother", "Mother": "Grandmother", "Grandmother": ""}
    rig.store.close()


def test_companies_in_a_loop_are_made_and_the_loop_is_cut(crm: Crm, store_url: str) -> None:
    rig = daemon(crm, store_url, MAPPING)
    rig.arrive(changed(1, "A", parent="B"), changed(2, "B", parent="A"), changed(3, "C", parent="c"))
    for _ in range(2):
        rig.lane.step()
    made = above(crm)
    assert made["C"] == ""
    assert sorted(name for name in ("A", "B") if made[name]) in (["A"], ["B"])
    rig.arrive(changed(4, "D", parent="A"), changed(5, "A", parent="D"))  # one of them is there already
    rig.lane.step()
    assert above(crm) == {**made, "D": "A"}
    rig.store.close()


@pytest.mark.parametrize("nth", [1, 2])
def test_parent_and_company_are_made_once_when_an_answer_is_lost(crm: Crm, store_url: str, nth: int) -> None:
    rig = daemon(crm, store_url, MAPPING)
    on = "upsert" if crm.zoho else "upsert_collection"
    crm.twin.plan.add([{"on": on, "nth": nth, "do": "reset", "when": "after"}])
    rig.arrive(changed(1, "One", parent="Holding"), changed(2, "Two", parent="Holding"))
    rig.lane.step()
    assert crm.twin.stats()["faults"][0]["fired"] == 1
    for _ in range(6):
        rig.now += timedelta(minutes=20)
        rig.lane.step()
    assert above(crm) == {"One": "Holding", "Two": "Holding", "Holding": ""}
    assert {state for _, state, _ in rig.writes()} <= {"written", "skipped"}
    rig.store.close()


def test_a_parent_that_is_gone_is_looked_up_again(crm: Crm, store_url: str) -> None:
    gone = crm.add("Account", Name="Holding")
    rig = daemon(crm, store_url, MAPPING)
    rig.arrive(changed(1, "One", parent="Holding"))
    rig.lane.step()
    crm.twin.delete(gone)
    rig.arrive(changed(2, "Two", parent="Holding"))
    for _ in range(4):
        rig.lane.step()
        rig.now += timedelta(minutes=1)
    assert above(crm)["Two"] == "Holding"
    rig.store.close()


CLONED = MAPPING.replace('parent: "{{ company.parent }}"', "clone_of: WHICH")


def clone(crm: Crm) -> str:
    return crm.add(
        "Account", Name="Model", Website="model.example", Industry="Energy", Rating="Hot", NumberOfEmployees=7
    )


def counted(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list to which each reading of a record to copy is added."""
    destination: Any = crm.destination
    values, reads = destination.values, []

    def counting(object_: str, ids: Sequence[str], fields: Sequence[str]) -> Any:
        reads.extend([fields] if "Industry" in fields else [])
        return values(object_, ids, fields)

    monkeypatch.setattr(destination, "values", counting)
    return reads


def read(crm: Crm, name: str) -> dict[str, Any]:
    (found,) = (one for one in crm.records("Account") if one[crm.names.get("Name", "Name")] == name)
    return {key: found.get(crm.names.get(key, key)) for key in ("Industry", "Rating", "NumberOfEmployees", "Website")}


def test_a_new_company_takes_over_what_classifies_another(
    crm: Crm, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = counted(crm, monkeypatch)
    text = CLONED.replace("WHICH", f"'{clone(crm)}'").replace("fields: {<Name>", "fields: {Rating: Cold, <Name>")
    rig = daemon(crm, store_url, text)
    rig.arrive(changed(1, "One"))
    rig.lane.step()
    rig.arrive(changed(2, "Two", website="https://two.example"))
    rig.lane.step()
    expected = {"Industry": "Energy", "Rating": "Cold", "NumberOfEmployees": None}
    assert read(crm, "One") == {**expected, "Website": None}
    assert read(crm, "Two") == {**expected, "Website": "two.example"}
    assert len(reads) == 1
    rig.store.close()


def test_the_fields_that_are_taken_over_can_be_listed(crm: Crm, store_url: str) -> None:
    which = f"{{id: '{clone(crm)}', fields: [Rating, <NumberOfEmployees>]}}"
    rig = daemon(crm, store_url, CLONED.replace("WHICH", which))
    rig.arrive(changed(1, "One"))
    rig.lane.step()
    assert read(crm, "One") == {"Industry": None, "Rating": "Hot", "NumberOfEmployees": 7, "Website": None}
    rig.store.close()


def test_without_the_record_to_copy_no_company_is_made_and_the_rule_says_why(
    crm: Crm, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = counted(crm, monkeypatch)
    gone = clone(crm)
    crm.twin.delete(gone)
    rig = daemon(crm, store_url, CLONED.replace("WHICH", f"'{gone}'"))
    for number in (1, 2):
        rig.arrive(mail(number, "a@firm.example", company="Firm"))
        rig.lane.step()
        rig.now += timedelta(minutes=1)
    assert crm.records("Account") == []
    for rule, state, reason in rig.writes():
        assert (rule, state) == ("log", "held")
        assert "clone_of: there is no Account" in reason
    assert len(reads) == 1
    rig.store.close()


def online(crm: Crm, which: str) -> list[tuple[str, str, str]]:
    """(level, key, message) of what `check --online` says of `clone_of`."""
    mapping = load_mapping(crm.mapping(CLONED.replace("WHICH", which)), name="rig.yaml")
    outlet = BuiltDestination(DestinationSettings(name="crm", type="x"), crm.destination, mapping)
    lines = parts.destination(outlet, None)
    return [(str(line.level), line.what, line.message) for line in lines if "clone_of" in line.what]


def test_check_online_says_whether_the_record_to_copy_is_there(crm: Crm) -> None:
    id_ = clone(crm)
    ((level, key, message),) = online(crm, f"'{id_}'")
    assert (level, key) == ("ok", "accounts.create.clone_of")
    assert f"{id_}: new companies take over" in message
    crm.twin.delete(id_)
    ((level, _, message),) = online(crm, f"'{id_}'")
    assert (level, "there is no Account" in message) == ("fault", True)
    ((level, _, _),) = online(crm, "nonsense")
    assert level == "fault"
    found = online(crm, f"{{id: '{clone(crm)}', fields: [Rating, Nonsense]}}")
    assert [(level, key) for level, key, _ in found if level == "fault"] == [
        ("fault", "accounts.create.clone_of.fields[1]")
    ]


def test_preview_shows_the_parent_and_what_is_copied(crm: Crm) -> None:
    text = MAPPING.replace(
        "    key: <Syncd_Key__c>\n    parent", "    key: <Syncd_Key__c>\n    clone_of: 1234\n    parent", 1
    )
    mapping = load_mapping(crm.mapping(text), name="rig.yaml")
    first, second, _ = preview(mapping, changed(1, "One", parent="https://www.Holding.example/"))
    assert (first.rule, second.rule) == ("accounts.parent", "accounts.create")
    assert "holding.example" in [one.value for one in first.fields]
    shown = {(one.name, one.value, one.note) for one in second.fields}
    assert shown >= {("parent", "holding.example", "link"), ("clone_of", "1234", "on create")}
