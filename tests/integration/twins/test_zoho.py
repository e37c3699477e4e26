"""The Zoho CRM twin is as strict as Zoho: outcomes a row, the limits of COQL, the law of ten tokens, credits and concurrency."""

# ruff: noqa: S608 - the statements go to a twin; there is no database behind them

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from syncd.twins.zoho.twin import ZohoTwin

V8 = "/crm/v8"
CALL = {"Subject": "s", "Call_Type": "Missed", "Call_Start_Time": "2026-08-11T10:00:00+00:00", "Call_Duration": "00:00"}


def outcome(answer: Any, row: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["data"][row]
    return found


def whole(answer: Any) -> tuple[int, str]:
    body = answer.json()
    assert body.keys() == {"code", "details", "message", "status"}
    assert body["status"] == "error"
    return answer.status_code, body["code"]


def test_upsert_by_email_then_by_a_unique_field(zoho: Any, zoho_twin: ZohoTwin) -> None:
    rows = [{"Last_Name": f"L{i}", "Email": f"a{i}@x.com", "Syncd_Key": f"k{i}"} for i in range(3)]
    first = zoho.post("Leads/upsert", {"data": rows})
    assert first.status_code == 200
    assert [(r["action"], r["duplicate_field"]) for r in first.json()["data"]] == [("insert", None)] * 3
    ids = [r["details"]["id"] for r in first.json()["data"]]
    again = zoho.post("Leads/upsert", {"data": [{**rows[1], "Email": "A1@X.com"}]})
    assert (outcome(again)["action"], outcome(again)["duplicate_field"], outcome(again)["details"]["id"]) == (
        "update",
        "Email",
        ids[1],
    )
    moved = {"Last_Name": "L0", "Email": "a2@x.com", "Syncd_Key": "k0"}
    keyed = zoho.post("Leads/upsert", {"data": [moved], "duplicate_check_fields": ["Syncd_Key"]})
    assert (outcome(keyed)["duplicate_field"], outcome(keyed)["details"]["id"]) == ("Syncd_Key", ids[0])
    assert len(zoho_twin.records("Leads")) == 3


@pytest.mark.parametrize("module", ["Tasks", "Calls", "Events", "Notes"])
def test_upsert_does_not_support_activities(zoho: Any, module: str) -> None:
    assert whole_row(zoho.post(f"{module}/upsert", {"data": [{"Subject": "s"}]})) == (400, "INVALID_MODULE")


def whole_row(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    ("module", "row", "code", "details"),
    [
        (
            "Leads",
            {"Company": "x"},
            "MANDATORY_NOT_FOUND",
            {"api_name": "Last_Name", "json_path": "$.data[1].Last_Name"},
        ),
        ("Tasks", {"Subject": "s" * 256}, "INVALID_DATA", {"maximum_length": 255, "api_name": "Subject"}),
        ("Tasks", {"Subject": 7}, "INVALID_DATA", {"expected_data_type": "text"}),
        ("Tasks", {"Subject": "a\x00b"}, "INVALID_DATA", {"api_name": "Subject"}),
        ("Tasks", {"Subject": "s", "Due_Date": "11.8.2026"}, "INVALID_DATA", {"expected_data_type": "date"}),
        ("Leads", {"Last_Name": "a", "Email": "nope"}, "INVALID_DATA", {"expected_data_type": "email"}),
        ("Leads", {"Last_Name": "a", "Owner": {"id": "7328395000000999999"}}, "INVALID_DATA", {"api_name": "Owner"}),
        (
            "Calls",
            {**CALL, "Call_Start_Time": "2026-08-11T10:00:00.761Z"},
            "INVALID_DATA",
            {"expected_data_type": "datetime"},
        ),
        (
            "Calls",
            {**CALL, "Call_Start_Time": "2026-02-30T10:00:00+00:00"},
            "INVALID_DATA",
            {"expected_data_type": "datetime"},
        ),
        ("Calls", {**CALL, "Call_Type": "Lost"}, "INVALID_DATA", {"api_name": "Call_Type"}),
        ("Calls", {"Subject": "s", "Call_Type": "Missed"}, "MANDATORY_NOT_FOUND", {"api_name": "Call_Start_Time"}),
        (
            "Tasks",
            {"Subject": "s", "Who_Id": {"id": "7328395000000999999"}},
            "INVALID_DATA",
            {"json_path": "$.data[1].Who_Id.id"},
        ),
        (
            "Tasks",
            {"Subject": "s", "What_Id": {"id": "7328395000000999999"}},
            "MANDATORY_NOT_FOUND",
            {"api_name": "$se_module"},
        ),
    ],
)
def test_a_wrong_row_harms_only_itself(
    zoho: Any, zoho_twin: ZohoTwin, module: str, row: dict[str, Any], code: str, details: dict[str, Any]
) -> None:
    good = {"Leads": {"Last_Name": "ok"}, "Tasks": {"Subject": "ok"}, "Calls": CALL}[module]
    answer = zoho.insert(module, good, row)
    assert answer.status_code == 207
    assert outcome(answer)["status"] == "success"
    assert (outcome(answer, 1)["code"], outcome(answer, 1)["status"]) == (code, "error")
    assert details.items() <= outcome(answer, 1)["details"].items()
    assert len(zoho_twin.records(module)) == 1
    assert zoho.insert(module, row).status_code == 202


def test_the_unique_key_of_a_task_is_a_success_in_disguise(zoho: Any, connect: Callable[..., Any]) -> None:
    task = {"Subject": "s", "Syncd_Key": "k"}
    id_ = outcome(zoho.insert("Tasks", task))["details"]["id"]
    again = outcome(zoho.insert("Tasks", {**task, "Syncd_Key": "K"}))
    holder = {"id": id_, "module": {"api_name": "Tasks", "id": "Tasks"}}  # Zoho's published spec, DuplicateDataError
    place = {"api_name": "Syncd_Key", "json_path": "$.data[0].Syncd_Key"}
    told = {**place, "id": id_, "duplicate_record": holder, "more_records": False}
    assert (again["code"], again["details"]) == ("DUPLICATE_DATA", told)
    silent = connect(ZohoTwin(duplicate_id=False), V8)
    silent.insert("Tasks", task)
    assert "id" not in outcome(silent.insert("Tasks", task))["details"]


def test_links_to_people(zoho: Any, zoho_twin: ZohoTwin) -> None:
    lead = zoho_twin.add("Leads", Last_Name="L", Company="X", Email="l@x.com")
    contact = zoho_twin.add("Contacts", Last_Name="C")
    to_lead = {"Subject": "s", "What_Id": {"id": lead}, "$se_module": "Leads"}
    answer = zoho.insert(
        "Tasks", to_lead, {"Subject": "s", "Who_Id": {"id": contact}}, {"Subject": "s", "Who_Id": {"id": lead}}
    )
    assert [r["code"] for r in answer.json()["data"]] == ["SUCCESS", "SUCCESS", "INVALID_DATA"]
    task = outcome(answer)["details"]["id"]
    shown = outcome(zoho.get(f"Tasks/{task}"))
    assert (shown["What_Id"], shown["$se_module"]) == ({"name": "L", "id": lead}, "Leads")
    made = zoho_twin.convert(lead)
    assert outcome(zoho.insert("Tasks", to_lead))["code"] == "INVALID_DATA"
    assert outcome(zoho.get(f"Tasks/{task}"))["Who_Id"]["id"] == made["Contacts"]
    assert zoho.coql(f"select id from Leads where id = '{lead}'").status_code == 204
    assert outcome(zoho.call("PUT", f"Leads/{lead}", json={"data": [{"City": "x"}]}))["code"] == "ID_ALREADY_CONVERTED"
    zoho_twin.delete(contact)
    assert outcome(zoho.insert("Tasks", {"Subject": "s", "Who_Id": {"id": contact}}))["code"] == "INVALID_DATA"
    assert zoho.get(f"Contacts/{contact}").status_code == 204


def test_requests_that_are_wrong_as_a_whole(zoho: Any) -> None:
    assert whole(zoho.insert("Tasks", *[{"Subject": "s"}] * 101)) == (400, "LIMIT_EXCEEDED")
    assert whole(zoho.post("Tasks", {"rows": []})) == (400, "MANDATORY_NOT_FOUND")
    assert whole(zoho.insert("Nope", {"a": 1})) == (400, "INVALID_MODULE")
    assert whole(zoho.call("POST", "Tasks", data=b'{"data": [')) == (400, "INVALID_DATA")
    assert whole(zoho.get("Leads/nonsense")) == (400, "INVALID_DATA")
    assert whole(zoho.get("Leads")) == (400, "REQUIRED_PARAM_MISSING")
    assert zoho.get("Leads", fields="id").status_code == 204


def test_unknown_fields_are_dropped_and_counted(zoho: Any, zoho_twin: ZohoTwin) -> None:
    assert outcome(zoho.insert("Tasks", {"Subject": "s", "Nope": 1}))["status"] == "success"
    assert "Tasks.Nope" in zoho_twin.stats()["ignored_fields"]


def test_times_are_answered_in_the_users_zone(zoho: Any) -> None:
    id_ = outcome(zoho.insert("Calls", CALL))["details"]["id"]
    assert outcome(zoho.get(f"Calls/{id_}"))["Call_Start_Time"] == "2026-08-11T13:00:00+03:00"


# Finding.


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("Email in ('A@X.com', 'b@x.com')", ["A", "B"]),
        ("Last_Name = 'O''Hara'", ["O'Hara"]),
        ("Email is null", ["O'Hara"]),
        ("(Email is not null and (Phone like '%345678' or Phone like '%999'))", ["A"]),
        ("Email not in ('a@x.com') and Email is not null", ["B"]),
        ("Email like 'a%'", ["A"]),
    ],
)
def test_coql_conditions(zoho: Any, zoho_twin: ZohoTwin, where: str, found: list[str]) -> None:
    zoho_twin.add("Contacts", Last_Name="A", Email="a@x.com", Phone="+84912345678")
    zoho_twin.add("Contacts", Last_Name="B", Email="b@x.com")
    zoho_twin.add("Contacts", Last_Name="O'Hara")
    answer = zoho.coql(f"select Last_Name, Owner from Contacts where {where} limit 0, 200").json()
    assert [r["Last_Name"] for r in answer["data"]] == found
    assert answer["info"] == {"count": len(found), "more_records": False}


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("select id from Leads where Email = 'a' and Phone = 'b' and Mobile = 'c'", "SYNTAX_ERROR"),
        ("select id from Leads where Last_Name = 'O\\'Hara'", "SYNTAX_ERROR"),
        ("select id from Leads", "SYNTAX_ERROR"),
        ("select Nope from Leads where id is not null", "INVALID_QUERY"),
        ("select id from Nope where id is not null", "INVALID_QUERY"),
        ("select id from Leads where Description like '%x%'", "INVALID_QUERY"),
        (f"select id from Leads where Email in ({', '.join(repr(str(i)) for i in range(51))})", "LIMIT_EXCEEDED"),
        ("select id from Leads where id is not null limit 0, 2001", "LIMIT_EXCEEDED"),
        (f"select {', '.join(['Email'] * 51)} from Leads where id is not null", "LIMIT_EXCEEDED"),
    ],
)
def test_coql_that_is_wrong(zoho: Any, statement: str, code: str) -> None:
    assert whole(zoho.coql(statement)) == (400, code)


