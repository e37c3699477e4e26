"""The whole intake: schedules, wakes, isolation of a hanging source, reload, and webhooks into a real store over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from sqlalchemy import func, select

from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.intake.intake import Intake
from syncd.intake.keys import KeyFetch
from syncd.intake.schedule import Schedule, Times, cron_trigger
from syncd.store import Store
from syncd.store.schema import signals
from syncd.store.subscriptions import faults, note, note_keys
from syncd.testing.hostile import SECRET, HostileSource, HostileWebhook, body, page
from syncd.web.app import Readiness, make_app
from syncd.web.metrics import Gauges, registry_of
from syncd.web.server import Server

HOUR = timedelta(hours=1)


def settings(*sources: SourceSettings, on: bool = True) -> Settings:
    return Settings(
        channels={"custom": {"*": on}},
        sources={source.name: source for source in sources},
        destinations={"crm": DestinationSettings(name="crm", type="x")},
    )


def entry(name: str, **keys: object) -> SourceSettings:
    return SourceSettings(name=name, type="hostile", **keys)


def stored(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(signals)).scalar_one()


def wait_until(true: Callable[[], bool], seconds: float = 15) -> None:
    event = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if true():
            return
        event.wait(0.01)
    raise AssertionError("it did not come about")


@pytest.fixture
def intake_of(store: Store) -> Iterator[Callable[..., Intake]]:
    made: list[Intake] = []

    def make(configured: Settings, sources: dict[str, object]) -> Intake:
        made.append(Intake(store, configured, sources))
        made[-1].start()
        return made[-1]

    yield make
    for intake in made:
        intake.stop(0.2)


def test_a_hanging_source_delays_nobody(store: Store, intake_of: Callable[..., Intake]) -> None:
    gate = threading.Event()
    hanging, healthy = HostileSource([[1]], gates={0: gate}), HostileSource([[2, 3]])
    configured = settings(entry("a", poll=HOUR), entry("b", poll=HOUR))
    intake = intake_of(configured, {"a": hanging, "b": healthy})
    wait_until(lambda: hanging.reached.is_set() and stored(store) == 2)
    healthy.pages = [[2, 3], [4]]
    assert intake.wake("b")
    wait_until(lambda: stored(store) == 3)
    assert intake.schedule.stop(0.05) == ["poll:a"]
    gate.set()


def test_a_hint_from_a_webhook_is_fetched_without_waiting(store: Store, intake_of: Callable[..., Intake]) -> None:
    class Both(HostileWebhook, HostileSource):
        def __init__(self) -> None:
            HostileWebhook.__init__(self)
            HostileSource.__init__(self, answers={"t1": [page([7, 8])]})

    intake = intake_of(settings(entry("desk", poll=HOUR)), {"desk": Both()})
    with served(intake) as url:
        assert post(url, "desk", body(1, hints=["t1"])) == 200
    wait_until(lambda: stored(store) == 3 and store.receipts.list(state="") == [])


def test_reload_swaps_switches_endpoints_and_leaves_the_unchanged_alone(
    store: Store, intake_of: Callable[..., Intake]
) -> None:
    kept, gone, new = HostileWebhook(), HostileWebhook(), HostileWebhook()
    intake = intake_of(settings(entry("kept"), entry("gone")), {"kept": kept, "gone": gone})
    with served(intake) as url:
        assert (post(url, "kept", body(1)), post(url, "gone", body(2)), post(url, "new", body(3))) == (200, 200, 404)
        intake.reload(settings(entry("kept"), entry("new"), on=False), {"kept": HostileWebhook(), "new": new})
        assert (post(url, "kept", body(4)), post(url, "gone", body(5)), post(url, "new", body(6))) == (200, 404, 200)
    assert intake.sources == {"kept": kept, "new": new}
    assert stored(store) == 2


def test_concurrent_repeats_are_one_signal_in_the_store(store: Store, intake_of: Callable[..., Intake]) -> None:
    intake = intake_of(settings(entry("shop")), {"shop": HostileWebhook()})
    with served(intake) as url, ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda n: post(url, "shop", body(n % 5)), range(60)))
    assert (statuses, stored(store)) == ({200}, 5)
    assert (intake.counts.fresh, intake.counts.repeats) == ({"shop": 5}, {"shop": 55})


def test_bad_rows_are_kept_apart_and_answered_200(store: Store, intake_of: Callable[..., Intake]) -> None:
    intake = intake_of(settings(entry("shop")), {"shop": HostileWebhook()})
    with served(intake) as url:
        assert {post(url, "shop", bad) for bad in (b"{", b"bug", body(1, type="nonsense"), body(2))} == {200}
    assert (stored(store), len(store.receipts.list())) == (1, 3)


class served:
    """The intake's receiver behind a real server."""

    def __init__(self, intake: Intake) -> None:
        gauges = Gauges(intake.counts, lambda: 0, lambda: intake.receiver.waiting)
        self._server = Server(make_app(intake.receiver, registry_of(gauges), Readiness), "127.0.0.1", 0)

    def __enter__(self) -> str:
        self._server.start()
        return self._server.url

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def post(url: str, source: str, content: bytes) -> int:
    return requests.post(f"{url}/webhooks/{source}", data=content, headers={"x-secret": SECRET}, timeout=30).status_code


