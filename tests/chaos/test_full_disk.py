"""A full disk: webhooks get 503 and Retry-After, nothing acknowledged is lost, and it goes on by itself when there is space.

Two ways to run out: no process may write beyond a file size (works for any user), and, as root, a small file system.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.harness import Cluster, Daemon
from tests.chaos.load import post, signed
from tests.chaos.processes import fetch, pause, until

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos-disk")]

SMALL = 16_000_000
"""Bytes of the small file system: enough to start on."""


def refused(port: int, cluster: Cluster) -> tuple[int, str]:
    """What one more event gets."""
    event = cluster.vendor.event()
    body = event.body(padding=20_000)
    status, retry_after, _ = post(port, body, signed(body, f"msg_{event.mark}"))
    if status == 200:
        cluster.vendor.acked[event.mark] = event
    return status, retry_after


def not_ready(daemon: Daemon) -> str:
    """What `/readyz` answers, with its status; "" while all is well."""
    try:
        fetch(f"{daemon.url}/readyz")
    except urllib.error.HTTPError as answer:
        return f"{answer.code}: {answer.read().decode()}"
    return ""


def run_out_and_recover(cluster: Cluster, daemon: Daemon, name: str, space: Iterator[None]) -> None:
    """`space`: its first step takes the space away, its second gives it back."""
    cluster.vendor.start()
    cluster.vendor.acked_at_least(30)
    next(space)
    until(lambda: refused(daemon.port, cluster)[0] == 503, "the disk is full")
    acked = len(cluster.vendor.acked)
    for _ in range(20):
        status, retry_after = refused(daemon.port, cluster)
        assert status in (200, 503)
        assert status == 200 or int(retry_after) > 0
    pause(1)
    cluster.audit_store()
    # A small write may still find room where a large one did not, until that is used up, too.
    why = until(lambda: not_ready(daemon), "it says that it is not ready")
    assert why.startswith("503: "), why
    assert "disk" in why or "file failed" in why, why
    assert daemon.alive
    next(space)
    cluster.vendor.acked_at_least(acked + 20)
    cluster.vendor.stop()
    cluster.settle(30)  # well within a lease: what could not be given back is taken up again
    said = [line for line in daemon.text.splitlines() if '"level":"error"' in line]
    assert said
    assert len(said) < 40, "a full disk fills the log"
    statuses = dict(cluster.vendor.statuses)
    cluster.summary(name, cluster.audit(unconfirmed=True), statuses=statuses, error_lines=len(said))
    assert daemon.ends() == 0


def limited(daemon: Daemon, database: Path) -> Iterator[None]:
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    wal = Path(f"{database}-wal")
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (wal.stat().st_size + 50_000, hard))
    yield
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (soft, hard))
    yield


def test_no_more_may_be_written(tmp_path: Path, sqlite_url: str) -> None:
    with Cluster(tmp_path, sqlite_url, seed=91, poll="5s") as cluster:
        daemon = cluster.start().ready()
        cluster.polls()
        run_out_and_recover(cluster, daemon, "no more may be written", limited(daemon, tmp_path / "syncd.db"))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def filled(disk: Path) -> Iterator[None]:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    yield
    ballast.unlink()
    yield


def test_the_disk_is_full(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        Cluster(tmp_path, f"sqlite:///{disk / 'syncd.db'}", seed=92, every=0.05, poll="5s") as cluster,
    ):
        daemon = cluster.start().ready()
        cluster.polls()
        run_out_and_recover(cluster, daemon, "the disk is full", filled(disk))
