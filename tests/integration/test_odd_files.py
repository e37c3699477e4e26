"""Lists as programs really leave them: several columns of one kind, ragged headers, totals, JSON of every form, marks of DOS."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncd.connector import Context
from syncd.connectors.files.file import FileSettings, FileSource
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal

SINCE, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
A, B = "a@x.example", "b@x.example"
JO, LO = {"name": "Jo", "email": A}, {"name": "Lo", "email": B}


def source(path: Path, kind: str = "contact", **keys: Any) -> FileSource:
    context = Context(name="files", tokens=MemoryTokens(), region="US")
    return FileSource(FileSettings.model_validate({"path": str(path), "as": kind, **keys}), context)


def read(
    folder: Path, content: str | bytes, name: str = "list.csv", kind: str = "contact"
) -> tuple[list[Signal], list[str]]:
    """(signals, why the others are none)."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    batches = list(source(file, kind).backfill(SINCE, UNTIL, None))
    return [one for batch in batches for one in batch.signals], [
        one.reason for batch in batches for one in batch.misfits
    ]


def emails(found: Sequence[Signal]) -> list[str]:
    return [one.person.email for one in found]


# ---- several columns of one kind


@pytest.mark.parametrize(
    ("headers", "first"),
    [
        ("E-mail 1 - Value,E-mail 2 - Value", 0),
        ("Email,Email", 0),
        ("Email (2),Email,Email", 1),
        ("Home Email,Work Email", 1),
        ("Email 2,Email", 1),
    ],
)
def test_of_several_addresses_the_best_column_counts_and_the_others_are_kept(
    tmp_path: Path, headers: str, first: int
) -> None:
    cells = [f"{letter}@x.example" for letter in "abc"[: headers.count(",") + 1]]
    empty = ["" if place == first else cell for place, cell in enumerate(cells)]
    text = f"Name,{headers}\nJo,{','.join(cells)}\nLo,{','.join(empty)}\n"
    found, wrong = read(tmp_path, text)
    assert (found[0].person.email, wrong) == (cells[first], [])
    assert found[1].person.email == next(filter(None, empty))
    for signal, written in zip(found, (cells, empty), strict=True):
        kept = signal.data["row"].values()
        assert sorted(cell for cell in kept if "@" in cell) == sorted(filter(None, written)), (
            "each once, under its own name"
        )


def test_a_column_whose_cell_holds_no_address_gives_way_with_a_note(tmp_path: Path) -> None:
    found, wrong = read(tmp_path, f"Name,Email 1,Email 2\nJo,none given,{B}\nLo,asked twice,still none\n")
    assert (emails(found), found[0].data["faults"]) == (
        [B],
        ["list.csv:2: Email 1: 'none given' is not an email address"],
    )
    assert wrong == ["list.csv:3: Email 1: 'asked twice' is not an email address"]


def test_of_several_numbers_the_best_column_counts_and_the_others_are_kept(tmp_path: Path) -> None:
    mobile, home, work = "+14155550101", "+14155550102", "+14155550103"
    (one, other), wrong = read(
        tmp_path, f"Name,Mobile Phone,Home Phone,Work Phone\nJo,{mobile},{home},{work}\nLo,{mobile},{home},\n"
    )
    assert (one.person.phone, other.person.phone, wrong) == (work, home, [])
    assert {mobile, home, work} <= set(one.data["row"].values())


# ---- what stands around a list


def test_columns_without_a_name_at_the_end(tmp_path: Path) -> None:
    found, wrong = read(
        tmp_path, f"Name,Email,,\nJo,{A},,\nLo,{B},asked twice,\nMo,c@x.example,,,\nNo,d@x.example,1,2,3\n"
    )
    assert emails(found) == [A, B, "c@x.example"]
    assert found[1].data["row"] == {"Name": "Lo", "Email": B, "column 3": "asked twice"}
    assert wrong == ["list.csv:5: has 5 cells, the header 4"]
    assert list(source(tmp_path / "list.csv").look().columns) == ["Name", "Email", "column 3"]


