"""Waits for the server's word of new mail (IDLE, RFC 2177), one connection a folder. `imap` hands it on to the intake.

Promise: a connection that is lost, or a server that says nothing any more, is noticed and raised; nothing waits longer than
`TURN` without a look at `stop`.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack

from syncd.connectors.mail.imap_hosts import MailHost
from syncd.connectors.mail.imap_session import ImapSession
from syncd.errors import Transient

TURN = 0.5
"""Seconds of one wait."""
ANSWER = 30.0
"""Seconds in which a server that is there says that IDLE is over."""

Open = Callable[[], AbstractContextManager[ImapSession]]


def news(open_one: Open, folders: Sequence[str], host: MailHost, stop: threading.Event) -> Iterator[None]:
    """Yields when waiting has started (something may have come before) and whenever mail may have come. Ends with `stop`, or at
    once where the server cannot do it. Folders beyond what the host bears are left to the polls."""
    with ExitStack() as stack:
        sessions: list[ImapSession] = []
        for folder in folders[: host.waiting]:
            if stop.is_set():
                return
            session = stack.enter_context(open_one())
            if not session.can_idle:
                return
            session.examine(folder)
            session.idle()
            sessions.append(session)
        yield
        began = time.monotonic()
        while not stop.is_set():
            heard = [session.heard() for session in _readable(sessions, TURN)]
            if time.monotonic() - began > host.idle_life:
                heard += [_again(session, stop) for session in sessions]
                began = time.monotonic()
            if any(heard):
                yield


def _readable(sessions: Sequence[ImapSession], seconds: float) -> list[ImapSession]:
    """Those whose server has said something within so many seconds."""
    poller = select.poll()
    by_number = {session.socket.fileno(): session for session in sessions}
    for number in by_number:
        poller.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poller.poll(seconds * 1000)]


def _again(session: ImapSession, stop: threading.Event) -> bool:
    """Begins IDLE again; whether mail came meanwhile. A server that does not answer is gone, whatever TCP thinks."""
    session.rest()
    until = time.monotonic() + ANSWER
    while not _readable([session], TURN):
        if stop.is_set():
            return False
        if time.monotonic() > until:
            raise Transient("the server does not answer any more: the waiting connection is dead", code="lost")
    heard = session.rested()
    session.idle()
    return heard
