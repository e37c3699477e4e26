"""The time zone of the machine that a test runs on, set for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

FAR_APART = ("Pacific/Kiritimati", "Pacific/Pago_Pago")
"""Zones that are a day and an hour apart (UTC+14 and UTC-11)."""


@contextmanager
def zone_of_the_machine(monkeypatch: pytest.MonkeyPatch, zone: str) -> Iterator[None]:
    """Sets it within the `with`."""
    with monkeypatch.context() as within:
        within.setenv("TZ", zone)
        time.tzset()
        try:
            yield
        finally:
            within.undo()
            time.tzset()
