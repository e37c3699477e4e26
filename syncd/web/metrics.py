"""/metrics: Prometheus text from a registry of our own, filled when it is read.

The daemon hands in what only it knows (the balance sheet, lags) as callables; the hot path pays nothing for being measured but a
dictionary's increment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from syncd import __version__
from syncd.errors import SyncdError
from syncd.intake.counts import Counts
from syncd.observability.call_stats import CallStats
from syncd.observability.histogram import Histogram

MEDIA_TYPE = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True)
class BalanceSample:
    """One line of the balance sheet: how many signals of a channel are in a state at a destination. `state` "signals" is
    the other side: how many there are in all; it is shown as a metric of its own, so that states can be summed."""

    destination: str
    channel: str
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How long ago (seconds) a source was last read well (None: never), its failures in a row, and when (seconds since 1970) it
    last brought a new signal."""

    source: str
    seconds: float | None
    failures: int
    last_signal: float | None = None


@dataclass(frozen=True, slots=True)
class Reloads:
    """How reloads of the configuration ended since the start. `failed`: the file on disk is not in force."""

    applied: int = 0
    refused: int = 0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class VerificationSample:
    """What `verify` found last: of a source or destination (`role`), how many differences, and when (seconds since 1970)."""

    role: str
    name: str
    amiss: int
    at: float


def no_results() -> Iterable[VerificationSample]:
    return ()


@dataclass(frozen=True, slots=True)
class LaneNow:
    """How a destination fares. `spent`: units in the last 24 hours; `quota`: our share of the allowance, None: no limit known;
    `used`, `maximum`: of the account, as the vendor last said."""

    destination: str
    paused: bool = False
    breaker: str = "closed"
    failures: int = 0
    held_rules: int = 0
    spent: float = 0.0
    quota: float | None = None
    unit: str = ""
    used: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class StoreGauges:
    """What the store says of itself. Keys: `oldest` destination, `receipts` (source, state), `jobs` (kind, state), `people`
    destination. `books_age`: seconds since the balance sheet was counted. `free` None: only the server knows."""

    oldest: Mapping[str, float] = field(default_factory=dict)
    receipts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    jobs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    people: Mapping[str, int] = field(default_factory=dict)
    books_age: float = 0.0
    size: int = 0
    free: int | None = None
    retained_seconds: float = 0.0


Commits = tuple[Histogram, Histogram]
"""Entries of a group commit, and its seconds."""


def no_lanes() -> Iterable[LaneNow]:
    return ()


def no_lines() -> Iterable[BalanceSample]:
    return ()


def no_lags() -> Iterable[Lag]:
    return ()


LANE_GAUGES: tuple[tuple[str, str, Callable[[LaneNow], float | None]], ...] = (
    ("syncd_destination_paused", "1 while nothing is sent, whatever the reason.", lambda lane: int(lane.paused)),
    (
        "syncd_destination_breaker_open",
        "1 while a destination rests after failed calls.",
        lambda lane: int(lane.breaker == "open"),
    ),
    ("syncd_destination_failures", "Failed calls in a row.", lambda lane: lane.failures),
    ("syncd_rules_held", "Mapping rules that name what the CRM does not know.", lambda lane: lane.held_rules),
    ("syncd_spent_units", "Units of the vendor's allowance that we spent in 24 hours.", lambda lane: lane.spent),
    ("syncd_quota_units", "Units that we may spend in 24 hours.", lambda lane: lane.quota),
)
ALLOWANCE_GAUGES: tuple[tuple[str, str, Callable[[LaneNow], float | None]], ...] = (
    ("syncd_allowance_used", "What the whole account has used, as the vendor last said.", lambda lane: lane.used),
    ("syncd_allowance_maximum", "What the account may use, as the vendor last said.", lambda lane: lane.maximum),
)


