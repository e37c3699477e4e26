"""The titles of signals as codes with parameters, in every language: one file a language beside this module, code -> template.

A connector makes its titles with `titled`; the English text is kept beside the code, for whoever has no language and for rows of
an older version. Templates are `str.format`: a title that differs by number or by a missing part is a code of its own.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

LANGUAGES = ("en", "vi", "zh")
"""English, Vietnamese, Chinese (simplified)."""
ENGLISH = "en"


def titled(code: str, /, **parameters: str) -> dict[str, Any]:
    """The three fields of a Signal that are its title: `Signal(…, **titled("call.missed", who="An"))`."""
    return {"title": render(code, parameters, ENGLISH), "title_code": code, "title_parameters": parameters}


def render(code: str, parameters: dict[str, str], language: str) -> str:
    """The title in a language. Raises KeyError for a code that this version does not know, or a missing parameter."""
    return templates(language)[code].format(**parameters)


def title_in(language: str, title: str, code: str, parameters: dict[str, str], times: int = 1) -> str:
    """A stored title in a language; `title`, which is English, where it has no code or one that is not known here. `times`: how
    many events the signal counts; more than one are part of the title."""
    if language != ENGLISH and code:
        with suppress(KeyError, IndexError):
            title = render(code, parameters, language)
    return title if times == 1 else render("counted", {"title": title, "times": str(times)}, language)


@cache
def templates(language: str) -> dict[str, str]:
    """code -> template of one of LANGUAGES."""
    return msgspec.json.decode(files(__name__).joinpath(f"{language}.json").read_bytes(), type=dict[str, str])
