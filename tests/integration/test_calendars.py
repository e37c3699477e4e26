"""`graph_calendar` and `google_calendar` pass the kit against their stand-ins, and agree on which meetings were held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest

from syncd.connector import Context
from syncd.connectors.calendar import google_calendar, graph_calendar
from syncd.errors import Misconfigured, RateLimited
from syncd.http.oauth import MemoryTokens
from syncd.signals import Direction, Signal
from syncd.testing import BackfillConformance, PollingConformance, TwinVendor
from syncd.time_cursor import TimeCursors, encode
from syncd.twins.fake_events import FakeEvents, iso
from syncd.twins.google import GoogleTwin
from syncd.twins.graph import GraphTwin
from tests.graph_rig import APP, MAILBOX

NOW = datetime.now(UTC).replace(microsecond=0)
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
HOUR = timedelta(hours=1)


def graph_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000")


def graph_person(email: str, response: str = "accepted", **more: Any) -> dict[str, Any]:
    return {
        "emailAddress": {"address": email, "name": "An"},
        "status": {"response": response},
        "type": "required",
        **more,
    }


class GraphCalendars(GraphTwin):
    events = FakeEvents(
        object="calendar_events",
        at="start.dateTime",
        key="AAkE{}=".format,
        time=graph_time,
        fields={"iCalUId": "uid-{n}", "type": "singleInstance", "subject": "Offer {n}"},
        people={"email": {"attendees": [graph_person("an{n}@customer.example")]}},
    )


class GoogleCalendars(GoogleTwin):
    events = FakeEvents(
        object="events",
        at="start.dateTime",
        key="ev{}".format,
        time=iso,
        fields={"iCalUID": "uid-{n}@google.com", "status": "confirmed", "summary": "Offer {n}"},
        people={"email": {"attendees": [{"email": "an{n}@customer.example", "responseStatus": "accepted"}]}},
    )


class GraphView(TwinVendor):
    throttling: ClassVar[dict[str, Any]] = {"on": "calendar_view", "do": "too_many"}
    breaking: ClassVar[dict[str, Any]] = {"on": "calendar_view", "do": "cut"}


class GoogleView(TwinVendor):
    throttling: ClassVar[dict[str, Any]] = {"on": "events", "do": "too_many"}
    breaking: ClassVar[dict[str, Any]] = {"on": "events", "do": "cut"}


def later() -> datetime:
    """The clock of a backfill: the kit's meetings have ended."""
    return datetime.now(UTC) + timedelta(days=1)


def graph(twin: GraphTwin, *, clock: Callable[[], datetime] = later, **keys: Any) -> graph_calendar.GraphCalendar:
    said = {"mailbox": MAILBOX, "auth": APP, "graph_url": twin.url, "login_url": twin.url, **keys}
    context = Context(name="meetings", tokens=MemoryTokens(), timezone=HANOI, clock=clock)
    return graph_calendar.GraphCalendar(graph_calendar.GraphCalendarSettings.model_validate(said), context)


def google(twin: GoogleTwin, *, clock: Callable[[], datetime] = later, **keys: Any) -> google_calendar.GoogleCalendar:
    auth = {"client_id": "app", "client_secret": "s", "refresh_token": "r"}
    said = {"account": MAILBOX, "auth": auth, "base_url": twin.url, "token_url": f"{twin.url}/token", **keys}
    context = Context(name="meetings", tokens=MemoryTokens(), timezone=HANOI, clock=clock)
    return google_calendar.GoogleCalendar(google_calendar.GoogleCalendarSettings.model_validate(said), context)


@pytest.fixture(scope="module")
def graphs() -> Iterator[GraphCalendars]:
    with GraphCalendars() as twin:
        yield twin


@pytest.fixture(scope="module")
def googles() -> Iterator[GoogleCalendars]:
    with GoogleCalendars() as twin:
        yield twin


def fresh(twin: Any) -> Any:
    twin.reset()
    twin.between_calls = None
    return twin


class TestGraphCalendar(PollingConformance, BackfillConformance):
    connector = graph_calendar.CONNECTOR

    @pytest.fixture
    def vendor(self, graphs: GraphCalendars) -> GraphView:
        return GraphView(fresh(graphs))

    @pytest.fixture
    def connect(self, vendor: GraphView, graphs: GraphCalendars) -> Callable[[], graph_calendar.GraphCalendar]:
        return lambda: graph(graphs)


class TestGoogleCalendar(PollingConformance, BackfillConformance):
    connector = google_calendar.CONNECTOR

    @pytest.fixture
    def vendor(self, googles: GoogleCalendars) -> GoogleView:
        return GoogleView(fresh(googles))

    @pytest.fixture
    def connect(self, vendor: GoogleView, googles: GoogleCalendars) -> Callable[[], google_calendar.GoogleCalendar]:
        return lambda: google(googles)


