"""Freshdesk's tickets by poll and backfill, what customers said and how they rated, and what was recorded of it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Context, NotYet
from syncd.connectors.desk import freshdesk
from syncd.connectors.desk.freshdesk import CONNECTOR, FreshdeskSettings
from syncd.connectors.desk.freshdesk_tickets import person, read_rating, read_said, read_ticket
from syncd.connectors.desk.ticket_list import ticket_hint
from syncd.errors import Misconfigured, RateLimited
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal
from syncd.testing import BackfillConformance, HintConformance, PollingConformance, TwinVendor
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, LinkPages, Parts, listed, single
from syncd.twins.wire import TwinCall, TwinResponse

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = "an-api-key-0815"
DESK = "https://acme.freshdesk.com"
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def tickets(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """Pages are numbered from 1; "since" includes the second itself here."""
    rows = listed("tickets", items="", sort="updated_at", least={"updated_since": "updated_at"})(
        vendor, call, parts
    ).body
    number, size = int(call.query.get("page", "1")), min(int(call.query.get("per_page", "30")), 100)
    if number > 300:
        return vendor.error(400, "invalid_value", "page")
    return TwinResponse(200, rows[(number - 1) * size : number * size])


def conversations(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    call.query["ticket_id"] = parts["ticket"]
    return listed("conversations", items="", equal={"ticket_id": "ticket_id"}, pages=LinkPages(size=2))(
        vendor, call, parts
    )


class FakeFreshdesk(FakeVendor):
    """Freshdesk's API v2, from its published documentation and recorded lists."""

    name = "freshdesk"
    token: ClassVar[str] = KEY
    absent = (404, "")
    throttled = (429, "")
    routes = (
        FakeRoute("GET /api/v2/tickets", tickets),
        FakeRoute("GET /api/v2/tickets/{id}", single("tickets")),
        FakeRoute("GET /api/v2/tickets/{ticket}/conversations", conversations),
        FakeRoute("GET /api/v2/contacts", listed("contacts", items="")),
        FakeRoute("GET /api/v2/contacts/{id}", single("contacts")),
        FakeRoute("GET /api/v2/companies/{id}", single("companies")),
        FakeRoute(
            "GET /api/v2/surveys/satisfaction_ratings",
            listed("ratings", items="", least={"created_since": "created_at"}, pages=LinkPages(size=2)),
        ),
    )

    def admits(self, call: TwinCall) -> bool:
        sent = call.headers.get("authorization", "").partition(" ")[2]
        known, _, password = base64.b64decode(sent or "").decode().partition(":")
        return known in self.valid_tokens and password == "X"

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        return TwinResponse(status, {"code": code, "message": message} if code else None)


def source(url: str = "http://127.0.0.1:9", memory: dict[str, str] | None = None, **keys: Any) -> Any:
    held = memory if memory is not None else {}
    recall = lambda names: {name: held[name] for name in names if name in held}  # noqa: E731
    context = Context(name="desk", tokens=MemoryTokens(), region="VN", clock=lambda: NOW, recall=recall)
    given = {"domain": "acme", "api_key": KEY, "base_url": url, **keys}
    return CONNECTOR.build(FreshdeskSettings.model_validate(given), context)


def ticket(fake: FakeFreshdesk, id_: int, at: datetime = NOW, **more: Any) -> None:
    requester = {"id": 501, "name": "Trần An", "email": "an@example.org", "mobile": "0912 345 678", "phone": None}
    plain = {"subject": f"Broken {id_}", "status": 2, "priority": 1, "source": 1, "spam": False, "requester_id": 501}
    flags = {"fr_escalated": False, "nr_escalated": False, "is_escalated": False, "requester": requester}
    times = {"created_at": stamp(at), "updated_at": stamp(at)}
    fake.add("tickets", **{"id": id_, **plain, **flags, **times, "description_text": "It is broken", **more})


