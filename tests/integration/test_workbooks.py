"""Workbooks of every kind, and those that would cost the daemon its memory: each is rows or one clear line, in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import psutil
import pytest
import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

from syncd.connector import Context
from syncd.connectors.files import workbook
from syncd.connectors.files.file import FileSettings, FileSource
from syncd.connectors.files.tables import TableOptions, open_table
from syncd.connectors.files.workbook import MEMORY, sheet_rows
from syncd.errors import Malformed
from syncd.http.oauth import MemoryTokens

SINCE, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
TOO_MUCH = f"the workbook needs more than {MEMORY >> 20} MB of memory to read; save the sheet as CSV"


def readers() -> list[psutil.Process]:
    """Processes of this one that read workbooks; other tests keep database servers."""
    return [child for child in psutil.Process().children() if child.name() not in ("postgres", "pgbouncer")]


def source(path: Path, **keys: Any) -> FileSource:
    context = Context(name="files", tokens=MemoryTokens(), region="VN")
    return FileSource(FileSettings.model_validate({"path": str(path), "as": "contact", **keys}), context)


def xlsx(path: Path, rows: list[list[Any]]) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def xls(path: Path, rows: list[list[Any]]) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("List")
    for line, row in enumerate(rows):
        for place, cell in enumerate(row):
            sheet.write(line, place, cell)
    book.save(str(path))


def ods(path: Path, rows: list[list[Any]], repeat_columns: int = 0, repeat_rows: int = 0) -> None:
    """`repeat_…`: of the last row and its last cell."""
    book = OpenDocumentSpreadsheet()
    table = Table(name="List")
    for number, row in enumerate(rows, start=1):
        last = number == len(rows)
        line = TableRow(**({"numberrowsrepeated": repeat_rows} if last and repeat_rows else {}))
        for place, cell in enumerate(row, start=1):
            wide = last and place == len(row) and repeat_columns
            more = {"numbercolumnsrepeated": repeat_columns} if wide else {}
            kind = "float" if isinstance(cell, (int, float)) else "string"
            value = {"value": cell} if kind == "float" else {}
            made = TableCell(valuetype=kind, **value, **more)
            made.addElement(P(text=str(cell)))
            line.addElement(made)
        table.addElement(line)
    book.spreadsheet.addElement(table)
    book.save(str(path))


@pytest.mark.parametrize(("make", "name"), [(xlsx, "a.xlsx"), (xls, "a.xls"), (ods, "a.ods")])
def test_each_kind_is_read(tmp_path: Path, make: Any, name: str) -> None:
    file = tmp_path / name
    rows = [["Our people"], ["Email", "Phone", "City"], ["an@x.example", 84912345678.0, "Huế"], ["bad", "", ""]]
    make(file, rows)
    (batch,) = source(file).backfill(SINCE, UNTIL, None)
    (made,) = batch.signals
    assert (made.person.email, made.person.phone, made.data["city"]) == ("an@x.example", "+84912345678", "Huế")
    assert [one.reason for one in batch.misfits] == [f"{name}:4: Email: 'bad' is not an email address"]


def test_dates_and_numbers_are_written_as_people_read_them(tmp_path: Path) -> None:
    file = tmp_path / "a.xlsx"
    xlsx(
        file,
        [
            ["Email", "Born", "Seen", "Rate", "Vip"],
            ["a@x.example", date(1990, 5, 1), datetime.fromisoformat("2026-01-02T03:04:00"), 0.5, True],
        ],
    )
    (batch,) = source(file).backfill(SINCE, UNTIL, None)
    row = batch.signals[0].data["row"]
    assert row == {
        "Email": "a@x.example",
        "Born": "1990-05-01",
        "Seen": "2026-01-02T03:04:00",
        "Rate": "0.5",
        "Vip": "true",
    }


def test_companies_by_their_name(tmp_path: Path) -> None:
    file = tmp_path / "a.xlsx"
    xlsx(file, [["Name", "Website", "City"], ["An Co", "an.example", "Huế"], ["", "who.example", ""]])
    (batch,) = source(file, **{"as": "account"}).backfill(SINCE, UNTIL, None)
    (made,) = batch.signals
    assert (made.type, made.person.company, made.data["website"]) == ("account.changed", "An Co", "an.example")
    assert [one.reason for one in batch.misfits] == ["a.xlsx:3: no name of the company"]


def far_away(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = "Email"
    book.active["XFD1048576"] = "far"
    book.save(path)


def repeated_cells(path: Path) -> None:
    ods(path, [["Email"], ["a@x.example"]], repeat_columns=16_384, repeat_rows=1_048_576)


def fewer_repeated_cells(path: Path) -> None:
    """Just as many as the library itself puts up with: each takes it a few dozen bytes."""
    ods(path, [["Email"], ["a@x.example"]], repeat_columns=1_000, repeat_rows=90_000)


def honest_bomb(path: Path) -> None:
    """A gigabyte of blanks in a megabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("xl/sharedStrings.xml", "w") as part:
        for _ in range(1024):
            part.write(b" " * 2**20)