class Calendars:
    """One kind of calendar: meetings are written once, and read by its source."""

    def __init__(self, kind: str, twin: Any) -> None:
        self.kind, self.twin = kind, fresh(twin)
        self.build: Any = graph if kind == "graph" else google
        self.dropped: dict[str, int] = {}

    def meet(
        self, number: int, start: datetime, *guests: str, uid: str = "", ours: str = "accepted", **more: Any
    ) -> None:
        """`guests`: addresses, `-` before those who declined; `ours`: our response."""
        minutes, everyone = (
            more.pop("minutes", 60),
            [(MAILBOX, ours), *((one.lstrip("-"), _answer(one)) for one in guests)],
        )
        end, original = start + timedelta(minutes=minutes), more.pop("original", None)
        if self.kind == "graph":
            event: dict[str, Any] = {
                "iCalUId": uid or f"uid-{number}",
                "subject": f"Offer {number}",
                "start": {"dateTime": graph_time(start), "timeZone": "UTC"},
                "end": {"dateTime": graph_time(end), "timeZone": "UTC"},
                "attendees": [graph_person(email, answer) for email, answer in everyone],
                "responseStatus": {"response": ours},
                "type": "occurrence" if original else "singleInstance",
                **({"originalStart": iso(original)} if original else {}),
            }
            self.twin.add("calendar_events", id=f"AAk{number}=", **{**event, **more.pop("graph", {})})
            return
        event = {
            "iCalUID": uid or f"uid-{number}",
            "summary": f"Offer {number}",
            "status": "confirmed",
            "start": {"dateTime": start.astimezone(HANOI).isoformat()},
            "end": {"dateTime": end.astimezone(HANOI).isoformat()},
            "attendees": [
                {"email": email, "displayName": "An", "responseStatus": answer, "self": email == MAILBOX}
                for email, answer in everyone
            ],
            **({"recurringEventId": "r1", "originalStartTime": {"dateTime": iso(original)}} if original else {}),
        }
        self.twin.add("events", id=f"ev{number}", **{**event, **more.pop("google", {})})

    def held(self, **keys: Any) -> list[Signal]:
        found = []
        for batch in self.build(self.twin, clock=lambda: NOW, **keys).backfill(NOW - timedelta(days=40), NOW, None):
            found += list(batch.signals)
            for why, count in batch.dropped.items():
                self.dropped[why] = self.dropped.get(why, 0) + count
        return found


def _answer(guest: str) -> str:
    return "declined" if guest.startswith("-") else "accepted"


@pytest.fixture(params=["graph", "google"])
def calendars(request: pytest.FixtureRequest) -> Calendars:
    return Calendars(request.param, request.getfixturevalue(f"{request.param}s"))


def test_each_guest_of_another_company_has_a_signal(calendars: Calendars) -> None:
    start = NOW - 30 * HOUR
    calendars.meet(
        1, start, "an@customer.example", "colleague@ourcompany.example", "-binh@customer.example", "chi@b.example"
    )
    first, second = calendars.held()
    assert [first.person.email, second.person.email] == ["an@customer.example", "chi@b.example"]
    assert (first.type, first.direction, first.title, first.occurred_at) == (
        "meeting.held",
        Direction.OUT,
        "Meeting: Offer 1",
        start,
    )
    assert (first.data["minutes"], first.thread == second.thread, first.id == second.id) == (60, True, False)
    assert first.data["attendees"][0] == MAILBOX


def test_what_was_not_held_with_a_customer_is_counted(calendars: Calendars) -> None:
    start, guest = NOW - 30 * HOUR, "an@customer.example"
    calendars.meet(1, start, guest, graph={"isCancelled": True}, google={"status": "cancelled"})
    calendars.meet(2, start, guest, ours="declined")
    calendars.meet(3, start, f"-{guest}")
    calendars.meet(4, start, "colleague@ourcompany.example", "boss@mail.ourcompany.example")
    calendars.meet(5, start, guest, graph={"sensitivity": "private"}, google={"visibility": "private"})
    calendars.meet(6, start, *(f"p{n}@customer.example" for n in range(60)))
    calendars.meet(7, start, "partner@ours-too.example")
    calendars.meet(8, start)
    assert calendars.held(own_domains=["ours-too.example"]) == []
    assert calendars.dropped == {
        "cancelled": 1,
        "declined": 2,
        "nobody of another company": 3,
        "private": 1,
        "more than 50 attendees": 1,
    }


def test_one_that_has_not_ended_waits_for_its_end(calendars: Calendars) -> None:
    now = datetime.now(UTC)
    calendars.meet(1, now - HOUR / 2, "an@customer.example", minutes=45)
    assert calendars.held() == []
    made = calendars.build(calendars.twin)
    state = made.start(now)
    assert list(made.poll(state, now)) == []
    (batch,) = made.poll(state, now + HOUR)
    assert [one.title for one in batch.signals] == ["Meeting: Offer 1"]
    assert list(made.poll(batch.state, now + 2 * HOUR)) == []  # a quiet poll writes nothing


def test_a_meeting_that_is_entered_afterwards_is_found(calendars: Calendars) -> None:
    made = calendars.build(calendars.twin)
    now = datetime.now(UTC)
    state = made.start(now)
    entered = iso(now + 3 * HOUR)
    calendars.meet(
        1, now - 20 * HOUR, "an@customer.example", graph={"lastModifiedDateTime": entered}, google={"updated": entered}
    )
    (batch,) = made.poll(state, now + 3 * HOUR)
    assert len(batch.signals) == 1


