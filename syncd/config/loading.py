"""Reads the one YAML file into `Settings`: positions, secrets, connector keys, and every fault at once.

The CLI, the daemon and its reload call `load_settings`. Nothing here talks to a network or opens the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from syncd import registry
from syncd.config.models import NAME, NAMING, DestinationSettings, Settings, SourceSettings
from syncd.config.schema import keys_of
from syncd.config.secret_refs import resolve
from syncd.config.yaml_positions import Document, read_yaml
from syncd.errors import ConfigError, Fault, UsageError
from syncd.signal_types import CUSTOM

Path_ = tuple[str | int, ...]
PLACEHOLDER = "unset"
SOURCE_KEYS = frozenset(SourceSettings.model_fields) - {"name", "connector"}
DESTINATION_KEYS = frozenset(DestinationSettings.model_fields) - {"name", "connector"}

PLAIN_WORDS = {
    "missing": "this key is required",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be keys and values",
    "model_type": "must be keys and values",
    "model_attributes_type": "must be keys and values",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
}
"""Pydantic's error types in the words of a user who edits YAML; others keep pydantic's own sentence."""


@dataclass(frozen=True)
class Loaded:
    """A read configuration. `settings` is None only when nothing but unset secrets keeps it from being complete.
    `missing`: what `run` will need (faults, one an unset reference). `warnings`: it works, but should be fixed."""

    path: Path
    settings: Settings | None
    document: Document
    missing: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()


def read_text(path: Path) -> str:
    """The file's text. Raises UsageError with one line for what cannot be read or is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def load_settings(path: Path, env: Mapping[str, str] | None = None, *, need_secrets: bool = True) -> Loaded:
    """Reads and validates. Raises ConfigError with all faults at once; with `need_secrets`, unset references are among
    them, else they are only listed in `missing` (what `check` shows)."""
    return parse_settings(read_text(path), path, os.environ if env is None else env, need_secrets=need_secrets)


def parse_settings(text: str, path: Path, env: Mapping[str, str], *, need_secrets: bool = True) -> Loaded:
    """`load_settings` on text already read."""
    document = read_yaml(text, str(path))
    reading = _SettingsReader(document, str(path), env, path.parent)
    data = reading.fill(document.data if document.data is not None else {}, ())
    if not isinstance(data, dict):
        raise ConfigError([Fault(str(path), 1, 1, "", "the configuration must be keys and values")])
    settings = reading.validate(data)
    faults = [*reading.faults, *(reading.missing if need_secrets else ())]
    if faults:
        raise ConfigError(faults)
    warnings = [*reading.warnings, *(reading.plain_secrets(settings) if settings else ())]
    return Loaded(path, settings, document, tuple(reading.missing), tuple(warnings))


