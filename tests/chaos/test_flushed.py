"""kill -9 does not test fsync: strace shows that the data of each webhook was flushed to disk before its 200 was written."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.chaos.harness import Cluster
from tests.chaos.processes import until
from tests.servers import Server

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-flushed")]

POSTS = 25
SYSCALLS = "read,recvfrom,recvmsg,write,writev,sendto,sendmsg,fsync,fdatasync,pwrite64,pwritev"
_LINE = re.compile(r"(?:(?P<tid>\d+) +)?(?P<at>\d+\.\d+) (?P<rest>.*)")


@dataclass(frozen=True)
class Step:
    """A system call that has ended: when it began and ended, and its text."""

    began: float
    at: float
    text: str


def steps(trace: str) -> list[Step]:
    """The calls of a trace in the order in which they ended; interrupted lines of one thread are joined."""
    found: list[Step] = []
    begun: dict[str, tuple[float, str]] = {}
    for line in trace.splitlines():
        matched = _LINE.match(line)
        if matched is None:
            continue
        tid, at, rest = matched["tid"] or "", float(matched["at"]), matched["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[tid] = (at, rest.removesuffix("<unfinished ...>"))
        elif rest.startswith("<... "):
            began, first = begun.pop(tid, (at, ""))
            found.append(Step(began, at, first + rest.partition("resumed>")[2]))
        else:
            found.append(Step(at, at, rest))
    return sorted(found, key=lambda step: step.at)


def flushed_before_each_200(web: list[Step], flushes: list[Step]) -> int:
    """How many POSTs were answered; AssertionError for one without a flush that began after it came and ended before its 200."""
    answered = 0
    came = 0.0
    for step in web:
        if '"POST /webhooks/' in step.text:
            came = step.at
        elif '"HTTP/1.1 200' in step.text and came:
            inside = [flush for flush in flushes if came <= flush.began and flush.at <= step.began]
            assert inside, f"a 200 without a flush: {step.text}"
            answered += 1
            came = 0.0
    return answered


def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed: apt-get install strace")
    return found


def attach(pid: int, output: Path) -> subprocess.Popen[bytes]:
    """Traces a process with all its threads and children, those of today and those to come."""
    pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    log = output.with_suffix(".log")
    with log.open("wb") as said:
        command = [strace(), "-f", "-ttt", "-y", "-s", "32", "-e", f"trace={SYSCALLS}", "-o", str(output)]
        command += [part for one in pids for part in ("-p", str(one))]
        process = subprocess.Popen(command, stderr=said)
    until(lambda: process.poll() is not None or log.read_text().count("attached") >= len(pids), "strace has attached")
    if process.poll() is not None:
        pytest.skip(f"strace may not trace here: {log.read_text().strip()}")
    return process


def detach(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)


def test_sqlite_is_flushed_before_each_200(tmp_path: Path, sqlite_url: str) -> None:
    with Cluster(tmp_path, sqlite_url, seed=71, poll="1h", destinations={}) as cluster:
        daemon = cluster.start().ready()
        trace = tmp_path / "trace"
        tracer = attach(daemon.pid, trace)
        try:
            cluster.vendor.post_some(POSTS)
        finally:
            detach(tracer)
        done = steps(trace.read_text())
        wal = str(tmp_path / "syncd.db-wal")
        flushes = [s for s in done if re.match(rf"f(data)?sync\(\d+<{re.escape(wal)}>\s*\) += 0", s.text)]
        assert flushed_before_each_200(done, flushes) == POSTS
        print(f"\nflushed before the 200, SQLite: {POSTS} posts, {len(flushes)} flushes of the WAL")


def test_postgresql_is_flushed_before_each_200(tmp_path: Path, postgres: Server, postgres_url: str) -> None:
    """The server's processes flush its WAL between the arrival of the POST and our 200; the clock is the machine's."""
    with Cluster(tmp_path, postgres_url, seed=72, poll="1h", destinations={}) as cluster:
        server = attach(postgres.process.pid, tmp_path / "server")  # before its backends are born
        daemon = cluster.start().ready()
        web = attach(daemon.pid, tmp_path / "web")
        try:
            cluster.vendor.post_some(POSTS)
        finally:
            detach(web)
            daemon.ends()
            detach(server)
        flushes = [
            s
            for s in steps((tmp_path / "server").read_text())
            if re.match(r"f(data)?sync\(\d+<.*/pg_wal/\w+>\s*\) += 0", s.text)
        ]
        assert flushed_before_each_200(steps((tmp_path / "web").read_text()), flushes) == POSTS
        print(f"\nflushed before the 200, PostgreSQL: {POSTS} posts, {len(flushes)} flushes of the WAL")