def test_occurrences_of_a_series_are_meetings_each(calendars: Calendars) -> None:
    for week in (1, 2):
        start = NOW - timedelta(weeks=week)
        calendars.meet(week, start + HOUR, "an@customer.example", uid="series", original=start)
    one, other = calendars.held()
    assert one.id != other.id
    calendars.twin.reset()
    calendars.meet(
        3, NOW - timedelta(weeks=1) + 3 * HOUR, "an@customer.example", uid="series", original=NOW - timedelta(weeks=1)
    )
    assert [signal.id for signal in calendars.held()] == [other.id]  # moved by two hours: the same occurrence


def test_both_calendars_and_two_colleagues_see_one_meeting(graphs: GraphCalendars, googles: GoogleCalendars) -> None:
    ids = []
    for kind, twin in (("graph", graphs), ("google", googles)):
        calendars = Calendars(kind, twin)
        calendars.meet(1, NOW - 30 * HOUR, "an@customer.example", uid="one@customer.example")
        ids += [one.id for one in calendars.held()]
        user = "mailbox" if kind == "graph" else "account"
        ids += [one.id for one in calendars.held(**{user: "other@ourcompany.example"})]
    assert len(ids) == 4
    assert len(set(ids)) == 1


def test_whole_days_count_if_wanted_and_begin_where_the_calendar_is(calendars: Calendars) -> None:
    day = (NOW - timedelta(days=5)).date()
    midnight = {"dateTime": f"{day}T00:00:00.0000000", "timeZone": "UTC"}
    after = {"dateTime": f"{day + timedelta(days=1)}T00:00:00.0000000", "timeZone": "UTC"}
    whole = {"start": {"date": f"{day}"}, "end": {"date": f"{day + timedelta(days=1)}"}}
    calendars.meet(
        1, NOW, "an@customer.example", graph={"start": midnight, "end": after, "isAllDay": True}, google=whole
    )
    assert (calendars.held(), calendars.dropped) == ([], {"all-day event": 1})
    (held,) = calendars.held(all_day=True)
    assert held.occurred_at == datetime(day.year, day.month, day.day, tzinfo=HANOI)


def test_of_a_user_of_gmail_only_the_own_address_is_ours(googles: GoogleCalendars) -> None:
    calendars = Calendars("google", googles)
    calendars.meet(1, NOW - 30 * HOUR, "me@gmail.com", "customer@gmail.com")
    assert [one.person.email for one in calendars.held(account="me@gmail.com", own_domains=["ourcompany.example"])] == [
        "customer@gmail.com"
    ]


def test_rooms_and_events_that_are_not_meetings_are_left_out(calendars: Calendars) -> None:
    room = "room@rooms.example"
    calendars.meet(
        1,
        NOW - 30 * HOUR,
        graph={"attendees": [graph_person(room, type="resource")]},
        google={"attendees": [{"email": room, "resource": True, "responseStatus": "accepted"}]},
    )
    assert (calendars.held(), calendars.dropped) == ([], {"nobody of another company": 1})


def test_an_organiser_of_another_company_is_met(calendars: Calendars) -> None:
    boss = "boss@customer.example"
    calendars.meet(
        1,
        NOW - 30 * HOUR,
        graph={"organizer": {"emailAddress": {"address": boss, "name": "Boss"}}},
        google={"organizer": {"email": boss, "displayName": "Boss"}},
    )
    assert [one.person.name for one in calendars.held()] == ["Boss"]


def test_several_calendars_and_check_online(calendars: Calendars) -> None:
    team = "team" if calendars.kind == "graph" else "team@ourcompany.example"
    own = "calendar" if calendars.kind == "graph" else "primary"
    calendars.meet(1, NOW - 30 * HOUR, "an@customer.example", graph={"calendar": team}, google={"calendar": team})
    assert len(calendars.held(calendars=[own, team])) == 1
    checked = calendars.build(calendars.twin, clock=lambda: datetime.now(UTC), calendars=[own, team])
    found = [one.what for one in checked.check_online()]
    assert found == ["sign-in", f"calendar {own}", f"calendar {team}"]
    with pytest.raises(Misconfigured, match="check calendars"):
        list(calendars.build(calendars.twin, calendars=["nowhere"]).check_online())


def test_throttling_names_its_pause(calendars: Calendars) -> None:
    on = "calendar_view" if calendars.kind == "graph" else "events"
    calendars.twin.plan.add([{"on": on, "times": 1, "do": "too_many"}])
    with pytest.raises(RateLimited):
        calendars.held()


def test_a_poll_after_a_downtime_begins_where_the_last_one_ended(calendars: Calendars) -> None:
    made = calendars.build(calendars.twin, look_back="1d")
    calendars.meet(1, NOW - timedelta(days=15), "an@customer.example")
    state = encode(TimeCursors(NOW - timedelta(days=20)))
    assert [len(batch.signals) for batch in made.poll(state, NOW)] == [1]
    assert list(made.poll(encode(TimeCursors(NOW - timedelta(days=14))), NOW)) == []
