"""A private PostgreSQL for tests, chaos and benchmarks: made afresh in a temporary directory, on a free loopback port.

As root it runs as `postgres` or `nobody` (PostgreSQL refuses root). fsync stays on: durability is what is tested.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOW_TO_GET = "PostgreSQL is not installed: apt-get install postgresql"
START_WITHIN = 60.0


class NoPostgres(Exception):
    """There is no PostgreSQL here; the text says how to get it."""


@dataclass(frozen=True)
class Server:
    """A running server. `url` is the maintenance database's; `data` its directory."""

    url: str
    port: int
    data: Path
    process: subprocess.Popen[bytes]

    def database(self, name: str) -> str:
        return self.url.rpartition("/")[0] + f"/{name}"


def postgres_program(name: str) -> str:
    """The path of one of PostgreSQL's programs, of the newest version. Raises NoPostgres."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        raise NoPostgres(HOW_TO_GET)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as: us, or for root somebody PostgreSQL accepts."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL does not run as root, and there is no user postgres or nobody")


@contextmanager
def postgres_server(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A running server, ended and removed at the end. `settings`: more of postgresql.conf. Raises NoPostgres."""
    initdb, postgres, account = postgres_program("initdb"), postgres_program("postgres"), _account()
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    data, log = home / "data", home / "log"
    if account is not None:
        os.chown(home, account.pw_uid, account.pw_gid)
    who = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    try:
        made = [initdb, "-D", str(data), "-U", "syncd", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=home, **who)  # type: ignore[call-overload]
        port = free_port()
        options = {
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(home),
            "max_connections": "120",
            "shared_buffers": "64MB",
            **(settings or {}),
        }
        command = [postgres, "-D", str(data), *(part for pair in options.items() for part in ("-c", "=".join(pair)))]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=home, **who)  # type: ignore[call-overload]
        server = Server(f"postgresql+psycopg://syncd@127.0.0.1:{port}/postgres", port, data, process)
        try:
            _wait_until_ready(server, log)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: clients are disconnected
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


class NoBouncer(Exception):
    """There is no PgBouncer here; the text says how to get it."""


@contextmanager
def transaction_pooler(server: Server) -> Iterator[str]:
    """PgBouncer in transaction mode before a server, two server connections for everybody; the URL of the maintenance database
    through it. Raises NoBouncer."""
    program, account = shutil.which("pgbouncer", path=f"/usr/sbin:{os.environ.get('PATH', '')}"), _account()
    if program is None:
        raise NoBouncer("PgBouncer is not installed: apt-get install pgbouncer")
    home = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    who = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    port = free_port()
    lines = [
        "[databases]",
        f"* = host=127.0.0.1 port={server.port} user=syncd",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        "pool_mode = transaction",
        "default_pool_size = 2",
        "max_client_conn = 200",
    ]
    (home / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
    if account is not None:
        os.chown(home, account.pw_uid, account.pw_gid)
        os.chown(home / "pgbouncer.ini", account.pw_uid, account.pw_gid)
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # type: ignore[call-overload]
            [program, str(home / "pgbouncer.ini")], stdout=output, stderr=output, cwd=home, **who
        )
    pooled = Server(f"postgresql+psycopg://syncd@127.0.0.1:{port}/postgres", port, home, process)
    try:
        _wait_until_ready(pooled, log)
        yield pooled.url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_ready(server: Server, log: Path) -> None:
    import psycopg

    deadline, pause = time.monotonic() + START_WITHIN, threading.Event()
    while True:
        try:
            with psycopg.connect(plain_url(server.url), connect_timeout=5):
                return
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise NoPostgres(f"PostgreSQL did not start: {log.read_text()[-2000:]}") from None
            pause.wait(0.05)


def plain_url(url: str) -> str:
    """The URL as libpq reads it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def execute(url: str, *statements: str) -> None:
    """Runs statements, each by itself (CREATE DATABASE allows no transaction)."""
    import psycopg

    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