class Gauges(Collector):
    """Reads everything at the moment it is asked."""

    def __init__(
        self,
        counts: Counts,
        depth: Callable[[], int],
        waiting: Callable[[], int],
        books: Callable[[], Iterable[BalanceSample]] = no_lines,
        lags: Callable[[], Iterable[Lag]] = no_lags,
        reloads: Callable[[], Reloads] = Reloads,
        *,
        verified: Callable[[], Iterable[VerificationSample]] = no_results,
        lanes: Callable[[], Iterable[LaneNow]] = no_lanes,
        stored: Callable[[], StoreGauges] = StoreGauges,
        commits: Commits | None = None,
        meter: CallStats | None = None,
    ) -> None:
        self._counts = counts
        self._depth = depth
        self._waiting = waiting
        self._books = books
        self._lags = lags
        self._reloads = reloads
        self._verified = verified
        self._lanes = lanes
        self._stored = stored
        self._commits = commits
        self._meter = meter or CallStats()

    def describe(self) -> Iterable[Metric]:
        return ()  # what there is depends on the configuration

    def collect(self) -> Iterator[Metric]:
        yield _gauge("syncd_build_info", "Always 1; the version is a label.", {"version": __version__}, 1)
        yield _gauge("syncd_journal_depth", "Entries waiting for a group commit.", {}, self._depth())
        yield _gauge("syncd_webhooks_in_flight", "Webhook requests being answered.", {}, self._waiting())
        yield _counter("syncd_webhooks", "Webhook requests by answer.", ["source", "status"], self._counts.answers)
        yield _by_source("syncd_signals", "New signals stored.", self._counts.fresh)
        yield _by_source("syncd_signal_repeats", "Signals that we already had.", self._counts.repeats)
        yield _counter("syncd_polls", "Polls by how they ended.", ["source", "outcome"], self._counts.polls)
        yield from self._configuration()
        yield from self._group_commits()
        yield from self._calls()
        try:
            told = [
                *self._source_lags(),
                *self._books_told(),
                *self._lanes_told(),
                *self._stored_told(),
                *self._verifications(),
            ]
        except SyncdError:  # the counters above are worth showing all the same
            told = []
        yield _gauge(
            "syncd_store_available",
            "1 while the database answers; the figures from it are absent else.",
            {},
            int(bool(told)),
        )
        yield from told

    def _group_commits(self) -> Iterator[Metric]:
        if self._commits is None:
            return
        sizes, seconds = self._commits
        for name, text, spread in (
            ("syncd_commit_entries", "Entries of a group commit.", sizes),
            ("syncd_commit_duration_seconds", "How long a group commit took, to the disk.", seconds),
        ):
            family = HistogramMetricFamily(name, text)
            family.add_metric([], *spread.read())
            yield family

    def _calls(self) -> Iterator[Metric]:
        yield _counter(
            "syncd_calls",
            "Calls of a destination by how they ended: answered, or a failure class.",
            ["destination", "operation", "outcome"],
            self._meter.calls,
        )
        yield _counter(
            "syncd_write_outcomes",
            "Records that were sent, by outcome: written, or a failure class.",
            ["destination", "outcome"],
            self._meter.outcomes,
        )
        yield _counter(
            "syncd_people_lookups",
            "People needed: known from the cache, or asked for.",
            ["destination", "result"],
            self._meter.people,
        )
        durations = HistogramMetricFamily(
            "syncd_call_duration_seconds", "How long calls of a destination took.", labels=["destination"]
        )
        for destination, spread in sorted(self._meter.seconds.items()):
            durations.add_metric([destination], *spread.read())
        yield durations

    def _books_told(self) -> Iterator[Metric]:
        labels = ["destination", "channel"]
        books = GaugeMetricFamily(
            "syncd_deliveries", "Signals by their outcome at a destination.", labels=[*labels, "state"]
        )
        accepted = GaugeMetricFamily("syncd_books_signals", "Signals taken on for a destination.", labels=labels)
        differences = GaugeMetricFamily(
            "syncd_books_difference", "Signals less the sum of all states: 0, always.", labels=labels
        )
        sums: dict[tuple[str, str], int] = {}
        for line in self._books():
            key = (line.destination, line.channel)
            if line.state == "signals":
                accepted.add_metric(list(key), line.count)
                sums[key] = sums.get(key, 0) + line.count
            else:
                books.add_metric([*key, line.state], line.count)
                sums[key] = sums.get(key, 0) - line.count
        for key, difference in sorted(sums.items()):
            differences.add_metric(list(key), difference)
        yield from (books, accepted, differences)

    def _lanes_told(self) -> Iterator[Metric]:
        lanes = list(self._lanes())
        labels = ["destination"]
        for name, text, value in LANE_GAUGES:
            family = GaugeMetricFamily(name, text, labels=labels)
            for lane in lanes:
                told = value(lane)
                if told is not None:
                    family.add_metric([lane.destination], told)
            yield family
        for name, text, value in ALLOWANCE_GAUGES:
            family = GaugeMetricFamily(name, text, labels=["destination", "unit"])
            for lane in lanes:
                told = value(lane)
                if told is not None:
                    family.add_metric([lane.destination, lane.unit], told)
            yield family

    def _stored_told(self) -> Iterator[Metric]:
        now = self._stored()
        for name, text, labels, values in (
            (
                "syncd_oldest_pending_age_seconds",
                "Since the oldest pending delivery of a destination came.",
                ["destination"],
                {(name,): age for name, age in now.oldest.items()},
            ),
            (
                "syncd_receipts",
                "Hints waiting to be fetched (pending) and bodies that could not be parsed (quarantined).",
                ["source", "state"],
                now.receipts,
            ),
            ("syncd_jobs", "Backfills, imports and replays by state.", ["kind", "state"], now.jobs),
            (
                "syncd_people_cached",
                "People remembered of a destination.",
                ["destination"],
                {(name,): count for name, count in now.people.items()},
            ),
        ):
            family = GaugeMetricFamily(name, text, labels=labels)
            for key, count in sorted(values.items()):
                family.add_metric(list(key), count)
            yield family
        text = "Age of the balance sheet: with millions of signals it is not counted for every scrape."
        yield _gauge("syncd_books_age_seconds", text, {}, now.books_age)
        yield _gauge("syncd_database_size_bytes", "Size of the database.", {}, now.size)
        if now.free is not None:
            yield _gauge("syncd_disk_free_bytes", "Space left on the disk of the SQLite file.", {}, now.free)
        text = "Age of the oldest signal that retention may take."
        yield _gauge("syncd_oldest_purgeable_age_seconds", text, {}, now.retained_seconds)

    def _configuration(self) -> Iterator[Metric]:
        now = self._reloads()
        text = "1 while the configuration file on disk is not in force."
        yield _gauge("syncd_config_reload_failed", text, {}, int(now.failed))
        reloads = CounterMetricFamily("syncd_config_reloads", "Reloads by how they ended.", labels=["outcome"])
        reloads.add_metric(["applied"], now.applied)
        reloads.add_metric(["refused"], now.refused)
        yield reloads

    def _verifications(self) -> Iterator[Metric]:
        labels = ["role", "name"]
        amiss = GaugeMetricFamily(
            "syncd_verify_amiss", "Differences that `verify` found last and that are not fixed.", labels=labels
        )
        at = GaugeMetricFamily("syncd_verify_timestamp_seconds", "When `verify` ended last.", labels=labels)
        for one in self._verified():
            amiss.add_metric([one.role, one.name], one.amiss)
            at.add_metric([one.role, one.name], one.at)
        yield amiss
        yield at

    def _source_lags(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("syncd_source_lag_seconds", "Since a source was last read well.", labels=["source"])
        failures = GaugeMetricFamily("syncd_source_failures", "Failures of a source in a row.", labels=["source"])
        last = GaugeMetricFamily(
            "syncd_source_last_signal_timestamp_seconds", "When a source last brought a new signal.", labels=["source"]
        )
        for item in self._lags():
            failures.add_metric([item.source], item.failures)
            if item.seconds is not None:
                lag.add_metric([item.source], item.seconds)
            if item.last_signal is not None:
                last.add_metric([item.source], item.last_signal)
        yield from (lag, failures, last)


def registry_of(gauges: Gauges) -> CollectorRegistry:
    """A registry with our gauges and the process's own (memory, CPU, open files)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(gauges)
    ProcessCollector(registry=registry)
    return registry


def page(registry: CollectorRegistry) -> bytes:
    return generate_latest(registry)


def _gauge(name: str, text: str, labels: dict[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[Any, int]) -> Metric:
    """One sample a key; keys are tuples, parallel to `labels`."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in sorted(values.items()):
        family.add_metric([str(part) for part in key], count)
    return family


def _by_source(name: str, text: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["source"])
    for source, count in sorted(values.items()):
        family.add_metric([source], count)
    return family
