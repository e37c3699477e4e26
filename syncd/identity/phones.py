"""A phone number as people, spreadsheets and vendors write it, to E.164. The one place where numbers are unwrapped. Pure.

`phonenumbers` knows the numbering plans; this knows the wrapping: schemes (`tel:`, `sip:`, `whatsapp:`, `…@c.us`), labels,
extensions, several numbers in one cell, numbers that went through a spreadsheet, and forms that a country has given up.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

import msgspec

LOST_DIGITS = "was written as a rounded number: its last digits are lost"


class Phone(msgspec.Struct, frozen=True):
    """`number`: E.164, or ``""``; `others`: further numbers of the same text; `fault`: why no number was found, if known."""

    number: str = ""
    others: tuple[str, ...] = ()
    fault: str = ""


@lru_cache(maxsize=64)  # who looks for the number in a row, and who makes the person of it, read the same text
def read_phone(text: str, region: str | None) -> Phone:
    """The number in a text, read in `region` (ISO 3166 alpha-2; None: only international numbers). What people write must be a
    valid number of its country; E.164 as machines write it need only be possible, because new ranges open before the metadata
    knows them. A number that lost digits is a fault, never a guess; withheld callers, short codes, groups and placeholders
    (`000-000-0000`, `1234567890`) are not numbers."""
    if _E164.fullmatch(text) and (number := _international(text, strict=False)):
        return Phone(number)
    found: list[str] = []
    fault = ""
    for plain in _segments(text):
        if scientific := _SCIENTIFIC.match(plain):
            plain, lost = _written_out(scientific)
            fault = fault or lost
        found.extend(_numbers(plain, region) if any(map(str.isdigit, plain)) else ())
    if not found:
        return Phone(fault=fault)
    return Phone(found[0], tuple(dict.fromkeys(other for other in found[1:] if other != found[0])))


def normal_phone(text: str, region: str | None) -> str:
    """E.164 of the first number in a text; ``""`` if there is no number. See `read_phone`."""
    return read_phone(text, region).number


def told_phone(text: str, region: str | None) -> str:
    """E.164 of a number that an operator wrote into the settings: one that is only possible is taken at its word."""
    return normal_phone(text, region) or _parsed(_bare(_tidy(text)), region, strict=False)


def written_forms(number: str) -> tuple[str, ...]:
    """How an E.164 number is usually written in its country: nationally and internationally, grouped by space, hyphen or dot.
    None of what is not a number."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return ()
    styles = (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL)
    written = [phonenumbers.format_number(parsed, style) for style in styles]
    return tuple(dict.fromkeys(_GROUPING.sub(sign, text) for text in written for sign in " -."))


_GROUPING = re.compile(r"[ .\-]+")
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_BARE_INTERNATIONAL = re.compile(r"[1-9]\d{11,14}")
_SCIENTIFIC = re.compile(r"^\+?(\d+)(?:[.,](\d+))?e\+?(\d{1,3})(?:[.,]0+)?$", re.IGNORECASE)
_FRACTION = re.compile(r"(?<![\d.,])(\+?\(?(?:\d[ ()/-]*){6,}\d)\s?[.,](?:0+|\d)(?![\d.,]*\d)")
"""`84912345678.0`: a number that a spreadsheet or a data frame kept as a decimal fraction."""
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3}){2,}(?![\d,])")
_HARD_SEPARATOR = re.compile(
    r"\s*(?:[;|\n\r、]|:::|(?<=\d)\s*(?=\+\d)|(?<=[\d)])[\s,/]+[^\W\d_]{1,12}\.?\s*:\s*(?=[+(\d]))\s*"
)
"""Between two numbers, also a label in the middle (`T: 0228 171717 M: 0171 1234567`)."""
_SOFT_SEPARATOR = re.compile(r"\s*[/,]+\s*")
"""Between two numbers, before an extension, or inside one number (`0228/171717`)."""
_GAPS = tuple(map(re.compile, (r"\s+[-–—]\s+", r"\s{2,}", r"\s+", r"\s*[-–—]\s*")))
"""Signs inside a number that are between two only when each side is a whole number."""
_EXIT_CODE = re.compile(r"[(\[\s]*(\+|00)")
_NO_DIGIT = re.compile(r"\D")
_TRUNK = re.compile(r"\(\s*0\s*\)")
_EXTENSION_GROUP = re.compile(r"(.*\d{6,})\s*[-–—]\s*\d{1,5}")
_ASTERISK_CHANNEL = re.compile(r"^(?:pjsip|sip|iax2|dahdi|local|chan_\w+)/([^@/-]+)", re.IGNORECASE)
_VANITY = re.compile(r"\+?[\d\s().-]*\d[-\s.](?=[a-z\d-]*[a-z]{3})[a-z\d-]+", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"\s(?:or|and|oder|und|ou|et|o|y|e|hoặc|và|или|и|または|或)\s|\s[&+]\s", re.IGNORECASE)
"""Words between two numbers of one cell."""
_EXTENSION = re.compile(
    r"[\s,;(]*(?:ext(?:n|ension)?|x|\#|poste|ramal|anexo|interno|int|dw|durchwahl|klappe|app(?:arat)?|máy lẻ|số nội bộ|nội bộ|"
    r"доб(?:авочный)?|вн(?:утр)?|内线|內線|内線|分机|分機|转|轉|내선)[.:=\s]*\d{1,7}\s*\)?\s*$",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"^(?:tel|callto|sms|smsto|mobile|phone|whatsapp|wa|signal|viber|skype):(?://)?", re.IGNORECASE)
