"""What commands print: for people, for pipes, for programs."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.cli.output import Format, Output, _coloured, localised, pace, plain_table

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
LONG = "9f0c2d4e-5b6a-4c7d-8e9f-" + "0" * 200
ROW = {
    "id": LONG,
    "state": "dead",
    "at": datetime(2026, 11, 28, 14, 5, tzinfo=UTC),
    "text": 'a,"b"\nc\td',
    "more": {"x": 1},
}


def printed(capsys: pytest.CaptureFixture[str], format: Format) -> str:
    Output(format, HANOI).rows([ROW], ["id", "state", "at", "text"], title="a title")
    return capsys.readouterr().out


def test_a_pipe_gets_whole_cells_and_no_frame(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "table")
    assert LONG in out
    assert out.isascii()
    assert out.splitlines()[1].split() == ["id", "state", "at", "text"]
    assert "2026-11-28 21:05:00" in out
    assert len(out.splitlines()) == 3


def test_csv_is_read_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    (head, row) = csv.reader(io.StringIO(printed(capsys, "csv")))
    assert head == ["id", "state", "at", "text"]
    assert row == [LONG, "dead", "2026-11-28T14:05:00+00:00", ROW["text"]]


def test_tsv_has_a_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "tsv").splitlines()
    assert len(lines) == 2
    assert len(lines[1].split("\t")) == 4


def test_json_has_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert '"more":{"x":1}' in printed(capsys, "json")


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), min_size=1, max_size=4))
def test_a_plain_table_has_a_line_a_row(rows: list[list[str]]) -> None:
    assert plain_table(rows, ["one", "two"]).count("\n") == len(rows) + 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("paused until 2026-11-28 18:30 UTC: busy", "paused until 2026-11-29 01:30 Asia/Ho_Chi_Minh: busy"),
        ("again at 2026-11-28T18:30:11Z, then", "again at 2026-11-29 01:30 Asia/Ho_Chi_Minh, then"),
        ("since 2026-11-28T18:30:11.123456+00:00", "since 2026-11-29 01:30 Asia/Ho_Chi_Minh"),
        ("on 2026-11-28 the vendor said 99:99", "on 2026-11-28 the vendor said 99:99"),
    ],
)
def test_sentences_tell_one_time_zone(text: str, told: str) -> None:
    assert localised(text, HANOI) == told


@pytest.mark.parametrize(
    ("done", "share", "seconds", "said"),
    [
        (1000, 0.25, 10.0, ", 100/s, 30s left"),
        (1000, None, 10.0, ", 100/s"),
        (0, 0.5, 90.0, ", 1m30s left"),
        (5, 0.5, 0.1, ""),
        (5, 1.0, 5.0, ", 1/s"),
    ],
)
def test_pace(done: int, share: float | None, seconds: float, said: str) -> None:
    assert pace(done, share, seconds) == said


def test_the_worst_state_colours_a_cell() -> None:
    assert _coloured("archive: delivered, crm: dead").startswith("[red]")
    assert _coloured("delivered").startswith("[green]")
    assert _coloured("deadline") == "deadline"
