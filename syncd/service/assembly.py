"""From settings to live objects: mappings compiled, connectors built with what they are lent, the store opened.

`syncd check` uses it without opening anything; the daemon and the commands with a store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncd import registry
from syncd.capabilities import Converts, LimitsNames, Observes, SignsIn, WritesDatabase
from syncd.config.loading import Loaded, load_settings, read_text
from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.config.unused import loose_ends
from syncd.config.yaml_positions import KeyPath, read_yaml
from syncd.connector import Ability, Context, Destination, PollingSource, WebhookSource
from syncd.errors import ConfigError, Fault, SyncdError, UsageError
from syncd.http.limits import SourceLimits
from syncd.http.lockout import LoginBackoff
from syncd.http.oauth import MemoryTokens, TokenStore
from syncd.intake.shared_endpoints import sharing_faults
from syncd.mapping import find_mapping, load_mapping
from syncd.mapping.lint import warnings_of
from syncd.mapping.uses import abilities_of, names_of, refused_deals, refused_observers, refused_teams
from syncd.signal_types import ANSWERS, OPEN_TYPES
from syncd.signatures.verifier import covers_url

if TYPE_CHECKING:
    from syncd.mapping import Mapping as CompiledMapping
    from syncd.store import Store

Recall = Callable[[str, Sequence[str]], dict[str, str]]


@dataclass(frozen=True)
class BuiltDestination:
    """A destination ready to be written to: its settings, its connector, its mapping."""

    settings: DestinationSettings
    destination: Destination
    mapping: CompiledMapping


@dataclass(frozen=True)
class Assembly:
    """Everything a configuration names, built. `sources` holds connector objects by name."""

    settings: Settings
    sources: Mapping[str, Any]
    outlets: Mapping[str, BuiltDestination]

    def close(self) -> None:
        for outlet in self.outlets.values():
            outlet.destination.close()


@dataclass(frozen=True)
class CheckReport:
    """What `check` found. `notes`: what the settings of an entry do not allow, which may be what is wanted."""

    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    missing: tuple[Fault, ...]
    summary: str
    notes: tuple[Fault, ...] = ()


def _no_recall(source: str, keys: Sequence[str]) -> dict[str, str]:
    return {}


def assemble(
    loaded: Loaded,
    *,
    store: Store | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    only_sources: Iterable[str] | None = None,
) -> Assembly:
    """Builds every connector and mapping, without I/O but for reading the mapping files. What connectors are lent is the
    store's, or without one this process's own. Raises ConfigError with all faults."""
    settings = loaded.settings
    if settings is None:
        raise ConfigError(loaded.missing)
    if store is None:
        building = _Building(loaded, settings, MemoryTokens(clock), _no_recall, clock)
    else:
        building = _Building(loaded, settings, store.tokens, store.vendor_secrets.recall, clock, store.refusals)
        building.limits = SourceLimits(store.rates, store.allowances)
    chosen = settings.sources if only_sources is None else {name: settings.sources[name] for name in only_sources}
    sources = {name: building.source(entry) for name, entry in chosen.items()}
    building.check_sharing(sources)
    outlets = {name: building.outlet(entry) for name, entry in settings.destinations.items()}
    if building.faults:
        raise ConfigError(building.faults)
    return Assembly(
        settings,
        {name: source for name, source in sources.items() if source is not None},
        {name: outlet for name, outlet in outlets.items() if outlet is not None},
    )


def connector_of(loaded: Loaded, role: registry.Role, name: str, *, tokens: TokenStore | None = None) -> Any:
    """The live object of one source or destination, without building any other. Raises ConfigError: also for its own
    secrets that are unset, not for those of others."""
    settings = loaded.settings
    gaps = [gap for gap in loaded.missing if gap.key.startswith(f"{role}s.{name}.") or settings is None]
    if settings is None or gaps:
        raise ConfigError(gaps)
    building = _Building(loaded, settings, tokens or MemoryTokens(), _no_recall, lambda: datetime.now(UTC))
    entry = settings.sources[name] if role == "source" else settings.destinations[name]
    built = building._build(role, entry, (f"{role}s", name))
    if building.faults:
        raise ConfigError(building.faults)
    return built


@dataclass
class _Building:
    loaded: Loaded
    settings: Settings
    tokens: TokenStore
    recall: Recall
    clock: Callable[[], datetime]
    refusals: LoginBackoff = field(default_factory=LoginBackoff)
    lints: bool = False
    limits: SourceLimits = field(default_factory=SourceLimits)

    def __post_init__(self) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self.needed: list[Fault] = []
        self.notes: list[Fault] = []

    def check_sharing(self, sources: Mapping[str, Any]) -> None:
        """Notes what does not fit of sources that share an address."""
        built = {name: source for name, source in sources.items() if source is not None}
        for name, key, message, hint in sharing_faults(self.settings.sources, built):
            self._fault(("sources", name, key) if key else ("sources", name), message, hint)

    def note_unable(self, role: registry.Role, entry: SourceSettings | DestinationSettings) -> None:
        """Notes what an entry cannot do with its settings, and why."""
        if entry.connector is not None:
            path = (f"{role}s", entry.name)
            reasons: dict[str, list[str]] = {}
            for ability, why in registry.unable(role, entry.type, entry.connector).items():
                reasons.setdefault(why, []).append(ability)
            for why, abilities in reasons.items():
                self.notes.append(self._placed(path, f"no {', '.join(abilities)}: {why}", ""))

    def signs_in(self, path: tuple[str, ...], connector: Any) -> None:
        """Notes a connector that needs an interactive sign-in."""
        if isinstance(connector, SignsIn):
            with suppress(UsageError):  # no sign-in needed
                connector.sign_in()
                hint = f"run `syncd auth {path[-1]}` once, on any machine that shares the database"
                self.needed.append(self._placed(path, "interactive sign-in required", hint))

    def database(self) -> None:
        """Notes a URL that no store can be opened at, and a key that cannot encrypt what is stored there."""
        from syncd.store.engine import parse_url
        from syncd.store.tokens import check_key_text

        unset = {gap.key for gap in self.loaded.missing}
        try:
            url = parse_url(self.settings.database.get_secret_value())
        except UsageError as error:
            self._fault(("database",), str(error).removeprefix("database: "))
            return
        if "secret_key" in unset or "database" in unset:
            return
        key = self.settings.secret_key
        try:
            check_key_text(url, None if key is None else key.get_secret_value())
        except UsageError as error:
            self._fault(("secret_key",) if key else ("database",), str(error))

    def context(self, name: str) -> Context:
        entry = self.settings.sources.get(name)
        quota = entry.quota if entry is not None else None
        limits = replace(self.limits, units=quota.absolute, keep=quota.keep) if quota is not None else self.limits
        return Context(
            name=name,
            tokens=self.tokens,
            region=self.settings.region,
            timezone=self.settings.zone,
            webhook_url=self.settings.webhook_url(name),
            clock=self.clock,
            directory=self.loaded.path.parent,
            recall=partial(self.recall, name),
            refusals=self.refusals,
            limits=limits,
            switches=self.settings.newer_types,
        )

    def source(self, entry: SourceSettings) -> Any:
        """The connector object; None with a fault noted, or when its unset secrets keep it from being built."""
        path = ("sources", entry.name)
        if entry.connector is None:
            return None
        source = self._build("source", entry, path)
        if source is None:
            return None
        over_url = False
        if isinstance(source, WebhookSource):
            try:
                over_url = covers_url(source.verifier())
            except (SyncdError, ValueError) as error:  # nothing could be verified: an empty secret, say
                self._fault(path, str(error))
                return None
        if entry.quota is not None and not registry.load("source", entry.type).unit:
            self._fault((*path, "quota"), f"a {entry.type} source counts no allowance", "leave the key out")
        polls = isinstance(source, PollingSource)
        for key in ("poll", "cron"):
            if getattr(entry, key) is not None and not polls:
                why = registry.unable("source", entry.type, entry.connector).get(Ability.POLL, "it receives webhooks")
                self._fault((*path, key), f"a {entry.type} source is not polled", f"{why}; leave the key out")
        if entry.poll is not None and entry.cron is not None:
            self._fault((*path, "cron"), "either poll: or cron:, not both")
        if over_url and not self.settings.server.public_url and not polls:
            self._warn(path, "server.public_url is not set: signatures over the URL use the Host header")
        return source

    def outlet(self, entry: DestinationSettings) -> BuiltDestination | None:
        path = ("destinations", entry.name)
        mapping = self._mapping(entry, path)
        if entry.connector is None:
            return None
        destination = self._build("destination", entry, path)
        if destination is None or mapping is None:
            return None
        if isinstance(destination, WritesDatabase) and (own := self._own_tables(destination, mapping)):
            self._fault(path, f"its mapping writes into syncd's own table {own}", "give it a database of its own")
            return None
        if isinstance(destination, LimitsNames) and (refused := _refused_names(destination, mapping)):
            self.faults += refused
            return None
        missing = _missing_abilities(entry, destination, mapping)
        if isinstance(destination, Converts):
            missing += _refused_conversions(entry, destination, mapping)
        missing += _refused(entry, mapping, refused_teams(mapping.parts, destination))
        if isinstance(destination, Observes):
            missing += _refused(entry, mapping, refused_observers(mapping.parts, destination))
        if missing:
            self.faults += missing
            return None
        return BuiltDestination(entry, destination, mapping)

    def _own_tables(self, destination: WritesDatabase, mapping: CompiledMapping) -> str:
        """The first table of syncd's own database that the mapping would write into, "" if it writes into no such table."""
        from syncd.store.engine import parse_url, same_database
        from syncd.store.schema import metadata

        with suppress(UsageError):  # a faulty URL is a fault of its own
            store = parse_url(anchored(self.settings.database.get_secret_value(), self.loaded.path.parent))
            if same_database(store, parse_url(destination.database_url())):
                objects = (object_.lower().removeprefix("public.") for object_, _ in mapping.key_fields().values())
                return next((name for name in objects if name in metadata.tables), "")
        return ""

    def _build(self, role: registry.Role, entry: SourceSettings | DestinationSettings, path: tuple[str, ...]) -> Any:
        try:
            return registry.load(role, entry.type).build(entry.connector, self.context(entry.name))
        except (SyncdError, ValueError) as error:
            self._fault(path, str(error))
            return None

    def _mapping(self, entry: DestinationSettings, path: tuple[str, ...]) -> CompiledMapping | None:
        name = entry.mapping or f"mappings/{entry.type}.yaml"
        try:
            found = find_mapping(name, self.loaded.path.parent)
            mapping = load_mapping(found, timezone=self.settings.zone, region=self.settings.region)
            if self.lints:
                self.warnings += warnings_of(mapping)
                if mapping.heeds_answers and not _gets_answers(self.settings, entry):
                    hint = "switch on what you do in channels.outgoing (call_placed: true), and do not leave it out of only:"
                    self._warn(path, "its mapping has rules with on: answered, and no answers go there", hint)
            return mapping
        except ConfigError as error:
            self.faults += error.faults
        except UsageError as error:
            self._fault((*path, "mapping"), str(error))
        return None

    def _fault(self, path: tuple[str, ...], message: str, hint: str = "") -> None:
        self.faults.append(self._placed(path, message, hint))

    def _warn(self, path: tuple[str, ...], message: str, hint: str = "") -> None:
        self.warnings.append(self._placed(path, message, hint))

    def _placed(self, path: tuple[str, ...], message: str, hint: str) -> Fault:
        line, column = self.loaded.document.place(path)
        return Fault(str(self.loaded.path), line, column, ".".join(path), message, hint)


