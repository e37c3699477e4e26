"""The mbox source on real files: what writes to them, rotates, rewrites, locks and quotes."""

from __future__ import annotations

import fcntl
import os
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.connector import Context
from syncd.connectors.mail.maildir import MaildirSettings, MaildirSource
from syncd.connectors.mail.mbox import CONNECTOR, PAGE, MboxSettings, MboxSource
from syncd.connectors.mail.mbox_file import open_file, pieces
from syncd.connectors.mail.some_failed import OTHERS_AGAIN
from syncd.errors import Misconfigured, Transient
from syncd.testing import BackfillConformance, PollingConformance, Vendor
from syncd.testing.ledger import SourceLedger
from tests.mails import BROKEN, MOMENT, mail


def entry(raw: bytes, at: datetime = MOMENT) -> bytes:
    """A mail as a delivery agent appends it (mboxrd): separator, quoted, an empty line behind it."""
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    quoted = b"\n".join(b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in lines)
    return b"From ann@customer.example " + at.strftime("%a %b %e %H:%M:%S %Y").encode() + b"\n" + quoted + b"\n\n"


class File(Vendor):
    many = PAGE * 2 + 7

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def happen(self, number: int) -> None:
        self.add(entry(mail(number, at=self.moment(number)), self.moment(number)))

    def add(self, raw: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(raw)


@pytest.fixture
def vendor(tmp_path: Path) -> File:
    return File(tmp_path / "sales")


Make = Callable[..., MboxSource]


@pytest.fixture
def connect(vendor: File) -> Make:
    return lambda: build(vendor.path)


def build(*paths: Path, **keys: Any) -> MboxSource:
    return MboxSource(MboxSettings.model_validate({"paths": paths, **keys}), Context(name="inbox", tokens=None))  # type: ignore[arg-type]


class TestMboxConforms(PollingConformance, BackfillConformance):
    connector = CONNECTOR


@pytest.fixture
def ledger(connect: Make) -> SourceLedger:
    started = SourceLedger(connect=connect, now=MOMENT)
    started.start()
    return started


def titles(ledger: SourceLedger) -> list[str]:
    return [signal.title for signal in ledger.signals.values()]


def test_a_mail_that_is_half_written_waits_for_its_other_half(ledger: SourceLedger, vendor: File) -> None:
    whole = entry(mail(1, body="first\r\n\r\nsecond\r\n"))
    vendor.happen(5)
    vendor.add(whole[:200])
    assert [signal.title for signal in ledger.poll()] == ["Question 5"]
    vendor.add(whole[200:-20])
    assert ledger.poll() == []
    vendor.add(whole[-20:])
    (signal,) = ledger.poll()
    assert "second" in signal.text


def test_a_last_mail_without_an_end_is_taken_when_nothing_more_comes(ledger: SourceLedger, vendor: File) -> None:
    vendor.add(entry(mail(1)).rstrip())
    assert ledger.poll() == []
    assert len(ledger.poll()) == 1
    vendor.add(b"\n\n" + entry(mail(2)))
    assert len(ledger.poll()) == 1


def test_what_is_added_to_a_mail_that_was_taken_is_nobodys(ledger: SourceLedger, vendor: File) -> None:
    vendor.happen(1)
    ledger.poll()
    vendor.add(b"a late line\nFrom here on\n\n" + entry(mail(2)))
    assert [signal.title for signal in ledger.poll()] == ["Question 2"]


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_rotation_loses_nothing_that_came_before_it(ledger: SourceLedger, vendor: File, how: str) -> None:
    vendor.happen(1)
    ledger.poll()
    vendor.happen(2)
    old = vendor.path.with_name("sales.1")
    if how == "moved":
        vendor.path.rename(old)
        vendor.path.touch()
    else:
        old.write_bytes(vendor.path.read_bytes())
        os.truncate(vendor.path, 0)
    vendor.happen(3)
    ledger.poll()
    assert titles(ledger) == ["Question 1", "Question 2", "Question 3"]
    assert ledger.repeats == 0


def test_rotation_without_a_new_file_yet(ledger: SourceLedger, vendor: File) -> None:
    vendor.happen(1)
    ledger.poll()
    vendor.happen(2)
    vendor.path.rename(vendor.path.with_name("sales-20261122"))
    ledger.poll()
    vendor.happen(3)
    ledger.poll()
    assert titles(ledger) == ["Question 1", "Question 2", "Question 3"]


def test_a_file_that_was_rewritten_doubles_nothing_and_brings_no_history(vendor: File, connect: Make) -> None:
    for number in range(3):
        vendor.add(entry(mail(100 + number, at=MOMENT - timedelta(days=90)), MOMENT - timedelta(days=90)))
    ledger = SourceLedger(connect=connect, now=MOMENT)
    ledger.start()
    vendor.happen(1)
    ledger.poll()
    vendor.path.write_bytes(vendor.path.read_bytes().replace(b"\nSubject:", b"\nStatus: RO\nSubject:"))  # read in mutt
    vendor.happen(2)
    ledger.poll()
    assert titles(ledger) == ["Question 1", "Question 2"]
    vendor.happen(3)
    ledger.poll()
    assert ledger.repeats == 1


def test_a_mailbox_that_was_emptied_goes_on(ledger: SourceLedger, vendor: File) -> None:
    vendor.happen(1)
    ledger.poll()
    vendor.path.unlink()
    ledger.poll()
    vendor.happen(2)
    assert [signal.title for signal in ledger.poll()] == ["Question 2"]


def test_who_writes_is_not_disturbed(ledger: SourceLedger, vendor: File) -> None:
    vendor.happen(1)
    with vendor.path.open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(Transient, match="holds a lock"):
            ledger.poll()
        fcntl.flock(writer, fcntl.LOCK_UN)
    dot = Path(f"{vendor.path}.lock")
    dot.touch()
    with pytest.raises(Transient, match="holds a lock"):
        ledger.poll()
    os.utime(dot, (0, 0))  # left behind long ago
    assert len(ledger.poll()) == 1
    assert dot.exists()


def test_no_lock_is_left_behind(ledger: SourceLedger, vendor: File) -> None:
    vendor.happen(1)
    for _ in ledger.connect().poll(ledger.state, ledger.now):
        with vendor.path.open("ab") as writer:
            fcntl.flock(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_nothing_is_written(ledger: SourceLedger, vendor: File) -> None:
    vendor.happen(1)
    vendor.path.chmod(0o444)
    before = vendor.path.read_bytes(), vendor.path.stat().st_mtime_ns
    ledger.poll()
    assert (vendor.path.read_bytes(), vendor.path.stat().st_mtime_ns) == before
    assert [path.name for path in vendor.path.parent.iterdir()] == ["sales"]


def test_lines_that_only_look_like_separators(ledger: SourceLedger, vendor: File) -> None:
    body = "\r\nFrom the beginning\r\n\r\nFrom ann Mon Nov 23 2026\r\n>From me\r\n"
    vendor.add(
        b"From x Sun Nov 22 08:00:00 2026\n" + mail(1, body=body, content_length="999999").replace(b"\r\n", b"\n")
    )
    vendor.add(b"\n" + entry(mail(2)))
    assert len(ledger.poll()) == 2
    first = next(iter(ledger.signals.values()))
    assert "From the beginning" in first.text
    assert "\nFrom me" in first.text


@pytest.mark.parametrize(
    "separator",
    [
        b"From a@b.example Sun Nov 22 08:00:00 2026",
        b"From a@b.example Sun Nov  2 08:00 2026",
        b"From - Sun Nov 22 08:00:00 2026",
        b"From Sun Nov 22 08:00:00 2026",
        b"From MAILER-DAEMON Sun Nov 22 08:00:00 UTC 2026",
        b"From a@b.example Sun Nov 22 08:00:00 2026 +0700",
        b"From 1234567890@xxx Sun Nov 22 08:00:00 +0000 2026",
        b'From "a b"@c.example Sun Nov 22 08:00:00 2026\r',
    ],
)
def test_separators_as_programs_write_them(tmp_path: Path, separator: bytes) -> None:
    path = tmp_path / "box"
    path.write_bytes(separator + b"\nSubject: s\n\nx\n\n")
    with open_file(path) as file:
        (piece,) = pieces(file, 0, path.stat().st_size, 1000)
    assert piece.raw.startswith(b"Subject: s")
    assert piece.arrived is not None
    assert piece.closed


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([b"From x", b">From y", b">>From z", b"", b"text", b"\r"]), max_size=8), max_size=6
    )
)
def test_what_was_quoted_is_unquoted_and_nothing_is_split(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[Any]
) -> None:
    mails = [b"Subject: %d\n\n" % number + b"\n".join(body) for number, body in enumerate(bodies)]
    path = tmp_path_factory.mktemp("mbox") / "box"
    path.write_bytes(b"".join(entry(raw) for raw in mails))
    with open_file(path) as file:
        found = list(pieces(file, 0, path.stat().st_size, 100_000))
    assert [piece.raw.rstrip(b"\n") for piece in found] == [raw.replace(b"\r\n", b"\n").rstrip(b"\n") for raw in mails]
    assert all(piece.closed for piece in found)


