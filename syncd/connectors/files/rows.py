"""A row becomes a signal: who it is, an id of its stable parts, the row itself as `data`. Pure.

Ids: UUIDv5 over ("file", contact or account, type, identity and a hash of what the row says). Neither file, line nor order
of columns is part of it: the same row twice is one signal, a changed row is a new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import chain
from typing import Any, NoReturn

from syncd.connector import Context
from syncd.connectors.files.headers import Columns, folded, name_parts, unnamed
from syncd.errors import Malformed
from syncd.identity.emails import read_email, unguarded, without_entities
from syncd.identity.names import is_filler
from syncd.identity.phones import LOST_DIGITS, read_phone
from syncd.signals import Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

TOTALS = frozenset(
    folded(word)
    for word in (
        *("total", "totals", "grand total", "subtotal", "sub total", "sum", "count", "total rows", "total records"),
        *(
            "summe",
            "gesamt",
            "gesamtsumme",
            "insgesamt",
            "zwischensumme",
            "anzahl",
            "somme",
            "total general",
            "sous total",
        ),
        *("suma", "suma total", "total general", "totale", "totale generale", "totaal", "totalt", "yhteensä", "i alt"),
        *(
            "razem",
            "suma końcowa",
            "celkem",
            "celkový součet",
            "spolu",
            "összesen",
            "végösszeg",
            "toplam",
            "genel toplam",
        ),
        *("итого", "всего", "общий итог", "разом", "всього", "общо", "tổng", "tổng cộng", "tổng số", "cộng", "σύνολο"),
        *(
            "合计",
            "总计",
            "小计",
            "合計",
            "總計",
            "小計",
            "総計",
            "합계",
            "총계",
            "소계",
            "รวม",
            "ยอดรวม",
            "סך הכל",
            "المجموع",
            "الإجمالي",
        ),
    )
)
"""What stands in the first column of the line below a list, from what office programs write there by themselves, and by hand."""
TYPES = {"contact": "contact.changed", "account": "account.changed"}
PERSON = ("name", "first_name", "last_name", "email", "company")


def signal_of(
    headers: Sequence[str],
    cells: Sequence[str],
    found: Columns,
    kind: str,
    context: Context,
    *,
    occurred_at: datetime,
    received_at: datetime,
    file: str,
    line: int = 0,
    faults: Sequence[str] = (),
) -> Signal:
    """Raises Malformed naming the column. `faults`: what in the row is damaged, and was read nevertheless."""
    texts = [unguarded(cell) for cell in cells]
    if repeats_header(headers, texts):
        raise Malformed("repeats the header; delete this line")
    given = ["" if is_filler(text) else text for text in texts]
    said = {what: text for what, places in found.places.items() if (text := _first(given, places, what))}
    if kind == "account" and is_total(said, given):
        raise Malformed(
            f"{said['company'][:40]!r} looks like a total of the list, not like a company; delete this line"
        )
    phone, lost = _phone(headers, given, found, context.region)
    skipped = _next_email(headers, given, found, said)
    name, first_name, last_name = name_parts(headers, found.places, said)
    email, company = said.get("email", ""), said.get("company", "")
    person = make_person(
        name=name,
        first_name=first_name,
        last_name=last_name,
        email=email,
        company=company,
        phone=phone,
        region=context.region,
    )
    if kind == "contact" and email and not person.email:
        raise Malformed(f"{_header(headers, given, found, 'email')}: {email[:80]!r} is not an email address")
    if kind == "contact":
        identity = person.identity or _unidentified(phone, lost, context.region)
    elif company:
        identity = f"company:{folded(company)}"
    else:
        raise Malformed("no name of the company")
    faults = [*faults, *(f"{f'{file}:{line}' if line else file}: {why}" for why in (skipped, lost) if why)]
    return Signal(
        id=derive_id("file", kind, TYPES[kind], frame(identity, _digest(found, cells))),
        type=TYPES[kind],
        source=context.name,
        occurred_at=occurred_at,
        received_at=received_at,
        **titled(
            _TITLES[kind],
            file=file,
            who=(person.name or person.company or person.email or person.phone)[:_LONGEST_NAME],
        ),
        person=person,
        data=_data(headers, texts, said, faults),
        thread=f"file:account:{identity}" if kind == "account" else "",
    )


def _data(
    headers: Sequence[str], texts: Sequence[str], said: Mapping[str, str], faults: Sequence[str]
) -> dict[str, Any]:
    """What the row says beside the person, and all of it as it stands in the list."""
    known = {what: without_entities(text) for what, text in said.items() if what not in (*PERSON, "phone")}
    row = {headers[place]: text for place, text in enumerate(texts) if text}
    return {**known, **({"faults": faults} if faults else {}), "row": row}


def _digest(found: Columns, cells: Sequence[str]) -> str:
    """What the row says, whatever the order of its columns: another text is another signal."""
    content = sorted((found.labels[place], cell) for place, cell in enumerate(cells) if cell)
    return sha256(frame(*chain.from_iterable(content)).encode("utf-8", "replace")).hexdigest()


def _unidentified(phone: str, lost: str, region: str | None) -> NoReturn:
    """Refuses a contact without an address and a number. `lost`: what is wrong with the number."""
    hint = "" if region else "; a number without +… needs region: in the configuration"
    if lost:
        raise Malformed(lost if lost.endswith(LOST_DIGITS) else f"{lost}{hint}")
    raise Malformed(f"{phone[:40]!r} is not a phone number{hint}" if phone else "neither e-mail nor phone")


_LONGEST_NAME = 200
_TITLES = {"contact": "file.contact", "account": "file.account"}
SEVERAL = " ::: "
"""Google puts it between the values of one cell."""


def _first(texts: Sequence[str], places: Sequence[int], what: str) -> str:
    """The text of the best column that has one; of several values the first (addresses and numbers are distinguished later)."""
    for place in places:
        if text := texts[place]:
            return text if what in ("email", "phone", "mobile") else text.split(SEVERAL)[0]
    return ""


def _next_email(headers: Sequence[str], texts: Sequence[str], found: Columns, said: dict[str, str]) -> str:
    """Of several columns with addresses the first that holds one counts. Returns why the one before was skipped."""
    if not said.get("email") or read_email(said["email"]).email:
        return ""
    good = next((texts[place] for place in found.places["email"] if read_email(texts[place]).email), "")
    if not good:
        return ""
    skipped = f"{_header(headers, texts, found, 'email')}: {said['email'][:80]!r} is not an email address"
    said["email"] = good
    return skipped


def repeats_header(headers: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a row is the header again, as in files that were joined."""
    for place, (header, text) in enumerate(zip(headers, texts, strict=False)):
        if header != text and not (header.startswith(f"{text} (") if text else header == unnamed(place)):
            return False
    return bool(texts)


