"""Dashboard and alert rules speak of metrics that a running daemon shows, with labels that it gives them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.processes import until
from tests.watched import watched

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "docs" / "monitoring"
NAME = re.compile(r"\b(?:syncd|process)_[a-z_]+\b")
SELECTED = re.compile(r"(\w+)\{([^}]*)\}")
WITHOUT_SAMPLE = {
    "syncd_quota_units",
    "syncd_allowance_used",
    "syncd_allowance_maximum",
    "syncd_people_cached",
    "syncd_people_lookups_total",
    "syncd_verify_amiss",
    "syncd_verify_timestamp_seconds",
}
"""A database has no allowance and no people, and nobody has verified: these have a HELP line and no sample here."""


def expressions() -> list[str]:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))
    board = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return found + [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Metric]]:
    with watched(tmp_path_factory.mktemp("watched"), level="info") as rig:
        for number in (1, 2, 2):
            assert rig.post(number) == 200
        assert rig.post(3, secret="wrong") == 401
        assert rig.post_raw("{") == 200, "and in quarantine"
        rig.daemon.store.jobs.create("replay", "archive", {})
        until(lambda: 'syncd_polls_total{outcome="ok"' in rig.page("/metrics").text, "the inbox was polled")
        rig.delivered(2)
        yield list(text_string_to_metric_families(rig.page("/metrics").text))


def samples(scraped: list[Metric]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for family in scraped:
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


def test_every_metric_spoken_of_exists(scraped: list[Metric]) -> None:
    declared = {family.name + "_total" * (family.type == "counter") for family in scraped}
    there = set(samples(scraped)) | (declared & WITHOUT_SAMPLE)
    spoken = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(spoken) > 30
    assert spoken - there == set()


def test_every_label_spoken_of_exists(scraped: list[Metric]) -> None:
    there = samples(scraped)
    for expression in expressions():
        for name, selector in SELECTED.findall(expression):
            known = {label for labels in there.get(name, ()) for label in labels}
            if known:  # a metric without samples here has no labels to compare
                assert set(re.findall(r"(\w+)\s*=", selector)) <= known, expression


def test_all_of_ours_is_shown_somewhere(scraped: list[Metric]) -> None:
    """What is measured is on the dashboard or in a rule: else it is a cost without a use."""
    text = " ".join(expressions())
    ours = [family.name for family in scraped if family.name.startswith("syncd_")]
    assert [name for name in ours if name not in text] == []


def test_names_follow_the_conventions(scraped: list[Metric]) -> None:
    for family in scraped:
        if not family.name.startswith("syncd_"):
            continue
        assert family.documentation.endswith("."), family.name
        assert not re.search(r"_(ms|millis|milliseconds|minutes|percent|kb|mb)\b", family.name)
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
    assert not {label for labels in samples(scraped).values() for one in labels for label in one} - {
        *(
            "source",
            "destination",
            "channel",
            "state",
            "status",
            "outcome",
            "operation",
            "result",
            "kind",
            "unit",
            "le",
        ),
        *("version",),
    }, "labels of few values only: no id, no address, no path"


def test_what_the_scrape_says(scraped: list[Metric]) -> None:
    told = {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in scraped for sample in family.samples
    }
    here = ("destination", "archive")
    assert told["syncd_store_available",] == 1
    assert told["syncd_webhooks_total", ("source", "forms"), ("status", "401")] == 1
    assert told["syncd_signals_total", ("source", "forms")] == 2
    assert told["syncd_signal_repeats_total", ("source", "forms")] == 1
    assert told["syncd_books_difference", ("channel", "custom"), here] == 0
    assert told["syncd_books_signals", ("channel", "custom"), here] == 2
    assert told["syncd_write_outcomes_total", here, ("outcome", "written")] == 2
    assert told["syncd_calls_total", here, ("operation", "send"), ("outcome", "answered")] >= 1
    assert told["syncd_call_duration_seconds_count", here] >= 1
    assert told["syncd_commit_duration_seconds_count",] >= 3
    assert told["syncd_oldest_pending_age_seconds", here] == 0
    assert told["syncd_database_size_bytes",] > 0


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=[rule["alert"] for rule in rules()])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    said = rule["annotations"]
    assert said["summary"].endswith(".")
    assert said["action"].endswith(".")
    assert rule["labels"]["severity"] in ("warning", "critical")
    page, _, anchor = said["docs"].partition("#")
    heads = re.findall(r"^#+ (.+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert anchor in {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}
    faq = (ROOT / page).read_text("utf-8")
    assert rule["alert"] in faq


def test_promtool_takes_rules_and_expressions(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    board = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    made = {"groups": [{"name": "board", "rules": [{"record": f"b:{n}", "expr": e} for n, e in enumerate(asked)]}]}
    (tmp_path / "board.yaml").write_text(yaml.safe_dump(made), "utf-8")
    for file in (MONITORING / "alerts.yaml", tmp_path / "board.yaml"):
        done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
