"""Brings an edited configuration into force while syncd runs: on SIGHUP, or when a file that it was read from was saved.

The daemon starts it and hands it `build` and `adopt`. Promise: what is invalid changes nothing, and is said once in the
log, and by `status`, `/readyz` and a metric until it is fixed; the files are looked at by a thread that costs next to nothing.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from syncd.config.loading import Loaded, load_settings, read_text
from syncd.config.models import Settings
from syncd.config.secret_refs import files_named
from syncd.errors import ConfigError, Fault, SyncdError, UsageError
from syncd.mapping.shipped import own_files
from syncd.service import sd_notify
from syncd.service.assembly import Assembly, BuiltDestination
from syncd.store.announcements import IN_FORCE, REFUSED, Announcements
from syncd.store.journal.entries import StoreUnavailable

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at the files; a change counts when two looks have seen the same, so that no half-written file is
read."""

Stamp = tuple[int, int, int] | None
_ASKED, _STOP = "asked", "stop"

FIXED: Mapping[tuple[str, ...], Callable[[Settings], object]] = {
    ("server", "listen"): lambda settings: settings.server.listen,
    ("server", "public_url"): lambda settings: settings.server.public_url,
    ("database",): lambda settings: settings.database,
    ("secret_key",): lambda settings: settings.secret_key,
}
"""What a running process cannot change."""


class ConfiguredType(msgspec.Struct, frozen=True):
    """What `status` needs to know of a source or a destination."""

    type: str


class InForce(msgspec.Struct, frozen=True):
    """The configuration that a running daemon works by, as far as `status` needs it."""

    sources: dict[str, ConfiguredType]
    destinations: dict[str, ConfiguredType]

    @classmethod
    def of(cls, settings: Settings) -> InForce:
        return cls(
            {name: ConfiguredType(entry.type) for name, entry in settings.sources.items()},
            {name: ConfiguredType(entry.type) for name, entry in settings.destinations.items()},
        )


def lane_mark(settings: Settings, outlet: BuiltDestination) -> tuple[Any, ...]:
    """All that a lane works by: two equal ones need no new lane."""
    groups = {
        (channel, switch): who
        for channel, switches in settings.channels.items()
        for switch, who in switches.items()
        if isinstance(who, tuple)
    }
    common = (settings.retry, settings.region, settings.timezone)
    return (outlet.settings, outlet.mapping.fingerprint, common, groups)


def check_fixed(before: Settings, loaded: Loaded) -> None:
    """Raises ConfigError for what only a restart brings into force."""
    after = loaded.settings
    faults = []
    for path, value in FIXED.items():
        if after is not None and value(before) != value(after):
            line, column = loaded.document.place(path)
            hint = "the former configuration stays in force until then"
            faults.append(Fault(str(loaded.path), line, column, ".".join(path), "a change needs a restart", hint))
    if faults:
        raise ConfigError(faults)


def watched(path: Path, settings: Settings | None) -> set[Path]:
    """The files that a configuration is read from, and those that would be if they were there. An unreadable one names no
    others."""
    files = {path}
    try:
        files.update(files_named(read_text(path), os.environ, path.parent))
    except UsageError:  # whoever loads it says what is wrong
        return files
    for entry in settings.destinations.values() if settings is not None else ():
        files.update(own_files(entry.mapping or f"mappings/{entry.type}.yaml", path.parent))
    return files


