"""The Salesforce destination against the Salesforce twin over HTTP: call counts, people, rows, and every fault it can do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.crm.salesforce import Salesforce, SalesforceSettings
from syncd.connector import Call, Context, Link, Lookup, Term, Wanted, Write, Written
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
from syncd.oauth import MemoryTokens
from syncd.twins.salesforce import SalesforceTwin

KEY = "Syncd_Key__c"
CREDENTIALS = {"flow": "client_credentials", "client_id": "app", "client_secret": "hush"}
Connect = Callable[..., Salesforce]


@pytest.fixture
def twin() -> Iterator[SalesforceTwin]:
    with SalesforceTwin() as running:
        yield running


@pytest.fixture
def connect(twin: SalesforceTwin) -> Iterator[Connect]:
    made: list[Salesforce] = []

    def build(region: str | None = "VN", auth: dict[str, Any] | None = None, **keys: Any) -> Salesforce:
        settings = SalesforceSettings.model_validate({"login_url": twin.url, "auth": auth or CREDENTIALS, **keys})
        made.append(Salesforce(settings, Context(name="crm", tokens=MemoryTokens(), region=region)))
        return made[-1]

    yield build
    for one in made:
        one.close()


def person(email: str = "", phone: str = "", objects: tuple[str, ...] = ("Contact", "Lead")) -> Wanted:
    terms = ((Term("Email", email),) if email else ()) + ((Term("Phone", phone, phone=True),) if phone else ())
    return Wanted(email or phone, tuple(Lookup(o, terms) for o in objects))


def key(text: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(text)))


def task(name: object, **more: Any) -> Write:
    fields = {"Subject": f"Signal {name}", "ActivityDate": date(2026, 11, 1), **more.pop("fields", {})}
    return Write(key=key(name), object="Task", key_field=KEY, fields=fields, **more)


def lead(name: object, **more: Any) -> Write:
    fields = {"LastName": f"L{name}", "Company": "[not provided]", "Email": f"lead{name}@example.com"}
    return Write(key=key(f"lead {name}"), object="Lead", key_field=KEY, fields=fields | more.pop("fields", {}), **more)


def push(crm: Salesforce, *writes: Write) -> list[Any]:
    """Plans and sends; the outcomes in the order of the writes."""
    outcomes: dict[str, Any] = {}
    for call in crm.plan(writes):
        outcomes |= {w.key: o for w, o in zip(call.writes, crm.send(call), strict=True)}
    return [outcomes[w.key] for w in writes]


def test_thousand_signals_of_four_hundred_people_take_three_calls(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    known = [twin.add("Contact", LastName=f"P{n}", Email=f"p{n}@example.com") for n in range(350)]
    people = [person(f"p{n}@example.com") for n in range(350)] + [person(f"lead{n}@example.com") for n in range(50)]
    used = twin.usage

    found = crm.resolve(people)
    assert [f.id for f in found[:350] if f] == known
    assert found[350:] == [None] * 50
    assert crm.spend().calls == 1  # the token call is none of the API's
    leads = push(crm, *(lead(n) for n in range(50)))
    assert crm.spend().calls == 1
    who = known + [w.id for w in leads]
    tasks = [
        task(n, group=who[n % 400], links={"WhoId": Link("Contact" if n % 400 < 350 else "Lead", who[n % 400])})
        for n in range(1000)
    ]
    assert len(crm.plan(tasks)) == 1
    assert all(isinstance(o, Written) and o.created for o in push(crm, *tasks))
    assert crm.spend().calls == 1
    assert twin.usage - used == 3

    assert all(isinstance(o, Written) and not o.created for o in push(crm, *tasks, *(lead(n) for n in range(50))))
    assert len(twin.records("Task")) == 1000
    assert len(twin.records("Lead")) == 50
    assert twin.doubled() == {}
