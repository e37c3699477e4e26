"""Which column of a file is what: a table of header names in many languages, and the guess made by it. Pure.

The reader asks once a file. The most exact name wins, a business column goes before a private one. Promise: an identity that is
missing or could be two columns is a clear fault that lists the headers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from syncd.errors import Malformed

ID_NAMES: dict[str, tuple[str, ...]] = {
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
"""The names that ids of rows are made with since the first version: a list that is read again must not become new rows. Never
changed; those that columns are recognised by are in header_names.txt."""
IDENTITY = {"contact": ("email", "phone", "mobile"), "account": ("company",)}
RANKS = {"= primary": 0, "= business": 1, "= other": 3, "= home": 4}
"""How good a column is that a word like this stands in; one with a number above 1 comes behind all without."""
PLAIN, WEAK, NUMBERED = 0, 2, 10


def folded(text: str) -> str:
    """A header without case, accents, signs and doubled blanks."""
    text = text.casefold().replace("đ", "d").replace("ß", "ss")
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w]+|_", " ", plain).split())


def unnamed(place: int) -> str:
    """What a column without a name is called."""
    return f"column {place + 1}"


@dataclass(frozen=True)
class Meaning:
    """What a column is, and how good it is among those of its kind: 0 is best."""

    what: str
    rank: int


_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_IDEOGRAPHS = re.compile(r"[\u1100-\u11ff\u3040-\u9fff\uac00-\ud7a3]")


def meaning(header: str, kind: str) -> str:
    """What a column of this name is, "" when nobody knows. In a file of companies a plain name is the company's."""
    found = _meaning(header)
    what = found.what if found else ""
    return "company" if kind == "account" and what == "name" else what


@cache
def _meaning(header: str) -> Meaning | None:
    names, words = _tables()
    for text in dict.fromkeys((folded(header), folded(_CAMEL.sub(" ", header)))):
        if found := names.get(text) or names.get(text.replace(" ", "")):
            return found
        base, rank = text, PLAIN
        numbers = [int(number) for number in re.findall(r"\b\d\b", base)]
        base = " ".join(re.sub(r"\b\d\b", " ", base).split()) or base
        rank += NUMBERED * max([number - 1 for number in numbers], default=0)
        for word, worth in [("", PLAIN), *words]:
            base, hits = _without(base, word) if word else (base, 1)
            if not hits:
                continue
            rank = max(rank, rank - rank % NUMBERED + worth)
            if found := names.get(base) or names.get(base.replace(" ", "")):
                return Meaning(found.what, found.rank + rank)
    return None


def _without(text: str, word: str) -> tuple[str, int]:
    """The text without a word, as long as something is left of it."""
    pattern = re.escape(word) if _IDEOGRAPHS.search(word) else rf"(?<!\w){re.escape(word)}(?!\w)"
    left, hits = re.subn(pattern, " ", text)
    left = " ".join(left.split())
    return (left, hits) if left else (text, 0)


