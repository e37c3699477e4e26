"""What one command works with: where the configuration is, how to print, and the open store. Everything is made when it
is first asked for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from _thread import start_new_thread
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from syncd.cli.output import Format, Output
from syncd.errors import ConfigError, SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.config.loading import Loaded
    from syncd.config.models import Settings
    from syncd.service.assembly import Assembly
    from syncd.store import Store


STORE_KEYS = ("database", "secret_key")


@dataclass
class Session:
    """The global options of one command line."""

    given: str | None
    format: Format
    cwd: Path

    @property
    def as_json(self) -> bool:
        return self.format == "json"

    @cached_property
    def config_path(self) -> Path:
        from syncd.config.locate import find_config

        return find_config(self.given, os.environ, self.cwd)

    @cached_property
    def loaded(self) -> Loaded:
        """The configuration with every secret: for commands that talk to a vendor. Raises ConfigError with all faults."""
        from syncd.config.loading import load_settings

        return load_settings(self.config_path)

    @cached_property
    def seen(self) -> Loaded:
        """The configuration for commands that only look into the store: vendors' secrets may be unset (they are the
        service's, not this shell's); those of the database may not."""
        from syncd.config.loading import load_settings

        loaded = load_settings(self.config_path, need_secrets=False)
        needed = [gap for gap in loaded.missing if gap.key in STORE_KEYS or loaded.settings is None]
        if needed:
            raise ConfigError(needed)
        return loaded

    @property
    def settings(self) -> Settings:
        settings = (self.loaded if "loaded" in self.__dict__ else self.seen).settings
        if settings is None:
            raise UsageError(f"{self.config_path}: incomplete; `syncd check` says what is missing")
        return settings

    def configured(self) -> Settings | None:
        """The settings for commands that also work without a configuration; None where there is none that can be read."""
        with suppress(SyncdError):
            return self.seen.settings
        return None

    @property
    def out(self) -> Output:
        """Printing in the configuration's time zone, or UTC where none was read."""
        from zoneinfo import ZoneInfo

        known = {"loaded", "seen"} & self.__dict__.keys()
        return Output(self.format, self.settings.zone if known else ZoneInfo("UTC"))

    @cached_property
    def assembly(self) -> Assembly:
        """Destinations and mappings built, without sources and without need of their secrets: for what calls no CRM."""
        from syncd.service.assembly import assemble

        return assemble(self.loaded if "loaded" in self.__dict__ else self.seen, only_sources=())

    @contextmanager
    def store(self, *, migrate: bool = True) -> Iterator[Store]:
        """The open store, closed at the end."""
        from syncd.service.assembly import open_store

        _log_to_stderr()
        store = open_store(self.settings, self.config_path.parent, migrate=migrate)
        store.refusals.bypass()
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def interrupts(self, stop: threading.Event) -> Iterator[None]:
        """Within it Ctrl-C and SIGTERM set `stop`, so that work ends between two steps; then the command is interrupted."""
        before = {
            number: signal.signal(number, lambda *_: start_new_thread(stop.set, ()))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if stop.is_set():
            raise KeyboardInterrupt

    def words(self, text: str | None, option: str) -> str:
        """A date or time as typed, in a form that stays the same while time passes: `7d` for a span before now, ISO
        8601 in UTC for a moment, "" for none. Identifies the job of a command. UsageError as `moment`."""
        from syncd.durations import format_duration, parse_duration

        moment = self.moment(text, option)
        if text is None or moment is None:
            return ""
        return format_duration(parse_duration(text)) if _is_span(text) else moment.isoformat()

    def moment(self, text: str | None, option: str) -> datetime | None:
        """A date or time as typed, in UTC: ISO 8601; without a zone in the configured one; `7d` means seven days ago."""
        if text is None:
            return None
        from syncd.durations import parse_duration

        zone = self.settings.zone
        try:
            if _is_span(text):
                return datetime.now(UTC) - parse_duration(text)
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise UsageError(
                f"{option}: {text!r} is not a date; write it like 2026-11-22, 2026-11-22T08:30 or 7d"
            ) from None


def _is_span(text: str) -> bool:
    return text[:1].isdigit() and text[-1:] in "smhdw"


def _log_to_stderr() -> None:
    """Standard output is for data: whatever works on behalf of a command logs beside it."""
    import structlog

    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def session(context: typer.Context) -> Session:
    """The session of this command line."""
    found = context.find_root().obj
    assert isinstance(found, Session)
    return found
