"""The Bitrix24 twin is as odd as Bitrix24: who may call it, batches that are always HTTP 200, its limits, its faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import requests

from syncd.twins.bitrix24.twin import Bitrix24Twin
from tests.integration.twins.portal_calls import LEAD, MAIL, added, batch, error, listed

# Calls.


def test_a_method_takes_json_a_form_and_the_address(bitrix24: Any) -> None:
    given = {"entityTypeId": LEAD, "fields": {"title": "a", "observers": [1]}}
    for answer in (
        bitrix24.post("crm.item.add.json", given),
        bitrix24.call(
            "POST", "crm.item.add", data={"entityTypeId": "1", "fields[title]": "a", "fields[observers][]": "1"}
        ),
        bitrix24.call("GET", "CRM.Item.Add?entityTypeId=1&fields[title]=a&fields[observers][0]=1"),
    ):
        item = answer.json()["result"]["item"]
        assert (item["title"], item["observers"]) == ("a", [1])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/rest/1/wrong/profile", (401, "NO_AUTH_FOUND")),
        ("/rest/2/twin/profile", (401, "NO_AUTH_FOUND")),
        ("/rest/profile", (401, "NO_AUTH_FOUND")),
        ("/rest/profile?auth=nope", (401, "NO_AUTH_FOUND")),
        ("/rest/1/twin/crm.item.nope", (404, "ERROR_METHOD_NOT_FOUND")),
        ("/rest/1/twin/crm.item.get", (400, "100")),
        ("/rest/1/twin/crm.item.get?entityTypeId=1&id=9", (400, "NOT_FOUND")),
        ("/rest/1/twin/crm.item.get?entityTypeId=99&id=9", (400, "NOT_FOUND")),
        ("/rest/1/twin/crm.item.add?entityTypeId=1&fields=x", (400, "100")),
    ],
)
def test_refusals(bitrix24: Any, path: str, expected: tuple[int, str]) -> None:
    assert error(bitrix24.get(path)) == expected


def test_a_webhook_has_the_scopes_it_was_given_and_an_end(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(Bitrix24Twin(scopes=["im", "user_brief"], clock=lambda: now[0]), "/rest/1/twin")
    assert error(client.get("crm.item.fields", entityTypeId=1)) == (403, "insufficient_scope")
    assert client.get("scope").json()["result"] == ["im", "user_brief"]
    inner = batch(client, {"a": "crm.item.fields?entityTypeId=1"})["result_error"]
    assert inner == {"a": {"error": "insufficient_scope", "error_description": ""}}
    client.twin.access.add_webhook(1, "brief", ["user"], until=2_000.0)
    assert client.get("/rest/1/brief/profile").ok
    now[0] = 2_000.0
    assert error(client.get("/rest/1/brief/profile")) == (401, "NO_AUTH_FOUND")


def test_oauth_tokens_end_and_the_refresh_token_rotates(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(Bitrix24Twin(client_id="app", client_secret="hush", clock=lambda: now[0]), "")
    ask = {"grant_type": "refresh_token", "client_id": "app", "client_secret": "hush", "refresh_token": "first"}
    first = client.get("/oauth/token/", **ask).json()
    assert first["domain"] == "oauth.bitrix.info"
    whoami = f"{first['client_endpoint']}profile"
    assert client.get(whoami, auth=first["access_token"]).json()["result"]["ID"] == "1"
    now[0] += 3_600
    assert error(client.get(whoami, auth=first["access_token"])) == (401, "expired_token")
    assert client.get("/oauth/token/", **ask).json()["error"] == "invalid_grant"
    again = client.get("/oauth/token/", **{**ask, "refresh_token": first["refresh_token"]}).json()
    assert again["refresh_token"] != first["refresh_token"]
    assert client.get(whoami, auth=again["access_token"]).ok
    wrong = client.get("/oauth/token/", **{**ask, "client_secret": "other"})
    assert (wrong.status_code, wrong.json()["error"]) == (200, "wrong_client")


def test_a_plan_ends_tokens(connect: Callable[..., Any]) -> None:
    client = connect(Bitrix24Twin(faults=[{"on": "profile", "do": "expire_tokens", "nth": 2}]), "")
    ask = {"grant_type": "refresh_token", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    token = client.get("/oauth/token/", **ask).json()["access_token"]
    answers = [client.get("/rest/profile", auth=token) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 401]
    assert error(answers[1]) == (401, "expired_token")
    assert client.get("/rest/1/twin/profile").ok


def test_a_user_consents_once_within_thirty_seconds(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(Bitrix24Twin(redirect="http://127.0.0.1:1/back", clock=lambda: now[0]), "")
    form = {"client_id": "app", "state": "a&b", "decision": "allow"}
    assert b"a&amp;b" in client.get("/oauth/authorize/", client_id="app", state="a&b").content
    back = client.call("POST", "/oauth/authorize/", data=form, allow_redirects=False).headers["location"]
    assert "state=a%26b" in back
    code = back.partition("code=")[2].partition("&")[0]
    ask = {"grant_type": "authorization_code", "client_id": "app", "client_secret": "s", "code": code}
    assert client.get("/oauth/token/", **ask).json()["access_token"]
    assert client.get("/oauth/token/", **ask).json()["error"] == "invalid_grant"
    late = client.call("POST", "/oauth/authorize/", data=form, allow_redirects=False).headers["location"]
    now[0] += 31
    code = late.partition("code=")[2].partition("&")[0]
    assert client.get("/oauth/token/", **{**ask, "code": code}).json()["error"] == "invalid_grant"


def test_a_dismissed_user_s_webhook_is_refused(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.add("user", ID=7, ACTIVE=False)
    bitrix24_twin.access.add_webhook(7, "gone", ["crm"])
    assert error(bitrix24.get("/rest/7/gone/profile")) == (403, "INVALID_CREDENTIALS")


# Batches.


def test_commands_use_what_came_before(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.add("contact", name="A&B", email="a@x.com")
    result = batch(
        bitrix24,
        {
            "find": "crm.duplicate.findbycomm?type=EMAIL&values[]=a@x.com&entity_type=CONTACT",
            "get": "crm.item.list?entityTypeId=3&filter[@id]=$result[find][CONTACT]&select[]=name",
            "add": "crm.item.add?entityTypeId=2&fields[title]=For $result[get][items][0][name]"
            "&fields[contactId]=$result[get][items][0][id]&fields[companyId]=$result[none][0]",
        },
        halt=0,
    )
    deal = result["result"]["add"]["item"]
    assert (deal["title"], deal["contactId"], deal["companyId"]) == ("For A&B", 1, None)
    assert (result["result_error"], result["result_next"], result["result_total"]) == ([], [], {"get": 1})
    assert result["result_time"].keys() == {"find", "get", "add"}


def test_values_in_commands_must_be_encoded(bitrix24: Any) -> None:
    raw = batch(bitrix24, {"a": "crm.item.add?entityTypeId=1&fields[title]=A+B&C#D"})
    assert raw["result"]["a"]["item"]["title"] == "A B"
    encoded = batch(bitrix24, {"a": "crm.item.add?entityTypeId=1&fields[title]=" + quote("A+B&C#D é\n")})
    assert encoded["result"]["a"]["item"]["title"] == "A+B&C#D é\n"


def test_errors_are_inside_and_can_be_a_list(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.add("lead", title="a")
    good, bad = "crm.item.get?entityTypeId=1&id=1", "crm.item.get?entityTypeId=1&id=9"
    missing = {"error": "NOT_FOUND", "error_description": "Item not found"}
    named = batch(bitrix24, {"x": good, "y": bad})
    assert (list(named["result"]), named["result_error"]) == (["x"], {"y": missing})
    assert batch(bitrix24, [bad, bad])["result_error"] == [missing, missing]
    late = batch(bitrix24, [good, bad])
    assert (len(late["result"]), late["result_error"]) == (1, {"1": missing})
    stopped = batch(bitrix24, {"x": bad, "y": good}, halt=1)
    assert (stopped["result"], stopped["result_time"]) == ([], [])


def test_fifty_commands_and_no_batch_within(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    cmd = {f"c{number:04}": "server.time" for number in range(51)}
    result = batch(bitrix24, cmd | {"c0003": "batch?cmd[a]=server.time"})
    assert result["result_error"] == {
        "c0003": {
            "error": "ERROR_BATCH_METHOD_NOT_ALLOWED",
            "error_description": "Method is not allowed for batch usage",
        },
        "c0050": {"error": "ERROR_BATCH_LENGTH_EXCEEDED", "error_description": "Max batch length exceeded"},
    }
    assert (bitrix24_twin.counts["calls"], bitrix24_twin.counts["cmd:server.time"]) == (1, 49)


def test_a_batch_as_a_form_is_encoded_twice(bitrix24: Any) -> None:
    command = "crm.item.add?entityTypeId=1&fields[title]=" + quote("A&B", safe="")
    answer = bitrix24.call("POST", "batch", data={"halt": "0", "cmd[a]": command})
    assert answer.json()["result"]["result"]["a"]["item"]["title"] == "A&B"


def test_text_that_looks_like_a_reference_is_one(bitrix24: Any) -> None:
    add = "crm.item.add?entityTypeId=1&fields[title]="
    result = batch(bitrix24, {"a": add + "x", "b": add + quote("I wrote $result[a][item][id] once")})
    assert result["result"]["b"]["item"]["title"] == f"I wrote {result['result']['a']['item']['id']} once"


def test_users_write_between_two_commands(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.add("user", ID=2)
    bitrix24_twin.add("lead", title="a", observers=[1])

    def meanwhile(method: str) -> None:
        if method == "crm.item.update":
            bitrix24_twin.change("L_1", observers=[1, 2])

    bitrix24_twin.between_commands = meanwhile
    read = "crm.item.get?entityTypeId=1&id=1"
    write = "crm.item.update?entityTypeId=1&id=1&fields[observers][]="
    result = batch(bitrix24, {"before": read, "write": write, "after": read})["result"]
    assert [result[key]["item"]["observers"] for key in ("before", "write", "after")] == [[1], [], []]


# Limits.


def test_the_bucket_leaks_two_a_second(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(Bitrix24Twin(clock=lambda: now[0]), "/rest/1/twin")
    assert all(client.get("server.time").ok for _ in range(50))
    refused = client.get("server.time")
    assert (error(refused), "retry-after" in refused.headers) == ((503, "QUERY_LIMIT_EXCEEDED"), False)
    now[0] += 1.0
    assert [client.get("server.time").status_code for _ in range(3)] == [200, 200, 503]
    stats = client.twin.stats()
    assert (stats["bucket_peak"], stats["counts"]["status:503"], stats["commands"]) == (50, 2, 52)


def test_the_run_time_of_one_method_is_limited(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(Bitrix24Twin(clock=lambda: now[0], seconds={"crm.item.add": 200.0}), "/rest/1/twin")
    add = "crm.item.add?entityTypeId=1&fields[title]=a"
    assert client.get(add).json()["time"]["operating_reset_at"] == 1_600
    now[0] += 60
    ran = batch(client, {"a": add, "b": add, "c": add, "d": "server.time"})
    assert ran["result_time"]["b"]["operating"] == 600.0
    assert list(ran["result"]) == ["a", "b", "d"]
    assert ran["result_error"]["c"]["error"] == "OPERATION_TIME_LIMIT"
    assert error(client.get(add)) == (429, "OPERATION_TIME_LIMIT")
    now[0] = 1_600
    assert client.get(add).json()["time"]["operating"] == 600.0


# Users.


def test_what_the_user_may_not_do(connect: Callable[..., Any]) -> None:
    client = connect(Bitrix24Twin(denied=["lead.add", "company.read", "deal.update"]), "/rest/1/twin")
    client.twin.add("company", title="a")
    client.twin.add("deal", title="a")
    denied = (400, "ACCESS_DENIED")
    assert error(client.post("crm.item.add", {"entityTypeId": 1, "fields": {}})) == denied
    assert error(client.get("crm.item.get", entityTypeId=4, id=1)) == denied
    assert error(client.post("crm.item.update", {"entityTypeId": 2, "id": 1, "fields": {"title": "b"}})) == denied
    assert client.get("crm.item.list", entityTypeId=4).json()["result"] == {"items": []}
    client.twin.add("user", ID=9, USER_TYPE="extranet")
    client.twin.access.add_webhook(9, "guest", ["crm"])
    assert error(client.get("/rest/9/guest/crm.item.fields", entityTypeId=1)) == (403, "allowed_only_intranet_user")


def test_users_by_scope_type_and_department(connect: Callable[..., Any]) -> None:
    client = connect(Bitrix24Twin(), "/rest/1/twin")
    client.twin.add("user", ID=2, NAME="Ann", EMAIL="ann@example.com", UF_DEPARTMENT=[5], IS_ONLINE="Y")
    client.twin.add("user", ID=3, NAME="Out", ACTIVE=False)
    client.twin.add("user", ID=4, NAME="Ext", USER_TYPE="extranet", UF_DEPARTMENT=[])
    client.twin.add("user", ID=5, NAME="Bot", BOT=True)
    every = client.post("user.get", {"SORT": "ID", "ORDER": "DESC"}).json()
    assert ([u["ID"] for u in every["result"]], every["total"]) == (["4", "3", "2", "1"], 4)
    wanted = {
        "FILTER": {"ACTIVE": True, "USER_TYPE": "employee", "@UF_DEPARTMENT": [5]},
        "select": ["ID", "EMAIL", "NOPE"],
    }
    assert client.post("user.get", wanted).json()["result"] == [{"ID": "2", "EMAIL": "ann@example.com"}]
    client.twin.access.add_webhook(1, "brief", ["user_brief"])
    (brief,) = client.get("/rest/1/brief/user.get", ID=2).json()["result"]
    assert ("EMAIL" in brief, brief["ACTIVE"], brief["UF_DEPARTMENT"]) == (False, True, [5])


def test_what_users_do_is_driven_over_http(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    (id_,) = bitrix24.call(
        "POST", "/_twin/records/lead", json=[{"name": "Jane", "email": "j@x.com", "companyTitle": "A"}]
    ).json()["ids"]
    assert bitrix24.call("POST", f"/_twin/convert/{id_}").json() == {"company": 1, "contact": 1, "deal": 1}
    assert (
        bitrix24.call("POST", "/_twin/delete/1")
        .json()["error"]
        .startswith("1: lead and deal and contact and company have")
    )
    assert bitrix24.call("POST", "/_twin/delete/D_1").json() == {"deleted": True}
    assert "no field nope" in bitrix24.call("POST", "/_twin/records/lead", json={"nope": 1}).json()["error"]
    second = bitrix24_twin.add("contact", name="Twice", email="t@x.com")
    bitrix24_twin.merge("C_1", f"C_{second}")
    (left,) = bitrix24_twin.records("contact")
    assert [entry["value"] for entry in left["fm"]] == ["j@x.com", "t@x.com"]
    assert error(bitrix24.get("crm.item.get", entityTypeId=3, id=second)) == (400, "NOT_FOUND")


# Faults.


def test_a_write_whose_answer_is_lost_is_there(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.plan.add([{"on": "crm.item.add", "do": "reset", "when": "after", "nth": 1}])
    with pytest.raises(requests.ConnectionError):
        bitrix24.post("batch", {"cmd": {"a": "crm.item.add?entityTypeId=1&fields[originId]=k"}})
    assert [r["id"] for r in listed(bitrix24, LEAD, filter={"originId": "k"})] == [1]
    bitrix24_twin.plan.add([{"on": "crm.item.add", "do": "late", "nth": 1, "answer": "html"}])
    answer = bitrix24.post("crm.item.add", {"entityTypeId": 1, "fields": {"originId": "l", "fm": [MAIL]}})
    assert (answer.status_code, answer.content[:9]) == (503, b"<!DOCTYPE")
    assert listed(bitrix24, LEAD, filter={"originId": "l"}) == []
    assert added(bitrix24, LEAD, originId="m")["id"] == 3
    bitrix24_twin.release()
    assert [r["id"] for r in listed(bitrix24, LEAD, filter={"originId": "l"})] == [2]
    found = bitrix24.post("crm.duplicate.findbycomm", {"type": "EMAIL", "values": [MAIL["value"]]}).json()["result"]
    assert found == {"LEAD": [2]}


def test_one_command_fails_and_the_others_do_not(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.plan.add(
        [
            {"on": "crm.item.add", "do": "operation_limit", "inner": True, "nth": 2},
            {"on": "crm.item.add", "do": "row", "match": {"email": "bad@x.com"}, "code": "ACCESS_DENIED"},
        ]
    )
    bad = "&fields[fm][0][typeId]=EMAIL&fields[fm][0][value]=bad@x.com"
    result = batch(
        bitrix24, {k: f"crm.item.add?entityTypeId=1&fields[title]=t{bad if k == 'c' else ''}" for k in "abc"}
    )
    assert {k: e["error"] for k, e in result["result_error"].items()} == {
        "b": "OPERATION_TIME_LIMIT",
        "c": "ACCESS_DENIED",
    }
    assert len(bitrix24_twin.records("lead")) == 1


@pytest.mark.parametrize(
    ("do", "status", "code"),
    [
        ("query_limit", 503, "QUERY_LIMIT_EXCEEDED"),
        ("overload", 503, "OVERLOAD_LIMIT"),
        ("wrong_client", 200, "wrong_client"),
    ],
)
def test_errors_that_a_plan_names(bitrix24: Any, bitrix24_twin: Bitrix24Twin, do: str, status: int, code: str) -> None:
    bitrix24_twin.plan.add([{"on": "*", "do": do, "nth": 1}])
    answer = bitrix24.get("profile")
    assert (answer.status_code, answer.json()["error"]) == (status, code)
