"""How commands speak: data to stdout (tables for people, `--json` for programs), talk and progress to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]
Tell = Callable[[float | None, str], None]
MINUTE = 60.0


@dataclass(frozen=True)
class Output:
    """One per command. `as_json`: one object, or one object a line for lists."""

    as_json: bool = False
    zone: ZoneInfo = ZoneInfo("UTC")

    def rows(self, rows: Iterable[Row], columns: Sequence[str], *, title: str = "", empty: str = "nothing") -> None:
        """A list: a table of `columns`, or every key of every row as JSON lines."""
        if self.as_json:
            for row in rows:
                self._line(row)
            return
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.replace("_", " "), overflow="fold")
        count = 0
        for row in rows:
            table.add_row(*(self.cell(row.get(column, "")) for column in columns))
            count += 1
        if count:
            _stdout().print(table)
        else:
            self.say(empty)

    def line(self, row: Row, columns: Sequence[str]) -> None:
        """One row of a list that does not end (`tail`), at once."""
        if self.as_json:
            self._line(row)
        else:
            sys.stdout.write("  ".join(self.cell(row.get(column, "")) for column in columns) + "\n")
        sys.stdout.flush()

    def record(self, record: Row, *, title: str = "") -> None:
        """One thing: its keys and values, or one JSON object."""
        if self.as_json:
            self._line(record)
            return
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for key, value in record.items():
            table.add_row(key.replace("_", " "), self.cell(value))
        _stdout().print(table)

    def text(self, text: str) -> None:
        """Data that is text by itself (YAML, a schema)."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def say(self, text: str) -> None:
        """Talk, on stderr."""
        sys.stderr.write(text + "\n")

    @contextmanager
    def progress(self, what: str) -> Iterator[Tell]:
        """Long work: a bar with rate and remaining time on a terminal, a line a minute elsewhere. `tell(share, text)`:
        share of the whole (0..1, None: unknown)."""
        if sys.stderr.isatty():
            yield from _bar(what)
        else:
            yield from _minutes(what, self.say)

    def cell(self, value: Any) -> str:
        from rich.markup import escape

        if value is None or value == "":
            return ""
        if isinstance(value, datetime):
            local = value.astimezone(self.zone) if value.tzinfo else value.replace(tzinfo=UTC).astimezone(self.zone)
            return local.strftime("%Y-%m-%d %H:%M:%S")
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, (dict, list, tuple)):
            return escape(msgspec.json.encode(value).decode())
        return escape(str(value))

    def _line(self, row: Row) -> None:
        sys.stdout.write(msgspec.json.encode(dict(row)).decode() + "\n")


def _stdout() -> Console:
    from rich.console import Console

    return Console(soft_wrap=False, width=None if sys.stdout.isatty() else 160)


def _bar(what: str) -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, said="")

        def tell(share: float | None, text: str) -> None:
            if share is None:
                bar.update(task, said=text)
            else:
                bar.update(task, total=1.0, completed=min(max(share, 0.0), 1.0), said=text)

        yield tell


def _minutes(what: str, say: Callable[[str], None]) -> Iterator[Tell]:
    last = time.monotonic()

    def tell(share: float | None, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= MINUTE:
            last = time.monotonic()
            say(f"{what}: {text}" + ("" if share is None else f" ({share:.0%})"))

    yield tell