def test_empty_columns_change_no_id(tmp_path: Path) -> None:
    (plain,), _ = read(tmp_path, f"Name,Email\nJo,{A}\n")
    (wide,), _ = read(tmp_path, f"Name,Email,,\nJo,{A},,\n")
    assert plain.id == wide.id


@pytest.mark.parametrize(
    "text",
    [
        f"\n\nName,Email\nJo,{A}\n",
        f"Customers 2026,,\n,,\nName,Email,\nJo,{A},\n",
        f"Customer\nEmail\n{A}\n",
        f"\r\n\r\nOur contacts\r\n\r\nEmail;Name\r\n{A};Jo\r\n",
    ],
)
def test_what_stands_above_the_header_is_passed_over(tmp_path: Path, text: str) -> None:
    found, wrong = read(tmp_path, text)
    assert (emails(found), wrong) == ([A], [])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("Total,,17", "'Total' looks like a total"),
        ("Grand Total: 12 000,,", "'Grand Total: 12 000' looks like a total"),
        ("Gesamt,,1.234 €", "'Gesamt' looks like a total"),
        ("合计,,5", "'合计' looks like a total"),
        ("Company,City,Orders", "repeats the header"),
        ("Total,Paris,", ""),
        ("Totalenergies,,17", ""),
        ("3M,,17", ""),
        ("Total,,", ""),
    ],
)
def test_a_total_below_a_list_of_companies_is_no_company(tmp_path: Path, row: str, why: str) -> None:
    found, wrong = read(tmp_path, f"Company,City,Orders\nACME,Rome,17\n{row}\n", kind="account")
    assert [one.person.company for one in found] == (["ACME"] if why else ["ACME", row.split(",")[0]])
    assert all(one.startswith(f"list.csv:3: {why}") for one in wrong)
    assert len(wrong) == bool(why)


def test_files_that_were_joined_repeat_their_header(tmp_path: Path) -> None:
    found, wrong = read(tmp_path, f"Name,Email\nJo,{A}\nName,Email\nLo,{B}\n")
    assert (emails(found), wrong) == ([A, B], ["list.csv:3: repeats the header; delete this line"])


# ---- JSON


@pytest.mark.parametrize("name", ["list.json", "list.jsonl", "list.txt"])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps([JO, LO]),
        json.dumps([JO, LO], indent=2),
        json.dumps([JO, LO], indent="\t").replace("\n", "\r\n"),
        f"[{json.dumps(JO)},\n{json.dumps(LO)}]\n",
        f"{json.dumps(JO)},\r\n{json.dumps(LO)},\r\n",
        f"{json.dumps(JO)}\r\n\r\n{json.dumps(LO)}\r\n\x1a",
        f"{json.dumps(JO, indent=1)}\n{json.dumps(LO, indent=1)}\n",
        f"[{json.dumps(JO)},{json.dumps(LO)},]",
        json.dumps([JO, LO], indent=2).replace("\n", "\r"),
    ],
)
def test_json_in_any_form(tmp_path: Path, name: str, text: str) -> None:
    for content in (text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), text.encode() + bytes(5000)):
        found, wrong = read(tmp_path, content, name)
        assert ([(one.person.name, one.person.email) for one in found], wrong) == ([("Jo", A), ("Lo", B)], [])


def test_one_object_on_several_lines(tmp_path: Path) -> None:
    found, wrong = read(tmp_path, json.dumps(JO, indent=2), "one.json")
    assert (emails(found), wrong) == ([A], [])