def test_work_never_overlaps_with_itself_and_a_wake_is_never_lost() -> None:
    running, most, runs = [0], [0], [0]
    gate, entered = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        entered.set()
        gate.wait(10)
        runs[0] += 1
        running[0] -= 1

    schedule = Schedule(ZoneInfo("UTC"))
    schedule.add("poll:x", work, Times(every=HOUR, at_once=False))
    schedule.start()
    schedule.wake("poll:x")
    assert entered.wait(10)
    for _ in range(5):
        schedule.wake("poll:x")
    gate.set()
    wait_until(lambda: runs[0] == 2)
    assert (schedule.stop(5), most, runs) == ([], [1], [2])
    assert not schedule.wake("poll:y")


def test_work_that_asks_for_it_runs_again() -> None:
    runs: list[datetime] = []

    def work(stop: threading.Event) -> datetime | None:
        runs.append(datetime.now(UTC))
        return datetime.now(UTC) if len(runs) < 3 else None

    schedule = Schedule(ZoneInfo("UTC"))
    schedule.start()
    schedule.add("poll:x", work, Times(every=HOUR))
    wait_until(lambda: len(runs) == 3)
    schedule.stop()


@pytest.mark.parametrize(
    ("line", "after", "fires"),
    [
        ("0 9 * * mon", "2026-01-01T00:00", "2026-01-05T09:00"),  # 1 January 2026 is a Thursday
        ("0 9 * * 1", "2026-01-01T00:00", "2026-01-05T09:00"),
        ("0 9 * * 0", "2026-01-01T00:00", "2026-01-04T09:00"),
        ("0 0 13 * fri", "2026-01-01T00:00", "2026-01-02T00:00"),
        ("0 0 13 * *", "2026-01-01T00:00", "2026-01-13T00:00"),
        ("*/5 8-18 * * mon-fri", "2026-01-02T18:57", "2026-01-05T08:00"),
    ],
)
def test_cron_lines_fire_as_crontab_says_in_the_zone_of_the_settings(line: str, after: str, fires: str) -> None:
    zone = ZoneInfo("Asia/Ho_Chi_Minh")
    at = datetime.fromisoformat(after).replace(tzinfo=zone)
    assert cron_trigger(line, zone).get_next_fire_time(None, at) == datetime.fromisoformat(fires).replace(tzinfo=zone)


def test_what_is_wrong_with_keys_is_noted_until_it_is_well(sqlite_url: str) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    answers: list[Any] = [OSError("unreachable"), ["key 0 (bad) cannot be used: it has no kty"], None]

    class Keys:
        def fetch_keys(self, at: datetime) -> list[str] | None:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]

    with Store.open(sqlite_url) as store:
        fetch = KeyFetch("door", Keys(), note=partial(note_keys, store, "door"), clock=lambda: now[0])
        note(store, "door", "its webhook is gone")
        for says in ("cannot be fetched", "some of its keys cannot be used; key 0 (bad)", ""):
            fetch.run(threading.Event())
            now[0] += timedelta(minutes=1)
            fault = faults(store)["door"]
            assert says in fault
            assert "its webhook is gone" in fault
        assert fault == "its webhook is gone"


def test_keys_are_asked_for_once_in_a_while() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    asked: list[datetime] = []

    class Keys:
        def fetch_keys(self, at: datetime) -> None:
            asked.append(at)
            if len(asked) == 1:
                raise OSError("unreachable")

    fetch = KeyFetch("desk", Keys(), clock=lambda: now[0])
    stop = threading.Event()
    assert fetch.run(stop) == now[0] + timedelta(seconds=30)
    assert fetch.run(stop) == now[0] + timedelta(seconds=10)
    now[0] += timedelta(seconds=30)
    assert fetch.run(stop) is None
    assert len(asked) == 2
