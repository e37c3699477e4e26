"""Setting up the twins' accounts through their APIs: what is made is usable, what is refused is refused as documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.server import Twin
from syncd.twins.zoho.twin import ZohoTwin
from tests.integration.twins.conftest import Client

Connect = Callable[..., Client]
TEXT = {"label": "Syncd Key", "type": "Text", "length": 64, "externalId": True}


def make(client: Client, full_name: str, **metadata: Any) -> Any:
    return client.post("tooling/sobjects/CustomField", {"FullName": full_name, "Metadata": {**TEXT, **metadata}})


def show(client: Client, twin: Twin, object_: str, name: str) -> None:
    set_ = client.post("sobjects/PermissionSet", {"Name": "Syncd", "Label": "syncd"}).json()["id"]
    given = {"AssigneeId": twin.user, "PermissionSetId": set_}  # type: ignore[attr-defined]
    assert client.post("sobjects/PermissionSetAssignment", given).status_code == 201
    grant = {"ParentId": set_, "SobjectType": object_, "Field": f"{object_}.{name}"}
    assert client.post("sobjects/FieldPermissions", {**grant, "PermissionsRead": True, "PermissionsEdit": True}).ok


def names(client: Client, object_: str) -> set[str]:
    return {one["name"] for one in client.get(f"sobjects/{object_}/describe").json()["fields"]}


def test_a_new_field_is_unseen_until_it_is_shown(connect: Connect) -> None:
    twin = SalesforceTwin(bare=True)
    client = connect(twin)
    record = {"Syncd_Key__c": "k", "LastName": "An", "Company": "C"}
    refused = client.upsert("Lead", "Syncd_Key__c", record)
    assert refused.json()[0]["errorCode"] == "NOT_FOUND"
    made = make(client, "Lead.Syncd_Key__c", unique=True, caseSensitive=False)
    assert (made.status_code, made.json()["success"], made.json()["id"][:3]) == (201, True, "00N")
    assert "Syncd_Key__c" not in names(client, "Lead")
    show(client, twin, "Lead", "Syncd_Key__c")
    assert "Syncd_Key__c" in names(client, "Lead")
    assert client.upsert("Lead", "Syncd_Key__c", record).json()[0]["success"] is True


def test_what_salesforce_refuses(connect: Connect) -> None:
    client = connect(SalesforceTwin(bare=True))
    assert make(client, "Activity.Syncd_Key__c", unique=True).json()[0]["errorCode"] == "FIELD_INTEGRITY_EXCEPTION"
    assert make(client, "Activity.Syncd_Key__c").status_code == 201
    again = make(client, "Activity.Syncd_Key__c")
    assert (again.status_code, again.json()[0]["errorCode"]) == (400, "DUPLICATE_DEVELOPER_NAME")
    assert make(client, "Task.Other__c").status_code == 400
    assert make(client, "Nothing.Other__c").status_code == 400
    assert make(client, "Lead.Other").status_code == 400
    plain = connect(SalesforceTwin(bare=True, customizes=False))
    assert make(plain, "Lead.Syncd_Key__c").status_code == 403
    assert plain.post("sobjects/PermissionSet", {"Name": "S", "Label": "s"}).status_code == 400
    (row,) = plain.soql(
        "SELECT PermissionsViewAllData, PermissionsCustomizeApplication FROM UserPermissionAccess"
    ).json()["records"]
    assert (row["PermissionsViewAllData"], row["PermissionsCustomizeApplication"]) == (True, False)


def test_a_hidden_field_is_not_there_for_us(connect: Connect) -> None:
    client = connect(SalesforceTwin(hidden={"Lead": ["Rating"]}))
    assert "Rating" not in names(client, "Lead")
    assert client.post("sobjects/Lead", {"LastName": "An", "Company": "C", "Rating": "Hot"}).status_code == 400


def fields(client: Client, module: str, *given: dict[str, Any]) -> Any:
    return client.call("POST", f"settings/fields?module={module}", json={"fields": list(given)})


KEY = {"field_label": "Syncd Key", "data_type": "text", "length": 64, "unique": {"case_sensitive": False}}


@pytest.mark.parametrize("module", ["Leads", "Tasks"])
def test_a_field_of_zoho(connect: Connect, module: str) -> None:
    twin = ZohoTwin(bare=True)
    client = connect(twin, "/crm/v8")
    record = {"Last_Name": "An", "Subject": "S", "Syncd_Key": "k"}
    client.insert(module, record)
    assert twin.records(module)[0].get("Syncd_Key") is None, "dropped without a word"
    made = fields(client, module, KEY)
    assert made.json()["fields"][0]["code"] == "SUCCESS"
    (one,) = [f for f in client.get("settings/fields", module=module).json()["fields"] if f["api_name"] == "Syncd_Key"]
    assert (bool(one["unique"]), one["length"], one["custom_field"]) == (True, 64, True)
    assert client.insert(module, record).json()["data"][0]["status"] == "success"
    assert client.insert(module, record).json()["data"][0]["code"] == "DUPLICATE_DATA"


def test_what_zoho_refuses(connect: Connect) -> None:
    client = connect(ZohoTwin(bare=True), "/crm/v8")

    def code(*given: dict[str, Any], module: str = "Leads") -> str:
        answer = fields(client, module, *given).json()
        return str(answer["fields"][0]["code"] if "fields" in answer else answer["code"])

    assert code(KEY, module="Nothing") == "INVALID_MODULE"
    assert code(KEY) == "SUCCESS"
    assert code(KEY) == "DUPLICATE_DATA"
    assert code({**KEY, "field_label": "Second"}) == "SUCCESS"
    assert code({**KEY, "field_label": "Third"}) == "LIMIT_EXCEEDED", "two unique fields a module"
    assert code({**KEY, "field_label": "x" * 26}) == "INVALID_DATA"
    assert code({"data_type": "text"}) == "MANDATORY_NOT_FOUND"
    assert code({**KEY, "field_label": "Long", "length": 300}) == "DEPENDENT_MISMATCH"
    refused = connect(ZohoTwin(customizes=False), "/crm/v8")
    assert fields(refused, "Leads", KEY).json()["code"] == "NO_PERMISSION"
    scoped = connect(ZohoTwin(refused_scopes=["create_fields"]), "/crm/v8")
    assert fields(scoped, "Leads", KEY).status_code == 401
