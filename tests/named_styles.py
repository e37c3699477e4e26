"""Verifiers by the name of a style, general or a vendor's."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.connector import Verifier
from syncd.connectors.signature_styles import STYLES
from syncd.signatures import verifier as made
from syncd.signatures.styles import Style

__all__ = ["STYLES", "verifier"]


def verifier(style: Style | str, secrets: Sequence[str]) -> Verifier:
    """`syncd.signatures.verifier.verifier` for any style."""
    return made.verifier(STYLES[style] if isinstance(style, str) else style, secrets)
