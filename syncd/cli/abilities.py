"""What a connector can do, read from its class: for `syncd connectors NAME` and for the pages of docs/connectors.

A connector implements optional protocols (`syncd.connector`, `syncd.capabilities`); nothing is built and no vendor is called.
What the settings of one entry do not allow, its connector says itself (`Connector.unable`).
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from syncd import capabilities as can
from syncd import connector as contract
from syncd import registry
from syncd.connector import Ability, Connector, Role

if TYPE_CHECKING:
    from syncd.config.models import Settings
    from syncd.mapping.model import Verb

ABILITIES: tuple[tuple[str, Ability, str, type[Any]], ...] = (
    ("source", Ability.POLL, "read on schedule", contract.PollingSource),
    ("source", Ability.WEBHOOK, "notified at /webhooks/NAME", contract.WebhookSource),
    ("source", Ability.FETCH, "looks up what a webhook or poll only names", contract.HintSource),
    ("source", Ability.BACKFILL, "`syncd backfill`: the past", contract.Backfillable),
    ("source", Ability.WAIT, "notified of new items between two polls", can.Waiting),
    ("source", Ability.SUBSCRIBE, "`syncd webhooks`: the vendor's subscription", can.Subscribable),
    ("", Ability.ONLINE_CHECK, "`syncd check --online`", can.OnlineCheck),
    ("", Ability.SIGN_IN, "`syncd auth`", can.SignsIn),
    ("destination", Ability.DESCRIBE, "compares a mapping with the fields that exist", can.Describes),
    ("destination", Ability.PREPARE, "`syncd prepare`: makes the fields that are missing", can.Preparable),
    ("destination", Ability.READ_FIELDS, "`fill:` and `only_if:` of a mapping", can.ReadsFields),
    ("destination", Ability.LISTS, "`add:` and `remove:` of a mapping", can.KeepsLists),
    ("destination", Ability.OWNERS, "`assign:` and `owner:` of a mapping", can.Assigns),
    ("destination", Ability.NOTIFY, "`notify:` of a mapping: the CRM's own notifications", can.Notifies),
    ("destination", Ability.CONVERT, "`convert:` of a mapping: a lead becomes contact, account and deal", can.Converts),
    ("destination", Ability.OBSERVERS, "`observe:` of a mapping: who follows a record", can.Observes),
)
"""(role or "" for both, name, what for, protocol)."""


def built_classes(connector: Connector[Any, Any]) -> tuple[type[Any], ...]:
    """The classes that `build` makes: itself, or what it says it returns, several where that depends on the settings. ()
    when it does not say."""
    if inspect.isclass(connector.build):
        return (connector.build,)
    try:
        made = typing.get_type_hints(connector.build).get("return")
    except NameError:  # its annotation is imported for type checkers alone
        return ()
    return tuple(each for each in typing.get_args(made) or (made,) if inspect.isclass(each))


def capabilities_of(connector: Connector[Any, Any]) -> list[dict[str, Any]]:
    """A row an ability: its name, what it is for, whether it is there with the settings that allow most."""
    built = built_classes(connector)
    return [
        {"ability": str(ability), "what_for": what_for, "there": any(_has(each, protocol) for each in built)}
        for role, ability, what_for, protocol in ABILITIES
        if role in ("", connector.role)
    ]


def unable_here(settings: Settings, role: Role, type_name: str) -> list[dict[str, Any]]:
    """A row for each ability that an entry of this configuration lacks by its settings: the entry, the ability, why."""
    entries: Mapping[str, Any] = settings.sources if role == "source" else settings.destinations
    return [
        {"name": name, "ability": str(ability), "why": why}
        for name, entry in entries.items()
        if entry.type == type_name
        for ability, why in registry.unable(role, type_name, entry.connector).items()
    ]


def kinds_of_write(connector: Connector[Any, Any]) -> list[dict[str, Any]]:
    """For a destination: the kind of each object that the mapping which comes with it writes (`update`: the person's
    own record, by its id), [] for a source."""
    built = built_classes(connector)
    if not built or connector.role != "destination":
        return []
    bare = object.__new__(built[0])  # `keying` is pure and of the object alone
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
    if parts.accounts is not None and parts.accounts.create is not None:
        made.append((parts.accounts.create.object, parts.accounts.create.key, UPSERT))
    return list(dict.fromkeys(made))


def _has(built: type[Any], protocol: type[Any]) -> bool:
    members = {*vars(protocol), *getattr(protocol, "__annotations__", {})}
    wanted = [name for name in members if not name.startswith("_")]
    declared = {name for each in built.__mro__ for name in getattr(each, "__annotations__", {})}
    return all(hasattr(built, name) or name in declared for name in wanted)