def _gets_answers(settings: Settings, entry: DestinationSettings) -> bool:
    """Whether signals of what we did go to a destination."""
    both_ways = OPEN_TYPES.difference(*ANSWERS.values())  # messages of networks, which we answer with the same type
    going = (kind for kind in (*ANSWERS, *both_ways) if any(fnmatchcase(kind, one) for one in entry.only))
    return any(settings.switch(kind) for kind in going)


def _missing_abilities(entry: DestinationSettings, destination: object, mapping: CompiledMapping) -> list[Fault]:
    """A fault for every rule that needs what the destination's connector cannot do."""
    return [
        mapping.document.fault(one.place, f"destination {entry.name}: {entry.type} {one.cannot}", "leave it out")
        for one in abilities_of(mapping.parts)
        if not isinstance(destination, one.protocol)
    ]


def _refused_conversions(entry: DestinationSettings, destination: Converts, mapping: CompiledMapping) -> list[Fault]:
    """A fault for every deal that the destination cannot make of a lead."""
    return [
        mapping.document.fault(place, f"destination {entry.name}: {message}", hint)
        for place, message, hint in refused_deals(mapping.parts, destination.conversions)
    ]


def _refused(
    entry: DestinationSettings, mapping: CompiledMapping, found: Iterable[tuple[KeyPath, str, str]]
) -> list[Fault]:
    """A fault for everything (place, message, hint) that the destination has no place for."""
    return [
        mapping.document.fault(place, f"destination {entry.name}: {entry.type} {why}", hint)
        for place, why, hint in found
    ]


