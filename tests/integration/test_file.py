"""The file source on real files: the conformance suites, wrong rows, files of every kind."""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd.connector import Context
from syncd.connectors.files.file import CONNECTOR, FileSettings, FileSource
from syncd.connectors.files.headers import guess
from syncd.connectors.files.tables import TableOptions, open_table
from syncd.errors import Malformed, Transient
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import BackfillConformance, PollingConformance, Vendor
from syncd.testing.ledger import SourceLedger

SINCE, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def source(path: Path, **keys: Any) -> FileSource:
    context = Context(name="files", tokens=MemoryTokens(), region="VN")
    return FileSource(FileSettings.model_validate({"path": str(path), "as": "contact", **keys}), context)


def signals(path: Path, **keys: Any) -> list[Signal]:
    return [one for batch in source(path, **keys).backfill(SINCE, UNTIL, None) for one in batch.signals]


class Folder(Vendor):
    """Event n is a file of one row."""

    keeps_everything = True  # how far each file in the folder was read

    def __init__(self, path: Path) -> None:
        self.path = path

    def happen(self, number: int) -> None:
        file = self.path / f"{number:03}.csv"
        file.write_text(f"E-Mail;Name\nan{number}@example.com;An {number}\n")
        at = self.moment(number).timestamp()
        os.utime(file, (at, at))


class TestFile(PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, tmp_path: Path) -> Folder:
        return Folder(tmp_path)

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Callable[[], FileSource]:
        return lambda: source(tmp_path / "*.csv")


