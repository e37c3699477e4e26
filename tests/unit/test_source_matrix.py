"""The table of odd inputs names checks that exist, and every source is in it."""

from __future__ import annotations

import pytest

from syncd import registry
from syncd.testing import (
    BackfillConformance,
    HintConformance,
    PollingConformance,
    WebhookConformance,
)
from tests.source_matrix import COLUMNS, FAILED, NOT_APPLICABLE, OK, checks, shown, source_of, table

SUITES = (WebhookConformance, PollingConformance, HintConformance, BackfillConformance)


def test_every_check_of_a_column_exists() -> None:
    there = {name for suite in SUITES for name in dir(suite)}
    assert {name.partition("[")[0].partition(" ")[0] for name in checks()} <= there


def test_every_source_is_tried(request: pytest.FixtureRequest) -> None:
    items = request.session.items
    if not any("tests/integration/" in item.nodeid and source_of(item) == "zendesk" for item in items):
        return  # a part of the tests runs; the whole run looks
    assert set(registry.names("source")) <= {source_of(item) for item in items}


def test_a_cell_is_what_became_of_all_its_checks() -> None:
    one, other = COLUMNS["duplicate"][:2]
    cells = table({"a": {one: True}, "b": {one: True, other: False}, "c": {}})
    assert [row["duplicate"] for row in cells.values()] == [OK, FAILED, NOT_APPLICABLE]
    assert "FAIL" in shown(cells)