def lying_bomb(path: Path) -> None:
    """A shared string of nearly a gigabyte, in a file that says it is small."""
    far = path.with_suffix(".plain.xlsx")
    xlsx(far, [["Email"], ["a@x.example"]])
    with zipfile.ZipFile(far) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            if name != "xl/sharedStrings.xml":
                packed.writestr(name, plain.read(name))
        with packed.open("xl/sharedStrings.xml", "w") as part:
            part.write(b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>')
            for _ in range(900):
                part.write(b"x" * 2**20)
            part.write(b"</t></si></sst>")
    with zipfile.ZipFile(path) as packed:
        size = packed.getinfo("xl/sharedStrings.xml").file_size
    path.write_bytes(path.read_bytes().replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with zipfile.ZipFile(path) as packed:
        assert sum(part.file_size for part in packed.infolist()) < 100_000


READ = """
import json, resource, sys
from pathlib import Path
import psutil
from syncd.connectors.files.tables import TableOptions, open_table
from syncd.errors import Malformed
me, said = psutil.Process(), ""
before = me.memory_info().rss
try:
    list(open_table(Path(sys.argv[1]), TableOptions("contact")).lines)
except Malformed as error:
    said = str(error)
reader = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps([said, me.memory_info().rss - before, reader, len(me.children())]))
"""
"""In a process of its own: what else the tests have started must not count."""


@pytest.mark.parametrize("make", [far_away, repeated_cells, fewer_repeated_cells, honest_bomb, lying_bomb])
def test_a_bomb_is_one_line_and_costs_this_process_nothing(tmp_path: Path, make: Any) -> None:
    file = tmp_path / ("a.ods" if "repeated" in make.__name__ else "a.xlsx")
    make(file)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(file)], capture_output=True, text=True, timeout=120, check=True
    )
    said, grew, reader, left = json.loads(done.stdout)
    assert said
    assert "\n" not in said
    assert said == TOO_MUCH or "unpacks to" in said or "cannot be read" in said
    assert grew < 50_000_000
    assert reader < MEMORY  # 0 where none was started
    assert left == 0


def test_far_away_cells_and_repeated_ones_are_a_matter_of_memory(tmp_path: Path) -> None:
    for make, name in ((far_away, "a.xlsx"), (fewer_repeated_cells, "a.ods")):
        make(tmp_path / name)
        with pytest.raises(Malformed, match=TOO_MUCH):
            list(open_table(tmp_path / name, TableOptions("contact")).lines)


def test_a_bomb_in_a_folder_is_put_aside_once_and_its_neighbours_pass(tmp_path: Path) -> None:
    far_away(tmp_path / "a.xlsx")
    (tmp_path / "b.csv").write_text("Email\nb@x.example\n")
    batches = list(source(tmp_path / "*").backfill(SINCE, UNTIL, None))
    assert [misfit.reason for batch in batches for misfit in batch.misfits] == [f"a.xlsx: {TOO_MUCH}"]
    assert [one.person.email for batch in batches for one in batch.signals] == ["b@x.example"]


