"""SOQL at the Salesforce twin: what it finds, what it refuses, how it pages."""

# ruff: noqa: S608 - the statements go to a twin; there is no database behind them

from __future__ import annotations

from typing import Any

import pytest

from syncd.twins.salesforce.twin import SalesforceTwin


def only_error(answer: Any) -> tuple[int, str]:
    (error,) = answer.json()
    return answer.status_code, error["errorCode"]


@pytest.fixture
def people(salesforce: Any, salesforce_twin: SalesforceTwin) -> Any:
    account = salesforce_twin.add("Account", Name="Acme")
    for number, (email, phone) in enumerate(
        [("a@x.com", "+84 912 345 678"), ("o'hara@x.com", "(512) 757-6000"), (None, None)]
    ):
        salesforce_twin.add(
            "Contact", LastName=f"L{number}", Email=email, Phone=phone, AccountId=account if number else None
        )
    return salesforce


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("Email = 'A@X.COM'", ["L0"]),
        ("Email IN ('a@x.com', 'o\\'hara@x.com')", ["L0", "L1"]),
        ("Email = null", ["L2"]),
        ("Email != null AND Phone LIKE '%757_6000'", ["L1"]),
        ("(Phone LIKE '%345 678' OR Phone LIKE '%6000') AND Email != 'a@x.com'", ["L1"]),
        ("NOT (Email != null)", ["L2"]),
        ("Email NOT IN ('a@x.com') AND Email != null", ["L1"]),
        ("Account.Name = 'acme'", ["L1", "L2"]),
        ("CreatedDate >= 2020-01-01T00:00:00Z AND LastName <= 'L0'", ["L0"]),
    ],
)
def test_soql_conditions(people: Any, where: str, found: list[str]) -> None:
    answer = people.soql(f"SELECT LastName, Account.Name FROM Contact WHERE {where} ORDER BY LastName")
    assert [r["LastName"] for r in answer.json()["records"]] == found


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT Id FROM Contact WHERE Email = 'a' AND Phone = 'b' OR Phone = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Email = 'O'Hara'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Email IN ()", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Email = 'a\\q'", "MALFORMED_QUERY"),
        ("SELECT * FROM Contact", "MALFORMED_QUERY"),
        ("SELECT Nope FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Nope = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE IsConverted = 'false'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Email = 3", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Description = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        (f"SELECT Id FROM Contact WHERE Email = '{'a' * 4001}'", "MALFORMED_QUERY"),
    ],
)
def test_soql_that_is_wrong(salesforce: Any, statement: str, code: str) -> None:
    assert only_error(salesforce.soql(statement)) == (400, code)


def test_soql_counts_limits_and_pages(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    for number in range(450):
        salesforce_twin.add("Lead", LastName=f"L{number:03}", Company="X")
    assert salesforce.soql("SELECT count() FROM Lead").json() == {"totalSize": 450, "done": True, "records": []}
    assert len(salesforce.soql("SELECT Id FROM Lead LIMIT 3 OFFSET 2").json()["records"]) == 3
    page = salesforce.call(
        "GET", "query", params={"q": "SELECT Id FROM Lead"}, headers={"Sforce-Query-Options": "batchSize=200"}
    ).json()
    assert (page["totalSize"], page["done"], len(page["records"])) == (450, False, 200)
    assert salesforce.get(page["nextRecordsUrl"]).json()["totalSize"] == 450
    assert only_error(salesforce.get("query/0r8nonsense-200"))[1] == "INVALID_QUERY_LOCATOR"


def test_a_long_address_list_does_not_fit_into_a_url(salesforce: Any) -> None:
    listed = ",".join(f"'person.number{i}@some-company.example.com'" for i in range(400))
    answer = salesforce.soql(f"SELECT Id FROM Contact WHERE Email IN ({listed})")
    assert answer.status_code == 414
    assert "html" in answer.headers["Content-Type"]
