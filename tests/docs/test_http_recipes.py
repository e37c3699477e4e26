"""The recipes of docs/http-recipes.md and the one for Matomo, run against stand-ins that follow the facts on these pages: pages,
cursor, sign-in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.config.loading import parse_settings
from syncd.connector import Batch, Context, Request
from syncd.connectors.generic.http_list import CONNECTOR, HttpList
from syncd.errors import Misconfigured
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.twins.fake_vendor import (
    FakeRoute,
    FakeVendor,
    LinkPages,
    OffsetPages,
    Parts,
    listed,
    token_endpoint,
)
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

PAGE = Path(__file__).parents[2] / "docs" / "http-recipes.md"
PAGES = PAGE.read_text("utf-8"), PAGE.with_name("webhook-recipes.md").read_text("utf-8")
SECTIONS = re.findall(r"^## (\w+)[^\n]*\n(.*?)(?=^## |\Z)", "\n".join(PAGES), re.DOTALL | re.MULTILINE)
BLOCKS = {
    vendor: dict(re.findall(r"^```(yaml|json)\n(.*?)^```", body, re.DOTALL | re.MULTILINE)) for vendor, body in SECTIONS
}
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
MESSAGES = "/2010-04-01/Accounts/ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Messages.json"


def sample(vendor: str) -> dict[str, Any]:
    """The vendor's own example, as the page shows it."""
    shown: dict[str, Any] = json.loads(BLOCKS[vendor]["json"])
    return shown


class BrevoReport(FakeVendor):
    """Unaggregated events, newest first, by offset."""

    name = "brevo"
    routes = (
        FakeRoute(
            "GET /v3/smtp/statistics/events",
            listed(
                "events",
                items="events",
                sort="date",
                newest_first=True,
                pages=OffsetPages("offset"),
                equal={"event": "event"},
            ),
        ),
    )

    def admits(self, call: TwinCall) -> bool:
        return call.headers.get("api-key") == "k3y"

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        return {name: value for name, value in record.items() if name != "id"}


