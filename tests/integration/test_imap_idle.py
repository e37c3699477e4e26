"""Waiting for new mail: IDLE on a real Dovecot through the intake, and servers that cannot, will not, or die over it."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.connector import Context
from syncd.connectors.mail import imap_hosts, imap_idle
from syncd.connectors.mail.imap import ImapSource
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.errors import RateLimited, Transient
from syncd.http.lockout import LoginBackoff
from syncd.http.oauth import MemoryTokens
from syncd.intake.intake import Intake
from syncd.store import Store
from syncd.store.schema import signals
from tests.dovecot_server import CuttingProxy, Dovecot
from tests.imap_script import ImapScript, nothing
from tests.mails import mail

HOUR = timedelta(hours=1)


@pytest.fixture
def user(server: Dovecot) -> str:
    name = f"{uuid.uuid4().hex[:12]}@ourcompany.example"
    with server.client(name) as client:
        client.select("INBOX")  # makes the mailbox
    return name


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    opened = Store.open(sqlite_url, key_source="k" * 40)
    yield opened
    opened.close()


def source(port: int, username: str, refusals: LoginBackoff | None = None, **keys: Any) -> ImapSource:
    plain = {"host": "127.0.0.1", "port": port, "tls": "none", "username": username, "password": "correct-horse"}
    context = Context(name="inbox", tokens=MemoryTokens(), refusals=refusals or LoginBackoff())
    return ImapSource(ImapSettings.model_validate(plain | keys), context)


@pytest.fixture
def running(store: Store) -> Iterator[Callable[..., Intake]]:
    made: list[Intake] = []

    def run(sources: dict[str, Any], **keys: Any) -> Intake:
        made.append(Intake(store, configured(*sources, **keys), sources))
        made[-1].start()
        return made[-1]

    yield run
    for intake in made:
        intake.stop(2)


def configured(*names: str, **keys: Any) -> Settings:
    entries = {name: SourceSettings(name=name, type="imap", **({"poll": HOUR} | keys)) for name in names}
    return Settings(
        channels={"email": {"received": True}},
        sources=entries,
        destinations={"crm": DestinationSettings(name="crm", type="x")},
    )


def stored(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(signals)).scalar_one()


def until(true: Callable[[], object], seconds: float = 15) -> float:
    """Waits for it; returns how long that took."""
    began, pause = time.monotonic(), threading.Event()
    while time.monotonic() - began < seconds:
        if true():
            return time.monotonic() - began
        pause.wait(0.02)
    raise AssertionError("it did not come about")


def deliver(server: Dovecot, user: str, number: int) -> None:
    """As a delivery agent does: into tmp/, then moved into new/."""
    folder = server.maildir(user)
    (folder / "tmp" / f"{number}.x").write_bytes(mail(number).replace(b"\r\n", b"\n"))
    shutil.move(folder / "tmp" / f"{number}.x", folder / "new" / f"{time.time():.6f}.{number}.x")


def test_a_delivered_mail_is_a_signal_without_waiting_for_the_poll(
    server: Dovecot, user: str, store: Store, running: Callable[..., Intake]
) -> None:
    intake = running({"inbox": source(server.port, user)})
    until(lambda: sum(intake.counts.polls.values()) >= 2)  # the first, and the one when waiting began
    assert store.leases.holder("idle:inbox")
    deliver(server, user, 1)
    took = until(lambda: stored(store) == 1)
    assert took < 5  # the poll comes in an hour; the figure itself is in the docs
    deliver(server, user, 2)
    until(lambda: stored(store) == 2)


def test_each_of_several_folders_is_waited_on(
    server: Dovecot, user: str, store: Store, running: Callable[..., Intake]
) -> None:
    with server.client(user) as client:
        client.create("Sales")
    intake = running({"inbox": source(server.port, user, folders=["INBOX", "Sales"])})
    until(lambda: sum(intake.counts.polls.values()) >= 2)
    server.append(user, mail(1), "Sales")
    until(lambda: stored(store) == 1)


def test_stop_ends_a_wait_within_a_second_and_gives_its_lease_back(
    server: Dovecot, user: str, store: Store, running: Callable[..., Intake]
) -> None:
    intake = running({"inbox": source(server.port, user)})
    until(lambda: store.leases.holder("idle:inbox"))
    began = time.monotonic()
    intake.stop(2)
    assert time.monotonic() - began < 2.5
    assert not store.leases.holder("idle:inbox")


def test_a_reload_leaves_an_unchanged_wait_alone_and_ends_a_removed_one(
    server: Dovecot, user: str, store: Store, running: Callable[..., Intake]
) -> None:
    with CuttingProxy((server.host, server.port)) as proxy:
        intake = running({"inbox": source(proxy.port, user)})
        until(lambda: sum(intake.counts.polls.values()) >= 2)
        before = proxy.connections
        intake.reload(configured("inbox"), {"inbox": source(proxy.port, user)})
        assert proxy.connections == before
        deliver(server, user, 1)
        until(lambda: stored(store) == 1)
        intake.reload(configured(), {})
        until(lambda: not store.leases.holder("idle:inbox"))


def test_only_one_of_several_machines_waits(server: Dovecot, user: str, store: Store, sqlite_url: str) -> None:
    with Store.open(sqlite_url, key_source="k" * 40) as other, CuttingProxy((server.host, server.port)) as proxy:
        intakes = [Intake(one, configured("inbox"), {"inbox": source(proxy.port, user)}) for one in (store, other)]
        for intake in intakes:
            intake.start()
        try:
            until(lambda: store.leases.holder("idle:inbox"))
            deliver(server, user, 1)
            until(lambda: stored(store) == 1)
            assert store.leases.holder("idle:inbox")
        finally:
            for intake in intakes:
                intake.stop(2)


# ------------------------------------------------------------------------------------------------ bad servers


def heard(waiting: Iterator[None], stop: threading.Event) -> list[str]:
    """What comes of a wait, until it ends or fails."""
    came: list[str] = []
    try:
        for _ in waiting:
            came.append("news")
            if len(came) > 20:
                stop.set()
    except Exception as error:  # noqa: BLE001  the test looks at it
        came.append(type(error).__name__)
    return came


def test_a_server_without_idle_is_left_to_the_polls() -> None:
    with ImapScript(capabilities="IMAP4rev1 AUTH=PLAIN") as script:
        assert heard(source(script.port, "u").wait(threading.Event()), threading.Event()) == []
        assert "IDLE" not in script.seen


def test_idle_can_be_switched_off() -> None:
    with ImapScript() as script:
        assert heard(source(script.port, "u", idle=False).wait(threading.Event()), threading.Event()) == []
        assert script.connections == 0


def test_a_connection_cut_in_the_middle_is_noticed_at_once() -> None:
    with ImapScript() as script:
        waiting = source(script.port, "u").wait(threading.Event())
        next(waiting)
        script.cut()
        with pytest.raises(Transient, match="connection") as caught:
            next(waiting)
        assert caught.value.code == "lost"


@pytest.mark.parametrize(
    ("line", "came"),
    [
        ("* 1 EXISTS", "news"),
        ("* 1 RECENT", "news"),
        ("* OK Still here", None),
        ("* 3 EXPUNGE", None),
        ("* 1 FETCH (FLAGS (\\Seen))", None),
    ],
)
def test_what_is_news(line: str, came: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    monkeypatch.setattr(imap_idle, "TURN", 0.05)
    with ImapScript() as script:
        waiting = source(script.port, "u").wait(stop)
        next(waiting)
        script.tell(line)
        threading.Timer(0.5, stop.set).start()
        assert next(waiting, "nothing") == (None if came else "nothing")


def test_a_goodbye_says_why() -> None:
    with ImapScript() as script:
        waiting = source(script.port, "u").wait(threading.Event())
        next(waiting)
        script.tell("* BYE [THROTTLED] slow down")
        with pytest.raises(RateLimited):
            next(waiting)


def test_idle_is_begun_anew_and_a_server_that_does_not_answer_then_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_idle, "TURN", 0.02)
    monkeypatch.setattr(imap_idle, "ANSWER", 0.3)
    monkeypatch.setattr("syncd.connectors.mail.imap_settings.ELSEWHERE", replace(imap_hosts.ELSEWHERE, idle_life=0.05))
    with ImapScript() as script:
        waiting = source(script.port, "u").wait(threading.Event())
        next(waiting)
        listening = threading.Thread(target=lambda: results.extend(heard(waiting, threading.Event())))
        results: list[str] = []
        listening.start()
        until(lambda: script.seen.count("IDLE") >= 3)
        script.answers["DONE"] = nothing
        listening.join(5)
    assert results == ["Transient"]
    assert script.logins == 1


def test_a_host_that_takes_the_connection_and_says_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.connectors.mail.imap_session.CONNECT_TIMEOUT", 0.3)
    with ImapScript(silent=True) as script, pytest.raises(Transient):
        next(source(script.port, "u").wait(threading.Event()))


def test_more_folders_than_the_host_bears_are_polled() -> None:
    with ImapScript() as script:
        folders = [f"F{number}" for number in range(10)]
        waiting = source(script.port, "u", folders=folders).wait(threading.Event())
        next(waiting)
        assert script.connections == imap_hosts.WAITING
        waiting.close()  # type: ignore[attr-defined]


def test_a_wait_that_fails_leaves_the_polls_alone(store: Store, running: Callable[..., Intake]) -> None:
    with ImapScript() as script:
        script.answers["IDLE"] = lambda tag: None
        intake = running({"inbox": source(script.port, "u")})
        until(lambda: "IDLE" in script.seen)
        until(lambda: not store.leases.holder("idle:inbox"))
        health = store.sources.health("inbox")
        assert (health.error, health.failures) == ("", 0)
        intake.wake("inbox")
        until(lambda: intake.counts.polls["inbox", "ok"] >= 2)


def test_a_wrong_password_is_tried_by_the_poll_alone(store: Store, running: Callable[..., Intake]) -> None:
    with ImapScript() as script:
        script.answers["LOGIN"] = lambda tag: f"{tag} NO [AUTHENTICATIONFAILED] wrong\r\n".encode()
        intake = running({"inbox": source(script.port, uuid.uuid4().hex, store.refusals)})
        until(lambda: intake.counts.polls.get(("inbox", "failed")) == 1)
        for polls in range(2, 7):  # whatever reloads and wakes come
            intake.reload(configured("inbox"), {"inbox": source(script.port, "u")})
            until(lambda polls=polls: intake.counts.polls["inbox", "failed"] >= polls)  # type: ignore[misc]
        assert script.logins == 3
        health = store.sources.health("inbox")
        assert "not tried again before" in health.error
        assert health.failures == 3  # what was not tried has not failed
        assert "IDLE" not in script.seen
