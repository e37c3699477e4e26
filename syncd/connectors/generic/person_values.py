"""What senders put where one text about a person is expected: a list, an object, a text that holds JSON. Pure.

A list gives its members (all addresses and numbers, the first of everything else; the primary one first), an object the member
that vendors name so. What holds no text is refused: a person who becomes nobody is lost without a sound.
"""

from __future__ import annotations

from typing import Any

from syncd.http.json_text import parse

_MEMBERS: dict[str, tuple[str, ...]] = {
    "email": ("email", "emailaddress", "address", "addr", "mail", "value", "text", "raw"),
    "phone": (
        "e164", "e164number", "international", "internationalnumber", "number", "phone", "phonenumber", "value", "mobile",
        "tel", "telephone", "formatted", "text", "raw",
    ),
    "name": ("name", "fullname", "displayname", "formatted", "value", "text"),
    "first_name": ("firstname", "first", "given", "givenname", "value", "text", "name"),
    "last_name": ("lastname", "last", "family", "familyname", "surname", "value", "text", "name"),
    "company": ("name", "company", "companyname", "organization", "organisation", "displayname", "value", "text"),
}  # fmt: skip
"""Key of a person -> the members of an object that hold it, by preference; without case, blanks, `_` and `-`. Sources: JSON of
SCIM (RFC 7643), JSContact (RFC 9553), Google People, Microsoft Graph, SendGrid, Typeform, HubSpot."""
_PRIMARY = ("primary", "isprimary", "default", "preferred")
_SEVERAL = frozenset({"email", "phone"})
_DEEPEST = 4


def person_text(key: str, value: Any) -> str:
    """The text of a value, "" where it holds nothing. Raises ValueError for an object or a list without what is asked for."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"} and (held := _json(value)) is not None:
        return _text(key, held, 0) or value.replace("\0", "")
    text = _text(key, value, 0)
    if not text and isinstance(value, (dict, list)) and _says_something(value):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise ValueError(
            f"person.{key}: {kind} in which no text was found; write the whole path to the text in the map"
        )
    return text


def _text(key: str, value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if depth > _DEEPEST:
        return ""
    if isinstance(value, list):
        texts = [text for one in sorted(value, key=_rank) if (text := _text(key, one, depth + 1)).strip()]
        return ", ".join(dict.fromkeys(texts)) if key in _SEVERAL else (texts or [""])[0]
    return _member(key, value, depth) if isinstance(value, dict) else ""


def _member(key: str, value: dict[str, Any], depth: int) -> str:
    members = {_folded(name): one for name, one in value.items()}
    if found := _first(members, _MEMBERS.get(key, ("value", "text")), depth, key):
        return found
    if key == "name":
        given, family = (_first(members, _MEMBERS[part][:-3], depth) for part in ("first_name", "last_name"))
        return f"{given} {family}".strip()
    return _text(key, next(iter(value.values())), depth + 1) if len(value) == 1 else ""


def _first(members: dict[str, Any], names: tuple[str, ...], depth: int, key: str = "") -> str:
    return next((text for name in names if (text := _text(key, members.get(name), depth + 1)).strip()), "")


def _rank(one: Any) -> bool:
    """Sorts the primary one of a list before the others."""
    if not isinstance(one, dict):
        return True
    members = {_folded(name): value for name, value in one.items()}
    return not any(members.get(name) is True for name in _PRIMARY)


def _folded(name: Any) -> str:
    return str(name).casefold().replace("_", "").replace("-", "").replace(" ", "")


def _json(text: str) -> Any:
    """The list or object that a text holds as JSON, None for any other text."""
    try:
        return parse(text.encode("utf-8", "replace")).value
    except ValueError:
        return None


def _says_something(value: Any) -> bool:
    """Whether anything but empty values stands in it."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_says_something(one) if isinstance(one, (dict, list)) else one not in (None, "") for one in held)
