"""CSV as people's programs write it: open quotes, quotes behind a backslash, delimiters."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.files.records import delimiter_of, records, separator


def read(text: str, delimiter: str = ",") -> list[tuple[int, list[str] | str]]:
    found = records(io.StringIO(text, newline=""), delimiter)
    return [(record.number, record.fault or record.cells) for record in found]


OPEN = "the quote that begins on line 2 is never closed; close it, or take it out"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ('h,i\na,"x\nb,y\nc,z\n', [(3, ["b", "y"]), (4, ["c", "z"])]),
        ('h,i\r\na,"x\r\nb,"y"\r\nc,z\r\n', [(3, ["b", "y"]), (4, ["c", "z"])]),
        ('h,i\na,"x\nb,"",y\nc,z', [(3, ["b", "", "y"]), (4, ["c", "z"])]),
        ('h,i\n"a,x\n"b","y"\n"c","z"\n', [(3, ["b", "y"]), (4, ["c", "z"])]),
        ('h,i\na@x.y,"x\nb@x.y,screen 5",y\nc,z', [(3, ["b@x.y", 'screen 5"', "y"]), (4, ["c", "z"])]),
        ('h,i\na,"two\nlines",x\n', None),
        ('h,i\na,"', []),
        ('h,i\na,"x\nb,"two\nlines"\nc,z\n', [(3, ["b", "two\nlines"]), (5, ["c", "z"])]),
    ],
)
def test_an_open_quote_costs_its_own_row(text: str, rest: list[tuple[int, list[str]]] | None) -> None:
    found = read(text)
    if rest is None:
        assert found[1:] == [(2, ["a", "two\nlines", "x"])]
    else:
        assert found[1:] == [(2, OPEN), *rest]


def test_two_rows_in_a_row_may_be_left_open() -> None:
    numbers = [(n, isinstance(what, str)) for n, what in read('a,b\n"c,d\n"e,f\ng,h\n')]
    assert numbers == [(1, False), (2, True), (3, True), (4, False)]


def test_the_line_is_the_one_where_the_quote_begins() -> None:
    found = read('h,i\n"one\ntwo","open\nb,c\n')
    assert found[1][1] == "the quote that begins on line 3 is never closed; close it, or take it out"
    assert found[2:] == [(4, ["b", "c"])]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('a,"He said \\"hi\\", twice",b\n', ["a", 'He said "hi", twice', "b"]),
        ('a,"C:\\dir\\",b\n', ["a", "C:\\dir\\", "b"]),
        ('a,"ends \\"here\\"",b\n', ["a", 'ends "here"', "b"]),
        ('a,"doubled ""quotes""",b\n', ["a", 'doubled "quotes"', "b"]),
        ('a,5" pipe,b\n', ["a", '5" pipe', "b"]),
        ('a,"Jörg "Jogi" M",b\n', ["a", 'Jörg Jogi" M"', "b"]),
    ],
)
def test_quotes_inside_a_cell(text: str, cells: list[str]) -> None:
    assert read(text) == [(1, cells)]


def test_a_long_swallowed_file_is_read_in_bounded_time() -> None:
    text = 'h,i\na,"x\n' + "b,y\n" * 60_000
    found = read(text)
    assert found[1][1] == OPEN
    assert len(found) == 60_002


@pytest.mark.parametrize(
    ("line", "found"), [("sep=;\r\n", ";"), ('"sep=\t"\n', "\t"), ("SEP=|", "|"), ("separate", ""), ("sep=", "")]
)
def test_excel_names_its_separator(line: str, found: str) -> None:
    assert separator(line) == found


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    rows = [
        ["Email", "Name", "Note"],
        ["a@x.y; b@x.y", "A, Dr.", "1|2"],
        ["c@x.y", "C", 'open "'],
        ["d@x.y", "D, E", ""],
    ]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    assert delimiter_of(out.getvalue()) == delimiter


cells = st.text(alphabet='ab,;"\n \\', max_size=5).filter(lambda cell: "\\" not in cell)


@given(st.lists(st.lists(cells, min_size=2, max_size=3), max_size=6))
def test_what_is_written_well_is_read_as_it_is(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    assert [what for _, what in read(out.getvalue())] == rows


@given(st.text(alphabet='a,"\n\r\\;', max_size=60))
def test_every_line_is_read_or_named(text: str) -> None:
    found = list(records(io.StringIO(text, newline=""), ","))
    numbers = [record.number for record in found]
    assert numbers == sorted(set(numbers))
    assert all(record.last >= record.number for record in found)