class Watch:
    """A set of files, absent ones too. Two looks find out whether one was changed and has come to rest."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._known: dict[Path, Stamp] = {}
        self._last: dict[Path, Stamp] = {}
        self.follow(files)

    def follow(self, files: Iterable[Path]) -> None:
        """Watches these files; what they are now is known, unless they were watched before."""
        self._known = {file: self._known[file] if file in self._known else _stamp(file) for file in files}

    def mark(self) -> None:
        """What the files are now is known: the next change is one after this. To be called before they are read."""
        self._known = self._last = {file: _stamp(file) for file in self._known}

    def look(self) -> bool:
        """Whether a file differs from what is known, and has not changed since the last look."""
        now = {file: _stamp(file) for file in self._known}
        rests = now == self._last
        self._last = now
        return rests and now != self._known


def _stamp(file: Path) -> Stamp:
    try:
        found = file.stat()
    except OSError:  # absent, or not ours to see: another thing than present
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Reload:
    """`loaded`: what the daemon started with. `build` makes live objects and touches nothing (raises SyncdError with every
    fault), `adopt` brings them into force. `fault`: why the file on disk is not in force, "" when it is."""

    def __init__(
        self,
        loaded: Loaded,
        settings: Settings,
        notices: Announcements,
        build: Callable[[Loaded], Assembly],
        adopt: Callable[[Loaded, Assembly], None],
    ) -> None:
        self.fault = ""
        self.applied = 0
        self.refused = 0
        self._path = loaded.path
        self._settings = settings
        self._notices = notices
        self._build = build
        self._adopt = adopt
        self._watch = Watch(watched(loaded.path, settings))
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._one = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="syncd-reload", daemon=True)

    def start(self) -> None:
        """Says what is in force, and begins to watch."""
        self._say(IN_FORCE, msgspec.json.encode(InForce.of(self._settings)).decode())
        self._thread.start()

    def stop(self) -> None:
        """Returns when no reload is under way any more."""
        if self._thread.is_alive():
            self._asked.put(_STOP)
            self._thread.join()
            self._say(IN_FORCE, "")
            self._say(REFUSED, "")

    def ask(self) -> None:
        """Reloads soon. Safe in a signal handler."""
        self._asked.put(_ASKED)

    def now(self) -> bool:
        """Reads the files and brings them into force; True when they are."""
        with self._one:
            self._watch.mark()
            sd_notify.notify(*sd_notify.reloading())
            try:
                self._take()
            except (SyncdError, StoreUnavailable) as error:
                self._refuse(error)
            except Exception as bug:
                log.exception("the reload failed: a bug in syncd")
                self._refuse(SyncdError(f"{self._path}: syncd itself failed on it: {type(bug).__name__}"))
            else:
                self.applied += 1
                self.fault = ""
                self._say(REFUSED, "")
            finally:
                said = f"configuration refused: {self.fault}" if self.fault else "the configuration was reloaded"
                sd_notify.notify(sd_notify.READY, sd_notify.status(said))
            return not self.fault

    def _take(self) -> None:
        # Whatever is found wrong now must be watched: its fix is what reload waits for.
        self._watch.follow(watched(self._path, self._settings))
        loaded = load_settings(self._path)
        if loaded.settings is None:
            raise ConfigError(loaded.missing)
        self._watch.follow(watched(self._path, self._settings) | watched(self._path, loaded.settings))
        check_fixed(self._settings, loaded)
        self._adopt(loaded, self._build(loaded))
        self._settings = loaded.settings
        self._watch.follow(watched(self._path, self._settings))
        self._say(IN_FORCE, msgspec.json.encode(InForce.of(self._settings)).decode())

    def _refuse(self, error: SyncdError) -> None:
        self.refused += 1
        if self.fault == str(error):
            log.error("configuration still refused; the former one stays in force", config=str(self._path))
            return
        self.fault = str(error)
        faults = self.fault.splitlines()
        log.error("configuration refused; the former one stays in force", config=str(self._path), faults=faults)
        self._say(REFUSED, self.fault)

    def _say(self, topic: str, text: str) -> None:
        try:
            self._notices.put(topic, text)
        except StoreUnavailable as error:  # the log, /readyz and the metric say it all the same
            log.warning("cannot report the configuration to `status`", why=str(error))

    def _run(self) -> None:
        while True:
            try:
                word = self._asked.get(timeout=LOOK_EVERY)
            except queue.Empty:
                word = ""
            if word == _STOP:
                return
            if word == _ASKED or self._watch.look():
                self.now()
