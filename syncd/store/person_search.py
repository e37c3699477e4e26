"""Finding the signals of a person by what an operator types: a name, an address, a number in any form, a handle.

`queries` calls it for filters. Names are compared without case and accents, in any order of their words; numbers by their
last digits, so that `0912 345 678` finds +84912345678.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sqlalchemy import select

from syncd.identity.identities import HANDLE, normal_identity
from syncd.signals import Person, decode_signal
from syncd.store.schema import signals

if TYPE_CHECKING:
    from syncd.store.store import Store

PAGE = 2000
FEWEST_DIGITS = 4
"""A shorter number is taken as a part of a name or address only."""
_NUMBER = re.compile(r"[\d\s()+./\u2010-\u2015-]+|tel:[\d\s()+./-]+", re.IGNORECASE)
_EXTENSION = re.compile(
    r"(?<=\d)[\s,;]*(?:extension|ext|x|poste|durchwahl|dw|máy lẻ|nội bộ|доб|вн"
    r"|内线|內線|分机|分機|内線|내선|#)[.:=\s]*\d{1,8}\s*$",
    re.IGNORECASE,
)
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
_PLAIN = str.maketrans({"đ": "d", "ø": "o", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe"})
"""Letters that Unicode does not take apart into a letter and a mark."""


def fold(text: str) -> str:
    """Text without case, accents, signs and doubled blanks: `Nguyễn Văn Ân` is `nguyen van an`."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text.casefold()).casefold())
    plain = "".join(char for char in apart if not unicodedata.combining(char)).translate(_PLAIN)
    return " ".join(re.sub(r"[^\w@+.]+", " ", unicodedata.normalize("NFC", plain)).split())


def digits_of(text: str) -> str:
    """The digits of what was typed as a phone number, without the prefixes that depend on where one calls from ("" if it
    is not usable)."""
    text = _EXTENSION.sub("", unicodedata.normalize("NFKC", text).strip())
    if not _NUMBER.fullmatch(text):
        return ""
    bare = re.sub(r"\(0\)", "", text)
    digits = re.sub(r"\D", "", bare).lstrip("0")
    return digits if len(digits) >= FEWEST_DIGITS else ""


def matcher(typed: str) -> Callable[[Person], bool]:
    """Whether a person is meant by what was typed. Pure."""
    if handle := normal_identity(typed) if typed.strip().lower().startswith(HANDLE) else "":
        return lambda person: handle in person.identities
    typed = re.sub(r"^(email|phone|mailto|tel):", "", typed.strip(), flags=re.IGNORECASE)
    words, digits, part = fold(typed).split(), digits_of(typed), typed.casefold()

    def matches(person: Person) -> bool:
        if not part:
            return False
        if part in person.email or any(part.lstrip("@") in handle.casefold() for handle in person.handles.values()):
            return True
        if digits:
            return digits in re.sub(r"\D", "", person.phone)
        names = fold(f"{person.name} {person.first_name} {person.last_name}").split()
        begins = bool(words) and all(any(name.startswith(word) for name in names) for word in words)
        return begins or (_unspaced(words) and "".join(words) in "".join(names))

    return matches


def _unspaced(words: list[str]) -> bool:
    """Whether these are words of a script that writes names without blanks (Han, kana, hangul)."""
    return any(unicodedata.name(char, "").startswith(_UNSPACED) for word in words for char in word)


def signals_of(store: Store, typed: str) -> list[str]:
    """The ids of the signals of everybody who is meant. Reads every signal, page by page."""
    return [id for id, _ in _meant(store, typed)]


def identities_of(store: Store, typed: str) -> list[str]:
    """The identities of everybody who is meant, each once; of a person with several the first. Reads as `signals_of` does."""
    return list(dict.fromkeys(person.identity for _, person in _meant(store, typed) if person.identity))


def _meant(store: Store, typed: str) -> Iterator[tuple[str, Person]]:
    matches, after = matcher(typed), ""
    while True:
        query = select(signals.c.id, signals.c.body).where(signals.c.id > after).order_by(signals.c.id).limit(PAGE)
        with store.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return
        people = ((row.id, decode_signal(row.body).person) for row in rows)
        yield from ((id, person) for id, person in people if matches(person))
        after = rows[-1].id