class FreshdeskVendor(TwinVendor):
    def happen(self, number: int) -> None:
        ticket(self.twin, 100 + number, self.moment(number))  # type: ignore[arg-type]

    @property
    def secrets(self) -> Sequence[str]:
        return (KEY,)


@pytest.fixture
def fake() -> Iterator[FakeFreshdesk]:
    with FakeFreshdesk() as twin:
        yield twin


class TestFreshdesk(PollingConformance, HintConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeFreshdesk, monkeypatch: pytest.MonkeyPatch) -> FreshdeskVendor:
        monkeypatch.setattr(freshdesk, "PAGE", 3)
        return FreshdeskVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeFreshdesk) -> Any:
        def build(recall: Any) -> Any:
            context = Context(name="desk", tokens=MemoryTokens(), region="VN", recall=recall)
            given = {"domain": "acme", "api_key": KEY, "base_url": fake.url, "ratings": True}
            return CONNECTOR.build(FreshdeskSettings.model_validate(given), context)

        return build


def polled(made: Any, since: datetime = NOW, now: datetime = NOW + HOUR) -> list[Batch]:
    return list(made.poll(made.start(since), now))


def signals(batches: Sequence[Batch]) -> list[Signal]:
    return [signal for batch in batches for signal in batch.signals]


def started(fake: FakeFreshdesk, memory: dict[str, str] | None = None, **keys: Any) -> tuple[Any, bytes]:
    """A source that began an hour ago."""
    made = source(fake.url, memory, **keys)
    state = json.loads(made.start(NOW))
    return made, json.dumps(state | {name: stamp(NOW - HOUR) for name in ("since", "floor", "began")}).encode()


def talk(fake: FakeFreshdesk, id_: int, **more: Any) -> None:
    plain = {"ticket_id": 7, "incoming": True, "private": False, "source": 0, "user_id": 501, "created_at": stamp(NOW)}
    fake.add("conversations", **{"id": id_, **plain, "body_text": f"said {id_}", **more})


def test_a_new_ticket_with_its_person_and_company(fake: FakeFreshdesk) -> None:
    ticket(fake, 7, company_id=90, custom_fields={"cf_shop": "Huế"})
    fake.add("companies", id=90, name="Acme")
    made, state = started(fake)
    (signal,) = signals(list(made.poll(state, NOW)))
    assert (signal.type, signal.title, signal.text) == ("ticket.created", "Ticket #7: Broken 7", "It is broken")
    assert (signal.url, signal.reply) == (f"{DESK}/a/tickets/7", f"{DESK}/a/tickets/7")
    assert (signal.person.email, signal.person.phone) == ("an@example.org", "+84912345678")
    assert (signal.person.company, signal.data["status"], signal.data["channel"]) == ("Acme", "open", "email")
    assert signal.occurred_at == NOW


def test_what_customers_said_is_read_and_what_we_said_is_not(fake: FakeFreshdesk) -> None:
    ticket(fake, 7, NOW - 10 * HOUR, updated_at=stamp(NOW))
    talk(fake, 1)
    talk(fake, 2, source=2, user_id=502)
    talk(fake, 3, private=True, incoming=False)
    talk(fake, 4, incoming=False)
    talk(fake, 5, source=6)
    fake.add("contacts", id=502, name="Lê Bình", email="binh@example.org")
    made, state = started(fake)
    (batch,) = made.poll(state, NOW)
    assert batch.signals == ()
    (hint,) = batch.hints
    heard = made.fetch(hint, NOW)
    told = [(one.type, one.text, one.person.email) for one in heard.signals]
    assert told == [("ticket.replied", "said 1", "an@example.org"), ("ticket.commented", "said 2", "binh@example.org")]
    again = list(made.backfill(NOW - 20 * HOUR, NOW + HOUR, None))
    assert [one.id for one in signals(again) if one.type != "ticket.created"] == [one.id for one in heard.signals]