@dataclass
class _SettingsReader:
    document: Document
    file: str
    env: Mapping[str, str]
    base: Path
    faults: list[Fault] = field(default_factory=list)
    missing: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    referenced: set[Path_] = field(default_factory=set)
    unset: set[Path_] = field(default_factory=set)

    def fault(self, path: Path_, message: str, hint: str = "") -> Fault:
        line, column = self.document.place(path)
        return Fault(self.file, line, column, _dotted(path), message, hint)

    def fill(self, node: Any, path: Path_) -> Any:
        """The data with every `${…}` filled; an unset one becomes a placeholder and is noted."""
        if isinstance(node, dict):
            return {key: self.fill(value, (*path, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self.fill(value, (*path, index)) for index, value in enumerate(node)]
        if not isinstance(node, str):
            return node
        found = resolve(node, self.env, self.base)
        if found.used:
            self.referenced.add(path)
        self.faults += [self.fault(path, message) for message in found.wrong]
        if found.missing:
            self.unset.add(path)
            self.missing += [self.fault(path, message) for message in found.missing]
            return found.text or PLACEHOLDER
        return found.text

    def validate(self, data: dict[str, Any]) -> Settings | None:
        parts = dict(data)
        sources = self._entries(parts, "sources", "source", SOURCE_KEYS)
        destinations = self._entries(parts, "destinations", "destination", DESTINATION_KEYS)
        self._channels(parts.get("channels"))  # after the sources, whose connectors declare types
        settings: Settings | None = None
        try:
            settings = Settings(**parts)
        except ValidationError as error:
            self._explain(error, (), Settings)
        except TypeError:
            self.faults.append(self.fault((), "keys must be text"))
        built_sources = {name: self._build(SourceSettings, ("sources", name), entry) for name, entry in sources.items()}
        built_destinations = {
            name: self._build(DestinationSettings, ("destinations", name), entry)
            for name, entry in destinations.items()
        }
        complete = [*built_sources.values(), *built_destinations.values()]
        if settings is None or self.faults or None in complete:
            return None
        try:
            return Settings(**parts, sources=built_sources, destinations=built_destinations)
        except ValidationError as error:
            self._explain(error, (), Settings)
            return None

    def _channels(self, channels: Any) -> None:
        """Unknown channels and switches, each where it stands."""
        for channel, switches in channels.items() if isinstance(channels, dict) else ():
            if channel == CUSTOM:
                continue
            known = registry.catalogue_for(str(channel))
            if channel not in known:
                self.faults.append(self._stranger(("channels", channel), "no such channel", (*known, CUSTOM)))
                continue
            for switch in switches if isinstance(switches, dict) else ():
                there = tuple(registry.catalogue_for(channel, str(switch))[channel])
                if switch not in there:
                    self.faults.append(self._stranger(("channels", channel, switch), "no such switch", there))

    def _stranger(self, path: Path_, message: str, known: tuple[str, ...]) -> Fault:
        near = registry.closest(str(path[-1]), known)
        return self.fault(path, message, f"did you mean {near}?" if near else f"there are: {', '.join(known)}")

    def _entries(
        self, data: dict[str, Any], section: str, role: registry.Role, common: frozenset[str]
    ) -> dict[str, Any]:
        """Takes `section` out of `data`, each entry split into common keys and the connector's own, validated."""
        entries = data.pop(section, None)
        if entries is None:
            return {}
        if not isinstance(entries, dict):
            self.faults.append(self.fault((section,), "must be names, each with its keys"))
            return {}
        return {name: self._entry(section, str(name), entry, role, common) for name, entry in entries.items()}

    def _entry(
        self, section: str, name: str, entry: Any, role: registry.Role, common: frozenset[str]
    ) -> dict[str, Any] | None:
        path: Path_ = (section, name)
        if not isinstance(entry, dict):
            self.faults.append(self.fault(path, "must be keys and values, with a `type:`"))
            return None
        if not NAME.fullmatch(name):
            self.faults.append(self.fault(path, f"{name!r}: {NAMING}"))
        kind = entry.get("type")
        if not isinstance(kind, str):
            known = ", ".join(registry.names(role))
            self.faults.append(self.fault(path, f"this key is required: type ({role} types: {known})"))
            return None
        fields = {key: value for key, value in entry.items() if key in common}
        own = {key: value for key, value in entry.items() if key not in common}
        return {"name": name, **fields, "connector": self._connector(path, role, kind, own, common)}

    def _connector(
        self, path: Path_, role: registry.Role, kind: str, own: dict[str, Any], common: frozenset[str]
    ) -> Any:
        """The connector's own keys as its typed settings; None when they are faulty."""
        try:
            model = registry.load(role, kind).settings
        except UsageError as error:
            self.faults.append(self.fault((*path, "type"), str(error)))
            return None
        try:
            return model(**own)
        except ValidationError as error:
            self._explain(error, path, model, also=common)
        except TypeError:
            self.faults.append(self.fault(path, "keys must be text"))
        return None

    def _build(self, model: type[BaseModel], path: Path_, entry: dict[str, Any] | None) -> Any:
        if entry is None:
            return None
        try:
            return model(**entry)
        except ValidationError as error:
            self._explain(error, path, model)
            return None

    def _explain(
        self, error: ValidationError, prefix: Path_, model: type[BaseModel], also: frozenset[str] = frozenset()
    ) -> None:
        """Pydantic's errors as faults, without those whose only cause is an unset secret, and without what a union's
        other branches say of a value whose inside is what is wrong."""
        found: dict[tuple[Path_, str], str] = {}
        for item in error.errors(include_url=False, include_input=False):
            path, inside = self._where(prefix, item["loc"])
            if any(path[: len(gap)] == gap for gap in self.unset) or (
                item["type"] == "value_error" and path == ("channels",)
            ):
                continue
            message, hint = _sentence(item["type"], item["msg"]), ""
            if item["type"] == "extra_forbidden":
                known = (*sorted(_fields(model, inside[:-1])), *(sorted(also) if len(inside) == 1 else ()))
                message, hint = "unknown key", self._stranger(path, "", known).hint
            elif item["type"] == "string_pattern_mismatch":
                message, hint = f"must match {item['ctx']['pattern']}", _about(model, inside)
            found.setdefault((path, message), hint)
        for (path, message), hint in found.items():
            if not any(len(other) > len(path) and other[: len(path)] == path for other, _ in found):
                self.faults.append(self.fault(path, message, hint))

    def _where(self, prefix: Path_, loc: Sequence[str | int]) -> tuple[Path_, Path_]:
        """Pydantic's location as a path of the YAML: its names of union branches are left out."""
        node = self._at(prefix)
        kept: list[str | int] = []
        for index, part in enumerate(loc):
            if _has(node, part):
                node = node[part]
                kept.append(part)
            elif index == len(loc) - 1 and isinstance(node, dict) and isinstance(part, str) and part.isidentifier():
                kept.append(part)
        return (*prefix, *kept), tuple(kept)

    def _at(self, path: Path_) -> Any:
        """What the YAML says at `path`, None for nothing."""
        node = self.document.data
        for part in path:
            if not _has(node, part):
                return None
            node = node[part]
        return node

    def plain_secrets(self, settings: Settings) -> Iterator[Fault]:
        """A warning for each secret written in clear."""
        for path, secret in _secrets(settings, ()):
            path = (
                tuple(part for part in path if part != "connector") if path[0] in ("sources", "destinations") else path
            )
            if _database_without_password(secret.get_secret_value()):
                continue
            if path not in self.referenced and self._at(path) is not None:
                yield self.fault(path, "a secret in clear text", "better ${NAME}, ${file:/path} or ${credential:NAME}")


def _has(node: Any, part: str | int) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and 0 <= part < len(node)


def _database_without_password(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme.startswith(("sqlite", "postgresql")) and not parts.password


def _secrets(value: Any, path: Path_) -> Iterator[tuple[Path_, SecretStr]]:
    if isinstance(value, SecretStr):
        yield path, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name), (*path, name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _secrets(item, (*path, index))


def _sentence(kind: str, message: str) -> str:
    if kind in PLAIN_WORDS:
        return PLAIN_WORDS[kind]
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].lower() + message[1:] if message[:2].istitle() and not message.isupper() else message


def _dotted(path: Path_) -> str:
    text = ""
    for part in path:
        if isinstance(part, str) and not part.isprintable():
            part = repr(part)
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _fields(model: type[BaseModel], path: Path_) -> set[str]:
    """The keys a model knows at `path` (all branches of a union together)."""
    models = {model}
    for part in path:
        if isinstance(part, int):
            continue
        models = {inner for m in models if part in keys_of(m) for inner in _models_in(keys_of(m)[part].annotation)}
    return {name for m in models for name in keys_of(m)}


def _about(model: type[BaseModel], path: Path_) -> str:
    """The description of the key at `path`, "" if it has none."""
    names = tuple(part for part in path if isinstance(part, str))
    for name in names[:-1]:
        inner = _models_in(keys_of(model)[name].annotation) if name in keys_of(model) else set()
        if len(inner) != 1:
            return ""
        model = inner.pop()
    info = keys_of(model).get(names[-1]) if names else None
    return (info.description or "") if info else ""


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    if get_origin(annotation) in (Union, UnionType, Annotated, tuple, list, dict):
        return {model for inner in get_args(annotation) for model in _models_in(inner)}
    return set()