@cache
def _tables() -> tuple[dict[str, Meaning], list[tuple[str, int]]]:
    """(name -> what it means, words that rank a column, the longest first)."""
    names: dict[str, Meaning] = {}
    words: dict[str, int] = {}
    section = ""
    for line in Path(__file__).with_name("header_names.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            for name in filter(None, map(folded, line.split(","))):
                if section in RANKS:
                    words.setdefault(name, RANKS[section])
                else:
                    what, _, weak = section.partition(" ")
                    names.setdefault(name, Meaning(what, WEAK if weak else PLAIN))
    return names, sorted(words.items(), key=lambda pair: -len(pair[0]))


@dataclass(frozen=True)
class Columns:
    """What is where in a table: by kind, the best column first; and what each column is called in the id of a row."""

    places: Mapping[str, Sequence[int]]
    labels: Mapping[int, str]


def columns(headers: Sequence[str], kind: str, wanted: Mapping[str, str | None] = {}) -> Columns:
    """Raises Malformed."""
    return Columns(candidates(headers, kind, wanted), names_for_ids(headers, kind, wanted))


def guess(headers: Sequence[str], kind: str, wanted: Mapping[str, str | None] = {}) -> dict[str, int]:
    """What -> which column, the best of several. `wanted` (`map:`) has priority; None there: not that one. Raises Malformed."""
    return {what: places[0] for what, places in candidates(headers, kind, wanted).items()}


def candidates(headers: Sequence[str], kind: str, wanted: Mapping[str, str | None] = {}) -> dict[str, list[int]]:
    """What -> the columns that may be it, the best first. Raises Malformed."""
    listed = ", ".join(repr(header) for header in headers) or "none"
    found = _as_mapped(headers, wanted, listed)
    taken = {place for places in found.values() for place in places}
    ranked: dict[str, list[tuple[int, int]]] = {}
    for place, header in enumerate(headers):
        if (what := meaning(header, kind)) and what not in wanted and place not in taken:
            known = _meaning(header)
            ranked.setdefault(what, []).append((known.rank if known else PLAIN, place))
    for what, hits in ranked.items():
        hits.sort()
        best = [place for rank, place in hits if rank == hits[0][0]]
        exclusive = what in IDENTITY[kind] and not (what != "email" and ("email" in found or "email" in ranked))
        if len(best) > 1 and exclusive:
            several = " and ".join(repr(headers[place]) for place in best)
            raise Malformed(f"{several} could both be the {what}: say which with map: {{{what}: …}}")
        found[what] = [place for _, place in hits]
    if kind == "contact":
        _pair_names(found, headers, wanted)
    if not any(what in found for what in IDENTITY[kind]):
        needed = " or ".join(IDENTITY[kind])
        raise Malformed(f"no column is known as {needed}; headers found: {listed}; say which with map:")
    return found


BARE_NAMES = frozenset(
    map(
        folded,
        (
            *(
                "name",
                "nom",
                "naam",
                "namn",
                "navn",
                "nimi",
                "név",
                "nume",
                "ime",
                "nazwa",
                "isim",
                "imię",
                "nome",
                "nombre",
            ),
            *("שם", "الاسم", "이름", "名前", "お名前", "имя", "όνομα", "ชื่อ", "tên"),
        ),
    )
)
"""Headers that mean the whole name alone, and one part of it beside a column of the other part."""


@cache
def _is_bare(header: str) -> bool:
    return folded(header) in BARE_NAMES


def _pair_names(found: dict[str, list[int]], headers: Sequence[str], wanted: Mapping[str, str | None]) -> None:
    """`Prénom, Nom`: the bare name beside given names is the family's. `İsim, Soyisim`: beside family names it is the given."""
    for have, other in (("first_name", "last_name"), ("last_name", "first_name")):
        if have not in found or other in found or other in wanted or "name" in wanted:
            continue
        bare = [place for place in found.get("name", ()) if _is_bare(headers[place])]
        rest = [place for place in found.get("name", ()) if place not in bare]
        if bare:
            found[other] = bare
            found.pop("name")
            found.update({"name": rest} if rest else {})
        return


def name_parts(
    headers: Sequence[str], found: Mapping[str, Sequence[int]], said: Mapping[str, str]
) -> tuple[str, str, str]:
    """(name, first name, last name) of a row. A bare name column may hold whole names all the same: it does where it repeats the
    other part (`Eva`, `Eva Kern`), or where no column has the other part."""
    name, first, last = said.get("name", ""), said.get("first_name", ""), said.get("last_name", "")

    def is_bare(what: str) -> bool:
        return any(_is_bare(headers[place]) for place in found.get(what, ())[:1])

    if is_bare("last_name") and first and first != last and (rest := _apart(last, first)):
        return name or last, first, rest
    if is_bare("first_name") and last and first != last and (rest := _apart(first, last)):
        return name or first, rest, last
    if is_bare("first_name") and " " in first and not (name or last or "name" in found or "last_name" in found):
        return first, "", ""
    return name, first, last


def _apart(whole: str, part: str) -> str:
    """The rest of a whole name without one part of it, ``""`` when the part is not in it."""
    edge = "" if _IDEOGRAPHS.search(part) else r"(?!\w)"
    begin = "" if _IDEOGRAPHS.search(part) else r"(?<!\w)"
    rest, hits = re.subn(begin + re.escape(part) + edge, " ", whole, count=1, flags=re.IGNORECASE)
    return " ".join(rest.strip(" ,，").split()) if hits else ""


def _as_mapped(headers: Sequence[str], wanted: Mapping[str, str | None], listed: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for what, name in wanted.items():
        if name is None:
            continue
        hits = [place for place, header in enumerate(headers) if folded(header) == folded(name)]
        if len(hits) != 1:
            many = "no column is" if not hits else "several columns are"
            raise Malformed(f"map: {what}: {many} called {name!r}; headers found: {listed}")
        found[what] = hits
    return found


_ID_MEANS = {name: what for what, names in ID_NAMES.items() for name in names}


def names_for_ids(headers: Sequence[str], kind: str, wanted: Mapping[str, str | None] = {}) -> dict[int, str]:
    """Place -> the name that a cell has in the id of its row."""
    made = {places[0]: what for what, places in _as_mapped(headers, wanted, "").items()}
    done = {*wanted}
    for place, header in enumerate(headers):
        what = _ID_MEANS.get(folded(header), "")
        what = "company" if kind == "account" and what == "name" else what
        if place not in made and what and what not in done:
            made[place] = what
            done.add(what)
    return {place: made.get(place, f"={folded(header)}") for place, header in enumerate(headers)}


def misspelled(name: str) -> str:
    """The known field that a key of `map:` misspells (letters swapped, one left out or doubled), "" for any other name: those
    are the user's own and are kept in the data."""
    letters = name.strip().lower().replace("-", "_").replace(" ", "_")
    if letters in ID_NAMES:
        return letters if letters != name else ""
    for known in ID_NAMES:
        swapped = len(known) > 3 and sorted(letters) == sorted(known)
        left_out = len(known) > 4 and any(known[:at] + known[at + 1 :] == letters for at in range(1, len(known)))
        doubled = any(known[:at] + known[at] + known[at:] == letters for at in range(len(known)))
        if swapped or left_out or doubled:
            return known
    return ""
