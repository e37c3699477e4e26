"""A first configuration: what to ask, and the files that the answers become. `syncd init` calls it; nothing here asks or
touches a disk.

Questions come from the settings models and the registry, so a new connector is asked for by itself. Promise: a secret that
was typed goes into a file of its own, never into the YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, ValidationError

from syncd import registry
from syncd.config.models import NAME, Settings
from syncd.config.schema import keys_of, models_in, type_words
from syncd.connector import Prompt
from syncd.errors import UsageError
from syncd.mapping.shipped import shipped_mappings
from syncd.signal_types import NEWER, is_declared
from syncd.signals import place_of

Answers = Mapping[str, str]
"""Dotted key -> what was typed, as text."""

COMMON = ("region", "timezone", "database", "secret_key", "server.public_url", "exclude.domains")
"""Keys of the whole file that are asked for, in this order."""
_REFERENCE = re.compile(r"(?<!\$)\$\{([^{}]*)\}")
SECRETS = "secrets"
"""The directory, beside the configuration, of secrets that were typed."""


@dataclass(frozen=True)
class Question:
    """One key to ask for. `suggest`: what Enter means; "" with `required`: it must be answered. `example`: a right answer,
    "" where none helps."""

    key: str
    words: str
    about: str
    required: bool
    suggest: str = ""
    example: str = ""

    @property
    def secret(self) -> bool:
        return self.words.startswith("secret")

    @property
    def choices(self) -> tuple[str, ...]:
        """What can be answered, () for free text."""
        if self.words == "true/false":
            return ("true", "false")
        return tuple(self.words.removeprefix("one of ").split(", ")) if self.words.startswith("one of ") else ()


@dataclass(frozen=True)
class ConfigEntry:
    """One source or destination to be: its role, name, connector, and the answers to its questions."""

    role: registry.Role
    name: str
    type: str
    answers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FirstConfig:
    """What is to be written. `secrets`: relative path -> text, each for a 0600 file."""

    config: str
    mappings: tuple[str, ...]
    secrets: dict[str, str]
    variables: tuple[str, ...]


# ------------------------------------------------------------------------------------------------------ the questions


def named(role: registry.Role, words: Sequence[str]) -> list[ConfigEntry]:
    """Entries of `TYPE` or `NAME=TYPE`. Raises UsageError for a type or name that cannot be."""
    found: list[ConfigEntry] = []
    for word in words:
        name, _, kind = word.rpartition("=")
        registry.load(role, kind)
        if not name:
            taken = {entry.name for entry in found}
            name = next(one for one in (kind, *(f"{kind}-{n}" for n in range(2, 99))) if one not in taken)
        if not NAME.fullmatch(name) or any(entry.name == name for entry in found):
            raise UsageError(f"--{role} {word}: {name!r} is there already or no name; use a-z, 0-9, '.', '_' and '-'")
        found.append(ConfigEntry(role, name, kind))
    return found


def common_questions(zone: str, answers: Answers, key: str) -> Iterator[Question]:
    """Those of the whole file, one after another: what `answers` holds by then decides what is asked further. `zone` is
    the machine's; `key`: a new `secret_key:`, which a PostgreSQL needs and SQLite makes by itself."""
    suggested = {"timezone": zone, "database": "sqlite:///./syncd.db", "secret_key": key}
    for name in COMMON:
        if name == "secret_key" and not answers.get("database", "").startswith("postgres"):
            continue
        yield _question(Settings, tuple(name.split(".")), name, False, suggested.get(name, ""))


def normal_answer(key: str, text: str) -> str:
    """An answer as the file holds it: `vn` means VN, `asia/ho chi minh` Asia/Ho_Chi_Minh."""
    text = text.strip()
    if key == "region":
        return text.upper()
    if key == "timezone":
        wanted = text.replace(" ", "_").casefold()
        return next((zone for zone in available_timezones() if zone.casefold() == wanted), text)
    return text


def _question(model: type[BaseModel], path: tuple[str, ...], key: str, required: bool, suggest: str) -> Question:
    here = keys_of(model)[path[0]]
    if len(path) > 1:
        return _question(models_in(here.annotation)[0], path[1:], key, required, suggest)
    words = type_words(here.annotation)
    return Question(key, words, here.description or "", required, suggest, example_of(key, words))


