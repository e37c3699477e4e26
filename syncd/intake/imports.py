"""One file, once, through the same pipeline as a source: what `syncd import` reads, and how far it has come.

Promise: the file is known by what is in it, not by its name, so that the same one resumes where it was stopped; wrong rows are
reported by line and do not stop the import.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from syncd import registry
from syncd.capabilities import Importable
from syncd.config.models import Settings
from syncd.connector import Batch, Context
from syncd.errors import Failure, Malformed, UsageError
from syncd.http.oauth import MemoryTokens
from syncd.intake.backfill import BackfillProgress, JobInput
from syncd.signals import Route
from syncd.store.journal.entries import JournalEntry

KIND = "import"
SOURCE = "import"
"""What signals that were imported name as their source."""
TYPES = {"contact": "contact.changed", "account": "account.changed"}
MOST_WRONG = 100
"""Wrong rows that are reported one by one; more are counted."""
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Imported(BackfillProgress):
    """`wrong`: rows that cannot be understood; `reasons`: of the first of them, `FILE:LINE: why`. `faulty`: rows that were read
    although a part of them is damaged or lost; `faults`: of the first of them, `FILE:LINE: what`."""

    wrong: int = 0
    reasons: tuple[str, ...] = ()
    faulty: int = 0
    faults: tuple[str, ...] = ()

    def after(self, batch: Batch, entry: JournalEntry) -> Self:
        counted = BackfillProgress.after(self, batch, entry)
        room = max(0, MOST_WRONG - len(self.reasons))
        told = tuple(misfit.reason[:LONGEST_REASON] for misfit in batch.misfits[:room])
        faulty = [signal.data["faults"] for signal in batch.signals if signal.data.get("faults")]
        said = [fault[:LONGEST_REASON] for faults in faulty for fault in faults]
        return replace(
            counted,
            wrong=self.wrong + len(batch.misfits),
            reasons=(*self.reasons, *told),
            faulty=self.faulty + len(faulty),
            faults=(*self.faults, *said)[:MOST_WRONG],
        )

    @property
    def rows(self) -> int:
        """Those done, good and wrong."""
        return self.read + self.wrong


@dataclass(frozen=True)
class Told:
    """What the command line says of a file. `map` as the keys of a `file` source have it."""

    path: Path
    kind: str
    map: Mapping[str, str | None]
    sheet: str = ""
    encoding: str = ""

    def importer(self, settings: Settings) -> Importable:
        """The reader of the file. Raises UsageError for invalid options."""
        connector = registry.load("source", "file")
        keys = {"path": self.path.absolute(), "as": self.kind, "map": dict(self.map), "sheet": self.sheet}
        keys |= {"encoding": self.encoding} if self.encoding else {}
        context = Context(name=SOURCE, tokens=MemoryTokens(), region=settings.region, timezone=settings.zone)
        built = connector.build(connector.settings.model_validate(keys), context)
        assert isinstance(built, Importable)
        return built

    def seen(self) -> Seen:
        """Raises UsageError for a file that cannot be opened."""
        digest, lines = sha256(), 0
        try:
            stamp = _stamp(self.path)
            with self.path.open("rb") as opened:
                while chunk := opened.read(1 << 20):
                    digest.update(chunk)
                    lines += chunk.count(b"\n")
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror}") from None
        args = {"content": digest.hexdigest(), "map": dict(self.map), "sheet": self.sheet}
        return Seen(self.path, stamp, lines, args | ({"encoding": self.encoding} if self.encoding else {}))


@dataclass(frozen=True)
class Seen:
    """A file as it was when it was looked at. `lines`: about so many rows, if it is text. `args`: what makes two imports the
    same."""

    path: Path
    stamp: tuple[int, int, int]
    lines: int
    args: dict[str, Any]

    def reading(self, importer: Importable) -> JobInput:
        """The file as a job reads it: whatever ends the reading is one clear Failure."""
        name = self.path.name

        def read(cursor: bytes | None) -> Iterator[Batch]:
            try:
                for batch in importer.table(cursor):
                    if _stamp(self.path) != self.stamp:
                        raise Failure(f"{name} was changed while it was read; import it again as it is now")
                    yield batch
            except Malformed as error:
                raise Failure(f"{name}: {error}") from None
            except OSError as error:
                raise Failure(f"{name}: cannot be read: {error.strerror or error}") from None

        return JobInput(SOURCE, Route.IMPORT, read, Imported, misfits=False)


def _stamp(path: Path) -> tuple[int, int, int]:
    """Raises OSError."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
