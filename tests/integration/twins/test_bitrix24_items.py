"""CRM items of the Bitrix24 twin: fields dropped in silence, multifields, links and stages, simple mode, filters, duplicates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from syncd.twins.bitrix24.portal import SIMPLE
from syncd.twins.bitrix24.twin import Bitrix24Twin
from tests.integration.twins.portal_calls import (
    COMPANY,
    CONTACT,
    DEAL,
    LEAD,
    MAIL,
    PHONE,
    added,
    batch,
    error,
    listed,
    updated,
)


def test_an_item_has_defaults_and_forgets_what_it_does_not_know(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    item = added(bitrix24, LEAD, name="Jane", TITLE="x", createdBy=5, nope=1, fm=[PHONE, MAIL])
    assert item["title"] == f"Lead #{item['id']}"
    assert (item["stageId"], item["sourceId"], item["assignedById"], item["createdBy"]) == ("NEW", "CALL", 1, 1)
    assert (item["phoneWork"], item["email"], item["hasPhone"]) == (PHONE["value"], MAIL["value"], "Y")
    assert [(e["typeId"], e["value"]) for e in item["fm"]] == [("PHONE", PHONE["value"]), ("EMAIL", MAIL["value"])]
    assert bitrix24_twin.stats()["ignored_fields"] == ["lead.TITLE", "lead.createdBy", "lead.nope"]


def test_nothing_is_unique(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    for _ in range(2):
        added(bitrix24, LEAD, title="x", originatorId="syncd", originId="s1", fm=[MAIL])
    assert bitrix24_twin.doubled() == {"lead": ["s1"]}
    assert len(listed(bitrix24, LEAD, filter={"originatorId": "syncd", "originId": "s1"})) == 2


@pytest.mark.parametrize(
    ("type_", "fields", "code"),
    [
        (LEAD, {"stageId": "NOPE"}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (LEAD, {"sourceId": "NOPE"}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (LEAD, {"assignedById": 99}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (LEAD, {"opportunity": "much"}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (LEAD, {"birthdate": "11.8.2026"}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (DEAL, {"contactIds": [99]}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (DEAL, {"categoryId": 9}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (CONTACT, {"fm": [{"typeId": "EMAIL", "value": "nope"}]}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (CONTACT, {"fm": [{**PHONE, "valueType": "PRIVATE"}]}, "CRM_FIELD_ERROR_VALUE_NOT_VALID"),
        (CONTACT, {"fm": "x"}, "100"),
        (LEAD, {"observers": 1}, "100"),
    ],
)
def test_a_wrong_value_is_refused_and_leaves_nothing(
    bitrix24: Any, bitrix24_twin: Bitrix24Twin, type_: int, fields: dict[str, Any], code: str
) -> None:
    assert error(bitrix24.post("crm.item.add", {"entityTypeId": type_, "fields": fields})) == (400, code)
    assert bitrix24_twin.stats()["records"].keys() == {"user", "department", "status"}


def test_multifields_change_by_their_ids(bitrix24: Any) -> None:
    item = added(bitrix24, CONTACT, name="Jane", fm=[PHONE, MAIL])
    phone, mail = (entry["id"] for entry in item["fm"])
    more = {
        "n0": {**MAIL, "value": "second@example.com"},
        str(phone): {**PHONE, "valueType": "MOBILE", "value": "+49 30 1"},
    }
    changed = updated(bitrix24, CONTACT, item["id"], fm=more)["fm"]
    assert [(e["id"], e["value"]) for e in changed][:2] == [(phone, "+49 30 1"), (mail, MAIL["value"])]
    gone = {str(mail): {"typeId": "EMAIL", "value": ""}, str(phone): {"value": "no type, no effect"}}
    assert [e["value"] for e in updated(bitrix24, CONTACT, item["id"], fm=gone)["fm"]] == [
        "+49 30 1",
        "second@example.com",
    ]
    in_query = f"crm.item.update?entityTypeId=3&id={item['id']}&" + urlencode({"fields[fm][n0][typeId]": "WEB"})
    batch(bitrix24, {"a": in_query + "&fields[fm][n0][value]=" + quote("https://a.example/?x=1&y=2", safe="")})
    assert (
        bitrix24.get("crm.item.get", entityTypeId=3, id=item["id"])
        .json()["result"]["item"]["fm"][-1]["value"]
        .endswith("y=2")
    )


def test_observers_are_replaced_and_an_equal_update_saves_nothing(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.add("user", ID=2)
    bitrix24_twin.add("user", ID=3, ACTIVE=False)
    item = added(bitrix24, DEAL, title="d", observers=["2", 3])
    assert item["observers"] == [2, 3]
    assert updated(bitrix24, DEAL, item["id"], observers=[1])["observers"] == [1]
    updated(bitrix24, DEAL, item["id"], observers=[1], title="d")
    assert bitrix24_twin.counts["unsaved"] == 1
    assert [r["id"] for r in listed(bitrix24, DEAL, filter={"observers": 1}, select=["id"])] == [item["id"]]
    assert updated(bitrix24, DEAL, item["id"], observers=[])["observers"] == []


def test_an_existing_contact_keeps_a_name(bitrix24: Any) -> None:
    nameless = added(bitrix24, CONTACT)
    assert nameless["name"]
    answer = bitrix24.post("crm.item.update", {"entityTypeId": CONTACT, "id": nameless["id"], "fields": {"name": ""}})
    assert error(answer) == (400, "CRM_FIELD_ERROR_REQUIRED")


def test_links_between_items(bitrix24: Any) -> None:
    company = added(bitrix24, COMPANY, title="Acme")["id"]
    one, two = (added(bitrix24, CONTACT, name=n, companyId=company)["id"] for n in "ab")
    deal = added(bitrix24, DEAL, title="d", contactIds=[two, one], companyId=company)
    assert (deal["contactId"], deal["contactIds"], deal["companyId"]) == (two, [two, one], company)
    assert updated(bitrix24, DEAL, deal["id"], contactIds=[])["contactId"] == 0
    assert bitrix24.get("crm.item.get", entityTypeId=3, id=one).json()["result"]["item"]["companyIds"] == [company]


def test_stages_and_pipelines(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    pipeline = int(bitrix24_twin.add("category", name="Partners"))
    deal = added(bitrix24, DEAL, categoryId=pipeline)
    assert (deal["stageId"], deal["stageSemanticId"], deal["closed"]) == (f"C{pipeline}:NEW", "P", "N")
    won = updated(bitrix24, DEAL, deal["id"], stageId=f"C{pipeline}:WON")
    assert (won["stageSemanticId"], won["closed"]) == ("S", "Y")
    rows = bitrix24.post("crm.status.list", {"filter": {"ENTITY_ID": "STATUS"}}).json()
    assert [r["STATUS_ID"] for r in rows["result"]] == ["NEW", "IN_PROCESS", "PROCESSED", "CONVERTED", "JUNK"]
    assert rows["total"] == 5


def test_a_stage_converts_nothing_but_a_user_does(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    lead = added(bitrix24, LEAD, name="Jane", title="t", fm=[MAIL])
    done = updated(bitrix24, LEAD, lead["id"], stageId="CONVERTED")
    assert (done["stageSemanticId"], done["isConvert"], listed(bitrix24, CONTACT)) == ("S", None, [])
    assert updated(bitrix24, LEAD, lead["id"], comments="still written to")["comments"] == "still written to"
    other = added(bitrix24, LEAD, name="Joe", title="u")
    bitrix24_twin.plan.add([{"on": "profile", "do": "convert", "object": "lead", "match": {"title": "u"}}])
    for _ in range(2):
        bitrix24.get("profile")
    (deal,) = listed(bitrix24, DEAL, filter={"leadId": other["id"]})
    assert listed(bitrix24, LEAD, filter={"id": other["id"]})[0]["contactId"] == deal["contactId"]


def test_merged_people_leave_nothing_behind(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    one, two = (added(bitrix24, CONTACT, name=n)["id"] for n in "ab")
    deal = added(bitrix24, DEAL, contactIds=[two, one])["id"]
    comment = {"ENTITY_ID": two, "ENTITY_TYPE": "contact", "COMMENT": "c"}
    bitrix24.post("crm.timeline.comment.add", {"fields": comment})
    todo = {"ownerTypeId": CONTACT, "ownerId": two, "deadline": "2026-08-19"}
    bitrix24.post("crm.activity.todo.add", todo)
    bitrix24_twin.merge(f"C_{one}", f"C_{two}")
    assert listed(bitrix24, DEAL, filter={"id": deal})[0]["contactIds"] == [one]
    assert bitrix24_twin.records("comment")[0]["OWNER"] == f"C_{one}"
    assert bitrix24_twin.records("activity")[0]["OWNER_ID"] == one


def test_simple_mode_has_no_leads(connect: Callable[..., Any]) -> None:
    client = connect(Bitrix24Twin(mode=SIMPLE), "/rest/1/twin")
    assert client.get("crm.settings.mode.get").json()["result"] == 2
    lead = added(client, LEAD, name="Jane", companyTitle="Acme", fm=[MAIL], observers=[1])
    assert lead["stageId"] == "CONVERTED"
    assert error(client.get("crm.item.get", entityTypeId=1, id=lead["id"])) == (400, "NOT_FOUND")
    (deal,) = listed(client, DEAL, filter={"leadId": lead["id"]})
    assert deal["observers"] == [1]
    assert added(client, LEAD, title="no first name")["stageId"] == "NEW"
    found = client.post(
        "crm.duplicate.findbycomm", {"type": "EMAIL", "values": ["jane@example.com"], "entity_type": "CONTACT"}
    )
    assert found.json()["result"] == {"CONTACT": [deal["contactId"]]}


def test_required_and_custom_fields(connect: Callable[..., Any]) -> None:
    custom = {
        LEAD: [("UF_CRM_SYNCD_KEY", "string"), ("UF_CRM_1721244707107", "integer"), ("UF_CRM_3_DIGIT10", "string")]
    }
    client = connect(Bitrix24Twin(custom_fields=custom, required={LEAD: ["companyTitle"]}), "/rest/1/twin")
    assert error(client.post("crm.item.add", {"entityTypeId": LEAD, "fields": {}})) == (400, "CRM_FIELD_ERROR_REQUIRED")
    item = added(client, LEAD, companyTitle="A", ufCrmSyncdKey="k", ufCrm_1721244707107="7")
    assert (item["ufCrmSyncdKey"], item["ufCrm_1721244707107"], item["ufCrm_3_DIGIT10"]) == ("k", 7, None)
    original = {
        "entityTypeId": LEAD,
        "useOriginalUfNames": "Y",
        "filter": {"UF_CRM_SYNCD_KEY": "k"},
        "select": ["UF_CRM_SYNCD_KEY"],
    }
    assert client.post("crm.item.list", original).json()["result"]["items"] == [
        {"id": item["id"], "UF_CRM_SYNCD_KEY": "k"}
    ]
    told = client.get("crm.item.fields", entityTypeId=1).json()["result"]["fields"]
    assert told["ufCrmSyncdKey"]["isDynamic"]
    assert told["companyTitle"]["isRequired"]
    cleared = {"entityTypeId": LEAD, "id": item["id"], "fields": {"companyTitle": ""}}
    assert error(client.post("crm.item.update", cleared)) == (400, "CRM_FIELD_ERROR_REQUIRED")
    client.twin.add("field", entityTypeId=LEAD, FIELD_NAME="UF_CRM_FILE", USER_TYPE_ID="file", MANDATORY="Y")
    assert error(client.post("crm.item.add", {"entityTypeId": LEAD, "fields": {"companyTitle": "B"}})) == (
        400,
        "CRM_FIELD_ERROR_REQUIRED",
    )
    assert added(client, LEAD, companyTitle="B", ufCrmFile=["a.txt", "aGk="])["ufCrmFile"]["name"] == "a.txt"
    assert told["fm"]["type"] == "crm_multifield"


# Finding.


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ({"@id": [1, 3]}, ["Ann", "Cid"]),
        ({">id": 1, "!=name": "Bob"}, ["Cid"]),
        ({"%name": "n"}, ["Ann"]),
        ({"=%lastName": "Sm%"}, ["Ann", "Bob"]),
        ({"lastName": ""}, ["Cid"]),
        ({"0": {"logic": "OR", "0": {"name": "ann"}, "1": {"name": "bob"}}, "opened": "Y"}, ["Ann", "Bob"]),
        ({"originId": "1000"}, []),
        ({"@originId": ["1e3"]}, ["Bob"]),
        ({">=createdTime": "2020-01-01T00:00:00+00:00"}, ["Ann", "Bob", "Cid"]),
    ],
)
def test_filters(bitrix24: Any, bitrix24_twin: Bitrix24Twin, filter_: dict[str, Any], found: list[str]) -> None:
    bitrix24_twin.add("contact", name="Ann", lastName="Smith")
    bitrix24_twin.add("contact", name="Bob", lastName="Smart", originId="1e3")
    bitrix24_twin.add("contact", name="Cid")
    assert [r["name"] for r in listed(bitrix24, CONTACT, filter=filter_, select=["name"])] == found


@pytest.mark.parametrize(
    "params", [{"filter": {"nope": 1}}, {"filter": {"fm": 1}}, {"order": {"id": "UP"}}, {"order": {"x": "ASC"}}]
)
def test_a_list_that_cannot_be_had(bitrix24: Any, params: dict[str, Any]) -> None:
    assert error(bitrix24.post("crm.item.list", {"entityTypeId": 1, **params})) == (400, "INVALID_ARG_VALUE")


def test_pages_of_fifty(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    for number in range(120):
        bitrix24_twin.add("lead", title=str(number))
    first = bitrix24.post("crm.item.list", {"entityTypeId": 1, "select": ["title"]}).json()
    assert (len(first["result"]["items"]), first["total"], first["next"]) == (50, 120, 50)
    last = bitrix24.post("crm.item.list", {"entityTypeId": 1, "start": 100, "order": {"id": "DESC"}}).json()
    assert ("next" in last, [r["title"] for r in last["result"]["items"]][-1]) == (False, "0")
    uncounted = bitrix24.post("crm.item.list", {"entityTypeId": 1, "start": -1, "filter": {">id": 50}}).json()
    assert ("total" in uncounted, "next" in uncounted, uncounted["result"]["items"][0]["id"]) == (False, False, 51)


def test_multifields_come_only_with_everything(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.add("contact", name="a", email="a@x.com")
    assert listed(bitrix24, CONTACT, select=["name", "fm", "nope"]) == [{"id": 1, "name": "a"}]
    assert listed(bitrix24, CONTACT, select=["*"])[0]["fm"][0]["value"] == "a@x.com"


def test_duplicates_by_phone_and_email(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.add("lead", name="a", phone="+1 (415) 867-5309, ext. 12", email="A@x.com")
    bitrix24_twin.add("contact", name="a", mobile="0014158675309")
    bitrix24_twin.add("company", title="a", phone="415 867 5309")

    def find(**params: Any) -> Any:
        return bitrix24.post("crm.duplicate.findbycomm", params).json()["result"]

    assert find(type="PHONE", values=["+14158675309"]) == {"LEAD": [1], "CONTACT": [1]}
    assert find(type="PHONE", values=["+14158675309", "4158675309"]) == {"LEAD": [1], "CONTACT": [1], "COMPANY": [1]}
    assert find(type="PHONE", values=["+14158675309"], entity_type="COMPANY") == []
    assert find(type="EMAIL", values=["a@X.com"]) == {"LEAD": [1]}
    for params, code in (
        ({"values": ["a"]}, "Communication type is not defined"),
        ({"type": "FAX", "values": ["a"]}, "Communication type 'FAX' is not supported in current context"),
        ({"type": "EMAIL"}, "Communication values is not defined"),
    ):
        assert error(bitrix24.post("crm.duplicate.findbycomm", params)) == (400, code)


def test_twenty_duplicates_of_one_type_hide_the_next(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    for number in range(21):
        bitrix24_twin.add("lead", title=str(number), email="a@x.com")
    bitrix24_twin.add("contact", name="a", email="a@x.com")
    found = bitrix24.post("crm.duplicate.findbycomm", {"type": "EMAIL", "values": ["a@x.com"]}).json()["result"]
    assert found.keys() == {"LEAD"}
    bitrix24_twin.delete("C_1")
    assert (
        bitrix24.post(
            "crm.duplicate.findbycomm", {"type": "EMAIL", "values": ["a@x.com"], "entity_type": "CONTACT"}
        ).json()["result"]
        == []
    )
