"""Who is meant by what an operator types after `--person`."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncd.signals import Person
from syncd.store.person_search import fold, matcher

AN = Person(name="Nguyễn Văn Ân", email="an@example.org", phone="+84912345678", handles={"x": "AnNguyen_88"})
WANG = Person(name="王小明", phone="+8613800138000")
OSTBERG = Person(first_name="Jørgen", last_name="Łukasz-Müller", phone="+4930901820")


@pytest.mark.parametrize(
    ("typed", "person"),
    [
        ("nguyen van an", AN), ("Nguyễn Văn Ân", AN), ("An Nguyễn", AN), ("NGUYEN", AN), ("nguy", AN),
        (unicodedata.normalize("NFD", "Nguyễn"), AN), ("an@example.org", AN), ("AN@EXAMPLE.ORG", AN), ("@example.org", AN),
        ("0912 345 678", AN), ("0912345678", AN), ("+84 912 345 678", AN), ("(0912) 345-678", AN), ("0084912345678", AN),
        ("+84 (0) 912 345 678", AN), ("tel:+84912345678", AN), ("phone:+84912345678", AN), ("345678", AN),
        ("０９１２３４５６７８", AN),
        ("annguyen_88", AN), ("@AnNguyen_88", AN), ("email:an@example.org", AN),
        ("王小明", WANG), ("王 小明", WANG), ("小明", WANG), ("138 0013 8000", WANG),
        ("jorgen", OSTBERG), ("lukasz muller", OSTBERG), ("Müller", OSTBERG),
        ("030 / 90 18 20", OSTBERG), ("030-901820", OSTBERG),
    ],
)  # fmt: skip
def test_found(typed: str, person: Person) -> None:
    assert matcher(typed)(person)


@pytest.mark.parametrize(
    ("typed", "person"),
    [
        ("nguyen thi an", AN), ("0912 345 679", AN), ("uyen", WANG), ("other@example.org", AN), ("大明", WANG), ("12", AN),
        ("", AN), ("   ", AN), ("...", AN), ("%", AN), ("Muller Jorg Eva", OSTBERG),
    ],
)  # fmt: skip
def test_not_found(typed: str, person: Person) -> None:
    assert not matcher(typed)(person)


@given(st.text())
def test_any_text_can_be_typed(typed: str) -> None:
    matcher(typed)(AN)


@pytest.mark.parametrize("name", ["𝐀𝐧", "Ⓐn", "Ａｎ"])
def test_letters_of_another_style_have_no_case_either(name: str) -> None:
    """Compatibility characters become capitals only when Unicode takes them apart."""
    assert fold(name) == "an"


@example("𝐀")
@given(st.text(min_size=1))
def test_folding_is_final_and_finds_the_name_itself(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    if fold(name) and matcher(name)(Person(name=name)) is False:
        assert any(char.isdigit() for char in name)  # taken as a number


@pytest.mark.parametrize(
    "typed",
    ["415.555.0101 ext 3", "415.555.0101 x3", "+1 415 555 0101;ext=3", "415-555-0101 #3", "415 555 0101 máy lẻ 12"],
)
def test_a_number_is_found_without_its_extension(typed: str) -> None:
    assert matcher(typed)(Person(phone="+14155550101"))