@pytest.mark.parametrize("body", [b"PK\x03\x04", b"PK\x03\x04" + b"x" * 5000, b"\xd0\xcf\x11\xe0" + b"x" * 5000])
def test_a_broken_workbook_is_one_line(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "a.xlsx"
    file.write_bytes(body)
    with pytest.raises(Malformed, match="the workbook cannot be read: "):
        open_table(file, TableOptions("contact"))


def test_the_process_is_lent_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    seen: dict[str, Any] = {}
    real = subprocess.Popen

    def watched(*words: Any, **options: Any) -> Any:
        seen.update(options)
        return real(*words, **options)

    monkeypatch.setattr(subprocess, "Popen", watched)
    xlsx(tmp_path / "a.xlsx", [["Email"], ["a@x.example"]])
    assert sheet_rows(tmp_path / "a.xlsx")[0] == 2
    assert set(seen["env"]) <= {*workbook.LENT, "PYTHONUTF8"}


def test_nothing_in_the_working_directory_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "__init__.py").write_text("raise SystemExit('caught')")
    monkeypatch.chdir(tmp_path)
    xlsx(tmp_path / "a.xlsx", [["Email"], ["a@x.example"]])
    assert [row[1] for row in sheet_rows(Path("a.xlsx"))[1]] == [["Email"], ["a@x.example"]]


