"""The Zoho Desk source against its twin, over HTTP, with an intake as small as can be around it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.desk.zoho import CONNECTOR, ZohoDesk, ZohoDeskSettings
from connectors.desk.zoho_api import PAGE
from syncd.connector import (
    Backfillable,
    Batch,
    Context,
    Hint,
    HintSource,
    KeyFetchingSource,
    NotYet,
    PollingSource,
    Request,
    WebhookSource,
)
from syncd.errors import (
    Failure,
    KeyUnavailable,
    Malformed,
    Misconfigured,
    NotAuthentic,
    QuotaExhausted,
    RateLimited,
    Transient,
)
from syncd.oauth import MemoryTokens
from syncd.signals import Route, Signal, derive_id
from syncd.twins.zoho_desk import ZohoDeskTwin

ORG = "927523540"
NOW = datetime.now(UTC).replace(microsecond=0)


def at(**ago: float) -> str:
    return (NOW - timedelta(**ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class House:
    """What the daemon does around a source, in memory: commits batches, keeps hints until they are due."""

    def __init__(self, twin: ZohoDeskTwin, **keys: Any) -> None:
        self.now = NOW
        self.memory: dict[str, str] = {}
        self.hints: dict[str, Hint] = {}
        self.signals: dict[Any, Signal] = {}
        self.dropped: dict[str, int] = {}
        auth = {"client_id": "id", "client_secret": "s3cret", "refresh_token": f"r{id(self)}"}
        named = {"org_id": ORG, "base_url": twin.url, "accounts_url": twin.url, "auth": auth, **keys}
        context = Context(
            name="desk",
            tokens=MemoryTokens(lambda: self.now),
            region="VN",
            clock=lambda: self.now,
            recall=lambda names: {name: self.memory[name] for name in names if name in self.memory},
        )
        made = CONNECTOR.build(ZohoDeskSettings.model_validate(named), context)
        assert isinstance(made, ZohoDesk)
        self.source, self.state = made, b""

    def commit(self, batch: Batch) -> list[Signal]:
        fresh = [one for one in batch.signals if one.id not in self.signals]
        self.signals |= {one.id: one for one in fresh}
        self.hints |= {hint.key: hint for hint in batch.hints}
        for name, value in batch.remember.items():
            self.memory.pop(name, None)
            self.memory |= {name: value} if value is not None else {}
        for reason, count in batch.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count
        self.state = batch.state or self.state
        return fresh

    def start(self, **ago: float) -> None:
        """As if the source had begun then."""
        moment = at(**ago)
        self.state = json.dumps({"since": moment, "floor": moment, "began": moment}).encode()

    def poll(self) -> list[Signal]:
        return [one for batch in self.source.poll(self.state, self.now) for one in self.commit(batch)]

    def work(self) -> list[Signal]:
        """Fetches every hint that is due, until none is."""
        made: list[Signal] = []
        for _ in range(20):
            due = [hint for hint in self.hints.values() if (hint.not_before or self.now) <= self.now]
            if not due:
                return made
            for hint in due:
                del self.hints[hint.key]
                found = self.source.fetch(hint, self.now)
                if isinstance(found, NotYet):
                    self.hints[hint.key] = Hint(key=hint.key, data=hint.data, not_before=found.at)
                else:
                    made += self.commit(found)
        raise AssertionError("hints without end")

    def round(self) -> list[Signal]:
        return [*self.poll(), *self.work()]

    def deliver(self, headers: dict[str, str], body: bytes) -> list[Signal]:
        request = post(headers, body)
        self.source.verifier()(request, self.now)
        self.commit(self.source.parse(request))
        return self.work()


def post(headers: dict[str, str], body: bytes, method: str = "POST") -> Request:
    lowered = {name.lower(): value for name, value in headers.items()}
    url = "https://syncd.example.com/webhooks/desk"
    return Request(method=method, url=url, headers=lowered, body=body, received_at=NOW)


def types(signals: Iterable[Signal]) -> list[str]:
    return sorted(one.type for one in signals)


@pytest.fixture(scope="module")
def server() -> Iterator[ZohoDeskTwin]:
    with ZohoDeskTwin() as twin:
        yield twin


@pytest.fixture
def twin(server: ZohoDeskTwin) -> ZohoDeskTwin:
    server.reset()
    return server


@pytest.fixture
def contact(twin: ZohoDeskTwin) -> str:
    account = twin.add("accounts", accountName="Acme")
    return twin.add(
        "contacts", firstName="Jane", lastName="Doe", email="Jane@X.example", phone="0912 345 678", accountId=account
    )


def ticket(twin: ZohoDeskTwin, contact: str, minutes_ago: float = 30, **more: Any) -> str:
    fields = {"subject": "It is broken", "contactId": contact, "createdTime": at(minutes=minutes_ago), **more}
    fields.setdefault("modifiedTime", fields["createdTime"])
    return twin.add("tickets", **fields)


def reply(twin: ZohoDeskTwin, ticket_id: str, minutes_ago: float = 5, **more: Any) -> str:
    fields = {"content": "<p>Still <b>broken</b></p>", "contentType": "text/html", **more}
    return twin.add("threads", ticketId=ticket_id, createdTime=at(minutes=minutes_ago), **fields)


def comment(twin: ZohoDeskTwin, ticket_id: str, minutes_ago: float = 5, kind: str = "END_USER") -> str:
    commenter = {"type": kind, "name": "Jane Doe", "email": "jane@x.example"}
    when = at(minutes=minutes_ago)
    return twin.add(
        "comments", ticketId=ticket_id, commentedTime=when, content="Any news?", isPublic=True, commenter=commenter
    )


def test_it_is_all_kinds_of_source(twin: ZohoDeskTwin) -> None:
    for kind in (WebhookSource, KeyFetchingSource, HintSource, PollingSource, Backfillable):
        assert isinstance(House(twin).source, kind)


# ---- poll


def test_a_new_ticket_is_a_signal_of_its_contact(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    old = ticket(twin, contact, minutes_ago=600, modifiedTime=at(minutes=20))
    id_ = ticket(twin, contact, description="<div>It does not <b>start</b></div>", priority="High")
    (signal,) = house.round()
    assert signal.id == derive_id("zoho_desk", ORG, "ticket.created", id_), "not the old one, which was only touched"
    assert old != id_
    assert (signal.title, signal.text) == (
        f"Ticket #{signal.data['ticket_number']}: It is broken",
        "It does not start",
    )
    person = signal.person
    assert (person.email, person.phone, person.name, person.company) == (
        "jane@x.example",
        "+84912345678",
        "Jane Doe",
        "Acme",
    )
    assert signal.url.startswith("https://desk.zoho.com/")
    assert (signal.thread, signal.data["priority"], signal.route) == (f"zoho_desk:{ORG}:{id_}", "High", Route.POLL)
    assert signal.occurred_at == NOW - timedelta(minutes=30)
    assert house.round() == []


def test_what_customers_say_and_not_what_we_say(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact, minutes_ago=6000)
    reply(twin, id_, minutes_ago=5900, content="old")
    answered, noted = reply(twin, id_), comment(twin, id_, minutes_ago=4)
    reply(twin, id_, direction="out")
    reply(twin, id_, isDescriptionThread=True)
    comment(twin, id_, kind="AGENT")
    made = house.round()
    assert {one.id for one in made} == {
        derive_id("zoho_desk", ORG, "ticket.replied", answered),
        derive_id("zoho_desk", ORG, "ticket.commented", noted),
    }
    by_type = {one.type: one for one in made}
    assert by_type["ticket.replied"].text == "Still broken"
    assert by_type["ticket.replied"].title.startswith("Reply to ticket #")
    assert by_type["ticket.commented"].text == "Any news?"
    assert {one.person.email for one in made} == {"jane@x.example"}
    assert {one.thread for one in made} == {f"zoho_desk:{ORG}:{id_}"}
    reads = len(twin.calls)
    assert house.round() == []
    assert len(twin.calls) == reads + 1, "a quiet poll is one search"
    reply(twin, id_, minutes_ago=1)
    assert types(house.round()) == ["ticket.replied"]


def test_a_colleague_in_copy_is_the_one_who_replied(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    author = {"type": "END_USER", "name": "Bob Roe", "email": "bob@x.example"}
    reply(twin, ticket(twin, contact, minutes_ago=600), author=author)
    (signal,) = house.round()
    assert (signal.person.email, signal.person.name, signal.person.company) == ("bob@x.example", "Bob Roe", "Acme")


def test_overdue_is_seen_at_the_due_date_though_nothing_touches_the_ticket(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    due = NOW + timedelta(hours=2)
    id_ = ticket(twin, contact, dueDate=due.isoformat().replace("+00:00", "Z"))
    house.round()
    assert house.hints[f"due:{id_}"].not_before == due
    house.now = due + timedelta(seconds=1)
    assert house.work() == [], "Desk has not noticed yet"
    twin.modify(id_, touch=False, isOverDue=True)
    house.now = due + timedelta(minutes=10)
    (signal,) = house.work()
    assert (signal.type, signal.occurred_at) == ("ticket.overdue", due)
    assert signal.id == derive_id("zoho_desk", ORG, "ticket.overdue", f"{id_}:{due.isoformat()}")
    twin.modify(id_, modifiedTime=at(minutes=-121), subject="Touched")
    assert house.round() == [], "still the same overdue"


def test_a_due_date_that_moves_is_another_overdue(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact, dueDate=at(minutes=20), isOverDue=True)
    assert types(house.round()) == ["ticket.created", "ticket.overdue"]
    twin.modify(id_, isOverDue=False, dueDate=at(hours=-2), modifiedTime=at(minutes=9))
    assert house.round() == []
    twin.modify(id_, isOverDue=True, modifiedTime=at(minutes=8))
    assert types(house.round()) == ["ticket.overdue"]
    assert len(house.signals) == 3


def test_what_was_overdue_or_escalated_before_the_source_began_is_no_news(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact, 6000, dueDate=at(days=2), isOverDue=True, isEscalated=True, modifiedTime=at(minutes=9))
    assert house.round() == []
    twin.modify(id_, isEscalated=False, modifiedTime=at(minutes=8))
    assert house.round() == []
    twin.modify(id_, isEscalated=True, modifiedTime=at(minutes=7))
    (signal,) = house.round()
    assert signal.id == derive_id("zoho_desk", ORG, "ticket.escalated", f"{id_}:2")


def test_each_escalation_counts(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    id_ = ticket(twin, contact)
    house.round()
    made = []
    for minute, escalated in enumerate((True, True, False, True)):
        twin.modify(id_, isEscalated=escalated, modifiedTime=at(minutes=20 - minute))
        made += house.round()
    assert [one.data["escalations"] for one in made] == [1, 2]
    assert types(made) == ["ticket.escalated"] * 2


def test_many_pages_that_shift_while_they_are_read(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(days=1)
    ids = [ticket(twin, contact, minutes_ago=600 - number) for number in range(2 * PAGE + 20)]
    polled = house.source.poll(house.state, house.now)
    made = house.commit(next(polled))
    assert len(made) == PAGE
    for id_ in ids[:30]:
        twin.modify(id_, modifiedTime=at(minutes=1))
    for batch in polled:
        made += house.commit(batch)
    assert {one.data["ticket_id"] for one in made} == set(ids), "rows that move to the end hide none"
    assert house.poll() == []


def test_a_page_of_equal_times_and_a_restart_between_pages(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(days=1)
    ids = {ticket(twin, contact, minutes_ago=60) for _ in range(2 * PAGE + 5)}
    house.commit(next(house.source.poll(house.state, house.now)))
    house.poll()
    assert {one.data["ticket_id"] for one in house.signals.values()} == ids


def test_a_ticket_that_shows_late_is_found(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(days=1)
    ticket(twin, contact, minutes_ago=30)
    house.poll()
    late = ticket(twin, contact, minutes_ago=34)
    assert [one.data["ticket_id"] for one in house.poll()] == [late]


def test_a_source_starts_at_desks_now(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    ticket(twin, contact, minutes_ago=1)
    house.state = house.source.start(NOW + timedelta(days=100))
    assert house.round() == []
    began = datetime.fromisoformat(json.loads(house.state)["began"])
    assert abs(began - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_contact_is_read_when_the_row_does_not_bring_it(twin: ZohoDeskTwin) -> None:
    house = House(twin)
    house.start(hours=1)
    contact = twin.add("contacts", lastName="Roe")
    ticket(twin, contact, email="roe@x.example")
    (signal,) = house.round()
    assert (signal.person.email, signal.person.last_name) == ("roe@x.example", "Roe")
    assert any(call["operation"] == "contact" for call in twin.calls)


def test_spam_and_other_departments_are_counted_and_dropped(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin, departments=["7"])
    house.start(hours=1)
    ticket(twin, contact, isSpam=True, departmentId="7")
    ticket(twin, contact, departmentId="8")
    ticket(twin, contact, departmentId="7")
    assert types(house.round()) == ["ticket.created"]
    assert house.dropped == {"spam or trash": 1, "another department": 1}


# ---- webhook


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
        check(post(headers, body), NOW)
    house.source.fetch_keys(NOW)
    check(post(headers, body), NOW)
    twin.signer.rotate()
    headers, body = twin.webhook({"eventType": "Ticket_Add", "payload": {"id": "1"}}, milliseconds=True)
    with pytest.raises(KeyUnavailable):
        check(post(headers, body), NOW)
    house.source.fetch_keys(NOW + timedelta(minutes=1))
    check(post(headers, body), NOW)


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
        house.source.verifier()(post({"X-ZDesk-JWT": twin.signer.token("1", **claims)}, b"[]"), NOW)


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
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"{}", "no JSON array"),
        (b"[1]", "event 0, payload"),
        (b'[{"eventType":"Ticket_Add","payload":{"id":"../1"}}]', "payload.id"),
        (b'[{"eventType":"Ticket_Comment_Add","payload":{"id":"1"}}]', "payload.ticketId"),
        (b"[" * 100_000, "no JSON"),
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


# ---- backfill


def test_a_backfill_takes_its_range_and_goes_on_where_it_stopped(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    before = ticket(twin, contact, minutes_ago=500)
    inside = [ticket(twin, contact, minutes_ago=300 - number) for number in range(PAGE + 10)]
    ticket(twin, contact, minutes_ago=50)
    reply(twin, before, minutes_ago=250)
    reply(twin, before, minutes_ago=10)
    comment(twin, inside[0], minutes_ago=150)
    since, until = NOW - timedelta(minutes=400), NOW - timedelta(minutes=100)
    first, *rest = list(house.source.backfill(since, until, None))
    whole = [one for batch in (first, *rest) for one in batch.signals]
    assert types(whole) == ["ticket.commented"] + ["ticket.created"] * len(inside) + ["ticket.replied"]
    assert {one.route for one in whole} == {Route.BACKFILL}
    resumed = [one for batch in house.source.backfill(since, until, first.state) for one in batch.signals]
    assert {one.id for one in (*first.signals, *resumed)} == {one.id for one in whole}
    assert len(resumed) < len(whole)


# ---- what Desk says when it does not answer


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ([{"on": "search_tickets", "do": "concurrency", "times": 9}], RateLimited),
        ([{"on": "search_tickets", "do": "threshold", "times": 9}], QuotaExhausted),
        ([{"on": "search_tickets", "do": "scope", "times": 9}], Misconfigured),
        ([{"on": "search_tickets", "do": "internal", "times": 9}], Transient),
        ([{"on": "search_tickets", "do": "html", "times": 9}], Transient),
        ([{"on": "token", "do": "token_throttle", "times": 9}], RateLimited),
        ([{"on": "token", "do": "invalid_code", "times": 9}], Misconfigured),
    ],
)
def test_faults_become_classes(plan: Sequence[dict[str, Any]], expected: type[Failure]) -> None:
    with ZohoDeskTwin(faults=plan) as twin:
        house = House(twin)
        house.start(hours=1)
        with pytest.raises(expected) as caught:
            house.poll()
        assert "s3cret" not in str(caught.value)


def test_an_expired_token_is_refreshed_once(twin: ZohoDeskTwin, contact: str) -> None:
    house = House(twin)
    house.start(hours=1)
    ticket(twin, contact)
    house.poll()
    twin.expire_tokens()
    ticket(twin, contact, minutes_ago=1)
    assert types(house.poll()) == ["ticket.created"]
    assert sum(call["operation"] == "token" for call in twin.calls) == 2


def test_another_organisation_is_for_a_person(twin: ZohoDeskTwin) -> None:
    house = House(twin, org_id="1")
    house.start(hours=1)
    with pytest.raises(Misconfigured, match="org_id"):
        house.poll()


def test_credits_are_left_to_others() -> None:
    with ZohoDeskTwin(credits=103) as twin:
        house = House(twin, keep_credits=101)
        house.start(hours=1)
        house.poll()
        with pytest.raises(QuotaExhausted) as caught:
            house.poll()
        assert caught.value.resets_at == NOW + timedelta(hours=1)
        house.now += timedelta(hours=1)
        house.poll()