def _refused_names(destination: LimitsNames, mapping: CompiledMapping) -> list[Fault]:
    """A fault for every name of the mapping that the destination cannot take."""
    return [
        mapping.document.fault(place, f"{name}: {why}", "shorten it")
        for name, place in names_of(mapping.parts)
        if (why := destination.refused_name(name))
    ]


def check_configuration(path: Path) -> CheckReport:
    """Every fault of the file and its mappings, without a network and without a store. Raises only what reading the file
    raises for a file that cannot be read at all."""
    try:
        loaded = load_settings(path, need_secrets=False)
    except ConfigError as error:
        return CheckReport((*error.faults, *_faults_of_mappings(path)), (), (), "")
    settings = loaded.settings
    if settings is None:
        return CheckReport((), loaded.warnings, loaded.missing, "ok as far as can be checked without the secrets above")
    building = _Building(loaded, settings, MemoryTokens(), _no_recall, lambda: datetime.now(UTC), lints=True)
    if not loaded.document.data:
        building._fault(
            (), "the file is empty", "`syncd init` writes a configuration, `syncd config example` shows one"
        )
        return CheckReport(tuple(building.faults), (), (), "")
    building.database()
    for place, message, hint in loose_ends(settings):
        building._warn(place, message, hint)
    sources = {name: building.source(entry) for name, entry in settings.sources.items()}
    building.check_sharing(sources)
    for source in settings.sources.values():
        building.signs_in(("sources", source.name), sources[source.name])
        building.note_unable("source", source)
    for destination in settings.destinations.values():
        outlet = building.outlet(destination)
        building.signs_in(("destinations", destination.name), outlet and outlet.destination)
        building.note_unable("destination", destination)
    count = f"{len(settings.sources)} sources, {len(settings.destinations)} destinations"
    unset = [fault for fault in building.faults if loaded.missing and _beside(fault, loaded.missing)]
    faults = tuple(fault for fault in building.faults if fault not in unset)
    needed = (*loaded.missing, *building.needed)
    warnings = (*loaded.warnings, *building.warnings)
    return CheckReport(faults, warnings, needed, f"ok: {count}", tuple(building.notes))


