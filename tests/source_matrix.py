"""Prints which odd inputs each source is tried with: `make matrix`, or `python -m tests.source_matrix [--json] [TESTS...]`.

It runs the conformance suites of all sources and makes a table of their results: a row for each source, a column for each kind
of input. "ok": tried, by every route that the source has; "n/a": the source has no route on which it can happen, or its stand-in
cannot bring it about; "FAILED".
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from syncd.connector import Connector

TESTS = Path(__file__).parent
OK, FAILED, NOT_APPLICABLE = "ok", "FAILED", "n/a"
BODY = "test_no_body_breaks_the_parser"
TROUBLE = "test_trouble_at_the_vendor_only_delays"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "duplicate": (
        "test_an_authentic_request_brings_its_event_once",
        "test_everything_after_the_start_is_seen_once",
        "test_a_hint_answered_twice_makes_one_signal",
    ),
    "replayed": ("test_parsing_is_pure", "test_one_event_has_one_id_on_all_routes"),
    "out of order": ("test_the_order_of_events_does_not_matter", "test_events_that_appear_during_a_sweep_are_read"),
    "two in a body": ("test_a_wrong_event_harms_no_other",),
    "1,000 in a body": ("test_a_thousand_events_of_one_body_bring_what_each_brings",),
    "wrong item": ("test_a_wrong_event_harms_no_other", "test_a_wrong_item_of_the_list_harms_no_other"),
    "unknown type": ("test_a_spoilt_event_is_understood_or_malformed", "test_a_wrong_item_of_the_list_harms_no_other"),
    "empty": (f"{BODY}[0]",),
    "truncated": (f"{BODY}[1]",),
    "not UTF-8": (f"{BODY}[7]",),
    "huge": (f"{BODY}[11]",),
    "wrong signature": ("test_what_is_not_authentic_is_refused",),
    "stale": ("test_an_old_request_is_refused",),
    "restart": ("test_death_between_any_two_batches_loses_nothing", "test_a_stopped_backfill_goes_on"),
    "lost cursor": ("test_a_forgotten_page_token_loses_nothing",),
    "429": (f"{TROUBLE} throttle",),
    "5xx or cut": (f"{TROUBLE} break_once",),
    "token expiry": (f"{TROUBLE} expire_token",),
    "clock skew": ("test_our_clock_may_be_wrong", "test_our_clock_is_not_part_of_the_id"),
    "time zone": (
        "test_the_time_zone_of_the_machine_does_not_matter",
        "test_the_time_zone_of_the_machine_does_not_matter_to_a_poll",
    ),
}
"""Kind of input -> the checks of the conformance kit that try it."""


def checks() -> set[str]:
    """Every check that a column names."""
    return {name for names in COLUMNS.values() for name in names}


def source_of(item: pytest.Item) -> str:
    """The source whose conformance a test is about, "" for any other test."""
    connector = getattr(getattr(item, "cls", None), "connector", None)
    return connector.name if isinstance(connector, Connector) and connector.role == "source" else ""


def check_of(item: pytest.Item) -> str:
    """The check that a test is, whatever variants of the source it is run with."""
    name = str(getattr(item, "originalname", "") or item.name)
    call = getattr(item, "callspec", None)
    return f"{name}[{call.params['body']}]" if name == BODY and call is not None else name


class Results:
    """Collects, as a plugin of pytest, what became of each check of each source."""

    def __init__(self) -> None:
        self.check_of: dict[str, tuple[str, str]] = {}
        self.seen: dict[str, dict[str, bool]] = defaultdict(dict)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        wanted = [item for item in items if self._of(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted

    def _of(self, item: pytest.Item) -> bool:
        """Whether it is a check of a source; notes which."""
        source, check = source_of(item), check_of(item)
        if not source or not (check in checks() or check == TROUBLE):
            return False
        self.check_of[item.nodeid] = source, check
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        if report.nodeid not in self.check_of or report.skipped:
            return
        source, name = self.check_of[report.nodeid]
        tried = [f"{name} {what}" for key, what in report.user_properties if key == "trouble"]
        for check in tried if name == TROUBLE and report.passed else [name]:
            self.seen[source][check] = self.seen[source].get(check, True) and report.passed
        if name == TROUBLE and report.failed:
            self.seen[source].update(dict.fromkeys((f"{TROUBLE} throttle", f"{TROUBLE} break_once"), False))


def table(seen: Mapping[str, Mapping[str, bool]]) -> dict[str, dict[str, str]]:
    """Source -> column -> cell."""
    return {
        source: {column: _cell(seen[source], names) for column, names in COLUMNS.items()} for source in sorted(seen)
    }


def _cell(of_source: Mapping[str, bool], names: Sequence[str]) -> str:
    results = [of_source[name] for name in names if name in of_source]
    if not results:
        return NOT_APPLICABLE
    return OK if all(results) else FAILED


def shown(cells: Mapping[str, Mapping[str, str]]) -> str:
    """The table for a terminal; the names of the columns stand above it, by number."""
    legend = [f"{number:2} {column}" for number, column in enumerate(COLUMNS, 1)]
    width = max((len(source) for source in cells), default=0)
    head = " " * width + "".join(f"{number:>5}" for number in range(1, len(COLUMNS) + 1))
    marks = {OK: "ok", FAILED: "FAIL", NOT_APPLICABLE: "n/a"}
    rows = [source.ljust(width) + "".join(f"{marks[row[c]]:>5}" for c in COLUMNS) for source, row in cells.items()]
    return "\n".join([*legend, "", head, *rows])


def main(arguments: Sequence[str]) -> int:
    """Runs and prints. 1 if a check failed."""
    results = Results()
    chosen: list[Any] = [one for one in arguments if not one.startswith("-")]
    quiet = ["-q", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-p", "no:xdist"]
    status = pytest.main([*quiet, *(chosen or [str(TESTS / "unit"), str(TESTS / "integration")])], plugins=[results])
    cells = table(results.seen)
    sys.stdout.write((json.dumps(cells, indent=2) if "--json" in arguments else f"\n{shown(cells)}") + "\n")
    return int(status != pytest.ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
