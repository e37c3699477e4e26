"""Servers that several modules read from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dovecot_server import Dovecot, dovecot_server
from tests.mail_rig import Host, beside


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    """A real Dovecot, one a module."""
    with dovecot_server() as running:
        yield running


@pytest.fixture
def host(server: Dovecot, tmp_path: Path) -> Iterator[Host]:
    """A mailbox of its own, and the folder of a syncd that reads it."""
    with beside(server, tmp_path) as host:
        yield host