def test_a_reading_that_is_left_leaves_no_process(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", [["Email"], *[[f"a{number}@x.example"] for number in range(20_000)]])
    table = open_table(tmp_path / "a.xlsx", TableOptions("contact"))
    next(table.lines)
    assert len(readers()) == 1
    del table
    assert readers() == []


def test_a_file_that_is_replaced_while_it_is_read_is_read_anew(tmp_path: Path) -> None:
    for name, make in (("a.xlsx", xlsx), ("a.csv", as_csv)):
        file = tmp_path / name
        make(file, [["Email"], *[[f"old{number}@x.example"] for number in range(500)]])
        files = source(file)
        batches = files.backfill(SINCE, UNTIL, None)
        first = next(batches)
        beside = tmp_path / f"beside-{name}"
        make(beside, [["Email"], ["new@x.example"]])
        os.replace(beside, file)
        assert list(batches) == []
        (again,) = files.backfill(SINCE, UNTIL, first.state)
        assert [one.person.email for one in again.signals] == ["new@x.example"]


def as_csv(path: Path, rows: list[list[Any]]) -> None:
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def test_where_no_limit_can_be_set_no_workbook_is_read(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", [["Email"], ["a@x.example"]])
    code = (
        "import resource, sys; from connectors.files import workbook\n"
        "def no(*_): raise PermissionError('not here')\n"
        f"resource.setrlimit = no; workbook.main({str(tmp_path / 'a.xlsx')!r}, '')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "workbooks cannot be read here, since no limit can be set (not here)" in ran.stdout


def formatted(path: Path, cells: dict[str, tuple[Any, str]]) -> None:
    book = openpyxl.Workbook()
    for place, (value, form) in cells.items():
        book.active[place] = value
        book.active[place].number_format = form
    book.save(path)


def rows_of(path: Path, **keys: Any) -> list[dict[str, str]]:
    return [one.data["row"] for batch in source(path, **keys).backfill(SINCE, UNTIL, None) for one in batch.signals]


def test_zeros_that_only_the_format_shows_are_read(tmp_path: Path) -> None:
    cells: dict[str, tuple[Any, str]] = {
        "C2": ("Email", "General"),
        "D2": ("PLZ", "General"),
        "E2": ("ZIP", "General"),
        "F2": ("Sum", "General"),
    }
    cells |= {"C3": ("a@x.example", "@"), "D3": (1234, "00000"), "E3": (12345678, "00000\\-0000"), "F3": (7, "0.00")}
    cells |= {"C4": ("b@x.example", "@"), "D4": (123456, "00000"), "E4": ("n/a", "00000"), "F4": (1.5, "00000")}
    formatted(tmp_path / "a.xlsx", cells)
    first, second = rows_of(tmp_path / "a.xlsx")
    assert (first["PLZ"], first["ZIP"], first["Sum"]) == ("01234", "01234-5678", "7")
    assert (second["PLZ"], second["ZIP"], second["Sum"]) == ("123456", "n/a", "1.5")


def test_a_hidden_sheet_is_not_read_unless_it_is_named(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Old"
    book.active.sheet_state = "hidden"
    for row in (["Email"], ["old@x.example"]):
        book.active.append(row)
    for row in (["Email"], ["new@x.example"]):
        (book["New"] if "New" in book.sheetnames else book.create_sheet("New")).append(row)
    book.active = 1
    book.save(tmp_path / "a.xlsx")
    assert rows_of(tmp_path / "a.xlsx") == [{"Email": "new@x.example"}]
    assert rows_of(tmp_path / "a.xlsx", sheet="Old") == [{"Email": "old@x.example"}]


def test_the_line_of_a_wrong_row_is_that_of_the_sheet(tmp_path: Path) -> None:
    formatted(tmp_path / "a.xlsx", {"B4": ("Email", "@"), "B5": ("bad", "@"), "XFD9999": (None, "0.00")})
    (batch,) = source(tmp_path / "a.xlsx").backfill(SINCE, UNTIL, None)
    assert [misfit.reason for misfit in batch.misfits] == ["a.xlsx:5: Email: 'bad' is not an email address"]


PAGE = """<html xmlns:x="urn:schemas-microsoft-com:office:excel"><head>{meta}</head><body><table><tr><td>Report</td></tr></table>
<table border=1><tr><th>E-Mail</th><th>Name</th><th>Ort</th></tr>
<tr><td>a@x.example</td><td>Bäcker &amp;<br>Söhne</td><td><table><tr><td>inner</td></tr></table></td></tr>
<tr><td colspan=2>b@x.example</td><td>Köln</td></tr></table></body></html>"""


@pytest.mark.parametrize(
    ("codec", "meta"),
    [
        ("utf-8", '<meta charset="utf-8">'),
        ("cp1252", '<meta http-equiv=Content-Type content="text/html; charset=windows-1252">'),
        ("utf-16", ""),
        ("utf-8-sig", ""),
    ],
)
def test_a_web_page_that_is_called_xls_is_read(tmp_path: Path, codec: str, meta: str) -> None:
    (tmp_path / "a.xls").write_bytes(PAGE.format(meta=meta).encode(codec))
    assert rows_of(tmp_path / "a.xls") == [
        {"E-Mail": "a@x.example", "Name": "Bäcker &\nSöhne", "Ort": "inner"},
        {"E-Mail": "b@x.example", "Ort": "Köln"},
    ]


XML = """<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>
<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet">
<Worksheet ss:Name="None"><Table/></Worksheet><Worksheet ss:Name="List"><Table>
<Row ss:Index="2"><Cell><Data ss:Type="String">Email</Data></Cell><Cell ss:Index="3"><Data ss:Type="String">Phone</Data></Cell>
<Cell><Data ss:Type="String">Since</Data></Cell></Row>
<Row><Cell><Data ss:Type="String">a@x.example</Data></Cell><Cell ss:Index="3"><Data ss:Type="Number">84912345678.0</Data></Cell>
<Cell><Data ss:Type="DateTime">2026-11-22T00:00:00.000</Data></Cell></Row>
<Row><Cell><Data ss:Type="String">bad</Data></Cell></Row></Table></Worksheet></Workbook>"""


def test_xml_that_is_called_xls_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.xls").write_text(XML)
    (batch,) = source(tmp_path / "a.xls").backfill(SINCE, UNTIL, None)
    assert batch.signals[0].person.phone == "+84912345678"
    assert batch.signals[0].data["row"]["Since"] == "2026-11-22"
    assert batch.misfits[0].reason == "a.xls:4: Email: 'bad' is not an email address"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"%PDF-1.7 ...", "is a PDF document, not a table"),
        (b"MIME-Version: 1.0\r\nContent-Type: multipart/related", "is a web archive (MHTML), not a table"),
        (b"<html><body>Please sign in</body></html>", "is a web page without a table"),
        (b'<?xml version="1.0"?><feed/>', "is XML of another kind (<feed>)"),
        (b"BEGIN:VCARD\r\nFN:An\r\nEND:VCARD\r\n", "is a vCard file, not a table"),
    ],
)
def test_a_file_that_is_no_workbook_says_what_it_is(tmp_path: Path, body: bytes, says: str) -> None:
    (tmp_path / "a.xls").write_bytes(body)
    (batch,) = source(tmp_path / "a.xls").backfill(SINCE, UNTIL, None)
    assert batch.misfits[0].reason.startswith(f"a.xls: {says}")
    assert "save the list as CSV or XLSX" in batch.misfits[0].reason
