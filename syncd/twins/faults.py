"""The fault plan: which call of a twin goes wrong, when, and how. Pure decisions; the server and the twins carry them out.

A plan is a list (Python, YAML, JSON) of faults, for example:

    - {on: upsert_collection, every: 20, do: reset, when: after}        # the answer is lost, the write is not
    - {on: "POST */oauth*/token", nth: 3, do: hang, seconds: 30}
    - {on: create, do: row, match: {Email: bad@example.com}, code: INVALID_DATA}
    - {on: "*", chance: 0.05, seed: 7, do: html, status: 502}

`on` is the name of an operation (see the twin's routes) or `METHOD path-glob`;
a composite call also answers to the operations inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from syncd.twins.wire import PlannedFault, TwinCall

# What a fault may do, and which keys it takes beside those of `WHICH`. A twin adds its own named answers (`Twin.named`).
KINDS: dict[str, frozenset[str]] = {
    "error": frozenset({"status", "code", "message", "fields", "retry_after", "when", "inner"}),
    "html": frozenset({"status", "retry_after", "when"}),
    "reset": frozenset({"when"}),
    "hang": frozenset({"when", "seconds"}),
    "truncate": frozenset(),  # a complete HTTP answer with half of the JSON in it
    "cut": frozenset(),  # the connection dies in the middle of the body
    "late": frozenset({"seconds", "answer"}),  # the write commits later: after `seconds`, or at Twin.release()
    "row": frozenset({"row", "match", "code", "message", "fields", "share"}),
    "slow": frozenset({"seconds"}),
    "expire_tokens": frozenset(),
    "refuse_tokens": frozenset(),
    "delete": frozenset({"object", "match"}),
    "convert": frozenset({"object", "match"}),
}
WHICH = frozenset({"on", "nth", "every", "after", "chance", "seed", "times", "do"})
NAMED_KEYS = frozenset({"when", "retry_after", "inner"})
LATE_ANSWERS = ("reset", "hang", "error", "html")
STACKING = frozenset({"row", "slow", "delete", "convert", "expire_tokens"})  # several of these may strike one call


class FaultPlanError(ValueError):
    """The plan cannot be understood; the message lists every mistake with its place."""


class FaultPlan:
    """The faults in force. `fire` is asked once a call (and once for each inner call of a composite one)."""

    def __init__(self, entries: Iterable[Mapping[str, Any] | PlannedFault] = (), named: Iterable[str] = ()) -> None:
        self._named = frozenset(named)
        self.faults: list[PlannedFault] = []
        self.add(entries)

    def add(self, entries: Iterable[Mapping[str, Any] | PlannedFault]) -> None:
        """Adds faults; raises FaultPlanError and adds nothing when one of them is wrong."""
        self.faults.extend(parse(entries, self._named))

    def clear(self) -> None:
        self.faults = []

    def fire(self, call: TwinCall, has_rows: bool = False) -> list[PlannedFault]:
        """The faults that strike this call: any number that stack, and at most one that decides the answer."""
        struck: list[PlannedFault] = []
        decided = False
        for fault in self.faults:
            if not _level(fault, call, has_rows) or not fault.covers(call):
                continue
            stacks = fault.do in STACKING
            if (decided and not stacks) or not fault.strikes():
                continue
            struck.append(fault)
            decided = decided or not stacks
        return struck


def _level(fault: PlannedFault, call: TwinCall, has_rows: bool) -> bool:
    """Row faults strike where the rows are, `inner: true` only inside a composite call, all others the HTTP call itself."""
    if fault.do == "row":
        return has_rows
    return call.sub == bool(fault.params.get("inner", False))


def parse(
    entries: Iterable[Mapping[str, Any] | PlannedFault], named: frozenset[str] = frozenset()
) -> list[PlannedFault]:
    """Faults from plain data; raises FaultPlanError with all mistakes at once."""
    faults: list[PlannedFault] = []
    wrong: list[str] = []
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, PlannedFault):
            faults.append(entry)
            continue
        if not isinstance(entry, Mapping):
            wrong.append(f"fault {number}: must be a mapping such as {{on: query, do: reset}}, not {entry!r}")
            continue
        problem = _problem(entry, named)
        if problem:
            wrong.append(f"fault {number}: {problem}")
        else:
            faults.append(_build(entry))
    if wrong:
        raise FaultPlanError("\n".join(wrong))
    return faults


def _problem(entry: Mapping[str, Any], named: frozenset[str]) -> str:
    do = entry.get("do")
    if do not in KINDS and do not in named:
        return f"do: {do!r} is not one of {', '.join(sorted({*KINDS, *named}))}"
    unknown = set(entry) - WHICH - KINDS.get(str(do), NAMED_KEYS)
    if unknown:
        return f"do: {do} does not take {', '.join(sorted(unknown))}"
    for key in ("nth", "every", "after", "times"):
        if key in entry and (not isinstance(entry[key], int) or entry[key] < (0 if key == "after" else 1)):
            return f"{key}: must be a positive whole number, not {entry[key]!r}"
    if "chance" in entry and not (isinstance(entry["chance"], int | float) and 0 <= entry["chance"] <= 1):
        return f"chance: must be between 0 and 1, not {entry['chance']!r}"
    if entry.get("when", "before") not in ("before", "after"):
        return f"when: must be before or after (the write), not {entry['when']!r}"
    if do == "late" and entry.get("answer", "reset") not in LATE_ANSWERS:
        return f"answer: must be one of {', '.join(LATE_ANSWERS)}, not {entry['answer']!r}"
    if do in ("delete", "convert") and not ("object" in entry and isinstance(entry.get("match"), Mapping)):
        return f"do: {do} needs object: and match: {{field: value}}"
    return ""


def _build(entry: Mapping[str, Any]) -> PlannedFault:
    known = WHICH | {"when"}
    plain = {k: v for k, v in entry.items() if k in known}
    if "nth" in plain:
        plain.setdefault("times", 1)
    return PlannedFault(params={k: v for k, v in entry.items() if k not in known}, **plain)


def load(path: Path) -> list[dict[str, Any]]:
    """The entries of a YAML (or JSON) file: a list, or a mapping with `faults:` and perhaps `seed:` for all of them."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe").load(path.read_text())
    except YAMLError as error:
        raise FaultPlanError(f"{path}: not valid YAML: {error}") from error
    seed = 0
    if isinstance(data, Mapping):
        seed, data = data.get("seed", 0), data.get("faults")
    if not isinstance(data, list):
        raise FaultPlanError(f"{path}: must be a list of faults, or a mapping with `faults:`")
    return [{"seed": seed + i, **e} if isinstance(e, Mapping) else e for i, e in enumerate(data)]
