"""The imap source on a real Dovecot."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ByteSize

from syncd.connector import Context
from syncd.connectors.mail.imap import CONNECTOR, ImapSource
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.connectors.mail.maildir import MaildirSettings, MaildirSource
from syncd.connectors.mail.some_failed import OTHERS_AGAIN
from syncd.errors import Misconfigured, Transient
from syncd.testing import BackfillConformance, HintConformance, PollingConformance, Vendor
from syncd.testing.ledger import SourceLedger
from tests.dovecot_server import CuttingProxy, Dovecot
from tests.mails import BROKEN, MOMENT, mail


@pytest.fixture
def user() -> str:
    """A mailbox of its own for each test."""
    return f"{uuid.uuid4().hex[:12]}@ourcompany.example"


@pytest.fixture
def settings(server: Dovecot, user: str) -> Callable[..., ImapSettings]:
    def make(**keys: Any) -> ImapSettings:
        plain = {"host": server.host, "port": server.port, "tls": "none", "username": user, "password": server.password}
        return ImapSettings.model_validate(plain | {"page_size": 3} | keys)

    return make


@pytest.fixture
def source(settings: Callable[..., ImapSettings]) -> Callable[..., ImapSource]:
    return lambda **keys: ImapSource(settings(**keys), Context(name="inbox", tokens=None))  # type: ignore[arg-type]


class Mailbox(Vendor):
    """Events are mails; the wire can be cut."""

    def __init__(self, server: Dovecot, user: str, proxy: CuttingProxy) -> None:
        self._server, self._user, self._proxy = server, user, proxy

    def happen(self, number: int) -> None:
        at = self.moment(number)
        self._server.append(self._user, mail(number, at=at), at=at.timestamp())

    def break_once(self) -> bool:
        self._proxy.allowance = 2500
        return True


class TestImapConforms(PollingConformance, HintConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, server: Dovecot, user: str) -> Iterator[Mailbox]:
        with CuttingProxy((server.host, server.port)) as proxy:
            yield Mailbox(server, user, proxy)

    @pytest.fixture
    def connect(self, vendor: Mailbox, source: Callable[..., ImapSource]) -> Callable[[], ImapSource]:
        return lambda: source(port=vendor._proxy.port)

    @pytest.fixture(autouse=True)
    def _cut_only_once(self, vendor: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
        poll = SourceLedger.poll

        def once(ledger: SourceLedger, **how: Any) -> Any:
            try:
                return poll(ledger, **how)
            finally:
                vendor._proxy.allowance = None

        monkeypatch.setattr(SourceLedger, "poll", once)


def validity(ledger: SourceLedger) -> int:
    return int(json.loads(ledger.state or b"{}")["folders"]["INBOX"]["validity"])


def titles(ledger: SourceLedger) -> list[str]:
    return [signal.title for signal in ledger.signals.values()]


@pytest.fixture
def ledger(source: Callable[..., ImapSource], server: Dovecot, user: str) -> SourceLedger:
    """A started source on an empty mailbox."""
    started = SourceLedger(connect=source, now=MOMENT)
    started.start()
    return started


def put(
    server: Dovecot, user: str, number: int, folder: str = "INBOX", *, raw: bytes | None = None, days: float = 0
) -> None:
    at = MOMENT + timedelta(minutes=number, days=days)
    server.append(user, raw if raw is not None else mail(number, at=at), folder, at=at.timestamp())


def test_reading_leaves_every_flag_alone(ledger: SourceLedger, server: Dovecot, user: str) -> None:
    for number in (1, 2):
        put(server, user, number)
    assert len(ledger.poll()) == 2
    with server.client(user) as client:
        client.select("INBOX")
        assert client.search(None, "UNSEEN")[1] == [b"1 2"]


def test_the_last_mail_is_not_read_again_for_ever(ledger: SourceLedger, server: Dovecot, user: str) -> None:
    put(server, user, 1)
    ledger.poll()
    ledger.poll()
    assert ledger.repeats == 0


def test_a_new_uidvalidity_loses_and_doubles_nothing(ledger: SourceLedger, server: Dovecot, user: str) -> None:
    for number in (1, 2):
        put(server, user, number)
    ledger.poll()
    put(server, user, 3)
    uids = server.maildir(user) / "dovecot-uidlist"
    uids.write_text(re.sub(r" V(\d+)", lambda found: f" V{int(found[1]) + 7}", uids.read_text(), count=1))
    for index in server.maildir(user).glob("dovecot.index*"):
        index.unlink()
    before = validity(ledger)
    put(server, user, 4)
    ledger.now += timedelta(hours=1)
    ledger.poll()
    assert sorted(titles(ledger)) == [f"Question {number}" for number in (1, 2, 3, 4)]
    assert validity(ledger) == before + 7
    put(server, user, 5)
    assert [signal.title for signal in ledger.poll()] == ["Question 5"]


def test_a_recreated_mailbox_is_read_from_its_date_not_from_its_beginning(
    source: Callable[..., ImapSource], server: Dovecot, user: str
) -> None:
    with server.client(user) as client:
        client.create("Sales")
    put(server, user, 1, "Sales", days=-30)
    ledger = SourceLedger(connect=lambda: source(folders=["Sales"]), now=MOMENT)
    ledger.start()
    put(server, user, 2, "Sales")
    ledger.poll()
    with server.client(user) as client:
        client.delete("Sales")
        client.create("Sales")
    put(server, user, 1, "Sales", days=-30)
    # A restore that stamps old mail with today: its Date header tells.
    server.append(user, mail(7, at=MOMENT - timedelta(days=40)), "Sales", at=MOMENT.timestamp())
    for number in (2, 3):
        put(server, user, number, "Sales")
    ledger.now += timedelta(hours=1)
    ledger.poll(restart=True)
    assert titles(ledger) == ["Question 2", "Question 3"]


@pytest.mark.parametrize("allowance", [0, 40, 800, 1600, 2400, 4000, 9000, 20_000, 40_000, 52_000])
def test_a_connection_cut_anywhere_only_delays(
    source: Callable[..., ImapSource], ledger: SourceLedger, server: Dovecot, user: str, allowance: int
) -> None:
    for number in range(1, 6):
        put(server, user, number, raw=mail(number, body="long words " * 1000))
    with CuttingProxy((server.host, server.port), allowance) as proxy:
        ledger.connect = lambda: source(port=proxy.port)
        with pytest.raises(Transient):
            ledger.poll()
        proxy.allowance = None
        ledger.poll()
    assert len(titles(ledger)) == 5
    assert ledger.repeats == 0


def test_a_mail_at_which_the_line_always_breaks_is_read_by_its_head_at_last(
    source: Callable[..., ImapSource], ledger: SourceLedger, server: Dovecot, user: str
) -> None:
    put(server, user, 1, raw=mail(1, body="x" * 900_000))
    put(server, user, 2)
    with CuttingProxy((server.host, server.port), 400_000) as proxy:
        ledger.connect = lambda: source(port=proxy.port)
        for _ in range(3):
            with pytest.raises(Transient):
                ledger.poll()
        ledger.poll()
    assert titles(ledger) == ["Question 1", "Question 2"]
    assert "note" in next(iter(ledger.signals.values())).data


def test_mail_over_the_cap_is_read_by_its_head(
    source: Callable[..., ImapSource], ledger: SourceLedger, server: Dovecot, user: str
) -> None:
    put(server, user, 1, raw=mail(1, body="The beginning.\r\n" + "x" * 76 + "\r\n" * 400_000))
    ledger.connect = lambda: source(max_size="300kB")
    (signal,) = ledger.poll()
    assert signal.title == "Question 1"
    assert signal.text.startswith("The beginning.")
    assert signal.data["size"] > 800_000
    assert "262144" not in signal.data["note"]
    assert "256 KiB" in signal.data["note"]


def test_folders_are_read_apart_and_may_have_any_name(
    source: Callable[..., ImapSource], server: Dovecot, user: str
) -> None:
    names = ["INBOX", "Kunden & Köln", "Архив"]
    with server.client(user) as client:
        client.create('"Kunden &- K&APY-ln"')
        client.create("&BBAEQARFBDgEMg-")
    ledger = SourceLedger(connect=lambda: source(folders=names), now=MOMENT)
    ledger.start()
    put(server, user, 1)
    put(server, user, 2, '"Kunden &- K&APY-ln"')
    put(server, user, 3, "&BBAEQARFBDgEMg-")
    ledger.poll()
    assert titles(ledger) == ["Question 1", "Question 2", "Question 3"]


def test_a_missing_folder_is_named_and_the_others_are_still_read(
    source: Callable[..., ImapSource], ledger: SourceLedger, server: Dovecot, user: str
) -> None:
    with server.client(user) as client:
        client.create("Sales")
    put(server, user, 1)
    ledger.connect = lambda: source(folders=["Sels", "INBOX"])
    with pytest.raises(Misconfigured, match=r"no folder 'Sels'.*Sales") as caught:
        ledger.poll()
    assert caught.value.code == "no_folder"
    assert titles(ledger) == ["Question 1"]


def test_a_folder_missing_at_the_start_keeps_none_of_the_others(
    source: Callable[..., ImapSource], server: Dovecot, user: str
) -> None:
    with server.client(user) as client:
        client.select("INBOX")
    with pytest.raises(Misconfigured, match="no folder 'Sels'"):
        source(folders=["Sels"]).start(MOMENT)
    ledger = SourceLedger(connect=lambda: source(folders=["Sels", "INBOX"]), now=MOMENT)
    ledger.start()
    put(server, user, 1)
    with pytest.raises(Misconfigured, match="no folder 'Sels'") as caught:
        ledger.poll()
    assert titles(ledger) == ["Question 1"]
    assert caught.value.until == MOMENT + OTHERS_AGAIN, "the others do not wait for an hour"
    with server.client(user) as client:
        client.create("Sels")
    put(server, user, 2, "Sels")  # before it opens: history
    assert ledger.poll() == []
    put(server, user, 3, "Sels")
    put(server, user, 4)
    assert [signal.title for signal in ledger.poll()] == ["Question 3", "Question 4"]


def test_a_wrong_password_says_what_to_do_and_not_what_it_is(source: Callable[..., ImapSource]) -> None:
    with pytest.raises(Misconfigured, match="check username and password") as caught:
        source(password="wrong-secret").start(MOMENT)
    assert caught.value.code == "AUTHENTICATIONFAILED"
    assert "wrong-secret" not in str(caught.value)


def test_a_password_outside_ascii_is_sent_as_utf8(source: Callable[..., ImapSource]) -> None:
    with pytest.raises(Misconfigured, match="check username and password"):
        source(password="pässwörd").start(MOMENT)


def test_nobody_listening_is_transient(source: Callable[..., ImapSource]) -> None:
    with pytest.raises(Transient, match="no answer"):
        source(port=1).start(MOMENT)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_tls_needs_a_trusted_certificate(source: Callable[..., ImapSource], server: Dovecot, tls: str) -> None:
    port = server.tls_port if tls == "implicit" else server.port
    with pytest.raises(Misconfigured, match="not trusted"):
        source(tls=tls, port=port).start(MOMENT)
    source(tls=tls, port=port, ca_file=server.certificate).start(MOMENT)


def test_tls_at_a_port_without_it_is_named(source: Callable[..., ImapSource], server: Dovecot) -> None:
    with pytest.raises(Misconfigured, match="no TLS at this port"):
        source(tls="implicit", port=server.port).start(MOMENT)


def test_broken_mail_stops_nothing(ledger: SourceLedger, server: Dovecot, user: str) -> None:
    accepted = {name: raw for name, raw in BROKEN.items() if raw and b"\0" not in raw and len(raw) < 300_000}
    for number, raw in enumerate(accepted.values()):
        put(server, user, number, raw=raw)
    put(server, user, 99)
    ledger.poll()
    assert titles(ledger)[-1] == "Question 99"


def test_mail_expunged_before_it_is_read_is_no_trouble(ledger: SourceLedger, server: Dovecot, user: str) -> None:
    for number in range(1, 7):
        put(server, user, number)
    with server.client(user) as client:
        client.select("INBOX")
        client.store("2,4:5", "+FLAGS", r"(\Deleted)")
        client.expunge()
    ledger.poll()
    put(server, user, 7)
    ledger.poll()
    assert titles(ledger) == [f"Question {number}" for number in (1, 3, 6, 7)]


def test_backfill_takes_the_range_by_the_date_of_the_mail(
    source: Callable[..., ImapSource], server: Dovecot, user: str
) -> None:
    base = MOMENT - timedelta(days=20)  # the server takes no arrival later than its own now
    for days in range(-5, 6):
        put(server, user, days + 50, days=days - 20)
    server.append(user, mail(99, at=base + timedelta(hours=1)))  # sent in the range, arrived on this server much later
    ledger = SourceLedger(connect=source, now=MOMENT)
    since, until = base - timedelta(days=1), base + timedelta(days=2)
    got = ledger.backfill(since, until, restart=True)
    assert all(since <= signal.occurred_at < until for signal in got)
    assert sorted(titles(ledger)) == ["Question 49", "Question 50", "Question 51", "Question 99"]
    assert ledger.repeats == 0


def test_a_mail_has_one_id_over_imap_and_from_the_file(
    ledger: SourceLedger, server: Dovecot, user: str, source: Callable[..., ImapSource]
) -> None:
    put(server, user, 1)
    put(server, user, 2, raw=mail(2, message_id=None, body="no id\r\n\r\n"))
    put(server, user, 3, raw=mail(3, message_id=None, body="long\r\n" * 150_000))
    ledger.connect = lambda: source(max_size="300kB")
    ledger.poll()
    files = MaildirSource(
        MaildirSettings(path=server.maildir(user), max_size=ByteSize(300_000)),
        Context(name="files", tokens=None),  # type: ignore[arg-type]
    )
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    from_files = [s for batch in files.backfill(epoch, MOMENT + timedelta(days=1), None) for s in batch.signals]
    assert {signal.id for signal in from_files} == set(ledger.signals)


def test_a_mail_copied_in_by_the_file_system_is_seen(ledger: SourceLedger, server: Dovecot, user: str) -> None:
    folder = server.maildir(user)
    (folder / "tmp" / "1.x").write_bytes(mail(1).replace(b"\r\n", b"\n"))
    shutil.move(folder / "tmp" / "1.x", folder / "new" / "1.x")
    ledger.poll()
    assert titles(ledger) == ["Question 1"]
