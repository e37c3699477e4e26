"""The recipes of docs/webhook-recipes.md: each body shown there becomes the signal that its configuration promises."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncd.config.loading import parse_settings
from syncd.connector import Context, Request
from syncd.connectors.generic.webhook import CONNECTOR
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal

PAGE = Path(__file__).parents[2] / "docs" / "webhook-recipes.md"
SECTIONS = re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(yaml|json)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SHOWN = [(title, body) for title, body in SECTIONS if "```json" in body]


def made(body: str) -> Signal:
    """The signal of a section's body, by its configuration."""
    blocks = dict(BLOCK.findall(body))
    settings = parse_settings(blocks["yaml"], PAGE.with_name("config.yaml"), {}, need_secrets=False).settings
    assert settings is not None
    ((name, entry),) = settings.sources.items()
    source: Any = CONNECTOR.build(
        entry.connector, Context(name=name, tokens=MemoryTokens(), switches=frozenset({"web.visited"}))
    )
    headers = {"content-type": "application/json"}
    batch = source.parse(Request("POST", "https://syncd.example.com/webhooks/x", headers, blocks["json"].encode(), NOW))
    (signal,) = batch.signals
    assert settings.switch(signal.type)
    assert json.loads(blocks["json"])
    assert isinstance(signal, Signal)
    return signal


@pytest.mark.parametrize(
    ("number", "kind", "title", "email"),
    [
        (0, "custom.order", "Order A-1007", "ann@example.com"),
        (1, "web.visited", "Visited https://posthog.com", "max@posthog.com"),
    ],
)
def test_the_body_shown_becomes_a_signal(number: int, kind: str, title: str, email: str) -> None:
    signal = made(SHOWN[number][1])
    assert (signal.type, signal.title, signal.person.email) == (kind, title, email)
    assert signal.id == made(SHOWN[number][1]).id
    assert signal.occurred_at < datetime(2026, 3, 2, 9, 1, tzinfo=UTC)
