"""Fixtures everybody shares: a database of each kind, one test at a time."""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from syncd.http import refreshing
from syncd.runtime import known_secrets
from syncd.store import Store
from tests.servers import NoBouncer, NoPostgres, Server, execute, postgres_server, transaction_pooler

# How long an example takes is no property of ours: a busy machine must not fail a test.
settings.register_profile("syncd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("syncd"), max_examples=8)
settings.load_profile("quick" if os.environ.get("SYNCD_QUICK") else "syncd")

_serial = itertools.count(1)
TEMPLATE = "template_syncd"


@pytest.fixture(autouse=True)
def _as_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging, masked secrets and rests of token endpoints belong to a process: a test must not hand them on to the next.
    A stand-in may get the port of an earlier one, and with it the rest of its token endpoint."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(known_secrets, "_kept", {})
    monkeypatch.setattr(known_secrets, "_from_vendors", {})
    monkeypatch.setattr(known_secrets, "_passing", type(known_secrets._passing)())
    monkeypatch.setattr(refreshing, "_blocked", {})
    # A daemon in the test's process must not write into the standard output of a command in the same process.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def pytest_configure() -> None:
    """A shell that runs `make test &` lets it ignore SIGINT, and every process it starts inherits that: then no test could
    interrupt one."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A private PostgreSQL for the whole run, with a template database that has our tables."""
    try:
        with postgres_server() as server:
            execute(server.url, f"CREATE DATABASE {TEMPLATE}")
            Store.open(server.database(TEMPLATE)).close()
            yield server
    except NoPostgres as error:
        pytest.skip(str(error))


@pytest.fixture
def empty_postgres_url(postgres: Server) -> Iterator[str]:
    """A new database without any table."""
    yield from _database(postgres, "template1")


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """A new database with our tables, empty."""
    yield from _database(postgres, TEMPLATE)


@pytest.fixture(scope="session")
def pgbouncer(postgres: Server) -> Iterator[Callable[[str], str]]:
    """Turns a URL of our PostgreSQL into one through a PgBouncer in transaction mode."""
    try:
        with transaction_pooler(postgres) as url:
            pooler = url.rpartition("/")[0]
            yield lambda direct: f"{pooler}/{direct.rpartition('/')[2]}"
    except NoBouncer as error:
        pytest.skip(str(error))


def _database(server: Server, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_serial)}"
    execute(server.url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.database(name)
    execute(server.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A new SQLite file, not there yet."""
    return f"sqlite:///{tmp_path / 'syncd.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A database of its own for this test, on SQLite and again on PostgreSQL."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """A database without our tables, of each kind."""
    fixture = "sqlite_url" if request.param == "sqlite" else "empty_postgres_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture
def open_store(store_url: str) -> Iterator[Callable[..., Store]]:
    """Opens stores on this test's database (the keywords of `Store.open`); they are closed at the end."""
    stores: list[Store] = []

    def opened(**options: object) -> Store:
        store = Store.open(store_url, **options)  # type: ignore[arg-type]
        stores.append(store)
        return store

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    """An open store with a key."""
    return open_store(key_source="k" * 40)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says last what this machine could not test, and how it could."""
    reasons = Counter(skip_reason(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    if reasons:
        terminalreporter.section("not tested on this machine", yellow=True)
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:5} tests: {reason}")


def skip_reason(longrepr: object) -> str:
    text = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    return re.sub(r"^Skipped: ", "", text)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything a test could miss is installed: there a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("SYNCD_NO_SKIPS") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("skipped tests, and SYNCD_NO_SKIPS is set: see their reasons", red=True)
        session.exitstatus = 1
