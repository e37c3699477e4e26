"""What every conformance suite of sources does: it keeps the ledger, and asks for the suites of all that the source can do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from syncd import registry
from syncd.connector import Connector
from syncd.signals import Signal, place_of
from syncd.testing import sweep_checks
from syncd.testing.ledger import SourceLedger
from syncd.testing.vendor import Vendor

SUITES: dict[Any, type[ConformanceSuite]] = {}
"""What a source can do, as a protocol -> the suite that its test must inherit for it."""


class ConformanceSuite:
    """What all suites share. `connector` is the declaration under test; `covers`: the protocol that a suite is about."""

    connector: ClassVar[Connector[Any, Any]]

    def __init_subclass__(cls, covers: Any = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if covers is not None:
            SUITES[covers] = cls

    @pytest.fixture
    def ledger(self, connect: Callable[..., Any], vendor: Vendor) -> SourceLedger:
        """`connect` may take the ledger's `recall` as its only argument."""
        ledger = SourceLedger(connect=lambda: None, now=vendor.first_moment)
        ledger.connect = _with_recall(connect, ledger)
        introduction = vendor.introduction()
        if introduction is not None:
            ledger.receive(introduction)
        return ledger

    def test_the_suites_cover_what_the_source_can(self, ledger: SourceLedger) -> None:
        source = ledger.connect()
        for protocol, suite in SUITES.items():
            assert isinstance(source, protocol) == isinstance(self, suite), (
                f"{type(source).__name__} and {suite.__name__} do not go together: inherit it exactly if the source is a "
                f"{protocol.__name__}"
            )

    def well_formed(self, signals: Sequence[Signal]) -> None:
        registry.declare_types(self.connector)
        declared = {spec.type for spec in self.connector.signals}
        for signal in signals:
            place_of(signal.type)
            assert not declared.isdisjoint({signal.type, "*"}) or signal.type.startswith("custom."), (
                f"{signal.type} is not declared"
            )
            assert signal.occurred_at.utcoffset() == timedelta(0), "occurred_at must be UTC"
            assert signal.received_at.utcoffset() == timedelta(0), "received_at must be UTC"
            assert signal.title.strip(), "a signal needs a title"
            assert "\n" not in signal.title, "a title is one line"
            faults = list(sweep_checks.faults_of(signal.person))
            assert not faults, "; ".join(faults)


def _with_recall(connect: Callable[..., Any], ledger: SourceLedger) -> Callable[[], Any]:
    takes_recall = bool(inspect.signature(connect).parameters)
    return (lambda: connect(ledger.recall)) if takes_recall else connect
