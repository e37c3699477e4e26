"""A phone number as people, spreadsheets and vendors write it, to E.164. The one place where numbers are unwrapped. Pure.

`phonenumbers` knows the numbering plans; this knows the wrapping: schemes (`tel:`, `sip:`, `whatsapp:`, `…@c.us`), labels,
extensions, several numbers in one cell, numbers that went through a spreadsheet, and forms that a country has given up.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

LOST_DIGITS = "was written as a rounded number: its last digits are lost"


@dataclass(frozen=True)
class Phone:
    """`number`: E.164, or ``""``; `others`: further numbers of the same text; `fault`: why there is none, when that is known."""

    number: str = ""
    others: tuple[str, ...] = ()
    fault: str = ""


def read_phone(text: str, region: str | None) -> Phone:
    """The number in a text, read in `region` (ISO 3166 alpha-2; None: only international numbers). A number that lost digits is a
    fault, never a guess; withheld callers, short codes and groups are no number."""
    if _E164.fullmatch(text) and (number := _one(text, region)):
        return Phone(number)
    plain = _unwrapped(_tidy(text))
    if scientific := _SCIENTIFIC.match(plain):
        first, fraction, power = scientific[1], scientific[2] or "", int(scientific[3])
        if len(fraction) < power or fraction[power:].strip("0"):
            return Phone(fault=LOST_DIGITS if power >= 6 else "")
        plain = first + fraction[:power]
    elif decimal := _DECIMAL.match(plain):
        plain = decimal[1].replace(",", "")
    plain = _ALTERNATIVE.sub(";", plain)
    pieces = [_bare(piece) for piece in _SEPARATOR.split(plain) if any(c.isdigit() for c in piece)]
    if len(pieces) == 1:
        words = pieces[0].split()
        if len(words) > 1 and all(sum(c.isdigit() for c in word) >= 9 for word in words):
            pieces = words
    found = [number for piece in pieces if (number := _valid(piece, region))] if len(pieces) > 1 else []
    if len(found) > 1:
        return Phone(found[0], tuple(dict.fromkeys(other for other in found[1:] if other != found[0])))
    whole = _bare(plain)
    return Phone(_valid(whole, region) or (found[0] if found else "") or _one(whole, region))


def normal_phone(text: str, region: str | None) -> str:
    """E.164 of the first number in a text; ``""`` if there is none. See `read_phone`."""
    return read_phone(text, region).number


_E164 = re.compile(r"\+[1-9]\d{6,14}")
_BARE_INTERNATIONAL = re.compile(r"[1-9]\d{11,14}")
_SCIENTIFIC = re.compile(r"^\+?(\d)(?:[.,](\d+))?e\+?(\d{1,2})$", re.IGNORECASE)
_DECIMAL = re.compile(r"^(\+?\d{6,}|\d{1,3}(?:,\d{3}){2,})(?:[.,]0{1,2})?$")
_SEPARATOR = re.compile(r"\s*(?:[;|/,\n\r]|:::|\s[-–—]\s|\s{2,}|(?<=\d)\s*(?=\+\d))\s*")
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


def _tidy(text: str) -> str:
    """ASCII digits, plain blanks, no invisible marks, no guard of a spreadsheet (`="0912"`, `'0912`)."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(
        str(unicodedata.digit(c)) if c.isdecimal() and not c.isascii() else c
        for c in text
        if unicodedata.category(c) != "Cf"
    ).strip()
    if guarded := re.fullmatch(r'="?([^"]*)"?', text):
        text = guarded[1]
    return text.strip("'\"‘’“” \t")


def _unwrapped(text: str) -> str:
    """The number without its scheme; a WhatsApp id is a whole number without its plus."""
    if found := _BRACKETED.match(text):
        text = found[1].strip()
    if found := _WHATSAPP.match(text) or _WHATSAPP_LINK.match(text):
        return f"+{found[1]}"
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
    """Without an extension, remarks in brackets, and words behind the number. (`1-800-FLOWERS` stays.)"""
    text = re.sub(r"\([^()\d]*\)", " ", _EXTENSION.sub("", text))
    for word in _WORD.finditer(text):
        if sum(c.isdigit() for c in text[: word.start()]) >= 7 and text[word.start() - 1] != "-":
            text = text[: word.start()]
            break
    text = re.sub(r"^\D*?(\+)[\s+]*", r"\1", text) if "+" in text[:3] else text
    return text.strip(" .,;:-_")


def _valid(text: str, region: str | None) -> str:
    """E.164 of a number that its plan knows, ``""`` for any other."""
    import phonenumbers

    number = _one(text, region)
    return number if number and phonenumbers.is_valid_number(phonenumbers.parse(number)) else ""


def _one(text: str, region: str | None) -> str:
    """E.164 of one number that is at least possible."""
    import phonenumbers  # 25 MB of metadata: only processes that meet a phone number pay for it

    forms = [text]
    if text.startswith("00"):
        forms.append(f"+{text[2:].lstrip()}")
    if code := phonenumbers.country_code_for_region(region) if region else 0:
        if _BARE_INTERNATIONAL.fullmatch(text) and text.startswith(str(code)):
            forms.insert(0, f"+{text}")  # a spreadsheet has no plus; no national number is so long
        digits = re.sub(r"\D", "", text)
        forms.extend([f"+{digits[1:]}"] if digits.startswith(f"0{code}") else [])
    for form in forms:
        try:
            parsed = phonenumbers.parse(form, region)
        except phonenumbers.NumberParseException:
            if renewed := _renewed(re.sub(r"[^\d+]", "", form)):
                return renewed
            continue
        plain = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        if not phonenumbers.is_valid_number(parsed) and (renewed := _renewed(plain)):
            return renewed
        if phonenumbers.is_possible_number(parsed):
            return plain
    # No national number is so long: it is an international one without its plus, as WhatsApp writes them.
    return _valid(f"+{text}", None) if _BARE_INTERNATIONAL.fullmatch(text) else ""


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
