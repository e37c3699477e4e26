"""Daemons that share a PostgreSQL call out to each other when there is new work: LISTEN and NOTIFY, as a hint only.

The daemon starts one. Promise: no commit waits for it (a thread of its own calls out, for all commits since the last call at
once), nothing is lost with it (everybody looks by himself every few seconds too), and a broken connection is made again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text

from syncd.store.engine import connect_alone, is_pooled
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.journal.group_commit import WakeUp

if TYPE_CHECKING:
    from syncd.store.store import Store

log = structlog.get_logger(__name__)

CHANNEL = "syncd_work"
LONGEST = 7_900
"""Bytes of a payload: PostgreSQL takes 8,000."""
LISTEN_FOR = 1.0
AGAIN = 5.0


class PgNotifier:
    """Announces what `notify` is given, and tells `heard` what other daemons call. On SQLite it does nothing."""

    def __init__(self, store: Store, heard: Callable[[WakeUp], None]) -> None:
        self._store = store
        self._heard = heard
        self._stop = threading.Event()
        self._wake = threading.Condition()
        self._waiting = WakeUp()
        self._threads: list[threading.Thread] = []
        self.listening = threading.Event()
        """Set while a connection listens."""

    def start(self) -> None:
        if self._store.postgresql:
            works = {"syncd-calls": self._call, "syncd-hears": self._hear}
            self._threads = [threading.Thread(target=work, name=name, daemon=True) for name, work in works.items()]
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Returns within a few seconds."""
        self._stop.set()
        with self._wake:
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(LISTEN_FOR + AGAIN)

    def notify(self, wake_up: WakeUp) -> None:
        """There is new work. Quick: a listener of the journal."""
        if self._threads and (wake_up.destinations or wake_up.hints):
            with self._wake:
                self._waiting |= wake_up
                self._wake.notify_all()

    def _call(self) -> None:
        while not self._stop.is_set():
            with self._wake:
                self._wake.wait_for(lambda: bool(self._waiting) or self._stop.is_set())
                wake_up, self._waiting = self._waiting, WakeUp()
            if wake_up:
                notify_now(self._store, wake_up)

    def _hear(self) -> None:
        while not self._stop.is_set():
            try:
                with connect_alone(self._store.engine) as connection:
                    if is_pooled(connection):
                        log.info("not listening for other machines through a pooler; each looks every few seconds")
                        return
                    connection.execute(f"LISTEN {CHANNEL}")
                    self.listening.set()
                    while not self._stop.is_set():
                        for notice in connection.notifies(timeout=LISTEN_FOR, stop_after=100):
                            self._tell(notice.payload)
            except Exception as error:  # noqa: BLE001  gone, or not to be had: the lanes look by themselves
                log.warning("not listening for other machines; they are found by looking", why=_one_line(error))
                self.listening.clear()
                self._stop.wait(AGAIN)

    def _tell(self, payload: str) -> None:
        holder, wake_up = decode_payload(payload)
        if holder == self._store.holder or not wake_up:
            return
        try:
            self._heard(wake_up)
        except Exception:
            log.exception("a listener failed")


def notify_now(store: Store, wake_up: WakeUp) -> None:
    """Tells running daemons once: for commands beside them, after their commit. On SQLite it does nothing; never raises."""
    if not store.postgresql:
        return
    words = {"channel": CHANNEL, "said": encode_payload(store.holder, wake_up)}
    try:
        store.apply(lambda connection: connection.execute(text("SELECT pg_notify(:channel, :said)"), words))
    except StoreUnavailable as error:  # whoever commits says so; others find the work by looking
        log.debug("other daemons not notified of new work", why=str(error))


def encode_payload(holder: str, wake_up: WakeUp) -> str:
    """The payload. One that would be too long names no destination but only that there is work, "*"."""
    whole = json.dumps({"from": holder, "to": sorted(wake_up.destinations), "hints": wake_up.hints})
    if len(whole) <= LONGEST:
        return whole
    return json.dumps({"from": holder, "to": [EVERYBODY], "hints": wake_up.hints})


EVERYBODY = "*"
"""As a destination: every lane has work, and there may be jobs."""


def decode_payload(payload: str) -> tuple[str, WakeUp]:
    """(who, what); nothing for what an older or newer syncd, or a stranger, wrote otherwise."""
    try:
        told = json.loads(payload)
        return str(told["from"]), WakeUp(frozenset(map(str, told["to"])), bool(told["hints"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return "", WakeUp()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
