"""A private PostgreSQL on a free loopback port, made afresh and thrown away: for tests and benchmarks.

Runs as the user who runs the tests (as `postgres` when that is root, whom PostgreSQL refuses).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

STARTED_WITHIN = 30.0


def _binary(name: str) -> str:
    found = shutil.which(name)
    if found:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not versions:
        raise RuntimeError(f"PostgreSQL's {name} is needed by the tests: apt-get install postgresql")
    return str(versions[-1])


def _as_postgres(command: Sequence[str]) -> list[str]:
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def postgres_server(*settings: str) -> Iterator[str]:
    """The URL of an empty database `test`. `settings`: more of postgresql.conf, as `name=value`."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data, port = folder / "data", _free_port()
    initdb = [_binary("initdb"), "-D", str(data), "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(_as_postgres(initdb), check=True, capture_output=True, cwd=folder)
    options = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}
    more = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    more += [part for setting in settings for part in ("-c", setting)]
    log = (folder / "log").open("wb")
    command = _as_postgres([_binary("postgres"), "-D", str(data), *more])
    server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        yield _ready(f"postgresql+psycopg://test@127.0.0.1:{port}", folder / "log")
    finally:
        stop = [_binary("pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop"]
        subprocess.run(_as_postgres(stop), check=False, capture_output=True, cwd=folder)
        server.wait(10)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _ready(server: str, log: Path) -> str:
    engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    deadline = time.monotonic() + STARTED_WITHIN
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("CREATE DATABASE test")
            return f"{server}/test"
        except sa.exc.OperationalError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text()[-500:]}") from None
            time.sleep(0.05)
