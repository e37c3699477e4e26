"""Names this process for the leases it holds, and tells whether another holder's process on this machine has died."""

from __future__ import annotations

import os
import socket
import uuid
from functools import lru_cache
from pathlib import Path


def _machine() -> str:
    """This boot of this machine as this process sees it: process ids of two equal ones can be compared."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if path.endswith("pid") else Path(path).read_text().strip())
        except OSError:  # no Linux: the lease just runs out
            return f"{parts[0]}/{uuid.uuid4().hex[:8]}"
    return f"{parts[0]}/{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(parts)).hex[:8]}"


_MACHINE = lru_cache(maxsize=1)(_machine)


def this_process() -> str:
    """The holder's name: machine:pid:random."""
    return f"{_MACHINE()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"[:200]


def is_dead(holder: str) -> bool:
    """Whether the holder was a process of this machine that is surely gone: its leases are free at once after a kill."""
    machine, _, rest = holder.rpartition(":")[0].rpartition(":")
    if machine != _MACHINE() or not rest.isdigit() or int(rest) == os.getpid():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
