"""A row becomes a signal: who it is, an id of its stable parts, the row itself as `data`. Pure.

Ids: UUIDv5 over ("file", contact or account, type, identity and a hash of what the row says). Neither file, line nor order
of columns is part of it: the same row twice is one signal, a changed row is a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from connectors.files.headers import folded
from syncd.connector import Context
from syncd.emails import unguarded
from syncd.errors import Malformed
from syncd.phones import read_phone
from syncd.signals import Signal, derive_id, frame, make_person

TYPES = {"contact": "contact.changed", "account": "account.changed"}
PERSON = ("name", "first_name", "last_name", "email", "company")


def signal_of(
    headers: Sequence[str],
    cells: Sequence[str],
    found: Mapping[str, int],
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
    said = {what: text for what, place in found.items() if (text := unguarded(cells[place]))}
    phone, lost = _phone(headers, found, said, context.region)
    name, first_name, last_name, email, company = (said.get(what, "") for what in PERSON)
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
            raise Malformed(f"{headers[found['email']]}: {said['email'][:80]!r} is no e-mail address")
        if not person.identity:
            if lost:
                raise Malformed(lost)
            hint = "" if context.region else "; a number without +… needs region: in the configuration"
            raise Malformed(f"{phone[:40]!r} is no phone number{hint}" if phone else "neither e-mail nor phone")
        identity = person.identity
    else:
        if not said.get("company"):
            raise Malformed("no name of the company")
        identity = f"company:{folded(said['company'])}"
    names = {place: what for what, place in found.items()}
    content = sorted((names.get(p, f"={folded(headers[p])}"), cell) for p, cell in enumerate(cells) if cell)
    digest = sha256(frame(*(part for pair in content for part in pair)).encode("utf-8", "replace")).hexdigest()
    faults = [*faults, *([f"{file}:{line}: {lost}" if line else f"{file}: {lost}"] if lost else [])]
    row = {headers[place]: text for place, cell in enumerate(cells) if (text := unguarded(cell))}
    known = {what: text for what, text in said.items() if what not in (*PERSON, "phone")}
    return Signal(
        id=derive_id("file", kind, TYPES[kind], frame(identity, digest)),
        type=TYPES[kind],
        source=context.name,
        occurred_at=occurred_at,
        received_at=received_at,
        title=f"{kind.capitalize()} in {file}: {person.name or person.company or person.email or person.phone}"[:300],
        person=person,
        data={**known, **({"faults": faults} if faults else {}), "row": row},
        thread=f"file:account:{identity}" if kind == "account" else "",
    )


def _phone(
    headers: Sequence[str], found: Mapping[str, int], said: Mapping[str, str], region: str | None
) -> tuple[str, str]:
    """(the first phone cell that holds a number, else the first; what is to be said of one that lost its digits)."""
    lost = ""
    for what in ("phone", "mobile"):
        if text := said.get(what, ""):
            read = read_phone(text, region)
            if read.number:
                return text, lost
            lost = lost or (f"{headers[found[what]]}: {text[:40]!r} {read.fault}" if read.fault else "")
    return said.get("phone") or said.get("mobile") or "", lost