def test_a_ticket_that_did_not_change_after_it_was_made_has_no_call_for_what_was_said(fake: FakeFreshdesk) -> None:
    ticket(fake, 7)
    made, state = started(fake)
    (batch,) = made.poll(state, NOW)
    assert batch.hints == ()


def test_each_date_that_passes_is_overdue_and_the_last_is_an_escalation(fake: FakeFreshdesk) -> None:
    memory: dict[str, str] = {}
    first, last = NOW + HOUR, NOW + 5 * HOUR
    ticket(fake, 7, fr_due_by=stamp(first), due_by=stamp(last))
    made, state = started(fake, memory)

    def keep(batch: Batch | NotYet) -> Batch:
        assert isinstance(batch, Batch)
        memory.update({name: value for name, value in batch.remember.items() if value is not None})
        return batch

    (batch,) = made.poll(state, NOW)
    assert [(one.key, one.not_before) for one in keep(batch).hints] == [("due:7", first)]
    hint = ticket_hint("due:7", Route.POLL)
    waits = made.fetch(hint, first + timedelta(minutes=1))
    assert isinstance(waits, NotYet), "the flag is not raised yet"
    fake.modify("tickets", "7", fr_escalated=True)
    batch = keep(made.fetch(hint, first + timedelta(minutes=6)))
    assert [(one.type, one.occurred_at) for one in batch.signals] == [("ticket.overdue", first)]
    assert [one.not_before for one in batch.hints] == [last]
    assert isinstance(made.fetch(hint, last + timedelta(minutes=1)), NotYet)
    fake.modify("tickets", "7", is_escalated=True)
    batch = keep(made.fetch(hint, last + timedelta(minutes=6)))
    assert [one.type for one in batch.signals] == ["ticket.overdue", "ticket.escalated"]
    assert batch.signals[0].occurred_at == last
    assert batch.hints == ()


def test_a_first_answer_that_was_given_is_not_waited_for() -> None:
    row = {"id": 7, "status": 2, "fr_due_by": stamp(NOW), "due_by": stamp(NOW + HOUR)}
    assert read_ticket(row, DESK).due_at == NOW
    assert read_ticket({**row, "stats": {"first_responded_at": stamp(NOW)}}, DESK).due_at == NOW + HOUR


def test_ratings_have_their_ticket_and_come_by_poll_and_backfill_under_one_id(fake: FakeFreshdesk) -> None:
    ticket(fake, 7, NOW - 10 * HOUR)
    for number, score in enumerate((103, 100, -103)):
        rated = {"ticket_id": 7, "user_id": 501, "created_at": stamp(NOW + timedelta(minutes=number))}
        fake.add("ratings", id=20 + number, feedback="<b>Fast</b>", ratings={"default_question": score}, **rated)
    fake.add("ratings", id=30, ticket_id=8, created_at=stamp(NOW), ratings={"default_question": 103})
    made, state = started(fake, ratings=True)
    batches = list(made.poll(state, NOW + HOUR))
    found = signals(batches)
    assert [one.title for one in found] == [
        "Rated ticket #7 good: Broken 7",
        "Rated ticket #7 neutral: Broken 7",
        "Rated ticket #7 bad: Broken 7",
    ]
    assert {(one.type, one.text, one.person.email) for one in found} == {("ticket.rated", "Fast", "an@example.org")}
    assert batches[-1].dropped == {"a ticket that is gone": 1}
    assert signals(list(made.poll(batches[-1].state, NOW + HOUR))) == []
    past = signals(list(made.backfill(NOW - HOUR, NOW + timedelta(minutes=2), None)))
    assert [one.id for one in past] == [one.id for one in found[:2]]


def test_without_ratings_no_call_is_made_for_them(fake: FakeFreshdesk) -> None:
    fake.add("ratings", id=20, ticket_id=7, created_at=stamp(NOW), ratings={"default_question": 103})
    made, state = started(fake)
    assert signals(list(made.poll(state, NOW))) == []


