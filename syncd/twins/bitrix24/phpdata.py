"""PHP's view of data, which shows through Bitrix24's API: nested query strings, and arrays that are lists or maps by their keys.

Used by every module of the Bitrix24 twin that reads a request or shapes an answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

_INDEX = re.compile(r"\[([^\]]*)\]")
_WHOLE = re.compile(r"0|-?[1-9]\d*")
_REFERENCE = re.compile(r"\$result((?:\[[^\]]*\])+)")


def parse(query: str) -> dict[str, Any]:
    """A query string as PHP's parse_str reads it: `a[b][]=1` nests, a later value of one key replaces an earlier one."""
    found: dict[str, Any] = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            _insert(found, unquote_plus(name), unquote_plus(value))
    return {name: _settled(value) for name, value in found.items()}


def _insert(into: dict[str, Any], name: str, value: str) -> None:
    base, bracket, rest = name.partition("[")
    base = re.sub(r"[ .]", "_", base)
    keys = _INDEX.findall(bracket + rest)
    if not base:
        return
    place, key = into, base
    for following in keys:
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
        key = following or str(max((int(k) for k in place if _WHOLE.fullmatch(k)), default=-1) + 1)
    place[key] = value


def _settled(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _settled(each) for key, each in value.items()}
    return list(inner.values()) if _is_list(inner) else inner


def _is_list(value: Mapping[str, Any]) -> bool:
    return list(value) == [str(number) for number in range(len(value))]


def shown(value: Any) -> Any:
    """A value as json_encode writes it: a map without entries, or with the keys 0, 1, 2 …, becomes a list."""
    if isinstance(value, Mapping):
        inner = {str(key): shown(each) for key, each in value.items()}
        return list(inner.values()) if _is_list(inner) else inner
    return [shown(each) for each in value] if isinstance(value, list | tuple) else value


def entries(value: Any) -> list[tuple[str, Any]]:
    """Keys and values of a PHP array, however it was sent; empty for anything else."""
    if isinstance(value, Mapping):
        return [(str(key), each) for key, each in value.items()]
    return [(str(number), each) for number, each in enumerate(value)] if isinstance(value, list) else []


def values(value: Any) -> list[Any]:
    """The values of a PHP array; empty for anything else."""
    return [each for _, each in entries(value)]


def resolved(value: Any, known: Mapping[str, Any]) -> Any:
    """Replaces `$result[key][field]…` by what earlier commands answered. A value that is one reference takes the type of what it
    refers to; one that leads nowhere is null (INFERRED)."""
    if isinstance(value, dict):
        return {key: resolved(each, known) for key, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, known) for each in value]
    if not isinstance(value, str) or "$result[" not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _followed(whole[1], known)

    def text(match: re.Match[str]) -> str:
        found = _followed(match[1], known)
        return "" if found is None else str(found)

    return _REFERENCE.sub(text, value)


def _followed(path: str, known: Any) -> Any:
    found = known
    for key in _INDEX.findall(path):
        key = key.strip("'\"")
        if isinstance(found, Mapping):
            found = found.get(key)
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found
