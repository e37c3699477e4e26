"""Phone numbers in the forms of many countries: exit codes, lost plus signs, trunk zeros, tails and placeholders."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.identity.phones import LOST_DIGITS, normal_phone, read_phone

VIETNAM = "+84912345678"
TABLE: list[tuple[str, str | None, str]] = [
    # 00 goes before the exit codes of the region
    *(
        ("0084912345678", region, VIETNAM)
        for region in ("SG", "HK", "KR", "TH", "ID", "KH", "AU", "JP", "BR", "CO", "NG")
    ),
    ("00819012345678", "JP", "+819012345678"),
    ("0061412345678", "AU", "+61412345678"),
    ("0085251234567", "HK", "+85251234567"),
    ("006581234567", "SG", "+6581234567"),
    ("005511961234567", "BR", "+5511961234567"),
    ("00573211234567", "CO", "+573211234567"),
    ("002348021234567", "NG", "+2348021234567"),
    # longer exit codes stay what they are
    ("0011 84 912345678", "AU", VIETNAM),
    ("001 84 912345678", "HK", VIETNAM),
    ("010 84 912345678", "JP", VIETNAM),
    ("011 84 912345678", "US", VIETNAM),
    # the country code without its plus
    ("62812345678", "ID", "+62812345678"),
    ("62812345678.0", "ID", "+62812345678"),
    ("38344123456", "XK", "+38344123456"),
    ("919876543210", "IN", "+919876543210"),
    # what a data frame adds, beside other signs
    *(
        (text, "VN", VIETNAM)
        for text in (
            *("84912345678.0 (Lan)", "84 912 345 678.0", "84912345678.0;", "SĐT: 84912345678.0", "84912345678.0 x12"),
            *("84912345678.000", "84912345678 .0", "0912345678.0, 0987654321.0", "0912345678.5", "0912345678 *2"),
            *("0912345678 (2 số)", "%2B84912345678", "+84912345678%20", "0912345678-0987654321", "٨٤٩١٢٣٤٥٦٧٨٫٠"),
        )
    ),
    # a zero that is dialled in no call from abroad
    ("+48 (0) 12 345 67 89", "PL", "+48123456789"),
    ("+30 (0) 210 1234567", "GR", "+302101234567"),
    ("+420 (0) 601 123 456", "CZ", "+420601123456"),
    ("+39 (0) 333 1234567", "IT", "+393331234567"),
    ("+39 (0)6 1234 5678", "IT", "+390612345678"),
    ("+352 (0) 621 123 456", "LU", "+352621123456"),
    ("+852 (0) 5123 4567", "HK", "+85251234567"),
    ("+34 (0) 612 345 678", "ES", "+34612345678"),
    ("+45 (0) 32 12 34 56", "DK", "+4532123456"),
    ("0047 (0) 406 12 345", "NO", "+4740612345"),
    ("+351(0)912345678", None, "+351912345678"),
    # ranges, extensions, labels
    ("0228 171717-12/13", "DE", "+4922817171712"),
    ("+49 228 1717-12/-13", "DE", "+49228171712"),
    ("+49 228 171717/18", "DE", "+49228171717"),
    ("030/123/4567", "DE", "+49301234567"),
    ("T: 0228 171717 M: 0171 1234567", "DE", "+49228171717"),
    ("010-62345678-8001", "CN", "+861062345678"),
    ("13912345678、13812345678", "CN", "+8613912345678"),
    ("090ー1234ー5678", "JP", "+819012345678"),
    ("PJSIP/4155550140-00000012", "US", "+14155550140"),
    ("SIP/101-0000", "US", ""),
    ("49171123456e5", "DE", ""),
    ("O912345678", "VN", ""),
    ("0228-17O717", "DE", ""),
    # placeholders and what no country has
    *(
        (text, "US", "")
        for text in ("000-000-0000", "999-999-9999", "1234567890", "123-456-7890", "555-0140", "5550140")
    ),
    *((text, None, "") for text in ("+49000000000", "+10000000000", "+11234567890", "+1 123 456 7890", "+84999999999")),
    ("01234567890", "VN", ""),
    ("01234567890", "GB", ""),
    ("0900000000", "VN", ""),
]


@pytest.mark.parametrize(("text", "region", "number"), TABLE)
def test_a_number_is_read_as_its_country_dials_it(text: str, region: str | None, number: str) -> None:
    assert normal_phone(text, region) == number


def test_several_numbers_and_rounded_ones() -> None:
    assert read_phone("T: 0228 171717 M: 0171 1234567", "DE").others == ("+491711234567",)
    assert read_phone("0912345678.0, 0987654321.0", "VN").others == ("+84987654321",)
    assert read_phone("13912345678、13812345678", "CN").others == ("+8613812345678",)
    assert read_phone("4.9171123456e+011", "DE").fault == LOST_DIGITS


def test_a_new_range_that_a_machine_reports_is_a_number() -> None:
    assert normal_phone("+15555550103", "US") == "+15555550103"


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
EXAMPLES = [
    phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    for region in REGIONS
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    if (example := phonenumbers.example_number_for_type(region, kind)) is not None
]
WRAPPINGS = (
    "{plus}",
    "00{digits}",
    "00 {spaced}",
    "{plus}.0",
    "Tel.: {spaced_plus}",
    "{plus} ext. 12",
    "{plus} (work)",
)


@given(st.sampled_from(EXAMPLES), st.sampled_from(WRAPPINGS), st.sampled_from(REGIONS))
def test_an_international_number_is_the_same_everywhere(number: str, wrapping: str, region: str) -> None:
    digits = number[1:]
    spaced = " ".join((digits[:2], digits[2:5], digits[5:]))
    text = wrapping.format(plus=number, digits=digits, spaced=spaced, spaced_plus=f"+{spaced}")
    assert normal_phone(text, region) in (number, "")