EXAMPLES: Mapping[str, str] = {
    "region": "VN",
    "timezone": "Asia/Ho_Chi_Minh",
    "database": "postgresql+psycopg://syncd@127.0.0.1/syncd",
    "server.public_url": "https://syncd.example.com",
    "exclude.domains": "example.com, example.vn",
    "host": "imap.example.com",
    "username": "sales@example.com",
    "login_url": "https://example.my.salesforce.com",
    "signal.type": "custom.order",
    "url": "sqlite:///./signals.db",
    "path": "./Maildir",
    "list.path": "/v1/answers",
    "paths": "./mail.mbox",
    "account_sid": "AC0123456789abcdef0123456789abcdef",
    "jwks_url": "https://example.com/.well-known/jwks.json",
    "issuer": "https://example.com",
    "header": "X-Signature",
}
"""A right answer by key, or by the last part of one."""
EXAMPLES_BY_WORDS: Mapping[str, str] = {
    "whole number": "5",
    "number": "0.5",
    "duration": "5m",
    "size": "5 MB",
    "file": "./file",
    "list of text": "a, b",
    "list of file": "./one, ./two",
}
"""Where the key says nothing: by the kind of value."""


def example_of(key: str, words: str) -> str:
    """A right answer to this question, "" where none helps (a secret, a choice)."""
    if words.startswith(("secret", "one of", "true/false")) and key not in EXAMPLES:
        return ""
    return EXAMPLES.get(key) or EXAMPLES.get(key.rpartition(".")[2]) or EXAMPLES_BY_WORDS.get(words, "")


def questions(entry: ConfigEntry) -> Iterator[Question]:
    """Of one connector, one after another: what `entry.answers` holds by then decides what is asked further."""
    yield from _asked(registry.load(entry.role, entry.type).settings, "", entry.answers)


def _asked(model: type[BaseModel], prefix: str, answers: Answers) -> Iterator[Question]:
    for key, info in sorted(keys_of(model).items(), key=lambda item: not item[1].is_required()):
        ask = next((mark for mark in info.metadata if isinstance(mark, Prompt)), None)
        required = info.is_required()
        if not required and not (ask and _wanted(ask, prefix, answers)):
            continue
        inner = models_in(info.annotation)
        if inner:
            yield from _asked(inner[0], f"{prefix}{key}.", answers)
            continue
        default = "" if required or ask is None else info.get_default(call_default_factory=True)
        suggest = ask.suggest if ask and ask.suggest else "" if default in (None, "", False) else str(default)
        words = type_words(info.annotation)
        about = info.description or ""
        yield Question(prefix + key, words, about, required, suggest, example_of(prefix + key, words))


def _wanted(ask: Prompt, prefix: str, answers: Answers) -> bool:
    said = {key: answers.get(prefix + key, "") for key in (*ask.when, *ask.unless)}
    return all(said[key] in values for key, values in ask.when.items()) and not any(
        said[key] in values for key, values in ask.unless.items()
    )


def variable(entry: ConfigEntry | None, key: str) -> str:
    """The environment variable that is suggested for a secret."""
    whole = f"{entry.name}_{key}" if entry is not None else f"syncd_{key}"
    return re.sub(r"[^A-Z0-9]+", "_", whole.upper()).strip("_")


# ---------------------------------------------------------------------------------------------------------- the files


def first_config(common: Answers, entries: Sequence[ConfigEntry]) -> FirstConfig:
    """The files that these answers become. Raises UsageError for a key that no connector has."""
    writing = _Writing()
    writing.line("# yaml-language-server: $schema=syncd.schema.json")
    writing.line("# (for editors: `syncd config schema > syncd.schema.json` writes it)")
    writing.line("# Written by `syncd init`. Every key, with comments: `syncd config example`.")
    writing.line(
        "# After a change: syncd check. Secrets: ${NAME} environment, ${file:/path} a file, ${credential:NAME} systemd."
    )
    writing.line("")
    writing.keys(Settings, _tree(common), "", None)
    writing.line("")
    _channels(writing, entries)
    for section, role in (("sources", "source"), ("destinations", "destination")):
        chosen = [entry for entry in entries if entry.role == role]
        writing.line("")
        writing.line(f"{section}:" if chosen else f"{section}: {{}}")
        for entry in chosen:
            _entry(writing, entry)
    text = "\n".join(writing.lines) + "\n"
    mappings = [entry.type for entry in entries if entry.role == "destination" and entry.type in shipped_mappings()]
    return FirstConfig(text, tuple(dict.fromkeys(mappings)), writing.secrets, tuple(dict.fromkeys(writing.variables)))


