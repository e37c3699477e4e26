"""Calls of Zoho CRM: the kit against the twin, whom a call was with, syncd's own records, and what is not a call yet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from syncd.capabilities import Level
from syncd.connector import Batch, Context
from syncd.connectors.phone import zoho_crm_calls
from syncd.connectors.phone.zoho_crm_calls import CONNECTOR, SCOPES, ZohoCrmCalls, ZohoCrmCallsSettings, read_call
from syncd.errors import Malformed, Misconfigured
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import BackfillConformance, PollingConformance, TwinVendor
from syncd.time_cursor import encode
from syncd.twins.zoho.twin import ZohoTwin

NOW = datetime.now(UTC).replace(microsecond=0)
ALL = ["missed", "answered", "placed"]
SECRETS = {"client_secret": "hush-hush", "refresh_token": "1000.top.secret"}
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def source(twin: ZohoTwin, *, tokens: MemoryTokens | None = None, **keys: Any) -> ZohoCrmCalls:
    given = {"accounts_url": twin.url, "base_url": twin.url, "auth": {"client_id": "1000.APP", **SECRETS}, **keys}
    context = Context(name="calls", tokens=tokens or MemoryTokens(), region="VN")
    return ZohoCrmCalls(ZohoCrmCallsSettings.model_validate(given), context)


class CrmVendor(TwinVendor):
    """Number n is a missed call that was entered when it began."""

    throttling = {"on": "coql", "do": "error", "status": 429, "code": "TOO_MANY_REQUESTS"}
    breaking = {"on": "coql", "do": "cut"}

    @property
    def secrets(self) -> Sequence[str]:
        return tuple(SECRETS.values())

    def happen(self, number: int) -> None:
        self._enter(number, Caller_ID="+84912345678")

    def happen_by(self, number: int, form: str) -> bool:
        """Whoever is in the CRM is known by their record too, so never by an address or a number alone."""
        if form != "handle":
            return False
        self._enter(number, Who_Id={"id": self.twin.add("Contacts", Last_Name="An")})
        return True

    def spoil(self, number: int) -> bool:
        self._enter(number, Call_Start_Time="some day")
        return True

    def expire_token(self) -> bool:
        self.twin.expire_tokens()
        return True

    def _enter(self, number: int, **more: Any) -> None:
        at = stamp(self.moment(number))
        fields = {"Call_Type": "Missed", "Call_Start_Time": at, "Modified_Time": at, "Call_Duration": "00:00", **more}
        self.twin.add("Calls", id=str(7328395000000800000 + number), **fields)


@pytest.fixture
def twin() -> Iterator[ZohoTwin]:
    with ZohoTwin() as one:
        yield one


class TestZohoCrmCalls(PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(zoho_crm_calls, "PAGE", 3)

    @pytest.fixture
    def vendor(self, twin: ZohoTwin) -> CrmVendor:
        return CrmVendor(twin)

    @pytest.fixture
    def connect(self, twin: ZohoTwin) -> Callable[..., ZohoCrmCalls]:
        tokens = MemoryTokens()
        return lambda recall: source(twin, tokens=tokens)


def entered(twin: ZohoTwin, **fields: Any) -> str:
    usual = {"Call_Type": "Missed", "Call_Start_Time": stamp(NOW), "Call_Duration": "00:00", "Subject": "Call"}
    return twin.add("Calls", **{**usual, **fields})


def polled(twin: ZohoTwin, state: bytes = b"", **keys: Any) -> list[Batch]:
    made = source(twin, **keys)
    begun = zoho_crm_calls.CallsCursor(NOW - timedelta(hours=1), began=NOW - timedelta(hours=1))
    return list(made.poll(state or encode(begun), NOW))


def signals(twin: ZohoTwin, **keys: Any) -> list[Signal]:
    return [signal for batch in polled(twin, **keys) for signal in batch.signals]


def test_a_missed_call_of_a_contact(twin: ZohoTwin) -> None:
    contact = twin.add("Contacts", First_Name="Lan", Last_Name="Trần", Email="Lan@example.com", Mobile="0912 345 678")
    call = entered(twin, Who_Id={"id": contact}, Subject="Missed call", Description="rang twice")
    (signal,) = signals(twin)
    assert (signal.type, signal.title, signal.text) == ("call.missed", "Missed call from Lan Trần", "rang twice")
    assert signal.person.identities == (
        "email:lan@example.com",
        "phone:+84912345678",
        f"handle:zoho_contact:{contact}",
    )
    assert (signal.occurred_at, signal.reply) == (NOW, "tel:+84912345678")
    assert (signal.data["call_id"], signal.data["subject"]) == (call, "Missed call")


def test_the_lead_of_a_call(twin: ZohoTwin) -> None:
    lead = twin.add("Leads", Last_Name="Trần", Company="Acme", Phone="0912 345 678")
    entered(twin, What_Id={"id": lead}, **{"$se_module": "Leads"})
    deal = twin.add("Deals", Deal_Name="Roof", Stage="Qualification")
    entered(twin, What_Id={"id": deal}, Subject="Call from +49 (30) 1234567", **{"$se_module": "Deals"})
    of_lead, of_deal = signals(twin)
    assert of_lead.person.identities == ("phone:+84912345678", f"handle:zoho_lead:{lead}")
    assert of_deal.person.identities == ("phone:+49301234567",)


def test_a_number_in_the_subject_needs_its_country_code(twin: ZohoTwin) -> None:
    entered(twin, Subject="Call 2026-11-22 from ticket 123456789")
    (signal,) = signals(twin)
    assert (signal.person.identities, signal.title) == ((), "Missed call from a withheld number")


def test_fifty_people_are_one_query(twin: ZohoTwin) -> None:
    for number in range(60):
        contact = twin.add("Contacts", Last_Name=f"C{number}", Email=f"c{number}@example.com")
        entered(twin, Who_Id={"id": contact})
    assert len({one.person.email for one in signals(twin)}) == 60
    assert [call["operation"] for call in twin.calls if call["operation"] != "token"] == ["fields", *["coql"] * 3]


def test_answered_and_placed_calls(twin: ZohoTwin) -> None:
    entered(twin, Call_Type="Inbound", Call_Duration="01:05", Caller_ID="+84912345678")
    entered(twin, Call_Type="Outbound", Call_Duration="10:00", Subject="Call to +84 912 345 678")
    entered(twin, Call_Type="Inbound", Call_Duration="00:00")  # not judged yet
    entered(twin, Call_Type="Outbound", Call_Duration="10:00", Outbound_Call_Status="Scheduled")
    answered, placed = signals(twin, calls=ALL)
    assert (answered.type, answered.data["duration"]) == ("call.answered", 65)
    assert (placed.type, placed.data["duration"], placed.data["to"]) == ("call.placed", 600, "+84912345678")
    assert placed.person.phone == "+84912345678"


def test_a_call_that_becomes_missed_later(twin: ZohoTwin) -> None:
    now = datetime.now(UTC)  # not that of the module: a long run imports it much earlier, and the twin's clock is real
    call = entered(twin, Call_Type="Inbound")
    made = source(twin)
    begun = encode(zoho_crm_calls.CallsCursor(now - timedelta(hours=1)))
    (first,) = made.poll(begun, now)
    assert not first.signals
    twin.store.put(
        "Calls",
        call,
        {
            **(twin.store.get("Calls", call) or {}),
            "Call_Type": "Missed",
            "Modified_Time": stamp(now + timedelta(minutes=5)),
        },
    )
    (second,) = made.poll(first.state or b"", now)
    assert [one.type for one in second.signals] == ["call.missed"]


def test_what_is_not_a_customers_call_is_counted(twin: ZohoTwin) -> None:
    entered(twin, Syncd_Key="0815")
    entered(twin, Call_Type="Conference")
    entered(twin, Call_Start_Time=stamp(NOW - timedelta(days=400)))
    (batch,) = polled(twin)
    assert not batch.signals
    assert batch.dropped == {
        "written by syncd": 1,
        "call type Conference": 1,
        "call from before the first start": 1,
    }


def test_the_twin_has_no_telephony_field_so_nothing_counts_as_one(twin: ZohoTwin) -> None:
    entered(twin)
    (batch,) = polled(twin, telephony_only=True)
    assert batch.dropped == {"call that no telephony entered": 1}


def test_times_are_compared_in_any_zone() -> None:
    with ZohoTwin(zone_hours=-9.0) as twin:
        entered(twin, Modified_Time=NOW.astimezone(timezone(timedelta(hours=5))).isoformat(timespec="seconds"))
        assert len(signals(twin)) == 1
        made, second = source(twin), timedelta(seconds=1)
        assert [len(batch.signals) for batch in made.backfill(NOW, NOW + second, None)] == [1]
        assert [len(batch.signals) for batch in made.backfill(NOW + second, NOW + second * 9, None)] == []


def test_a_missing_scope_is_named(twin: ZohoTwin) -> None:
    twin.plan.add([{"on": "coql", "do": "scope"}])
    with pytest.raises(Misconfigured, match=r"ZohoCRM\.modules\.calls\.READ"):
        polled(twin)


def test_what_check_online_says(twin: ZohoTwin) -> None:
    found = list(source(twin).check_online())
    assert [(one.what, one.level) for one in found] == [
        ("sign-in", Level.OK),
        ("Calls", Level.OK),
        ("Contacts", Level.OK),
        ("Leads", Level.OK),
    ]
    (fault,) = [one for one in source(twin, telephony_only=True).check_online() if one.level is Level.FAULT]
    assert fault.what == "telephony_only"
    (warned,) = [one for one in source(twin, key_field="Other_Key").check_online() if one.level is Level.WARNING]
    assert "Other_Key" in warned.message


def test_the_sign_in_asks_for_what_is_read(twin: ZohoTwin) -> None:
    made = source(twin, auth={"client_id": "1000.APP", "client_secret": "hush-hush"})
    assert set(made.sign_in().scopes) == set(SCOPES)


def test_a_call_without_a_time_is_named() -> None:
    with pytest.raises(Malformed, match="Call_Start_Time is not a time"):
        read_call({"id": "1", "Call_Type": "Missed"})


@with_recordings
def test_the_recorded_call_is_read() -> None:
    recorded = json.loads((Path(RECORDINGS) / "zoho-crm.json").read_text("utf-8"))["create-call"]
    exchange = recorded["exchanges"][0]
    (row,) = exchange["request"]["data"]["data"]
    read = read_call({**row, "id": exchange["response"]["data"][0]["details"]["id"]})
    assert (read.direction, read.status, read.talked) == ("outbound", "completed", "600")
    assert read.started_at == datetime(2026, 5, 14, 4, 30, tzinfo=UTC)
