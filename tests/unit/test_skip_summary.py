"""What a run says at its end of what it could not test."""

from __future__ import annotations

import pytest

from tests.conftest import skip_reason


@pytest.mark.parametrize(
    "longrepr", [("tests/a.py", 3, "Skipped: Dovecot is not installed"), "Skipped: Dovecot is not installed"]
)
def test_the_reason_of_a_skip(longrepr: object) -> None:
    assert skip_reason(longrepr) == "Dovecot is not installed"