def test_a_mail_has_one_id_in_an_mbox_and_in_a_maildir(ledger: SourceLedger, vendor: File, tmp_path: Path) -> None:
    mails = [mail(1), mail(2, message_id=None, body="no id\r\nFrom here\r\n"), mail(3, body="x\r\n")]
    for part in ("cur", "new", "tmp"):
        (tmp_path / "Maildir" / part).mkdir(parents=True)
    for number, raw in enumerate(mails):
        vendor.add(entry(raw))
        (tmp_path / "Maildir" / "cur" / f"{number}.x:2,").write_bytes(raw)
    ledger.poll()
    files = MaildirSource(
        MaildirSettings(path=tmp_path / "Maildir"),
        Context(name="files", tokens=None),  # type: ignore[arg-type]
    )
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    found = [
        signal.id for batch in files.backfill(epoch, datetime(2030, 1, 1, tzinfo=UTC), None) for signal in batch.signals
    ]
    assert set(found) == set(ledger.signals)


def test_broken_mail_stops_nothing(ledger: SourceLedger, vendor: File) -> None:
    for raw in BROKEN.values():
        vendor.add(entry(raw))
    vendor.happen(99)
    ledger.poll()
    assert titles(ledger)[-1] == "Question 99"


def test_memory_is_bounded_by_a_mail(vendor: File, tmp_path: Path) -> None:
    big = entry(mail(1, body="The beginning.\r\n" + ("x" * 76 + "\r\n") * 250_000))
    for _ in range(3):
        vendor.add(big)
    with vendor.path.open("ab") as file:
        file.truncate(vendor.path.stat().st_size + 20_000_000)  # one line of nothing, without an end
    tracemalloc.start()
    source = build(vendor.path, max_size="300kB")
    made = [
        signal
        for batch in source.backfill(MOMENT - timedelta(days=1), MOMENT + timedelta(days=1), None)
        for signal in batch.signals
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [signal.text.splitlines()[0] for signal in made] == ["The beginning."] * 3
    assert peak < 15_000_000


def test_read_marks_are_seen(ledger: SourceLedger, vendor: File) -> None:
    vendor.add(entry(mail(1, status="RO")) + entry(mail(2, status="O")))
    assert [signal.data["seen"] for signal in ledger.poll()] == [True, False]


def test_several_files_and_one_that_is_not_there(vendor: File, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with pytest.raises(Misconfigured, match="there is no such file"):
        build(other, tmp_path / "another").start(MOMENT)
    (tmp_path / "folder").mkdir()
    with pytest.raises(Misconfigured, match="type: maildir"):
        build(tmp_path / "folder").start(MOMENT)
    ledger = SourceLedger(connect=lambda: build(vendor.path), now=MOMENT)
    ledger.start()
    ledger.connect = lambda: build(other, vendor.path)  # new in the settings, not there yet
    vendor.happen(1)
    with pytest.raises(Misconfigured):
        ledger.poll()
    assert titles(ledger) == ["Question 1"]


def test_a_file_that_is_not_there_at_the_start_keeps_none_of_the_others(vendor: File, tmp_path: Path) -> None:
    other = File(tmp_path / "other")
    other.path.unlink()
    ledger = SourceLedger(connect=lambda: build(other.path, vendor.path), now=MOMENT)
    ledger.start()
    vendor.happen(1)
    with pytest.raises(Misconfigured, match=r"other: there is no such file") as caught:
        ledger.poll()
    assert caught.value.until == MOMENT + OTHERS_AGAIN, "the others do not wait for an hour"
    assert titles(ledger) == ["Question 1"]
    other.happen(2)  # before it opens: history
    assert ledger.poll() == []
    other.happen(3)
    vendor.happen(4)
    assert [signal.title for signal in ledger.poll()] == ["Question 3", "Question 4"]


def test_what_a_mail_source_may_keep_holds_here_too(vendor: File) -> None:
    """`capture: headers` is a key of every mail source."""
    vendor.happen(1)
    source = build(vendor.path, capture="headers")
    (batch,) = source.backfill(MOMENT - timedelta(days=1), MOMENT + timedelta(days=1), None)
    assert [signal.text for signal in batch.signals] == [""]


def test_check_online_looks_at_every_file(vendor: File, tmp_path: Path) -> None:
    found = list(build(vendor.path, tmp_path / "absent").check_online())
    assert [finding.level for finding in found] == ["ok", "fault"]
    assert "there is no such file" in found[1].message
