"""The JSON Schema of the configuration file, made from the same models that validate it, and the words for a key's type.

Called by `syncd config schema` and `syncd connectors NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ByteSize, SecretStr
from pydantic.fields import FieldInfo

from syncd import registry
from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.durations import format_duration

_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true/false",
    SecretStr: "secret",
    timedelta: "duration",
    ByteSize: "size",
    Path: "file",
    NoneType: "nothing",
    Any: "anything",
}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The settings models inside a type, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a settings model as YAML has them: `as` cannot be the name of an attribute."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def type_words(annotation: Any) -> str:
    """A type as an admin would say it: `secret`, `one of imap, pop`, `list of text`."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(inner[0])
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_words(choice) for choice in inner if choice is not NoneType))
    if origin in (tuple, list, set, frozenset):
        return f"list of {type_words(inner[0])}" if inner else "list"
    if origin is dict:
        return f"keys with {type_words(inner[1])}" if inner else "keys and values"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys and values"
    return getattr(annotation, "__name__", str(annotation)).lower()


def key_rows(model: type[BaseModel], prefix: str = "") -> Iterator[dict[str, Any]]:
    """One row a key of a settings model (key, type, required, default, description): required ones first, those of inner
    models dotted. `default` is as it would stand in JSON."""
    for key, field in sorted(keys_of(model).items(), key=lambda item: not item[1].is_required()):
        required = field.is_required()
        yield {
            "key": prefix + key,
            "type": type_words(field.annotation),
            "required": required,
            "default": None if required else _plain(field.get_default(call_default_factory=True)),
            "description": field.description or "",
        }
        for inner in models_in(field.annotation):
            yield from key_rows(inner, f"{prefix}{key}.")


def _plain(value: Any) -> Any:
    """A default as JSON can hold it and a user would write it."""
    if isinstance(value, BaseModel):
        return None  # its keys have rows of their own
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, ByteSize):
        return value.human_readable(decimal=True).replace(".0", "")
    if isinstance(value, SecretStr):
        return value.get_secret_value()  # a default is not a secret
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def config_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the file: connectors' own keys beside the common ones, chosen by `type`."""
    schema = Settings.model_json_schema(mode="validation")
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    definitions.pop("SourceSettings", None)
    definitions.pop("DestinationSettings", None)
    properties: dict[str, Any] = schema["properties"]
    for section, role, common in (
        ("sources", "source", SourceSettings),
        ("destinations", "destination", DestinationSettings),
    ):
        choices = [_entry_schema(role, name, common, definitions) for name in registry.names(_role(role))]
        properties[section] = {"type": "object", "additionalProperties": {"oneOf": choices}}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "syncd configuration"
    standard: dict[str, Any] = _standard(schema)
    return standard


_STANDARD = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _standard(node: Any) -> Any:
    """Pydantic writes the bounds of sizes in its own words; editors know those of JSON Schema alone."""
    if isinstance(node, dict):
        return {_STANDARD.get(word, word): _standard(inner) for word, inner in node.items()}
    return [_standard(inner) for inner in node] if isinstance(node, list) else node


def _role(role: str) -> registry.Role:
    return "source" if role == "source" else "destination"


def _entry_schema(role: str, name: str, common: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    own = registry.load(_role(role), name).settings.model_json_schema(mode="validation")
    shared = common.model_json_schema(mode="validation")
    for part in (own, shared):
        definitions.update(part.pop("$defs", {}))
    keys = {key: value for key, value in shared["properties"].items() if key not in ("name", "connector")}
    keys |= own.get("properties", {})
    keys["type"] = {"const": name}
    return {
        "type": "object",
        "title": f"{role} {name}",
        "properties": keys,
        "required": ["type", *own.get("required", [])],
        "additionalProperties": False,
    }