def _entry(writing: _Writing, entry: ConfigEntry) -> None:
    connector = registry.load(entry.role, entry.type)
    writing.line(f"  {entry.name}:  # {_short(connector.summary)}")
    writing.line(f"    type: {entry.type}")
    if entry.role == "destination" and entry.type in shipped_mappings():
        writing.line(f"    mapping: mappings/{entry.type}.yaml  # what becomes which record; edit it as you like")
    writing.keys(connector.settings, _tree(entry.answers), "    ", entry)
    writing.line(f"    # more keys: syncd connectors {entry.type}")


def _channels(writing: _Writing, entries: Sequence[ConfigEntry]) -> None:
    """The switches of all that the chosen sources make, on."""
    on: dict[str, list[str]] = {}
    for entry in entries:
        mapped = entry.answers.get("signal.type", "")
        for kind in _makes(entry) if entry.role == "source" else ():
            place = ("custom", "*")
            with suppress(ValueError):
                place = place_of(mapped if kind == "*" and is_declared(mapped) else kind)
            if place[1] not in on.setdefault(place[0], []):
                on[place[0]].append(place[1])
    writing.line("channels:  # the switches; what is not listed is off" if on else "channels: {}")
    for channel, switches in on.items():
        inside = ", ".join(f"{_scalar(switch)}: true" for switch in switches)
        writing.line(f"  {channel}: {{{inside}}}")


def _makes(entry: ConfigEntry) -> tuple[str, ...]:
    """The signal types that a source with these answers makes: mail that was sent is not read by default."""
    connector, writing = registry.load("source", entry.type), _Writing()
    writing.keys(connector.settings, _tree(entry.answers), "", entry)
    settings = None
    with suppress(ValidationError):  # a secret that is not set yet has no value to check
        settings = connector.settings(**(yaml.safe_load("\n".join(writing.lines)) or {}))
    return registry.made_by(entry.type, settings, NEWER)


def _tree(answers: Answers) -> dict[str, Any]:
    """Dotted keys as nested ones; what was left empty is left out."""
    tree: dict[str, Any] = {}
    for key, text in answers.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents if text.strip() else ():
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(f"{key}: {parent} has a value already")
        if text.strip():
            node[last] = text.strip()
    return tree


class _Writing:
    """Lines of YAML, and what must be kept beside it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.secrets: dict[str, str] = {}
        self.variables: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def keys(
        self, model: type[BaseModel], tree: Mapping[str, Any], indent: str, entry: ConfigEntry | None, above: str = ""
    ) -> None:
        for key, value in tree.items():
            info = keys_of(model).get(key)
            inner = models_in(info.annotation) if info is not None else []
            if isinstance(value, dict):
                self.line(f"{indent}{key}:")
                self.keys(inner[0] if inner else BaseModel, value, indent + "  ", entry, f"{above}{key}.")
                continue
            about = f"  # {_short(info.description)}" if info is not None and info.description else ""
            words = type_words(info.annotation) if info is not None else "text"
            self.line(f"{indent}{key}: {self.value(value, words, entry, above + key)}{about}")

    def value(self, text: str, words: str, entry: ConfigEntry | None, key: str) -> str:
        """An answer as YAML."""
        if words.startswith("secret"):
            text = self._secret(text, entry, key)
        elif words.startswith("list of"):
            items = [item.strip() for item in text.strip("[]").split(",") if item.strip()]
            return f"[{', '.join(map(_scalar, items))}]"
        elif words in ("whole number", "number", "true/false", "true/false or text"):
            with suppress(yaml.YAMLError):
                return _scalar(yaml.safe_load(text))
        return _scalar(text)

    def _secret(self, text: str, entry: ConfigEntry | None, key: str) -> str:
        if _REFERENCE.search(text):
            self.variables += [name for name in _REFERENCE.findall(text) if ":" not in name]
            return text
        parts = urlsplit(text) if "://" in text else None
        if parts is not None and parts.scheme.startswith(("sqlite", "postgresql")) and not parts.password:
            return text  # a database URL without a password is not a secret
        path = f"{SECRETS}/{entry.name}.{key}" if entry is not None else f"{SECRETS}/{key}"
        self.secrets[path] = text
        return f"${{file:{path}}}"


def _scalar(value: Any) -> str:
    """One value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=100_000)
    return text.strip().removesuffix("...").strip()


def _short(text: str | None) -> str:
    return " ".join((text or "").split())
