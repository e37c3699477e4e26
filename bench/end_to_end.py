"""Webhook to CRM with everything on, beside the bare ingest and the bare push of the same run, in interleaved rounds.

`python -m bench.end_to_end [salesforce|zoho ...]`. Everything: `syncd run` as a process of its own on SQLite, a twin in another
at 50 ms latency, signed webhooks by 64 connections from a third, the shipped mapping, dedupe, logs. From the first post to the
last record at the twin. Bare ingest: the same daemon without a destination. Bare push: the same signals stored beforehand, and
nothing coming in.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.calls import CRMS
from bench.figures import Aim, Figure, Table, workplace
from bench.processes import Daemon, TwinProcess, configuration, daemon, free_port, post, twin
from syncd.store import Store
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.store.queries import Filter, every
from tests.chaos.processes import until

LATENCY = 0.05
PEOPLE = 5000  # of bench.load
KNOWN = 4500
AIM = 60.0
WITHIN = 120.0


@dataclass(frozen=True)
class Way:
    """One measurement: events a second, microseconds of the daemon's processor time for each, and seconds of it that its start
    took."""

    rate: float
    cpu: float
    start: float = 0.0


def ingest(folder: Path, events: int) -> Way:
    """Without any destination. Leaves its database for `push`."""
    port = free_port()
    with daemon(configuration(folder, port), port) as process:
        post(port, 64, "warm")
        cpu = process.cpu
        said = post(port, events, f"r{time.time_ns()}")
        return Way(said["per_second"], (process.cpu - cpu) / events * 1e6)


def push(kind: str, folder: Path, stored: Path, events: int) -> Way:
    """Signals that are stored already: from the start of the lane to the last record. Its processor time has the start in
    it, since the lane is at work before anybody can look."""
    port = free_port()
    with known_people(kind, folder) as crm:
        config = configuration(folder, port, destinations=destination(kind, crm))
        fill(stored / "syncd.db", folder / "syncd.db")
        with daemon(config, port) as process:
            settled(process, folder / "syncd.db", events)
            started = json.loads(next(line for line in process.text.splitlines() if '"ready"' in line))["timestamp"]
            seconds = last_record(crm) - datetime.fromisoformat(started).timestamp()
            return Way(events / seconds, process.cpu / events * 1e6)


def end_to_end(kind: str, folder: Path, events: int) -> Way:
    """From the first post to the last record."""
    port = free_port()
    with known_people(kind, folder) as crm:
        config = configuration(folder, port, destinations=destination(kind, crm))
        Store.open(f"sqlite:///{folder / 'syncd.db'}").close()  # as for the others: no migration in the start
        with daemon(config, port) as process:
            cpu = process.cpu
            post(port, events, f"r{time.time_ns()}")
            settled(process, folder / "syncd.db", events)
            with closing(sqlite3.connect(folder / "syncd.db")) as db:
                (first,) = db.execute("SELECT min(received_at) FROM signals").fetchone()
            seconds = last_record(crm) - first / 1000
            return Way(events / seconds, (process.cpu - cpu) / events * 1e6, cpu)


@contextmanager
def known_people(kind: str, folder: Path) -> Iterator[TwinProcess]:
    """A twin that knows nine people in ten; the others become leads."""
    folder.mkdir(parents=True, exist_ok=True)
    crm = CRMS[kind]
    with twin(kind, folder, LATENCY) as process:
        rows = [{crm.last_name: f"Person {n}", "Email": f"customer{n}@example.com"} for n in range(KNOWN)]
        process.add(crm.contacts, rows)
        yield process


def destination(kind: str, crm: TwinProcess) -> dict[str, Any]:
    found = CRMS[kind]
    return {"crm": {"type": kind, **found.settings, **dict.fromkeys(found.urls, crm.url)}}


def fill(source: Path, target: Path) -> None:
    """The signals of one database into another, each with a delivery to make."""
    with closing(Store.open(f"sqlite:///{source}")) as old, closing(Store.open(f"sqlite:///{target}")) as new:
        arrivals = [NewSignal(found.signal, (InitialDelivery("crm", live=True),)) for found in every(old, Filter())]
        for start in range(0, len(arrivals), 500):
            new.journal.commit(JournalEntry("shop", arrivals[start : start + 500]))


def settled(process: Daemon, database: Path, events: int) -> None:
    """Waits until all of them are delivered."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:

        def done() -> bool:
            assert process.alive, process.text[-3000:]
            (count,) = db.execute("SELECT count(*) FROM settled").fetchone()
            return bool(count >= events)

        until(done, f"{events} events are settled\n{process.text[-2000:]}", WITHIN)
        states = db.execute("SELECT state, count(*) FROM settled GROUP BY state").fetchall()
    assert states == [("delivered", events)], states


def last_record(crm: TwinProcess) -> float:
    """When the twin took the last one."""
    calls = crm.calls()
    assert crm.stats()["doubled"] == {}
    return float(max(call["at"] for call in calls if call["rows"] and call["status"] < 300))


def measure(kind: str, events: int, rounds: int) -> Table:
    """The three ways, `rounds` times, their order changing from round to round."""
    took: dict[str, list[Way]] = {"ingest": [], "push": [], "end to end": []}
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="syncd-bench-", dir=workplace()) as name:
            folder = Path(name)
            took["ingest"].append(ingest(folder / "ingest", events))
            ways = {
                "push": lambda folder=folder: push(kind, folder / "push", folder / "ingest", took_events(folder)),
                "end to end": lambda folder=folder: end_to_end(kind, folder / "all", events),
            }
            for way in sorted(ways, reverse=bool(number % 2)):
                took[way].append(ways[way]())
    shares = [
        100 * whole.rate / min(one.rate, two.rate)
        for one, two, whole in zip(took["ingest"], took["push"], took["end to end"], strict=True)
    ]
    start = statistics.median(whole.start for whole in took["end to end"]) / events * 1e6
    took["push"] = [replace(way, cpu=way.cpu - start) for way in took["push"]]
    figures = [figure(f"{name}, events/s", [way.rate for way in ways], "/s") for name, ways in took.items()]
    figures += [figure(f"{name}, processor time", [way.cpu for way in ways], "µs/event") for name, ways in took.items()]
    figures.append(figure("end to end, of the slower of both", shares, "%", Aim.at_least(AIM)))
    return Table(
        f"end to end: webhook to {kind} at {LATENCY * 1000:.0f} ms, {events:,} events, {rounds} rounds", figures
    )


def took_events(folder: Path) -> int:
    """How many signals the ingest left, those that warmed it up included."""
    with closing(sqlite3.connect(folder / "ingest" / "syncd.db")) as db:
        return int(db.execute("SELECT count(*) FROM signals").fetchone()[0])


def figure(name: str, values: list[float], unit: str, aim: Aim | None = None) -> Figure:
    return Figure(name, statistics.median(values), unit, aim, (min(values), max(values)))


def run(*, quick: bool = False) -> list[Table]:
    """Salesforce alone when it must be quick."""
    if quick:
        return [measure("salesforce", 3000, 1)]
    return [measure(kind, 8000, 3) for kind in CRMS]


if __name__ == "__main__":
    for asked in sys.argv[1:] or CRMS:
        print(measure(asked, 6000, 2))
