"""Phone numbers in their usual wrapping."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.identity.phones import LOST_DIGITS, normal_phone, read_phone, written_forms
from syncd.signals import make_person

WRAPPED: list[tuple[str, str | None, str]] = [
    ("84912345678.0", "VN", "+84912345678"),
    ("492281234567", "DE", "+492281234567"),
    ("5215512345678", None, "+525512345678"),
    ("15012345678", "VN", ""),
    ("+5215512345678", None, "+525512345678"),
    ("0445512345678", "MX", "+525512345678"),
    ("+551187654321", None, "+5511987654321"),
    ("551187654321@c.us", None, "+5511987654321"),
    ("+551132654321", None, "+551132654321"),
    ("+49 (0)228 123456", None, "+49228123456"),
    ("0049 228 123456", "US", "+49228123456"),
    ("0049228123456", None, "+49228123456"),
    ("0912345678 (Zalo)", "VN", "+84912345678"),
    ("0912345678 Zalo", "VN", "+84912345678"),
    ("tel:+49-228-123456;ext=12", "DE", "+49228123456"),
    ("tel:228-123456;phone-context=+49", None, "+49228123456"),
    ("0228/123456", "DE", "+49228123456"),
    ("0228 123456 / 0171 1234567", "DE", "+49228123456"),
    ("0912345678; 0987654321", "VN", "+84912345678"),
    ("0912345678 0987654321", "VN", "+84912345678"),
    ("0912345678/0987654321", "VN", "+84912345678"),
    ("0912345678 - 0987654321", "VN", "+84912345678"),
    ("0912345678 hoặc 0987654321", "VN", "+84912345678"),
    ("+49 228 123456 DW 12", "DE", "+49228123456"),
    ("０９１２３４５６７８", "VN", "+84912345678"),
    ("٠١٠٠١٢٣٤٥٦٧", "EG", "+201001234567"),
    ("0168 123 4567", "VN", "+84381234567"),
    ("+22507123456", None, "+2250707123456"),
    ("+22997123456", None, "+2290197123456"),
    ("1-800-FLOWERS", "US", "+18003569377"),
    ("8.4912345678E+10", "VN", "+84912345678"),
    ("8.49E+10", "VN", ""),
    ("8,49123E+10", "VN", ""),
    ("5215512345678", "MX", "+525512345678"),
    ("(084) 912 345 678", "VN", "+84912345678"),
    ("84,912,345,678", "VN", "+84912345678"),
    ("whatsapp:+84912345678", None, "+84912345678"),
    ("sip:+84912345678@voip.example;user=phone", None, "+84912345678"),
    ("sip:anna@voip.example", "VN", ""),
    ('"Anna" <sip:0912345678@x>', "VN", "+84912345678"),
    ("4917112345678@s.whatsapp.net", None, "+4917112345678"),
    ("4917112345678:12@s.whatsapp.net", None, "+4917112345678"),
    ("120363@g.us", "VN", ""),
    ('="0912345678"', "VN", "+84912345678"),
    ("'0912345678", "VN", "+84912345678"),
    ("+8 912 345-67-89", "RU", "+79123456789"),
    ("anonymous", "US", ""),
    ("+266696687", None, ""),
    ("911", "US", ""),
    ("a@b.c", "VN", ""),
    ("client:alice", "VN", ""),
    ("\u202d+84 912\u00a0345\u200b678\u202c", None, "+84912345678"),
    ("+84 (0) 912 345 678", None, "+84912345678"),
    ("https://wa.me/84912345678", None, "+84912345678"),
    ("0912 345 678/9", "VN", "+84912345678"),
    ("+1 415 867 5309 x22", None, "+14158675309"),
    ("024 3826 1234 máy lẻ 102", "VN", "+842438261234"),
    ("010-8765-4321 내선 3", "KR", "+821087654321"),
    ("++49 228 123456", None, "+49228123456"),
    ("+ 49 228 123456", None, "+49228123456"),
    ("84912345678.00", "VN", "+84912345678"),
    ("84912345678,0", "VN", "+84912345678"),
    ("912345678.0", "VN", "+84912345678"),
    ("tel:%2B84912345678", None, "+84912345678"),
    ("Mobile: 0912 345 678", "VN", "+84912345678"),
    ("Tel.: 0228/1234-56", "DE", "+49228123456"),
    ("(+84) 912 345 678", None, "+84912345678"),
    ("[+84] 912345678", None, "+84912345678"),
    ("+84-912-345-678 ::: +84 987 654 321", None, "+84912345678"),
    ("0911 222 333, 0944 555 666", "VN", "+84911222333"),
]


@pytest.mark.parametrize(("text", "region", "number"), WRAPPED)
def test_a_number_is_unwrapped(text: str, region: str | None, number: str) -> None:
    assert normal_phone(text, region) == number


def test_further_numbers_and_lost_digits_are_told() -> None:
    assert read_phone("0912345678; 0987654321", "VN").others == ("+84987654321",)
    assert read_phone("8.49E+10", "VN").fault == LOST_DIGITS
    assert read_phone("none", "VN").fault == ""
    person = make_person(phone="0912345678 / 0987654321", region="VN")
    assert (person.phone, person.raw) == ("+84912345678", {"phone": "0912345678 / 0987654321"})
    assert make_person(phone="8.49E+10", region="VN").raw == {"phone": "8.49E+10"}


@given(
    st.text(alphabet="0123456789+-.()/;,@:eEx \u200b\u0660tel", max_size=40), st.sampled_from([None, "VN", "MX", "US"])
)
def test_whatever_is_written_it_is_a_possible_number_or_none(text: str, region: str | None) -> None:
    number = read_phone(text, region).number
    assert not number or phonenumbers.is_possible_number(phonenumbers.parse(number))


@pytest.mark.parametrize("region", ["VN", "DE", "US", "FR", "BR", "MX", "JP", "GB", "IT", "AR", "CI"])
def test_example_numbers_stay_what_they_are(region: str) -> None:
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        example = phonenumbers.example_number_for_type(region, kind)
        assert example is not None
        for form in range(4):
            number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            assert normal_phone(phonenumbers.format_number(example, form), region) == number


def test_the_forms_in_which_a_number_is_written_in_its_country() -> None:
    assert {"06 12 34 56 78", "+33.6.12.34.56.78", "06-12-34-56-78"} <= set(written_forms("+33612345678"))
    assert {"(415) 555 2671", "+1 415 555 2671"} <= set(written_forms("+14155552671"))
    assert written_forms("+") == written_forms("call me") == ()
