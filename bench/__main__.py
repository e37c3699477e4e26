"""`make bench`, `python -m bench [NAME ...] [--quick]`: runs the benchmarks one after the other and prints a table for each.

Every benchmark is a process of its own, and all of them together end within thirteen minutes (`--quick`: three). What a benchmark
needs and this machine lacks leaves it out, with the reason. The figures are kept in .bench/last.json; the next run says
what has changed since.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench.figures import LeftOut, Table, workplace
from bench.machine import facts

ROOT = Path(__file__).resolve().parent.parent
BENCHES: dict[str, tuple[str, int, int]] = {  # name -> (module, seconds it may take, and with --quick)
    "mapping": ("bench.mapping", 40, 15),
    "calls": ("bench.calls", 60, 40),
    "process": ("bench.process", 100, 50),
    "end_to_end": ("bench.end_to_end", 240, 45),
    "ingest": ("bench.ingest_figures", 200, 45),
    "dispatch": ("bench.dispatch", 60, 20),
    "journal": ("bench.journal", 90, 30),
    "backfill": ("bench.backfill", 120, 30),
    "imports": ("bench.imports", 180, 30),
    "growth": ("bench.growth", 150, 40),
    "mailbox": ("bench.mailbox", 150, 30),
}
WHOLE, WHOLE_QUICK = 780, 180
Kept = dict[str, dict[str, float]]  # title of a table -> its figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(BENCHES)}; default all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, three minutes at most")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no benchmark called {unknown[0]!r}; there are: {', '.join(BENCHES)}")
    if asked.into:
        alone(asked.names[0], asked.into, quick=asked.quick)
        return 0
    return run_all(asked.names or list(BENCHES), quick=asked.quick)


def run_all(names: list[str], *, quick: bool) -> int:
    """Prints everything; 1 when a benchmark failed. A missed aim is no failure: it is printed."""
    print("\n".join(facts(workplace())), flush=True)
    file = workplace() / "last.json"
    kind = "quick" if quick else "full"
    kept: dict[str, Kept] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    before = kept.get(kind, {})
    began = time.monotonic()
    failed: list[str] = []
    missed: list[str] = []
    for name in names:
        left = (WHOLE_QUICK if quick else WHOLE) - (time.monotonic() - began)
        answer = in_a_process(name, min(left, BENCHES[name][2] if quick else BENCHES[name][1]), quick=quick)
        failed += [name] if "failed" in answer else []
        reason = answer.get("failed") or answer.get("left_out")
        if reason:
            print(f"\n{name}: {'failed' if 'failed' in answer else 'left out'}: {reason}", flush=True)
        for table in map(Table.of_data, answer.get("tables", ())):
            print(f"\n{table.text(before.get(table.title, {}))}", flush=True)
            bad = [one.name for one in table.figures if one.aim and not one.aim.met(one.value)]
            missed += [f"{', '.join(table.title.split(', ')[:2])}: {one}" for one in bad]
            kept.setdefault(kind, {})[table.title] = {one.name: one.value for one in table.figures}
    file.write_text(json.dumps(kept, indent=1), "utf-8")
    verdict = [f"missed: {'; '.join(missed)}"] if missed else []
    verdict += [f"failed: {', '.join(failed)}"] if failed else []
    print(f"\n{time.monotonic() - began:.0f} s; {'; '.join(verdict) or 'every aim met'}")
    return 1 if failed else 0


def in_a_process(name: str, seconds: float, *, quick: bool) -> Mapping[str, Any]:
    """What a benchmark's process wrote down; one that takes longer is ended with all its children."""
    if seconds < 5:
        return {"left_out": "the time for all of them is up"}
    with tempfile.TemporaryDirectory(dir=workplace()) as folder:
        into = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "bench", name, "--into", str(into), *(["--quick"] if quick else [])]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except BaseException as error:  # Ctrl-C too: nothing may be left running
            end_all(process)
            if isinstance(error, subprocess.TimeoutExpired):
                return {"failed": f"not done within {seconds:.0f} s"}
            raise
        if into.exists():
            answer: dict[str, Any] = json.loads(into.read_text("utf-8"))
            return answer
        return {"failed": f"exit code {process.returncode}\n{output[-3000:]}"}


def end_all(process: subprocess.Popen[str]) -> None:
    """Ends a benchmark and whatever it has started, servers with a session of their own too."""
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in started:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.communicate()


def alone(name: str, into: Path, *, quick: bool) -> None:
    """The child's side: runs one benchmark and writes down what it hands over."""
    try:
        tables = importlib.import_module(BENCHES[name][0]).run(quick=quick)
        answer: dict[str, Any] = {"tables": [table.as_data() for table in tables]}
    except LeftOut as reason:
        answer = {"left_out": str(reason)}
    into.write_text(json.dumps(answer), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
