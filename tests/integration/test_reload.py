"""A configuration is edited while the daemon runs: what is valid takes over, what is not changes nothing, and no request is
dropped on the way."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from sqlalchemy import create_engine, func, select, text

from syncd.config.loading import load_settings
from syncd.dispatch.pacing import Pace
from syncd.observability.logs import set_up_logs
from syncd.service import reload
from syncd.service.daemon import Daemon
from syncd.store.balance import balance, unbalanced
from syncd.store.lanes import put_pace
from syncd.store.schema import deliveries
from tests.chaos.processes import until
from tests.user_folder import UserFolder, lay_out

FORMS = {"type": "webhook", "verify": {"scheme": "bearer", "secret": "${file:secret}"}, "format": "cloudevents"}
SECRET = "s3cret"
MAPPING = """\
rules:
  - id: archive
    signals: ["*"]
    upsert: signals
    key: key
    fields: {id: "{{ signal.id }}", title: "TITLE"}
"""


class Rig:
    """A daemon on a configuration that the test edits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"
        self.log = io.StringIO()
        (folder / "secret").write_text("s3cret\n", "utf-8")
        self.mapping("{{ signal.title }}")
        self.config: dict[str, Any] = {
            "server": {"listen": "127.0.0.1:0"},
            "channels": {"custom": {"*": True}},
            "sources": {"forms": FORMS},
            "destinations": {"archive": self.database("archive")},
        }
        self.save()
        set_up_logs(stream=self.log, as_json=True)
        self.daemon = Daemon(load_settings(self.path))
        self.daemon.start()

    def database(self, name: str, **keys: Any) -> dict[str, Any]:
        return {"type": "database", "url": f"sqlite:///{self.folder / name}.db", "mapping": "own.yaml", **keys}

    def save(self, **changes: Any) -> None:
        """Writes the file as an editor does, with these top-level keys changed."""
        self.config |= changes
        beside = self.folder / ".config.yaml"
        beside.write_text(json.dumps(self.config), "utf-8")  # JSON is YAML
        beside.replace(self.path)

    def mapping(self, title: str) -> None:
        (self.folder / "own.yaml").write_text(MAPPING.replace("TITLE", title), "utf-8")

    def reload(self, **changes: Any) -> None:
        self.save(**changes)
        assert self.daemon.reload(), self.daemon.reloads.fault

    def post(self, number: int | str, source: str = "forms", secret: str = SECRET, title: str = "") -> int:
        event = {
            "specversion": "1.0",
            "id": str(number),
            "source": "shop",
            "type": "order",
            "subject": title or "Order",
        }
        return requests.post(
            f"{self.daemon.url}/webhooks/{source}",
            json=event | {"time": "2026-11-22T06:00:00Z", "data": {"person": {"email": f"p{number}@example.org"}}},
            headers={"authorization": f"Bearer {secret}", "content-type": "application/cloudevents+json"},
            timeout=20,
        ).status_code

    def rows(self, name: str = "archive") -> list[str]:
        """The titles that have arrived at a destination."""
        if not (self.folder / f"{name}.db").exists():
            return []
        engine = create_engine(f"sqlite:///{self.folder / name}.db")
        try:
            with engine.connect() as connection:
                if not connection.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'signals'")).first():
                    return []
                return list(connection.execute(text("SELECT title FROM signals ORDER BY title")).scalars())
        finally:
            engine.dispose()

    def waiting(self, name: str) -> int:
        with self.daemon.store.read() as connection:
            query = select(func.count()).select_from(deliveries).where(deliveries.c.destination == name)
            return connection.execute(query).scalar_one()

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.log.getvalue().splitlines()) if line["event"] == event]

    def page(self, path: str) -> requests.Response:
        return requests.get(self.daemon.url + path, timeout=20)

    def metric(self, line: str) -> float:
        found = [row for row in self.page("/metrics").text.splitlines() if row.startswith(line + " ")]
        return float(found[0].rpartition(" ")[2])


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at only when the test asks for a reload."""
    monkeypatch.setattr(reload, "LOOK_EVERY", 3600.0)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.daemon.stop()
    assert "bug of ours" not in made.log.getvalue()
    assert "tripped" not in made.log.getvalue()


def arrive(rig: Rig, titles: list[str], name: str = "archive") -> None:
    until(lambda: rig.rows(name) == titles, f"{titles} in {name}, there are {rig.rows(name)}")


@pytest.mark.usefixtures("by_hand")
def test_no_request_is_dropped_by_ten_reloads_under_load(rig: Rig) -> None:
    """Sources, destinations, switches and the mapping change while four vendors post without a pause."""
    stop = threading.Event()
    answers: dict[str, int] = {}

    def vendor(name: int) -> None:
        number = 0
        while not stop.is_set():
            answers[f"{name}-{number}"] = rig.post(f"{name}-{number}")
            number += 1

    kept = rig.daemon.intake.sources["forms"]
    extra = {"mail": {"type": "maildir", "path": str(rig.folder / "Maildir"), "poll": "1h"}, "other": FORMS}
    with ThreadPoolExecutor(4) as pool:
        vendors = [pool.submit(vendor, name) for name in range(4)]
        try:
            for round_ in range(10):
                enough = len(answers) + 20
                until(lambda enough=enough: len(answers) > enough, "the load goes on")  # type: ignore[misc]
                rig.mapping("{{ signal.title }}" + " again" * (round_ % 2))
                rig.reload(
                    sources={"forms": FORMS, **(extra if round_ % 2 else {})},
                    channels={"custom": {"*": True}, "calls": {"missed": bool(round_ % 2)}},
                    destinations={
                        "archive": rig.database("archive"),
                        **({"second": rig.database("second")} if round_ % 3 else {}),
                    },
                )
        finally:
            stop.set()
        for one in vendors:
            one.result()
    assert set(answers.values()) == {200}
    assert rig.daemon.intake.sources["forms"] is kept
    until(lambda: len(rig.rows()) == len(answers) and not rig.waiting("archive"), "everything arrives, once")
    assert unbalanced(balance(rig.daemon.store)) == []
    assert rig.metric('syncd_config_reloads_total{outcome="applied"}') == 10


@pytest.mark.usefixtures("by_hand")
def test_what_is_unchanged_goes_on_and_what_is_changed_begins_anew(rig: Rig) -> None:
    rig.reload(destinations={"archive": rig.database("archive"), "second": rig.database("second")})
    lanes, sources = dict(rig.daemon.lanes), dict(rig.daemon.intake.sources)
    rig.reload(destinations={"archive": rig.database("archive"), "second": rig.database("second", only=["call.*"])})
    assert rig.daemon.lanes["archive"] is lanes["archive"]
    assert rig.daemon.lanes["second"] is not lanes["second"]
    rig.reload(sources={"forms": FORMS, "new": FORMS}, channels={"custom": {"*": True}, "calls": {"missed": True}})
    assert rig.daemon.lanes["archive"] is lanes["archive"]
    assert rig.daemon.intake.sources["forms"] is sources["forms"]
    rig.reload(timezone="Asia/Ho_Chi_Minh")
    assert rig.daemon.lanes["archive"] is not lanes["archive"], "dates in records are others now"
    assert rig.daemon.intake.sources["forms"] is not sources["forms"]
    rig.post(1)
    arrive(rig, ["Order"])


@pytest.mark.usefixtures("by_hand")
def test_a_lane_that_waits_for_a_mending_begins_anew(rig: Rig) -> None:
    """Nothing of it changed but the world: the reload is how its owner says so."""
    lane = rig.daemon.lanes["archive"]
    rig.post(0)
    arrive(rig, ["Order"])  # it has begun: what it finds at its beginning it takes for mended
    state = msgspec.json.encode(
        Pace(stopped=True, paused_until=rig.daemon.store.now() + 3_600_000, reason="no such key")
    )
    with rig.daemon.store.write() as connection:
        until_ = rig.daemon.store.now() + 3_600_000
        put_pace(connection, "archive", state, paused_until=until_, reason="no such key", code="", failures=0, now=0)
    rig.reload()
    assert rig.daemon.lanes["archive"] is not lane
    rig.post(1)
    arrive(rig, ["Order", "Order"])


@pytest.mark.usefixtures("by_hand")
def test_a_removed_destination_parks_and_one_that_comes_back_goes_on(rig: Rig) -> None:
    both = {
        "archive": rig.database("archive"),
        "second": {**rig.database("second"), "url": "sqlite:////proc/no/file.db"},
    }
    rig.reload(destinations=both)
    assert rig.post(1) == 200
    arrive(rig, ["Order"])
    assert rig.waiting("second") == 1
    rig.reload(destinations={"archive": both["archive"]})
    assert rig.post(2) == 200
    arrive(rig, ["Order", "Order"])
    assert rig.waiting("second") == 1, "parked, and nothing new"
    rig.reload(destinations={"archive": both["archive"], "second": rig.database("second")})
    with rig.daemon.store.write() as connection:
        connection.execute(deliveries.update().values(due_at=0))  # its retry, at once
    rig.daemon.lanes["second"].wake()
    arrive(rig, ["Order"], "second")
    until(lambda: not rig.waiting("second"), "it is settled")


@pytest.mark.usefixtures("by_hand")
def test_a_new_destination_starts_with_signals_from_now(rig: Rig) -> None:
    assert rig.post(1, title="before") == 200
    arrive(rig, ["before"])
    rig.reload(destinations={"archive": rig.database("archive"), "late": rig.database("late")})
    assert rig.post(2, title="after") == 200
    arrive(rig, ["after"], "late")
    assert {(line.destination, line.signals) for line in balance(rig.daemon.store)} == {("archive", 2), ("late", 1)}


@pytest.mark.usefixtures("by_hand")
def test_an_invalid_file_changes_nothing_and_is_shown_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay_out(tmp_path, capsys, monkeypatch)
    rig = Rig(folder.path)
    try:
        lanes, good = dict(rig.daemon.lanes), dict(rig.config)
        rig.save(colour="red", channels={"custom": {"*": False}, "calls": {"mised": True}})
        assert not rig.daemon.reload()
        assert not rig.daemon.reload()
        (refused,) = rig.logged("configuration refused; the former one stays in force")
        assert [fault.partition(" ")[2].split(":")[0] for fault in refused["faults"]] == [
            "channels.calls.mised",
            "colour",
        ]
        assert len(rig.logged("configuration still refused; the former one stays in force")) == 1
        assert (rig.post(1), rig.daemon.lanes) == (200, lanes)
        arrive(rig, ["Order"])
        degraded = rig.page("/readyz").json()["degraded"]
        assert len(degraded) == 2
        assert all(line.startswith("configuration not in force: ") for line in degraded)
        assert rig.metric("syncd_config_reload_failed") == 1
        assert rig.metric('syncd_config_reloads_total{outcome="refused"}') == 2
        shows_refused(folder, degraded)
        rig.config = good
        rig.reload()
        assert (rig.page("/readyz").json()["degraded"], rig.metric("syncd_config_reload_failed")) == ([], 0)
        assert "not in force" not in folder.done("status").err
        folder.write("config.yaml", "database: sqlite:///./syncd.db\n  oops: [")
        assert not rig.daemon.reload()
        assert "not in force" in folder.done("status").err, "not even YAML"
    finally:
        rig.daemon.stop()
    ran = folder.syncd("status")
    assert (ran.code, "oops" in ran.err or "config.yaml:2" in ran.err) == (2, True), (
        "nobody runs: the fault is the answer"
    )


def shows_refused(folder: UserFolder, lines: list[str]) -> None:
    told = folder.done("--json", "status").record
    assert told["advice"][: len(lines)] == lines
    assert [row["type"] for row in told["destinations"]] == ["database"]
    assert [row["type"] for row in told["sources"]] == ["webhook"]
    assert "colour" in folder.done("status").err


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"server": {"listen": "127.0.0.1:1"}}, "server.listen"),
        ({"server": {"listen": "127.0.0.1:0", "public_url": "https://a.example"}}, "server.public_url"),
        ({"database": "sqlite:///./other.db"}, "database"),
        ({"secret_key": "another"}, "secret_key"),
    ],
)
def test_what_only_a_restart_changes_is_refused_in_one_line(rig: Rig, change: dict[str, Any], key: str) -> None:
    rig.save(**change, channels={})
    assert not rig.daemon.reload()
    (line,) = rig.daemon.reloads.fault.splitlines()
    assert f" {key}: a change needs a restart (" in line
    assert rig.daemon.settings.channels == {"custom": {"*": True}}, "none of it is in force"


@pytest.mark.usefixtures("by_hand")
def test_limits_of_the_door_take_over_too(rig: Rig) -> None:
    rig.reload(server={"listen": "127.0.0.1:0", "max_body": 1024})
    assert rig.post(1, title="x" * 2000) == 413


def test_saved_files_take_over_by_themselves(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "LOOK_EVERY", 0.02)

    def taken(change: Callable[[], object]) -> None:
        before = rig.daemon.reloads.applied
        change()
        until(lambda: rig.daemon.reloads.applied > before, "the change is seen")

    taken(lambda: rig.mapping("mapped: {{ signal.title }}"))
    assert rig.post(1) == 200
    arrive(rig, ["mapped: Order"])
    taken(lambda: (rig.folder / "secret").write_text("another", "utf-8"))
    assert (rig.post(2), rig.post(2, secret="another")) == (401, 200)
    taken(lambda: rig.save(sources={"forms": FORMS, "more": FORMS}))
    assert rig.post(3, "more", secret="another") == 200
    arrive(rig, ["mapped: Order"] * 3)
    rig.mapping("{{ signal.titel }}")
    until(lambda: rig.daemon.reloads.fault, "the fault is seen")
    assert "own.yaml:6" in rig.daemon.reloads.fault
    taken(lambda: rig.mapping("mended"))
    assert rig.daemon.reloads.fault == ""


def test_a_new_mapping_that_is_faulty_is_watched_until_it_is_mended(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "LOOK_EVERY", 0.02)
    rig.save(destinations={"archive": rig.database("archive", mapping="next.yaml")})
    until(lambda: "next.yaml" in rig.daemon.reloads.fault, "the fault is seen")
    (rig.folder / "next.yaml").write_text(MAPPING.replace("TITLE", "next"), "utf-8")
    until(lambda: rig.daemon.reloads.applied == 1, "it is mended")
    rig.post(1)
    arrive(rig, ["next"])
