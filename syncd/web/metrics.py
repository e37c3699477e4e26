"""/metrics: Prometheus text from a registry of our own, filled when it is read.

The daemon hands in what only it knows (the books, lags) as callables; the hot path pays nothing for being measured but a
dictionary's increment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from syncd import __version__
from syncd.intake.counts import Counts

MEDIA_TYPE = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the balance sheet: how many signals of a channel are in a state at a destination. `state` "signals" is
    the other side: how many there are in all."""

    destination: str
    channel: str
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How long ago (seconds) a source was last read well, and its failures in a row."""

    source: str
    seconds: float
    failures: int


@dataclass(frozen=True, slots=True)
class Reloads:
    """How reloads of the configuration ended since the start. `failed`: what lies there now is not in force."""

    applied: int = 0
    refused: int = 0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found last: of a source or destination (`role`), how much was amiss, and when (seconds since 1970)."""

    role: str
    name: str
    amiss: int
    at: float


def no_results() -> Iterable[Verified]:
    return ()


def no_lines() -> Iterable[Line]:
    return ()


def no_lags() -> Iterable[Lag]:
    return ()


class Gauges(Collector):
    """Reads everything at the moment it is asked."""

    def __init__(
        self,
        counts: Counts,
        depth: Callable[[], int],
        waiting: Callable[[], int],
        books: Callable[[], Iterable[Line]] = no_lines,
        lags: Callable[[], Iterable[Lag]] = no_lags,
        reloads: Callable[[], Reloads] = Reloads,
        verified: Callable[[], Iterable[Verified]] = no_results,
    ) -> None:
        self._counts = counts
        self._depth = depth
        self._waiting = waiting
        self._books = books
        self._lags = lags
        self._reloads = reloads
        self._verified = verified

    def describe(self) -> Iterable[Metric]:
        return ()  # what there is depends on the configuration

    def collect(self) -> Iterator[Metric]:
        yield _gauge("syncd_build_info", "Always 1; the version is a label.", {"version": __version__}, 1)
        yield _gauge("syncd_journal_depth", "Entries waiting for a group commit.", {}, self._depth())
        yield _gauge("syncd_webhooks_in_flight", "Webhook requests being answered.", {}, self._waiting())
        answers = CounterMetricFamily("syncd_webhooks", "Webhook requests by answer.", labels=["source", "status"])
        for (source, status), count in sorted(self._counts.answers.items()):
            answers.add_metric([source, str(status)], count)
        yield answers
        yield _by_source("syncd_signals", "New signals stored.", self._counts.fresh)
        yield _by_source("syncd_signal_repeats", "Signals that we already had.", self._counts.repeats)
        polls = CounterMetricFamily("syncd_polls", "Polls by how they ended.", labels=["source", "outcome"])
        for (source, outcome), count in sorted(self._counts.polls.items()):
            polls.add_metric([source, outcome], count)
        yield polls
        yield from self._source_lags()
        yield from self._configuration()
        yield from self._verifications()
        books = GaugeMetricFamily(
            "syncd_deliveries",
            "The balance sheet: state `signals` is the sum of all other states.",
            labels=["destination", "channel", "state"],
        )
        for line in self._books():
            books.add_metric([line.destination, line.channel, line.state], line.count)
        yield books

    def _configuration(self) -> Iterator[Metric]:
        now = self._reloads()
        text = "1 while the configuration that lies there is not in force."
        yield _gauge("syncd_config_reload_failed", text, {}, int(now.failed))
        reloads = CounterMetricFamily("syncd_config_reloads", "Reloads by how they ended.", labels=["outcome"])
        reloads.add_metric(["applied"], now.applied)
        reloads.add_metric(["refused"], now.refused)
        yield reloads

    def _verifications(self) -> Iterator[Metric]:
        labels = ["role", "name"]
        amiss = GaugeMetricFamily("syncd_verify_amiss", "What `verify` found amiss last, unmended.", labels=labels)
        at = GaugeMetricFamily("syncd_verify_timestamp_seconds", "When `verify` ended last.", labels=labels)
        for one in self._verified():
            amiss.add_metric([one.role, one.name], one.amiss)
            at.add_metric([one.role, one.name], one.at)
        yield amiss
        yield at

    def _source_lags(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("syncd_source_lag_seconds", "Since a source was last read well.", labels=["source"])
        failures = GaugeMetricFamily("syncd_source_failures", "Failures of a source in a row.", labels=["source"])
        for item in self._lags():
            lag.add_metric([item.source], item.seconds)
            failures.add_metric([item.source], item.failures)
        yield lag
        yield failures


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


def _by_source(name: str, text: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["source"])
    for source, count in sorted(values.items()):
        family.add_metric([source], count)
    return family
