"""Importing a list of many people, as CSV and as XLSX: rows a second, and the peak memory of the process and its workbook reader.

    python -m bench.imports [--kind csv|xlsx] [--rows 100000]

Read alone, and read into a SQLite store as `syncd import` does. The importer is a process of its own, so that what made the file
does not count.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.figures import Aim, Figure, Table, workplace

ROOT = Path(__file__).resolve().parent.parent
HEADER = ["E-Mail", "Vorname", "Nachname", "Firma", "Telefon", "Position", "Straße", "Ort", "PLZ", "Notiz"]
MEMORY = Aim.most(200)
READER = Aim.most(512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["csv", "xlsx"], default="csv")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(Path(arguments.read), arguments.rows)))
        return
    print(measure(arguments.kind, arguments.rows))


def run(*, quick: bool = False) -> list[Table]:
    return [measure(kind, 5_000 if quick else 100_000) for kind in ("csv", "xlsx")]


def measure(kind: str, rows: int) -> Table:
    """Imports so many rows in a process of its own."""
    with tempfile.TemporaryDirectory(dir=workplace()) as folder:
        file = Path(folder) / f"list.{kind}"
        (write_csv if kind == "csv" else write_xlsx)(file, people(rows))
        command = [sys.executable, "-m", "bench.imports", "--rows", str(rows), "--read", str(file)]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
    figures = [
        Figure("read", rows / answer["reading"], "rows/s"),
        Figure("imported", rows / answer["importing"], "rows/s"),
        Figure("memory before", answer["before_mb"], "MB"),
        Figure("memory at its peak", answer["peak_mb"], "MB", MEMORY),
    ]
    if kind == "xlsx":
        figures.append(Figure("the reader's, at its peak", answer["reader_mb"], "MB", READER))
    return Table(f"import: {rows:,} rows of {kind.upper()}", figures)


def people(rows: int) -> Iterator[list[str]]:
    yield HEADER
    for number in range(rows):
        person = [f"p{number}@customer{number % 977}.example", "An", f"Nguyen {number}", f"Company {number % 977}"]
        place = ["Buyer", f"{number % 200} Lê Lợi", "Huế", f"{number % 99999:05}"]
        yield [*person, f"+84 91 {number % 10_000_000:07}", *place, "met at the fair, wants the catalogue"]


def write_csv(file: Path, rows: Iterable[list[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows(rows)


def write_xlsx(file: Path, rows: Iterable[list[str]]) -> None:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("People")
    for row in rows:
        sheet.append(row)
    book.save(file)


def read(file: Path, expected: int) -> dict[str, float]:
    """Reads the file twice in this process, once into a store, and measures it."""
    from syncd.config.models import Settings
    from syncd.intake.admit import Policy
    from syncd.intake.backfill import LEASE, open_same, run_reading
    from syncd.intake.imports import KIND, Told
    from syncd.store import Store

    settings = Settings.model_validate({"channels": {"contacts": {"contact_changed": True}}, "region": "VN"})
    told = Told(file, "contact", {})
    importer, seen, before = told.importer(settings), told.seen(), peak_mb()
    began = time.perf_counter()
    rows = sum(len(batch.signals) for batch in importer.table(None))
    reading = time.perf_counter() - began
    assert rows == expected, f"{rows} of {expected} rows came"
    store = Store.open(f"sqlite:///{file.parent}/syncd.db")
    try:
        job = open_same(store, KIND, "contact", seen.args)
        claimed = store.jobs.claim(LEASE, id=job.id)
        assert claimed is not None
        began = time.perf_counter()
        done = run_reading(*claimed, seen.reading(importer), store, Policy.of(settings), stop=threading.Event())
        importing = time.perf_counter() - began
        assert done.new == expected, f"{done.new} of {expected} rows are stored"
    finally:
        store.close()
    reader = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "reading": reading,
        "importing": importing,
        "before_mb": before,
        "peak_mb": peak_mb(),
        "reader_mb": reader,
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
