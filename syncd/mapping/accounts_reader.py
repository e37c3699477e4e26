"""Reads the part `deals:` of a mapping: which open deal is meant."""

from __future__ import annotations

from typing import Any

from syncd.connector import DealPick
from syncd.mapping.parts import DealsPart
from syncd.mapping.reader import MappingReader

DEALS_KEYS = ("pick",)


def read_deals(reader: MappingReader, node: Any) -> DealsPart:
    """The part as it could be understood."""
    parts = reader.keys(node, ("deals",), DEALS_KEYS)
    return DealsPart(DealPick(reader.choice(parts, ("deals",), "pick", list(DealPick), DealPick.NEWEST)))
