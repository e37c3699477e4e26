"""The rows of a workbook, read by a process of its own: whatever is in the file costs that process its life, and nobody else's.

`tables` asks for the rows; `python -m syncd.connectors.files.workbook FILE SHEET …` is the process. Promise: it takes
at most MEMORY and SECONDS, is lent no secret of ours, and whatever becomes of it is rows or one line of Malformed.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson

from syncd.connectors.files.markup import is_markup, markup_rows
from syncd.connectors.files.zeros import masks, shown
from syncd.errors import Malformed

MEMORY = 512 * 2**20
"""Of address space. A workbook of a hundred thousand rows takes a third of it; `MemoryMax` of the service is twice as much."""
SECONDS = 300
"""Of processor time."""
UNPACKED = 200_000_000
"""Bytes of a workbook when unpacked: what declares more is not opened. All three are cautious bounds of ours."""
ROW = 1_000_000
"""Bytes of one row."""
ADVICE = "save the sheet as CSV"
NO_MEMORY = 77
"""Exit code of the process when Python ran out of memory; the library ends it by a signal."""
LENT = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")


Row = tuple[int, list[str], str]
"""Its number, its cells, and why it cannot be read, if it cannot."""


def sheet_rows(path: Path, sheet: str = "", encoding: str = "", region: str = "") -> tuple[int, Iterator[Row]]:
    """(how many rows there may be, those that are not blank). Raises Malformed, also midway."""
    _refuse_bombs(path)
    child = subprocess.Popen(  # noqa: S603 - our own module, no shell
        [sys.executable, "-P", "-m", "syncd.connectors.files.workbook", str(path), sheet, encoding, region],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in LENT if name in os.environ} | {"PYTHONUTF8": "1"},
    )
    rows = _told(child)
    try:
        return int(next(rows)), rows
    except BaseException:
        rows.close()
        raise


def _told(child: subprocess.Popen[bytes]) -> Generator[Any, None, None]:
    """First the number of rows, then the rows. What ends without saying so has died."""
    assert child.stdout is not None
    try:
        while text := child.stdout.readline(2 * ROW):
            said = orjson.loads(text) if text.endswith(b"\n") else None
            match said:
                case [int(), list(), str()]:
                    yield tuple(said)
                case {"rows": int(rows)}:
                    yield rows
                case {"fault": str(fault)}:
                    raise Malformed(fault)
                case {"end": True}:
                    return
                case _:
                    break
        raise Malformed(_died(child))
    finally:
        child.kill()
        child.stdout.close()
        child.wait()


def _died(child: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        child.wait(5)
    code = child.returncode
    if code == -signal.SIGXCPU:
        return f"the workbook takes more than {SECONDS} s to read; {ADVICE}"
    if code is not None and code > 0 and code != NO_MEMORY:
        return f"the process that reads workbooks ended with code {code}; {ADVICE}"
    return f"the workbook needs more than {MEMORY >> 20} MB of memory to read; {ADVICE}"


def _refuse_bombs(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(part.file_size for part in packed.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Malformed(f"the workbook cannot be read: {error}") from None
    if size > UNPACKED:
        raise Malformed(f"the workbook unpacks to {size:,} bytes, more than {UNPACKED:,}; {ADVICE}")


def word(value: Any) -> str:
    """A cell as text: a phone number that a sheet keeps as a number has no `.0`, midnight is a date."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and (value.hour, value.minute, value.second) == (0, 0, 0):
        return value.date().isoformat()
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (dict, list)):
        return orjson.dumps(value).decode()
    return str(value).replace("\0", "").strip()


# ------------------------------------------------------------------------------------------------- the process itself


def main(path: str, sheet: str, encoding: str = "", region: str = "") -> None:
    """Reads under the limits and says rows, one JSON value a line."""
    say = sys.stdout.buffer
    try:
        _limit()
        for line in _lines(path, sheet, encoding, region):
            say.write(line + b"\n")
        say.write(b'{"end":true}\n')
    except Malformed as error:
        say.write(orjson.dumps({"fault": str(error)}) + b"\n")
    except MemoryError:
        os._exit(NO_MEMORY)
    say.flush()


def _limit() -> None:
    """Where limits cannot be set (they can on Linux) nothing is read: the daemon's own memory is at stake."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ValueError, OSError) as error:
        if sys.platform == "linux":
            raise Malformed(f"workbooks cannot be read here, since no limit can be set ({error}); {ADVICE}") from None


def _lines(path: str, wanted: str, encoding: str, region: str) -> Iterator[bytes]:
    try:
        import python_calamine as calamine
    except ImportError as error:
        raise Malformed(f"workbooks cannot be read here: {error}; {ADVICE}") from None
    with open(path, "rb") as opened:
        if is_markup(opened.read(2000)):
            rows = markup_rows(path, wanted, encoding, region)
            yield orjson.dumps({"rows": len(rows)})
            yield from filter(None, (_line(number, cells) for number, cells in enumerate(rows, start=1)))
            return
    try:
        book = calamine.CalamineWorkbook.from_path(path)
        if wanted and wanted not in book.sheet_names:
            raise Malformed(f"no sheet {wanted!r}; there are: {', '.join(book.sheet_names)}")
        shown_sheets = [meta.name for meta in book.sheets_metadata if meta.visible == calamine.SheetVisibleEnum.Visible]
        for name in [wanted] if wanted else shown_sheets:
            sheet = book.get_sheet_by_name(name)
            if sheet.start is None and not wanted:
                continue
            yield orjson.dumps({"rows": sheet.height})
            zeros, left = masks(path, name), sheet.start[1] if sheet.start else 0
            for at, values in enumerate(sheet.iter_rows()):
                cells = [_cell(value, zeros.get((at, left + column), "")) for column, value in enumerate(values)]
                if line := _line(at + 1, cells):
                    yield line
            return
        yield orjson.dumps({"rows": 0})
    except calamine.PasswordError:
        raise Malformed("the workbook is locked with a password; save it without one") from None
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise Malformed(f"the workbook cannot be read: {error}") from None
    except (Malformed, MemoryError, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the library is not an Exception
        raise Malformed(f"the workbook cannot be read: {error}") from None


def _line(number: int, cells: list[str]) -> bytes:
    """A row as it is said; nothing for a blank one."""
    while cells and not cells[-1]:
        cells.pop()
    if not cells:
        return b""
    line = orjson.dumps([number, cells, ""])
    return line if len(line) <= ROW else orjson.dumps([number, [], f"has more than {ROW} bytes"])


def _cell(value: Any, mask: str) -> str:
    """A cell as text; `mask`: its format, if that is of zeros alone."""
    if mask and isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 and value == int(value):
        return shown(value, mask)
    return word(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