_SIP = re.compile(r"^sips?:([^@;>?]+)", re.IGNORECASE)
_WHATSAPP = re.compile(r"^\+?(\d{7,15})(?:[:.]\d+)?@(?:c\.us|s\.whatsapp\.net)$", re.IGNORECASE)
_WHATSAPP_LINK = re.compile(
    r"^https?://(?:wa\.me/|api\.whatsapp\.com/send/?\?phone=)(?:\+|%2b)?(\d{7,15})\b", re.IGNORECASE
)
_BRACKETED = re.compile(r"^[^<]*<\s*((?:sips?|tel):[^>]*)>", re.IGNORECASE)
_CONTEXT = re.compile(r";phone-context=(\+\d+)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{2,}")


def _segments(text: str) -> list[str]:
    """What may be a number each, without wrapping and labels."""
    if _UNWRAPPED.fullmatch(text):
        return [text]
    segments = _HARD_SEPARATOR.split(_ALTERNATIVE.sub(";", _unwrapped(_tidy(text))))
    return [_without_fraction(_bare(segment)) for segment in segments]


_UNWRAPPED = re.compile(r"\+?[0-9]+(?:[ -][0-9]+)*")
"""The ordinary case: nothing that a step of the unwrapping would change."""


def _tidy(text: str) -> str:
    """ASCII digits, plain blanks, no invisible marks, no guard of a spreadsheet (`="0912"`, `'0912`)."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(
        str(unicodedata.digit(c)) if c.isdecimal() and not c.isascii() else c
        for c in text
        if unicodedata.category(c) != "Cf"
    ).strip()
    text = re.sub(r"(?<=\d)[ー‐-―−](?=\d)", "-", text.replace("\u066b", "."))
    if re.match(r"%2b|\+?\d+%", text, re.IGNORECASE):
        text = unquote(text).strip()
    if guarded := re.fullmatch(r'="?([^"]*)"?', text):
        text = guarded[1]
    return text.strip("'\"‘’“” \t")


def _unwrapped(text: str) -> str:
    """The number without its scheme; a WhatsApp id is a whole number without its plus."""
    if found := _BRACKETED.match(text):
        text = found[1].strip()
    if found := _WHATSAPP.match(text) or _WHATSAPP_LINK.match(text):
        return f"+{found[1]}"
    if found := _ASTERISK_CHANNEL.match(text):
        return found[1]
    if found := _SIP.match(text):
        user = unquote(found[1])
        return user if not _WORD.search(user) else ""
    if not (scheme := _SCHEME.match(text)):
        return text if "@" not in text else ""
    rest = unquote(text[scheme.end() :])
    if found := _WHATSAPP.match(rest):
        return f"+{found[1]}"
    context = _CONTEXT.search(rest)
    number = rest.partition(";")[0].partition("?")[0].strip()
    if context and not number.startswith("+"):
        number = context[1] + number
    whole = scheme[0].lower().startswith(("whatsapp", "wa:", "viber")) and number[:1].isdigit()
    return f"+{number}" if whole and not number.startswith("0") else number


def _bare(text: str) -> str:
    """Without a label, an extension, remarks in brackets, and words behind the number. (`1-800-FLOWERS` stays.) A letter glued to
    digits is a slip of the pen that nobody can read: ``""``."""
    text = _REMARK.sub(lambda found: " " if sum(c.isdigit() for c in found[0]) < 6 else found[0], text)
    text = re.sub(r"\([^()\d]*\)", " ", _EXTENSION.sub("", text))
    for word in _WORD.finditer(text):
        if sum(c.isdigit() for c in text[: word.start()]) >= 7 and text[word.start() - 1] != "-":
            text = re.sub(r"(?<=\d)\s+\d{1,2}$", "", text[: word.start()])  # `415-555-0140 9am-5pm`
            break
    lead = re.match(r"[^\d+(]*", text)
    if lead and lead[0] and not lead[0][-1].isalpha():
        text = text[lead.end() :]
    text = re.sub(r"^\D*?(\+)[\s+]*", r"\1", text) if "+" in text[:3] else text
    text = text.strip(" .,:-_")
    written = _SCIENTIFIC.match(text) or _VANITY.fullmatch(text) or not any(c.isalpha() for c in text)
    return text if written else ""


_REMARK = re.compile(r"\((?=[^()]*[^\W\d_])[^()]*\)|\s*\*\s*\d{1,3}\s*$")
"""`(Zalo)`, `(2 số)`, and how often a number is listed (`*2`)."""


def _without_fraction(text: str) -> str:
    text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    return _FRACTION.sub(r"\1", text)


def _written_out(scientific: re.Match[str]) -> tuple[str, str]:
    """(the digits of `8.4912345678E+10`, "") or ("", why they are not known)."""
    first, fraction, power = scientific[1], scientific[2] or "", int(scientific[3])
    if len(fraction) < power or fraction[power:].strip("0"):
        return "", LOST_DIGITS if power + len(first) > 6 else ""
    return first + fraction[:power], ""


def _numbers(text: str, region: str | None) -> list[str]:
    """The numbers of a text without labels. Text behind the first number that is not a number itself (an extension, the end of a
    range) is left out, never appended."""
    parts = [part for part in _SOFT_SEPARATOR.split(text) if part]
    several = _each(parts, region)
    if len(several) > 1 or len(several) == len(parts):
        return several
    for cut in range(1, len(parts)):
        short = all(_count(part) <= 3 for part in parts[cut:])
        if short and _count(parts[cut - 1]) >= 4 and (number := _valid(" ".join(parts[:cut]), region)):
            return [number]
    if number := _valid(" ".join(parts), region):
        return [number]
    if len(parts) > 1:
        return several or _numbers(parts[0], region)
    for gap in _GAPS:
        pieces = gap.split(text)
        if len(several := _each(pieces, region)) == len(pieces) > 1:
            return several
    extended = _EXTENSION_GROUP.fullmatch(text)
    number = _valid(extended[1], region) if extended else ""
    return [number] if number else []


def _count(text: str) -> int:
    return sum(map(str.isdigit, text))


def _each(pieces: list[str], region: str | None) -> list[str]:
    """The numbers among pieces that are long enough to be one alone."""
    return [number for piece in pieces if _count(piece) >= 7 and (number := _valid(piece, region))]


def _valid(text: str, region: str | None) -> str:
    """E.164 of one number that its country knows, ``""`` for any other."""
    import phonenumbers

    if written := _EXIT_CODE.match(text):
        if number := _international(f"+{text[written.end() :]}"):
            return number
        possible = _possible(f"+{text[written.end() :]}")
        # 00 may begin a longer exit code: 001 in Korea, 0011 in Australia.
        return "" if written[1] == "+" or possible else _parsed(text, region)
    digits = _NO_DIGIT.sub("", text)
    code = str(phonenumbers.country_code_for_region(region) if region else 0)
    alone = _parsed(text, region)
    if code != "0" and digits.startswith(code) and not any(c.isalpha() for c in text):
        whole = _international(f"+{digits}")
        if whole and (not alone or len(digits) > 10 or _is_mobile(whole)):
            return whole  # a spreadsheet has no plus
    if alone or code == "0" or not digits.startswith(f"0{code}"):
        # No national number has 12 digits: it is an international one without its plus, as WhatsApp writes them.
        return alone or (_international(f"+{text}") if _BARE_INTERNATIONAL.fullmatch(text) else "")
    return _international(f"+{digits[1:]}")


def _international(text: str, *, strict: bool = True) -> str:
    """E.164 of a number with its plus. `(0)` is dialled inside a country only; Italian fixed lines keep their zero everywhere."""
    if _TRUNK.search(text):
        number = _parsed(_TRUNK.sub(" ", text, count=1), None)
        if number and (not number.startswith("+39") or re.fullmatch(r"\+393\d{9}", number)):
            return number
    return _parsed(text, None, strict=strict)


def _parsed(text: str, region: str | None, *, strict: bool = True) -> str:
    """E.164 of a number that is valid, or was until its country changed its plan; not `strict`: or is possible."""
    import phonenumbers  # 25 MB of metadata: only processes that meet a phone number pay for it

    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return _renewed(re.sub(r"[^\d+]", "", text))
    national = str(parsed.national_number)
    if _is_placeholder(national) or _is_placeholder(_NO_DIGIT.sub("", text).lstrip("0")):
        return ""
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if phonenumbers.is_valid_number(parsed):
        return number
    return _renewed(number) or (number if not strict and _possible(number) else "")


def _possible(text: str) -> bool:
    """Whether a number with its plus has a length that its country uses for whole numbers."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return False
    if parsed.country_code == 1 and not _NANP.fullmatch(str(parsed.national_number)):
        return False
    whole = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    return whole and not parsed.italian_leading_zero