def test_coql_takes_25_criteria_and_no_more(zoho: Any) -> None:
    def nested(count: int) -> str:
        text = "Email = '0'"
        for number in range(1, count):
            text = f"({text} or Email = '{number}')"
        return f"select id from Leads where {text}"

    assert zoho.coql(nested(25)).status_code == 204
    assert whole(zoho.coql(nested(26))) == (400, "LIMIT_EXCEEDED")


def test_coql_pages_and_costs(zoho: Any, zoho_twin: ZohoTwin) -> None:
    for number in range(300):
        zoho_twin.add("Tasks", Subject=str(number), Syncd_Key=f"k{number}")
    before = zoho_twin.spent()
    first = zoho.coql("select Subject from Tasks where id is not null").json()
    assert first["info"] == {"count": 200, "more_records": True}
    rest = zoho.coql("select Subject from Tasks where id is not null limit 200, 1000").json()
    assert rest["info"] == {"count": 100, "more_records": False}
    assert zoho_twin.spent() - before == 3
    assert zoho.coql("select Subject from Tasks where Syncd_Key = 'nope'").content == b""


def test_search_is_not_exact_and_late(zoho: Any, connect: Callable[..., Any]) -> None:
    zoho.twin.add("Contacts", Last_Name="Anna", Email="a@x.com", Phone="+1 512 345 678 901")
    assert outcome(zoho.get("Contacts/search", email="A@x.com"))["Last_Name"] == "Anna"
    assert outcome(zoho.get("Contacts/search", criteria="(Last_Name:equals:nn)"))["Last_Name"] == "Anna"
    assert outcome(zoho.get("Contacts/search", phone="+84345678901"))["Last_Name"] == "Anna"
    assert zoho.get("Contacts/search", email="b@x.com").status_code == 204
    late = connect(ZohoTwin(search_lag=60.0), V8)
    late.twin.add("Contacts", Last_Name="Anna", Email="a@x.com")
    assert late.get("Contacts/search", email="a@x.com").status_code == 204
    assert late.coql("select id from Contacts where Email = 'a@x.com'").status_code == 200