@pytest.mark.parametrize(
    ("text", "good", "why"),
    [
        (
            f'[{json.dumps(JO)},\n{{"name": }},\n7,\n{json.dumps(LO)}]',
            [A, B],
            ["list.json:2: is not JSON: ", "list.json:3: is not a JSON object"],
        ),
        (
            json.dumps([JO, LO], indent=1)[:-9],
            [A],
            ["list.json: line 6: the object that begins here is never closed: is the file whole?"],
        ),
        (f"[{json.dumps(JO)},\n", [A], ["list.json: the list is never closed by ]: is the file whole?"]),
        (
            f'{json.dumps(JO)}\n{{"email": "{B}", "n": NaN}}\n',
            [A],
            ["list.json:2: is not JSON: NaN is not a number in JSON; its sender must write null"],
        ),
        (
            json.dumps({"page": 1, "contacts": [JO, LO]}, indent=1),
            [],
            ["list.json: the list is inside an object, under 'contacts': save that list alone"],
        ),
        ("[]", [], ["list.json: there is no JSON object with keys in it"]),
        ("[[1, 2], [3, 4]]", [], ["list.json: there is no JSON object in it: line 1 is not a JSON object"]),
        (f'{{"name": "broken\n{json.dumps(JO)}\n', [A], ["list.json:1: is not JSON: "]),
    ],
)
def test_json_that_is_damaged_says_where(tmp_path: Path, text: str, good: list[str], why: list[str]) -> None:
    found, wrong = read(tmp_path, text, "list.json")
    assert emails(found) == good
    assert len(wrong) == len(why)
    assert all(one.startswith(begins) for one, begins in zip(wrong, why, strict=True)), wrong


def test_line_breaks_as_they_are_inside_a_json_text(tmp_path: Path) -> None:
    found, wrong = read(tmp_path, f'[{{"email": "{A}", "note": "one\ntwo\tthree"}}]', "list.json")
    assert (found[0].data["row"]["note"], wrong) == ("one\ntwo\tthree", [])


def test_a_large_list_on_one_line_is_read_in_pieces(tmp_path: Path) -> None:
    people = [{"email": f"p{number}@x.example", "note": "x" * 500} for number in range(4_000)]
    found, wrong = read(tmp_path, json.dumps(people), "list.json")
    assert (len(found), wrong) == (4_000, [])


# ---- ends of files and lines


@pytest.mark.parametrize(
    "end", ["\x1a", "\r\n\x1a", "\r\n\x1a\x1a\x1a\0\0", "\r\n" + "\0" * 3_000_000, "\0" * 3_000_000, "\0\x1a"]
)
def test_what_fills_up_the_end_of_a_file_is_no_row(tmp_path: Path, end: str) -> None:
    found, wrong = read(tmp_path, f"Name,Email\r\nJo,{A}{end}")
    assert (emails(found), wrong) == ([A], [])


def test_the_end_mark_between_two_files_that_were_joined(tmp_path: Path) -> None:
    found, wrong = read(tmp_path, f"Name,Email\r\nJo,{A}\r\n\x1aName,Email\r\nLo,{B}\r\n\x1a")
    assert (emails(found), wrong) == ([A, B], ["list.csv:3: repeats the header; delete this line"])


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("fill", [0, 300, 6_000])
def test_utf_16_without_its_mark(tmp_path: Path, codec: str, fill: int) -> None:
    found, wrong = read(tmp_path, f"名前,メール\r\n山田太郎,{A}\r\n".encode(codec) + bytes(fill))
    assert ([(one.person.name, one.person.email) for one in found], wrong) == ([("山田太郎", A)], [])
    companies = (
        "公司名称,城市\r\n"
        + "北京天安门科技有限责任公司,北京市朝阳区\r\n上海浦东发展银行股份有限公司,上海市黄浦区\r\n" * 3
    )
    found, wrong = read(tmp_path, companies.encode(codec) + bytes(fill), kind="account")
    assert (found[0].person.company, wrong) == ("北京天安门科技有限责任公司", [])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_cell_of_several_lines_left_of_the_address(tmp_path: Path, end: str) -> None:
    rows = ("Street,Email", f'"1 Main St{end}Floor 2",{A}', f'"9 Low Rd{end}{end}Rear","{B}"', "x,c@x.example", "")
    found, wrong = read(tmp_path, end.join(rows))
    assert (emails(found), wrong) == ([A, B, "c@x.example"], [])
    assert found[0].data["row"]["Street"] == f"1 Main St{end}Floor 2"