_NANP = re.compile(r"[2-9]\d{2}[2-9]\d{6}")


def _is_mobile(number: str) -> bool:
    import phonenumbers

    return phonenumbers.number_type(phonenumbers.parse(number)) == phonenumbers.PhoneNumberType.MOBILE


def _is_placeholder(digits: str) -> bool:
    """Whether digits fill a field that had to be filled: one digit throughout, 1234567890, or eight zeros at the end."""
    return len(set(digits)) < 2 or digits.startswith("1234567890") or digits.endswith("0" * 8)


VIETNAM_2018 = (
    *((f"16{n}", f"3{n}") for n in range(2, 10)),  # Viettel
    *(("120", "70"), ("121", "79"), ("122", "77"), ("126", "76"), ("128", "78")),  # MobiFone
    *(("123", "83"), ("124", "84"), ("125", "85"), ("127", "81"), ("129", "82")),  # Vinaphone
    *(("186", "56"), ("188", "58"), ("199", "59")),  # Vietnamobile, Gmobile
)
"""Mobile prefixes of eleven digits -> those of ten (Ministry of Information and Communications, 15 September 2018)."""
GIVEN_UP: tuple[tuple[str, str], ...] = (
    (r"\+521(\d{10})", r"+52\1"),  # Mexico, 3 August 2019: no 1 for mobiles
    (r"\+520?(?:44|45|1)(\d{10})", r"+52\1"),  # Mexico, as dialled inside the country before
    (
        r"\+55(\d{2})([6-9]\d{7})",
        r"+55\g<1>9\2",
    ),  # Brazil, 2012-2016: mobiles have a ninth digit; fixed lines begin with 2-5
    *((rf"\+84{old}(\d{{7}})", rf"+84{new}\1") for old, new in VIETNAM_2018),
    (r"\+225([04-9][0-3]\d{6})", r"+22501\1"),  # Côte d'Ivoire, 31 January 2021, by operator: Moov
    (r"\+225([04-9][4-6]\d{6})", r"+22505\1"),  # MTN
    (r"\+225([04-9][7-9]\d{6})", r"+22507\1"),  # Orange
    (r"\+229(\d{8})", r"+22901\1"),  # Benin, 30 November 2024
    (r"\+89(\d{9})", r"+79\1"),  # Russia: the 8 of long-distance calls behind a plus
)
"""Forms that a country has given up and senders have not -> today's. Taken only when the old is not valid and the new is."""


def _renewed(number: str) -> str:
    import phonenumbers

    for old, new in GIVEN_UP:
        if found := re.fullmatch(old, number):
            today = found.expand(new)
            try:
                return today if phonenumbers.is_valid_number(phonenumbers.parse(today)) else ""
            except phonenumbers.NumberParseException:
                return ""
    return ""
