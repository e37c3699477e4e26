"""The Salesforce destination against the Salesforce twin over HTTP: call counts, people, rows, and every fault it can do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from syncd.connector import Context, DealPick, Link, Lookup, MatchField, PersonQuery, Write, Written
from syncd.connectors.crm.salesforce import Salesforce, SalesforceSettings
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
from syncd.http.client import Deadlines
from syncd.http.oauth import MemoryTokens
from syncd.twins.salesforce.twin import SalesforceTwin

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


def person(email: str = "", phone: str = "", objects: tuple[str, ...] = ("Contact", "Lead")) -> PersonQuery:
    terms = ((MatchField("Email", email),) if email else ()) + (
        (MatchField("Phone", phone, phone=True),) if phone else ()
    )
    return PersonQuery(email or phone, tuple(Lookup(o, terms) for o in objects))


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


@pytest.mark.parametrize("composite", [True, False])
def test_a_thousand_writes_without_composite_take_five_calls(
    twin: SalesforceTwin, connect: Connect, composite: bool
) -> None:
    crm = connect(composite=composite)
    push(crm, *(task(n) for n in range(1000)))
    assert crm.spend().calls == (1 if composite else 5)
    assert len(twin.records("Task")) == 1000


@pytest.mark.parametrize("composite", [True, False])
def test_four_hundred_people_by_mail_and_phone(twin: SalesforceTwin, connect: Connect, composite: bool) -> None:
    crm = connect(composite=composite)
    by_mail = twin.add("Lead", LastName="A", Company="C", Email="Anna.Long+tag@Example.COM")
    by_phone = twin.add("Contact", LastName="B", Phone="(091) 234-5678 ext 9")
    twin.add("Contact", LastName="D", Phone="+1 91 234 5678")
    people = [person("anna.long+tag@example.com"), person(phone="+84912345678"), person("o'neil@example.com")]
    people += [person(f"somebody.with.a.long.name.{n}@a-customer-{n}.example.com", f"+8490{n:07}") for n in range(400)]
    found = crm.resolve(people)
    assert found[0] is not None
    assert (found[0].object, found[0].id, found[0].role) == ("Lead", by_mail, "lead")
    assert found[1] is not None
    assert found[1].id == by_phone
    assert found[2:] == [None] * 401
    if composite:
        assert crm.spend().calls == 1


def test_of_several_the_oldest_and_the_contact_before_the_lead(
    twin: SalesforceTwin, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    crm = connect()
    account = twin.add("Account", Name="Customer")
    twin.add("Lead", LastName="L", Company="C", Email="a@example.com")
    first = twin.add("Contact", LastName="1", Email="A@example.com", AccountId=account)
    second = twin.add("Contact", LastName="2", Email="a@EXAMPLE.com")
    found = crm.resolve([person("a@example.com")])[0]
    assert found is not None
    assert (found.id, found.role, found.account, found.open_deal) == (first, "contact", Link("Account", account), None)
    assert second in caplog.text
    twin.delete(first)
    found = crm.resolve([person("a@example.com")])[0]
    assert found is not None
    assert found.id == second


def test_a_converted_lead_is_its_contact(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    made = twin.convert(twin.add("Lead", LastName="L", Company="C", Email="x@example.com", Phone="0912345678"))
    found = crm.resolve([person("x@example.com", objects=("Lead",))])[0]
    assert found is not None
    assert (found.object, found.role) == ("Contact", "contact")
    assert found.id in made.values()
    assert found.account == Link("Account", made["AccountId"])


def test_open_deals_are_asked_for_only_when_wanted(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    company = twin.add("Account", Name="Customer")
    deal = {"StageName": "Proposal", "CloseDate": "2027-01-01"}
    twin.add("Opportunity", Name="Company's", AccountId=company, **deal)
    own = twin.add("Opportunity", Name="Own", **deal)
    twin.add("Contact", LastName="A", Email="company@example.com", AccountId=company)
    mine = twin.add("Contact", LastName="B", Email="own@example.com")
    twin.add("OpportunityContactRole", OpportunityId=own, ContactId=mine)
    twin.add("Contact", LastName="C", Email="none@example.com")
    people = [person(f"{name}@example.com") for name in ("company", "own", "none", "nobody")]
    assert [f and f.open_deal for f in crm.resolve(people)] == [None] * 4
    assert crm.spend().calls == 1
    assert [f and f.open_deal for f in crm.resolve(people, deals=DealPick.NEWEST)] == [True, True, False, None]
    assert crm.spend().calls == 2


def test_people_on_many_pages(connect: Connect, twin: SalesforceTwin) -> None:
    twin.page_size = 100
    crm = connect()
    ids = [twin.add("Contact", LastName="P", Email=f"p{n}@example.com") for n in range(250)]
    found = crm.resolve([person(f"p{n}@example.com") for n in range(250)])
    assert [f and f.id for f in found] == ids


def test_on_create_is_for_new_records_and_clear_empties(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    new = task(1, fields={"Description": "first"}, on_create={"Status": "Completed"})
    made = push(crm, new)[0]
    assert made == Written(made.id, True)
    known = task(1, id=made.id, fields={"Subject": "Changed"}, on_create={"Status": "Deferred"}, clear=("Description",))
    assert push(crm, known) == [Written(made.id, False)]
    [record] = twin.records("Task")
    assert (record["Subject"], record["Status"], record.get("Description")) == ("Changed", "Completed", None)
    assert record["ActivityDate"] == "2026-11-01"


def test_records_without_a_key_are_created(twin: SalesforceTwin, connect: Connect) -> None:
    outcomes = push(connect(), *(Write(key=key(n), object="Task", fields={"Subject": "note"}) for n in range(3)))
    assert [o.created for o in outcomes] == [True] * 3
    assert len(twin.records("Task")) == 3


def test_a_bad_row_harms_only_itself(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    outcomes = push(
        crm,
        task("good"),
        task("long", fields={"Subject": "x" * 256}),
        task("unknown", fields={"Nonsense__c": "1"}),
        task("unsendable", fields={"Subject": "half a pair \ud800"}),
        task("orphan", links={"WhoId": Link("Contact", "003dM0000099999QAA")}),
        lead("mail", fields={"Email": "no mail"}),
    )
    good, long, unknown, unsendable, orphan, mail = outcomes
    assert isinstance(good, Written)
    assert (type(long), long.code, long.field) == (Rejected, "STRING_TOO_LONG", "Subject")
    assert (type(unknown), unknown.scope, unknown.field) == (Misconfigured, Scope.RULE, "Nonsense__c")
    assert (type(unsendable), unsendable.field) == (Rejected, "Subject")
    assert isinstance(orphan, StaleReference | Rejected)
    assert (type(mail), mail.field) == (Rejected, "Email")
    assert [r["Subject"] for r in twin.records("Task")] == ["Signal good"]


def test_a_wrong_key_field_or_object_holds_only_its_rule(twin: SalesforceTwin, connect: Connect) -> None:
    good, field, object_ = push(
        connect(),
        task("good"),
        Write(key=key(1), object="Task", key_field="Wrong__c", fields={"Subject": "s"}),
        Write(key=key(2), object="Wrong__c", key_field=KEY, fields={"Name": "n"}),
    )
    assert isinstance(good, Written)
    assert (type(field), field.scope, field.field) == (Misconfigured, Scope.RULE, "Wrong__c")
    assert (type(object_), object_.scope) == (Misconfigured, Scope.RULE)


def test_links_to_people_who_changed_are_stale(twin: SalesforceTwin, connect: Connect) -> None:
    gone = twin.add("Contact", LastName="G", Email="g@example.com")
    lead_id = twin.add("Lead", LastName="L", Company="C", Email="l@example.com")
    twin.delete(gone)
    twin.convert(lead_id)
    outcomes = push(
        connect(),
        task(1, links={"WhoId": Link("Contact", gone)}),
        task(2, links={"WhoId": Link("Lead", lead_id)}),
        lead(3, id=lead_id),
    )
    assert [(type(o), o.field) for o in outcomes[:2]] == [(StaleReference, "WhoId")] * 2
    assert isinstance(outcomes[2], StaleReference)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"do": "daily_limit"}, QuotaExhausted),
        ({"do": "storage_limit"}, QuotaExhausted),
        ({"do": "concurrent_limit"}, RateLimited),
        ({"do": "lock"}, Transient),
        ({"do": "unavailable"}, Transient),
        ({"do": "unavailable", "retry_after": 30}, RateLimited),
        ({"do": "maintenance"}, Transient),
        ({"do": "api_disabled"}, Misconfigured),
        ({"do": "error", "status": 500}, Ambiguous),
        ({"do": "error", "status": 400, "code": "NEVER_SEEN"}, Transient),
        ({"do": "html"}, Ambiguous),
        ({"do": "html", "status": 200}, Ambiguous),
        ({"do": "html", "status": 429, "retry_after": 7}, RateLimited),
        ({"do": "reset"}, Ambiguous),
        ({"do": "reset", "when": "after"}, Ambiguous),
        ({"do": "truncate"}, Ambiguous),
        ({"do": "cut"}, Ambiguous),
        ({"do": "refuse_tokens"}, AuthExpired),
    ],
    ids=lambda v: "-".join(map(str, v.values())) if isinstance(v, dict) else v.__name__,
)
@pytest.mark.parametrize("alone", [True, False], ids=["collection", "composite"])
def test_faults_of_a_whole_call(
    twin: SalesforceTwin, connect: Connect, fault: dict[str, Any], expected: type[Failure], alone: bool
) -> None:
    crm = connect()
    assert crm.resolve([person("a@example.com")]) == [None]
    twin.plan.add([{"on": "upsert_collection" if alone else "composite", **fault}])
    writes = [task(1)] if alone else [task(1), lead(1)]
    with pytest.raises(Failure) as caught:
        raise next(o for o in push(crm, *writes) if isinstance(o, Failure))
    assert type(caught.value) is expected
    assert "hush" not in str(caught.value)
    if fault.get("code") == "NEVER_SEEN":
        assert isinstance(caught.value, Transient)
        assert not caught.value.known
    twin.plan.clear()
    assert all(isinstance(o, Written) for o in push(crm, *writes))
    assert twin.doubled() == {}


def test_a_part_that_fails_leaves_the_others_written(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    twin.plan.add([{"on": "upsert_collection", "do": "lock", "inner": True, "nth": 2}])
    tasks, leads = push(crm, task(1), lead(1))
    assert isinstance(tasks, Written)
    assert isinstance(leads, Transient)
    assert leads.code == "UNABLE_TO_LOCK_ROW"


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access", Transient),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: execution of AfterInsert caused by UNABLE_TO_LOCK_ROW", Transient),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: System.NullPointerException", Rejected),
        ("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", RateLimited),
        ("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", QuotaExhausted),
        ("DUPLICATE_VALUE", "duplicate value found: Syncd_Key__c duplicates value on record with id: 003x", Transient),
    ],
)
def test_row_errors(twin: SalesforceTwin, connect: Connect, code: str, message: str, expected: type[Failure]) -> None:
    crm = connect()
    twin.plan.add([{"on": "upsert_collection", "do": "row", "row": 1, "code": code, "message": message}])
    outcomes = push(crm, task(1), task(2), task(3))
    assert [type(o) for o in outcomes] == [Written, expected, Written]


def test_one_refresh_serves_and_the_headers_come_again(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    push(crm, task(1))
    issued = twin.stats()["tokens_issued"]
    twin.expire_tokens()
    assert isinstance(push(crm, task(2))[0], Written)
    assert twin.stats()["tokens_issued"] == issued + 1


def test_allowance_and_urls(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    assert crm.allowance() is None
    push(crm, task(1))
    allowance = crm.allowance()
    assert allowance is not None
    assert (allowance.unit, allowance.used, allowance.maximum) == ("calls", 1, 15000)
    assert crm.url("Task", "00Txx") == f"{twin.url}/lightning/r/Task/00Txx/view"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"do": "invalid_grant"}, Misconfigured),
        ({"do": "login_rate"}, RateLimited),
        ({"do": "html"}, Transient),
        ({"do": "reset"}, Transient),
        ({"do": "truncate"}, Transient),
        ({"do": "html", "status": 404}, Misconfigured),
        (
            {"do": "error", "status": 400, "code": "invalid_client", "message": "invalid client credentials"},
            Misconfigured,
        ),
    ],
    ids=lambda v: v["do"] if isinstance(v, dict) else v.__name__,
)
def test_faults_of_signing_in(
    twin: SalesforceTwin, connect: Connect, fault: dict[str, Any], expected: type[Failure]
) -> None:
    twin.plan.add([{"on": "token", **fault}])
    with pytest.raises(expected) as caught:
        push(connect(), task(1))
    assert type(caught.value) is expected
    assert "hush" not in str(caught.value)
    assert "access_token" not in str(caught.value)


def test_signing_in_by_jwt_and_by_refresh_token(twin: SalesforceTwin, connect: Connect, tmp_path: Path) -> None:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    twin.tokens.public_key = made.public_key().public_bytes(serialization.Encoding.PEM, public).decode()
    file = tmp_path / "key.pem"
    file.write_text(pem)
    jwt = {"flow": "jwt_bearer", "client_id": "app", "username": "syncd@example.com"}
    for private_key in (pem, str(file)):
        assert isinstance(push(connect(auth=jwt | {"private_key": private_key}), task(len(private_key)))[0], Written)
    for wrong, said in ((str(tmp_path / "none.pem"), "cannot be read"), ("-----BEGIN nonsense", "PEM")):
        with pytest.raises(Misconfigured, match=said) as caught:
            push(connect(auth=jwt | {"private_key": wrong}), task(1))
        assert wrong not in str(caught.value)

    twin.tokens.refresh_token = "first"
    twin.tokens._rotate = True
    crm = connect(auth={"flow": "refresh_token", "client_id": "app", "refresh_token": "first"})
    assert isinstance(push(crm, task(2))[0], Written)
    twin.expire_tokens()
    assert isinstance(push(crm, task(3))[0], Written), "the rotated refresh token was used"


def test_found_by_key_in_few_calls(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    outcomes = push(crm, *(task(n) for n in range(1000)))
    crm.spend()
    keys = [key(n) for n in range(1500)]
    found = crm.find("Task", KEY, keys)
    assert found == {key(n): outcomes[n].id for n in range(1000)}
    assert crm.spend().calls <= 2
    twin.delete(outcomes[0].id)
    assert key(0) not in crm.find("Task", KEY, keys)


def test_a_wrong_lookup_is_a_fault_of_the_destination(connect: Connect) -> None:
    wanted = PersonQuery("x", (Lookup("Contact", (MatchField("Nonsense__c", "x"),)),))
    with pytest.raises(Misconfigured, match=r"people\.match: .*Nonsense__c") as caught:
        connect().resolve([wanted])
    assert caught.value.scope is Scope.DESTINATION
    with pytest.raises(Misconfigured, match="not the name"):
        connect().resolve([PersonQuery("x", (Lookup("Contact WHERE", (MatchField("Email", "x"),)),))])


def test_a_call_that_hangs_is_in_doubt_when_our_deadline_comes(
    twin: SalesforceTwin, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.connectors.crm.salesforce.client.DEADLINES", Deadlines(connect=2.0, read=0.3, total=0.5))
    crm = connect()
    twin.plan.add([{"on": "upsert_collection", "do": "hang", "when": "after", "times": 1}])
    with pytest.raises(Ambiguous) as caught:
        push(crm, lead(1))
    assert caught.value.code == "timeout"
    assert push(crm, lead(1))[0].created is False, "it had been written all the same"
    assert crm.spend().calls == 2


def test_a_lead_that_comes_late_is_no_second_lead(twin: SalesforceTwin, connect: Connect) -> None:
    crm = connect()
    twin.plan.add([{"on": "upsert_collection", "do": "late", "times": 1}])
    with pytest.raises(Ambiguous):
        push(crm, lead(1))
    assert crm.find("Lead", KEY, [lead(1).key]) == {}
    assert crm.keying("Lead", KEY).enforced
    assert isinstance(push(crm, lead(1))[0], Written)
    twin.release()
    assert twin.doubled() == {}
    assert not crm.keying("Task", KEY).enforced, "which is why a task in doubt waits until `doubt` is over"