def is_total(said: Mapping[str, str], texts: Sequence[str]) -> bool:
    """Whether a row of a list of companies is the total below it: its name says so and all the rest of it is numbers."""
    name = said.get("company", "")
    words = " ".join(re.sub(r"[\W\d_]+", " ", folded(name)).split())
    if words not in TOTALS or any(said.get(what) for what in ("email", "phone", "mobile", "website")):
        return False
    rest = [text for text in texts if text and text != name]
    numbered = any(char.isdigit() for text in texts for char in text)
    return numbered and not any(char.isalpha() for text in rest for char in text)


def _header(headers: Sequence[str], texts: Sequence[str], found: Columns, what: str) -> str:
    return next(headers[place] for place in found.places[what] if texts[place])


def _phone(headers: Sequence[str], texts: Sequence[str], found: Columns, region: str | None) -> tuple[str, str]:
    """(the first phone cell that holds a number, else the first; why the first cell that was skipped holds none)."""
    first = lost = ""
    for place in (*found.places.get("phone", ()), *found.places.get("mobile", ())):
        if text := texts[place]:
            read = read_phone(text, region)
            if read.number:
                return text, lost
            first = first or text
            why = read.fault or ("is not a phone number" if any(c.isdigit() for c in text) else "")
            lost = lost or (f"{headers[place]}: {text[:40]!r} {why}" if why else "")
    return first, lost
