"""Finds mapping files: beside the configuration first, then among those that come with syncd.

The daemon and the CLI ask here; nobody else knows where shipped mappings lie.
"""

from __future__ import annotations

import difflib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from syncd.errors import UsageError

FOLDER = "mappings"
PACKAGE = "syncd.mappings"
SUFFIX = ".yaml"
TESTS_SUFFIX = ".tests.yaml"


def find_mapping(name: str, beside: Path) -> Path | Traversable:
    """The mapping called `name` (`mappings/salesforce.yaml`, `salesforce.yaml`, `salesforce`): in the directory `beside`
    (of the configuration), else the shipped one of that name. Raises UsageError saying which there are."""
    for candidate in own_files(name, beside):
        if candidate.is_file():
            return candidate
    parts = PurePosixPath(name).parts
    if len(parts) == 1 or (len(parts) == 2 and parts[0] == FOLDER):
        found = shipped_mappings().get(parts[-1].removesuffix(SUFFIX))
        if found is not None:
            return found
    raise UsageError(_nowhere(name, beside))


def own_files(name: str, beside: Path) -> list[Path]:
    """Where a mapping called `name` may lie beside the configuration, the first that is there wins."""
    return [beside / candidate for candidate in _spellings(name)]


def shipped_mappings() -> dict[str, Traversable]:
    """Name without suffix -> file, of the mappings that come with syncd."""
    found = {
        entry.name.removesuffix(SUFFIX): entry
        for entry in files(PACKAGE).iterdir()
        if entry.name.endswith(SUFFIX) and not entry.name.endswith(TESTS_SUFFIX)
    }
    return dict(sorted(found.items()))


def tests_beside(mapping: Path | Traversable) -> Path | Traversable | None:
    """The tests that lie beside a mapping: salesforce.tests.yaml beside salesforce.yaml. None if there is no such file."""
    name = mapping.name.removesuffix(SUFFIX) + TESTS_SUFFIX
    beside = mapping.with_name(name) if isinstance(mapping, Path) else files(PACKAGE) / name
    return beside if beside.is_file() else None


def _spellings(name: str) -> list[str]:
    return [name] if name.endswith((".yaml", ".yml")) else [name, name + SUFFIX, f"{FOLDER}/{name}{SUFFIX}"]


def _nowhere(name: str, beside: Path) -> str:
    own = [path.name for path in sorted((beside / FOLDER).glob(f"*{SUFFIX}")) if not path.name.endswith(TESTS_SUFFIX)]
    known = list(shipped_mappings())
    near = difflib.get_close_matches(PurePosixPath(name).name.removesuffix(SUFFIX), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    there = f"; in {beside / FOLDER} lie: {', '.join(own)}" if own else ""
    return f"no mapping {name} in {beside}; {hint}with syncd come: {', '.join(known)}{there}"
