"""`check --online` of rules that change observers: what the CRM lacks for them is one line with its place."""

from __future__ import annotations

import pytest

from syncd.twins.zoho.schema import ZohoField
from syncd.twins.zoho.twin import ZohoTwin
from tests.integration.online.conftest import Start, point, said
from tests.user_folder import UserFolder

NOBODY = {"salesforce": "005000000000999AAA", "zoho": "7328395000000999999"}
PERSON = {"salesforce": "Contact", "zoho": "Contacts"}
FIELD = {"salesforce": "", "zoho": ", field: Watchers"}


def watching(folder: UserFolder, kind: str, observe: str) -> None:
    (folder.path / "mappings").mkdir(exist_ok=True)
    person = PERSON[kind]
    folder.write(
        f"mappings/{kind}.yaml",
        f"people: {{match: [{{object: {person}, by: {{Email: '{{{{ person.email }}}}'}}}}]}}\n"
        f"rules:\n  - {{id: w, name: W, signals: ['*'], observe: {{{observe}}}}}\n",
    )


@pytest.mark.parametrize("kind", ["salesforce", "zoho"])
def test_a_user_whom_the_crm_does_not_have_is_named(folder: UserFolder, start: Start, kind: str) -> None:
    twin = start(kind)
    if isinstance(twin, ZohoTwin):
        twin.schema["Contacts"].add(ZohoField("Watchers", "multiuserlookup", custom=True))
    point(folder, kind, twin)
    watching(folder, kind, f"add: ['{NOBODY[kind]}']{FIELD[kind]}")
    ran = folder.syncd("check", "--online", "crm")
    (line,) = [line for line in ran.out.splitlines() if NOBODY[kind] in line]
    assert f"mappings/{kind}.yaml:3:" in line
    assert "rules[0].observe.add[0]: the CRM has no active user" in line
    assert ran.code == 0, "a user who left does not stop the others"
    assert any(row["level"] == "ok" and PERSON[kind] in row["message"] for row in said(folder, "crm").values())


def test_an_object_without_feed_tracking_is_a_fault(folder: UserFolder, start: Start) -> None:
    point(folder, "salesforce", start("salesforce", untracked=["Contact"]))
    watching(folder, "salesforce", "remove: ['005000000000001AAA']")
    assert said(folder, "crm")["crm observers Contact"]["level"] == "fault"


def test_an_org_without_followers_is_a_fault(folder: UserFolder, start: Start) -> None:
    point(folder, "salesforce", start("salesforce", chatter=False))
    watching(folder, "salesforce", "remove: ['005000000000001AAA']")
    found = said(folder, "crm")["crm observers"]
    assert (found["level"], "the org has no followers" in found["message"]) == ("fault", True)


@pytest.mark.parametrize(("type_", "said_of_it"), [("", "is not there"), ("text", "is a field of type text")])
def test_a_field_that_takes_no_users_is_a_fault(folder: UserFolder, start: Start, type_: str, said_of_it: str) -> None:
    twin = start("zoho")
    if type_:
        twin.schema["Contacts"].add(ZohoField("Watchers", type_, custom=True))  # type: ignore[attr-defined]
    point(folder, "zoho", twin)
    watching(folder, "zoho", "remove: ['7328395000000704001'], field: Watchers")
    found = said(folder, "crm")["crm observers Contacts"]
    assert (found["level"], said_of_it in found["message"]) == ("fault", True)
    assert "Setup, Modules and Fields" in found["remedy"]


@pytest.mark.parametrize(
    ("kind", "observe", "told"),
    [
        (
            "salesforce",
            "add: ['005A'], field: W",
            "rules[0].observe.field: destination crm: salesforce keeps followers",
        ),
        ("salesforce", "add: ['005A'], chat: true", "rules[0].observe.chat: destination crm: salesforce has no chat"),
        ("zoho", "add: ['7']", "rules[0].observe: destination crm: zoho has no observers of its own"),
        ("zoho", "add: ['7'], field: W, chat: true", "rules[0].observe.chat: destination crm: zoho has no chat"),
    ],
)
def test_what_the_crm_has_no_place_for_is_a_fault_without_a_network(
    folder: UserFolder, start: Start, kind: str, observe: str, told: str
) -> None:
    point(folder, kind, start(kind))
    watching(folder, kind, observe)
    ran = folder.syncd("check")
    assert ran.code != 0
    assert told in ran.out + ran.err
