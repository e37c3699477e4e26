"""What a connector can do, read from its class: for `syncd connectors NAME` and for the pages of docs/connectors.

A connector implements optional protocols (`syncd.connector`, `syncd.capabilities`); nothing is built and no vendor is called.
"""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING, Any

from syncd import capabilities as can
from syncd import connector as contract
from syncd.connector import Connector

if TYPE_CHECKING:
    from syncd.mapping.model import Verb

ABILITIES: tuple[tuple[str, str, str, type[Any]], ...] = (
    ("source", "poll", "read on schedule", contract.PollingSource),
    ("source", "webhook", "notified at /webhooks/NAME", contract.WebhookSource),
    ("source", "fetch", "looks up what a webhook or poll only names", contract.HintSource),
    ("source", "backfill", "`syncd backfill`: the past", contract.Backfillable),
    ("source", "wait", "notified of new items between two polls", can.Waiting),
    ("source", "subscribe", "`syncd webhooks`: the vendor's subscription", can.Subscribable),
    ("", "online check", "`syncd check --online`", can.OnlineCheck),
    ("", "sign-in", "`syncd auth`", can.SignsIn),
    ("destination", "describe", "compares a mapping with the fields that exist", can.Describes),
    ("destination", "prepare", "`syncd prepare`: makes the fields that are missing", can.Preparable),
    ("destination", "read fields", "`fill:` and `only_if:` of a mapping", can.ReadsFields),
    ("destination", "lists", "`add:` and `remove:` of a mapping", can.KeepsLists),
)
"""(role or "" for both, name, what for, protocol)."""


def built_class(connector: Connector[Any]) -> type[Any] | None:
    """The class that `build` makes: itself, or what it says it returns. None when it does not say."""
    if inspect.isclass(connector.build):
        return connector.build
    try:
        made = typing.get_type_hints(connector.build).get("return")
    except NameError:  # its annotation is imported for type checkers alone
        return None
    return made if inspect.isclass(made) else None


def role_of(connector: Connector[Any]) -> str:
    """Which of the two it is, by its class."""
    built = built_class(connector)
    return "destination" if built is not None and hasattr(built, "keying") else "source"


def capabilities_of(connector: Connector[Any]) -> list[dict[str, Any]]:
    """A row an ability: its name, what it is for, whether it is there."""
    built, own = built_class(connector), role_of(connector)
    return [
        {"ability": name, "what_for": what_for, "there": built is not None and _has(built, protocol)}
        for role, name, what_for, protocol in ABILITIES
        if role in ("", own)
    ]


def kinds_of_write(connector: Connector[Any]) -> list[dict[str, Any]]:
    """For a destination: the kind of each object that the mapping which comes with it writes (`update`: the person's
    own record, by its id), [] for a source."""
    built = built_class(connector)
    if built is None or not hasattr(built, "keying"):
        return []
    bare = object.__new__(built)  # `keying` is pure and of the object alone
    rows = []
    for name, key, verb in _written(connector.name):
        if verb.own_record:
            rows.append({"object": name, "kind": verb.word, "enforced": True})
            continue
        try:
            keying = bare.keying(name, key)
        except AttributeError:  # it depends on the account's keys after all
            return []
        rows.append({"object": name, "kind": keying.kind.value, "enforced": keying.enforced})
    return rows


def _written(name: str) -> list[tuple[str, str, Verb]]:
    """(object, key field, verb) of the shipped mapping, each once; without one, anything with a key."""
    from syncd.mapping import load_mapping
    from syncd.mapping.shipped import shipped_mappings
    from syncd.mapping.verbs import UPSERT

    shipped = shipped_mappings().get(name)
    if shipped is None:
        return [("(any)", "key", UPSERT)]
    parts = load_mapping(shipped).parts
    made: list[tuple[str, str, Verb]] = [(rule.object, rule.key, rule.verb) for rule in parts.rules]
    if parts.create is not None:
        made.append((parts.create.object, parts.create.key, UPSERT))
    return list(dict.fromkeys(made))


def _has(built: type[Any], protocol: type[Any]) -> bool:
    members = {*vars(protocol), *getattr(protocol, "__annotations__", {})}
    wanted = [name for name in members if not name.startswith("_")]
    return all(hasattr(built, name) or name in getattr(built, "__annotations__", {}) for name in wanted)