@pytest.mark.parametrize(
    ("changes", "dropped"),
    [
        ({"spam": True}, {"spam or trash": 1}),
        ({"deleted": True}, {"spam or trash": 1}),
        ({"source": 10}, {"a ticket that we opened": 1}),
    ],
)
def test_what_is_not_a_customers_ticket_is_counted(
    fake: FakeFreshdesk, changes: dict[str, Any], dropped: dict[str, int]
) -> None:
    ticket(fake, 7, **changes)
    made, state = started(fake)
    (batch,) = made.poll(state, NOW)
    assert (list(batch.signals), batch.dropped) == ([], dropped)


def test_more_tickets_of_one_second_than_a_page_holds(fake: FakeFreshdesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshdesk, "PAGE", 3)
    for number in range(11):
        ticket(fake, 100 + number)
    made, state = started(fake)
    assert sorted(one.data["ticket_id"] for one in signals(list(made.poll(state, NOW)))) == [
        str(100 + number) for number in range(11)
    ]


def test_a_contact_whom_our_agent_may_not_see(fake: FakeFreshdesk) -> None:
    ticket(fake, 7, requester=None, company_id=90)
    for table in ("contacts", "companies"):
        fake.plan.add([{"on": f"GET /api/v2/{table}/{{id}}", "do": "error", "status": 403, "code": "access_denied"}])
    made, state = started(fake)
    (signal,) = signals(list(made.poll(state, NOW)))
    assert signal.person.identity == ""


def test_refusals_name_their_remedy(fake: FakeFreshdesk) -> None:
    with pytest.raises(Misconfigured, match="the API key is refused"):
        polled(source(fake.url, api_key="another"))
    fake.add("ratings", id=20)
    findings = [one.what for one in source(fake.url, ratings=True).check_online()]
    assert {"tickets", "contacts", "ratings"} <= set(findings)


def test_a_limit_of_the_minute_is_obeyed(fake: FakeFreshdesk) -> None:
    fake.plan.add([{"on": "GET /api/v2/tickets", "do": "error", "status": 429, "retry_after": 7}])
    with pytest.raises(RateLimited) as limited:
        polled(source(fake.url))
    assert limited.value.retry_after == 7


@with_recordings
def test_recorded_lists_are_read() -> None:
    recorded = json.loads((Path(RECORDINGS) / "freshdesk.json").read_text())
    rows = [row for one in recorded["list-tickets"]["exchanges"] for row in one["response"]]
    read = [read_ticket(row, DESK) for row in rows]
    assert [(one.id, one.open, one.overdue, one.unwanted) for one in read] == [
        ("2", True, False, ""),
        ("1", True, False, ""),
    ]
    assert read[0].due_at == datetime(2024, 10, 21, 21, 0, tzinfo=UTC)
    assert read[0].due_later == datetime(2024, 10, 23, 21, 0, tzinfo=UTC)
    assert [bool(any(one.said.values())) for one in read] == [False, True]
    contacts = [row for one in recorded["list-contacts"]["exchanges"] for row in one["response"]]
    assert [person(row, "", None).email for row in contacts] == ["person5@example.com"]


@with_recordings
def test_recorded_lists_are_polled() -> None:
    recorded = json.loads((Path(RECORDINGS) / "freshdesk.json").read_text())
    with FakeFreshdesk() as fake:
        for name, table in (("list-tickets", "tickets"), ("list-contacts", "contacts")):
            for one in recorded[name]["exchanges"]:
                for row in one["response"]:
                    fake.add(table, **row)
        made = source(fake.url)
        found = signals(list(made.backfill(datetime(2024, 1, 1, tzinfo=UTC), NOW, None)))
    assert {one.title for one in found} == {"Ticket #1: Urgent", "Ticket #2: Second urgent ticket"}


@pytest.mark.parametrize("row", [{}, {"incoming": "true"}, {"incoming": True, "private": True}, {"ratings": []}])
def test_odd_rows_say_nothing(row: dict[str, Any]) -> None:
    assert read_said(row) is None
    assert read_rating(row) is None
