"""Which part of a name is the family's, and how names are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.identity.names import in_order, joined, split_name
from syncd.signals import make_person

SPLIT: list[tuple[str, str | None, tuple[str, str]]] = [
    ("Nguyễn Văn An", "VN", ("Văn An", "Nguyễn")),
    ("Nguyễn Văn An", None, ("Văn An", "Nguyễn")),
    ("Nguyen Van An", "VN", ("Van An", "Nguyen")),
    ("Nguyen Van An", None, ("Nguyen Van", "An")),
    ("An Nguyen", "VN", ("An", "Nguyen")),
    ("An Nguyễn", "VN", ("An", "Nguyễn")),
    ("Mai Nguyễn", "VN", ("Mai", "Nguyễn")),
    ("John Smith", "VN", ("John", "Smith")),
    ("Jenny Tran", "VN", ("Jenny", "Tran")),
    ("Le Blanc", "VN", ("Le", "Blanc")),
    ("Trần Thị Hồng Nhung", "VN", ("Thị Hồng Nhung", "Trần")),
    ("LÊ MINH", "VN", ("MINH", "LÊ")),
    ("Lê Hoàng", "VN", ("Hoàng", "Lê")),
    ("Hồ Ngọc Hà", "VN", ("Ngọc Hà", "Hồ")),
    ("Khuất Duy Tiến", "DE", ("Duy Tiến", "Khuất")),
    ("王小明", None, ("小明", "王")),
    ("王小明", "CN", ("小明", "王")),
    ("欧阳振华", None, ("振华", "欧阳")),
    ("小明 王", None, ("小明", "王")),
    ("王 小明", None, ("小明", "王")),
    ("山田太郎", "JP", ("太郎", "山田")),
    ("山田 太郎", None, ("太郎", "山田")),
    ("山田太郎", None, ("太郎", "山田")),
    ("田中", "JP", ("", "田中")),
    ("김민준", None, ("민준", "김")),
    ("남궁민수", "KR", ("민수", "남궁")),
    ("ジョン・スミス", "JP", ("ジョン", "スミス")),
    ("Wang Xiaoming", "CN", ("Xiaoming", "Wang")),
    ("Xiaoming Wang", "CN", ("Xiaoming", "Wang")),
    ("David Wang", "CN", ("David", "Wang")),
    ("Wang David", "CN", ("Wang", "David")),
    ("Leung Chiu Wai", "HK", ("Chiu Wai", "Leung")),
    ("Tony Leung", "HK", ("Tony", "Leung")),
    ("Kim Minjun", "KR", ("Minjun", "Kim")),
    ("Tanaka Hanako", "JP", ("Hanako", "Tanaka")),
    ("Hanako Tanaka", "JP", ("Hanako", "Tanaka")),
    ("Nagy János", "HU", ("János", "Nagy")),
    ("János Nagy", "HU", ("János", "Nagy")),
    ("John Smith", "HU", ("John", "Smith")),
    ("Doe, Jane", "VN", ("Jane", "Doe")),
    ("Cher", "VN", ("", "Cher")),
    ("a, b, c", None, ("a, b,", "c")),
    ("Jean-Luc Picard", "HU", ("Jean-Luc", "Picard")),
    ("Phan Văn Trị", "VN", ("Văn Trị", "Phan")),
    ("Vũ Trọng Phụng", "VN", ("Trọng Phụng", "Vũ")),
    ("Đỗ Mười", "VN", ("Mười", "Đỗ")),
]
JOINED: list[tuple[str, str, str | None, str]] = [
    ("An", "Nguyễn Văn", "VN", "Nguyễn Văn An"),
    ("小明", "王", "CN", "王小明"),
    ("小明", "王", None, "王小明"),
    ("John", "Smith", "VN", "John Smith"),
    ("Jenny", "Tran", "VN", "Jenny Tran"),
    ("An", "Nguyen Van", "VN", "Nguyen Van An"),
    ("Jane", "Doe", "CN", "Jane Doe"),
    ("Xiaoming", "Wang", "CN", "Wang Xiaoming"),
    ("민준", "김", "KR", "김민준"),
    ("太郎", "山田", "JP", "山田太郎"),
    ("János", "Nagy", "HU", "Nagy János"),
    ("David", "Kim", "KR", "David Kim"),
    ("Minjun", "Kim", "KR", "Kim Minjun"),
    ("A", "B", None, "A B"),
    ("", "B", None, "B"),
    ("Hanako", "Tanaka", "JP", "Tanaka Hanako"),
    ("Hồng", "Trần", "DE", "Trần Hồng"),
]


@pytest.mark.parametrize(("name", "region", "parts"), SPLIT)
def test_a_full_name_is_split(name: str, region: str | None, parts: tuple[str, str]) -> None:
    assert split_name(name, region) == parts


@pytest.mark.parametrize(("first", "last", "region", "name"), JOINED)
def test_two_parts_are_shown_in_their_order(first: str, last: str, region: str | None, name: str) -> None:
    assert joined(first, last, region) == name


@pytest.mark.parametrize(
    ("name", "region", "shown"),
    [
        ("Müller, Jörg", None, "Jörg Müller"),
        ("Nguyễn, Văn An", None, "Nguyễn Văn An"),
        ("Nguyen, Van An", "VN", "Nguyen Van An"),
        ("王，小明", None, "王小明"),
        ("Acme, Inc.", None, "Acme, Inc."),
        ("Ann Example, PhD", None, "Ann Example, PhD"),
        ("Example, Ann, Sales", None, "Example, Ann, Sales"),
        ("Sales, 2nd floor", None, "Sales, 2nd floor"),
        ("Ann Example", None, "Ann Example"),
    ],
)
def test_a_family_name_before_a_comma_finds_its_place(name: str, region: str | None, shown: str) -> None:
    assert in_order(name, region) == shown


@given(st.text(max_size=30), st.sampled_from([None, "VN", "CN", "JP", "KR", "HU", "DE"]))
def test_nothing_of_a_name_is_lost(name: str, region: str | None) -> None:
    first, last = split_name(name, region)
    assert sorted(c for c in first + last if c.isalnum()) == sorted(c for c in name if c.isalnum())


def test_a_name_is_split_alike_whatever_it_came_from() -> None:
    columns = make_person(first_name="An", last_name="Nguyễn Văn", email="a@b.example", region="VN")
    assert columns.name == "Nguyễn Văn An"
    whole = make_person(name="Nguyễn Văn An", email="a@b.example", region="VN")
    assert (whole.name, whole.first_name, whole.last_name) == ("Nguyễn Văn An", "Văn An", "Nguyễn")
    header = make_person(email="Nguyễn Văn An <a@b.example>", region="VN")
    assert header == whole


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((text, "") for text in ("#NV", "#N/A", "#NAME?", "#REF!", "#DIV/0!", "#WERT!", "#¡VALOR!", "#ЗНАЧ!", "####")),
        *((text, "") for text in ("NULL", "null", "NaN", "nan", "N/A", "n/a", "None", "undefined", "(null)", "<NA>")),
        *((text, "") for text in ("-", "--", ".", "?", "=HYPERLINK(1)", '=HYPERLINK("https://k.example")', "=A1&B1")),
        ('=HYPERLINK("https://k.example";"Ann Kern")', "Ann Kern"),
        ("@Ann", "Ann"),
        ("'Ann", "Ann"),
        ("'t Hooft", "'t Hooft"),
        ("<b>Ann</b>", "Ann"),
        ("<b>Ann</b> <i>Kern</i>", "Ann Kern"),
        ('["Ann", "Kern"]', "Ann Kern"),
        ("Nan Kern", "Nan Kern"),
        ("Nan", "Nan"),
        ("Na", "Na"),
        ("Ann-Null Kern", "Ann-Null Kern"),
        ("X Æ A-12", "X Æ A-12"),
        ("🎉", "🎉"),
        ("#1 Tuning", "#1 Tuning"),
    ],
)
def test_what_fills_a_field_is_no_name(text: str, name: str) -> None:
    person = make_person(name=text, email="ann@k.example")
    assert person.name == name
    assert make_person(first_name=text, email="ann@k.example").first_name == name
    if not name:
        assert make_person(company=text, email="ann@k.example").company == ""
