"""As much of JSON Schema 2020-12 as the schema of the configuration uses, and no more: an unknown word is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

TELLING = {"title", "description", "default", "$defs", "$schema", "format", "writeOnly", "examples", "discriminator"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def faults(value: Any, schema: Any, whole: Any, at: str = "$") -> Iterator[str]:
    """What the schema has against a value, a line each."""
    if isinstance(schema, bool):
        if not schema:
            yield f"{at}: nothing may stand here"
        return
    for word, wanted in schema.items():
        if word not in TELLING:
            yield from _one(word, wanted, value, schema, whole, at)


def _one(word: str, wanted: Any, value: Any, schema: Any, whole: Any, at: str) -> Iterator[str]:
    match word:
        case "$ref":
            yield from faults(value, whole["$defs"][wanted.removeprefix("#/$defs/")], whole, at)
        case "type":
            names = wanted if isinstance(wanted, list) else [wanted]
            fits = any(isinstance(value, TYPES[name]) for name in names)
            if not fits or (isinstance(value, bool) and "boolean" not in names):
                yield f"{at}: is no {'/'.join(names)}"
        case "const" | "enum":
            if value not in (wanted if word == "enum" else [wanted]):
                yield f"{at}: {value!r} is not of {wanted}"
        case "properties":
            for name, inner in wanted.items():
                if isinstance(value, dict) and name in value:
                    yield from faults(value[name], inner, whole, f"{at}.{name}")
        case "patternProperties":
            for pattern, inner in wanted.items():
                for name in value if isinstance(value, dict) else ():
                    if re.search(pattern, name):
                        yield from faults(value[name], inner, whole, f"{at}.{name}")
        case "additionalProperties":
            for name in value if isinstance(value, dict) else ():
                like = any(re.search(pattern, name) for pattern in schema.get("patternProperties", {}))
                if name not in schema.get("properties", {}) and not like:
                    yield from faults(value[name], wanted, whole, f"{at}.{name}")
        case "required":
            yield from (f"{at}: {name} is missing" for name in wanted if isinstance(value, dict) and name not in value)
        case "items":
            for number, one in enumerate(value if isinstance(value, list) else ()):
                yield from faults(one, wanted, whole, f"{at}[{number}]")
        case "anyOf" | "oneOf":
            ways = [list(faults(value, way, whole, at)) for way in wanted]
            good = sum(not way for way in ways)
            if not good or (word == "oneOf" and good > 1):
                yield f"{at}: fits {good} of {len(wanted)}: " + "; ".join(way[0] for way in ways if way)
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            below = isinstance(value, (int, float)) and (value < wanted if "inimum" in word else value > wanted)
            if below or (isinstance(value, (int, float)) and "exclusive" in word and value == wanted):
                yield f"{at}: {value} is beyond {wanted}"
        case "minLength" | "maxLength" | "minItems" | "maxItems":
            if isinstance(value, (str, list)) and (len(value) < wanted if word[:3] == "min" else len(value) > wanted):
                yield f"{at}: too short or too long"
        case "pattern":
            if isinstance(value, str) and not re.search(wanted, value):
                yield f"{at}: {value!r} is not like {wanted}"
        case _:
            raise AssertionError(f"{at}: the schema uses {word}, which this test does not know yet")
