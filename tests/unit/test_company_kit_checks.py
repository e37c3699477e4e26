"""The kit passes companies in memory, and each of its checks fails on the destination that makes the mistake it looks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from syncd.errors import Failure
from syncd.testing import CompanyConformance
from syncd.testing.hostile_companies import CompaniesInMemory, CompanyBook, mistakes

MISTAKES = list(mistakes())


class TestCompaniesInMemory(CompanyConformance):
    @pytest.fixture
    def crm(self) -> CompanyBook:
        return CompanyBook()

    @pytest.fixture
    def connect(self, crm: CompanyBook) -> Callable[[], Any]:
        return lambda: CompaniesInMemory(crm.crm)


@pytest.mark.parametrize(("kind", "check"), MISTAKES, ids=[kind.__name__ for kind, _ in MISTAKES])
def test_the_check_finds_the_mistake(kind: type[CompaniesInMemory], check: str) -> None:
    book = CompanyBook()
    method = getattr(CompanyConformance(), check)
    given = {"by": "name"} if "by" in inspect.signature(method).parameters else {}
    with pytest.raises((AssertionError, Failure)):
        method(kind(book.crm), book, **given)


def test_every_check_can_fail() -> None:
    checks = {name for name in dir(CompanyConformance) if name.startswith("test_")}
    assert checks == {check for _, check in MISTAKES}
