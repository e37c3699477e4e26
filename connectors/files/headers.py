"""Which column of a file is what: a table of header names in several languages, and the guess made by it. Pure.

The reader asks once a file. Promise: an identity that is missing or could be two columns is a clear fault that lists the headers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from syncd.errors import Malformed

NAMES: dict[str, tuple[str, ...]] = {
    "email": (
        *(
            "email",
            "e mail",
            "mail",
            "email address",
            "e mail address",
            "primary email",
            "work email",
            "e mail 1 value",
        ),
        *(
            "email adresse",
            "e mail adresse",
            "mailadresse",
            "adresse email",
            "adresse e mail",
            "courriel",
            "adresse mail",
        ),
        *("correo", "correo electronico", "direccion de correo", "thu dien tu", "dia chi email", "hop thu"),
    ),
    "phone": (
        *(
            "phone",
            "phone number",
            "telephone",
            "tel",
            "telephone number",
            "primary phone",
            "work phone",
            "phone 1 value",
        ),
        *("telefon", "telefonnummer", "rufnummer", "numero de telephone", "telefono", "numero de telefono"),
        *("dien thoai", "so dien thoai", "sdt", "dt"),
    ),
    "mobile": (
        *(
            "mobile",
            "mobile phone",
            "mobile number",
            "cell",
            "cell phone",
            "handy",
            "handynummer",
            "mobil",
            "mobiltelefon",
        ),
        *("portable", "telephone portable", "telephone mobile", "movil", "celular", "di dong", "so di dong"),
    ),
    "first_name": (
        *("first name", "firstname", "given name", "forename", "vorname", "prenom", "nombre", "nombre de pila", "ten"),
    ),
    "last_name": (
        *("last name", "lastname", "surname", "family name", "nachname", "familienname", "nom de famille"),
        *("apellido", "apellidos", "ho", "ho va ten dem"),
    ),
    "name": (
        *(
            "name",
            "full name",
            "contact name",
            "display name",
            "contact",
            "vollstandiger name",
            "ansprechpartner",
            "nom",
        ),
        *(
            "nom complet",
            "nombre completo",
            "nombre y apellidos",
            "ho ten",
            "ho va ten",
            "ten day du",
            "ten khach hang",
        ),
    ),
    "company": (
        *("company", "company name", "organization", "organisation", "account", "account name", "organization name"),
        *("firma", "firmenname", "unternehmen", "societe", "entreprise", "raison sociale", "empresa", "compania"),
        *("cong ty", "ten cong ty", "doanh nghiep"),
    ),
    "job_title": (
        "title",
        "job title",
        "position",
        "role",
        "funktion",
        "poste",
        "fonction",
        "cargo",
        "puesto",
        "chuc vu",
    ),
    "website": ("website", "web site", "url", "homepage", "webseite", "site web", "sitio web", "trang web"),
    "street": ("street", "address", "street address", "strasse", "adresse", "rue", "calle", "direccion", "dia chi"),
    "city": ("city", "town", "stadt", "ort", "ville", "ciudad", "thanh pho"),
    "state": ("state", "province", "region", "bundesland", "provincia", "estado", "tinh"),
    "postal_code": (
        "zip",
        "zip code",
        "postal code",
        "postcode",
        "plz",
        "postleitzahl",
        "code postal",
        "codigo postal",
    ),
    "country": ("country", "land", "pays", "pais", "quoc gia"),
}
"""What a column may be -> the names it goes by, folded."""
IDENTITY = {"contact": ("email", "phone", "mobile"), "account": ("company",)}


def folded(text: str) -> str:
    """A header without case, accents, signs and doubled blanks."""
    text = text.casefold().replace("đ", "d").replace("ß", "ss")
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w]+|_", " ", plain).split())


_MEANS = {name: target for target, names in NAMES.items() for name in names}


def meaning(header: str, kind: str) -> str:
    """What a column of this name is, "" when nobody knows. In a file of companies a plain name is the company's."""
    found = _MEANS.get(folded(header), "")
    return "company" if kind == "account" and found == "name" else found


def guess(headers: Sequence[str], kind: str, told: Mapping[str, str | None] = {}) -> dict[str, int]:
    """What -> which column. `told` (`map:`) goes first; None there: not that one. Raises Malformed."""
    listed = ", ".join(repr(header) for header in headers) or "none"
    places: dict[str, list[int]] = {}
    for place, header in enumerate(headers):
        if (what := meaning(header, kind)) and what not in told:
            places.setdefault(what, []).append(place)
    found: dict[str, int] = {}
    for what, name in told.items():
        if name is None:
            continue
        hits = [place for place, header in enumerate(headers) if folded(header) == folded(name)]
        if len(hits) != 1:
            many = "no column is" if not hits else "several columns are"
            raise Malformed(f"map: {what}: {many} called {name!r}; headers found: {listed}")
        found[what] = hits[0]
    taken = set(found.values())
    for what, hits in places.items():
        hits = [place for place in hits if place not in taken]
        exclusive = what in IDENTITY[kind] and not (what != "email" and ("email" in found or "email" in places))
        if len(hits) > 1 and exclusive:
            several = " and ".join(repr(headers[place]) for place in hits)
            raise Malformed(f"{several} could both be the {what}: say which with map: {{{what}: …}}")
        if hits:
            found[what] = hits[0]
    if not any(what in found for what in IDENTITY[kind]):
        needed = " or ".join(IDENTITY[kind])
        raise Malformed(f"no column is known as {needed}; headers found: {listed}; say which with map:")
    return found
