"""Missed chats of Zoho SalesIQ: the kit, departments, pages that count from 0 or 1, and what a chat becomes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from syncd.capabilities import Level
from syncd.connector import Batch, Context
from syncd.connectors.chat import zoho_salesiq
from syncd.connectors.chat.zoho_salesiq import CONNECTOR, ZohoSalesIQ, ZohoSalesIQSettings
from syncd.errors import Misconfigured
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import BackfillConformance, PollingConformance, TwinVendor
from syncd.twins.fake_events import FakeEvents, unix_ms
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, token_endpoint
from syncd.twins.wire import TwinCall, TwinResponse

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
SALES, SUPPORT = "19000000000021", "19000000000022"
API = "/api/v2/acme"


def conversations(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """Missed chats of one department; without `department_id`, of the current one of the token's owner."""
    asked = call.query
    rows = [row for row in vendor.records("chats") if row.get("status", "missed") == asked["status"]]
    rows = [row for row in rows if row["department"]["id"] == asked.get("department_id", SALES)]
    least = int(asked.get("updated_from_time", 0))
    rows = [row for row in rows if not str(row["missed_time"]).isdigit() or int(row["missed_time"]) >= least]
    return page(vendor, call, rows)


def page(vendor: FakeVendor, call: TwinCall, rows: Sequence[Any]) -> TwinResponse:
    assert isinstance(vendor, FakeSalesIQ)
    start = int(call.query.get("page", vendor.first_page)) - vendor.first_page
    size = int(call.query["limit"])
    shown = [vendor.shown("chats", row) for row in rows[start * size : (start + 1) * size]]
    return TwinResponse(200, {"url": call.path, "object": "list", "data": shown}) if shown else TwinResponse(204)


def departments(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    return page(vendor, call, [{"id": SALES, "name": "Sales"}, {"id": SUPPORT, "name": "Support"}])


class FakeSalesIQ(FakeVendor):
    """Departments and missed chats of one portal, by the manual of REST API v2."""

    name = "zoho_salesiq"
    first_page = 1
    events = FakeEvents(
        object="chats",
        at="missed_time",
        key="190000000331{}".format,
        time=lambda at: str(unix_ms(at)),
        fields={
            "question": "Anybody there?",
            "department": {"id": SALES, "name": "Sales"},
            "visitor.name": "Visitor {n}",
        },
        people={"email": "visitor.email_id", "phone": "visitor.phone"},
        spoilt={"missed_time": "some day"},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("POST /oauth/v2/token", token_endpoint(api_domain="https://www.zohoapis.com"), "token", open=True),
        FakeRoute(f"GET {API}/conversations", conversations, "conversations"),
        FakeRoute(f"GET {API}/departments", departments, "departments"),
    )

    def admits(self, call: TwinCall) -> bool:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        return scheme == "Zoho-oauthtoken" and token in self.valid_tokens

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"error": {"code": 1008, "message": message}})


def source(url: str, *, tokens: MemoryTokens | None = None, refresh: str = "", **keys: Any) -> ZohoSalesIQ:
    auth = {
        "client_id": "client",
        "client_secret": "secret-of-the-client",
        "refresh_token": refresh or uuid.uuid4().hex,
    }
    given = {"portal": "acme", "auth": auth, "base_url": url, "accounts_url": url, **keys}
    context = Context(name="chats", tokens=tokens or MemoryTokens(), region="VN")
    return ZohoSalesIQ(ZohoSalesIQSettings.model_validate(given), context)


class SalesIQVendor(TwinVendor):
    throttling: ClassVar[dict[str, Any]] = {"on": "conversations", "do": "too_many"}
    breaking: ClassVar[dict[str, Any]] = {"on": "conversations", "do": "cut"}

    @property
    def secrets(self) -> Sequence[str]:
        return ("secret-of-the-client",)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoho_salesiq, "PAGE", 3)


@pytest.fixture
def fake() -> Iterator[FakeSalesIQ]:
    with FakeSalesIQ() as twin:
        yield twin


class TestZohoSalesIQ(PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeSalesIQ) -> SalesIQVendor:
        return SalesIQVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeSalesIQ) -> Callable[..., ZohoSalesIQ]:
        tokens, refresh = MemoryTokens(), uuid.uuid4().hex
        return lambda recall: source(fake.url, tokens=tokens, refresh=refresh)