def test_a_wrong_row_is_reported_with_its_line_and_its_neighbours_pass(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text('Our contacts\n\nEmail,Note\na@x.example,"two\nlines"\nbad,\nb@x.example,ok\nc@x.example,1,2\n')
    (batch,) = source(file).backfill(SINCE, UNTIL, None)
    assert [one.person.email for one in batch.signals] == ["a@x.example", "b@x.example"]
    assert batch.signals[0].data["row"]["Note"] == "two\nlines"
    reasons = [misfit.reason for misfit in batch.misfits]
    assert reasons == [
        "list.csv:6: Email: 'bad' is not an email address",
        "list.csv:8: has 3 cells, the header 2",
    ]
    with pytest.raises(Malformed, match=r"list\.csv:6: Email: .* not an email address"):
        source(file).reparse(batch.misfits[0].request)


def test_one_row_is_one_signal_in_any_file_and_order_of_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("E-mail,Điện thoại,City\nAn@x.example,84912345678,Huế\n", "utf-8")
    (tmp_path / "b.csv").write_bytes("Ort\tVorname\tTelefon\tMail\nHuế\t\t84912345678\tAn@x.example\n".encode("utf-16"))
    (tmp_path / "c.jsonl").write_text(json.dumps({"email": "An@x.example", "phone": 84912345678, "city": "Huế"}))
    book = openpyxl.Workbook()
    for row in (["Contacts 2026"], [], ["City", "Email", "Phone"], ["Huế", "An@x.example", 84912345678.0]):
        book.active.append(row)
    book.save(tmp_path / "d.xlsx")
    found = {path.name: signals(path) for path in sorted(tmp_path.iterdir())}
    assert {len(each) for each in found.values()} == {1}
    assert len({each[0].id for each in found.values()}) == 1
    assert {each[0].person.phone for each in found.values()} == {"+84912345678"}


def test_a_changed_file_is_read_again_when_it_is_still(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    ledger = SourceLedger(connect=lambda: source(file), now=datetime.now(UTC))
    ledger.start()
    file.write_text("email\na@x.example\n")
    ledger.now = datetime.now(UTC)
    assert ledger.poll() == []
    ledger.now += timedelta(seconds=6)
    assert len(ledger.poll()) == 1
    assert ledger.poll() == []


def test_a_map_that_is_mended_reads_a_file_without_a_clear_header_again(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    now = datetime.now(UTC)
    start = source(file).start(now)
    file.write_text("Mailbox\na@x.example\n")
    later = now + timedelta(minutes=1)
    (put_aside,) = source(file).poll(start, later)
    assert "no column is known as email" in put_aside.misfits[0].reason
    assert put_aside.state is not None
    assert list(source(file).poll(put_aside.state, later)) == []
    (read,) = source(file, map={"email": "Mailbox"}).poll(put_aside.state, later)
    assert [one.person.email for one in read.signals] == ["a@x.example"]
    assert read.state is not None
    assert list(source(file).poll(read.state, later)) == []  # what was read once is not read again for that


def test_of_rows_of_one_person_the_one_further_down_is_the_later_over_all_pages(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("Email,City\n" + "".join(f"a@x.example,City {number}\n" for number in range(700)))
    found = signals(file)
    times = [one.received_at for one in found]
    assert [one.data["city"] for one in found] == [f"City {number}" for number in range(700)]
    assert times == sorted(set(times))


def test_a_row_among_the_first_that_cannot_be_read_is_reported_too(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("Email,Note\na@x.example," + "x" * 140_000 + "\nb@x.example,\n")
    (batch,) = source(file).backfill(SINCE, UNTIL, None)
    assert [one.person.email for one in batch.signals] == ["b@x.example"]
    assert batch.misfits[0].reason.startswith("list.csv:2: cannot be read (field larger than field limit")


def test_a_file_that_breaks_off_keeps_the_rows_before(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("Email\n" + "".join(f"a{number}@x.example\n" for number in range(250)) + "x" * 1_100_000)
    batches = list(source(file).backfill(SINCE, UNTIL, None))
    assert sum(len(batch.signals) for batch in batches) == 250
    assert [one.reason for batch in batches for one in batch.misfits] == [
        "list.csv: line 252 has more than 1000000 characters: is this a table?"
    ]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        (["Email", "E-Mail Address"], "'Email' and 'E-Mail Address' could both be the email"),
        (["Colour", "Size"], "headers found: 'Colour', 'Size'"),
    ],
)
def test_an_identity_that_is_not_clear_lists_the_headers(headers: list[str], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        guess(headers, "contact")


@given(st.binary(max_size=400), st.sampled_from([".csv", ".jsonl"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_reader(tmp_path: Path, body: bytes, suffix: str) -> None:
    file = tmp_path / f"any{suffix}"
    file.write_bytes(body)
    with contextlib.suppress(Malformed):
        list(open_table(file, TableOptions("contact")).lines)


@pytest.mark.parametrize("name", ["in[12]", "in[box", "what?", "*"])
def test_a_folder_may_be_named_like_a_pattern(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "sub"
    folder.mkdir(parents=True)
    (folder / "list [1].csv").write_text("E-Mail\na@x.example\n")
    for pattern in (folder / "*.csv", folder / "list [1].csv", tmp_path / name / "s*" / "*[[]1].csv"):
        assert [one.person.email for one in signals(pattern)] == ["a@x.example"], pattern
    (tmp_path / "in1").mkdir()
    (tmp_path / "in1" / "b.csv").write_text("E-Mail\nb@x.example\n")
    assert [one.person.email for one in signals(tmp_path / "in[0-9]" / "*.csv")] == ["b@x.example"]
    assert signals(tmp_path / "nowhere" / "*.csv") == []


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    made = source(tmp_path / "*.csv", settle="0s")
    state = made.start(UNTIL)
    (tmp_path / "a.csv").symlink_to("/proc/self/mem")  # opens, and every read of it fails
    (tmp_path / "b.csv").write_text("E-Mail\nan@example.com\n")
    found: list[Signal] = []
    with pytest.raises(Transient, match=r"a\.csv"):
        found.extend(one for batch in made.poll(state, UNTIL) for one in batch.signals)
    assert [one.person.email for one in found] == ["an@example.com"]


def test_a_list_in_the_encoding_of_the_country_is_read(tmp_path: Path) -> None:
    rows = "Email;Tên;Thành phố\r\nq@list.example;Đỗ Quỳnh;Cần Thơ\r\n"
    written = "".join(unicodedata.normalize("NFC", letter) + tone for char in rows for letter, tone in [_apart(char)])
    (tmp_path / "a.csv").write_bytes(written.encode("cp1258"))
    (tmp_path / "b.csv").write_text(rows.replace("q@", "p@"), "utf-16")
    found = signals(tmp_path / "*.csv")
    assert [one.person.name for one in found] == ["Đỗ Quỳnh"] * 2
    assert [one.data["city"] for one in found] == ["Cần Thơ"] * 2


def _apart(char: str) -> tuple[str, str]:
    parts = unicodedata.normalize("NFD", char)
    tone = "".join(c for c in parts if c in "\u0300\u0301\u0303\u0309\u0323")
    return "".join(c for c in parts if c not in tone), tone


def test_an_encoding_that_is_not_clear_is_refused_and_can_be_told(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes("Email,City\nk@list.example,Krager\xf8\n".encode("cp1252"))
    (batch,) = source(file).backfill(SINCE, UNTIL, None)
    assert not batch.signals
    assert "the encoding is not clear: " in batch.misfits[0].reason
    assert signals(file, encoding="windows-1252")[0].data["city"] == "Kragerø"
    with pytest.raises(ValidationError, match="'windows-9' is not a known encoding"):
        source(file, encoding="windows-9")


def test_a_damaged_row_is_read_and_reported(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(
        "Email,Name\na@x.example,Jörg Müller\nb@x.example,Łucja Żak\n".encode() + b"c@x.example,Andr\xe9\n"
    )
    found = {one.person.email: one for one in signals(file)}
    assert found["b@x.example"].person.name == "Łucja Żak"
    assert found["c@x.example"].person.name == "André"
    assert found["c@x.example"].data["faults"] == ["list.csv:4: the bytes e9 are not utf-8: read as 'é'"]
    assert "faults" not in found["a@x.example"].data


@pytest.mark.parametrize(
    "name", ["Jörg Müller", "Nguyễn Thị Ngọc Ánh", "Łucja Żak", "Ágnes Őze", "José Peña", "王小明ö"]
)
def test_a_list_that_was_encoded_twice_is_read_back(tmp_path: Path, name: str) -> None:
    twice = "".join(_as_windows_1252(byte) for byte in name.encode())
    (tmp_path / "list.csv").write_text(f"Email,Name\na@x.example,{twice}\nb@x.example,Ann Kern\n", "utf-8")
    found = {one.person.email: one for one in signals(tmp_path / "list.csv")}
    assert found["a@x.example"].data["row"]["Name"] == name
    assert "was encoded twice: read as" in found["a@x.example"].data["faults"][0]
    assert "faults" not in found["b@x.example"].data


def _as_windows_1252(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


@pytest.mark.parametrize("name", ["Ägnes Ös", "CAFÉ™", "SÃO “JOÃO”", "“ÜBER”", "Ângela Åse", "Dvořák"])
def test_a_list_that_was_encoded_once_stays_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "list.csv").write_text(f"Email,City\na@x.example,{name}\n", "utf-8")
    assert signals(tmp_path / "list.csv")[0].data["city"] == name


def test_an_open_quote_is_a_wrong_row_and_the_others_come_in(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text('sep=;\nEmail;Name\na@x.example;"Never\nb@x.example;B\nc@x.example;"C"\n')
    (batch,) = source(file).backfill(SINCE, UNTIL, None)
    assert [one.person.email for one in batch.signals] == ["b@x.example", "c@x.example"]
    assert [one.reason for one in batch.misfits] == [
        "list.csv:3: the quote that begins on line 3 is never closed; close it, or take it out"
    ]
