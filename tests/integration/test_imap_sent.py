"""The folder of sent mail on a real Dovecot: found by its attribute or name, each mail once, with polls and backfill."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from syncd.connector import Context
from syncd.connectors.mail.imap import CONNECTOR, ImapSource
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.errors import Misconfigured
from syncd.signals import Direction
from syncd.testing.ledger import SourceLedger
from tests.dovecot_server import Dovecot
from tests.mails import MOMENT, mail

Source = Callable[..., ImapSource]


@pytest.fixture
def user() -> str:
    return f"{uuid.uuid4().hex[:12]}@ourcompany.example"


@pytest.fixture
def source(server: Dovecot, user: str) -> Source:
    def make(**keys: Any) -> ImapSource:
        plain = {"host": server.host, "port": server.port, "tls": "none", "username": user, "password": server.password}
        settings = ImapSettings.model_validate({**plain, "page_size": 3, "sent": True, **keys})
        return ImapSource(settings, Context(name="inbox", tokens=None))  # type: ignore[arg-type]

    return make


def folder(server: Dovecot, user: str, name: str) -> None:
    with server.client(user) as client:
        assert client.create(f'"{name}"')[0] == "OK"


def ours(number: int, user: str, to: str = "Ann <ann@example.com>", cc: str = "") -> bytes:
    at = MOMENT + timedelta(minutes=number)
    head = f"Date: {at:%a, %d %b %Y %H:%M:%S +0000}\r\nMessage-ID: <sent{number}@ourcompany.example>\r\n"
    return (
        f"From: Sales <{user}>\r\nTo: {to}\r\n{f'Cc: {cc}' + chr(13) + chr(10) if cc else ''}Subject: Offer {number}\r\n{head}"
        f"\r\nHere it is.\r\n"
    ).encode()


def put(server: Dovecot, user: str, number: int, name: str, raw: bytes | None = None) -> None:
    at = MOMENT + timedelta(minutes=number)
    server.append(user, raw or ours(number, user), f'"{name}"', at=at.timestamp())


def started(source: Source, **keys: Any) -> SourceLedger:
    ledger = SourceLedger(connect=lambda: source(**keys), now=MOMENT)
    ledger.start()
    return ledger


def made(ledger: SourceLedger) -> list[tuple[str, str, str]]:
    return sorted((one.type, one.person.email, one.title) for one in ledger.signals.values())


@pytest.mark.parametrize("name", ["Sent", "Gesendete Elemente", "Verschickt"])  # the last by its attribute alone
def test_sent_mail_is_what_we_did(source: Source, server: Dovecot, user: str, name: str) -> None:
    folder(server, user, name)
    put(server, user, 0, name)  # history
    ledger = started(source)
    put(server, user, 1, name, ours(1, user, "Ann <ann@example.com>, us@ourcompany.example", "bo@example.com"))
    put(server, user, 2, "INBOX", mail(2, at=MOMENT + timedelta(minutes=2)))
    ledger.poll()
    own = ("email.sent", "us@ourcompany.example", "Offer 1")  # a colleague; `exclude:` leaves the company's domains out
    assert [one for one in made(ledger) if one != own] == [
        ("email.received", next(iter(p for t, p, _ in made(ledger) if t == "email.received")), "Question 2"),
        ("email.sent", "ann@example.com", "Offer 1"),
        ("email.sent", "bo@example.com", "Offer 1"),
    ]
    assert {one.direction for one in ledger.signals.values() if one.type == "email.sent"} == {Direction.OUT}
    ledger.poll()
    assert ledger.repeats == 0


def test_a_copy_to_ourselves_in_the_inbox_is_the_same_mail_and_counts_once(
    source: Source, server: Dovecot, user: str
) -> None:
    folder(server, user, "Sent")
    ledger = started(source)
    raw = ours(1, user, f"ann@example.com, {user}")
    put(server, user, 1, "Sent", raw)
    put(server, user, 1, "INBOX", raw)
    ledger.poll()
    assert made(ledger) == [("email.sent", "ann@example.com", "Offer 1")]
    assert ledger.dropped["own"] == 1


def test_the_past_by_backfill_has_the_ids_of_polls(source: Source, server: Dovecot, user: str) -> None:
    folder(server, user, "Sent")
    ledger = started(source)
    for number in range(1, 6):
        put(server, user, number, "Sent")
    ledger.poll()
    polled = set(ledger.signals)
    assert len(polled) == 5
    batches = list(source().backfill(MOMENT, MOMENT + timedelta(days=1), None))
    found = {one.id for batch in batches for one in batch.signals}
    assert found == polled
    rest = source().backfill(MOMENT, MOMENT + timedelta(days=1), batches[0].state)
    assert {one.id for batch in rest for one in batch.signals} == polled - {one.id for one in batches[0].signals}


def test_a_mailbox_without_such_a_folder_is_still_read(source: Source, server: Dovecot, user: str) -> None:
    folder(server, user, "Weg damit")
    ledger = started(source)
    put(server, user, 1, "INBOX", mail(1, at=MOMENT + timedelta(minutes=1)))
    with pytest.raises(
        Misconfigured, match=r"no folder is known as that of sent mail; set sent_folder to one of: .*Weg damit"
    ):
        ledger.poll()
    assert [title for _, _, title in made(ledger)] == ["Question 1"]
    ledger = started(source, sent_folder="Weg damit")
    put(server, user, 2, "Weg damit")
    ledger.poll()
    assert [kind for kind, _, title in made(ledger) if title == "Offer 2"] == ["email.sent"]
    assert [finding.message for finding in source(sent_folder="Weg damit").check_online()][-1].startswith(
        "Weg damit: opened"
    )


def test_a_folder_cannot_be_both(source: Source, server: Dovecot, user: str) -> None:
    folder(server, user, "Sent")
    with pytest.raises(Misconfigured, match="folders names Sent, which is the folder of sent mail"):
        next(iter(source(folders=["INBOX", "Sent"]).backfill(MOMENT, MOMENT, None)), None)
    with pytest.raises(ValueError, match="both name Sent"):
        source(folders=["Sent"], sent_folder="Sent")
    with pytest.raises(ValueError, match="goes with sent: true only"):
        source(sent=False, sent_folder="Sent")


def test_what_it_makes_depends_on_the_key() -> None:
    plain = {"host": "127.0.0.1", "username": "a", "password": "b"}
    assert CONNECTOR.makes is not None
    for sent in (True, False):
        settings = ImapSettings.model_validate({**plain, "sent": sent})
        assert ("email.sent" in CONNECTOR.makes(settings, frozenset())) is sent
