"""Hosts that are tired of us, at every step of a poll: believed, waited for as long as they say, and no mail lost over it."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.connector import Context
from syncd.connectors.mail.imap import ImapSource
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.errors import Failure, RateLimited, Transient
from syncd.http.oauth import MemoryTokens
from syncd.testing.ledger import SourceLedger
from tests.imap_script import ImapScript, says
from tests.mails import MOMENT, mail

BACKOFF = "Request is throttled. Suggested Backoff Time: 299961 milliseconds"
BANDWIDTH = "[OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)"


def source(port: int, **keys: Any) -> ImapSource:
    plain = {"host": "127.0.0.1", "port": port, "tls": "none", "username": "u@x.example", "password": "p"}
    return ImapSource(ImapSettings.model_validate(plain | keys), Context(name="inbox", tokens=MemoryTokens()))


def with_mail(script: ImapScript) -> None:
    """One mail, UID 1."""
    raw = mail(1)
    script.answers["EXAMINE"] = says("* 1 EXISTS\n* OK [UIDVALIDITY 7] ok\n* OK [UIDNEXT 2] ok\n{tag} OK done")
    script.answers["SEARCH"] = says("* SEARCH 1\n{tag} OK done")
    meta = f'* 1 FETCH (UID 1 RFC822.SIZE {len(raw)} INTERNALDATE "22-Nov-2026 08:00:00 +0000" FLAGS ())\r\n'
    body = f"* 1 FETCH (UID 1 BODY[] {{{len(raw)}}}\r\n".encode() + raw + b")\r\n"
    turns = [meta.encode(), body]
    script.answers["FETCH"] = lambda tag: turns[script.seen.count("FETCH") % 2 - 1] + f"{tag} OK done\r\n".encode()


def started(script: ImapScript, **keys: Any) -> SourceLedger:
    ledger = SourceLedger(connect=lambda: source(script.port, **keys), now=MOMENT)
    ledger.start()
    return ledger


NEEDS_ID = says("{tag} NO EXAMINE Unsafe Login. Please contact kefu@188.com for help")


@pytest.mark.parametrize(
    "answer", ['* ID ("name" "x")\n{tag} OK done', "* ID NIL\n{tag} OK done", "{tag} OK done", "{tag} NO no"]
)
def test_a_host_that_wants_to_know_who_reads_is_told(answer: str) -> None:
    with ImapScript("IMAP4rev1 ID IDLE") as script:
        script.answers["ID"] = says(answer)
        ledger = started(script)
        with_mail(script)
        opens = script.answers["EXAMINE"]
        script.seen.clear()
        script.answers["EXAMINE"] = lambda tag: (opens if "ID" in script.seen else NEEDS_ID)(tag)
        assert [signal.title for signal in ledger.poll()] == ["Question 1"]


def test_a_host_that_takes_no_id_is_sent_none() -> None:
    with ImapScript() as script:
        started(script)
        assert "ID" not in script.seen


@pytest.mark.parametrize("command", ["LOGIN", "EXAMINE", "SEARCH", "FETCH"])
@pytest.mark.parametrize(
    ("text", "pause"), [(f"NO {BACKOFF}", 299.961), (f"BAD {BACKOFF}", 299.961), (f"NO {BANDWIDTH}", 3600)]
)
def test_throttled_at_any_step(command: str, text: str, pause: float) -> None:
    with ImapScript() as script:
        ledger = started(script)
        with_mail(script)
        before = dict(script.answers)
        script.answers[command] = says(f"{{tag}} {text}")
        for _ in range(8):  # more often than a mail that kills its reader is tried
            with pytest.raises(RateLimited) as caught:
                ledger.poll()
            assert caught.value.retry_after == pytest.approx(pause)
        script.answers = before
        script.seen.clear()
        assert [signal.title for signal in ledger.poll()] == ["Question 1"]


def test_throttled_in_the_middle_of_the_bodies_loses_no_mail() -> None:
    with ImapScript() as script:
        ledger = started(script)
        with_mail(script)
        good = script.answers["FETCH"]

        def tired_of_bodies(tag: str) -> bytes | None:
            return good(tag) if script.seen.count("FETCH") % 2 else f"{tag} NO {BACKOFF}\r\n".encode()

        script.answers["FETCH"] = tired_of_bodies
        for _ in range(8):
            script.seen.clear()
            with pytest.raises(RateLimited):
                ledger.poll()
            assert script.seen.count("FETCH") == 2  # not tried singly, not by its head
        script.answers["FETCH"] = good
        script.seen.clear()
        assert [signal.title for signal in ledger.poll()] == ["Question 1"]


def test_a_throttled_folder_keeps_us_from_the_others() -> None:
    with ImapScript() as script:
        ledger = started(script, folders=["A", "B", "C"])
        script.answers["EXAMINE"] = says(f"{{tag}} NO {BACKOFF}")
        script.seen.clear()
        with pytest.raises(RateLimited):
            ledger.poll()
        assert script.seen.count("EXAMINE") == 1


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("* BYE [THROTTLED] slow down", RateLimited),
        (f"* BAD {BACKOFF}\n* BYE Connection closed. 14", RateLimited),
        (f"{{tag}} BAD {BACKOFF}\n* BYE Connection closed. 14", RateLimited),
        ("* BYE Connection closed. 14", Transient),
        ("* BYE System going down for maintenance", Transient),
    ],
)
def test_hung_up_on_in_the_middle(said: str, kind: type[Failure]) -> None:
    with ImapScript() as script:
        ledger = started(script)
        script.answers["SEARCH"] = says(said)
        with_mail(script)
        script.answers["SEARCH"] = says(said)
        with pytest.raises(kind):
            ledger.poll()


def test_a_host_that_is_full_is_asked_once() -> None:
    with ImapScript() as script:
        script.answers["LOGIN"] = says("{tag} NO [ALERT] Too many simultaneous connections. (Failure)")
        with pytest.raises(RateLimited) as caught:
            source(script.port).start(MOMENT)
        assert caught.value.retry_after == 300
        assert script.logins == 1


def test_a_greeting_that_is_a_goodbye() -> None:
    with ImapScript(greeting="* BYE Too many connections from your address") as script, pytest.raises(RateLimited):
        source(script.port).start(MOMENT)
