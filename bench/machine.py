"""What the figures were measured on: without it they mean nothing elsewhere."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from syncd import __version__


def facts(folder: Path) -> list[str]:
    """Lines about this machine; `folder` is on the disk that databases are tried on."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    memory = psutil.virtual_memory().total / 2**30
    return [
        f"syncd {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()} "
        f"{platform.release()}",
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB; fsync {fsync(folder) * 1000:.2f} ms; load {load}",
        "ratios carry over to other machines, absolute figures do not; a busy machine (load beyond its cores) spoils both",
    ]


def fsync(folder: Path, times: int = 50) -> float:
    """Seconds that a small durable write takes, median."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
