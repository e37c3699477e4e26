"""The Zoho CRM destination against the Zoho CRM twin over HTTP: figures, and records as Zoho wants them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.connector import Context, Link, Write, Written
from syncd.connectors.crm.zoho import Zoho, ZohoSettings
from syncd.connectors.crm.zoho.client import ZohoClient
from syncd.errors import (
    Ambiguous,
    Misconfigured,
    Rejected,
    Scope,
    StaleReference,
    Transient,
)
from syncd.http.oauth import MemoryTokens
from syncd.twins.zoho.schema import ZohoField
from syncd.twins.zoho.twin import ZohoTwin
from tests.zoho_crm import AUTH, KEY, Connect, answers, connecting, key, lead, operations, person, push, task


@pytest.fixture
def twin() -> Iterator[ZohoTwin]:
    with ZohoTwin() as running:
        yield running


@pytest.fixture
def connect(twin: ZohoTwin) -> Iterator[Connect]:
    yield from connecting(twin)


def test_thousand_signals_of_four_hundred_people_take_twenty_calls(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    known = [twin.add("Contacts", Last_Name=f"P{n}", Email=f"p{n}@example.com") for n in range(350)]
    people = [person(f"p{n}@example.com") for n in range(350)] + [person(f"lead{n}@example.com") for n in range(50)]

    found = crm.resolve(people)
    assert [f.id for f in found[:350] if f] == known
    assert found[350:] == [None] * 50
    assert operations(twin) == ["coql"] * 9  # eight on Contacts, one on Leads
    assert crm.spend().units == 9
    leads = push(crm, *(lead(n) for n in range(50)))
    assert operations(twin)[9:] == ["upsert"]
    assert crm.spend().units == 5
    who = known + [w.id for w in leads]
    tasks = [
        task(n, group=who[n % 400], links={"Who_Id": Link("Contacts" if n % 400 < 350 else "Leads", who[n % 400])})
        for n in range(1000)
    ]
    assert [call.cost for call in crm.plan(tasks)] == [10.0] * 10
    assert all(isinstance(o, Written) and o.created for o in push(crm, *tasks))
    assert operations(twin)[10:] == ["create"] * 10
    spent = crm.spend()
    assert (spent.calls, spent.units) == (10, 100)
    assert twin.spent_total == 9 + 5 + 100

    assert all(isinstance(o, Written) and not o.created for o in push(crm, *tasks, *(lead(n) for n in range(50))))
    assert len(twin.records("Tasks")) == 1000
    assert len(twin.records("Leads")) == 50
    assert twin.doubled() == {}


def test_calls_without_a_common_group_may_fly_together(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    calls = crm.plan([task(n, group=str(n)) for n in range(600)])
    with ThreadPoolExecutor(crm.concurrency) as pool:
        outcomes = [o for answered in pool.map(crm.send, calls) for o in answered]
    assert all(isinstance(o, Written) and o.created for o in outcomes)
    spent = crm.spend()
    assert (spent.calls, spent.units) == (6, 60)
    assert twin.accounts.issued == 1
    assert (crm.spend().calls, crm.spend().units) == (0, 0)


def test_on_create_is_for_new_records_and_clear_empties(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    new = task(1, fields={"Description": "first"}, on_create={"Status": "Completed"})
    made = push(crm, new)[0]
    assert made == Written(made.id, True)
    known = task(1, id=made.id, fields={"Subject": "Changed"}, on_create={"Status": "Deferred"}, clear=("Description",))
    assert push(crm, known) == [Written(made.id, False)]
    [record] = twin.records("Tasks")
    assert (record["Subject"], record["Status"], record.get("Description")) == ("Changed", "Completed", None)
    assert record["Due_Date"] == "2026-11-01"


def test_links_go_where_zoho_wants_them(twin: ZohoTwin, connect: Connect) -> None:
    contact = twin.add("Contacts", Last_Name="C")
    stranger = twin.add("Leads", Last_Name="L")
    company = twin.add("Accounts", Account_Name="A")
    outcomes = push(
        connect(),
        task(1, links={"Who_Id": Link("Contacts", contact), "What_Id": Link("Accounts", company)}),
        task(2, links={"Who_Id": Link("Leads", stranger)}),
        task(3, links={"Who_Id": Link("Leads", stranger), "What_Id": Link("Accounts", company)}),
        Write(
            key=key("call"),
            object="Calls",
            key_field=KEY,
            fields={
                "Subject": "Missed",
                "Call_Type": "Missed",
                "Call_Start_Time": datetime(2026, 11, 1, 9, 30, 15, 761000, UTC),
                "Call_Duration": "00:00",
            },
            links={"Who_Id": Link("Leads", stranger)},
        ),
        Write(
            key=key("note"),
            object="Notes",
            fields={"Note_Content": "said"},
            links={"Parent_Id": Link("Leads", stranger)},
        ),
        Write(
            key=key("c"),
            object="Contacts",
            key_field=KEY,
            fields={"Last_Name": "N"},
            links={"Account_Name": Link("Accounts", company)},
        ),
    )
    assert [type(o) for o in outcomes] == [Written, Written, Rejected, Written, Written, Written]
    first, second = twin.records("Tasks")
    assert (first["Who_Id"], first["What_Id"], first["$se_module"]) == (contact, company, "Accounts")
    assert (second.get("Who_Id"), second["What_Id"], second["$se_module"]) == (None, stranger, "Leads")
    [call] = twin.records("Calls")
    assert (call["What_Id"], call["Call_Start_Time"]) == (stranger, "2026-11-01T12:30:15+03:00")
    assert twin.records("Notes")[0]["Parent_Id"] == stranger
    assert twin.records("Contacts")[-1]["Account_Name"] == company
    assert twin.rows.ignored == set()


def test_a_lead_entered_by_hand_meanwhile_is_met_not_doubled(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    by_hand = twin.add("Leads", Last_Name="H", Email="LEAD1@example.com")
    assert push(crm, lead(1)) == [Written(by_hand, False)]
    assert push(crm, lead(2, fields={"Email": ""}), lead(3))[0].created
    assert len(twin.records("Leads")) == 3


def test_two_new_leads_of_one_mail_go_one_after_the_other(twin: ZohoTwin, connect: Connect) -> None:
    first, second = push(connect(), lead(1), lead(2, fields={"Email": "Lead1@example.com"}))
    assert (first.created, second) == (True, Written(first.id, False))
    assert operations(twin) == ["upsert"] * 2


@pytest.mark.parametrize("told", [True, False], ids=["id told", "id looked up"])
def test_a_duplicate_of_our_key_is_written(connect: Connect, twin: ZohoTwin, told: bool) -> None:
    twin.rows.duplicate_id = told
    crm = connect()
    ids = [o.id for o in push(crm, task(1), task(2))]
    again = push(crm, task(1), task(2), task(3))
    assert [o.id for o in again[:2]] == ids
    assert [o.created for o in again] == [False, False, True]
    assert operations(twin) == ["create", "create"] + ([] if told else ["coql"])


def test_an_id_that_cannot_be_looked_up_harms_nobody_else(twin: ZohoTwin, connect: Connect) -> None:
    twin.rows.duplicate_id = False
    crm = connect()
    push(crm, task(1))
    twin.plan.add([{"on": "coql", "do": "concurrency"}])
    old, new = push(crm, task(1), task(2))
    assert isinstance(old, Transient)
    assert isinstance(new, Written)


def test_a_duplicate_of_another_field_is_rejected_with_its_holder(twin: ZohoTwin, connect: Connect) -> None:
    twin.schema["Accounts"].fields["Account_Number"] = ZohoField("Account_Number", unique=True)
    twin.schema["Accounts"].__dict__.pop("unique", None)
    there = twin.add("Accounts", Account_Name="A", Account_Number="7", Syncd_Key=key("other"))
    write = Write(key=key(1), object="Accounts", key_field=KEY, fields={"Account_Name": "B"}, id="")
    made = push(connect(), write)[0]
    clash = Write(key=key(1), object="Accounts", id=made.id, fields={"Account_Number": "7"})
    outcome = push(connect(), clash)[0]
    assert (type(outcome), outcome.field, outcome.existing_id) == (Rejected, "Account_Number", there)


def test_a_bad_row_harms_only_itself(twin: ZohoTwin, connect: Connect) -> None:
    outcomes = push(
        connect(),
        task("good"),
        task("long", fields={"Subject": "x" * 256}),
        task("missing", fields={"Subject": None}),
        task("unsendable", fields={"Subject": "half a pair \ud800"}),
        task("nul", fields={"Subject": "a\0b"}),
        task("unknown", fields={"Nonsense": "1"}),
        lead("mail", fields={"Email": "no mail"}),
    )
    good, long, missing, unsendable, nul, unknown, mail = outcomes
    assert isinstance(good, Written)
    assert (type(long), long.code, long.field) == (Rejected, "INVALID_DATA", "Subject")
    assert "at most 255 characters" in str(long)
    assert (type(missing), missing.code, missing.field) == (Rejected, "MANDATORY_NOT_FOUND", "Subject")
    assert (type(unsendable), unsendable.field) == (Rejected, "Subject")
    assert (type(nul), nul.field) == (Rejected, "Subject")
    assert isinstance(unknown, Written)  # Zoho drops what it does not know
    assert (type(mail), mail.field) == (Rejected, "Email")


def test_a_wrong_key_field_or_module_holds_only_its_rule(connect: Connect) -> None:
    good, field, module = (
        next(iter(answers(connect(), write)))
        for write in (
            task("good"),
            Write(key=key(1), object="Leads", key_field="Company", fields={"Last_Name": "s"}),
            Write(key=key(2), object="Nothing", key_field=KEY, fields={"Name": "n"}),
        )
    )
    assert isinstance(good, Written)
    assert (type(field), field.scope, field.field) == (Misconfigured, Scope.RULE, "Company")
    assert "Do not allow duplicate values" in str(field)
    assert (type(module), module.scope) == (Misconfigured, Scope.RULE)
    assert "Nothing" in str(module)


def test_links_to_people_who_changed_are_stale(twin: ZohoTwin, connect: Connect) -> None:
    gone = twin.add("Contacts", Last_Name="G")
    lead_id = twin.add("Leads", Last_Name="L", Email="l@example.com")
    task_id = twin.add("Tasks", Subject="S")
    twin.delete(gone)
    twin.delete(task_id)
    twin.convert(lead_id)
    outcomes = push(
        connect(),
        task(1, links={"Who_Id": Link("Contacts", gone)}),
        task(2, links={"Who_Id": Link("Leads", lead_id)}),
        lead(3, id=lead_id),
        task(4, id=task_id),
    )
    assert [(type(o), o.field) for o in outcomes] == [
        (StaleReference, "Who_Id"),
        (StaleReference, "Who_Id"),
        (StaleReference, ""),
        (StaleReference, ""),
    ]
    assert outcomes[2].code == "ID_ALREADY_CONVERTED"


def test_a_lead_of_ours_that_was_converted_is_stale(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    twin.convert(push(crm, lead(1))[0].id)
    assert isinstance(push(crm, lead(1))[0], StaleReference)
    found = crm.resolve([person("lead1@example.com")])[0]
    assert found is not None
    assert found.object == "Contacts"


def test_without_a_unique_field_the_key_is_found_before_a_retry() -> None:
    plain = {module: (ZohoField(KEY, length=64, custom=True),) for module in ("Tasks", "Leads")}
    with ZohoTwin(custom_fields=plain) as twin:
        for crm in (build() for build in connecting(twin)):
            twin.plan.add([{"on": "create", "do": "reset", "when": "after", "times": 1}])
            with pytest.raises(Ambiguous):
                push(crm, task(1), task(2))
            [first, second] = twin.records("Tasks")
            found = crm.find("Tasks", KEY, [key(1), key(2), key(3)])
            assert found == {key(1): first["id"], key(2): second["id"]}
            double = twin.add("Tasks", Subject="again", Syncd_Key=key(1))
            assert double not in crm.find("Tasks", KEY, [key(1)]).values()


def test_finding_by_a_field_that_is_none_holds_the_rule(connect: Connect) -> None:
    for object_, field in (("Tasks", "Nonsense"), ("Tasks", "x y"), ("Notes", KEY)):
        with pytest.raises(Misconfigured) as caught:
            connect().find(object_, field, ["k"])
        assert caught.value.scope is Scope.RULE


def test_what_is_sent_beside_the_records(twin: ZohoTwin, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    write = ZohoClient.write

    def spy(self: ZohoClient, method: str, path: str, body: dict[str, Any], cost: float) -> list[Any]:
        sent.append({name: value for name, value in body.items() if name != "data"})
        return write(self, method, path, body, cost)

    monkeypatch.setattr(ZohoClient, "write", spy)
    made = push(connect(), task(1), lead(1))
    push(connect(trigger=[], lar_id="7328395000000100001"), task(2), lead(2), lead(1, id=made[1].id))
    push(connect(trigger=["workflow"]), lead(3, fields={"Email": None}))
    assert sent == [
        {},
        {"duplicate_check_fields": [KEY, "Email"]},
        {"trigger": []},
        {"trigger": [], "lar_id": "7328395000000100001", "duplicate_check_fields": [KEY, "Email"]},
        {"trigger": []},
        {"trigger": ["workflow"], "duplicate_check_fields": [KEY]},
    ]


def test_the_web_page_of_a_record() -> None:
    settings = ZohoSettings.model_validate({"data_center": "eu", "auth": AUTH})
    crm = Zoho(settings, Context(name="crm", tokens=MemoryTokens()))
    assert crm.url("Deals", "7") == "https://crm.zoho.eu/crm/tab/Potentials/7"
    assert crm.url("Own_Module", "7") == ""
    crm.close()


def test_a_task_of_an_account_names_its_module(twin: ZohoTwin, connect: Connect) -> None:
    """As `link: {What_Id: account}` writes it: `$se_module` is the module's own name."""
    company = twin.add("Accounts", Account_Name="Customer")
    crm = connect()
    assert isinstance(push(crm, task(1, links={"What_Id": Link("Accounts", company)}))[0], Written)
    (wrong,) = push(crm, task(2, links={"What_Id": Link("Account", company)}))
    assert isinstance(wrong, Rejected)
    assert "module" in str(wrong)