def _faults_of_mappings(path: Path) -> list[Fault]:
    """The faults of the mappings that a configuration names which has faults of its own: all are reported at once."""
    try:
        document = read_yaml(read_text(path), str(path))
    except ConfigError:
        return []
    entries = document.data.get("destinations") if isinstance(document.data, dict) else None
    faults: dict[Fault, None] = {}
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        named = entry.get("mapping") if isinstance(entry, dict) else None
        if not isinstance(named, str):
            continue
        try:
            load_mapping(find_mapping(named, path.parent))
        except ConfigError as error:
            faults.update(dict.fromkeys(error.faults))
        except UsageError as error:
            faults[document.fault(("destinations", name, "mapping"), str(error))] = None
    return list(faults)


def _beside(fault: Fault, missing: Iterable[Fault]) -> bool:
    """True when a connector could not be built because one of its own secrets is unset."""
    return any(gap.key.startswith(f"{fault.key}.") for gap in missing)


def open_store(settings: Settings, base: Path, *, migrate: bool = True) -> Store:
    """The store of this configuration; a relative SQLite path is beside the configuration file."""
    from syncd.store import Store

    key = settings.secret_key.get_secret_value() if settings.secret_key else None
    return Store.open(anchored(settings.database.get_secret_value(), base), key_source=key, migrate=migrate)


def anchored(url: str, base: Path) -> str:
    """A database URL with a relative SQLite path made absolute from `base`."""
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + "/") and ":memory:" not in url:
        return prefix + os.path.normpath(base.resolve() / url.removeprefix(prefix))
    return url