def test_settings_tell_what_a_client_must_know(zoho: Any) -> None:
    fields = {f["api_name"]: f for f in zoho.get("settings/fields", module="Tasks").json()["fields"]}
    assert fields["Syncd_Key"]["unique"] == {"casesensitive": "false"}
    assert (fields["Subject"]["length"], fields["Subject"]["system_mandatory"]) == (255, True)
    assert "Tasks" in {m["api_name"] for m in zoho.get("settings/modules").json()["modules"]}
    assert zoho.get("org").json()["org"][0]["company_name"]
    assert whole(zoho.get("settings/fields", module="Nope")) == (400, "INVALID_MODULE")


# Tokens, credits, concurrency.


def test_ten_tokens_in_ten_minutes(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(ZohoTwin(clock=lambda: now[0]), V8)
    assert [client.login().status_code for _ in range(9)] == [200] * 9
    refused = client.login()
    assert refused.status_code == 400
    assert refused.json()["error"] == "Access Denied"
    now[0] += 599
    assert client.login().status_code == 400
    now[0] += 2
    answer = client.login().json()
    assert (answer["api_domain"], answer["expires_in"], answer["token_type"]) == (client.twin.url, 3600, "Bearer")


def test_permanent_refusals_are_http_200(connect: Callable[..., Any]) -> None:
    client = connect(ZohoTwin(client_id="id", client_secret="secret", refresh_token="good"), V8)

    def grant(**change: str) -> tuple[int, Any]:
        form = {
            "grant_type": "refresh_token",
            "client_id": "id",
            "client_secret": "secret",
            "refresh_token": "good",
            **change,
        }
        answer = client.call("POST", "/oauth/v2/token", data=form)
        return answer.status_code, answer.json().get("error")

    assert grant() == (200, None)
    assert grant(refresh_token="bad") == (200, "invalid_code")
    assert grant(client_id="other") == (200, "invalid_client")


def test_tokens_end(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(ZohoTwin(clock=lambda: now[0]), V8)
    assert client.get("users").status_code == 200
    now[0] += 3_601
    assert whole(client.get("users")) == (401, "INVALID_TOKEN")


def test_credits_are_counted_over_a_day(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(ZohoTwin(clock=lambda: now[0], credits=11, token_life=1e6), V8)
    full = client.insert("Tasks", *[{"Subject": "s"}] * 100)
    assert full.headers["X-API-CREDITS-REMAINING"] == "1"
    assert client.get("users").status_code == 200
    assert whole(client.get("users")) == (429, "THRESHOLD_EXCEEDED")
    now[0] += 86_401
    assert client.get("users").status_code == 200


def test_too_many_calls_at_once(connect: Callable[..., Any]) -> None:
    client = connect(ZohoTwin(concurrency=4, sub_concurrency=2, latency=0.2), V8)
    headers = dict(client.session.headers)

    def statuses(count: int, *request: Any, **options: Any) -> list[int]:
        import requests

        with ThreadPoolExecutor(count) as pool:
            made = [
                pool.submit(
                    requests.request, request[0], client.twin.url + request[1], headers=headers, timeout=10, **options
                )
            ]
            made += [
                pool.submit(
                    requests.request, request[0], client.twin.url + request[1], headers=headers, timeout=10, **options
                )
                for _ in range(count - 1)
            ]
            return sorted(m.result().status_code for m in made)

    assert statuses(6, "GET", f"{V8}/users").count(429) == 2
    heavy = statuses(4, "POST", f"{V8}/coql", json={"select_query": "select id from Leads where id is not null"})
    assert heavy == [204, 204, 429, 429]


def test_sales_signals(zoho: Any, zoho_twin: ZohoTwin) -> None:
    zoho_twin.add("Leads", Last_Name="L", Email="l@x.com")
    signal = {"signal_namespace": "Telephony_Missed__s", "email": "l@x.com", "subject": "Missed", "message": "*bold*"}
    path = "/crm/v2/signals/notifications"
    wrong = [{**signal, "subject": "s" * 101}, {**signal, "email": "no@x.com"}, {**signal, "signal_namespace": "nope"}]
    answer = zoho.post(path, {"signals": [signal, *wrong]})
    assert [s["code"] for s in answer.json()["signals"]] == ["SUCCESS", "INVALID_DATA", "INVALID_DATA", "INVALID_DATA"]
    flat = zoho.post(path, signal)
    assert (whole(flat), flat.json()["details"]) == ((400, "MANDATORY_NOT_FOUND"), {"api_name": "signals"})
    assert len(zoho_twin.records("Signals")) == 1
    assert whole(zoho.post("signals/notifications", {"signals": [signal]})) == (404, "INVALID_URL_PATTERN")


def test_conversion_over_the_api(zoho: Any, zoho_twin: ZohoTwin) -> None:
    first, second = (zoho_twin.add("Leads", Last_Name="L", Company="X") for _ in range(2))
    made = zoho.post(f"Leads/{first}/actions/convert", {"data": [{}]})
    assert outcome(made)["details"]["Contacts"]["name"] == "L"
    again = zoho.post(f"Leads/{first}/actions/convert", {"data": [{}]})
    assert (again.status_code, outcome(again)["code"]) == (202, "ID_ALREADY_CONVERTED")
    old = zoho.post(f"/crm/v2/Leads/{second}/actions/convert", {"data": [{}]})
    assert outcome(old).keys() == {"Contacts", "Accounts"}
