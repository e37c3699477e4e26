"""The Zoho Desk twin keeps Desk's traps: late and null fields, two ways of counting pages, hints signed apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest

from syncd.twins.zoho_desk.twin import ZohoDeskTwin

DAY = "2026-06-11T00:00:00.000Z,2026-06-12T00:00:00.000Z"


@pytest.fixture
def tickets(desk_twin: ZohoDeskTwin, desk: Any) -> list[str]:
    contact = desk_twin.add("contacts", lastName="Doe", firstName="Jane", email="jane@x.com", phone="+84912345678")
    times = [f"2026-06-11T10:00:0{i}.000Z" for i in (2, 0, 1)]
    return [desk_twin.add("tickets", subject=t, contactId=contact, createdTime=t, modifiedTime=t) for t in times]


def test_search_by_time(desk: Any, tickets: list[str]) -> None:
    answer = desk.get("tickets/search", modifiedTimeRange=DAY, sortBy="modifiedTime", **{"from": 0, "limit": 2})
    body = answer.json()
    assert body["count"] == 3
    assert [r["id"] for r in body["data"]] == [tickets[1], tickets[2]]
    row = body["data"][0]
    assert row["email"] is None
    assert row["contact"]["email"] == "jane@x.com"
    assert row["threadCount"] == "0"
    assert answer.headers["X-Rate-Limit-Request-Weight-v3"] == "3"
    rest = desk.get("tickets/search", modifiedTimeRange=DAY, sortBy="modifiedTime", **{"from": 2}).json()
    assert [r["id"] for r in rest["data"]] == [tickets[0]]
    edge = "2026-06-11T10:00:01.000Z,2026-06-11T10:00:01.000Z"
    assert desk.get("tickets/search", modifiedTimeRange=edge).json()["count"] == 1


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": 5000}, "/from"),
        ({"limit": 101}, "/limit"),
        ({"limit": 0}, "/limit"),
        ({"sortBy": "colour"}, "/sortBy"),
        ({"modifiedTimeRange": "yesterday,today"}, "/modifiedTimeRange"),
        ({"modifiedTimeRange": "2026-06-11T00:00:00.000Z"}, "/modifiedTimeRange"),
    ],
)
def test_a_search_that_is_wrong_is_422(desk: Any, params: dict[str, Any], field: str) -> None:
    answer = desk.get("tickets/search", **params)
    assert answer.status_code == 422
    assert answer.json()["errorCode"] == "UNPROCESSABLE_ENTITY"
    assert answer.json()["errors"][0]["fieldName"] == field


def test_empty_is_204(desk: Any) -> None:
    assert desk.get("tickets/search", modifiedTimeRange=DAY, **{"from": 4999, "limit": 100}).status_code == 204
    assert desk.get("tickets").status_code == 204


def test_the_list_counts_from_one_and_knows_little(desk: Any, tickets: list[str]) -> None:
    rows = desk.get("tickets", **{"from": 2, "limit": 1}).json()["data"]
    assert [r["id"] for r in rows] == [tickets[1]]
    assert {"modifiedTime", "isOverDue", "isEscalated", "cf"} & rows[0].keys() == set()


def test_threads_and_comments(desk: Any, desk_twin: ZohoDeskTwin, tickets: list[str]) -> None:
    asked = desk_twin.add("threads", ticketId=tickets[0], content="Help me", createdTime="2026-06-11T11:00:00.000Z")
    told = desk_twin.add(
        "threads", ticketId=tickets[0], content="Gladly", direction="out", createdTime="2026-06-11T12:00:00.000Z"
    )
    note = desk_twin.add(
        "comments", ticketId=tickets[0], content="hm", isPublic=True, commentedTime="2026-06-11T13:00:00.000Z"
    )
    ticket = desk.get(f"tickets/{tickets[0]}").json()
    assert (ticket["threadCount"], ticket["commentCount"], ticket["modifiedTime"]) == (
        "2",
        "1",
        "2026-06-11T13:00:00.000Z",
    )
    rows = desk.get(f"tickets/{tickets[0]}/threads").json()["data"]
    assert [(r["id"], r["direction"], r["author"]["type"]) for r in rows] == [
        (told, "out", "AGENT"),
        (asked, "in", "END_USER"),
    ]
    assert "content" not in rows[0]
    assert desk.get(f"tickets/{tickets[0]}/threads/{asked}").json()["content"] == "Help me"
    (comment,) = desk.get(f"tickets/{tickets[0]}/comments").json()["data"]
    assert (comment["id"], comment["isPublic"], comment["commentedTime"]) == (note, True, "2026-06-11T13:00:00.000Z")
    assert desk.get(f"tickets/{tickets[1]}/threads").status_code == 204
    assert desk.get("tickets/1/threads").json()["errorCode"] == "URL_NOT_FOUND"


def test_becoming_overdue_may_touch_nothing(desk: Any, desk_twin: ZohoDeskTwin, tickets: list[str]) -> None:
    desk_twin.modify(tickets[0], touch=False, isOverDue=True)
    ticket = desk.get(f"tickets/{tickets[0]}", include="contacts").json()
    assert (ticket["isOverDue"], ticket["modifiedTime"]) == (True, "2026-06-11T10:00:02.000Z")
    assert ticket["contact"]["email"] == "jane@x.com"
    desk_twin.modify(tickets[0], isEscalated=True, modifiedTime=1_800_000_000)
    assert desk.get(f"tickets/{tickets[0]}").json()["modifiedTime"] == "2027-01-15T08:00:00.000Z"
    desk_twin.delete(tickets[0])
    assert desk.get("tickets/search", modifiedTimeRange=DAY).json()["count"] == 2


def test_who_may_ask(desk: Any, connect: Callable[..., Any]) -> None:
    other = desk.call("GET", "tickets", headers={"orgId": "1"})
    assert (other.status_code, other.json()["errorCode"]) == (403, "OAUTH_ORG_MISMATCH")
    desk.twin.expire_tokens()
    assert (desk.get("tickets").status_code, desk.get("tickets").json()["errorCode"]) == (401, "INVALID_OAUTH")
    poor = connect(ZohoDeskTwin(credits=4), "/api/v1")
    assert poor.get("tickets").headers["X-Rate-Limit-Remaining-v3"] == "1"
    used = poor.get("tickets")
    assert (used.status_code, used.json()["errorCode"], used.headers["Retry-After"]) == (
        429,
        "THRESHOLD_EXCEEDED",
        "3600",
    )


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("concurrency", 429, "TOO_MANY_REQUESTS"),
        ("threshold", 429, "THRESHOLD_EXCEEDED"),
        ("internal", 500, "INTERNAL"),
        ("scope", 403, "SCOPE"),
    ],
)
def test_named_answers(desk: Any, name: str, status: int, code: str) -> None:
    desk.twin.plan.add([{"on": "list_tickets", "do": name}])
    answer = desk.get("tickets")
    assert answer.status_code == status
    assert answer.json()["errorCode"].startswith(code)
    assert ("Retry-After" in answer.headers) == (name == "threshold")


@pytest.mark.parametrize(("name", "error"), [("token_throttle", "Access Denied"), ("invalid_code", "invalid_code")])
def test_tokens_are_refused(desk: Any, name: str, error: str) -> None:
    desk.twin.plan.add([{"on": "token", "do": name}])
    assert desk.login().json()["error"] == error


@pytest.mark.parametrize(("milliseconds", "unit"), [(False, 1), (True, 1_000)])
def test_a_delivery_is_proved_by_the_published_key(
    desk: Any, desk_twin: ZohoDeskTwin, milliseconds: bool, unit: int
) -> None:
    event = {"eventType": "Ticket_Add", "payload": {"id": "1"}}
    headers, body = desk_twin.webhook(event, webhook_id="77", milliseconds=milliseconds)
    keys = jwt.PyJWKSet.from_dict(desk.get("/.well-known/jwks.json").json())
    key = keys[jwt.get_unverified_header(headers["X-ZDesk-JWT"])["kid"]]
    options: Any = {"verify_exp": not milliseconds, "verify_iat": not milliseconds}
    claims = jwt.decode(headers["X-ZDesk-JWT"], key.key, algorithms=["RS256"], audience="webhookId:77", options=options)
    assert claims["iss"] == f"orgId:{desk_twin.org_id}"
    assert claims["exp"] - claims["iat"] == 300 * unit
    (delivered,) = orjson.loads(body)
    assert delivered.items() >= event.items()
    assert delivered["orgId"] == desk_twin.org_id


def test_keys_rotate(desk: Any, desk_twin: ZohoDeskTwin) -> None:
    def published() -> list[str]:
        return [k["kid"] for k in desk.get("/.well-known/jwks.json").json()["keys"]]

    (old,) = published()
    desk_twin.signer.rotate()
    new, kept = published()
    assert kept == old
    desk_twin.signer.rotate(keep=False)
    assert set(published()) & {old, new} == set()
