"""How commands speak: data to stdout (tables for people, JSON, CSV or TSV for programs), talk and progress to stderr."""

from __future__ import annotations

import csv
import io
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from syncd.durations import format_duration

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]
Tell = Callable[[float | None, str], None]
Format = Literal["table", "json", "csv", "tsv"]
FORMATS: tuple[Format, ...] = ("table", "json", "csv", "tsv")
MINUTE = 60.0
COLOURS = {
    **dict.fromkeys(("delivered", "written", "ok", "done", "on", "active"), "green"),
    **dict.fromkeys(("pending", "held", "doubt", "sending", "warning", "waiting", "running", "stopped"), "yellow"),
    **dict.fromkeys(("dead", "unconfirmed", "failed", "fault", "missing"), "red"),
    **dict.fromkeys(("skipped", "discarded", "off"), "bright_black"),
}
"""State -> colour on a terminal; of several states in one cell the last in this order counts."""
STATE_COLUMNS = ("state", "result", "level", "wanted", "verdict")


@dataclass(frozen=True)
class Output:
    """One per command. `format`: a table, one JSON object a line, or CSV or TSV with a header. Times in tables are in
    `zone`, everywhere else in UTC."""

    format: Format = "table"
    zone: ZoneInfo = ZoneInfo("UTC")

    @property
    def as_json(self) -> bool:
        return self.format == "json"

    def rows(self, rows: Iterable[Row], columns: Sequence[str], *, title: str = "", empty: str = "nothing") -> None:
        """A list: a table of `columns` (CSV and TSV have them too, or without any those of the first row), or every key of
        every row as JSON lines."""
        if self.as_json:
            for row in rows:
                self._line(row)
            return
        found = list(rows)
        if self.format != "table":
            self._separated(found, columns or list(found[0] if found else ()))
        elif not found:
            self.say(empty)
        elif sys.stdout.isatty():
            self._table(found, columns, title)
        else:
            sys.stdout.write(
                plain_table([[self.cell(row.get(name, "")) for name in columns] for row in found], columns, title)
            )

    def line(self, row: Row, columns: Sequence[str]) -> None:
        """One row of a list that does not end (`tail`), at once; CSV and TSV without a header."""
        if self.as_json:
            self._line(row)
        elif self.format != "table":
            self._separated([row], columns or list(row), header=False)
        else:
            sys.stdout.write("  ".join(self.cell(row.get(column, "")) for column in columns) + "\n")
        sys.stdout.flush()

    def record(self, record: Row, *, title: str = "") -> None:
        """One thing: its keys and values, or one JSON object; in CSV and TSV one row."""
        if self.as_json:
            self._line(record)
        elif self.format != "table":
            self._separated([record], list(record))
        else:
            wide = max((len(key) for key in record), default=0)
            head = f"{title}\n" if title else ""
            lines = (f"{key.replace('_', ' '):<{wide}}  {self.cell(value)}".rstrip() for key, value in record.items())
            sys.stdout.write(head + "\n".join(lines) + "\n")

    def text(self, text: str) -> None:
        """Data that is text by itself (YAML, a schema)."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def say(self, text: str) -> None:
        """Talk, on stderr."""
        sys.stderr.write(text + "\n")

    @contextmanager
    def progress(self, what: str) -> Iterator[Tell]:
        """Long work: a bar with rate and remaining time on a terminal, a line a minute elsewhere. `tell(share, text)`:
        share of the whole (0..1, None: unknown); a number at the beginning of the text is what the rate is made of."""
        if sys.stderr.isatty():
            yield from _bar(what)
        else:
            yield from _minutes(what, self.say)

    def cell(self, value: Any) -> str:
        if value is None or value == "":
            return ""
        if isinstance(value, datetime):
            local = value.astimezone(self.zone) if value.tzinfo else value.replace(tzinfo=UTC).astimezone(self.zone)
            return local.strftime("%Y-%m-%d %H:%M:%S")
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, (dict, list, tuple)):
            return msgspec.json.encode(value).decode()
        return str(value)

    def _line(self, row: Row) -> None:
        sys.stdout.write(msgspec.json.encode(dict(row)).decode() + "\n")

    def _separated(self, rows: Sequence[Row], columns: Sequence[str], *, header: bool = True) -> None:
        out = io.StringIO()
        writer = csv.writer(out, delimiter="," if self.format == "csv" else "\t", lineterminator="\n")
        if header:
            writer.writerow(columns)
        for row in rows:
            writer.writerow([_value(row.get(name, ""), one_line=self.format == "tsv") for name in columns])
        sys.stdout.write(out.getvalue())

    def _table(self, rows: Sequence[Row], columns: Sequence[str], title: str) -> None:
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            whole = column == "id" or column.endswith("_id")
            table.add_column(column.replace("_", " "), overflow="fold", no_wrap=whole, min_width=8 if whole else None)
        for row in rows:
            table.add_row(*(self._shown(name, escape(self.cell(row.get(name, "")))) for name in columns))
        _stdout().print(table)

    @staticmethod
    def _shown(column: str, cell: str) -> str:
        return _coloured(cell) if column in STATE_COLUMNS else cell


def plain_table(rows: Sequence[Sequence[str]], columns: Sequence[str], title: str = "") -> str:
    """A table for a pipe: aligned with blanks, nothing shortened, one line a row. Pure."""
    from rich.cells import cell_len

    heads = [column.replace("_", " ") for column in columns]
    lines = [heads, *([" ".join(cell.split()) for cell in row] for row in rows)]
    wide = [max(cell_len(line[index]) for line in lines) for index in range(len(heads))]
    text = "\n".join(
        "  ".join(cell + " " * (wide[index] - cell_len(cell)) for index, cell in enumerate(line)).rstrip()
        for line in lines
    )
    return (f"{title}\n" if title else "") + text + "\n"


def localised(text: str, zone: ZoneInfo) -> str:
    """A sentence with its times in UTC (`2026-11-28 14:05 UTC`, ISO 8601) shown in `zone`, with its name. Pure."""

    def told(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(f"{found['day']} {found['time']}").replace(tzinfo=UTC)
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M} {zone.key}"

    return _MOMENT.sub(told, text)


_MOMENT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>(?:[01]\d|2[0-3]):[0-5]\d)(?::[0-5]\d(?:\.\d+)?)?(?: UTC|Z\b|\+00:00)"
)


def pace(done: int, share: float | None, seconds: float) -> str:
    """`, 120/s, 2m30s left` of what has been done in so many seconds; what cannot be known is left out. Pure."""
    if seconds < 1:
        return ""
    rate = f", {done / seconds:,.0f}/s" if done else ""
    if share is None or not 0 < share < 1:
        return rate
    left = timedelta(seconds=round(seconds * (1 - share) / share))
    return f"{rate}, {format_duration(left)} left"


def _value(value: Any, *, one_line: bool) -> str:
    """A cell for a program."""
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = msgspec.json.encode(value).decode() if isinstance(value, (dict, list, tuple)) else str(value)
    return " ".join(text.split()) if one_line else text


def _coloured(cell: str) -> str:
    found = [colour for state, colour in COLOURS.items() if re.search(rf"\b{re.escape(state)}\b", cell)]
    worst = max(found, key=("bright_black", "green", "yellow", "red").index, default="")
    return f"[{worst}]{cell}[/]" if worst else cell


def _stdout() -> Console:
    from rich.console import Console

    return Console(soft_wrap=False)


def _count(text: str) -> int:
    number = re.match(r"[\d,]+", text)
    return int(number.group().replace(",", "") or 0) if number else 0


def _bar(what: str) -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    began, first = time.monotonic(), None
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, said="")

        def tell(share: float | None, text: str) -> None:
            nonlocal first
            first = first if first is not None else (_count(text), share or 0.0)
            said = text + pace(_count(text) - first[0], _since(share, first[1]), time.monotonic() - began)
            if share is None:
                bar.update(task, said=said)
            else:
                bar.update(task, total=1.0, completed=min(max(share, 0.0), 1.0), said=said)

        yield tell


def _minutes(what: str, say: Callable[[str], None]) -> Iterator[Tell]:
    began = last = time.monotonic()
    first: tuple[int, float] | None = None

    def tell(share: float | None, text: str) -> None:
        nonlocal last, first
        first = first if first is not None else (_count(text), share or 0.0)
        if time.monotonic() - last >= MINUTE:
            last = time.monotonic()
            paced = pace(_count(text) - first[0], _since(share, first[1]), last - began)
            say(f"{what}: {text}" + ("" if share is None else f" ({share:.0%})") + paced)

    yield tell


def _since(share: float | None, first: float) -> float | None:
    """The share of what was left at the beginning: a resumed job has not done the first part in this time."""
    return None if share is None or first >= 1 else (share - first) / (1 - first)
