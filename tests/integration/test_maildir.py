"""The maildir source on a real directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.connector import Context
from syncd.connectors.mail.maildir import CONNECTOR, MaildirSettings, MaildirSource
from syncd.errors import Misconfigured
from syncd.testing import BackfillConformance, PollingConformance, Vendor
from syncd.testing.ledger import SourceLedger
from tests.mails import MOMENT, mail


def make_maildir(path: Path) -> Path:
    for part in ("new", "cur", "tmp"):
        (path / part).mkdir(parents=True)
    return path


def deliver(path: Path, number: int, raw: bytes | None = None, name: str = "") -> Path:
    """As a mail server delivers: written to tmp/, then moved to new/."""
    name = name or f"{1_700_000_000 + number}.M{number}P1.host"
    written = path / "tmp" / name
    at = MOMENT + timedelta(minutes=number)
    written.write_bytes(mail(number, at=at) if raw is None else raw)
    os.utime(written, (at.timestamp(), at.timestamp()))
    return written.rename(path / "new" / name)


class Delivery(Vendor):
    many = 120  # three pages
    keeps_everything = True  # the names of the files in the folder

    def __init__(self, path: Path) -> None:
        self._path = path

    def happen(self, number: int) -> None:
        deliver(self._path, number, mail(number, at=self.moment(number)))


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    return make_maildir(tmp_path / "mail")


@pytest.fixture
def source(maildir: Path) -> Callable[..., MaildirSource]:
    def build(**keys: Any) -> MaildirSource:
        settings = MaildirSettings.model_validate({"path": maildir, **keys})
        return MaildirSource(settings, Context(name="files", tokens=None, clock=lambda: MOMENT))  # type: ignore[arg-type]

    return build


@pytest.fixture
def ledger(source: Callable[..., MaildirSource]) -> SourceLedger:
    started = SourceLedger(connect=source, now=MOMENT)
    started.start()
    return started


def titles(ledger: SourceLedger) -> list[str]:
    return [signal.title for signal in ledger.signals.values()]


class TestMaildirConforms(PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, maildir: Path) -> Delivery:
        return Delivery(maildir)

    @pytest.fixture
    def connect(self, source: Callable[..., MaildirSource]) -> Callable[[], MaildirSource]:
        return lambda: source()


def test_being_read_and_flagged_does_not_make_a_mail_new(ledger: SourceLedger, maildir: Path) -> None:
    path = deliver(maildir, 1)
    ledger.poll()
    path = path.rename(maildir / "cur" / f"{path.name}:2,")
    ledger.poll()
    path.rename(path.with_name(path.name + "FS"))
    ledger.poll()
    assert (len(ledger.signals), ledger.repeats) == (1, 0)


def test_history_that_is_flagged_later_stays_history(source: Callable[..., MaildirSource], maildir: Path) -> None:
    path = deliver(maildir, 1)
    ledger = SourceLedger(connect=source, now=MOMENT)
    ledger.start()
    path.rename(maildir / "cur" / f"{path.name}:2,S")
    assert ledger.poll() == []


def test_a_mail_with_an_old_date_is_new_when_it_comes(ledger: SourceLedger, maildir: Path) -> None:
    deliver(maildir, 5)
    ledger.poll()
    deliver(maildir, -100_000)
    ledger.poll()
    assert titles(ledger) == ["Question 5", "Question -100000"]


def test_half_written_and_hidden_files_are_left_alone(ledger: SourceLedger, maildir: Path) -> None:
    (maildir / "tmp" / "half").write_bytes(mail(1))
    (maildir / "new" / ".hidden").write_bytes(mail(2))
    (maildir / "cur" / "directory").mkdir()
    os.mkfifo(maildir / "new" / "fifo")
    assert ledger.poll() == []


def test_a_file_that_cannot_be_read_is_counted_and_tried_again(
    ledger: SourceLedger, maildir: Path, source: Callable[..., MaildirSource]
) -> None:
    loop = maildir / "new" / "1.loop"
    deliver(maildir, 1, name="1.bad")
    deliver(maildir, 2)
    bad = maildir / "new" / "1.bad"
    content = bad.read_bytes()
    bad.unlink()
    bad.symlink_to(loop)  # a name in the listing that opens to nothing, whoever reads
    loop.symlink_to(bad)
    assert ledger.state is not None
    ledger.poll()
    assert titles(ledger) == ["Question 2"]
    bad.unlink()
    loop.unlink()
    bad.write_bytes(content)
    ledger.poll()
    assert titles(ledger) == ["Question 2", "Question 1"]


def test_nothing_in_the_maildir_changes(ledger: SourceLedger, maildir: Path) -> None:
    def everything() -> list[tuple[str, int, int]]:
        return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in maildir.rglob("*"))

    for number in range(3):
        deliver(maildir, number)
    before = everything()
    ledger.poll()
    ledger.connect().backfill(MOMENT, MOMENT + timedelta(days=1), None).__next__()
    assert everything() == before


def test_folders_by_their_names_on_disk(source: Callable[..., MaildirSource], maildir: Path) -> None:
    inside = make_maildir(maildir / ".K&APY-ln.2026")
    beside = make_maildir(maildir / "Plain")
    ledger = SourceLedger(connect=lambda: source(folders=["INBOX", "Köln/2026", "Plain"]), now=MOMENT)
    ledger.start()
    for number, path in enumerate((maildir, inside, beside)):
        deliver(path, number)
    ledger.poll()
    assert sorted(titles(ledger)) == ["Question 0", "Question 1", "Question 2"]


def test_a_folder_added_later_starts_at_now(
    ledger: SourceLedger, source: Callable[..., MaildirSource], maildir: Path
) -> None:
    sales = make_maildir(maildir / ".Sales")
    deliver(sales, 1)
    ledger.connect = lambda: source(folders=["INBOX", "Sales"])
    assert ledger.poll() == []
    deliver(sales, 2)
    assert [signal.title for signal in ledger.poll()] == ["Question 2"]


def test_what_is_not_there_is_named(source: Callable[..., MaildirSource], maildir: Path) -> None:
    make_maildir(maildir / ".Sales")
    with pytest.raises(Misconfigured, match=r"no folder Sels .*folders there: INBOX, Sales"):
        source(folders=["Sels"]).start(MOMENT)
    with pytest.raises(Misconfigured, match="has no new/ or cur/"):
        source(path=maildir / "nowhere").start(MOMENT)


def test_the_cursor_is_small_and_forgets_what_is_gone(ledger: SourceLedger, maildir: Path) -> None:
    paths = [deliver(maildir, number) for number in range(300)]
    ledger.poll()
    assert ledger.state is not None
    assert len(ledger.state) < 300 * 7
    for path in paths:
        path.unlink()
    deliver(maildir, 301)
    ledger.poll()
    assert len(ledger.state) < 50


def test_drops_are_counted_by_reason(source: Callable[..., MaildirSource], maildir: Path) -> None:
    built = source()
    state = built.start(MOMENT)
    deliver(maildir, 1, mail(1, list_id="<l>"))
    deliver(maildir, 2, mail(2, auto_submitted="auto-replied"))
    (batch,) = built.poll(state, MOMENT)
    assert (batch.signals, batch.dropped) == ([], {"list": 1, "auto_reply": 1})
    assert batch.state is not None
    assert list(built.poll(batch.state, MOMENT)) == []
