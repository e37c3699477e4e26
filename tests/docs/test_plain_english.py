"""Text for users is plain technical English: phrases that a native reader has to decode do not appear in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.error_lines import every_line

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    # phrase: what to write instead
    r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b)": "is not a …, or: there is no …",
    r"\b(?:is|are) none\b": "is not one, or: does not exist",
    r"\bmend(?:s|ed|ing)?\b": "fix, repair",
    r"\bamiss\b": "wrong, different, missing",
    r"\b(?:goes|go|went|going) on\b": "continues, resumes, persists",
    r"\btold\b": "reported, notified, detected",
    r"\bseldom\b": "rarely, less often",
    r"\bleaves [0-9]\b": "exits with status 1",
    r"\bthe whole of\b": "all of, the complete",
    r"\bperson (?:signs?|signed) in\b": "interactive sign-in, an operator signs in",
}
PATTERN = re.compile("|".join(FORBIDDEN))
NAMES = re.compile(r"```.*?```|<!--.*?-->|`[^`\n]+`", re.DOTALL)
"""Code and comments in Markdown: keys, metrics and output keep the names they have; error lines are checked in the source."""
UNCHECKED = ("roadmap.md",)


def pages() -> list[Path]:
    """The README, the pages of docs/ and the example configuration."""
    documents = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in UNCHECKED]
    return [ROOT / "README.md", *documents, ROOT / "config.example.yaml"]


def forbidden(text: str) -> Iterator[tuple[int, str]]:
    """(line, phrase) of each forbidden phrase in the text; one may run over the end of a line."""
    flat = text.replace("\n", " ")
    for hit in PATTERN.finditer(flat):
        yield text.count("\n", 0, hit.start()) + 1, hit[0].strip()


def without_code(text: str) -> str:
    """The text with its code blanked out, line for line."""
    return NAMES.sub(lambda code: re.sub(r"[^\n]", "_", code[0]), text)


def advice(phrase: str) -> str:
    """What to write instead of a phrase that was found."""
    return next(instead for pattern, instead in FORBIDDEN.items() if re.search(pattern, phrase + " "))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_pages_are_plain_english(page: Path) -> None:
    text = page.read_text("utf-8")
    prose = without_code(text) if page.suffix == ".md" else text
    found = [f"  {page.name}:{line}: {phrase!r}; write: {advice(phrase)}" for line, phrase in forbidden(prose)]
    assert not found, "\n" + "\n".join(found)


def test_error_lines_are_plain_english() -> None:
    found = [
        f"  {line.file}:{line.number}: {phrase!r} in {line.text!r}; write: {advice(phrase)}"
        for line in every_line()
        for _, phrase in forbidden(line.text)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("'a@b' is no domain", "is no"),
        ("the poll\ngoes\non", "goes on"),
        ("it leaves 1 then", "leaves 1"),
        ("the rows that were mended", "mended"),
        ("a person signs in", "person signs in"),
    ],
)
def test_a_forbidden_phrase_is_found(text: str, phrase: str) -> None:
    assert [found for _, found in forbidden(text)] == [phrase]
    assert advice(phrase)


def test_idioms_are_not_forbidden() -> None:
    assert not list(forbidden("There is no daemon; the old key is no longer valid, and leaves no trace. Recommended."))


def test_code_in_a_page_is_not_prose() -> None:
    assert without_code("a `syncd_verify_amiss` b\n```\ntold\n```\n").split() == [
        "a",
        "_" * 20,
        "b",
        "___",
        "____",
        "___",
    ]
