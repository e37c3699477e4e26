"""Tells systemd how the service is: sd_notify's datagrams to NOTIFY_SOCKET, and what it expects of a watchdog.

The daemon, its reload and its watchdog call it. Promise: without systemd nothing happens; a message that cannot be sent harms
no one (failure policy: open). Protocol: the manual page sd_notify(3).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)

SOCKET = "NOTIFY_SOCKET"
READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"
LONGEST_STATUS = 300


def notify(*lines: str, env: Mapping[str, str] = os.environ) -> bool:
    """Sends the lines as one message; False when no socket listens. A socket's name that begins with `@` is an abstract one."""
    name = env.get(SOCKET, "")
    if not name.startswith(("/", "@")):
        return False
    address = "\0" + name[1:] if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as outlet:
            outlet.settimeout(5)
            outlet.connect(address)
            outlet.send("\n".join(lines).encode())
    except OSError as error:
        log.warning("cannot notify systemd", why=str(error))
        return False
    return True


def status(text: str) -> str:
    """The line that `systemctl status` shows."""
    return "STATUS=" + " ".join(text.split())[:LONGEST_STATUS]


def reloading() -> tuple[str, str]:
    """The lines for the beginning of a reload; its end is READY. The stamp is CLOCK_MONOTONIC's, in microseconds."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_seconds(env: Mapping[str, str] = os.environ) -> float | None:
    """Within how many seconds systemd wants to hear ALIVE again; None when it does not, or means another process."""
    micros, process = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
    if not micros.isdigit() or int(micros) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(micros) / 1_000_000
