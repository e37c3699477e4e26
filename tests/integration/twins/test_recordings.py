"""Recorded exchanges with the real vendors, replayed at the twins: the same status, keys and types must come back.

The recordings lie outside the repository; SYNCD_RECORDINGS names their directory, and only these tests are skipped without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.twins.bitrix24.twin import Bitrix24Twin
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho.twin import ZohoTwin
from syncd.twins.zoho_desk.twin import ZohoDeskTwin

RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
pytestmark = pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")


@pytest.fixture(scope="module")
def salesforce_twin() -> Iterator[SalesforceTwin]:
    """The recorded org had none of syncd's fields."""
    with SalesforceTwin(custom_fields={}) as twin:
        yield twin


@pytest.fixture(scope="module")
def zoho_twin() -> Iterator[ZohoTwin]:
    with ZohoTwin(custom_fields={}) as twin:
        yield twin


def exchanges(vendor: str, name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = orjson.loads((Path(RECORDINGS) / f"{vendor}.json").read_bytes())[name]["exchanges"]
    return entries


def differences(recorded: Any, answered: Any, fewer: bool = False, at: str = "$") -> list[str]:
    """Where the shapes differ. None fits everything; of a list the first row counts; `fewer`: the twin may know less."""
    if recorded is None or answered is None:
        return []
    if isinstance(recorded, dict) and isinstance(answered, dict):
        return _keys(recorded, answered, fewer, at)
    if isinstance(recorded, list) and isinstance(answered, list):
        return differences(recorded[0], answered[0], fewer, f"{at}[0]") if recorded and answered else []
    numbers = (int, float)
    if isinstance(recorded, numbers) and isinstance(answered, numbers) and bool not in (type(recorded), type(answered)):
        return []
    return (
        []
        if type(recorded) is type(answered)
        else [f"{at}: recorded {type(recorded).__name__}, twin {type(answered).__name__}"]
    )


def _keys(recorded: dict[str, Any], answered: dict[str, Any], fewer: bool, at: str) -> list[str]:
    found = [f"{at}.{k}: not in the recording" for k in answered.keys() - recorded.keys()]
    if not fewer:
        found += [f"{at}.{k}: missing" for k in recorded.keys() - answered.keys()]
    for key in recorded.keys() & answered.keys():
        found += differences(recorded[key], answered[key], fewer, f"{at}.{key}")
    return found


def replay(client: Any, exchange: dict[str, Any], path: str = "", fewer: bool = False, body: Any = None) -> Any:
    """Sends a recorded request (to another path where the id differs), compares, and returns the parsed answer."""
    request = exchange["request"] or {}
    options: dict[str, Any] = {"params": request.get("params"), "headers": request.get("headers")}
    if "data" in request:
        options["json"] = request["data"] if body is None else body
    answer = client.call(exchange["method"], path or exchange["path"], **options)
    assert answer.status_code == exchange["status"], answer.text
    for name in exchange["headers"]:
        if name in ("content-type", "sforce-limit-info", "x-accesstoken-reset", "x-rate-limit-remaining-v3"):
            assert exchange["status"] == 204 or name in answer.headers, name
    recorded = exchange["response"]
    if recorded in ("", None):
        assert answer.content == b""
        return None
    assert answer.headers["content-type"].replace(" ", "").lower() == exchange["headers"]["content-type"].lower()
    parsed = answer.json()
    assert differences(recorded, parsed, fewer) == []
    return parsed


# Salesforce.


def test_salesforce_creates(salesforce: Any) -> None:
    (single,) = exchanges("salesforce", "create-record")
    made = replay(salesforce, single)
    assert made["id"].startswith("001")
    assert len(made["id"]) == 18
    (collection,) = exchanges("salesforce", "create-sobject-collection")
    replay(salesforce, collection)


def test_salesforce_deletes(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    (single,) = exchanges("salesforce", "delete-record")
    salesforce_twin.add("Account", Id=single["path"].rpartition("/")[2], Name="A")
    replay(salesforce, single)
    versions, collection = exchanges("salesforce", "delete-sobject-collection")
    for id_ in collection["request"]["params"]["ids"].split(","):
        salesforce_twin.add("Account", Id=id_, Name="A")
    replay(salesforce, versions)
    replay(salesforce, collection)


@pytest.mark.parametrize("name", ["query-records", "query-all-records"])
def test_salesforce_queries(salesforce: Any, salesforce_twin: SalesforceTwin, name: str) -> None:
    for number in range(7):
        salesforce_twin.add("Account", Name=f"Account {number}")
    (exchange,) = exchanges("salesforce", name)
    answer = replay(salesforce, exchange)
    assert answer["totalSize"] == 5
    assert len(answer["records"]) == 5


def test_salesforce_query_more(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    for number in range(2_086):
        salesforce_twin.add("Account", Name=f"Account {number}")
    first = salesforce.get("/services/data/v60.0/query", q="SELECT Id, Name FROM Account").json()
    (exchange,) = exchanges("salesforce", "retrieve-query-more")
    answer = replay(salesforce, exchange, first["nextRecordsUrl"])
    assert (answer["totalSize"], len(answer["records"])) == (2_086, 86)


def test_salesforce_records(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    (record,) = exchanges("salesforce", "get-record")
    salesforce_twin.add(
        "Account", Id=record["path"].rpartition("/")[2], Name="Edge", Phone="(512) 757-6000", AnnualRevenue=1
    )
    replay(salesforce, record, fewer=True)
    (user,) = exchanges("salesforce", "get-record-by-external-id")
    path = user["path"].rpartition("/")[0]
    replay(salesforce, user, f"{path}/{salesforce_twin.user}", fewer=True)


def test_salesforce_current_user(salesforce: Any) -> None:
    (exchange,) = exchanges("salesforce", "get-current-user")
    replay(salesforce, exchange)


@pytest.mark.parametrize("name", ["opportunities", "users"])
def test_salesforce_lists(salesforce: Any, salesforce_twin: SalesforceTwin, name: str) -> None:
    salesforce_twin.add("Opportunity", Name="Deal", Amount=15000, StageName="Qualification", CloseDate="2026-03-08")
    (exchange,) = exchanges("salesforce", name)
    replay(salesforce, exchange)


# Zoho CRM.


@pytest.mark.parametrize(
    "name",
    ["create-account", "create-contact", "create-lead", "create-deal", "create-event", "create-call", "create-product"],
)
def test_zoho_creates(zoho: Any, name: str) -> None:
    create, *more = exchanges("zoho-crm", name)
    made = replay(zoho, create)
    assert 17 <= len(made["data"][0]["details"]["id"]) <= 19
    for read in more:
        replay(zoho, read, f"{create['path']}/{made['data'][0]['details']['id']}")


def test_zoho_notes(zoho: Any, zoho_twin: ZohoTwin) -> None:
    (create,) = exchanges("zoho-crm", "create-note")
    zoho_twin.add(
        "Contacts", id=create["request"]["data"]["data"][0]["Parent_Id"], Last_Name="Foller", First_Name="Donette"
    )
    id_ = replay(zoho, create)["data"][0]["details"]["id"]
    for name in ("get-note", "update-note", "delete-note"):
        (exchange,) = exchanges("zoho-crm", name)
        if name == "delete-note":
            replay(zoho, exchanges("zoho-crm", "list-notes")[0])
        replay(zoho, exchange, f"/crm/v2/Notes/{id_}")


@pytest.mark.parametrize(
    ("name", "module", "fields"),
    [
        ("get-contact", "Contacts", {"Last_Name": "TestContact", "Email": "test@example.com"}),
        ("get-lead", "Leads", {"Last_Name": "Test Lead", "Company": "Test Company"}),
        ("get-account", "Accounts", {"Account_Name": "Test Account"}),
        ("update-contact", "Contacts", {"Last_Name": "Old"}),
        ("update-lead", "Leads", {"Last_Name": "Old"}),
        ("update-deal", "Deals", {"Deal_Name": "Old", "Stage": "Qualification"}),
        ("delete-lead", "Leads", {"Last_Name": "Old"}),
        ("delete-task", "Tasks", {"Subject": "Old"}),
    ],
)
def test_zoho_reads_updates_deletes(
    zoho: Any, zoho_twin: ZohoTwin, name: str, module: str, fields: dict[str, Any]
) -> None:
    (exchange,) = exchanges("zoho-crm", name)
    zoho_twin.add(module, id=exchange["path"].rpartition("/")[2], **fields)
    replay(zoho, exchange)


def test_zoho_users(zoho: Any) -> None:
    replay(zoho, exchanges("zoho-crm", "list-users")[0])


# Zoho Desk.


def test_desk_tickets(desk: Any, desk_twin: ZohoDeskTwin) -> None:
    (create,) = exchanges("zoho-desk", "create-ticket")
    contact = create["request"]["data"]["contactId"]
    desk_twin.add("contacts", id=contact, lastName="Lawrence", email="support@example.com")
    replay(desk, create)
    (update,) = exchanges("zoho-desk", "update-ticket")
    desk_twin.add("tickets", id=update["path"].rpartition("/")[2], subject="Old", contactId=contact)
    replay(desk, update)
    (reply,) = exchanges("zoho-desk", "send-ticket-reply")
    desk_twin.add("tickets", id=reply["path"].split("/")[-2], subject="Asked", contactId=contact)
    replay(desk, reply)
    replay(desk, exchanges("zoho-desk", "delete-ticket")[0])


def test_desk_contacts_and_lists(desk: Any, desk_twin: ZohoDeskTwin) -> None:
    account = desk_twin.add("accounts", accountName="Zoho", email="a@example.com")
    (update,) = exchanges("zoho-desk", "update-contact")
    id_ = update["path"].rpartition("/")[2]
    desk_twin.add("contacts", id=id_, lastName="Lawrence", email="support@example.com", accountId=account)
    replay(desk, update)
    for name in ("create-contact", "contacts", "list-contacts", "accounts", "agents", "departments"):
        replay(desk, exchanges("zoho-desk", name)[0])


# Bitrix24.


def test_bitrix24_run_time_limit_in_a_batch(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    (exchange,) = exchanges("bitrix24", "batch-operation-time-limit")
    (key,) = exchange["response"]["result"]["result_error"]
    bitrix24_twin.plan.add([{"on": "crm.item.fields", "do": "operation_limit", "inner": True}])
    answer = bitrix24.post("batch", {"halt": 0, "cmd": {key: "crm.item.fields?entityTypeId=1"}})
    assert (answer.status_code, answer.json()["result"]) == (exchange["status"], exchange["response"]["result"])
    assert differences(exchange["response"], answer.json()) == []
    reset, finish = (answer.json()["time"][name] for name in ("operating_reset_at", "finish"))
    assert (answer.json()["time"]["operating"], reset) == (0, int(finish) + 600)


def test_bitrix24_single_add(bitrix24: Any) -> None:
    (exchange,) = exchanges("bitrix24", "single-add")
    for method in ("lead", "deal", "contact", "company"):
        answer = bitrix24.post(f"crm.{method}.add", {"fields": {"TITLE": "t"}})
        assert (answer.status_code, differences(exchange["response"], answer.json())) == (exchange["status"], [])


def test_bitrix24_errors(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    payment, client = orjson.loads((Path(RECORDINGS) / "bitrix24.json").read_bytes())["errors"]["bodies"]
    bitrix24_twin.plan.add([{"on": "profile", "do": "payment", "nth": 1}, {"on": "token", "do": "wrong_client"}])
    assert bitrix24.get("profile").json() == payment
    assert bitrix24.get("/oauth/token/").json() == client
