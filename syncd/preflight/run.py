"""`check --online`: every part looked at concurrently, each within a bounded time, none hiding another.

The command calls `check_online` after the configuration was found valid. Promise: it returns within `limit` seconds and a little,
whatever a vendor does; no line carries a secret.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from syncd import registry
from syncd.capabilities import Level
from syncd.config.loading import Loaded
from syncd.config.models import Settings
from syncd.errors import AuthExpired, Failure, QuotaExhausted, RateLimited, SyncdError, Transient, UsageError
from syncd.preflight import parts, stores
from syncd.preflight.lines import CheckLine
from syncd.service.assembly import assemble

log = logging.getLogger(__name__)

LIMIT = 60.0
"""Seconds for all of it."""
AT_ONCE = 8
STORE = "store"
_REMEDIES: tuple[tuple[type[Failure], str], ...] = (
    (RateLimited, "wait a little, then ask again"),
    (QuotaExhausted, "wait until the day's allowance comes back"),
    (AuthExpired, "check the credentials"),
    (Transient, "try again; if it stays so, check the address and the network"),
)
Lines = Callable[[], Iterable[CheckLine]]


@dataclass
class _Part:
    """One part under way. `lines` grow as they are said."""

    role: str
    name: str
    ask: Lines
    lines: list[CheckLine] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self, turn: threading.Semaphore) -> None:
        with turn:
            try:
                for line in self.ask():
                    self.lines.append(line)
            except (Failure, SyncdError) as error:
                remedy = next((text for kind, text in _REMEDIES if isinstance(error, kind)), "")
                self.lines.append(CheckLine(self.role, self.name, Level.FAULT, "answer", str(error), remedy))
            except Exception as error:  # a bug of one connector hides no other's answer
                log.exception("checking %s failed", self.name)
                text = f"syncd itself failed ({type(error).__name__}); please report it"
                self.lines.append(CheckLine(self.role, self.name, Level.FAULT, "answer", text))
            finally:
                self.done.set()

    def said(self, limit: float) -> list[CheckLine]:
        """What it said; when it is not done, that too."""
        if self.done.is_set():
            return self.lines
        text = f"no complete answer within {limit:g} s"
        late = CheckLine(
            self.role, self.name, Level.FAULT, "answer", text, "try again; is the vendor slow, or the network?"
        )
        return [*self.lines, late]


def check_online(loaded: Loaded, names: Sequence[str] = (), *, limit: float = LIMIT) -> list[CheckLine]:
    """What is found of these names (sources, destinations, `store`), or of everything, in the order of the configuration.
    Raises UsageError for an unknown name, ConfigError for what keeps the configuration from being built."""
    settings = loaded.settings
    assert settings is not None, "the command has every secret"
    _known(names, settings)
    wanted = set(names) or {STORE, *settings.sources, *settings.destinations}
    store, findings = stores.opened(settings, loaded.path.parent)
    lines = [CheckLine.of("store", STORE, finding) for finding in findings] if STORE in wanted else []
    assembly = assemble(loaded, store=store, only_sources=[name for name in settings.sources if name in wanted])
    public = settings.server.public_url or ""
    asked = [
        *(
            _Part("source", name, partial(parts.source, name, one, public, settings.sources[name].endpoint or name))
            for name, one in assembly.sources.items()
        ),
        *(
            _Part("destination", name, partial(parts.destination, outlet, store))
            for name, outlet in assembly.outlets.items()
            if name in wanted
        ),
    ]
    lines += list(_all(asked, limit))
    if all(part.done.is_set() for part in asked):  # else closing might wait for whoever hangs
        assembly.close()
        if store is not None:
            store.close()
    return lines


def _all(asked: Sequence[_Part], limit: float) -> Iterator[CheckLine]:
    """Threads that are not waited for beyond the limit: they are daemons, and end with the command."""
    turn, until = threading.Semaphore(AT_ONCE), time.monotonic() + limit
    for part in asked:
        threading.Thread(target=part.run, args=(turn,), name=f"check {part.name}", daemon=True).start()
    for part in asked:
        part.done.wait(max(0.0, until - time.monotonic()))
        yield from part.said(limit)


def _known(names: Sequence[str], settings: Settings) -> None:
    known = (STORE, *settings.sources, *settings.destinations)
    for name in names:
        if name not in known:
            near = registry.closest(name, known)
            hint = f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
            raise UsageError(f"no source or destination is called {name!r}; {hint}")