@dataclass(frozen=True)
class PathPages(LinkPages):
    """Twilio's next page is a path, and null on the last page."""

    def mark(self, call: TwinCall, start: int, expired: int, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        return super().mark(call, start, expired, "")


class TwilioMessages(FakeVendor):
    """Messages to one number, the most recent first; each page names the path of the next."""

    name = "twilio_messages"
    routes = (
        FakeRoute(
            f"GET {MESSAGES}",
            listed(
                "messages",
                items="messages",
                sort="date_sent",
                newest_first=True,
                pages=PathPages("next_page_uri", "Page"),
                least={"DateSent>": "date_sent"},
                equal={"To": "to"},
            ),
        ),
    )

    def admits(self, call: TwinCall) -> bool:
        return call.headers.get("authorization") == "Basic QUMxOnMzY3JldA=="  # AC1:s3cret

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        sent = datetime.fromisoformat(record["date_sent"])
        return {**record, "date_sent": format_datetime(sent), "date_created": format_datetime(sent)}


def hal(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """The list as HAL has it: items under _embedded, the next page's address in _links."""
    answer = listed(
        "conversations",
        items="conversations",
        sort="createdAt",
        newest_first=call.query["sortOrder"] == "desc",
        pages=LinkPages("next"),
        least={"modifiedSince": "modifiedAt"},
    )(vendor, call, parts)
    following = answer.body.pop("next", None)
    links = {"self": {"href": f"{vendor.url}{call.path}"}, **({"next": {"href": following}} if following else {})}
    return TwinResponse(200, {"_embedded": answer.body, "_links": links})


class HelpScout(FakeVendor):
    """Conversations behind OAuth 2.0 by client credentials."""

    name = "helpscout"
    routes = (
        FakeRoute("POST /v2/oauth2/token", token_endpoint(), open=True),
        FakeRoute("GET /v2/conversations", hal),
    )
    fields: ClassVar[Mapping[str, Any]] = {"subject": "Printer", "preview": "It is broken", "status": "active"}


class MatomoVisits(FakeVendor):
    """The visits log, newest first: a bare list, by offset, with the token in the query."""

    name = "matomo"
    routes = (
        FakeRoute(
            "GET /index.php",
            listed(
                "visits",
                items="",
                sort="lastActionTimestamp",
                newest_first=True,
                pages=OffsetPages("filter_offset", "filter_limit"),
            ),
        ),
    )

    def admits(self, call: TwinCall) -> bool:
        return call.query.get("token_auth") == "t0ken" and call.query.get("method") == "Live.getLastVisitsDetails"


def visit(at: datetime, number: int) -> dict[str, Any]:
    return {"idVisit": number, "lastActionTimestamp": int(at.timestamp()), "userId": f"an{number}@example.org"}


def brevo_event(at: datetime, number: int) -> dict[str, Any]:
    return {
        **sample("Brevo"),
        "event": "opened",
        "date": at.isoformat(),
        "email": f"an{number}@example.org",
        "messageId": f"<{number}@smtp-relay.mailin.fr>",
    }


def message(at: datetime, number: int) -> dict[str, Any]:
    own = {"sid": f"SM{number}", "to": "+12019235161", "from": "+84912345678", "date_sent": at.isoformat()}
    return {**sample("Twilio"), **own, "direction": "inbound"}


def conversation(at: datetime, number: int) -> dict[str, Any]:
    who = {"id": 1, "email": f"an{number}@example.org", "first": "An", "last": "Le"}
    when = {"createdAt": at.isoformat(), "modifiedAt": at.isoformat()}
    return {**HelpScout.fields, **when, "id": str(1000 + number), "number": number, "primaryCustomer": who}


RECIPES: dict[str, Any] = {
    "Brevo": (BrevoReport, "events", brevo_event),
    "Twilio": (TwilioMessages, "messages", message),
    "Help": (HelpScout, "conversations", conversation),
    "Matomo": (MatomoVisits, "visits", visit),
}
SECRETS = {
    "BREVO_KEY": "k3y",
    "MATOMO_TOKEN": "t0ken",
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "s3cret",
    "HELPSCOUT_APP_ID": "app",
    "HELPSCOUT_APP_SECRET": "s3cret",
}


def source(vendor: str, url: str, secrets: Mapping[str, str] = SECRETS) -> HttpList:
    """The page's configuration, with the stand-in's address, and with pages of three items where it counts them."""
    hosts = r"https://(?:api\.brevo|api\.twilio|api\.helpscout|matomo\.example)\.(?:com|net)"
    text = re.sub(r"\b[15]00\b", "3", re.sub(hosts, url, BLOCKS[vendor]["yaml"]))
    settings = parse_settings(text, PAGE.with_name("config.yaml"), secrets).settings
    assert settings is not None
    ((name, entry),) = settings.sources.items()
    context = Context(
        name=name, tokens=MemoryTokens(), clock=lambda: NOW, switches=frozenset({"message.received", "web.visited"})
    )
    made: HttpList = CONNECTOR.build(entry.connector, context)
    assert settings.switch(entry.connector.signal.type), "the recipe's channels: has its signals on"
    return made


@contextmanager
def polled(vendor: str) -> Iterator[tuple[FakeVendor, HttpList, bytes]]:
    """A stand-in with seven events, a source, and the state of a source that began before them."""
    make, table, event = RECIPES[vendor]
    with make() as twin:
        for number in range(7):
            twin.add(table, **event(NOW - timedelta(minutes=70 - 10 * number), number))
        made = source(vendor, twin.url)
        yield twin, made, made.start(NOW - timedelta(hours=2))


def signals(batches: list[Batch]) -> list[Signal]:
    assert [misfit.reason for batch in batches for misfit in batch.misfits] == []
    return [signal for batch in batches for signal in batch.signals]


@pytest.mark.parametrize("vendor", RECIPES)
def test_every_page_is_read_and_then_only_what_is_new(vendor: str) -> None:
    _, table, event = RECIPES[vendor]
    with polled(vendor) as (twin, made, state):
        first = list(made.poll(state, NOW))
        found = signals(first)
        assert [signal.occurred_at for signal in found] == [
            NOW - timedelta(minutes=70 - 10 * number) for number in range(7)
        ]
        assert len({signal.id for signal in found}) == 7
        assert all(signal.person.identity for signal in found)
        state = next(batch.state for batch in reversed(first) if batch.state is not None)
        assert signals(list(made.poll(state, NOW))) == []
        twin.add(table, **event(NOW, 7))
        assert [signal.occurred_at for signal in signals(list(made.poll(state, NOW)))] == [NOW]


@pytest.mark.parametrize("vendor", ["Brevo", "Twilio", "Help"])
def test_the_past_is_read_with_the_same_ids(vendor: str) -> None:
    with polled(vendor) as (_, made, state):
        by_poll = {signal.id for signal in signals(list(made.poll(state, NOW)))}
        past = signals(list(made.backfill(NOW - timedelta(hours=2), NOW, None)))
        assert {signal.id for signal in past} == by_poll


@pytest.mark.parametrize(
    ("vendor", "kind", "title", "who"),
    [
        ("Brevo", "email.opened", "Opened: test", "email:an0@example.org"),
        ("Twilio", "message.received", "Text message", "phone:+84912345678"),
        ("Help", "ticket.created", "Conversation 0: Printer", "email:an0@example.org"),
        ("Matomo", "web.visited", "Visited the website", "email:an0@example.org"),
    ],
)
def test_what_becomes_of_an_event(vendor: str, kind: str, title: str, who: str) -> None:
    with polled(vendor) as (_, made, state):
        signal = signals(list(made.poll(state, NOW)))[0]
    assert (signal.type, signal.title, signal.person.identity) == (kind, title, who)


@pytest.mark.parametrize(
    ("vendor", "at"),
    [
        ("Brevo", datetime(2020, 11, 3, 12, 45, 23, tzinfo=UTC)),
        ("Twilio", datetime(2019, 5, 24, 17, 44, 50, tzinfo=UTC)),
    ],
)
def test_the_vendors_own_example_is_understood(vendor: str, at: datetime) -> None:
    request = Request("GET", "/", {"content-type": "application/json"}, BLOCKS[vendor]["json"].encode(), NOW)
    (signal,) = signals([source(vendor, "https://vendor.example").reparse(request)])
    assert signal.occurred_at == at
    assert signal.person.identity


def test_two_opens_of_one_email_are_one_signal() -> None:
    with polled("Brevo") as (twin, made, state):
        twin.add("events", **{**brevo_event(NOW, 6), "ip": "192.0.2.7"})
        found = signals(list(made.poll(state, NOW)))
    assert len(found) == 8
    assert len({signal.id for signal in found}) == 7
    assert len({signal.repeat for signal in found}) == 8


def test_other_events_and_other_numbers_are_left_out() -> None:
    with polled("Brevo") as (twin, made, state):
        twin.add("events", **{**brevo_event(NOW, 9), "event": "requests"})
        assert len(signals(list(made.poll(state, NOW)))) == 7
    with polled("Twilio") as (twin, made, state):
        twin.add("messages", **{**message(NOW, 9), "to": "+84912345678", "from": "+12019235161"})
        assert len(signals(list(made.poll(state, NOW)))) == 7


@pytest.mark.parametrize("vendor", ["Brevo", "Twilio", "Matomo"])
def test_a_wrong_secret_stops_the_source(vendor: str) -> None:
    make, _, _ = RECIPES[vendor]
    wrong = dict.fromkeys(SECRETS, "wr0ng")
    with make() as twin:
        made = source(vendor, twin.url, wrong)
        with pytest.raises(Misconfigured):
            list(made.poll(made.start(NOW), NOW))