def chat(number: int, **more: Any) -> dict[str, Any]:
    at = str(unix_ms(NOW + timedelta(minutes=number)))
    visitor = {
        "id": "v1",
        "name": "Lan Trần",
        "email_id": "Lan@example.com",
        "phone": "0912 345 678",
        "channel": "website",
    }
    told = {"id": f"1900{number}", "question": "Anybody there?", "start_time": str(int(at) - 60_000), "missed_time": at}
    return {**told, "visitor": visitor, "department": {"id": SALES, "name": "Sales"}, **more}


def polled(fake: FakeSalesIQ, **keys: Any) -> list[Batch]:
    made = source(fake.url, **keys)
    return list(made.poll(made.start(NOW - timedelta(hours=1)), NOW))


def signals(fake: FakeSalesIQ, **keys: Any) -> list[Signal]:
    return [signal for batch in polled(fake, **keys) for signal in batch.signals]


def test_a_missed_chat(fake: FakeSalesIQ) -> None:
    fake.add("chats", **chat(1))
    (signal,) = signals(fake)
    assert (signal.type, signal.title, signal.text) == ("chat.missed", "Missed chat from Lan Trần", "Anybody there?")
    assert signal.occurred_at == NOW + timedelta(minutes=1)
    assert signal.person.identities == ("email:lan@example.com", "phone:+84912345678")
    assert signal.reply == "mailto:lan@example.com"
    assert signal.data == {"conversation_id": "19001", "department": "Sales", "channel": "website", "visitor_id": "v1"}


@pytest.mark.parametrize("name", ["Visitor 1234567", "visitor1234567", "Visitor #12"])
def test_a_placeholder_is_not_a_name(fake: FakeSalesIQ, name: str) -> None:
    fake.add("chats", **chat(1, visitor={"name": name}))
    (signal,) = signals(fake)
    assert (signal.title, signal.person.name, signal.person.identities) == ("Missed chat", "", ())


def test_the_chats_of_all_departments_are_read(fake: FakeSalesIQ) -> None:
    fake.add("chats", **chat(1))
    fake.add("chats", **chat(2, department={"id": SUPPORT, "name": "Support"}))
    fake.add("chats", **chat(3, status="closed"))
    assert [one.data["conversation_id"] for one in signals(fake)] == ["19001", "19002"]
    assert [one.data["conversation_id"] for one in signals(fake, departments=[SUPPORT])] == ["19002"]


@pytest.mark.parametrize("first_page", [0, 1])
@pytest.mark.parametrize("count", [0, 2, 3, 6, 8])
def test_pages_may_count_from_0_or_1(
    fake: FakeSalesIQ, monkeypatch: pytest.MonkeyPatch, first_page: int, count: int
) -> None:
    monkeypatch.setattr(fake, "first_page", first_page)
    for number in reversed(range(count)):
        fake.add("chats", **chat(number))
    assert [one.data["conversation_id"] for one in signals(fake)] == [f"1900{number}" for number in range(count)]


def test_the_start_stands_in_for_a_time_that_is_missing(fake: FakeSalesIQ) -> None:
    fake.add("chats", **chat(1, missed_time=""))
    (signal,) = signals(fake)
    assert signal.occurred_at == NOW


def test_an_odd_row_harms_no_other(fake: FakeSalesIQ) -> None:
    fake.add("chats", **chat(1, visitor="nobody", department={"id": SALES}, question=None))
    fake.add("chats", **chat(2, missed_time="some day", start_time=None))
    batches = polled(fake)
    (signal,) = [signal for batch in batches for signal in batch.signals]
    assert signal.data == {"conversation_id": "19001"}
    (misfit,) = [misfit for batch in batches for misfit in batch.misfits]
    assert misfit.reason == "chat 0 of 2: missed_time, end_time and start_time are not times"


@pytest.mark.parametrize(
    ("status", "text"), [(403, "SalesIQ.conversations.READ"), (404, "check portal and data_center")]
)
def test_errors_say_what_to_do(fake: FakeSalesIQ, status: int, text: str) -> None:
    fake.plan.add([{"on": "conversations", "do": "error", "status": status, "code": "1008", "message": "No"}])
    with pytest.raises(Misconfigured, match=text):
        signals(fake)


def test_check_names_departments_that_do_not_exist(fake: FakeSalesIQ) -> None:
    found = list(source(fake.url, departments=[SALES, "7"]).check_online())
    assert [one.level for one in found] == [Level.OK, Level.OK, Level.FAULT, Level.OK]
    assert found[2].remedy == f"there are: Sales {SALES}, Support {SUPPORT}"
