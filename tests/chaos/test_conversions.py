"""kill -9 while leads are converted, and answers lost beside it: each lead becomes one contact, one account and one deal."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.harness import Cluster
from tests.chaos.processes import until

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-conversions")]

SOURCE = {
    "type": "webhook",
    "verify": {"scheme": "bearer", "secret": "a secret"},
    "format": "json",
    "signal": {
        "type": "custom.order",
        "id": "{{ body.id }}",
        "title": "Order {{ body.id }}",
        "person": {"email": "{{ body.to }}", "name": "{{ body.name }}"},
    },
}
PEOPLE = 6
LOST = ("after", "before")
"""Every third conversion loses its answer, every other third its request."""
CRMS: dict[str, dict[str, Any]] = {
    "salesforce": {
        "key": "Syncd_Key__c",
        "last": "LastName",
        "company": "Company",
        "objects": ("Account", "Contact", "Opportunity"),
        "stage": "Proposal",
        "convert": "convert_lead",
        "converted": "IsConverted",
        "deal name": "Name",
        "email": "Email",
        "amount": "Amount",
        "lead": "Lead",
    },
    "zoho": {
        "key": "Syncd_Key",
        "last": "Last_Name",
        "company": "Company",
        "objects": ("Accounts", "Contacts", "Deals"),
        "stage": "Negotiation",
        "convert": "convert",
        "converted": "$converted",
        "deal name": "Deal_Name",
        "email": "Email",
        "amount": "Amount",
        "lead": "Leads",
    },
    "bitrix24": {
        "key": "originId",
        "last": "lastName",
        "company": "companyTitle",
        "objects": ("Company", "Contact", "Deal"),
        "stage": "New",
        "convert": "crm.item.add",
        "converted": "stageId",
        "deal name": "title",
        "email": "email",
        "amount": "opportunity",
        "lead": "Lead",
    },
}


def mapping(crm: str) -> str:
    names = CRMS[crm]
    lead = names["lead"]
    fields = {
        names["last"]: "{{ person.last_name }}",
        names["company"]: "Firm of {{ person.email }}",
        names["email"]: "{{ person.email }}",
    }
    deal = {"name": "{{ signal.title }}", "stage": names["stage"], "close_date": "2026-09-30", "amount": 1200}
    rule = {"id": "sale", "name": "Sale", "signals": ["custom.order"], "convert": {"deal": deal}}
    people = {
        "match": [
            {"object": object_, "by": {names["email"]: "{{ person.email }}"}} for object_ in (names["objects"][1], lead)
        ],
        "strangers": {"*": "create"},
        "create": {"object": lead, "key": names["key"], "fields": fields},
    }
    return json.dumps({"people": people, "rules": [rule]})


def post(port: int, order: int) -> bool:
    """Whether the daemon took it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    to = f"new{order % PEOPLE}@customer.example"
    body = json.dumps({"id": f"o{order}", "to": to, "name": f"New Number{order % PEOPLE}"})
    try:
        connection.request("POST", "/webhooks/orders", body, {"Authorization": "Bearer a secret"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def table_names(crm: str) -> tuple[str, ...]:
    """The objects as the twin calls them."""
    names: tuple[str, ...] = CRMS[crm]["objects"]
    return tuple(name.lower() for name in names) if crm == "bitrix24" else names


def made(cluster: Cluster, crm: str) -> list[int]:
    """How many accounts, contacts of ours and deals there are, and how many leads are converted."""
    names = CRMS[crm]
    account, contact, deal = table_names(crm)
    ours = [one for one in cluster.twin.records(contact) if str(one.get(names["email"])).startswith("new")]
    done = (True, "CONVERTED")
    leads = [one for one in cluster.twin.records(cluster.crm.leads) if one.get(names["converted"]) in done]
    return [len(cluster.twin.records(account)), len(ours), len(cluster.twin.records(deal)), len(leads)]


PLACES = ("after_send:1", "after_send:2", "in_settling:2", "in_settling:4", "after_commit:2", "")
"""Where the daemon dies: behind the call that makes a lead or converts one, and in the commits of their answers."""


def maps_orders(cluster: Cluster, crm: str) -> None:
    (cluster.folder / "orders.yaml").write_text(mapping(crm))
    config = json.loads(cluster.configs[0].read_text())
    config["destinations"]["crm"]["mapping"] = "orders.yaml"
    cluster.configs[0].write_text(json.dumps(config))


@pytest.mark.parametrize("crm", [*CRMS])
def test_killed_while_leads_are_converted(tmp_path: Path, store_url: str, crm: str) -> None:
    names = CRMS[crm]
    lost = [
        {"on": names["convert"], "do": "reset", "when": when, "every": 3, "after": at} for at, when in enumerate(LOST)
    ]
    settings: dict[str, Any] = {"sources": {"orders": SOURCE}, "channels": {"custom": {"*": True}}}
    with Cluster(tmp_path, store_url, crm, env={"SYNCD_LEASE_SECONDS": "2"}, faults=lost, **settings) as cluster:
        maps_orders(cluster, crm)
        for round_, place in enumerate(PLACES):
            daemon = cluster.start(crash_at=place).ready()
            post(cluster.ports[0], round_)
            post(cluster.ports[0], round_ + PEOPLE)  # a second order of the same person
            if place:
                until(lambda: not daemon.alive, f"it dies {place}", 30.0)  # noqa: B023
        for order in range(2 * PEOPLE):  # all that were not acknowledged come again
            assert post(cluster.ports[0], order)
        cluster.settle()
        assert made(cluster, crm) == [PEOPLE] * 4
        deals = cluster.twin.records(table_names(crm)[2])
        assert {deal[names["amount"]] for deal in deals} == {1200}
        assert len({deal[names["deal name"]] for deal in deals}) == PEOPLE
        assert cluster.twin.stats()["doubled"] == {}
        cluster.check_logs()
        assert daemon.ends() == 0
