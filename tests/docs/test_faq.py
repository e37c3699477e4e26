"""Each line of fault that syncd can print has its entry in docs/faq.md, and each entry is of a line that exists."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.error_lines import GAP, Line, every_line

ROOT = Path(__file__).parents[2]
FAQ = ROOT / "docs" / "faq.md"
SHOWN = re.compile(r"\*\*`([^`]+)`\*\*")
"""The symptom of an entry, as people see it: **`no source …`**."""
FAMILY = re.compile(r"<!-- also:\n(.*?)-->", re.DOTALL)
"""Further lines that the entry above it answers, one a line, not shown to readers."""
LETTERS = 6
"""Fewer letters than this would fit anything."""
VERBATIM = ("…: … is not …-……",)
"""Symptoms with so few words that they must be the whole line."""
EXEMPT = {
    # pattern of a line: why nobody needs an answer to it
    "the stored payload is neither a request nor a signal": "a row of our own table that only a fault of syncd can write",
    "the stored hint cannot be read": "a row of our own table that only a fault of syncd can write",
    "… answers for … people": "a connector that breaks its contract; the lane treats it as a lost answer",
    "fetch_many has … answers to … hints": "a connector that breaks its contract; the hints are tried again",
    "… outcomes for … writes": "a connector that breaks its contract; the lane treats it as a lost answer",
    "module … has no attribute …": "Python's own word to a programmer",
    "a length beyond reason": "caught where a signed mail is opened, and noted on the mail as unreadable",
    "not text": "caught a line further down, and told as a bad token",
}


def patterns() -> list[str]:
    """The symptoms of all entries."""
    text = FAQ.read_text("utf-8")
    families = [line for block in FAMILY.findall(text) for line in block.splitlines()]
    return [" ".join(one.split()) for one in [*SHOWN.findall(text), *families] if one.strip()]


def fits(pattern: str, text: str) -> bool:
    """Whether the line holds the symptom. What either of them leaves open is an ellipsis."""
    if pattern in VERBATIM:
        return pattern == text
    return re.search(".*".join(map(re.escape, pattern.split(GAP))), " ".join(text.split())) is not None


def unanswered(line: Line, known: list[str]) -> bool:
    return not any(fits(pattern, line.text) for pattern in [*known, *EXEMPT])


def test_every_line_of_fault_has_an_answer() -> None:
    known = patterns()
    missing = [line for line in every_line() if unanswered(line, known)]
    told = "\n".join(
        f"  {line.file}:{line.number}\n    **`{line.text}`**: what it means and what to do" for line in missing
    )
    assert not missing, (
        f"{len(missing)} lines that syncd can print have no entry in docs/faq.md. Add one for each (… for what differs, or only "
        "the part that is telling), or the line alone to the `<!-- also:` comment under an entry that answers it already; a "
        f"line that only a bug of ours can print goes to EXEMPT in {Path(__file__).name}, with the reason:\n{told}"
    )


def in_the_source(symptom: str, source: str) -> bool:
    """Whether its words stand in the source: reasons of a delivery and advice of `status` are no faults, but asked about."""
    return all(" ".join(part.split()) in source for part in symptom.split(GAP) if part.strip())


def test_every_answer_is_to_a_line_that_exists() -> None:
    lines = every_line()
    files = list((ROOT / "syncd").rglob("*.py"))
    source = re.sub(r'"\s*\n?\s*f?"', "", "\n".join(path.read_text("utf-8") for path in files))
    gone = [one for one in [*patterns(), *EXEMPT] if not any(fits(one, line.text) for line in lines)]
    gone = [one for one in gone if not in_the_source(one, source)]
    assert not gone, "docs/faq.md answers lines that syncd does not print (any more): " + "; ".join(gone)


def test_no_answer_fits_everything() -> None:
    vague = [one for one in patterns() if len(re.sub(r"[^A-Za-z]", "", one)) < LETTERS and one not in VERBATIM]
    assert not vague, "too few letters to tell one line from another: " + "; ".join(vague)
