"""Zoho Desk's webhook: a token that does not cover the body, so every delivery is only a hint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.connector import (
    Batch,
    Hint,
)
from syncd.errors import (
    KeyUnavailable,
    Malformed,
    NotAuthentic,
)
from syncd.signals import Route
from syncd.twins.zoho_desk.twin import ZohoDeskTwin
from tests.desk import NOW, House, at, comment, post, reply, ticket, types


def test_a_webhook_is_a_hint_that_is_read_again(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    id_ = ticket(twin, contact)
    answered, noted = reply(twin, id_), comment(twin, id_)
    house.source.fetch_keys(NOW)
    payload = {"id": answered, "ticketId": id_, "direction": "in", "isDescriptionThread": False, "content": "forged"}
    made = house.deliver(
        *twin.webhook(
            {"eventType": "Ticket_Add", "payload": {"id": id_, "subject": "forged"}},
            {"eventType": "Ticket_Thread_Add", "payload": payload},
            {"eventType": "Ticket_Comment_Add", "payload": {"id": noted, "ticketId": id_}},
            {"eventType": "Ticket_Thread_Add", "payload": payload | {"direction": "out"}},
            {"eventType": "Contact_Add", "payload": {"id": contact}},
        )
    )
    assert types(made) == ["ticket.commented", "ticket.created", "ticket.replied"]
    assert "forged" not in str(made)
    assert {one.route for one in made} == {Route.WEBHOOK}
    assert house.dropped == {"not a customer's reply": 1, "event Contact_Add": 1}
    house.start(hours=1)
    assert house.round() == [], "the poll says the same"
    backfilled = list(house.source.backfill(NOW - timedelta(hours=1), NOW, None))
    assert {one.id for batch in backfilled for one in batch.signals} == set(house.signals), "and so does a backfill"


def test_an_update_tells_of_overdue_and_escalated(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.source.fetch_keys(NOW)
    id_ = ticket(twin, contact, isEscalated=True, dueDate=at(minutes=3), isOverDue=True)
    event = {"eventType": "Ticket_Update", "payload": {"id": id_}}
    assert types(house.deliver(*twin.webhook(event))) == ["ticket.escalated", "ticket.overdue"]
    assert house.deliver(*twin.webhook(event)) == []


def test_keys_are_fetched_outside_verification(twin: ZohoDeskTwin) -> None:
    house = House(twin)
    check = house.source.verifier()
    headers, body = twin.webhook({"eventType": "Ticket_Add", "payload": {"id": "1"}})
    with pytest.raises(KeyUnavailable):
        check(post(headers, body), datetime.now(UTC))
    house.source.fetch_keys(NOW)
    check(post(headers, body), datetime.now(UTC))
    twin.signer.rotate()
    headers, body = twin.webhook({"eventType": "Ticket_Add", "payload": {"id": "1"}}, milliseconds=True)
    with pytest.raises(KeyUnavailable):
        check(post(headers, body), datetime.now(UTC))
    house.source.fetch_keys(NOW + timedelta(minutes=1))
    check(post(headers, body), datetime.now(UTC))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "orgId:1"},
        {"aud": "webhookId:9"},
        {"exp": 1},
        {"exp": "soon"},
        {"exp": None},
        {"iat": 99_999_999_999},
    ],
)
def test_a_token_that_is_not_for_us_is_refused(twin: ZohoDeskTwin, claims: dict[str, Any]) -> None:
    house = House(twin, webhook_ids=["1"])
    house.source.fetch_keys(NOW)
    with pytest.raises(NotAuthentic):
        house.source.verifier()(post({"X-ZDesk-JWT": twin.signer.token("1", **claims)}, b"[]"), datetime.now(UTC))


@pytest.mark.parametrize("token", ["", "a.b.c", "....", "é.é.é", "e30.e30.e30", "a" * 20_000])
def test_a_token_that_is_none_is_refused(twin: ZohoDeskTwin, token: str) -> None:
    house = House(twin)
    house.source.fetch_keys(NOW)
    with pytest.raises(NotAuthentic):
        house.source.verifier()(post({"X-ZDesk-JWT": token}, b"[{}]"), NOW)


def test_the_validation_by_get_and_by_post_is_answered(twin: ZohoDeskTwin) -> None:
    source = House(twin).source
    for request in (post({}, b"", "GET"), post({}, b""), post({}, b"[]"), post({}, b"{}")):
        reply = source.handshake(request)
        assert reply is not None
        assert reply.status == 200
    assert source.handshake(post({}, b'[{"eventType": "Ticket_Add"}]')) is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{}", "not a JSON array"),
        (b"[1]", "the event, payload: missing or not an object"),
        (b'[{"eventType":"Ticket_Add","payload":{"id":"../1"}}]', "payload.id"),
        (b'[{"eventType":"Ticket_Comment_Add","payload":{"id":"1"}}]', "payload.ticketId"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_body_that_cannot_be_understood(twin: ZohoDeskTwin, body: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        House(twin).source.parse(post({}, body))


def test_a_hint_on_a_ticket_that_is_gone(twin: ZohoDeskTwin) -> None:
    house = House(twin)
    house.commit(Batch(hints=[Hint(key="created:1"), Hint(key="thread:1:2")]))
    assert house.work() == []
    assert house.dropped == {"a ticket that is gone": 2}
