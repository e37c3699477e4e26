"""Calls that many ask for at once become one now and one later: news of an idle watcher, webhooks that ask for a poll."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any


class SpacedCalls:
    """`call` at once for the first `wake`, then not before `spacing` has passed: what comes meanwhile is one call at its end."""

    def __init__(self, call: Callable[[], Any], spacing: timedelta) -> None:
        self._call = call
        self._spacing = spacing.total_seconds()
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._timer: threading.Timer | None = None
        self._ended = False

    def wake(self) -> None:
        with self._lock:
            wait = self._free_at - time.monotonic()
            if self._ended or self._timer is not None:
                return
            if wait > 0:
                self._timer = threading.Timer(wait, self._later)
                self._timer.daemon = True
                self._timer.start()
                return
            self._free_at = time.monotonic() + self._spacing
        self._call()

    def end(self) -> None:
        with self._lock:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()

    def _later(self) -> None:
        with self._lock:
            self._timer = None
            self._free_at = time.monotonic() + self._spacing
            if self._ended:
                return
        self._call()
