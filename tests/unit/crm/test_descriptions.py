"""What CRMs say of their fields, read into descriptions: the odd and the missing included."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import responses

from syncd.capabilities import FieldDescription, Level, MissingField
from syncd.connector import Context
from syncd.connectors.crm.salesforce import Salesforce, SalesforceSettings
from syncd.connectors.crm.zoho import Zoho, ZohoSettings
from syncd.errors import Failure, RateLimited
from syncd.http.oauth import MemoryTokens

HERE = Context(name="crm", tokens=MemoryTokens())
SF, DATA = "https://example.my.salesforce.com", "https://example.my.salesforce.com/services/data/v62.0"
ZOHO = "https://www.zohoapis.com/crm/v8"


@pytest.fixture
def net() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mocked:
        mocked.post(f"{SF}/services/oauth2/token", json={"access_token": "a", "instance_url": SF})
        token = {"access_token": "a", "api_domain": "https://www.zohoapis.com", "expires_in": 3600}
        mocked.post("https://accounts.zoho.com/oauth/v2/token", json=token)
        yield mocked


def salesforce(**keys: Any) -> Salesforce:
    auth = {"flow": "client_credentials", "client_id": "a", "client_secret": "hush"}
    settings = SalesforceSettings.model_validate({"login_url": SF, "auth": auth, **keys})
    return Salesforce(settings, Context(name="crm", tokens=MemoryTokens()))


def zoho() -> Zoho:
    auth = {"client_id": "a", "client_secret": "hush", "refresh_token": "r"}
    return Zoho(ZohoSettings.model_validate({"auth": auth}), Context(name="crm", tokens=MemoryTokens()))


def test_salesforce_fields(net: Any) -> None:
    rows = [
        {"name": "LastName", "type": "string", "length": 80, "nillable": False, "createable": True, "updateable": True},
        {"name": "Subject", "type": "combobox", "length": 255, "picklistValues": [{"value": "Call", "active": True}]},
        {
            "name": "Status",
            "type": "picklist",
            "length": 40,
            "restrictedPicklist": True,
            "createable": True,
            "picklistValues": [{"value": "Open", "active": True}, {"value": "Old", "active": False}, None],
        },
        {"name": "Flag", "type": "boolean", "nillable": False, "createable": True, "updateable": True},
        {"name": "OwnerId", "type": "reference", "nillable": False, "defaultedOnCreate": True, "createable": True},
        {"name": "Number", "type": "string", "nillable": False, "createable": False},
        {"name": "K__c", "type": "string", "length": 64, "externalId": True, "unique": True, "createable": True},
        {"name": "", "type": "string"},
        "nonsense",
    ]
    net.get(f"{DATA}/sobjects/Lead/describe", json={"fields": rows})
    (found,) = salesforce().describe(["Lead", "no name"]).values()
    by_name = {one.name: one for one in found}
    assert list(by_name) == ["LastName", "Subject", "Status", "Flag", "OwnerId", "Number", "K__c"]
    assert by_name["LastName"].required
    assert by_name["Subject"].values is None, "a combobox takes any text"
    assert (by_name["Status"].values, by_name["Status"].restricted) == (("Open",), True)
    assert not any(by_name[name].required for name in ("Flag", "OwnerId", "Number"))
    assert (by_name["K__c"].key, by_name["K__c"].unique, by_name["K__c"].updatable) == (True, True, False)


def test_salesforce_asks_alone_what_a_composite_does_not_take(net: Any) -> None:
    def composite(request: Any) -> tuple[int, dict[str, str], str]:
        parts = orjson.loads(request.body)["compositeRequest"]
        refusal = [{"errorCode": "INVALID_TYPE", "message": "not supported in a composite"}]
        absent = [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]
        answers = [
            {"referenceId": p["referenceId"], "httpStatusCode": 404 if "Gone" in p["url"] else 400, "body": body}
            for p in parts
            for body in [absent if "Gone" in p["url"] else refusal]
        ]
        return 200, {}, orjson.dumps({"compositeResponse": answers}).decode()

    net.add_callback("POST", f"{DATA}/composite", callback=composite)
    net.get(f"{DATA}/sobjects/Lead/describe", json={"fields": [{"name": "Email"}]})
    assert salesforce().describe(["Lead", "Gone"]) == {
        "Lead": (FieldDescription(name="Email", restricted=False, creatable=False, updatable=False),)
    }


def test_salesforce_where_the_rights_are_not_told(net: Any) -> None:
    net.get(f"{SF}/services/oauth2/userinfo", status=403, json={"error": "no"})
    refusal = [{"errorCode": "INVALID_TYPE", "message": "sObject type 'UserPermissionAccess' is not supported."}]
    net.get(f"{DATA}/query/", status=400, json=refusal)
    found = {one.what: one for one in salesforce().check_online()}
    assert (found["sign-in"].level, found["sign-in"].message) == (Level.OK, "signed in")
    assert found["rights"].level is Level.WARNING


NEED = MissingField(object="Lead", field="Syncd_Key__c", key=True, length=64)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, [{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}]),
        (400, [{"errorCode": "SOMETHING_NEW", "message": "no"}]),
        (404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]),
        (400, [{"errorCode": "LIMIT_EXCEEDED", "message": "too many fields"}]),
    ],
)
def test_any_refusal_of_salesforce_becomes_the_clicks(net: Any, status: int, body: Any) -> None:
    net.get(f"{DATA}/sobjects/Lead/describe", json={"fields": [{"name": "Email"}]})
    net.post(f"{DATA}/tooling/sobjects/CustomField", status=status, json=body)
    (step,) = salesforce().prepare([NEED])
    assert (step.done, step.by_hand) == (False, True)
    assert "Setup, Object Manager, Lead" in step.message
    assert "tick External ID and Unique" in step.message


@pytest.mark.parametrize("message", ["Es existiert bereits ein Feld mit diesem Namen.", "Đã có trường này.", "", "?"])
def test_a_field_that_is_there_is_looked_up_when_its_refusal_does_not_tell(net: Any, message: str) -> None:
    unseen, seen = {"fields": [{"name": "Email"}]}, {"fields": [{"name": "Email"}, {"name": "Syncd_Key__c"}]}
    net.get(f"{DATA}/sobjects/Lead/describe", json=unseen)
    net.get(f"{DATA}/sobjects/Lead/describe", json=seen)
    refusal = [{"errorCode": "FIELD_INTEGRITY_EXCEPTION", "message": message}]
    net.post(f"{DATA}/tooling/sobjects/CustomField", status=400, json=refusal)
    net.get(f"{DATA}/tooling/query/", json={"records": [{"Id": "00N000000000001AAA"}]})
    net.get(f"{SF}/services/oauth2/userinfo", json={"user_id": "005000000000001AAA"})
    net.get(f"{DATA}/query/", json={"records": [{"Id": "0PS000000000001AAA"}], "done": True})
    net.post(f"{DATA}/sobjects/FieldPermissions", status=201, json={"id": "01k", "success": True})
    (step,) = salesforce().prepare([NEED])
    assert (step.done, "was there" in step.message) == (True, True)


def test_a_limit_is_no_refusal(net: Any) -> None:
    net.get(f"{DATA}/sobjects/Lead/describe", json={"fields": [{"name": "Email"}]})
    net.post(f"{DATA}/tooling/sobjects/CustomField", status=429, json=[])
    with pytest.raises(RateLimited):
        list(salesforce().prepare([NEED]))


def test_zoho_fields(net: Any) -> None:
    rows = [
        {"api_name": "Last_Name", "data_type": "text", "length": 80, "system_mandatory": True},
        {"api_name": "Made", "data_type": "datetime", "length": 120, "read_only": True},
        {"api_name": "Old", "data_type": "text", "operation_type": {"api_create": True, "api_update": False}},
        {
            "api_name": "Stage",
            "data_type": "picklist",
            "length": 120,
            "pick_list_values": [{"actual_value": "Open", "type": "used"}, {"actual_value": "Old", "type": "unused"}],
        },
        {"api_name": "Account_Name", "data_type": "lookup", "lookup": {"module": {"api_name": "Accounts"}}},
        {"api_name": "Who_Id", "data_type": "lookup", "lookup": {"module": {"api_name": "Contacts"}}},
        {"api_name": "Syncd_Key", "data_type": "text", "length": 64, "unique": {"casesensitive": "false"}},
        {"api_name": "Plain", "data_type": "text", "unique": {}},
        None,
    ]
    for module in ("Leads", "Tasks"):
        net.get(f"{ZOHO}/settings/fields?module={module}", json={"fields": rows})
    net.get(f"{ZOHO}/settings/fields?module=Nothing", status=400, json={"code": "INVALID_MODULE", "status": "error"})
    net.get(f"{ZOHO}/settings/fields?module=Empty", status=204)
    found = zoho().describe(["Leads", "Tasks", "Nothing", "Empty", "no name"])
    assert {name: len(fields) for name, fields in found.items()} == {"Leads": 8, "Tasks": 8, "Empty": 0}
    lead = {one.name: one for one in found["Leads"]}
    assert (lead["Last_Name"].required, lead["Last_Name"].length) == (True, 80)
    assert (lead["Made"].creatable, lead["Made"].length) == (False, None)
    assert (lead["Old"].creatable, lead["Old"].updatable) == (True, False)
    assert (lead["Stage"].values, lead["Stage"].restricted) == (("Open",), False)
    assert (lead["Account_Name"].references, lead["Who_Id"].references) == (("Accounts",), ())
    assert (lead["Syncd_Key"].unique, lead["Syncd_Key"].key, lead["Plain"].unique) == (True, True, False)
    task = {one.name: one for one in found["Tasks"]}
    assert (task["Syncd_Key"].unique, task["Syncd_Key"].key) == (True, False), "tasks cannot be upserted"


def test_the_roles_of_the_standard_objects() -> None:
    assert [salesforce().role_of(name) for name in ("Lead", "Contact")] == ["lead", "contact"]
    assert [zoho().role_of(name) for name in ("Leads", "Contacts")] == ["lead", "contact"]


ZOHO_NEED = MissingField(object="Leads", field="Syncd_Key", key=True, length=64)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (400, {"fields": [{"code": "LIMIT_EXCEEDED", "status": "error", "message": "m"}]}, "as many unique fields"),
        (202, {"fields": [{"code": "SOMETHING_NEW", "status": "error", "message": "m"}]}, "SOMETHING_NEW: m"),
        (403, {"code": "NO_PERMISSION", "status": "error", "message": "m"}, "may not customise"),
        (400, {"code": "SOMETHING_NEW", "status": "error", "message": "m"}, "SOMETHING_NEW"),
    ],
)
def test_any_refusal_of_zoho_becomes_the_clicks(net: Any, status: int, body: Any, why: str) -> None:
    net.get(f"{ZOHO}/settings/fields?module=Leads", json={"fields": []})
    net.post(f"{ZOHO}/settings/fields?module=Leads", status=status, json=body)
    (step,) = zoho().prepare([ZOHO_NEED])
    assert (step.done, step.by_hand) == (False, True)
    assert why in step.message
    assert "tick Do not allow duplicate values" in step.message


def test_a_field_that_zoho_named_otherwise(net: Any) -> None:
    net.get(f"{ZOHO}/settings/fields?module=Leads", json={"fields": [{"api_name": "Syncd_Key1", "data_type": "text"}]})
    done = {"fields": [{"code": "SUCCESS", "status": "success"}]}
    net.post(f"{ZOHO}/settings/fields?module=Leads", status=201, json=done)
    (step,) = zoho().prepare([ZOHO_NEED])
    assert (step.done, "under another API name" in step.message) == (False, True)


def test_what_zoho_is_not_asked_to_make(net: Any) -> None:
    for module in ("Leads", "Notes"):
        net.get(f"{ZOHO}/settings/fields?module={module}", json={"fields": [{"api_name": "Email"}]})
    needs = [
        MissingField(object="Leads", field="Emial"),
        MissingField(object="Notes", field="Syncd_Key", key=True),
        MissingField(object="Leads", field="A_Very_Long_Name_Of_A_Key_Field", key=True),
    ]
    steps = list(zoho().prepare(needs))
    assert [step.by_hand for step in steps] == [True, True, True]
    assert [call.request.method for call in net.calls if "fields" in str(call.request.url)] == ["GET", "GET"]


def test_the_failure_of_a_description_is_raised(net: Any) -> None:
    net.get(
        f"{ZOHO}/settings/fields?module=Leads", status=401, json={"code": "OAUTH_SCOPE_MISMATCH", "status": "error"}
    )
    with pytest.raises(Failure, match=r"settings\.fields\.READ"):
        zoho().describe(["Leads"])
