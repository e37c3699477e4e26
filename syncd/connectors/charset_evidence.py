"""How well bytes read as names and words of a language, by encoding: the evidence that `charsets` decides by. Pure.

Every language has a small model of its letters, counted from `charset_words.txt`: trigrams for alphabets, frequencies for
Chinese, Japanese and Korean characters. A reading's worth is the logarithm of its probability: the same bytes read in two
encodings can be compared. Only pieces of text with a byte beyond ASCII count.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

LATIN_WEST = ("de", "fr", "es", "pt", "it", "nl", "sv", "da", "no", "fi", "is", "ca", "ga", "sq")
LATIN_CENTRAL = ("pl", "cs", "sk", "hu", "ro", "hr", "sl", "sq", "de")
LATIN_TURKISH = ("tr", "az", "de", "fr", "es", "pt", "it", "nl", "sv", "da", "no", "fi")
LATIN_BALTIC = ("lt", "lv", "et", "de", "pl", "fi", "sv", "da", "no")
CYRILLIC = ("ru", "uk", "bg", "be", "sr", "mk")
ARABIC = ("ar", "fa", "fr")

WINDOWS, ISO, MAC, DOS = 0.0, -3.0, -4.0, -4.0


@dataclass(frozen=True)
class Encoding:
    """A codec, the languages it is used for, and how much rarer (in nats) it is than the ones that Excel writes."""

    codec: str
    languages: tuple[str, ...]
    rarity: float = WINDOWS


ENCODINGS: tuple[Encoding, ...] = (
    Encoding("cp1252", LATIN_WEST),
    Encoding("cp1250", LATIN_CENTRAL),
    Encoding("cp1251", CYRILLIC),
    Encoding("cp1253", ("el",)),
    Encoding("cp1254", LATIN_TURKISH),
    Encoding("cp1255", ("he",)),
    Encoding("cp1256", ARABIC),
    Encoding("cp1257", LATIN_BALTIC),
    Encoding("cp1258", ("vi", "fr")),
    Encoding("cp874", ("th",)),
    Encoding("gb18030", ("zh", "zt")),
    Encoding("big5hkscs", ("zt",)),
    Encoding("cp932", ("ja",)),
    Encoding("cp949", ("ko",)),
    Encoding("euc_jp", ("ja",), ISO),
    Encoding("koi8_r", ("ru", "bg"), ISO),
    Encoding("koi8_u", ("uk", "ru", "be"), ISO),
    Encoding("iso8859_2", LATIN_CENTRAL, ISO),
    Encoding("iso8859_5", CYRILLIC, DOS),
    Encoding("iso8859_6", ("ar",), DOS),
    Encoding("iso8859_7", ("el",), ISO),
    Encoding("iso8859_8", ("he",), ISO),
    Encoding("iso8859_9", LATIN_TURKISH, ISO),
    Encoding("iso8859_13", LATIN_BALTIC, ISO),
    Encoding("iso8859_15", LATIN_WEST, ISO),
    Encoding("mac_roman", LATIN_WEST, MAC),
    Encoding("mac_latin2", LATIN_CENTRAL, MAC),
    Encoding("mac_cyrillic", CYRILLIC, MAC),
    Encoding("mac_greek", ("el",), MAC),
    Encoding("mac_turkish", LATIN_TURKISH, MAC),
    Encoding("cp437", ("de", "fr", "es", "it", "nl", "sv", "da", "fi"), DOS),
    Encoding("cp850", LATIN_WEST, DOS),
    Encoding("cp852", LATIN_CENTRAL, DOS),
    Encoding("cp866", CYRILLIC, DOS),
    Encoding("cp857", LATIN_TURKISH, DOS),
    Encoding("cp737", ("el",), DOS),
    Encoding("cp775", LATIN_BALTIC, DOS),
    Encoding("cp862", ("he",), DOS),
    Encoding("cp720", ("ar",), DOS),
    Encoding("cp855", CYRILLIC, DOS),
    Encoding("cp861", ("is",), DOS),
    Encoding("cp863", ("fr",), DOS),
    Encoding("cp865", ("no", "da", "sv"), DOS),
    Encoding("iso8859_4", LATIN_BALTIC, DOS),
    Encoding("mac_iceland", ("is",), MAC),
    Encoding("mac_romanian", ("ro",), MAC),
    Encoding("mac_croatian", ("hr", "sl"), MAC),
)

FOREIGN = 3.0
"""What a piece in another language than the rest of its list costs."""
DAMAGE = -14.0
"""A sequence that the encoding does not define."""
ASCII_LETTER = -3.0
SYMBOL = -7.0
"""A sign between words: a dash, a quotation mark."""
SYMBOL_IN_WORD = -11.0
CONTROL = -16.0
APOSTROPHE = -4.0
ODD_CASE = -6.0
"""An upper-case letter behind a lower-case one, or a lower-case one behind two of upper case."""
SMALL_FIRST = -1.5
MIXED = -8.0
"""A letter of another script beside a Latin one."""
STRANGE_CHANCE = 5e-4
PIECES = 400
"""More pieces of one text say nothing new."""
FIRST = 25
HOPELESS = 45.0
"""After FIRST pieces an encoding this much worse than the best is not read further."""

_GAPS = re.compile(rb"[\x00-\x2f\x3a-\x3f]+")
"""Bytes that do not occur in any two-byte character in an encoding listed here. (Digits are, in GB18030.)"""


def pieces(data: bytes) -> list[bytes]:
    """The different pieces of `data` that hold a byte beyond ASCII, cut where every encoding may be cut."""
    found: dict[bytes, None] = {}
    for piece in _GAPS.split(data):
        if piece and not piece.isascii():
            found[piece] = None
            if len(found) == PIECES:
                break
    return list(found)


@dataclass(frozen=True)
class Reading:
    """Pieces read in one encoding. `worth`: log probability; `strange`: the share of characters no language of it explains;
    `foreign`: which pieces are in another language than most."""

    encoding: Encoding
    texts: tuple[str, ...]
    worth: float
    strange: float
    foreign: tuple[bool, ...]


def readings(raw: Sequence[bytes]) -> list[Reading]:
    """The pieces in every encoding that may be theirs."""
    first = [made for each in ENCODINGS if (made := read(raw[:FIRST], each)) is not None]
    if len(raw) <= FIRST or not first:
        return first
    best = max(reading.worth for reading in first)
    hopeful = [reading.encoding for reading in first if reading.worth > best - HOPELESS]
    return [made for each in hopeful if (made := read(raw, each)) is not None]


def read(raw: Sequence[bytes], encoding: Encoding) -> Reading | None:
    """The pieces in an encoding; None when more of them is undefined in it than the odd damaged one."""
    texts: list[str] = []
    gains: list[dict[str, float]] = []
    damaged = seen = strange = 0
    for piece in raw:
        try:
            text = piece.decode(encoding.codec)
        except UnicodeDecodeError:
            text = piece.decode(encoding.codec, "replace")
            damaged += 1
            if damaged * FIRST > len(raw):
                return None
        text = unicodedata.normalize("NFC", text)
        texts.append(text)
        found = {language: _worth(text, language) for language in encoding.languages}
        gains.append({language: gain for language, (gain, _, _) in found.items()})
        _, odd, count = max(found.values())
        strange -= odd
        seen += count
    main, worth = _mainly(gains)
    foreign = tuple(each[main] < max(each.values()) - FOREIGN for each in gains)
    return Reading(encoding, tuple(texts), worth + encoding.rarity, strange / max(seen, 1), foreign)


def _mainly(gains: Sequence[dict[str, float]]) -> tuple[str, float]:
    """(the language of most pieces, what all are worth): a piece in another language costs FOREIGN."""
    best = [max(each.values()) - FOREIGN for each in gains]
    totals = {
        language: sum(max(each[language], other) for each, other in zip(gains, best, strict=True))
        for language in gains[0]
    }
    main = max(totals, key=lambda language: totals[language])
    return main, totals[main]


@lru_cache(maxsize=50_000)
def _worth(text: str, language: str) -> tuple[float, int, int]:
    """(log probability, minus the characters that the language does not explain, characters beyond ASCII)."""
    model = _model(language)
    if language == "ja":
        text = unicodedata.normalize("NFKC", text)
    count = sum(not c.isascii() for c in text)
    gain, odd = model.worth(text)
    return gain, -odd, count


def _general(char: str, before: str, after: str) -> float | None:
    """What a character is worth in any language; None for letters."""
    if char.isascii():
        return ASCII_LETTER
    category = unicodedata.category(char)
    if category in ("Cc", "Cn", "Co", "Cs") or char == "\ufffd":
        return CONTROL if char != "\ufffd" else DAMAGE
    if category[0] in "LM":
        return None
    if char in "’ʼ" and before.isalpha() and after.isalpha():
        return APOSTROPHE
    return (
        SYMBOL_IN_WORD
        if before.isalpha() or not before.isascii() or (after.isalpha() and category not in ("Ps", "Pi"))
        else SYMBOL
    )


def _mixed(text: str) -> float:
    """What words of two scripts cost."""
    return MIXED * len(_TWO_SCRIPTS.findall(text))


_FOREIGN = r"\u0370-\u1dff\u2e80-\ud7ff\uf900-\ufeff\uff66-\uff9f"
_TWO_SCRIPTS = re.compile(rf"[A-Za-z\u00c0-\u024f](?=[{_FOREIGN}])|[{_FOREIGN}](?=[A-Za-z\u00c0-\u024f])")


class _Alphabet:
    """Trigrams of lower-cased words, smoothed by bigrams and letters."""

    UNKNOWN = 1e-5
    RARE = 10.0

    def __init__(self, words: Iterable[str]) -> None:
        self._three: Counter[str] = Counter()
        self._pair: Counter[str] = Counter()
        self._one: Counter[str] = Counter()
        for word in words:
            padded = f"  {word.lower()} "
            for at in range(2, len(padded)):
                self._three[padded[at - 2 : at + 1]] += 1
                self._pair[padded[at - 1 : at + 1]] += 1
                self._one[padded[at]] += 1
        self._behind_pair: Counter[str] = Counter()
        self._behind: Counter[str] = Counter()
        for three, count in self._three.items():
            self._behind_pair[three[:2]] += count
        for pair, count in self._pair.items():
            self._behind[pair[0]] += count
        self._all = sum(self._one.values())

    def worth(self, text: str) -> tuple[float, int]:
        """(log probability, characters that are strange to the language)."""
        lower = text.lower()
        if len(lower) != len(text):  # İ
            lower = "".join(c.lower()[0] for c in text)
        padded, total, odd = f"  {lower} ", _mixed(text), 0
        for at, char in enumerate(text, start=2):
            total += self._case(text, at - 2)
            if (known := _general(char, padded[at - 1], padded[at + 1])) is not None and (
                not char.isascii() or padded[at - 2 : at].isascii()
            ):
                total += known
                odd += known < SYMBOL
                continue
            p = self._chance(padded[at - 2 : at + 1])
            total += math.log(p)
            odd += p < STRANGE_CHANCE and not char.isascii()
        if not padded[-2].isascii():
            total += math.log(self._chance(padded[-3:]))
        return total, odd

    @staticmethod
    def _case(text: str, at: int) -> float:
        char, before = text[at], text[at - 1 : at] if at else ""
        if not before:
            return SMALL_FIRST if char.islower() and not char.isascii() else 0.0
        if char.isupper() and before.islower():
            return 0.0 if char.isascii() and before.isascii() else ODD_CASE
        three = text[at - 2 : at + 1] if at > 1 else ""
        if char.islower() and three[:2].isupper() and three[:2].isalpha():
            return 0.0 if three.isascii() else ODD_CASE
        return 0.0

    def _chance(self, three: str) -> float:
        p1 = self._one[three[2]] / self._all if three[2].isalpha() or three[2] == " " else 0.0
        pair, before = self._pair[three[1:]], self._behind[three[1]]
        p2 = (pair + 2 * p1) / (before + 2)
        count, seen = self._three[three], self._behind_pair[three[:2]]
        p3 = (count + 2 * p2) / (seen + 2)
        return max(p3, self.UNKNOWN)


class _Characters:
    """Chinese, Japanese and Korean: characters by how common they are, those that family names begin with apart."""

    def __init__(self, common: str, first: str, script: str) -> None:
        self._script = script
        self._common = _ranked(common, 0.93)
        self._first = _ranked(first, 0.6)

    def worth(self, text: str) -> tuple[float, int]:
        """(log probability, characters that are strange to the language)."""
        total, odd, padded = _mixed(text), 0, f" {text} "
        for at, char in enumerate(padded[1:-1], start=1):
            if (known := _general(char, padded[at - 1], padded[at + 1])) is not None:
                total += known
                odd += known < SYMBOL
                continue
            p = self._common.get(char, 0.0) or self._rare(char)
            if at == 1:
                p = 0.4 * p + self._first.get(char, 0.0)
            total += math.log(p)
            odd += p < 2e-5
        return total, odd

    def _rare(self, char: str) -> float:
        if self._script == "ja" and "\u3041" <= char <= "\u30fe":
            return 1 / 150
        if self._script == "ko":
            if "가" <= char <= "힣":
                return 4e-5 if _encodes(char, "euc_kr") else 1e-7
            return 2e-6 if "\u4e00" <= char <= "\u9fff" else 1e-7
        if not "\u4e00" <= char <= "\u9fff":
            return 1e-7
        plain = {"zh": "gb2312", "zt": "big5", "ja": "euc_jp"}[self._script]
        return 1e-5 if _encodes(char, plain) else 1e-6


def _encodes(char: str, codec: str) -> bool:
    try:
        char.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _ranked(chars: str, share: float) -> dict[str, float]:
    weights = {char: 1 / (rank + 30) for rank, char in enumerate(dict.fromkeys(chars))}
    whole = sum(weights.values())
    return {char: share * weight / whole for char, weight in weights.items()}


@cache
def _lines() -> dict[str, str]:
    """Language and mark -> what charset_words.txt says of it."""
    found: dict[str, str] = {}
    name = ""
    for line in Path(__file__).with_name("charset_words.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif line and not line.startswith("#"):
            found[name] = f"{found[name]} {line}" if name in found else line
    return found


@cache
def _model(language: str) -> _Alphabet | _Characters:
    said = _lines()
    if language in said:
        return _Alphabet(said[language].split())
    common, first = (said[f"{language} {what}"].replace(" ", "") for what in ("characters", "first"))
    return _Characters(common, first, language)
