"""Taking turns at the interpreter, of which one thread at a time can have the use.

A thread that wants it asks for it when it has waited for `sys.setswitchinterval`, one figure for all threads. Whoever waits is
also woken, in vain, each time the event loop lets go of it for the moment of a system call, and then begins to wait again: with
turns longer than a request takes it is woken ten times before it gets in, and each time costs both of them. The journal's
writer, for whom the doors wait, keeps turns short while it has work; the lanes do well with long ones.
"""

from __future__ import annotations

import ctypes
import sys

USUAL = 0.0002  # seconds; Python's own 5 ms would make a writer queue too long at each of its statements
SOON = 0.000005

_PR_SET_TIMERSLACK = 29  # linux/prctl.h


def relaxed_timers() -> None:
    """For a process that answers requests, while nothing is being committed."""
    sys.setswitchinterval(USUAL)


def eager_timers() -> None:
    """Until the next `relaxed_timers`: whoever waits for the interpreter asks for it almost at once."""
    sys.setswitchinterval(SOON)


def precise_timers() -> None:
    """For the calling thread: the kernel may wake it 1 ns late, not 50 µs, which is ten times SOON. Linux alone knows
    this; elsewhere nothing happens."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl is not None:
        prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
