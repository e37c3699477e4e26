"""A row becomes a signal: who it is, an id of its stable parts, the row itself as `data`. Pure.

Ids: UUIDv5 over ("file", contact or account, type, identity and a hash of what the row says). Neither file, line nor order
of columns is part of it: the same row twice is one signal, a changed row is a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from syncd.connector import Context
from syncd.connectors.files.headers import Columns, folded, name_parts
from syncd.errors import Malformed
from syncd.identity.emails import unguarded, without_entities
from syncd.identity.names import is_filler
from syncd.identity.phones import LOST_DIGITS, read_phone
from syncd.signals import Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

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
    given = ["" if is_filler(text) else text for text in texts]
    said = {what: text for what, places in found.places.items() if (text := _first(given, places, what))}
    phone, lost = _phone(headers, given, found, context.region)
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
    if kind == "contact":
        if said.get("email") and not person.email:
            raise Malformed(
                f"{_header(headers, given, found, 'email')}: {said['email'][:80]!r} is not an email address"
            )
        if not person.identity:
            hint = "" if context.region else "; a number without +… needs region: in the configuration"
            if lost:
                raise Malformed(lost if lost.endswith(LOST_DIGITS) else f"{lost}{hint}")
            raise Malformed(f"{phone[:40]!r} is not a phone number{hint}" if phone else "neither e-mail nor phone")
        identity = person.identity
    else:
        if not said.get("company"):
            raise Malformed("no name of the company")
        identity = f"company:{folded(said['company'])}"
    content = sorted((found.labels[place], cell) for place, cell in enumerate(cells) if cell)
    digest = sha256(frame(*(part for pair in content for part in pair)).encode("utf-8", "replace")).hexdigest()
    faults = [*faults, *([f"{file}:{line}: {lost}" if line else f"{file}: {lost}"] if lost else [])]
    row = {headers[place]: text for place, text in enumerate(texts) if text}
    known = {what: without_entities(text) for what, text in said.items() if what not in (*PERSON, "phone")}
    return Signal(
        id=derive_id("file", kind, TYPES[kind], frame(identity, digest)),
        type=TYPES[kind],
        source=context.name,
        occurred_at=occurred_at,
        received_at=received_at,
        **titled(
            _TITLES[kind], longest=300, file=file, who=person.name or person.company or person.email or person.phone
        ),
        person=person,
        data={**known, **({"faults": faults} if faults else {}), "row": row},
        thread=f"file:account:{identity}" if kind == "account" else "",
    )


_TITLES = {"contact": "file.contact", "account": "file.account"}
SEVERAL = " ::: "
"""Google puts it between the values of one cell."""


def _first(texts: Sequence[str], places: Sequence[int], what: str) -> str:
    """The text of the best column that has one; of several values the first (addresses and numbers are distinguished later)."""
    text = next((texts[place] for place in places if texts[place]), "")
    return text if what in ("email", "phone", "mobile") else text.split(SEVERAL)[0]


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
